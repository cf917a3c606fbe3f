package ledger

import (
	"iter"
	"math"
	"math/bits"
	"slices"

	"github.com/shardkit/shardkit"
)

// MempoolConfig bounds a Mempool.
type MempoolConfig struct {
	MaxCount  int    // pending transactions. 0: 100,000
	MaxBytes  int    // of their encodings. 0: 64 MiB
	PerSender int    // pending of one sender, and how far a nonce may be ahead. 0: 64
	Bump      int    // percent by which a replacement's fee must exceed the old one. 0: 10
	MinFee    uint64 // least fee. 0: none
}

// Mempool holds transactions that wait for a block. Their signatures were
// checked before. One owner uses it at a time.
//
// Transactions of a sender are used in order of nonce. One that can be used
// now, all before it present and paid for, is ready. Among senders the higher
// price, fee per byte, comes first; at the same price the one that came
// earlier. When the pool is full the transaction that would be used last goes:
// what is not ready, then the lowest price, where a transaction counts no
// higher than those it has to wait for.
type Mempool struct {
	cfg     MempoolConfig
	height  shardkit.Height
	byID    map[shardkit.Hash]*pending
	senders map[Address]*queue
	heads   heap[*queue]   // senders with something ready, best head first
	tails   heap[*queue]   // all senders, worst tail first
	expiry  heap[*pending] // those with an expiry, earliest first
	bytes   int
	arrived uint64
}

// pending is a transaction in the pool.
type pending struct {
	tx     *Transaction
	id     shardkit.Hash
	queue  *queue
	price  price
	worth  price  // lowest price from the queue's first up to here; zero if not ready
	order  uint64 // of arrival
	expiry int    // place in the heap, -1: none
}

// queue is the transactions of one sender, ascending by nonce.
type queue struct {
	sender     Address
	acc        Account
	txs        []*pending
	ready      int // how many from the front can be used in a row
	head, tail int // places in the heaps, -1: not there
}

// price is a fee for a number of bytes.
type price struct {
	fee  uint64
	size uint64
}

func priceOf(tx *Transaction) price { return price{tx.Fee, uint64(tx.Size())} }

// below compares fee per byte without dividing. The zero price is below every
// other, also below a fee of nothing.
func (p price) below(q price) bool {
	if p.size == 0 || q.size == 0 {
		return p.size == 0 && q.size != 0
	}
	ph, pl := bits.Mul64(p.fee, q.size)
	qh, ql := bits.Mul64(q.fee, p.size)
	return ph < qh || ph == qh && pl < ql
}

// better is the order in which blocks take transactions.
func better(a, b *pending) bool {
	if a.price.below(b.price) {
		return false
	}
	return b.price.below(a.price) || a.order < b.order
}

// worse is the order in which a full pool drops transactions.
func worse(a, b *pending) bool {
	if a.worth.below(b.worth) {
		return true
	}
	return !b.worth.below(a.worth) && a.order > b.order
}

// NewMempool returns an empty pool.
func NewMempool(cfg MempoolConfig) *Mempool {
	if cfg.MaxCount <= 0 {
		cfg.MaxCount = 100_000
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 64 << 20
	}
	if cfg.PerSender <= 0 {
		cfg.PerSender = 64
	}
	if cfg.Bump <= 0 {
		cfg.Bump = 10
	}
	m := &Mempool{
		cfg:     cfg,
		byID:    make(map[shardkit.Hash]*pending),
		senders: make(map[Address]*queue),
	}
	m.heads.before = func(a, b *queue) bool { return better(a.txs[0], b.txs[0]) }
	m.heads.place = func(q *queue, at int) { q.head = at }
	m.tails.before = func(a, b *queue) bool { return worse(a.last(), b.last()) }
	m.tails.place = func(q *queue, at int) { q.tail = at }
	m.expiry.before = func(a, b *pending) bool { return a.tx.Expiry < b.tx.Expiry }
	m.expiry.place = func(p *pending, at int) { p.expiry = at }
	return m
}

// Len returns the number of transactions held.
func (m *Mempool) Len() int { return len(m.byID) }

// Bytes returns the size of their encodings.
func (m *Mempool) Bytes() int { return m.bytes }

// Has reports whether a transaction is held.
func (m *Mempool) Has(id shardkit.Hash) bool { return m.byID[id] != nil }

// Get returns a transaction that is held, or nil.
func (m *Mempool) Get(id shardkit.Hash) *Transaction {
	if p := m.byID[id]; p != nil {
		return p.tx
	}
	return nil
}

// Add takes a transaction whose signatures are good. acc is the sender's
// account in the newest state, height the newest block's. The error is a
// *TxError, and the pool then holds what it held, but for nonces that acc shows
// to be used. The pool keeps tx, which must not change.
func (m *Mempool) Add(tx *Transaction, acc Account, height shardkit.Height) error {
	m.height = max(m.height, height)
	p := &pending{tx: tx, id: tx.ID(), price: priceOf(tx), order: m.arrived, expiry: -1}
	if err := m.admit(p, acc); err != nil {
		return err
	}
	q := m.senders[tx.Sender()]
	if q == nil {
		q = &queue{sender: tx.Sender(), acc: acc, head: -1, tail: -1}
	} else if q.acc != acc {
		m.update(q, acc)
	}
	at, old := q.find(tx.Nonce)
	if err := m.fits(q, at, old, p, acc); err != nil {
		return err
	}
	if m.hopeless(p) {
		return tx.refuse(ReasonFull, "%d transactions, %d bytes", len(m.byID), m.bytes)
	}
	if old != nil {
		m.drop(q, at)
	}
	m.insert(q, at, p)
	m.arrived++
	return m.makeRoom(p, old)
}

// admit makes the checks that need no other transaction.
func (m *Mempool) admit(p *pending, acc Account) error {
	tx := p.tx
	cost, ok := tx.Cost()
	switch {
	case m.Has(p.id):
		return tx.refuse(ReasonKnown, "")
	case tx.Expiry != 0 && tx.Expiry <= m.height:
		return tx.refuse(ReasonExpired, "at height %d, now %d", tx.Expiry, m.height)
	case tx.Fee < m.cfg.MinFee:
		return tx.refuse(ReasonFee, "%d, at least %d", tx.Fee, m.cfg.MinFee)
	case tx.Nonce < acc.Nonce:
		return tx.refuse(ReasonNonceLow, "%d, account at %d", tx.Nonce, acc.Nonce)
	case tx.Nonce-acc.Nonce >= uint64(m.cfg.PerSender):
		return tx.refuse(ReasonNonceHigh, "%d, account at %d", tx.Nonce, acc.Nonce)
	case !ok || tx.Nonce == math.MaxUint64:
		return tx.refuse(ReasonOverflow, "")
	case cost > acc.Balance:
		return tx.refuse(ReasonBalance, "has %d, needs %d", acc.Balance, cost)
	case int(p.price.size) > m.cfg.MaxBytes:
		return tx.refuse(ReasonFull, "%d bytes", p.price.size)
	}
	return nil
}

// fits checks the transaction against the others of its sender: the account
// must pay for all up to it, and one that takes the place of another must pay
// more.
func (m *Mempool) fits(q *queue, at int, old *pending, p *pending, acc Account) error {
	if old != nil {
		hi, lo := bits.Mul64(old.tx.Fee, uint64(100+m.cfg.Bump))
		ph, pl := bits.Mul64(p.tx.Fee, 100)
		if ph < hi || ph == hi && pl < lo || !old.price.below(p.price) {
			return p.tx.refuse(ReasonFee, "%d to replace one of %d, %d%% more needed", p.tx.Fee, old.tx.Fee, m.cfg.Bump)
		}
	} else if len(q.txs) >= m.cfg.PerSender {
		return p.tx.refuse(ReasonSender, "%d pending", len(q.txs))
	}
	left := acc.Balance
	for _, before := range q.txs[:at] {
		cost, _ := before.tx.Cost()
		if cost > left {
			left = 0
			break
		}
		left -= cost
	}
	if cost, _ := p.tx.Cost(); cost > left {
		return p.tx.refuse(ReasonBalance, "%d left after those before it, needs %d", left, cost)
	}
	return nil
}

// hopeless reports whether a full pool would drop p at once, as it does under
// load: nothing is then moved. If the last in line is worth as much as p bids,
// so is every tail, p's own sender's too, and p would come after it. One that
// replaces another is never hopeless: that one's queue ends with less.
func (m *Mempool) hopeless(p *pending) bool {
	full := len(m.byID) >= m.cfg.MaxCount || m.bytes+int(p.price.size) > m.cfg.MaxBytes
	return full && len(m.tails.items) > 0 && !m.tails.items[0].last().worth.below(p.price)
}

// makeRoom drops the worst transactions until the pool is within its bounds.
// If it comes to p itself, p is refused and what went before, as well as what
// p had replaced, is put back.
func (m *Mempool) makeRoom(p, old *pending) error {
	var dropped []*pending
	for len(m.byID) > m.cfg.MaxCount || m.bytes > m.cfg.MaxBytes {
		q := m.tails.items[0]
		worst := m.drop(q, len(q.txs)-1)
		if worst != p {
			dropped = append(dropped, worst)
			continue
		}
		if old != nil {
			dropped = append(dropped, old)
		}
		for _, d := range dropped {
			m.restore(d)
		}
		return p.tx.refuse(ReasonFull, "%d transactions, %d bytes", len(m.byID), m.bytes)
	}
	return nil
}

// restore puts back a transaction that was just dropped.
func (m *Mempool) restore(p *pending) {
	q := m.senders[p.queue.sender]
	if q == nil {
		q = p.queue
	}
	at, _ := q.find(p.tx.Nonce)
	m.insert(q, at, p)
}

// insert puts p at its place in q.
func (m *Mempool) insert(q *queue, at int, p *pending) {
	q.txs = slices.Insert(q.txs, at, p)
	p.queue = q
	m.byID[p.id] = p
	m.bytes += int(p.price.size)
	m.senders[q.sender] = q
	if p.tx.Expiry != 0 {
		m.expiry.push(p)
	}
	m.settle(q)
}

// drop takes the transaction at place at out of q and returns it.
func (m *Mempool) drop(q *queue, at int) *pending {
	p := q.txs[at]
	q.txs = slices.Delete(q.txs, at, at+1)
	m.forget(p)
	m.settle(q)
	return p
}

func (m *Mempool) forget(p *pending) {
	delete(m.byID, p.id)
	m.bytes -= int(p.price.size)
	if p.expiry >= 0 {
		m.expiry.remove(p.expiry)
	}
}

// settle brings the heaps up to date after q changed.
func (m *Mempool) settle(q *queue) {
	q.count()
	switch {
	case q.ready > 0 && q.head < 0:
		m.heads.push(q)
	case q.ready > 0:
		m.heads.fix(q.head)
	case q.head >= 0:
		m.heads.remove(q.head)
	}
	switch {
	case len(q.txs) == 0:
		if q.tail >= 0 {
			m.tails.remove(q.tail)
		}
		delete(m.senders, q.sender)
	case q.tail < 0:
		m.tails.push(q)
	default:
		m.tails.fix(q.tail)
	}
}

// count finds out how many of the queue are ready, and what each is worth.
func (q *queue) count() {
	q.ready = 0
	left, worth := q.acc.Balance, price{}
	inRow := true
	for i, p := range q.txs {
		cost, _ := p.tx.Cost()
		inRow = inRow && p.tx.Nonce == q.acc.Nonce+uint64(i) && cost <= left
		if !inRow {
			p.worth = price{}
			continue
		}
		if left -= cost; i == 0 || p.price.below(worth) {
			worth = p.price
		}
		p.worth = worth
		q.ready++
	}
}

func (q *queue) last() *pending { return q.txs[len(q.txs)-1] }

// find returns the place of a nonce and the transaction that is there.
func (q *queue) find(nonce uint64) (at int, p *pending) {
	at, ok := slices.BinarySearchFunc(q.txs, nonce, func(p *pending, n uint64) int {
		switch {
		case p.tx.Nonce < n:
			return -1
		case p.tx.Nonce > n:
			return 1
		}
		return 0
	})
	if ok {
		return at, q.txs[at]
	}
	return at, nil
}

// SetMinFee changes the least fee, for what comes from now on: a composition
// with a base fee lets it follow.
func (m *Mempool) SetMinFee(fee uint64) { m.cfg.MinFee = fee }

// Remove takes out a transaction that turned out to be of no use. Later ones
// of its sender stay, and wait.
func (m *Mempool) Remove(id shardkit.Hash) {
	if p := m.byID[id]; p != nil {
		at, _ := p.queue.find(p.tx.Nonce)
		m.drop(p.queue, at)
	}
}

// Committed tells the pool of a new block: its height, and every account that
// sent or received in it as it is now. Only their senders' transactions are
// looked at again; used ones and, from all senders, expired ones go.
func (m *Mempool) Committed(height shardkit.Height, touched iter.Seq2[Address, Account]) {
	m.height = max(m.height, height)
	for a, acc := range touched {
		if q := m.senders[a]; q != nil {
			m.update(q, acc)
		}
	}
	for len(m.expiry.items) > 0 && m.expiry.items[0].tx.Expiry <= m.height {
		m.Remove(m.expiry.items[0].id)
	}
}

// update gives q its new account and drops the nonces that are used.
func (m *Mempool) update(q *queue, acc Account) {
	q.acc = acc
	used, _ := q.find(acc.Nonce)
	for _, p := range q.txs[:used] {
		m.forget(p)
	}
	q.txs = slices.Delete(q.txs, 0, used)
	m.settle(q)
}
