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
	w := walk{pool: m, account: account}
	w.next.before = func(a, b candidate) bool { return better(a.p, b.p) }
	w.next.place = func(candidate, int) {}
	w.reach(0)
	var picked []*Transaction
	misses := 0
	for len(picked) < maxCount && misses < maxMisses {
		c, ok := w.pop()
		if !ok {
			break
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
			w.next.push(candidate{p: follow, head: -1, left: c.left - cost, open: true})
		}
	}
	return picked
}

// walk goes through the pool from the best transaction on, without changing
// it. The heads of the senders are a heap: whoever may come next is a child of
// one that came, so only as much of it is looked at as is taken.
type walk struct {
	pool    *Mempool
	account func(Address) Account
	next    heap[candidate]
}

// reach takes the sender at a place of the heap into consideration.
func (w *walk) reach(i int) {
	if heads := w.pool.heads.items; i < len(heads) {
		w.next.push(candidate{p: heads[i].txs[0], head: i})
	}
}

// pop returns the best that can be used, which is open.
func (w *walk) pop() (candidate, bool) {
	for len(w.next.items) > 0 {
		c := w.next.remove(0)
		if c.head >= 0 {
			w.reach(2*c.head + 1)
			w.reach(2*c.head + 2)
		}
		if c.open {
			return c, true
		}
		first := c.p
		if c = w.begin(first.queue); c.p == first {
			return c, true
		}
		// The account is further than the pool knows: another turn for what it can use.
		if c.p != nil {
			w.next.push(c)
		}
	}
	return candidate{}, false
}

// begin returns the sender's first transaction that the account can use.
func (w *walk) begin(q *queue) candidate {
	acc := q.acc
	if w.account != nil {
		acc = w.account(q.sender)
	}
	_, p := q.find(acc.Nonce)
	return candidate{p: p, head: -1, left: acc.Balance, open: true}
}

// after returns the transaction with the next nonce, or nil.
func (q *queue) after(p *pending) *pending {
	_, next := q.find(p.tx.Nonce + 1)
	return next
}
