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

// TestLateVotesInsideRun: the beacon links runs of four headers, with the
// certificate of the last. One member signs in time, one always late, one every
// second block in time, and one only blocks that are never the last of a run:
// the first two are paid alike, the third half of it, and late votes for what is
// inside a run, which the last one's are, change nothing.
func TestLateVotesInsideRun(t *testing.T) {
	const run = 4
	w := newWorld(t, options{seed: 34, shards: 2, nodes: 8, deal: DealSlots})
	w.net.Run(300 * time.Millisecond)
	b := w.beacon()
	x := &execution{rules: b.rules, stage: b.chain.State().Begin(), out: new(outcome)}
	defer x.stage.Discard()
	seats, _, err := loadSeats(x.stage, 0, 1)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(seats), 4)
	const inTime, late, half, inside = 0, 1, 2, 3
	at := shardkit.Height(1_000) // far above what the world has
	for k := range shardkit.Height(40) {
		var before []lateVotes
		for i := range shardkit.Height(run) {
			v := lateVotes{Height: at + run*(k-1) + i, Signers: fbft.NewBitmap(len(seats))}
			v.Signers.Set(late)
			if i < run-1 {
				v.Signers.Set(inside)
			}
			before = append(before, v)
		}
		cert := &fbft.Certificate{Height: at + run*k + run - 1, Signers: fbft.NewBitmap(len(seats))}
		cert.Signers.Set(inTime)
		if k%2 == 0 {
			cert.Signers.Set(half)
		}
		x.ctx.Time = 1000 * uint64(cert.Height)
		require.NoError(t, x.crossLink(&linked{source: 1, cert: cert, late: before}))
	}
	last := lateVotes{Height: at + 40*run - 1, Signers: fbft.NewBitmap(len(seats))}
	last.Signers.Set(late)
	require.NoError(t, x.creditLate(1, 0, []lateVotes{last}))
	x.out.meta.Epoch = 1
	require.NoError(t, x.closeBooks())
	part := func(i int) float64 {
		owner := w.of(seats[i]).slot.Validator
		rep, err := estake.ExplainReward(x.stage, owner, owner)
		require.NoError(t, err)
		return float64(rep.Points) / float64(seats[i].Weight)
	}
	require.Greater(t, part(inTime), 0.8, "of all blocks of the shard, those of the world included")
	require.InDelta(t, part(inTime), part(late), 0.1)
	require.InDelta(t, part(inTime)/2, part(half), 0.1)
	require.Less(t, part(inside), 0.2)
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
