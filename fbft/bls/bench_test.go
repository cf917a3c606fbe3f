package bls_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/fbft/bls"
)

// single returns the time of one full verification of a single signature, both
// decodings, hash and pairing.
func single(b *testing.B, key *bls.SecretKey) time.Duration {
	statement := []byte("a single signature")
	sig, public := sign(b, key, statement), key.Public()
	const rounds = 20
	start := time.Now()
	for range rounds {
		if err := bls.VerifySingle(public, statement, sig); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start) / rounds
}

// ratio reports per in units of a single verification, as x-verify. That is
// measured before and after, because the machine may have other things to do.
func ratio(b *testing.B, key *bls.SecretKey, before, per time.Duration) {
	b.ReportMetric(2*float64(per)/float64(before+single(b, key)), "x-verify")
}

// BenchmarkVotes is a leader's work for one phase: a quorum of votes into one
// verified aggregate.
func BenchmarkVotes(b *testing.B) {
	for _, n := range []int{100, 400, 1000} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			c, keys := newCommittee(b, n)
			statement := []byte("statement")
			members := ascending(2*n/3 + 1)
			sigs := signAll(b, keys, members, statement)
			before := single(b, keys[0])
			b.ReportAllocs()
			for b.Loop() {
				if _, bad := c.Combine(statement, members, sigs); bad != nil {
					b.Fatal(bad)
				}
			}
			per := b.Elapsed() / time.Duration(b.N)
			ratio(b, keys[0], before, per)
			b.ReportMetric(float64(per.Microseconds())/float64(len(members)), "µs/vote")
		})
	}
}

// BenchmarkSpoiled is BenchmarkVotes with wrong signatures of members seen for
// the first time.
func BenchmarkSpoiled(b *testing.B) {
	const n = 400
	for _, wrong := range []int{1, 8} {
		b.Run(fmt.Sprintf("n=%d/wrong=%d", n, wrong), func(b *testing.B) {
			_, keys := newCommittee(b, n)
			public := make([][]byte, n)
			for i, k := range keys {
				public[i] = k.Public()
			}
			statement := []byte("statement")
			members := ascending(2*n/3 + 1)
			sigs := signAll(b, keys, members, statement)
			for i := range wrong {
				sigs[i*len(sigs)/wrong] = sign(b, keys[0], []byte("another"))
			}
			before := single(b, keys[0])
			for b.Loop() {
				b.StopTimer()
				c, err := bls.NewCommittee(public, batchSeed)
				require.NoError(b, err)
				b.StartTimer()
				if _, bad := c.Combine(statement, members, sigs); len(bad) != wrong {
					b.Fatal(bad)
				}
			}
			ratio(b, keys[0], before, b.Elapsed()/time.Duration(b.N))
		})
	}
}

// BenchmarkCertificate verifies certificates of 400 members of which 10 are
// absent: one, and a batch of 64 (time per certificate). The absent are others
// in each, or the same in all.
func BenchmarkCertificate(b *testing.B) {
	const n, absent, batch = 400, 10, 64
	c, keys := newCommittee(b, n)
	all := ascending(n)
	make64 := func(b *testing.B, spread int) (statements [][]byte, members [][]int, aggregates [][]byte) {
		for i := range batch {
			s := fmt.Appendf(nil, "statement %d", i)
			sigs := signAll(b, keys, all, s)
			first := i * spread
			m := slices.Delete(ascending(n), first, first+absent)
			aggregate, bad := c.Combine(s, m, slices.Delete(sigs, first, first+absent))
			require.Empty(b, bad)
			statements, members, aggregates = append(statements, s), append(members, m), append(aggregates, aggregate)
		}
		return statements, members, aggregates
	}
	s, m, a := make64(b, 6)
	b.Run("batch=1", func(b *testing.B) {
		before := single(b, keys[0])
		b.ReportAllocs()
		for b.Loop() {
			if err := c.Verify(s[0], m[0], a[0]); err != nil {
				b.Fatal(err)
			}
		}
		ratio(b, keys[0], before, b.Elapsed()/time.Duration(b.N))
	})
	run := func(name string, s [][]byte, m [][]int, a [][]byte) {
		b.Run(name, func(b *testing.B) {
			before := single(b, keys[0])
			b.ReportAllocs()
			for b.Loop() {
				if err := c.VerifyBatch(s, m, a); err != nil {
					b.Fatal(err)
				}
			}
			per := b.Elapsed() / time.Duration(b.N*batch)
			b.ReportMetric(float64(per.Microseconds()), "µs/certificate")
			ratio(b, keys[0], before, per)
		})
	}
	run("batch=64", s, m, a)
	s, m, a = make64(b, 0)
	run("batch=64/same", s, m, a)
}

// BenchmarkValidator verifies certificates of a bare quorum, the worst case for
// the sum of the keys: what a validator's cost depends on n by.
func BenchmarkValidator(b *testing.B) {
	for _, n := range []int{100, 400, 1000} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			c, keys := newCommittee(b, n)
			statement := []byte("statement")
			members := ascending(2*n/3 + 1)
			aggregate, bad := c.Combine(statement, members, signAll(b, keys, members, statement))
			require.Empty(b, bad)
			before := single(b, keys[0])
			for b.Loop() {
				if err := c.Verify(statement, members, aggregate); err != nil {
					b.Fatal(err)
				}
			}
			ratio(b, keys[0], before, b.Elapsed()/time.Duration(b.N))
		})
	}
}

func BenchmarkSign(b *testing.B) {
	k := newKey(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		sign(b, k, []byte("statement"))
	}
}

// BenchmarkCommittee makes the committee of the next epoch, in which a tenth
// of 100 members is new, with and without a Keyring.
func BenchmarkCommittee(b *testing.B) {
	const n, moved = 100, 10
	var public [][]byte
	for i := range 20 * n {
		public = append(public, newKey(b, i).Public())
	}
	run := func(name string, decode func([][]byte, [32]byte) (*bls.Committee, error)) {
		b.Run(name, func(b *testing.B) {
			first := 0
			for b.Loop() {
				if _, err := decode(public[first:first+n], batchSeed); err != nil {
					b.Fatal(err)
				}
				if first += moved; first+n > len(public) {
					first = 0
				}
			}
		})
	}
	run("keyring=false", bls.NewCommittee)
	run("keyring=true", bls.NewKeyring(5*n).NewCommittee)
}
