package vdf

import "math/bits"

// composeSlack is to compose what slack is to square. It is smaller, as the
// quotients are larger in the worst case.
const composeSlack = 14

// scratch holds what compose needs beside the buffers of square.
type scratch struct {
	a1, a2, h, s, c    []uint64
	t, y               []uint64
	p0, q0, p1, q1, c2 []uint64
}

func makeScratch(half, quart int) scratch {
	words := func(n int) []uint64 { return make([]uint64, n) }
	return scratch{
		a1: words(half), a2: words(half), h: words(half + 1), s: words(half + 1), c: words(half + 1),
		t: words(half), y: words(half + 1),
		p0: words(quart + 1), q0: words(quart + 1), p1: words(quart + 1), q1: words(quart + 1), c2: words(quart + 2),
	}
}

// compose sets z = x*y. They may be the same. z is written last, and only on
// success: so it may be x or y, and the slow path finds them as they were.
func (s *squarer) compose(z, x, y *element) {
	switch cmp(x.a, y.a) {
	// The same a: a square, or a product with the inverse, which the slow path
	// does.
	case 0:
		if x.equal(y) {
			s.square(z, x)
			return
		}
	case -1:
		x, y = y, x
	}
	if !s.fastCompose(z, x, y) {
		z.setForm(compose(s.d, x.form(), y.form()))
	}
}

// fastCompose is NUCOMP for a1 >= a2, in the same view as square. With
// d = gcd(a1, a2, (b1+b2)/2) and a1, a2 divided by d, the product of the forms
// is
//
//	Q(u, v) = (a2 u² + b2 u v + d c2 v²) / a1  on the lattice  u = k v mod a1,
//
// where k solves a2 k = (b1-b2)/2 and (b1+b2)/2d k = -c2 mod a1.
//
// What the buffers have no room for must go the slow path. Random forms hardly
// ever do, but those that a peer sends may be chosen.
func (s *squarer) fastCompose(z, x, y *element) bool {
	// If a is that long c is short: c = (b²-D)/4a, and its upper words are 0
	// from h+1 on.
	size := s.bits/2 - composeSlack
	if bitLen(x.a) < size || bitLen(y.a) < size || cmp(x.a, y.a) == 0 {
		return false
	}
	m := &s.m
	h := s.half
	copy(m.a1, x.a)
	copy(m.a2, y.a)
	// Down to r1 <= 1: r1 = 1 if a1 and a2 are coprime, else r1 = 0 and r0 is
	// their divisor.
	s.e.init(m.a1, m.a2)
	s.e.run(1)
	r0, r1 := s.e.remainders()
	u0, u1 := s.e.cofactors()
	g, u, plus := r0[0], u0[:h], s.e.s0 == 0
	if r1[0] != 0 { // r1 = 1
		g, u, plus = 1, u1[:h], s.e.s1 == 0
	} else if limbLen(r0) > 1 {
		return false
	}
	// u*a2 = ±g mod a1, plus if plus is set.
	hn := halfSum(m.h, x.b, x.neg, y.b, !y.neg) // (b1 - b2)/2
	sn := halfSum(m.s, x.b, x.neg, y.b, y.neg)  // (b1 + b2)/2
	// d divides both; so does g, but what of it is not in d stays.
	d := gcd64(modWord(m.s, g), g)
	// The quotients of finishCompose grow with d: |q0| and |q1| stay below
	// 2^(bits/4+28) + d*2^(bits/4+14), since the cofactors are at most
	// a1/2^(bits/4). They have a word above bits/4, so there is room for a d of
	// 48 bits; only forms made for it have more than 32.
	if d>>32 != 0 {
		return false
	}
	if d > 1 {
		divWord(m.a1, d)
		divWord(m.a2, d)
	}
	// divideExact loses as many bits of the quotient.
	if trailingZeros(m.a1) > composeSlack {
		return false
	}
	copy(m.t, u)
	if !s.solve(g, d, hn == plus, sn, y) {
		return false
	}
	s.e.init(m.a1, s.k)
	s.e.run(s.limit)
	return s.finishCompose(z, x, y, d, hn, sn)
}

// solve sets s.k to k. m.t has u with u*a2 = g (before the division by d),
// up to the sign that hn makes up for.
func (s *squarer) solve(g, d uint64, hn, sn bool, y *element) bool {
	m := &s.m
	h := s.half
	an := limbLen(m.a1)
	if an < 2 {
		return false
	}
	a := m.a1[:an]
	clear(s.k)
	t := s.t[:2*h+1]
	// h+1 words by h: t holds the whole product.
	mul(t, m.h[:h+1], m.t)
	mod(s.k[:an], t, a, s.u[:an])
	if hn && limbLen(s.k) > 0 {
		sub(s.k, m.a1, s.k)
	}
	if g == d {
		return true
	}
	// u*h solves the equation times g/d only. With i*s + j*g = d the solution is
	// j*(u*h) - i*c2. Take i >= 0; then j = (d - i*s)/g has the sign of -s.
	// s has d in it, so that what mod g leaves has it, too: both divisions are
	// exact. i < g/d is a word.
	i := inverseWord(modWord(m.s, g)/d, g/d)
	if sn {
		i = (g/d - i) % (g / d)
	}
	// |s| is half a sum of two numbers of h words, so it has h, and its product
	// with i one more.
	clear(m.y)
	m.y[h] = addMul(m.y[:h], m.s[:h], i)
	if sn { // i*|s| + d
		addWord(m.y, d)
	} else if !subWord(m.y, d) { // i*|s| - d
		return false
	}
	// exact: i*s = d mod g
	divWord(m.y, g)
	// k = ∓y*k - i*c2
	mul(t, m.y[:h+1], s.k)
	mod(s.k[:an], t, a, s.u[:an])
	if !sn && limbLen(s.k) > 0 {
		sub(s.k, m.a1, s.k)
	}
	// c2 has h+1 words at most, see fastCompose
	clear(t)
	t[h+1] = addMul(t[:h+1], y.c[:h+1], i)
	mod(m.t[:an], t, a, s.u[:an])
	clear(m.t[an:])
	// both are below a1
	if sub(s.k, s.k, m.t) != 0 {
		add(s.k, s.k, m.a1)
	}
	return true
}

// finishCompose is to compose what finish is to square.
func (s *squarer) finishCompose(z, x, y *element, d uint64, hn, sn bool) bool {
	n := s.quart
	d0, d1 := s.e.remainders()
	v0, v1 := s.e.cofactors()
	if s.e.m > n || s.e.n > n+1 || bitLen(d0[:s.e.n]) > s.bits/4+composeSlack {
		return false
	}
	d0, d1, v0, v1 = d0[:n+1], d1[:n], v0[:n], v1[:n]
	m := &s.m
	s0, s1 := s.e.s0, s.e.s1
	clear(m.c2)
	cn := min(n+1, len(y.c))
	addMul(m.c2[:cn], y.c[:cn], d)
	c2 := m.c2[:n+1]
	// With h = (b1-b2)/2, S = (b1+b2)/2d and the signs of finish,
	//	p(i) = (a2 d(i) - s(i) h v(i))/a1,  q(i) = (s(i) S d(i) + d c2 v(i))/a1.
	// All four are divided exactly, from the lowest word up: so the numerators
	// are needed modulo 2^(64(n+1)) only, as long as the quotients fit there.
	t := s.w[:n+1]
	negateIf(t, m.h, ^(mask(hn) ^ s0))
	mul(m.p0, m.a2, d0)
	addProduct(m.p0, t, v0)
	negateIf(t, t, s0^s1)
	mul(m.p1, m.a2, d1)
	addProduct(m.p1, t, v1)
	negateIf(t, m.s, mask(sn)^s0)
	mul(m.q0, t, d0)
	addProduct(m.q0, c2, v0)
	negateIf(t, t, s0^s1)
	mul(m.q1, t, d1)
	addProduct(m.q1, c2, v1)
	divideExact(m.p0, m.p1, m.a1, t)
	divideExact(m.q0, m.q1, m.a1, t)

	// A = d0 p0 + v0 q0,  C = d1 p1 + v1 q1,  B = 2 (d1 p0 + s0 s1 v1 q0) - s1 b1,
	// for the inverse if s1 = -1.
	w := s.half + 1
	ax, cx, bx := s.x[:w], s.z[:w], s.y[:w]
	clear(ax)
	clear(bx)
	clear(cx)
	addSigned(ax, m.p0, d0)
	addSigned(ax, m.q0, v0)
	addSigned(cx, m.p1, d1)
	addSigned(cx, m.q1, v1)
	addSigned(bx, m.p0, d1)
	negateIf(m.q0, m.q0, s0^s1)
	addSigned(bx, m.q0, v1)
	twicePlus(bx, x.b, ^(mask(x.neg) ^ s1))
	return s.reduce(z, ax, bx, cx, s1 != 0)
}

// halfSum sets z to |x + y|/2, for odd x and y in sign and magnitude, and
// reports whether the sum is negative. z is longer by a word.
func halfSum(z, x []uint64, xn bool, y []uint64, yn bool) (negative bool) {
	n := len(x)
	// z is one word longer as the sum may be; the difference is turned round if
	// it was below 0. Two odd numbers have an even sum, so the shift loses
	// nothing.
	if xn == yn {
		z[n] = add(z[:n], x, y)
		negative = xn
	} else if z[n] = 0; sub(z[:n], x, y) != 0 {
		neg(z[:n], z[:n])
		negative = yn
	} else {
		negative = xn
	}
	shiftRight(z, 1, 0)
	return negative && limbLen(z) > 0
}

// modWord returns x mod d.
func modWord(x []uint64, d uint64) uint64 {
	if d == 1 {
		return 0
	}
	var r uint64
	// the remainder is below d, so that the next quotient fits in a word
	for i := len(x) - 1; i >= 0; i-- {
		_, r = bits.Div64(r, x[i], d)
	}
	return r
}

// divWord sets x = x / d.
func divWord(x []uint64, d uint64) {
	var r uint64
	for i := len(x) - 1; i >= 0; i-- {
		x[i], r = bits.Div64(r, x[i], d)
	}
}

// subWord subtracts d from x and reports whether x was not less.
func subWord(x []uint64, d uint64) bool {
	for i := range x {
		x[i], d = bits.Sub64(x[i], d, 0)
	}
	return d == 0
}

// gcd64 returns the greatest common divisor, b if a is 0.
func gcd64(a, b uint64) uint64 {
	for a != 0 {
		a, b = b%a, a
	}
	return b
}

// inverseWord returns 1/a mod m for coprime a and m; 0 for m = 1.
func inverseWord(a, m uint64) uint64 {
	if m == 1 {
		return 0
	}
	r0, r1 := m, a%m
	u0, u1 := uint64(0), uint64(1)
	odd := true // the sign of u1 is plus
	// r(i) = ±u(i) a mod m, and u never exceeds m
	for r1 > 1 {
		k, z := r0/r1, r0%r1
		r0, r1 = r1, z
		u0, u1 = u1, u0+k*u1
		odd = !odd
	}
	if !odd {
		return m - u1
	}
	return u1
}
