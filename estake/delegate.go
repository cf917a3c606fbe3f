package estake

import (
	"math"

	"github.com/shardkit/shardkit"
)

func (t Delegate) apply(r *run) error {
	if t.Validator == r.ctx.Sender {
		return refuse(ErrSelf, "own stake is bonded by Stake")
	}
	v, err := r.standing(t.Validator)
	if err != nil {
		return err
	}
	if err := r.bondable(t.Amount, r.p.MinDelegation); err != nil {
		return err
	}
	d, err := loadDelegation(r.s, t.Validator, r.ctx.Sender)
	if err != nil {
		return err
	}
	owned, in := v.points(d, t.Compound)
	points, cost := in.quote(t.Amount)
	if points == 0 {
		return refuse(ErrAmount, "%d buys no point at %d for %d", t.Amount, in.Tokens, in.Points)
	}
	if err := r.ctx.Bank.Debit(r.ctx.Sender, cost); err != nil {
		return err
	}
	// Settled first: the new points have no part in the rewards so far.
	v.settle(d)
	in.buy(points, cost)
	*owned += points
	r.g.Bonded += cost
	if err := d.save(r.s, t.Validator, r.ctx.Sender); err != nil {
		return err
	}
	return r.g.keep(r.s, v)
}

// Everything, as the amount of an Undelegate or a Redelegate.
const Everything = math.MaxUint64

func (t Undelegate) apply(r *run) error {
	v, err := r.validator(t.Validator)
	if err != nil {
		return err
	}
	if t.Amount == 0 {
		return refuse(ErrAmount, "0")
	}
	// Everybody who leaves a validator in the same epoch is in one batch, so
	// that a slash finds them without a scan.
	b, had, err := loadBatch(r.s, t.Validator, r.now)
	if err != nil {
		return err
	}
	if t.Validator == r.ctx.Sender {
		return t.self(r, v, b, had)
	}
	d, err := loadDelegation(r.s, t.Validator, r.ctx.Sender)
	if err != nil {
		return err
	}
	points, amount, err := leaving(v, d, t.Amount, t.Compound)
	if err != nil {
		return err
	}
	mine, ok := b.Pool.put(amount)
	if !ok {
		return refuse(ErrAmount, "what was undelegated in epoch %d has been slashed to nothing: wait an epoch", r.now)
	}
	r.leave(v, d, points, t.Compound)
	r.g.Unbonding += amount
	if err := d.save(r.s, t.Validator, r.ctx.Sender); err != nil {
		return err
	}
	if err := r.addPoints(keyLocked(t.Validator, r.now, r.ctx.Sender), mine); err != nil {
		return err
	}
	if err := b.save(r.s, v, r.now, had); err != nil {
		return err
	}
	return r.g.keep(r.s, v)
}

// self undelegates own stake.
func (t Undelegate) self(r *run, v *validator, b *batch, had bool) error {
	amount := t.Amount
	if amount == Everything {
		amount = v.Self
	}
	if amount == 0 || amount > v.Self || t.Compound {
		return refuse(ErrAmount, "%d of %d", t.Amount, v.Self)
	}
	v.Self -= amount
	b.Self += amount
	r.g.Bonded -= amount
	r.g.Unbonding += amount
	if err := b.save(r.s, v, r.now, had); err != nil {
		return err
	}
	return r.g.keep(r.s, v)
}

// leaving returns the points that leave a delegation and what they are worth,
// and changes nothing.
func leaving(v *validator, d *delegation, amount uint64, compound bool) (points, worth uint64, err error) {
	owned, from := v.points(d, compound)
	points = *owned
	if amount != Everything { // whose points may all be worth less than a token
		if amount > from.value(*owned) {
			return 0, 0, refuse(ErrAmount, "%d of %d", amount, from.value(*owned))
		}
		points = from.need(amount, *owned)
	}
	if worth = from.value(points); worth == 0 {
		return 0, 0, refuse(ErrAmount, "nothing there")
	}
	return points, worth, nil
}

// leave takes points out of a delegation. When the last plain point goes, what
// rounding has left of the rewards goes to the pot.
func (r *run) leave(v *validator, d *delegation, points uint64, compound bool) {
	v.settle(d)
	owned, from := v.points(d, compound)
	r.g.Bonded -= from.sell(points)
	*owned -= points
	if v.Plain.Points == 0 {
		r.g.Owed -= v.Owed
		r.g.Pot += v.Owed
		v.Owed, v.Acc = 0, fixed{}
	}
}

// addPoints adds to a record that is one number.
func (r *run) addPoints(k []byte, points uint64) error {
	var n uint64
	if _, err := load(r.s, k, words{&n}); err != nil {
		return err
	}
	n += points
	return save(r.s, k, words{&n})
}

func (t Redelegate) apply(r *run) error {
	if t.From == r.ctx.Sender || t.To == r.ctx.Sender || t.From == t.To || t.Amount == 0 {
		return refuse(ErrSelf, "from %x to %x", t.From[:8], t.To[:8])
	}
	v, err := r.validator(t.From)
	if err != nil {
		return err
	}
	w, err := r.standing(t.To)
	if err != nil {
		return err
	}
	d, err := loadDelegation(r.s, t.From, r.ctx.Sender)
	if err != nil {
		return err
	}
	points, amount, err := leaving(v, d, t.Amount, t.Compound)
	if err != nil {
		return err
	}
	if amount < r.p.MinDelegation { // or dust could use up the targets of an epoch
		return refuse(ErrAmount, "%d, at least %d", amount, r.p.MinDelegation)
	}
	list, had, err := loadLiens(r.s, t.From, r.now)
	if err != nil {
		return err
	}
	mine, err := w.secure(&list, amount)
	if err != nil {
		return err
	}
	// What leaves one pool enters another: bonded as before.
	r.leave(v, d, points, t.Compound)
	r.g.Bonded += amount
	if err := list.save(r.s, v, r.now, had); err != nil {
		return err
	}
	return t.store(r, v, w, d, mine)
}

// store writes what a redelegation has changed, but for the liens.
func (t Redelegate) store(r *run, v, w *validator, d *delegation, mine uint64) error {
	if err := d.save(r.s, t.From, r.ctx.Sender); err != nil {
		return err
	}
	if err := r.addPoints(keyMover(t.From, r.now, t.To, r.ctx.Sender), mine); err != nil {
		return err
	}
	if err := r.g.keep(r.s, v); err != nil {
		return err
	}
	return r.g.keep(r.s, w)
}

// secure puts an amount into w's compounding pool, held by a lien.
func (w *validator) secure(list *liens, amount uint64) (points uint64, err error) {
	i := list.find(w.Address)
	if i < 0 {
		if len(*list) == maxLiens {
			return 0, refuse(ErrAmount, "redelegated to %d validators in this epoch", maxLiens)
		}
		*list = append(*list, lien{To: w.Address})
		i = len(*list) - 1
	}
	l := &(*list)[i]
	held, ok := w.Compound.put(amount)
	if !ok {
		return 0, refuse(ErrAmount, "%d buys no point", amount)
	}
	// The lien is a pool of points of the other pool: a slash of the origin
	// lowers its price, and leaves the target's other delegators alone.
	share := pool{Tokens: l.Held, Points: l.Points}
	if points, ok = share.put(held); !ok {
		return 0, refuse(ErrAmount, "%d buys no point of the lien: wait an epoch", amount)
	}
	l.Held, l.Points = share.Tokens, share.Points
	return points, nil
}

func (t Claim) apply(r *run) error {
	if t.Validator == r.ctx.Sender {
		return t.own(r)
	}
	v, err := r.validator(t.Validator)
	if err != nil {
		return err
	}
	d, err := loadDelegation(r.s, t.Validator, r.ctx.Sender)
	if err != nil {
		return err
	}
	v.settle(d)
	amount := d.Owed // whole tokens; fractions stay with the pool
	var points uint64
	if t.Restake {
		if v.Status == StatusBanned {
			return refuse(ErrBanned, "%x", v.Address[:8])
		}
		// What does not make a whole point stays to be claimed.
		if points, amount = v.Compound.quote(amount); points == 0 {
			amount = 0
		}
	}
	if amount == 0 {
		return refuse(ErrAmount, "nothing to claim")
	}
	d.Owed -= amount
	v.Settled -= amount
	r.g.Owed -= amount
	if t.Restake {
		v.Compound.buy(points, amount)
		d.Compound += points
		r.g.Bonded += amount
	} else if err := r.ctx.Bank.Credit(r.ctx.Sender, amount); err != nil {
		return err
	}
	if err := d.save(r.s, t.Validator, r.ctx.Sender); err != nil {
		return err
	}
	return r.g.keep(r.s, v)
}

// own claims a validator's own rewards.
func (t Claim) own(r *run) error {
	v, err := r.validator(t.Validator)
	if err != nil {
		return err
	}
	amount := v.Earned
	if amount == 0 {
		return refuse(ErrAmount, "nothing to claim")
	}
	if t.Restake && v.Status == StatusBanned {
		return refuse(ErrBanned, "%x", v.Address[:8])
	}
	v.Earned = 0
	r.g.Owed -= amount
	if t.Restake {
		v.Self += amount
		r.g.Bonded += amount
	} else if err := r.ctx.Bank.Credit(r.ctx.Sender, amount); err != nil {
		return err
	}
	return r.g.keep(r.s, v)
}

func (t Withdraw) apply(r *run) error {
	// Judged by the epochs that have ended: a slash of an offence within the
	// lock has been settled by then.
	if t.Epoch > r.g.Next || r.g.Next-t.Epoch < shardkit.Epoch(r.p.LockEpochs) {
		return refuse(ErrLocked, "since epoch %d, for %d epochs; %d have ended", t.Epoch, r.p.LockEpochs, r.g.Next)
	}
	v, err := r.validator(t.Validator)
	if err != nil {
		return err
	}
	if t.Moved {
		return t.settle(r, v)
	}
	b, had, err := loadBatch(r.s, t.Validator, t.Epoch)
	if err != nil {
		return err
	}
	var amount uint64
	if t.Validator == r.ctx.Sender {
		if b.Self == 0 {
			return refuse(ErrUnknown, "nothing withdrawn in epoch %d", t.Epoch)
		}
		amount, b.Self = b.Self, 0
	} else {
		// Slashed or not, the points of a batch are worth what they are.
		points, err := r.takePoints(keyLocked(t.Validator, t.Epoch, r.ctx.Sender))
		if err != nil {
			return err
		}
		amount = b.Pool.sell(points)
	}
	r.g.Unbonding -= amount
	if err := b.save(r.s, v, t.Epoch, had); err != nil {
		return err
	}
	if err := r.g.keep(r.s, v); err != nil {
		return err
	}
	return r.ctx.Bank.Credit(r.ctx.Sender, amount)
}

// takePoints removes a record that is one number.
func (r *run) takePoints(k []byte) (uint64, error) {
	var n uint64
	ok, err := load(r.s, k, words{&n})
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, refuse(ErrUnknown, "nothing withdrawn there")
	}
	return n, r.s.Delete(k)
}

// settle turns a part of a lien into the sender's own compounding points.
func (t Withdraw) settle(r *run, v *validator) error {
	list, had, err := loadLiens(r.s, t.Validator, t.Epoch)
	if err != nil {
		return err
	}
	i := list.find(t.To)
	if i < 0 {
		return refuse(ErrUnknown, "nothing moved to %x in epoch %d", t.To[:8], t.Epoch)
	}
	w, err := r.validator(t.To)
	if err != nil {
		return err
	}
	d, err := loadDelegation(r.s, t.To, r.ctx.Sender)
	if err != nil {
		return err
	}
	points, err := r.takePoints(keyMover(t.Validator, t.Epoch, t.To, r.ctx.Sender))
	if err != nil {
		return err
	}
	share := pool{Tokens: list[i].Held, Points: list[i].Points}
	held := share.sell(points)
	d.Compound += held
	if list[i].Held, list[i].Points = share.Tokens, share.Points; share.Points == 0 {
		list = append(list[:i], list[i+1:]...)
	}
	if err := d.save(r.s, t.To, r.ctx.Sender); err != nil {
		return err
	}
	if err := list.save(r.s, v, t.Epoch, had); err != nil {
		return err
	}
	if err := r.g.keep(r.s, v); err != nil {
		return err
	}
	return r.g.keep(r.s, w)
}
