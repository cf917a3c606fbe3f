package fbfttest

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// SchemeBench is how signature schemes are measured, all in the same way. What
// it reports as x-verify is in units of one full verification of a single
// signature, measured before and after in the same run, because the machine may
// have other things to do.
type SchemeBench struct {
	Scheme Scheme // New has to return the same keys each time
	// Single verifies a single signature from its bytes, decodings and all.
	Single func() error
	// Rounds is how often that is done for one measurement.
	Rounds int
}

// Votes is a leader's work for one phase: a quorum of votes into one verified
// aggregate.
func (s SchemeBench) Votes(b *testing.B) {
	for _, n := range []int{100, 400, 1000} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			x := newBallot(b, s.Scheme, n)
			members := upTo(2*n/3 + 1)
			sigs := x.sigs[:len(members)]
			per := s.measure(b, 1, func() bool {
				_, bad := x.v.Combine(x.statement, members, sigs)
				return bad == nil
			})
			b.ReportMetric(float64(per.Microseconds())/float64(len(members)), "µs/vote")
		})
	}
}

// Spoiled is Votes with wrong signatures of members that nothing is held
// against yet: every round has a new committee.
func (s SchemeBench) Spoiled(b *testing.B) {
	const n = 400
	for _, wrong := range []int{1, 8} {
		b.Run(fmt.Sprintf("n=%d/wrong=%d", n, wrong), func(b *testing.B) {
			x := newBallot(b, s.Scheme, n)
			members := upTo(2*n/3 + 1)
			sigs := slices.Clone(x.sigs[:len(members)])
			for i := range wrong {
				sigs[i*len(sigs)/wrong] = x.sign(b, 0, []byte("another"))
			}
			s.measure(b, 1, func() bool {
				b.StopTimer()
				v, _ := s.Scheme.New(b, n)
				b.StartTimer()
				_, bad := v.Combine(x.statement, members, sigs)
				return len(bad) == wrong
			})
		})
	}
}

// Certificate verifies certificates of 400 members of which 10 are absent: one,
// and a batch of 64 (time per certificate). The absent are others in each, or
// the same in all.
func (s SchemeBench) Certificate(b *testing.B) {
	const n, absent, batch = 400, 10, 64
	v, signers := s.Scheme.New(b, n)
	make64 := func(spread int) (statements [][]byte, members [][]int, aggregates [][]byte) {
		for i := range batch {
			x := ballot{v: v, signers: signers}
			statement, m := fmt.Appendf(nil, "statement %d", i), slices.Delete(upTo(n), i*spread, i*spread+absent)
			var sigs [][]byte
			for _, k := range m {
				sigs = append(sigs, x.sign(b, k, statement))
			}
			aggregate, bad := v.Combine(statement, m, sigs)
			if bad != nil {
				b.Fatal(bad)
			}
			statements, members, aggregates = append(statements, statement), append(members, m), append(aggregates, aggregate)
		}
		return statements, members, aggregates
	}
	st, m, a := make64(6)
	b.Run("batch=1", func(b *testing.B) {
		s.measure(b, 1, func() bool { return v.Verify(st[0], m[0], a[0]) == nil })
		b.ReportMetric(float64(len(a[0])), "B/certificate")
	})
	run := func(name string) {
		b.Run(name, func(b *testing.B) {
			per := s.measure(b, batch, func() bool { return v.VerifyBatch(st, m, a) == nil })
			b.ReportMetric(float64(per.Microseconds()), "µs/certificate")
		})
	}
	run("batch=64")
	st, m, a = make64(0)
	run("batch=64/same")
}

// Validator verifies certificates of a bare quorum, the worst case for a sum of
// keys: what a validator's cost depends on n by.
func (s SchemeBench) Validator(b *testing.B) {
	for _, n := range []int{4, 16, 100, 400, 1000} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			x := newBallot(b, s.Scheme, n)
			members := upTo(2*n/3 + 1)
			aggregate, bad := x.v.Combine(x.statement, members, x.sigs[:len(members)])
			if bad != nil {
				b.Fatal(bad)
			}
			s.measure(b, 1, func() bool { return x.v.Verify(x.statement, members, aggregate) == nil })
			b.ReportMetric(float64(len(aggregate)), "B/certificate")
		})
	}
}

// measure runs f and returns the time of one of the parts that it does.
func (s SchemeBench) measure(b *testing.B, parts int, f func() bool) time.Duration {
	before := s.single(b)
	b.ReportAllocs()
	for b.Loop() {
		if !f() {
			b.Fatal("not verified")
		}
	}
	per := b.Elapsed() / time.Duration(b.N*parts)
	b.ReportMetric(2*float64(per)/float64(before+s.single(b)), "x-verify")
	return per
}

func (s SchemeBench) single(b *testing.B) time.Duration {
	start := time.Now()
	for range s.Rounds {
		if err := s.Single(); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start) / time.Duration(s.Rounds)
}
