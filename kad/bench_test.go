package kad_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad"
	"github.com/shardkit/shardkit/kad/simnet"
)

// BenchmarkLookup runs whole lookups in a simulated network: what it costs in
// processor time, and what it takes in messages and virtual time.
func BenchmarkLookup(b *testing.B) {
	for _, count := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("nodes=%d", count), func(b *testing.B) {
			w := newWorld(b, 1, count, 4, func(_ int, c *kad.Config) { c.Refresh = 1000 * time.Hour })
			w.fill(16)
			sent, begin, n := w.net.Stats().Sent, w.net.Now(), 0
			b.ReportAllocs()
			for b.Loop() {
				i, j := w.net.Rand().IntN(count), w.net.Rand().IntN(count)
				require.True(b, w.find(i, j).OK)
				n++
			}
			b.ReportMetric(float64(w.net.Stats().Sent-sent)/float64(n), "msg/lookup")
			b.ReportMetric((w.net.Now()-begin).Seconds()/float64(n), "virtual-s/lookup")
		})
	}
}

// BenchmarkRegions is BenchmarkLookup on a planet: five regions with one-way
// latencies as between continents, and access lines of 100 Mbit/s down and
// 10 up. It reports how the time of a lookup spreads.
func BenchmarkRegions(b *testing.B) {
	const count = 2000
	ms := func(v ...int) (d []time.Duration) {
		for _, x := range v {
			d = append(d, time.Duration(x)*time.Millisecond)
		}
		return d
	}
	matrix := [][]time.Duration{
		ms(10, 40, 75, 110, 60),  // North America
		ms(40, 10, 105, 80, 95),  // Europe
		ms(75, 105, 20, 55, 150), // East Asia
		ms(110, 80, 55, 20, 165), // South Asia
		ms(60, 95, 150, 165, 15), // South America
	}
	region := func(id shardkit.NodeID) int { return int(id[15]) % len(matrix) }
	for _, paths := range []int{1, 4, 8} {
		b.Run(fmt.Sprintf("paths=%d", paths), func(b *testing.B) {
			w := newWorldOn(b, simnet.Config{Seed: 1, Latency: simnet.Regions(matrix, region), Jitter: 10 * time.Millisecond}, 1, count, 4,
				func(_ int, c *kad.Config) { c.Refresh, c.Paths = 1000*time.Hour, paths })
			for i := range count {
				w.net.SetBandwidth(nodeID(i), 10e6/8, 100e6/8)
			}
			w.fill(16)
			var took []time.Duration
			for b.Loop() {
				begin := w.net.Now()
				i, j := w.net.Rand().IntN(count), w.net.Rand().IntN(count)
				require.True(b, w.find(i, j).OK)
				took = append(took, w.net.Now()-begin)
			}
			slices.Sort(took)
			b.ReportMetric(took[len(took)/2].Seconds(), "virtual-s-p50")
			b.ReportMetric(took[len(took)*99/100].Seconds(), "virtual-s-p99")
		})
	}
}

// BenchmarkAnswer is what a node does for one question of a peer.
func BenchmarkAnswer(b *testing.B) {
	w := newWorld(b, 1, 2000, 2, nil)
	w.fill(16)
	core := w.nodes[0].core
	data, err := kad.NewMessage(kad.KindFind, 1, contact(1, 2).Addr, []shardkit.ShardID{1}, [4]uint64{1, 2, 3, 4}, 0, nil).AppendBinary(nil)
	require.NoError(b, err)
	now := time.Hour
	b.ReportAllocs()
	for b.Loop() {
		now += 20 * time.Millisecond
		require.NoError(b, core.Deliver(now, nodeID(1), data))
		core.Ready()
	}
}
