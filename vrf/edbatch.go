package vrf

import (
	"fmt"

	ed "github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// edProof is a decoded batch-compatible proof.
type edProof struct {
	y, h, gamma, u, v *ed.EdwardsPoint
	c, s              *scalar.Scalar
}

// edParse decodes a proof strictly and computes its challenge.
func edParse(suite Suite, t *transcript, alpha, s []byte) (p edProof, err error) {
	if p.s, err = scalar.NewFromCanonicalBytes(s); err != nil {
		return p, fmt.Errorf("vrf: %w: s is not reduced", ErrProof)
	}
	if p.y, err = edKey(t.y); err != nil {
		return p, err
	}
	for _, f := range []struct {
		to **ed.EdwardsPoint
		b  []byte
	}{{&p.gamma, t.gamma}, {&p.u, t.u}, {&p.v, t.v}} {
		if *f.to, err = edDecode(f.b); err != nil {
			return p, fmt.Errorf("vrf: %w: %v", ErrProof, err)
		}
	}
	if p.h, err = edHash(suite, t.y, alpha); err != nil {
		return p, err
	}
	t.h = edEncode(p.h)
	p.c, err = edChallenge(t.challenge())
	return p, err
}

// check verifies 8(sB - cY - U) = 0 and 8(sH - c*Gamma - V) = 0.
func (edwards) check(suite Suite, t *transcript, alpha, s []byte) error {
	p, err := edParse(suite, t, alpha, s)
	if err != nil {
		return err
	}
	minus := scalar.New().Neg(p.c)
	var u, v ed.EdwardsPoint
	u.DoubleScalarMulBasepointVartime(minus, p.y, p.s)
	v.MultiscalarMulVartime([]*scalar.Scalar{p.s, minus}, []*ed.EdwardsPoint{p.h, p.gamma})
	if !u.Sub(&u, p.u).IsSmallOrder() || !v.Sub(&v, p.v).IsSmallOrder() {
		return fmt.Errorf("vrf: %w: equation does not hold", ErrProof)
	}
	return nil
}

// verifyAll checks the sum over i of z(sB - U - cY) + w(sH - V - c*Gamma),
// times the cofactor.
func (edwards) verifyAll(suite Suite, items []Item, coeff func(i int) [2][16]byte, betas [][]byte) bool {
	scalars := make([]*scalar.Scalar, 0, 5*len(items)+1)
	points := make([]*ed.EdwardsPoint, 0, 5*len(items)+1)
	term := func(k *scalar.Scalar, p *ed.EdwardsPoint) {
		scalars, points = append(scalars, k), append(points, p)
	}
	base := scalar.New()
	products := make([]scalar.Scalar, 3*len(items))
	var zs scalar.Scalar
	for i := range items {
		t, s, err := splitBatch(suite, &items[i])
		if err != nil {
			return false
		}
		p, err := edParse(suite, &t, items[i].Alpha, s)
		if err != nil {
			return false
		}
		z := coeff(i)
		zu, err := edChallenge(z[0][:])
		if err != nil {
			return false
		}
		zv, err := edChallenge(z[1][:])
		if err != nil {
			return false
		}
		base.Add(base, zs.Mul(zu, p.s))
		m := products[3*i : 3*i+3]
		betas[i] = edOutput(suite, p.gamma)
		term(zu, p.u.Neg(p.u))
		term(m[0].Mul(zu, p.c), p.y.Neg(p.y))
		term(zv, p.v.Neg(p.v))
		term(m[1].Mul(zv, p.c), p.gamma.Neg(p.gamma))
		term(m[2].Mul(zv, p.s), p.h)
	}
	term(base, ed.ED25519_BASEPOINT_POINT)
	var sum ed.EdwardsPoint
	return sum.MultiscalarMulVartime(scalars, points).IsSmallOrder()
}

func edOutput(suite Suite, gamma *ed.EdwardsPoint) []byte {
	var p ed.EdwardsPoint
	return suite.hash([]byte{byte(suite), domainOutput}, edEncode(p.MulByCofactor(gamma)), []byte{domainEnd})
}
