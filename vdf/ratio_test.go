package vdf

import (
	"context"
	"fmt"
	"math/big"
	"testing"
	"time"
)

// bench squares with both methods in turns, so that they see the same machine.
func benchSquare(b *testing.B, bits int) {
	p := testGroup(b, bits)
	f := p.input([]byte("x"))
	s := newSquarer(p.d)
	z := s.newElement()
	z.setForm(f)
	r := newReference(p.d, f)
	for range 100 {
		s.square(z, z)
		r.square()
	}
	const batch = 200
	var fast, slow time.Duration
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		t0 := time.Now()
		for range batch {
			r.square()
		}
		t1 := time.Now()
		for range batch {
			s.square(z, z)
		}
		slow, fast, n = slow+t1.Sub(t0), fast+time.Since(t1), n+batch
	}
	if !z.form().equal(r.form()) {
		b.Fatal("the results differ")
	}
	b.ReportMetric(float64(slow)/float64(fast), "x-mathbig")
	b.ReportMetric(float64(n)/fast.Seconds(), "squarings/s")
	b.ReportMetric(float64(n)/slow.Seconds(), "mathbig/s")
	allocs := testing.AllocsPerRun(1000, func() { s.square(z, z) })
	b.ReportMetric(allocs, "allocs/square")
}

func BenchmarkRatio(b *testing.B) {
	for _, bits := range []int{512, 1024, 2048, 4096} {
		b.Run(fmt.Sprintf("square/bits=%d", bits), func(b *testing.B) { benchSquare(b, bits) })
	}
	const t = 1 << 16
	for _, bits := range []int{1024, 2048} {
		p := testGroup(b, bits)
		x := []byte("x")
		start := p.input(x)
		e := evaluation{d: p.d, start: start, plan: makePlan(t)}
		begin := time.Now()
		if err := e.run(context.Background()); err != nil {
			b.Fatal(err)
		}
		took := time.Since(begin)
		square := took / t
		c := p.challenge(x, t, e.y)
		var pi form
		for _, workers := range []int{1, 2, 4} {
			b.Run(fmt.Sprintf("prove/bits=%d/workers=%d", bits, workers), func(b *testing.B) {
				for b.Loop() {
					pi, _ = prove(context.Background(), p.d, e.plan, e.points, c, workers)
				}
				b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(took), "x-evaluate")
			})
		}
		r := remainder(t, c)
		b.Run(fmt.Sprintf("verify/bits=%d", bits), func(b *testing.B) {
			for b.Loop() {
				if !holds(p.d, start, e.y, pi, c, r) {
					b.Fatal("does not hold")
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(square), "x-square")
		})
		b.Run(fmt.Sprintf("hash/bits=%d", bits), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				p.challenge(big.NewInt(int64(i)).Bytes(), t, e.y)
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(square), "x-square")
		})
		b.Run(fmt.Sprintf("discriminant/bits=%d", bits), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				makeParams(fmt.Append(nil, i), bits)
			}
		})
	}
}
