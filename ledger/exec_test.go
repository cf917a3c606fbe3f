package ledger_test

import (
	"errors"
	"maps"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/xshard"
)

// mapKV is a state that is a map. fail, if set, is what every call returns.
type mapKV struct {
	m    map[string][]byte
	fail error
}

func newMapKV() *mapKV { return &mapKV{m: map[string][]byte{}} }

func (s *mapKV) Get(k []byte) ([]byte, bool, error) { v, ok := s.m[string(k)]; return v, ok, s.fail }
func (s *mapKV) Set(k, v []byte) error              { s.m[string(k)] = v; return s.fail }
func (s *mapKV) Delete(k []byte) error              { delete(s.m, string(k)); return s.fail }

func (s *mapKV) clone() *mapKV { return &mapKV{m: maps.Clone(s.m)} }

func (s *mapKV) Scan(fn func(k, v []byte) error) error {
	for k, v := range s.m {
		if err := fn([]byte(k), v); err != nil {
			return err
		}
	}
	return nil
}

// supply is the sum of all balances.
func (s *mapKV) supply(t testing.TB) (sum uint64) {
	require.NoError(t, ledger.EachAccount(s, func(_ ledger.Address, acc ledger.Account) error {
		sum += acc.Balance
		return nil
	}))
	return sum
}

func balance(t testing.TB, s ledger.KV, a ledger.Address) uint64 {
	acc, err := ledger.GetAccount(s, a)
	require.NoError(t, err)
	return acc.Balance
}

func fund(t testing.TB, s ledger.KV, a ledger.Address, amount uint64) {
	require.NoError(t, ledger.SetAccount(s, a, ledger.Account{Balance: amount}))
}

func outbox(shard shardkit.ShardID, shards uint32) *xshard.Outbox {
	return xshard.NewOutbox(shard, shards, func(shardkit.ShardID) uint64 { return 0 })
}

// inShard finds a key whose account lives in the shard.
func inShard(shard shardkit.ShardID, shards uint32, from int) int {
	for addressOf(key(from)).Shard(shards) != shard {
		from++
	}
	return from
}

func TestTransfer(t *testing.T) {
	ctx := &ledger.Context{Chain: testChain, Shards: 1, Height: 10}
	alice, bob := addressOf(key(1)), addressOf(key(2))
	start := newMapKV()
	fund(t, start, alice, 100)

	t.Run("moves", func(t *testing.T) {
		s := start.clone()
		res, err := ledger.Transfer{}.Execute(ctx, s, transfer(key(1), 0, bob, 30, 2), outbox(0, 1))
		require.NoError(t, err)
		require.Equal(t, ledger.Result{Fee: 2}, res)
		acc, err := ledger.GetAccount(s, alice)
		require.NoError(t, err)
		require.Equal(t, ledger.Account{Nonce: 1, Balance: 68}, acc)
		require.Equal(t, uint64(30), balance(t, s, bob))
	})
	t.Run("to oneself", func(t *testing.T) {
		s := start.clone()
		_, err := ledger.Transfer{}.Execute(ctx, s, transfer(key(1), 0, alice, 30, 2), outbox(0, 1))
		require.NoError(t, err)
		require.Equal(t, uint64(98), balance(t, s, alice))
	})
	t.Run("multi-signature", func(t *testing.T) {
		s, tx := start.clone(), multi(t)
		fund(t, s, tx.Sender(), 6)
		_, err := ledger.Transfer{}.Execute(ctx, s, tx, outbox(0, 1))
		require.NoError(t, err)
		require.Equal(t, uint64(5), balance(t, s, tx.To))
	})
	t.Run("nothing makes no account", func(t *testing.T) {
		s := start.clone()
		_, err := ledger.Transfer{}.Execute(ctx, s, transfer(key(1), 0, bob, 0, 0), outbox(0, 1))
		require.NoError(t, err)
		require.Len(t, s.m, 1)
	})
}

func TestTransferAcrossShards(t *testing.T) {
	const shards = 4
	from := inShard(1, shards, 0)
	to := inShard(2, shards, 0)
	ctx := &ledger.Context{Chain: testChain, Shard: 1, Shards: shards}
	s, out := newMapKV(), outbox(1, shards)
	fund(t, s, addressOf(key(from)), 100)
	tx := &ledger.Transaction{Chain: testChain, Shard: 1, To: addressOf(key(to)), Amount: 40, Fee: 1, Memo: []byte("hello")}
	tx.Sign(key(from))
	_, err := ledger.Transfer{}.Execute(ctx, s, tx, out)
	require.NoError(t, err)
	require.Equal(t, uint64(59), s.supply(t))

	b := out.Batch(2)
	require.Len(t, b.Receipts, 1)
	r := b.Receipts[0]
	require.Equal(t, xshard.Receipt{
		Source: 1, Dest: 2, Kind: ledger.ReceiptTransfer, ID: tx.ID(), From: addressOf(key(from)),
		To: addressOf(key(to)), Amount: 40, Data: []byte("hello"),
	}, r)
	dest := newMapKV()
	require.NoError(t, ledger.Credit(dest, &r))
	require.Equal(t, uint64(40), balance(t, dest, addressOf(key(to))))
}

// TestRefusals lists every reason for which a transfer is refused. State and
// outbox stay as they were.
func TestRefusals(t *testing.T) {
	alice, bob := addressOf(key(1)), addressOf(key(2))
	ctx := &ledger.Context{Chain: testChain, Shards: 1, Height: 10}
	s := newMapKV()
	require.NoError(t, ledger.SetAccount(s, alice, ledger.Account{Nonce: 5, Balance: 100}))
	fund(t, s, bob, math.MaxUint64-10)
	rich := addressOf(key(3))
	require.NoError(t, ledger.SetAccount(s, rich, ledger.Account{Nonce: math.MaxUint64, Balance: 100}))
	for _, tc := range []struct {
		want   ledger.Reason
		change func(*ledger.Transaction)
	}{
		{ledger.ReasonKind, func(tx *ledger.Transaction) { tx.Kind = 1 }},
		{ledger.ReasonChain, func(tx *ledger.Transaction) { tx.Chain = shardkit.Hash{} }},
		{ledger.ReasonShard, func(tx *ledger.Transaction) { tx.Shard = 1 }},
		{ledger.ReasonExpired, func(tx *ledger.Transaction) { tx.Expiry = 9 }},
		{ledger.ReasonNonceLow, func(tx *ledger.Transaction) { tx.Nonce = 4 }},
		{ledger.ReasonNonceHigh, func(tx *ledger.Transaction) { tx.Nonce = 6 }},
		{ledger.ReasonBalance, func(tx *ledger.Transaction) { tx.Amount = 100 }},
		{ledger.ReasonBalance, func(tx *ledger.Transaction) { tx.Fee = 96 }},
		{ledger.ReasonBalance, func(tx *ledger.Transaction) { tx.To, tx.Fee = alice, 96 }},
		{ledger.ReasonOverflow, func(tx *ledger.Transaction) { tx.Fee = math.MaxUint64 }},
		{ledger.ReasonOverflow, func(tx *ledger.Transaction) { tx.Amount = 11 }},
	} {
		tx := &ledger.Transaction{Chain: testChain, Nonce: 5, To: bob, Amount: 5, Fee: 1}
		tc.change(tx)
		tx.Sign(key(1))
		before, out := s.clone(), outbox(0, 1)
		_, err := ledger.Transfer{}.Execute(ctx, s, tx, out)
		requireReason(t, tc.want, err)
		require.Equal(t, before.m, s.m)
		require.Zero(t, out.Len())
	}
	_, err := ledger.Transfer{}.Execute(ctx, s, transfer(key(3), math.MaxUint64, bob, 1, 1), outbox(0, 1))
	requireReason(t, ledger.ReasonOverflow, err)
	last := &ledger.Transaction{Chain: testChain, Nonce: 5, To: bob, Expiry: 10}
	last.Sign(key(1))
	_, err = ledger.Transfer{}.Execute(ctx, s, last, outbox(0, 1))
	require.NoError(t, err, "the expiry height itself is not too late")
}

func TestCredit(t *testing.T) {
	a := addressOf(key(1))
	s := newMapKV()
	fund(t, s, a, 10)
	require.NoError(t, ledger.Credit(s, &xshard.Receipt{To: a, Amount: 5}))
	require.Equal(t, uint64(15), balance(t, s, a))
	require.NoError(t, ledger.Credit(s, &xshard.Receipt{To: a, Kind: 9, Amount: 7}))
	require.Equal(t, uint64(7), balance(t, s, ledger.Sink()), "unknown kind")
	require.NoError(t, ledger.Credit(s, &xshard.Receipt{To: a, Amount: math.MaxUint64 - 14}))
	require.Equal(t, uint64(15), balance(t, s, a))
	require.Equal(t, uint64(math.MaxUint64-7), balance(t, s, ledger.Sink()), "receiver would overflow")
	require.NoError(t, ledger.Credit(s, &xshard.Receipt{To: ledger.Sink(), Amount: 100}))
	require.Equal(t, uint64(math.MaxUint64), balance(t, s, ledger.Sink()))
	require.NoError(t, ledger.Credit(s, &xshard.Receipt{To: addressOf(key(2))}))
	require.Len(t, s.m, 2, "nothing makes no account")
	s.fail = errors.New("disk")
	require.ErrorIs(t, ledger.Credit(s, &xshard.Receipt{To: a, Amount: 5}), s.fail)
}

func TestDamagedAccount(t *testing.T) {
	a := addressOf(key(1))
	for _, v := range [][]byte{{}, make([]byte, 15), make([]byte, 16), make([]byte, 17)} {
		s := newMapKV()
		s.m[string(ledger.AccountKey(a))] = v
		_, err := ledger.GetAccount(s, a)
		var damaged *ledger.DamageError
		require.ErrorAs(t, err, &damaged)
		require.ErrorContains(t, err, a.String())
		require.Error(t, ledger.EachAccount(s, func(ledger.Address, ledger.Account) error { return nil }))
	}
}

// TestProveAccount asks for accounts that are there and for one that is not,
// at two heights, and offers every proof for everything else.
func TestProveAccount(t *testing.T) {
	c, r := applied(t, ledger.NewMemStore())
	before, _ := c.Head()
	_, err := c.Apply(propose(t, c, r, transfer(key(0), 0, addressOf(key(9)), 10, 5)), r, nil)
	require.NoError(t, err)
	after, _ := c.Head()
	for h, want := range map[*ledger.Header][3]ledger.Account{
		&before: {{Balance: 1000}, {Balance: 1000}, {}},
		&after:  {{Nonce: 1, Balance: 985}, {Balance: 1000}, {Balance: 10}},
	} {
		view, err := c.State().View(uint64(h.Height))
		require.NoError(t, err)
		for i, n := range []int{0, 1, 9} {
			a := addressOf(key(n))
			acc, proof, err := ledger.ProveAccount(view, a)
			require.NoError(t, err)
			require.Equal(t, want[i], acc)
			require.NoError(t, ledger.VerifyAccount(h.State, a, acc, proof))
			for _, lie := range []ledger.Account{{}, {Balance: 1}, {Nonce: acc.Nonce, Balance: acc.Balance + 1}, {Nonce: acc.Nonce + 1, Balance: acc.Balance}} {
				if lie != acc {
					require.ErrorIs(t, ledger.VerifyAccount(h.State, a, lie, proof), ledger.ErrProof)
				}
			}
			if acc != (ledger.Account{}) {
				require.ErrorIs(t, ledger.VerifyAccount(h.State, addressOf(key(n+1)), acc, proof), ledger.ErrProof)
			}
			require.ErrorIs(t, ledger.VerifyAccount(shardkit.Hash{}, a, acc, proof), ledger.ErrProof)
		}
		view.Close()
	}
}

func TestExecuteBlock(t *testing.T) {
	ctx := &ledger.Context{Chain: testChain, Shards: 1}
	s := newMapKV()
	fund(t, s, addressOf(key(1)), 100)
	txs := []ledger.Transaction{
		*transfer(key(1), 0, addressOf(key(2)), 50, 1),
		*transfer(key(2), 0, addressOf(key(3)), 20, 2),
		*transfer(key(1), 1, addressOf(key(3)), 10, 3),
	}
	fees, err := ledger.ExecuteBlock(ctx, s.clone(), txs, ledger.Transfer{}, outbox(0, 1))
	require.NoError(t, err)
	require.Equal(t, uint64(6), fees)

	txs[0], txs[1] = txs[1], txs[0]
	_, err = ledger.ExecuteBlock(ctx, s.clone(), txs, ledger.Transfer{}, outbox(0, 1))
	var bad *ledger.BlockError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, 0, bad.Index)
	requireReason(t, ledger.ReasonBalance, err)

	s.fail = errors.New("disk")
	_, err = ledger.ExecuteBlock(ctx, s, txs, ledger.Transfer{}, outbox(0, 1))
	require.ErrorIs(t, err, s.fail)
	require.False(t, errors.As(err, new(*ledger.BlockError)), "a failure of the store is not the block's fault")
}

func TestPick(t *testing.T) {
	ctx := &ledger.Context{Chain: testChain, Shards: 1}
	start := newMapKV()
	fund(t, start, addressOf(key(1)), 100)
	candidates := []*ledger.Transaction{
		transfer(key(1), 0, addressOf(key(2)), 50, 1),
		transfer(key(1), 0, addressOf(key(2)), 60, 1), // nonce used
		transfer(key(2), 0, addressOf(key(3)), 20, 2),
		transfer(key(3), 0, addressOf(key(1)), 90, 0), // poor
		transfer(key(1), 1, addressOf(key(3)), 10, 3),
	}
	size := candidates[0].Size()

	s := start.clone()
	p, err := ledger.Pick(ctx, s, candidates, ledger.Transfer{}, outbox(0, 1), ledger.Limits{})
	require.NoError(t, err)
	require.Len(t, p.Taken, 3)
	require.Equal(t, uint64(6), p.Fees)
	require.Len(t, p.Dropped, 2)
	require.Equal(t, candidates[1], p.Dropped[0].Transaction)
	require.Equal(t, ledger.ReasonNonceLow, p.Dropped[0].Err.Reason)
	require.Equal(t, ledger.ReasonBalance, p.Dropped[1].Err.Reason)
	again := start.clone()
	fees, err := ledger.ExecuteBlock(ctx, again, p.Taken, ledger.Transfer{}, outbox(0, 1))
	require.NoError(t, err)
	require.Equal(t, p.Fees, fees)
	require.Equal(t, again.m, s.m, "what Pick keeps ExecuteBlock repeats")

	for _, lim := range []ledger.Limits{{Count: 2}, {Bytes: 2*size + 1}} {
		p, err = ledger.Pick(ctx, start.clone(), candidates, ledger.Transfer{}, outbox(0, 1), lim)
		require.NoError(t, err)
		require.Len(t, p.Taken, 2)
	}
	s.fail = errors.New("disk")
	_, err = ledger.Pick(ctx, s, candidates, ledger.Transfer{}, outbox(0, 1), ledger.Limits{})
	require.ErrorIs(t, err, s.fail)
}

// TestPickGas bounds a block by the gas that its transactions may use.
func TestPickGas(t *testing.T) {
	ex := ledger.Kinds{5: program{}}
	var candidates []*ledger.Transaction
	for i, gas := range []uint64{60, 50, 40, 1} {
		candidates = append(candidates, &ledger.Transaction{Kind: 5, Nonce: uint64(i), Gas: gas, Fee: 1})
	}
	p, err := ledger.Pick(&ledger.Context{}, newMapKV(), candidates, ex, outbox(0, 1), ledger.Limits{Gas: 100})
	require.NoError(t, err)
	require.Len(t, p.Taken, 2)
	require.Equal(t, []uint64{60, 40}, []uint64{p.Taken[0].Gas, p.Taken[1].Gas})
	require.Empty(t, p.Dropped, "no space is no refusal")
}
