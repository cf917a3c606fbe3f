package vdf

import (
	"math/big"
	"math/bits"
)

// element is a reduced form in limbs. The sign of b is kept apart.
type element struct {
	a, b, c []uint64 // of half, half and all of the discriminant's words
	neg     bool     // b < 0
}

// slack is how many bits a number may be longer than it typically is before
// squarer leaves the fast path. A random form needs it once in 2^24.
const slack = 24

// squarer computes in the class group of one discriminant with buffers of
// fixed size: no allocation but on the slow path. It is not safe for
// concurrent use.
//
// The method is NUDUPL (Shanks; Cohen, algorithm 5.4.8; Jacobson and van der
// Poorten, 2002), seen as a lattice. For f = (a, b, c) the square is
//
//	Q(d, v) = (a d² + b d v + c v²) / a  on the lattice  a | b d + c v,
//
// of determinant a. Let k = -c/b mod a. The lattice is that of all (d, v) with
// d = k v mod a, and two neighbours in Euclid's sequence of (a, k), stopped in
// the middle, are a basis of it with short vectors: so Q has short
// coefficients in that basis, and is reduced in about two steps.
type squarer struct {
	d     *big.Int
	bits  int
	half  int      // words of a and b: half of the discriminant's
	quart int      // words of numbers of a quarter of its size
	limit []uint64 // |D/4|^(1/4)
	one   []uint64

	e       euclid
	k       []uint64
	m       scratch  // of compose
	t, u    []uint64 // scratch of twice half+1
	p, q    []uint64 // quotients e and g of quart+1 words
	x, y, z []uint64 // the form before reduction, of half+1 words
	w       []uint64
}

func newSquarer(d *big.Int) *squarer {
	n := d.BitLen()
	s := &squarer{d: d, bits: n, half: (n/2 + 63) / 64, quart: (n/4 + 63) / 64}
	l := new(big.Int).Rsh(new(big.Int).Neg(d), 2)
	l.Sqrt(l).Sqrt(l)
	s.limit = make([]uint64, s.half+1)
	setBig(s.limit, l)
	h := s.half
	words := func(n int) []uint64 { return make([]uint64, n) }
	s.e = makeEuclid(h + 1)
	s.one = words(h + 1)
	s.one[0] = 1
	s.k = words(h)
	s.m = makeScratch(h, s.quart)
	s.t, s.u = words(2*h+2), words(2*h+2)
	s.p, s.q = words(s.quart+1), words(s.quart+1)
	s.x, s.y, s.z, s.w = words(h+1), words(h+1), words(h+1), words(h+1)
	return s
}

// newElement returns room for a form.
func (s *squarer) newElement() *element {
	return &element{a: make([]uint64, s.half), b: make([]uint64, s.half), c: make([]uint64, 2*s.half)}
}

// set copies.
func (z *element) set(x *element) {
	copy(z.a, x.a)
	copy(z.b, x.b)
	copy(z.c, x.c)
	z.neg = x.neg
}

// setForm sets z to the reduced form f.
func (z *element) setForm(f form) {
	setBig(z.a, f.a)
	setBig(z.b, new(big.Int).Abs(f.b))
	setBig(z.c, f.c)
	z.neg = f.b.Sign() < 0
}

// invert turns z into its inverse.
func (z *element) invert() {
	// Forms with b = a or a = c are their own: here, the identity alone.
	if cmp(z.a, z.b) != 0 && (limbLen(z.c) > len(z.a) || cmp(z.a, z.c[:len(z.a)]) != 0) {
		z.neg = !z.neg
	}
}

// equal reports whether both are the same form.
func (z *element) equal(x *element) bool {
	return z.neg == x.neg && cmp(z.a, x.a) == 0 && cmp(z.b, x.b) == 0
}

// form returns the form that z holds.
func (z *element) form() form {
	f := form{toBig(z.a), toBig(z.b), toBig(z.c)}
	if z.neg {
		f.b.Neg(f.b)
	}
	return f
}

// square sets z = x². They may be the same.
func (s *squarer) square(z, x *element) {
	if !s.fastSquare(z, x) {
		z.setForm(square(s.d, x.form()))
	}
}

// fast reports whether x has the size that the fast path is made for.
func (s *squarer) fast(x *element) bool {
	return bitLen(x.a) >= s.bits/2-slack && trailingZeros(x.a) <= slack
}

// trailingZeros of x, whose lowest word counts alone.
func trailingZeros(x []uint64) int { return bits.TrailingZeros64(x[0]) }

// fastSquare sets z = x² unless something is too large for the buffers; then
// it returns false and has not touched z.
func (s *squarer) fastSquare(z, x *element) bool {
	if !s.fast(x) {
		return false
	}
	// u*b = ±1 mod a, k = -c/b mod a.
	s.e.init(x.a, x.b)
	s.e.run(s.one)
	h := s.half
	u := s.e.u1[:h]
	c := x.c[:h+1]
	t := s.t[:2*h+1]
	mul(t, c, u)
	an := limbLen(x.a)
	mod(s.k[:an], t, x.a[:an], s.u[:an])
	clear(s.k[an:])
	// 1 = r1 = ±u*b with a plus if r0 has an even index; k = -c/b.
	if s.e.odd == x.neg && limbLen(s.k) > 0 {
		sub(s.k, x.a, s.k)
	}
	s.e.init(x.a, s.k)
	s.e.run(s.limit)
	return s.finish(z, x)
}

// finish makes the square of x from the basis that the second run of Euclid
// left, (d0, v0) = (r0, ±u0) and (d1, v1) = (r1, ∓u1).
func (s *squarer) finish(z, x *element) bool {
	n := s.quart
	if bitLen(s.e.r0) > s.bits/4+slack || limbLen(s.e.r1) > n || limbLen(s.e.u1) > n || limbLen(s.e.u0) > n {
		return false
	}
	d0, d1 := s.e.r0[:n+1], s.e.r1[:n]
	v0, v1 := s.e.u0[:n], s.e.u1[:n]
	// d(i) = s(i) v(i) k mod a with s(0) = -1 for even indices: work with
	// v >= 0 and b of the sign that makes up for it.
	minus := !s.e.odd
	p, q := s.p, s.q
	b, c := factor{x.b, x.neg}, factor{x.c, false}
	s.quotient(p, b, d0, c, v0, minus, x.a)
	s.quotient(q, b, d1, c, v1, !minus, x.a)

	// With v0 = σ u0, v1 = -σ u1 (σ = -1 if minus), the coefficients are
	//	A = d0² + p v0,  C = d1² + q v1,  B = 2 (d0 d1 + q v0) ± b.
	w := s.half + 1
	ax, cx, bx := s.x[:w], s.z[:w], s.y[:w]
	s.product(ax, d0, d0)
	s.signed(ax, p, v0, minus)
	s.product(cx, d1, d1)
	s.signed(cx, q, v1, !minus)
	s.product(bx, d0, d1)
	s.signed(bx, q, v0, minus)
	add(bx, bx, bx)
	s.addSigned(bx, x.b, x.neg != minus)
	if !minus {
		neg(bx, bx)
	}
	return s.reduce(z, ax, bx, cx)
}

// factor is a number in sign and magnitude.
type factor struct {
	abs []uint64
	neg bool
}

// quotient sets z, in two's complement, to (x d + y v)/a, which is exact; v
// counts negative if minus. Only the low words of everything enter: the
// division is 2-adic. What is lost are as many high bits as a has zeros at its
// end; the quotient is short enough to be recovered by its sign.
func (s *squarer) quotient(z []uint64, x factor, d []uint64, y factor, v []uint64, minus bool, a []uint64) {
	n := len(z)
	clear(z)
	addMulLow(z, x.abs[:min(n, len(x.abs))], d)
	minus = minus != y.neg
	if x.neg != minus {
		neg(z, z)
	}
	addMulLow(z, y.abs[:min(n, len(y.abs))], v)
	if minus {
		neg(z, z)
	}
	tz := uint(trailingZeros(a)) & 63
	odd := s.w[:n]
	for i := range odd {
		odd[i] = window(a, 64*i+int(tz))
	}
	shiftRight(z, tz, 0)
	inv := inverse64(odd[0])
	for i := range z {
		m := z[i] * inv
		subMul(z[i:], odd[:n-i], m)
		z[i] = m
	}
	// Sign extension from bit 64n - tz - 1.
	top := &z[n-1]
	*top = uint64(int64(*top<<tz) >> tz)
}

// addSigned adds b to z, or subtracts it unless plus. z is longer by a word.
func (s *squarer) addSigned(z, b []uint64, plus bool) {
	t := s.w[:len(z)]
	n := copy(t, b)
	clear(t[n:])
	if plus {
		add(z, z, t)
	} else {
		sub(z, z, t)
	}
}

// product sets z = x*y, which has no more words in use than z.
func (s *squarer) product(z, x, y []uint64) {
	t := s.t[:len(x)+len(y)]
	mul(t, x, y)
	n := copy(z, t)
	clear(z[n:])
}

// signed adds p*v to z, or subtracts it if minus; p is in two's complement.
func (s *squarer) signed(z, p, v []uint64, minus bool) {
	a := p
	if isNeg(p) {
		a = s.u[:len(p)]
		neg(a, p)
		minus = !minus
	}
	t := s.t[:len(a)+len(v)]
	mul(t, a, v)
	if len(t) > len(z) {
		t = t[:len(z)]
	}
	n := len(t)
	var c uint64
	if minus {
		c = sub(z[:n], z[:n], t)
		for i := n; i < len(z); i++ {
			z[i], c = bits.Sub64(z[i], 0, c)
		}
		return
	}
	c = add(z[:n], z[:n], t)
	for i := n; i < len(z); i++ {
		z[i], c = bits.Add64(z[i], 0, c)
	}
}

// reduce brings (a, b, c) of half+1 words, b in two's complement, to its
// reduced form in z.
func (s *squarer) reduce(z *element, a, b, c []uint64) bool {
	w := len(a)
	t := s.w[:w]
	if isNeg(a) || isNeg(c) {
		return false
	}
	negative := isNeg(b)
	if negative {
		neg(b, b)
	}
	for {
		if cmp(a, c) > 0 {
			a, c = c, a
			negative = !negative
		}
		if cmp(b, a) <= 0 {
			break
		}
		// q = b/2a to the nearest, at least 1 and not too large, as b > a:
		// t = b - qa, b' = t - qa, c' = c - qt.
		q := nearest(b, a)
		copy(t, b)
		subMul(t, a, q)
		subMul(c, t, q)
		copy(b, t)
		subMul(b, a, q)
		if isNeg(b) {
			neg(b, b)
			negative = !negative
		}
	}
	if limbLen(a) > s.half || limbLen(c) > len(z.c) {
		return false
	}
	if negative && (cmp(a, c) == 0 || cmp(a, b) == 0) {
		negative = false
	}
	copy(z.a, a)
	copy(z.b, b)
	n := copy(z.c, c)
	clear(z.c[n:])
	z.neg = negative
	return true
}

// nearest returns a number q >= 1 close to b/2a, for b > a > 0, that is not so
// large that b - qa would turn negative.
func nearest(b, a []uint64) uint64 {
	n := limbLen(b)
	s := int(bits.LeadingZeros64(b[n-1]))
	unit := 64*n - s - 64
	x, y := window(b, unit), window(a, unit)
	if y >= 1<<63 {
		return 1
	}
	// b < (x+1), a >= y in that unit: q <= b/a, in any case.
	q := (x>>1 + y>>1) / (y + 1)
	return max(q, 1)
}
