package xshard

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
)

// Limits that are not worth a setting.
const (
	maxAnswer = 256 // packets in one answer
	maxRun    = 64  // packets in one check
	maxLoads  = 8   // reads for other shards' polls under way
	hints     = 2   // members that tell a receiver of a packet that another sends
)

// ErrPeer is wrapped by Relay.Deliver when the sender has no business sending
// the message: it is not a member of the shard it speaks for.
var ErrPeer = errors.New("not a member")

// ErrBusy is wrapped by Relay.Deliver when a peer asks more than its share.
var ErrBusy = errors.New("asks too much")

// RelayConfig is what a Relay is made from. One Relay serves one replica: it
// sends the packets of its own shard and gathers those of all other shards,
// each source in order of height without gaps.
type RelayConfig struct {
	Self  shardkit.NodeID
	Shard shardkit.ShardID
	// Load returns the function a job runs to read packets of the own shard for
	// dest from height from on: at most max packets and about maxBytes bytes.
	// It must return consecutive heights, fewer or none if it has no more.
	Load func(dest shardkit.ShardID, from shardkit.Height, max, maxBytes int) func() []Packet
	// Check returns the function a job runs to verify a run of packets of one
	// source, consecutive heights: it returns how many from the front are good
	// (certificate, header chain, receipts proof) and an error if there is a bad
	// one among the rest. Fewer good ones with a nil error: the next is not
	// decidable yet, keep and ask again later. The certificate of the last may
	// stand for all: after an error the relay asks about shorter runs, until it
	// knows which packet is bad.
	Check func(run []Packet) func() (good int, err error)

	Poll      time.Duration // after so long without a packet a source is asked; a gap is asked for at once. 0: 500 ms
	MaxQueue  int           // packets held per source, verified and waiting. 0: 256
	MaxPacket int           // bytes of one packet. 0: 4 MiB
	MaxBytes  int           // bytes of packets held per source. 0: 4 × MaxPacket; less than one packet is an error
}

// Addressed is a packet for one destination shard.
type Addressed struct {
	Dest   shardkit.ShardID
	Packet Packet
}

// BadPeer names a peer that sent a packet that failed its check.
type BadPeer struct {
	Peer shardkit.NodeID
	Err  error
}

// RelayReady holds the effects of a Relay since the last call of Ready. The Data
// of messages to several peers is shared: nobody may write to it.
type RelayReady struct {
	Messages []shardkit.Message
	Jobs     []shardkit.Job
	Arrived  []shardkit.ShardID // sources with newly verified packets
	Bad      []BadPeer
}

// RelayStats counts what a Relay did.
type RelayStats struct {
	Pushed    uint64 // packets sent unasked
	Polls     uint64 // polls sent
	Answers   uint64 // polls answered
	Arrived   uint64 // packets verified
	Checks    uint64 // runs checked
	Bad       uint64 // packets that failed their check
	Duplicate uint64 // packets that were there already
	Dropped   uint64 // packets for which there was no room
}

// Relay carries the packets between shards for one replica. It is a core: one
// goroutine owns it.
type Relay struct {
	cfg    RelayConfig
	shards []*shard // ascending by id; the own one among them
	height shardkit.Height
	loads  int // Load jobs under way
	turn   int // whose poll is read next: index into shards, modulo its length
	asks   uint64
	ready  RelayReady
	stats  RelayStats
}

// shard is another shard as the relay sees it, or the own one, of which only
// the members matter.
type shard struct {
	id      shardkit.ShardID
	members []member          // ascending by node
	waiting []shardkit.NodeID // members whose poll waits to be read, oldest first, each once
	source  source
}

// member is what the relay remembers of a member of another shard.
type member struct {
	node   shardkit.NodeID
	muted  time.Duration // sent a bad packet: not listened to before then
	asked  *message      // its poll that waits to be read
	loads  bool          // its poll is being read
	hinted time.Duration // its hints do not count before then
	served shardkit.Height
	when   time.Duration // when it asked for that; the answer ended below height served
}

// NewRelay returns a relay that knows no shard yet.
func NewRelay(cfg RelayConfig) (*Relay, error) {
	if cfg.Load == nil || cfg.Check == nil {
		return nil, errors.New("xshard: relay needs Load and Check")
	}
	if cfg.Poll < 0 || cfg.MaxQueue < 0 || cfg.MaxPacket < 0 || cfg.MaxBytes < 0 {
		return nil, errors.New("xshard: relay: negative setting")
	}
	if cfg.Poll == 0 {
		cfg.Poll = 500 * time.Millisecond
	}
	if cfg.MaxQueue == 0 {
		cfg.MaxQueue = 256
	}
	if cfg.MaxPacket == 0 {
		cfg.MaxPacket = 4 << 20
	}
	if cfg.MaxPacket > math.MaxInt32/4 {
		return nil, fmt.Errorf("xshard: relay: packets of %d bytes", cfg.MaxPacket)
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 4 * cfg.MaxPacket
	}
	if cfg.MaxBytes < cfg.MaxPacket {
		return nil, fmt.Errorf("xshard: relay: room for %d bytes, less than one packet of %d", cfg.MaxBytes, cfg.MaxPacket)
	}
	return &Relay{cfg: cfg}, nil
}

// Ready drains the effects.
func (r *Relay) Ready() RelayReady {
	ready := r.ready
	r.ready = RelayReady{}
	return ready
}

// Stats returns the counters.
func (r *Relay) Stats() RelayStats { return r.stats }

// Persisted is part of every core; a Relay persists nothing.
func (r *Relay) Persisted(time.Duration, uint64) {}

// find returns the place of a shard among r.shards, and whether it is there.
func (r *Relay) find(id shardkit.ShardID) (int, bool) {
	return slices.BinarySearchFunc(r.shards, id, func(s *shard, id shardkit.ShardID) int {
		return cmp.Compare(s.id, id)
	})
}

// shard returns what is known of a shard, nil if nothing is.
func (r *Relay) shard(id shardkit.ShardID) *shard {
	if i, ok := r.find(id); ok {
		return r.shards[i]
	}
	return nil
}

// know returns the shard, new if need be, or nil if there cannot be such a one.
func (r *Relay) know(now time.Duration, id shardkit.ShardID) *shard {
	i, ok := r.find(id)
	if !ok {
		if id >= MaxShards {
			return nil
		}
		s := &shard{id: id}
		s.source.next, s.source.span = now+r.cfg.Poll, maxRun
		r.shards = slices.Insert(r.shards, i, s)
	}
	return r.shards[i]
}

// member returns the member of s that is node, or nil.
func (s *shard) member(node shardkit.NodeID) *member {
	if i, ok := findMember(s.members, node); ok {
		return &s.members[i]
	}
	return nil
}

func findMember(members []member, node shardkit.NodeID) (int, bool) {
	return slices.BinarySearchFunc(members, node, func(m member, node shardkit.NodeID) int {
		return slices.Compare(m.node[:], node[:])
	})
}

// SetMembers says who the members of a shard are, the own one included; at a
// hand-over the union of the outgoing and the incoming. Their order does not
// matter. Without nodes the shard is neither asked nor listened to.
func (r *Relay) SetMembers(now time.Duration, id shardkit.ShardID, nodes []shardkit.NodeID) {
	s := r.know(now, id)
	if s == nil {
		return
	}
	members := make([]member, len(nodes))
	for i, node := range nodes {
		members[i] = member{node: node}
	}
	slices.SortFunc(members, func(a, b member) int { return slices.Compare(a.node[:], b.node[:]) })
	members = slices.CompactFunc(members, func(a, b member) bool { return a.node == b.node })
	for i := range members { // who stays keeps its record
		if old := s.member(members[i].node); old != nil {
			members[i] = *old
		}
	}
	s.members = members
	s.waiting = slices.DeleteFunc(s.waiting, func(node shardkit.NodeID) bool { return s.member(node) == nil })
	if s.source.asking && s.member(s.source.asked) == nil {
		s.source.asking, s.source.next = false, now // whoever was asked will not be heard
	}
	r.retry(now)
}

// Committed says that the own shard committed a block: packets are those of
// the block, one for every other shard. Each own member sends its share of the
// copies, so that every member of a destination gets one, and hints from others,
// so that it asks if the copy does not come.
func (r *Relay) Committed(now time.Duration, packets []Addressed) {
	for i := range packets {
		p := &packets[i]
		r.height = max(r.height, p.Packet.Height)
		if dest := r.shard(p.Dest); dest != nil && p.Dest != r.cfg.Shard {
			r.push(dest, &p.Packet)
		}
	}
}

// push sends p to the members of dest that are this replica's share: the own
// members take them in turn, beginning with another one at each height, so
// that a silent member does not cut off the same receivers every time.
func (r *Relay) push(dest *shard, p *Packet) {
	own := r.shard(r.cfg.Shard)
	if own == nil || p.size() > r.cfg.MaxPacket {
		return
	}
	self, ok := findMember(own.members, r.cfg.Self)
	if !ok {
		return // an observer: the members do it
	}
	n := len(own.members)
	first := (self + n - int(uint64(p.Height)%uint64(n))) % n
	m := message{kind: kindPush, target: dest.id, origin: r.cfg.Shard, packets: []Packet{*p}, from: p.Height}
	var data []byte
	for i := first; i < len(dest.members); i += n {
		if data == nil {
			data = m.append(make([]byte, 0, p.size()+messageOverhead))
		}
		r.send(dest.members[i].node, data)
		r.stats.Pushed++
	}
	m.kind = kindHint
	hint := m.append(nil)
	for k := 1; k <= min(hints, n-1); k++ {
		for i := (first + k) % n; i < len(dest.members); i += n {
			r.send(dest.members[i].node, hint)
		}
	}
}

func (r *Relay) send(to shardkit.NodeID, data []byte) {
	r.ready.Messages = append(r.ready.Messages, shardkit.Message{To: to, Class: shardkit.ClassBlock, Data: data})
}

// Deliver takes a message of another relay. A message to the own node comes
// from, or goes to, its replica in another shard.
func (r *Relay) Deliver(now time.Duration, from shardkit.NodeID, msg []byte) error {
	// An answer holds at most one packet's worth of bytes: see answer.
	if len(msg) > r.cfg.MaxPacket+messageOverhead {
		return fmt.Errorf("xshard: message of %d bytes, at most %d", len(msg), r.cfg.MaxPacket+messageOverhead)
	}
	target, origin, ok := shardsOf(msg)
	if !ok || target != r.cfg.Shard || origin == r.cfg.Shard {
		return fmt.Errorf("xshard: message from shard %d for shard %d", origin, target)
	}
	s := r.shard(origin)
	if s == nil || s.member(from) == nil {
		return fmt.Errorf("xshard: %v: %w of shard %d", from, ErrPeer, origin)
	}
	peer := s.member(from)
	var m message
	if err := m.decode(msg, r.cfg.MaxPacket); err != nil {
		return fmt.Errorf("xshard: message: %w", err)
	}
	switch m.kind {
	case kindPoll:
		return r.polled(now, s, peer, &m)
	case kindHint:
		r.hinted(now, s, peer, m.from)
		return nil
	}
	return r.received(now, s, peer, &m)
}

// Done takes the result of a job.
func (r *Relay) Done(now time.Duration, result any) {
	switch res := result.(type) {
	case checked:
		r.checked(now, res)
	case loaded:
		r.loaded(res)
	}
}

// Wake returns when the next source is to be asked.
func (r *Relay) Wake() (at time.Duration, ok bool) {
	for _, s := range r.shards {
		if s.id != r.cfg.Shard && len(s.members) > 0 && (!ok || s.source.next < at) {
			at, ok = s.source.next, true
		}
	}
	return at, ok
}

// Tick asks the sources whose period has passed.
func (r *Relay) Tick(now time.Duration) {
	for _, s := range r.shards {
		if s.id != r.cfg.Shard && len(s.members) > 0 && s.source.next <= now {
			r.period(now, s)
		}
	}
}
