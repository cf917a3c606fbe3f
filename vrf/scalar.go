package vrf

import "math/bits"

// Arithmetic modulo q, the order of P-256, in constant time: no branch and no
// address depends on a value. Scalars are 32 bytes, big-endian, outside; four
// words, the lowest first, inside.

type words [4]uint64

// order is q, orderRR is 2^512 mod q, orderInv is -1/q mod 2^64.
var (
	order   = words{0xf3b9cac2fc632551, 0xbce6faada7179e84, 0xffffffffffffffff, 0xffffffff00000000}
	orderRR = words{0x83244c95be79eea2, 0x4699799c49bd6fa6, 0x2845b2392b6bec59, 0x66e12d94f3d95620}
)

const orderInv = 0xccd1c8aaee00bc4f

// subOrder returns x - q if x, with carry above it, is at least q; else x.
func subOrder(x words, carry uint64) words {
	var d words
	var b uint64
	for i := range d {
		d[i], b = bits.Sub64(x[i], order[i], b)
	}
	_, b = bits.Sub64(carry, 0, b)
	mask := -b // all ones: x is below q
	for i := range d {
		d[i] = x[i]&mask | d[i]&^mask
	}
	return d
}

// montgomery returns a*b/2^256 mod q, for a, b < q.
func montgomery(a, b words) words {
	var t [6]uint64
	for _, v := range b {
		mulAdd(&t, &a, v)
		m := t[0] * orderInv
		mulAdd(&t, &order, m)
		t = [6]uint64{t[1], t[2], t[3], t[4], t[5], 0}
	}
	return subOrder(words(t[:4]), t[4])
}

// mulAdd adds x*y to t.
func mulAdd(t *[6]uint64, x *words, y uint64) {
	var c, k uint64
	for i := range x {
		h, l := bits.Mul64(x[i], y)
		l, k = bits.Add64(l, c, 0)
		h += k
		t[i], k = bits.Add64(t[i], l, 0)
		c = h + k
	}
	t[4], k = bits.Add64(t[4], c, 0)
	t[5] += k
}

// mulAddScalar returns a*b + c mod q, for a, b, c < q.
func mulAddScalar(a, b, c *[32]byte) [32]byte {
	p := montgomery(montgomery(fromBytes(a), orderRR), fromBytes(b))
	d := fromBytes(c)
	var k uint64
	for i := range p {
		p[i], k = bits.Add64(p[i], d[i], k)
	}
	r := subOrder(p, k)
	return r.bytes()
}

// reduceScalar returns b mod q, for any b: q is above 2^255.
func reduceScalar(b *[32]byte) [32]byte {
	r := subOrder(fromBytes(b), 0)
	return r.bytes()
}

// validScalar reports whether 0 < b < q. Whether it is so is no secret, what b
// is stays one.
func validScalar(b *[32]byte) bool {
	w := fromBytes(b)
	r := reduceScalar(b)
	return r == *b && w[0]|w[1]|w[2]|w[3] != 0
}
