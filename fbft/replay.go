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
//
// Records of heights below are dropped: up to its head the ledger is the
// authority, and this height is above.
func (c *Core) replay() error {
	var mine []*logged
	keep := c.log[:0:0]
	above := false
	for _, l := range c.log {
		switch {
		case l.height == c.height:
			// Votes name the epoch: under another, what was said would bind
			// nobody, and the replica could say the opposite.
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
		// First, for a height that is decided needs no more words.
		if l.kind == recDecided {
			_ = c.onCertificate(c.cfg.Self, l.cert) // verified again, like any other
		}
	}
	if c.voter {
		c.resume(c.restore(mine))
	}
	return nil
}

// restore rebuilds the replica's word from its records and returns all locks it
// has had. They come in the order in which they were made, in which views,
// locks and reports rise: the last of each kind is the one that counts. Record
// numbers stay 0, which is durable: what is said again may leave at once.
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
			// A report enters no view: until others are there too the replica
			// waits, and below it votes in none.
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
		// The claim need not be the highest lock: one may have come after it.
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
	// That the body was held is no longer known for sure, so the application is
	// asked; it counts again once that has answered. The locked block must be
	// had by somebody for the shard to go on.
	if l := c.lock; l != nil {
		c.await(c.addBlock(l.cert.Block, l.header))
		c.ready.Validate = append(c.ready.Validate, Validate{Height: c.height, View: c.view,
			Hash: l.cert.Block, Header: l.header, From: c.cfg.Self, Certified: true})
		// It may have fallen between the lock and its COMMIT.
		if l.cert.View == c.view {
			c.prepared = l.cert
		}
	}
	if s := c.stored; s != nil && s.view == c.view {
		// The same bytes, so that votes before and after the fall add up.
		if s.own {
			c.lead.proposed = true
			c.broadcast(0, s.raw, nil)
		}
		c.accept(s)
	}
	// There was work at this height, so silence is a fault.
	if c.vote != nil || c.report != nil || c.stored != nil {
		c.armTimer()
	}
}
