package estake_test

import (
	"fmt"
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/stretchr/testify/require"
)

func (w *world) locked(t *testing.T, validator, who uint64, since shardkit.Epoch) []estake.Lock {
	t.Helper()
	list, err := estake.Locked(w, w.p, account(validator), account(who), since)
	require.NoError(t, err)
	return list
}

func TestLocked(t *testing.T) {
	p := estake.DefaultParams(4)
	p.SlashMinPPM, p.SlashSlopePPM = 100_000, 0
	w := newChain(t, p, genesis(1, 1000, 1), genesis(2, 90_000, 1))
	require.Empty(t, w.locked(t, 1, 8, 0))
	require.Empty(t, w.locked(t, 7, 8, 0), "no such validator")
	for _, who := range []uint64{8, 9} {
		require.NoError(t, w.do(who, estake.Delegate{Validator: account(1), Amount: 3000}))
		require.NoError(t, w.do(who, estake.Undelegate{Validator: account(1), Amount: 1000}))
	}
	w.ends(t, 0)
	w.ends(t, 0)
	require.NoError(t, w.do(8, estake.Undelegate{Validator: account(1), Amount: 400}))
	require.NoError(t, w.do(8, estake.Undelegate{Validator: account(1), Amount: 100}))
	require.NoError(t, w.do(8, estake.Redelegate{From: account(1), To: account(2), Amount: 700}))
	require.NoError(t, w.do(1, estake.Undelegate{Validator: account(1), Amount: 1000}))
	at := func(e shardkit.Epoch) estake.Withdraw { return estake.Withdraw{Validator: account(1), Epoch: e} }
	moved := estake.Withdraw{Validator: account(1), Epoch: 2, Moved: true, To: account(2)}
	want := []estake.Lock{{Withdraw: at(2), Amount: 500, Until: 9}, {Withdraw: moved, Amount: 700, Until: 9}, {Withdraw: at(0), Amount: 1000, Until: 7}}
	require.Equal(t, want, w.locked(t, 1, 8, 0))
	require.Equal(t, want, w.locked(t, 1, 8, 0), "to ask changes nothing")
	require.Equal(t, want[:2], w.locked(t, 1, 8, 1))
	require.Equal(t, want[2:], w.locked(t, 1, 9, 0))
	require.Equal(t, []estake.Lock{{Withdraw: at(2), Amount: 1000, Until: 9}}, w.locked(t, 1, 1, 0))
	require.Empty(t, w.locked(t, 2, 8, 0), "it left 1, not 2")

	// An offence in epoch 3 reaches back to epoch 1, and takes the validator's own
	// 1000 first; the rest is for all delegators.
	w.ends(t, 0)
	p.SlashMinPPM = 500_000
	w.p = p
	require.NoError(t, w.offend(1, 3))
	list := w.locked(t, 1, 8, 0)
	require.Len(t, list, 3)
	require.Less(t, list[0].Amount, uint64(500))
	require.Less(t, list[1].Amount, uint64(700))
	require.EqualValues(t, 1000, list[2].Amount)
	own := w.locked(t, 1, 1, 0)
	require.Empty(t, own, "all of it was taken")

	for w.epoch < 8 {
		w.ends(t, 0)
	}
	list = w.locked(t, 1, 8, 0)
	require.False(t, list[0].Ready || list[1].Ready)
	require.True(t, list[2].Ready)
	require.NoError(t, w.do(8, list[2].Withdraw))
	require.Len(t, w.locked(t, 1, 8, 0), 2)
	require.Equal(t, want[2].Amount, w.locked(t, 1, 9, 0)[0].Amount, "another's is as it was")
}

// TestLockedAhead: transactions of an epoch come before the one before it has been
// closed.
func TestLockedAhead(t *testing.T) {
	w := newChain(t, estake.DefaultParams(4), genesis(1, 1000, 1))
	w.epoch = 1
	require.NoError(t, w.do(1, estake.Undelegate{Validator: account(1), Amount: 10}))
	require.Len(t, w.locked(t, 1, 1, 0), 1)
}

// TestLockedNamesAll: in random histories what is named as ready can be
// withdrawn, gives as much as was said, and was all there was.
func TestLockedNamesAll(t *testing.T) {
	named := 0
	for seed := range uint64(500) {
		w, err := newWorld(seed)
		require.NoError(t, err)
		for range 20 {
			require.NoError(t, w.step())
			who, from, to := account(w.r.Uint64N(people)), account(w.r.Uint64N(6)), account(w.r.Uint64N(6))
			for _, tx := range []estake.Tx{
				estake.Delegate{Validator: from, Amount: 50 + w.r.Uint64N(100)},
				estake.Undelegate{Validator: from, Amount: 1 + w.r.Uint64N(30)},
				estake.Redelegate{From: from, To: to, Amount: 1 + w.r.Uint64N(30)},
			} {
				require.NoError(t, w.apply(who, tx)) // or refused
			}
		}
		for range w.p.LockEpochs {
			w.ends(t, 0)
		}
		for i := range uint64(people) {
			for j := range uint64(6) {
				for _, l := range w.locked(t, j, i, 0) {
					named++
					have, at := w.accounts[account(i)], uint64(0)
					holding := func() uint64 {
						pos, err := estake.Holding(w, l.Withdraw.To, account(i))
						require.NoError(t, err)
						return pos.Compound
					}
					if l.Withdraw.Moved {
						at = holding()
					}
					require.True(t, l.Ready)
					require.NoError(t, w.do(i, l.Withdraw), "seed %d: %+v", seed, l)
					if l.Withdraw.Moved {
						require.InDelta(t, l.Amount, holding()-at, 1, "rounded down in two places")
					} else {
						require.Equal(t, l.Amount, w.accounts[account(i)]-have)
					}
				}
				require.Empty(t, w.locked(t, j, i, 0))
			}
		}
		for _, x := range w.exits {
			require.NoError(t, w.apply(x.who, x.tx))
			require.ErrorIs(t, w.log[len(w.log)-1].err, estake.ErrUnknown, "seed %d: not named: %+v", seed, x)
		}
	}
	require.Greater(t, named, 5000)
}

// reading counts what is read.
type reading struct {
	memory
	reads int
}

func (r *reading) Get(key []byte) ([]byte, bool, error) {
	r.reads++
	return r.memory.Get(key)
}

// TestLockedIsCheap: what a question costs does not depend on how many others
// have left the validator, nor on how long ago the chain began.
func TestLockedIsCheap(t *testing.T) {
	w := newChain(t, estake.DefaultParams(4), genesis(1, 1000, 1))
	for range 300 {
		w.ends(t, 0)
	}
	for i := uint64(2); i < 15; i++ {
		require.NoError(t, w.do(i, estake.Delegate{Validator: account(1), Amount: 3000}))
		require.NoError(t, w.do(i, estake.Undelegate{Validator: account(1), Amount: 1000}))
	}
	for range 5 {
		w.ends(t, 0)
	}
	require.NoError(t, w.do(2, estake.Undelegate{Validator: account(1), Amount: 1000}))
	r := &reading{memory: w.memory}
	list, err := estake.Locked(r, w.p, account(1), account(2), 0)
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, 2+6*2+2, r.reads, "the validator and the sums, six epochs, two with something in them")
}

// A delegator leaves in two epochs, and asks what it can have when.
func ExampleLocked() {
	s, p := memory{}, estake.DefaultParams(4)
	estake.Init(s, p, []estake.Genesis{{Validator: account(1), Stake: 2000, Slots: []estake.Slot{slotKeys(1, 0)}}})
	do := func(e shardkit.Epoch, tx estake.Tx) {
		if err := estake.Apply(s, p, estake.Context{Epoch: e, Sender: account(9), Bank: rich{}}, tx); err != nil {
			fmt.Println(err)
		}
	}
	do(0, estake.Delegate{Validator: account(1), Amount: 500})
	do(0, estake.Undelegate{Validator: account(1), Amount: 200})
	estake.EndEpoch(s, p, 0, 0, 0)
	do(1, estake.Undelegate{Validator: account(1), Amount: estake.Everything})
	for e := shardkit.Epoch(1); e < 7; e++ {
		estake.EndEpoch(s, p, e, 0, 0)
	}
	list, _ := estake.Locked(s, p, account(1), account(9), 0)
	for _, l := range list {
		fmt.Println(l.Amount, "left in epoch", l.Withdraw.Epoch, "locked until", l.Until, "ready", l.Ready)
	}
	// Output:
	// 300 left in epoch 1 locked until 8 ready false
	// 200 left in epoch 0 locked until 7 ready true
}
