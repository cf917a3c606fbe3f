package vrf

import (
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"math/big"
)

// nist is the group of the two P-256 suites: cofactor 1, points compressed as
// in SEC 1, scalars big-endian.
//
// crypto/elliptic is deprecated because its interface invites misuse, not for
// what it does: its P-256 is the constant-time one behind crypto/ecdh, and the
// only place in the standard library that multiplies a point and returns it
// whole. Every point that gets there was decoded, which checks that it is on
// the curve, or comes out of the map to it.
type nist struct{}

// point is an affine point; both coordinates are 0 at infinity.
type point struct{ x, y *big.Int }

type nistSecret struct {
	suite Suite
	x     [32]byte
	pub   []byte
}

func (nist) newSecret(s Suite, seed []byte) (secret, error) {
	k := &nistSecret{suite: s}
	copy(k.x[:], seed)
	if !validScalar(&k.x) {
		return nil, fmt.Errorf("vrf: %w: scalar out of range", ErrKey)
	}
	k.pub = baseMul(k.x[:]).encode()
	return k, nil
}

func (k *nistSecret) public() []byte { return k.pub }

// prove is ECVRF_prove. Everything that touches x or the nonce is constant
// time; H depends on public values alone.
func (k *nistSecret) prove(alpha []byte) (t transcript, s []byte, err error) {
	h, err := nistHash(k.suite, k.pub, alpha)
	if err != nil {
		return t, nil, err
	}
	t = transcript{suite: k.suite, y: k.pub, h: h.encode()}
	nonce := k.nonce(t.h)
	t.gamma = h.mul(k.x[:]).encode()
	t.u = baseMul(nonce[:]).encode()
	t.v = h.mul(nonce[:]).encode()
	var c [32]byte
	copy(c[16:], t.challenge())
	z := mulAddScalar(&c, &k.x, &nonce)
	return t, z[:], nil
}

// nonce is RFC 6979, section 3.2, for the message m and SHA-256.
func (k *nistSecret) nonce(m []byte) [32]byte {
	digest := sha256.Sum256(m)
	h := reduceScalar(&digest)
	mac := func(key []byte, parts ...[]byte) []byte {
		f := hmac.New(sha256.New, key)
		for _, p := range parts {
			f.Write(p)
		}
		return f.Sum(nil)
	}
	key, v := make([]byte, 32), make([]byte, 32)
	for i := range v {
		v[i] = 1
	}
	key = mac(key, v, []byte{0}, k.x[:], h[:])
	v = mac(key, v)
	key = mac(key, v, []byte{1}, k.x[:], h[:])
	v = mac(key, v)
	for {
		v = mac(key, v)
		if n := [32]byte(v); validScalar(&n) {
			return n
		}
		key = mac(key, v, []byte{0})
		v = mac(key, v)
	}
}

func (nist) checkKey(public []byte) error {
	_, err := nistDecode(public, ErrKey)
	return err
}

func (nist) open(suite Suite, public, alpha, gamma, c, s []byte) (t transcript, err error) {
	z := [32]byte(s)
	if r := reduceScalar(&z); r != z {
		return t, fmt.Errorf("vrf: %w: s is not reduced", ErrProof)
	}
	y, err := nistDecode(public, ErrKey)
	if err != nil {
		return t, err
	}
	g, err := nistDecode(gamma, ErrProof)
	if err != nil {
		return t, err
	}
	h, err := nistHash(suite, public, alpha)
	if err != nil {
		return t, err
	}
	u := baseMul(s).sub(y.mul(c))
	v := h.mul(s).sub(g.mul(c))
	return transcript{suite, public, h.encode(), gamma, u.encode(), v.encode(), gamma}, nil
}

// clear has nothing to do: the cofactor is 1.
func (nist) clear(gamma []byte) ([]byte, error) {
	_, err := nistDecode(gamma, ErrProof)
	return gamma, err
}

// nistDecode decodes a compressed point. Infinity has no encoding of this
// length, and every other point of the curve has prime order.
func nistDecode(b []byte, kind error) (point, error) {
	if len(b) != 33 {
		return point{}, fmt.Errorf("vrf: %w: point of %d bytes", kind, len(b))
	}
	x, y := elliptic.UnmarshalCompressed(elliptic.P256(), b)
	if x == nil {
		return point{}, fmt.Errorf("vrf: %w: not a point of P-256", kind)
	}
	return point{x, y}, nil
}

// encode returns the compressed point; for infinity, a zero byte.
func (p point) encode() []byte {
	if p.x.Sign() == 0 && p.y.Sign() == 0 {
		return []byte{0}
	}
	return elliptic.MarshalCompressed(elliptic.P256(), p.x, p.y)
}

func baseMul(k []byte) point {
	x, y := elliptic.P256().ScalarBaseMult(k) //lint:ignore SA1019 see nist
	return point{x, y}
}

func (p point) mul(k []byte) point {
	x, y := elliptic.P256().ScalarMult(p.x, p.y, k) //lint:ignore SA1019 see nist
	return point{x, y}
}

// sub returns p - q.
func (p point) sub(q point) point {
	ny := new(big.Int).Set(q.y)
	if ny.Sign() != 0 {
		ny.Sub(elliptic.P256().Params().P, ny)
	}
	x, y := elliptic.P256().Add(p.x, p.y, q.x, ny) //lint:ignore SA1019 see nist
	return point{x, y}
}

// nistHash is ECVRF_encode_to_curve with the public key as salt.
func nistHash(suite Suite, public, alpha []byte) (point, error) {
	if suite == P256TAI {
		return nistTryAndIncrement(public, alpha)
	}
	return sswuHash(public, alpha), nil
}

// nistTryAndIncrement is RFC 9381, section 5.4.1.1. Half of all counters give
// a point, so it fails with probability 2^-256.
func nistTryAndIncrement(public, alpha []byte) (point, error) {
	for ctr := 0; ctr < 256; ctr++ {
		d := P256TAI.hash([]byte{byte(P256TAI), domainEncode}, public, alpha, []byte{byte(ctr), domainEnd})
		if p, err := nistDecode(append([]byte{2}, d...), ErrProof); err == nil {
			return p, nil
		}
	}
	return point{}, fmt.Errorf("vrf: no point for this input")
}
