package vrf

import (
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
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

// maxMean bounds what one holder may expect to win; the work grows with its
// square.
const maxMean = 1 << 14

// Select is sortition by stake (Gilad, Hemo, Micali, Vlachos, Zeldovich:
// Algorand, SOSP 2017, algorithm 1). Each of weight tokens is chosen with
// probability expected/total, all by the one output beta; Select returns how
// many are. Splitting the stake over several keys does not change the
// distribution of the sum.
//
// The answer is the least j with beta/2^len < P(X <= j), X binomial. It is
// exact: the distribution is computed in integers between two bounds, and with
// more digits if beta falls between the bounds. So all machines agree.
func Select(beta []byte, weight, total, expected uint64) (uint64, error) {
	if weight > total || expected > total || total == 0 || len(beta) == 0 {
		return 0, fmt.Errorf("vrf: %w: weight %d of %d, %d expected", ErrSortition, weight, total, expected)
	}
	mean := new(big.Int).Mul(new(big.Int).SetUint64(weight), new(big.Int).SetUint64(expected))
	if mean.Quo(mean, new(big.Int).SetUint64(total)); !mean.IsUint64() || mean.Uint64() > maxMean {
		return 0, fmt.Errorf("vrf: %w: mean above %d", ErrSortition, maxMean)
	}
	if weight == 0 || expected == 0 {
		return 0, nil
	}
	if expected == total {
		return weight, nil
	}
	// (1-p)^w is about 2^(-1.44 mean), and more if p is near 1; the rest of the
	// digits resolves beta.
	for digits := uint(2*mean.Uint64()) + uint(8*len(beta)) + 64; ; digits *= 2 {
		b := binomial{digits: digits, weight: weight, p: expected, total: total}
		if j, ok := b.invert(beta); ok {
			return j, nil
		}
	}
}

// binomial computes with fixed-point numbers of so many digits after the
// binary point: lo <= P(X = k) <= hi.
type binomial struct {
	digits           uint
	weight, p, total uint64
}

// invert returns the least j with beta/2^len < P(X <= j), or false if digits
// do not suffice to tell.
func (b *binomial) invert(beta []byte) (uint64, bool) {
	x := new(big.Int).SetBytes(beta)
	x.Lsh(x, b.digits-uint(8*len(beta)))
	lo, hi := b.none()
	sumLo, sumHi := new(big.Int).Set(lo), new(big.Int).Set(hi)
	den := new(big.Int)
	for k := uint64(0); k < b.weight; k++ {
		if x.Cmp(sumLo) < 0 {
			return k, true
		}
		if x.Cmp(sumHi) < 0 {
			return 0, false
		}
		// P(k+1) = P(k) * (w-k)/(k+1) * p/(total-p)
		den.Mul(den.SetUint64(k+1), new(big.Int).SetUint64(b.total-b.p))
		num := new(big.Int).SetUint64(b.weight - k)
		num.Mul(num, new(big.Int).SetUint64(b.p))
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
