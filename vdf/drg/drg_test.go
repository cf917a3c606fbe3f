package drg_test

import (
	"bytes"
	"fmt"
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

// Leaders crash at each step of their turn: the first that comes to a step, and
// in a second run the first two. They come back empty, and learn from the
// chain where the drawing stands.
func TestLeaderCrashes(t *testing.T) {
	for _, s := range []step{turnBegins, hasSet, setCommitted, delayRuns, hasOutput, outputCommitted} {
		for count := 1; count <= 2; count++ {
			if count == 2 && (s == setCommitted || s == outputCommitted) {
				continue // it happens once
			}
			t.Run(fmt.Sprint(s, ", ", count), func(t *testing.T) {
				w := newWorld(t, 7, simnet.Config{Seed: 3}, nil)
				crashed := 0
				w.crashes = func(at step, leader int) bool {
					if at != s || crashed == count {
						return false
					}
					crashed++
					w.net.At(w.net.Now()+5*time.Second, func() { require.NoError(t, w.net.Restart(w.ids[leader])) })
					return true
				}
				w.finish(time.Minute)
				require.Equal(t, count, crashed)
				require.Empty(t, w.refused)
			})
		}
	}
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

// The first leaders have a set and withhold it. That costs time and changes
// nothing: the next leader's set has their outputs too.
func TestLeadersWithhold(t *testing.T) {
	w := newWorld(t, 7, simnet.Config{Seed: 13}, nil)
	w.silent[0], w.silent[1] = true, true
	w.net.At(2*slotTime-1, func() {
		require.NotNil(t, w.net.Node(w.ids[0]).(*node).Set())
		require.NotNil(t, w.net.Node(w.ids[1]).(*node).Set())
		require.Nil(t, w.set)
	})
	w.finish(time.Minute)
	require.Equal(t, byte(7), w.set[17]) // members in the set
	require.Equal(t, outcome(t, w, w.set), w.rnd)
}

// Members that lie, or send what was valid in another round, are found out
// once a round by each leader; the others' outputs suffice. What they signed
// convicts them, and nobody else.
func TestLyingMembers(t *testing.T) {
	var w *world
	w = newWorld(t, 7, simnet.Config{Seed: 5, Filter: func(from, _ shardkit.NodeID, msg []byte) (v simnet.Verdict) {
		switch from {
		case w.ids[5]: // a proof for another epoch under this round's name
			r := w.round
			r.Epoch--
			pi, err := w.keys[5].Prove(drg.AlphaOf(w.params.Chain, &r, r.Members[5].Slot))
			require.NoError(t, err)
			v.Data = drg.InputBytes(w.params.Chain, &w.round, r.Members[5].Slot, pi, w.signers[5])
		case w.ids[6]:
			pi := drg.InputProof(msg)
			pi[79] ^= 1
			v.Data = drg.InputBytes(w.params.Chain, &w.round, w.round.Members[6].Slot, pi, w.signers[6])
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
	require.Len(t, w.evidence, w.invalid[w.ids[5]]+w.invalid[w.ids[6]])
	for _, e := range w.evidence {
		for i, m := range w.round.Members {
			err := e.Verify(w.params.Chain, m)
			require.Equal(t, m.Slot == e.Slot && i >= 5, err == nil, "member %d: %v", i, err)
		}
	}
}

// A leader that wants to choose among input sets by their outcome has to wait
// for the delay. With parameters that SafeDelay accepts, even the assumed
// fastest adversary is through only when no new set is taken any more. With a
// T below, the same leader gets its way, and the randomness is the one it
// likes best: the check is what stops it.
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
		var best []byte
		var whole, liked shardkit.Hash
		grind := func(set []byte) []byte {
			if best == nil {
				whole = outcome(t, w, set)
				best, liked = set, whole
				for _, s := range subsets(set) {
					if rnd := outcome(t, w, s); bytes.Compare(rnd[:], liked[:]) < 0 {
						best, liked = s, rnd
					}
				}
			}
			return best
		}
		for i := range w.ids {
			w.silent[i] = true // every leader withholds until it knows
			w.propose[i] = grind
		}
		w.net.At(known, func() { w.silent = map[int]bool{} })
		w.net.Run(known + 5*time.Second)
		require.NotEqual(t, whole, liked) // there was something to gain
		if safe {
			require.Nil(t, w.set)
		} else {
			require.NotNil(t, w.set)
			require.Equal(t, liked, outcome(t, w, w.set))
		}
	}
}

// subsets returns a set without each pair of its members.
func subsets(set []byte) (all [][]byte) {
	const head, size = 18, 130
	n := (len(set) - head) / size
	for i := range n {
		for j := range i {
			s := bytes.Clone(set[:head])
			s[head-1] = byte(n - 2)
			for k := range n {
				if k != i && k != j {
					s = append(s, set[head+k*size:head+(k+1)*size]...)
				}
			}
			all = append(all, s)
		}
	}
	return all
}

// outcome is the randomness that would come of a set.
func outcome(t *testing.T, w *world, set []byte) shardkit.Hash {
	pRnd, err := drg.CheckSet(w.params, w.round, set)
	require.NoError(t, err)
	core, err := drg.New(drg.Config{Params: w.params})
	require.NoError(t, err)
	require.NoError(t, core.Start(0, w.round))
	core.Committed(0, pRnd)
	core.Done(0, core.Ready().Jobs[0].Run())
	rnd, err := drg.CheckOutput(w.params, w.round.Epoch, pRnd, core.Output())
	require.NoError(t, err)
	return rnd
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

// A crash does not make a validator forget how late it is: those that come back
// before the bound accept no new set, as their clocks begin anew.
func TestRestartedIsLate(t *testing.T) {
	w := newWorld(t, 7, simnet.Config{Seed: 14}, nil)
	for i := range w.ids {
		w.silent[i] = true
	}
	w.net.At(demo.Bound-time.Second, func() {
		for _, id := range w.ids[:5] {
			w.net.Crash(id)
			require.NoError(t, w.net.Restart(id))
		}
	})
	w.net.At(demo.Bound+time.Second, func() { w.silent = map[int]bool{} })
	w.net.Run(demo.Bound + 5*time.Second)
	n := w.net.Node(w.ids[0]).(*node)
	require.NotNil(t, n.Set()) // it takes part, and collects
	require.True(t, n.Late(0))
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

	// What the zero values stand for.
	d := vdf.Delay{Bits: 2048, Advantage: 10, Window: 30 * time.Second, Views: 13, ViewTimeout: 30 * time.Second}
	want, err := d.T()
	require.NoError(t, err)
	least, err := drg.SafeDelay(drg.Params{Bits: 2048, T: vdf.MaxT})
	require.NoError(t, err)
	require.Equal(t, want, least)
}

// Weight counts, not heads: three light members are not enough, a heavy one
// alone is.
func TestWeightNotHeads(t *testing.T) {
	w := newWorld(t, 4, simnet.Config{}, nil)
	w.round.Members[3].Weight = 4
	setOf := func(need uint64, who ...int) []byte {
		core, err := drg.New(drg.Config{Params: demo})
		require.NoError(t, err)
		r := w.round
		r.Need = need
		require.NoError(t, core.Start(0, r))
		ready := false
		for _, i := range who {
			m := r.Members[i]
			pi, err := w.keys[i].Prove(drg.AlphaOf(demo.Chain, &r, m.Slot))
			require.NoError(t, err)
			require.NoError(t, core.Deliver(0, m.Node, drg.InputBytes(demo.Chain, &r, m.Slot, pi, nil)))
			core.Done(0, core.Ready().Jobs[0].Run())
			ready = ready || core.Ready().SetReady
		}
		require.Equal(t, ready, core.Set() != nil)
		return core.Set()
	}
	require.Nil(t, setOf(4, 0, 1, 2))
	require.NotNil(t, setOf(4, 3))
	w.round.Need = 4
	_, err := drg.CheckSet(demo, w.round, setOf(3, 0, 1, 2))
	require.ErrorIs(t, err, drg.ErrSet)
	_, err = drg.CheckSet(demo, w.round, setOf(4, 3))
	require.NoError(t, err)
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

// The own output goes to the next leaders at once, and again every Resend until
// the set is final; a leader that is new among them gets it without waiting.
func TestResend(t *testing.T) {
	w := newWorld(t, 7, simnet.Config{}, nil)
	p := demo
	p.Spread = 2
	w.round.Leaders = w.ids[1:4]
	core, err := drg.New(drg.Config{Params: p, Self: w.ids[0], Prove: w.keys[0].Prove, Resend: time.Second})
	require.NoError(t, err)
	require.NoError(t, core.Start(0, w.round))
	_, ok := core.Wake()
	require.False(t, ok) // there is nothing to send yet
	core.Done(0, core.Ready().Jobs[0].Run())
	to := func() (ids []shardkit.NodeID) {
		for _, m := range core.Ready().Messages {
			ids = append(ids, m.To)
		}
		return ids
	}
	require.Equal(t, w.ids[1:3], to())
	at, ok := core.Wake()
	require.True(t, ok)
	require.Equal(t, time.Second, at)
	core.Tick(at - 1)
	require.Empty(t, to())
	core.Tick(at)
	require.Equal(t, w.ids[1:3], to())
	core.SetLeaders(at, w.ids[2:5])
	require.Equal(t, w.ids[3:4], to())
	core.Tick(2 * at)
	require.Equal(t, w.ids[2:4], to())
	core.Committed(2*at, shardkit.Hash{1})
	core.Tick(3 * at)
	require.Empty(t, to())
	_, ok = core.Wake()
	require.False(t, ok)
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
