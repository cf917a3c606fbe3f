package ledger_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
)

// pooled returns n decoded transactions of n/perSender senders with various
// fees, in an order in which none has to wait.
func pooled(b *testing.B, n, perSender int, fee func(i int) uint64) []*ledger.Transaction {
	txs := make([]*ledger.Transaction, n)
	senders := n / perSender
	for i := range txs {
		enc, err := unsigned(i%senders, uint64(i/senders), fee(i)).AppendBinary(nil)
		require.NoError(b, err)
		txs[i] = new(ledger.Transaction)
		require.NoError(b, txs[i].UnmarshalBinary(enc))
	}
	return txs
}

func spreadFee(i int) uint64 { return 1 + uint64(i*7919%1000) }

// BenchmarkMempool measures a pool at 100,000 pending transactions of 50,000
// senders: filling it, adding to it when it is full (each dearer than the
// cheapest, so that every one pushes another out), refusing what is cheaper
// than all, choosing a block, and taking notice of one.
func BenchmarkMempool(b *testing.B) {
	const pending = 100_000
	txs := pooled(b, pending, 2, spreadFee)
	fill := func() *ledger.Mempool {
		m := ledger.NewMempool(ledger.MempoolConfig{MaxCount: pending})
		for _, tx := range txs {
			require.NoError(b, m.Add(tx, rich, 0))
		}
		return m
	}
	b.Run(fmt.Sprintf("fill/pending=%d", pending), func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m := ledger.NewMempool(ledger.MempoolConfig{MaxCount: pending})
			for _, tx := range txs {
				if err := m.Add(tx, rich, 0); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(pending*float64(b.N)/b.Elapsed().Seconds(), "adds/s")
	})
	b.Run(fmt.Sprintf("full/pending=%d", pending), func(b *testing.B) {
		const more = 200_000
		dearer := pooled(b, more, 1, func(i int) uint64 { return 1001 + uint64(i) })
		for i, tx := range dearer { // senders that the pool does not know
			tx.From[3] = 1
			enc, err := tx.AppendBinary(nil)
			require.NoError(b, err)
			require.NoError(b, dearer[i].UnmarshalBinary(enc))
		}
		b.ReportAllocs()
		b.ResetTimer()
		for b.Loop() {
			b.StopTimer()
			m := fill()
			b.StartTimer()
			for _, tx := range dearer {
				if err := m.Add(tx, rich, 0); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(more*float64(b.N)/b.Elapsed().Seconds(), "adds/s")
	})
	m := fill()
	b.Run(fmt.Sprintf("refused/pending=%d", pending), func(b *testing.B) {
		cheap := unsigned(1<<17, 0, 0)
		b.ReportAllocs()
		for b.Loop() {
			if m.Add(cheap, rich, 0) == nil {
				b.Fatal("taken")
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "adds/s")
	})
	b.Run(fmt.Sprintf("select/pending=%d/count=10000", pending), func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			require.Len(b, m.Select(10_000, 64<<20, nil), 10_000)
		}
	})
	b.Run(fmt.Sprintf("committed/pending=%d/count=10000", pending), func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			m := fill()
			used := map[ledger.Address]ledger.Account{}
			for _, tx := range m.Select(10_000, 64<<20, nil) {
				used[tx.Sender()] = ledger.Account{Nonce: tx.Nonce + 1, Balance: 1 << 40}
			}
			b.StartTimer()
			m.Committed(shardkit.Height(1), func(yield func(ledger.Address, ledger.Account) bool) {
				for a, acc := range used {
					yield(a, acc)
				}
			})
		}
	})
}

// BenchmarkMempoolLoad is a pool of 100,000 in a chain whose blocks hold
// 10,000, when as many, twice and four times as many are offered between two
// blocks, with fees at random: the cost of an offered transaction, selecting
// the block and taking notice of it included, and how full the blocks are.
func BenchmarkMempoolLoad(b *testing.B) {
	const pending, block = 100_000, 10_000
	for _, load := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("pending=%d/load=%d", pending, load), func(b *testing.B) {
			m := ledger.NewMempool(ledger.MempoolConfig{MaxCount: pending})
			sender, included, offered := 0, 0, 0
			offer := func(n int) []*ledger.Transaction {
				txs := make([]*ledger.Transaction, n)
				for i := range txs { // every one from somebody else
					sender++
					enc, err := unsigned(sender, 0, 1+uint64(sender*7919%1_000_003)).AppendBinary(nil)
					require.NoError(b, err)
					txs[i] = new(ledger.Transaction)
					require.NoError(b, txs[i].UnmarshalBinary(enc))
				}
				return txs
			}
			for _, tx := range offer(pending) {
				require.NoError(b, m.Add(tx, rich, 0))
			}
			height := shardkit.Height(0)
			b.ResetTimer()
			for b.Loop() {
				b.StopTimer()
				txs := offer(load * block)
				b.StartTimer()
				height++
				for _, tx := range txs {
					_ = m.Add(tx, rich, height)
				}
				picked := m.Select(block, 64<<20, nil)
				m.Committed(height, func(yield func(ledger.Address, ledger.Account) bool) {
					for _, tx := range picked {
						yield(tx.Sender(), ledger.Account{Nonce: 1, Balance: 1})
					}
				})
				included += len(picked)
				offered += len(txs)
			}
			b.ReportMetric(float64(offered)/b.Elapsed().Seconds(), "offered/s")
			b.ReportMetric(float64(included)/float64(b.N), "tx/block")
		})
	}
}
