package reshard_test

import (
	"encoding/hex"
	"slices"
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/reshard"
	"github.com/stretchr/testify/require"
)

func owned(n uint64, owner byte, weight uint64) reshard.Unit {
	return reshard.Unit{Slot: hash(n), Weight: weight, Owner: [32]byte{owner}}
}

func TestFragile(t *testing.T) {
	a := reshard.Assignment{Shards: [][]reshard.Unit{
		{owned(1, 1, 10), owned(2, 2, 10), owned(3, 3, 10), owned(4, 4, 10)},
		{owned(5, 1, 10), owned(6, 1, 10), owned(7, 2, 25), owned(8, 3, 16)},
	}}
	require.Equal(t, []reshard.Holding{{Shard: 1, Owner: [32]byte{2}, Units: 1, Weight: 25, Total: 61}}, reshard.Fragile(a))
	a.Shards[1][1].Weight = 11 // 21 of 62
	require.Len(t, reshard.Fragile(a), 2)
}

// Six owners of four slots each in three shards of eight: a third of a shard
// in one hand is likely in a draw, and a redraw avoids it.
func TestRedraw(t *testing.T) {
	var units []reshard.Unit
	for n := range uint64(24) {
		units = append(units, owned(n, byte(n%6), 5))
	}
	fragile, dealt := 0, 0
	for e := range uint64(50) {
		a, _, err := reshard.Full{}.Assign(reshard.Assignment{}, units, 3, hash(e))
		require.NoError(t, err)
		fragile += len(reshard.Fragile(a))
		p := reshard.Redraw{Policy: reshard.Full{}, Tries: 200, MaxUnits: 2}
		a, _, err = p.Assign(reshard.Assignment{}, units, 3, hash(e))
		require.NoError(t, err)
		dealt += len(reshard.Fragile(a))
		again, _, err := p.Assign(reshard.Assignment{}, units, 3, hash(e))
		require.NoError(t, err)
		require.Equal(t, a, again)
	}
	t.Logf("%d fragile holdings, %d after redraws", fragile, dealt)
	require.Greater(t, fragile, 20)
	require.Zero(t, dealt)
}

func TestCooldown(t *testing.T) {
	units := []reshard.Unit{owned(1, 1, 1), owned(2, 2, 1), owned(3, 3, 1), owned(4, 4, 1)}
	prev := reshard.Assignment{Shards: [][]reshard.Unit{units}}
	var c reshard.Cooldown
	in, held, err := c.Admit(10, 3, prev, units[1:])
	require.NoError(t, err)
	require.Len(t, in, 3)
	require.Empty(t, held)
	prev.Shards[0] = in
	for epoch := shardkit.Epoch(11); epoch < 15; epoch++ {
		// Its owner waits under any slot, and another's joiner does not.
		in, held, err = c.Admit(epoch, 3, prev, append(slices.Clone(units[1:]), owned(9, 1, 1), owned(8, 8, 1)))
		require.NoError(t, err)
		require.Equal(t, epoch < 13, len(held) == 1, "epoch %d", epoch)
		require.Len(t, in, 5-len(held))

		enc, err := c.AppendBinary(nil)
		require.NoError(t, err)
		var d reshard.Cooldown
		require.NoError(t, d.UnmarshalBinary(enc))
		require.Equal(t, c, d)
	}
}

func TestSteps(t *testing.T) {
	units := unitRange(0, 120)
	prev, _, err := reshard.Full{}.Assign(reshard.Assignment{}, units[:110], 4, hash(1))
	require.NoError(t, err)
	_, moves, err := reshard.Full{}.Assign(prev, units[10:], 4, hash(2))
	require.NoError(t, err)
	steps, err := reshard.Steps(prev, moves, 33, hash(2))
	require.NoError(t, err)
	n := 0
	for _, step := range steps {
		n += len(step)
		out, in := map[int]int{}, map[int]int{}
		for _, m := range step {
			require.Contains(t, moves, m)
			if m.From >= 0 && m.To >= 0 {
				out[m.From]++
				in[m.To]++
			}
		}
		for s, list := range prev.Shards {
			require.LessOrEqual(t, out[s], len(list)*33/100)
			require.LessOrEqual(t, in[s], len(list)*33/100)
		}
	}
	require.Equal(t, len(moves), n)
	require.Greater(t, len(steps), 2)
	_, err = reshard.Steps(prev, moves, 0, hash(2))
	require.Error(t, err)
}

func TestShares(t *testing.T) {
	slots := []reshard.Unit{owned(1, 1, 6), owned(2, 2, 3)}
	units, err := reshard.Shares(reshard.Assignment{}, slots, hash(0))
	require.NoError(t, err)
	require.Len(t, units, 9)
	prev, _, err := reshard.Full{}.Assign(reshard.Assignment{}, units, 3, hash(0))
	require.NoError(t, err)

	numbers := func(units []reshard.Unit, slot shardkit.Hash) (out []uint32) {
		for _, u := range units {
			require.EqualValues(t, 1, u.Weight)
			if u.Slot == slot {
				require.NotZero(t, u.Owner)
				out = append(out, u.Share)
			}
		}
		return out
	}
	// Which shares leave depends on the seed, and each may.
	left := map[uint32]bool{}
	slots[0].Weight, slots[1].Weight = 4, 5
	for seed := range uint64(60) {
		units, err = reshard.Shares(prev, slots, hash(seed))
		require.NoError(t, err)
		kept := numbers(units, hash(1))
		require.Len(t, kept, 4)
		for n := range uint32(6) {
			left[n] = left[n] || !slices.Contains(kept, n)
		}
		require.Equal(t, []uint32{0, 1, 2, 3, 4}, numbers(units, hash(2)))
	}
	require.Len(t, left, 6)
	for n, gone := range left {
		require.True(t, gone, "share %d never leaves", n)
	}
	// Free numbers are used again.
	next, _, err := reshard.Full{}.Assign(prev, units, 3, hash(1))
	require.NoError(t, err)
	slots[0].Weight = 6
	units, err = reshard.Shares(next, slots[:1], hash(1))
	require.NoError(t, err)
	require.Equal(t, []uint32{0, 1, 2, 3, 4, 5}, numbers(units, hash(1)))

	_, err = reshard.Shares(prev, []reshard.Unit{{Slot: hash(1), Weight: reshard.MaxUnits + 1}}, hash(0))
	require.Error(t, err)
	_, err = reshard.Shares(prev, append(slots, slots[0]), hash(0))
	require.Error(t, err)
}

func FuzzCooldown(f *testing.F) {
	golden, _ := hex.DecodeString("01000000010700000000000000000000000000000000000000000000000000000000000000" + "0000000000000009")
	f.Add(golden)
	f.Fuzz(func(t *testing.T, data []byte) {
		var c reshard.Cooldown
		if c.UnmarshalBinary(data) != nil {
			return
		}
		enc, err := c.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, data, enc)
	})
}

func TestGolden(t *testing.T) {
	var c reshard.Cooldown
	prev := reshard.Assignment{Shards: [][]reshard.Unit{{owned(1, 7, 1)}}}
	_, _, err := c.Admit(9, 3, prev, nil)
	require.NoError(t, err)
	enc, err := c.AppendBinary(nil)
	require.NoError(t, err)
	require.Equal(t, "010000000107"+"00000000000000000000000000000000000000000000000000000000000000"+"0000000000000009", hex.EncodeToString(enc))
}
