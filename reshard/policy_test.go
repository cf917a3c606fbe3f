package reshard_test

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/reshard"
	"github.com/stretchr/testify/require"
)

func hash(n uint64) shardkit.Hash {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, n))
}

func unit(n uint64) reshard.Unit { return reshard.Unit{Slot: hash(n), Weight: 1 + n%7} }

func unitRange(lo, hi uint64) []reshard.Unit {
	var out []reshard.Unit
	for n := lo; n < hi; n++ {
		out = append(out, unit(n))
	}
	return out
}

func policies(t testing.TB) []reshard.Policy {
	t.Helper()
	var out []reshard.Policy
	for _, s := range []string{"full", "full:min=3", "cuckoo", "cuckoo:k=1,shift=1,min=2", "cuckoo:k=9,shift=20",
		"bounded", "bounded:k=5,min=2", "bounded:percent=10", "commensal", "commensal:k=1", "pooled", "pooled:percent=50,min=3",
		"gradual", "gradual:percent=10", "full+redraw=4", "full+redraw=4/3"} {
		p, err := reshard.ParsePolicy(s)
		require.NoError(t, err)
		again, err := reshard.ParsePolicy(p.Name())
		require.NoError(t, err)
		require.Equal(t, p.Name(), again.Name())
		out = append(out, p)
	}
	return out
}

// check holds what every policy promises.
func check(t *testing.T, prev, next reshard.Assignment, units []reshard.Unit, moves []reshard.Move, shards, minimum int) {
	t.Helper()
	require.Len(t, next.Shards, shards)
	where := map[shardkit.Hash]int{}
	for s, list := range next.Shards {
		require.GreaterOrEqual(t, len(list), minimum, "shard %d", s)
		require.True(t, slices.IsSortedFunc(list, reshard.Unit.Compare))
		for _, u := range list {
			_, twice := where[u.Slot]
			require.False(t, twice)
			where[u.Slot] = s
			require.Contains(t, units, u)
		}
	}
	require.Len(t, where, len(units))
	was := map[shardkit.Hash]int{}
	for s, list := range prev.Shards {
		for _, u := range list {
			was[u.Slot] = s
		}
	}
	// The moves are exactly the difference.
	require.True(t, slices.IsSortedFunc(moves, func(a, b reshard.Move) int { return a.Unit.Compare(b.Unit) }))
	for _, m := range moves {
		from, ok := was[m.Unit.Slot]
		if !ok {
			from = -1
		}
		to, ok := where[m.Unit.Slot]
		if !ok {
			to = -1
		}
		require.Equal(t, [2]int{from, to}, [2]int{m.From, m.To})
		require.NotEqual(t, from, to)
		was[m.Unit.Slot] = to
	}
	for h, s := range was {
		if s >= 0 {
			require.Equal(t, where[h], s)
		}
	}
}

func TestPoliciesKeepTheirPromises(t *testing.T) {
	for _, p := range policies(t) {
		t.Run(p.Name(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			for range 60 {
				shards := 1 + r.IntN(5)
				minimum := 3
				var prev reshard.Assignment
				lo, hi := uint64(0), uint64(shards*minimum+r.IntN(40))
				for epoch := range uint64(8) {
					units := unitRange(lo, hi)
					r.Shuffle(len(units), func(i, j int) { units[i], units[j] = units[j], units[i] })
					next, moves, err := p.Assign(prev, units, shards, hash(epoch))
					require.NoError(t, err)
					check(t, prev, next, units, moves, shards, 1)

					// Neither the order of the units nor that of the previous lists matters.
					r.Shuffle(len(units), func(i, j int) { units[i], units[j] = units[j], units[i] })
					mixed := reshard.Assignment{}
					for _, list := range prev.Shards {
						list = slices.Clone(list)
						r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
						mixed.Shards = append(mixed.Shards, list)
					}
					again, moves2, err := p.Assign(mixed, units, shards, hash(epoch))
					require.NoError(t, err)
					require.Equal(t, next, again)
					require.Equal(t, moves, moves2)

					prev = next
					hi += uint64(r.IntN(10))
					lo += uint64(r.IntN(int(hi-lo) - shards*minimum + 1))
					if r.IntN(6) == 0 {
						shards = 1 + r.IntN(int(hi-lo)/minimum)
					}
				}
			}
		})
	}
}

// Everybody of one shard leaves and nobody joins: the others must fill it.
func TestMinimumIsRestored(t *testing.T) {
	for _, text := range []string{"full:min=4", "cuckoo:k=1,shift=1,min=4", "bounded:min=4", "commensal:min=4", "pooled:min=4", "gradual:min=4"} {
		p, err := reshard.ParsePolicy(text)
		require.NoError(t, err)
		prev, _, err := p.Assign(reshard.Assignment{}, unitRange(0, 24), 4, hash(0))
		require.NoError(t, err)
		var stay []reshard.Unit
		for _, list := range prev.Shards[1:] {
			stay = append(stay, list...)
		}
		next, moves, err := p.Assign(prev, stay, 4, hash(1))
		require.NoError(t, err)
		check(t, prev, next, stay, moves, 4, 4)

		_, _, err = p.Assign(prev, stay[:15], 4, hash(1))
		require.ErrorIs(t, err, reshard.ErrTooFew)
	}
}

func TestRefusals(t *testing.T) {
	for _, p := range policies(t) {
		four := unitRange(0, 12)
		_, _, err := p.Assign(reshard.Assignment{}, four, 0, hash(0))
		require.Error(t, err)
		_, _, err = p.Assign(reshard.Assignment{}, append(four, four[0]), 2, hash(0))
		require.ErrorContains(t, err, "twice")
		weightless := slices.Clone(four)
		weightless[2].Weight = 0
		_, _, err = p.Assign(reshard.Assignment{}, weightless, 2, hash(0))
		require.ErrorContains(t, err, "no weight")
		double := reshard.Assignment{Shards: [][]reshard.Unit{four, four}}
		_, _, err = p.Assign(double, four, 2, hash(0))
		require.ErrorContains(t, err, "twice")
	}
	for _, s := range []string{"", "fool", "full:k=2", "full:", "cuckoo:k", "cuckoo:k=-1", "cuckoo:k=1,k=2", "full:min=1,", "full+redraw=0", "full+redraw=", "full+redraw=1/0"} {
		p, err := reshard.ParsePolicy(s)
		require.Error(t, err, "%q gave %v", s, p)
	}
	for _, p := range []reshard.Policy{reshard.Cuckoo{K: -1}, reshard.Bounded{Percent: 101}, reshard.Commensal{K: -2}, reshard.Pooled{Percent: 101}, reshard.Gradual{Percent: -1}, reshard.Full{Min: -1}} {
		_, _, err := p.Assign(reshard.Assignment{}, unitRange(0, 9), 2, hash(0))
		require.Error(t, err, "%#v", p)
	}
}

// What is read is written in one way, which reads as the same policy.
func FuzzParsePolicy(f *testing.F) {
	for _, s := range append(reshard.Policies(), "cuckoo:k=3,shift=1,min=2+redraw=7/2", "bounded:percent=9") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := reshard.ParsePolicy(s)
		if err != nil {
			return
		}
		q, err := reshard.ParsePolicy(p.Name())
		require.NoError(t, err)
		require.Equal(t, p.Name(), q.Name())
		_, _, _ = q.Assign(reshard.Assignment{}, unitRange(0, 4), 2, hash(0)) // an error or not, no panic
	})
}

// A weight may change without a move, and the new weight is in the result.
func TestWeightChangeKeepsPlace(t *testing.T) {
	units := unitRange(0, 20)
	prev, _, err := reshard.Full{}.Assign(reshard.Assignment{}, units, 4, hash(0))
	require.NoError(t, err)
	for i := range units {
		units[i].Weight += 100
	}
	p := reshard.Cuckoo{K: 1, Shift: 1}
	next, moves, err := p.Assign(prev, units, 4, hash(1))
	require.NoError(t, err)
	require.Empty(t, moves) // no joiner displaces anybody and the shards are level
	for s := range next.Shards {
		for i, u := range next.Shards[s] {
			require.Equal(t, prev.Shards[s][i].Slot, u.Slot)
			require.Greater(t, u.Weight, uint64(100))
		}
	}
}
