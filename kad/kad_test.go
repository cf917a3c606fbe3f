package kad_test

import (
	"flag"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad"
)

var large = flag.Bool("large", false, "simulate 100,000 nodes too")

// A network of nodes that know one of them: everybody finds everybody, and all
// members of every shard.
func TestJoin(t *testing.T) {
	const count, bits = 120, 2
	w := newWorld(t, 1, count, bits, func(i int, c *kad.Config) { c.Bootstrap = []kad.Contact{contact(0, bits)} })
	for i := range count {
		w.net.At(time.Duration(i)*10*time.Millisecond, func() { w.start(i) })
	}
	w.net.Run(time.Minute)
	for i := range count {
		members := w.nodes[i].core.Members(contact(i, bits).Shard)
		require.Len(t, members, count/4-1, "node %d", i)
	}
	for i := range count {
		j := (i*7 + 1) % count
		f := w.find(i, j)
		require.True(t, f.OK, "%d finds %d", i, j)
		require.Equal(t, contact(j, bits), f.Contact)
		got := w.findShard(i, shardkit.ShardID(i/4%4), 20)
		require.Len(t, got, 20)
		for _, c := range got {
			require.Equal(t, shardkit.ShardID(i/4%4), c.Shard)
		}
	}
	require.Len(t, w.findShard(1, 2, 1000), count/4)
	f := w.find(0, count+1)
	require.False(t, f.OK, "nobody is there")
}

// figures runs lookups between random live honest nodes and reports.
func figures(t testing.TB, w *world, lookups int, pick func() int) (found float64, hops, queries float64, seconds float64) {
	ok := 0
	var before, after kad.Stats
	add := func(s *kad.Stats, x kad.Stats) { s.Hops += x.Hops; s.Queries += x.Queries; s.Found += x.Found }
	for _, n := range w.nodes {
		add(&before, n.core.Stats())
	}
	var virtual time.Duration
	for range lookups {
		i, j := pick(), pick()
		for i == j {
			j = pick()
		}
		begin := w.net.Now()
		if w.find(i, j).OK {
			ok++
		}
		virtual += w.net.Now() - begin
	}
	for _, n := range w.nodes {
		add(&after, n.core.Stats())
	}
	n := float64(after.Found - before.Found)
	return float64(ok) / float64(lookups), float64(after.Hops-before.Hops) / n,
		float64(after.Queries-before.Queries) / float64(lookups), virtual.Seconds() / float64(lookups)
}

func sizes() []int {
	if *large {
		return []int{10_000, 100_000}
	}
	return []int{10_000}
}

// Lookups in a large network: fewer hops than log2 N, and nearly all succeed
// with a third of the nodes dead.
func TestLargeNetwork(t *testing.T) {
	for _, count := range sizes() {
		w := newWorld(t, 1, count, 4, func(_ int, c *kad.Config) { c.Refresh = 24 * time.Hour })
		w.fill(16)
		all := func() int { return w.net.Rand().IntN(count) }
		found, hops, queries, took := figures(t, w, 200, all)
		t.Logf("nodes=%d: found %.1f%%, %.2f hops, %.1f requests, %.2f s", count, 100*found, hops, queries, took)
		contacts := 0
		for _, n := range w.nodes {
			contacts += n.core.Stats().Contacts
		}
		t.Logf("nodes=%d: %d contacts in a table", count, contacts/count)
		require.Equal(t, 1.0, found)
		require.Less(t, hops, math.Log2(float64(count)))

		dead := map[int]bool{}
		for len(dead) < count*3/10 {
			i := all()
			dead[i] = true
			w.net.Crash(nodeID(i))
		}
		alive := func() int {
			for {
				if i := all(); !dead[i] {
					return i
				}
			}
		}
		found, hops, queries, took = figures(t, w, 200, alive)
		t.Logf("nodes=%d, 30%% dead: found %.1f%%, %.2f hops, %.1f requests, %.2f s", count, 100*found, hops, queries, took)
		require.Greater(t, found, 0.98)
	}
}

// One third, then two, of the nodes answer every question with those of their
// conspiracy that are nearest to the target. Lookups get by them, and the sooner
// the more disjoint paths they go.
func TestLiars(t *testing.T) {
	const bits = 4
	count := 2000
	if *large {
		count = 10_000
	}
	for bad := 1; bad <= 2; bad++ {
		lies := func(i int) bool { return i/16%3 < bad }
		var lying []kad.Contact
		for i := range count {
			if lies(i) {
				lying = append(lying, contact(i, bits))
			}
		}
		conspiracy := newLiar(lying, 0, bits)
		for _, paths := range []int{1, 4, 8} {
			w := newWorld(t, 1, count, bits, func(_ int, c *kad.Config) { c.Refresh, c.Paths = 24*time.Hour, paths })
			w.fill(16)
			for i, n := range w.nodes {
				if lies(i) {
					n.liar = conspiracy
				}
			}
			honest := func() int {
				for {
					if i := w.net.Rand().IntN(count); !lies(i) {
						return i
					}
				}
			}
			found, hops, queries, took := figures(t, w, 200, honest)
			t.Logf("%d in 3 lie, paths=%d: found %.1f%%, %.2f hops, %.1f requests, %.2f s", bad, paths, 100*found, hops, queries, took)
			if bad == 1 && paths >= 4 {
				require.Greater(t, found, 0.99)
			}
		}
	}
}

// Liars who name the node that is looked for, each at another false address,
// delay it.
func TestFalseAddresses(t *testing.T) {
	const count, bits = 500, 2
	w := newWorld(t, 1, count, bits, nil)
	w.fill(16)
	conspiracy := newLiar(nil, 0, bits)
	for i := range count {
		if i%3 == 1 {
			w.nodes[i].liar = conspiracy
		}
	}
	found, late := 0, time.Duration(0)
	for i := range 100 {
		target := 3 * (i + 20)
		conspiracy.hunted = contact(target, bits)
		begin := w.net.Now()
		if w.find(3*i, target).OK {
			found++
		}
		late = max(late, w.net.Now()-begin)
	}
	t.Logf("found %d of 100, the last after %v", found, late)
	require.GreaterOrEqual(t, found, 98)
}
