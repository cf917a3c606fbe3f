package vrf_test

import (
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	"github.com/shardkit/shardkit/vrf"
)

// compare runs f b.N times, and ref in between, so that both see the same
// machine; it reports how many times longer f takes.
func compare(b *testing.B, metric string, ref, f func()) {
	var tf, tr time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		f()
		mid := time.Now()
		ref()
		tf, tr = tf+mid.Sub(start), tr+time.Since(mid)
	}
	b.ReportMetric(float64(tf)/float64(tr), metric)
	b.ReportMetric(float64(tf.Nanoseconds())/float64(b.N), "ns/vrf")
	b.ReportMetric(float64(tr.Nanoseconds())/float64(b.N), "ns/ref")
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
	for _, n := range []int{16, 128, 1024} {
		items := batch(b, n)
		pi, _ := vrf.GenerateKey(vrf.EdwardsELL2, nil)
		pub := pi.Public()
		proof, _ := pi.Prove(alpha)
		b.Run(fmt.Sprintf("batch/n=%d", n), func(b *testing.B) {
			compare(b, "x-single", func() {
				for range n {
					_, err := vrf.Verify(vrf.EdwardsELL2, pub, alpha, proof)
					check(err == nil)
				}
			}, func() { _, err := vrf.VerifyBatch(vrf.EdwardsELL2, items); check(err == nil) })
		})
	}
}

func batch(t testing.TB, n int) []vrf.Item {
	items := make([]vrf.Item, n)
	for i := range items {
		key, err := vrf.GenerateKey(vrf.EdwardsELL2, nil)
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
