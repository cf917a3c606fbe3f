package estake_test

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/stretchr/testify/require"
)

// memory is the simplest State.
type memory map[string]string

func (m memory) Get(key []byte) ([]byte, bool, error) {
	v, ok := m[string(key)]
	return []byte(v), ok, nil
}

func (m memory) Set(key, value []byte) error {
	if len(key) > 255 || len(value) > 64<<10 {
		panic("too long for a ledger")
	}
	m[string(key)] = string(value)
	return nil
}

func (m memory) Delete(key []byte) error {
	delete(m, string(key))
	return nil
}

// account makes up an address; histories need the first few all the time.
func account(n uint64) [32]byte {
	if n < uint64(len(accounts)) {
		return accounts[n]
	}
	return newAccount(n)
}

var accounts = func() (list [16][32]byte) {
	for i := range list {
		list[i] = newAccount(uint64(i))
	}
	return list
}()

func newAccount(n uint64) [32]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte("account"), n))
}

func slotKeys(validator, n uint64) estake.Slot {
	k := sha256.Sum256(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte("key"), validator), n))
	return estake.Slot{VotingKey: k[:], VRFKey: k[:8], Node: k}
}

func genesis(n uint64, stake uint64, slots int) estake.Genesis {
	g := estake.Genesis{Validator: account(n), Stake: stake, CommissionPPM: 100_000}
	for i := range slots {
		g.Slots = append(g.Slots, slotKeys(n, uint64(i)))
	}
	return g
}

func TestElection(t *testing.T) {
	s, p := memory{}, estake.DefaultParams(5)
	require.NoError(t, estake.Init(s, p, []estake.Genesis{
		genesis(1, 1000, 1), genesis(2, 3000, 3), genesis(3, 10_000, 1), genesis(4, 1, 1), genesis(5, 500, 0),
	}))
	e, err := estake.Elect(s, p)
	require.NoError(t, err)
	require.Equal(t, 6, e.Candidates)
	require.Len(t, e.Elected, 5)
	require.EqualValues(t, 1000, e.Median)
	require.EqualValues(t, 10_000, e.Elected[0].Bid)
	require.EqualValues(t, 1150, e.Elected[0].Effective)
	require.EqualValues(t, 4*1000+1150, e.Total)
	for _, x := range e.Elected {
		require.Equal(t, estake.SlotID(x.Slot.Validator, x.Slot.Index), x.Slot.ID)
		require.NotEmpty(t, x.Slot.VotingKey)
	}

	p.Slots = 6
	e, err = estake.Elect(s, p)
	require.NoError(t, err)
	require.EqualValues(t, 850, e.Elected[5].Effective) // one token counts as 850
	p.Floor = estake.FloorOff
	e, err = estake.Elect(s, p)
	require.NoError(t, err)
	require.EqualValues(t, 1, e.Elected[5].Effective)
	p.MinBidPPM = 300_000
	e, err = estake.Elect(s, p)
	require.NoError(t, err)
	require.Len(t, e.Elected, 5)
	p.MinSlots = 6
	_, err = estake.Elect(s, p)
	require.ErrorIs(t, err, estake.ErrTooFew)
}

func TestVotePrice(t *testing.T) {
	require.EqualValues(t, 5, estake.VotePrice(4*600*5, 4, 600))
	require.EqualValues(t, 6, estake.VotePrice(4*600*5+1, 4, 600))
	require.EqualValues(t, 1, estake.VotePrice(0, 4, 600))
	require.EqualValues(t, 1, estake.VotePrice(7, 4, 600))
	require.EqualValues(t, 1, estake.VotePrice(1<<60, 1<<31, 1<<59))
	require.EqualValues(t, 2, estake.Shares(11, 5))
	require.Equal(t, []uint64{2, 1, 1}, estake.LargestRemainder([]uint64{50, 30, 20}, 4))
	require.Equal(t, []uint64{0, 0}, estake.LargestRemainder([]uint64{0, 0}, 4))
}

func TestRewardsAddUp(t *testing.T) {
	s, p := memory{}, estake.DefaultParams(4)
	require.NoError(t, estake.Init(s, p, []estake.Genesis{genesis(1, 1000, 2), genesis(2, 777, 1), genesis(3, 600, 1)}))
	e, err := estake.Elect(s, p)
	require.NoError(t, err)
	before, err := estake.TotalTokens(s)
	require.NoError(t, err)
	require.EqualValues(t, 2377, before)
	for h := range 150 {
		a := estake.Attendance{Height: shardkit.Height(h), Time: uint64(h) * 1000}
		for i, x := range e.Elected {
			a.Seats = append(a.Seats, estake.Seat{Slot: x.Slot.ID, Weight: x.Effective, Signed: i != 0 || h%3 == 0})
		}
		require.NoError(t, estake.RecordSigned(s, p, a))
		require.ErrorIs(t, estake.RecordSigned(s, p, a), estake.ErrRoster)
	}
	require.NoError(t, estake.RecordLate(s, 0, 0, 148, []shardkit.Hash{e.Elected[0].Slot.ID}))
	require.Error(t, estake.RecordLate(s, 0, 0, 10, nil))
	paid, err := estake.EndEpoch(s, p, 0, 1000, 7)
	require.NoError(t, err)
	require.EqualValues(t, 1007, paid)
	after, err := estake.TotalTokens(s)
	require.NoError(t, err)
	require.Equal(t, before+paid, after)
	_, err = estake.EndEpoch(s, p, 0, 1, 1)
	require.ErrorIs(t, err, estake.ErrEpoch)

	// Nobody signs: the pot keeps it.
	paid, err = estake.EndEpoch(s, p, 1, 500, 0)
	require.NoError(t, err)
	require.Zero(t, paid)
	after, err = estake.TotalTokens(s)
	require.NoError(t, err)
	require.Equal(t, before+1507, after)
}

func TestInitRefuses(t *testing.T) {
	p := estake.DefaultParams(4)
	for name, list := range map[string][]estake.Genesis{
		"twice":      {genesis(1, 5, 1), genesis(1, 6, 1)},
		"no stake":   {genesis(1, 0, 1)},
		"shared key": {genesis(1, 5, 1), {Validator: account(2), Stake: 5, Slots: genesis(1, 5, 1).Slots}},
		"overflow":   {genesis(1, 1<<60, 1), genesis(2, 1, 1)},
	} {
		var r *estake.Refusal
		require.ErrorAs(t, estake.Init(memory{}, p, list), &r, name)
	}
	require.Error(t, estake.Init(memory{}, estake.Params{}, nil))
}

// A slot that never signs loses its power over time that its shard spends
// making blocks, and only then.
func TestAbsence(t *testing.T) {
	s, p := memory{}, estake.DefaultParams(3)
	p.GapMillis, p.ReduceMillis, p.InactiveMillis = 1000, 10_000, 40_000
	require.NoError(t, estake.Init(s, p, []estake.Genesis{genesis(1, 1000, 1), genesis(2, 1000, 1), genesis(3, 1000, 1)}))
	lazy := estake.SlotID(account(2), 0)
	power := func() (eff uint64) {
		e, err := estake.Elect(s, p)
		require.NoError(t, err)
		for _, x := range e.Elected {
			if x.Slot.ID == lazy {
				eff = x.Effective
			}
		}
		return eff
	}
	clock, height := uint64(0), shardkit.Height(0)
	epoch := func(e shardkit.Epoch, blocks int, gap uint64) {
		for range blocks {
			clock += gap
			height++
			a := estake.Attendance{Epoch: e, Height: height, Time: clock}
			for v := range uint64(3) {
				id := estake.SlotID(account(v+1), 0)
				a.Seats = append(a.Seats, estake.Seat{Slot: id, Weight: 1, Signed: id != lazy})
			}
			require.NoError(t, estake.RecordSigned(s, p, a))
		}
		_, err := estake.EndEpoch(s, p, e, 0, 0)
		require.NoError(t, err)
	}
	epoch(0, 10, 1_000_000) // nine gaps, each counts for one second at most
	require.EqualValues(t, 1000, power())
	epoch(1, 2, 500)
	require.EqualValues(t, 1000, power()) // 9.5 s
	epoch(2, 2, 500)
	require.EqualValues(t, 750, power()) // 10 s
	epoch(3, 31, 500)
	require.EqualValues(t, 375, power()) // 25 s: half of the way
	epoch(4, 31, 500)
	require.Zero(t, power())
}

func TestParamsCodec(t *testing.T) {
	p := estake.DefaultParams(100)
	b, err := p.AppendBinary(nil)
	require.NoError(t, err)
	var q estake.Params
	require.NoError(t, q.UnmarshalBinary(b))
	require.Equal(t, p, q)
	require.Error(t, q.UnmarshalBinary(append(b, 0)))
}
