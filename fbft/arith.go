package fbft

import "math/bits"

// mulMod returns a·b mod m for m > 0.
func mulMod(a, b, m uint64) uint64 {
	hi, lo := bits.Mul64(a%m, b%m)
	return mod128(hi, lo, m)
}

// mod128 returns hi·2^64 + lo mod m for m > 0.
func mod128(hi, lo, m uint64) uint64 {
	_, rem := bits.Div64(hi%m, lo, m)
	return rem
}

// mulDiv returns ⌊a·b/d⌋; the quotient must fit.
func mulDiv(a, b, d uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	q, _ := bits.Div64(hi, lo, d)
	return q
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
