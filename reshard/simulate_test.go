package reshard_test

import (
	"flag"
	"fmt"
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/reshard"
	"github.com/stretchr/testify/require"
)

var long = flag.Bool("long", false, "run simulations at full length")

func policy(t testing.TB, name string) reshard.Policy {
	t.Helper()
	p, err := reshard.ParsePolicy(name)
	require.NoError(t, err)
	return p
}

// The greedy adversary against 16 shards of 600: it lets 5 % of its members
// rejoin each epoch and keeps those that land in its best shard. Medians over
// seeds, against published ones; they agree within a factor of two or three
// epochs, which is also what separates readings of the rule.
func TestPoliciesUnderAttack(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	const never = 0
	for _, c := range []struct {
		policy       string
		percent      int
		want, epochs int
	}{
		{"bounded:k=1", 20, 6, 100}, {"bounded:k=10", 20, 6, 100},
		{"bounded:k=1", 25, 2, 100}, {"bounded:k=10", 25, 2, 100},
		{"bounded:percent=10", 20, 34, 200}, {"bounded:percent=10", 25, 7, 100},
		{"pooled:percent=20", 20, never, 200},
		{"full", 20, never, 100}, {"full", 25, never, 100},
		{"gradual", 25, never, 100},
	} {
		outs, err := reshard.Survival(reshard.Simulation{
			Policy: policy(t, c.policy), Shards: 16, Size: 600,
			BadPPM: c.percent * 10_000, RatePPM: 50_000, Epochs: c.epochs,
		}, 1, 9)
		require.NoError(t, err)
		got, failed := reshard.MedianFailure(outs)
		t.Logf("%s at %d %%: %v after %d epochs", c.policy, c.percent, failed, got)
		require.Equal(t, c.want != never, failed)
		if failed {
			require.LessOrEqual(t, got, max(2*c.want, c.want+3))
			require.GreaterOrEqual(t, got, min(c.want/2, max(c.want-3, 1)))
		}
		if c.policy == "full" {
			for _, o := range outs {
				require.Less(t, o.WorstBad*1000, o.WorstSize*334)
			}
		}
	}
}

// Pooled partial reshuffle at a quarter holds for some hundreds of epochs.
func TestPooledHolds(t *testing.T) {
	if !*long {
		t.Skip("with -long")
	}
	outs, err := reshard.Survival(reshard.Simulation{
		Policy: policy(t, "pooled:percent=20"), Shards: 16, Size: 600, BadPPM: 250_000, RatePPM: 50_000, Epochs: 2000,
	}, 1, 15)
	require.NoError(t, err)
	got, failed := reshard.MedianFailure(outs)
	require.True(t, failed)
	require.InDelta(t, 288, got, 144)
}

// RapidChain's setting: 16 committees of 250, a third bad, a committee fails
// at a half. Rejoins of one adversarial member each until then; medians of 15,
// to a factor of two.
func TestBoundedCuckooRejoins(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	limit := 10_000
	if *long {
		limit = 100_000
	}
	for _, c := range []struct{ k, want int }{{1, 427}, {2, 752}, {4, 1153}, {8, 24_540}, {16, 0}} {
		if c.want > limit || c.want == 0 && !*long {
			continue
		}
		outs, err := reshard.Survival(reshard.Simulation{
			Policy: reshard.Bounded{K: c.k}, Shards: 16, Size: 250,
			BadPPM: 333_333, FailNum: 1, FailDenom: 2, Rejoins: 1, Epochs: limit,
		}, 1, 15)
		require.NoError(t, err)
		got, failed := reshard.MedianFailure(outs)
		t.Logf("k=%d: %v after %d rejoins", c.k, failed, got)
		if c.want == 0 {
			curve := reshard.Curve(outs)
			require.GreaterOrEqual(t, curve[len(curve)-1].Alive, 9) // 12 of 15 published
			continue
		}
		require.True(t, failed)
		require.Less(t, got, 2*c.want)
		require.Greater(t, got, c.want/2)
	}
}

// A seed has one history, whatever runs beside it, and another seed another.
func TestSimulationIsDeterministic(t *testing.T) {
	for _, name := range reshard.Policies() {
		for _, attack := range []reshard.Attack{reshard.Greedy, reshard.Target, reshard.Patient, reshard.Churn} {
			for _, group := range []int{1, 5} {
				s := reshard.Simulation{
					Policy: policy(t, name), Shards: 4, Size: 50, Group: group, BadPPM: 200_000,
					Attack: attack, RatePPM: 200_000, HonestPM: 20, Wait: group - 1, Epochs: 20,
				}
				a, err := reshard.Survival(s, 7, 6)
				require.NoError(t, err)
				b, err := reshard.Survival(s, 8, 5)
				require.NoError(t, err)
				require.Equal(t, a[1:], b)
				require.NotEqual(t, a[0], a[1])
				for _, o := range a {
					require.NotZero(t, o.Rejoins+uint64(o.Epoch))
				}
			}
		}
	}
}

// stranger hides that a policy is of this package.
type stranger struct{ reshard.Policy }

// A policy of others is simulated through its Assign: the same rule has the
// same statistics.
func TestForeignPolicy(t *testing.T) {
	s := reshard.Simulation{
		Policy: reshard.Bounded{K: 2}, Shards: 4, Size: 60, Group: 2, BadPPM: 200_000, RatePPM: 50_000, Epochs: 50,
	}
	own, err := reshard.Survival(s, 1, 60)
	require.NoError(t, err)
	s.Policy = stranger{s.Policy}
	foreign, err := reshard.Survival(s, 1, 60)
	require.NoError(t, err)
	a, _ := reshard.MedianFailure(own)
	b, _ := reshard.MedianFailure(foreign)
	require.InDelta(t, a, b, 3)
}

func TestCooldownSlowsTheAttack(t *testing.T) {
	s := reshard.Simulation{Policy: reshard.Bounded{K: 2}, Shards: 8, Size: 100, BadPPM: 150_000, RatePPM: 100_000, Epochs: 400}
	median := func() int {
		outs, err := reshard.Survival(s, 1, 15)
		require.NoError(t, err)
		e, _ := reshard.MedianFailure(outs)
		return e
	}
	at0 := median()
	s.Wait = 10
	at10 := median()
	t.Logf("median %d epochs without a wait, %d with 10", at0, at10)
	require.Greater(t, at10, 2*at0)
}

func TestSimulationRefuses(t *testing.T) {
	good := reshard.Simulation{Policy: reshard.Full{}, Shards: 2, Size: 10, Epochs: 1}
	_, err := good.Run(1)
	require.NoError(t, err)
	for _, breakIt := range []func(*reshard.Simulation){
		func(s *reshard.Simulation) { s.Policy = nil },
		func(s *reshard.Simulation) { s.Shards = 0 },
		func(s *reshard.Simulation) { s.Group = 3 },
		func(s *reshard.Simulation) { s.BadPPM = 1_000_001 },
		func(s *reshard.Simulation) { s.FailNum, s.FailDenom = 2, 1 },
	} {
		s := good
		breakIt(&s)
		_, err := s.Run(1)
		require.Error(t, err)
		_, err = reshard.Survival(s, 1, 2)
		require.Error(t, err)
	}
}

func TestCurve(t *testing.T) {
	outs := []reshard.Outcome{{Failed: true, Epoch: 5}, {Epoch: 9}, {Failed: true, Epoch: 5}, {Failed: true, Epoch: 2}}
	require.Equal(t, []reshard.Point{{Epoch: 0, Alive: 4}, {Epoch: 2, Alive: 3}, {Epoch: 5, Alive: 1}, {Epoch: 9, Alive: 1}}, reshard.Curve(outs))
	e, failed := reshard.MedianFailure(outs)
	require.True(t, failed)
	require.Equal(t, 5, e)
	_, failed = reshard.MedianFailure(nil)
	require.False(t, failed)
}

func BenchmarkAssign(b *testing.B) {
	units := make([]reshard.Unit, 0, 66_000)
	for i := range uint64(110) {
		for n := range uint32(600) {
			units = append(units, reshard.Unit{Slot: hash(i), Share: n, Weight: 1})
		}
	}
	prev, _, err := reshard.Full{}.Assign(reshard.Assignment{}, units[:60_000], 100, hash(0))
	require.NoError(b, err)
	for _, name := range reshard.Policies() {
		b.Run(fmt.Sprintf("policy=%s/shares=60000", name), func(b *testing.B) {
			p := policy(b, name)
			b.ReportAllocs()
			for b.Loop() { // a tenth has left, a tenth has come
				if _, _, err := p.Assign(prev, units[6_000:], 100, hash(1)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSimulation(b *testing.B) {
	for _, name := range reshard.Policies() {
		b.Run(fmt.Sprintf("policy=%s/units=9600", name), func(b *testing.B) {
			s := reshard.Simulation{
				Policy: policy(b, name), Shards: 16, Size: 600, BadPPM: 100_000, RatePPM: 50_000, Attack: reshard.Churn, Epochs: 20,
			}
			epochs := 0
			for seed := uint64(0); b.Loop(); seed++ {
				o, err := s.Run(seed)
				if err != nil {
					b.Fatal(err)
				}
				epochs += o.Epoch
			}
			b.ReportMetric(float64(epochs)/b.Elapsed().Seconds(), "epochs/s")
		})
	}
}

// How a policy fares against an adversary with a fifth of all units who lets
// 5 % of them rejoin every epoch.
func ExampleSurvival() {
	for _, name := range []string{"bounded:k=2", "full"} {
		p, _ := reshard.ParsePolicy(name)
		outs, _ := reshard.Survival(reshard.Simulation{
			Policy: p, Shards: 16, Size: 600, BadPPM: 200_000, RatePPM: 50_000, Epochs: 40,
		}, 1, 8)
		curve := reshard.Curve(outs)
		fmt.Printf("%s: %d of 8 survive\n", name, curve[len(curve)-1].Alive)
	}
	// Output:
	// bounded:k=2: 0 of 8 survive
	// full: 8 of 8 survive
}

// Deal eight slots to two shards, then again in the next epoch.
func ExamplePolicy() {
	var units []reshard.Unit
	for i := byte(1); i <= 8; i++ {
		units = append(units, reshard.Unit{Slot: shardkit.Hash{i}, Weight: 100})
	}
	policy, _ := reshard.ParsePolicy("cuckoo:k=1,min=2")
	first, _, _ := policy.Assign(reshard.Assignment{}, units, 2, shardkit.Hash{'a'})
	next, moves, _ := policy.Assign(first, units[1:], 2, shardkit.Hash{'b'}) // slot 1 leaves
	fmt.Println(len(first.Shards[0]), len(first.Shards[1]), next.Count(), len(moves))
	// Output:
	// 4 4 7 2
}
