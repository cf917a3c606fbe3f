package chain

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/statesync"
)

// TestGaps: what is missing is what no range that was written covers.
func TestGaps(t *testing.T) {
	at := func(b byte) shardkit.Hash { return shardkit.Hash{b} }
	type span struct{ from, to byte } // to 0: the end
	for _, c := range []struct {
		there []span
		gaps  []span
	}{
		{nil, []span{{0, 0}}},
		{[]span{{0, 0}}, nil},
		{[]span{{0, 3}}, []span{{3, 0}}},
		{[]span{{5, 0}}, []span{{0, 5}}},
		{[]span{{0, 3}, {3, 5}, {7, 0}}, []span{{5, 7}}},
		{[]span{{1, 9}, {2, 4}, {8, 12}, {20, 30}}, []span{{0, 1}, {12, 20}, {30, 0}}},
		{[]span{{0, 3}, {4, 0}, {6, 7}}, []span{{3, 4}}},
	} {
		d := &download{store: ledger.NewMemStore()}
		require.NoError(t, d.store.Apply(func(yield func(k, v []byte) bool) {
			for _, s := range c.there {
				from, to := at(s.from), at(s.to)
				if !yield(keyPart(from[:]), to[:]) {
					return
				}
			}
			yield([]byte(extraPrefix+"t"), nil)
		}, nil))
		var want []statesync.Gap
		for _, g := range c.gaps {
			want = append(want, statesync.Gap{From: at(g.from), To: at(g.to)})
		}
		got, err := d.gaps()
		require.NoError(t, err)
		require.Equal(t, want, got, "%v", c.there)
	}
}

func TestHeadGolden(t *testing.T) {
	zeros := hex.EncodeToString(make([]byte, 31))
	h := statesync.Head{Epoch: 1, Height: 2, Root: shardkit.Hash{3}, Header: []byte{4}, Cert: []byte{5, 6}}
	require.Equal(t, "0000000000000001"+"0000000000000002"+"03"+zeros+"0000000104"+"000000020506", hex.EncodeToString(encodeHead(&h)))
}

func FuzzHead(f *testing.F) {
	h := statesync.Head{Epoch: 1, Height: 2, Root: shardkit.Hash{3}, Header: []byte{4}, Cert: []byte{5, 6}}
	reencode(f, encodeHead(&h), decodeHead, func(h statesync.Head) []byte { return encodeHead(&h) })
}

// TestServes: who claims to serve a shard is believed if it has a seat there.
func TestServes(t *testing.T) {
	w := newWorld(t, options{seed: 72, shards: 2, nodes: 8})
	c := w.nodes[w.ids[0].node].Core
	homes := w.genesis.Homes()
	for _, id := range w.ids {
		require.True(t, c.serves(homes[id.node], id.node))
		require.False(t, c.serves(1-homes[id.node], id.node))
	}
	require.False(t, c.serves(0, shardkit.NodeID{1}))
}
