package ledger_test

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/xshard"
)

// applied is a chain whose genesis pays the first accounts, and the rules of
// its blocks.
func applied(t testing.TB, store ledger.Store) (*ledger.Chain, *ledger.Rules) {
	return appliedAs(t, store, ledger.ChainConfig{Chain: testChain, State: ledger.StateConfig{Undo: 8}})
}

func appliedAs(t testing.TB, store ledger.Store, cfg ledger.ChainConfig) (*ledger.Chain, *ledger.Rules) {
	c, err := ledger.OpenChain(store, cfg)
	require.NoError(t, err)
	st := c.State().Begin()
	for i := range 8 {
		fund(t, st, addressOf(key(i)), 1000)
	}
	g := &ledger.Block{Header: ledger.Header{Chain: testChain, Time: 1}}
	g.Header.State, err = st.Root()
	require.NoError(t, err)
	g.Body, err = new(ledger.Body).AppendBinary(nil)
	require.NoError(t, err)
	g.Header.Body = ledger.BodyHash(g.Body)
	require.NoError(t, c.Init(g, st))
	return c, &ledger.Rules{Signatures: ledger.NewSignatureCache(100)}
}

// following is the header of the next block of c, before execution.
func following(c *ledger.Chain) ledger.Header {
	head, _ := c.Head()
	return ledger.Header{Chain: testChain, Height: head.Height + 1, Parent: head.Hash(), Time: head.Time + 1}
}

// propose builds the next block of c under the rules.
func propose(t testing.TB, c *ledger.Chain, r *ledger.Rules, txs ...*ledger.Transaction) *ledger.Block {
	b, x, err := r.Build(following(c), nil, txs, ledger.Limits{}, c.State().Begin())
	require.NoError(t, err)
	require.Len(t, x.Body.Transactions, len(txs))
	x.Stage.Discard()
	return b
}

// TestBuild commits what was built without executing it again; another node
// applies it and stands where the first one does.
func TestBuild(t *testing.T) {
	cfg := ledger.ChainConfig{Chain: testChain, State: ledger.StateConfig{Undo: 8}, Transactions: true}
	c, r := appliedAs(t, ledger.NewMemStore(), cfg)
	other, _ := appliedAs(t, ledger.NewMemStore(), cfg)
	r.Market = ledger.BaseFee{Min: 2}
	var seen [][]byte
	r.Before = func(_ *ledger.Context, s ledger.KV, items [][]byte, _ *xshard.Outbox) error {
		seen = items
		return s.Set([]byte("items"), items[0])
	}
	good, poor, cheap := transfer(key(0), 0, addressOf(key(9)), 10, 5), transfer(key(20), 0, ledger.Address{}, 1, 5), transfer(key(1), 0, ledger.Address{}, 1, 1)
	items := [][]byte{[]byte("item")}
	b, x, err := r.Build(following(c), items, []*ledger.Transaction{poor, good, cheap}, ledger.Limits{}, c.State().Begin())
	require.NoError(t, err)
	require.Equal(t, items, seen)
	require.Len(t, x.Body.Transactions, 1, "the market leaves one out, and nobody pays for another")
	require.Len(t, x.Dropped, 1)
	require.Equal(t, poor, x.Dropped[0].Transaction)
	require.Equal(t, []ledger.Result{{Fee: 2}}, x.Results)
	require.NoError(t, c.CommitExecuted(b, x, nil))
	_, err = other.Apply(b, r, nil)
	require.NoError(t, err)
	require.Equal(t, c.State().Root(), other.State().Root())
	for _, c := range []*ledger.Chain{c, other} {
		found, err := c.Find(good.ID())
		require.NoError(t, err)
		require.Equal(t, &ledger.Result{Fee: 2}, found.Result)
	}

	// Items take room away, and may leave none.
	small := ledger.Limits{Bytes: good.Size() - 1}
	_, x, err = r.Build(following(c), items, []*ledger.Transaction{transfer(key(0), 1, ledger.Address{}, 1, 5)}, small, c.State().Begin())
	require.NoError(t, err)
	require.Empty(t, x.Body.Transactions)
	full := [][]byte{make([]byte, ledger.MaxBody-new(ledger.Body).Size()-4)}
	_, x, err = r.Build(following(c), full, []*ledger.Transaction{transfer(key(0), 1, ledger.Address{}, 1, 5)}, ledger.Limits{}, c.State().Begin())
	require.ErrorIs(t, err, ledger.ErrSize, "too long for the state, which Before wants it in")
	require.Nil(t, x)
	r.Before = func(*ledger.Context, ledger.KV, [][]byte, *xshard.Outbox) error { return nil }
	b, x, err = r.Build(following(c), full, []*ledger.Transaction{transfer(key(0), 1, ledger.Address{}, 1, 5)}, ledger.Limits{}, c.State().Begin())
	require.NoError(t, err)
	require.Empty(t, x.Body.Transactions)
	require.Len(t, b.Body, ledger.MaxBody)
	full[0] = append(full[0], 0)
	_, _, err = r.Build(following(c), full, nil, ledger.Limits{}, c.State().Begin())
	require.Error(t, err)
	h := following(c)
	h.Shard = 1
	_, _, err = r.Build(h, items, nil, ledger.Limits{}, c.State().Begin())
	require.ErrorIs(t, err, ledger.ErrInvalid)
}

func TestApply(t *testing.T) {
	for _, market := range []ledger.FeeMarket{nil, ledger.BaseFee{}, ledger.Monopolist{}, ledger.RandomHalves{}} {
		c, r := applied(t, ledger.NewMemStore())
		r.Market = market
		for n := range uint64(5) {
			b := propose(t, c, r, transfer(key(0), n, addressOf(key(9)), 10, 5))
			x, err := c.Apply(b, r, extra(b.Header.Height))
			require.NoError(t, err)
			require.Len(t, x.Body.Transactions, 1)
			v, _, err := c.Get([]byte("position"))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(n+1), string(v))
		}
		var supply uint64
		require.NoError(t, ledger.EachAccount(c.State(), func(_ ledger.Address, acc ledger.Account) error {
			supply += acc.Balance
			return nil
		}))
		require.Equal(t, uint64(8000), supply)
		require.Equal(t, uint64(50), balance(t, c.State().Begin(), addressOf(key(9))))
	}
}

// TestApplyRefuses gives blocks that are wrong in one thing each.
func TestApplyRefuses(t *testing.T) {
	c, r := applied(t, ledger.NewMemStore())
	good := propose(t, c, r, transfer(key(0), 0, addressOf(key(9)), 10, 5))
	spoiled := spoil(transfer(key(0), 0, addressOf(key(9)), 10, 5))
	root := c.State().Root()
	body := func(b *ledger.Block, v ledger.Body) {
		var err error
		b.Body, err = v.AppendBinary(nil)
		require.NoError(t, err)
		b.Header.Body = ledger.BodyHash(b.Body)
	}
	for name, change := range map[string]func(b *ledger.Block){
		"signature": func(b *ledger.Block) { body(b, ledger.Body{Transactions: []ledger.Transaction{*spoiled}}) },
		"nonce": func(b *ledger.Block) {
			body(b, ledger.Body{Transactions: []ledger.Transaction{*transfer(key(0), 1, ledger.Address{}, 0, 0)}})
		},
		"items":  func(b *ledger.Block) { body(b, ledger.Body{Items: [][]byte{{1}}}) },
		"body":   func(b *ledger.Block) { b.Body = []byte{9}; b.Header.Body = ledger.BodyHash(b.Body) },
		"state":  func(b *ledger.Block) { b.Header.State[0]++ },
		"outbox": func(b *ledger.Block) { b.Header.Outbox[0]++ },
	} {
		b := *good
		b.Body = bytes.Clone(good.Body)
		change(&b)
		_, err := c.Apply(&b, r, nil)
		require.ErrorIs(t, err, ledger.ErrInvalid, name)
		require.Equal(t, root, c.State().Root())
	}
	other := *good
	other.Header.Height++
	_, err := c.Apply(&other, r, nil)
	require.ErrorIs(t, err, ledger.ErrNotNext)
	require.NotErrorIs(t, err, ledger.ErrInvalid, "it may be a good block of later")
	r.Shards = 1
	h := good.Header
	h.Shard = 1
	_, err = r.Execute(&h, good.Body, c.State().Begin())
	require.ErrorIs(t, err, ledger.ErrInvalid)
	_, err = c.Apply(good, r, nil)
	require.NoError(t, err)
}

// TestExportWhileCommitting reads a snapshot while the chain goes on.
func TestExportWhileCommitting(t *testing.T) {
	c, r := applied(t, ledger.NewMemStore())
	for n := range uint64(3) {
		_, err := c.Apply(propose(t, c, r, transfer(key(0), n, addressOf(key(9)), 10, 5)), r, nil)
		require.NoError(t, err)
	}
	var want bytes.Buffer
	require.NoError(t, c.Export(&want, 3))
	errs := make(chan error)
	var got [4]bytes.Buffer
	for i := range got {
		go func() { errs <- c.Export(&got[i], 3) }()
	}
	for n := range uint64(5) {
		_, err := c.Apply(propose(t, c, r, transfer(key(0), n+3, addressOf(key(9)), 10, 5)), r, nil)
		require.NoError(t, err)
		_, _ = c.Head()
		_, err = c.Block(shardkit.Height(n))
		require.NoError(t, err)
	}
	for range got {
		require.NoError(t, <-errs)
	}
	for i := range got {
		require.Equal(t, want.Bytes(), got[i].Bytes(), fmt.Sprint(i))
	}
}

// echo is a Receiver that answers every message and refuses those without
// value.
type echo struct{ ledger.Transfer }

func (echo) Receive(ctx *ledger.Context, s ledger.KV, r *xshard.Receipt, out *xshard.Outbox) (ledger.Result, error) {
	if r.Amount == 0 {
		return ledger.Result{}, &ledger.TxError{Reason: "empty"}
	}
	_, err := out.Add(xshard.Receipt{Dest: r.Source, Kind: r.Kind, To: r.From, Amount: r.Amount, Data: r.Data})
	return ledger.Result{Gas: 1}, err
}

func TestReceive(t *testing.T) {
	s, out := newMapKV(), outbox(0, 2)
	a := addressOf(key(1))
	var arrived []ledger.Result
	ctx := &ledger.Context{Shards: 2, Arrived: func(_ *xshard.Receipt, res ledger.Result) { arrived = append(arrived, res) }}
	ex := ledger.Kinds{7: echo{}, ledger.KindTransfer: ledger.Transfer{}}
	receive := func(kind uint8, amount uint64) {
		r := &xshard.Receipt{Source: 1, Kind: kind, From: [32]byte{5}, To: a, Amount: amount}
		require.NoError(t, ledger.Receive(ctx, s, r, ex, out))
	}
	receive(ledger.ReceiptTransfer, 3)
	require.Equal(t, uint64(3), balance(t, s, a))
	receive(7, 4)
	require.Equal(t, uint64(4), out.Batch(1).Receipts[0].Amount)
	receive(8, 5)
	require.Equal(t, uint64(5), balance(t, s, ledger.Sink()), "nobody takes the kind")
	receive(7, 0)
	require.Equal(t, 1, out.Len())
	require.NoError(t, ledger.Receive(ctx, s, &xshard.Receipt{Kind: 9, Amount: 1}, ledger.Transfer{}, out))
	require.Equal(t, uint64(6), balance(t, s, ledger.Sink()))
	require.NoError(t, ledger.Receive(ctx, s, &xshard.Receipt{To: ledger.Address{3}, Amount: math.MaxUint64}, nil, out))
	require.NoError(t, ledger.Receive(ctx, s, &xshard.Receipt{To: ledger.Address{3}, Amount: 1}, nil, out))
	require.Equal(t, []ledger.Result{
		{}, {Gas: 1}, {Failed: ledger.ReasonKind}, {Failed: "empty"}, {Failed: ledger.ReasonKind}, {}, {Failed: ledger.ReasonOverflow},
	}, arrived)
}
