package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/ledger"
)

// libraryBatch is VerifyBatch in the plainest way: batches of 1024, one after
// the other.
func libraryBatch(b *testing.B, txs []*ledger.Transaction) {
	opts := &ed25519.Options{Verify: ed25519.VerifyOptionsZIP_215}
	for len(txs) > 0 {
		n := min(len(txs), 1024)
		v := ed25519.NewBatchVerifierWithCapacity(n)
		for _, tx := range txs[:n] {
			v.AddWithOptions(tx.From[:], tx.SignBytes(), tx.Signature[:], opts)
		}
		require.True(b, v.VerifyBatchOnly(nil))
		txs = txs[n:]
	}
}

// BenchmarkVerify measures VerifyBatch beside the batch of the library it is
// made from, in the same run: x-library is the ratio of the times. On one
// processor (-cpu 1) it is the price of everything around the library.
func BenchmarkVerify(b *testing.B) {
	for _, n := range []int{1024, 10_000} {
		var body ledger.Body
		for _, tx := range transfers(n) {
			body.Transactions = append(body.Transactions, *tx)
		}
		txs := refsOf(decodedBody(b, &body))
		b.Run(fmt.Sprintf("batch/n=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			var library time.Duration // measured in turns, so that both see the same machine
			for b.Loop() {
				for _, err := range ledger.VerifyBatch(txs, nil) {
					require.NoError(b, err)
				}
				b.StopTimer()
				start := time.Now()
				libraryBatch(b, txs)
				library += time.Since(start)
				b.StartTimer()
			}
			ours := b.Elapsed().Seconds() / float64(b.N)
			b.ReportMetric(float64(n)/ours, "tx/s")
			b.ReportMetric(b.Elapsed().Seconds()/library.Seconds(), "x-library")
		})
		b.Run(fmt.Sprintf("cached/n=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			cache := ledger.NewSignatureCache(4 * n)
			ledger.VerifyBatch(txs, cache)
			for b.Loop() {
				ledger.VerifyBatch(txs, cache)
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "tx/s")
		})
	}
	txs := transfers(1024)
	for _, bad := range []int{1, 8, 64, 1024} {
		spoiled := append(txs[:0:0], txs...)
		for i := range bad {
			spoiled[i*1024/bad] = spoil(spoiled[i*1024/bad])
		}
		b.Run(fmt.Sprintf("batch/n=1024/bad=%d", bad), func(b *testing.B) {
			for b.Loop() {
				ledger.VerifyBatch(spoiled, nil)
			}
			b.ReportMetric(1024*float64(b.N)/b.Elapsed().Seconds(), "tx/s")
		})
	}
	b.Run("single", func(b *testing.B) {
		for b.Loop() {
			ledger.VerifyBatch(txs[:1], nil)
		}
	})
}
