package erasure

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
)

// ErrBusy is wrapped by Core.Deliver when a peer asks for chunks of a body
// again before a period has passed.
var ErrBusy = errors.New("asks too often")

// ask asks members for chunks that are missing, others each time. At first
// everybody only for its own, so that the load of helping is spread as that of
// the broadcast is; from the second round on, one member beside for all that is
// missing, in case that few have it.
func (c *Core) ask(now time.Duration, b *body) {
	b.next = now + c.cfg.Resend
	b.round++
	m := len(b.group.Members)
	if b.ref.N == 1 {
		if i, ok := b.group.index[b.from]; ok && b.round == 1 {
			c.want(b, i, 1)
			return
		}
		for range min(2, m-1) {
			c.want(b, b.after(&b.turn), 1)
		}
		return
	}
	need := b.ref.K - b.have
	if need <= 0 {
		return // being rebuilt
	}
	helper := -1
	if b.round > 1 {
		helper = b.after(&b.helper)
		c.want(b, helper, need)
	}
	// Some will not have theirs: ask for half as many again.
	for left, tries := need+(need+1)/2, m-1; left > 0 && tries > 0; tries-- {
		i := b.after(&b.turn)
		if i == helper {
			continue
		}
		lo, hi := b.group.deal.Range(i)
		if missing := hi - lo - len(b.held(lo, hi)); missing > 0 {
			c.want(b, i, min(missing, b.ref.K))
			left -= missing
		}
	}
}

// after moves turn on to the next member, past this node and those that sent
// bad chunks, if there are others.
func (b *body) after(turn *int) int {
	m := len(b.group.Members)
	for range m {
		*turn = (*turn + 1) % m
		if *turn != b.group.self && !b.peers[*turn].muted {
			break
		}
	}
	return *turn
}

// want asks a member for at most n chunks, its own first.
func (c *Core) want(b *body, member, n int) {
	node := b.group.Members[member].Node
	if node == c.cfg.Self {
		return
	}
	w := want{max: n, have: make([]byte, (b.ref.N+7)/8)}
	for i := range b.chunks {
		if b.chunks[i].Data != nil {
			w.have[i/8] |= 1 << (i % 8)
		}
	}
	b.peers[member].asked = n
	c.stats.Wants++
	msg := w.append(appendHead(make([]byte, 0, headSize+2+len(w.have)), kindWant, []byte(b.raw)))
	c.ready.Messages = append(c.ready.Messages, shardkit.Message{To: node, Class: shardkit.ClassBlock, Data: msg})
}

// serve answers a request with chunks that are there: this node's own first,
// then those that follow, so that those who help the same member send
// different ones.
func (c *Core) serve(now time.Duration, b *body, member int, w *want) error {
	p := &b.peers[member]
	if p.once && now < p.served+c.cfg.Resend/2 {
		return fmt.Errorf("erasure: %v: %w", b.group.Members[member].Node, ErrBusy)
	}
	start := 0
	if b.ref.N > 1 {
		start, _ = b.group.deal.Range(b.group.self)
	}
	var chunks []Chunk
	for k := 0; k < b.ref.N && len(chunks) < w.max; k++ {
		if i := (start + k) % b.ref.N; !w.has(i) {
			chunks = append(chunks, b.held(i, i+1)...)
		}
	}
	if len(chunks) == 0 {
		return nil
	}
	slices.SortFunc(chunks, func(x, y Chunk) int { return x.Index - y.Index })
	p.once, p.served = true, now
	c.stats.Served++
	c.send(b, member, chunks)
	return nil
}
