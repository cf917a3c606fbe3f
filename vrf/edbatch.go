package vrf

import (
	"encoding/binary"
	"fmt"

	fp "github.com/cloudflare/circl/math/fp25519"
	ed "github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// check verifies 8(sB - cY - U) = 0 and 8(sH - c*Gamma - V) = 0.
func (edwards) check(suite Suite, t *transcript, alpha, s []byte) error {
	z, err := scalar.NewFromCanonicalBytes(s)
	if err != nil {
		return fmt.Errorf("vrf: %w: s is not reduced", ErrProof)
	}
	y, err := edKey(t.y)
	if err != nil {
		return err
	}
	var points [3]*ed.EdwardsPoint
	for i, b := range [][]byte{t.gamma, t.u, t.v} {
		if points[i], err = edDecode(b); err != nil {
			return fmt.Errorf("vrf: %w: %v", ErrProof, err)
		}
	}
	h, enc, err := edHash(suite, t.y, alpha)
	if err != nil {
		return err
	}
	t.h = enc
	t.cleared = edEncode(new(ed.EdwardsPoint).MulByCofactor(points[0]))
	c, err := edChallenge(t.challenge())
	if err != nil {
		return err
	}
	c.Neg(c)
	var u, v ed.EdwardsPoint
	u.DoubleScalarMulBasepointVartime(c, y, z)
	v.MultiscalarMulVartime([]*scalar.Scalar{z, c}, []*ed.EdwardsPoint{h, points[0]})
	if !u.Sub(&u, points[1]).IsSmallOrder() || !v.Sub(&v, points[2]).IsSmallOrder() {
		return fmt.Errorf("vrf: %w: equation does not hold", ErrProof)
	}
	return nil
}

// edProof is one proof of a batch.
type edProof struct {
	t                 transcript
	y, h, gamma, u, v edPoint
	output            edPoint // 8*Gamma
	s                 *scalar.Scalar
}

// parse decodes a proof strictly.
func (p *edProof) parse(suite Suite, it *Item) (err error) {
	t, s, err := splitBatch(suite, it)
	if err != nil {
		return err
	}
	p.t = t
	if p.s, err = scalar.NewFromCanonicalBytes(s); err != nil {
		return err
	}
	if err = edParsePoints([]*edPoint{&p.y, &p.gamma, &p.u, &p.v}, t.y, t.gamma, t.u, t.v); err != nil {
		return err
	}
	if p.y.isSmallOrder() {
		return ErrKey
	}
	p.output = p.gamma
	p.output.clearCofactor()
	p.h, err = edMap(suite, t.y, it.Alpha)
	return err
}

// verifyAll checks that the sum over i of z(sB - U - cY) + w(sH - V - c*Gamma)
// is zero, times the cofactor.
func (edwards) verifyAll(suite Suite, items []Item, coeff func(i int) [2][16]byte, betas [][]byte) bool {
	proofs := make([]edProof, len(items))
	inverses := make([]fp.Elt, 2*len(items))
	for i := range proofs {
		p := &proofs[i]
		if p.parse(suite, &items[i]) != nil {
			return false
		}
		inverses[2*i], inverses[2*i+1] = p.h.z, p.output.z
	}
	feInvert(inverses)

	scalars := make([]words, 0, 5*len(items)+1)
	points := make([]edAffine, 0, 5*len(items)+1)
	term := func(k *scalar.Scalar, p *edPoint) {
		scalars, points = append(scalars, edWords(k)), append(points, p.affine())
	}
	base := scalar.New()
	for i := range proofs {
		p := &proofs[i]
		p.t.h = p.h.encode(&inverses[2*i])
		betas[i] = suite.output(p.output.encode(&inverses[2*i+1]))
		c, z, w, err := edCoefficients(p.t.challenge(), coeff(i))
		if err != nil {
			return false
		}
		var k scalar.Scalar
		base.Sub(base, k.Mul(z, p.s)) // all signs the other way round
		term(z, &p.u)
		term(k.Mul(z, c), &p.y)
		term(w, &p.v)
		term(k.Mul(w, c), &p.gamma)
		term(k.Mul(k.Neg(w), p.s), &p.h)
	}
	term(base, &edBasePoint)
	return multiScalar[edPoint](points, scalars).isSmallOrder()
}

// edCoefficients turns the challenge and the coefficients into scalars; all
// have 128 bits.
func edCoefficients(challenge []byte, coeff [2][16]byte) (c, z, w *scalar.Scalar, err error) {
	if c, err = edChallenge(challenge); err == nil {
		if z, err = edChallenge(coeff[0][:]); err == nil {
			w, err = edChallenge(coeff[1][:])
		}
	}
	return c, z, w, err
}

// edWords returns the value of a scalar.
func edWords(k *scalar.Scalar) (w words) {
	var b [scalar.ScalarSize]byte
	_ = k.ToBytes(b[:]) // the size is right
	for i := range w {
		w[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return w
}
