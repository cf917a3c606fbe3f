package vrf_test

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shardkit/shardkit/vrf"
)

// compare runs f b.N times, and ref in between, so that both see the same
// machine; it reports how many times longer f takes. It takes the medians: what
// else the machine does for a moment is no property of either.
func compare(b *testing.B, metric string, ref, f func()) {
	var tf, tr []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		f()
		mid := time.Now()
		ref()
		tf, tr = append(tf, mid.Sub(start)), append(tr, time.Since(mid))
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2].Nanoseconds())
	}
	b.ReportMetric(median(tf)/median(tr), metric)
	b.ReportMetric(median(tf), "ns/vrf")
	b.ReportMetric(median(tr), "ns/ref")
}

func BenchmarkRatio(b *testing.B) {
	alpha := []byte("a block's hash, thirty-two bytes")
	edPub, edKey, _ := ed25519.GenerateKey(nil)
	sig := ed25519.Sign(edKey, alpha)
	check := func(ok bool) {
		if !ok {
			b.Fatal("does not verify")
		}
	}
	sign := func() { ed25519.Sign(edKey, alpha) }
	verify := func() { check(ed25519.Verify(edPub, alpha, sig)) }
	for _, s := range []struct {
		name  string
		suite vrf.Suite
	}{{"p256tai", vrf.P256TAI}, {"sswu", vrf.P256SSWU}, {"tai", vrf.EdwardsTAI}, {"ell2", vrf.EdwardsELL2}} {
		key, _ := vrf.GenerateKey(s.suite, nil)
		pi, _ := key.Prove(alpha)
		b.Run("prove/suite="+s.name, func(b *testing.B) {
			compare(b, "x-sign", sign, func() { _, err := key.Prove(alpha); check(err == nil) })
		})
		b.Run("verify/suite="+s.name, func(b *testing.B) {
			pub := key.Public()
			compare(b, "x-ed25519", verify, func() { _, err := vrf.Verify(s.suite, pub, alpha, pi); check(err == nil) })
		})
	}
	for _, n := range []int{8, 16, 128, 1024} {
		b.Run(fmt.Sprintf("batch/n=%d", n), func(b *testing.B) { benchBatch(b, vrf.EdwardsELL2, n) })
	}
	for _, n := range []int{8, 128} {
		b.Run(fmt.Sprintf("batch/suite=sswu/n=%d", n), func(b *testing.B) { benchBatch(b, vrf.P256SSWU, n) })
	}
}

// benchBatch compares a batch with as many single verifications.
func benchBatch(b *testing.B, suite vrf.Suite, n int) {
	alpha := []byte("a block's hash, thirty-two bytes")
	items := batch(b, suite, n)
	key, _ := vrf.GenerateKey(suite, nil)
	pub := key.Public()
	proof, _ := key.Prove(alpha)
	compare(b, "x-single", func() {
		for range n {
			if _, err := vrf.Verify(suite, pub, alpha, proof); err != nil {
				b.Fatal(err)
			}
		}
	}, func() {
		if _, err := vrf.VerifyBatch(suite, items); err != nil {
			b.Fatal(err)
		}
	})
}

func batch(t testing.TB, suite vrf.Suite, n int) []vrf.Item {
	items := make([]vrf.Item, n)
	for i := range items {
		key, err := vrf.GenerateKey(suite, nil)
		if err != nil {
			t.Fatal(err)
		}
		alpha := fmt.Appendf(nil, "alpha %d", i)
		pi, err := key.ProveBatch(alpha)
		if err != nil {
			t.Fatal(err)
		}
		items[i] = vrf.Item{Public: key.Public(), Alpha: alpha, Proof: pi}
	}
	return items
}
