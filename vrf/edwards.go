package vrf

import (
	"crypto/sha512"
	"fmt"

	ed "github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"github.com/oasisprotocol/curve25519-voi/primitives/h2c"
)

// edwards is the group of the two edwards25519 suites: cofactor 8, points as
// 32 bytes of RFC 8032, scalars little-endian.
type edwards struct{}

// ell2Domain is the domain separation tag of the ELL2 suite: "ECVRF_", the
// name of the hash-to-curve suite, suite_string.
var ell2Domain = []byte("ECVRF_edwards25519_XMD:SHA-512_ELL2_NU_\x04")

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
	h, err := edHash(k.suite, k.pub, alpha)
	if err != nil {
		return t, nil, err
	}
	t = transcript{suite: k.suite, y: k.pub, h: edEncode(h)}
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
	h, err := edHash(suite, public, alpha)
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
	return transcript{suite, public, edEncode(h), gamma, edEncode(&u), edEncode(&v)}, nil
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
	if err != nil {
		return nil, err
	}
	if !c.IsCanonicalVartime() {
		return nil, fmt.Errorf("point is not canonical")
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

// edHash is ECVRF_encode_to_curve with the public key as salt.
func edHash(suite Suite, public, alpha []byte) (*ed.EdwardsPoint, error) {
	if suite == EdwardsTAI {
		return edTryAndIncrement(public, alpha)
	}
	msg := make([]byte, 0, len(public)+len(alpha))
	msg = append(append(msg, public...), alpha...)
	h, err := h2c.Edwards25519_XMD_SHA512_ELL2_NU(ell2Domain, msg)
	if err != nil {
		return nil, fmt.Errorf("vrf: hash to curve: %w", err)
	}
	return h, nil
}

// edTryAndIncrement is RFC 9381, section 5.4.1.1. Half of all counters give a
// point, so it fails with probability 2^-256.
func edTryAndIncrement(public, alpha []byte) (*ed.EdwardsPoint, error) {
	for ctr := 0; ctr < 256; ctr++ {
		d := EdwardsTAI.hash([]byte{byte(EdwardsTAI), domainEncode}, public, alpha, []byte{byte(ctr), domainEnd})
		h, err := edDecode(d[:32])
		if err != nil {
			continue
		}
		if h.MulByCofactor(h); !h.IsIdentity() {
			return h, nil
		}
	}
	return nil, fmt.Errorf("vrf: no point for this input")
}
