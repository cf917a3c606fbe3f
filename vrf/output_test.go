package vrf_test

import (
	"crypto/sha512"
	"encoding/binary"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/vrf"
)

// selectReference is Select in exact fractions.
func selectReference(beta []byte, w, total, expected uint64) uint64 {
	x := new(big.Rat).SetFrac(new(big.Int).SetBytes(beta), new(big.Int).Lsh(big.NewInt(1), uint(8*len(beta))))
	for j := range w {
		if x.Cmp(distribution(w, j, total, expected)) < 0 {
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

// At each edge of the distribution: the last output below it, the first at or
// above it, and the next. With too few digits there is no answer, never a wrong
// one; with enough there always is one.
func TestSelectAtTheEdges(t *testing.T) {
	one := big.NewInt(1 << 16)
	unsure := map[uint]int{}
	for _, c := range edgeCases() {
		w, total, expected := c[0], c[1], c[2]
		for j := range w {
			// The first 16-bit beta that does not win j or less.
			edge := new(big.Int)
			f := distribution(w, j, total, expected)
			edge.Quo(edge.Mul(one, f.Num()), f.Denom())
			for d := int64(-1); d <= 1; d++ {
				x := edge.Int64() + d
				if x < 0 || x >= one.Int64() {
					continue
				}
				beta := binary.BigEndian.AppendUint16(nil, uint16(x))
				want := selectReference(beta, w, total, expected)
				got, err := vrf.Select(beta, w, total, expected)
				if err != nil || got != want {
					t.Fatalf("%x %v: %d, want %d: %v", beta, c, got, want, err)
				}
				if expected == total {
					continue // Select does not come to the digits
				}
				for _, digits := range []uint{16, 17, 18, 20, 24, 40} {
					if got, ok := vrf.Invert(beta, digits, w, total, expected); !ok {
						unsure[digits]++
					} else if got != want {
						t.Fatalf("%x %v with %d digits: %d, want %d", beta, c, digits, got, want)
					}
				}
			}
		}
	}
	require.Positive(t, unsure[16])
	require.Less(t, 10*unsure[40], unsure[16])
}

// edgeCases are all small parameters (weight, total, expected), and some that
// are not.
func edgeCases() (cases [][3]uint64) {
	for total := uint64(1); total <= 8; total++ {
		for expected := range total + 1 {
			for w := range total + 1 {
				cases = append(cases, [3]uint64{w, total, expected})
			}
		}
	}
	return append(cases, [][3]uint64{{20, 31, 7}, {17, 1000, 999}, {30, 1 << 40, 1 << 38}, {12, 24, 19}, {40, 41, 3}}...)
}

// distribution is P(X <= j), exactly.
func distribution(w, j, total, expected uint64) *big.Rat {
	p := new(big.Rat).SetFrac64(int64(expected), int64(total))
	q := new(big.Rat).Sub(big.NewRat(1, 1), p)
	sum := new(big.Rat)
	for i := range j + 1 {
		term := new(big.Rat).SetInt(new(big.Int).Binomial(int64(w), int64(i)))
		for k := range w {
			if k < i {
				term.Mul(term, p)
			} else {
				term.Mul(term, q)
			}
		}
		sum.Add(sum, term)
	}
	return sum
}

// An output that is a probability of the distribution, though p has no end in
// binary: more digits never separate the two.
func TestSelectOnAnEdge(t *testing.T) {
	require.Zero(t, distribution(4, 1, 24, 19).Cmp(big.NewRat(125, 4096)))
	for beta, want := range map[uint16]uint64{125<<4 - 1: 1, 125 << 4: 2, 125<<4 + 1: 2} {
		got, err := vrf.Select(binary.BigEndian.AppendUint16(nil, beta), 4, 24, 19)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
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
	for _, c := range [][3]uint64{{2, 1, 1}, {1, 2, 3}, {0, 0, 0}, {1 << 60, 1 << 60, 1 << 30}, {1 << 14, 1 << 60, 1<<60 - 1}} {
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
