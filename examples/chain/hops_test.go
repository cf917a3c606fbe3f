package chain

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/statesync"
)

// TestHops walks a real chain's hops, with the signatures in one batch and one
// by one: what is wrong is found, and so is what is good before it.
func TestHops(t *testing.T) {
	if raceEnabled {
		t.Skip("signatures are ten times as slow, and nothing here is concurrent")
	}
	w := newWorld(t, options{seed: 81, shards: 1, nodes: 4, blocks: 6, accounts: 1, real: true})
	w.wallet.stopped = true
	var run []statesync.Hop
	enough := func() bool {
		if r := w.beacon(); r != nil {
			run, _ = hops(r.chain, 1, 4)
		}
		return len(run) == 3
	}
	require.True(t, w.net.RunUntil(enough, 60*time.Second), w.status())
	r := w.beacon().rules
	sets, err := w.genesis.committees(1)
	require.NoError(t, err)
	first, err := r.encodedCommittee(sets.Shards[0])
	require.NoError(t, err)
	id, err := NewIdentity([32]byte{1})
	require.NoError(t, err)
	committees := [][]byte{first, run[0].Committee, run[1].Committee}
	batches, failed := 0, 0
	batch := func(claims []Claim) error {
		batches++
		err := id.Batch(claims)
		if err != nil {
			failed++
		}
		return err
	}
	change := func(i int, f func(*statesync.Hop)) []statesync.Hop {
		bad := append([]statesync.Hop(nil), run...)
		f(&bad[i])
		return bad
	}
	forge := func(f func(*fbft.Certificate)) func(*statesync.Hop) {
		return func(h *statesync.Hop) {
			var q fbft.Certificate
			require.NoError(t, q.UnmarshalBinary(h.Cert))
			f(&q)
			h.Cert, err = q.AppendBinary(nil)
			require.NoError(t, err)
		}
	}
	for _, r.batch = range []Batch{batch, nil} {
		good, err := r.checkHops(first, run)
		require.NoError(t, err)
		require.Equal(t, 3, good)
		for i := range run {
			other := (i + 1) % len(run)
			for name, f := range map[string]func(*statesync.Hop){
				"header":           func(h *statesync.Hop) { h.Header = run[other].Header },
				"certificate":      func(h *statesync.Hop) { h.Cert = run[other].Cert },
				"committee":        func(h *statesync.Hop) { h.Committee = h.Committee[1:] },
				"another's":        forge(func(q *fbft.Certificate) { q.Aggregate = cert(t, run[other].Cert).Aggregate }),
				"too few":          forge(func(q *fbft.Certificate) { w.alone(r, committees[i], q) }),
				"not a point":      forge(func(q *fbft.Certificate) { q.Aggregate[5] ^= 1 }),
				"of another epoch": func(h *statesync.Hop) { h.Epoch++ },
			} {
				good, err := r.checkHops(first, change(i, f))
				require.Error(t, err, "%s of hop %d", name, i)
				require.Equal(t, i, good, "%s of hop %d", name, i)
			}
		}
		_, err = r.checkHops(run[0].Committee[1:], run)
		require.Error(t, err)
	}
	require.Greater(t, batches, failed)
	require.Positive(t, failed)
	require.Error(t, id.Batch([]Claim{{}}), "of another scheme")
}

// alone makes a certificate that only the first member signed.
func (w *world) alone(r *rules, committee []byte, q *fbft.Certificate) {
	c, v, err := r.decodeCommittee(committee)
	require.NoError(w.t, err)
	q.Signers = fbft.NewBitmap(c.Len())
	q.Signers.Set(0)
	statement := q.Statement(r.id, r.shard)
	sig, err := w.of(Seat{Node: c.Members()[0].Node}).signer.Sign(statement)
	require.NoError(w.t, err)
	q.Aggregate, _ = v.Combine(statement, []int{0}, [][]byte{sig})
	require.NoError(w.t, v.Verify(statement, []int{0}, q.Aggregate))
}

func cert(t *testing.T, raw []byte) *fbft.Certificate {
	q := new(fbft.Certificate)
	require.NoError(t, q.UnmarshalBinary(raw))
	return q
}
