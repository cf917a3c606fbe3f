package chain

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/xshard"
)

// TestTailPaid: a shard is cut off from the beacon, but not the beacon from it,
// when the beacon's epoch ends, and goes on with its own. A member that was down
// all the time before, and signs those blocks only, is paid for them.
func TestTailPaid(t *testing.T) {
	var w *world
	cut := true
	opt := options{seed: 81, shards: 2, nodes: 8, policy: "cuckoo"}
	opt.twist = func(n *simNode, list []shardkit.Message) []shardkit.Message {
		out := list[:0:0]
		for _, m := range list {
			if s, ok := xshard.Target(m.Data[5:]); cut && m.Data[0] == protoRelay && ok && s == 1 {
				continue
			}
			out = append(out, m)
		}
		return out
	}
	w = newWorld(t, opt)
	homes := w.genesis.Homes()
	victim := 0
	for homes[w.ids[victim].node] != 1 {
		victim++
	}
	w.net.Run(time.Millisecond)
	w.crash(w.ids[victim].node)
	epoch := func(e shardkit.Epoch) func() bool {
		return func() bool { return w.beacon() != nil && w.beacon().committedEpoch() >= e }
	}
	require.True(t, w.net.RunUntil(epoch(1), 20*time.Second), w.status())
	first := w.height(1)
	w.restart(w.ids[victim].node)
	w.net.Run(w.net.Now() + 1500*time.Millisecond)
	require.Zero(t, w.beacon().tip.out.links[1].Epoch)
	require.Greater(t, w.height(1), first+3, "it makes blocks meanwhile")
	cut = false
	own, most := uint64(0), uint64(0) // points for the epoch
	begun := func() bool {
		b := w.beacon()
		for i := range w.ids {
			if rep := w.reward(i); rep != nil && rep.Epoch == 0 {
				most = max(most, rep.Points)
				if i == victim {
					own = rep.Points
				}
			}
		}
		return b.tip.out.links[1].Epoch == 1 && b.committed == b.tip.height
	}
	require.True(t, w.net.RunUntil(begun, w.net.Now()+20*time.Second), w.status())
	require.Positive(t, own)
	require.Less(t, own, most, "it is paid for a part of the epoch's blocks")
	w.wallet.stopped = true
	require.True(t, w.net.RunUntil(w.wallet.idle, w.net.Now()+20*time.Second), w.status())
	require.Empty(t, w.faults)
	require.True(t, w.audit().OK())
}

// TestSightingsWait: while the books of an epoch are open, what is known of the
// next one waits, late votes with it; however long that takes, it is a sample of
// bounded size.
func TestSightingsWait(t *testing.T) {
	w := newWorld(t, options{seed: 82, shards: 2, nodes: 8})
	w.net.Run(500 * time.Millisecond)
	b := w.beacon()
	require.Zero(t, b.tip.out.meta.Epoch)
	x := &execution{rules: b.rules, stage: b.chain.State().Begin(), out: new(outcome)}
	defer x.stage.Discard()
	x.out.meta.Epoch = 1
	see := func(h shardkit.Height) {
		x.ctx.Time = 1000 * uint64(h)
		cert := &fbft.Certificate{Epoch: 1, Height: h, Signers: fbft.Bitmap{1}}
		require.NoError(t, x.signed(1, cert))
	}
	see(100)
	late := func(h shardkit.Height, signers byte) {
		require.NoError(t, x.creditLate(1, 1, []lateVotes{{Height: h, Signers: fbft.Bitmap{signers}}}))
	}
	late(100, 2)
	late(100, 2)
	late(99, 4)
	list, err := x.sightings(1)
	require.NoError(t, err)
	require.Equal(t, []sighting{{100, 100_000, fbft.Bitmap{3}}}, list)
	const last = 100 + 20*maxSightings
	for h := shardkit.Height(101); h <= last; h++ {
		see(h)
	}
	list, err = x.sightings(1)
	require.NoError(t, err)
	require.LessOrEqual(t, len(list), maxSightings)
	require.Greater(t, len(list), maxSightings/4)
	require.Equal(t, shardkit.Height(100), list[0].Height)
	require.Equal(t, shardkit.Height(last), list[len(list)-1].Height)
	for i := range list[1:] {
		require.Less(t, list[i].Height, list[i+1].Height)
	}

	require.NoError(t, x.closeBooks())
	list, err = x.sightings(1)
	require.NoError(t, err)
	require.Empty(t, list)
	require.NoError(t, x.closeBooks(), "once")
	see(last + 1)
	require.ErrorIs(t, x.signed(1, &fbft.Certificate{Epoch: 0, Height: 99}), ErrInvalid, "its books are closed")
	list, err = x.sightings(1)
	require.NoError(t, err)
	require.Empty(t, list, "it is booked at once")
}

func TestSightingsGolden(t *testing.T) {
	list := []sighting{{Height: 5, Time: 6, Signers: fbft.Bitmap{3}}}
	require.Equal(t, "00000001"+"0000000000000005"+"0000000000000006"+"0000000103", hex.EncodeToString(encodeSightings(list)))
}

func FuzzSightings(f *testing.F) {
	reencode(f, encodeSightings([]sighting{{5, 6, fbft.Bitmap{3}}, {7, 8, fbft.Bitmap{1, 2}}}), decodeSightings, encodeSightings)
}
