package fbft

import (
	"fmt"

	"github.com/shardkit/shardkit/fbft/internal/mutant"
	"github.com/shardkit/shardkit/internal/wire"
)

// replay binds this replica to what it did at this height in a former life.
//
// If the log has votes above this height but nothing of it, the records may
// have been pruned: the replica votes here no more, it only follows.
func (c *Core) replay() error {
	var mine []*logged
	keep := c.log[:0:0]
	above := false
	for _, l := range c.log {
		switch {
		case l.height == c.height:
			if l.epoch != c.epoch {
				return fmt.Errorf("fbft: start: the log has height %d in epoch %d, not %d", l.height, l.epoch, c.epoch)
			}
			mine = append(mine, l)
		case l.height > c.height:
			keep = append(keep, l)
			above = above || l.kind == recVote || l.kind == recReport
		}
	}
	c.log, c.inherited = keep, len(mine) > 0
	if above && len(mine) == 0 {
		c.voter = false
	}
	for _, l := range mine {
		if l.kind == recDecided {
			_ = c.onCertificate(c.cfg.Self, l.cert) // verified again, like any other
		}
	}
	if c.voter {
		c.resume(c.restore(mine))
	}
	return nil
}

// restore rebuilds the replica's word from its records and returns all locks
// it has had.
func (c *Core) restore(mine []*logged) (locks []*lock) {
	for _, l := range mine {
		switch l.kind {
		case recVote:
			if c.mutant(mutant.ForgetVotes) {
				continue
			}
			c.vote = &ownVote{vote: l.vote}
			c.view = max(c.view, l.view) // a view with a vote counts as entered
		case recLock:
			c.lock = &lock{cert: l.cert, header: l.data}
			locks = append(locks, c.lock)
		case recReport:
			c.reported = l.view
			c.report = &ownReport{report: report{view: l.view, claim: l.claim, previous: c.previous}}
		case recProposal:
			if p := c.storedProposal(l); p != nil {
				c.stored = p
			}
		}
	}
	return locks
}

// storedProposal decodes a proposal this replica made or prepared on. Bounds
// may have changed since; what no longer decodes is not repeated.
func (c *Core) storedProposal(l *logged) *current {
	r := wire.NewReader(l.data)
	readHeading(r)
	p := readProposal(r, c.cfg.MaxHeader, c.cfg.MaxRef)
	if r.Close() != nil {
		return nil
	}
	cur := c.newCurrent(p)
	cur.own = l.own
	return cur
}

// resume takes up work where the former life left it: sign the latest words
// again, which gives the same bytes, get the block it is locked on, and go on
// in the view.
func (c *Core) resume(locks []*lock) {
	if c.report != nil {
		for _, l := range locks {
			if p := &c.report.report; p.claim.ok && l.cert.View == p.claim.view && l.cert.Block == p.claim.block {
				p.cert, p.header = l.cert, l.header
			}
		}
		c.signReport()
	}
	if c.vote != nil {
		c.signVote()
	}
	if l := c.lock; l != nil {
		c.addBlock(l.cert.Block, l.header).asked = true
		c.ready.Validate = append(c.ready.Validate, Validate{Height: c.height, View: c.view,
			Hash: l.cert.Block, Header: l.header, From: c.cfg.Self, Certified: true})
		if l.cert.View == c.view {
			c.prepared = l.cert
		}
	}
	if s := c.stored; s != nil && s.view == c.view {
		if s.own {
			c.lead.proposed = true
			c.broadcast(0, s.raw, nil)
		}
		c.accept(s)
	}
	if c.vote != nil || c.report != nil || c.stored != nil {
		c.armTimer()
	}
}
