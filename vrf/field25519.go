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

// feLanes are elements that are worked on in step. Each step waits for the one
// before; with several lanes the processor has something to do meanwhile.
type feLanes [4]fp.Elt

// squares sets the first n lanes of z to x^(2^k).
func (z *feLanes) squares(x *feLanes, k, n int) {
	for i := range n {
		fp.Sqr(&z[i], &x[i])
	}
	for range k - 1 {
		for i := range n {
			fp.Sqr(&z[i], &z[i])
		}
	}
}

func (z *feLanes) mul(x, y *feLanes, n int) {
	for i := range n {
		fp.Mul(&z[i], &x[i], &y[i])
	}
}

// pow2523 sets the first n lanes of z to x^((p-5)/8), which is x^(2^252-3), by
// the usual chain: a name a_b says x^(2^a-2^b).
func (z *feLanes) pow2523(x *feLanes, n int) {
	var x2, x9, x11, t5, t10, t20, t50, t100, t feLanes
	x2.squares(x, 1, n)
	t.squares(&x2, 2, n)
	x9.mul(&t, x, n)
	x11.mul(&x9, &x2, n)
	t.squares(&x11, 1, n)
	t5.mul(&t, &x9, n) // 2^5-1
	join := func(z, a, b *feLanes, k int) {
		t.squares(a, k, n)
		z.mul(&t, b, n)
	}
	join(&t10, &t5, &t5, 5)
	join(&t20, &t10, &t10, 10)
	join(&t, &t20, &t20, 20)
	join(&t50, &t, &t10, 10)
	join(&t100, &t50, &t50, 50)
	join(&t, &t100, &t100, 100)
	join(&t, &t, &t50, 50) // 2^250-1
	join(z, &t, x, 2)
}

// feRoot sets z to a root of u/v and returns 1, or returns 0 if there is none:
// then z² is u/v times a root of -1. z may not be u or v.
func feRoot(z, u, v *fp.Elt) int {
	var zs feLanes
	ok := zs.roots(&feLanes{*u}, &feLanes{*v}, 1)
	*z = zs[0]
	return ok[0]
}

// roots is feRoot in the first n lanes.
func (z *feLanes) roots(u, v *feLanes, n int) (ok [len(feLanes{})]int) {
	var v3, w feLanes
	w.squares(v, 1, n)
	v3.mul(&w, v, n)
	w.squares(&v3, 1, n)
	w.mul(&w, v, n)
	w.mul(&w, u, n)
	w.pow2523(&w, n) // (u v⁷)^((p-5)/8)
	w.mul(&w, &v3, n)
	w.mul(&w, u, n)
	for i := range n {
		// w² v is u times a fourth root of unity; for 1 and -1 there is a root.
		var t fp.Elt
		fp.Mul(&z[i], &w[i], &feSqrtM1)
		fp.Sqr(&t, &w[i])
		fp.Mul(&t, &t, &v[i])
		first := feEqual(&t, &u[i])
		fp.Cmov(&z[i], &w[i], uint(first))
		fp.Sqr(&t, &z[i])
		fp.Mul(&t, &t, &v[i])
		ok[i] = feEqual(&t, &u[i])
	}
	return ok
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
