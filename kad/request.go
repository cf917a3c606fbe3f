package kad

import (
	"time"

	"github.com/shardkit/shardkit"
)

// request is a message that waits for its answer.
type request struct {
	id     uint64
	to     shardkit.NodeID
	addr   string
	sent   time.Duration
	done   bool
	slow   bool // its path no longer waits for it
	check  bool
	lookup *lookup
	path   int
	cand   *candidate
	walk   *walk
}

// check pings an unknown node before it may enter the table.
func (c *Core) check(now time.Duration, e *entry) {
	if e.id == c.self.ID || c.checking[e.id] || len(c.pending) >= maxPending || c.table.strict && e.at.loopback {
		return
	}
	if c.table.index[e.id] == nil && !c.table.room(e) {
		return
	}
	c.checking[e.id] = true
	c.pending = append(c.pending, e)
	c.nextCheck(now)
}

func (c *Core) nextCheck(now time.Duration) {
	for c.checks < maxChecks && len(c.pending) > 0 {
		e := c.pending[0]
		c.pending = c.pending[1:]
		c.checks++
		c.ask(now, e.contact(e.shards[0]), message{kind: kindPing}, request{check: true})
	}
}

// ping asks a known entry for a sign of life.
func (c *Core) ping(now time.Duration, e *entry) {
	if e.asked {
		return
	}
	e.asked = true
	c.ask(now, e.contact(e.shards[0]), message{kind: kindPing}, request{})
}

// ask sends a request.
func (c *Core) ask(now time.Duration, to Contact, m message, r request) {
	c.nextReq++
	m.req = c.nextReq
	r.id, r.to, r.addr, r.sent = m.req, to.ID, to.Addr, now
	c.requests[r.id] = &r
	c.flight = append(c.flight, &r)
	if r.lookup != nil {
		c.slow = append(c.slow, &r)
	}
	c.stats.Requests++
	c.ready.Routes = append(c.ready.Routes, to)
	c.reply(to.ID, m)
}

// reply sends a message.
func (c *Core) reply(to shardkit.NodeID, m message) {
	m.addr, m.shards = c.self.Addr, c.shards
	size := 64 + len(m.addr) + len(m.contacts)*(minContact+24)
	data, _ := m.AppendBinary(make([]byte, 0, size))
	c.ready.Messages = append(c.ready.Messages, shardkit.Message{To: to, Class: shardkit.ClassBlock, Data: data})
}

// answered takes an answer to one of our requests.
func (c *Core) answered(now time.Duration, from shardkit.NodeID, m *message, said *entry) {
	r := c.requests[m.req]
	if r == nil || r.to != from {
		c.stats.Late++
		return
	}
	c.finish(now, r)
	e := c.table.index[from]
	if e != nil {
		e.asked = false
	}
	switch {
	case e != nil && e.addr == said.addr:
		c.update(now, e, said)
	case r.addr != said.addr:
		if !r.check { // it lives elsewhere than we thought: see whether it answers there
			c.check(now, said)
		}
	case e == nil:
		if !(c.table.strict && said.at.loopback) {
			c.take(now, said)
		}
	default: // it has moved
		c.replace(now, e)
		c.take(now, said)
	}
	if r.lookup != nil {
		c.lookupAnswered(now, r, m, said)
	}
	if r.walk != nil {
		c.walked(now, r, m)
	}
}

// finish takes a request off the books.
func (c *Core) finish(now time.Duration, r *request) {
	r.done = true
	delete(c.requests, r.id)
	if r.check {
		c.checks--
		delete(c.checking, r.to)
		c.nextCheck(now)
	}
}

// timeout ends a request that was not answered. A contact goes at the second
// such request, but not if we have heard of nobody meanwhile, though another
// contact was asked too: then it is probably us who are cut off.
func (c *Core) timeout(now time.Duration, r *request) {
	c.stats.Timeouts++
	c.finish(now, r)
	if e := c.table.index[r.to]; e != nil && e.addr == r.addr {
		e.asked = false
		e.fails++
		switch {
		case e.fails < maxFails:
			c.ping(now, e)
			if w := c.table.witness(e); w != nil {
				c.ping(now, w)
			}
		case c.heardAt >= r.sent:
			c.stats.Evicted++
			c.replace(now, e)
		}
	}
	if r.lookup != nil {
		c.lookupFailed(now, r)
	}
}
