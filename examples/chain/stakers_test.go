package chain

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/kad/simnet"
	"github.com/shardkit/shardkit/ledger"
)

// simStakers is the staking part of the load: the validators' own accounts,
// some delegators, a validator that joins after the genesis and one that
// leaves. Each sends one order at a time, mostly a sensible one; what is
// refused, or takes too long, it gives up.
type simStakers struct {
	w        *world
	id       shardkit.NodeID
	accounts []*simStaker
	joiner   *simIdentity
	leaver   *simStaker
	requests map[uint64]*simStaker
	request  uint64
	next     time.Duration
	out      []shardkit.Message
	rng      *simWallet // for its generator
	refused  int
}

type simStaker struct {
	key    ed25519.PrivateKey
	addr   ledger.Address
	join   *simIdentity // the slot it registers
	leaves bool
	tx     *ledger.Transaction // under way
	order  estake.Tx           // in tx
	fee    uint64
	locked []estake.Withdraw // what has been undelegated, epochs as they were then
	sent   time.Duration
	tries  int
}

const (
	joinAt  = 1200 * time.Millisecond
	leaveAt = 1500 * time.Millisecond
)

func newSimStakers(w *world) *simStakers {
	s := &simStakers{w: w, id: digest("stakers", w.opt.seed), requests: map[uint64]*simStaker{}, rng: &simWallet{rng: w.opt.seed*2 + 99}}
	add := func(key ed25519.PrivateKey) *simStaker {
		a := &simStaker{key: key, addr: ledger.AddressOf(key.Public().(ed25519.PublicKey))}
		s.accounts = append(s.accounts, a)
		w.genesis.Accounts = append(w.genesis.Accounts, Allocation{a.addr, 3_000_000})
		return a
	}
	for _, id := range w.ids {
		s.leaver = add(id.account)
	}
	s.leaver.leaves = true
	s.joiner = newIdentity(w.t, w.opt, 1000)
	add(s.joiner.account).join = s.joiner
	for i := range 5 {
		add(beaconKey(fmt.Sprint("delegator ", w.opt.seed, "/", i), uint32(w.opt.shards)))
	}
	return s
}

// begin starts the node of the validator that joins.
func (s *simStakers) begin() {
	s.w.net.At(joinAt/2, func() {
		s.w.ids = append(s.w.ids, s.joiner)
		s.w.add(s.joiner, 1000, true)
	})
}

func (s *simStakers) Tick(now time.Duration) {
	if now < s.next {
		return
	}
	s.next = now + 100*time.Millisecond
	for _, a := range s.accounts {
		switch {
		case s.w.wallet.stopped:
		case a.tx == nil:
			s.ask(now, a)
		case now >= a.sent+time.Second:
			s.submit(now, a)
			s.ask(now, a)
		}
	}
}

// ask asks for an account's nonce, which says when an order was carried out.
func (s *simStakers) ask(now time.Duration, a *simStaker) {
	if a.tx == nil && now < a.sent+300*time.Millisecond {
		return
	}
	s.request++
	s.requests[s.request], a.sent = a, now
	s.send(Accounts(0, s.request, []ledger.Address{a.addr}))
}

func (s *simStakers) submit(now time.Duration, a *simStaker) {
	if a.tries++; a.tries > 4 {
		a.tx = nil
		a.fee += 1 + a.fee/2 // or a copy that still waits could not be replaced
		return
	}
	s.request++
	s.requests[s.request], a.sent = a, now
	msg, err := Submit(0, s.request, []ledger.Transaction{*a.tx})
	require.NoError(s.w.t, err)
	s.send(msg)
}

func (s *simStakers) send(msg []byte) {
	s.out = append(s.out, shardkit.Message{To: s.w.wallet.validator(0), Class: shardkit.ClassBlock, Data: msg})
}

func (s *simStakers) Deliver(now time.Duration, _ shardkit.NodeID, msg []byte) error {
	n, err := DecodeNotice(msg)
	if err != nil {
		return err
	}
	a := s.requests[n.Request]
	if a == nil {
		return nil
	}
	delete(s.requests, n.Request)
	if len(n.Accounts) == 1 {
		s.turn(now, a, n.Accounts[0])
	}
	if len(n.Admitted) == 1 && a.tx != nil && n.Admitted[0] != "" && n.Admitted[0] != string(ledger.ReasonKnown) {
		s.refused++
		a.tx = nil
	}
	return nil
}

// turn sees whether an order was carried out, and makes the next.
func (s *simStakers) turn(now time.Duration, a *simStaker, acc ledger.Account) {
	if a.tx != nil && acc.Nonce > a.tx.Nonce {
		a.tx, a.fee = nil, 0
		switch o := a.order.(type) {
		case estake.Undelegate:
			a.locked = append(a.locked, estake.Withdraw{Validator: o.Validator, Epoch: s.epoch()})
		case estake.Redelegate:
			a.locked = append(a.locked, estake.Withdraw{Validator: o.From, Epoch: s.epoch(), Moved: true, To: o.To})
		}
	}
	if a.tx != nil {
		return
	}
	order := s.think(now, a, acc)
	if order == nil {
		return
	}
	tx, err := NewStaking(s.w.genesis.ID(), order, acc.Nonce, 2+a.fee)
	require.NoError(s.w.t, err)
	tx.Sign(a.key)
	a.tx, a.order, a.tries = &tx, order, 0
	s.submit(now, a)
}

// epoch is the beacon's, about.
func (s *simStakers) epoch() (e shardkit.Epoch) {
	for _, id := range s.w.ids {
		if n := s.w.nodes[id.node]; n != nil {
			e = max(e, n.newest)
		}
	}
	return e
}

// think finds something for an account to do.
func (s *simStakers) think(now time.Duration, a *simStaker, acc ledger.Account) estake.Tx {
	validators := s.accounts[:s.w.opt.nodes+1]
	place := slices.Index(s.accounts, a)
	switch {
	case a.join != nil && acc.Nonce == 0:
		if now < joinAt {
			return nil
		}
		return estake.Stake{Amount: 1_600_000, MaxCommissionPPM: 200_000, MaxChangePPM: 1000, Slots: []estake.SlotKeys{a.join.keys(s.w.t, s.w.genesis.ID())}}
	case a.leaves && now < leaveAt:
		return nil
	case a.leaves && len(a.locked) == 0:
		return estake.Undelegate{Validator: a.addr, Amount: estake.Everything}
	}
	if s.w.opt.strict && place < len(validators) && s.random(2) == 0 {
		return estake.Rejoin{Slots: []uint32{0}}
	}
	if n := len(a.locked); n > 0 && s.random(2) == 0 {
		w := a.locked[s.random(n)]
		w.Epoch -= min(w.Epoch, shardkit.Epoch(s.random(2))) // it was seen later than it was
		return w
	}
	amount := uint64(1 + s.random(30_000))
	if place < len(validators) {
		switch s.random(5) {
		case 0:
			return estake.Claim{Validator: a.addr, Restake: s.random(2) == 0}
		case 1:
			return estake.Edit{SetRestake: true, Restake: s.random(2) == 0}
		case 2:
			return estake.Undelegate{Validator: a.addr, Amount: amount}
		}
		if a.leaves {
			return nil
		}
		return estake.Stake{Amount: amount}
	}
	// Everybody has three favourites.
	some := func() ledger.Address { return validators[(place+3*s.random(3))%len(validators)].addr }
	compound := s.random(2) == 0
	switch s.random(8) {
	case 0:
		return estake.Undelegate{Validator: some(), Amount: amount / 8, Compound: compound}
	case 1:
		return estake.Undelegate{Validator: some(), Amount: estake.Everything, Compound: compound}
	case 2, 3:
		return estake.Redelegate{From: some(), To: some(), Amount: estake.Everything, Compound: compound}
	case 4:
		return estake.Claim{Validator: some(), Restake: compound}
	}
	return estake.Delegate{Validator: some(), Amount: amount, Compound: compound}
}

func (s *simStakers) random(n int) int { return s.rng.random(n) }

func (s *simStakers) Wake() (time.Duration, bool)     { return s.next, true }
func (s *simStakers) Done(time.Duration, any)         {}
func (s *simStakers) Persisted(time.Duration, uint64) {}
func (s *simStakers) Effects() (e simnet.Effects) {
	e.Messages, s.out = s.out, nil
	return e
}

// tally adds up what the stakers of many worlds got done.
type tally struct {
	mu     sync.Mutex
	orders map[estake.Kind]int
	joined int // worlds in which the joiner signed a block
	epochs shardkit.Epoch
}

func (a *tally) add(w *world) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.orders == nil {
		a.orders = map[estake.Kind]int{}
	}
	for k, n := range w.orders {
		a.orders[k] += n
	}
	if w.signed[w.stakers.joiner.node] > 0 {
		a.joined++
	}
	a.epochs += w.stakers.epoch()
}

// check sees to it that the load is one: every kind of order is carried out,
// and in most worlds the joiner gets as far as signing.
func (a *tally) check(t *testing.T, worlds int) {
	t.Logf("orders by kind %v, joined in %d of %d, %d epochs", a.orders, a.joined, worlds, a.epochs)
	for k := estake.KindStake; k < estake.KindEvidence; k++ {
		require.Positive(t, a.orders[k], "kind %d", k)
	}
	require.Greater(t, 2*a.joined, worlds)
}

// TestJoinByStake starts a node that the genesis does not know. Its owner
// stakes and registers its slot; it is elected, syncs, and signs blocks, while
// a validator that took out all its stake has no seat any more.
func TestJoinByStake(t *testing.T) {
	w := newWorld(t, options{seed: 31, shards: 2, nodes: 8, stakers: true, accounts: 8, blocks: 8})
	j := w.stakers.joiner
	require.True(t, w.net.RunUntil(func() bool { return w.signed[j.node] > 15 }, 40*time.Second), w.status())
	t.Logf("at %v: orders by kind %v, %d refused", w.net.Now(), w.orders, w.stakers.refused)
	n := w.nodes[j.node]
	newest := n.sets[len(n.sets)-1]
	seats := map[shardkit.Hash]uint64{}
	for _, shard := range newest.Shards {
		for _, s := range shard {
			seats[s.Slot] += s.Weight
		}
	}
	require.Positive(t, seats[j.slot.ID])
	require.Zero(t, seats[estake.SlotID(w.stakers.leaver.addr, 0)])
	require.Len(t, seats, 8)
	w.wallet.stopped = true
	w.net.RunUntil(w.wallet.idle, 20*time.Second)
	require.Empty(t, w.faults)
	require.Empty(t, w.audit().Why)
}
