package ledger_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/xshard"
)

// program is an executor whose transactions are lists of operations on keys,
// two bytes each: what to do, and the key. Every operation depends on what
// all before it read, so that a wrong order shows.
type program struct {
	work    time.Duration // busy work per transaction
	spread  *atomic.Int64 // counts executions that were not in order
	inOrder *atomic.Int64 // and those that were; may be nil
}

const (
	opRead = iota
	opWrite
	opDelete
	opSend
	opRefuse
	opLie   // reads a key that it does not declare
	opSneak // writes a key that it declares as read
	opHide  // cannot tell what it touches
	opKinds
)

func (p program) Execute(ctx *ledger.Context, s ledger.KV, tx *ledger.Transaction, out *xshard.Outbox) (res ledger.Result, err error) {
	if _, inOrder := s.(*mapKV); !inOrder {
		p.spread.Add(1)
	} else if p.inOrder != nil {
		p.inOrder.Add(1)
	}
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, tx.Nonce))
	for end := time.Now().Add(p.work); p.work > 0 && time.Now().Before(end); {
		sum = sha256.Sum256(sum[:0]) //nolint:staticcheck // busy
	}
	sum = sha256.Sum256(binary.BigEndian.AppendUint64(nil, tx.Nonce))
	for i := 0; i+1 < len(tx.Payload); i += 2 {
		key := tx.Payload[i+1 : i+2]
		switch tx.Payload[i] {
		case opRead, opLie:
			v, ok, err := s.Get(key)
			if err != nil {
				return res, err
			}
			sum = sha256.Sum256(fmt.Append(sum[:], v, ok))
		case opWrite, opSneak:
			if err := s.Set(key, append([]byte(nil), sum[:]...)); err != nil {
				return res, err
			}
		case opDelete:
			if err := s.Delete(key); err != nil {
				return res, err
			}
		case opSend:
			dest := 1 + shardkit.ShardID(key[0])%3
			if _, err := out.Add(xshard.Receipt{Dest: dest, Kind: 9, ID: sum, Amount: tx.Nonce}); err != nil {
				return res, err
			}
		case opRefuse:
			return res, &ledger.TxError{ID: tx.ID(), Reason: "asked for"}
		}
	}
	return ledger.Result{Fee: tx.Fee, Gas: uint64(len(tx.Payload)), Events: [][]byte{sum[:]}}, nil
}

func (p program) Access(_ *ledger.Context, tx *ledger.Transaction, set *ledger.AccessSet) bool {
	set.Cost = 1_000_000
	for i := 0; i+1 < len(tx.Payload); i += 2 {
		key := tx.Payload[i+1 : i+2]
		switch tx.Payload[i] {
		case opRead, opSneak:
			set.Reads = append(set.Reads, key)
		case opWrite, opDelete:
			set.Writes = append(set.Writes, key)
		case opHide:
			return false
		}
	}
	return true
}

// programs makes n transactions over keys. The rarer operations come once in
// about rare.
func programs(rng *rand.Rand, n, keys, rare int) []ledger.Transaction {
	txs := make([]ledger.Transaction, n)
	for i := range txs {
		tx := ledger.Transaction{Kind: 5, Nonce: uint64(i), Fee: 1 + rng.Uint64N(5)}
		for range 1 + rng.IntN(4) {
			op := byte(rng.IntN(4))
			if rare > 0 && rng.IntN(rare) == 0 {
				op = byte(rng.IntN(opKinds))
			}
			tx.Payload = append(tx.Payload, op, byte(rng.IntN(keys)))
		}
		txs[i] = tx
	}
	return txs
}

// outcome is everything that a block leaves.
type outcome struct {
	state   map[string][]byte
	fees    uint64
	err     string
	root    shardkit.Hash
	results []ledger.Result
}

func runPrograms(t *testing.T, workers int, start *mapKV, txs []ledger.Transaction, ex ledger.Executor) outcome {
	s, out := start.clone(), outbox(0, 4)
	ctx := &ledger.Context{Shards: 4, Workers: workers}
	reports := 0
	var results []ledger.Result
	ctx.Report = func(all []ledger.Result) { results, reports = all, reports+1 }
	fees, err := ledger.ExecuteBlock(ctx, s, txs, ex, out)
	if err != nil {
		var bad *ledger.BlockError
		require.ErrorAs(t, err, &bad)
		require.Zero(t, reports)
		return outcome{err: err.Error()} // what is left of state and outbox is nobody's
	}
	require.Equal(t, 1, reports, "also if the block was executed again in order")
	return outcome{state: s.m, fees: fees, root: out.Root(), results: results}
}

// TestSpreadEqualsInOrder is the specification of the scheduler, over loads
// from nothing in common to everything, with transactions that refuse, lie
// about what they touch, or do not tell.
func TestSpreadEqualsInOrder(t *testing.T) {
	var spread atomic.Int64
	ex := ledger.Kinds{5: program{spread: &spread}}
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 1))
		keys := []int{1, 4, 40, 256}[seed%4]
		rare := []int{0, 0, 200, 20}[seed/4%4]
		txs := programs(rng, 1+rng.IntN(120), keys, rare)
		start := newMapKV()
		for k := range keys / 2 {
			start.m[string([]byte{byte(k)})] = []byte{byte(k)}
		}
		want := runPrograms(t, 1, start, txs, ex)
		for _, workers := range []int{2, 3, 8} {
			require.Equal(t, want, runPrograms(t, workers, start, txs, ex), "seed %d, %d workers", seed, workers)
		}
	}
	require.Greater(t, spread.Load(), int64(1000), "hardly anything was spread")
}

// apart returns transactions that have nothing in common, keys 100 and up, with
// some others among them.
func apart(others ...[]byte) []ledger.Transaction {
	txs := make([]ledger.Transaction, 60)
	for i := range txs {
		txs[i] = ledger.Transaction{Kind: 5, Nonce: uint64(i), Fee: 1, Payload: []byte{opWrite, byte(100 + i)}}
	}
	for i, payload := range others {
		txs[20+10*i].Payload = payload
	}
	return txs
}

// TestSpreadUndeclared lets one transaction do what it did not tell: the block
// is executed again in order. What was told is enough for the rest.
func TestSpreadUndeclared(t *testing.T) {
	for name, tc := range map[string]struct {
		txs   []ledger.Transaction
		again bool
	}{
		"all told":                  {apart([]byte{opWrite, 1}, []byte{opRead, 1}), false},
		"read before it is written": {apart([]byte{opRead, 1}, []byte{opWrite, 1}), false},
		"only read":                 {apart([]byte{opRead, 1, opWrite, 2}, []byte{opRead, 1, opWrite, 3}), false},
		"writes what it reads":      {apart([]byte{opSneak, 1}, []byte{opRead, 1, opWrite, 2}), true},
		"reads what it hides":       {apart([]byte{opWrite, 1}, []byte{opLie, 1, opWrite, 2}), true},
	} {
		var spread atomic.Int64
		start := newMapKV()
		want := runPrograms(t, 1, start, tc.txs, program{spread: &spread})
		spread.Store(0)
		var inOrder atomic.Int64
		ex := program{spread: &spread, inOrder: &inOrder}
		require.Equal(t, want, runPrograms(t, 4, start, tc.txs, ex), name)
		require.Positive(t, spread.Load(), name)
		require.Equal(t, tc.again, inOrder.Load() > 0, name)
	}
}

// TestFeesOverflow: what a block pays fits a number.
func TestFeesOverflow(t *testing.T) {
	for _, workers := range []int{1, 4} {
		var spread atomic.Int64
		txs := apart()
		txs[7].Fee, txs[9].Fee = math.MaxUint64/2, math.MaxUint64/2
		_, err := ledger.ExecuteBlock(&ledger.Context{Workers: workers}, newMapKV(), txs, program{spread: &spread}, outbox(0, 1))
		var bad *ledger.BlockError
		require.ErrorAs(t, err, &bad)
		require.Equal(t, 9, bad.Index)
		requireReason(t, ledger.ReasonOverflow, err)
	}
}

// TestSpreadTransfers mixes transfers, some across shards, with programs.
func TestSpreadTransfers(t *testing.T) {
	var spread atomic.Int64
	ex := ledger.Kinds{ledger.KindTransfer: ledger.Transfer{}, 5: program{spread: &spread}}
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 2))
		start := newMapKV()
		txs := programs(rng, 100, 50, 0)
		nonces := make([]uint64, 20)
		for i := range txs {
			if rng.IntN(2) == 0 {
				continue
			}
			from := rng.IntN(len(nonces))
			tx := unsigned(from, nonces[from], 1)
			tx.Chain = shardkit.Hash{}
			tx.To = unsigned(rng.IntN(len(nonces)), 0, 0).Sender()
			nonces[from]++
			fund(t, start, tx.Sender(), 1000)
			txs[i] = *tx
		}
		want := runPrograms(t, 1, start, txs, ex)
		require.Empty(t, want.err)
		require.Equal(t, want, runPrograms(t, 4, start, txs, ex), "seed %d", seed)
	}
	require.Positive(t, spread.Load())
}

// TestSpreadChooses shows when the scheduler leaves a block alone.
func TestSpreadChooses(t *testing.T) {
	var spread atomic.Int64
	ex := program{spread: &spread}
	one := make([]ledger.Transaction, 50)
	for i := range one {
		one[i] = ledger.Transaction{Kind: 5, Nonce: uint64(i), Payload: []byte{opWrite, 1}}
	}
	runPrograms(t, 4, newMapKV(), one, ex)
	require.Zero(t, spread.Load(), "all connected")

	s := newMapKV()
	txs := bodyOf(t, 50, 50, false)
	fundSenders(t, s, txs)
	_, err := ledger.ExecuteBlock(&ledger.Context{Chain: testChain, Workers: 4}, s, txs, inOrder{spread: &spread}, outbox(0, 1))
	require.NoError(t, err)
	require.Zero(t, spread.Load(), "transfers are cheaper than spreading")
}

// inOrder is an Accessor that counts executions which are not in order.
type inOrder struct {
	ledger.Transfer
	spread *atomic.Int64
}

func (e inOrder) Execute(ctx *ledger.Context, s ledger.KV, tx *ledger.Transaction, out *xshard.Outbox) (ledger.Result, error) {
	if _, ok := s.(*mapKV); !ok {
		e.spread.Add(1)
	}
	return e.Transfer.Execute(ctx, s, tx, out)
}

// TestSpreadStoreFails lets the state fail during the load.
func TestSpreadStoreFails(t *testing.T) {
	var spread atomic.Int64
	s := newMapKV()
	s.fail = errors.New("disk")
	txs := programs(rand.New(rand.NewPCG(1, 1)), 50, 250, 0)
	_, err := ledger.ExecuteBlock(&ledger.Context{Shards: 4, Workers: 4}, s, txs, program{spread: &spread}, outbox(0, 4))
	require.ErrorIs(t, err, s.fail)
}

func TestOverlay(t *testing.T) {
	base := newMapKV()
	base.m["a"], base.m["b"] = []byte("1"), []byte("2")
	want := base.clone()
	o := ledger.NewOverlay(base)
	rng := rand.New(rand.NewPCG(3, 3))
	for round := range 50 {
		for range rng.IntN(20) {
			k := []byte{byte('a' + rng.IntN(5))}
			if rng.IntN(3) == 0 {
				require.NoError(t, o.Delete(k))
				require.NoError(t, want.Delete(k))
			} else {
				v := []byte{byte(rng.Uint32())}
				require.NoError(t, o.Set(k, v))
				require.NoError(t, want.Set(k, v))
			}
			for k := byte('a'); k < 'f'; k++ {
				v, ok, err := o.Get([]byte{k})
				require.NoError(t, err)
				wantV, wantOK, _ := want.Get([]byte{k})
				require.Equal(t, wantV, v)
				require.Equal(t, wantOK, ok)
			}
		}
		if round%2 == 0 {
			o.Reset()
			want = base.clone()
		} else {
			require.NoError(t, o.Flush())
		}
		require.Equal(t, want.m, base.m)
	}
	require.NoError(t, o.Set([]byte("z"), nil))
	base.fail = errors.New("disk")
	require.ErrorIs(t, o.Flush(), base.fail)
}

func TestKinds(t *testing.T) {
	var spread atomic.Int64
	ex := ledger.Kinds{5: program{spread: &spread}}
	_, err := ex.Execute(&ledger.Context{}, newMapKV(), &ledger.Transaction{Kind: 6}, nil)
	requireReason(t, ledger.ReasonKind, err)
	require.False(t, ex.Access(&ledger.Context{}, &ledger.Transaction{Kind: 6}, new(ledger.AccessSet)))
}

// BenchmarkSpread executes transactions of 20 µs each on several processors:
// x-order is the time in order divided by it.
func BenchmarkSpread(b *testing.B) {
	var spread atomic.Int64
	ex := program{work: 20 * time.Microsecond, spread: &spread}
	for _, keys := range []int{250, 10} {
		txs := programs(rand.New(rand.NewPCG(1, 1)), 200, keys, 0)
		for i := range txs {
			txs[i].Payload = txs[i].Payload[:2]
		}
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			run := func(workers int) {
				_, err := ledger.ExecuteBlock(&ledger.Context{Shards: 4, Workers: workers}, newMapKV(), txs, ex, outbox(0, 4))
				require.NoError(b, err)
			}
			for b.Loop() {
				run(4)
			}
			ours := b.Elapsed().Seconds() / float64(b.N)
			start := time.Now()
			for range b.N {
				run(1)
			}
			b.ReportMetric(time.Since(start).Seconds()/float64(b.N)/ours, "x-order")
		})
	}
}
