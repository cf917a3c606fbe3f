package estake

import "math/bits"

// mulDiv returns ⌊a·b/c⌋. The caller knows that the result fits: one of a and
// b is at most c, or their product is small.
func mulDiv(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	q, _ := bits.Div64(hi, lo, c)
	return q
}

// mulDivOK is mulDiv for results that may not fit.
func mulDivOK(a, b, c uint64) (uint64, bool) {
	hi, lo := bits.Mul64(a, b)
	if hi >= c {
		return 0, false
	}
	q, _ := bits.Div64(hi, lo, c)
	return q, true
}

// mulDivUp returns ⌈a·b/c⌉.
func mulDivUp(a, b, c uint64) (uint64, bool) {
	hi, lo := bits.Mul64(a, b)
	if hi >= c {
		return 0, false
	}
	q, r := bits.Div64(hi, lo, c)
	if r == 0 {
		return q, true
	}
	return q + 1, q+1 != 0
}

// A fixed is an unsigned number with 64 bits before and 64 after the point.
type fixed struct{ hi, lo uint64 }

// ratio returns a/b, rounded down; b is not 0.
func ratio(a, b uint64) fixed {
	hi, rem := a/b, a%b
	lo, _ := bits.Div64(rem, 0, b)
	return fixed{hi, lo}
}

func (x fixed) add(y fixed) (fixed, bool) {
	lo, carry := bits.Add64(x.lo, y.lo, 0)
	hi, over := bits.Add64(x.hi, y.hi, carry)
	return fixed{hi, lo}, over == 0
}

func (x fixed) sub(y fixed) fixed {
	lo, borrow := bits.Sub64(x.lo, y.lo, 0)
	hi, _ := bits.Sub64(x.hi, y.hi, borrow)
	return fixed{hi, lo}
}

// times returns ⌊x·n + 2^−32⌋, or false if it does not fit. The addend makes
// up for what rounding x has lost where the product is a whole number; so
// many holders as could gain a unit together by it there are not.
func (x fixed) times(n uint64) (uint64, bool) {
	over, whole := bits.Mul64(x.hi, n)
	part, rest := bits.Mul64(x.lo, n)
	_, carry := bits.Add64(rest, 1<<32, 0)
	sum, carry := bits.Add64(whole, part, carry)
	return sum, over == 0 && carry == 0
}

// A splitter cuts an amount into parts in proportion to weights, to the last
// unit: each part is the difference of the rounded running sums.
type splitter struct {
	amount, total uint64 // total is the sum of all weights
	seen, given   uint64
}

func (s *splitter) next(weight uint64) uint64 {
	s.seen += weight
	upto := mulDiv(s.amount, s.seen, s.total)
	part := upto - s.given
	s.given = upto
	return part
}

// quoRem returns ⌊a·b/c⌋ and the remainder, for a at most c.
func quoRem(a, b, c uint64) (quo, rem uint64) {
	hi, lo := bits.Mul64(a, b)
	return bits.Div64(hi, lo, c)
}
