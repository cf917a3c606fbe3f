package vdf

import (
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the assembly does to words is what the Go code does, for all lengths and
// for words at the edges. Without assembly it is the same code.
func TestWords(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	words := func(n int) []uint64 {
		x := make([]uint64, n)
		for i := range x {
			switch rng.IntN(5) {
			case 0:
				x[i] = ^uint64(0)
			case 1:
				x[i] = 0
			case 2:
				x[i] = 1 << rng.IntN(64)
			default:
				x[i] = rng.Uint64()
			}
		}
		return x
	}
	for range 50_000 {
		z, x, y := words(rng.IntN(14)), words(1+rng.IntN(10)), words(rng.IntN(10))
		want := slices.Clone(z)
		addProductWords(want, x, y)
		addProduct(z, x, y)
		require.Equal(t, want, z, "%x * %x", x, y)
		mulWords(want, x, y)
		mul(z, x, y)
		require.Equal(t, want, z, "%x * %x", x, y)

		n := 1 + rng.IntN(10)
		p, q, d := words(n), words(n), words(n)
		d[0] |= 1
		p2, q2 := slices.Clone(p), slices.Clone(q)
		divideWords(p2, q2, d, inverse64(d[0]))
		divideOdd(p, q, d, inverse64(d[0]))
		require.Equal(t, p2, p, "by %x", d)
		require.Equal(t, q2, q, "by %x", d)

		// The leading words of the dividend are less than the divisor: often by
		// little, so that a digit is all ones or guessed too large.
		d = words(n)
		d[n-1] |= 1 << 63
		m := rng.IntN(10)
		v := new(big.Int).Lsh(toBig(d), uint(64*m+64))
		v.Sub(v, new(big.Int).Add(toBig(words(1+rng.IntN(n+m))), bigOne))
		if rng.IntN(2) == 0 {
			v.Mod(v, new(big.Int).Rsh(v, uint(rng.IntN(128))).Add(v, bigOne))
		}
		p = make([]uint64, n+m+1)
		setBig(p, v)
		p, top := p[:n+m], p[n+m]
		p2 = slices.Clone(p)
		modWords(p2, d, top)
		modDigits(p, d, top)
		require.Equal(t, p2[:n], p[:n], "%v by %x", v, d)
		require.Zero(t, v.Mod(v, toBig(d)).Cmp(toBig(p[:n])))
	}
}
