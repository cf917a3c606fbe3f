package estake

import (
	"slices"

	"github.com/shardkit/shardkit"
)

// Reason says why a slot won a seat or did not.
type Reason uint8

// The reasons.
const (
	Won         Reason = iota
	Outbid             // enough others bid more, or as much with a smaller slot id
	OverCap            // its validator has won SlotsPerValidator seats already
	UnderMedian        // its bid is below MinBidPPM of the median
	UnderMinBid        // its bid is below MinBid, or zero
	UnderSelf          // its validator's own stake is below MinSelf
	Absent             // it was absent too long and has to rejoin
	Retired            // it was given up
	Banned             // its validator double-signed
)

var reasons = []string{"won a seat", "outbid", "over the cap of its validator", "bid too far below the median",
	"bid below the least", "too little own stake", "inactive after absence", "retired", "validator banned"}

func (r Reason) String() string { return reasons[min(int(r), len(reasons)-1)] }

// Verdict is what an election means for one slot.
type Verdict struct {
	Slot      shardkit.Hash
	Index     uint32
	Reason    Reason
	Rank      int    // among all bids, from 1; 0: it made no bid
	Bid       uint64 // what it bid, or would have
	Least     uint64 // the lowest bid that won
	Median    uint64
	Effective uint64 // of a bid that won
}

// ExplainElection tells a validator how each of its slots fares in the
// election that Elect would hold now, and why.
func ExplainElection(s State, p Params, address [32]byte) ([]Verdict, error) {
	v, err := loadValidator(s, address)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, refuse(ErrUnknown, "no validator %x", address[:8])
	}
	cands, err := bids(s, p)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(identify(cands), rank)
	won := winners(slices.Clone(cands), p)
	out := make([]Verdict, len(v.Slots))
	for i, ref := range v.Slots {
		x := Verdict{Slot: SlotID(address, ref.Index), Index: ref.Index, Bid: v.tokens() / max(v.active(), 1)}
		if len(won) > 0 {
			x.Median, x.Least = median(won), won[len(won)-1].bid
		}
		same := func(c candidate) bool { return c.id == x.Slot }
		x.Rank = slices.IndexFunc(cands, same) + 1
		if at := slices.IndexFunc(won, same); at >= 0 {
			x.Effective = p.effective(won[at], x.Median)
		} else {
			x.Reason = v.lost(p, ref, x, cands)
		}
		out[i] = x
	}
	return out, nil
}

// lost finds the reason, in the order in which an election looks at them.
func (v *validator) lost(p Params, ref slotRef, x Verdict, ranked []candidate) Reason {
	switch {
	case v.Status == StatusBanned:
		return Banned
	case ref.Status == SlotRetired:
		return Retired
	case ref.Status == SlotInactive:
		return Absent
	case v.Self < p.MinSelf:
		return UnderSelf
	case x.Rank == 0:
		return UnderMinBid
	}
	before := 0
	for _, c := range ranked[:x.Rank-1] {
		if c.validator == v.Address {
			before++
		}
	}
	if p.SlotsPerValidator > 0 && before >= p.SlotsPerValidator {
		return OverCap
	}
	if x.Bid < mulDiv(x.Median, uint64(p.MinBidPPM), PPM) {
		return UnderMedian
	}
	return Outbid
}

// Forecast is what a bid would win.
type Forecast struct {
	Seats     int
	Bid       uint64 // per slot
	Effective uint64 // per seat
	Median    uint64
	Least     uint64 // the lowest bid that wins
}

// WhatIf holds the election as if the validator, known or not, had the given
// stake on the given number of slots, and everybody else were as they are.
func WhatIf(s State, p Params, address [32]byte, stake uint64, slots int) (Forecast, error) {
	if slots < 1 || slots > MaxValidatorSlots || stake > MaxTokens {
		return Forecast{}, refuse(ErrAmount, "%d on %d slots", stake, slots)
	}
	cands, err := bids(s, p)
	if err != nil {
		return Forecast{}, err
	}
	cands = slices.DeleteFunc(cands, func(c candidate) bool { return c.validator == address })
	f := Forecast{Bid: stake / uint64(slots)}
	if f.Bid >= max(p.MinBid, 1) && stake >= p.MinSelf {
		for i := range uint32(slots) {
			cands = append(cands, candidate{bid: f.Bid, validator: address, index: i})
		}
	}
	won := winners(identify(cands), p)
	if len(won) == 0 {
		return f, nil
	}
	f.Median, f.Least = median(won), won[len(won)-1].bid
	for _, c := range won {
		if c.validator == address {
			f.Seats++
			f.Effective = p.Effective(f.Bid, f.Median)
		}
	}
	return f, nil
}

// RewardReport says where the last reward of somebody came from.
type RewardReport struct {
	Epoch  shardkit.Epoch
	Budget uint64 // of the whole network: minted, fees, and what the pot held
	// Points are stake or shares, times the part of blocks signed: the
	// validator's and everybody's. Reward is Budget in their proportion.
	Points, TotalPoints uint64
	Reward              uint64 // of the validator and its delegators together
	Commission          uint64 // first taken off it by the validator
	// The rest was divided by stake as it was then.
	Self, Plain, Compound uint64
	ToSelf                uint64 // with the commission, and what rounding left
	ToPlain, ToCompound   uint64
	// The asker's part: the validator's own, or a delegator's by the points it
	// has now.
	Yours uint64
}

// ExplainReward explains the last reward of a validator to it or to one of its
// delegators. For a delegator Yours is right if its delegation has not
// changed since; it is rounded down.
func ExplainReward(s State, address, asker [32]byte) (RewardReport, error) {
	rec := new(paid)
	ok, err := load(s, keyOf(keyReward, address), rec.words())
	if err != nil {
		return RewardReport{}, err
	}
	if !ok {
		return RewardReport{}, refuse(ErrUnknown, "no reward of %x", address[:8])
	}
	r := RewardReport{
		Epoch: rec.Epoch, Budget: rec.Budget, Points: rec.Points, TotalPoints: rec.TotalPoints,
		Reward: rec.Reward, Commission: rec.Commission,
		Self: rec.Self, Plain: rec.Plain.Tokens, Compound: rec.Compound.Tokens,
		ToSelf: rec.Reward - rec.ToPlain - rec.ToCompound, ToPlain: rec.ToPlain, ToCompound: rec.ToCompound,
	}
	if asker == address {
		r.Yours = r.ToSelf
		return r, nil
	}
	d, err := loadDelegation(s, address, asker)
	if err != nil {
		return RewardReport{}, err
	}
	if rec.Plain.Points > 0 {
		r.Yours += mulDiv(rec.ToPlain, min(d.Plain, rec.Plain.Points), rec.Plain.Points)
	}
	if rec.Compound.Points > 0 {
		r.Yours += mulDiv(rec.ToCompound, min(d.Compound, rec.Compound.Points), rec.Compound.Points)
	}
	return r, nil
}

// Position is what an account has with a validator.
type Position struct {
	Plain, Compound uint64 // tokens, at today's price of the pools
	Rewards         uint64 // that Claim would pay
}

// Holding returns what an account has with a validator: its delegations, or
// the validator's own stake (as Plain) and rewards if it asks itself.
func Holding(s State, address, account [32]byte) (Position, error) {
	v, err := loadValidator(s, address)
	if err != nil || v == nil {
		return Position{}, err
	}
	if account == address {
		return Position{Plain: v.Self, Rewards: v.Earned}, nil
	}
	d, err := loadDelegation(s, address, account)
	if err != nil {
		return Position{}, err
	}
	v.settle(d)
	return Position{v.Plain.value(d.Plain), v.Compound.value(d.Compound), d.Owed}, nil
}
