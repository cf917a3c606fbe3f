package vdf

import (
	"context"
	"fmt"
	"math/big"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// turns runs f and ref in turns, so that both see the same machine, and
// returns what they took. Garbage is collected between the turns: else what one
// leaves behind is charged to the other, whichever happens to run.
func turns(b *testing.B, ref, f func()) (tr, tf time.Duration) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for b.Loop() {
		runtime.GC()
		start := time.Now()
		ref()
		mid := time.Now()
		f()
		tr, tf = tr+mid.Sub(start), tf+time.Since(mid)
	}
	return tr, tf
}

// BenchmarkRatio compares squarings with math/big, and all else with
// squarings:
//
//   - square: x-mathbig, how many times faster than the reference;
//   - prove: x-evaluate, time over that of the evaluation;
//   - verify, hash: x-square, in squarings.
func BenchmarkRatio(b *testing.B) {
	for _, bits := range []int{512, 1024, 2048, 3072, 4096} {
		b.Run(fmt.Sprintf("square/bits=%d", bits), func(b *testing.B) { benchSquare(b, bits) })
	}
	for _, bits := range []int{1024, 2048} {
		benchProof(b, bits)
	}
}

func benchSquare(b *testing.B, bits int) {
	p := testGroup(b, bits)
	f := p.input([]byte("x"))
	s := newSquarer(p.d)
	z := s.newElement()
	z.setForm(f)
	r := newReference(p.d, f)
	const batch = 1000
	n := 0
	slow, fast := turns(b, func() {
		for range batch {
			r.square()
		}
	}, func() {
		for range batch {
			s.square(z, z)
		}
		n += batch
	})
	if !z.form().equal(r.form()) {
		b.Fatal("the results differ")
	}
	b.ReportMetric(float64(slow)/float64(fast), "x-mathbig")
	b.ReportMetric(float64(n)/fast.Seconds(), "squarings/s")
	b.ReportMetric(float64(n)/slow.Seconds(), "mathbig/s")
	b.ReportMetric(testing.AllocsPerRun(1000, func() { s.square(z, z) }), "allocs/square")
}

func benchProof(b *testing.B, bits int) {
	const t, sample = 1 << 17, 1 << 11
	ctx := context.Background()
	p := testGroup(b, bits)
	x := []byte("x")
	start := p.input(x)
	e := evaluation{d: p.d, start: start, plan: makePlan(t)}
	if err := e.run(ctx); err != nil {
		b.Fatal(err)
	}
	s := newSquarer(p.d)
	z := s.newElement()
	z.setForm(e.y)
	squares := func() {
		for range sample {
			s.square(z, z)
		}
	}
	c := p.challenge(x, t, e.y)
	pi, err := prove(ctx, p.d, e.plan, e.points, c, 0)
	if err != nil {
		b.Fatal(err)
	}
	for _, workers := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("prove/bits=%d/workers=%d", bits, workers), func(b *testing.B) {
			tr, tf := turns(b, squares, func() { _, _ = prove(ctx, p.d, e.plan, e.points, c, workers) })
			b.ReportMetric(float64(tf)/float64(tr)*sample/t, "x-evaluate")
		})
	}
	r := remainder(t, c)
	b.Run(fmt.Sprintf("verify/bits=%d", bits), func(b *testing.B) {
		tr, tf := turns(b, squares, func() {
			if !holds(p.d, start, e.y, pi, c, r) {
				b.Fatal("does not hold")
			}
		})
		b.ReportMetric(float64(tf)/float64(tr)*sample, "x-square")
	})
	b.Run(fmt.Sprintf("hash/bits=%d", bits), func(b *testing.B) {
		i := int64(0)
		tr, tf := turns(b, squares, func() { i++; p.challenge(big.NewInt(i).Bytes(), t, e.y) })
		b.ReportMetric(float64(tf)/float64(tr)*sample, "x-square")
	})
	b.Run(fmt.Sprintf("discriminant/bits=%d", bits), func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := NewParams(fmt.Append(nil, i), bits); err != nil {
				b.Fatal(err)
			}
		}
	})
}
