package reshard

import (
	"errors"
	"fmt"
	"math/big"
	"math/bits"
)

// All probabilities of this file are exact: sums of integers over integers.
// Only who prints them rounds.

// Threshold returns ⌈n·t⌉, the number of bad members from which a committee of
// n fails at threshold t.
func Threshold(n int, t *big.Rat) int {
	x := new(big.Int).Mul(big.NewInt(int64(n)), t.Num())
	x.Add(x, t.Denom()).Sub(x, big.NewInt(1))
	return int(x.Div(x, t.Denom()).Int64())
}

// Part returns ⌊n·p⌋, the members that an adversary with part p of n has.
func Part(n int, p *big.Rat) int {
	x := new(big.Int).Mul(big.NewInt(int64(n)), p.Num())
	return int(x.Div(x, p.Denom()).Int64())
}

// BinomialTail returns the probability that at least t of n members drawn
// independently are bad, if each is with probability p: the published model,
// right for an infinite pool.
func BinomialTail(n, t int, p *big.Rat) *big.Rat {
	if t <= 0 {
		return big.NewRat(1, 1)
	}
	if t > n || p.Sign() <= 0 {
		return new(big.Rat)
	}
	if p.Cmp(big.NewRat(1, 1)) >= 0 {
		return big.NewRat(1, 1)
	}
	// With p = a/b: the sum of C(n,j)·a^j·(b−a)^(n−j) over b^n, each term from
	// the one before it.
	a, b := p.Num(), p.Denom()
	good := new(big.Int).Sub(b, a)
	term := new(big.Int).Exp(a, big.NewInt(int64(n)), nil) // j = n
	sum := new(big.Int)
	for j := n; ; j-- {
		sum.Add(sum, term)
		if j == t {
			break
		}
		term.Mul(term, good)
		term.Mul(term, big.NewInt(int64(j)))
		term.Quo(term, a)
		term.Quo(term, big.NewInt(int64(n-j+1)))
	}
	return new(big.Rat).SetFrac(sum, new(big.Int).Exp(b, big.NewInt(int64(n)), nil))
}

// HypergeometricTail returns the probability that at least t of n members
// drawn from a pool without replacement are bad, if bad of the pool are: the
// truth for one shard.
func HypergeometricTail(pool, bad, n, t int) *big.Rat {
	if bad < 0 || bad > pool || n < 0 || n > pool {
		return new(big.Rat)
	}
	lo, hi := max(t, 0, n-(pool-bad)), min(n, bad)
	sum := new(big.Int)
	if lo <= hi {
		term := new(big.Int).Mul(binomial(bad, lo), binomial(pool-bad, n-lo))
		for j := lo; ; j++ {
			sum.Add(sum, term)
			if j == hi {
				break
			}
			// C(bad,j+1)·C(good,n−j−1) from C(bad,j)·C(good,n−j).
			term.Mul(term, product(bad-j, n-j))
			term.Quo(term, product(j+1, pool-bad-n+j+1))
		}
	}
	return new(big.Rat).SetFrac(sum, binomial(pool, n))
}

func binomial(n, k int) *big.Int { return new(big.Int).Binomial(int64(n), int64(k)) }

func product(a, b int) *big.Int { return big.NewInt(int64(a) * int64(b)) }

// NetworkFailure returns the probability that at least one of shards shards
// of size members each, to which a pool of exactly shards·size is dealt, gets
// t or more of the bad. It is the exact joint probability, not a bound.
func NetworkFailure(shards, size, bad, t int) *big.Rat {
	n := shards * size
	if shards < 1 || size < 1 || bad < 0 || bad > n {
		return new(big.Rat)
	}
	if t <= 0 {
		return big.NewRat(1, 1)
	}
	if t > size {
		return new(big.Rat)
	}
	// The deals without failure are the coefficient of x^bad in P^shards,
	// where P = Σ_{j<t} C(size,j)·x^j. Two halves of the power suffice: one
	// coefficient of their product is a sum over its pairs.
	small, large := powers(size, t, shards/2, shards-shards/2)
	good := coefficient(small, large, bad, shards%2 == 0)
	all := binomial(n, bad)
	return new(big.Rat).SetFrac(good.Sub(all, good), all)
}

// coefficient returns that of x^k in the product of two polynomials. If they
// are the same each pair is multiplied once.
func coefficient(a, b []big.Int, k int, square bool) *big.Int {
	sum, pair := new(big.Int), new(big.Int)
	lo, hi := max(0, k-len(b)+1), min(len(a)-1, k)
	if square {
		hi = min(hi, (k+1)/2-1)
	}
	for i := lo; i <= hi; i++ {
		sum.Add(sum, pair.Mul(&a[i], &b[k-i]))
	}
	if square {
		sum.Lsh(sum, 1)
		if k%2 == 0 && k/2 < len(a) {
			sum.Add(sum, pair.Mul(&a[k/2], &b[k/2]))
		}
	}
	return sum
}

// powers returns the coefficients of P^lo and P^hi, for hi = lo or lo+1.
//
// P is a binomial power cut off before x^t, so (1+x)·P' = size·P − c·x^(t−1)
// with c = (size−t+1)·C(size,t−1). For Q = P^s this gives
//
//	(1+x)·Q' = s·size·Q − s·c·x^(t−1)·P^(s−1),
//
// hence each coefficient of P^s from the one before it and one of P^(s−1):
// a power costs one step per coefficient where a multiplication of
// polynomials costs t.
func powers(size, t, lo, hi int) (low, high []big.Int) {
	c := binomial(size, t-1)
	c.Mul(c, big.NewInt(int64(size-t+1)))
	prev := make([]big.Int, 1) // P^0
	prev[0].SetInt64(1)
	low = prev
	for s := 1; s <= hi; s++ {
		prev = nextPower(prev, s, size, t, c)
		if s == lo {
			low = prev
		}
	}
	return low, prev
}

func nextPower(prev []big.Int, s, size, t int, c *big.Int) []big.Int {
	sc := new(big.Int).Mul(c, big.NewInt(int64(s)))
	next := make([]big.Int, s*(t-1)+1)
	next[0].SetInt64(1)
	var factor, source big.Int
	for k := range len(next) - 1 {
		q := &next[k+1]
		q.Mul(&next[k], factor.SetInt64(int64(s*size-k)))
		if i := k - t + 1; i >= 0 && i < len(prev) {
			q.Sub(q, source.Mul(&prev[i], sc))
		}
		divExact(q, uint64(k+1))
	}
	return next
}

// divExact divides x ≥ 0 by d, of which it is a multiple. From the low end
// each word of the quotient is a product with the inverse of d modulo 2^64
// (Jebelean 1993), several times faster than dividing from the high end.
func divExact(x *big.Int, d uint64) {
	if shift := bits.TrailingZeros64(d); shift > 0 {
		x.Rsh(x, uint(shift))
		d >>= shift
	}
	if bits.UintSize != 64 {
		x.Quo(x, new(big.Int).SetUint64(d))
		return
	}
	inverse := d // correct in the low 3 bits; each step doubles them
	for range 5 {
		inverse *= 2 - d*inverse
	}
	words := x.Bits()
	var carry uint64
	for i, w := range words {
		low, borrow := bits.Sub64(uint64(w), carry, 0)
		q := low * inverse
		words[i] = big.Word(q)
		carry, _ = bits.Mul64(q, d)
		carry += borrow
	}
	x.SetBits(words)
}

// DaysPerYear is for draws once a day.
var daysPerYear = big.NewRat(1461, 4)

// Daily returns the number of draws in a year at one a day.
func Daily() *big.Rat { return new(big.Rat).Set(daysPerYear) }

// Years returns the mean time to the first failure, in years, if each draw
// fails with probability p.
func Years(p, drawsPerYear *big.Rat) (*big.Rat, error) {
	if p.Sign() <= 0 || drawsPerYear.Sign() <= 0 {
		return nil, errors.New("reshard: years: no draws, or none that fails")
	}
	y := new(big.Rat).Mul(p, drawsPerYear)
	return y.Inv(y), nil
}

// Sizes answers how large a committee has to be. As ⌈n·t⌉ moves in steps,
// larger is not always safer: First is the smallest that meets the target,
// Safe the smallest such that every larger one does too.
type Sizes struct{ First, Safe int }

// SmallestCommittee finds the committee sizes for which the binomial tail at
// threshold t is at most target, for an adversary with part p of an infinite
// pool. p has to be below t.
func SmallestCommittee(p, t, target *big.Rat) (Sizes, error) {
	if p.Cmp(t) >= 0 || p.Sign() < 0 || target.Sign() <= 0 {
		return Sizes{}, fmt.Errorf("reshard: no committee keeps an adversary of %v below %v", p, t)
	}
	return search(t, func(n int) bool {
		return BinomialTail(n, Threshold(n, t), p).Cmp(target) <= 0
	})
}

// Goal describes a network whose shard size is wanted.
type Goal struct {
	Shards       int
	Adversary    *big.Rat // part of all shares
	Threshold    *big.Rat // part of a shard's shares at which it fails
	DrawsPerYear *big.Rat // nil: Daily
	Years        *big.Rat // mean time to the first failure of any shard
}

// SolveLambda finds the shares per shard with which a network lasts as long as
// the goal says. It uses the hypergeometric tail of one shard times the
// number of shards, a bound from above on NetworkFailure that is indeed close.
func SolveLambda(g Goal) (Sizes, error) {
	draws := g.DrawsPerYear
	if draws == nil {
		draws = daysPerYear
	}
	if g.Shards < 1 || g.Adversary.Cmp(g.Threshold) >= 0 || g.Adversary.Sign() < 0 || g.Years.Sign() <= 0 || draws.Sign() <= 0 {
		return Sizes{}, fmt.Errorf("reshard: no shard size keeps an adversary of %v below %v", g.Adversary, g.Threshold)
	}
	// shards·tail·draws·years ≤ 1
	limit := new(big.Rat).Mul(g.Years, draws)
	limit.Mul(limit, big.NewRat(int64(g.Shards), 1)).Inv(limit)
	return search(g.Threshold, func(n int) bool {
		pool := n * g.Shards
		return HypergeometricTail(pool, Part(pool, g.Adversary), n, Threshold(n, g.Threshold)).Cmp(limit) <= 0
	})
}

// maxSize ends a search.
const maxSize = 1 << 17

// search finds the sizes that are good. Among sizes that leave the same
// remainder by the threshold's denominator the distance between ⌈n·t⌉ and
// n·t is the same, and larger is safer: each such class is searched by
// doubling and halving.
func search(t *big.Rat, good func(n int) bool) (Sizes, error) {
	step := int(t.Denom().Int64())
	if !t.Denom().IsInt64() || step > 1000 {
		return Sizes{}, fmt.Errorf("reshard: threshold %v is too fine", t)
	}
	out := Sizes{First: maxSize}
	for r := range step {
		at := func(i int) int { return i*step + r }
		hi := 1
		for !good(at(hi)) {
			if hi *= 2; at(hi) > maxSize {
				return Sizes{}, fmt.Errorf("reshard: more than %d members", maxSize)
			}
		}
		lo := hi / 2 // not good, or 0
		for hi-lo > 1 {
			if mid := (lo + hi) / 2; good(at(mid)) {
				hi = mid
			} else {
				lo = mid
			}
		}
		out.First = min(out.First, at(hi))
		out.Safe = max(out.Safe, at(hi)-step+1)
	}
	return out, nil
}
