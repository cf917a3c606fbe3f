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
	half  int // words of a and b: half of the discriminant's
	quart int // words of numbers of a quarter of its size
	limit int // bits of |D/4|^(1/4)

	e       euclid
	k       []uint64
	m       scratch  // of compose
	t, u    []uint64 // scratch of twice half+1
	p, q, b []uint64 // of quart+1 words
	x, y, z []uint64 // the form before reduction, of half+1 words
	w       []uint64
}

func newSquarer(d *big.Int) *squarer {
	n := d.BitLen()
	s := &squarer{d: d, bits: n, half: (n/2 + 63) / 64, quart: (n/4 + 63) / 64, limit: n / 4}
	h := s.half
	words := func(n int) []uint64 { return make([]uint64, n) }
	s.e = makeEuclid(h + 1)
	s.k = words(h)
	s.m = makeScratch(h, s.quart)
	s.t, s.u = words(2*h+2), words(2*h+2)
	s.p, s.q, s.b = words(s.quart+1), words(s.quart+1), words(s.quart+1)
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
	h := s.half
	c, t := x.c[:h+1], s.t[:2*h+1]
	s.e.init(x.a, x.b)
	s.e.run(1)
	mul(t, c, s.e.cofactor()[:h])
	an := limbLen(x.a)
	mod(s.k[:an], t, x.a[:an], s.u[:an])
	clear(s.k[an:])
	// 1 = r1 = ±u*b; k = -c/b.
	if (s.e.s1 != 0) == x.neg && limbLen(s.k) > 0 {
		sub(s.k, x.a, s.k)
	}
	s.e.init(x.a, s.k)
	s.e.run(s.limit)
	return s.finish(z, x)
}

// finish makes the square of x from the basis that the second run of Euclid
// left, (r0, ±u0) and (r1, ±u1).
func (s *squarer) finish(z, x *element) bool {
	n := s.quart
	d0, d1 := s.e.remainders()
	v0, v1 := s.e.cofactors()
	if s.e.m > n || s.e.n > n+1 || bitLen(d0[:s.e.n]) > s.bits/4+slack {
		return false
	}
	d0, d1, v0, v1 = d0[:n+1], d1[:n], v0[:n], v1[:n]
	// d(i) = s(i) v(i) k mod a with signs s(i). Instead of v, b takes the sign:
	//	p = (s0 b d0 + c v0)/a,  q = (s1 b d1 + c v1)/a.
	s0, s1, sb := s.e.s0, s.e.s1, mask(x.neg)
	p, q, b, c := s.p, s.q, s.b, x.c[:min(n+1, len(x.c))]
	negateIf(b, x.b, sb^s0)
	mul(p, b, d0)
	addProduct(p, c, v0)
	negateIf(b, b, s0^s1)
	mul(q, b, d1)
	addProduct(q, c, v1)
	divideExact(p, q, x.a, b)

	// A = d0² + p v0,  C = d1² + q v1,  B = 2 (d0 d1 + s0 s1 q v0) + s1 b. The
	// basis has determinant s1 a, so that with s1 = -1 this is the inverse.
	w := s.half + 1
	ax, cx, bx := s.x[:w], s.z[:w], s.y[:w]
	mul(ax, d0, d0)
	addSigned(ax, p, v0)
	mul(cx, d1, d1)
	addSigned(cx, q, v1)
	mul(bx, d0, d1)
	negateIf(q, q, s0^s1)
	addSigned(bx, q, v0)
	twicePlus(bx, x.b, sb^s1)
	return s.reduce(z, ax, bx, cx, s1 != 0)
}

// twicePlus sets z = 2z + b, or 2z - b if sign is all ones. z is longer by a
// word.
func twicePlus(z, b []uint64, sign uint64) {
	c := sign & 1
	var low uint64
	b = b[:len(z)-1]
	for i, v := range b {
		w := z[i]
		z[i], c = bits.Add64(w<<1|low, v^sign, c)
		low = w >> 63
	}
	z[len(b)], _ = bits.Add64(z[len(b)]<<1|low, sign, c)
}

// reduce brings (a, b, c) of half+1 words, b in two's complement and negated if
// negative is set, to its reduced form in z.
func (s *squarer) reduce(z *element, a, b, c []uint64, negative bool) bool {
	if isNeg(a) || isNeg(c) {
		return false
	}
	negative = negative != isNeg(b)
	negateIf(b, b, mask(isNeg(b)))
	for {
		if cmp(a, c) > 0 {
			a, c = c, a
			negative = !negative
		}
		if cmp(b, a) <= 0 {
			break
		}
		shear(a, b, c, nearest(b, a))
		sign := isNeg(b)
		negateIf(b, b, mask(sign))
		negative = negative != sign
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

// shear replaces (a, b, c) by (a, b - 2qa, c - q(b - qa)), for the form with
// b negative. c stays positive, and b - qa does if q is no larger than b/a.
func shear(a, b, c []uint64, q uint64) {
	b, c = b[:len(a)], c[:len(a)]
	var m, n, k, k0, k1, k2 uint64 // carries of the products; borrows
	for i, v := range a {
		h, l := bits.Mul64(v, q)
		l, k = bits.Add64(l, m, 0)
		m = h + k
		var t uint64
		t, k0 = bits.Sub64(b[i], l, k0)
		b[i], k1 = bits.Sub64(t, l, k1)
		h, l = bits.Mul64(t, q)
		l, k = bits.Add64(l, n, 0)
		n = h + k
		c[i], k2 = bits.Sub64(c[i], l, k2)
	}
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
