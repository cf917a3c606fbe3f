package vrf

import (
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"math/bits"
)

// Derive returns size bytes that depend on beta and on the label: as many
// independent outputs as one has labels, from one proof.
func Derive(beta []byte, label string, size int) []byte {
	prefix := []byte("shardkit/vrf/derive/1")
	prefix = binary.BigEndian.AppendUint64(prefix, uint64(len(label)))
	prefix = append(append(prefix, label...), beta...)
	var out []byte
	for i := uint32(0); len(out) < size; i++ {
		d := sha512.Sum512(binary.BigEndian.AppendUint32(prefix[:len(prefix):len(prefix)], i))
		out = append(out, d[:]...)
	}
	return out[:max(size, 0)]
}

// ErrSortition says that the arguments of Select make no sense.
var ErrSortition = errors.New("sortition out of range")

// maxMean bounds what one holder may expect to win, and maxDigits the first
// precision: the work grows with the product of the two.
const (
	maxMean   = 1 << 14
	maxDigits = 1 << 16
)

// Select is sortition by stake (Gilad, Hemo, Micali, Vlachos, Zeldovich:
// Algorand, SOSP 2017, algorithm 1). Each of weight tokens is chosen with
// probability expected/total, all by the one output beta; Select returns how
// many are. Splitting the stake over several keys does not change the
// distribution of the sum.
//
// The answer is the least j with beta/2^len < P(X <= j), X binomial. It is
// exact: the distribution is computed in integers between two bounds, and with
// more digits if beta falls between the bounds. So all machines agree.
//
// A holder may expect to win 2^14 tokens at most, and expected may be near
// total only for small holders.
func Select(beta []byte, weight, total, expected uint64) (uint64, error) {
	if weight > total || expected > total || total == 0 || len(beta) == 0 {
		return 0, fmt.Errorf("vrf: %w: weight %d of %d, %d expected", ErrSortition, weight, total, expected)
	}
	hi, lo := bits.Mul64(weight, expected)
	if hi >= total {
		return 0, fmt.Errorf("vrf: %w: mean above %d", ErrSortition, maxMean)
	}
	mean, _ := bits.Div64(hi, lo, total)
	if mean > maxMean {
		return 0, fmt.Errorf("vrf: %w: mean above %d", ErrSortition, maxMean)
	}
	if weight == 0 || expected == 0 {
		return 0, nil
	}
	if expected == total {
		return weight, nil
	}
	// P(0) is 2^-(w log2(1/(1-p))), and log2(1/(1-p)) <= 2p up to p = 1/2; the
	// rest of the digits resolves beta.
	least := 2*mean + 2
	if expected > total/2 {
		if least = weight * uint64(bits.Len64(total/(total-expected))); least > maxDigits {
			return 0, fmt.Errorf("vrf: %w: %d tokens of which nearly all are expected", ErrSortition, weight)
		}
	}
	b := binomial{digits: uint(least) + uint(8*len(beta)) + 64, weight: weight, p: expected, total: total}
	for ; b.digits < 1<<24; b.digits *= 2 {
		if j, ok := b.invert(beta); ok {
			return j, nil
		}
	}
	return 0, fmt.Errorf("vrf: %w: output on an edge of the distribution", ErrSortition)
}

// binomial computes with fixed-point numbers of so many digits after the
// binary point: lo <= P(X = k) <= hi.
type binomial struct {
	digits           uint
	weight, p, total uint64
}

// decides reports whether the digits are so many that beta, if it lies between
// the bounds of a probability, is that probability. It happens:
// P(X <= 1) = 125/4096 for weight 4 and p = 19/24.
//
// A probability is a multiple of total^-w, so that it differs from another
// beta by 2^-n total^-w or more. The bounds of P(0) lie some hundred units
// apart; from there on their distance grows as P(k)/P(0), which is below
// total^w, and with the number of roundings and summands.
func (b *binomial) decides(n int) bool {
	w := b.weight
	return w < 1<<32 && uint64(b.digits) > 8*uint64(n)+2*w*uint64(bits.Len64(b.total))+256
}

// invert returns the least j with beta/2^len < P(X <= j), or false if digits
// do not suffice to tell.
func (b *binomial) invert(beta []byte) (uint64, bool) {
	x := new(big.Int).SetBytes(beta)
	x.Lsh(x, b.digits-uint(8*len(beta)))
	lo, hi := b.none()
	sumLo, sumHi := new(big.Int).Set(lo), new(big.Int).Set(hi)
	num, den, f := new(big.Int), new(big.Int), new(big.Int)
	for k := uint64(0); k < b.weight; k++ {
		if x.Cmp(sumLo) < 0 {
			return k, true
		}
		if x.Cmp(sumHi) < 0 && !b.decides(len(beta)) {
			return 0, false
		}
		// P(k+1) = P(k) * (w-k)/(k+1) * p/(total-p)
		den.Mul(den.SetUint64(k+1), f.SetUint64(b.total-b.p))
		num.Mul(num.SetUint64(b.weight-k), f.SetUint64(b.p))
		lo.Quo(lo.Mul(lo, num), den)
		ceilQuo(hi.Mul(hi, num), den)
		sumLo.Add(sumLo, lo)
		sumHi.Add(sumHi, hi)
	}
	return b.weight, true
}

// none returns bounds for P(X = 0) = (1-p)^w, by squaring.
func (b *binomial) none() (lo, hi *big.Int) {
	one := new(big.Int).Lsh(big.NewInt(1), b.digits)
	total := new(big.Int).SetUint64(b.total)
	q := new(big.Int).Mul(one, new(big.Int).SetUint64(b.total-b.p))
	baseLo := new(big.Int).Quo(q, total)
	baseHi := ceilQuo(q, total)
	lo, hi = new(big.Int).Set(one), new(big.Int).Set(one)
	for i := 63; i >= 0; i-- {
		lo.Rsh(lo.Mul(lo, lo), b.digits)
		ceilQuo(hi.Mul(hi, hi), one)
		if b.weight>>i&1 == 1 {
			lo.Rsh(lo.Mul(lo, baseLo), b.digits)
			ceilQuo(hi.Mul(hi, baseHi), one)
		}
	}
	return lo, hi
}

// ceilQuo sets x to x/y rounded up, and returns it; x, y > 0.
func ceilQuo(x, y *big.Int) *big.Int {
	r := new(big.Int)
	if x.QuoRem(x, y, r); r.Sign() > 0 {
		x.Add(x, big.NewInt(1))
	}
	return x
}
