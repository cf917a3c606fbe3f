package ledger_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/xshard"
)

// token is a contract, to show that one fits behind Executor: storage under
// keys of its own, metered gas, calls that fail and still pay, events, and
// value that goes to other shards as a message and comes back if it is refused
// there.
//
// The payload is an operation, an address and a number. Amount goes to the
// contract's account.
type token struct{ spread *atomic.Int64 } // counts executions that were not in order

const (
	kindToken     = 20 // of transactions, and of the receipts that carry tokens
	tokenMint     = 'm'
	tokenMove     = 'v'
	tokenLoop     = 'l' // never ends
	tokenPerWrite = 100 // gas
	tokenPerRead  = 10
)

var (
	tokenAccount  = ledger.Address{0x70}
	errOutOfGas   = errors.New("out of gas")
	errFewTokens  = errors.New("not enough tokens")
	errNoSuchCall = errors.New("no such call")
)

func tokenKey(a ledger.Address) []byte { return append([]byte("t/"), a[:]...) }

func tokenCall(op byte, to ledger.Address, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte{op}, to[:]...), n)
}

func tokensOf(t testing.TB, s ledger.KV, a ledger.Address) uint64 {
	v, _, err := s.Get(tokenKey(a))
	require.NoError(t, err)
	return binary.BigEndian.Uint64(append(make([]byte, 8), v...)[len(v):])
}

// frame is a call under way.
type frame struct {
	ctx    *ledger.Context
	s      ledger.KV
	out    *xshard.Outbox
	gas    uint64 // left
	events [][]byte
}

func (f *frame) use(gas uint64) error {
	if f.gas < gas {
		f.gas = 0
		return errOutOfGas
	}
	f.gas -= gas
	return nil
}

func (f *frame) load(a ledger.Address) (uint64, error) {
	if err := f.use(tokenPerRead); err != nil {
		return 0, err
	}
	v, ok, err := f.s.Get(tokenKey(a))
	if err != nil || !ok {
		return 0, err
	}
	return binary.BigEndian.Uint64(v), nil
}

func (f *frame) store(a ledger.Address, n uint64) error {
	if err := f.use(tokenPerWrite); err != nil {
		return err
	}
	return f.s.Set(tokenKey(a), binary.BigEndian.AppendUint64(nil, n))
}

func (f *frame) add(a ledger.Address, n uint64) error {
	have, err := f.load(a)
	if err != nil {
		return err
	}
	f.events = append(f.events, fmt.Appendf(nil, "%x+%d", a[:1], n))
	return f.store(a, have+n)
}

func (f *frame) call(tx *ledger.Transaction) error {
	if len(tx.Payload) != 1+32+8 {
		return errNoSuchCall
	}
	to, n := ledger.Address(tx.Payload[1:33]), binary.BigEndian.Uint64(tx.Payload[33:])
	switch tx.Payload[0] {
	case tokenMint:
		return f.add(to, n)
	case tokenMove:
		return f.move(tx, to, n)
	case tokenLoop:
		for i := uint64(0); ; i++ {
			if err := f.add(to, i); err != nil {
				return err
			}
		}
	}
	return errNoSuchCall
}

func (f *frame) move(tx *ledger.Transaction, to ledger.Address, n uint64) error {
	have, err := f.load(tx.Sender())
	if err != nil {
		return err
	}
	if err := f.store(tx.Sender(), have-n); err != nil {
		return err
	}
	if dest := to.Shard(f.ctx.Shards); dest != f.ctx.Shard {
		_, err = f.out.Add(xshard.Receipt{
			Dest: dest, Kind: kindToken, ID: tx.ID(), From: tx.Sender(), To: to,
			Data: binary.BigEndian.AppendUint64(nil, n),
		})
	} else {
		err = f.add(to, n)
	}
	if err == nil && have < n {
		err = errFewTokens // late on purpose: what was done has to be undone
	}
	return err
}

// pay gives the contract's account what came with the call.
func (f *frame) pay(amount uint64) error {
	if amount == 0 {
		return nil
	}
	return ledger.Credit(f.s, &xshard.Receipt{To: tokenAccount, Amount: amount})
}

// failed is what a failing call says to its sender; any other error is the
// state's.
func failed(err error) bool {
	return errors.Is(err, errOutOfGas) || errors.Is(err, errFewTokens) || errors.Is(err, errNoSuchCall)
}

func (c token) Execute(ctx *ledger.Context, s ledger.KV, tx *ledger.Transaction, out *xshard.Outbox) (ledger.Result, error) {
	if _, inOrder := s.(*mapKV); !inOrder && c.spread != nil {
		c.spread.Add(1)
	}
	acc, err := ledger.Charge(ctx, s, tx)
	if err != nil {
		return ledger.Result{}, err
	}
	over, sent := ledger.NewOverlay(s), out.Len()
	f := frame{ctx: ctx, s: over, out: out, gas: tx.Gas}
	res := ledger.Result{Fee: ctx.FeeOf(tx)}
	switch err = f.call(tx); {
	case failed(err):
		over.Reset()
		out.Truncate(sent)
		acc.Balance += tx.Amount
		res.Failed = ledger.Reason(err.Error())
	case err != nil:
		return res, err
	default:
		res.Events = f.events
		if err := f.pay(tx.Amount); err != nil {
			return res, err
		}
	}
	res.Gas = tx.Gas - f.gas
	return res, errors.Join(over.Flush(), ledger.SetAccount(s, tx.Sender(), acc))
}

func (token) Access(ctx *ledger.Context, tx *ledger.Transaction, set *ledger.AccessSet) bool {
	if len(tx.Payload) != 1+32+8 || tx.Amount != 0 {
		return false
	}
	to := ledger.Address(tx.Payload[1:33])
	for _, a := range []ledger.Address{tx.Sender(), to} {
		set.Writes = append(set.Writes, tokenKey(a), ledger.AccountKey(a))
	}
	set.Cost += tx.Gas * 100
	return true
}

// Receive credits tokens that come from another shard. An account whose
// address begins with 0xff does not want any: they go back.
func (token) Receive(ctx *ledger.Context, s ledger.KV, r *xshard.Receipt, out *xshard.Outbox) (ledger.Result, error) {
	if len(r.Data) != 8 {
		return ledger.Result{}, &ledger.TxError{ID: r.ID, Reason: ledger.ReasonMalformed}
	}
	if r.To[0] == 0xff {
		back := *r
		back.Dest, back.From, back.To = r.Source, r.To, r.From
		_, err := out.Add(back)
		return ledger.Result{Failed: "not wanted"}, err
	}
	f := frame{ctx: ctx, s: s, out: out, gas: 1000}
	err := f.add(r.To, binary.BigEndian.Uint64(r.Data))
	return ledger.Result{Gas: 1000 - f.gas, Events: f.events}, err
}

// callToken returns a signed call of the key's n-th transaction.
func callToken(n int, nonce uint64, shard shardkit.ShardID, payload []byte) *ledger.Transaction {
	tx := &ledger.Transaction{
		Kind: kindToken, Chain: testChain, Shard: shard, Nonce: nonce, Fee: 3, Gas: 1000, Payload: payload,
	}
	tx.Sign(key(n))
	return tx
}

// TestContract runs calls and transfers in the same blocks.
func TestContract(t *testing.T) {
	ex := ledger.Kinds{ledger.KindTransfer: ledger.Transfer{}, kindToken: token{}}
	alice, bob := addressOf(key(1)), addressOf(key(2))
	s, out := newMapKV(), outbox(0, 1)
	fund(t, s, alice, 1000)
	var results []ledger.Result
	ctx := &ledger.Context{Chain: testChain, Shards: 1, Report: func(all []ledger.Result) { results = all }}

	txs := []ledger.Transaction{
		*callToken(1, 0, 0, tokenCall(tokenMint, alice, 50)),
		*callToken(1, 1, 0, tokenCall(tokenMove, bob, 20)),
		*transfer(key(1), 2, bob, 100, 1),
		*callToken(1, 3, 0, tokenCall(tokenMove, bob, 31)), // has 30
		*callToken(1, 4, 0, tokenCall(tokenLoop, bob, 0)),
		*callToken(2, 0, 0, []byte{tokenMint}),
	}
	txs[3].Amount = 500
	txs[3].Sign(key(1))
	fees, err := ledger.ExecuteBlock(ctx, s, txs, ex, out)
	require.NoError(t, err)
	require.Equal(t, uint64(16), fees)
	event := func(a ledger.Address, n int) []byte { return fmt.Appendf(nil, "%x+%d", a[:1], n) }
	require.Equal(t, []ledger.Result{
		{Fee: 3, Gas: 110, Events: [][]byte{event(alice, 50)}},
		{Fee: 3, Gas: 220, Events: [][]byte{event(bob, 20)}},
		{Fee: 1},
		{Fee: 3, Gas: 220, Failed: "not enough tokens"},
		{Fee: 3, Gas: 1000, Failed: "out of gas"},
		{Fee: 3, Failed: "no such call"},
	}, results)
	require.Equal(t, []uint64{30, 20}, []uint64{tokensOf(t, s, alice), tokensOf(t, s, bob)})
	require.Equal(t, 1000-fees, s.supply(t), "the amount of a failed call stays the sender's")
	require.Equal(t, uint64(97), balance(t, s, bob))
}

// TestContractAcrossShards sends tokens to another shard, and to somebody
// there who sends them back.
func TestContractAcrossShards(t *testing.T) {
	const shards = 2
	ex := ledger.Kinds{ledger.KindTransfer: ledger.Transfer{}, kindToken: token{}}
	n := inShard(0, shards, 0)
	from := addressOf(key(n))
	to, hermit := addressOf(key(inShard(1, shards, 0))), ledger.Address{0xff}
	here, there := newMapKV(), newMapKV()
	fund(t, here, from, 100)
	require.NoError(t, here.Set(tokenKey(from), binary.BigEndian.AppendUint64(nil, 50)))

	out, back := outbox(0, shards), outbox(1, shards)
	ctx := &ledger.Context{Chain: testChain, Shards: shards}
	txs := []ledger.Transaction{
		*callToken(n, 0, 0, tokenCall(tokenMove, to, 20)),
		*callToken(n, 1, 0, tokenCall(tokenMove, hermit, 7)),
		*callToken(n, 2, 0, tokenCall(tokenMove, to, 1000)), // sends nothing
	}
	_, err := ledger.ExecuteBlock(ctx, here, txs, ex, out)
	require.NoError(t, err)
	require.Equal(t, 2, out.Len())

	var arrived []ledger.Result
	other := &ledger.Context{Chain: testChain, Shard: 1, Shards: shards,
		Arrived: func(_ *xshard.Receipt, res ledger.Result) { arrived = append(arrived, res) }}
	for _, r := range out.Batch(1).Receipts {
		require.NoError(t, ledger.Receive(other, there, &r, ex, back))
	}
	require.Equal(t, uint64(20), tokensOf(t, there, to))
	require.Len(t, arrived, 2)
	require.Len(t, arrived[0].Events, 1)
	require.Equal(t, ledger.Reason("not wanted"), arrived[1].Failed)
	require.Equal(t, uint64(23), tokensOf(t, here, from))
	for _, r := range back.Batch(0).Receipts {
		require.NoError(t, ledger.Receive(ctx, here, &r, ex, out))
	}
	require.Equal(t, uint64(30), tokensOf(t, here, from))
}

// TestContractPicked builds a block of calls under a market and over several
// processors; executing it again gives the same.
func TestContractPicked(t *testing.T) {
	var spread atomic.Int64
	ex := ledger.Kinds{ledger.KindTransfer: ledger.Transfer{}, kindToken: token{&spread}}
	start := newMapKV()
	var candidates []*ledger.Transaction
	for i := range 40 {
		fund(t, start, addressOf(key(i)), 100)
		candidates = append(candidates,
			callToken(i, 0, 0, tokenCall(tokenMint, addressOf(key(i)), 9)),
			callToken(i, 1, 0, tokenCall(tokenMove, addressOf(key(i^1)), 10)), // fails
			callToken(i, 2, 0, tokenCall(tokenMove, addressOf(key(i^1)), 5)))
	}
	run := func(workers int) (*ledger.Context, *[]ledger.Result) {
		results := new([]ledger.Result)
		return &ledger.Context{Chain: testChain, Shards: 1, Workers: workers, Market: ledger.BaseFee{},
			Report: func(all []ledger.Result) { *results = all }}, results
	}
	ctx, built := run(1)
	s := start.clone()
	p, err := ledger.Pick(ctx, s, candidates, ex, outbox(0, 1), ledger.Limits{Gas: 90_000})
	require.NoError(t, err)
	require.Len(t, p.Taken, 90)
	require.Len(t, *built, 90)
	spread.Store(0) // Pick used an overlay
	for _, workers := range []int{1, 4} {
		ctx, results := run(workers)
		again := start.clone()
		fees, err := ledger.ExecuteBlock(ctx, again, p.Taken, ex, outbox(0, 1))
		require.NoError(t, err)
		require.Equal(t, p.Fees, fees)
		require.Equal(t, *built, *results)
		require.Equal(t, s.m, again.m)
	}
	require.Equal(t, int64(90), spread.Load())
}
