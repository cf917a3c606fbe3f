package estake

import (
	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// A pool is stake that many delegators own together, in points. Tokens per
// point is the pool's price: rewards of a compounding pool raise it, a slash
// lowers it, and neither touches a delegator's record.
//
// Every rounding is in favour of those who stay: nobody gains by splitting or
// repeating an operation.
type pool struct {
	Tokens uint64
	Points uint64 // 0 only if Tokens is 0
}

// quote returns the most points that amount buys and what they cost, which is
// at most amount. Points are 0 if it does not suffice for one, or if the pool
// was slashed to nothing and has no price.
func (p *pool) quote(amount uint64) (points, cost uint64) {
	if p.Points == 0 {
		return amount, amount // the first point costs one token
	}
	if p.Tokens == 0 {
		return 0, 0
	}
	points, ok := mulDivOK(amount, p.Points, p.Tokens)
	if !ok || points > MaxTokens-min(p.Points, MaxTokens) {
		return 0, 0
	}
	// Rounded up against the buyer, or a purchase would lower the price of
	// those who are in. It cannot exceed amount: points were rounded down.
	cost, _ = mulDivUp(points, p.Tokens, p.Points)
	return points, cost
}

// value returns what points are worth, rounded down.
func (p *pool) value(points uint64) uint64 {
	if p.Points == 0 {
		return 0
	}
	return mulDiv(points, p.Tokens, p.Points)
}

// need returns the points, of owned ones, that are worth at least amount; all
// of them if they are worth less.
func (p *pool) need(amount, owned uint64) uint64 {
	if p.Tokens == 0 || amount >= p.value(owned) {
		return owned
	}
	n, ok := mulDivUp(amount, p.Points, p.Tokens)
	if !ok {
		return owned
	}
	return min(n, owned)
}

// sell removes points and returns their worth. The last point takes what is
// left to the last token, as its worth is then exact.
func (p *pool) sell(points uint64) uint64 {
	out := p.value(points)
	p.Points -= points
	p.Tokens -= out
	return out
}

func (p *pool) buy(points, cost uint64) {
	p.Points += points
	p.Tokens += cost
}

// put adds a whole amount and returns the points it gives; false if it gives
// none. Unlike buy it leaves no change, for places where there is nobody to
// give it back to; the change is less than the price of a point.
func (p *pool) put(amount uint64) (points uint64, ok bool) {
	points, _ = p.quote(amount)
	if points == 0 {
		return 0, false
	}
	p.buy(points, amount)
	return points, true
}

// The kinds of records of delegations.
const (
	keyDelegation = 'd' // validator, delegator → delegation
	keyBatch      = 'u' // validator, epoch → batch
	keyUnbonding  = 'w' // validator, epoch, delegator → points of the batch
	keyLiens      = 'm' // validator, epoch → liens
	keyMoved      = 'n' // validator, epoch, target, delegator → points of a lien
)

func keyDelegator(validator, delegator [32]byte) []byte {
	return append(keyOf(keyDelegation, validator), delegator[:]...)
}

func keyEpoch(kind byte, validator [32]byte, e shardkit.Epoch) []byte {
	return wire.AppendU64(keyOf(kind, validator), uint64(e))
}

func keyLocked(validator [32]byte, e shardkit.Epoch, delegator [32]byte) []byte {
	return append(keyEpoch(keyUnbonding, validator, e), delegator[:]...)
}

func keyMover(validator [32]byte, e shardkit.Epoch, to, delegator [32]byte) []byte {
	return append(append(keyEpoch(keyMoved, validator, e), to[:]...), delegator[:]...)
}

// words is a record of nothing but numbers.
type words []*uint64

func (w words) append(b []byte) []byte {
	for _, p := range w {
		b = wire.AppendU64(b, *p)
	}
	return b
}

func (w words) read(r *wire.Reader) {
	for _, p := range w {
		*p = r.U64()
	}
}

// delegation is what one delegator has with one validator.
type delegation struct {
	Plain    uint64 // points
	Compound uint64 // points
	Acc      fixed  // the validator's Acc up to which rewards of Plain are in Owed
	Owed     uint64 // rewards to be claimed
}

func (d *delegation) words() words {
	return words{&d.Plain, &d.Compound, &d.Acc.hi, &d.Acc.lo, &d.Owed}
}

// settle brings a delegation's rewards up to date.
func (v *validator) settle(d *delegation) {
	x, ok := v.Acc.sub(d.Acc).times(d.Plain)
	if !ok || x > v.Owed {
		x = v.Owed // cannot be: points times their sum is what was accrued, rounded down
	}
	d.Acc = v.Acc
	d.Owed += x
	v.Owed -= x
	v.Settled += x
}

// points returns the delegation's points in one of the pools, and the pool.
func (v *validator) points(d *delegation, compound bool) (*uint64, *pool) {
	if compound {
		return &d.Compound, &v.Compound
	}
	return &d.Plain, &v.Plain
}

func loadDelegation(s State, validator, delegator [32]byte) (*delegation, error) {
	d := new(delegation)
	_, err := load(s, keyDelegator(validator, delegator), d.words())
	return d, err
}

// save stores the delegation, or removes it if nothing is left of it.
func (d *delegation) save(s State, validator, delegator [32]byte) error {
	if d.Plain == 0 && d.Compound == 0 && d.Owed == 0 {
		return s.Delete(keyDelegator(validator, delegator))
	}
	return save(s, keyDelegator(validator, delegator), d.words())
}

// batch is everything undelegated from one validator in one epoch. It is a
// pool because a slash may still hit it.
type batch struct {
	Self uint64 // the validator's own
	Pool pool
}

func (b *batch) words() words { return words{&b.Self, &b.Pool.Tokens, &b.Pool.Points} }

func loadBatch(s State, validator [32]byte, e shardkit.Epoch) (*batch, bool, error) {
	b := new(batch)
	ok, err := load(s, keyEpoch(keyBatch, validator, e), b.words())
	return b, ok, err
}

// save stores the batch, or removes it if nothing is left of it. It keeps the
// count of the validator's open records.
func (b *batch) save(s State, v *validator, e shardkit.Epoch, had bool) error {
	k := keyEpoch(keyBatch, v.Address, e)
	has := b.Self > 0 || b.Pool.Points > 0
	v.count(had, has)
	if !has {
		return s.Delete(k)
	}
	return save(s, k, b.words())
}

// count follows the number of batches and lists of liens.
func (v *validator) count(had, has bool) {
	if has && !had {
		v.Open++
	}
	if had && !has {
		v.Open--
	}
}

// A lien is what was redelegated from one validator to another in one epoch:
// points of the target's compounding pool, which the movers own in points of
// the lien while the origin's offences can still slash them.
type lien struct {
	To     [32]byte
	Held   uint64 // points of To's compounding pool
	Points uint64
}

// maxLiens bounds the targets of one validator's redelegations in one epoch,
// and so the work of a slash.
const maxLiens = 32

type liens []lien

func (l *liens) append(b []byte) []byte {
	b = wire.AppendU32(b, uint32(len(*l)))
	for _, x := range *l {
		b = append(b, x.To[:]...)
		b = wire.AppendU64(wire.AppendU64(b, x.Held), x.Points)
	}
	return b
}

func (l *liens) read(r *wire.Reader) {
	*l = make(liens, r.Count(maxLiens, 48))
	for i := range *l {
		(*l)[i] = lien{r.Array32(), r.U64(), r.U64()}
	}
}

func (l liens) find(to [32]byte) int {
	for i := range l {
		if l[i].To == to {
			return i
		}
	}
	return -1
}

func loadLiens(s State, validator [32]byte, e shardkit.Epoch) (liens, bool, error) {
	var l liens
	ok, err := load(s, keyEpoch(keyLiens, validator, e), &l)
	return l, ok, err
}

func (l liens) save(s State, v *validator, e shardkit.Epoch, had bool) error {
	k := keyEpoch(keyLiens, v.Address, e)
	v.count(had, len(l) > 0)
	if len(l) == 0 {
		return s.Delete(k)
	}
	return save(s, k, &l)
}
