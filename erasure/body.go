package erasure

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// body is what is known of one body that was announced, or that this node
// dispersed.
type body struct {
	ref   Ref
	raw   string // ref, encoded
	group *group
	from  shardkit.NodeID // who announced it

	coded    *Coded // all of it, once known
	err      error  // why there is no such body, once known
	byChunks bool   // it was rebuilt
	wanted   bool   // this node asked for it, and has not been answered
	vouches  uint64 // weight of those who say that they have it

	chunks   []Chunk // verified, by index; no Data: missing
	have     int     // how many of chunks are there
	queue    []arrival
	queued   []uint8 // how many copies of each chunk wait in queue or are being verified
	supplied []byte  // a body obtained otherwise that waits to be judged
	busy     bool    // a job is under way
	relayed  bool    // the own chunks went to all

	peers  []peer // by member
	next   time.Duration
	round  int // how often members were asked
	calm   int // how often this node vouched when it was certain that all will have the body
	turn   int // who was last asked for its own chunks
	helper int // who was last asked for all that is missing; apart from turn, so that all have their turn
}

// peer is what is remembered of a member in regard to a body.
type peer struct {
	muted   bool          // sent a bad chunk
	asked   int           // how many chunks it may send beside its own and ours
	served  time.Duration // when it was last sent chunks on request
	once    bool          // it was, at served
	vouched bool          // says that it has the body
}

// arrival is chunks that a member sent.
type arrival struct {
	peer   int
	chunks []Chunk
}

// settled reports whether the body, or that there is none, is known.
func (b *body) settled() bool { return b.coded != nil || b.err != nil }

// complete sets the body and frees what led to it.
func (b *body) complete(coded *Coded) {
	b.coded = coded
	b.chunks, b.queue, b.queued, b.supplied = nil, nil, nil, nil
}

// held returns those of the chunks from lo up to hi that are there.
func (b *body) held(lo, hi int) (chunks []Chunk) {
	for i := lo; i < hi; i++ {
		switch {
		case b.coded != nil:
			chunks = append(chunks, b.coded.Chunk(i))
		case b.chunks != nil && b.chunks[i].Data != nil:
			chunks = append(chunks, b.chunks[i])
		}
	}
	return chunks
}

// owner returns the member that holds chunk i; -1: nobody in particular.
func (b *body) owner(i int) int {
	if b.ref.N == 1 {
		return -1
	}
	return b.group.deal.Owner(i)
}

// add makes a record for a body. If there are too many, the one that nobody
// has asked for for the longest time goes.
func (c *Core) add(now time.Duration, g *group, ref Ref) *body {
	if len(c.bodies) >= c.cfg.Bodies {
		c.Forget([]byte(c.bodies[0].raw))
		c.stats.Evicted++
	}
	b := &body{
		ref:    ref,
		raw:    string(ref.append(nil)),
		group:  g,
		chunks: make([]Chunk, ref.N),
		queued: make([]uint8, ref.N),
		peers:  make([]peer, len(g.Members)),
		next:   now + c.cfg.Resend,
		turn:   g.self,
		helper: g.self,
	}
	c.bodies = append(c.bodies, b)
	i := slices.Index(c.forgotten, b.raw)
	if i >= 0 {
		c.forgotten[i] = ""
	}
	return b
}

// touch makes a body the last to go.
func (c *Core) touch(b *body) {
	i := slices.Index(c.bodies, b)
	c.bodies = append(slices.Delete(c.bodies, i, i+1), b)
}

// open returns the record of the body that ref names in group id, a new one if
// need be.
func (c *Core) open(now time.Duration, id uint64, raw []byte) (*body, error) {
	g := c.group(id)
	if g == nil || g.self < 0 {
		return nil, fmt.Errorf("erasure: not a member of group %d", id)
	}
	var ref Ref
	if err := ref.UnmarshalBinary(raw); err != nil {
		return nil, err
	}
	if !g.fits(ref.Shape) || ref.Length > c.cfg.MaxBody {
		return nil, fmt.Errorf("erasure: reference to %d bytes in %d of %d chunks: %w", ref.Length, ref.K, ref.N, ErrBad)
	}
	b := c.body(raw)
	if b == nil {
		return c.add(now, g, ref), nil
	}
	if b.group != g {
		return nil, fmt.Errorf("erasure: the body is open in group %d", b.group.id)
	}
	c.touch(b)
	return b, nil
}

// Obtain asks for the body of an announced reference; from is who announced
// it. Ready.Delivered reports it, or that the reference is bad. It may be
// called again for the same reference, and is then answered again. The error
// says that the reference cannot be one of this group's (it then wraps
// ErrBad, or is about its form: all members see it alike), or that it cannot
// be followed now.
func (c *Core) Obtain(now time.Duration, group uint64, from shardkit.NodeID, ref []byte) error {
	b, err := c.open(now, group, ref)
	if err != nil {
		return err
	}
	b.wanted = true
	if b.settled() {
		c.conclude(b)
		return nil
	}
	b.from = from
	var msgs []*early
	c.early = slices.DeleteFunc(c.early, func(e *early) bool {
		if e.raw != b.raw {
			return false
		}
		msgs = append(msgs, e)
		return true
	})
	for _, e := range msgs {
		for _, m := range e.msgs {
			// Whatever is wrong with it was wrong before: nothing to report now.
			_ = c.Deliver(now, e.peer, m)
		}
	}
	return nil
}

// Supply hands over a body that was obtained otherwise, for instance by fetch,
// and is the one that the announced block names. It is judged like one from
// chunks: Ready.Delivered reports it if it encodes to ref, else that ref is
// bad. The body is not to be changed before.
func (c *Core) Supply(now time.Duration, group uint64, ref, body []byte) error {
	b, err := c.open(now, group, ref)
	if err != nil {
		return err
	}
	b.wanted = true
	if b.settled() {
		c.conclude(b)
		return nil
	}
	b.supplied = body
	if body == nil {
		b.supplied = []byte{} // an empty body is one, too
	}
	c.work(b)
	return nil
}

// chunks takes the chunks of a message, as far as they are of use.
func (c *Core) chunks(b *body, member int, rd *wire.Reader) error {
	node, p := b.group.Members[member].Node, &b.peers[member]
	if b.settled() {
		return nil // late: not worth a look
	}
	if p.muted {
		return fmt.Errorf("erasure: %v sent a bad chunk before", node)
	}
	all := b.ref.readChunks(rd)
	if err := rd.Close(); err != nil {
		return fmt.Errorf("erasure: chunks: %w", err)
	}
	// Nothing is taken before all of the message has been looked at.
	asked := p.asked
	for i := range all {
		if o := b.owner(all[i].Index); o != member && o != b.group.self && node != b.from {
			if asked--; asked < 0 {
				return fmt.Errorf("erasure: %v: %w to send chunk %d", node, ErrPeer, all[i].Index)
			}
		}
	}
	p.asked = asked
	taken := slices.DeleteFunc(all, func(ch Chunk) bool {
		return b.chunks[ch.Index].Data != nil || b.queued[ch.Index] >= 2 && node != b.from || b.queued[ch.Index] >= 3
	})
	if len(taken) == 0 {
		return nil
	}
	for i := range taken {
		b.queued[taken[i].Index]++
		taken[i].Data = bytes.Clone(taken[i].Data)
	}
	c.stats.ChunksReceived += uint64(len(taken))
	b.queue = append(b.queue, arrival{peer: member, chunks: taken})
	c.work(b)
	return nil
}

// verified is the result of a body's job.
type verified struct {
	body    *body     // whose: only the core looks into it
	looked  []arrival // the chunks that were looked at
	good    []Chunk   // those that fit, each once
	bad     []misfit
	coded   *Coded // the body, if there were enough chunks or it was supplied
	err     error  // why there is none
	rebuilt bool   // coded and err come from chunks
}

// misfit says that a member sent a chunk that does not fit, and how.
type misfit struct {
	member int
	err    error
}

// work starts the next job of a body, unless one is under way: then more
// gathers, and the next job takes all of it at once.
func (c *Core) work(b *body) {
	switch {
	case b.busy || b.settled():
	case b.supplied != nil:
		b.busy = true
		ref, supplied, coder := b.ref, b.supplied, b.group.coderOf(b.ref.Shape)
		c.job("erasure.encode", len(supplied), func() any {
			res := verified{body: b}
			res.coded, res.err = coder.Check(ref, supplied)
			return res
		})
	case len(b.queue) > 0 || b.have >= b.ref.K:
		b.busy = true
		c.verify(b)
	}
}

// verify starts the job that verifies the queued chunks and, with enough of
// them, rebuilds the body. If this node's own chunks are among them it does
// not rebuild a long body yet: others wait for those to be passed on.
func (c *Core) verify(b *body) {
	queue, ref, coder := b.queue, b.ref, b.group.coderOf(b.ref.Shape)
	b.queue = nil
	prior := make([]Chunk, 0, b.have)
	for i := range b.chunks {
		if b.chunks[i].Data != nil {
			prior = append(prior, b.chunks[i])
		}
	}
	rebuild, count := true, 0
	for _, a := range queue {
		count += len(a.chunks)
		for i := range a.chunks {
			if b.owner(a.chunks[i].Index) == b.group.self && !b.relayed && ref.Length > quick {
				rebuild = false
			}
		}
	}
	kind, size := "erasure.verify", count*ref.ChunkSize()
	if rebuild = rebuild && b.have+count >= ref.K; rebuild {
		kind, size = "erasure.rebuild", ref.Length
	}
	c.job(kind, size, func() any {
		res := verified{body: b, looked: queue}
		res.look(&ref, prior, queue)
		if all := append(prior, res.good...); rebuild && len(all) >= ref.K {
			res.rebuilt = true
			res.coded, res.err = coder.Rebuild(ref, all)
		}
		return res
	})
}

// look verifies chunks, but none of which there is a good one already, and of
// one member no more after the first that does not fit.
func (v *verified) look(ref *Ref, prior []Chunk, queue []arrival) {
	seen := make([]bool, ref.N)
	for i := range prior {
		seen[prior[i].Index] = true
	}
	for _, a := range queue {
		for i := range a.chunks {
			if seen[a.chunks[i].Index] {
				continue
			}
			if err := ref.Verify(&a.chunks[i]); err != nil {
				v.bad = append(v.bad, misfit{a.peer, err})
				break
			}
			seen[a.chunks[i].Index] = true
			v.good = append(v.good, a.chunks[i])
		}
	}
}

// verified takes the result of a body's job.
func (c *Core) verified(now time.Duration, res verified) {
	b := res.body
	if !slices.Contains(c.bodies, b) || b.settled() {
		return
	}
	b.busy = false
	for _, a := range res.looked {
		for i := range a.chunks {
			b.queued[a.chunks[i].Index]--
		}
	}
	for _, m := range res.bad {
		c.blame(b, m)
	}
	for _, ch := range res.good {
		if b.chunks[ch.Index].Data == nil {
			b.chunks[ch.Index] = ch
			b.have++
		}
	}
	switch {
	case res.err != nil:
		// The chunks stay, to be passed on: by them the others judge, too.
		b.err = res.err
		b.queue, b.supplied = nil, nil
	case res.coded != nil:
		b.complete(res.coded)
	}
	// A supplied body makes no relay of this node: it comes to those who are
	// late, when the others have what they need.
	if b.ref.N > 1 && !b.relayed && (b.coded == nil || res.rebuilt) {
		lo, hi := b.group.deal.Range(b.group.self)
		if len(b.held(lo, hi)) == hi-lo {
			c.relay(b)
		}
	}
	if b.settled() {
		b.byChunks = res.rebuilt && b.ref.N > 1
		if b.byChunks && b.err == nil {
			c.stats.Rebuilt++
		}
		if c.cfg.Reliable && b.err == nil {
			c.vouch(now, b)
		}
		c.conclude(b)
		return
	}
	c.work(b)
}

// blame reports a member that sent a chunk that does not fit, and takes no more
// of this body from it.
func (c *Core) blame(b *body, m misfit) {
	c.stats.ChunksBad++
	if b.peers[m.member].muted {
		return
	}
	b.peers[m.member].muted = true
	c.ready.Bad = append(c.ready.Bad, BadPeer{Peer: b.group.Members[m.member].Node, Err: m.err})
	b.queue = slices.DeleteFunc(b.queue, func(a arrival) bool {
		if a.peer != m.member {
			return false
		}
		for i := range a.chunks {
			b.queued[a.chunks[i].Index]--
		}
		return true
	})
}

// conclude reports what a body came to, once it is settled and certain.
func (c *Core) conclude(b *body) {
	if !b.wanted || !b.settled() || b.err == nil && !c.assured(b) {
		return
	}
	b.wanted = false
	d := Delivered{Group: b.group.id, Ref: []byte(b.raw), ByChunks: b.byChunks, Err: b.err}
	if b.coded != nil {
		d.Body = b.coded.Body
	}
	c.ready.Delivered = append(c.ready.Delivered, d)
}
