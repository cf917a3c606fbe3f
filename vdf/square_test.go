package vdf

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func testGroup(t testing.TB, bits int) *Params {
	p, err := NewParams([]byte("test"), bits)
	require.NoError(t, err)
	return p
}

func TestSquareAgainstReference(t *testing.T) {
	for _, bits := range []int{256, 320, 512, 1024, 2048} {
		p := testGroup(t, bits)
		s := newSquarer(p.d)
		f := p.input([]byte("x"))
		z := s.newElement()
		z.setForm(f)
		slow := 0
		for i := range 500 {
			if !s.fastSquare(z, z) {
				slow++
				z.setForm(square(p.d, z.form()))
			}
			f = square(p.d, f)
			require.True(t, z.form().equal(f), "bits %d step %d", bits, i)
		}
		t.Log(bits, slow)
	}
}

func TestComposeAgainstReference(t *testing.T) {
	for _, bits := range []int{256, 320, 512, 1024, 2048} {
		p := testGroup(t, bits)
		s := newSquarer(p.d)
		f, g := p.input([]byte("x")), p.input([]byte("y"))
		for range 12 {
			f, g = square(p.d, f), square(p.d, g)
		}
		x, y := s.newElement(), s.newElement()
		x.setForm(f)
		y.setForm(g)
		slow := 0
		for i := range 500 {
			if x.a[0] == y.a[0] || !s.fastCompose(x, x, y) {
				slow++
			}
			x.setForm(f)
			y.setForm(g)
			s.compose(x, x, y)
			f = compose(p.d, f, g)
			require.True(t, x.form().equal(f), "bits %d step %d", bits, i)
			s.compose(y, y, x)
			g = compose(p.d, g, f)
			require.True(t, y.form().equal(g), "bits %d step %d", bits, i)
		}
		t.Log(bits, slow)
	}
}

func BenchmarkCompose(b *testing.B) {
	for _, bits := range []int{1024, 2048} {
		b.Run(fmt.Sprint("bits=", bits), func(b *testing.B) {
			p := testGroup(b, bits)
			s := newSquarer(p.d)
			x, y := s.newElement(), s.newElement()
			x.setForm(p.input([]byte("x")))
			y.setForm(p.input([]byte("y")))
			for range 10 {
				s.square(x, x)
				s.square(y, y)
			}
			for b.Loop() {
				s.compose(x, x, y)
			}
		})
	}
}

func BenchmarkSquare(b *testing.B) {
	for _, bits := range []int{1024, 2048} {
		b.Run(fmt.Sprint("bits=", bits), func(b *testing.B) {
			p := testGroup(b, bits)
			s := newSquarer(p.d)
			z := s.newElement()
			z.setForm(p.input([]byte("x")))
			for range 100 {
				s.square(z, z)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.square(z, z)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "squarings/s")
		})
		b.Run(fmt.Sprint("ref/bits=", bits), func(b *testing.B) {
			p := testGroup(b, bits)
			f := p.input([]byte("x"))
			for b.Loop() {
				f = square(p.d, f)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "squarings/s")
		})
	}
}
