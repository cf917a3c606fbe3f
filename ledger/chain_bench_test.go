package ledger_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/ledger/pebblestore"
)

// BenchmarkApply takes a block of 10,000 transfers among 100,000 accounts as a
// validator does: decode the body, check the signatures, execute, take the
// root, commit durably. Cached means that all signatures were seen before.
func BenchmarkApply(b *testing.B) {
	const n, accounts = 10_000, 100_000
	for _, store := range []string{"memory", "pebble"} {
		for _, cached := range []bool{true, false} {
			b.Run(fmt.Sprintf("transfers=%d/store=%s/cached=%v", n, store, cached), func(b *testing.B) {
				var s ledger.Store = ledger.NewMemStore()
				if store == "pebble" {
					p, err := pebblestore.Open(b.TempDir(), pebblestore.Options{})
					require.NoError(b, err)
					defer p.Close()
					s = p
				}
				c := benchChain(b, s, accounts)
				var cache *ledger.SignatureCache
				if cached {
					cache = ledger.NewSignatureCache(4 * n)
				}
				round := 0
				b.ReportAllocs()
				b.ResetTimer()
				for b.Loop() {
					b.StopTimer()
					enc := signedBody(b, n, round)
					if cached {
						body, err := ledger.DecodeBody(enc)
						require.NoError(b, err)
						verify(b, body, cache)
					}
					round++
					b.StartTimer()
					applyBody(b, c, enc, cache)
				}
				b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "tx/s")
			})
		}
	}
}

// benchChain makes a chain whose genesis funds accounts.
func benchChain(b *testing.B, s ledger.Store, accounts int) *ledger.Chain {
	c, err := ledger.OpenChain(s, ledger.ChainConfig{Chain: testChain, Shard: 0})
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

// signedBody is the body of n transfers, one of each of n senders.
func signedBody(b *testing.B, n, nonce int) []byte {
	body := ledger.Body{Transactions: make([]ledger.Transaction, n)}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < n; i += 4 {
				to := unsigned(i*31%100_000, 0, 0)
				body.Transactions[i] = *transfer(key(i), uint64(nonce), to.Sender(), 1, 1)
			}
		})
	}
	wg.Wait()
	enc, err := body.AppendBinary(nil)
	require.NoError(b, err)
	return enc
}

func verify(b *testing.B, body *ledger.Body, cache *ledger.SignatureCache) {
	refs := make([]*ledger.Transaction, len(body.Transactions))
	for i := range refs {
		refs[i] = &body.Transactions[i]
	}
	for _, err := range ledger.VerifyBatch(refs, cache) {
		if err != nil {
			b.Fatal(err)
		}
	}
}

func applyBody(b *testing.B, c *ledger.Chain, enc []byte, cache *ledger.SignatureCache) {
	body, err := ledger.DecodeBody(enc)
	require.NoError(b, err)
	verify(b, body, cache)
	head, _ := c.Head()
	st := c.State().Begin()
	ctx := &ledger.Context{Chain: testChain, Height: head.Height + 1}
	_, err = ledger.ExecuteBlock(ctx, st, body.Transactions, ledger.Transfer{}, outbox(0, 1))
	require.NoError(b, err)
	blk := &ledger.Block{Body: enc, Header: ledger.Header{
		Chain: testChain, Height: head.Height + 1, Parent: head.Hash(), Time: head.Time + 1, Body: ledger.BodyHash(enc),
	}}
	blk.Header.State, err = st.Root()
	require.NoError(b, err)
	require.NoError(b, c.Commit(blk, st, nil))
}
