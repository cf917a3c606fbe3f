package vrf

import (
	"crypto"
	"math/big"

	"github.com/cloudflare/circl/expander"
)

// Encoding to P-256: the suite P256_XMD:SHA-256_SSWU_NU_ of RFC 9380, in a
// time that depends on the length of the message only.

// sswuDomain is the domain separation tag of the SSWU suite.
var sswuDomain = []byte("ECVRF_P256_XMD:SHA-256_SSWU_NU_\x02")

// Constants of the map: P-256 is y² = x³ + A x + B, with A = -3; Z is -10.
var (
	nistB  = nistFromBytes(nistHex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b"))
	nistZ  = nistNegative(10)
	nistA  = nistNegative(3)
	root10 = nistFromBytes(nistHex("da538e3be1d89b99c978fc675180aab27b8d1ff84c55d5b62ccd3427e433c47f")) // of -Z
)

func nistNegative(n uint64) (z nistField) {
	z = nistSmall(n)
	z.neg(&z)
	return z
}

// sswuHash encodes salt || message to a point.
func sswuHash(salt, message []byte) point {
	msg := make([]byte, 0, len(salt)+len(message))
	msg = append(append(msg, salt...), message...)
	e := expander.NewExpanderMD(crypto.SHA256, sswuDomain).Expand(msg, 48)
	// 48 bytes, the highest first, modulo p.
	var high [32]byte
	copy(high[16:], e[:16])
	u, lo := nistFromBytes(high[:]), nistFromBytes(e[16:])
	u.mul(&u, &nistRR) // times 2^256
	u.add(&u, &lo)
	x, y := sswu(&u)
	return point{nistBig(&x), nistBig(&y)}
}

// sswu is the simplified map of Shallue, van de Woestijne and Ulas, RFC 9380,
// appendix F.2: of g(x1) and g(x2), where x1 = -B/A (1 + 1/(Z² u⁴ + Z u²)) and
// x2 = Z u² x1, one is a square.
func sswu(u *nistField) (x, y nistField) {
	var zu, t, n, d, g, gd, s nistField
	zu.mul(u, u)
	zu.mul(&zu, &nistZ)
	t.mul(&zu, &zu)
	t.add(&t, &zu)
	n.add(&t, &nistOne) // x1 = n/d = B (t+1) / (-A t), or B/(Z A) if t = 0
	n.mul(&n, &nistB)
	d.neg(&t)
	d.cmov(&nistZ, t.isZero())
	d.mul(&d, &nistA)
	// g(x1) = (n³ + A n d² + B d³) / d³
	g.mul(&n, &n)
	s.mul(&d, &d)
	gd.mul(&s, &d)
	s.mul(&s, &nistA)
	g.add(&g, &s)
	g.mul(&g, &n)
	s.mul(&gd, &nistB)
	g.add(&g, &s)
	square := y.root(&g, &gd)
	// If it is none, y² is -g(x1), and g(x2) = Z³ u⁶ g(x1): its root is
	// Z u³ y times the root of -Z.
	s.mul(&y, &root10)
	s.mul(&s, &zu)
	s.mul(&s, u)
	s.cmov(&y, square)
	y = s
	x.mul(&zu, &n)
	x.cmov(&n, square)
	s.neg(&y)
	y.cmov(&s, y.odd()^u.odd())
	d.pow(&d, &nistInvert)
	x.mul(&x, &d)
	return x, y
}

// nistBig returns the value of x.
func nistBig(x *nistField) *big.Int {
	v := x.value()
	b := v.bytes()
	return new(big.Int).SetBytes(b[:])
}
