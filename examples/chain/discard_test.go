package chain

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
)

// TestDiscard: stores that are out of use are removed when they are no evidence
// any more, in a storm too; whoever comes back to such a shard syncs its state
// again.
func TestDiscard(t *testing.T) {
	w := newWorld(t, options{seed: 91, shards: 3, nodes: 12, net: storm(91), discard: true, stake: func(p *estake.Params) { p.EvidenceEpochs = 1 }})
	back := func() bool {
		for _, c := range w.gone {
			if n := w.nodes[c.Node]; n != nil && n.replica(c.Shard) != nil && n.replica(c.Shard).ready() {
				return true
			}
		}
		return false
	}
	require.True(t, w.net.RunUntil(back, 30*time.Second), "nobody came back")
	require.Len(t, w.gone, w.events[Discarded])
	require.Empty(t, w.play(0, 60*time.Second))
}

// TestDiscardDir removes stores from a disk; what a crash leaves of one the next
// start removes.
func TestDiscardDir(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"shard-1-0", "shard-1-1", "shard-2-0", "gone-shard-3-0"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, name, "sub"), 0o755))
	}
	n := &Node{gens: map[shardkit.ShardID]int{}, cfg: NodeConfig{Dir: dir, Genesis: &Genesis{}, Logger: slog.New(slog.DiscardHandler)}}
	held, err := n.claim()
	require.NoError(t, err)
	require.Equal(t, []shardkit.ShardID{1, 2}, held)
	require.NoDirExists(t, filepath.Join(dir, "gone-shard-3-0"))
	require.NoError(t, n.discard(1))
	require.NoDirExists(t, filepath.Join(dir, "shard-1-0"))
	require.NoDirExists(t, filepath.Join(dir, "shard-1-1"))
	require.DirExists(t, filepath.Join(dir, "shard-2-0"))
	stores, err := Stores(dir)
	require.NoError(t, err)
	require.Len(t, stores, 1)
	require.NoError(t, n.discard(1), "nothing is left")
}
