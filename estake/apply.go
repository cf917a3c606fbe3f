package estake

import (
	"github.com/shardkit/shardkit"
)

// Bank is where tokens are while they are not here: the ledger's accounts.
type Bank interface {
	// Debit takes amount from an account; an error refuses the transaction.
	Debit(account [32]byte, amount uint64) error
	// Credit gives amount to an account; it fails only if the state does.
	Credit(account [32]byte, amount uint64) error
}

// Context is what a transaction is applied in.
type Context struct {
	Epoch  shardkit.Epoch // of the block
	Sender [32]byte       // the account that signed the transaction
	Bank   Bank

	// CheckSlot says whether the proof shows that validator holds the slot's
	// keys and node. It may look up the result of a job. nil: no slots are
	// taken in.
	CheckSlot func(validator [32]byte, slot *SlotKeys) error
	// CheckEvidence says whether the proof shows that the voting key of slot
	// double-signed in the epoch claimed. nil: no evidence is taken in.
	CheckEvidence func(slot *Slot, e *Evidence) error
}

// run is one transaction being applied.
type run struct {
	s   State
	p   Params
	ctx Context
	g   *globals
	now shardkit.Epoch // never behind the chain, even if it ends epochs late
}

// maxLead is how many epochs may have begun that have not ended here: while
// an epoch's last blocks are being linked, the next has begun.
const maxLead = 8

// Apply applies a transaction. A *Refusal, and an error of Bank.Debit or of a
// check, leaves the state as it was; after any other error the state is to be
// thrown away.
func Apply(s State, p Params, ctx Context, tx Tx) error {
	g, err := loadGlobals(s)
	if err != nil {
		return err
	}
	if ctx.Epoch > g.Next+maxLead {
		return refuse(ErrEpoch, "%d epochs have ended, and this is epoch %d", g.Next, ctx.Epoch)
	}
	r := &run{s, p, ctx, g, max(ctx.Epoch, g.Next)}
	g.Latest = max(g.Latest, r.now)
	if err := tx.apply(r); err != nil {
		return err
	}
	return save(s, key(keyGlobals), g)
}

// bondable refuses amounts that are too small, or more than may be held.
func (r *run) bondable(amount, least uint64) error {
	if amount < max(least, 1) || amount > MaxTokens-r.g.held() {
		return refuse(ErrAmount, "%d", amount)
	}
	return nil
}

// validator loads one that has to exist.
func (r *run) validator(address [32]byte) (*validator, error) {
	v, err := loadValidator(r.s, address)
	if err == nil && v == nil {
		err = refuse(ErrUnknown, "no validator %x", address[:8])
	}
	return v, err
}

// standing loads one that has to exist and not to be banned.
func (r *run) standing(address [32]byte) (*validator, error) {
	v, err := r.validator(address)
	if err == nil && v.Status == StatusBanned {
		err = refuse(ErrBanned, "%x", address[:8])
	}
	return v, err
}

// keep stores a validator, in or out of the index as it should be, or removes
// one of which nothing is left. Banned ones stay.
func (g *globals) keep(s State, v *validator) error {
	if err := g.list(s, v); err != nil {
		return err
	}
	if v.empty() {
		if err := s.Delete(keyOf(keyReward, v.Address)); err != nil {
			return err
		}
		return s.Delete(keyOf(keyValidator, v.Address))
	}
	return v.save(s)
}

func (t Stake) apply(r *run) error {
	v, err := loadValidator(r.s, r.ctx.Sender)
	if err != nil {
		return err
	}
	if err := r.bondable(t.Amount, 1); err != nil {
		return err
	}
	if v == nil {
		v, err = r.register(t)
	} else {
		err = t.more(v)
	}
	if err != nil {
		return err
	}
	if err := r.checkSlots(v, len(v.Slots), t.Slots); err != nil {
		return err
	}
	// The debit is the last thing that can refuse; only then is written.
	if err := r.ctx.Bank.Debit(r.ctx.Sender, t.Amount); err != nil {
		return err
	}
	if err := r.addSlots(v, t.Slots); err != nil {
		return err
	}
	v.Self += t.Amount
	r.g.Bonded += t.Amount
	return r.g.keep(r.s, v)
}

// register makes a new validator's record.
func (r *run) register(t Stake) (*validator, error) {
	if t.CommissionPPM > t.MaxCommissionPPM || t.MaxCommissionPPM > r.p.MaxCommissionPPM {
		return nil, refuse(ErrRate, "%d of at most %d of a million", t.CommissionPPM, t.MaxCommissionPPM)
	}
	if t.Amount < r.p.MinSelf {
		return nil, refuse(ErrAmount, "%d to begin with, at least %d", t.Amount, r.p.MinSelf)
	}
	// Slots and stake are added by the caller, once all checks have passed.
	return &validator{
		Address: r.ctx.Sender, Restake: t.Restake,
		CommissionPPM: t.CommissionPPM, MaxPPM: t.MaxCommissionPPM, MaxChangePPM: t.MaxChangePPM,
	}, nil
}

// more checks a Stake of one that is a validator already.
func (t Stake) more(v *validator) error {
	if v.Status == StatusBanned {
		return refuse(ErrBanned, "%x", v.Address[:8])
	}
	if t.CommissionPPM|t.MaxCommissionPPM|t.MaxChangePPM != 0 || t.Restake || len(t.Slots) > 0 {
		return refuse(ErrExists, "terms and slots of a validator are changed by Edit")
	}
	return nil
}

// checkSlots refuses slots that addSlots could not take in.
func (r *run) checkSlots(v *validator, have int, list []SlotKeys) error {
	if len(list) > MaxTxSlots || have+len(list) > MaxValidatorSlots || uint64(v.NextIndex)+uint64(len(list)) > 1<<32-1 {
		return refuse(ErrSlot, "%d slots beside %d", len(list), have)
	}
	for i := range list {
		k := &list[i]
		// The state does not know the other keys of this transaction yet.
		for j := range i {
			if string(list[j].VotingKey) == string(k.VotingKey) {
				return refuse(ErrSlot, "one voting key twice")
			}
		}
		if err := slotKeysFree(r.s, k.VotingKey, k.VRFKey); err != nil {
			return err
		}
		if r.ctx.CheckSlot == nil {
			return refuse(ErrSlot, "no slots are taken in")
		}
		if err := r.ctx.CheckSlot(v.Address, k); err != nil {
			return refuse(ErrSlot, "%v", err)
		}
	}
	return nil
}

func (r *run) addSlots(v *validator, list []SlotKeys) error {
	for i := range list {
		if err := v.addSlot(r.s, list[i].VotingKey, list[i].VRFKey, list[i].Node); err != nil {
			return err
		}
	}
	return nil
}

func (t Edit) apply(r *run) error {
	v, err := r.standing(r.ctx.Sender)
	if err != nil {
		return err
	}
	if err := t.check(r, v); err != nil {
		return err
	}
	// Now, and not when they expire, so that nobody has to scan for them.
	if err := v.purge(r.s, r.g.Next, r.p); err != nil {
		return err
	}
	if t.SetCommission {
		// Delegators can leave before the new rate counts.
		v.OldPPM, v.Changed, v.ChangedIn = v.CommissionPPM, true, r.now
		v.CommissionPPM = t.CommissionPPM
	}
	if t.SetRestake {
		v.Restake = t.Restake
	}
	for _, i := range t.Retire {
		ref := v.slot(i)
		ref.Status, ref.Since = SlotRetired, r.now
	}
	if err := r.addSlots(v, t.Add); err != nil {
		return err
	}
	return r.g.keep(r.s, v)
}

func (t Edit) check(r *run, v *validator) error {
	if t.SetCommission {
		change := max(t.CommissionPPM, v.CommissionPPM) - min(t.CommissionPPM, v.CommissionPPM)
		if t.CommissionPPM > v.MaxPPM || change > v.MaxChangePPM || v.Changed && v.ChangedIn >= r.now {
			return refuse(ErrRate, "from %d to %d of a million: at most %d, by %d, once an epoch",
				v.CommissionPPM, t.CommissionPPM, v.MaxPPM, v.MaxChangePPM)
		}
	}
	for i, index := range t.Retire {
		ref := v.slot(index)
		if ref == nil || ref.Status == SlotRetired || i > 0 && index <= t.Retire[i-1] {
			return refuse(ErrSlot, "no slot %d to retire", index)
		}
	}
	have := 0 // what purge will leave
	for i := range v.Slots {
		if !v.Slots[i].expired(r.g.Next, r.p) {
			have++
		}
	}
	return r.checkSlots(v, have, t.Add)
}

func (t Rejoin) apply(r *run) error {
	v, err := r.standing(r.ctx.Sender)
	if err != nil {
		return err
	}
	for _, index := range t.Slots {
		if ref := v.slot(index); ref == nil || ref.Status != SlotInactive {
			return refuse(ErrSlot, "slot %d is not inactive", index)
		}
	}
	if len(t.Slots) == 0 {
		return refuse(ErrSlot, "none named")
	}
	for _, index := range t.Slots {
		ref := v.slot(index)
		ref.Status, ref.Absent = SlotActive, 0
	}
	return r.g.keep(r.s, v)
}
