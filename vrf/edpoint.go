package vrf

import (
	"fmt"

	fp "github.com/cloudflare/circl/math/fp25519"
)

// Points of edwards25519, as batches and the hash to the curve need them: with
// coordinates at hand, so that many points share one inversion. What touches
// a secret goes through curve25519-voi instead.

// edPoint is (x/z, y/z), with t = xy/z. Formulas are those of Hisil, Wong,
// Carter, Dawson (ASIACRYPT 2008) for -x² + y² = 1 + d x² y²; they have no
// exceptions.
type edPoint struct{ x, y, z, t fp.Elt }

// edBasePoint is B: y is 4/5 and x is even.
var edBasePoint = func() edPoint {
	y := feHex("6666666666666666666666666666666666666666666666666666666666666658")
	p, err := edParsePoint(y[:])
	if err != nil {
		panic(err)
	}
	return p
}()

// edAffine is a point as a summand: y+x, y-x, 2dxy.
type edAffine struct{ plus, minus, t2d fp.Elt }

func (p *edPoint) setZero() { *p = edPoint{y: feOne, z: feOne} }

// double needs no t.
func (p *edPoint) double() {
	var a, b, c, e, f, g, h fp.Elt
	fp.Sqr(&a, &p.x)
	fp.Sqr(&b, &p.y)
	fp.Sqr(&c, &p.z)
	fp.Add(&c, &c, &c)
	fp.Add(&h, &a, &b)
	fp.Add(&e, &p.x, &p.y)
	fp.Sqr(&e, &e)
	fp.Sub(&e, &e, &h) // 2xy
	fp.Sub(&g, &b, &a)
	fp.Sub(&f, &g, &c)
	fp.Neg(&h, &h)
	p.set(&e, &f, &g, &h)
}

// set finishes a formula.
func (p *edPoint) set(e, f, g, h *fp.Elt) {
	fp.Mul(&p.x, e, f)
	fp.Mul(&p.y, g, h)
	fp.Mul(&p.z, f, g)
	fp.Mul(&p.t, e, h)
}

// addAffine adds q to p, or subtracts it.
func (p *edPoint) addAffine(q *edAffine, subtract bool) {
	plus, minus := &q.plus, &q.minus
	if subtract {
		plus, minus = minus, plus
	}
	var a, b, c, d fp.Elt
	fp.Sub(&a, &p.y, &p.x)
	fp.Mul(&a, &a, minus)
	fp.Add(&b, &p.y, &p.x)
	fp.Mul(&b, &b, plus)
	fp.Mul(&c, &p.t, &q.t2d)
	fp.Add(&d, &p.z, &p.z)
	fp.AddSub(&b, &a) // h, e
	fp.AddSub(&d, &c) // g, f
	f, g := &c, &d
	if subtract {
		f, g = g, f
	}
	p.set(&a, f, g, &b)
}

// add adds q to p.
func (p *edPoint) add(q *edPoint) {
	var a, b, c, d, t fp.Elt
	fp.Sub(&a, &p.y, &p.x)
	fp.Sub(&t, &q.y, &q.x)
	fp.Mul(&a, &a, &t)
	fp.Add(&b, &p.y, &p.x)
	fp.Add(&t, &q.y, &q.x)
	fp.Mul(&b, &b, &t)
	fp.Mul(&c, &p.t, &q.t)
	fp.Mul(&c, &c, &fe2D)
	fp.Mul(&d, &p.z, &q.z)
	fp.Add(&d, &d, &d)
	fp.AddSub(&b, &a) // h, e
	fp.AddSub(&d, &c) // g, f
	p.set(&a, &c, &d, &b)
}

// clearCofactor multiplies p by 8.
func (p *edPoint) clearCofactor() {
	p.double()
	p.double()
	p.double()
}

// isSmallOrder reports whether 8p is the neutral element.
func (p edPoint) isSmallOrder() bool {
	p.clearCofactor()
	return feEqual(&p.x, &feZero)&feEqual(&p.y, &p.z) == 1
}

// encode returns the encoding of p, given 1/z. It makes p affine.
func (p *edPoint) encode(inverse *fp.Elt) []byte {
	fp.Mul(&p.x, &p.x, inverse)
	fp.Mul(&p.y, &p.y, inverse)
	fp.Mul(&p.t, &p.x, &p.y)
	p.z = feOne
	fp.Modp(&p.y)
	b := p.y
	b[31] |= byte(feOdd(&p.x)) << 7
	return b[:]
}

// affine is p as a summand; its z is 1.
func (p *edPoint) affine() (q edAffine) {
	fp.Add(&q.plus, &p.y, &p.x)
	fp.Sub(&q.minus, &p.y, &p.x)
	fp.Mul(&q.t2d, &p.t, &fe2D)
	return q
}

// edParsePoint decodes a point, RFC 8032, section 5.1.3, and refuses all but
// its one encoding. The point is affine.
func edParsePoint(b []byte) (p edPoint, err error) {
	return p, edParsePoints([]*edPoint{&p}, b)
}

// edParsePoints decodes up to four points at once.
func edParsePoints(ps []*edPoint, bs ...[]byte) error {
	var u, v, x feLanes // x² = (y²-1) / (dy²+1)
	for i, p := range ps {
		if len(bs[i]) != fp.Size {
			return fmt.Errorf("point of %d bytes", len(bs[i]))
		}
		p.y, p.z = fp.Elt(bs[i]), feOne
		p.y[31] &= 0x7f
		reduced := p.y
		if fp.Modp(&reduced); reduced != p.y {
			return fmt.Errorf("point is not canonical")
		}
		fp.Sqr(&u[i], &p.y)
		fp.Mul(&v[i], &u[i], &feD)
		fp.Sub(&u[i], &u[i], &feOne)
		fp.Add(&v[i], &v[i], &feOne)
	}
	ok := x.roots(&u, &v, len(ps))
	for i, p := range ps {
		if ok[i] == 0 {
			return fmt.Errorf("not a point")
		}
		p.x = x[i]
		if sign := int(bs[i][31] >> 7); feOdd(&p.x) != sign {
			fp.Neg(&p.x, &p.x)
			if feOdd(&p.x) != sign { // x = 0 has no sign
				return fmt.Errorf("point is not canonical")
			}
		}
		fp.Mul(&p.t, &p.x, &p.y)
	}
	return nil
}
