package erasure_test

import (
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/erasure"
)

// group returns a group of members with the given weights; Sure is 2q - W for
// the least q with 3q > 2W.
func group(weights ...uint64) erasure.Group {
	g := erasure.Group{}
	total := uint64(0)
	for i, w := range weights {
		g.Members = append(g.Members, erasure.Member{Node: member(i), Weight: w})
		total += w
	}
	g.Sure = 2*(2*total/3+1) - total
	return g
}

func member(i int) shardkit.NodeID { return shardkit.NodeID{byte(i >> 8), byte(i), 1} }

// equal returns n equal weights.
func equal(n int) []uint64 {
	ws := make([]uint64, n)
	for i := range ws {
		ws[i] = 1
	}
	return ws
}

// TestSureMembersHoldEnough is what the deal promises, for every set of
// members.
func TestSureMembersHoldEnough(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		ws := make([]uint64, 1+rng.IntN(12))
		for i := range ws {
			ws[i] = 1 + rng.Uint64N(1<<rng.IntN(40))
		}
		g := group(ws...)
		if rng.IntN(3) == 0 {
			g.Sure = 1 + rng.Uint64N(g.Sure)
		}
		d, err := erasure.NewDeal(g)
		require.NoError(t, err)
		for set := range uint32(1) << len(ws) {
			weight, chunks := uint64(0), 0
			for s := set; s != 0; s &= s - 1 {
				i := bits.TrailingZeros32(s)
				lo, hi := d.Range(i)
				weight, chunks = weight+ws[i], chunks+hi-lo
			}
			if weight >= g.Sure {
				require.GreaterOrEqual(t, chunks, d.K, "weights %v, members %b", ws, set)
			}
		}
	}
}

func TestDeal(t *testing.T) {
	for _, c := range []struct {
		members, k, n int
		codec         erasure.Codec
	}{
		{1, 1, 1, erasure.Whole},
		{2, 2, 2, erasure.GF8},
		{3, 3, 3, erasure.GF8}, // q is all of three
		{4, 2, 4, erasure.GF8},
		{7, 3, 7, erasure.GF8},
		{22, 8, 22, erasure.GF8},
		{100, 34, 100, erasure.Leopard8},
		{250, 84, 250, erasure.Leopard16},
		{400, 134, 400, erasure.Leopard16},
	} {
		d, err := erasure.NewDeal(group(equal(c.members)...))
		require.NoError(t, err)
		require.Equal(t, []int{c.k, c.n}, []int{d.K, d.N}, "%d members", c.members)
		require.Equal(t, c.codec, d.Shape(1).Codec())
		for i := range c.members {
			lo, hi := d.Range(i)
			require.Equal(t, []int{i, i + 1}, []int{lo, hi}, "equal members hold one each")
			require.Equal(t, i, d.Owner(i))
		}
	}
}

// TestDealOverhead: with weights of every kind a body grows to at most
// four and a half times its length; three is what a third of faults costs.
func TestDealOverhead(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		ws := make([]uint64, 4+rng.IntN(300))
		for i := range ws {
			ws[i] = 1 + rng.Uint64N(1000)
		}
		d, err := erasure.NewDeal(group(ws...))
		require.NoError(t, err)
		require.LessOrEqual(t, d.N*10, d.K*45, "%d members", len(ws))
		for i := range ws {
			lo, hi := d.Range(i)
			require.Less(t, lo, hi, "everybody holds a chunk")
			for c := lo; c < hi; c++ {
				require.Equal(t, i, d.Owner(c))
			}
		}
	}
}

func TestDealRefuses(t *testing.T) {
	for what, g := range map[string]erasure.Group{
		"nobody":       {Sure: 1},
		"nothing sure": {Members: group(1, 1).Members},
		"too sure":     {Members: group(1, 1).Members, Sure: 3},
		"too heavy":    {Members: group(1<<60, 1).Members, Sure: 1},
		"overflow":     {Members: group(1<<63, 1<<63).Members, Sure: 1},
		"too many":     {Members: group(equal(erasure.MaxChunks + 1)...).Members, Sure: 1},
	} {
		_, err := erasure.NewDeal(g)
		require.Error(t, err, what)
	}
	d, err := erasure.NewDeal(group(1<<58, 1<<58, 1<<58, 0))
	require.NoError(t, err)
	lo, hi := d.Range(3)
	require.Equal(t, lo, hi, "no weight, no chunk")
}
