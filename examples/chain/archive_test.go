package chain

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/fbft"
)

// TestArchive: what votes rest on is kept as long as evidence counts and no
// longer, and accuses nobody of an honest chain, views that failed included.
func TestArchive(t *testing.T) {
	net := storm(61)
	w := newWorld(t, options{seed: 61, shards: 2, nodes: 8, net: net, stake: func(p *estake.Params) { p.EvidenceEpochs = 1 }})
	w.weather(4 * time.Second)
	last := func() bool {
		return w.net.Now() > 7*time.Second && w.beacon() != nil && w.beacon().tip.out.meta.Epoch >= 4
	}
	require.True(t, w.net.RunUntil(last, 40*time.Second), w.status())
	kept, views, pairs := 0, 0, 0
	for s := range shardkit.ShardID(2) {
		certs := map[shardkit.Height][]*fbft.Certificate{}
		archives := map[shardkit.Height][][]byte{}
		seats := map[shardkit.Epoch][]Seat{}
		for _, id := range w.ids {
			n := w.nodes[id.node]
			if n == nil || n.replica(s) == nil || !n.replica(s).ready() {
				continue
			}
			r := n.replica(s)
			head, _ := r.chain.Head()
			for h := head.Height; h > 0; h-- {
				b, err := r.chain.Block(h)
				if err != nil {
					break // before its state sync
				}
				list, err := Archived(r.chain, h)
				require.NoError(t, err)
				if b.Header.Epoch < w.genesis.Params.keptEpoch(head.Epoch) {
					require.Empty(t, list, "shard %d height %d", s, h)
					continue
				}
				kept += len(list)
				var q fbft.Certificate
				require.NoError(t, q.UnmarshalBinary(b.Certificate))
				views += count(q.View > 0)
				certs[h] = append(certs[h], &q)
				archives[h] = append(archives[h], list...)
			}
			st := r.chain.State().Begin()
			for e := head.Epoch - min(head.Epoch, 1); e <= head.Epoch; e++ {
				known, ok, err := loadSeats(st, e, s)
				require.NoError(t, err)
				if ok {
					seats[e] = known
				}
			}
			st.Discard()
		}
		for h := range certs {
			known := seats[certs[h][0].Epoch]
			if known == nil {
				continue
			}
			c, err := committee(known, w.scheme)
			require.NoError(t, err)
			for _, ev := range fbft.Accuse(c, certs[h], archives[h]) {
				_, err := ev.Check(w.genesis.ID(), s, c)
				require.Error(t, err, "shard %d height %d", s, h)
			}
			pairs += len(archives[h])
		}
	}
	t.Logf("%d messages, %d of them with a known committee; %d certificates of later views", kept, pairs, views)
	require.Greater(t, pairs, 50)
	require.Positive(t, views)
	require.Empty(t, w.faults)
}

// TestArchiveRecords: the log brings back what was archived of the height that
// a crash interrupted, and a height's archive is bounded.
func TestArchiveRecords(t *testing.T) {
	w := newWorld(t, options{seed: 62, shards: 2, nodes: 8})
	w.net.Run(time.Second)
	r := w.nodes[w.ids[0].node].replicas[0]
	h := r.tip.height + 1
	require.NoError(t, r.core.log.recover([][]byte{
		encodeRecord(recordArchive, r.shard, h-1, []byte("old")), encodeRecord(recordArchive, r.shard, h, []byte("one")),
		encodeRecord(recordVote, r.shard, h, []byte("vote")), encodeRecord(recordArchive, r.shard, h, []byte("two")),
	}))
	r.archive = nil
	r.restoreArchive()
	require.Equal(t, [][]byte{[]byte("one"), []byte("two")}, r.archive)
	before := len(r.core.out.Records)
	r.keepArchive([][]byte{[]byte("two"), []byte("three")})
	require.Len(t, r.core.out.Records, before+1, "what is known is not logged again")
	require.Len(t, r.archive, 3)
	for i := range 2 * maxArchive {
		r.keepArchive([][]byte{{byte(i)}})
	}
	require.Len(t, r.archive, maxArchive)
	r.archive = nil
	r.keepArchive([][]byte{make([]byte, maxArchiveBytes-10), make([]byte, 11)})
	require.Len(t, r.archive, 1)
}

func FuzzArchive(f *testing.F) {
	reencode(f, encodeArchive([][]byte{{1, 2}, {}}), decodeArchive, encodeArchive)
}
