package vrf

import (
	"crypto/subtle"
	"encoding/hex"
	"slices"

	fp "github.com/cloudflare/circl/math/fp25519"
)

// The field of curve25519, as circl implements it: little-endian, constant
// time, any 32 bytes are an element, and fp.Modp makes it the least. Here is
// what is missing there: roots without a branch, and the inversion of many
// elements at the price of one.

// The constants that curve and map are made of, the highest digit first.
var (
	feOne    = fp.Elt{1}
	feZero   = fp.Elt{}
	feSqrtM1 = feHex("2b8324804fc1df0b2b4d00993dfbd7a72f431806ad2fe478c4ee1b274a0ea0b0") // 2^((p-1)/4)
	feD      = feHex("52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3") // -121665/121666
	fe2D     = feHex("2406d9dc56dffce7198e80f2eef3d13000e0149a8283b156ebd69b9426b2f159")
)

// feHex is for constants; it panics if s is not 64 hex digits.
func feHex(s string) (x fp.Elt) {
	if n, err := hex.Decode(x[:], []byte(s)); err != nil || n != len(x) {
		panic("vrf: constant " + s)
	}
	slices.Reverse(x[:])
	return x
}

// feEqual returns 1 if x = y, else 0, in constant time.
func feEqual(x, y *fp.Elt) int {
	var d fp.Elt
	fp.Sub(&d, x, y)
	fp.Modp(&d)
	return subtle.ConstantTimeCompare(d[:], feZero[:])
}

// feOdd returns the lowest bit of x, reduced: sgn0 of RFC 9380, section 4.1.
func feOdd(x *fp.Elt) int {
	r := *x
	fp.Modp(&r)
	return int(r[0] & 1)
}

// feSquares sets z to x^(2^n).
func feSquares(z, x *fp.Elt, n int) {
	fp.Sqr(z, x)
	for range n - 1 {
		fp.Sqr(z, z)
	}
}

// fePow2523 sets z to x^((p-5)/8), which is x^(2^252-3), by the usual chain:
// a name a_b says x^(2^a-2^b).
func fePow2523(z, x *fp.Elt) {
	var x2, x9, x11, t5, t10, t20, t40, t50, t100, t fp.Elt
	fp.Sqr(&x2, x)
	feSquares(&t, &x2, 2)
	fp.Mul(&x9, &t, x)
	fp.Mul(&x11, &x9, &x2)
	fp.Sqr(&t, &x11)
	fp.Mul(&t5, &t, &x9) // 2^5-1
	join := func(z, a, b *fp.Elt, n int) {
		feSquares(&t, a, n)
		fp.Mul(z, &t, b)
	}
	join(&t10, &t5, &t5, 5)
	join(&t20, &t10, &t10, 10)
	join(&t40, &t20, &t20, 20)
	join(&t50, &t40, &t10, 10)
	join(&t100, &t50, &t50, 50)
	join(&t, &t100, &t100, 100)
	join(&t, &t, &t50, 50) // 2^250-1
	join(z, &t, x, 2)
}

// feRoot sets z to a root of u/v and returns 1, or returns 0 if there is none:
// then z² is u/v times a root of -1. z may not be u or v.
func feRoot(z, u, v *fp.Elt) int {
	var v3, w, t fp.Elt
	fp.Sqr(&t, v)
	fp.Mul(&v3, &t, v)
	fp.Sqr(&t, &v3)
	fp.Mul(&t, &t, v)
	fp.Mul(&t, &t, u) // u*v⁷
	fePow2523(&w, &t)
	fp.Mul(&w, &w, &v3)
	fp.Mul(&w, &w, u)
	// w² v is u times a fourth root of unity; for 1 and -1 there is a root.
	fp.Mul(z, &w, &feSqrtM1)
	fp.Sqr(&t, &w)
	fp.Mul(&t, &t, v)
	first := feEqual(&t, u)
	fp.Cmov(z, &w, uint(first))
	fp.Sqr(&t, z)
	fp.Mul(&t, &t, v)
	return feEqual(&t, u)
}

// feInvert replaces every element by its inverse, with one inversion in all
// (Montgomery's trick). None may be zero.
func feInvert(xs []fp.Elt) {
	before := make([]fp.Elt, len(xs)) // products of all that come before
	all := feOne
	for i := range xs {
		before[i] = all
		fp.Mul(&all, &all, &xs[i])
	}
	var inv, t fp.Elt
	fp.Inv(&inv, &all)
	for i := len(xs) - 1; i >= 0; i-- {
		fp.Mul(&t, &inv, &before[i])
		fp.Mul(&inv, &inv, &xs[i])
		xs[i] = t
	}
}
