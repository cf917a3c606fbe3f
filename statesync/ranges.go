package statesync

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
)

const (
	// segmentChunks is about how many chunks make up a segment: few enough that
	// a crash, which keeps only what is written without a gap, costs little;
	// many enough that the overlap at a segment's end does.
	segmentChunks = 16
	// staleTimeouts is after how many timeouts without any progress a head is
	// given up for a newer one.
	staleTimeouts = 16
	chunkSlack    = 256 << 10 // bytes by which a chunk may exceed what was asked for
)

// rangeState is the download of the state of a head. What is missing is cut
// into segments, several of which are walked at a time, each by requests of
// which the next one starts where the one before ended. Keys are taken to be
// spread evenly, which is true of hashes; if they are not, the download is
// still right, only less parallel.
type rangeState struct {
	head     Head
	open     []Gap      // missing, and in no segment; in order
	segments []*segment // being walked
	unit     uint64     // key space per byte, by the last chunk; 0: not known
	queue    []chunkChecked
	bytes    int
	count    int
	moved    time.Duration // when there last was progress
}

// segment is a gap that is being walked.
type segment struct {
	Gap
	asked    bool
	checking bool
}

type stateBegun struct {
	gaps []Gap
	err  error
}

// chunkChecked is the outcome of a check; if good, the chunk is to be written.
type chunkChecked struct {
	segment *segment
	peer    *peer
	from    shardkit.Hash
	chunk   []byte
	next    shardkit.Hash
	done    bool
	err     error
}

type chunkWritten struct {
	size int
	err  error
}

type stateFinished struct{ err error }

// pumpBegin makes room for the state, once the disk is free.
func (c *Client) pumpBegin() {
	if c.disk {
		return
	}
	c.phase = ranges
	c.state.moved = c.now
	begin := c.cfg.Begin(c.state.head)
	var read func() ([]Gap, error)
	if c.cfg.Gaps != nil {
		read = c.cfg.Gaps()
	}
	c.diskJob("statesync.begin", 1, func() any {
		resume, err := begin()
		gaps := []Gap{{From: resume}}
		if err == nil && read != nil {
			gaps, err = read()
		}
		return stateBegun{gaps, err}
	})
}

func (c *Client) onBegun(v stateBegun) {
	if v.err != nil {
		c.fail(v.err)
		return
	}
	c.state.open = slices.Clone(v.gaps)
	c.state.moved = c.now
}

// pumpRanges writes what is checked, asks for what is missing, and finishes
// when nothing is.
func (c *Client) pumpRanges() {
	s := &c.state
	c.write()
	if len(s.open) == 0 && len(s.segments) == 0 && len(s.queue) == 0 {
		if !c.disk { // else it is beginning, or writing the last chunk
			c.finish()
		}
		return
	}
	if c.now >= s.moved+staleTimeouts*c.cfg.Timeout || c.allGone() {
		c.stats.Restarts++
		c.again(0)
		return
	}
	c.plan()
	for _, g := range s.segments {
		if g.asked || g.checking || len(s.queue) >= 2*c.cfg.Parallel {
			continue
		}
		p := c.pick(func(p *peer) bool { return !c.isGone(p) })
		if p == nil {
			return
		}
		a := c.ask(p, request{kind: askRange, from: uint64(s.head.Height), start: g.From, maxBytes: c.size(g, p)})
		a.segment, g.asked = g, true
	}
}

// isGone reports whether a peer does not serve the head, by its last word.
func (c *Client) isGone(p *peer) bool {
	gone := p.gone == c.round && c.now < p.back
	if gone {
		c.wakeAt(p.back)
	}
	return gone
}

// allGone reports whether no peer serves the head.
func (c *Client) allGone() bool {
	for _, p := range c.peers {
		if !c.isGone(p) {
			return false
		}
	}
	return len(c.peers) > 0
}

// size returns how many bytes to ask for: no more than are likely left in the
// segment.
func (c *Client) size(g *segment, p *peer) int {
	if c.state.unit == 0 {
		return p.maxBytes
	}
	left := g.width() / c.state.unit
	return int(min(uint64(p.maxBytes), left+left/8+4096))
}

// plan opens further segments, until as many are walked as requests may be
// under way. As long as it is not known how dense the keys are there is one;
// at the end the last one is shared out.
func (c *Client) plan() {
	s := &c.state
	if len(s.open) == 0 && len(s.segments) == 1 && s.unit > 0 {
		if g := s.segments[0]; !g.asked && !g.checking {
			s.open = append(s.open, g.Gap)
			s.segments = nil
		}
	}
	var width uint64
	for _, g := range s.open {
		width = plus(width, g.width())
	}
	stride := uint64(math.MaxUint64)
	if s.unit > 0 {
		chunk := times(s.unit, uint64(c.cfg.MaxBytes))
		stride = min(max(width/uint64(c.cfg.Parallel), chunk), times(chunk, segmentChunks))
	}
	for len(s.open) > 0 && len(s.segments) < c.cfg.Parallel && (s.unit > 0 || len(s.segments) == 0) {
		g := s.open[0]
		if g.width() > stride {
			g.To = placed(place(g.From) + stride)
			s.open[0].From = g.To
		} else {
			s.open = s.open[1:]
		}
		s.segments = append(s.segments, &segment{Gap: g})
	}
}

// onChunk takes a chunk from a peer.
func (c *Client) onChunk(a *ask, ans *answer) {
	g := a.segment
	if c.phase != ranges {
		return
	}
	if len(ans.chunk) > 2*a.maxBytes+chunkSlack {
		c.bad(a.peer, errors.New("chunk of far more than was asked for"))
		return
	}
	chunk := bytes.Clone(ans.chunk)
	g.checking = true
	check := c.cfg.CheckRange(c.state.head.Root, a.start, chunk)
	c.job("statesync.range", len(chunk), func() any {
		next, done, err := check()
		if err == nil && !done && bytes.Compare(next[:], a.start[:]) <= 0 {
			err = errors.New("chunk that leads nowhere")
		}
		return chunkChecked{g, a.peer, a.start, chunk, next, done, err}
	})
}

func (c *Client) onChunkChecked(v chunkChecked) {
	s, g := &c.state, v.segment
	g.checking = false
	if v.err != nil {
		c.bad(v.peer, v.err)
		return
	}
	s.queue = append(s.queue, v)
	s.moved = c.now
	if !v.done {
		s.unit = max(1, (place(v.next)-place(v.from))/uint64(max(1, len(v.chunk))))
	}
	c.covered(Gap{v.from, v.next}) // next is zero if done, which means the end
}

// covered takes a range out of what is missing: from the segment that it was
// fetched for, and from what lies behind that.
func (c *Client) covered(r Gap) {
	s := &c.state
	s.segments = slices.DeleteFunc(s.segments, func(g *segment) bool {
		return !g.Gap.cut(r)
	})
	open := s.open[:0]
	for _, g := range s.open {
		if g.cut(r) {
			open = append(open, g)
		}
	}
	s.open = open
}

// write stores the next checked chunk, once the disk is free.
func (c *Client) write() {
	s := &c.state
	if c.disk || len(s.queue) == 0 {
		return
	}
	v := s.queue[0]
	s.queue[0] = chunkChecked{}
	s.queue = s.queue[1:]
	write := c.cfg.Write(v.from, v.chunk)
	size := len(v.chunk)
	c.diskJob("statesync.write", size, func() any { return chunkWritten{size, write()} })
}

func (c *Client) onWritten(v chunkWritten) {
	if v.err != nil {
		c.fail(v.err)
		return
	}
	c.state.bytes += v.size
	c.state.count++
	c.state.moved = c.now
	c.stats.Ranges++
}

// finish has the whole checked and opened.
func (c *Client) finish() {
	c.phase = ending
	c.forget()
	finish := c.cfg.Finish(c.state.head)
	c.diskJob("statesync.finish", 1, func() any { return stateFinished{finish()} })
}

func (c *Client) onFinished(v stateFinished) {
	if v.err != nil {
		c.fail(v.err)
		return
	}
	h := c.state.head
	c.ready.Synced = &Synced{
		Head: h, Committee: c.committee(h.Epoch), Next: c.committee(h.Epoch + 1),
		Epochs: c.epochs, Ranges: c.state.count, Bytes: c.state.bytes,
	}
	c.begin(synced)
	c.trusted, c.resume = nil, nil
}

// progress returns the share of the key space that is there, per mille.
func (c *Client) progress() int {
	s := &c.state
	switch c.phase {
	case ending, synced, follow:
		return 1000
	case ranges:
	default:
		return 0
	}
	missing := uint64(0)
	for _, g := range s.open {
		missing = plus(missing, g.width())
	}
	for _, g := range s.segments {
		missing = plus(missing, g.width())
	}
	share, _ := bits.Mul64(math.MaxUint64-missing, 1000)
	return int(share)
}

// cut takes away the front of g that r covers, and reports whether something
// is left.
func (g *Gap) cut(r Gap) bool {
	if bytes.Compare(r.From[:], g.From[:]) > 0 {
		return true // r begins behind g's front
	}
	switch end := (shardkit.Hash{}); {
	case r.To == end:
		return false
	case g.To != end && bytes.Compare(r.To[:], g.To[:]) >= 0:
		return false
	case bytes.Compare(r.To[:], g.From[:]) > 0:
		g.From = r.To
	}
	return true
}

// width returns about how much of the key space g is.
func (g *Gap) width() uint64 {
	if g.To == (shardkit.Hash{}) {
		return math.MaxUint64 - place(g.From)
	}
	return place(g.To) - place(g.From)
}

// place returns where in the key space a hash is, and placed the first hash
// at a place.
func place(h shardkit.Hash) uint64 { return binary.BigEndian.Uint64(h[:]) }

func placed(at uint64) (h shardkit.Hash) {
	binary.BigEndian.PutUint64(h[:], at)
	return h
}

// times returns a·b and plus a+b, or the most there is.
func times(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	if hi > 0 {
		return math.MaxUint64
	}
	return lo
}

func plus(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry > 0 {
		return math.MaxUint64
	}
	return sum
}
