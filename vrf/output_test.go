package vrf_test

import (
	"crypto/sha512"
	"encoding/binary"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/vrf"
)

// selectReference sums the distribution in exact fractions.
func selectReference(beta []byte, w, total, expected uint64) uint64 {
	x := new(big.Rat).SetFrac(new(big.Int).SetBytes(beta), new(big.Int).Lsh(big.NewInt(1), uint(8*len(beta))))
	p := new(big.Rat).SetFrac64(int64(expected), int64(total))
	q := new(big.Rat).Sub(big.NewRat(1, 1), p)
	sum := new(big.Rat)
	for j := uint64(0); j < w; j++ {
		term := new(big.Rat).SetInt(new(big.Int).Binomial(int64(w), int64(j)))
		for k := range w {
			if k < j {
				term.Mul(term, p)
			} else {
				term.Mul(term, q)
			}
		}
		if sum.Add(sum, term); x.Cmp(sum) < 0 {
			return j
		}
	}
	return w
}

func TestSelectIsExact(t *testing.T) {
	for i := range uint64(300) {
		d := sha512.Sum512(binary.BigEndian.AppendUint64(nil, i))
		w := i % 25
		total := 25 + i%7
		expected := (i * i) % (total + 1)
		got, err := vrf.Select(d[:], w, total, expected)
		require.NoError(t, err)
		require.Equal(t, selectReference(d[:], w, total, expected), got, "w=%d total=%d expected=%d", w, total, expected)
	}
	// On the very edge: P(X <= 0) = 1/4 and P(X <= 1) = 3/4 for two fair coins.
	for _, c := range []struct {
		beta []byte
		want uint64
	}{{[]byte{0x3f, 0xff}, 0}, {[]byte{0x40, 0}, 1}, {[]byte{0xbf, 0xff}, 1}, {[]byte{0xc0, 0}, 2}, {[]byte{0, 0}, 0}} {
		got, err := vrf.Select(c.beta, 2, 4, 2)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%x", c.beta)
	}
}

// With too few digits the answer is none, never a wrong one.
func TestSelectKnowsItsLimits(t *testing.T) {
	unsure := 0
	for i := range 1 << 16 {
		beta := []byte{byte(i >> 8), byte(i)}
		want, err := vrf.Select(beta, 20, 31, 7)
		require.NoError(t, err)
		if j, ok := vrf.Invert(beta, 16, 20, 31, 7); !ok {
			unsure++
		} else if j != want {
			t.Fatalf("%x: %d, want %d", beta, j, want)
		}
	}
	require.Positive(t, unsure)
}

// The counts of 4000 selections follow the binomial distribution: chi-square
// with the bins 0…5 and more, six degrees of freedom, at 99.9 %.
func TestSelectDistribution(t *testing.T) {
	const w, total, expected, n = 1000, 1_000_000, 2500, 4000
	counts := make([]float64, 7)
	for i := range uint64(n) {
		d := sha512.Sum512(binary.BigEndian.AppendUint64([]byte("chi"), i))
		j, err := vrf.Select(d[:], w, total, expected)
		require.NoError(t, err)
		counts[min(j, 6)]++
	}
	// P(X = k) for p = 1/400, in floating point: a statistic needs no more.
	p, rest, chi := 1.0, 1.0, 0.0
	for range w {
		p *= 1 - 1.0/400
	}
	for k := range counts {
		e := p
		if k == 6 {
			e = rest
		}
		rest -= p
		chi += (counts[k] - n*e) * (counts[k] - n*e) / (n * e)
		p *= float64(w-k) / float64(k+1) / 399
	}
	require.Less(t, chi, 22.46)
}

func TestSelectRefuses(t *testing.T) {
	for _, c := range [][3]uint64{{2, 1, 1}, {1, 2, 3}, {0, 0, 0}, {1 << 60, 1 << 60, 1 << 30}} {
		_, err := vrf.Select([]byte{1}, c[0], c[1], c[2])
		require.ErrorIs(t, err, vrf.ErrSortition)
	}
	j, err := vrf.Select([]byte{1}, 5, 10, 10)
	require.NoError(t, err)
	require.EqualValues(t, 5, j)
	j, err = vrf.Select(make([]byte, 64), 1<<59, 1<<60, 2000)
	require.NoError(t, err)
	require.Zero(t, j) // the least of all outputs wins nothing
}

func TestDerive(t *testing.T) {
	a := vrf.Derive([]byte("beta"), "leader", 100)
	require.Len(t, a, 100)
	require.Equal(t, a[:64], vrf.Derive([]byte("beta"), "leader", 64))
	require.NotEqual(t, a[:32], vrf.Derive([]byte("beta"), "leade", 32))
	require.NotEqual(t, a[:32], vrf.Derive([]byte("rbeta"), "leade", 32)) // the boundary is bound
	require.Empty(t, vrf.Derive(nil, "", 0))
}
