package vdf

import (
	"fmt"
	"math/big"
)

var bigOne = big.NewInt(1)

// form is a binary quadratic form ax² + bxy + cy² of discriminant
// b² - 4ac = D < 0, reduced: |b| <= a <= c, and b >= 0 if |b| = a or a = c.
// Every class of forms has one reduced member, so equal classes are equal
// forms. With |D| prime every form is primitive.
type form struct {
	a, b, c *big.Int
}

func (f form) equal(g form) bool { return f.a.Cmp(g.a) == 0 && f.b.Cmp(g.b) == 0 }

// inverse returns (a, -b, c), reduced.
func (f form) inverse() form {
	if f.b.Cmp(f.a) == 0 || f.a.Cmp(f.c) == 0 {
		return f // the only class of order two or less is the identity
	}
	return form{f.a, new(big.Int).Neg(f.b), f.c}
}

// principal returns the identity of the class group of discriminant d.
func principal(d *big.Int) form {
	return fromAB(d, big.NewInt(1), big.NewInt(1))
}

// fromAB returns (a, b, (b²-d)/4a), not reduced; 4a must divide b²-d.
func fromAB(d, a, b *big.Int) form {
	c := new(big.Int).Mul(b, b)
	c.Sub(c, d)
	c.Quo(c, new(big.Int).Lsh(a, 2))
	return form{a, b, c}
}

// reduce brings f to the reduced form of its class.
func (f form) reduce() form {
	a, b, c := new(big.Int).Set(f.a), new(big.Int).Set(f.b), new(big.Int).Set(f.c)
	q, r, t := new(big.Int), new(big.Int), new(big.Int)
	for {
		if b.CmpAbs(a) > 0 { // b := b mod 2a in (-a, a]
			q.DivMod(b, t.Lsh(a, 1), r)
			if r.Cmp(a) > 0 {
				r.Sub(r, t)
				q.Add(q, bigOne)
			}
			// c := c - q(b + r)/2
			t.Add(b, r)
			t.Rsh(t, 1)
			c.Sub(c, t.Mul(t, q))
			b.Set(r)
		}
		if a.Cmp(c) <= 0 {
			break
		}
		a, c = c, a
		b.Neg(b)
	}
	if b.Sign() < 0 && (a.Cmp(c) == 0 || b.CmpAbs(a) == 0) {
		b.Neg(b)
	}
	return form{a, b, c}
}

// compose returns the reduced product of f and g (Cohen, A Course in
// Computational Algebraic Number Theory, algorithm 5.4.7).
func compose(d *big.Int, f, g form) form {
	s := new(big.Int).Add(f.b, g.b)
	s.Rsh(s, 1)
	n := new(big.Int).Sub(g.b, s)
	y1, e := new(big.Int), new(big.Int)
	e.GCD(nil, y1, f.a, g.a) // y1*a2 = e mod a1
	dd, x2, y2 := new(big.Int).Set(e), new(big.Int), big.NewInt(0)
	if new(big.Int).Mod(s, e).Sign() == 0 {
		x2.SetInt64(0)
		y2.SetInt64(-1)
	} else {
		dd.GCD(x2, y2, s, e)
		y2.Neg(y2)
	}
	v1 := new(big.Int).Quo(f.a, dd)
	v2 := new(big.Int).Quo(g.a, dd)
	// r = (y1*y2*n - x2*c2) mod v1
	r := new(big.Int).Mul(y1, y2)
	r.Mul(r, n)
	r.Sub(r, x2.Mul(x2, g.c))
	r.Mod(r, v1)
	b := new(big.Int).Mul(v2, r)
	b.Lsh(b, 1)
	b.Add(b, g.b)
	return fromAB(d, v1.Mul(v1, v2), b).reduce()
}

// square returns the reduced square of f.
func square(d *big.Int, f form) form {
	// |D| is prime, so gcd(a, b) = 1 unless a = 1; b*u = 1 mod a.
	u := new(big.Int).ModInverse(f.b, f.a)
	if u == nil {
		u = new(big.Int)
	}
	// B = b - 2a(uc mod a)
	u.Mul(u, f.c)
	u.Mod(u, f.a)
	b := u.Mul(u, f.a)
	b.Lsh(b, 1)
	b.Sub(f.b, b)
	return fromAB(d, new(big.Int).Mul(f.a, f.a), b).reduce()
}

// power returns f^e, e >= 0.
func power(d *big.Int, f form, e *big.Int) form {
	r := principal(d)
	for i := e.BitLen() - 1; i >= 0; i-- {
		r = square(d, r)
		if e.Bit(i) == 1 {
			r = compose(d, r, f)
		}
	}
	return r
}

// formSize is the length of an encoded form: a and b of bits/2 bits each.
func formSize(bits int) int { return 2 * ((bits/2 + 7) / 8) }

// appendForm appends a and |b|, big-endian and of equal length. b is odd, as
// D is; its lowest bit holds its sign instead.
func appendForm(dst []byte, f form, bits int) []byte {
	w := formSize(bits) / 2
	n := len(dst)
	dst = append(dst, make([]byte, 2*w)...)
	f.a.FillBytes(dst[n : n+w])
	f.b.FillBytes(dst[n+w:])
	if f.b.Sign() > 0 {
		dst[len(dst)-1] &^= 1
	}
	return dst
}

// parseForm decodes a reduced form of discriminant d and refuses all else.
func parseForm(d *big.Int, bits int, p []byte) (form, error) {
	if len(p) != formSize(bits) {
		return form{}, fmt.Errorf("%w: form of %d bytes, want %d", ErrEncoding, len(p), formSize(bits))
	}
	w := len(p) / 2
	a := new(big.Int).SetBytes(p[:w])
	b := new(big.Int).SetBytes(p[w:])
	if b.Bit(0) == 1 {
		b.Neg(b)
	} else {
		b.Add(b, bigOne)
	}
	return checkedForm(d, a, b)
}

// checkedForm returns the form (a, b, …) if it is a reduced form of
// discriminant d.
func checkedForm(d, a, b *big.Int) (form, error) {
	if a.Sign() <= 0 || b.CmpAbs(a) > 0 {
		return form{}, fmt.Errorf("%w: form is not reduced", ErrEncoding)
	}
	c := new(big.Int).Mul(b, b)
	c.Sub(c, d)
	c, rem := c.QuoRem(c, new(big.Int).Lsh(a, 2), new(big.Int))
	if rem.Sign() != 0 {
		return form{}, fmt.Errorf("%w: form of another discriminant", ErrEncoding)
	}
	if a.Cmp(c) > 0 || b.Sign() < 0 && (a.Cmp(c) == 0 || b.CmpAbs(a) == 0) {
		return form{}, fmt.Errorf("%w: form is not reduced", ErrEncoding)
	}
	return form{a, b, c}, nil
}
