package drg_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad/simnet"
	"github.com/shardkit/shardkit/vdf"
	"github.com/shardkit/shardkit/vdf/drg"
)

func TestDrawing(t *testing.T) {
	w := newWorld(t, 7, simnet.Config{Seed: 1}, nil)
	w.finish(time.Minute)
	require.Empty(t, w.refused)
	require.Empty(t, w.invalid)
}

func TestLossyNetwork(t *testing.T) {
	w := newWorld(t, 7, simnet.Config{Seed: 2, Loss: 0.4, Duplicate: 0.2, Jitter: 200 * time.Millisecond}, nil)
	w.finish(time.Minute)
}

// The first leaders crash: before they have anything, with a set, and while
// the delay runs.
func TestLeaderCrashes(t *testing.T) {
	w := newWorld(t, 7, simnet.Config{Seed: 3}, nil)
	w.silent[1] = true
	w.net.At(1*time.Millisecond, func() { w.net.Crash(w.ids[0]) })
	w.net.At(290*time.Millisecond, func() { w.net.Crash(w.ids[1]) })
	w.net.At(1500*time.Millisecond, func() {
		require.NotNil(t, w.set)
		require.Nil(t, w.output)
		require.NoError(t, w.net.Restart(w.ids[0]))
		require.NoError(t, w.net.Restart(w.ids[1]))
		w.net.Crash(w.ids[2])
	})
	w.net.At(5*time.Second, func() { require.NoError(t, w.net.Restart(w.ids[2])) })
	w.finish(time.Minute)
}

// f members make no proof, and withhold their own proposals.
func TestSilentMembers(t *testing.T) {
	w := newWorld(t, 7, simnet.Config{Seed: 4}, func(i int, c *drg.Config) {
		if i < 2 {
			c.Prove = nil
		}
	})
	w.silent[0], w.silent[1] = true, true
	w.finish(time.Minute)
}

// Members that lie, or send what was valid in another round, are found out
// once a round by each leader; the others' outputs suffice.
func TestLyingMembers(t *testing.T) {
	var w *world
	w = newWorld(t, 7, simnet.Config{Seed: 5, Filter: func(from, _ shardkit.NodeID, msg []byte) (v simnet.Verdict) {
		switch from {
		case w.ids[5]: // a proof for another epoch under this round's name
			r := w.round
			r.Epoch--
			pi, err := w.keys[5].Prove(drg.AlphaOf(w.params.Chain, &r, r.Members[5].Slot))
			require.NoError(t, err)
			v.Data = append(append(v.Data, msg[:len(msg)-len(pi)]...), pi...)
		case w.ids[6]:
			v.Data = append(v.Data, msg...)
			v.Data[len(msg)-1] ^= 1
		}
		return v
	}}, nil)
	w.finish(time.Minute)
	require.Empty(t, w.refused)
	require.Len(t, w.invalid, 2)
	for _, i := range []int{5, 6} {
		require.Positive(t, w.invalid[w.ids[i]])
		require.LessOrEqual(t, w.invalid[w.ids[i]], len(w.ids))
	}
}

// A leader that wants to choose among input sets by their outcome has to wait
// for the delay. With parameters that SafeDelay accepts, even the assumed
// fastest adversary is through only when no new set is taken any more. With a
// T below, the same leader gets its way: the check is what stops it.
func TestGrindingLeaderChoosesBlind(t *testing.T) {
	for _, safe := range []bool{true, false} {
		p := demo
		p.Views, p.ViewTimeout = 1, 300*time.Millisecond
		least, err := drg.SafeDelay(p)
		require.Error(t, err) // the demonstration's own T
		require.NotZero(t, least)
		if p.T = least; !safe {
			p.T /= 2
		}
		d := vdf.Delay{Bits: p.Bits, Advantage: 10}
		known := time.Duration(float64(p.T) / d.AdversaryRate() * float64(time.Second))

		w := newWorld(t, 7, simnet.Config{Seed: 9}, nil)
		for i := range w.ids {
			w.silent[i] = true // every leader withholds until it knows
		}
		w.net.At(known, func() { w.silent = map[int]bool{} })
		w.net.Run(known + 5*time.Second)
		require.Equal(t, safe, w.set == nil)
	}
}

// An input set that a Byzantine leader forges is refused, and the next
// leader's is taken.
func TestForgedSets(t *testing.T) {
	forge := []func([]byte) []byte{
		func(s []byte) []byte { return s[:len(s)-1] },
		func(s []byte) []byte { return append(s[:len(s):len(s)], 0) },
		func(s []byte) []byte { s = append([]byte(nil), s...); s[40] ^= 1; return s },
		func(s []byte) []byte { s = append([]byte(nil), s...); s[17] = 2; return s[:18+2*130] }, // less than Need
	}
	w := newWorld(t, 7, simnet.Config{Seed: 6}, nil)
	for i, f := range forge {
		w.propose[i+1] = func(s []byte) []byte {
			if s == nil {
				return nil
			}
			return f(s)
		}
	}
	w.finish(time.Minute)
	require.GreaterOrEqual(t, len(w.refused), 3)
	for _, err := range w.refused {
		require.ErrorIs(t, err, drg.ErrSet)
	}
}

// Nobody prepares a new set after the bound; the next attempt succeeds.
func TestLateSetIsVoid(t *testing.T) {
	w := newWorld(t, 7, simnet.Config{Seed: 7}, nil)
	for i := range w.ids {
		w.silent[i] = true
	}
	w.net.At(demo.Bound+time.Second, func() { w.silent = map[int]bool{} })
	w.net.Run(demo.Bound + 5*time.Second)
	require.Nil(t, w.set)
	w.round.Attempt, w.round.Alpha = 1, shardkit.Hash{10}
	w.finish(2 * time.Minute)
}

func TestUnsafeDelayIsRefused(t *testing.T) {
	p := demo
	p.AllowShortDelay = false
	_, err := drg.New(drg.Config{Params: p})
	var de *vdf.DelayError
	require.ErrorAs(t, err, &de)
	p.T = de.Least
	_, err = drg.New(drg.Config{Params: p})
	require.NoError(t, err)
	p.T--
	_, err = drg.SafeDelay(p)
	require.ErrorAs(t, err, &de)
}

func TestDeliverRefuses(t *testing.T) {
	w := newWorld(t, 4, simnet.Config{Seed: 8}, nil)
	core, err := drg.New(drg.Config{Params: demo, Self: w.ids[0]})
	require.NoError(t, err)
	require.ErrorIs(t, core.Deliver(0, w.ids[1], nil), drg.ErrMalformed)

	sender, err := drg.New(drg.Config{Params: demo, Self: w.ids[1], Prove: w.keys[1].Prove})
	require.NoError(t, err)
	w.round.Leaders = w.ids[:1]
	require.NoError(t, sender.Start(0, w.round))
	for _, j := range sender.Ready().Jobs {
		sender.Done(0, j.Run())
	}
	msgs := sender.Ready().Messages
	require.Len(t, msgs, 1)
	msg := msgs[0].Data

	require.ErrorIs(t, core.Deliver(0, w.ids[1], msg), drg.ErrStale)
	require.NoError(t, core.Start(0, w.round))
	require.ErrorIs(t, core.Deliver(0, w.ids[2], msg), drg.ErrForeign)
	require.ErrorIs(t, core.Deliver(0, w.ids[1], append(msg, 0)), drg.ErrMalformed)
	require.NoError(t, core.Deliver(0, w.ids[1], msg))
	jobs := core.Ready().Jobs
	require.Len(t, jobs, 1)
	require.NoError(t, core.Deliver(0, w.ids[1], msg)) // a repetition makes no work, now
	core.Done(0, jobs[0].Run())
	require.Empty(t, core.Ready().Jobs) // or later
	require.NoError(t, core.Deliver(0, w.ids[1], msg))
	require.Empty(t, core.Ready().Jobs)
}

// Every way in which a set can be wrong.
func TestCheckSetRefuses(t *testing.T) {
	e := draw(t, demo, 7, 4)
	e.Round.Need = 3
	entry := func(i int) []byte { return e.Set[18+130*i : 18+130*(i+1)] }
	set := func(count byte, entries ...int) []byte {
		s := append([]byte(nil), e.Set[:18]...)
		s[17] = count
		for _, i := range entries {
			s = append(s, entry(i)...)
		}
		return s
	}
	for _, good := range [][]byte{set(4, 0, 1, 2, 3), set(3, 0, 1, 2), set(3, 0, 2, 3)} {
		_, err := drg.CheckSet(demo, e.Round, good)
		require.NoError(t, err)
	}
	other := set(3, 0, 1, 2)
	copy(other[18+2:], entry(1)[2:]) // another's proof
	beyond := set(3, 0, 1, 2)
	beyond[18+2*130+1] = 4 // no such member
	epoch, attempt := set(3, 0, 1, 2), set(3, 0, 1, 2)
	epoch[9]++
	attempt[13]++
	for name, bad := range map[string][]byte{
		"empty": nil, "too light": set(2, 0, 1), "twice": set(3, 0, 1, 1), "one member for three": set(3, 0, 0, 0),
		"out of order": set(3, 1, 0, 2), "count too high": set(4, 0, 1, 2), "count too low": set(2, 0, 1, 2),
		"trailing": append(set(3, 0, 1, 2), 0), "another's proof": other, "no such member": beyond,
		"another epoch": epoch, "another attempt": attempt,
	} {
		_, err := drg.CheckSet(demo, e.Round, bad)
		require.ErrorIs(t, err, drg.ErrSet, name)
	}
	r := e.Round
	r.Members = append(r.Members[:3:3], r.Members[0])
	_, err := drg.CheckSet(demo, r, e.Set)
	require.Error(t, err) // a slot twice
}

// Results of jobs of a drawing that is over do not touch the next.
func TestStaleResults(t *testing.T) {
	w := newWorld(t, 4, simnet.Config{}, nil)
	w.round.Need, w.round.Leaders = 1, w.ids[:1]
	sender, err := drg.New(drg.Config{Params: demo, Self: w.ids[1], Prove: w.keys[1].Prove})
	require.NoError(t, err)
	require.NoError(t, sender.Start(0, w.round))
	sender.Done(0, sender.Ready().Jobs[0].Run())
	msg := sender.Ready().Messages[0].Data

	core, err := drg.New(drg.Config{Params: demo, Self: w.ids[0]})
	require.NoError(t, err)
	require.NoError(t, core.Start(0, w.round))
	require.NoError(t, core.Deliver(0, w.ids[1], msg))
	old := core.Ready().Jobs[0].Run()
	next := w.round
	next.Attempt++
	require.NoError(t, core.Start(0, next))
	core.Done(0, old)
	require.Nil(t, core.Set())
	require.Empty(t, core.Ready().Invalid)

	// The same for an evaluation that was given up: the core asks again, under
	// another key, as a pool may have kept the result of the first.
	core.Committed(0, shardkit.Hash{1})
	job := core.Ready().Jobs[0]
	core.Stop(0)
	require.NoError(t, core.Start(0, next))
	core.Committed(0, shardkit.Hash{1})
	require.Len(t, core.Ready().Jobs, 1)
	core.Done(0, job.Run())
	require.Nil(t, core.Output())
	again := core.Ready().Jobs
	require.Len(t, again, 1)
	require.NotEqual(t, job.Key, again[0].Key)
	core.Done(0, again[0].Run())
	_, err = drg.CheckOutput(demo, next.Epoch, shardkit.Hash{1}, core.Output())
	require.NoError(t, err)
}
