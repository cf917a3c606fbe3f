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
func neg(z, x []uint64) {
	c := uint64(1)
	for i := range z {
		z[i], c = bits.Add64(^x[i], 0, c)
	}
}

// addMul adds x*y to z, which has the length of x, and returns the carry.
func addMul(z, x []uint64, y uint64) (c uint64) {
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
		z[0], k = bits.Add64(z[0], l0, 0)
		z[1], k = bits.Add64(z[1], l1, k)
		z[2], k = bits.Add64(z[2], l2, k)
		z[3], k = bits.Add64(z[3], l3, k)
		c = h3 + k
		x, z = x[4:], z[4:]
	}
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

// subMul subtracts x*y from z, which has the length of x, and returns the
// borrow.
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

// mul sets z = x*y; len(z) = len(x) + len(y). z must not overlap the others.
func mul(z, x, y []uint64) {
	clear(z[:len(x)])
	for i, v := range y {
		z[i+len(x)] = addMul(z[i:i+len(x)], x, v)
	}
}

// addMulLow adds x*y to z modulo 2^(64 len(z)); x and y may be shorter.
func addMulLow(z, x, y []uint64) {
	for i, v := range y[:min(len(y), len(z))] {
		n := min(len(x), len(z)-i)
		c := addMul(z[i:i+n], x[:n], v)
		for j := i + n; j < len(z) && c != 0; j++ {
			z[j], c = bits.Add64(z[j], c, 0)
		}
	}
}

// window returns the 64 bits of x from bit k up; bits outside x are 0. k may
// be negative.
func window(x []uint64, k int) uint64 {
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
func mod(r, p, a, scratch []uint64) {
	n := len(a)
	s := uint(bits.LeadingZeros64(a[n-1]))
	d := scratch[:n]
	shiftLeft(d, a, s)
	top := shiftLeft(p, p, s)
	for j := len(p) - n; j >= 0; j-- {
		// p[j:j+n] and top above it, divided by d: less than d * 2^64.
		q := ^uint64(0)
		if top < d[n-1] {
			var rem uint64
			q, rem = bits.Div64(top, p[j+n-1], d[n-1])
			if n > 1 {
				h, l := bits.Mul64(q, d[n-2])
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
		for borrow > top { // q was one or two too large
			borrow -= add(p[j:j+n], p[j:j+n], d)
		}
		top = p[j+n-1]
	}
	for i := range r {
		r[i] = p[i] >> s
		if i+1 < n && s != 0 {
			r[i] |= p[i+1] << (64 - s)
		}
	}
}

// shiftLeft sets z = x << s with s < 64 and returns what is shifted out.
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

// setBig sets x to v >= 0, which must fit.
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
