package vrf

import "encoding/hex"

// Points of P-256 for the sums of batches, in variable time: all of them are
// public.

// nistSum is (x/zz, y/zzz), where zz³ = zzz²; zz is 0 at infinity. The
// formulas are xyzz of the Explicit-Formulas Database, for A = -3.
type nistSum struct{ x, y, zz, zzz nistField }

// nistAffine is a point as a summand; never infinity.
type nistAffine struct{ x, y nistField }

func (p *nistSum) setZero() { *p = nistSum{} }

func (p *nistSum) double() {
	if p.zz.isZero() != 0 {
		return
	}
	var u, v, w, s, m, t nistField // no point has y = 0: the order is odd
	u.add(&p.y, &p.y)
	v.mul(&u, &u)
	w.mul(&u, &v)
	s.mul(&p.x, &v)
	m.sub(&p.x, &p.zz) // 3 (x² - zz²)
	t.add(&p.x, &p.zz)
	m.mul(&m, &t)
	t.add(&m, &m)
	m.add(&m, &t)
	p.y.mul(&w, &p.y)
	p.x.mul(&m, &m)
	p.x.sub(&p.x, &s)
	p.x.sub(&p.x, &s)
	s.sub(&s, &p.x)
	s.mul(&s, &m)
	p.y.sub(&s, &p.y)
	p.zz.mul(&p.zz, &v)
	p.zzz.mul(&p.zzz, &w)
}

// addAffine adds q to p, or subtracts it.
func (p *nistSum) addAffine(q *nistAffine, subtract bool) {
	y := q.y
	if subtract {
		y.neg(&y)
	}
	if p.zz.isZero() != 0 {
		*p = nistSum{q.x, y, nistOne, nistOne}
		return
	}
	var dx, dy nistField
	dx.mul(&q.x, &p.zz)
	dx.sub(&dx, &p.x)
	dy.mul(&y, &p.zzz)
	dy.sub(&dy, &p.y)
	p.join(p.x, p.y, &dx, &dy)
}

// add adds q to p.
func (p *nistSum) add(q *nistSum) {
	if q.zz.isZero() != 0 {
		return
	}
	if p.zz.isZero() != 0 {
		*p = *q
		return
	}
	var x, y, dx, dy nistField
	x.mul(&p.x, &q.zz)
	y.mul(&p.y, &q.zzz)
	dx.mul(&q.x, &p.zz)
	dx.sub(&dx, &x)
	dy.mul(&q.y, &p.zzz)
	dy.sub(&dy, &y)
	if dx.isZero() == 0 {
		p.zz.mul(&p.zz, &q.zz)
		p.zzz.mul(&p.zzz, &q.zzz)
	}
	p.join(x, y, &dx, &dy)
}

// join finishes an addition: x and y are p's coordinates over the common
// denominators, and dx, dy what the other's are above them.
func (p *nistSum) join(x, y nistField, dx, dy *nistField) {
	if dx.isZero() != 0 {
		if dy.isZero() != 0 {
			p.double() // the same point
		} else {
			p.setZero()
		}
		return
	}
	var dx2, dx3, t nistField
	dx2.mul(dx, dx)
	dx3.mul(&dx2, dx)
	x.mul(&x, &dx2)
	p.x.mul(dy, dy)
	p.x.sub(&p.x, &dx3)
	p.x.sub(&p.x, &x)
	p.x.sub(&p.x, &x)
	t.sub(&x, &p.x)
	t.mul(&t, dy)
	y.mul(&y, &dx3)
	p.y.sub(&t, &y)
	p.zz.mul(&p.zz, &dx2)
	p.zzz.mul(&p.zzz, &dx3)
}

// affine returns p, which is not infinity, as a summand.
func (p point) affine() nistAffine {
	var x, y [32]byte
	return nistAffine{nistFromBytes(p.x.FillBytes(x[:])), nistFromBytes(p.y.FillBytes(y[:]))}
}

// nistHex is for constants; it panics if s is not hex.
func nistHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
