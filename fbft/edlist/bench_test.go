package edlist_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/fbft/edlist"
)

// The benchmarks have the names and metrics of those of package fbft/bls.

// single returns the time of one full verification of a single signature, both
// decodings and the equation.
func single(b *testing.B, key *edlist.SecretKey) time.Duration {
	statement := []byte("a single signature")
	sig, public := sign(b, key, statement), key.Public()
	const rounds = 200
	start := time.Now()
	for range rounds {
		if err := edlist.VerifySingle(public, statement, sig); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start) / rounds
}

// ratio reports per in units of a single verification, as x-verify, measured
// before and after.
func ratio(b *testing.B, key *edlist.SecretKey, before, per time.Duration) {
	b.ReportMetric(2*float64(per)/float64(before+single(b, key)), "x-verify")
}

// BenchmarkVotes is a leader's work for one phase: a quorum of votes into one
// verified list.
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

// BenchmarkSpoiled is BenchmarkVotes with wrong signatures.
func BenchmarkSpoiled(b *testing.B) {
	const n = 400
	for _, wrong := range []int{1, 8} {
		b.Run(fmt.Sprintf("n=%d/wrong=%d", n, wrong), func(b *testing.B) {
			c, keys := newCommittee(b, n)
			statement := []byte("statement")
			members := ascending(2*n/3 + 1)
			sigs := signAll(b, keys, members, statement)
			for i := range wrong {
				sigs[i*len(sigs)/wrong] = sign(b, keys[0], []byte("another"))
			}
			before := single(b, keys[0])
			for b.Loop() {
				if _, bad := c.Combine(statement, members, sigs); len(bad) != wrong {
					b.Fatal(bad)
				}
			}
			ratio(b, keys[0], before, b.Elapsed()/time.Duration(b.N))
		})
	}
}

// BenchmarkCertificate verifies certificates of 400 members of which 10 are
// absent: one, and a batch of 64 (time per certificate).
func BenchmarkCertificate(b *testing.B) {
	const n, absent, batch = 400, 10, 64
	c, keys := newCommittee(b, n)
	var statements, aggregates [][]byte
	var members [][]int
	for i := range batch {
		s := fmt.Appendf(nil, "statement %d", i)
		m := slices.Delete(ascending(n), 6*i, 6*i+absent)
		aggregate, bad := c.Combine(s, m, signAll(b, keys, m, s))
		require.Empty(b, bad)
		statements, members, aggregates = append(statements, s), append(members, m), append(aggregates, aggregate)
	}
	b.Run("batch=1", func(b *testing.B) {
		before := single(b, keys[0])
		b.ReportAllocs()
		for b.Loop() {
			if err := c.Verify(statements[0], members[0], aggregates[0]); err != nil {
				b.Fatal(err)
			}
		}
		ratio(b, keys[0], before, b.Elapsed()/time.Duration(b.N))
		b.ReportMetric(float64(len(aggregates[0])), "B/certificate")
	})
	b.Run("batch=64", func(b *testing.B) {
		before := single(b, keys[0])
		b.ReportAllocs()
		for b.Loop() {
			if err := c.VerifyBatch(statements, members, aggregates); err != nil {
				b.Fatal(err)
			}
		}
		per := b.Elapsed() / time.Duration(b.N*batch)
		b.ReportMetric(float64(per.Microseconds()), "µs/certificate")
		ratio(b, keys[0], before, per)
	})
}

// BenchmarkValidator verifies certificates of a bare quorum.
func BenchmarkValidator(b *testing.B) {
	for _, n := range []int{4, 16, 100, 400, 1000} {
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
			b.ReportMetric(float64(len(aggregate)), "B/certificate")
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
