package fbfttest_test

import (
	"flag"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/fbfttest"
	"github.com/shardkit/shardkit/fbft/internal/mutant"
	"github.com/shardkit/shardkit/kad/simnet"
)

var seeds = flag.Int("fbft.seeds", 10000, "seeded runs of either simulator test; a tenth with -short")

func TestPerfect(t *testing.T) {
	s, err := fbfttest.NewSim(fbfttest.SimConfig{Heights: 50, Net: simnet.Config{Seed: 1, SyncTime: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RunTo(50, time.Second); err != nil {
		t.Fatal(err)
	}
}

// TestSeeds runs committees through random loss, delay, duplication,
// partitions and crashes, lets the network behave, and wants all heights
// decided everywhere.
func TestSeeds(t *testing.T) {
	eachSeed(t, runSeed)
}

func eachSeed(t *testing.T, run func(seed uint64) error) {
	t.Helper()
	seedsTo(t, *seeds, run)
}

// seedsTo runs seeds on all processors.
func seedsTo(t *testing.T, count int, run func(seed uint64) error) {
	t.Helper()
	n := int64(count)
	if testing.Short() {
		n /= 10
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := next.Add(1) - 1; seed < n && !t.Failed(); seed = next.Add(1) - 1 {
				if err := run(uint64(seed)); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d seeds", n)
}

// TestEpochSeeds does the same while the committee changes twice, each time
// leaving one member in common. Who leaves has to learn that it is relieved.
func TestEpochSeeds(t *testing.T) {
	eachSeed(t, runEpochSeed)
}

func runEpochSeed(seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 78))
	cfg := randomConfig(seed, 10, rng)
	cfg.Epochs = func(h shardkit.Height) (shardkit.Epoch, []int) {
		e := min(int(h-1)/2, 2)
		return shardkit.Epoch(e), []int{3 * e, 3*e + 1, 3*e + 2, 3*e + 3}
	}
	s, err := fbfttest.NewSim(cfg)
	if err != nil {
		return err
	}
	const calm = 6 * time.Second
	for range 10 {
		disturb(s, rng, 10, calm)
	}
	if err := calmDown(s, 10, calm); err != nil {
		return err
	}
	if err := s.RunTo(6, calm+60*time.Second, 6, 7, 8, 9); err != nil {
		return err
	}
	if err := s.RunTo(5, calm+80*time.Second, 3, 4, 5); err != nil {
		return err
	}
	return s.RunTo(3, calm+80*time.Second, 0, 1, 2)
}

func runSeed(seed uint64) error { return runSeedWith(seed, 0) }

// runSeedWith is runSeed with a broken rule.
func runSeedWith(seed uint64, broken mutant.Set) error {
	rng := rand.New(rand.NewPCG(seed, 77))
	nodes := 4 + rng.IntN(4)
	cfg := randomConfig(seed, nodes, rng)
	cfg.Core.Mutant = broken
	s, err := fbfttest.NewSim(cfg)
	if err != nil {
		return err
	}
	const calm = 8 * time.Second
	for range 10 {
		disturb(s, rng, nodes, calm)
	}
	alive := survivors(s.Committee(1), rng)
	if err := calmDown(s, nodes, calm, alive...); err != nil {
		return err
	}
	return s.RunTo(6, calm+60*time.Second, alive...)
}

// survivors picks who is up after the faults: in half of the runs everybody,
// otherwise as few as can still decide.
func survivors(c *fbft.Committee, rng *rand.Rand) (alive []int) {
	down := fbft.NewBitmap(c.Len())
	if rng.IntN(2) == 0 {
		for _, i := range rng.Perm(c.Len()) {
			if down.Set(i); c.Weight(down) >= c.Amplify() {
				down[i/8] &^= 1 << (i % 8)
			}
		}
	}
	for i := range c.Len() {
		if !down.Has(i) {
			alive = append(alive, i)
		}
	}
	return alive
}

// calmDown lets the network misbehave until a time and then behave. Who is not
// alive then (if anybody is named) stays down.
func calmDown(s *fbfttest.Sim, nodes int, calm time.Duration, alive ...int) error {
	s.Net.At(calm, func() {
		s.Net.Heal()
		s.Net.SetLoss(0)
		for i := range nodes {
			_ = s.Net.Restart(s.ID(i)) // an error means that it is up
			if len(alive) > 0 && !slices.Contains(alive, i) {
				s.Net.Crash(s.ID(i))
			}
		}
	})
	s.Net.Run(calm)
	return s.Err()
}

func randomConfig(seed uint64, nodes int, rng *rand.Rand) fbfttest.SimConfig {
	cfg := fbfttest.SimConfig{
		Nodes:   nodes,
		Heights: 6,
		Prune:   rng.IntN(2) == 0,
		Core:    fbft.Config{BaseTimeout: 400 * time.Millisecond, MaxTimeout: 1600 * time.Millisecond},
		Net: simnet.Config{
			Seed: seed, Jitter: time.Duration(rng.IntN(60)+1) * time.Millisecond,
			Loss: rng.Float64() * 0.8, Duplicate: rng.Float64() * 0.2, Reorder: rng.Float64() * 0.3,
			SyncTime: time.Duration(rng.IntN(20)) * time.Millisecond, Torn: rng.IntN(2) == 0,
			JobTime: func(j shardkit.Job) time.Duration { return time.Duration(len(j.Kind)) * time.Millisecond },
		},
	}
	if rng.IntN(2) == 0 {
		for range nodes {
			cfg.Weights = append(cfg.Weights, 1+rng.Uint64N(5))
		}
	}
	return cfg
}

func disturb(s *fbfttest.Sim, rng *rand.Rand, nodes int, calm time.Duration) {
	at := time.Duration(rng.Int64N(int64(calm)))
	a, b := s.ID(rng.IntN(nodes)), s.ID(rng.IntN(nodes))
	pause := time.Duration(rng.IntN(3000)) * time.Millisecond
	switch rng.IntN(5) {
	case 0, 1:
		s.Net.At(at, func() { s.Net.Crash(a) })
		s.Net.At(min(at+pause, calm-1), func() { _ = s.Net.Restart(a) })
	case 2:
		s.Net.At(at, func() { s.Net.Block(a, b, true) })
	case 3:
		var left []shardkit.NodeID
		for i := range nodes {
			if rng.IntN(2) == 0 {
				left = append(left, s.ID(i))
			}
		}
		s.Net.At(at, func() { s.Net.Partition(left) })
		s.Net.At(min(at+pause, calm-1), s.Net.Heal)
	case 4: // the power fails everywhere
		s.Net.At(at, func() {
			for i := range nodes {
				s.Net.Crash(s.ID(i))
			}
			for i := range nodes {
				_ = s.Net.Restart(s.ID(i))
			}
		})
	}
}
