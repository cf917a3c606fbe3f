package bls

import (
	"math/big"

	"github.com/cloudflare/circl/ecc/bls12381/ff"
)

// inGroup reports whether p is in G1, in a third of the time of circl's
// decoder.
//
// The curve has the endomorphism φ(x, y) = (βx, y), where β is a third root of
// unity, so φ² + φ + 1 = 0. If φ(p) = -z²·p, with the number z that the curve
// was made from, then (z⁴ - z² + 1)·p = 0, and z⁴ - z² + 1 is the order of G1.
// On G1, φ multiplies by one of the two roots of x² + x + 1, of which -z² is
// one and β chosen accordingly (Scott 2021, eprint 2021/1130, §4).
func (p *affine) inGroup() bool {
	s := weighted([]affine{*p}, [][coefficientSize]byte{zSquared})
	if s.z.IsZero() == 1 {
		return false
	}
	var x, y ff.Fp // of -φ(p), in the coordinates of s
	x.Mul(&p.x, &beta)
	x.Mul(&x, &s.z)
	y.Mul(&p.y, &s.z)
	y.Neg()
	return s.x.IsEqual(&x) == 1 && s.y.IsEqual(&y) == 1
}

// zSquared is z² for z = -0xd201000000010000.
var zSquared = [coefficientSize]byte{0xac, 0x45, 0xa4, 0x01, 0x00, 0x01, 0xa4, 0x02, 0x00, 0x00, 0x00, 0x01}

// beta is the third root of unity that belongs to -z².
var beta = thirdRoot()

// thirdRoot returns 2^((p-1)/3), which is not one: 2 is no cube.
func thirdRoot() (b ff.Fp) {
	p := new(big.Int).SetBytes(ff.FpOrder())
	e := new(big.Int).Div(new(big.Int).Sub(p, big.NewInt(1)), big.NewInt(3))
	var two ff.Fp
	two.SetUint64(2)
	b.ExpVarTime(&two, e.Bytes())
	return b
}

// weighted returns the sum of k[i]·p[i], most significant bit first. The
// doublings are shared; a point that is added in affine form is so cheap that a
// table of multiples would not pay.
func weighted(p []affine, k [][coefficientSize]byte) *sum {
	s := new(sum)
	s.reset()
	for bit := range 8 * coefficientSize {
		s.double()
		for i := range p {
			if k[i][bit/8]>>(7-bit%8)&1 == 1 {
				s.add(&p[i])
			}
		}
	}
	return s
}

// double adds s to itself (Renes, Costello, Batina 2016, algorithm 9), which
// like add holds for every s.
func (s *sum) double() {
	var yy, yz, xy, t ff.Fp
	yy.Sqr(&s.y)
	yz.Mul(&s.y, &s.z)
	xy.Mul(&s.x, &s.y)
	t.Sqr(&s.z)
	bzz := twelve(&t)
	var eight ff.Fp // 8y²
	eight.Add(&yy, &yy)
	eight.Add(&eight, &eight)
	eight.Add(&eight, &eight)

	var minus, plus ff.Fp
	t = triple(&bzz)
	minus.Sub(&yy, &t)
	plus.Add(&yy, &bzz)

	s.x.Mul(&xy, &minus)
	s.x.Add(&s.x, &s.x)
	s.y.Mul(&minus, &plus)
	t.Mul(&bzz, &eight)
	s.y.Add(&s.y, &t)
	s.z.Mul(&yz, &eight)
}
