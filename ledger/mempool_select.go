package ledger

// candidate is where the selection may go next: the head of the sender at a
// place of the heads heap, or a later transaction of a sender already begun.
type candidate struct {
	p    *pending
	head int    // place in heads whose children come into play; -1: none
	left uint64 // what the sender still has
	open bool   // the account is known: p is usable
}

// maxMisses is how many transactions that do not fit are passed over before a
// selection is called full.
const maxMisses = 64

// Select returns the best transactions for the next block: at most maxCount,
// of at most maxBytes together, each sender's in order of nonce. They stay in
// the pool. account gives a sender's account in the state that the block is
// built on, where it may be further than in the pool; nil means the pool's
// own knowledge is the newest. A sender's turn comes with the price of its
// first transaction in the pool.
//
// The cost goes with what is selected, not with what is pending.
func (m *Mempool) Select(maxCount, maxBytes int, account func(Address) Account) []*Transaction {
	next := heap[candidate]{
		before: func(a, b candidate) bool { return better(a.p, b.p) },
		place:  func(candidate, int) {},
	}
	// The heads are a heap: whoever may come next is a child of one that came.
	reach := func(i int) {
		if i < len(m.heads.items) {
			next.push(candidate{p: m.heads.items[i].txs[0], head: i})
		}
	}
	reach(0)
	var picked []*Transaction
	misses := 0
	for len(next.items) > 0 && len(picked) < maxCount && misses < maxMisses {
		c := next.remove(0)
		if c.head >= 0 {
			reach(2*c.head + 1)
			reach(2*c.head + 2)
		}
		if !c.open {
			if c = begin(c.p.queue, account); c.p == nil {
				continue
			}
			if c.p != c.p.queue.txs[0] {
				next.push(c)
				continue
			}
		}
		cost, _ := c.p.tx.Cost()
		if cost > c.left {
			continue
		}
		if int(c.p.price.size) > maxBytes {
			misses++
			continue
		}
		maxBytes -= int(c.p.price.size)
		picked = append(picked, c.p.tx)
		if follow := c.p.queue.after(c.p); follow != nil {
			next.push(candidate{p: follow, head: -1, left: c.left - cost, open: true})
		}
	}
	return picked
}

// begin returns the sender's first transaction that the account can use.
func begin(q *queue, account func(Address) Account) candidate {
	acc := q.acc
	if account != nil {
		acc = account(q.sender)
	}
	_, p := q.find(acc.Nonce)
	return candidate{p: p, head: -1, left: acc.Balance, open: true}
}

// after returns the transaction with the next nonce, or nil.
func (q *queue) after(p *pending) *pending {
	_, next := q.find(p.tx.Nonce + 1)
	return next
}
