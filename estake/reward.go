package estake

import (
	"bytes"
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/shardkit/shardkit"
)

// EndEpoch closes an epoch: it pays minted plus fees, and what the pot held,
// to those who signed, and takes their absences over. It returns what was
// paid to validators and their delegators; the rest of minted+fees waits in
// the pot for the next epoch. Epochs end one after the other, from 0.
//
// A seat's part is in proportion to its weight times the part of its shard's
// blocks that it signed. Of a validator's part, the commission and the part
// of its own stake are the validator's; the rest goes to the delegators'
// pools by their tokens, and within a pool by points, without touching any
// delegator's record. What rounding leaves over is the validator's, so that
// the parts add up to the whole exactly.
func EndEpoch(s State, p Params, epoch shardkit.Epoch, minted, fees uint64) (sum uint64, err error) {
	g, err := loadGlobals(s)
	if err != nil {
		return 0, err
	}
	if epoch != g.Next {
		return 0, refuse(ErrEpoch, "epoch %d, the next to end is %d", epoch, g.Next)
	}
	if room := MaxTokens - g.held(); minted > room || fees > room-minted {
		return 0, refuse(ErrAmount, "%d minted and %d in fees", minted, fees)
	}
	// Offences of the epoch may still be reported; signatures cannot.
	earned, err := closeTallies(s, epoch)
	if err != nil {
		return 0, err
	}
	budget := g.Pot + minted + fees // within MaxTokens, as checked
	sum, err = g.pay(s, p, epoch, budget, earned)
	if err != nil {
		return 0, err
	}
	g.Pot = budget - sum
	if err := g.settleSlashes(s, p, epoch); err != nil {
		return 0, err
	}
	g.Next = epoch + 1
	return sum, save(s, key(keyGlobals), g)
}

// earning is what a slot did in an epoch.
type earning struct {
	slot   shardkit.Hash
	owner  [32]byte
	index  uint32
	gone   bool // the slot is no longer registered
	points uint64
	absent uint64
}

// closeTallies sums up all shards' records of an epoch and deletes them. The
// result is in order of owner and index.
func closeTallies(s State, epoch shardkit.Epoch) ([]earning, error) {
	var shards shardList
	k := keyAt(keyShards, uint64(epoch))
	if _, err := load(s, k, &shards); err != nil {
		return nil, err
	}
	var all []earning
	var err error
	for _, shard := range shards {
		if all, err = closeTally(s, epoch, shard, all); err != nil {
			return nil, err
		}
	}
	if len(shards) > 0 {
		if err := s.Delete(k); err != nil {
			return nil, err
		}
	}
	all = merged(all)
	for i := range all {
		e := &all[i]
		slot, ok, err := loadSlot(s, e.slot)
		if err != nil {
			return nil, err
		}
		e.owner, e.index, e.gone = slot.Validator, slot.Index, !ok
	}
	slices.SortFunc(all, func(a, b earning) int {
		if c := bytes.Compare(a.owner[:], b.owner[:]); c != 0 {
			return c
		}
		return cmp.Compare(a.index, b.index)
	})
	return all, nil
}

func closeTally(s State, epoch shardkit.Epoch, shard shardkit.ShardID, all []earning) ([]earning, error) {
	t := new(tally)
	k := keyShard(keyTally, epoch, shard)
	if ok, err := load(s, k, t); err != nil || !ok {
		return all, err
	}
	n := int(t.Seats)
	roster, err := loadRoster(s, epoch, shard, n)
	if err != nil {
		return nil, err
	}
	list, err := loadCounts(s, epoch, shard, n)
	if err != nil {
		return nil, err
	}
	t.count(list, len(t.Recent))
	for i := range list {
		// By the part of blocks, not their number: a fast shard earns no more.
		points := mulDiv(roster[i].Weight, uint64(list[i].Signed), uint64(t.Blocks))
		all = append(all, earning{slot: roster[i].Slot, points: points, absent: list[i].Absent})
	}
	if err := deleteBlob(s, keyShard(keyRoster, epoch, shard), n*rosterSize); err != nil {
		return nil, err
	}
	if err := deleteBlob(s, keyShard(keyCounts, epoch, shard), n*countsSize); err != nil {
		return nil, err
	}
	return all, s.Delete(k)
}

// merged joins the seats that a slot has in several shards: points add up,
// the longest absence counts.
func merged(all []earning) []earning {
	slices.SortFunc(all, func(a, b earning) int { return bytes.Compare(a.slot[:], b.slot[:]) })
	out := all[:0]
	for _, e := range all {
		if n := len(out); n > 0 && out[n-1].slot == e.slot {
			out[n-1].points += min(e.points, math.MaxUint64-out[n-1].points)
			out[n-1].absent = max(out[n-1].absent, e.absent)
			continue
		}
		out = append(out, e)
	}
	return out
}

// pay divides the budget among the earnings and returns what was paid: all of
// it, except the parts of those who are banned or gone.
func (g *globals) pay(s State, p Params, epoch shardkit.Epoch, budget uint64, all []earning) (sum uint64, err error) {
	split := splitter{amount: budget, total: max(totalPoints(all), 1)}
	for len(all) > 0 {
		n := slices.IndexFunc(all, func(e earning) bool { return e.owner != all[0].owner })
		if n < 0 {
			n = len(all)
		}
		part, err := g.payOwner(s, p, epoch, &split, all[:n])
		if err != nil {
			return 0, err
		}
		sum += part
		all = all[n:]
	}
	return sum, nil
}

// totalPoints sums the points up, after scaling them down if the sum of all
// shards would not fit.
func totalPoints(all []earning) uint64 {
	var hi, lo uint64
	for i := range all {
		var carry uint64
		lo, carry = bits.Add64(lo, all[i].points, 0)
		hi += carry
	}
	if hi == 0 {
		return lo
	}
	lo = 0
	for i := range all {
		all[i].points >>= bits.Len64(hi)
		lo += all[i].points
	}
	return lo
}

// payOwner pays one validator for all its slots and updates their absences.
func (g *globals) payOwner(s State, p Params, epoch shardkit.Epoch, split *splitter, slots []earning) (uint64, error) {
	reward := uint64(0)
	for i := range slots {
		reward += split.next(slots[i].points)
	}
	// The part of a slot that is no longer registered stays in the pot; the
	// splitter has moved on past it all the same.
	if slots[0].gone {
		return 0, nil
	}
	v, err := loadValidator(s, slots[0].owner)
	if err != nil || v == nil {
		return 0, damaged(err, keyValidator, slots[0].owner)
	}
	for i := range slots {
		ref := v.slot(slots[i].index)
		if ref == nil {
			continue
		}
		ref.Absent = slots[i].absent
		if ref.Status == SlotActive && p.Power(ref.Absent) == 0 {
			ref.Status = SlotInactive
		}
	}
	if v.Status == StatusBanned {
		reward = 0
	}
	rep := g.reward(v, epoch, reward)
	for i := range slots {
		rep.Points += slots[i].points
	}
	rep.TotalPoints, rep.Budget = split.total, split.amount
	if err := save(s, keyOf(keyReward, v.Address), rep.words()); err != nil {
		return 0, err
	}
	return reward, g.keep(s, v)
}

// reward divides a validator's reward, and says how.
func (g *globals) reward(v *validator, epoch shardkit.Epoch, amount uint64) *paid {
	rep := &paid{Epoch: epoch, Reward: amount, Self: v.Self, Plain: v.Plain, Compound: v.Compound}
	own := amount // whatever is not given to the pools below
	if all := v.tokens(); all > 0 {
		rep.Commission = mulDiv(amount, uint64(v.commission(epoch)), PPM)
		rest := amount - rep.Commission
		comp := mulDiv(rest, v.Compound.Tokens, all)
		plain := v.accrue(mulDiv(rest, v.Plain.Tokens, all))
		v.Compound.Tokens += comp
		g.Bonded += comp
		g.Owed += plain
		own -= comp + plain
		rep.ToCompound, rep.ToPlain = comp, plain
	}
	if v.Restake {
		v.Self += own
		g.Bonded += own
	} else {
		v.Earned += own
		g.Owed += own
	}
	return rep
}

// paid is how a validator's last reward came about and was divided.
type paid struct {
	Epoch                       shardkit.Epoch
	Budget, Points, TotalPoints uint64
	Reward, Commission          uint64
	ToPlain, ToCompound         uint64
	Self                        uint64 // own stake at that time
	Plain, Compound             pool   // the pools at that time
}

const keyReward = 'p' // validator → paid

func (p *paid) words() words {
	return words{(*uint64)(&p.Epoch), &p.Budget, &p.Points, &p.TotalPoints, &p.Reward, &p.Commission,
		&p.ToPlain, &p.ToCompound, &p.Self, &p.Plain.Tokens, &p.Plain.Points, &p.Compound.Tokens, &p.Compound.Points}
}

// accrue gives a reward to the points of the plain pool and returns what it
// took: nothing if the accumulator would overflow.
func (v *validator) accrue(amount uint64) uint64 {
	if amount == 0 || v.Plain.Points == 0 {
		return 0
	}
	acc, ok := v.Acc.add(ratio(amount, v.Plain.Points))
	if !ok {
		return 0
	}
	v.Acc = acc
	v.Owed += amount
	return amount
}
