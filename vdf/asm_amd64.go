//go:build !purego

package vdf

import "math/bits"

// mulx says whether the processor has what the assembly needs. Tests turn it
// off.
var mulx = hasMULX()

// hasMULX reports whether there are the instructions of BMI1 and BMI2, and
// LZCNT.
func hasMULX() bool

//go:noescape
func roundsMULX(e *euclid, limit int) (rounds int)

//go:noescape
func mul(z, x, y []uint64)

//go:noescape
func addProduct(z, x, y []uint64)

//go:noescape
func divideOdd(p, q, x []uint64, inv uint64)

//go:noescape
func modMULX(p, d []uint64, top, v uint64)

// rounds does rounds of lehmer as long as they get anywhere, r1 has more than
// limit bits and r0 more than a word, and returns how many.
func rounds(e *euclid, limit int) int {
	if !mulx {
		return 0
	}
	return roundsMULX(e, limit)
}

func modDigits(p, d []uint64, top uint64) {
	if n := len(d); mulx && n > 1 {
		modMULX(p, d, top, reciprocal(d[n-1], d[n-2]))
	} else {
		modWords(p, d, top)
	}
}

// reciprocal returns floor((2^192-1)/(d1 2^64 + d0)) - 2^64 for a d1 with its
// top bit set: with it a digit of a quotient by d1 2^64 + d0 costs two products
// (Möller and Granlund, Improved division by invariant integers, 2011,
// algorithms 4 and 6).
func reciprocal(d1, d0 uint64) uint64 {
	v, _ := bits.Div64(^d1, ^uint64(0), d1)
	p, k := bits.Add64(d1*v, d0, 0)
	if k != 0 {
		v--
		if p >= d1 {
			v--
			p -= d1
		}
		p -= d1
	}
	h, l := bits.Mul64(v, d0)
	p, k = bits.Add64(p, h, 0)
	if k != 0 {
		v--
		if p > d1 || p == d1 && l >= d0 {
			v--
		}
	}
	return v
}
