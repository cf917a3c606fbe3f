package statesync

import (
	"bytes"
	"errors"

	"github.com/shardkit/shardkit"
)

const (
	hopWindow = 256     // hops fetched ahead of the check
	hopBytes  = 8 << 20 // of them, about
	hopRun    = 64      // hops checked in one job
)

// committee is an encoded committee that has been verified, or was trusted.
type committee struct {
	epoch shardkit.Epoch
	data  []byte
}

// hopState is the walk over the epochs. The first number of the spool is the
// next epoch to be verified, under the committee of that epoch, which is
// known.
type hopState struct {
	spool    spool[Hop]
	checking bool
	prefer   *peer // alone asked: its head is of an epoch not verified yet
}

// hopsChecked is the outcome of a check.
type hopsChecked struct {
	good int
	err  error
	run  []Hop
}

func (s *hopState) start(epoch uint64) { *s = hopState{spool: newSpool[Hop](epoch)} }

// trust adds a committee.
func (c *Client) trust(e shardkit.Epoch, data []byte) {
	for i := range c.trusted {
		if c.trusted[i].epoch == e {
			c.trusted[i].data = bytes.Clone(data)
			return
		}
	}
	c.trusted = append(c.trusted, committee{e, bytes.Clone(data)})
}

// committee returns the committee of an epoch, nil if it is not known.
func (c *Client) committee(e shardkit.Epoch) []byte {
	for i := range c.trusted {
		if c.trusted[i].epoch == e {
			return c.trusted[i].data
		}
	}
	return nil
}

// prune drops committees that no head will need: heads are new, but for one
// that is resumed.
func (c *Client) prune(newest shardkit.Epoch) {
	keep := c.trusted[:0]
	for _, t := range c.trusted {
		old := t.epoch+3 <= newest
		if c.resume != nil && (t.epoch == c.resume.Epoch || t.epoch == c.resume.Epoch+1) {
			old = false
		}
		if !old {
			keep = append(keep, t)
		}
	}
	clear(c.trusted[len(keep):])
	c.trusted = keep
}

// pumpHops fetches and checks hops, and goes on to the heads when the peers
// have no more.
func (c *Client) pumpHops() {
	s := &c.hops
	c.checkHops()
	if p := s.prefer; p != nil && p.underway == 0 && p.until > c.now {
		s.spool.end = s.spool.base // it does not show what it claims to have
	}
	if s.spool.base >= s.spool.end && !s.checking {
		c.phase = heads
		c.forget()
		c.pumpHeads()
		return
	}
	for c.underway(askHops) < c.cfg.Parallel {
		underway := c.underway(askHops) > 0
		from, n := s.spool.missing(s.spool.limit(hopWindow, underway), c.asked(askHops))
		if n == 0 || s.spool.bytes >= hopBytes && from != s.spool.front() {
			return // what is held waits for the front, which always may be asked for
		}
		p := c.pick(func(p *peer) bool { return s.prefer == nil || p == s.prefer })
		if p == nil {
			return
		}
		c.ask(p, request{kind: askHops, from: from, most: n, maxBytes: p.maxBytes})
	}
}

// onHops takes hops from a peer.
func (c *Client) onHops(a *ask, ans *answer) {
	if c.phase != hops {
		return
	}
	s := &c.hops.spool
	for i, h := range ans.hops {
		h.Epoch = shardkit.Epoch(a.from) + shardkit.Epoch(i)
		h.Header, h.Cert, h.Committee = bytes.Clone(h.Header), bytes.Clone(h.Cert), bytes.Clone(h.Committee)
		s.put(uint64(h.Epoch), a.peer, h, len(h.Header)+len(h.Cert)+len(h.Committee))
	}
	s.answered(a.from, a.most, len(ans.hops), ans.more)
}

// checkHops begins the check of the hops at the front. There is one check at a
// time: only then is the committee known under which the first is checked, and
// a failure the fault of who sent it.
func (c *Client) checkHops() {
	s := &c.hops
	if s.checking {
		return
	}
	var run []Hop
	for len(run) < hopRun {
		e := s.spool.at(s.spool.base + uint64(len(run)))
		if e == nil || e.state != entryThere {
			break
		}
		e.state = entryChecking
		run = append(run, e.v)
	}
	if len(run) == 0 {
		return
	}
	s.checking = true
	check := c.hopCheck(c.committee(run[0].Epoch), run)
	c.job("statesync.hops", len(run), func() any {
		good, err := check()
		return hopsChecked{good, err, run}
	})
}

// hopCheck returns the check of a run, by the application's batch or one by
// one.
func (c *Client) hopCheck(committee []byte, run []Hop) func() (int, error) {
	if c.cfg.CheckHops != nil {
		return c.cfg.CheckHops(committee, run)
	}
	checks := make([]func() error, len(run))
	for i, h := range run {
		checks[i] = c.cfg.CheckHop(committee, h)
		committee = h.Committee
	}
	return func() (int, error) {
		for i, check := range checks {
			if err := check(); err != nil {
				return i, err
			}
		}
		return len(checks), nil
	}
}

func (c *Client) onHopsChecked(v hopsChecked) {
	s := &c.hops
	s.checking = false
	good := max(0, min(v.good, len(v.run)))
	for _, h := range v.run[:good] {
		c.trust(h.Epoch+1, h.Committee)
		c.stats.Hops++
		c.stats.Epoch = h.Epoch
		c.epochs++
	}
	s.spool.advance(s.spool.base + uint64(good))
	if good < len(v.run) && v.err == nil {
		v.err = errors.New("hop is not verified")
	}
	for i := range v.run[good:] {
		if e := s.spool.at(s.spool.base + uint64(i)); e.state == entryChecking {
			e.state = entryThere
		}
	}
	if good < len(v.run) {
		liar := s.spool.at(s.spool.base).peer
		c.bad(liar, v.err)
		s.spool.dropFrom(liar)
	}
	c.prune(shardkit.Epoch(s.spool.base))
}
