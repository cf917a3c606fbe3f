package vrf

import (
	"bytes"
	"crypto/elliptic"
	"fmt"
)

// check recomputes U and V, which have but one encoding.
func (n nist) check(suite Suite, t *transcript, alpha, s []byte) error {
	h, err := nistHash(suite, t.y, alpha)
	if err != nil {
		return err
	}
	t.h, t.cleared = h.encode(), t.gamma
	r, err := n.open(suite, t.y, alpha, t.gamma, t.challenge(), s)
	if err != nil {
		return err
	}
	if !bytes.Equal(r.u, t.u) || !bytes.Equal(r.v, t.v) {
		return fmt.Errorf("vrf: %w: equation does not hold", ErrProof)
	}
	return nil
}

// verifyAll checks that the sum over i of z(sB - U - cY) + w(sH - V - c*Gamma)
// is zero.
func (nist) verifyAll(suite Suite, items []Item, coeff func(i int) [2][16]byte, betas [][]byte) bool {
	scalars := make([]words, 0, 5*len(items)+1)
	points := make([]nistAffine, 0, 5*len(items)+1)
	term := func(k [32]byte, p nistAffine) {
		scalars, points = append(scalars, fromBytes(&k)), append(points, p)
	}
	var base, zero [32]byte
	for i := range items {
		t, s, err := splitBatch(suite, &items[i])
		if err != nil {
			return false
		}
		k := [32]byte(s)
		if reduceScalar(&k) != k {
			return false
		}
		h, err := nistHash(suite, t.y, items[i].Alpha)
		if err != nil {
			return false
		}
		t.h = h.encode()
		var minus [4]nistAffine // U, Y, V, Gamma
		for j, b := range [][]byte{t.u, t.y, t.v, t.gamma} {
			p, err := nistDecode(b, ErrProof)
			if err != nil {
				return false
			}
			minus[j] = p.affine()
			minus[j].y.neg(&minus[j].y)
		}
		betas[i] = suite.output(t.gamma)
		var c, z, w [32]byte
		zw := coeff(i)
		copy(c[16:], t.challenge())
		copy(z[16:], zw[0][:])
		copy(w[16:], zw[1][:])
		base = mulAddScalar(&z, &k, &base)
		term(z, minus[0])
		term(mulAddScalar(&z, &c, &zero), minus[1])
		term(w, minus[2])
		term(mulAddScalar(&w, &c, &zero), minus[3])
		term(mulAddScalar(&w, &k, &zero), h.affine())
	}
	p := elliptic.P256().Params()
	term(base, point{p.Gx, p.Gy}.affine())
	sum := multiScalar[nistSum](points, scalars)
	return sum.zz.isZero() != 0
}
