package vdf

import "math/bits"

// euclid runs the extended Euclidean algorithm on two multi-limb integers, in
// the manner of Lehmer, in two stages.
//
// It holds two neighbours of the sequence of remainders, r0 > r1, and their
// cofactors: with r(0) = a and r(1) = b at the start,
//
//	r(i) = (-1)^(i+1) * u(i) * b  mod a,   u(i) >= 0.
//
// A stage looks at the 64 leading bits of r0 and r1 and runs Euclid on them
// with cofactors of 31 bits; the quotients are collected in a matrix. After
// the first stage the matrix is applied to the 128 leading bits, the second
// stage takes the new leading 64 bits, and the product of both matrices, whose
// entries have 63 bits, is applied to all limbs at once: some 62 bits of
// progress for one pass over the numbers.
//
// Why no remainder turns negative. Let x, y be the leading bits, X = x + dx and
// Y = y + dy the true values in the same unit. After some steps of a stage the
// simulated remainder is z = ±(A x - B y) with 0 <= A <= B, the true one
// Z = ±(A X - B Y), and |Z - z| <= max(A |dx|, B |dy|) or A|dx| + B|dy|. A
// remainder after z0 in the simulation has B <= x/z0 < 2^64/z0, and z is taken
// only if z >= 2^33, so B < 2^31.
//
// Stage 1: 0 <= dx, dy < 1, so Z > z - B > 2^33 - 2^31 > 0. In the frame of 128
// bits the remainders are at least 2^64 (2^33 - 2^31) > 2^96, with an error of
// less than 2^31 for what lies below the frame.
//
// Stage 2: its x has at most 31 leading zeros to shift out, so its unit is at
// least 2^33 in that frame: dx and dy are in (-1/4, 5/4), and
// Z > z - 5/4 (A + B) > 2^33 - 2^33/2 > 0.
//
// A quotient may still be one too small, when Z comes out a little larger than
// the remainder before it. That is as good: the matrices are unimodular
// whatever the quotients, and the next division puts the order right.
type euclid struct {
	r0, r1 []uint64
	u0, u1 []uint64
	t0, t1 []uint64 // the next r0, r1
	v0, v1 []uint64 // the next u0, u1
	n      int      // words of r0 and r1 in use
	m      int      // words of u0 and u1 in use
	odd    bool     // the index of r0
}

// stageMin is the least remainder that a stage takes.
const stageMin = 1 << 33

// makeEuclid returns one for numbers of n words, and cofactors no longer.
func makeEuclid(n int) euclid {
	w := make([]uint64, 8*(n+1))
	next := func() []uint64 {
		x := w[: n+1 : n+1]
		w = w[n+1:]
		return x
	}
	return euclid{
		r0: next(), r1: next(), u0: next(), u1: next(),
		t0: next(), t1: next(), v0: next(), v1: next(),
	}
}

// init starts on a >= b.
func (e *euclid) init(a, b []uint64) {
	copy(e.r0, a)
	clear(e.r0[len(a):])
	copy(e.r1, b)
	clear(e.r1[len(b):])
	clear(e.u0)
	clear(e.u1)
	e.u1[0] = 1
	e.n, e.m, e.odd = max(limbLen(e.r0), 1), 1, false
}

// run goes on while r1 > limit >= 1.
func (e *euclid) run(limit []uint64) {
	limitBits := bitLen(limit)
	for e.above(limit, limitBits) {
		if e.n == 1 {
			e.last(limit[0])
			continue
		}
		if !e.lehmer(limit, limitBits) {
			e.divide()
		}
	}
	clear(e.r0[e.n:])
	clear(e.r1[e.n:])
	clear(e.u0[e.m:])
	clear(e.u1[e.m:])
}

// above reports whether r1 > limit.
func (e *euclid) above(limit []uint64, limitBits int) bool {
	n := e.n
	for n > 0 && e.r1[n-1] == 0 {
		n--
	}
	if n == 0 {
		return false
	}
	b := 64*n - bits.LeadingZeros64(e.r1[n-1])
	return b > limitBits || b == limitBits && cmp(e.r1[:n], limit[:n]) > 0
}

// lehmer does both stages and applies their matrix. It reports whether it has
// got anywhere: not if the next quotient is above some 31 bits.
func (e *euclid) lehmer(limit []uint64, limitBits int) bool {
	n := e.n
	s := uint(bits.LeadingZeros64(e.r0[n-1]|e.r1[n-1])) & 63
	x1, x0 := top128(e.r0[:n], s)
	y1, y0 := top128(e.r1[:n], s)
	unit := 64*(n-1) - int(s) // the weight of bit 0 of x1

	p, q, odd := stage(x1, y1, leading(limit, limitBits, unit))
	if q == 1 {
		return false
	}
	pa, pb, qa, qb := p>>32, p&0xffffffff, q>>32, q&0xffffffff

	// Apply the matrix to the 128 bits; the sign of its rows alternates.
	x1, x0, y1, y0 = combine(x1, x0, y1, y0, pa, pb, qa, qb, odd)
	s = uint(bits.LeadingZeros64(x1|y1)) & 63
	x1 = x1<<s | x0>>1>>(63-s)
	y1 = y1<<s | y0>>1>>(63-s)
	unit -= int(s)
	p, q, odd2 := stage(x1, y1, leading(limit, limitBits, unit))
	if q != 1 {
		a, b, c, d := p>>32, p&0xffffffff, q>>32, q&0xffffffff
		pa, pb, qa, qb = a*pa+b*qa, a*pb+b*qb, c*pa+d*qa, c*pb+d*qb
		odd = odd != odd2
	}
	e.apply(pa, pb, qa, qb, odd)
	return true
}

// leading returns x >> unit, or all ones if that has more than 64 bits.
func leading(x []uint64, size, unit int) uint64 {
	switch {
	case size <= unit:
		return 0
	case size > unit+64:
		return ^uint64(0)
	}
	return window(x, unit)
}

// stage runs Euclid on x >= y while y > limit and remainders are at least
// stageMin. It returns the last two rows of cofactors, (A, B) packed into the
// two halves of a word each, and whether the number of steps is odd. q is 1 if
// there was no step.
func stage(x, y, limit uint64) (p, q uint64, odd bool) {
	p, q = 1<<32, 1
	for {
		if y <= limit {
			return p, q, false
		}
		k, z := x/y, x%y // one instruction
		if z < stageMin {
			return p, q, false
		}
		x = z
		p += k * q
		if x <= limit {
			return q, p, true
		}
		k, z = y/x, y%x
		if z < stageMin {
			return q, p, true
		}
		y = z
		q += k * p
	}
}

// top128 returns the 128 bits that begin s bits below the top of x.
func top128(x []uint64, s uint) (hi, lo uint64) {
	n := len(x)
	w2, w1, w0 := x[n-1], x[n-2], uint64(0)
	if n > 2 {
		w0 = x[n-3]
	}
	t := (63 - s) & 63
	s &= 63
	return w2<<s | w1>>1>>t, w1<<s | w0>>1>>t
}

// combine applies rows (pa, pb) and (qa, qb), of 32 bits each, to x and y of
// 128 bits.
func combine(x1, x0, y1, y0, pa, pb, qa, qb uint64, odd bool) (_, _, _, _ uint64) {
	h, l := bits.Mul64(pa, x0)
	h += pa * x1
	h2, l2 := bits.Mul64(pb, y0)
	h2 += pb * y1
	pl, k := bits.Sub64(l, l2, 0)
	ph, _ := bits.Sub64(h, h2, k)
	h, l = bits.Mul64(qb, y0)
	h += qb * y1
	h2, l2 = bits.Mul64(qa, x0)
	h2 += qa * x1
	ql, k := bits.Sub64(l, l2, 0)
	qh, _ := bits.Sub64(h, h2, k)
	if odd {
		pl, k = bits.Sub64(0, pl, 0)
		ph, _ = bits.Sub64(0, ph, k)
		ql, k = bits.Sub64(0, ql, 0)
		qh, _ = bits.Sub64(0, qh, k)
	}
	return ph, pl, qh, ql
}

// apply replaces the two remainders by the rows' combinations of them, and the
// cofactors likewise. The entries are below 2^63.
func (e *euclid) apply(pa, pb, qa, qb uint64, odd bool) {
	n, m := e.n, e.m
	x, y := e.r0[:n], e.r1[:n]
	if odd {
		difference(e.t0[:n], y, x, pb, pa)
		difference(e.t1[:n], x, y, qa, qb)
		e.odd = !e.odd
	} else {
		difference(e.t0[:n], x, y, pa, pb)
		difference(e.t1[:n], y, x, qb, qa)
	}
	e.r0, e.r1, e.t0, e.t1 = e.t0, e.t1, e.r0, e.r1
	e.trim()
	x, y = e.u0[:m], e.u1[:m]
	c0 := sum(e.v0[:m], x, y, pa, pb)
	c1 := sum(e.v1[:m], x, y, qa, qb)
	if c0|c1 != 0 {
		e.v0[m], e.v1[m] = c0, c1
		e.m++
	}
	e.u0, e.u1, e.v0, e.v1 = e.v0, e.v1, e.u0, e.u1
}

// trim lowers n to the words that the remainders have come down to. What lies
// above is left over from earlier.
func (e *euclid) trim() {
	for e.n > 1 && e.r0[e.n-1]|e.r1[e.n-1] == 0 {
		e.n--
	}
}

// difference sets z = a*x - b*y, which is not negative; a, b < 2^63.
func difference(z, x, y []uint64, a, b uint64) {
	x, y = x[:len(z)], y[:len(z)]
	var carry int64 // of both products together
	for i := range z {
		h, l := bits.Mul64(a, x[i])
		h2, l2 := bits.Mul64(b, y[i])
		l, k := bits.Sub64(l, l2, 0)
		h, _ = bits.Sub64(h, h2, k)
		z[i], k = bits.Add64(l, uint64(carry), 0)
		h, _ = bits.Add64(h, uint64(carry>>63), k)
		carry = int64(h)
	}
}

// sum sets z = a*x + b*y and returns the carry; a, b < 2^63.
func sum(z, x, y []uint64, a, b uint64) (carry uint64) {
	x, y = x[:len(z)], y[:len(z)]
	for i := range z {
		h, l := bits.Mul64(a, x[i])
		h2, l2 := bits.Mul64(b, y[i])
		l, k := bits.Add64(l, l2, 0)
		h, _ = bits.Add64(h, h2, k)
		z[i], k = bits.Add64(l, carry, 0)
		carry = h + k
	}
	return carry
}

// last runs Euclid to its end on remainders of one word. As it stops at
// r1 <= limit, and limit is at least 1, a cofactor is at most half a word.
func (e *euclid) last(limit uint64) {
	x, y := e.r0[0], e.r1[0]
	pa, pb, qa, qb := uint64(1), uint64(0), uint64(0), uint64(1)
	odd := false
	for y > limit {
		k, z := x/y, x%y
		x, y = y, z
		pa, pb, qa, qb = qa, qb, pa+k*qa, pb+k*qb
		odd = !odd
	}
	e.apply(pa, pb, qa, qb, odd)
}

// divide does one step of Euclid with a quotient of any size, bit by bit. It
// is for what a stage cannot see, and hardly ever runs.
func (e *euclid) divide() {
	clear(e.u0[e.m:])
	clear(e.u1[e.m:])
	size := bitLen(e.r1[:e.n])
	for cmp(e.r0[:e.n], e.r1[:e.n]) >= 0 {
		s := bitLen(e.r0[:e.n]) - size
		if !subShifted(e.r0[:e.n], e.r1[:e.n], s) {
			s--
			subShifted(e.r0[:e.n], e.r1[:e.n], s)
		}
		addShifted(e.u0, e.u1, s)
	}
	e.r0, e.r1 = e.r1, e.r0
	e.u0, e.u1 = e.u1, e.u0
	e.odd = !e.odd
	e.trim()
	e.m = max(limbLen(e.u1), limbLen(e.u0), 1)
}

// subShifted sets x -= y << s if that is not negative, and reports whether.
func subShifted(x, y []uint64, s int) bool {
	for i := len(x) - 1; i >= 0; i-- {
		if w := window(y, 64*i-s); x[i] != w {
			if x[i] < w {
				return false
			}
			break
		}
	}
	var c uint64
	for i := range x {
		x[i], c = bits.Sub64(x[i], window(y, 64*i-s), c)
	}
	return true
}

// addShifted sets x += y << s.
func addShifted(x, y []uint64, s int) {
	var c uint64
	for i := range x {
		x[i], c = bits.Add64(x[i], window(y, 64*i-s), c)
	}
}
