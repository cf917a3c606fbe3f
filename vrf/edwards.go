package vrf

import (
	"crypto/sha512"
	"fmt"

	fp "github.com/cloudflare/circl/math/fp25519"
	ed "github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// edwards is the group of the two edwards25519 suites: cofactor 8, points as
// 32 bytes of RFC 8032, scalars little-endian.
type edwards struct{}

// edwardsSecret is an expanded key: x is the secret scalar, prefix seeds the
// nonces.
type edwardsSecret struct {
	suite  Suite
	x      *scalar.Scalar
	prefix [32]byte
	pub    []byte
}

func (edwards) newSecret(s Suite, seed []byte) (secret, error) {
	d := sha512.Sum512(seed)
	d[0] &= 248
	d[31] = d[31]&127 | 64
	x, err := scalar.NewFromBits(d[:32])
	if err != nil {
		return nil, fmt.Errorf("vrf: %w: %v", ErrKey, err)
	}
	k := &edwardsSecret{suite: s, x: x}
	copy(k.prefix[:], d[32:])
	var y ed.EdwardsPoint
	k.pub = edEncode(y.MulBasepoint(ed.ED25519_BASEPOINT_TABLE, x))
	return k, nil
}

func (k *edwardsSecret) public() []byte { return k.pub }

// prove is ECVRF_prove, RFC 9381, section 5.1. Everything that touches x or
// the nonce is constant time; H depends on public values alone.
func (k *edwardsSecret) prove(alpha []byte) (t transcript, s []byte, err error) {
	h, enc, err := edHash(k.suite, k.pub, alpha)
	if err != nil {
		return t, nil, err
	}
	t = transcript{suite: k.suite, y: k.pub, h: enc}
	nonce, err := scalar.NewFromBytesModOrderWide(EdwardsELL2.hash(k.prefix[:], t.h))
	if err != nil {
		return t, nil, fmt.Errorf("vrf: nonce: %w", err)
	}
	var gamma, u, v ed.EdwardsPoint
	t.gamma = edEncode(gamma.Mul(h, k.x))
	t.u = edEncode(u.MulBasepoint(ed.ED25519_BASEPOINT_TABLE, nonce))
	t.v = edEncode(v.Mul(h, nonce))
	z, err := edChallenge(t.challenge())
	if err != nil {
		return t, nil, err
	}
	z.Mul(z, k.x)
	z.Add(z, nonce)
	s = make([]byte, 32)
	return t, s, z.ToBytes(s)
}

func (edwards) checkKey(public []byte) error {
	_, err := edKey(public)
	return err
}

func (edwards) open(suite Suite, public, alpha, gamma, c, s []byte) (t transcript, err error) {
	z, err := scalar.NewFromCanonicalBytes(s)
	if err != nil {
		return t, fmt.Errorf("vrf: %w: s is not reduced", ErrProof)
	}
	y, err := edKey(public)
	if err != nil {
		return t, err
	}
	g, err := edDecode(gamma)
	if err != nil {
		return t, fmt.Errorf("vrf: %w: gamma: %v", ErrProof, err)
	}
	cleared := edEncode(new(ed.EdwardsPoint).MulByCofactor(g))
	h, enc, err := edHash(suite, public, alpha)
	if err != nil {
		return t, err
	}
	ch, err := edChallenge(c)
	if err != nil {
		return t, err
	}
	var u, v ed.EdwardsPoint
	u.DoubleScalarMulBasepointVartime(ch, y.Neg(y), z)
	v.MultiscalarMulVartime([]*scalar.Scalar{z, ch}, []*ed.EdwardsPoint{h, g.Neg(g)})
	return transcript{suite, public, enc, gamma, edEncode(&u), edEncode(&v), cleared}, nil
}

func (edwards) clear(gamma []byte) ([]byte, error) {
	g, err := edDecode(gamma)
	if err != nil {
		return nil, fmt.Errorf("vrf: %w: gamma: %v", ErrProof, err)
	}
	return edEncode(g.MulByCofactor(g)), nil
}

// edKey decodes and validates a public key: canonical, and not of an order
// that divides the cofactor.
func edKey(public []byte) (*ed.EdwardsPoint, error) {
	y, err := edDecode(public)
	if err != nil {
		return nil, fmt.Errorf("vrf: %w: %v", ErrKey, err)
	}
	if y.IsSmallOrder() {
		return nil, fmt.Errorf("vrf: %w: of small order", ErrKey)
	}
	return y, nil
}

// edDecode decodes a point and refuses all but its one encoding.
func edDecode(b []byte) (*ed.EdwardsPoint, error) {
	c, err := ed.NewCompressedEdwardsYFromBytes(b)
	if err == nil && !c.IsCanonicalVartime() {
		err = fmt.Errorf("point is not canonical")
	}
	if err != nil {
		return nil, err
	}
	return edExpand(b)
}

// edExpand decodes a point from any encoding.
func edExpand(b []byte) (*ed.EdwardsPoint, error) {
	c, err := ed.NewCompressedEdwardsYFromBytes(b)
	if err != nil {
		return nil, err
	}
	var p ed.EdwardsPoint
	return p.SetCompressedY(c)
}

func edEncode(p *ed.EdwardsPoint) []byte {
	var c ed.CompressedEdwardsY
	return c.SetEdwardsPoint(p)[:]
}

// edChallenge turns the 128-bit challenge into a scalar.
func edChallenge(c []byte) (*scalar.Scalar, error) {
	var b [32]byte
	copy(b[:], c)
	return scalar.NewFromCanonicalBytes(b[:])
}

// edHash is ECVRF_encode_to_curve with the public key as salt. It returns the
// point and its encoding.
func edHash(suite Suite, public, alpha []byte) (*ed.EdwardsPoint, []byte, error) {
	p, err := edMap(suite, public, alpha)
	if err != nil {
		return nil, nil, err
	}
	var inv fp.Elt
	fp.Inv(&inv, &p.z)
	enc := p.encode(&inv)
	h, err := edExpand(enc) // takes as long for one point as for another
	if err != nil {
		return nil, nil, fmt.Errorf("vrf: hash to curve: %w", err)
	}
	return h, enc, nil
}

// edMap is edHash before the division by z, which is the same for whole batches.
func edMap(suite Suite, public, alpha []byte) (edPoint, error) {
	if suite == EdwardsELL2 {
		return ell2Hash(public, alpha), nil
	}
	// Try and increment, RFC 9381, section 5.4.1.1. Half of all counters give a
	// point, so it fails with probability 2^-256.
	for ctr := 0; ctr < 256; ctr++ {
		d := suite.hash([]byte{byte(suite), domainEncode}, public, alpha, []byte{byte(ctr), domainEnd})
		if h, err := edParsePoint(d[:32]); err == nil && !h.isSmallOrder() {
			h.clearCofactor()
			return h, nil
		}
	}
	return edPoint{}, fmt.Errorf("vrf: no point for this input")
}
