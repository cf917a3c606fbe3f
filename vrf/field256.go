package vrf

import (
	"encoding/binary"
	"math/bits"
)

// The field of P-256, p = 2^256 - 2^224 + 2^192 + 2^96 - 1, in constant time:
// for the hash to the curve, whose input may be secret, and for the sums of
// batches. What multiplies by a secret is left to the standard library.

// nistField is an element x as x*2^256 mod p (Montgomery form), the lowest
// word first.
type nistField words

var (
	nistPrime = words{0xffffffffffffffff, 0x00000000ffffffff, 0, 0xffffffff00000001}
	nistOne   = nistField{1, 0xffffffff00000000, 0xffffffffffffffff, 0x00000000fffffffe}
	nistRR    = nistField{3, 0xfffffffbffffffff, 0xfffffffffffffffe, 0x00000004fffffffd} // 2^512
)

// nistSmall returns n.
func nistSmall(n uint64) (z nistField) {
	z.mul(&nistField{n}, &nistRR)
	return z
}

// nistFromBytes returns a big-endian number below 2^256, modulo p.
func nistFromBytes(b []byte) (z nistField) {
	w := nistField(fromBytes((*[32]byte)(b)))
	z.mul(&w, &nistRR)
	return z
}

// value returns x itself, reduced.
func (x *nistField) value() words {
	var w nistField
	w.mul(x, &nistField{1})
	return words(w)
}

// mul sets z to x*y/2^256, for any x < 2^256 and y < p.
func (z *nistField) mul(x, y *nistField) {
	var t0, t1, t2, t3, t4, c uint64
	for _, w := range y {
		// t += x*w
		h0, l0 := bits.Mul64(x[0], w)
		h1, l1 := bits.Mul64(x[1], w)
		h2, l2 := bits.Mul64(x[2], w)
		h3, l3 := bits.Mul64(x[3], w)
		t0, c = bits.Add64(t0, l0, 0)
		t1, c = bits.Add64(t1, l1, c)
		t2, c = bits.Add64(t2, l2, c)
		t3, c = bits.Add64(t3, l3, c)
		t4, c = bits.Add64(t4, 0, c)
		t5 := c
		t1, c = bits.Add64(t1, h0, 0)
		t2, c = bits.Add64(t2, h1, c)
		t3, c = bits.Add64(t3, h2, c)
		t4, c = bits.Add64(t4, h3, c)
		t5 += c
		// t = (t + m*p) / 2^64. The lowest word of p is -1, so m is t0, and
		// m*p is m*p3*2^192 + m*2^96 - m.
		m := t0
		hi, lo := bits.Mul64(m, nistPrime[3])
		t0, c = bits.Add64(t1, m<<32, 0)
		t1, c = bits.Add64(t2, m>>32, c)
		t2, c = bits.Add64(t3, lo, c)
		t3, c = bits.Add64(t4, hi, c)
		t4 = t5 + c
	}
	z.reduce(&words{t0, t1, t2, t3}, t4)
}

// reduce sets z to x + carry*2^256, less p if it is not below.
func (z *nistField) reduce(x *words, carry uint64) {
	var d words
	var b uint64
	d[0], b = bits.Sub64(x[0], nistPrime[0], 0)
	d[1], b = bits.Sub64(x[1], nistPrime[1], b)
	d[2], b = bits.Sub64(x[2], nistPrime[2], b)
	d[3], b = bits.Sub64(x[3], nistPrime[3], b)
	_, b = bits.Sub64(carry, 0, b)
	z.pick(-b, x, &d)
}

// pick sets z to x if mask is all ones, to y if it is 0.
func (z *nistField) pick(mask uint64, x, y *words) {
	z[0] = x[0]&mask | y[0]&^mask
	z[1] = x[1]&mask | y[1]&^mask
	z[2] = x[2]&mask | y[2]&^mask
	z[3] = x[3]&mask | y[3]&^mask
}

func (z *nistField) add(x, y *nistField) {
	var s words
	var c uint64
	s[0], c = bits.Add64(x[0], y[0], 0)
	s[1], c = bits.Add64(x[1], y[1], c)
	s[2], c = bits.Add64(x[2], y[2], c)
	s[3], c = bits.Add64(x[3], y[3], c)
	z.reduce(&s, c)
}

func (z *nistField) sub(x, y *nistField) {
	var c, b uint64
	z[0], b = bits.Sub64(x[0], y[0], 0)
	z[1], b = bits.Sub64(x[1], y[1], b)
	z[2], b = bits.Sub64(x[2], y[2], b)
	z[3], b = bits.Sub64(x[3], y[3], b)
	b = -b // all ones: p too little
	z[0], c = bits.Add64(z[0], nistPrime[0]&b, 0)
	z[1], c = bits.Add64(z[1], nistPrime[1]&b, c)
	z[2], c = bits.Add64(z[2], nistPrime[2]&b, c)
	z[3], _ = bits.Add64(z[3], nistPrime[3]&b, c)
}

func (z *nistField) neg(x *nistField) { z.sub(&nistField{}, x) }

// isZero returns all ones if x is 0, else 0.
func (x *nistField) isZero() uint64 {
	_, b := bits.Sub64(x[0]|x[1]|x[2]|x[3], 1, 0)
	return -b
}

// equal returns all ones if x = y, else 0.
func (x *nistField) equal(y *nistField) uint64 {
	var d nistField
	d.sub(x, y)
	return d.isZero()
}

// cmov sets z to x if mask is all ones.
func (z *nistField) cmov(x *nistField, mask uint64) {
	z.pick(mask, (*words)(x), (*words)(z))
}

// odd returns all ones if x itself is odd: sgn0 of RFC 9380, section 4.1.
func (x *nistField) odd() uint64 {
	v := x.value()
	return -(v[0] & 1)
}

// pow sets z to x^e; e is no secret.
func (z *nistField) pow(x *nistField, e *words) {
	// Four bits at a time.
	var table [16]nistField
	table[0] = nistOne
	for i := 1; i < len(table); i++ {
		table[i].mul(&table[i-1], x)
	}
	r := nistOne
	for i := 63; i >= 0; i-- {
		for range 4 {
			r.mul(&r, &r)
		}
		if d := e[i/16] >> (4 * (i % 16)) & 15; d != 0 {
			r.mul(&r, &table[d])
		}
	}
	*z = r
}

// Exponents: p-2 inverts, (p-3)/4 is for roots.
var (
	nistInvert = words{0xfffffffffffffffd, 0x00000000ffffffff, 0, 0xffffffff00000001}
	nistQuart  = words{0xffffffffffffffff, 0x000000003fffffff, 0x4000000000000000, 0x3fffffffc0000000}
)

// root sets z to a root of u/v and returns all ones, or returns 0 if there is
// none: then z² is -u/v. z may not be u or v. As p = 3 mod 4, the candidate is
// u v (u v³)^((p-3)/4).
func (z *nistField) root(u, v *nistField) uint64 {
	var uv, t nistField
	uv.mul(u, v)
	t.mul(v, v)
	t.mul(&t, &uv)
	t.pow(&t, &nistQuart)
	z.mul(&t, &uv)
	t.mul(z, z)
	t.mul(&t, v)
	return t.equal(u)
}

// fromBytes and bytes convert 32 bytes, big-endian.
func fromBytes(b *[32]byte) (w words) {
	for i := range w {
		w[i] = binary.BigEndian.Uint64(b[24-8*i:])
	}
	return w
}

func (w *words) bytes() (b [32]byte) {
	for i, v := range w {
		binary.BigEndian.PutUint64(b[24-8*i:], v)
	}
	return b
}
