package statesync

import (
	"bytes"
	"math"
	"time"

	"github.com/shardkit/shardkit"
)

// blockBytes bounds what is held of blocks, about.
const blockBytes = 32 << 20

// blockState is the following of a chain. The first number of the spool is
// the height after the last one applied.
type blockState struct {
	spool    spool[Block]
	checking int
	poll     time.Duration // when to look for new blocks again
	prefer   *peer         // asked first: it was said to have what is new
}

// blockChecked is the outcome of a check.
type blockChecked struct {
	height uint64
	peer   *peer
	err    error
}

func (s *blockState) start(next shardkit.Height) {
	*s = blockState{spool: newSpool[Block](uint64(next))}
}

func (s *blockState) applied(h shardkit.Height) {
	if h < math.MaxUint64 {
		s.spool.advance(uint64(h) + 1)
	}
}

func (s *blockState) hint(c *Client, p *peer, h shardkit.Height) {
	if p == nil || uint64(h) < s.spool.base || h == math.MaxUint64 {
		return
	}
	s.prefer = p
	s.spool.known = max(s.spool.known, uint64(h)+1)
	if s.spool.end <= uint64(h) {
		s.spool.end = math.MaxUint64
	}
}

// pumpBlocks checks and hands out what is there and fetches what is missing.
func (c *Client) pumpBlocks() {
	s := &c.blocks
	c.checkBlocks()
	c.handOut()
	if c.now >= s.poll {
		s.poll = c.now + c.cfg.Poll
		s.spool.end = math.MaxUint64
	}
	c.wakeAt(s.poll)
	for c.underway(askBlocks) < c.cfg.Parallel {
		limit := s.spool.limit(c.cfg.Window, c.underway(askBlocks) > 0)
		from, n := s.spool.missing(limit, c.asked(askBlocks))
		if n == 0 || s.spool.bytes >= blockBytes && from != s.spool.front() {
			return // what is held waits for the front, which always may be asked for
		}
		p := s.prefer
		if p == nil || p.until > c.now || p.underway >= perPeer {
			p = c.pick(nil)
		}
		if p == nil {
			return
		}
		s.prefer = nil
		c.ask(p, request{kind: askBlocks, from: from, most: n, maxBytes: p.maxBytes})
	}
}

// onBlocks takes blocks from a peer.
func (c *Client) onBlocks(a *ask, ans *answer) {
	if c.phase != follow {
		return
	}
	s := &c.blocks.spool
	for i, b := range ans.blocks {
		b.Height = shardkit.Height(a.from) + shardkit.Height(i)
		b.Header, b.Cert, b.Body = bytes.Clone(b.Header), bytes.Clone(b.Cert), bytes.Clone(b.Body)
		s.put(uint64(b.Height), a.peer, b, len(b.Header)+len(b.Cert)+len(b.Body))
	}
	s.answered(a.from, a.most, len(ans.blocks), ans.more)
}

// checkBlocks begins checks, in order of height.
func (c *Client) checkBlocks() {
	s := &c.blocks
	for n := s.spool.base; s.checking < c.cfg.Parallel; n++ {
		e := s.spool.at(n)
		if e == nil || e.state == entryMissing {
			return
		}
		if e.state != entryThere {
			continue
		}
		e.state = entryChecking
		s.checking++
		peer, check := e.peer, c.cfg.CheckBlock(e.v)
		c.job("statesync.block", e.size, func() any { return blockChecked{n, peer, check()} })
	}
}

func (c *Client) onBlockChecked(v blockChecked) {
	s := &c.blocks
	s.checking--
	e := s.spool.at(v.height)
	if v.err != nil {
		c.bad(v.peer, v.err)
		s.spool.dropFrom(v.peer)
		if e != nil {
			s.spool.drop(e)
		}
		return
	}
	c.stats.Blocks++
	if e != nil {
		e.state = entryGood
	}
}

// handOut gives the application the checked blocks that come next.
func (c *Client) handOut() {
	s := &c.blocks.spool
	for n := s.base; ; n++ {
		e := s.at(n)
		switch {
		case e != nil && e.state == entryGiven:
			continue
		case e == nil || e.state != entryGood:
			return
		}
		c.ready.Blocks = append(c.ready.Blocks, e.v)
		c.stats.Height = e.v.Height
		s.release(e)
	}
}
