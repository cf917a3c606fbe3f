package estake

import (
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Fractions are counted in parts per million.
const PPM = 1_000_000

// Bounds that no parameter changes.
const (
	MaxTokens         = 1 << 60 // all tokens that may ever be held here
	MaxSlots          = 1 << 17 // seats of an election
	MaxValidatorSlots = 1024    // slots one validator may have registered
	MaxKey            = 128     // bytes of a voting or VRF key
	MaxSeats          = 1 << 12 // members of one shard's committee
)

// Floor says what happens to elected bids far below the median.
type Floor uint8

// The floor policies. Under FloorLift a bid below (1−c)·median counts as
// (1−c)·median, which is the published rule: it spreads power, and it sells
// power below its price wherever cheap seats are left (see CostOfAttack).
// Under FloorOff a low bid counts as what it is.
const (
	FloorLift Floor = iota
	FloorOff
)

// Params holds every number of the rules. It is part of a chain's genesis:
// all nodes have the same.
type Params struct {
	Slots             int    // seats an election fills; 1 to MaxSlots
	MinSlots          int    // an election that fills fewer fails with ErrTooFew. 0: 1
	SlotsPerValidator int    // seats one validator may win. 0: no cap
	BoundPPM          uint32 // c: effective stake lies within (1±c)·median; below PPM
	Floor             Floor  // what becomes of low bids
	MinBidPPM         uint32 // bids below this part of the median win no seat. 0: none is refused
	MinBid            uint64 // bids below it win no seat. 0: any bid above zero may
	MinSelf           uint64 // own stake without which a validator is not elected. 0: none needed
	MinDelegation     uint64 // least amount of a delegation or redelegation. 0: 1
	Lambda            uint64 // voting shares per shard, for VotePrice; not 0

	// DutyEpochs lie between the election that counts a stake and the epoch in
	// which its votes are cast: 2 if the committee of epoch e is elected in
	// e−2. An offence reaches what was undelegated since then.
	DutyEpochs     uint64
	LockEpochs     uint64 // epochs between undelegation and withdrawal; more than DutyEpochs+EvidenceEpochs
	EvidenceEpochs uint64 // epochs after which an offence is no longer punished
	SlashMinPPM    uint32 // least part of the stake a double signer loses
	SlashSlopePPM  uint32 // part lost per part of the total stake slashed in the same epoch: PPM is 1:1
	ReporterPPM    uint32 // part of the least slash that goes to the reporter; the rest is burned

	MaxCommissionPPM uint32 // no validator's commission is above it; at most PPM

	GapMillis      uint64 // most time one block can add to an absence. 0: absence is not counted
	ReduceMillis   uint64 // absence at which power drops by ReducePPM
	ReducePPM      uint32
	InactiveMillis uint64 // absence at which power reaches zero and the slot has to rejoin; more than ReduceMillis

	EpochReward uint64 // new tokens per epoch at the start, for Issuance
	HalveEpochs uint64 // epochs after which the reward halves. 0: never
}

// DefaultParams returns the published numbers where there are any: c = 0.15,
// λ = 600, locks of 7 epochs, at least 2 % slashed with a slope at which a
// third slashed together loses everything, −25 % of power after 3 hours of
// absence and none at 12. The others are modest choices. Slots has no
// default.
func DefaultParams(slots int) Params {
	const hour = 3600 * 1000
	return Params{
		Slots:          slots,
		BoundPPM:       150_000,
		Lambda:         600,
		DutyEpochs:     2,
		LockEpochs:     7,
		EvidenceEpochs: 4,
		SlashMinPPM:    20_000, SlashSlopePPM: 3 * PPM, ReporterPPM: 50_000,
		MaxCommissionPPM: PPM,
		GapMillis:        30_000,
		ReduceMillis:     3 * hour, ReducePPM: 250_000, InactiveMillis: 12 * hour,
	}
}

// Validate reports the first number that makes no sense.
func (p Params) Validate() error {
	switch {
	case p.Slots < 1 || p.Slots > MaxSlots:
		return fmt.Errorf("estake: %d slots, want 1 to %d", p.Slots, MaxSlots)
	case p.MinSlots < 0 || p.MinSlots > p.Slots:
		return fmt.Errorf("estake: minimum of %d slots out of %d", p.MinSlots, p.Slots)
	case p.SlotsPerValidator < 0 || p.SlotsPerValidator > MaxSlots:
		return fmt.Errorf("estake: cap of %d slots per validator", p.SlotsPerValidator)
	case p.BoundPPM >= PPM || p.MinBidPPM > PPM:
		return fmt.Errorf("estake: bound %d or least bid %d of a million", p.BoundPPM, p.MinBidPPM)
	case p.Floor > FloorOff:
		return fmt.Errorf("estake: floor policy %d", p.Floor)
	case p.Lambda < 1 || p.Lambda > MaxTokens:
		return fmt.Errorf("estake: lambda %d", p.Lambda)
	case p.LockEpochs > MaxLock || p.EvidenceEpochs >= p.LockEpochs || p.DutyEpochs >= p.LockEpochs-p.EvidenceEpochs:
		return fmt.Errorf("estake: lock of %d epochs, want more than %d of duty plus %d for evidence, and at most %d",
			p.LockEpochs, p.DutyEpochs, p.EvidenceEpochs, MaxLock)
	case p.SlashMinPPM > PPM || p.SlashSlopePPM > 1000*PPM || p.ReporterPPM > PPM || p.MaxCommissionPPM > PPM:
		return fmt.Errorf("estake: slash of at least %d, slope %d, reporter's part %d, commission up to %d of a million",
			p.SlashMinPPM, p.SlashSlopePPM, p.ReporterPPM, p.MaxCommissionPPM)
	case p.ReducePPM > PPM || p.GapMillis > 0 && p.InactiveMillis <= p.ReduceMillis:
		return fmt.Errorf("estake: power reduced by %d of a million at %d ms, gone at %d ms", p.ReducePPM, p.ReduceMillis, p.InactiveMillis)
	case p.GapMillis > 1<<31 || p.InactiveMillis > 1<<50:
		return fmt.Errorf("estake: gap of %d ms, inactive at %d ms", p.GapMillis, p.InactiveMillis)
	case p.EpochReward > MaxTokens:
		return fmt.Errorf("estake: reward of %d per epoch", p.EpochReward)
	}
	return nil
}

// MaxLock bounds LockEpochs: a slash visits every epoch within the lock.
const MaxLock = 256

const paramsVersion = 1

// AppendBinary appends the canonical encoding.
func (p Params) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, paramsVersion)
	for _, v := range []int{p.Slots, p.MinSlots, p.SlotsPerValidator} {
		if v < 0 || v > MaxSlots {
			return nil, fmt.Errorf("estake: parameters: count %d", v)
		}
		b = wire.AppendU32(b, uint32(v))
	}
	b = append(b, byte(p.Floor))
	for _, v := range p.ppms() {
		b = wire.AppendU32(b, *v)
	}
	for _, v := range p.words() {
		b = wire.AppendU64(b, *v)
	}
	return b, nil
}

// UnmarshalBinary reads what AppendBinary wrote and validates it.
func (p *Params) UnmarshalBinary(data []byte) error {
	var q Params
	r := wire.NewReader(data)
	r.Expect(paramsVersion, "version")
	for _, v := range []*int{&q.Slots, &q.MinSlots, &q.SlotsPerValidator} {
		*v = int(r.U32())
	}
	q.Floor = Floor(r.U8())
	for _, v := range q.ppms() {
		*v = r.U32()
	}
	for _, v := range q.words() {
		*v = r.U64()
	}
	if err := r.Close(); err != nil {
		return fmt.Errorf("estake: parameters: %w", err)
	}
	if err := q.Validate(); err != nil {
		return err
	}
	*p = q
	return nil
}

func (p *Params) ppms() []*uint32 {
	return []*uint32{&p.BoundPPM, &p.MinBidPPM, &p.SlashMinPPM, &p.SlashSlopePPM, &p.ReporterPPM, &p.MaxCommissionPPM, &p.ReducePPM}
}

func (p *Params) words() []*uint64 {
	return []*uint64{&p.MinBid, &p.MinSelf, &p.MinDelegation, &p.Lambda, &p.DutyEpochs, &p.LockEpochs, &p.EvidenceEpochs,
		&p.GapMillis, &p.ReduceMillis, &p.InactiveMillis, &p.EpochReward, &p.HalveEpochs}
}

// Issuance returns the new tokens of an epoch: EpochReward, halved every
// HalveEpochs epochs.
func (p Params) Issuance(epoch shardkit.Epoch) uint64 {
	if p.HalveEpochs == 0 {
		return p.EpochReward
	}
	return p.EpochReward >> min(uint64(epoch)/p.HalveEpochs, 63)
}

// Power returns the part, in PPM, of its power that a slot keeps after an
// absence: all of it below ReduceMillis, then a step down by ReducePPM, then
// a straight line to zero at InactiveMillis.
func (p Params) Power(absent uint64) uint32 {
	switch {
	case p.GapMillis == 0 || absent < p.ReduceMillis:
		return PPM
	case absent >= p.InactiveMillis:
		return 0
	}
	left := p.InactiveMillis - absent
	return uint32(mulDiv(uint64(PPM-p.ReducePPM), left, p.InactiveMillis-p.ReduceMillis))
}
