package vdf

import "math/bits"

// euclid runs the extended Euclidean algorithm on two multi-limb integers, in
// the manner of Lehmer, in two stages, with quotients rounded to the nearest:
// a remainder is at most half of the one before it, which saves three divisions
// of ten.
//
// It holds two neighbours of the sequence of remainders, r0 > r1, and their
// cofactors: with r(0) = a and r(1) = b at the start,
//
//	r(i) = ±u(i) * b  mod a,   u(i) >= 0.
//
// A stage looks at the 64 leading bits of r0 and r1 and runs Euclid on them
// with cofactors of 30 bits; the quotients are collected in a matrix. After
// the first stage the matrix is applied to the 128 leading bits, the second
// stage takes the new leading 64 bits, and the product of both matrices, whose
// entries have 61 bits, is applied to all limbs at once: some 60 bits of
// progress for one pass over the numbers. The next round needs the remainders,
// but not the cofactors: their pass runs while it divides.
//
// Why no remainder turns negative. Let x, y be the leading bits, X = x + dx and
// Y = y + dy the true values in the same unit. After some steps of a stage the
// simulated remainder is z = A x + B y, where one of A and B is negative or 0
// and |A| <= |B|; the true one is Z = A X + B Y. If it comes after z0 in the
// simulation, with a row of A0 and B0, then z <= z0/2, and x is |B| z0 ± |B0| z
// with |B0| <= |B|: so |B| < 2x/z0. A stage divides by z0 only if z0 >= 2^35,
// which makes that less than 2^30, and takes z only if z >= 2^31.
//
// Stage 1: 0 <= dx, dy < 1, so Z > z - |B| > 2^31 - 2^30 > 0. In the frame of
// 128 bits the remainders are at least 2^64 (2^31 - 2^30) = 2^94, with an error
// of less than 2^30 for what lies below the frame.
//
// Stage 2: its x is a z0 of stage 1, or the x of it, and has at most 29 leading
// zeros to shift out, so its unit is at least 2^35 in that frame: dx and dy are
// in (-1/32, 33/32), and as A and B have different signs
// Z > z - 33/32 |B| - 1/32 |A| > 2^31 - 34/32 2^30 > 0.
//
// The second bound could be lower by a few bits and the first as high as that
// allows: but a remainder that is not taken has cost a division, and so it does
// not happen often.
//
// In either stage Z stays below the remainder before it, as z0 - z >= 2^34 is
// more than both their errors. A quotient may be one off from that of the true
// values. That is as good: the matrices are unimodular whatever the quotients.
type euclid struct {
	all    []uint64 // the words of all four
	x, y   []uint64 // r0 and r1
	s0, s1 uint64   // the signs of u0 and u1: all ones for a minus
	n      int      // words of r0 and r1 in use
	m      int      // words of u0 and u1 in use
	u      pass     // u0 and u1
}

const (
	stageMinBits  = 31
	stageLastBits = 35

	stageMin  = 1 << stageMinBits  // the least remainder that a stage takes
	stageLast = 1 << stageLastBits // the least that it divides by
)

// makeEuclid returns one for numbers of n words at most, and cofactors no
// longer.
func makeEuclid(n int) euclid {
	words := make([]uint64, 4*(n+1))
	next := func() []uint64 {
		w := words[: n+1 : n+1]
		words = words[n+1:]
		return w
	}
	e := euclid{all: words}
	e.x, e.y, e.u.x, e.u.y = next(), next(), next(), next()
	return e
}

// init starts on a >= b.
func (e *euclid) init(a, b []uint64) {
	clear(e.all)
	copy(e.x, a)
	copy(e.y, b)
	e.u.y[0] = 1
	e.u.i, e.u.n = 0, 0
	e.n, e.m = max(limbLen(a), 1), 1
	e.s0, e.s1 = ^uint64(0), 0
}

// remainders returns r0 and r1.
func (e *euclid) remainders() (r0, r1 []uint64) { return e.x, e.y }

// cofactors returns u0 and u1.
func (e *euclid) cofactors() (u0, u1 []uint64) {
	e.settle()
	return e.u.x, e.u.y
}

// cofactor returns u1 alone, which costs half. It is the end of all work on e.
func (e *euclid) cofactor() (u1 []uint64) {
	e.u.finishY()
	return e.u.y
}

// run goes on while r1 has more than limit bits; limit >= 1.
func (e *euclid) run(limit int) {
	for bitLen(e.y[:e.n]) > limit {
		if e.n == 1 {
			e.last(limit)
		} else if rounds(e, limit) == 0 && !e.lehmer(limit) {
			e.divide()
		}
	}
}

// lehmer does a round: both stages, and applies their matrix. It reports whether
// it has got anywhere: not if the next quotient is above some 29 bits.
func (e *euclid) lehmer(limit int) bool {
	n := e.n
	s := bits.LeadingZeros64(e.x[n-1])
	x1, x0 := top128(e.x[:n], uint(s))
	y1, y0 := top128(e.y[:n], uint(s))
	unit := 64*(n-1) - s // the weight of bit 0 of x1

	p, q := stage(x1, y1, least(limit-unit), &e.u)
	if p == stageP {
		return false
	}
	pa, pb := unpack(p)
	qa, qb := unpack(q)

	h, l := combine(pa, pb, x1, x0, y1, y0)
	y1, y0 = combine(qa, qb, x1, x0, y1, y0)
	x1, x0 = h, l
	s = bits.LeadingZeros64(x1)
	x1 = x1<<s | x0>>1>>(63-s)
	y1 = y1<<s | y0>>1>>(63-s)
	p, q = stage(x1, y1, least(limit-unit+s), &e.u)
	a, b := unpack(p)
	c, d := unpack(q)
	e.apply(a*pa+b*qa, a*pb+b*qb, c*pa+d*qa, c*pb+d*qb)
	return true
}

// least is the least number that a stage divides by if those of up to k bits
// are at the limit. In the second stage k is above 63 only if r0 has come so close
// to the limit that it looks smaller.
func least(k int) uint64 {
	if k > 63 {
		return ^uint64(0)
	}
	return max(stageLast, uint64(1)<<max(k, 0))
}

// Where the rows of a stage start: x = 1x + 0y and y = 0x + 1y.
const (
	stageP = 1 << 32
	stageQ = 1
)

// stage runs Euclid on x >= y while y >= least and remainders are at least
// stageMin. It returns the last two remainders as rows: A x + B y, with A and B,
// which have signs, packed into a word as A 2^32 + B.
//
// The time goes into the latency of the divisions, each of which waits for the
// one before. In their shadow u advances by a word, at hardly any cost.
func stage(x, y, least uint64, u *pass) (p, q uint64) {
	p, q = stageP, stageQ
	for y >= least {
		k, z := x/y, x%y // one instruction
		v := p - k*q
		t, w := y-z, q-v
		if z <= y>>1 { // without a jump, which would go either way
			t = z
		}
		if z <= y>>1 {
			w = v
		}
		if t < stageMin {
			break
		}
		x, y = y, t
		p, q = q, w
		u.step()
	}
	return p, q
}

// unpack returns the two halves of a row.
func unpack(p uint64) (a, b int64) {
	b = int64(int32(p))
	return int64(p-uint64(b)) >> 32, b
}

// pass holds two multi-limb numbers x and y while a x + b y and c x + d y take
// their place, from the lowest word up; with a minus in place of both a plus if
// t is all ones. All coefficients are below 2^63.
type pass struct {
	x, y       []uint64
	i, n       int // words done and to do
	a, b, c, d uint64
	t          uint64
	p, q       uint64 // carries
}

// start begins a pass over n words. For N bits, -a x = a (2^N-1-x) + a modulo
// 2^N: so what is subtracted is added as well, and no carry has a sign.
func (u *pass) start(n int, a, b, c, d, t uint64) {
	u.i, u.n = 0, n
	u.a, u.b, u.c, u.d, u.t = a, b, c, d, t
	u.p, u.q = a&t, c&t
}

// step does a word if there is one left.
func (u *pass) step() {
	if i := u.i; i < u.n {
		v, w := u.x[i]^u.t, u.y[i]
		u.x[i], u.p = mulAdd2(u.a, v, u.b, w, u.p)
		u.y[i], u.q = mulAdd2(u.c, v, u.d, w, u.q)
		u.i = i + 1
	}
}

// finish does what is left of it.
func (u *pass) finish() {
	p, q := u.p, u.q
	for i := u.i; i < u.n; i++ {
		v, w := u.x[i]^u.t, u.y[i]
		u.x[i], p = mulAdd2(u.a, v, u.b, w, p)
		u.y[i], q = mulAdd2(u.c, v, u.d, w, q)
	}
	u.i = u.n
}

// finishY does what is left of it for y; x is good for nothing afterwards.
func (u *pass) finishY() {
	q := u.q
	for i := u.i; i < u.n; i++ {
		u.y[i], q = mulAdd2(u.c, u.x[i]^u.t, u.d, u.y[i], q)
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
	h0, _ = bits.Add64(h0, 0, k)
	return l0, h0
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

// combine returns a x + b y for numbers of 128 bits.
func combine(a, b int64, x1, x0, y1, y0 uint64) (hi, lo uint64) {
	h0, l0 := bits.Mul64(uint64(a), x0)
	h1, l1 := bits.Mul64(uint64(b), y0)
	h0 += uint64(a)*x1 - x0&uint64(a>>63) // a negative a counts 2^64 too much
	h1 += uint64(b)*y1 - y0&uint64(b>>63)
	lo, k := bits.Add64(l0, l1, 0)
	return h0 + h1 + k, lo
}

// apply replaces the two remainders by a r0 + b r1 and c r0 + d r1, and starts
// the pass that does so to the cofactors. In each row one of the coefficients
// is negative or 0; their absolute values are below 2^63.
func (e *euclid) apply(a, b, c, d int64) {
	m0, m1 := positive(b), positive(d)
	a0, b0, c0, d0 := abs(a), abs(b), abs(c), abs(d)
	rows(e.x[:e.n], e.y[:e.n], a0, b0, c0, d0, m0, m1)
	e.trim()
	e.settle()
	// ±u0 = a (s0 u0) + b (s1 u1), likewise u1; b and d are not 0. The sum has
	// the sign of its second part, which is not the smaller one.
	e.u.start(e.m+1, a0, b0, c0, d0, ^(e.s0 ^ e.s1))
	e.s0, e.s1 = e.s1^^m0, e.s1^^m1
}

// positive returns all ones if a > 0, else 0.
func positive(a int64) uint64 { return uint64(-a >> 63) }

// abs returns the absolute value.
func abs(a int64) uint64 {
	s := a >> 63
	return uint64((a ^ s) - s)
}

// rows replaces x by ±(a x - b y) and y by ±(c x - d y), with a minus if m0 and
// m1 are all ones, and a plus if they are 0. The results must not be negative;
// a, b, c, d < 2^63. What is subtracted is added as in pass.
func rows(x, y []uint64, a, b, c, d, m0, m1 uint64) {
	y = y[:len(x)]
	p, q := a&m0|b&^m0, c&m1|d&^m1
	for i, v := range x {
		w := y[i]
		x[i], p = mulAdd2(a, v^m0, b, w^^m0, p)
		y[i], q = mulAdd2(c, v^m1, d, w^^m1, q)
	}
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
	for e.n > 1 && e.x[e.n-1]|e.y[e.n-1] == 0 {
		e.n--
	}
}

// last runs Euclid to its end on remainders of one word. As it divides by 2 at
// least, a cofactor is at most half a word.
func (e *euclid) last(limit int) {
	x, y := e.x[0], e.y[0]
	pa, pb, qa, qb := int64(1), int64(0), int64(0), int64(1)
	for y>>limit != 0 {
		k, z := x/y, x%y
		x, y = y, z
		pa, pb, qa, qb = qa, qb, pa-int64(k)*qa, pb-int64(k)*qb
		e.u.step()
	}
	e.apply(pa, pb, qa, qb)
}

// divide does one step of Euclid with a quotient of any size, bit by bit. It
// is for what a stage cannot see, and hardly ever runs.
func (e *euclid) divide() {
	u0, u1 := e.cofactors()
	r0, r1 := e.x[:e.n], e.y[:e.n]
	// r0 - k r1 = -(s1 k u1 - s0 u0) b
	negateIf(u0, u0, ^(e.s0 ^ e.s1))
	e.s0, e.s1 = e.s1, ^e.s1
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
