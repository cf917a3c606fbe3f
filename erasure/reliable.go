package erasure

import (
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Reliable broadcast: either every honest member delivers, or none does, also
// if the sender is hostile and announces the body to some only.
//
// Who has a body says so to all (a vouch), once it has checked it. A body is
// delivered when members of quorum weight q have vouched: of those, honest ones
// of weight Sure hold all of it, so whoever lacks it can get it from them,
// vouches in turn, and in the end everybody has q vouches. A member that hears
// vouches of weight W - q + 1, so of one honest member at least, for a body
// that was never announced to it takes that for the announcement.
//
// This is the agreement part of Bracha's broadcast (1987) as Cachin and Tessaro
// (2005) use it for dispersal, with the difference that a vouch is given by
// holders only, never for what others said: the amplification step becomes to
// fetch, which every member has to do anyway.

// rumor is what is known of a body that was not announced, from those who
// vouch for it.
type rumor struct {
	raw     string
	group   *group
	by      int    // the member that brought it up
	vouched []bool // by member
	weight  uint64
}

// quorum returns the weight q of which Sure is 2q - W.
func (g *group) quorum() uint64 { return (g.Sure + g.total + 1) / 2 }

// assured reports whether enough members have the body that all will.
func (c *Core) assured(b *body) bool {
	return !c.cfg.Reliable || b.vouches >= b.group.quorum()
}

// due reports whether something is still to be done about a body.
func (c *Core) due(b *body) bool {
	return !b.settled() || c.cfg.Reliable && b.err == nil && b.vouches < b.group.total
}

// vouchFor counts the vouch of a member.
func (b *body) vouchFor(member int) {
	if !b.peers[member].vouched {
		b.peers[member].vouched = true
		b.vouches += b.group.Members[member].Weight
	}
}

// vouch tells the members that this node has the body: at first all of them,
// then again and again those from whom nothing has been heard: they may not have
// heard either, and those that have the body answer. Once it is certain that
// all will have it, the intervals grow, until Forget.
func (c *Core) vouch(now time.Duration, b *body) {
	first := !b.peers[b.group.self].vouched
	if first {
		b.vouchFor(b.group.self)
	}
	b.next = now + c.cfg.Resend
	if c.assured(b) {
		b.next = now + c.cfg.Resend<<min(b.calm, 10)
		b.calm++
	}
	msg := vouchMessage(b, !first)
	for i, m := range b.group.Members {
		if i != b.group.self && (first || !b.peers[i].vouched) {
			c.post(m.Node, [][]byte{msg})
		}
	}
}

func vouchMessage(b *body, ask bool) []byte {
	msg := appendHead(make([]byte, 0, headSize+1), kindVouch, []byte(b.raw))
	return wire.AppendBool(msg, ask)
}

// vouched takes the vouch of a member.
func (c *Core) vouched(b *body, member int, ask bool) {
	if !c.cfg.Reliable || b.err != nil {
		return
	}
	b.vouchFor(member)
	if ask && b.coded != nil {
		// The answer asks for nothing, so that it does not go on for ever.
		c.post(b.group.Members[member].Node, [][]byte{vouchMessage(b, false)})
	}
	c.conclude(b)
}

// rumored takes the vouch for a body that was not announced.
func (c *Core) rumored(now time.Duration, from shardkit.NodeID, ref Ref, raw []byte) error {
	if !c.cfg.Reliable || slices.Contains(c.forgotten, string(raw)) {
		return nil
	}
	r := c.rumor(from, ref, raw)
	if r == nil {
		return fmt.Errorf("erasure: %v: %w to vouch for a body of %d of %d chunks", from, ErrPeer, ref.K, ref.N)
	}
	i, ok := r.group.index[from]
	if !ok || r.vouched[i] {
		return nil
	}
	r.vouched[i] = true
	r.weight += r.group.Members[i].Weight
	if r.weight <= r.group.total-r.group.quorum() {
		return nil
	}
	c.rumors = slices.DeleteFunc(c.rumors, func(o *rumor) bool { return o == r })
	if err := c.Obtain(now, r.group.id, from, raw); err != nil {
		return err
	}
	if b := c.body(raw); b != nil {
		for m, v := range r.vouched {
			if v {
				b.vouchFor(m)
			}
		}
		c.conclude(b)
	}
	return nil
}

// rumor returns the record of what is said about a body, a new one if it can be
// of a group of both; nil: it cannot. Of those that one member brought up, the
// oldest goes if there are too many.
func (c *Core) rumor(from shardkit.NodeID, ref Ref, raw []byte) *rumor {
	for _, r := range c.rumors {
		if r.raw == string(raw) {
			return r
		}
	}
	for _, g := range c.groups {
		i, ok := g.index[from]
		if !ok || g.self < 0 || !g.fits(ref.Shape) {
			continue
		}
		mine := func(r *rumor) bool { return r.group == g && r.by == i }
		n := 0
		for _, r := range c.rumors {
			if mine(r) {
				n++
			}
		}
		if n >= c.cfg.PerPeer {
			first := slices.IndexFunc(c.rumors, mine)
			c.rumors = slices.Delete(c.rumors, first, first+1)
		}
		r := &rumor{raw: string(raw), group: g, by: i, vouched: make([]bool, len(g.Members))}
		c.rumors = append(c.rumors, r)
		return r
	}
	return nil
}
