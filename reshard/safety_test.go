package reshard_test

import (
	"fmt"
	"math/big"
	"testing"

	"github.com/shardkit/shardkit/reshard"
	"github.com/stretchr/testify/require"
)

func rat(a, b int64) *big.Rat { return big.NewRat(a, b) }

func sci(p *big.Rat, digits int) string {
	return new(big.Float).SetPrec(200).SetRat(p).Text('e', digits)
}

func years(t *testing.T, p *big.Rat) float64 {
	t.Helper()
	y, err := reshard.Years(p, reshard.Daily())
	require.NoError(t, err)
	f, _ := y.Float64()
	return f
}

// The tails by their definition, term by term.
func slowBinomial(n, t int, p *big.Rat) *big.Rat {
	sum, q := new(big.Rat), new(big.Rat).Sub(rat(1, 1), p)
	for j := max(t, 0); j <= n; j++ {
		x := new(big.Rat).SetInt(new(big.Int).Binomial(int64(n), int64(j)))
		for range j {
			x.Mul(x, p)
		}
		for range n - j {
			x.Mul(x, q)
		}
		sum.Add(sum, x)
	}
	return sum
}

func slowHypergeometric(pool, bad, n, t int) *big.Rat {
	sum, c := new(big.Int), func(n, k int) *big.Int { return new(big.Int).Binomial(int64(n), int64(k)) }
	for j := max(t, 0); j <= min(n, bad); j++ {
		if n-j <= pool-bad {
			sum.Add(sum, new(big.Int).Mul(c(bad, j), c(pool-bad, n-j)))
		}
	}
	return new(big.Rat).SetFrac(sum, c(pool, n))
}

// slowNetwork counts by placing shard after shard.
func slowNetwork(shards, size, bad, t int) *big.Rat {
	ways := make([]*big.Int, bad+1)
	for i := range ways {
		ways[i] = new(big.Int)
	}
	ways[0].SetInt64(1)
	for range shards {
		next := make([]*big.Int, bad+1)
		for i := range next {
			next[i] = new(big.Int)
			for j := 0; j <= min(i, t-1, size); j++ {
				next[i].Add(next[i], new(big.Int).Mul(ways[i-j], new(big.Int).Binomial(int64(size), int64(j))))
			}
		}
		ways = next
	}
	all := new(big.Int).Binomial(int64(shards*size), int64(bad))
	return new(big.Rat).SetFrac(new(big.Int).Sub(all, ways[bad]), all)
}

func TestTailsAgainstTheDefinition(t *testing.T) {
	for n := 0; n <= 12; n++ {
		for k := -1; k <= n+1; k++ {
			for _, p := range []*big.Rat{rat(0, 1), rat(1, 4), rat(1, 3), rat(99, 100), rat(1, 1)} {
				require.Zero(t, slowBinomial(n, k, p).Cmp(reshard.BinomialTail(n, k, p)), "%d %d %v", n, k, p)
			}
			for pool := n; pool <= n+8; pool += 2 {
				for bad := 0; bad <= pool; bad++ {
					require.Zero(t, slowHypergeometric(pool, bad, n, k).Cmp(reshard.HypergeometricTail(pool, bad, n, k)),
						"%d of %d, %d at least %d", bad, pool, n, k)
				}
			}
		}
	}
	for shards := 1; shards <= 5; shards++ {
		for size := 1; size <= 7; size++ {
			for bad := 0; bad <= shards*size; bad++ {
				for k := 1; k <= size+1; k++ {
					require.Zero(t, slowNetwork(shards, size, bad, k).Cmp(reshard.NetworkFailure(shards, size, bad, k)),
						"%d×%d, %d bad, %d", shards, size, bad, k)
				}
			}
		}
	}
	require.Zero(t, slowNetwork(4, 120, 120, 40).Cmp(reshard.NetworkFailure(4, 120, 120, 40)))
	// One shard is the hypergeometric tail.
	require.Zero(t, reshard.HypergeometricTail(50, 20, 50, 20).Cmp(reshard.NetworkFailure(1, 50, 20, 20)))
}

// Figures of papers.
func TestPublishedFigures(t *testing.T) {
	quarter, third := rat(1, 4), rat(1, 3)

	// The design's claim: one shard of 600, shares drawn independently.
	one := reshard.BinomialTail(600, 200, quarter)
	require.Equal(t, "2.972e-06", sci(one, 3))
	require.InDelta(t, 921, years(t, one), 0.5)
	// OmniLedger (2018): four shards of it.
	require.InDelta(t, 230, years(t, new(big.Rat).Mul(one, rat(4, 1))), 0.5)
	// RapidChain (2018): 250 of 4000, a third bad, unsafe at a half.
	require.Equal(t, "1.37e-08", sci(reshard.HypergeometricTail(4000, 1333, 250, 125), 2))
	require.Equal(t, "3.98e-08", sci(reshard.BinomialTail(250, 125, third), 2))
	// Elastico (2016): 100, a quarter bad, unsafe at a third.
	require.Equal(t, "2.76e-02", sci(reshard.BinomialTail(100, 34, quarter), 2))
}

// Mean years to the first failure of any shard, a quarter bad, one draw a day.
func TestYearsOfNetworks(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	for _, c := range []struct {
		lambda, shards int
		want, within   float64
	}{
		{600, 4, 10_900, 50}, {600, 16, 123, 0.5}, {600, 100, 10, 0.5},
		{700, 4, 184_000, 500}, {700, 16, 1150, 5}, {700, 100, 85, 0.5},
		{800, 4, 1.7e6, 5e4}, {800, 16, 6770, 5}, {800, 100, 456, 0.5},
	} {
		n := c.lambda * c.shards
		p := reshard.NetworkFailure(c.shards, c.lambda, n/4, reshard.Threshold(c.lambda, rat(1, 3)))
		got := years(t, p)
		t.Logf("λ=%d S=%d: %.3e a draw, %.1f years", c.lambda, c.shards, f64(p), got)
		require.InDelta(t, c.want, got, c.within)
	}
}

func f64(r *big.Rat) float64 {
	f, _ := r.Float64()
	return f
}

func TestSmallestCommittees(t *testing.T) {
	for _, c := range []struct {
		p, t   *big.Rat
		exp    int64 // target: 10^−6, or 2^−exp
		first  int
		larger int
	}{
		{rat(1, 4), rat(1, 3), 0, 646, 661}, {rat(1, 4), rat(1, 3), 40, 1426, 1438},
		{rat(1, 4), rat(1, 2), 0, 79, 81}, {rat(1, 4), rat(1, 2), 40, 173, 175},
		{rat(1, 3), rat(1, 2), 0, 193, 197}, {rat(1, 3), rat(1, 2), 40, 423, 427},
	} {
		target := rat(1, 1_000_000)
		if c.exp > 0 {
			target = rat(1, 1<<c.exp)
		}
		got, err := reshard.SmallestCommittee(c.p, c.t, target)
		require.NoError(t, err)
		require.Equal(t, reshard.Sizes{First: c.first, Safe: c.larger}, got, "%v against %v", c.p, c.t)
	}
}

// The search by classes finds what trying every size finds.
func TestSearchAgainstTrying(t *testing.T) {
	for _, c := range [][3]*big.Rat{
		{rat(1, 4), rat(1, 3), rat(1, 100)}, {rat(1, 5), rat(1, 3), rat(1, 10_000)},
		{rat(1, 3), rat(1, 2), rat(1, 1000)}, {rat(1, 5), rat(2, 5), rat(1, 1000)},
	} {
		first, last := 0, 0
		for n := 1; n <= 320; n++ {
			if reshard.BinomialTail(n, reshard.Threshold(n, c[1]), c[0]).Cmp(c[2]) <= 0 {
				first = max(first, 0)
				if first == 0 {
					first = n
				}
			} else {
				last = n
			}
		}
		got, err := reshard.SmallestCommittee(c[0], c[1], c[2])
		require.NoError(t, err)
		require.Equal(t, reshard.Sizes{First: first, Safe: last + 1}, got, "%v", c)
	}
}

// λ for 1000 years over any shard. The published table is on a grid of 30 at
// a quarter and of 100 at three tenths.
func TestSolveLambda(t *testing.T) {
	for _, c := range []struct {
		shards           int
		num, den         int64
		first, safe      int
		published, grid_ int
	}{
		{4, 1, 4, 490, 502, 510, 30}, {16, 1, 4, 694, 709, 720, 30}, {100, 1, 4, 838, 850, 870, 30},
		{4, 3, 10, 0, 0, 3400, 100}, {100, 3, 10, 0, 0, 5700, 100},
	} {
		got, err := reshard.SolveLambda(reshard.Goal{
			Shards: c.shards, Adversary: rat(c.num, c.den), Threshold: rat(1, 3), Years: rat(1000, 1),
		})
		require.NoError(t, err)
		t.Logf("S=%d at %d/%d: %+v", c.shards, c.num, c.den, got)
		require.Equal(t, c.published, (got.Safe+c.grid_-1)/c.grid_*c.grid_)
	}
	_, err := reshard.SolveLambda(reshard.Goal{Shards: 4, Adversary: rat(1, 3), Threshold: rat(1, 3), Years: rat(1, 1)})
	require.Error(t, err)
}

func TestQuorum(t *testing.T) {
	q := reshard.DefaultQuorum(600)
	require.Equal(t, [3]int{401, 202, 200}, [3]int{q.Q, q.Fork(), q.Stall()})

	r, err := q.RiskInfinite(rat(1, 4))
	require.NoError(t, err)
	sum := new(big.Rat).Add(r.Fork, r.Stall)
	require.Zero(t, sum.Cmp(reshard.BinomialTail(600, 200, rat(1, 4))))
	require.Equal(t, 1, r.Epoch.Cmp(r.Fork))

	// The watchdog's gain: the same safety with a much smaller committee.
	million := rat(1, 1_000_000)
	fixed, err := reshard.SmallestCommittee(rat(1, 4), rat(1, 3), million)
	require.NoError(t, err)
	small, risk, err := reshard.SmallestQuorum(rat(1, 4), million, rat(1, 2))
	require.NoError(t, err)
	t.Logf("fixed quorum %d; with a watchdog %+v, fork %s, stall %.3f, %.2f draws", fixed.Safe, small, sci(risk.Epoch, 2), f64(risk.Stall), f64(risk.Draws))
	require.Less(t, 5*small.N, fixed.Safe)

	_, err = reshard.Quorum{N: 10, Q: 5}.Risk(100, 10)
	require.Error(t, err)
}

func BenchmarkNetworkFailure(b *testing.B) {
	for _, shards := range []int{4, 16, 100} {
		b.Run(fmt.Sprintf("shards=%d/size=600", shards), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				reshard.NetworkFailure(shards, 600, shards*150, 200)
			}
		})
	}
}

// What the published shard size of 600 is worth: in one shard, as it was
// claimed, and in networks of 4, 16 and 100, with a quarter of all shares bad
// and one draw a day.
func ExampleNetworkFailure() {
	third := big.NewRat(1, 3)
	print := func(p *big.Rat) {
		y, _ := reshard.Years(p, reshard.Daily())
		f, _ := y.Float64()
		fmt.Printf("%.1f years\n", f)
	}
	t := reshard.Threshold(600, third)
	print(reshard.BinomialTail(600, t, big.NewRat(1, 4)))
	for _, shards := range []int{4, 16, 100} {
		print(reshard.NetworkFailure(shards, 600, shards*150, t))
	}
	// Output:
	// 921.3 years
	// 10898.9 years
	// 123.0 years
	// 10.3 years
}

func ExampleSolveLambda() {
	for _, shards := range []int{4, 16, 100} {
		s, _ := reshard.SolveLambda(reshard.Goal{
			Shards: shards, Adversary: big.NewRat(1, 4), Threshold: big.NewRat(1, 3), Years: big.NewRat(1000, 1),
		})
		fmt.Println(shards, s.First, s.Safe)
	}
	// Output:
	// 4 490 502
	// 16 694 709
	// 100 838 850
}
