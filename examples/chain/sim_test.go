package chain

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad/simnet"
	"github.com/shardkit/shardkit/statesync"
)

var (
	seeds    = flag.Int("seeds", 200, "seeds of the whole-chain simulation")
	fromSeed = flag.Uint64("from-seed", 1, "first seed of the whole-chain simulation")
)

// storm is a network with everything in it: delay, jitter that reorders, loss,
// duplicates.
func storm(seed uint64) simnet.Config {
	r := rand.New(rand.NewPCG(seed, 77))
	return simnet.Config{
		Latency:   func(_, _ shardkit.NodeID) time.Duration { return 5 * time.Millisecond },
		Jitter:    time.Duration(1+r.IntN(20)) * time.Millisecond,
		Loss:      []float64{0, 0.01, 0.03, 0.06}[r.IntN(4)],
		Duplicate: []float64{0, 0.02}[r.IntN(2)],
		Reorder:   []float64{0, 0.02}[r.IntN(2)],
		SyncTime:  time.Duration(1+r.IntN(8)) * time.Millisecond,
		Torn:      true,
	}
}

// weather makes trouble for some seconds: one node crashes, or a shard loses
// all its replicas at once, or the network splits; then everything heals.
func (w *world) weather(until time.Duration) {
	r := rand.New(rand.NewPCG(w.opt.seed, 99))
	for at := time.Second; at < until; at += time.Duration(600+r.IntN(1500)) * time.Millisecond {
		down := time.Duration(200+r.IntN(1500)) * time.Millisecond
		switch r.IntN(4) {
		case 0, 1:
			victim := w.ids[r.IntN(len(w.ids))].node
			w.net.At(at, func() { w.crash(victim) })
			w.net.At(at+down, func() { w.restart(victim) })
		case 2:
			shard := shardkit.ShardID(r.IntN(w.opt.shards))
			var all []shardkit.NodeID
			w.net.At(at, func() {
				for _, id := range w.ids {
					if n := w.nodes[id.node]; n != nil && n.replica(shard) != nil {
						all = append(all, id.node)
						w.crash(id.node)
					}
				}
			})
			w.net.At(at+down, func() {
				for _, id := range all {
					w.restart(id)
				}
			})
		case 3:
			cut := 1 + r.IntN(len(w.ids)-1)
			w.net.At(at, func() {
				var a, b []shardkit.NodeID
				for i, id := range w.ids {
					if i < cut {
						a = append(a, id.node)
					} else {
						b = append(b, id.node)
					}
				}
				w.net.Partition(a, append(b, w.wallet.id))
			})
			w.net.At(at+down, w.net.Heal)
		}
	}
	w.net.At(until+2*time.Second, func() {
		w.net.Heal()
		for _, id := range w.ids {
			w.restart(id.node)
		}
	})
}

func (w *world) crash(id shardkit.NodeID) {
	if w.nodes[id] != nil {
		w.net.Crash(id)
		w.nodes[id] = nil
	}
}

func (w *world) restart(id shardkit.NodeID) {
	if w.nodes[id] == nil {
		require.NoError(w.t, w.net.Restart(id))
	}
}

// play runs a world through its weather, lets it drain, and audits it. It
// returns what is wrong, or nothing.
func (w *world) play(trouble, drain time.Duration) string {
	if trouble > 0 {
		w.weather(trouble)
	}
	w.net.Run(trouble + 2500*time.Millisecond)
	w.wallet.stopped = true
	drained := w.net.RunUntil(w.wallet.idle, drain)
	if len(w.faults) > 0 {
		return fmt.Sprint("faults: ", w.faults)
	}
	if w.checked < 20 {
		return fmt.Sprint("only ", w.checked, " blocks were checked", w.status())
	}
	if !drained {
		return fmt.Sprint("transfers without a receipt at ", w.net.Now(), w.status())
	}
	if rep := w.audit(); !rep.OK() {
		return fmt.Sprint("audit: ", rep.Why)
	}
	return ""
}

// TestSeeds runs the chain through loss, delay, reordering, partitions,
// crashes with lost unsynced bytes, and the loss of all replicas of a shard at
// once; after every block the invariants hold, and once the faults stop every
// receipt is delivered.
func TestSeeds(t *testing.T) {
	n := *seeds
	if testing.Short() || raceEnabled {
		n = 6
	}
	var did tally
	if n >= 100 {
		t.Cleanup(func() { did.check(t, n) })
	}
	for i := range n {
		seed := *fromSeed + uint64(i)
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options{
				seed: seed, shards: 2, nodes: 8, blocks: uint32(8 + seed%2*6), accounts: 16, net: storm(seed),
				deal: uint8(seed % 5 / 4), stakers: true, strict: seed%4 == 0,
			})
			if wrong := w.play(4*time.Second, 60*time.Second); wrong != "" {
				t.Fatalf("seed %d: %s", seed, wrong)
			}
			did.add(w)
		})
	}
}

// TestReplay runs the same seed twice: every event and every byte must be the
// same.
func TestReplay(t *testing.T) {
	run := func(seed uint64) shardkit.Hash {
		w := newWorld(t, options{seed: seed, shards: 2, nodes: 8, accounts: 16, net: storm(seed), stakers: true})
		require.Empty(t, w.play(3*time.Second, 60*time.Second))
		return w.net.Digest()
	}
	a := run(5)
	t.Logf("trace digest %x", a[:])
	require.Equal(t, a, run(5))
	require.NotEqual(t, a, run(6))
}

// TestRealSignatures runs some seeds with BLS keys and signatures in place of
// the counting scheme.
func TestRealSignatures(t *testing.T) {
	n := uint64(5)
	if testing.Short() || raceEnabled {
		n = 1
	}
	for seed := range n {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options{seed: 1000 + seed, shards: 2, nodes: 8, accounts: 8, real: true, net: storm(seed), stakers: true})
			require.Empty(t, w.play(2*time.Second, 60*time.Second))
		})
	}
}

// TestMutants shows that the invariants notice: with each of the defects, the
// one that it breaks turns false.
func TestMutants(t *testing.T) {
	for _, m := range []struct {
		name   string
		mutant mutant
		who    int // -1: every node
		holds  func(*Report) bool
	}{
		{"double credit", mutantDoubleCredit, -1, func(r *Report) bool { return r.NoReceiptTwice }},
		{"dropped receipt", mutantDropReceipt, -1, func(r *Report) bool { return r.AllReceiptsDelivered }},
		{"mint", mutantMint, -1, func(r *Report) bool { return r.SupplyConserved }},
		{"free stake", mutantFree, -1, func(r *Report) bool { return r.SupplyConserved }},
		{"fork", mutantFork, 2, func(r *Report) bool { return r.OneBlockPerHeight }},
		{"diverge", mutantDiverge, 2, func(r *Report) bool { return r.ReplicasAgree }},
		{"lost transfer", mutantLose, -1, func(r *Report) bool { return r.AllAcceptedCommitted }},
	} {
		t.Run(m.name, func(t *testing.T) {
			w := newWorld(t, options{seed: 42, shards: 2, nodes: 8, mutant: m.mutant, who: m.who, stakers: true})
			w.net.Run(4 * time.Second)
			w.wallet.stopped = true
			w.net.RunUntil(w.wallet.idle, 10*time.Second)
			require.Greater(t, w.wallet.done, 20, "the chain works in spite of the defect: %v", w.status())
			require.False(t, m.holds(w.audit()), "the audit did not notice")
			if m.mutant <= mutantFree {
				require.NotEmpty(t, w.faults, "nor did the books after each block")
			}
		})
	}
	w := newWorld(t, options{seed: 42, shards: 2, nodes: 8, stakers: true})
	require.Empty(t, w.play(0, 20*time.Second), "without a defect nothing is wrong")
}

// TestJoin starts a node without a seat in a running chain: it hops from epoch
// to epoch, downloads the beacon's state and follows.
func TestJoin(t *testing.T) {
	w := newWorld(t, options{seed: 9, shards: 2, nodes: 8})
	w.net.Run(8 * time.Second)
	id := newIdentity(t, w.opt, 1000)
	w.ids = append(w.ids, id)
	w.add(id, 1000, true)
	follows := func() bool {
		r := w.nodes[id.node].replica(0)
		return r != nil && r.ready() && r.tip.height+3 > w.nodes[w.ids[0].node].height(0) && r.tip.height > 40
	}
	require.True(t, w.net.RunUntil(follows, 20*time.Second), w.status())
	require.Empty(t, w.faults)
	require.Positive(t, w.events[Synced])
}

// TestJoinResumes: a node crashes in the middle of its state sync, and goes on
// where it was: no epoch's hop and no range is fetched twice.
func TestJoinResumes(t *testing.T) {
	w := newWorld(t, options{seed: 71, shards: 2, nodes: 8, accounts: 3000, chunk: 4 << 10})
	w.wallet.stopped = true
	w.net.Run(24 * time.Second)
	id := newIdentity(t, w.opt, 1000)
	w.ids = append(w.ids, id)
	w.add(id, 1000, true)
	stats := func() (s statesync.Stats) {
		if r := w.nodes[id.node].replica(0); r != nil && r.client != nil {
			return r.client.Stats()
		}
		return s
	}
	half := func() bool { return stats().Ranges >= 12 }
	require.True(t, w.net.RunUntil(half, 40*time.Second), w.status())
	before := stats()
	require.Less(t, before.Progress, 900)
	w.crash(id.node)
	w.net.Run(w.net.Now() + time.Second)
	w.restart(id.node)
	var first statesync.Stats
	ready := func() bool {
		if first.Height == 0 {
			first = stats()
		}
		r := w.nodes[id.node].replica(0)
		return r != nil && r.ready()
	}
	require.True(t, w.net.RunUntil(ready, 60*time.Second), w.status())
	t.Logf("before %+v\nresumed %+v\nin the end %+v", before, first, stats())
	require.Equal(t, before.Height, first.Height, "the same head")
	require.Zero(t, stats().Restarts)
	require.Less(t, stats().Hops, before.Hops, "those of newer epochs")
	all := before.Bytes * 1000 / uint64(before.Progress)
	require.Less(t, stats().Bytes, all*3/4, "of %d", all)
	require.Empty(t, w.faults)
}

// height is how far a node is in a shard, 0 if it is not there.
func (n *simNode) height(s shardkit.ShardID) shardkit.Height {
	if r := n.replica(s); r != nil && r.ready() {
		return r.tip.height
	}
	return 0
}

// TestDrawingAfterCrash: who comes back while a drawing is open does not know
// for how long, and supports no new input set. If that is everybody the
// attempt is void and the next one succeeds; a block that the others prepared
// all the same is taken by those who would not have voted for it.
func TestDrawingAfterCrash(t *testing.T) {
	for _, all := range []bool{false, true} {
		w := newWorld(t, options{seed: 61, shards: 2, nodes: 8})
		beacon := func() (list []*replica) {
			for _, id := range w.ids {
				if n := w.nodes[id.node]; n != nil {
					if r := n.replica(0); r != nil && r.ready() {
						list = append(list, r)
					}
				}
			}
			return list
		}
		open := func() bool {
			list := beacon()
			for _, r := range list {
				if r.tip.out.draw.Phase != drawInputs || r.committed != r.tip.height || r.draw.Late(w.net.Now()) {
					return false
				}
			}
			return len(list) > 0
		}
		require.True(t, w.net.RunUntil(open, 20*time.Second))
		list := beacon()
		epoch := list[0].tip.out.draw.Epoch
		if !all {
			list = list[:1]
		}
		for _, r := range list {
			w.crash(r.core.cfg.Self)
		}
		for _, r := range list {
			w.restart(r.core.cfg.Self)
		}
		back := func() *replica { return w.nodes[list[0].core.cfg.Self].replica(0) }
		require.True(t, w.net.RunUntil(func() bool { return back() != nil && back().ready() }, w.net.Now()+time.Second))
		require.Equal(t, drawInputs, back().tip.out.draw.Phase, "else the test shows nothing")
		require.True(t, back().draw.Late(w.net.Now()))
		done := func() bool { d := &back().tip.out.draw; return d.Epoch == epoch && d.Phase == drawDone }
		require.True(t, w.net.RunUntil(done, w.net.Now()+20*time.Second), w.status())
		require.Equal(t, all, back().tip.out.draw.Attempt > 0)
		require.Empty(t, w.faults)
	}
}
