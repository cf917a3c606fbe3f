package drg_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad/simnet"
	"github.com/shardkit/shardkit/vdf/drg"
	"github.com/shardkit/shardkit/vrf"
)

// draw makes an entry without a network: every core gets every message.
func draw(t testing.TB, p drg.Params, epoch shardkit.Epoch, n int) *drg.Entry {
	r := drg.Round{Epoch: epoch, Alpha: shardkit.Hash{byte(epoch), 1}, Need: uint64(n)}
	var cores []*drg.Core
	for i := range n {
		key, err := vrf.GenerateKey(vrf.EdwardsELL2, bytes.Repeat([]byte{byte(i + 1)}, 32))
		require.NoError(t, err)
		id, sign := identity(i)
		r.Members = append(r.Members, drg.Member{Node: id, Slot: shardkit.Hash{byte(n - i)}, Key: key.Public(), Weight: 1})
		c, err := drg.New(drg.Config{Params: p, Self: id, Prove: key.Prove, Sign: sign})
		require.NoError(t, err)
		cores = append(cores, c)
	}
	r.Leaders = []shardkit.NodeID{r.Members[0].Node}
	step := func(c *drg.Core) (msgs []shardkit.Message) {
		for {
			eff := c.Ready()
			msgs = append(msgs, eff.Messages...)
			if len(eff.Jobs) == 0 {
				return msgs
			}
			for _, j := range eff.Jobs {
				c.Done(0, j.Run())
			}
		}
	}
	for i, c := range cores {
		require.NoError(t, c.Start(0, r))
		for _, m := range step(c) {
			require.NoError(t, cores[0].Deliver(0, r.Members[i].Node, m.Data))
		}
	}
	step(cores[0])
	e := &drg.Entry{Round: r, Set: cores[0].Set()}
	require.NotNil(t, e.Set)
	pRnd, err := drg.CheckSet(p, r, e.Set)
	require.NoError(t, err)
	cores[0].Committed(0, pRnd)
	step(cores[0])
	e.Output = cores[0].Output()
	require.NotNil(t, e.Output)
	return e
}

func TestHistory(t *testing.T) {
	var entries []*drg.Entry
	for epoch := range shardkit.Epoch(4) {
		entries = append(entries, draw(t, demo, epoch+7, 4))
	}
	bad := errors.New("not on this chain")
	h, err := drg.NewHistory(demo, func(r *drg.Round, _ shardkit.Hash) error {
		if r.Attempt > 0 {
			return bad
		}
		return nil
	})
	require.NoError(t, err)
	_, ok := h.Latest()
	require.False(t, ok)
	gap, err := drg.NewHistory(demo, nil)
	require.NoError(t, err)
	_, err = gap.Add(entries[0])
	require.NoError(t, err)
	_, err = gap.Add(entries[2])
	require.Error(t, err)

	// A watcher from before the beginning sees all, in order.
	ctx, cancel := context.WithCancel(context.Background())
	var seen []drg.Value
	var wg sync.WaitGroup
	wg.Go(func() {
		for v := range h.Watch(ctx, 0) {
			if seen = append(seen, v); len(seen) == len(entries) {
				cancel()
			}
		}
	})
	for i, e := range entries {
		// It goes from hand to hand as bytes.
		enc, err := e.AppendBinary(nil)
		require.NoError(t, err)
		var got drg.Entry
		require.NoError(t, got.UnmarshalBinary(enc))
		v, err := h.Add(&got)
		require.NoError(t, err)
		require.EqualValues(t, 7+i, v.Epoch)
		_, err = h.Add(&got)
		require.Error(t, err) // twice
	}
	wg.Wait()
	require.Len(t, seen, len(entries))
	for i, v := range seen {
		got, err := h.Get(shardkit.Epoch(7 + i))
		require.NoError(t, err)
		require.Equal(t, v, got)
	}
	for _, e := range []shardkit.Epoch{0, 6, 11, 1 << 63} {
		_, err := h.Get(e)
		require.ErrorIs(t, err, drg.ErrUnknown)
	}

	// A newcomer who verifies the same entries comes to the same link; one who
	// is shown another output, set or alpha does not get there.
	again, err := drg.NewHistory(demo, nil)
	require.NoError(t, err)
	require.Equal(t, h.Hash(), again.Hash())
	for i, e := range entries {
		forged := *e
		forged.Output = entries[(i+1)%len(entries)].Output
		_, err = again.Add(&forged)
		require.ErrorIs(t, err, drg.ErrOutput)
		forged = *e
		forged.Round.Alpha[0] ^= 1
		_, err = again.Add(&forged)
		require.ErrorIs(t, err, drg.ErrSet)
		_, err = again.Add(e)
		require.NoError(t, err)
	}
	a, _ := h.Latest()
	b, _ := again.Latest()
	require.Equal(t, a, b)

	forged := draw(t, demo, 11, 4)
	forged.Round.Attempt = 1
	_, err = h.Add(forged)
	require.Error(t, err)
}

func TestGolden(t *testing.T) {
	e := draw(t, demo, 7, 2)
	enc, err := e.AppendBinary(nil)
	require.NoError(t, err)
	v, err := demo.Value(demo.Hash(), e)
	require.NoError(t, err)
	require.Equal(t, goldenSet, hex.EncodeToString(e.Set))
	require.Equal(t, goldenLink, hex.EncodeToString(v.Link[:]))
	msg := drg.InputBytes(demo.Chain, &e.Round, shardkit.Hash{0xaa}, bytes.Repeat([]byte{0xbb}, 80), nil)
	require.Equal(t, goldenInput, hex.EncodeToString(msg))
	sign := func([]byte) []byte { return bytes.Repeat([]byte{0xcc}, 64) }
	msg = drg.InputBytes(demo.Chain, &e.Round, shardkit.Hash{0xaa}, bytes.Repeat([]byte{0xbb}, 80), sign)
	require.Equal(t, "0104"+goldenInput[4:]+strings.Repeat("cc", 64), hex.EncodeToString(msg))
	require.Len(t, enc, 2+8+4+32+8+4+2*(32+32+4+32+8)+4+len(e.Set)+4+len(e.Output))
}

var goldenInput = "0101" + "0000000000000007" + "00000000" + "aa" + strings.Repeat("00", 31) + strings.Repeat("bb", 80)

const (
	goldenSet = "0102000000000000000700000000000000020000cff923ef0cfe2d95862f938f85899c53aba4b23abf104ce3832b40835e27" +
		"6be2b5209043082c4f195bff82d4dc9c5dde5fdfdfe563ca80d4b04a35e1e032496699e44e6fbb17afaa74950b91031fd431" +
		"4d1fee57b5317c7538b321342f84383b2eb7f842fb188b17fdb154d5e07651396f65e970d5425d97d43a10b121eac5040001" +
		"712843da86b8af305fecec64b9a8fd2841ae9e163251e73248af9cee5b923282e29917b1d7af41354623227537383a01f416" +
		"7abce7c2b5cb7952c17aded813598aff6315cc5090b90f81650c82d51cc575597183fb533495a5c0f71abb7e6de21742900d" +
		"acd81b52e6c5fee971c8f1568f7a8d552e87ee296317a15075ce1c0c"
	goldenLink = "b4ec9a34f4b62ada2ee3b57d78b56fd0906db469590fa18c47828109ee702a73"
)

// Two leaders propose different sets at once. One is committed, and all come
// to the same randomness from it.
func TestTwoLeaders(t *testing.T) {
	w := newWorld(t, 7, simnet.Config{Seed: 10}, nil)
	for i := range w.ids {
		w.silent[i] = true
	}
	w.net.Run(time.Second)
	var sets [][]byte
	for _, i := range []int{0, 1} {
		sets = append(sets, w.net.Node(w.ids[i]).(*node).Set())
	}
	small := drop(sets[1])
	require.NotEqual(t, sets[0], small)
	a, err := drg.CheckSet(w.params, w.round, sets[0])
	require.NoError(t, err)
	b, err := drg.CheckSet(w.params, w.round, small)
	require.NoError(t, err) // both are valid: consensus has to choose
	require.NotEqual(t, a, b)
	w.tryset(1, small)
	require.Equal(t, b, w.pRnd)
	w.silent = map[int]bool{}
	w.finish(time.Minute)
}

// drop takes the last member out of a set.
func drop(set []byte) []byte {
	s := bytes.Clone(set[:len(set)-130])
	s[17]--
	return s
}

// The delay takes longer than anybody expected. Nothing else happens: the
// round stays where it is until the output is there.
func TestLateDelay(t *testing.T) {
	w := newWorld(t, 4, simnet.Config{Seed: 11, JobTime: func(j shardkit.Job) time.Duration {
		if j.Kind == "vdf.eval" {
			return 10 * time.Minute
		}
		return time.Millisecond
	}}, nil)
	w.net.Run(9 * time.Minute)
	require.NotNil(t, w.set)
	require.Nil(t, w.output)
	w.finish(time.Hour)
}

// A node that comes back after everything was decided learns it from the
// chain, and computes the same output. A reader who never was there verifies
// the same value from the chain's bytes.
func TestLateJoiner(t *testing.T) {
	w := newWorld(t, 4, simnet.Config{Seed: 12}, nil)
	w.net.At(time.Millisecond, func() { w.net.Crash(w.ids[3]) })
	w.net.At(20*time.Second, func() { require.NoError(t, w.net.Restart(w.ids[3])) })
	w.net.Run(15 * time.Second)
	require.NotNil(t, w.output)
	w.net.Run(30 * time.Second)
	w.finish(time.Minute)

	h, err := drg.NewHistory(w.params, nil)
	require.NoError(t, err)
	v, err := h.Add(&drg.Entry{Round: w.round, Set: w.set, Output: w.output})
	require.NoError(t, err)
	require.Equal(t, w.pRnd, v.PRnd)
	require.Equal(t, w.rnd, v.Rnd)
}

// One seed, one history.
func TestDeterministic(t *testing.T) {
	run := func(seed uint64) (shardkit.Hash, shardkit.Hash) {
		w := newWorld(t, 4, simnet.Config{Seed: seed, Loss: 0.2, Jitter: 50 * time.Millisecond}, nil)
		w.finish(time.Minute)
		return w.rnd, w.net.Digest()
	}
	a, d := run(20)
	b, e := run(20)
	require.Equal(t, a, b)
	require.Equal(t, d, e)
}

func FuzzEntry(f *testing.F) {
	enc, err := draw(f, demo, 7, 2).AppendBinary(nil)
	require.NoError(f, err)
	f.Add(enc)
	f.Fuzz(func(t *testing.T, b []byte) {
		var e drg.Entry
		if e.UnmarshalBinary(b) != nil {
			return
		}
		again, err := e.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}

func FuzzCheckSet(f *testing.F) {
	e := draw(f, demo, 7, 3)
	f.Add(e.Set)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := drg.CheckSet(demo, e.Round, b); err == nil {
			require.Equal(t, e.Set, b) // Need is all of the weight: there is but one
		}
	})
}

func FuzzDeliver(f *testing.F) {
	e := draw(f, demo, 7, 2)
	m := e.Round.Members[1]
	_, sign := identity(1)
	var cores []*drg.Core // one takes what is not signed, the other does not
	for _, s := range []func([]byte) []byte{nil, sign} {
		c, err := drg.New(drg.Config{Params: demo, Self: e.Round.Members[0].Node, Sign: s})
		require.NoError(f, err)
		require.NoError(f, c.Start(0, e.Round))
		cores = append(cores, c)
		f.Add(drg.InputBytes(demo.Chain, &e.Round, m.Slot, make([]byte, 80), s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range cores {
			_ = c.Deliver(0, m.Node, b)
		}
		drg.CheckInput(t, b)
	})
}
