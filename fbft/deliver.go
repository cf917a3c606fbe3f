package fbft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft/internal/mutant"
	"github.com/shardkit/shardkit/internal/wire"
)

// Deliver takes a message from a peer that the transport has authenticated. It
// does not keep msg. An error means that no honest peer sends this (see
// ErrMalformed and the others); what merely comes late, twice or too early is
// no error.
func (c *Core) Deliver(now time.Duration, from shardkit.NodeID, msg []byte) error {
	c.advance(now)
	r := wire.NewReader(msg)
	h := readHeading(r)
	if err := r.Err(); err != nil {
		return malformed("message", err)
	}
	if h.shard != c.cfg.Shard {
		return fmt.Errorf("fbft: message of shard %d: %w", h.shard, ErrInvalid)
	}
	switch {
	// Own words count by another way, once they are durable; an echo of them
	// out of the network must not be a short cut.
	case !c.started || from == c.cfg.Self:
		return nil
	case h.height < c.height || h.height == c.height && c.decided != nil:
		return c.onOld(from, h, r)
	case h.height == c.height:
		if c.repeated(from, h.kind, msg) {
			return nil
		}
		return c.onCurrent(from, h.kind, r)
	// An honest leader of the next height knows how this one ended.
	case h.height == c.height+1:
		return c.onNext(from, h, r, msg)
	case h.height <= c.height+maxAhead:
		c.keepEarly(from, h, msg)
	}
	c.onFuture(from, h, msg)
	return nil
}

// repeated recognises, before anything is decoded or copied, what the leader of
// the view says again. Votes are recognised where they are filed.
func (c *Core) repeated(from shardkit.NodeID, kind uint8, msg []byte) bool {
	if from != c.committee.members[c.leader(c.view)].Node {
		return false
	}
	switch kind {
	case kindProposal:
		return c.proposal != nil && bytes.Equal(c.proposal.raw, msg)
	case kindCertificate:
		// One prepared certificate of a view is as good as another, so the view
		// is enough to know it by.
		const view = headingSize + 19 // behind want, version, phase, epoch, height
		return c.prepared != nil && phaseOf(kind, msg) == Prepare && len(msg) >= view+8 &&
			binary.BigEndian.Uint64(msg[view:]) == c.prepared.View
	}
	return false
}

// onCurrent takes a message of this height, which is not decided.
func (c *Core) onCurrent(from shardkit.NodeID, kind uint8, r *wire.Reader) error {
	// Certificates prove themselves, whoever brings them.
	if kind == kindCertificate {
		m := readCertMessage(r)
		if err := r.Close(); err != nil {
			return malformed("certificate", err)
		}
		return c.onCertificate(from, m.cert)
	}
	i, ok := c.committee.Index(from)
	if !ok {
		// Members of the committee before have no part in this height, but no
		// bad intent either: it is they who may not know yet.
		if c.before != nil {
			if _, ok := c.before.Index(from); ok {
				return nil
			}
		}
		return fmt.Errorf("fbft: height %d: %w", c.height, ErrMember)
	}
	c.learnHolder(i)
	switch kind {
	// LATE here is of a member that is ahead: its COMMIT counts like any.
	case kindVote, kindLate:
		v := readVote(r)
		if err := r.Close(); err != nil {
			return malformed("vote", err)
		}
		c.onVote(i, v)
		return nil
	case kindProposal:
		p := readProposal(r, c.cfg.MaxHeader, c.cfg.MaxRef)
		if err := r.Close(); err != nil {
			return malformed("proposal", err)
		}
		return c.onProposal(i, p)
	case kindReport:
		p := readReport(r, c.cfg.MaxHeader)
		if err := r.Close(); err != nil {
			return malformed("report", err)
		}
		return c.onReport(i, p)
	}
	return malformed("message", errors.New("unknown kind"))
}

// onCertificate takes PREPARED from the leader of its view, or COMMITTED from
// anybody.
func (c *Core) onCertificate(from shardkit.NodeID, ct *Certificate) error {
	if ct.Height != c.height || ct.Epoch != c.epoch {
		return fmt.Errorf("fbft: certificate of another height: %w", ErrInvalid)
	}
	// Weight is counted before anything is verified: what is too light costs
	// nothing.
	if err := c.shape(ct); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if ct.Phase == Commit {
		c.check(from, check{kind: checkCommitted, cert: ct})
		return nil
	}
	// Anybody else may hold it, but has reports to pass it on with; if all
	// could send it, each could ask for a verification.
	if i, ok := c.committee.Index(from); !ok || i != c.leader(ct.View) {
		return fmt.Errorf("fbft: prepared certificate of view %d: %w", ct.View, ErrRole)
	}
	if c.voter && c.timely(ct) && !(c.prepared != nil && c.prepared.View >= ct.View) {
		c.check(from, check{kind: checkPrepared, cert: ct})
	}
	return nil
}

// onNext takes a message of the next height: what it brings along about this
// one counts at once.
func (c *Core) onNext(from shardkit.NodeID, h heading, r *wire.Reader, msg []byte) error {
	var previous *Certificate
	switch h.kind {
	case kindProposal:
		p := readProposal(r, c.cfg.MaxHeader, c.cfg.MaxRef)
		if err := r.Close(); err != nil {
			return malformed("proposal", err)
		}
		previous = p.previous
	case kindReport:
		p := readReport(r, c.cfg.MaxHeader)
		if err := r.Close(); err != nil {
			return malformed("report", err)
		}
		previous = p.previous
	case kindCertificate:
		c.onFuture(from, h, msg)
	}
	c.keepEarly(from, h, msg)
	// It is verified like any: the next height's leader may be hostile, or no
	// leader.
	if previous == nil || c.decided != nil || previous.Phase != Commit {
		return nil
	}
	return c.onCertificate(from, previous)
}

// keepEarly keeps a message of one of the next heights until that starts: a
// replica that is a little behind would otherwise wait for repetitions. What is
// large is kept only of those who send it unless the view changes. The next
// height may have another committee: a little of it is kept of anybody.
func (c *Core) keepEarly(from shardkit.NodeID, h heading, msg []byte) {
	most := maxEarly + earlyShare*c.committee.Len() + c.cfg.MaxHeader + c.cfg.MaxRef
	if c.cfg.Signer == nil || h.kind == kindReport || len(msg) > most {
		return
	}
	i, member := c.committee.Index(from)
	stranger := !member
	if h.kind == kindProposal {
		stranger = stranger || i != c.leaderAt(h.height, 0)
	} else if len(msg) > maxEarly {
		stranger = stranger || i != c.leaderAt(h.height, 0) && i != c.leaderAt(h.height, 1) && i != c.leaderAt(h.height+1, 0)
	}
	// Names outside the committee are free. Only the next height can be theirs,
	// and votes for it are repeated when they are needed.
	if stranger && (h.height != c.height+1 || h.kind == kindVote) {
		return
	}
	c.early[h.height%maxAhead].put(from, h, msg, stranger)
}

// onFuture takes notice of a member that is ahead, each time it is further. Who
// has the commit certificate of a height is past it. It is a hint and may be a
// lie: it moves nothing here.
func (c *Core) onFuture(from shardkit.NodeID, h heading, msg []byte) {
	at := h.height
	if h.kind == kindCertificate && phaseOf(h.kind, msg) == Commit {
		at++
	}
	if c.knows(from) && c.hints.allow(c.now, c.cfg.Resend, from, at) {
		c.ready.Behind = append(c.ready.Behind, Behind{Peer: from, Height: at})
	}
}

// knows reports whether a node has a part in this height.
func (c *Core) knows(node shardkit.NodeID) bool {
	_, ok := c.committee.Index(node)
	if !ok && c.before != nil {
		_, ok = c.before.Index(node)
	}
	return ok
}

// onOld takes a message of a decided height. Who still works there has missed
// the certificate, and gets it; a certificate asks only if it says so, or two
// replicas that both lag would answer each other without end.
func (c *Core) onOld(from shardkit.NodeID, h heading, r *wire.Reader) error {
	missing := h.height
	switch h.kind {
	case kindVote:
		c.onLateVote(from, h.height, r)
	case kindLate: // its sender lacks nothing
		c.onLateVote(from, h.height, r)
		return nil
	}
	if c.mutant(mutant.SilentPast) {
		return nil
	}
	if h.kind == kindCertificate {
		want := r.Bool()
		if c.before != nil && c.previous != nil && h.height+1 == c.height {
			c.learnHolderNode(from)
		}
		if !want {
			return nil
		}
		missing++
	}
	// how that height ends is not known here either
	if missing > c.height || missing == c.height && c.decided == nil {
		return nil
	}
	if len(c.ring) == 0 || missing < c.ring[0].cert.Height {
		// It may be of a committee long gone, which only the application knows.
		// Strangers are counted apart: a crowd of them must not shut out members.
		allowed := &c.guests
		if c.knows(from) {
			allowed = &c.answers
		}
		if allowed.allow(c.now, c.cfg.Resend/2, from, missing) {
			c.ready.Serve = append(c.ready.Serve, Serve{To: from, Height: missing})
		}
		return nil
	}
	for i := len(c.ring) - 1; i >= 0; i-- {
		if s := &c.ring[i]; s.cert.Height == missing {
			c.answer(from, s)
			return nil
		}
	}
	return nil
}

// answer sends a settled height's certificate to one that lacks it. Just after
// the decision nobody does: it is still on its way. The period is half of that
// in which others repeat, so that each of their repetitions can be answered,
// but no peer draws more than that.
func (c *Core) answer(to shardkit.NodeID, s *settled) {
	if !s.concerns(to) && !c.knows(to) {
		return
	}
	if c.now-s.since < c.cfg.Resend/2 || !c.answers.allow(c.now, c.cfg.Resend/2, to, s.cert.Height) {
		return
	}
	c.send(to, 0, c.committed(s.cert, false))
	if last := c.ring[len(c.ring)-1].cert; last != s.cert {
		c.send(to, 0, c.committed(last, false)) // there is more to catch up with
	}
}

// concerns reports whether a node is to learn how the height ended: its
// committee, and the one that this height relieved.
func (s *settled) concerns(node shardkit.NodeID) bool {
	_, ok := s.committee.Index(node)
	if !ok && s.before != nil {
		_, ok = s.before.Index(node)
	}
	return ok
}

// committed returns the message that carries a certificate, of any height.
func (c *Core) committed(ct *Certificate, want bool) []byte {
	m := certMessage{cert: ct, want: want}
	return m.appendTo(appendHeading(nil, kindCertificate, c.cfg.Shard, ct.Height))
}

// Accept takes a commit certificate that came by another way than Deliver, for
// the current height. It is verified like any other.
func (c *Core) Accept(now time.Duration, ct *Certificate) error {
	return c.acceptFrom(now, c.cfg.Self, ct)
}

// acceptFrom is Accept of what a peer has sent.
func (c *Core) acceptFrom(now time.Duration, from shardkit.NodeID, ct *Certificate) error {
	c.advance(now)
	if !c.started || c.decided != nil || ct.Height != c.height {
		return nil
	}
	if ct.Phase != Commit {
		return errors.New("fbft: accept: not a commit certificate")
	}
	return c.onCertificate(from, ct)
}

// decide ends the height. The certificate has been verified, or was made here.
func (c *Core) decide(ct *Certificate) {
	if c.decided != nil {
		return
	}
	c.decided = ct
	// Nothing waits for this record: the certificate proves itself, and whether
	// the block is applied the ledger says. It saves a replica that falls here
	// from asking.
	c.record(&logged{kind: recDecided, cert: ct})
	// Who is still at work on this height asks, and is answered out of the
	// ring.
	c.timer.on, c.resend.on = false, false
	c.lead, c.checks, c.own = lead{}, nil, nil
	// A header without its body is no block yet: the application must not take
	// it for one it can apply.
	d := Decided{Height: c.height, Hash: ct.Block, Certificate: ct}
	if b := c.findBlock(ct.Block); b != nil {
		if d.Known = b.header; b.valid {
			d.Header = b.header
		}
	}
	c.ready.Decided = append(c.ready.Decided, d)
	c.settle(settled{cert: ct, committee: c.committee, before: c.before, since: c.now})
	c.keepLate(ct)
}

// publish tells everybody how the height ended.
func (c *Core) publish(ct *Certificate) {
	data := c.committed(ct, false)
	c.broadcast(0, data, nil)
	if c.before == nil {
		return
	}
	for _, m := range c.before.members {
		if _, both := c.committee.Index(m.Node); !both {
			c.send(m.Node, 0, data)
		}
	}
}

// settle remembers a certificate to answer with.
func (c *Core) settle(s settled) {
	n := len(c.ring)
	// Certificates of a height may differ in signers; the first one is as good.
	if n > 0 && c.ring[n-1].cert.Height >= s.cert.Height {
		return
	}
	if n > 0 && c.ring[n-1].cert.Height+1 != s.cert.Height {
		c.ring = nil // a gap: what lies below is served by the application
	}
	if len(c.ring) == maxRing {
		c.ring = append([]settled(nil), c.ring[1:]...)
	}
	c.ring = append(c.ring, s)
}

// handOver tells who may not know how the last height ended, and asks one of
// those who do how this one ended. The old committee has no other way to learn
// that it is relieved, the new one none to learn that it is on duty.
func (c *Core) handOver() {
	// Also after a restart: what was told before it may have been lost.
	data := c.committed(c.previous, false)
	n, m := c.committee.Len(), c.before.Len()
	for i := range n {
		if !c.holds.Has(i) {
			c.send(c.committee.members[i].Node, 0, data)
		}
	}
	for i := range m {
		if _, both := c.committee.Index(c.before.members[i].Node); !both && !c.holds.Has(n+i) {
			c.send(c.before.members[i].Node, 0, data)
		}
	}
	c.send(c.committee.members[c.polls%n].Node, 0, c.committed(c.previous, true))
	c.polls = (c.polls + 1) % n
}

// learnHolder notes that member i works at this height, so that it holds the
// certificate of the last.
func (c *Core) learnHolder(i int) {
	if c.holds != nil {
		// a copy: clones share it
		c.holds = append(Bitmap(nil), c.holds...)
		c.holds.Set(i)
	}
}

func (c *Core) learnHolderNode(node shardkit.NodeID) {
	if i, ok := c.committee.Index(node); ok {
		c.learnHolder(i)
	} else if i, ok := c.before.Index(node); ok {
		c.learnHolder(c.committee.Len() + i)
	}
}
