package vdf

import (
	"math/big"
	"math/bits"
)

// Multi-limb integers are little-endian slices of 64-bit words of a length
// that the caller fixes. The functions here work in place and allocate
// nothing.

// limbLen returns the number of words in use.
func limbLen(x []uint64) int {
	n := len(x)
	for n > 0 && x[n-1] == 0 {
		n--
	}
	return n
}

// bitLen returns the number of bits in use.
func bitLen(x []uint64) int {
	n := limbLen(x)
	if n == 0 {
		return 0
	}
	return 64*n - bits.LeadingZeros64(x[n-1])
}

// cmp compares x and y of equal length.
func cmp(x, y []uint64) int {
	for i := len(x) - 1; i >= 0; i-- {
		if x[i] != y[i] {
			if x[i] < y[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// add sets z = x + y, all of equal length, and returns the carry.
func add(z, x, y []uint64) (c uint64) {
	x, y = x[:len(z)], y[:len(z)]
	for i := range z {
		z[i], c = bits.Add64(x[i], y[i], c)
	}
	return c
}

// sub sets z = x - y, all of equal length, and returns the borrow.
func sub(z, x, y []uint64) (c uint64) {
	x, y = x[:len(z)], y[:len(z)]
	for i := range z {
		z[i], c = bits.Sub64(x[i], y[i], c)
	}
	return c
}

// neg sets z = -x modulo 2^(64 len(z)).
func neg(z, x []uint64) { negateIf(z, x, ^uint64(0)) }

// addMul adds x*y to z, which has the length of x, and returns the carry. No
// carry is lost: (2^64-1)² + 2 (2^64-1) = 2^128 - 1, so a product, a word of z
// and a carry fit in two words.
func addMul(z, x []uint64, y uint64) (c uint64) {
	z = z[:len(x)]
	for i := range x {
		var k uint64
		h, l := bits.Mul64(x[i], y)
		l, k = bits.Add64(l, c, 0)
		h += k
		z[i], k = bits.Add64(z[i], l, 0)
		c = h + k
	}
	return c
}

// addMul4 adds x*(y0, y1, y2, y3) to z, which has the length of x, and returns
// the four words that are carried beyond it. Four rows at once are half again
// as fast as one by one: a word of z is loaded and stored once, and the sums
// between stay in registers.
//
// The carry (c0, c1, c2, c3) is a number C below 2^256, and so is y. Then z[i]
// + C + v*y is at most 2^320 - 1: one word for z, and again four for C. Two
// sums drop their carry: the first h3 + k has none, as the high word of a
// product is at most 2^64-2, the last has none by this bound.
func addMul4(z, x []uint64, y0, y1, y2, y3 uint64) (c0, c1, c2, c3 uint64) {
	z = z[:len(x)]
	for i, v := range x {
		var k uint64
		h0, l0 := bits.Mul64(v, y0)
		h1, l1 := bits.Mul64(v, y1)
		h2, l2 := bits.Mul64(v, y2)
		h3, l3 := bits.Mul64(v, y3)
		// the low words, up to the place of h3
		c0, k = bits.Add64(c0, l0, 0)
		c1, k = bits.Add64(c1, l1, k)
		c2, k = bits.Add64(c2, l2, k)
		c3, k = bits.Add64(c3, l3, k)
		h3 += k
		// the high words, and all of it down by a word
		z[i], k = bits.Add64(z[i], c0, 0)
		c0, k = bits.Add64(c1, h0, k)
		c1, k = bits.Add64(c2, h1, k)
		c2, k = bits.Add64(c3, h2, k)
		c3 = h3 + k
	}
	return c0, c1, c2, c3
}

// subMul subtracts x*y from z, which has the length of x, and returns the
// borrow. Four words a turn save a few hundredths of a squaring.
//
// The borrow c is a word: x*y + c of a turn is at most (2^256-1)(2^64-1) +
// 2^64-1 = 2^256 (2^64-1). Its top word h3 is all ones only if the others are
// 0; then z has nothing to borrow, and h3 + k fits.
func subMul(z, x []uint64, y uint64) (c uint64) {
	for len(x) >= 4 && len(z) >= 4 {
		var k uint64
		h0, l0 := bits.Mul64(x[0], y)
		h1, l1 := bits.Mul64(x[1], y)
		h2, l2 := bits.Mul64(x[2], y)
		h3, l3 := bits.Mul64(x[3], y)
		l1, k = bits.Add64(l1, h0, 0)
		l2, k = bits.Add64(l2, h1, k)
		l3, k = bits.Add64(l3, h2, k)
		h3 += k
		l0, k = bits.Add64(l0, c, 0)
		l1, k = bits.Add64(l1, 0, k)
		l2, k = bits.Add64(l2, 0, k)
		l3, k = bits.Add64(l3, 0, k)
		h3 += k
		z[0], k = bits.Sub64(z[0], l0, 0)
		z[1], k = bits.Sub64(z[1], l1, k)
		z[2], k = bits.Sub64(z[2], l2, k)
		z[3], k = bits.Sub64(z[3], l3, k)
		c = h3 + k
		x, z = x[4:], z[4:]
	}
	// the same, word by word: x*y + c is at most 2^64 (2^64-1)
	z = z[:len(x)]
	for i := range x {
		var k uint64
		h, l := bits.Mul64(x[i], y)
		l, k = bits.Add64(l, c, 0)
		h += k
		z[i], k = bits.Sub64(z[i], l, 0)
		c = h + k
	}
	return c
}

// mulWords is mul: it sets z = x*y modulo 2^(64 len(z)). z must not overlap the
// others.
func mulWords(z, x, y []uint64) {
	clear(z)
	addProductWords(z, x, y)
}

// addProductWords is addProduct: it adds x*y to z modulo 2^(64 len(z)). At each turn z and y have lost
// the same number of words, so that z begins at the place of y[0]. What falls
// off above z is a multiple of the modulus.
func addProductWords(z, x, y []uint64) {
	for len(y) >= 4 && len(z) >= 4 {
		n := min(len(x), len(z))
		c0, c1, c2, c3 := addMul4(z[:n], x[:n], y[0], y[1], y[2], y[3])
		if rest := z[n:]; len(rest) >= 4 {
			var k uint64
			rest[0], k = bits.Add64(rest[0], c0, 0)
			rest[1], k = bits.Add64(rest[1], c1, k)
			rest[2], k = bits.Add64(rest[2], c2, k)
			rest[3], k = bits.Add64(rest[3], c3, k)
			addWord(rest[4:], k)
		} else {
			// fewer than four words of z are left: c3 is above them
			addWords(rest, c0, c1, c2)
		}
		y, z = y[4:], z[4:]
	}
	for len(y) > 0 && len(z) > 0 {
		n := min(len(x), len(z))
		c := addMul(z[:n], x[:n], y[0])
		addWord(z[n:], c)
		y, z = y[1:], z[1:]
	}
}

// addSigned adds p*v to z modulo 2^(64 len(z)), where p is in two's complement.
// z must be no longer than p and v together: then the borrow of the last word
// is above z.
func addSigned(z, p, v []uint64) {
	addProduct(z, p, v)
	// p counts 2^(64 len(p)) too much if it is negative.
	sign := uint64(int64(p[len(p)-1]) >> 63)
	z = z[len(p):]
	var c uint64
	for i := range z {
		if i == len(v) {
			break
		}
		z[i], c = bits.Sub64(z[i], v[i]&sign, c)
	}
}

// addWords adds up to three words to z, which has no more.
func addWords(z []uint64, c0, c1, c2 uint64) {
	var k uint64
	for i, c := range [3]uint64{c0, c1, c2} {
		if i == len(z) {
			return
		}
		z[i], k = bits.Add64(z[i], c, k)
	}
}

// addWord adds d to x. A carry out of x is dropped.
func addWord(x []uint64, d uint64) {
	for i := 0; d != 0 && i < len(x); i++ {
		x[i], d = bits.Add64(x[i], d, 0)
	}
}

// divideExact divides p and q, in two's complement and of equal length, by a,
// which divides both. The division is 2-adic (Jebelean 1993): it goes from the
// lowest word up and takes the low words of a alone. As many high bits are lost
// as a has zeros at its end, below 64; they must be copies of the sign. The low
// word of a must not be 0, and scratch not be shorter than p.
func divideExact(p, q, a, scratch []uint64) {
	s := uint(bits.TrailingZeros64(a[0])) & 63
	odd := scratch[:len(p)]
	copy(odd, a)
	if len(a) < len(p) {
		clear(odd[len(a):])
	}
	// Only an odd number has an inverse modulo 2^64. The quotient stays, as s
	// zeros go from all three.
	if s > 0 {
		var above uint64
		if len(a) > len(p) {
			above = a[len(p)]
		}
		shiftRight(odd, s, above)
		shiftRight(p, s, 0)
		shiftRight(q, s, 0)
	}
	inv := inverse64(odd[0])
	q = q[:len(p)]
	divideOdd(p, q, odd, inv)
	// The shift brought in zeros above, whatever the sign, so the upper s bits
	// are not known. They are copies of the one below.
	n := len(p) - 1
	p[n] = uint64(int64(p[n]<<s) >> s)
	q[n] = uint64(int64(q[n]<<s) >> s)
}

// divideWords is divideOdd: it divides p and q by x, which is odd, modulo
// 2^(64 len(p)); inv is 1/x modulo 2^64.
func divideWords(p, q, x []uint64, inv uint64) {
	// The words below i are the quotient; the rest is what is still to divide.
	// m makes its lowest word 0, so that all of it moves up by a word.
	for i := range p {
		m0, m1 := p[i]*inv, q[i]*inv
		subMul2(p[i:], q[i:], x, m0, m1)
		p[i], q[i] = m0, m1
	}
}

// subMul2 subtracts x*m from p, and x*n from q, modulo 2^(64 len(p)). The
// products of both run side by side, so that neither waits for the carries of
// the other. In each, h + k fits as in subMul; what is borrowed at the end is
// above the modulus.
func subMul2(p, q, x []uint64, m, n uint64) {
	q, x = q[:len(p)], x[:len(p)]
	var c, d, k uint64
	for i, v := range x {
		h, l := bits.Mul64(v, m)
		l, k = bits.Add64(l, c, 0)
		h += k
		p[i], k = bits.Sub64(p[i], l, 0)
		c = h + k
		h, l = bits.Mul64(v, n)
		l, k = bits.Add64(l, d, 0)
		h += k
		q[i], k = bits.Sub64(q[i], l, 0)
		d = h + k
	}
}

// negateIf sets z to -x modulo 2^(64 len(z)) if sign is all ones, and to x if
// it is 0. In two's complement -x is the complement plus 1.
func negateIf(z, x []uint64, sign uint64) {
	x = x[:len(z)]
	c := sign & 1
	for i := range z {
		z[i], c = bits.Add64(x[i]^sign, 0, c)
	}
}

// mask returns all ones if b is set, and 0 if not. It turns a sign into
// arithmetic: signs of forms are as good as random, and a branch on one would
// be mispredicted every second time.
func mask(b bool) uint64 {
	var m uint64
	if b {
		m = ^uint64(0)
	}
	return m
}

// window returns the 64 bits of x from bit k up; bits outside x are 0. k may
// be negative.
func window(x []uint64, k int) uint64 {
	// both shifts round down, so that this is right for k < 0, too
	i, s := k>>6, uint(k)&63
	var lo, hi uint64
	if i >= 0 && i < len(x) {
		lo = x[i]
	}
	if i >= -1 && i+1 < len(x) {
		hi = x[i+1]
	}
	if s == 0 {
		return lo
	}
	return lo>>s | hi<<(64-s)
}

// shiftRight sets x = x >> s with s < 64, filling up with sign.
func shiftRight(x []uint64, s uint, sign uint64) {
	if s == 0 {
		return
	}
	for i := 0; i+1 < len(x); i++ {
		x[i] = x[i]>>s | x[i+1]<<(64-s)
	}
	x[len(x)-1] = x[len(x)-1]>>s | sign<<(64-s)
}

// isNeg reports whether x, in two's complement, is negative.
func isNeg(x []uint64) bool { return x[len(x)-1]>>63 != 0 }

// inverse64 returns 1/a modulo 2^64 for an odd a, by Newton's iteration.
func inverse64(a uint64) uint64 {
	x := 3*a ^ 2 // 5 bits
	x *= 2 - a*x
	x *= 2 - a*x
	x *= 2 - a*x
	return x * (2 - a*x)
}

// mod sets r = p mod a (Knuth, TAOCP 2, algorithm 4.3.1 D). The top word of a
// is not 0; len(r) = len(a). It destroys p and needs scratch of len(a).
//
// At each j the number (top, p[j:j+n]) is less than 2^64 d, and top the word
// above it: at the start since top has only the bits shifted out, later since a
// remainder is less than d and its highest word becomes the next top. So a
// digit of the quotient is one word.
func mod(r, p, a, scratch []uint64) {
	n := len(a)
	// With the top bit of d set, two words over one give a digit at most two
	// too large; the next word of each brings that down to one.
	s := uint(bits.LeadingZeros64(a[n-1]))
	d := scratch[:n]
	shiftLeft(d, a, s)
	top := shiftLeft(p, p, s)
	for len(p) > n && top == 0 && p[len(p)-1] < d[n-1] {
		p, top = p[:len(p)-1], p[len(p)-1] // a digit of 0
	}
	modDigits(p, d, top)
	// The remainder has been shifted like d.
	for i := range r {
		r[i] = p[i] >> s
		if i+1 < n && s != 0 {
			r[i] |= p[i+1] << (64 - s)
		}
	}
}

// modWords is modDigits: it leaves in the low words of p what p, with top above
// it, leaves modulo d, whose top bit is set. The quotient must fit in the words
// that p has more than d, and one.
func modWords(p, d []uint64, top uint64) {
	n := len(d)
	for j := len(p) - n; j >= 0; j-- {
		// p[j:j+n] and top above it, divided by d: less than d * 2^64.
		q := ^uint64(0)
		if top < d[n-1] {
			var rem uint64
			q, rem = bits.Div64(top, p[j+n-1], d[n-1])
			if n > 1 {
				h, l := bits.Mul64(q, d[n-2])
				// rem is what is left of the two words: q is too large as long
				// as q*d[n-2] is more than rem and the next word. Once rem has
				// outgrown a word it is not.
				for h > rem || h == rem && l > p[j+n-2] {
					q--
					var k uint64
					if rem, k = bits.Add64(rem, d[n-1], 0); k != 0 {
						break
					}
					h, l = bits.Mul64(q, d[n-2])
				}
			}
		}
		borrow := subMul(p[j:j+n], d, q)
		// Each time d is added its carry takes one off the borrow, until it is
		// just what top has to give.
		for borrow > top { // q was one or two too large
			borrow -= add(p[j:j+n], p[j:j+n], d)
		}
		top = p[j+n-1]
	}
}

// shiftLeft sets z = x << s with s < 64 and returns what is shifted out. From
// the top down, so that z and x may be the same.
func shiftLeft(z, x []uint64, s uint) uint64 {
	if s == 0 {
		copy(z, x)
		return 0
	}
	out := x[len(x)-1] >> (64 - s)
	for i := len(x) - 1; i > 0; i-- {
		z[i] = x[i]<<s | x[i-1]>>(64-s)
	}
	z[0] = x[0] << s
	return out
}

// setBig sets x to v >= 0, which must fit. The buffer is on the stack: it has
// room for c, the longest, rounded up to words.
func setBig(x []uint64, v *big.Int) {
	var buf [MaxBits/8 + 16]byte
	b := buf[:8*len(x)]
	v.FillBytes(b)
	for i := range x {
		e := len(b) - 8*i
		x[i] = uint64(b[e-1]) | uint64(b[e-2])<<8 | uint64(b[e-3])<<16 | uint64(b[e-4])<<24 |
			uint64(b[e-5])<<32 | uint64(b[e-6])<<40 | uint64(b[e-7])<<48 | uint64(b[e-8])<<56
	}
}

// toBig returns x as a number.
func toBig(x []uint64) *big.Int {
	b := make([]byte, 8*len(x))
	for i, v := range x {
		for j := range 8 {
			b[len(b)-1-8*i-j] = byte(v >> (8 * j))
		}
	}
	return new(big.Int).SetBytes(b)
}
