package xshard

import (
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
)

const (
	// candidates is how many different packets are kept for one height until
	// one is verified: a false one must not shut out the true one.
	candidates = 2
	// muteFor is for how many periods a peer is ignored after a bad packet: one
	// such peer costs one check in that time.
	muteFor = 20
	// patience is the part of a period for which a packet of which there was a
	// hint may be on its way, before it is asked for.
	patience = 8
	// tries is how many members are asked for a gap at once, one after the
	// other, before the relay waits for the next period.
	tries = 3
)

// source is the queue of packets of one other shard.
type source struct {
	included shardkit.Height // the own chain has linked the source up to here
	verified []Packet        // the heights after included
	pending  [][]candidate   // what waits for the heights after those; may have holes, does not end in one
	bytes    int             // of all packets held

	checking bool        // a check is under way
	run      []candidate // of what
	news     bool        // something changed while the check was under way
	span     int         // how long the next run may be

	stuck shardkit.Height // at this height a check could not judge; past once below the head

	next   time.Duration   // when to ask, whatever happens
	asking bool            // an answer is outstanding
	asked  shardkit.NodeID // from whom
	askID  uint64
	turn   int    // how often a member was asked: who is next
	tries  int    // polls since the last progress in this period
	idle   uint64 // periods without progress
}

// candidate is a packet that has not been verified.
type candidate struct {
	packet Packet
	peer   shardkit.NodeID // who sent it
	unsure bool            // a check could not judge it
}

// head is the first height that is not verified.
func (q *source) head() shardkit.Height {
	return q.included + 1 + shardkit.Height(len(q.verified))
}

// Arrived returns the verified packets of a source that follow what was last
// Included, in order of height: a view that is valid until the next input, and
// not to be changed.
func (r *Relay) Arrived(id shardkit.ShardID) []Packet {
	if s := r.shard(id); s != nil {
		return s.source.verified
	}
	return nil
}

// Included says that the own chain has linked source up to height h. It is
// how the relay learns, after a restart, where to go on. A lower height than
// before is ignored.
func (r *Relay) Included(now time.Duration, id shardkit.ShardID, h shardkit.Height) {
	s := r.know(now, id)
	if s == nil {
		return
	}
	q := &s.source
	if h > q.included {
		head := q.head()
		n := int(min(uint64(h-q.included), uint64(len(q.verified))))
		for i := range q.verified[:n] {
			q.bytes -= q.verified[i].size()
		}
		q.verified = slices.Delete(q.verified, 0, n)
		q.included = h
		if after := q.head(); after > head { // linked what we had not verified
			q.skip(uint64(after - head))
		}
		q.idle = 0
	}
	r.retry(now)
}

// skip drops the first n heights of pending.
func (q *source) skip(n uint64) {
	k := int(min(n, uint64(len(q.pending))))
	for _, slot := range q.pending[:k] {
		for i := range slot {
			q.bytes -= slot[i].packet.size()
		}
	}
	q.pending = slices.Delete(q.pending, 0, k)
}

// retry looks again at whatever could not be judged: a committee may have
// become known.
func (r *Relay) retry(now time.Duration) {
	for _, s := range r.shards {
		q := &s.source
		q.news = q.checking
		q.release()
		r.check(s)
		r.fill(now, s)
	}
}

// release makes packets that could not be judged count as new.
func (q *source) release() {
	for _, slot := range q.pending {
		for i := range slot {
			slot[i].unsure = false
		}
	}
}

// received takes packets pushed, or sent in answer to a poll.
func (r *Relay) received(now time.Duration, s *shard, peer *member, m *message) error {
	if now < peer.muted {
		return fmt.Errorf("xshard: %v sent a bad packet before", peer.node)
	}
	q := &s.source
	// An answer that comes late, when somebody else has been asked, brings
	// packets like any other; it only does not set off the next poll.
	answer := m.kind == kindAnswer && q.asking && m.id == q.askID && peer.node == q.asked
	fresh := false
	for i := range m.packets {
		if r.offer(q, peer.node, &m.packets[i]) {
			fresh = true
		}
	}
	if fresh {
		r.check(s)
	}
	if answer {
		q.asking = false
		if fresh {
			q.tries = 0
		}
		if fresh && m.more {
			r.ask(now, s)
		}
	}
	r.fill(now, s)
	return nil
}

// hinted takes a member's word that the source has committed a height: unless
// the packet comes soon, somebody is asked for it. A false hint costs a poll, so
// a member's count once in a period; whom to ask is not the hinter's choice.
func (r *Relay) hinted(now time.Duration, s *shard, peer *member, h shardkit.Height) {
	q := &s.source
	head := q.head()
	if now < peer.hinted || h < head || h-head < shardkit.Height(len(q.pending)) && len(q.pending[h-head]) > 0 {
		return
	}
	peer.hinted = now + r.cfg.Poll
	if !q.asking {
		q.next = min(q.next, now+r.cfg.Poll/patience)
	}
}

// offer puts a packet into the queue, if it is new and there is room.
func (r *Relay) offer(q *source, peer shardkit.NodeID, p *Packet) bool {
	head := q.head()
	if p.Height < head {
		r.stats.Duplicate++
		return false
	}
	if p.Height-head >= shardkit.Height(max(0, r.cfg.MaxQueue-len(q.verified))) {
		r.stats.Dropped++
		return false
	}
	at := int(p.Height - head)
	var slot []candidate
	if at < len(q.pending) {
		slot = q.pending[at]
	}
	replace := -1
	for i := range slot {
		if slot[i].packet.equal(p) || slot[i].peer == peer && !slot[i].unsure {
			r.stats.Duplicate++
			return false
		}
		if slot[i].unsure && (replace < 0 || slot[i].peer == peer) {
			replace = i
		}
	}
	if len(slot) < candidates {
		replace = -1
	} else if replace < 0 {
		r.stats.Dropped++
		return false
	}
	if !q.room(at, p.size(), r.cfg.MaxBytes) {
		r.stats.Dropped++
		return false
	}
	for len(q.pending) <= at {
		q.pending = append(q.pending, nil)
	}
	if replace >= 0 {
		q.drop(at, replace)
	}
	q.bytes += p.size()
	q.pending[at] = append(q.pending[at], candidate{packet: p.clone(), peer: peer})
	return true
}

// room makes size bytes free by dropping packets of greater heights than that
// of slot at, the farthest first, and reports whether that was enough.
func (q *source) room(at, size, limit int) bool {
	for q.bytes+size > limit && len(q.pending)-1 > at {
		q.drop(len(q.pending)-1, len(q.pending[len(q.pending)-1])-1)
		q.trim()
	}
	return q.bytes+size <= limit
}

// drop removes candidate i of slot at.
func (q *source) drop(at, i int) {
	q.bytes -= q.pending[at][i].packet.size()
	q.pending[at] = slices.Delete(q.pending[at], i, i+1)
}

// trim removes empty slots from the end.
func (q *source) trim() {
	for n := len(q.pending); n > 0 && len(q.pending[n-1]) == 0; n-- {
		q.pending = q.pending[:n-1]
	}
}

// checked is the result of a Check job.
type checked struct {
	source shardkit.ShardID
	good   int
	err    error
}

// check starts the check of what waits without a gap, unless one is under way:
// then more gathers, and the next check takes all of it at once. It stops short
// of a height for which there is nothing but what could not be judged.
func (r *Relay) check(s *shard) {
	q := &s.source
	if q.checking {
		return
	}
	var run []candidate
	var packets []Packet
	for _, slot := range q.pending {
		i := slices.IndexFunc(slot, func(c candidate) bool { return !c.unsure })
		if i < 0 || len(run) == q.span {
			break
		}
		run = append(run, slot[i])
		packets = append(packets, slot[i].packet)
	}
	if len(run) == 0 {
		return
	}
	q.checking, q.run, q.news = true, run, false
	id, verify := s.id, r.cfg.Check(packets)
	r.ready.Jobs = append(r.ready.Jobs, shardkit.Job{
		Kind: "xshard.check",
		Size: len(run),
		Run: func() any {
			good, err := verify()
			return checked{source: id, good: good, err: err}
		},
	})
}

// checked takes the result of a check. While it was under way, Included may
// have moved the head, so every packet of the run is looked up again.
func (r *Relay) checked(now time.Duration, res checked) {
	s := r.shard(res.source)
	if s == nil || !s.source.checking {
		return
	}
	q := &s.source
	run, news := q.run, q.news
	q.checking, q.run, q.news = false, nil, false
	r.stats.Checks++
	good := min(max(res.good, 0), len(run))
	for i := range run[:good] {
		r.accept(s, &run[i].packet)
	}
	if good > 0 && !q.asking {
		q.next = now + r.cfg.Poll // the source is heard: nothing to ask as long as it is
	}
	switch {
	case good == len(run):
		q.span = min(2*q.span, maxRun)
	case res.err != nil && len(run) > 1:
		// Which of the rest is bad, the check may not know: where one
		// certificate stands for a run, a false one at its end spoils all of
		// it. Shorter runs isolate it; only a packet by itself is blamed.
		q.span = max(1, (len(run)-good)/2)
	case res.err != nil:
		r.reject(now, s, &run[0], res.err)
		q.span = maxRun
	default:
		if at, i := q.locate(&run[good]); i >= 0 && !news {
			q.pending[at][i].unsure = true
			q.stuck = run[good].packet.Height
		}
	}
	r.check(s)
	r.fill(now, s)
}

// accept moves a packet that passed its check to the verified ones.
func (r *Relay) accept(s *shard, p *Packet) {
	q := &s.source
	if p.Height != q.head() {
		return // linked meanwhile
	}
	q.skip(1)
	q.room(-1, p.size(), r.cfg.MaxBytes) // it may have had to go while it was checked
	q.verified = append(q.verified, *p)
	q.bytes += p.size()
	q.tries, q.idle = 0, 0
	r.stats.Arrived++
	if !slices.Contains(r.ready.Arrived, s.id) {
		r.ready.Arrived = append(r.ready.Arrived, s.id)
	}
}

// reject drops a packet that failed its check, whatever else its sender has in
// the queue, and ignores the sender for a while.
func (r *Relay) reject(now time.Duration, s *shard, c *candidate, err error) {
	q := &s.source
	r.stats.Bad++
	r.ready.Bad = append(r.ready.Bad, BadPeer{Peer: c.peer, Err: err})
	for at := range q.pending {
		for i := len(q.pending[at]) - 1; i >= 0; i-- {
			if q.pending[at][i].peer == c.peer {
				q.drop(at, i)
			}
		}
	}
	q.trim()
	q.tries = 0
	if m := s.member(c.peer); m != nil {
		m.muted = now + muteFor*r.cfg.Poll
	}
	if q.asking && q.asked == c.peer {
		q.asking = false
	}
	if len(q.pending) == 0 || len(q.pending[0]) == 0 {
		r.ask(now, s)
	}
}

// locate finds a candidate of a run in the queue; i < 0: it is gone.
func (q *source) locate(c *candidate) (at, i int) {
	at = int(c.packet.Height) - int(q.head())
	if at < 0 || at >= len(q.pending) {
		return at, -1
	}
	return at, slices.IndexFunc(q.pending[at], func(d candidate) bool {
		return d.peer == c.peer && d.packet.equal(&c.packet)
	})
}

// period is the timer: whoever was asked has had its time.
func (r *Relay) period(now time.Duration, s *shard) {
	q := &s.source
	q.next = now + r.cfg.Poll
	q.asking, q.tries = false, 0
	q.idle++
	q.release()
	r.check(s)
	// While a packet cannot be judged, what is missing is knowledge rather than
	// packets, so the asking thins out: periods 1, 2, 4, 8, …
	if q.stuck < q.head() || q.idle&(q.idle-1) == 0 {
		r.ask(now, s)
	}
}

// fill asks at once if there is a gap below something that has arrived.
func (r *Relay) fill(now time.Duration, s *shard) {
	q := &s.source
	gap := slices.ContainsFunc(q.pending, func(slot []candidate) bool { return len(slot) == 0 })
	if gap && !q.asking && q.tries < tries {
		r.ask(now, s)
	}
}

// ask polls the next member of the source, past those that are ignored, for
// the first height that is missing.
func (r *Relay) ask(now time.Duration, s *shard) {
	q := &s.source
	from, n := q.want(r.cfg.MaxQueue)
	if n == 0 || q.full(r.cfg.MaxBytes-r.cfg.MaxPacket) || q.asking || len(s.members) == 0 {
		return
	}
	peer := r.pick(now, s)
	r.asks++
	q.asking, q.asked, q.askID = true, peer, r.asks
	q.next = now + r.cfg.Poll
	q.tries++
	r.stats.Polls++
	m := message{kind: kindPoll, target: s.id, origin: r.cfg.Shard, id: q.askID, from: from, max: min(n, maxAnswer)}
	r.send(peer, m.append(nil))
}

// want returns the first height that is missing and how many from there on,
// up to the next one that is there or to the end of the room.
func (q *source) want(maxQueue int) (from shardkit.Height, n int) {
	if q.stuck >= q.head() {
		return q.stuck, 1 // what cannot be judged may be false: others may have another
	}
	at := slices.IndexFunc(q.pending, func(slot []candidate) bool { return len(slot) == 0 })
	if at < 0 {
		at = len(q.pending)
		return q.head() + shardkit.Height(at), max(0, maxQueue-len(q.verified)-at)
	}
	end := at
	for len(q.pending[end]) == 0 { // the last slot is never empty
		end++
	}
	return q.head() + shardkit.Height(at), end - at
}

// full reports whether the verified packets take more than limit bytes: then
// the next may not fit, and there is no use in asking before some are taken.
func (q *source) full(limit int) bool {
	size := 0
	for i := range q.verified {
		size += q.verified[i].size()
	}
	return size > limit
}

// pick returns whom to ask next. Every replica begins with another member, so
// that a shard's members do not all ask the same one.
func (r *Relay) pick(now time.Duration, s *shard) shardkit.NodeID {
	q, n := &s.source, len(s.members)
	start := int(r.cfg.Self[0])<<8 | int(r.cfg.Self[1])
	for range n {
		q.turn = (q.turn + 1) % n
		if m := &s.members[(start+q.turn)%n]; now >= m.muted {
			return m.node
		}
	}
	return s.members[(start+q.turn)%n].node // all of them: better one than none
}
