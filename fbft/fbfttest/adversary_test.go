package fbfttest_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/fbfttest"
	"github.com/shardkit/shardkit/kad/simnet"
)

var adversarySeeds = flag.Int("fbft.adversaries", 200, "seeds for every adversary and size of committee; a tenth with -short")

// adversaries are those of the package, by their names in scripts.
var adversaries = []string{
	"silent", "equivocator", "equivocator:0,1,2,3,4,5,6", "outdated", "impersonator", "badsignatures", "withholder:prepared",
	"withholder:committed", "withholder:votes", "withholder:0,1", "censor:0", "censor:1,2",
}

// TestAdversaries runs as many adversaries as may be among four and seven
// members, places drawn at random, first in a network that loses and delays and
// machines that crash: no fork, nobody honest blamed or convicted, and once all
// that is over every honest member decides all heights.
func TestAdversaries(t *testing.T) {
	for _, name := range append(slices.Clone(adversaries), "any") {
		for _, nodes := range []int{4, 7} {
			t.Run(fmt.Sprintf("%s/n=%d", name, nodes), func(t *testing.T) {
				var guilty atomic.Int64
				seedsTo(t, *adversarySeeds, func(seed uint64) error {
					s, err := runAdversaries(seed, name, nodes, nil)
					if s != nil {
						guilty.Add(int64(s.Guilty))
					}
					return err
				})
				if guilty.Load() == 0 && name == "equivocator" {
					t.Error("nobody was convicted")
				}
				t.Logf("%d convictions", guilty.Load())
			})
		}
	}
}

// runAdversaries is one seed, with adversaries of a name or of any.
func runAdversaries(seed uint64, name string, nodes int, edit func(cfg *fbfttest.SimConfig)) (*fbfttest.Sim, error) {
	rng := rand.New(rand.NewPCG(seed, 79))
	cfg := randomConfig(seed, nodes, rng)
	cfg.Weights, cfg.Adversaries = nil, make(map[int]fbfttest.Adversary)
	order := rng.Perm(nodes)
	faulty := (nodes - 1) / 3
	for _, i := range order[:faulty] {
		who := name
		if name == "any" {
			who = adversaries[rng.IntN(len(adversaries))]
		}
		adversary, err := fbfttest.ParseAdversary(who)
		if err != nil {
			return nil, err
		}
		cfg.Adversaries[i] = adversary
	}
	if edit != nil {
		edit(&cfg)
	}
	s, err := fbfttest.NewSim(cfg)
	if err != nil {
		return nil, err
	}
	const calm = 4 * time.Second
	for range 6 {
		disturb(s, rng, nodes, calm)
	}
	if err := calmDown(s, nodes, calm); err != nil {
		return s, err
	}
	return s, s.RunTo(6, calm+60*time.Second, order[faulty:]...)
}

// TestAdversariesTooMany shows that the adversaries are not harmless: of two
// among four members, silent ones keep the others from deciding, and
// equivocators fork them.
func TestAdversariesTooMany(t *testing.T) {
	run := func(who fbfttest.Adversary, seed uint64) (*fbfttest.Sim, error) {
		s, err := fbfttest.NewSim(fbfttest.SimConfig{Heights: 3, Adversaries: map[int]fbfttest.Adversary{0: who, 1: who},
			Net:  simnet.Config{Seed: seed, Jitter: 20 * time.Millisecond},
			Core: fbft.Config{BaseTimeout: 100 * time.Millisecond, MaxTimeout: 400 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		return s, s.RunTo(3, 20*time.Second, 2, 3)
	}
	if s, err := run(fbfttest.Silent{}, 1); err == nil || s.Err() != nil {
		t.Errorf("silent: %v", err)
	}
	for seed := range uint64(300) {
		s, _ := run(fbfttest.Equivocator{With: []int{0, 1}}, seed)
		if s.Err() != nil {
			t.Logf("seed %d: %v", seed, s.Err())
			return
		}
	}
	t.Error("equivocators: no fork")
}

var realSeeds = flag.Int("fbft.real", 10, "seeds for every scheme with cryptography and size of committee")

// TestRealSchemes runs committees with the schemes that are used: a few seeds,
// with adversaries of all kinds.
func TestRealSchemes(t *testing.T) {
	for name, scheme := range map[string]func(t testing.TB, n int) (fbft.Verifier, []fbft.Signer){
		"bls": blsScheme, "edlist": edlistScheme,
	} {
		for _, nodes := range []int{4, 7} {
			t.Run(fmt.Sprintf("%s/n=%d", name, nodes), func(t *testing.T) {
				v, signers := scheme(t, nodes)
				seedsTo(t, *realSeeds, func(seed uint64) error {
					_, err := runAdversaries(seed, "any", nodes, func(cfg *fbfttest.SimConfig) {
						cfg.New = func(int) (fbft.Verifier, []fbft.Signer) { return v, signers }
					})
					return err
				})
			})
		}
	}
}
