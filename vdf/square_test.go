package vdf

import (
	"context"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

var million = flag.Int("squarings", 0, "compare so many squarings with math/big at 1024 and 2048 bits: go test -run Reference ./vdf -squarings=1000000 takes minutes")

var testSizes = []int{256, 320, 448, 512, 704, 1024, 2048}

func testGroup(t testing.TB, bits int) *Params {
	p, err := NewParams([]byte("test"), bits)
	require.NoError(t, err)
	return p
}

// primeForm returns the form (q, b, …) of the first prime q from n up for which
// there is one.
func primeForm(d *big.Int, n int64) form { return primeFormFrom(d, big.NewInt(n)) }

func primeFormFrom(d, n *big.Int) form {
	for q := new(big.Int).SetBit(n, 0, 1); ; q.Add(q, big.NewInt(2)) {
		if !q.ProbablyPrime(0) {
			continue
		}
		if b := new(big.Int).ModSqrt(new(big.Int).Mod(d, q), q); b != nil {
			if b.Bit(0) == 0 {
				b.Sub(q, b)
			}
			return fromAB(d, new(big.Int).Set(q), b).reduce()
		}
	}
}

// edgeForms are those for which short cuts tend to fail.
func edgeForms(p *Params) []form {
	gen := fromAB(p.d, big.NewInt(2), bigOne)
	forms := []form{principal(p.d), gen, gen.inverse()}
	for _, n := range []int64{3, 100, 1 << 31, 1 << 33, 1 << 62} {
		forms = append(forms, primeForm(p.d, n))
	}
	// Powers of 2 and of a small prime: a with many zeros at its end, and all
	// sizes of a on the way to a full one.
	for _, f := range []form{gen, primeForm(p.d, 3)} {
		for range p.bits/8 + 4 {
			f = compose(p.d, f, gen)
			forms = append(forms, f, f.inverse())
		}
	}
	// Full size, and 2^j a factor of a; or a power of 2 altogether.
	f := principal(p.d)
	for j := 1; j < p.bits/2-1; j++ {
		f = compose(p.d, f, gen)
		if j <= 70 && j%3 == 0 || j == 64 {
			q := primeFormFrom(p.d, new(big.Int).Lsh(big.NewInt(3), uint(max(8, p.bits/2-j-6))))
			forms = append(forms, compose(p.d, f, q))
		}
		if j > p.bits/2-30 {
			forms = append(forms, f)
		}
	}
	return append(forms, p.input([]byte("edge")))
}

// bothWays runs f with the assembly, if there is any, and without.
func bothWays(t *testing.T, f func(t *testing.T)) {
	had := mulx
	defer func() { mulx = had }()
	if mulx {
		t.Run("assembly", f)
	}
	mulx = false
	t.Run("go", f)
}

func TestEdgeForms(t *testing.T) { bothWays(t, testEdgeForms) }

func testEdgeForms(t *testing.T) {
	for _, bits := range []int{256, 512, 1024} {
		p := testGroup(t, bits)
		s := newSquarer(p.d)
		forms := edgeForms(p)
		x, y, z := s.newElement(), s.newElement(), s.newElement()
		for i, f := range forms {
			x.setForm(f)
			require.True(t, x.form().equal(f))
			s.square(z, x)
			want := square(p.d, f)
			require.True(t, z.form().equal(want), "bits %d form %d", bits, i)
			require.Zero(t, z.form().c.Cmp(want.c))
			for j := i % 7; j < len(forms); j += 1 + len(forms)/12 {
				y.setForm(forms[j])
				s.compose(z, x, y)
				require.True(t, z.form().equal(compose(p.d, f, forms[j])), "bits %d forms %d, %d", bits, i, j)
			}
			// f times its inverse is the identity.
			y.set(x)
			y.invert()
			s.compose(z, x, y)
			require.True(t, z.form().equal(principal(p.d)))
		}
	}
}

func TestSquareAgainstReference(t *testing.T) { bothWays(t, testSquareAgainstReference) }

func testSquareAgainstReference(t *testing.T) {
	sizes := testSizes
	if *million > 0 {
		sizes = append(sizes, 3072, 4096)
	}
	for _, bits := range sizes {
		p := testGroup(t, bits)
		s := newSquarer(p.d)
		r := newReference(p.d, p.input([]byte("x")))
		z := s.newElement()
		z.setForm(r.form())
		n, slow := max(200, 200_000/bits), 0
		if *million > 0 && (bits == 1024 || bits == 2048) {
			n = *million
		}
		for i := range n {
			if !s.fastSquare(z, z) {
				slow++
				z.setForm(square(p.d, z.form()))
			}
			r.square()
			require.True(t, z.form().equal(r.form()), "bits %d step %d", bits, i)
		}
		require.Less(t, slow, 6, "the fast path is not taken")
	}
}

func TestComposeAgainstReference(t *testing.T) { bothWays(t, testComposeAgainstReference) }

func testComposeAgainstReference(t *testing.T) {
	for _, bits := range testSizes {
		p := testGroup(t, bits)
		s := newSquarer(p.d)
		f, g := p.input([]byte("x")), p.input([]byte("y"))
		for range 12 {
			f, g = square(p.d, f), square(p.d, g)
		}
		x, y := s.newElement(), s.newElement()
		x.setForm(f)
		y.setForm(g)
		for i := range max(40, 60_000/bits) {
			s.compose(x, x, y)
			f = compose(p.d, f, g)
			require.True(t, x.form().equal(f), "bits %d step %d", bits, i)
			s.compose(y, y, x)
			g = compose(p.d, g, f)
			require.True(t, y.form().equal(g), "bits %d step %d", bits, i)
		}
	}
}

// Forms made to share a prime of any length that fits a word, with opposite
// signs, so that it cancels. Random ones never do, but those of a hostile peer
// may: the longer the divisor, the longer one of the quotients.
func TestComposeChosenFactor(t *testing.T) { bothWays(t, testComposeChosenFactor) }

func testComposeChosenFactor(t *testing.T) {
	for _, bits := range []int{512, 1024} {
		p := testGroup(t, bits)
		s := newSquarer(p.d)
		x, y, z := s.newElement(), s.newElement(), s.newElement()
		fast := 0
		for _, size := range []int{20, 31, 33, 40, 48, 56, 62, 63} {
			for i := range int64(20) {
				n := new(big.Int).Lsh(bigOne, uint(size))
				q := primeFormFrom(p.d, n.Add(n, big.NewInt(1000*i)))
				rest := func(i int64) form { // together with q almost as long as a reduced form allows
					return primeFormFrom(p.d, new(big.Int).Lsh(big.NewInt(1000+i), uint(bits/2-size-14)))
				}
				a, b := compose(p.d, q, rest(i)), compose(p.d, q.inverse(), rest(i+500))
				x.setForm(a)
				y.setForm(b)
				want := compose(p.d, a, b)
				s.compose(z, x, y)
				require.True(t, z.form().equal(want), "%d bits, a divisor of %d, number %d", bits, size, i)
				if cmp(x.a, y.a) < 0 {
					x, y = y, x
				}
				if s.fastCompose(z, x, y) {
					fast++
				}
			}
		}
		require.GreaterOrEqual(t, fast, 40, "the short divisors")
	}
}

// Forms that share a prime: it stays, squared, or it cancels; and forms that
// share two primes of which one does this and one that.
func TestComposeCommonFactor(t *testing.T) { bothWays(t, testComposeCommonFactor) }

func testComposeCommonFactor(t *testing.T) {
	for _, bits := range []int{256, 512, 1024} {
		p := testGroup(t, bits)
		s := newSquarer(p.d)
		x, y, z := s.newElement(), s.newElement(), s.newElement()
		// Primes that leave room for more factors below the reduced size.
		base := new(big.Int).Lsh(big.NewInt(3), uint(bits/2-12))
		f := primeFormFrom(p.d, base)
		g := primeFormFrom(p.d, new(big.Int).Add(f.a, bigOne))
		tried, fast := 0, 0
		for i := range 300 {
			if i%20 == 0 {
				f, g = g, primeFormFrom(p.d, new(big.Int).Add(g.a, bigOne))
			}
			q := primeForm(p.d, int64(2+i/8))
			a, b := compose(p.d, f, q), compose(p.d, g, q)
			if i%2 == 0 {
				b = compose(p.d, g, q.inverse())
			}
			if i%3 == 0 { // a second prime, with the other sign
				r := primeForm(p.d, q.a.Int64()+1)
				a = compose(p.d, a, r)
				if i%2 == 0 {
					b = compose(p.d, b, r)
				} else {
					b = compose(p.d, b, r.inverse())
				}
			}
			if i%4 < 2 {
				a, b = a.inverse(), b.inverse()
			}
			if i%10 == 0 {
				b = compose(p.d, a.inverse(), q) // the product is small
			}
			x.setForm(a)
			y.setForm(b)
			if common := new(big.Int).GCD(nil, nil, a.a, b.a); common.Cmp(bigOne) > 0 && i%10 != 0 {
				tried++
				if cmp(x.a, y.a) < 0 {
					x, y = y, x
				}
				if s.fastCompose(z, x, y) {
					fast++
				}
			}
			s.compose(z, x, y)
			require.True(t, z.form().equal(compose(p.d, a, b)), "bits %d step %d", bits, i)
		}
		// A wrong sign makes numbers that do not fit, so the slow path puts it
		// right: the fast one has to be taken.
		require.Greater(t, tried, 200)
		require.Equal(t, tried, fast)
	}
}

// A square that is much smaller than what is squared has a huge quotient in
// the middle of Euclid. (a, b, ac)² = (c, -b, a²), so let |D| = 4a²c - b².
func TestSmallSquare(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, bits := range []int{256, 320, 512} {
		for k := 1; k < 2*slack; k += 1 + bits/256 {
			d, f := new(big.Int), form{}
			for !d.ProbablyPrime(0) || d.BitLen() != bits {
				c := new(big.Int).SetUint64(1<<k | rng.Uint64()>>(64-k))
				size := (bits - 1 - k) / 2
				a := new(big.Int).SetBit(random(rng, size), size-1, 1)
				b := random(rng, size-1)
				f = form{a, b.SetBit(b, 0, 1), new(big.Int).Mul(a, c)}
				d.Mul(f.a, f.c)
				d.Lsh(d, 2)
				d.Sub(d, new(big.Int).Mul(b, b))
			}
			d.Neg(d)
			s := newSquarer(d)
			z := s.newElement()
			for _, f := range []form{f, f.inverse()} {
				z.setForm(f)
				s.square(z, z)
				require.True(t, z.form().equal(square(d, f)), "bits %d, square of %d bits", bits, k)
				require.LessOrEqual(t, z.form().a.BitLen(), k+1)
			}
		}
	}
}

// random returns a number below 2^bits.
func random(rng *rand.Rand, bits int) *big.Int {
	x := new(big.Int)
	for range (bits + 63) / 64 {
		x.Lsh(x, 64).Add(x, new(big.Int).SetUint64(rng.Uint64()))
	}
	return x.Rsh(x, uint((bits+63)/64*64-bits))
}

// The group axioms, which no two implementations can get wrong in the same
// way: (xy)² = x²y², x^a x^b = x^(a+b).
func TestGroupLaw(t *testing.T) {
	p := testGroup(t, 512)
	s := newSquarer(p.d)
	x, y, z := s.newElement(), s.newElement(), s.newElement()
	x.setForm(p.input([]byte("x")))
	y.setForm(p.input([]byte("y")))
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		s.compose(z, x, y)
		s.square(z, z)
		s.square(x, x)
		s.square(y, y)
		u := s.newElement()
		s.compose(u, x, y)
		require.True(t, z.equal(u))
		a, b := new(big.Int).SetUint64(rng.Uint64()), new(big.Int).SetUint64(rng.Uint64()>>(rng.Uint64()%64))
		s.compose(z, s.powers(x, a, y, b), s.powers(x, b, y, a))
		c := new(big.Int).Add(a, b)
		require.True(t, z.equal(s.powers(x, c, y, c)))
	}
}

// Numbers at the edges of Euclid's stages: quotients of all sizes, neighbours
// that differ in few bits, powers of two.
func TestEuclid(t *testing.T) { bothWays(t, testEuclid) }

func testEuclid(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	e := makeEuclid(9)
	number := func(bits int) *big.Int {
		x := random(rng, bits)
		x.SetBit(x, bits-1, 1)
		if rng.IntN(3) == 0 { // long runs of zeros and ones
			x.Rsh(x, uint(bits/2)).Lsh(x, uint(bits/2))
			if rng.IntN(2) == 0 {
				x.Add(x, new(big.Int).Sub(new(big.Int).Lsh(bigOne, uint(bits/2)), bigOne))
			}
		}
		return x
	}
	for i := range 20_000 {
		a := number(65 + rng.IntN(512-65))
		b := number(1 + rng.IntN(a.BitLen()))
		switch i % 4 {
		case 0: // as close to a as one likes
			b = new(big.Int).Sub(a, number(1+rng.IntN(a.BitLen()-1)))
		case 1: // a huge quotient in the middle
			q := number(1 + rng.IntN(a.BitLen()))
			b.Quo(a, q.Add(q, bigOne))
		}
		if b.Sign() <= 0 || b.Cmp(a) > 0 {
			continue
		}
		x, y := make([]uint64, 8), make([]uint64, 8)
		setBig(x, a)
		setBig(y, b)
		e.init(x, y)
		e.run(1)
		g := new(big.Int).GCD(nil, nil, a, b)
		r0, r1 := e.remainders()
		u0, u1 := e.cofactors()
		r, u, sign := toBig(r0), toBig(u0), e.s0
		if r1[0] == 1 {
			r, u, sign = toBig(r1), toBig(u1), e.s1
		}
		require.Zero(t, r.Cmp(g), "gcd(%v, %v)", a, b)
		if sign != 0 {
			u.Neg(u)
		}
		u.Mul(u, b).Sub(u, g)
		require.Zero(t, u.Mod(u, a).Sign(), "cofactor for %v, %v", a, b)

		// Stopped in the middle: both neighbours satisfy their equation, and
		// r0*u1 - r1*(±u0) = a, with the sign of u0 relative to that of u1.
		limit := 1 + rng.IntN(a.BitLen())
		e.init(x, y)
		e.run(limit)
		r0, r1 = e.remainders()
		u0, u1 = e.cofactors()
		require.LessOrEqual(t, bitLen(r1), limit)
		require.GreaterOrEqual(t, bitLen(r0), limit, "gone too far") // the last division was by r0, up to rounding
		v := new(big.Int).Mul(toBig(r0), toBig(u1))
		w := new(big.Int).Mul(toBig(r1), toBig(u0))
		if e.s0 == e.s1 {
			w.Neg(w)
		}
		require.Zero(t, v.Add(v, w).Cmp(a))
	}
}

func TestMod(t *testing.T) { bothWays(t, testMod) }

func testMod(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	pick := func() uint64 { // words that make the quotient's estimate go wrong
		switch rng.IntN(4) {
		case 0:
			return 0
		case 1:
			return ^uint64(0)
		case 2:
			return 1 << rng.IntN(64)
		}
		return rng.Uint64()
	}
	for range 20_000 {
		a, p := make([]uint64, 1+rng.IntN(8)), make([]uint64, 9+rng.IntN(8))
		for i := range a {
			a[i] = pick()
		}
		for i := range p {
			p[i] = pick()
		}
		if a[len(a)-1] == 0 {
			a[len(a)-1] = 1 << rng.IntN(64)
		}
		want := new(big.Int).Mod(toBig(p), toBig(a))
		r := make([]uint64, len(a))
		mod(r, p, a, make([]uint64, 8))
		require.Zero(t, want.Cmp(toBig(r)))
	}
}

// The digits of a round are every γ-th of all, and all of them together, with
// their weights, are the quotient.
func TestDigits(t *testing.T) {
	b := hashToPrime(challengeBits, 2, 1, nil, "test")
	for _, pl := range []plan{{1000, 1, 1}, {1000, 2, 2}, {5000, 3, 3}, {5003, 5, 7}, {4096, 11, 100}} {
		z := newDigitizer(pl, b)
		gamma := uint64(pl.gamma)
		all := z.digits(nil, 0, pl.digits()+2*gamma)
		sum := new(big.Int)
		for i := len(all) - 1; i >= 0; i-- {
			sum.Lsh(sum, uint(pl.kappa)).Add(sum, big.NewInt(int64(all[i])))
		}
		want := new(big.Int).Lsh(bigOne, uint(pl.t))
		require.Zero(t, sum.Cmp(want.Quo(want, b)))
		for o := range gamma {
			n := uint64(len(all)) / gamma
			for k, d := range z.every(nil, o, n) {
				require.Equal(t, all[uint64(k)*gamma+o], d, "plan %v digit %d", pl, uint64(k)*gamma+o)
			}
		}
	}
}

// Proofs in one round and in several, by any number of workers.
func TestProveRounds(t *testing.T) {
	ctx := context.Background()
	p := testGroup(t, 256)
	x := p.input([]byte("x"))
	for _, pl := range []plan{{2000, 1, 1}, {2000, 4, 1}, {2001, 3, 5}, {2002, 2, 40}} {
		e := evaluation{d: p.d, start: x, plan: pl}
		require.NoError(t, e.run(ctx))
		b := p.challenge(nil, pl.t, e.y)
		q := new(big.Int).Lsh(bigOne, uint(pl.t))
		want := power(p.d, x, q.Quo(q, b))
		for _, workers := range []int{1, 3, 4, 50} {
			got, err := prove(ctx, p.d, pl, e.points, b, workers)
			require.NoError(t, err)
			require.True(t, got.equal(want), "plan %v, %d workers", pl, workers)
		}
	}
}

func TestSquareAllocatesNothing(t *testing.T) {
	p := testGroup(t, 1024)
	s := newSquarer(p.d)
	z := s.newElement()
	z.setForm(p.input([]byte("x")))
	for range 20 {
		s.square(z, z)
	}
	require.Zero(t, testing.AllocsPerRun(500, func() { s.square(z, z) }))
}

func BenchmarkCompose(b *testing.B) {
	for _, bits := range []int{1024, 2048} {
		b.Run(fmt.Sprintf("bits=%d", bits), func(b *testing.B) {
			p := testGroup(b, bits)
			s := newSquarer(p.d)
			x, y := s.newElement(), s.newElement()
			x.setForm(p.input([]byte("x")))
			y.setForm(p.input([]byte("y")))
			for range 10 {
				s.square(x, x)
				s.square(y, y)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.compose(x, x, y)
			}
		})
	}
}
