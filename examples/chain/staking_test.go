package chain

import (
	"crypto/ed25519"
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/fbft/bls"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/ledger"
)

// staker is an account of the beacon and the identity of a node.
type staker struct {
	t    testing.TB
	key  ed25519.PrivateKey
	addr ledger.Address
	id   *Identity
}

func newStaker(t testing.TB, n int) *staker {
	id, err := NewIdentity(digest("staker", n))
	require.NoError(t, err)
	key := beaconKey(n, 2)
	return &staker{t, key, ledger.AddressOf(key.Public().(ed25519.PublicKey)), id}
}

// beaconKey derives the key of an account that lives on the beacon.
func beaconKey(tag any, shards uint32) ed25519.PrivateKey {
	return AccountKey(digest("beacon account", tag), 0, shards)
}

func (s *staker) slot() estake.SlotKeys {
	k, err := s.id.SlotKeys(shardkit.Hash{1}, s.addr)
	require.NoError(s.t, err)
	return k
}

func (s *staker) tx(order estake.Tx, nonce, fee uint64) *ledger.Transaction {
	tx, err := NewStaking(shardkit.Hash{1}, order, nonce, fee)
	require.NoError(s.t, err)
	tx.Sign(s.key)
	return &tx
}

// bench is a state of the beacon with one staker's account.
func bench(t testing.TB, s *staker) (*rules, *mapState, *ledger.Context) {
	g := &Genesis{Params: Params{Shards: 2, Stake: estake.DefaultParams(8)}}
	r := newRules(shardkit.Hash{1}, 0, g, s.id.Scheme, bls.VerifyPossession, mutantNone)
	st := newMapState()
	require.NoError(t, estake.Init(st, g.Params.Stake, []estake.Genesis{{Validator: [32]byte{7}, Stake: 500}}))
	require.NoError(t, ledger.SetAccount(st, s.addr, ledger.Account{Balance: 10_000}))
	return r, st, &ledger.Context{Chain: r.id, Shards: 2, Height: 5, Epoch: 1}
}

func tokens(t testing.TB, st *mapState, who ledger.Address) uint64 {
	acc, err := ledger.GetAccount(st, who)
	require.NoError(t, err)
	held, err := estake.TotalTokens(st)
	require.NoError(t, err)
	return acc.Balance + held
}

// TestStaking: what is staked comes off the account, and back after the lock.
func TestStaking(t *testing.T) {
	s := newStaker(t, 1)
	r, st, ctx := bench(t, s)
	run := func(order estake.Tx, nonce uint64) {
		res, err := r.executor.Execute(ctx, st, s.tx(order, nonce, 3), nil)
		require.NoError(t, err)
		require.Equal(t, uint64(3), res.Fee)
		require.Equal(t, 10_500-3*(nonce+1), tokens(t, st, s.addr), "all tokens but the fees are there")
		require.NoError(t, estake.Audit(st.scan))
	}
	run(estake.Stake{Amount: 4_000, Slots: []estake.SlotKeys{s.slot()}}, 0)
	run(estake.Delegate{Validator: [32]byte{7}, Amount: 1_000}, 1)
	run(estake.Undelegate{Validator: s.addr, Amount: 4_000}, 2)
	acc, err := ledger.GetAccount(st, s.addr)
	require.NoError(t, err)
	require.Equal(t, ledger.Account{Nonce: 3, Balance: 10_000 - 5_000 - 9}, acc)
	for e := range shardkit.Epoch(10) {
		_, err := estake.EndEpoch(st, r.genesis.Params.Stake, e, 0, 0)
		require.NoError(t, err)
	}
	ctx.Epoch = 10
	run(estake.Withdraw{Validator: s.addr, Epoch: 1}, 3)
	e, err := estake.Elect(st, r.genesis.Params.Stake)
	require.ErrorIs(t, err, estake.ErrTooFew, "%v", e)
}

// TestStakingRefused: a refused transaction has its reason and leaves no trace.
func TestStakingRefused(t *testing.T) {
	s, other := newStaker(t, 1), newStaker(t, 2)
	r, st, ctx := bench(t, s)
	slot := s.slot()
	_, err := r.executor.Execute(ctx, st, s.tx(estake.Stake{Amount: 10, Slots: []estake.SlotKeys{slot}}, 0, 1), nil)
	require.NoError(t, err)

	foreign, err := other.id.SlotKeys(r.id, other.addr)
	require.NoError(t, err)
	// Sound slots, but for the node: that of the slot above, or both the same.
	served, fresh := *other.id, *other.id
	served.Network = s.id.Network
	mixed, err := served.SlotKeys(r.id, s.addr)
	require.NoError(t, err)
	third := newStaker(t, 3)
	fresh.Network = third.id.Network
	twice, err := fresh.SlotKeys(r.id, s.addr)
	require.NoError(t, err)
	same, err := third.id.SlotKeys(r.id, s.addr)
	require.NoError(t, err)
	change := func(f func(*ledger.Transaction)) *ledger.Transaction {
		tx := s.tx(estake.Delegate{Validator: [32]byte{7}, Amount: 5}, 1, 1)
		f(tx)
		tx.Sign(s.key)
		return tx
	}
	for name, c := range map[string]struct {
		tx  *ledger.Transaction
		why ledger.Reason
	}{
		"more than there is": {s.tx(estake.Delegate{Validator: [32]byte{7}, Amount: 1 << 40}, 1, 1), ledger.ReasonBalance},
		"fee":                {s.tx(estake.Delegate{Validator: [32]byte{7}, Amount: 5}, 1, 1<<40), ledger.ReasonBalance},
		"nonce":              {s.tx(estake.Delegate{Validator: [32]byte{7}, Amount: 5}, 0, 1), ledger.ReasonNonceLow},
		"nobody":             {s.tx(estake.Delegate{Validator: [32]byte{8}, Amount: 5}, 1, 1), StakingReason(estake.ErrUnknown)},
		"locked":             {s.tx(estake.Withdraw{Validator: s.addr, Epoch: 1}, 1, 1), StakingReason(estake.ErrLocked)},
		"evidence":           {s.tx(estake.Evidence{}, 1, 1), StakingReason(estake.ErrUnknown)},
		"another's slot":     {s.tx(estake.Edit{Add: []estake.SlotKeys{foreign}}, 1, 1), StakingReason(estake.ErrSlot)},
		"node taken":         {s.tx(estake.Edit{Add: []estake.SlotKeys{mixed}}, 1, 1), StakingReason(estake.ErrSlot)},
		"one node twice":     {s.tx(estake.Edit{Add: []estake.SlotKeys{twice, same}}, 1, 1), StakingReason(estake.ErrSlot)},
		"amount":             {change(func(tx *ledger.Transaction) { tx.Amount = 1 }), ledger.ReasonMalformed},
		"receiver":           {change(func(tx *ledger.Transaction) { tx.To[0] = 1 }), ledger.ReasonMalformed},
		"gas":                {change(func(tx *ledger.Transaction) { tx.Gas = 1 }), ledger.ReasonMalformed},
		"payload":            {change(func(tx *ledger.Transaction) { tx.Payload = tx.Payload[1:] }), ledger.ReasonMalformed},
		"kind":               {change(func(tx *ledger.Transaction) { tx.Kind = 9 }), ledger.ReasonKind},
	} {
		before := st.clone()
		_, err := r.executor.Execute(ctx, st, c.tx, nil)
		var refused *ledger.TxError
		require.ErrorAs(t, err, &refused, name)
		require.Equal(t, c.why, refused.Reason, "%s: %v", name, err)
		require.LessOrEqual(t, len(refused.Reason), 64, "a notice has no room for more")
		require.Equal(t, before, st, name)
	}
	away := *s
	away.key = AccountKey(digest("away"), 1, 2)
	away.addr = ledger.AddressOf(away.key.Public().(ed25519.PublicKey))
	require.NoError(t, ledger.SetAccount(st, away.addr, ledger.Account{Balance: 10_000}))
	_, err = r.executor.Execute(ctx, st, away.tx(estake.Delegate{Validator: s.addr, Amount: 5}, 0, 1), nil)
	require.ErrorContains(t, err, string(ledger.ReasonShard))
	_, err = NewStaking(r.id, estake.Edit{Add: make([]estake.SlotKeys, MaxOrderGas+1)}, 0, 0)
	require.ErrorContains(t, err, "at most")
}

// TestStakingAdmission: a node refuses at once, and says why, what the rules of
// package estake do not allow now; and it takes only so many at a time.
func TestStakingAdmission(t *testing.T) {
	w := newWorld(t, options{seed: 24, shards: 2, nodes: 8, real: true})
	w.wallet.stopped = true
	w.net.Run(time.Second)
	joiner, delegator := w.stakers.joiner, w.stakers.accounts[len(w.stakers.accounts)-1]
	good := joiner.keys(t, w.genesis.ID())
	forged := good
	forged.Proof = append([]byte(nil), good.Proof...)
	forged.Proof[10] ^= 1
	validator := w.stakers.accounts[0].addr
	make := func(key ed25519.PrivateKey, order estake.Tx, nonce uint64) ledger.Transaction {
		tx, err := NewStaking(w.genesis.ID(), order, nonce, 1)
		require.NoError(t, err)
		tx.Sign(key)
		return tx
	}
	stake := func(k estake.SlotKeys) estake.Tx { return estake.Stake{Amount: 100, Slots: []estake.SlotKeys{k}} }
	to := w.wallet.validator(0)
	known := *joiner
	known.node, known.network = w.ids[0].node, w.ids[0].network
	require.Equal(t, []string{"staking: bad slot"}, w.submit(to, 0, []ledger.Transaction{
		make(joiner.account, stake(known.keys(t, w.genesis.ID())), 0),
	}), "the node of a slot of the genesis")
	require.Equal(t, []string{"staking: bad slot", "", "staking: bad amount", "staking: bad slot", "", "staking: does not exist"}, w.submit(to, 0, []ledger.Transaction{
		make(joiner.account, stake(forged), 0),
		make(joiner.account, stake(good), 0),
		make(delegator.key, estake.Undelegate{Validator: validator, Amount: 1}, 0),
		make(delegator.key, estake.Edit{Add: []estake.SlotKeys{forged}}, 1),
		make(delegator.key, estake.Delegate{Validator: validator, Amount: 10}, 0),
		make(delegator.key, estake.Delegate{Validator: ledger.Address{1}, Amount: 10}, 0),
	}))
	var many []ledger.Transaction
	for i := range maxRehearsed + 1 {
		many = append(many, make(w.stakers.accounts[i].key, estake.Delegate{Validator: w.stakers.leaver.addr, Amount: 10}, 0))
	}
	got := w.submit(to, 0, many[:maxRehearsed+1])
	require.Equal(t, string(ledger.ReasonSpace), got[maxRehearsed])
	for _, id := range w.ids {
		if r := w.nodes[id.node].replica(1); r != nil {
			require.Equal(t, []string{"other shard"}, w.submit(id.node, 1, many[:1]))
			elsewhere := ledger.Transaction{Kind: 9, Chain: w.genesis.ID(), Shard: 1}
			for _, a := range w.wallet.accounts {
				if a.shard == 1 {
					elsewhere.Sign(a.key)
				}
			}
			require.Equal(t, []string{"unknown kind"}, w.submit(id.node, 1, []ledger.Transaction{elsewhere}))
			break
		}
	}
}

// TestHoldings: an account learns what it has bonded, and what it has earned.
func TestHoldings(t *testing.T) {
	w := newWorld(t, options{seed: 25, shards: 2, nodes: 8})
	a := w.stakers.accounts[len(w.stakers.accounts)-1]
	validators := []ledger.Address{w.stakers.accounts[0].addr, w.stakers.accounts[1].addr, {1}}
	for i, order := range []estake.Tx{
		estake.Delegate{Validator: validators[0], Amount: 40_000}, estake.Delegate{Validator: validators[0], Amount: 50_000, Compound: true},
	} {
		w.net.Run(time.Duration(i+1) * 800 * time.Millisecond)
		tx, err := NewStaking(w.genesis.ID(), order, uint64(i), 1)
		require.NoError(t, err)
		tx.Sign(a.key)
		for _, id := range w.ids {
			if w.nodes[id.node].replica(0) != nil {
				require.Equal(t, []string{""}, w.submit(id.node, 0, []ledger.Transaction{tx}))
			}
		}
	}
	w.net.Run(6 * time.Second)
	got := w.ask(w.wallet.validator(0), Holdings(7, a.addr, validators), 7).Holdings
	require.Len(t, got, len(validators))
	require.Equal(t, uint64(40_000), got[0].Plain)
	require.Positive(t, got[0].Rewards)
	require.Greater(t, got[0].Compound, uint64(50_000), "rewards were bonded at once")
	require.Zero(t, got[1])
	require.Zero(t, got[2])
	require.Empty(t, w.ask(w.wallet.validator(0), wire.AppendU32(walletHead(0, walletHoldings, 8), 0), 8).Holdings)
	require.Empty(t, w.faults)
}

// submit hands transactions to a node and returns its answer.
func (w *world) submit(to shardkit.NodeID, shard shardkit.ShardID, txs []ledger.Transaction) []string {
	const request = 1 << 40
	msg, err := Submit(shard, request, txs)
	require.NoError(w.t, err)
	return w.ask(to, msg, request).Admitted
}

// ask hands a request to a node and returns its answer.
func (w *world) ask(to shardkit.NodeID, msg []byte, request uint64) *Notice {
	n := w.nodes[to]
	require.NoError(w.t, n.Deliver(w.net.Now(), w.wallet.id, msg))
	for {
		rd := n.Ready()
		for _, m := range rd.Messages {
			if note, err := DecodeNotice(m.Data); err == nil && note.Request == request {
				return note
			}
		}
		for _, j := range rd.Jobs {
			n.Done(w.net.Now(), j.Run())
		}
	}
}

// TestBlockGas: a block has room for so many new slots; a builder leaves the
// others for the next, and a block with more is invalid.
func TestBlockGas(t *testing.T) {
	s := newStaker(t, 1)
	r, _, ctx := bench(t, s)
	x := &execution{rules: r, ctx: *ctx}
	txs := make([]ledger.Transaction, MaxBlockGas/MaxOrderGas+1)
	for i := range txs {
		txs[i].Gas = MaxOrderGas
	}
	require.ErrorContains(t, x.transactions(txs), "more gas")
	require.ErrorIs(t, x.transactions([]ledger.Transaction{{Gas: 1 << 63}, {Gas: 1 << 63}}), ErrInvalid)
	require.NotContains(t, x.transactions(txs[1:]).Error(), "more gas")

	w := newWorld(t, options{seed: 26, shards: 1, nodes: 4, accounts: 1})
	w.wallet.stopped = true
	w.net.Run(200 * time.Millisecond)
	b := w.nodes[w.ids[0].node].replica(0)
	c := b.candidate(w.net.Now())
	for i := range txs {
		a, order := w.stakers.accounts[i], estake.Stake{Amount: 100}
		for j := range MaxOrderGas {
			id := newIdentity(t, w.opt, 2000+MaxOrderGas*i+j)
			id.slot.Validator = a.addr
			order.Slots = append(order.Slots, id.keys(t, w.genesis.ID()))
		}
		var what estake.Tx = order
		if i <= w.opt.nodes-1 {
			what = estake.Edit{Add: order.Slots}
		}
		tx, err := NewStaking(w.genesis.ID(), what, 0, 1)
		require.NoError(t, err)
		tx.Sign(a.key)
		c.txs = append(c.txs, &tx)
	}
	made, err := b.rules.build(c)
	require.NoError(t, err)
	defer made.outcome.stage.Discard()
	require.Empty(t, made.refused)
	require.Len(t, made.outcome.included, MaxBlockGas/MaxOrderGas)
}

// TestSlotProof changes everything that a slot's three keys vouch for, and
// each proof: none of it passes.
func TestSlotProof(t *testing.T) {
	s, other := newStaker(t, 1), newStaker(t, 2)
	r, _, _ := bench(t, s)
	slot := s.slot()
	require.NoError(t, r.checkSlot(s.addr, &slot))
	require.Len(t, r.verified, 1, "remembered")
	require.Error(t, r.checkSlot(other.addr, &slot), "another account")
	foreign := newRules(shardkit.Hash{2}, 0, r.genesis, s.id.Scheme, bls.VerifyPossession, mutantNone)
	require.Error(t, foreign.checkSlot(s.addr, &slot), "another chain")

	// Somebody signs with two keys of its own for a third that is another's.
	theirs := other.slot()
	for name, change := range map[string]func(*estake.SlotKeys, *Identity){
		"voting key": func(k *estake.SlotKeys, id *Identity) { k.VotingKey = theirs.VotingKey },
		"VRF key":    func(k *estake.SlotKeys, id *Identity) { k.VRFKey = theirs.VRFKey },
		"node":       func(k *estake.SlotKeys, id *Identity) { k.Node = theirs.Node },
	} {
		k := s.slot()
		change(&k, s.id)
		msg := slotMessage(r.id, s.addr, &k)
		pi, err := s.id.VRF.Prove(msg)
		require.NoError(t, err)
		p := slotProof{Possession: s.id.Voting.Prove(msg), VRF: pi, Network: [64]byte(ed25519.Sign(s.id.Network, msg))}
		k.Proof = p.encode()
		require.Error(t, r.checkSlot(s.addr, &k), name)
	}
	for i := range slot.Proof {
		bad := slot
		bad.Proof = append([]byte(nil), slot.Proof...)
		bad.Proof[i] ^= 1
		require.Error(t, r.checkSlot(s.addr, &bad), "byte %d", i)
	}
}

// TestSlotGolden pins what the keys of a slot sign, and the proof's encoding.
func TestSlotGolden(t *testing.T) {
	k := &estake.SlotKeys{VotingKey: []byte{3}, VRFKey: []byte{4, 5}, Node: shardkit.NodeID{6}}
	zeros := hex.EncodeToString(make([]byte, 31))
	require.Equal(t, hex.EncodeToString([]byte(slotTag))+"01"+zeros+"02"+zeros+"06"+zeros+"0000000103"+"000000020405",
		hex.EncodeToString(slotMessage(shardkit.Hash{1}, [32]byte{2}, k)))
	p := slotProof{Possession: []byte{1}, VRF: []byte{2, 3}, Network: [64]byte{4}}
	require.Equal(t, "01"+"0000000101"+"000000020203"+"04"+hex.EncodeToString(make([]byte, 63)), hex.EncodeToString(p.encode()))
}

func BenchmarkCheckSlot(b *testing.B) {
	s := newStaker(b, 1)
	r, _, _ := bench(b, s)
	slot := s.slot()
	b.ReportAllocs()
	for b.Loop() {
		clear(r.verified)
		if err := r.checkSlot(s.addr, &slot); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzSlotProof(f *testing.F) {
	p := slotProof{Possession: []byte{1}, VRF: []byte{2, 3}, Network: [64]byte{4}}
	reencode(f, p.encode(), decodeSlotProof, func(p slotProof) []byte { return p.encode() })
}

func (s *mapState) scan(fn func(key, value []byte) error) error {
	for k, v := range s.m {
		if err := fn([]byte(k), v); err != nil {
			return err
		}
	}
	return nil
}

func (s *mapState) clone() *mapState {
	c := newMapState()
	for k, v := range s.m {
		c.m[k] = v
	}
	return c
}
