package estake

import (
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Status is where a validator stands.
type Status uint8

// The states of a validator. A banned one never comes back.
const (
	StatusActive Status = iota
	StatusBanned
)

// SlotStatus is where a slot stands.
type SlotStatus uint8

// The states of a slot.
const (
	SlotActive   SlotStatus = iota // takes part in elections
	SlotInactive                   // was absent too long: needs Rejoin
	SlotRetired                    // given up; kept while it can still be punished
)

// slotRef is what changes about a slot; its keys stand in a record of their
// own that an election reads for the winners only.
type slotRef struct {
	Index  uint32
	Status SlotStatus
	Absent uint64         // milliseconds of continuous absence
	Since  shardkit.Epoch // retired in
}

// validator is a validator's record.
type validator struct {
	Address  [32]byte // from the key
	Listed   bool     // in the index: bids in elections
	Position uint64   // there
	Status   Status
	Self     uint64 // own bonded stake
	Earned   uint64 // own rewards to be claimed
	Plain    pool   // delegations whose rewards are claimed
	Compound pool   // delegations whose rewards are bonded at once
	Acc      fixed  // rewards per point of Plain since the beginning
	Owed     uint64 // rewards of Plain that no delegation has been credited with yet
	Settled  uint64 // rewards of Plain in the delegations, to be claimed
	Open     uint64 // batches and lists of liens that exist

	Restake       bool // own rewards are bonded at once
	CommissionPPM uint32
	OldPPM        uint32         // the commission up to the end of epoch ChangedIn
	ChangedIn     shardkit.Epoch // valid if Changed
	Changed       bool
	MaxPPM        uint32
	MaxChangePPM  uint32 // per epoch
	NextIndex     uint32 // of the next new slot
	Slots         []slotRef
}

func (v *validator) tokens() uint64 { return v.Self + v.Plain.Tokens + v.Compound.Tokens }

// commission is the rate that holds in an epoch: a change counts from the
// epoch after it.
func (v *validator) commission(e shardkit.Epoch) uint32 {
	if v.Changed && e <= v.ChangedIn {
		return v.OldPPM
	}
	return v.CommissionPPM
}

// active counts the slots that bid.
func (v *validator) active() uint64 {
	n := uint64(0)
	for i := range v.Slots {
		if v.Slots[i].Status == SlotActive {
			n++
		}
	}
	return n
}

// slot finds a slot by index; indices ascend.
func (v *validator) slot(index uint32) *slotRef {
	for i := range v.Slots {
		if v.Slots[i].Index == index {
			return &v.Slots[i]
		}
	}
	return nil
}

func (v *validator) words() []*uint64 {
	return []*uint64{&v.Position, &v.Self, &v.Earned, &v.Plain.Tokens, &v.Plain.Points,
		&v.Compound.Tokens, &v.Compound.Points, &v.Acc.hi, &v.Acc.lo, &v.Owed, &v.Settled, &v.Open, (*uint64)(&v.ChangedIn)}
}

func (v *validator) halves() []*uint32 {
	return []*uint32{&v.CommissionPPM, &v.OldPPM, &v.MaxPPM, &v.MaxChangePPM, &v.NextIndex}
}

func (v *validator) append(b []byte) []byte {
	b = append(b, byte(v.Status))
	b = wire.AppendBool(b, v.Listed)
	b = wire.AppendBool(b, v.Restake)
	b = wire.AppendBool(b, v.Changed)
	for _, p := range v.words() {
		b = wire.AppendU64(b, *p)
	}
	for _, p := range v.halves() {
		b = wire.AppendU32(b, *p)
	}
	b = wire.AppendU32(b, uint32(len(v.Slots)))
	for _, s := range v.Slots {
		b = wire.AppendU32(b, s.Index)
		b = append(b, byte(s.Status))
		b = wire.AppendU64(b, s.Absent)
		b = wire.AppendU64(b, uint64(s.Since))
	}
	return b
}

func (v *validator) read(r *wire.Reader) {
	if v.Status = Status(r.U8()); v.Status > StatusBanned {
		r.Fail(fmt.Errorf("%w: status", wire.ErrValue))
	}
	v.Listed = r.Bool()
	v.Restake = r.Bool()
	v.Changed = r.Bool()
	for _, p := range v.words() {
		*p = r.U64()
	}
	for _, p := range v.halves() {
		*p = r.U32()
	}
	v.Slots = make([]slotRef, r.Count(MaxValidatorSlots, 21))
	for i := range v.Slots {
		s := &v.Slots[i]
		s.Index, s.Status = r.U32(), SlotStatus(r.U8())
		s.Absent, s.Since = r.U64(), shardkit.Epoch(r.U64())
		if s.Status > SlotRetired || i > 0 && s.Index <= v.Slots[i-1].Index {
			r.Fail(fmt.Errorf("%w: slots", wire.ErrValue))
		}
	}
}

// loadValidator returns nil if there is none.
func loadValidator(s State, address [32]byte) (*validator, error) {
	v := &validator{Address: address}
	ok, err := load(s, keyOf(keyValidator, address), v)
	if err != nil || !ok {
		return nil, err
	}
	return v, nil
}

func (v *validator) save(s State) error { return save(s, keyOf(keyValidator, v.Address), v) }

// empty says that nothing depends on the record any more. A ban stays.
func (v *validator) empty() bool {
	return v.Status == StatusActive && len(v.Slots) == 0 &&
		v.Self|v.Earned|v.Plain.Points|v.Compound.Points|v.Owed|v.Settled|v.Open == 0
}

// list puts a validator with something to bid for into the index and takes any
// other out; the last one of the index moves into the gap.
func (g *globals) list(s State, v *validator) error {
	want := v.Status == StatusActive && v.active() > 0
	switch {
	case want && !v.Listed:
		v.Listed, v.Position = true, g.Validators
		g.Validators++
		return s.Set(keyAt(keyIndex, v.Position), v.Address[:])
	case !want && v.Listed:
		v.Listed = false
		g.Validators--
		if v.Position != g.Validators {
			last, err := at(s, g.Validators)
			if err != nil {
				return err
			}
			// The order of the index means nothing: elections rank.
			last.Position = v.Position
			if err := s.Set(keyAt(keyIndex, last.Position), last.Address[:]); err != nil {
				return err
			}
			if err := last.save(s); err != nil {
				return err
			}
		}
		v.Position = 0
		return s.Delete(keyAt(keyIndex, g.Validators))
	}
	return nil
}

// at returns the validator at a position of the index.
func at(s State, position uint64) (*validator, error) {
	k := keyAt(keyIndex, position)
	b, ok, err := s.Get(k)
	if err != nil {
		return nil, err
	}
	if !ok || len(b) != 32 {
		return nil, fmt.Errorf("estake: damaged record %q", k)
	}
	v, err := loadValidator(s, [32]byte(b))
	if v == nil && err == nil {
		err = fmt.Errorf("estake: no validator at position %d", position)
	}
	return v, err
}

// slotKeysFree refuses keys of a wrong size, and a voting key in use.
func slotKeysFree(s State, votingKey, vrfKey []byte) error {
	if len(votingKey) == 0 || len(votingKey) > MaxKey || len(vrfKey) > MaxKey {
		return refuse(ErrSlot, "voting key of %d bytes, VRF key of %d", len(votingKey), len(vrfKey))
	}
	_, ok, err := s.Get(votingIndex(votingKey))
	if err == nil && ok {
		err = refuse(ErrSlot, "voting key %x… in use", votingKey[:min(8, len(votingKey))])
	}
	return err
}

// addSlot registers keys as the validator's next slot.
func (v *validator) addSlot(s State, votingKey, vrfKey []byte, node shardkit.NodeID) error {
	slot := Slot{SlotID(v.Address, v.NextIndex), v.Address, v.NextIndex, votingKey, vrfKey, node}
	// One key in two slots could sign for one and be punished for the other.
	if err := s.Set(votingIndex(votingKey), slot.ID[:]); err != nil {
		return err
	}
	v.Slots = append(v.Slots, slotRef{Index: v.NextIndex})
	v.NextIndex++
	return save(s, keyOf(keySlot, slot.ID), &slot)
}

// expired says that a slot was given up so long ago that it cannot be
// punished any more.
func (r *slotRef) expired(ended shardkit.Epoch, p Params) bool {
	return r.Status == SlotRetired && ended > r.Since && uint64(ended-r.Since) >= p.LockEpochs
}

// purge forgets the validator's expired slots and their keys.
func (v *validator) purge(s State, ended shardkit.Epoch, p Params) error {
	kept := v.Slots[:0]
	for _, ref := range v.Slots {
		if !ref.expired(ended, p) {
			kept = append(kept, ref)
			continue
		}
		slot, ok, err := loadSlot(s, SlotID(v.Address, ref.Index))
		if err != nil || !ok {
			return damaged(err, keySlot, SlotID(v.Address, ref.Index))
		}
		if err := s.Delete(votingIndex(slot.VotingKey)); err != nil {
			return err
		}
		if err := s.Delete(keyOf(keySlot, slot.ID)); err != nil {
			return err
		}
	}
	v.Slots = kept
	return nil
}
