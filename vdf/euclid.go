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
// progress for one pass over the numbers. The next round needs the remainders,
// but not the cofactors: their pass runs while it divides.
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
//
// A pass over the remainders writes to the other of two generations of buffers.
// Nothing is copied, and no pointer is written: while the garbage collector
// runs, that costs dear.
type euclid struct {
	r   [2][2][]uint64 // r0 and r1 by generation
	gen int
	odd bool // the index of r0
	n   int  // words of r0 and r1 in use
	m   int  // words of u0 and u1 in use
	u   pass // u0 and u1
}

// stageMin is the least remainder that a stage takes.
const stageMin = 1 << 33

// makeEuclid returns one for numbers of n words, and cofactors no longer.
func makeEuclid(n int) euclid {
	w := make([]uint64, 6*(n+1))
	next := func() []uint64 {
		x := w[: n+1 : n+1]
		w = w[n+1:]
		return x
	}
	var e euclid
	e.r = [2][2][]uint64{{next(), next()}, {next(), next()}}
	e.u.x, e.u.y = next(), next()
	return e
}

// init starts on a >= b.
func (e *euclid) init(a, b []uint64) {
	r, u := &e.r[e.gen], &e.u
	copy(r[0], a)
	copy(r[1], b)
	clear(u.x)
	clear(u.y)
	u.y[0] = 1
	u.start(0, 0, 0, 0, 0)
	e.n, e.m, e.odd = max(limbLen(a), 1), 1, false
}

// remainders returns r0 and r1.
func (e *euclid) remainders() (r0, r1 []uint64) {
	r := &e.r[e.gen&1]
	return r[0], r[1]
}

// cofactors returns u0 and u1.
func (e *euclid) cofactors() (u0, u1 []uint64) { return e.u.x, e.u.y }

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
	e.settle()
	for _, r := range e.r[e.gen] {
		clear(r[e.n:])
	}
}

// above reports whether r1 > limit.
func (e *euclid) above(limit []uint64, limitBits int) bool {
	n := e.n
	_, x := e.remainders()
	if x[n-1] != 0 && 64*(n-1) >= limitBits {
		return true
	}
	return 64*n >= limitBits && cmp(x[:n], limit[:n]) > 0
}

// lehmer does both stages and applies their matrix. It reports whether it has
// got anywhere: not if the next quotient is above some 31 bits.
func (e *euclid) lehmer(limit []uint64, limitBits int) bool {
	n := e.n
	r0, r1 := e.remainders()
	s := uint(bits.LeadingZeros64(r0[n-1]|r1[n-1])) & 63
	x1, x0 := top128(r0[:n], s)
	y1, y0 := top128(r1[:n], s)
	unit := 64*(n-1) - int(s) // the weight of bit 0 of x1

	p, q, odd := stage(x1, y1, leading(limit, limitBits, unit), &e.u)
	if q == 1 {
		return false
	}
	pa, pb, qa, qb := p>>32, p&0xffffffff, q>>32, q&0xffffffff

	x1, x0, y1, y0 = combine(x1, x0, y1, y0, pa, pb, qa, qb, odd)
	s = uint(bits.LeadingZeros64(x1|y1)) & 63
	x1 = x1<<s | x0>>1>>(63-s)
	y1 = y1<<s | y0>>1>>(63-s)
	unit -= int(s)
	p, q, odd2 := stage(x1, y1, leading(limit, limitBits, unit), &e.u)
	a, b, c, d := p>>32, p&0xffffffff, q>>32, q&0xffffffff
	e.apply(a*pa+b*qa, a*pb+b*qb, c*pa+d*qa, c*pb+d*qb, odd != odd2)
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
//
// The time goes into the latency of the divisions, each of which waits for the
// one before. In their shadow u advances by a word for two steps, at hardly any
// cost.
func stage(x, y, limit uint64, u *pass) (p, q uint64, odd bool) {
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
		if i := u.i; i < len(u.x) && i < len(u.y) && i < u.n {
			v, w := u.x[i], u.y[i]
			u.x[i], u.p = mulAdd2(u.a, v, u.b, w, u.p)
			u.y[i], u.q = mulAdd2(u.c, v, u.d, w, u.q)
			u.i = i + 1
		}
	}
}

// pass holds two multi-limb numbers x and y while a x + b y and c x + d y take
// their place, from the lowest word up. All coefficients are below 2^63.
type pass struct {
	x, y       []uint64
	i, n       int // words done and to do
	a, b, c, d uint64
	p, q       uint64 // carries
}

// start begins a pass over n words.
func (u *pass) start(n int, a, b, c, d uint64) {
	u.i, u.n = 0, n
	u.a, u.b, u.c, u.d, u.p, u.q = a, b, c, d, 0, 0
}

// finish does what is left of it.
func (u *pass) finish() {
	p, q := u.p, u.q
	for i := u.i; i < u.n && i < len(u.x) && i < len(u.y); i++ {
		v, w := u.x[i], u.y[i]
		u.x[i], p = mulAdd2(u.a, v, u.b, w, p)
		u.y[i], q = mulAdd2(u.c, v, u.d, w, q)
	}
	u.i = u.n
}

// mulAdd2 returns a*x + b*y + c; a, b < 2^63.
func mulAdd2(a, x, b, y, c uint64) (lo, hi uint64) {
	h0, l0 := bits.Mul64(a, x)
	h1, l1 := bits.Mul64(b, y)
	l0, k := bits.Add64(l0, l1, 0)
	h0, _ = bits.Add64(h0, h1, k)
	l0, k = bits.Add64(l0, c, 0)
	return l0, h0 + k
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
// 128 bits; their signs are (+, -) and (-, +), or the opposite if odd.
func combine(x1, x0, y1, y0, pa, pb, qa, qb uint64, odd bool) (_, _, _, _ uint64) {
	if odd {
		x1, x0, y1, y0 = y1, y0, x1, x0
		pa, pb, qa, qb = pb, pa, qb, qa
	}
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
	return ph, pl, qh, ql
}

// apply replaces the two remainders by the rows' combinations of them, and
// starts the pass that does so to the cofactors. The entries are below 2^63.
func (e *euclid) apply(pa, pb, qa, qb uint64, odd bool) {
	n := e.n
	x, y := e.remainders()
	e.gen = 1 - e.gen
	x1, y1 := e.remainders()
	if odd {
		e.odd = !e.odd
		row(x1[:n], y, x, pb, pa)
		row(y1[:n], x, y, qa, qb)
	} else {
		row(x1[:n], x, y, pa, pb)
		row(y1[:n], y, x, qb, qa)
	}
	e.trim()
	e.settle()
	e.u.start(e.m+1, pa, pb, qa, qb)
}

// settle ends the pass over the cofactors. They grow by at most a word in one.
func (e *euclid) settle() {
	e.u.finish()
	if e.u.y[e.m] != 0 {
		e.m++
	}
}

// trim lowers n to the words that the remainders have come down to.
func (e *euclid) trim() {
	x, y := e.remainders()
	for e.n > 1 && x[e.n-1]|y[e.n-1] == 0 {
		e.n--
	}
}

// row sets z to a*x - b*y, which must not be negative nor longer than z;
// a, b < 2^63. For N bits, -b*y = b*(2^N-1-y) + b modulo 2^N: so what is
// subtracted is added as well, and no carry has a sign.
func row(z, x, y []uint64, a, b uint64) {
	x, y = x[:len(z)], y[:len(z)]
	c := b
	for i := range z {
		z[i], c = mulAdd2(a, x[i], b, ^y[i], c)
	}
}

// last runs Euclid to its end on remainders of one word. As it stops at
// r1 <= limit, and limit is at least 1, a cofactor is at most half a word.
func (e *euclid) last(limit uint64) {
	r0, r1 := e.remainders()
	x, y := r0[0], r1[0]
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
	e.settle()
	r0, r1 := e.remainders()
	u0, u1 := e.cofactors()
	r0, r1 = r0[:e.n], r1[:e.n]
	size := bitLen(r1)
	for cmp(r0, r1) >= 0 {
		s := bitLen(r0) - size
		if !subShifted(r0, r1, s) {
			s--
			subShifted(r0, r1, s)
		}
		addShifted(u0, u1, s)
	}
	for i := range r0 {
		r0[i], r1[i] = r1[i], r0[i]
	}
	for i := range u0 {
		u0[i], u1[i] = u1[i], u0[i]
	}
	e.odd = !e.odd
	e.trim()
	e.m = max(limbLen(u1), limbLen(u0), 1)
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
