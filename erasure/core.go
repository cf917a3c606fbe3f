package erasure

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// maxGroups is how many groups may live at a time: committees around a
// hand-over, of the replicas that one core serves.
const maxGroups = 16

// quick is up to which length a body is short enough that fewer messages and
// steps count for more than bytes: the sender puts a member's chunks and its own
// into one message, and members verify and rebuild in one job.
const quick = 64 << 10

// remember is how many forgotten references are known as such, so that chunks
// still on their way do not take up the room of bodies to come.
const remember = 64

// ErrPeer is wrapped by Core.Deliver when the sender is not a member of the
// group, or may not send what it sent.
var ErrPeer = errors.New("not entitled")

// Core is one member's part in the broadcast. It is a core: one goroutine owns
// it.
type Core struct {
	cfg       Config
	groups    []*group
	bodies    []*body // in the order in which they were last asked for
	early     []*early
	rumors    []*rumor
	forgotten []string // a ring
	oldest    int      // of the ring
	ready     Ready
	stats     Stats
}

// group is a Group with what follows from it.
type group struct {
	Group
	id    uint64
	total uint64
	deal  *Deal
	coder *Coder
	whole *Coder
	index map[shardkit.NodeID]int
	self  int // -1: not a member
}

// New returns a core without groups.
func New(cfg Config) (*Core, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Core{cfg: cfg}, nil
}

// Ready drains the effects.
func (c *Core) Ready() Ready {
	ready := c.ready
	c.ready = Ready{}
	return ready
}

// Stats returns the counters.
func (c *Core) Stats() Stats { return c.stats }

// Persisted is part of every core; this one persists nothing: a node that was
// down asks for what it missed.
func (c *Core) Persisted(time.Duration, uint64) {}

// SetGroup makes a committee known under a number of the caller's choosing,
// which says nothing to other members. It is best called well before the first
// body of the group: chunks from nodes of no known group are refused, and have
// to be asked for later. It fails if the number stands for another group, if
// there are too many, or if no chunks can be dealt.
func (c *Core) SetGroup(_ time.Duration, id uint64, g Group) error {
	if old := c.group(id); old != nil {
		if old.Sure != g.Sure || !slices.Equal(old.Members, g.Members) {
			return fmt.Errorf("erasure: group %d is another", id)
		}
		return nil
	}
	if len(c.groups) == maxGroups {
		return fmt.Errorf("erasure: more than %d groups", maxGroups)
	}
	deal, err := NewDeal(g)
	if err != nil {
		return err
	}
	n := &group{Group: g, id: id, deal: deal, index: make(map[shardkit.NodeID]int, len(g.Members)), self: -1}
	n.Members = slices.Clone(g.Members)
	for i, m := range g.Members {
		if _, ok := n.index[m.Node]; ok {
			return fmt.Errorf("erasure: group %d: member %v twice", id, m.Node)
		}
		n.index[m.Node] = i
		n.total += m.Weight
		if m.Node == c.cfg.Self {
			n.self = i
		}
	}
	if n.coder, err = NewCoder(deal.K, deal.N); err != nil {
		return err
	}
	if n.whole, err = NewCoder(1, 1); err != nil {
		return err
	}
	c.groups = append(c.groups, n)
	return nil
}

// DropGroup forgets a group and its bodies.
func (c *Core) DropGroup(id uint64) {
	c.groups = slices.DeleteFunc(c.groups, func(g *group) bool { return g.id == id })
	for _, b := range slices.Clone(c.bodies) {
		if b.group.id == id {
			c.Forget([]byte(b.raw))
		}
	}
	c.early = slices.DeleteFunc(c.early, func(e *early) bool { return !c.known(e.peer) })
	c.rumors = slices.DeleteFunc(c.rumors, func(r *rumor) bool { return r.group.id == id })
}

func (c *Core) group(id uint64) *group {
	for _, g := range c.groups {
		if g.id == id {
			return g
		}
	}
	return nil
}

// known reports whether a node is a member of any group.
func (c *Core) known(node shardkit.NodeID) bool {
	return slices.ContainsFunc(c.groups, func(g *group) bool {
		_, ok := g.index[node]
		return ok
	})
}

func (c *Core) body(raw []byte) *body {
	for _, b := range c.bodies {
		if b.raw == string(raw) {
			return b
		}
	}
	return nil
}

// Forget frees everything about a reference.
func (c *Core) Forget(ref []byte) {
	c.bodies = slices.DeleteFunc(c.bodies, func(b *body) bool { return b.raw == string(ref) })
	c.early = slices.DeleteFunc(c.early, func(e *early) bool { return e.raw == string(ref) })
	c.rumors = slices.DeleteFunc(c.rumors, func(r *rumor) bool { return r.raw == string(ref) })
	if len(c.forgotten) < remember {
		c.forgotten = append(c.forgotten, string(ref))
		return
	}
	c.forgotten[c.oldest] = string(ref)
	c.oldest = (c.oldest + 1) % remember
}

// shape returns the shapes that a body may have in a group: the deal's, or
// whole. Any other would let its maker choose how many members can rebuild it.
func (g *group) fits(s Shape) bool {
	return s == g.deal.Shape(s.Length) || s.N == 1
}

func (g *group) coderOf(s Shape) *Coder {
	if s.N == 1 {
		return g.whole
	}
	return g.coder
}

// Disperse encodes a body and sends it to the group, of which this node must
// be a member. Ready.Dispersed reports the reference or what failed. The body
// is not to be changed before.
func (c *Core) Disperse(_ time.Duration, id uint64, body []byte) {
	g := c.group(id)
	var err error
	switch {
	case g == nil:
		err = fmt.Errorf("erasure: no group %d", id)
	case g.self < 0:
		err = fmt.Errorf("erasure: not a member of group %d", id)
	case len(body) > c.cfg.MaxBody:
		err = fmt.Errorf("erasure: body of %d bytes, at most %d", len(body), c.cfg.MaxBody)
	}
	if err != nil {
		c.ready.Dispersed = append(c.ready.Dispersed, Dispersed{Group: id, Body: body, Err: err})
		return
	}
	coder := g.coder
	if len(body) <= c.cfg.Small {
		coder = g.whole
	}
	c.job("erasure.encode", len(body), func() any {
		coded, err := coder.Encode(body)
		return encoded{group: id, body: body, coded: coded, err: err}
	})
}

func (c *Core) job(kind string, size int, run func() any) {
	c.ready.Jobs = append(c.ready.Jobs, shardkit.Job{Kind: kind, Size: size, Run: run})
}

// encoded is the result of the job of Disperse.
type encoded struct {
	group uint64
	body  []byte
	coded *Coded
	err   error
}

func (c *Core) encoded(now time.Duration, res encoded) {
	d := Dispersed{Group: res.group, Body: res.body, Err: res.err}
	g := c.group(res.group)
	if g == nil && d.Err == nil {
		d.Err = fmt.Errorf("erasure: group %d was dropped", res.group)
	}
	if d.Err == nil {
		d.Ref = res.coded.Ref.append(nil)
		b := c.body(d.Ref)
		if b == nil { // else: the same body once more
			b = c.add(now, g, res.coded.Ref)
		}
		c.stats.Encoded++
		b.complete(res.coded)
		c.disperse(b)
		if c.cfg.Reliable {
			c.vouch(now, b)
		}
	}
	c.ready.Dispersed = append(c.ready.Dispersed, d)
}

// disperse sends a coded body: to every member its chunks, then this node's
// own to all. A body that is whole goes to all.
func (c *Core) disperse(b *body) {
	g := b.group
	if b.ref.N == 1 {
		c.relay(b)
		return
	}
	own, end := g.deal.Range(g.self)
	for k := 1; k < len(g.Members); k++ {
		i := (g.self + k) % len(g.Members)
		lo, hi := g.deal.Range(i)
		switch chunks := b.held(lo, hi); {
		case b.ref.Length > quick:
			c.send(b, i, chunks)
		case own < lo:
			c.send(b, i, append(b.held(own, end), chunks...))
		default:
			c.send(b, i, append(chunks, b.held(own, end)...))
		}
	}
	if b.relayed = b.ref.Length <= quick; !b.relayed {
		c.relay(b)
	}
}

// relay sends this node's own chunks to all others: its part in the broadcast.
// It goes round the members against the direction in which the sender does: so
// at any time the chunks that are already out are spread evenly, where in the
// same order some would be the last with everybody.
func (c *Core) relay(b *body) {
	lo, hi := 0, 1
	if b.ref.N > 1 {
		lo, hi = b.group.deal.Range(b.group.self)
	}
	b.relayed = true
	msgs := chunkMessages(&b.ref, []byte(b.raw), b.held(lo, hi))
	for m, k := len(b.group.Members), 1; k < m; k++ {
		i := (b.group.self + m - k) % m
		c.post(b.group.Members[i].Node, msgs)
		c.stats.ChunksSent += uint64(hi - lo)
	}
}

// send sends chunks to one member.
func (c *Core) send(b *body, member int, chunks []Chunk) {
	c.post(b.group.Members[member].Node, chunkMessages(&b.ref, []byte(b.raw), chunks))
	c.stats.ChunksSent += uint64(len(chunks))
}

func (c *Core) post(to shardkit.NodeID, msgs [][]byte) {
	for _, m := range msgs {
		c.ready.Messages = append(c.ready.Messages, shardkit.Message{To: to, Class: shardkit.ClassBlock, Data: m})
	}
}

// Deliver takes a message of another member.
func (c *Core) Deliver(now time.Duration, from shardkit.NodeID, msg []byte) error {
	if len(msg) > c.cfg.maxMessage() {
		return fmt.Errorf("erasure: message of %d bytes, at most %d", len(msg), c.cfg.maxMessage())
	}
	rd := wire.NewReader(msg)
	kind, ref := readHead(rd)
	if err := rd.Err(); err != nil {
		return fmt.Errorf("erasure: message: %w", err)
	}
	if ref.Length > c.cfg.MaxBody {
		return fmt.Errorf("erasure: body of %d bytes, at most %d", ref.Length, c.cfg.MaxBody)
	}
	b := c.body(msg[2:headSize])
	peer := 0
	if b != nil {
		var ok bool
		if peer, ok = b.group.index[from]; !ok {
			return fmt.Errorf("erasure: %v: %w: not in group %d", from, ErrPeer, b.group.id)
		}
	}
	switch kind {
	case kindChunks:
		if b == nil {
			return c.tooEarly(from, ref, msg)
		}
		return c.chunks(b, peer, rd)
	case kindWant:
		w := ref.readWant(rd)
		if err := rd.Close(); err != nil {
			return fmt.Errorf("erasure: want: %w", err)
		}
		if b == nil {
			return nil // it knows more than we do
		}
		return c.serve(now, b, peer, &w)
	default:
		ask := rd.Bool()
		if err := rd.Close(); err != nil {
			return fmt.Errorf("erasure: vouch: %w", err)
		}
		if b == nil {
			return c.rumored(now, from, ref, msg[2:headSize])
		}
		c.vouched(b, peer, ask)
		return nil
	}
}

// early is chunks of one body that came from one peer before the body was
// announced, as they came.
type early struct {
	peer shardkit.NodeID
	raw  string
	msgs [][]byte
	size int
}

// tooEarly keeps a message about a body that has not been announced, if it may
// be of use: the announcement is on another path. What is kept of one peer is
// bounded in bodies and bytes; the latest counts.
func (c *Core) tooEarly(from shardkit.NodeID, ref Ref, msg []byte) error {
	room := 0
	for _, g := range c.groups {
		if i, ok := g.index[from]; ok && g.self >= 0 && g.fits(ref.Shape) {
			room = max(room, c.room(g, i))
		}
	}
	raw := msg[2:headSize]
	switch {
	case room == 0:
		return fmt.Errorf("erasure: %v: %w: no group with it makes bodies of %d of %d chunks", from, ErrPeer, ref.K, ref.N)
	case slices.Contains(c.forgotten, string(raw)):
		return nil
	case len(msg) > room:
		c.stats.EarlyDropped++
		return nil
	}
	c.makeRoom(from, raw, room-len(msg))
	for _, e := range c.early {
		if e.peer == from && e.raw == string(raw) {
			e.msgs, e.size = append(e.msgs, bytes.Clone(msg)), e.size+len(msg)
			return nil
		}
	}
	c.early = append(c.early, &early{peer: from, raw: string(raw), msgs: [][]byte{bytes.Clone(msg)}, size: len(msg)})
	return nil
}

// room is how many bytes are kept of messages of member i before their bodies
// are announced: as much as an honest member sends of one body of the greatest
// length.
func (c *Core) room(g *group, i int) int {
	lo, hi := g.deal.Range(i)
	own, end := g.deal.Range(g.self)
	ref := Ref{Shape: g.deal.Shape(c.cfg.MaxBody)}
	return max(hi-lo+end-own, 1)*ref.size() + c.cfg.Small + packTo
}

// makeRoom drops the oldest of what is kept of a peer until no more than size
// bytes are left and one more body is not too many.
func (c *Core) makeRoom(peer shardkit.NodeID, raw []byte, size int) {
	bytes, bodies := 0, 1
	for _, e := range c.early {
		if e.peer == peer {
			bytes += e.size
			if e.raw != string(raw) {
				bodies++
			}
		}
	}
	c.early = slices.DeleteFunc(c.early, func(e *early) bool {
		if e.peer != peer || bytes <= size && bodies <= c.cfg.PerPeer {
			return false
		}
		bytes -= e.size
		bodies--
		c.stats.EarlyDropped += uint64(len(e.msgs))
		return true
	})
}

// Done takes the result of a job.
func (c *Core) Done(now time.Duration, result any) {
	switch res := result.(type) {
	case encoded:
		c.encoded(now, res)
	case verified:
		c.verified(now, res)
	}
}

// Wake returns when the next body is due for something.
func (c *Core) Wake() (at time.Duration, ok bool) {
	for _, b := range c.bodies {
		if c.due(b) && (!ok || b.next < at) {
			at, ok = b.next, true
		}
	}
	return at, ok
}

// Tick asks for what is missing of the bodies that are due, and vouches again
// for those that others have not vouched for.
func (c *Core) Tick(now time.Duration) {
	for _, b := range c.bodies {
		switch {
		case !c.due(b) || b.next > now:
		case b.settled():
			c.vouch(now, b)
		default:
			c.ask(now, b)
		}
	}
}
