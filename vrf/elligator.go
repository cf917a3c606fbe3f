package vrf

import (
	"crypto"

	"github.com/cloudflare/circl/expander"
	fp "github.com/cloudflare/circl/math/fp25519"
)

// Encoding to edwards25519 with Elligator 2: the suite
// edwards25519_XMD:SHA-512_ELL2_NU_ of RFC 9380, in a time that depends on the
// length of the message only. It stays in fractions, and so costs one root;
// the inversion that the encoding of the point needs can be shared by a batch.

// ell2Domain is the domain separation tag of the ELL2 suite: "ECVRF_", the
// name of the hash-to-curve suite, suite_string.
var ell2Domain = []byte("ECVRF_edwards25519_XMD:SHA-512_ELL2_NU_\x04")

// Constants of the map: curve25519 is y² = x³ + J x² + x.
var (
	feJ    = fp.Elt{0x06, 0x6d, 0x07}                                                  // 486662
	feExp2 = feHex("2b8324804fc1df0b2b4d00993dfbd7a72f431806ad2fe478c4ee1b274a0ea0b1") // 2^((p+3)/8)
	feIso  = feHex("0f26edf460a006bbd27b08dc03fc4f7ec5a1d3d14b7d1a82cc6e04aaff457e06") // the even root of -486664
	fe256  = fp.Elt{38}                                                                // 2^256
)

// ell2Hash encodes salt || message to a point of prime order.
func ell2Hash(salt, message []byte) edPoint {
	msg := make([]byte, 0, len(salt)+len(message))
	msg = append(append(msg, salt...), message...)
	e := expander.NewExpanderMD(crypto.SHA512, ell2Domain).Expand(msg, 48)
	// 48 bytes, the highest first, modulo p.
	var lo, hi fp.Elt
	for i, b := range e[16:] {
		lo[31-i] = b
	}
	for i, b := range e[:16] {
		hi[15-i] = b
	}
	fp.Mul(&hi, &hi, &fe256)
	fp.Add(&lo, &lo, &hi)
	p := montgomeryToEdwards(elligator2(&lo))
	p.clearCofactor()
	return p
}

// elligator2 maps u to a point (xn/xd, y) of curve25519: RFC 9380, section
// 6.7.1. Of g(x1) and g(x2) = 2u² g(x1) one is a square, where
// x1 = -J/(1+2u²) and x2 = 2u² x1.
func elligator2(u *fp.Elt) (xn, xd, y fp.Elt) {
	var u2, xd2, gx, gxd, x1, y2, t fp.Elt
	fp.Sqr(&u2, u)
	fp.Add(&u2, &u2, &u2)
	fp.Add(&xd, &u2, &feOne) // not 0: -1 is a square, 2u² is none
	fp.Neg(&x1, &feJ)
	fp.Sqr(&xd2, &xd)
	fp.Mul(&gxd, &xd2, &xd)
	// g(x1) = x1 (x1² + J x1 xd + xd²) / xd³, and x1 + J xd = J 2u².
	fp.Mul(&t, &feJ, &u2)
	fp.Mul(&t, &t, &x1)
	fp.Add(&t, &t, &xd2)
	fp.Mul(&gx, &t, &x1)
	square := uint(feRoot(&y, &gx, &gxd))

	// If it is no square, what was found times u 2^((p+3)/8) is a root of
	// g(x2), up to a root of -1.
	fp.Mul(&y2, &y, u)
	fp.Mul(&y2, &y2, &feExp2)
	fp.Mul(&gx, &gx, &u2)
	fp.Sqr(&t, &y2)
	fp.Mul(&t, &t, &gxd)
	right := uint(feEqual(&t, &gx))
	fp.Mul(&t, &y2, &feSqrtM1)
	fp.Cmov(&t, &y2, right)
	fp.Cmov(&t, &y, square)
	y = t

	fp.Mul(&xn, &x1, &u2)
	fp.Cmov(&xn, &x1, square)
	fp.Neg(&t, &y)
	fp.Cmov(&y, &t, square^uint(feOdd(&y))) // the sign says which of the two it was
	return xn, xd, y
}

// montgomeryToEdwards maps (xn/xd, y) to edwards25519: RFC 9380, appendix D.1.
// The two points without an image go to the neutral element.
func montgomeryToEdwards(xn, xd, y fp.Elt) (p edPoint) {
	var vn, vd, wn, wd, t fp.Elt
	fp.Mul(&vn, &xn, &feIso) // v = sqrt(-486664) x/y
	fp.Mul(&vd, &xd, &y)
	fp.Sub(&wn, &xn, &xd) // w = (x-1)/(x+1)
	fp.Add(&wd, &xn, &xd)
	fp.Mul(&t, &vd, &wd)
	none := uint(feEqual(&t, &feZero))
	fp.Cmov(&vn, &feZero, none)
	fp.Cmov(&vd, &feOne, none)
	fp.Cmov(&wn, &feOne, none)
	fp.Cmov(&wd, &feOne, none)
	fp.Mul(&p.x, &vn, &wd)
	fp.Mul(&p.y, &wn, &vd)
	fp.Mul(&p.z, &vd, &wd)
	fp.Mul(&p.t, &vn, &wn)
	return p
}
