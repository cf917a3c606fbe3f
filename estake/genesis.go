package estake

import (
	"bytes"
	"fmt"
	"slices"
)

// Genesis is a validator that exists from the start.
type Genesis struct {
	Validator        [32]byte
	Stake            uint64
	Slots            []Slot // keys and node; indices count from 0 in the order given
	CommissionPPM    uint32
	MaxCommissionPPM uint32 // 0: CommissionPPM
	MaxChangePPM     uint32 // of the commission, per epoch
	Restake          bool   // rewards are bonded at once
}

// Init fills an empty state. The order of the validators does not matter.
// Their stakes come into being here.
func Init(s State, p Params, validators []Genesis) error {
	if err := p.Validate(); err != nil {
		return err
	}
	if _, ok, err := s.Get(key(keyGlobals)); err != nil {
		return err
	} else if ok {
		return refuse(ErrExists, "the state is in use")
	}
	list := slices.Clone(validators)
	slices.SortFunc(list, func(a, b Genesis) int { return bytes.Compare(a.Validator[:], b.Validator[:]) })
	g := new(globals)
	for i := range list {
		if i > 0 && list[i].Validator == list[i-1].Validator {
			return refuse(ErrExists, "validator %x twice", list[i].Validator[:8])
		}
		if err := g.found(s, p, &list[i]); err != nil {
			return fmt.Errorf("estake: genesis validator %x: %w", list[i].Validator[:8], err)
		}
	}
	return save(s, key(keyGlobals), g)
}

// found adds one validator of the genesis.
func (g *globals) found(s State, p Params, in *Genesis) error {
	v := &validator{
		Address: in.Validator, Self: in.Stake, Restake: in.Restake,
		CommissionPPM: in.CommissionPPM, MaxPPM: in.MaxCommissionPPM, MaxChangePPM: in.MaxChangePPM,
	}
	if v.MaxPPM == 0 {
		v.MaxPPM = v.CommissionPPM
	}
	if v.CommissionPPM > v.MaxPPM || v.MaxPPM > p.MaxCommissionPPM {
		return refuse(ErrRate, "%d of at most %d of a million", v.CommissionPPM, v.MaxPPM)
	}
	if in.Stake == 0 || in.Stake > MaxTokens-g.held() {
		return refuse(ErrAmount, "stake of %d", in.Stake)
	}
	if len(in.Slots) > MaxValidatorSlots {
		return refuse(ErrSlot, "%d slots", len(in.Slots))
	}
	for _, slot := range in.Slots {
		if err := slotKeysFree(s, slot.VotingKey, slot.VRFKey); err != nil {
			return err
		}
		if err := v.addSlot(s, slot.VotingKey, slot.VRFKey, slot.Node); err != nil {
			return err
		}
	}
	g.Bonded += in.Stake
	return g.keep(s, v)
}
