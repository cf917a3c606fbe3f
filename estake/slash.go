package estake

import (
	"fmt"

	"github.com/shardkit/shardkit"
)

// The kinds of records of offences. All of an epoch's go when they are
// settled, EvidenceEpochs after it; evidence is refused from then on.
const (
	keyOffence   = 'o' // epoch, validator → offence
	keyOffender  = 'f' // epoch, position → validator
	keyOffenders = 'h' // epoch → number of offenders and the sum of their stakes
	keySnapshot  = 'b' // epoch → tokens bonded at its end
)

// offence is a validator's double signing in one epoch.
type offence struct {
	Base  uint64 // stake that could be slashed when the evidence came in
	Taken uint64
}

func (o *offence) words() words { return words{&o.Base, &o.Taken} }

// offenders are all offences of one epoch.
type offenders struct {
	Count uint64
	Base  uint64 // sum
	Taken uint64 // sum of the least slashes
}

func (o *offenders) words() words { return words{&o.Count, &o.Base, &o.Taken} }

func keyEpochOf(kind byte, e shardkit.Epoch, id [32]byte) []byte {
	return append(keyAt(kind, uint64(e)), id[:]...)
}

func keyEpochAt(kind byte, e shardkit.Epoch, n uint64) []byte {
	return append(keyAt(kind, uint64(e)), keyAt(0, n)[len(prefix)+1:]...)
}

// apply punishes an offence at once with the least slash and the ban. What
// the coincidence of offences adds is taken when the evidence period of the
// offence's epoch ends, so that it does not depend on the order in which
// evidence comes in.
func (t Evidence) apply(r *run) error {
	slot, v, err := t.check(r)
	if err != nil {
		return err
	}
	if err := r.ctx.CheckEvidence(slot, &t); err != nil {
		return refuse(ErrEvidence, "%v", err)
	}
	h, err := gather(r.s, v, r.p.reach(t.Epoch), r.g.Latest)
	if err != nil {
		return err
	}
	base := v.tokens() + h.locked
	least, _ := mulDivUp(base, uint64(r.p.SlashMinPPM), PPM)
	taken, err := r.g.slash(r.s, v, h, least)
	if err != nil {
		return err
	}
	if err := recordOffence(r.s, t.Epoch, v.Address, offence{base, taken}); err != nil {
		return err
	}
	v.Status = StatusBanned
	if err := r.g.keep(r.s, v); err != nil {
		return err
	}
	reward := mulDiv(taken, uint64(r.p.ReporterPPM), PPM)
	r.g.Burned += taken - reward
	return r.ctx.Bank.Credit(r.ctx.Sender, reward)
}

// check refuses what needs no look at the proof.
func (t Evidence) check(r *run) (*Slot, *validator, error) {
	if t.Epoch > r.now || uint64(r.now-t.Epoch) > r.p.EvidenceEpochs {
		return nil, nil, refuse(ErrExpired, "epoch %d, now %d", t.Epoch, r.now)
	}
	slot, ok, err := loadSlot(r.s, t.Slot)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		return nil, nil, refuse(ErrUnknown, "no slot %v", t.Slot)
	}
	v, err := loadValidator(r.s, slot.Validator)
	if err != nil || v == nil {
		return nil, nil, damaged(err, keyValidator, slot.Validator)
	}
	ok, err = load(r.s, keyEpochOf(keyOffence, t.Epoch, v.Address), new(offence).words())
	if err == nil && ok {
		err = refuse(ErrKnown, "validator %x for epoch %d", v.Address[:8], t.Epoch)
	}
	if err == nil && r.ctx.CheckEvidence == nil {
		err = refuse(ErrEvidence, "none is taken in")
	}
	return &slot, v, err
}

func recordOffence(s State, e shardkit.Epoch, v [32]byte, o offence) error {
	var all offenders
	k := keyAt(keyOffenders, uint64(e))
	if _, err := load(s, k, all.words()); err != nil {
		return err
	}
	if err := s.Set(keyEpochAt(keyOffender, e, all.Count), v[:]); err != nil {
		return err
	}
	all.Count++
	// Stakes that two validators share by redelegation count for both; the sum
	// must not run over.
	all.Base += min(o.Base, MaxTokens-min(all.Base, MaxTokens))
	all.Taken += o.Taken
	if err := save(s, keyEpochOf(keyOffence, e, v), o.words()); err != nil {
		return err
	}
	return save(s, k, all.words())
}

// reach is the first epoch whose undelegations an offence can slash. The
// votes of an epoch were bought DutyEpochs earlier.
func (p Params) reach(offence shardkit.Epoch) shardkit.Epoch {
	return offence - min(offence, shardkit.Epoch(p.DutyEpochs))
}

// holdings is what an offence can reach beside what is bonded: undelegations
// and redelegations of the epochs from first on.
type holdings struct {
	first   shardkit.Epoch
	batches []*batch // of epoch first+i; nil if there is none
	liens   []liens
	worth   []uint64 // of all liens, in order
	locked  uint64   // sum of everything
	shared  uint64   // the delegators' part of it
}

// gather loads the records up to the last epoch in which there can be any.
// Their number is bounded by the lock.
func gather(s State, v *validator, from, last shardkit.Epoch) (*holdings, error) {
	h := &holdings{first: from}
	for e := from; e <= last; e++ {
		b, ok, err := loadBatch(s, v.Address, e)
		if err != nil {
			return nil, err
		}
		if !ok {
			b = nil
		} else {
			h.locked += b.Self
			h.shared += b.Pool.Tokens
		}
		h.batches = append(h.batches, b)
		list, _, err := loadLiens(s, v.Address, e)
		if err != nil {
			return nil, err
		}
		h.liens = append(h.liens, list)
		for _, l := range list {
			w, err := loadValidator(s, l.To)
			if err != nil || w == nil {
				return nil, damaged(err, keyValidator, l.To)
			}
			h.worth = append(h.worth, w.Compound.value(l.Held))
			h.shared += w.Compound.value(l.Held)
		}
	}
	h.locked += h.shared
	return h, nil
}

// slash takes amount from a validator's holdings, or all there is: first its
// own stake, bonded and then locked, then its delegators', all in proportion.
// It returns what it took, which has then left the sums of g, and stores all
// records but v itself.
func (g *globals) slash(s State, v *validator, h *holdings, amount uint64) (uint64, error) {
	left := amount
	// take lowers a record and the sum it is part of together.
	take := func(tokens *uint64, sum *uint64) {
		x := min(*tokens, left)
		*tokens -= x
		*sum -= x
		left -= x
	}
	// Who runs the validator answers first.
	take(&v.Self, &g.Bonded)
	for _, b := range h.batches {
		if b != nil {
			take(&b.Self, &g.Unbonding)
		}
	}
	shared, err := g.slashShared(s, v, h, left)
	if err != nil {
		return 0, err
	}
	left -= shared
	for i, b := range h.batches {
		if b != nil {
			if err := b.save(s, v, h.first+shardkit.Epoch(i), true); err != nil {
				return 0, err
			}
		}
	}
	return amount - left, nil
}

// slashShared takes amount from the delegators, or all they have.
func (g *globals) slashShared(s State, v *validator, h *holdings, amount uint64) (taken uint64, err error) {
	total := v.Plain.Tokens + v.Compound.Tokens + h.shared
	amount = min(amount, total)
	if amount == 0 {
		return 0, nil
	}
	split := splitter{amount: amount, total: total}
	take := func(tokens, sum *uint64) {
		x := split.next(*tokens)
		*tokens -= x
		*sum -= x
		taken += x
	}
	take(&v.Plain.Tokens, &g.Bonded)
	take(&v.Compound.Tokens, &g.Bonded)
	for _, b := range h.batches {
		if b != nil {
			take(&b.Pool.Tokens, &g.Unbonding)
		}
	}
	x, err := g.slashLiens(s, v, h, &split)
	return taken + x, err
}

// slashLiens takes each lien's part by selling points of the target's pool,
// whose other owners are not affected. As points are whole, it may take a
// little less.
func (g *globals) slashLiens(s State, v *validator, h *holdings, split *splitter) (taken uint64, err error) {
	worth := h.worth
	for i, list := range h.liens {
		for j := range list {
			l := &list[j]
			w, err := loadValidator(s, l.To)
			if err != nil || w == nil {
				return 0, damaged(err, keyValidator, l.To)
			}
			// The worths are those from before any of them was slashed, which
			// is what the splitter's total was made of.
			want := split.next(worth[0])
			worth = worth[1:]
			points, _ := w.Compound.quote(want)
			points = min(points, l.Held)
			x := w.Compound.sell(points)
			l.Held -= points
			g.Bonded -= x
			taken += x
			if err := w.save(s); err != nil {
				return 0, err
			}
		}
		if len(list) > 0 {
			if err := list.save(s, v, h.first+shardkit.Epoch(i), true); err != nil {
				return 0, err
			}
		}
	}
	return taken, nil
}

// SlashRate returns the part, in PPM, of its stake that an offender loses if
// the offenders of the same epoch hold base of total tokens together.
func (p Params) SlashRate(base, total uint64) uint32 {
	part := mulDiv(PPM, min(base, total), max(total, 1))
	return uint32(min(max(part*uint64(p.SlashSlopePPM)/PPM, uint64(p.SlashMinPPM)), PPM))
}

// settleSlashes closes the books of offences: when an epoch ends, those of
// the epoch EvidenceEpochs before are all known.
func (g *globals) settleSlashes(s State, p Params, ending shardkit.Epoch) error {
	// The total as it was before the offences of the epoch were punished.
	var today offenders
	if _, err := load(s, keyAt(keyOffenders, uint64(ending)), today.words()); err != nil {
		return err
	}
	bonded := g.Bonded + today.Taken
	if err := save(s, keyAt(keySnapshot, uint64(ending)), words{&bonded}); err != nil {
		return err
	}
	if uint64(ending) < p.EvidenceEpochs {
		return nil
	}
	e := ending - shardkit.Epoch(p.EvidenceEpochs)
	var total uint64
	if _, err := load(s, keyAt(keySnapshot, uint64(e)), words{&total}); err != nil {
		return err
	}
	if err := s.Delete(keyAt(keySnapshot, uint64(e))); err != nil {
		return err
	}
	var all offenders
	ok, err := load(s, keyAt(keyOffenders, uint64(e)), all.words())
	if err != nil || !ok {
		return err
	}
	rate := p.SlashRate(all.Base, max(all.Base, total))
	for i := range all.Count {
		if err := g.settleOffence(s, p, e, i, rate); err != nil {
			return err
		}
	}
	return s.Delete(keyAt(keyOffenders, uint64(e)))
}

func (g *globals) settleOffence(s State, p Params, e shardkit.Epoch, position uint64, rate uint32) error {
	k := keyEpochAt(keyOffender, e, position)
	b, ok, err := s.Get(k)
	if err != nil {
		return err
	}
	if !ok || len(b) != 32 {
		return fmt.Errorf("estake: damaged record %q", k)
	}
	v, err := loadValidator(s, [32]byte(b))
	if err != nil || v == nil {
		return damaged(err, keyValidator, [32]byte(b))
	}
	var o offence
	if _, err := load(s, keyEpochOf(keyOffence, e, v.Address), o.words()); err != nil {
		return err
	}
	// Rounded up: at least the rate is lost.
	due, _ := mulDivUp(o.Base, uint64(rate), PPM)
	h, err := gather(s, v, p.reach(e), g.Latest)
	if err != nil {
		return err
	}
	taken, err := g.slash(s, v, h, due-min(due, o.Taken))
	if err != nil {
		return err
	}
	g.Burned += taken
	if err := s.Delete(keyEpochOf(keyOffence, e, v.Address)); err != nil {
		return err
	}
	if err := s.Delete(k); err != nil {
		return err
	}
	return g.keep(s, v)
}
