package chain

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/ledger"
)

// beacon is the replica of the beacon that is furthest.
func (w *world) beacon() (best *replica) {
	for _, id := range w.ids {
		n := w.nodes[id.node]
		if n == nil {
			continue
		}
		if r := n.replica(0); r != nil && r.ready() && (best == nil || r.tip.height > best.tip.height) {
			best = r
		}
	}
	return best
}

// verdict is what the beacon's state says of a node's slot.
func (w *world) verdict(i int) estake.Verdict {
	st := w.beacon().chain.State().Begin()
	defer st.Discard()
	list, err := estake.ExplainElection(st, w.genesis.Params.Stake, w.ids[i].slot.Validator)
	require.NoError(w.t, err)
	require.Len(w.t, list, 1)
	return list[0]
}

// TestLateVotes: the votes of one validator always come too late for a
// certificate, another one is silent. Absence of three seconds costs a slot
// its place; only the silent one loses it.
func TestLateVotes(t *testing.T) {
	const far, silent = 1, 2
	var w *world
	opt := options{seed: 33, shards: 2, nodes: 20, blocks: 24}
	opt.stake = func(p *estake.Params) {
		p.Lambda = 60_000
		p.GapMillis, p.ReduceMillis, p.InactiveMillis = 1000, 2500, 3000
	}
	// Its votes come 70 ms after everybody else's: the quorum is there after 10.
	opt.net.Latency = func(from, _ shardkit.NodeID) time.Duration {
		if from == w.ids[far].node {
			return 75 * time.Millisecond
		}
		return 5 * time.Millisecond
	}
	w = newWorld(t, opt)
	w.crash(w.ids[silent].node)
	w.net.Run(12 * time.Second)
	blocks, signed, late := w.votesOf(far)
	t.Logf("the far one's votes on %d blocks: %d in certificates, %d late", blocks, signed, late)
	require.Greater(t, late, signed)
	require.Empty(t, w.faults)
	require.Equal(t, estake.Absent, w.verdict(silent).Reason)
	require.Equal(t, estake.Won, w.verdict(far).Reason)
	for i := range w.ids {
		require.True(t, i == silent || w.verdict(i).Reason == estake.Won)
	}
	most := uint64(0)
	for i := range w.ids {
		most = max(most, w.points(i))
	}
	t.Logf("points: %d at most, the far one %d, the silent one %d", most, w.points(far), w.points(silent))
	require.Greater(t, 3*w.points(far), most, "paid for late votes as for others")
	require.Zero(t, w.points(silent))
}

// reward is what a node's validator got last; nil if nothing yet.
func (w *world) reward(i int) *estake.RewardReport {
	st := w.beacon().chain.State().Begin()
	defer st.Discard()
	rep, err := estake.ExplainReward(st, w.ids[i].slot.Validator, w.ids[i].slot.Validator)
	if err != nil {
		return nil
	}
	return &rep
}

// points are what a node's validator got its last reward for; 0 if it had none.
func (w *world) points(i int) uint64 {
	if rep := w.reward(i); rep != nil {
		return rep.Points
	}
	return 0
}

// votesOf counts a node's votes in certificates, and late ones in headers.
func (w *world) votesOf(node int) (blocks, signed, late int) {
	seen := map[shardkit.Hash]bool{}
	for _, id := range w.ids {
		n := w.nodes[id.node]
		if n == nil {
			continue
		}
		for _, r := range n.replicas {
			st := r.chain.State().Begin()
			for h := shardkit.Height(1); h <= r.committed; h++ {
				b, err := r.chain.Block(h)
				if err != nil || seen[b.Header.Hash()] {
					continue
				}
				seen[b.Header.Hash()] = true
				var q fbft.Certificate
				require.NoError(w.t, q.UnmarshalBinary(b.Certificate))
				list, err := decodeLate(&b.Header)
				require.NoError(w.t, err)
				seats, _, err := loadSeats(st, b.Header.Epoch, r.shard)
				require.NoError(w.t, err)
				for i := range seats {
					if seats[i].Node == w.ids[node].node {
						blocks++
						signed += count(q.Signers.Has(i))
						for _, l := range list {
							late += count(l.Signers.Has(i))
						}
					}
				}
			}
			st.Discard()
		}
	}
	return blocks, signed, late
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestForgedLateVotes: late votes that are not signatures of this chain's
// blocks make a block invalid.
func TestForgedLateVotes(t *testing.T) {
	w := newWorld(t, options{seed: 32, shards: 2, nodes: 8})
	w.wallet.stopped = true
	var r *replica
	require.True(t, w.net.RunUntil(func() bool {
		r = w.beacon()
		return r != nil && r.tip.out.meta.Start > 0 && r.committed > r.tip.out.meta.Start+4 && !r.tip.out.meta.Ends
	}, 20*time.Second))
	committee := r.tip.out.committee
	seats := w.nodes[r.core.cfg.Self].committeesOf(r.tip.out.meta.next()).Shards[0]
	block := func(h shardkit.Height) shardkit.Hash {
		hd, err := r.chain.HeaderAt(h)
		require.NoError(t, err)
		return hd.Hash()
	}
	// vote is the commit vote of a member for a block.
	vote := func(h shardkit.Height, hash shardkit.Hash, member int) lateVotes {
		l := lateVotes{Height: h, Signers: fbft.NewBitmap(committee.Len())}
		l.Signers.Set(member)
		st := l.certificate(r.tip.out.meta.Epoch, hash, committee.Hash()).Statement(w.genesis.ID(), 0)
		for _, id := range w.ids {
			if id.slot.ID == seats[member].Slot {
				sig, err := id.signer.Sign(st)
				require.NoError(t, err)
				v, err := w.scheme(keysOf(seats))
				require.NoError(t, err)
				l.Aggregate, _ = v.Combine(st, []int{member}, [][]byte{sig})
			}
		}
		return l
	}
	top := r.committed
	c := &candidate{site: r.site(), proposer: r.core.cfg.Self, time: r.tip.header.Time + 100}
	c.late = []lateVotes{vote(top-1, block(top-1), 0), vote(top, block(top), 1)}
	b, err := r.rules.build(c)
	require.NoError(t, err)
	check := func(late []byte) error {
		h := b.header
		h.Late = late
		raw, err := h.AppendBinary(nil)
		require.NoError(t, err)
		_, err = r.rules.verify(r.site(), &h, raw, b.body)
		return err
	}
	require.NoError(t, check(b.header.Late))
	require.NotEmpty(t, b.header.Late)
	for name, list := range map[string][]lateVotes{
		"another block":         {vote(top, block(top-1), 0)},
		"another signer":        {{top, 0, vote(top, block(top), 0).Signers, vote(top, block(top), 1).Aggregate}},
		"another view":          {{top, 1, vote(top, block(top), 0).Signers, vote(top, block(top), 0).Aggregate}},
		"nobody":                {{top, 0, fbft.NewBitmap(committee.Len()), nil}},
		"this height":           {vote(top+1, shardkit.Hash{}, 0)},
		"an epoch before":       {vote(r.tip.out.meta.Start-1, block(r.tip.out.meta.Start-1), 0)},
		"one height twice":      {vote(top, block(top), 0), vote(top, block(top), 1)},
		"out of order":          {vote(top, block(top), 0), vote(top-1, block(top-1), 0)},
		"a bitmap of padding":   {{top, 0, fbft.Bitmap{0x81}, vote(top, block(top), 0).Aggregate}},
		"a bitmap of two bytes": {{top, 0, fbft.Bitmap{1, 0}, vote(top, block(top), 0).Aggregate}},
	} {
		require.ErrorIs(t, check(encodeLate(list)), ErrInvalid, name)
	}
	require.ErrorIs(t, check([]byte{0, 0, 0, 0}), ErrInvalid, "an empty list has another form")
	require.ErrorIs(t, check(append(encodeLate(c.late), 0)), ErrInvalid, "trailing bytes")
	many := make([]lateVotes, maxLateHeights+1)
	for i := range many {
		many[i] = vote(top-shardkit.Height(maxLateHeights-i), shardkit.Hash{}, 0)
	}
	require.ErrorIs(t, check(encodeLate(many)), ErrInvalid, "too many heights")
	_, err = decodeLate(&ledger.Header{Height: top + lateWindow + 1, Late: b.header.Late})
	require.Error(t, err, "too old")
}

func keysOf(seats []Seat) (keys [][]byte) {
	for _, s := range seats {
		keys = append(keys, s.VotingKey)
	}
	return keys
}

func TestLateGolden(t *testing.T) {
	list := []lateVotes{{Height: 5, View: 1, Signers: fbft.Bitmap{3}, Aggregate: []byte{0xaa, 0xbb}}}
	require.Equal(t, "00000001"+"0000000000000005"+"0000000000000001"+"0000000103"+"00000002aabb", hex.EncodeToString(encodeLate(list)))
}

func FuzzLate(f *testing.F) {
	list := []lateVotes{{Height: 5, Signers: fbft.Bitmap{3}, Aggregate: []byte{1}}, {Height: 6, View: 2, Signers: fbft.Bitmap{1}, Aggregate: []byte{2}}}
	reencode(f, encodeLate(list), func(b []byte) ([]lateVotes, error) {
		return decodeLate(&ledger.Header{Height: 10, Late: b})
	}, func(list []lateVotes) []byte { return append([]byte{}, encodeLate(list)...) })
}
