package statesync

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/shardkit/shardkit"
)

const (
	perPeer  = 2        // requests a client has under way at one peer
	minBytes = 16 << 10 // asked for at least, however slow a peer seems
	// banTimeouts is for how many timeouts a peer that sent something wrong is
	// not asked. Not for ever: if all peers are banned, by a fault of one's own,
	// say, the sync must come out of it.
	banTimeouts = 10
	maxSlow     = 3
)

// peer is whom a client may ask.
type peer struct {
	node     shardkit.NodeID
	underway int           // requests
	used     uint64        // turn of the last request: who waits longest is asked next
	until    time.Duration // not asked before then
	banned   time.Duration // not believed before then
	fails    int           // timeouts and refusals in a row
	expired  uint64        // id of the last request that timed out
	slow     int           // doublings of its timeout: its answers came, but late
	maxBytes int           // asked for at once: halved by each timeout
	gone     int           // round in which it said that it does not serve the head
	back     time.Duration // when to try whether it does: it may only have been behind
}

// ask is a request under way.
type ask struct {
	request
	peer     *peer
	at       time.Duration
	deadline time.Duration
	segment  *segment // of a range
}

// covers reports whether the request is for piece n, among others.
func (a *ask) covers(kind uint8, n uint64) bool {
	return a.kind == kind && n >= a.from && n-a.from < uint64(a.most)
}

// SetPeers says whom to ask: the members of the shard. What is known of those
// that were there before stays.
func (c *Client) SetPeers(now time.Duration, nodes []shardkit.NodeID) {
	c.advance(now)
	var peers []*peer
	for _, node := range nodes {
		if node == c.cfg.Self || findPeer(peers, node) != nil {
			continue
		}
		p := findPeer(c.peers, node)
		if p == nil {
			p = &peer{node: node, maxBytes: c.cfg.MaxBytes}
		}
		peers = append(peers, p)
	}
	c.peers = peers
	c.pump()
}

func findPeer(peers []*peer, node shardkit.NodeID) *peer {
	for _, p := range peers {
		if p.node == node {
			return p
		}
	}
	return nil
}

// pick returns the peer to ask next among those that suit: the one that failed
// least, of these the one with the least under way, of these the one that was
// not asked for longest. Nil if there is none now; the client then wakes when
// there may be.
func (c *Client) pick(suits func(*peer) bool) *peer {
	var best *peer
	for _, p := range c.peers {
		switch {
		case suits != nil && !suits(p) || p.underway >= perPeer:
		case p.until > c.now:
			c.wakeAt(p.until)
		case best == nil || p.before(best):
			best = p
		}
	}
	return best
}

// before reports whether p is to be asked before q.
func (p *peer) before(q *peer) bool {
	return cmp.Or(cmp.Compare(p.fails, q.fails), cmp.Compare(p.underway, q.underway), cmp.Compare(p.used, q.used)) < 0
}

// ask sends a request.
func (c *Client) ask(p *peer, q request) *ask {
	c.turn++
	q.id = c.turn
	p.used = c.turn
	p.underway++
	a := &ask{request: q, peer: p, at: c.now, deadline: c.now + c.cfg.Timeout<<p.slow}
	c.asks = append(c.asks, a)
	c.stats.Requests++
	c.ready.Messages = append(c.ready.Messages, shardkit.Message{
		To: p.node, Class: shardkit.ClassSync, Data: q.appendTo(nil),
	})
	return a
}

// underway counts the requests of a kind.
func (c *Client) underway(kind uint8) (n int) {
	for _, a := range c.asks {
		if a.kind == kind {
			n++
		}
	}
	return n
}

// isAsked reports whether a request of a kind is under way at a peer.
func (c *Client) isAsked(p *peer, kind uint8) bool {
	for _, a := range c.asks {
		if a.peer == p && a.kind == kind {
			return true
		}
	}
	return false
}

// asked returns a function that reports whether piece n has been asked for.
func (c *Client) asked(kind uint8) func(n uint64) bool {
	return func(n uint64) bool {
		for _, a := range c.asks {
			if a.covers(kind, n) {
				return true
			}
		}
		return false
	}
}

// take removes the request with this id from those under way.
func (c *Client) take(from shardkit.NodeID, id uint64) *ask {
	for i, a := range c.asks {
		if a.id == id && a.peer.node == from {
			c.asks = append(c.asks[:i], c.asks[i+1:]...)
			a.peer.underway--
			if a.segment != nil {
				a.segment.asked = false
			}
			return a
		}
	}
	return nil
}

// forget drops all requests under way; their answers will be ignored.
func (c *Client) forget() {
	for _, a := range c.asks {
		a.peer.underway--
	}
	c.asks = nil
}

// expire gives up requests that have taken too long.
func (c *Client) expire() {
	for i := 0; i < len(c.asks); {
		a := c.asks[i]
		if a.deadline > c.now {
			i++
			continue
		}
		c.take(a.peer.node, a.id)
		c.stats.Timeouts++
		a.peer.expired = a.id
		a.peer.maxBytes = max(minBytes, a.peer.maxBytes/2)
		c.failed(a.peer)
	}
}

// failed notes that a peer did not do what it was asked, for reasons that may
// be honest, and leaves it alone for a while.
func (c *Client) failed(p *peer) {
	p.fails++
	p.until = max(p.until, c.now+c.cfg.Timeout/4<<min(p.fails-1, 5))
}

// served notes that a peer did what it was asked, and asks it for more if it
// was quick.
func (c *Client) served(a *ask) {
	p := a.peer
	p.fails = 0
	if took := c.now - a.at; took < c.cfg.Timeout<<p.slow/4 {
		p.slow = max(0, p.slow-1)
		p.maxBytes = min(c.cfg.MaxBytes, 2*p.maxBytes)
	}
}

// bad reports a peer that sent something wrong, and does not ask it for long.
func (c *Client) bad(p *peer, err error) {
	c.stats.Bad++
	p.banned = c.now + banTimeouts*c.cfg.Timeout
	p.until = p.banned
	c.ready.Bad = append(c.ready.Bad, BadPeer{Peer: p.node, Err: err})
}

// Deliver takes an answer. An error means that the peer misbehaves.
func (c *Client) Deliver(now time.Duration, from shardkit.NodeID, msg []byte) error {
	c.advance(now)
	id, err := answerID(msg)
	if err != nil || id == 0 || id > c.turn {
		return fmt.Errorf("statesync: answer: %w", cmp.Or(err, errUnasked))
	}
	a := c.take(from, id) // before anything that costs
	if a == nil {
		if p := findPeer(c.peers, from); p != nil && p.expired == id {
			p.slow = min(p.slow+1, maxSlow)
		}
		return nil // late, or to an earlier sync
	}
	c.stats.Bytes += uint64(len(msg))
	if err = c.answered(a, msg); err != nil {
		c.bad(a.peer, err)
		err = fmt.Errorf("statesync: answer: %w", err)
	}
	c.pump()
	return err
}

// answered takes an answer to a request of this client. An error means that
// the answer is not one to the request.
func (c *Client) answered(a *ask, msg []byte) error {
	if c.now < a.peer.banned {
		return nil // asked before it was found out
	}
	if len(msg) > 2*a.maxBytes+pieceBytes {
		return fmt.Errorf("%d bytes, of %d that were asked for", len(msg), a.maxBytes)
	}
	ans, err := decodeAnswer(msg)
	if err != nil {
		return err
	}
	if ans.kind == ansRefused {
		c.refused(a, ans.reason)
		return nil
	}
	if ans.kind != a.kind-askHops+ansHops {
		return fmt.Errorf("kind %d to a question of kind %d", ans.kind, a.kind)
	}
	if len(ans.hops) > a.most || len(ans.blocks) > a.most {
		return errors.New("more than was asked for")
	}
	c.served(a)
	switch a.kind {
	case askHops:
		c.onHops(a, &ans)
	case askHead:
		c.onHead(a, &ans)
	case askRange:
		c.onChunk(a, &ans)
	case askBlocks:
		c.onBlocks(a, &ans)
	}
	return nil
}

// refused takes note of a refusal.
func (c *Client) refused(a *ask, reason uint8) {
	c.stats.Refused++
	if reason == refusedGone && a.kind == askRange {
		a.peer.gone, a.peer.back = c.round, c.now+c.cfg.Timeout
		return
	}
	c.failed(a.peer)
}

// noTime is later than everything.
const noTime = time.Duration(math.MaxInt64)
