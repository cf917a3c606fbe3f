package statesync

import (
	"bytes"
	"cmp"
	"slices"
	"time"
)

const (
	maxHeads = 8 // peers that are asked for their head
	headLag  = 2 // heights by which honest peers may be apart
)

// headState is the search for the newest head.
type headState struct {
	asked    bool
	close    time.Duration // when to go on with what was found
	found    []candidate
	checking bool
	resumed  bool // the head to resume has been considered
}

// candidate is a head that a peer claims. A nil peer: the head to resume.
type candidate struct {
	peer  *peer
	head  Head
	tried bool // its epoch's hop was asked for
}

// headChecked is the outcome of a check.
type headChecked struct {
	candidate candidate
	err       error
}

// pumpHeads asks several peers for their head and takes the newest that is
// certified: a single one could show an old head, which would be certified as
// well.
func (c *Client) pumpHeads() {
	s := &c.heads
	if s.checking {
		return
	}
	if c.resume != nil && !s.resumed {
		s.resumed = true
		if c.judge(candidate{head: *c.resume, tried: true}) {
			return
		}
	}
	if !s.asked {
		c.askHeads()
	}
	if c.underway(askHead) > 0 && (len(s.found) == 0 || c.now < s.close) {
		if len(s.found) > 0 {
			c.wakeAt(s.close)
		}
		return
	}
	for len(s.found) > 0 {
		if c.judge(s.next()) {
			return
		}
	}
	c.again(c.cfg.Timeout / 2)
}

// next takes the candidate to judge first out of those found: of the newest
// and those at most headLag behind it the oldest, because all peers are likely
// to serve it; a head that only one of them has yet, only one serves.
func (s *headState) next() candidate {
	newest := slices.MaxFunc(s.found, byHeight).head.Height
	best := 0
	for i, f := range s.found {
		height, top := f.head.Height, s.found[best].head.Height
		near := newest-height <= headLag
		if near && (newest-top > headLag || height < top) {
			best = i
		}
	}
	f := s.found[best]
	s.found = slices.Delete(s.found, best, best+1)
	return f
}

func byHeight(a, b candidate) int { return cmp.Compare(a.head.Height, b.head.Height) }

// askHeads asks up to maxHeads peers.
func (c *Client) askHeads() {
	c.heads.asked = true
	for c.underway(askHead) < maxHeads {
		p := c.pick(func(p *peer) bool { return !c.isAsked(p, askHead) })
		if p == nil {
			return
		}
		c.ask(p, request{kind: askHead})
	}
}

// onHead takes the head of a peer.
func (c *Client) onHead(a *ask, ans *answer) {
	if c.phase != heads || ans.head == nil {
		return
	}
	h := *ans.head
	h.Header, h.Cert = bytes.Clone(h.Header), bytes.Clone(h.Cert)
	s := &c.heads
	if len(s.found) == 0 {
		s.close = c.now + c.cfg.Timeout/4
	}
	s.found = append(s.found, candidate{peer: a.peer, head: h})
}

// judge goes on with a candidate if it can be used: it checks it, or fetches
// the hop of its epoch first.
func (c *Client) judge(f candidate) bool {
	committee := c.committee(f.head.Epoch)
	if committee != nil && c.committee(f.head.Epoch+1) != nil {
		c.heads.checking = true
		check := c.cfg.CheckHead(committee, f.head)
		c.job("statesync.head", 1, func() any { return headChecked{f, check()} })
		return true
	}
	base := c.hops.spool.base
	if f.tried || uint64(f.head.Epoch) < base {
		if f.peer != nil && f.tried {
			c.failed(f.peer) // it claims an epoch that it does not show
		}
		return false
	}
	f.tried = true
	c.heads.found = append(c.heads.found, f)
	c.forget()
	c.hops.start(base)
	c.hops.prefer = f.peer
	c.phase = hops
	c.wakeAt(c.now)
	return true
}

func (c *Client) onHeadChecked(v headChecked) {
	c.heads.checking = false
	f := v.candidate
	if v.err != nil {
		if f.peer != nil {
			c.bad(f.peer, v.err)
		}
		return
	}
	c.stats.Height = f.head.Height
	c.phase = begun
	c.state = rangeState{head: f.head}
	c.forget()
}

// again looks for hops and a head once more, after a while.
func (c *Client) again(after time.Duration) {
	base := c.hops.spool.base
	c.forget()
	c.life++
	c.round++
	c.hops.start(base)
	c.heads = headState{resumed: true}
	c.state = rangeState{}
	c.phase = hops
	c.retry = c.now + after
	c.wakeAt(c.retry)
}
