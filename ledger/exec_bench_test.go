package ledger_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/ledger"
)

// bodyOf returns n transfers among m accounts as a validator has them:
// decoded from a body. None is signed unless sign is set.
func bodyOf(b testing.TB, n, m int, sign bool) []ledger.Transaction {
	body := ledger.Body{Transactions: make([]ledger.Transaction, n)}
	for i := range body.Transactions {
		tx := unsigned(i%m, uint64(i/m), 1)
		to := unsigned((i*7+1)%m, 0, 0)
		tx.To = to.Sender()
		if sign {
			k := key(i % m)
			tx.To = addressOf(key((i*7 + 1) % m))
			tx.Sign(k)
		}
		body.Transactions[i] = *tx
	}
	return decodedBody(b, &body)
}

// decodedBody returns the transactions of a body as a validator has them.
func decodedBody(b testing.TB, body *ledger.Body) []ledger.Transaction {
	enc, err := body.AppendBinary(nil)
	require.NoError(b, err)
	dec, err := ledger.DecodeBody(enc)
	require.NoError(b, err)
	return dec.Transactions
}

func fundSenders(b testing.TB, s ledger.KV, txs []ledger.Transaction) {
	for i := range txs {
		fund(b, s, txs[i].Sender(), 1<<40)
	}
}

// BenchmarkExec executes blocks of transfers whose signatures are known to be
// good, on a map and on a stage of a state in memory, in order: tx/s is that of
// one core (run it with -cpu 1, so that the collector does not use the others).
func BenchmarkExec(b *testing.B) {
	const n = 10_000
	txs := bodyOf(b, n, n, false)
	ctx := &ledger.Context{Chain: testChain}
	run := func(b *testing.B, begin func() ledger.KV) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			s := begin()
			b.StartTimer()
			_, err := ledger.ExecuteBlock(ctx, s, txs, ledger.Transfer{}, outbox(0, 1))
			require.NoError(b, err)
		}
		b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "tx/s")
	}
	b.Run("transfers/kv=map", func(b *testing.B) {
		base := newMapKV()
		fundSenders(b, base, txs)
		run(b, func() ledger.KV { return base.clone() })
	})
	b.Run("transfers/kv=stage", func(b *testing.B) {
		state, err := ledger.OpenState(ledger.NewMemStore(), ledger.StateConfig{})
		require.NoError(b, err)
		st := state.Begin()
		fundSenders(b, st, txs)
		require.NoError(b, state.Commit(st, 1, nil))
		run(b, func() ledger.KV { return state.Begin() })
	})
}

func BenchmarkBody(b *testing.B) {
	const n = 10_000
	enc, err := (&ledger.Body{Transactions: bodyOf(b, n, n, false)}).AppendBinary(nil)
	require.NoError(b, err)
	b.Run(fmt.Sprintf("decode/tx=%d", n), func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(enc)))
		for b.Loop() {
			_, err := ledger.DecodeBody(enc)
			require.NoError(b, err)
		}
		b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "tx/s")
	})
}
