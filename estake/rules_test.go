package estake_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/stretchr/testify/require"
)

// A chain is a world whose history is written by hand.
func newChain(t *testing.T, p estake.Params, validators ...estake.Genesis) *world {
	t.Helper()
	w := &world{memory: memory{}, p: p, r: rand.New(rand.NewPCG(1, 1)), accounts: map[[32]byte]uint64{}}
	for i := range uint64(16) {
		w.accounts[account(i)] = 1_000_000
	}
	require.NoError(t, estake.Init(w, p, validators))
	return w
}

// do applies a transaction and returns the refusal.
func (w *world) do(sender uint64, tx estake.Tx) error {
	if err := w.apply(account(sender), tx); err != nil {
		return err
	}
	return w.log[len(w.log)-1].err
}

// signs records a block signed by all but the absent.
func (w *world) signs(t *testing.T, absent ...shardkit.Hash) {
	t.Helper()
	e, err := estake.Elect(w, w.p)
	require.NoError(t, err)
	w.height++
	a := estake.Attendance{Epoch: w.epoch, Height: w.height, Time: uint64(w.height) * 1000}
	for _, x := range e.Elected {
		a.Seats = append(a.Seats, estake.Seat{Slot: x.Slot.ID, Weight: x.Effective, Signed: !slices.Contains(absent, x.Slot.ID)})
	}
	require.NoError(t, estake.RecordSigned(w, w.p, a))
}

func (w *world) ends(t *testing.T, minted uint64) uint64 {
	t.Helper()
	paid, err := estake.EndEpoch(w, w.p, w.epoch, minted, 0)
	require.NoError(t, err)
	w.epoch++
	require.NoError(t, estake.Audit(w.scan))
	return paid
}

func (w *world) position(t *testing.T, validator, who uint64) estake.Position {
	t.Helper()
	pos, err := estake.Holding(w, account(validator), account(who))
	require.NoError(t, err)
	return pos
}

func TestRewardOfDelegators(t *testing.T) {
	w := newChain(t, estake.DefaultParams(4), genesis(1, 1000, 1))
	require.NoError(t, w.do(8, estake.Delegate{Validator: account(1), Amount: 500}))
	require.NoError(t, w.do(9, estake.Delegate{Validator: account(1), Amount: 500, Compound: true}))
	w.signs(t)
	require.EqualValues(t, 1000, w.ends(t, 1000))
	// 100 of commission; of the rest half is the validator's own.
	require.Equal(t, estake.Position{Plain: 1000, Rewards: 550}, w.position(t, 1, 1))
	require.Equal(t, estake.Position{Plain: 500, Rewards: 225}, w.position(t, 1, 8))
	require.Equal(t, estake.Position{Compound: 725}, w.position(t, 1, 9))

	r, err := estake.ExplainReward(w, account(1), account(8))
	require.NoError(t, err)
	require.Equal(t, estake.RewardReport{
		Budget: 1000, Points: 2000, TotalPoints: 2000, Reward: 1000, Commission: 100,
		Self: 1000, Plain: 500, Compound: 500, ToSelf: 550, ToPlain: 225, ToCompound: 225, Yours: 225,
	}, r)
	r, err = estake.ExplainReward(w, account(1), account(1))
	require.NoError(t, err)
	require.EqualValues(t, 550, r.Yours)

	require.NoError(t, w.do(8, estake.Claim{Validator: account(1)}))
	require.EqualValues(t, 1_000_000-500+225, w.accounts[account(8)])
	require.ErrorIs(t, w.do(8, estake.Claim{Validator: account(1)}), estake.ErrAmount)
	require.NoError(t, w.do(1, estake.Claim{Validator: account(1), Restake: true}))
	require.Equal(t, estake.Position{Plain: 1550}, w.position(t, 1, 1))

	// The second comer pays the price of the compounding pool, 725 for 500.
	require.NoError(t, w.do(10, estake.Delegate{Validator: account(1), Amount: 145, Compound: true}))
	require.Equal(t, estake.Position{Compound: 145}, w.position(t, 1, 10))
	require.NoError(t, w.do(9, estake.Undelegate{Validator: account(1), Amount: 25, Compound: true}))
	require.InDelta(t, 700, w.position(t, 1, 9).Compound, 2) // whole points of 1.45
}

func TestRewardsGoBySignatures(t *testing.T) {
	w := newChain(t, estake.DefaultParams(4), genesis(1, 1000, 1), genesis(2, 1000, 1))
	slot := estake.SlotID(account(2), 0)
	for range 4 {
		w.signs(t, slot)
	}
	// Two of the four come late, one of them twice.
	for _, h := range []shardkit.Height{2, 3, 3} {
		require.NoError(t, estake.RecordLate(w, 0, 0, h, []shardkit.Hash{slot}))
	}
	require.EqualValues(t, 900, w.ends(t, 900))
	require.EqualValues(t, 600, w.position(t, 1, 1).Rewards)
	require.EqualValues(t, 300, w.position(t, 2, 2).Rewards)
}

func TestCommission(t *testing.T) {
	g := genesis(1, 1000, 1)
	g.CommissionPPM, g.MaxCommissionPPM, g.MaxChangePPM = 100_000, 250_000, 100_000
	w := newChain(t, estake.DefaultParams(4), g)
	set := func(ppm uint32) error { return w.do(1, estake.Edit{SetCommission: true, CommissionPPM: ppm}) }
	require.ErrorIs(t, set(201_000), estake.ErrRate) // too fast
	require.ErrorIs(t, set(260_000), estake.ErrRate) // too high
	require.NoError(t, set(200_000))
	require.ErrorIs(t, set(150_000), estake.ErrRate) // once an epoch
	require.NoError(t, w.do(8, estake.Delegate{Validator: account(1), Amount: 1000}))
	w.signs(t)
	w.ends(t, 1000) // still at the old rate
	require.EqualValues(t, 450, w.position(t, 1, 8).Rewards)
	w.signs(t)
	w.ends(t, 1000)
	require.EqualValues(t, 450+400, w.position(t, 1, 8).Rewards)
	require.NoError(t, set(250_000))
}

// offend accuses a validator's first slot.
func (w *world) offend(validator uint64, epoch shardkit.Epoch) error {
	return w.do(15, estake.Evidence{Slot: estake.SlotID(account(validator), 0), Epoch: epoch, Proof: []byte("both votes")})
}

func TestLeastSlash(t *testing.T) {
	p := estake.DefaultParams(4)
	p.SlashSlopePPM = 0
	w := newChain(t, p, genesis(1, 50, 1), genesis(2, 10_000, 1))
	require.NoError(t, w.do(8, estake.Delegate{Validator: account(1), Amount: 4000}))
	require.NoError(t, w.do(9, estake.Delegate{Validator: account(1), Amount: 5950, Compound: true}))
	require.NoError(t, w.do(9, estake.Undelegate{Validator: account(1), Amount: 1950, Compound: true}))
	require.NoError(t, w.offend(1, 0))
	// 2 % of 10,000: all 50 of its own, then 150 of 9950 by thirds: 4000 plain,
	// 4000 compounding, 1950 locked.
	require.Zero(t, w.position(t, 1, 1).Plain)
	require.EqualValues(t, 4000-60, w.position(t, 1, 8).Plain)
	require.InDelta(t, 4000-60, w.position(t, 1, 9).Compound, 1)
	burned, err := estake.Burned(w)
	require.NoError(t, err)
	require.EqualValues(t, 190, burned)
	require.EqualValues(t, 1_000_010, w.accounts[account(15)]) // 5 % to the reporter

	require.ErrorIs(t, w.offend(1, 0), estake.ErrKnown)
	require.ErrorIs(t, w.do(8, estake.Delegate{Validator: account(1), Amount: 10}), estake.ErrBanned)
	require.ErrorIs(t, w.do(1, estake.Stake{Amount: 10}), estake.ErrBanned)
	require.ErrorIs(t, w.do(1, estake.Rejoin{Slots: []uint32{0}}), estake.ErrBanned)
	e, err := estake.Elect(w, p)
	require.NoError(t, err)
	require.Len(t, e.Elected, 1)

	// Who stayed until the settlement loses nothing more without a slope.
	for range 8 {
		w.ends(t, 0)
	}
	require.NoError(t, w.do(8, estake.Undelegate{Validator: account(1), Amount: estake.Everything}))
	require.NoError(t, w.do(9, estake.Withdraw{Validator: account(1)}))
	require.InDelta(t, 1_000_000-5950+1950-30, w.accounts[account(9)], 1)
	require.ErrorIs(t, w.offend(2, 0), estake.ErrExpired)
	require.ErrorIs(t, w.offend(2, w.epoch+1), estake.ErrExpired)
	require.ErrorIs(t, w.offend(7, w.epoch), estake.ErrUnknown)
}

// Ten validators of equal stake: the more of them offend in one epoch, the
// more each loses, whatever the order of the evidence.
func TestSlashGrowsWithCoincidence(t *testing.T) {
	lost := func(order []uint64) (uint64, *world) {
		var list []estake.Genesis
		for i := range uint64(10) {
			list = append(list, genesis(i, 10_000, 1))
		}
		w := newChain(t, estake.DefaultParams(10), list...)
		for i := range uint64(10) {
			require.NoError(t, w.do(11, estake.Delegate{Validator: account(i), Amount: 3333, Compound: i%2 == 0}))
		}
		for _, v := range order {
			require.NoError(t, w.offend(v, 0))
		}
		for range 8 {
			w.signs(t)
			w.ends(t, 777)
		}
		return 13_333 - w.position(t, order[0], order[0]).Plain - w.position(t, order[0], 11).Plain - w.position(t, order[0], 11).Compound, w
	}
	one, _ := lost([]uint64{3})
	require.InDelta(t, 13_333*0.3, one, 15) // a tenth of the stake, slope 3
	two, w := lost([]uint64{3, 7})
	require.InDelta(t, 13_333*0.6, two, 15)
	_, again := lost([]uint64{7, 3})
	for v := range uint64(10) {
		for _, who := range []uint64{v, 11} {
			require.Equal(t, w.position(t, v, who), again.position(t, v, who))
		}
	}
	require.Equal(t, w.accounts, again.accounts)
	four, _ := lost([]uint64{3, 7, 1, 9})
	require.EqualValues(t, 13_333, four) // all of it

	p := estake.DefaultParams(10)
	require.EqualValues(t, 20_000, p.SlashRate(0, 0))
	require.EqualValues(t, 30_000, p.SlashRate(1, 100))
	require.EqualValues(t, estake.PPM, p.SlashRate(100, 300)+1) // a third, rounded down
}

// What was undelegated is reached by an offence as far back as the election
// that made the votes, and no further.
func TestSlashReach(t *testing.T) {
	p := estake.DefaultParams(4)
	p.SlashMinPPM, p.SlashSlopePPM = 100_000, 0
	w := newChain(t, p, genesis(1, 1, 1), genesis(2, 90_000, 1))
	for i := uint64(4); i < 8; i++ {
		require.NoError(t, w.do(i, estake.Delegate{Validator: account(1), Amount: 1000}))
	}
	for i := uint64(4); i < 8; i++ { // in epochs 0 to 3
		require.NoError(t, w.do(i, estake.Undelegate{Validator: account(1), Amount: estake.Everything}))
		w.ends(t, 0)
	}
	require.NoError(t, w.offend(1, 3)) // reaches back to epoch 1
	for w.epoch < 7 {
		require.ErrorIs(t, w.do(4, estake.Withdraw{Validator: account(1)}), estake.ErrLocked, "epoch %d", w.epoch)
		w.ends(t, 0)
	}
	require.NoError(t, w.do(4, estake.Withdraw{Validator: account(1)}))
	require.EqualValues(t, 1_000_000, w.accounts[account(4)])
	for range 3 {
		w.ends(t, 0)
	}
	for i := uint64(5); i < 8; i++ {
		require.NoError(t, w.do(i, estake.Withdraw{Validator: account(1), Epoch: shardkit.Epoch(i - 4)}))
		require.EqualValues(t, 1_000_000-100, w.accounts[account(i)])
		require.ErrorIs(t, w.do(i, estake.Withdraw{Validator: account(1), Epoch: shardkit.Epoch(i - 4)}), estake.ErrUnknown)
	}
}

func TestBannedEarnNothing(t *testing.T) {
	w := newChain(t, estake.DefaultParams(4), genesis(1, 1000, 1), genesis(2, 1000, 1))
	w.signs(t)
	require.NoError(t, w.offend(1, 0))
	require.EqualValues(t, 500, w.ends(t, 1000))
	pot, err := estake.Pot(w)
	require.NoError(t, err)
	require.EqualValues(t, 500, pot)
	require.Zero(t, w.position(t, 1, 1).Rewards)
	w.signs(t)
	require.EqualValues(t, 510, w.ends(t, 10)) // the next epoch's signers get the pot
}

// Thirds are rounded down, and what is left over stays here.
func TestRoundingOfClaims(t *testing.T) {
	g := genesis(1, 1, 1)
	g.CommissionPPM = 0
	w := newChain(t, estake.DefaultParams(4), g)
	for i := uint64(7); i < 10; i++ {
		require.NoError(t, w.do(i, estake.Delegate{Validator: account(1), Amount: 1000}))
	}
	w.signs(t)
	w.ends(t, 201)
	for i := uint64(7); i < 10; i++ {
		require.EqualValues(t, 66, w.position(t, 1, i).Rewards) // of 200 in all
	}
}

func TestRedelegation(t *testing.T) {
	p := estake.DefaultParams(4)
	p.SlashSlopePPM = 0
	p.SlashMinPPM = 500_000
	w := newChain(t, p, genesis(1, 100, 1), genesis(2, 1000, 1), genesis(3, 1000, 1))
	require.NoError(t, w.do(8, estake.Delegate{Validator: account(1), Amount: 900}))
	require.NoError(t, w.do(9, estake.Delegate{Validator: account(2), Amount: 600, Compound: true}))
	move := estake.Redelegate{From: account(1), To: account(2), Amount: 600}
	require.NoError(t, w.do(8, move))
	// It counts for the new validator at once, and cannot be moved on.
	f, err := estake.WhatIf(w, p, account(5), 1, 1)
	require.NoError(t, err)
	require.EqualValues(t, 400, f.Least+399) // the newcomer's own 1 is the least
	e, err := estake.Elect(w, p)
	require.NoError(t, err)
	require.EqualValues(t, 2200, e.Elected[0].Bid)
	require.ErrorIs(t, w.do(8, estake.Undelegate{Validator: account(2), Amount: 1, Compound: true}), estake.ErrAmount)
	require.ErrorIs(t, w.do(8, estake.Withdraw{Validator: account(1), Moved: true, To: account(2)}), estake.ErrLocked)

	// The old validator's offence takes half of 1000: 100 of its own, and 400
	// of the 900 that were delegated to it; nobody else at the new one pays.
	require.NoError(t, w.offend(1, 0))
	require.EqualValues(t, 600, w.position(t, 2, 9).Compound)
	for range 7 {
		w.ends(t, 0)
	}
	require.NoError(t, w.do(8, estake.Withdraw{Validator: account(1), Moved: true, To: account(2)}))
	require.InDelta(t, 600-267, w.position(t, 2, 8).Compound, 1)
	require.InDelta(t, 300-133, w.position(t, 1, 8).Plain, 1)
	require.ErrorIs(t, w.do(8, estake.Redelegate{From: account(2), To: account(1), Amount: 5, Compound: true}), estake.ErrBanned)
	require.NoError(t, w.do(8, estake.Redelegate{From: account(2), To: account(3), Amount: 5, Compound: true}))
	require.NoError(t, estake.Audit(w.scan))
}

func TestRejoin(t *testing.T) {
	p := estake.DefaultParams(4)
	p.GapMillis, p.ReduceMillis, p.InactiveMillis = 1000, 2000, 3000
	w := newChain(t, p, genesis(1, 1000, 1), genesis(2, 1000, 2))
	lazy := estake.SlotID(account(2), 1)
	require.ErrorIs(t, w.do(2, estake.Rejoin{Slots: []uint32{1}}), estake.ErrSlot)
	for range 4 {
		w.signs(t, lazy)
	}
	w.ends(t, 0)
	e, err := estake.Elect(w, p)
	require.NoError(t, err)
	require.Len(t, e.Elected, 2)
	require.EqualValues(t, 1000, e.Elected[0].Bid) // its other slot now bids everything
	verdicts, err := estake.ExplainElection(w, p, account(2))
	require.NoError(t, err)
	require.Equal(t, []estake.Reason{estake.Won, estake.Absent}, []estake.Reason{verdicts[0].Reason, verdicts[1].Reason})
	require.NoError(t, w.do(2, estake.Rejoin{Slots: []uint32{1}}))
	e, err = estake.Elect(w, p)
	require.NoError(t, err)
	require.Len(t, e.Elected, 3)
}

// Who signs now and then is never absent for long.
func TestSigningEndsAnAbsence(t *testing.T) {
	p := estake.DefaultParams(4)
	p.GapMillis, p.ReduceMillis, p.InactiveMillis = 1000, 4000, 9000
	w := newChain(t, p, genesis(1, 1000, 1), genesis(2, 1000, 1))
	slot := estake.SlotID(account(2), 0)
	for range 30 {
		for range 3 {
			w.signs(t, slot)
		}
		w.signs(t)
	}
	w.ends(t, 0)
	e, err := estake.Elect(w, p)
	require.NoError(t, err)
	require.EqualValues(t, 2000, e.Total)
}

// The largest committee's records fit into the values of a ledger's state.
func TestLargestCommittee(t *testing.T) {
	var list []estake.Genesis
	a := estake.Attendance{}
	for i := range uint64(estake.MaxSeats) {
		list = append(list, genesis(i, 1000, 1))
		a.Seats = append(a.Seats, estake.Seat{Slot: estake.SlotID(account(i), 0), Weight: 1, Signed: true})
	}
	w := newChain(t, estake.DefaultParams(estake.MaxSeats), list...) // its Set panics on a long value
	for range 70 {
		a.Height++
		require.NoError(t, estake.RecordSigned(w, w.p, a))
	}
	require.EqualValues(t, 5000, w.ends(t, 5000))
	a.Epoch, a.Seats = 1, append(a.Seats, estake.Seat{Weight: 1})
	require.ErrorIs(t, estake.RecordSigned(w, w.p, a), estake.ErrRoster)
}

// A shard that makes no blocks, however long, makes nobody absent; nor does
// one that makes them slowly, beyond GapMillis for each.
func TestStalledShardExpelsNobody(t *testing.T) {
	w := newChain(t, estake.DefaultParams(4), genesis(1, 1000, 1), genesis(2, 1000, 1))
	slot := estake.SlotID(account(2), 0)
	w.signs(t, slot)
	w.height += 100_000 // 100,000 seconds without a linked block
	w.signs(t, slot)
	w.ends(t, 0)
	e, err := estake.Elect(w, w.p)
	require.NoError(t, err)
	require.EqualValues(t, 2000, e.Total)
}

func TestSlotsOfAValidator(t *testing.T) {
	w := newChain(t, estake.DefaultParams(9), genesis(1, 1000, 1))
	k := slotKeys(5, 5)
	keys := estake.SlotKeys{VotingKey: k.VotingKey, VRFKey: k.VRFKey, Node: k.Node, Proof: []byte("mine")}
	require.NoError(t, w.do(5, estake.Stake{Amount: 500, CommissionPPM: 1, MaxCommissionPPM: 2, Slots: []estake.SlotKeys{keys}}))
	require.ErrorIs(t, w.do(5, estake.Stake{Amount: 1, Slots: []estake.SlotKeys{keys}}), estake.ErrExists)
	require.ErrorIs(t, w.do(1, estake.Edit{Add: []estake.SlotKeys{keys}}), estake.ErrSlot) // key in use
	require.ErrorIs(t, w.do(5, estake.Edit{Retire: []uint32{3}}), estake.ErrSlot)
	require.NoError(t, w.do(5, estake.Edit{Retire: []uint32{0}}))
	require.ErrorIs(t, w.do(5, estake.Edit{Retire: []uint32{0}}), estake.ErrSlot)
	e, err := estake.Elect(w, w.p)
	require.NoError(t, err)
	require.Len(t, e.Elected, 1)
	// A retired slot can still be punished, and keeps its key, for the lock.
	require.ErrorIs(t, w.do(1, estake.Edit{Add: []estake.SlotKeys{keys}}), estake.ErrSlot)
	for range 8 {
		w.ends(t, 0)
	}
	require.NoError(t, w.do(5, estake.Edit{}))
	require.NoError(t, w.do(1, estake.Edit{Add: []estake.SlotKeys{keys}}))
	require.ErrorIs(t, w.offend(5, w.epoch), estake.ErrUnknown)

	// When everything is out the record goes.
	require.NoError(t, w.do(5, estake.Undelegate{Validator: account(5), Amount: estake.Everything}))
	for range 7 {
		w.ends(t, 0)
	}
	require.NoError(t, w.do(5, estake.Withdraw{Validator: account(5), Epoch: 8}))
	require.EqualValues(t, 1_000_000, w.accounts[account(5)])
	_, err = estake.ExplainElection(w, w.p, account(5))
	require.ErrorIs(t, err, estake.ErrUnknown)
}

func TestChecksOfTheComposition(t *testing.T) {
	w := newChain(t, estake.DefaultParams(9), genesis(1, 1000, 1))
	ctx := estake.Context{Sender: account(5), Bank: w}
	k := slotKeys(5, 5)
	stake := estake.Stake{Amount: 5, Slots: []estake.SlotKeys{{VotingKey: k.VotingKey}}}
	require.ErrorIs(t, estake.Apply(w, w.p, ctx, stake), estake.ErrSlot) // none is taken in
	bad := errors.New("no")
	ctx.CheckSlot = func([32]byte, *estake.SlotKeys) error { return bad }
	require.ErrorIs(t, estake.Apply(w, w.p, ctx, stake), estake.ErrSlot)
	e := estake.Evidence{Slot: estake.SlotID(account(1), 0)}
	require.ErrorIs(t, estake.Apply(w, w.p, ctx, e), estake.ErrEvidence)
	ctx.CheckEvidence = func(s *estake.Slot, e *estake.Evidence) error {
		require.Equal(t, slotKeys(1, 0).VotingKey, s.VotingKey)
		return bad
	}
	require.ErrorIs(t, estake.Apply(w, w.p, ctx, e), estake.ErrEvidence)
	ctx.Epoch = 100
	require.ErrorIs(t, estake.Apply(w, w.p, ctx, e), estake.ErrEpoch)
	ctx.Epoch = 0
	require.ErrorIs(t, estake.Apply(w, w.p, ctx, estake.Delegate{Validator: account(1), Amount: 2_000_000}), errPoor)
}

func TestGenesisOrderDoesNotMatter(t *testing.T) {
	var list []estake.Genesis
	for i := range uint64(8) {
		list = append(list, genesis(i, 100+i, int(i%3)))
	}
	a, b := memory{}, memory{}
	require.NoError(t, estake.Init(a, estake.DefaultParams(4), list))
	slices.Reverse(list)
	require.NoError(t, estake.Init(b, estake.DefaultParams(4), list))
	require.True(t, maps.Equal(a, b))
	require.ErrorIs(t, estake.Init(b, estake.DefaultParams(4), list), estake.ErrExists)
}

// The election against its definition, over random networks.
func TestElectionAgainstTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 400 {
		p := estake.DefaultParams(1 + r.IntN(30))
		p.BoundPPM = uint32(r.IntN(500_000))
		p.Floor = estake.Floor(r.IntN(2))
		p.SlotsPerValidator = r.IntN(4)
		if r.IntN(2) == 0 {
			p.MinBidPPM = uint32(r.IntN(900_000))
		}
		var list []estake.Genesis
		for i := range uint64(1 + r.IntN(20)) {
			list = append(list, genesis(i, 1+r.Uint64N(60), r.IntN(5)))
		}
		w := memory{}
		require.NoError(t, estake.Init(w, p, list))
		e, err := estake.Elect(w, p)
		want := slowElection(list, p)
		if len(want) == 0 {
			require.ErrorIs(t, err, estake.ErrTooFew)
			continue
		}
		require.NoError(t, err)
		require.Len(t, e.Elected, len(want))
		n := len(want)
		med := (want[(n-1)/2].Bid + want[n/2].Bid) / 2
		require.Equal(t, med, e.Median)
		var total uint64
		for i, x := range e.Elected {
			require.Equal(t, want[i].Slot.ID, x.Slot.ID)
			c := med * uint64(p.BoundPPM) / estake.PPM
			eff := min(x.Bid, med+c)
			if p.Floor == estake.FloorLift {
				eff = max(eff, med-c)
			}
			require.Equal(t, eff, x.Effective)
			total += eff
		}
		require.Equal(t, total, e.Total)
	}
}

func slowElection(list []estake.Genesis, p estake.Params) (won []estake.Elected) {
	var all []estake.Elected
	for _, g := range list {
		for i := range g.Slots {
			if bid := g.Stake / uint64(len(g.Slots)); bid > 0 {
				all = append(all, estake.Elected{Slot: estake.Slot{ID: estake.SlotID(g.Validator, uint32(i)), Validator: g.Validator}, Bid: bid})
			}
		}
	}
	taken := map[[32]byte]int{}
	for len(won) < p.Slots {
		best := -1
		for i, x := range all {
			if p.SlotsPerValidator > 0 && taken[x.Slot.Validator] == p.SlotsPerValidator {
				continue
			}
			if best < 0 || x.Bid > all[best].Bid || x.Bid == all[best].Bid && string(x.Slot.ID[:]) < string(all[best].Slot.ID[:]) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		won = append(won, all[best])
		taken[all[best].Slot.Validator]++
		all = slices.Delete(all, best, best+1)
	}
	for len(won) > 0 {
		n := len(won)
		med := (won[(n-1)/2].Bid + won[n/2].Bid) / 2
		least := med * uint64(p.MinBidPPM) / estake.PPM
		if won[n-1].Bid >= least {
			break
		}
		for len(won) > 0 && won[len(won)-1].Bid < least {
			won = won[:len(won)-1]
		}
	}
	return won
}

func TestExplainElection(t *testing.T) {
	p := estake.DefaultParams(4)
	p.SlotsPerValidator, p.MinSelf, p.MinBid, p.MinBidPPM = 2, 50, 20, 500_000
	w := newChain(t, p, genesis(1, 3000, 3), genesis(2, 900, 1), genesis(3, 100, 1), genesis(4, 60, 4), genesis(5, 49, 1))
	reasons := func(v uint64) (out []estake.Reason) {
		verdicts, err := estake.ExplainElection(w, p, account(v))
		require.NoError(t, err)
		for _, x := range verdicts {
			out = append(out, x.Reason)
			require.Equal(t, x.Reason == estake.Won, x.Effective > 0)
			require.NotEmpty(t, x.Reason.String())
		}
		return out
	}
	one := reasons(1)
	slices.Sort(one)
	require.Equal(t, []estake.Reason{estake.Won, estake.Won, estake.OverCap}, one)
	require.Equal(t, []estake.Reason{estake.Won}, reasons(2))
	require.Equal(t, []estake.Reason{estake.UnderMedian}, reasons(3))
	require.Equal(t, []estake.Reason{estake.UnderMinBid, estake.UnderMinBid, estake.UnderMinBid, estake.UnderMinBid}, reasons(4))
	require.Equal(t, []estake.Reason{estake.UnderSelf}, reasons(5))
	p.Slots = 2
	require.Equal(t, []estake.Reason{estake.Outbid}, reasons(2))
	require.NoError(t, w.do(2, estake.Edit{Retire: []uint32{0}}))
	require.Equal(t, []estake.Reason{estake.Retired}, reasons(2))
	require.NoError(t, w.offend(1, 0))
	require.Equal(t, estake.Banned, reasons(1)[0])
}

func TestWhatIfComesTrue(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 100 {
		p := estake.DefaultParams(1 + r.IntN(8))
		w := newChain(t, p, genesis(1, 1+r.Uint64N(900), 1+r.IntN(3)), genesis(2, 1+r.Uint64N(900), 1+r.IntN(3)))
		stake, slots := 1+r.Uint64N(900), 1+r.IntN(4)
		f, err := estake.WhatIf(w, p, account(5), stake, slots)
		require.NoError(t, err)
		tx := estake.Stake{Amount: stake}
		for i := range slots {
			tx.Slots = append(tx.Slots, estake.SlotKeys{VotingKey: slotKeys(5, uint64(i)).VotingKey})
		}
		require.NoError(t, w.do(5, tx))
		e, err := estake.Elect(w, p)
		require.NoError(t, err)
		seats := 0
		for _, x := range e.Elected {
			if x.Slot.Validator == account(5) {
				seats++
				require.Equal(t, f.Effective, x.Effective)
			}
		}
		require.Equal(t, f.Seats, seats)
		require.Equal(t, f.Median, e.Median)
		// Asked again, its present bid is not counted twice.
		g, err := estake.WhatIf(w, p, account(5), stake, slots)
		require.NoError(t, err)
		require.Equal(t, f, g)
	}
}

func TestElectOr(t *testing.T) {
	p := estake.DefaultParams(2)
	p.MinSlots = 2
	w := newChain(t, p, genesis(1, 10, 1), genesis(2, 10, 1))
	first, fresh, err := estake.ElectOr(w, p, nil)
	require.NoError(t, err)
	require.True(t, fresh)
	require.NoError(t, w.do(2, estake.Edit{Retire: []uint32{0}}))
	kept, fresh, err := estake.ElectOr(w, p, first)
	require.NoError(t, err)
	require.False(t, fresh)
	require.Equal(t, first, kept)
	_, _, err = estake.ElectOr(w, p, nil)
	require.ErrorIs(t, err, estake.ErrTooFew)
}
