package vdf

import "math/big"

// tableSize is how many odd powers the ladder keeps: x, x³, …, x^(2*tableSize-1).
const tableSize = 8

// powers returns x^e * y^f for e, f >= 0: both exponents in signed windows, and
// one ladder of squarings for both (Straus). Inverses are free in this group.
func (s *squarer) powers(x *element, e *big.Int, y *element, f *big.Int) *element {
	z := product{s: s, e: s.newElement()}
	// A form with a small a is slow to compose with. Powers of it get large
	// soon: y^f = (y^(2^k))^(f>>k) * y^(f mod 2^k).
	low, k := s.newElement(), uint(0)
	low.set(y)
	for ; k < 16 && !s.fast(low); k++ {
		s.square(low, low)
	}
	xt, yt := s.oddPowers(x), s.oddPowers(low)
	xd, yd := windows(e), windows(new(big.Int).Rsh(f, k))
	for i := max(len(xd), len(yd)) - 1; i >= 0; i-- {
		z.square()
		z.times(xt, xd, i)
		z.times(yt, yd, i)
	}
	for i := int(k) - 1; i >= 0; i-- {
		if f.Bit(i) == 1 {
			rest := new(big.Int).And(f, new(big.Int).Sub(new(big.Int).Lsh(bigOne, k), bigOne))
			t := s.newElement()
			t.setForm(power(s.d, y.form(), rest))
			z.compose(t)
			break
		}
	}
	if !z.set {
		z.e.setForm(principal(s.d))
	}
	return z.e
}

// product accumulates; it is the identity while not set. Composing with the
// identity would take the slow path.
type product struct {
	s   *squarer
	e   *element
	set bool
}

func (p *product) square() {
	if p.set {
		p.s.square(p.e, p.e)
	}
}

func (p *product) compose(x *element) {
	if p.set {
		p.s.compose(p.e, p.e, x)
		return
	}
	p.e.set(x)
	p.set = true
}

// times multiplies by what digit i asks for.
func (p *product) times(table []*element, digits []int8, i int) {
	if i >= len(digits) || digits[i] == 0 {
		return
	}
	d := digits[i]
	if d > 0 {
		p.compose(table[d>>1])
		return
	}
	t := table[-d>>1]
	t.invert()
	p.compose(t)
	t.invert()
}

func (s *squarer) oddPowers(x *element) []*element {
	table := make([]*element, tableSize)
	for i := range table {
		table[i] = s.newElement()
	}
	table[0].set(x)
	sq := s.newElement()
	s.square(sq, x)
	for i := 1; i < tableSize; i++ {
		s.compose(table[i], table[i-1], sq)
	}
	return table
}

// windows returns the digits of e, the lowest first: each is zero or odd and
// below 2*tableSize in absolute value, with at least four zeros after it.
func windows(e *big.Int) []int8 {
	const w = 5 // 2^(w-1) = 2*tableSize
	digits := make([]int8, 0, e.BitLen()+1)
	v := new(big.Int).Set(e)
	for v.Sign() > 0 {
		var d int8
		if v.Bit(0) == 1 {
			for i := range w {
				d |= int8(v.Bit(i)) << i
			}
			if d >= 1<<(w-1) {
				d -= 1 << w
			}
			v.Sub(v, big.NewInt(int64(d)))
		}
		digits = append(digits, d)
		v.Rsh(v, 1)
	}
	return digits
}
