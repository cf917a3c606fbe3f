package ledger_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/ledger/pebblestore"
)

// BenchmarkApply is Chain.Apply of a block of 10,000 transfers among 100,000
// accounts: decode the body, check the signatures, execute, compare the root,
// commit durably. Cached means that all signatures were seen before; indexed,
// that transactions and accounts have their indexes.
func BenchmarkApply(b *testing.B) {
	const n, accounts = 10_000, 100_000
	run := func(store string, cached, indexed bool) {
		name := fmt.Sprintf("transfers=%d/store=%s/cached=%v", n, store, cached)
		if indexed {
			name += "/indexed=true"
		}
		b.Run(name, func(b *testing.B) {
			var s ledger.Store = ledger.NewMemStore()
			if store == "pebble" {
				p, err := pebblestore.Open(b.TempDir(), pebblestore.Options{})
				require.NoError(b, err)
				defer p.Close()
				s = p
			}
			c := benchChain(b, s, accounts, indexed)
			round := 0
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				b.StopTimer()
				r := &ledger.Rules{Signatures: ledger.NewSignatureCache(4 * n)}
				block := signedBlock(b, c, r, n, round)
				if cached {
					body, err := ledger.DecodeBody(block.Body)
					require.NoError(b, err)
					ledger.VerifyBatch(refsOf(body.Transactions), r.Signatures)
				}
				round++
				b.StartTimer()
				_, err := c.Apply(block, r, nil)
				require.NoError(b, err)
			}
			b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "tx/s")
		})
	}
	for _, store := range []string{"memory", "pebble"} {
		run(store, true, false)
		run(store, false, false)
	}
	run("pebble", true, true)
}

// benchChain makes a chain whose genesis funds accounts.
func benchChain(b *testing.B, s ledger.Store, accounts int, indexed bool) *ledger.Chain {
	c, err := ledger.OpenChain(s, ledger.ChainConfig{Chain: testChain, Transactions: indexed, Accounts: indexed})
	require.NoError(b, err)
	st := c.State().Begin()
	for i := range accounts {
		a := unsigned(i, 0, 0).Sender()
		if i < 10_000 {
			a = addressOf(key(i))
		}
		fund(b, st, a, 1<<40)
	}
	g := &ledger.Block{Header: ledger.Header{Chain: testChain, Time: 1}}
	g.Header.State, err = st.Root()
	require.NoError(b, err)
	g.Body, err = new(ledger.Body).AppendBinary(nil)
	require.NoError(b, err)
	g.Header.Body = ledger.BodyHash(g.Body)
	require.NoError(b, c.Init(g, st))
	return c
}

// signedBlock is the next block of c, with n transfers, one of each of n
// senders.
func signedBlock(b *testing.B, c *ledger.Chain, r *ledger.Rules, n, nonce int) *ledger.Block {
	txs := make([]*ledger.Transaction, n)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < n; i += 4 {
				to := unsigned(i*31%100_000, 0, 0)
				txs[i] = transfer(key(i), uint64(nonce), to.Sender(), 1, 1)
			}
		})
	}
	wg.Wait()
	return propose(b, c, r, txs...)
}

func refsOf(txs []ledger.Transaction) []*ledger.Transaction {
	refs := make([]*ledger.Transaction, len(txs))
	for i := range refs {
		refs[i] = &txs[i]
	}
	return refs
}
