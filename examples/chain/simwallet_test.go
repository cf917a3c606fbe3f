package chain

import (
	"crypto/ed25519"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad/simnet"
	"github.com/shardkit/shardkit/ledger"
)

// simWallet sends transfers, one at a time from each account, and sends the
// same bytes again through another validator until it sees the receipt.
type simWallet struct {
	w        *world
	id       shardkit.NodeID
	accounts []*simAccount
	place    map[shardkit.Hash]*simAccount
	accepted []Transfer
	seen     map[shardkit.Hash]bool
	requests map[uint64]*asked
	request  uint64
	next     time.Duration
	stopped  bool
	out      []shardkit.Message
	done     int
	rng      uint64
}

type simAccount struct {
	key   ed25519.PrivateKey
	addr  ledger.Address
	shard shardkit.ShardID
	nonce uint64
	tx    *ledger.Transaction // under way
	dest  shardkit.ShardID
	sent  time.Duration
	tries int
}

// asked is the transfer of a request. When the answer comes, its account may
// be at the next one.
type asked struct {
	account *simAccount
	tx      *ledger.Transaction
}

func newSimWallet(w *world) *simWallet {
	s := &simWallet{
		w: w, id: digest("wallet", w.opt.seed), rng: w.opt.seed*2 + 1,
		place: map[shardkit.Hash]*simAccount{}, seen: map[shardkit.Hash]bool{}, requests: map[uint64]*asked{},
	}
	for i := range w.opt.accounts {
		seed := digest("account", w.opt.seed, i)
		key := ed25519.NewKeyFromSeed(seed[:])
		addr := ledger.AddressOf(key.Public().(ed25519.PublicKey))
		s.accounts = append(s.accounts, &simAccount{key: key, addr: addr, shard: addr.Shard(uint32(w.opt.shards))})
		w.genesis.Accounts = append(w.genesis.Accounts, Allocation{addr, 1_000_000})
	}
	return s
}

func (s *simWallet) random(n int) int {
	s.rng = s.rng*6364136223846793005 + 1442695040888963407
	return int((s.rng >> 33) % uint64(n))
}

func (s *simWallet) Deliver(now time.Duration, from shardkit.NodeID, msg []byte) error {
	n, err := DecodeNotice(msg)
	if err != nil {
		return err
	}
	if n.Block != nil {
		for _, id := range n.Block.Included {
			if a := s.place[id]; a != nil && a.dest == a.shard {
				s.finish(a, id)
			}
		}
		for _, id := range n.Block.Delivered {
			if a := s.place[id]; a != nil {
				s.finish(a, id)
			}
		}
	}
	if q := s.requests[n.Request]; q != nil && q.account.tx == q.tx {
		a, id := q.account, q.tx.ID()
		if len(n.Admitted) == 1 && n.Admitted[0] == "" && !s.seen[id] {
			s.seen[id] = true
			s.accepted = append(s.accepted, Transfer{id, a.shard, a.dest})
		}
		if len(n.Found) == 1 && (n.Found[0].Delivered > 0 || (n.Found[0].Included > 0 && a.dest == a.shard)) {
			s.finish(a, id)
		}
	}
	delete(s.requests, n.Request)
	return nil
}

func (s *simWallet) finish(a *simAccount, id shardkit.Hash) {
	delete(s.place, id)
	if a.tx != nil && a.tx.ID() == id {
		a.tx = nil
		a.nonce++
		s.done++
	}
}

func (s *simWallet) Tick(now time.Duration) {
	if now < s.next {
		return
	}
	s.next = now + 50*time.Millisecond
	if now%(500*time.Millisecond) < 50*time.Millisecond {
		for _, id := range s.w.ids {
			for sh := range shardkit.ShardID(s.w.opt.shards) {
				s.send(id.node, Watch(sh))
			}
		}
	}
	for _, a := range s.accounts {
		switch {
		case a.tx == nil && !s.stopped:
			s.begin(now, a)
		case a.tx != nil && now >= a.sent+2*time.Second:
			s.again(now, a)
		}
	}
}

// begin makes an account's next transfer.
func (s *simWallet) begin(now time.Duration, a *simAccount) {
	to := s.accounts[s.random(len(s.accounts))]
	a.tx = &ledger.Transaction{
		Chain: s.w.genesis.ID(), Shard: a.shard, From: [32]byte(a.key.Public().(ed25519.PublicKey)),
		Nonce: a.nonce, To: to.addr, Amount: uint64(1 + s.random(50)), Fee: 1,
	}
	a.tx.Sign(a.key)
	a.dest = to.shard
	s.place[a.tx.ID()] = a
	a.tries = 0
	s.again(now, a)
}

// again submits an account's transfer through some validator, and asks the
// destination whether it has arrived.
func (s *simWallet) again(now time.Duration, a *simAccount) {
	a.sent = now
	s.request++
	s.requests[s.request] = &asked{a, a.tx}
	msg, err := Submit(a.shard, s.request, []ledger.Transaction{*a.tx})
	if err != nil {
		panic(err)
	}
	s.send(s.validator(a.shard), msg)
	if a.tries > 0 {
		s.request++
		s.requests[s.request] = &asked{a, a.tx}
		s.send(s.validator(a.dest), Find(a.dest, s.request, []shardkit.Hash{a.tx.ID()}))
	}
	a.tries++
}

// validator picks a node that hosts a shard.
func (s *simWallet) validator(shard shardkit.ShardID) shardkit.NodeID {
	var list []shardkit.NodeID
	for _, id := range s.w.ids {
		if n := s.w.nodes[id.node]; n != nil && n.replica(shard) != nil {
			list = append(list, id.node)
		}
	}
	if len(list) == 0 {
		return s.w.ids[0].node
	}
	return list[s.random(len(list))]
}

func (s *simWallet) send(to shardkit.NodeID, data []byte) {
	s.out = append(s.out, shardkit.Message{To: to, Class: shardkit.ClassBlock, Data: data})
}

func (s *simWallet) idle() bool {
	for _, a := range s.accounts {
		if a.tx != nil {
			return false
		}
	}
	return true
}

func (s *simWallet) Wake() (time.Duration, bool)     { return s.next, true }
func (s *simWallet) Done(time.Duration, any)         {}
func (s *simWallet) Persisted(time.Duration, uint64) {}
func (s *simWallet) Effects() (e simnet.Effects) {
	e.Messages, s.out = s.out, nil
	return e
}
