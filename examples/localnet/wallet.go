package main

import (
	"crypto/ed25519"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/examples/chain"
	"github.com/shardkit/shardkit/kad/quicnet"
	"github.com/shardkit/shardkit/ledger"
)

// wallet is the load: it holds the keys of many accounts and reaches the
// validators over the network, like anybody. What it has signed it submits,
// the same bytes again through another validator if need be, until it has seen
// the receipt.
type wallet struct {
	genesis  *chain.Genesis
	id       shardkit.Hash
	host     *quicnet.Host
	accounts []*account
	journal  *journal
	cross    float64
	rate     int
	rng      *rand.Rand // of the load; only the pacing goroutine uses it

	mu       sync.Mutex
	nodes    []shardkit.NodeID   // everybody it knows
	members  [][]shardkit.NodeID // by shard
	byShard  [][]*account
	requests map[uint64][]*transfer
	asked    map[uint64][]*account // questions for accounts
	answers  map[uint64]chan<- *chain.Notice
	unknown  int // accounts whose nonce is not known yet
	request  uint64
	flying   map[shardkit.Hash]*transfer
	staking  *staking // nil: none
	stats    load
	stopped  bool
	window   int // transfers under way at most
	turn     int

	quit chan struct{}
	wg   sync.WaitGroup
}

// load is what the wallet counts.
type load struct {
	submitted, accepted, committed int
	beforeStop                     int // committed before the load stopped
	crossSent, crossDelivered      int
	refused                        map[string]int
	inShard, crossShard            []time.Duration
	first, last                    time.Time
	transfers                      []chain.Transfer // accepted ones
	perShard                       []int            // committed, by destination
	recent                         []time.Duration  // latencies since the last look
}

type account struct {
	key    ed25519.PrivateKey
	addr   ledger.Address
	shard  shardkit.ShardID
	nonce  uint64
	known  bool // the chain's word on nonce has been heard
	flying int
}

// transfer is one transfer on its way.
type transfer struct {
	tx       ledger.Transaction
	from     *account
	dest     shardkit.ShardID
	first    time.Time
	sent     time.Time
	accepted bool
	included bool
}

// perAccount is how many transfers of an account may be under way.
const perAccount = 4

// patience is how long a transfer waits for its receipt before the wallet asks
// and submits it again.
const patience = 2500 * time.Millisecond

func newWallet(s *setup, o *options, start map[shardkit.NodeID]string, dir string) (*wallet, error) {
	seed := secret(o.seed, "wallet", 0)
	w := &wallet{
		genesis: s.genesis, id: s.genesis.ID(), accounts: s.accounts, cross: o.cross, rate: o.rate,
		rng: rand.New(rand.NewPCG(o.seed, 1)), requests: map[uint64][]*transfer{}, asked: map[uint64][]*account{}, answers: map[uint64]chan<- *chain.Notice{},
		unknown: len(s.accounts), flying: map[shardkit.Hash]*transfer{},
		members: make([][]shardkit.NodeID, o.shards), byShard: make([][]*account, o.shards),
		window: 2400 * o.shards, quit: make(chan struct{}),
	}
	w.stats.refused, w.stats.perShard = map[string]int{}, make([]int, o.shards)
	for _, a := range s.accounts {
		w.byShard[a.shard] = append(w.byShard[a.shard], a)
	}
	var err error
	if w.journal, err = openJournal(dir); err != nil {
		return nil, err
	}
	w.resume()
	w.host, err = quicnet.Listen(quicnet.Config{
		Key: ed25519.NewKeyFromSeed(seed[:]), Network: w.id.String(),
		Handle: func(_ shardkit.NodeID, _ uint8, msg []byte) { w.handle(msg) },
	})
	if err != nil {
		return nil, err
	}
	for id, addr := range start {
		w.host.SetAddr(id, addr)
		w.nodes = append(w.nodes, id)
	}
	slices.SortFunc(w.nodes, func(a, b shardkit.NodeID) int { return slices.Compare(a[:], b[:]) })
	return w, nil
}

// resume takes up what an earlier run has left: nonces, and transfers that have
// no receipt yet.
func (w *wallet) resume() {
	byAddr := map[ledger.Address]*account{}
	for _, a := range w.accounts {
		byAddr[a.addr] = a
	}
	for _, tx := range w.journal.signed {
		a := byAddr[tx.Sender()]
		if a == nil {
			continue
		}
		a.nonce = max(a.nonce, tx.Nonce+1)
		if !w.journal.done[tx.ID()] {
			t := &transfer{tx: *tx, from: a, dest: tx.To.Shard(uint32(len(w.members))), first: time.Now()}
			a.flying++
			w.flying[tx.ID()] = t
			w.stats.submitted++
			if t.dest != a.shard {
				w.stats.crossSent++
			}
		}
	}
}

// run sends until stop is called, and goes on seeing transfers through until
// close.
func (w *wallet) run() {
	w.wg.Go(w.look)
	w.wg.Go(w.pace)
}

// stop ends the load; what is under way is seen through.
func (w *wallet) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
}

// pending returns how many transfers are under way.
func (w *wallet) pending() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.flying)
}

func (w *wallet) close() error {
	close(w.quit)
	w.wg.Wait()
	w.host.Close()
	return w.journal.close()
}

// look keeps asking who the members are and subscribes to their blocks.
func (w *wallet) look() {
	for i := 0; ; i++ {
		w.mu.Lock()
		for s := range shardkit.ShardID(len(w.members)) {
			// Whoever hosts the shard answers; the others cannot.
			for _, n := range w.nodes {
				if len(w.members[s]) == 0 {
					w.send(n, chain.Members(s))
				}
			}
			for j, n := range w.members[s] {
				if j == i%len(w.members[s]) {
					w.send(n, chain.Members(s))
				}
				w.send(n, chain.Watch(s))
			}
		}
		w.askAccounts()
		if i%5 == 0 {
			w.pushStake()
		}
		w.mu.Unlock()
		if !w.sleep(200 * time.Millisecond) {
			return
		}
	}
}

// askAccounts asks for the accounts not heard of yet.
func (w *wallet) askAccounts() {
	for s, list := range w.byShard {
		if len(w.members[s]) == 0 || w.unknown == 0 {
			continue
		}
		var ask []*account
		for _, a := range list {
			if !a.known {
				ask = append(ask, a)
			}
		}
		for part := range slices.Chunk(ask, chain.MaxFind) {
			w.turn++
			w.request++
			w.asked[w.request] = part
			addrs := make([]ledger.Address, len(part))
			for i, a := range part {
				addrs[i] = a.addr
			}
			w.send(w.members[s][w.turn%len(w.members[s])], chain.Accounts(shardkit.ShardID(s), w.request, addrs))
		}
	}
}

func (w *wallet) sleep(d time.Duration) bool {
	select {
	case <-w.quit:
		return false
	case <-time.After(d):
		return true
	}
}

func (w *wallet) send(to shardkit.NodeID, data []byte) {
	_ = w.host.Send(shardkit.Message{To: to, Class: shardkit.ClassBlock, Data: data}) // tried again until it works
}

// pace makes transfers: every few milliseconds as many as the rate and the
// window allow.
func (w *wallet) pace() {
	const beat = 10 * time.Millisecond
	owed, last := 0.0, time.Now()
	for w.sleep(beat) {
		gap := time.Since(last)
		last = last.Add(gap)
		w.mu.Lock()
		room := w.allowed() - len(w.flying)
		if w.rate > 0 {
			owed = min(owed+float64(w.rate)*gap.Seconds(), float64(w.rate))
			room = min(room, int(owed))
		}
		if w.stopped || !w.knowsAll() {
			room = 0
		}
		fresh := w.draw(room)
		w.mu.Unlock()
		owed -= float64(len(fresh))
		for _, t := range fresh {
			t.tx.Sign(t.from.key)
		}
		w.mu.Lock()
		for _, t := range fresh {
			w.flying[t.tx.ID()] = t
		}
		if w.journal.sign(fresh); w.knowsAll() {
			w.submit(fresh)
			w.retry()
		}
		w.mu.Unlock()
	}
}

// slowStart is how long the wallet takes to open its window: a network that has
// just begun is not met by thousands of transfers at once.
const slowStart = 2 * time.Second

// allowed is how many transfers may be under way now.
func (w *wallet) allowed() int {
	least := w.window / 20
	if w.stats.first.IsZero() {
		return least
	}
	opened := float64(time.Since(w.stats.first)) / float64(slowStart)
	return min(w.window, least+int(float64(w.window)*opened))
}

// knowsAll reports whether the wallet knows the members of every shard and the
// nonce of every account.
func (w *wallet) knowsAll() bool {
	if w.unknown > 0 {
		return false
	}
	for _, m := range w.members {
		if len(m) == 0 {
			return false
		}
	}
	return true
}

// draw makes unsigned transfers between random accounts.
func (w *wallet) draw(n int) (out []*transfer) {
	now := time.Now()
	for tries := 0; len(out) < n && tries < 4*n; tries++ {
		from := w.accounts[w.rng.IntN(len(w.accounts))]
		if from.flying >= perAccount {
			continue
		}
		dest := from.shard
		if w.rng.Float64() < w.cross {
			dest = shardkit.ShardID((int(from.shard) + 1 + w.rng.IntN(len(w.members)-1)) % len(w.members))
		}
		to := w.byShard[dest][w.rng.IntN(len(w.byShard[dest]))]
		t := &transfer{from: from, dest: dest, first: now}
		t.tx = ledger.Transaction{
			Chain: w.id, Shard: from.shard, From: [32]byte(from.key.Public().(ed25519.PublicKey)),
			Nonce: from.nonce, To: to.addr, Amount: 1 + uint64(w.rng.IntN(1000)), Fee: 1,
		}
		from.nonce++
		from.flying++
		out = append(out, t)
		w.stats.submitted++
		if dest != from.shard {
			w.stats.crossSent++
		}
		if w.stats.first.IsZero() {
			w.stats.first = now
		}
	}
	return out
}

// submit sends transfers in batches, each through a validator of the senders'
// shard, the next one in turn.
func (w *wallet) submit(list []*transfer) {
	now := time.Now()
	batches := make([][]*transfer, len(w.members))
	for _, t := range list {
		t.sent = now
		batches[t.from.shard] = append(batches[t.from.shard], t)
	}
	for s, batch := range batches {
		for part := range slices.Chunk(batch, 256) {
			w.turn++
			w.request++
			txs := make([]ledger.Transaction, len(part))
			for i, t := range part {
				txs[i] = t.tx
			}
			msg, err := chain.Submit(shardkit.ShardID(s), w.request, txs)
			if err != nil {
				continue
			}
			w.requests[w.request] = part
			w.send(w.members[s][w.turn%len(w.members[s])], msg)
		}
	}
}

// retry asks for transfers whose receipt is late, and submits them again.
func (w *wallet) retry() {
	now := time.Now()
	var late []*transfer
	for _, t := range w.flying {
		if now.Sub(t.sent) > patience {
			late = append(late, t)
		}
	}
	// In order of nonce: a pool that lost the first of a queue wants it first.
	slices.SortFunc(late, func(a, b *transfer) int {
		if a.from != b.from {
			return slices.Compare(a.from.addr[:], b.from.addr[:])
		}
		return int(a.tx.Nonce) - int(b.tx.Nonce)
	})
	w.submit(late)
	asked := make([][]*transfer, len(w.members))
	for _, t := range late {
		asked[t.dest] = append(asked[t.dest], t)
	}
	for s, list := range asked {
		for part := range slices.Chunk(list, chain.MaxFind) {
			w.turn++
			w.request++
			ids := make([]shardkit.Hash, len(part))
			for i, t := range part {
				ids[i] = t.tx.ID()
			}
			w.requests[w.request] = part
			w.send(w.members[s][w.turn%len(w.members[s])], chain.Find(shardkit.ShardID(s), w.request, ids))
		}
	}
	if len(w.requests) > 10_000 {
		clear(w.requests) // answers that never came
	}
}

// handle takes a validator's notice.
func (w *wallet) handle(msg []byte) {
	n, err := chain.DecodeNotice(msg)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(n.Members) > 0 && int(n.Shard) < len(w.members) {
		w.members[n.Shard] = n.Members
	}
	if n.Block != nil {
		for _, id := range n.Block.Included {
			w.seen(w.flying[id], n.Shard)
		}
		for _, id := range n.Block.Delivered {
			w.seen(w.flying[id], n.Shard)
		}
	}
	w.staking.handle(n)
	if answer := w.answers[n.Request]; answer != nil {
		delete(w.answers, n.Request)
		answer <- n
	}
	if list := w.asked[n.Request]; len(list) == len(n.Accounts) {
		delete(w.asked, n.Request)
		for i, a := range list {
			if !a.known {
				a.known, a.nonce = true, max(a.nonce, n.Accounts[i].Nonce)
				w.unknown--
			}
		}
	}
	if list := w.requests[n.Request]; n.Request > 0 && len(list) > 0 {
		delete(w.requests, n.Request)
		w.answer(n, list)
	}
}

// answer takes the reply to a request for some transfers.
func (w *wallet) answer(n *chain.Notice, list []*transfer) {
	for i, reason := range n.Admitted {
		if i >= len(list) {
			break
		}
		t := list[i]
		switch reason {
		case "", string(ledger.ReasonKnown):
			w.accept(t)
		case string(ledger.ReasonNonceLow): // included already, or about to be seen so
		default:
			w.stats.refused[reason]++
		}
	}
	for i, f := range n.Found {
		if i < len(list) && (f.Delivered > 0 || f.Included > 0) {
			w.seen(list[i], n.Shard)
		}
	}
}

func (w *wallet) accept(t *transfer) {
	if !t.accepted {
		t.accepted = true
		w.stats.accepted++
		w.stats.transfers = append(w.stats.transfers, chain.Transfer{ID: t.tx.ID(), Source: t.from.shard, Dest: t.dest})
	}
}

// seen notes that a shard holds a transfer; at its destination it is done.
func (w *wallet) seen(t *transfer, shard shardkit.ShardID) {
	if t == nil || w.flying[t.tx.ID()] != t {
		return
	}
	if shard != t.dest {
		t.included = true
		return
	}
	now := time.Now()
	delete(w.flying, t.tx.ID())
	w.accept(t)
	t.from.flying--
	w.journal.receive(t.tx.ID())
	took := now.Sub(t.first)
	w.stats.committed++
	w.stats.perShard[t.dest]++
	w.stats.recent = append(w.stats.recent, took)
	if t.dest == t.from.shard {
		w.stats.inShard = append(w.stats.inShard, took)
	} else {
		w.stats.crossDelivered++
		w.stats.crossShard = append(w.stats.crossShard, took)
	}
	if !w.stopped {
		w.stats.last = now
		w.stats.beforeStop++
	}
}
