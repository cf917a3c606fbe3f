package quicnet

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/shardkit/shardkit"
)

const (
	itemCost   = 64                    // bytes that a waiting message counts for beside its own
	batchBytes = 32 << 10              // small messages that go together in one write
	lively     = 5 * time.Second       // a connection that lasted so long was a good one
	minBackoff = 20 * time.Millisecond // after the first failure
)

// peer is what the host knows of one node: what waits for it and how to get
// it there. Entries are made when something is to be sent or somebody
// connects.
type peer struct {
	h  *Host
	id shardkit.NodeID

	mu      sync.Mutex
	gone    bool // no longer in the host's table
	cur     *session
	out     [classes]outbox
	dialing bool          // a dialer is at work, or waits to try again
	cancel  func()        // ends its present attempt; nil while it waits
	joined  chan struct{} // wakes it: somebody connected, or the address is another
	fails   int
	good    string // where it was last reached
}

// outbox is the messages of one class that wait.
type outbox struct {
	items   []item
	bytes   int
	writing bool // a writer is at work
}

type item struct {
	data []byte
	at   time.Time
}

// send queues a message and sees to it that somebody sends it. Full queues
// refuse, except that a vote pushes out the oldest: it is the newer ones that
// still matter.
func (p *peer) send(class uint8, data []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return errGone
	}
	o, limit, size := &p.out[class], p.h.cfg.MaxQueue[class], len(data)+itemCost
	if p.cur != nil && p.cur.ready && !o.writing && len(o.items) == 0 && p.cur.try(class, data) {
		p.h.sent[class].add(len(data))
		return nil
	}
	if o.bytes+size > limit && len(o.items) > 0 { // one message always fits
		if class != shardkit.ClassVote {
			p.h.dropped[class].add(len(data))
			return &LimitError{Limit: "MaxQueue " + classNames[class], Max: limit, Got: o.bytes + size, Peer: p.id}
		}
		for o.bytes+size > limit && len(o.items) > 0 {
			p.drop(class, 1)
		}
	}
	o.items = append(o.items, item{data, time.Now()})
	o.bytes += size
	p.kick()
	return nil
}

// drop forgets the first n messages of a class.
func (p *peer) drop(class uint8, n int) {
	o := &p.out[class]
	for _, it := range o.items[:n] {
		o.bytes -= len(it.data) + itemCost
		p.h.dropped[class].add(len(it.data))
	}
	clear(o.items[:n])
	o.items = o.items[n:]
}

// kick starts the writers that have something to do, or the dialer. p.mu is
// held.
func (p *peer) kick() {
	for c := range p.out {
		o := &p.out[c]
		if len(o.items) == 0 {
			continue
		}
		if p.cur == nil {
			if !p.dialing {
				p.dialing = p.h.spawn(p.dial)
			}
			return
		}
		if !o.writing && p.cur.ready {
			o.writing = p.h.spawn(func() { p.write(uint8(c)) })
		}
	}
}

// take removes messages that go together in one write: a large one, or as many
// small ones as fit. p.mu is held.
func (o *outbox) take(batch [][]byte) [][]byte {
	size, n := 0, 0
	for n < len(o.items) && (n == 0 || size+len(o.items[n].data)+headerSize <= batchBytes) {
		data := o.items[n].data
		size += len(data) + headerSize
		o.bytes -= len(data) + itemCost
		batch = append(batch, data)
		n++
	}
	clear(o.items[:n])
	o.items = o.items[n:]
	if len(o.items) == 0 {
		o.items = nil // queues are empty most of the time: hold no memory
	}
	return batch
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, batchBytes); return &b }}

// write sends what waits in a class until nothing does.
func (p *peer) write(class uint8) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	var batch [][]byte
	o := &p.out[class]
	for {
		p.mu.Lock()
		s := p.cur
		if s == nil || !s.ready || len(o.items) == 0 {
			o.writing = false
			p.kick()
			p.mu.Unlock()
			return
		}
		clear(batch)
		batch = o.take(batch[:0])
		p.mu.Unlock()
		if err := s.send(class, batch, buf); err != nil {
			for _, m := range batch {
				p.h.dropped[class].add(len(m))
			}
			s.conn.CloseWithError(codeProtocol, "stream stopped") // unless it has ended
			p.lost(s)
			continue
		}
		for _, m := range batch {
			p.h.sent[class].add(len(m))
		}
	}
}

// send frames a batch. Small messages are copied into one buffer, a large one
// is written as it is.
func (s *session) send(class uint8, batch [][]byte, buf *[]byte) error {
	b := (*buf)[:0]
	if len(batch) == 1 && len(batch[0]) >= batchBytes/2 {
		b = binary.BigEndian.AppendUint32(b, uint32(len(batch[0])))
		return s.write(class, b, batch[0])
	}
	for _, m := range batch {
		b = binary.BigEndian.AppendUint32(b, uint32(len(m)))
		b = append(b, m...)
	}
	*buf = b
	return s.write(class, b)
}

// join makes an accepted connection the peer's, unless ours is on the way or
// just came: then it returns false.
func (p *peer) join(s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return false
	}
	if bytes.Compare(p.h.id[:], p.id[:]) < 0 {
		// The other's attempt may be as old as an attempt can get: it gave
		// way to ours, or is going to.
		ours := p.cur != nil && p.cur.dialed && time.Since(p.cur.since) < p.h.cfg.DialTimeout
		if ours || p.cancel != nil {
			return false
		}
	}
	if p.cur != nil {
		p.h.spawnClose(p.cur, codeDuplicate, "replaced")
	}
	p.cur = s
	if p.cancel != nil {
		p.cancel()
	}
	p.wake()
	return true
}

// redial makes the dialer try at once, at the address that holds now.
func (p *peer) redial() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fails = 0
	if p.cancel != nil {
		p.cancel()
	}
	p.wake()
}

// wake ends the dialer's pause. p.mu is held.
func (p *peer) wake() {
	if p.joined != nil {
		close(p.joined)
		p.joined = nil
	}
}

// confirm says that the dialer has taken our greeting, and so will stay with
// the connection.
func (p *peer) confirm(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.ready = true
	if p.cur == s {
		p.kick()
	}
}

// lost says that a connection ended.
func (p *peer) lost(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cur != s {
		return
	}
	p.cur = nil
	if time.Since(s.since) < lively {
		p.fails++
	} else {
		p.fails = 0
	}
	p.kick()
}

// expire drops messages that have waited too long and reports whether any are
// left. p.mu is held.
func (p *peer) expire() bool {
	left := false
	for c := range p.out {
		n := 0
		for n < len(p.out[c].items) && time.Since(p.out[c].items[n].at) > p.h.cfg.Patience {
			n++
		}
		p.drop(uint8(c), n)
		left = left || len(p.out[c].items) > 0
	}
	return left
}

// dial tries to connect until somebody is connected or nothing waits any more.
func (p *peer) dial() {
	for {
		p.mu.Lock()
		if p.cur != nil || !p.expire() {
			p.dialing = false
			p.kick()
			p.mu.Unlock()
			return
		}
		wait, joined := p.backoff(), make(chan struct{})
		p.joined = joined
		p.mu.Unlock()
		if wait > 0 {
			select {
			case <-time.After(wait):
			case <-joined:
				continue
			case <-p.h.done:
				return
			}
		}
		p.try()
	}
}

// backoff is how long to wait before the next attempt: doubling, with jitter so
// that two nodes do not keep meeting.
func (p *peer) backoff() time.Duration {
	if p.fails == 0 {
		return 0
	}
	d := min(minBackoff<<min(p.fails-1, 16), p.h.cfg.MaxBackoff)
	return d/2 + rand.N(d/2+1)
}

// nextAddr returns the address to dial: the one we were told of and, at every
// second attempt, the one where the peer was last reached. What others say of
// an address may be a lie.
func (p *peer) nextAddr() (string, bool) {
	addr, ok := p.h.address(p.id)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.good != "" && (!ok || p.fails%2 == 1) {
		return p.good, true
	}
	return addr, ok
}

// try makes one attempt to connect.
func (p *peer) try() {
	ctx, cancel := context.WithTimeout(p.h.ctx, p.h.cfg.DialTimeout)
	defer cancel()
	p.mu.Lock()
	if p.cur != nil {
		p.mu.Unlock()
		return
	}
	p.cancel = cancel
	p.mu.Unlock()
	s, err := p.h.connect(ctx, p)
	p.mu.Lock()
	p.cancel = nil
	switch {
	case err != nil:
		if p.cur == nil {
			p.fails++
		}
	case p.cur != nil || p.gone: // somebody was faster
		p.h.spawnClose(s, codeDuplicate, "duplicate")
	default:
		p.cur, s.ready = s, true
	}
	p.mu.Unlock()
	if err != nil {
		p.h.dialFailed(p.id, err)
	} else if s.conn.Context().Err() != nil { // it ended before it was ours
		p.lost(s)
	}
}

func (p *peer) connected() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cur != nil && p.cur.ready
}

// idle reports whether the entry can be forgotten.
func (p *peer) idle() bool {
	if p.cur != nil || p.dialing {
		return false
	}
	for c := range p.out {
		if len(p.out[c].items) > 0 || p.out[c].writing {
			return false
		}
	}
	return true
}
