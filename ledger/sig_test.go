package ledger_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/ledger"
)

// transfers returns n signed transfers of n senders.
func transfers(n int) []*ledger.Transaction {
	txs := make([]*ledger.Transaction, n)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < n; i += 4 {
				txs[i] = transfer(key(i), 0, addressOf(key(i+1)), 1, 1)
			}
		})
	}
	wg.Wait()
	return txs
}

// spoil returns a copy of tx whose signature is wrong.
func spoil(tx *ledger.Transaction) *ledger.Transaction {
	c := *tx
	c.Signature[40]++
	return &c
}

func TestVerifyBatch(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	all := transfers(700)
	for _, tc := range []struct{ n, bad int }{
		{0, 0}, {1, 0}, {1, 1}, {2, 1}, {40, 0}, {40, 40}, {300, 1}, {300, 7}, {700, 0}, {700, 1}, {700, 200}, {700, 700},
	} {
		t.Run(fmt.Sprintf("n=%d/bad=%d", tc.n, tc.bad), func(t *testing.T) {
			txs := append(all[:0:0], all[:tc.n]...)
			want := make([]bool, tc.n)
			for _, i := range rng.Perm(tc.n)[:tc.bad] {
				txs[i], want[i] = spoil(txs[i]), true
			}
			cache := ledger.NewSignatureCache(10_000)
			for round, cache := range []*ledger.SignatureCache{nil, cache, cache} {
				errs := ledger.VerifyBatch(txs, cache)
				require.Len(t, errs, tc.n)
				for i, err := range errs {
					require.Equal(t, want[i], err != nil, "round %d, transaction %d: %v", round, i, err)
					if err != nil {
						requireReason(t, ledger.ReasonSignature, err)
					}
				}
			}
			require.Equal(t, tc.n-tc.bad, cache.Len(), "the cache holds the good ones")
		})
	}
}

func TestVerifyMulti(t *testing.T) {
	good, bad := multi(t), multi(t)
	bad.Multi.Signatures[1].Signature[3]++
	cache := ledger.NewSignatureCache(10)
	for range 2 {
		errs := ledger.VerifyBatch([]*ledger.Transaction{good, bad}, cache)
		require.NoError(t, errs[0])
		requireReason(t, ledger.ReasonSignature, errs[1])
	}
}

// TestCacheBindsSignature is about the cheapest way to split a chain: a copy
// of a known transaction, same id, false signature.
func TestCacheBindsSignature(t *testing.T) {
	tx := transfer(key(1), 0, addressOf(key(2)), 1, 1)
	cache := ledger.NewSignatureCache(10)
	require.NoError(t, ledger.VerifyBatch([]*ledger.Transaction{tx}, cache)[0])
	require.Equal(t, tx.ID(), spoil(tx).ID())
	require.Error(t, ledger.VerifyBatch([]*ledger.Transaction{spoil(tx)}, cache)[0])

	m := multi(t)
	require.NoError(t, ledger.VerifyBatch([]*ledger.Transaction{m}, cache)[0])
	m.Multi.Signatures[0].Signature[3]++
	require.Error(t, ledger.VerifyBatch([]*ledger.Transaction{m}, cache)[0])
}

func TestCacheForgets(t *testing.T) {
	txs := transfers(100)
	cache := ledger.NewSignatureCache(20)
	for i := range txs {
		ledger.VerifyBatch(txs[i:i+1], cache)
		require.LessOrEqual(t, cache.Len(), 20)
	}
	require.GreaterOrEqual(t, cache.Len(), 10)
}

func TestCacheConcurrent(t *testing.T) {
	txs := transfers(200)
	cache := ledger.NewSignatureCache(150)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 10 {
				for _, err := range ledger.VerifyBatch(txs[(w*37+i*10)%100:][:100], cache) {
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}
