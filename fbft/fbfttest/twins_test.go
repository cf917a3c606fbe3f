package fbfttest_test

import (
	"flag"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/fbfttest"
	"github.com/shardkit/shardkit/fbft/internal/mutant"
)

var twins = flag.Int("fbft.twins", 80000, "sampled twins scenarios, a tenth with -short; the complete ones come on top")

const twinActors = 5 // four nodes, the last twice

// twinRound is a round of the complete enumeration: its leader, times 16, and
// which of actors 0 to 3 are apart from actor 4.
type twinRound uint8

const twinRounds = 64

func (r twinRound) round() fbfttest.Round {
	part := make([]uint8, twinActors)
	for i := range part[:4] {
		part[i] = uint8(r) >> i & 1
	}
	return fbfttest.Round{Leader: int(r >> 4), Part: part}
}

// rename returns the same round with actor i called to[i].
func (r twinRound) rename(to [twinActors]int) twinRound {
	mask := 0
	for i, k := range to {
		if i < 4 && r>>i&1 == 1 {
			mask |= 1 << k
		}
	}
	if mask&16 != 0 {
		mask ^= 31
	}
	return twinRound(min(to[r>>4], 3))<<4 | twinRound(mask)
}

// renamings are those that change nothing: of the honest nodes among each
// other, and of the two machines of the twin.
func renamings() (list [][twinActors]int) {
	for _, p := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		list = append(list, [twinActors]int{p[0], p[1], p[2], 3, 4}, [twinActors]int{p[0], p[1], p[2], 4, 3})
	}
	return list
}

// canonical lists the scenarios of three rounds, one of every set that differs
// in names only.
func canonical() (list [][3]twinRound) {
	names := renamings()
	less := func(a, b [3]twinRound) bool {
		return a[0] < b[0] || a[0] == b[0] && (a[1] < b[1] || a[1] == b[1] && a[2] < b[2])
	}
	for n := range twinRounds * twinRounds * twinRounds {
		w := [3]twinRound{twinRound(n >> 12), twinRound(n >> 6 & 63), twinRound(n & 63)}
		least := true
		for _, to := range names {
			if least = !less([3]twinRound{w[0].rename(to), w[1].rename(to), w[2].rename(to)}, w); !least {
				break
			}
		}
		if least {
			list = append(list, w)
		}
	}
	return list
}

// TestTwinsComplete runs all scenarios of three views with one twin among four
// nodes, every leader and every split in two, symmetry reduced.
func TestTwinsComplete(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	list := canonical()
	var at atomic.Int64
	each(t, func() (*fbfttest.Twins, bool) {
		n := at.Add(1) - 1
		if n >= int64(len(list)) {
			return nil, false
		}
		w := &fbfttest.Twins{Nodes: 4}
		for _, r := range list[n] {
			w.Rounds = append(w.Rounds, r.round())
		}
		return w, true
	})
}

// TestTwinsMutant shows that the enumeration has power: with the quorum one
// unit too low a twin forks the committee.
func TestTwinsMutant(t *testing.T) {
	for _, w := range canonical() {
		s := &fbfttest.Twins{Nodes: 4, Core: fbft.Config{Mutant: mutant.QuorumLess}}
		for _, r := range w {
			s.Rounds = append(s.Rounds, r.round())
		}
		if s.Run() != nil {
			return
		}
	}
	t.Error("a quorum one unit too low went unnoticed")
}

func TestTwinsSampled(t *testing.T) {
	limit := int64(*twins)
	if testing.Short() {
		limit /= 10
	}
	var seed atomic.Int64
	each(t, func() (*fbfttest.Twins, bool) {
		n := seed.Add(1)
		rng := rand.New(rand.NewPCG(uint64(n), 5))
		w := &fbfttest.Twins{Nodes: 4}
		parts := 2 + rng.IntN(2)
		for range 3 + rng.IntN(2) {
			r := fbfttest.Round{Leader: rng.IntN(4), Part: make([]uint8, twinActors)}
			for i := range r.Part {
				r.Part[i] = uint8(rng.IntN(parts))
			}
			w.Rounds = append(w.Rounds, r)
		}
		return w, n <= limit
	})
}

// each runs the scenarios that next returns, on all processors.
func each(t *testing.T, next func() (*fbfttest.Twins, bool)) {
	t.Helper()
	var wg sync.WaitGroup
	var count atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for !t.Failed() {
				w, ok := next()
				if !ok {
					return
				}
				count.Add(1)
				if err := w.Run(); err != nil {
					t.Errorf("%+v: %v", w.Rounds, err)
				}
			}
		}()
	}
	wg.Wait()
	t.Logf("%d scenarios", count.Load())
}
