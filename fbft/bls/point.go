package bls

import (
	"errors"
	"fmt"

	"github.com/cloudflare/circl/ecc/bls12381"
	"github.com/cloudflare/circl/ecc/bls12381/ff"
)

// affine is a point of the curve y² = x³ + 4 over Fp, not the point at
// infinity. It need not be in G1, the subgroup of prime order.
type affine struct{ x, y ff.Fp }

// The first three bits of an encoded point.
const (
	flagCompressed = 0x80
	flagInfinity   = 0x40
	flagLarger     = 0x20 // of y and -y the larger one
	flagMask       = 0xe0
)

var (
	errLength   = errors.New("wrong length")
	errEncoding = errors.New("not a compressed point")
	errIdentity = errors.New("point at infinity")
	errField    = errors.New("coordinate not below the field's order")
	errCurve    = errors.New("not on the curve")
	errGroup    = errors.New("not in the subgroup")
)

// decompress reads a compressed point and puts it on the curve, without the
// subgroup check: that is left to the sum of many.
func (p *affine) decompress(b []byte) error {
	if len(b) != SignatureSize {
		return fmt.Errorf("%w: %d bytes", errLength, len(b))
	}
	switch flags := b[0] & flagMask; {
	case flags&flagCompressed == 0:
		return errEncoding
	case flags&flagInfinity != 0:
		return errIdentity
	}
	var raw [SignatureSize]byte
	copy(raw[:], b)
	raw[0] &^= flagMask
	if p.x.UnmarshalBinary(raw[:]) != nil {
		return errField
	}
	var y2, b4 ff.Fp
	b4.SetUint64(4)
	y2.Sqr(&p.x)
	y2.Mul(&y2, &p.x)
	y2.Add(&y2, &b4)
	if !sqrt(&p.y, &y2) {
		return errCurve
	}
	larger := 0
	if b[0]&flagLarger != 0 {
		larger = 1
	}
	if p.y.IsNegative() != larger {
		p.y.Neg()
	}
	return nil
}

// sqrt sets z to a square root of a and reports whether there is one. The
// field's order is 3 mod 4, so a candidate is a^((p+1)/4). The exponent is
// walked through windows of odd digits, a quarter fewer multiplications than
// bit by bit, which is what a vote costs.
func sqrt(z, a *ff.Fp) bool {
	var odd [1 << (window - 1)]ff.Fp // a, a³, a⁵, …
	odd[0] = *a
	var square ff.Fp
	square.Sqr(a)
	for i := 1; i < len(odd); i++ {
		odd[i].Mul(&odd[i-1], &square)
	}
	r := odd[sqrtSteps[0].digit/2]
	for _, s := range sqrtSteps[1:] {
		for range s.squarings {
			r.Sqr(&r)
		}
		if s.digit != 0 {
			r.Mul(&r, &odd[s.digit/2])
		}
	}
	square.Sqr(&r)
	*z = r
	return square.IsEqual(a) == 1
}

// window is the width of the digits of the square root's exponent.
const window = 5

// step is: square so many times, then multiply by the base to the digit.
type step struct {
	squarings int
	digit     int // odd, or 0: no multiplication
}

// sqrtSteps is (p+1)/4 as sliding windows. The first step's digit starts the
// chain.
var sqrtSteps = sqrtChain()

func sqrtChain() []step {
	// (p+1)/4: the order ends in 0xab, so adding one carries nowhere and the
	// two low bits fall away.
	p := ff.FpOrder()
	p[len(p)-1]++
	bit := func(i int) int { // bit i of p+1, from the top
		return int(p[i/8]>>(7-i%8)) & 1
	}
	var steps []step
	zeros, end := 0, 8*len(p)-2
	for i := 0; i < end; {
		if bit(i) == 0 {
			zeros++
			i++
			continue
		}
		// The longest window that starts here and ends in a one.
		width := min(window, end-i)
		for bit(i+width-1) == 0 {
			width--
		}
		digit := 0
		for j := range width {
			digit = digit<<1 | bit(i+j)
		}
		steps = append(steps, step{squarings: zeros + width, digit: digit})
		zeros, i = 0, i+width
	}
	if zeros > 0 {
		steps = append(steps, step{squarings: zeros})
	}
	return steps
}

// sum is a point in homogeneous projective coordinates; it adds up affine
// points. The zero sum is not valid: call reset.
type sum struct{ x, y, z ff.Fp }

// reset makes s the point at infinity.
func (s *sum) reset() {
	*s = sum{}
	s.y.SetOne()
}

// add adds p to s. The formulas (Renes, Costello, Batina 2016, algorithm 8,
// a = 0) are complete: they hold for p = s, p = -s and s at infinity alike,
// on every curve without a point of order two. The group of all points over
// Fp has odd order, so that covers points outside the subgroup as well.
func (s *sum) add(p *affine) {
	var xx, yy, xy, yz, xz, t ff.Fp
	xx.Mul(&s.x, &p.x)
	yy.Mul(&s.y, &p.y)
	xy.Add(&s.x, &s.y) // x1 y2 + x2 y1
	t.Add(&p.x, &p.y)
	xy.Mul(&xy, &t)
	xy.Sub(&xy, &xx)
	xy.Sub(&xy, &yy)
	yz.Mul(&p.y, &s.z) // y2 z1 + y1
	yz.Add(&yz, &s.y)
	xz.Mul(&p.x, &s.z) // x2 z1 + x1
	xz.Add(&xz, &s.x)

	xx3, bz := triple(&xx), twelve(&s.z)
	bxz := twelve(&xz)
	var plus, minus ff.Fp
	plus.Add(&yy, &bz)
	minus.Sub(&yy, &bz)

	s.x.Mul(&xy, &minus)
	t.Mul(&yz, &bxz)
	s.x.Sub(&s.x, &t)
	s.y.Mul(&minus, &plus)
	t.Mul(&bxz, &xx3)
	s.y.Add(&s.y, &t)
	s.z.Mul(&plus, &yz)
	t.Mul(&xx3, &xy)
	s.z.Add(&s.z, &t)
}

// triple returns 3a.
func triple(a *ff.Fp) (r ff.Fp) {
	r.Add(a, a)
	r.Add(&r, a)
	return r
}

// twelve returns 12a; 12 is three times the curve's constant.
func twelve(a *ff.Fp) (r ff.Fp) {
	r = triple(a)
	r.Add(&r, &r)
	r.Add(&r, &r)
	return r
}

// group checks that s is in G1 and not at infinity, and gives it to circl,
// whose decoder checks curve and subgroup whatever was checked before.
func (s *sum) group() (*bls12381.G1, error) {
	if s.z.IsZero() == 1 {
		return nil, errIdentity
	}
	var inverse, x, y ff.Fp
	inverse.Inv(&s.z)
	x.Mul(&s.x, &inverse)
	y.Mul(&s.y, &inverse)
	enc, err := x.MarshalBinary()
	if err != nil {
		return nil, err
	}
	encY, err := y.MarshalBinary()
	if err != nil {
		return nil, err
	}
	g := new(bls12381.G1)
	if g.SetBytes(append(enc, encY...)) != nil {
		return nil, errGroup
	}
	return g, nil
}

// decodeSignature reads a compressed point of G1 that is not at infinity.
func decodeSignature(b []byte) (*bls12381.G1, error) {
	if err := compressed(b, SignatureSize); err != nil {
		return nil, err
	}
	g := new(bls12381.G1)
	if g.SetBytes(b) != nil {
		return nil, errGroup
	}
	return g, nil
}

// decodeKey reads a compressed point of G2 that is not at infinity.
func decodeKey(b []byte) (*bls12381.G2, error) {
	if err := compressed(b, KeySize); err != nil {
		return nil, err
	}
	g := new(bls12381.G2)
	if g.SetBytes(b) != nil {
		return nil, errGroup
	}
	return g, nil
}

// compressed refuses what circl's decoder would take: the identity and the
// uncompressed form.
func compressed(b []byte, size int) error {
	switch {
	case len(b) != size:
		return fmt.Errorf("%w: %d bytes", errLength, len(b))
	case b[0]&flagCompressed == 0:
		return errEncoding
	case b[0]&flagInfinity != 0:
		return errIdentity
	}
	return nil
}
