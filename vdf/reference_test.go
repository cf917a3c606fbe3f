package vdf

import "math/big"

// reference squares forms as Long's Binary Quadratic Forms (2018) writes it
// down: an inverse by the extended Euclidean algorithm, the square, and
// reduction step by step, over math/big. Temporaries are kept from call to
// call, so that it is slow for its method and not for its allocations.
type reference struct {
	d          *big.Int
	a, b, c    *big.Int
	x, y, g    *big.Int
	mu, s, t   *big.Int
	rem        *big.Int
	oa, ob, oc *big.Int
}

func newReference(d *big.Int, f form) *reference {
	r := &reference{d: d, a: new(big.Int).Set(f.a), b: new(big.Int).Set(f.b), c: new(big.Int).Set(f.c)}
	for _, p := range []**big.Int{&r.x, &r.y, &r.g, &r.mu, &r.s, &r.t, &r.rem, &r.oa, &r.ob, &r.oc} {
		*p = new(big.Int)
	}
	return r
}

// square replaces the form by its square.
func (r *reference) square() {
	// b*mu = c mod a
	if r.b.Sign() < 0 {
		r.g.GCD(r.x, nil, r.t.Neg(r.b), r.a)
		r.x.Neg(r.x)
	} else {
		r.g.GCD(r.x, nil, r.b, r.a)
	}
	r.mu.Mod(r.mu.Mul(r.c, r.x), r.a)
	// (a², b - 2a mu, mu² - (b mu - c)/a)
	r.s.Mul(r.b, r.mu)
	r.s.Quo(r.s.Sub(r.s, r.c), r.a)
	r.oc.Sub(r.oc.Mul(r.mu, r.mu), r.s)
	r.s.Mul(r.a, r.mu)
	r.ob.Sub(r.b, r.s.Lsh(r.s, 1))
	r.oa.Mul(r.a, r.a)
	r.a, r.oa = r.oa, r.a
	r.b, r.ob = r.ob, r.b
	r.c, r.oc = r.oc, r.c
	r.reduce()
}

func (r *reference) normalize() {
	if r.t.Neg(r.a).Cmp(r.b) < 0 && r.b.Cmp(r.a) <= 0 {
		return
	}
	// q = floor((a-b)/2a): (a, b+2qa, aq²+bq+c)
	r.s.Sub(r.a, r.b)
	r.s.DivMod(r.s, r.t.Lsh(r.a, 1), r.rem)
	r.t.Mul(r.a, r.s)
	r.ob.Add(r.b, r.t)
	r.oc.Add(r.c, r.g.Mul(r.ob, r.s))
	r.ob.Add(r.ob, r.t)
	r.b, r.ob = r.ob, r.b
	r.c, r.oc = r.oc, r.c
}

func (r *reference) reduce() {
	r.normalize()
	for r.a.Cmp(r.c) > 0 || r.a.Cmp(r.c) == 0 && r.b.Sign() < 0 {
		// s = floor((c+b)/2c): (c, -b+2sc, cs²-bs+a)
		r.s.Add(r.c, r.b)
		r.s.DivMod(r.s, r.t.Lsh(r.c, 1), r.rem)
		r.t.Mul(r.s, r.c)
		r.ob.Sub(r.t, r.b)
		r.oc.Add(r.a, r.g.Mul(r.ob, r.s))
		r.ob.Add(r.ob, r.t)
		r.a, r.c = r.c, r.a // c is now the old a, which oc replaces
		r.b, r.ob = r.ob, r.b
		r.c, r.oc = r.oc, r.c
	}
	r.normalize()
}

func (r *reference) form() form { return form{r.a, r.b, r.c} }
