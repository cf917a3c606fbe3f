package ledger_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/xshard"
)

func indexedConfig() ledger.ChainConfig {
	cfg := chainConfig
	cfg.Transactions, cfg.Accounts = true, true
	return cfg
}

// extend commits a block with the transactions, and what execution is said to
// have left.
func extend(t testing.TB, c *ledger.Chain, x ledger.Executed, txs ...ledger.Transaction) {
	t.Helper()
	b, st := next(t, c)
	var err error
	b.Body, err = (&ledger.Body{Transactions: txs}).AppendBinary(nil)
	require.NoError(t, err)
	b.Header.Body = ledger.BodyHash(b.Body)
	x.Stage = st
	require.NoError(t, c.CommitExecuted(b, &x, extra(b.Header.Height)))
}

func receipt(from shardkit.ShardID, seq uint64, id byte, to ledger.Address, amount uint64) xshard.Receipt {
	return xshard.Receipt{Source: from, Dest: 1, Seq: seq, ID: shardkit.Hash{id}, To: to, Amount: amount, Data: []byte("memo")}
}

// movesOf reads all moves of an account in pages of n.
func movesOf(t testing.TB, c *ledger.Chain, a ledger.Address, n int) (all []ledger.Move) {
	t.Helper()
	var last *ledger.Move
	for {
		page, err := c.History(a, last, n)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page), n)
		all = append(all, page...)
		if len(page) < n {
			return all
		}
		last = &page[len(page)-1]
	}
}

// indexed is a chain in which account 1 sends, gets, and is paid from another
// shard, over three blocks. Only the first and third have results.
func indexed(t testing.TB, store ledger.Store) (c *ledger.Chain, txs []ledger.Transaction, in []ledger.Arrival) {
	one, two := addressOf(key(1)), addressOf(key(2))
	txs = []ledger.Transaction{
		*transfer(key(1), 0, two, 1, 1), *transfer(key(2), 0, one, 1, 1), // block 1
		*transfer(key(1), 1, one, 1, 1), // block 2, to itself
		*callToken(1, 2, 1, nil),        // block 3
	}
	in = []ledger.Arrival{
		{Receipt: receipt(0, 0, 7, one, 5)}, {Receipt: receipt(0, 1, 7, two, 6)},
		{Receipt: receipt(2, 0, 0, one, 8), Result: ledger.Result{Failed: ledger.ReasonOverflow}},
		{Receipt: receipt(0, 2, 7, one, 9), Result: ledger.Result{Gas: 4, Events: [][]byte{[]byte("here"), nil}}},
	}
	c, err := ledger.OpenChain(store, indexedConfig())
	require.NoError(t, err)
	grow(t, c, 0)
	extend(t, c, ledger.Executed{Results: []ledger.Result{{Fee: 1}, {Fee: 2}}, Arrived: in[:3]}, txs[:2]...)
	extend(t, c, ledger.Executed{}, txs[2])
	extend(t, c, ledger.Executed{
		Results: []ledger.Result{{Fee: 3, Gas: 9, Failed: "out of gas", Events: [][]byte{[]byte("event")}}}, Arrived: in[3:],
	}, txs[3])
	return c, txs, in
}

func TestChainFind(t *testing.T) {
	store := ledger.NewMemStore()
	c, txs, _ := indexed(t, store)
	reopened, err := ledger.OpenChain(store, indexedConfig())
	require.NoError(t, err)
	for _, c := range []*ledger.Chain{c, reopened} {
		for i, want := range []ledger.Found{
			{Height: 1, Place: 0, Result: &ledger.Result{Fee: 1}},
			{Height: 1, Place: 1, Result: &ledger.Result{Fee: 2}},
			{Height: 2, Place: 0},
			{Height: 3, Place: 0, Result: &ledger.Result{Fee: 3, Gas: 9, Failed: "out of gas", Events: [][]byte{[]byte("event")}}},
		} {
			found, err := c.Find(txs[i].ID())
			require.NoError(t, err)
			require.Equal(t, &want, found)
			tx, found, err := c.Transaction(txs[i].ID())
			require.NoError(t, err)
			require.Equal(t, &want, found)
			require.Equal(t, txs[i].ID(), tx.ID())
			tx, err = c.TransactionAt(want.Height, want.Place)
			require.NoError(t, err)
			require.Equal(t, txs[i].ID(), tx.ID())
		}
		_, err = c.Find(shardkit.Hash{1})
		require.ErrorIs(t, err, ledger.ErrNotFound)
		for _, place := range []int{-1, 2, 1 << 20} {
			_, err = c.TransactionAt(1, place)
			require.ErrorIs(t, err, ledger.ErrNotFound)
		}
		_, err = c.TransactionAt(9, 0)
		require.ErrorIs(t, err, ledger.ErrNotFound)
	}
}

func TestChainArrivals(t *testing.T) {
	c, _, in := indexed(t, ledger.NewMemStore())
	at := []ledger.Move{{1, true, 0}, {1, true, 1}, {1, true, 2}, {3, true, 0}}
	for i, m := range at {
		a, err := c.ArrivalAt(m.Height, m.Place)
		require.NoError(t, err)
		require.Equal(t, in[i].Receipt, a.Receipt)
		require.Equal(t, in[i].Result.Failed, a.Result.Failed)
		require.Equal(t, len(in[i].Result.Events), len(a.Result.Events))
	}
	for n, want := range [][]ledger.Move{nil, at[:1], at[:2], {at[0], at[1], at[3]}, {at[0], at[1], at[3]}} {
		moves, err := c.Arrivals(shardkit.Hash{7}, n)
		require.NoError(t, err)
		require.Equal(t, want, moves)
	}
	moves, err := c.Arrivals(shardkit.Hash{}, 9)
	require.NoError(t, err)
	require.Empty(t, moves, "no transaction caused it")
	for _, place := range []int{-1, 3} {
		_, err := c.ArrivalAt(1, place)
		require.ErrorIs(t, err, ledger.ErrNotFound)
	}
}

func TestChainHistory(t *testing.T) {
	c, _, _ := indexed(t, ledger.NewMemStore())
	one := []ledger.Move{
		{Height: 3}, {3, true, 0}, {Height: 2}, {1, false, 1}, {1, false, 0}, {1, true, 2}, {1, true, 0},
	}
	for n := 1; n < 9; n++ {
		require.Equal(t, one, movesOf(t, c, addressOf(key(1)), n))
		require.Equal(t, []ledger.Move{{1, false, 1}, {1, false, 0}, {1, true, 1}}, movesOf(t, c, addressOf(key(2)), n))
		require.Empty(t, movesOf(t, c, addressOf(key(3)), n))
	}
	moves, err := c.History(addressOf(key(1)), nil, 0)
	require.NoError(t, err)
	require.Empty(t, moves)
}

// TestChainIndexRewind leaves what was there before the blocks.
func TestChainIndexRewind(t *testing.T) {
	store := ledger.NewMemStore()
	c, _, in := indexed(t, store)
	want := contents(t, store, "c/", "c0")
	for n := range uint64(2) {
		extend(t, c, ledger.Executed{Arrived: in},
			*transfer(key(1), 10+n, addressOf(key(2)), 1, 1), *transfer(key(2), 10+n, addressOf(key(1)), 1, 1))
	}
	require.Greater(t, len(contents(t, store, "c/", "c0")), len(want)+20)
	require.NoError(t, c.Rewind(3, nil))
	require.Equal(t, want, contents(t, store, "c/", "c0"))
}

// TestChainIndexDamage spoils every byte of the records that hold something,
// and cuts them.
func TestChainIndexDamage(t *testing.T) {
	store := ledger.NewMemStore()
	c, txs, in := indexed(t, store)
	damaged := func(k, v []byte, read func() error) {
		t.Helper()
		for _, bad := range append(damages(v)[1:], spoiledBytes(v)...) {
			require.NoError(t, store.Apply(byteKeys(maps.All(map[string][]byte{string(k): bad})), nil))
			var damage *ledger.DamageError
			require.ErrorAs(t, read(), &damage, "%x", bad)
		}
		require.NoError(t, store.Apply(byteKeys(maps.All(map[string][]byte{string(k): v})), nil))
		require.NoError(t, read())
	}
	n := 0
	require.NoError(t, store.Clone().Scan([]byte("c/i/"), []byte("c/i0"), func(k, v []byte) error {
		m := []ledger.Move{{1, true, 0}, {1, true, 1}, {1, true, 2}, {3, true, 0}}[n]
		damaged(k, v, func() error { _, err := c.ArrivalAt(m.Height, m.Place); return err })
		n++
		return nil
	}))
	require.Len(t, in, n)
	for i := range txs {
		id := txs[i].ID()
		k := append([]byte("c/t/"), id[:]...)
		v, _, err := store.Get(k, nil)
		require.NoError(t, err)
		damaged(k, v, func() error { _, err := c.Find(id); return err })
	}
	// A record of another transaction is whole, but not this one's.
	first, second := txs[0].ID(), txs[1].ID()
	v, _, err := store.Get(append([]byte("c/t/"), first[:]...), nil)
	require.NoError(t, err)
	require.NoError(t, store.Apply(byteKeys(maps.All(map[string][]byte{"c/t/" + string(second[:]): v})), nil))
	_, _, err = c.Transaction(second)
	require.ErrorAs(t, err, new(*ledger.DamageError))
	// A key of an account's history that is too long.
	a := addressOf(key(5))
	require.NoError(t, store.Apply(byteKeys(maps.All(map[string][]byte{"c/a/" + string(a[:]) + "1234567890123x": {}})), nil))
	_, err = c.History(a, nil, 1)
	require.ErrorAs(t, err, new(*ledger.DamageError))
}

func spoiledBytes(v []byte) (out [][]byte) {
	for i := range v {
		bad := append([]byte(nil), v...)
		bad[i] ^= 0x10
		out = append(out, bad)
	}
	return out
}

// TestChainIndexGolden: a store of today is read tomorrow.
func TestChainIndexGolden(t *testing.T) {
	store := ledger.NewMemStore()
	_, txs, _ := indexed(t, store)
	id := txs[3].ID()
	for name, k := range map[string]string{"index-transaction": "c/t/" + string(id[:]), "index-arrival": "c/i/\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00"} {
		v, ok, err := store.Get([]byte(k), nil)
		require.NoError(t, err)
		require.True(t, ok)
		golden(t, name, v)
	}
}

// FuzzIndex puts records with a good checksum where the chain looks for
// transactions and arrivals: they are read, or they are damage.
func FuzzIndex(f *testing.F) {
	store := ledger.NewMemStore()
	c, txs, _ := indexed(f, store)
	id := txs[3].ID()
	tx, arrival := append([]byte("c/t/"), id[:]...), []byte("c/i/\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00")
	for _, k := range [][]byte{tx, arrival} {
		v, _, err := store.Get(k, nil)
		require.NoError(f, err)
		f.Add(v[4:])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		sum := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
		record := append(binary.BigEndian.AppendUint32(nil, sum), data...)
		require.NoError(t, store.Apply(byteKeys(maps.All(map[string][]byte{string(tx): record, string(arrival): record})), nil))
		if found, err := c.Find(id); err != nil {
			require.ErrorAs(t, err, new(*ledger.DamageError))
		} else {
			require.NotNil(t, found)
		}
		if _, err := c.ArrivalAt(3, 0); err != nil {
			require.ErrorAs(t, err, new(*ledger.DamageError))
		}
	})
}

// TestChainIndexRefuses gives results that cannot be the block's.
func TestChainIndexRefuses(t *testing.T) {
	c, _, _ := indexed(t, ledger.NewMemStore())
	b, st := next(t, c)
	require.ErrorContains(t, c.CommitExecuted(b, &ledger.Executed{Stage: st, Results: make([]ledger.Result, 1)}, nil), "results")
	bad := ledger.Arrival{Receipt: xshard.Receipt{Data: make([]byte, xshard.MaxReceiptData+1)}}
	require.Error(t, c.CommitExecuted(b, &ledger.Executed{Stage: st, Arrived: []ledger.Arrival{bad}}, nil))
	require.NoError(t, c.CommitExecuted(b, &ledger.Executed{Stage: st}, nil))
}

// TestApplyIndexes lets Apply collect what the indexes hold: what the market
// took, and a receipt that the items brought.
func TestApplyIndexes(t *testing.T) {
	cfg := indexedConfig()
	cfg.Shard = 0
	c, r := appliedAs(t, ledger.NewMemStore(), cfg)
	r.Market = ledger.BaseFee{Min: 2}
	to := addressOf(key(9))
	arrives := receipt(3, 0, 7, to, 5)
	r.Before = func(ctx *ledger.Context, s ledger.KV, _ [][]byte, out *xshard.Outbox) error {
		return ledger.Receive(ctx, s, &arrives, nil, out)
	}
	tx := transfer(key(0), 0, to, 10, 7)
	b := propose(t, c, r, tx)
	x, err := c.Apply(b, r, nil)
	require.NoError(t, err)
	require.Equal(t, []ledger.Result{{Fee: 2}}, x.Results)
	found, err := c.Find(tx.ID())
	require.NoError(t, err)
	require.Equal(t, &ledger.Found{Height: 1, Result: &ledger.Result{Fee: 2}}, found)
	require.Equal(t, []ledger.Move{{Height: 1}, {1, true, 0}}, movesOf(t, c, to, 9))
	a, err := c.ArrivalAt(1, 0)
	require.NoError(t, err)
	require.Equal(t, &ledger.Arrival{Receipt: arrives}, a)
	require.Equal(t, uint64(15), balance(t, c.State().Begin(), to))
}

// BenchmarkIndex measures a page of a long history, and finding a transaction.
func BenchmarkIndex(b *testing.B) {
	c, err := ledger.OpenChain(ledger.NewMemStore(), indexedConfig())
	require.NoError(b, err)
	grow(b, c, 0)
	for range 20 {
		extend(b, c, ledger.Executed{}, bodyOf(b, 2000, 10, false)...)
	}
	tx := bodyOf(b, 2000, 10, false)[77]
	b.Run("find", func(b *testing.B) {
		for b.Loop() {
			_, err := c.Find(tx.ID())
			require.NoError(b, err)
		}
	})
	b.Run(fmt.Sprintf("history/moves=%d", 100), func(b *testing.B) {
		for b.Loop() {
			moves, err := c.History(tx.Sender(), nil, 100)
			require.NoError(b, err)
			require.Len(b, moves, 100)
		}
	})
}
