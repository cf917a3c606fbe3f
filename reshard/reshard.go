package reshard

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/shardkit/shardkit"
)

// Unit is what is dealt to a shard: a whole slot, or a single share of one.
type Unit struct {
	Slot   shardkit.Hash
	Share  uint32   // 0 when whole slots are dealt
	Weight uint64   // voting shares it carries; 1 for a single share; never 0
	Owner  [32]byte // the validator behind it; only Cooldown and Redraw look at it
}

// Compare orders units by (Slot, Share), which must be unique in a set.
func (u Unit) Compare(v Unit) int {
	if c := bytes.Compare(u.Slot[:], v.Slot[:]); c != 0 {
		return c
	}
	return cmp.Compare(u.Share, v.Share)
}

// Assignment says which units sit in which shard: Shards[i] in order of
// (Slot, Share).
type Assignment struct {
	Shards [][]Unit
}

// Count returns the number of units.
func (a Assignment) Count() int {
	n := 0
	for _, units := range a.Shards {
		n += len(units)
	}
	return n
}

// Move is a unit that changes place. From is -1 for a joiner, To is -1 for a
// leaver.
type Move struct {
	Unit     Unit
	From, To int
}

// Policy re-deals units to shards. Implementations are pure: the result
// depends on the arguments' values alone, not on their order.
type Policy interface {
	// Assign deals units, the complete new set, to shards shards. Units in prev
	// but not in units leave; units not in prev join. A unit whose weight has
	// changed keeps its place. seed is the epoch's randomness. The moves are in
	// order of (Slot, Share). Nothing of the arguments is kept or changed.
	//
	// The first deal, and the first after a change of the number of shards, is
	// a full permutation under every policy. No shard of the result has fewer
	// units than the policy's Min; if there are too few units for that, the
	// error is ErrTooFew.
	Assign(prev Assignment, units []Unit, shards int, seed shardkit.Hash) (Assignment, []Move, error)
	// Name is the policy's name and parameters, as ParsePolicy reads them.
	Name() string
}

// MaxShards and MaxUnits bound what a policy deals.
const (
	MaxShards = 1 << 16
	MaxUnits  = 1 << 26
)

// ErrTooFew says that the units do not suffice to give every shard its
// minimum. The caller keeps the assignment it has.
var ErrTooFew = errors.New("too few units")

// A deal is one run of a policy, on numbers instead of units: who sits where,
// and who waits for a place. Policies work on it through its methods only.
type deal struct {
	lists   [][]int32 // the members of each shard, in an order that is a function of the seed
	joiners []int32   // in canonical order
	min     int
	rng     stream
}

// dealer is the part of a policy that moves units.
type dealer interface {
	Name() string
	deal(d *deal)
}

// A table knows the units behind the numbers of a deal.
type table struct {
	units []Unit  // in canonical order: a unit's number is its index
	from  []int32 // shard in the previous assignment, -1 for a joiner
	gone  []Move  // leavers
}

// assign is Policy.Assign for the policies of this package.
func assign(p dealer, minimum int, prev Assignment, units []Unit, shards int, seed shardkit.Hash) (Assignment, []Move, error) {
	if minimum == 0 {
		minimum = 1
	}
	if err := bounds(len(units), shards, minimum); err != nil {
		return Assignment{}, nil, err
	}
	t, err := newTable(prev, units)
	if err != nil {
		return Assignment{}, nil, err
	}
	d := t.deal(shards)
	d.min, d.rng = minimum, newStream(seed, p.Name())
	if len(prev.Shards) != shards || len(d.joiners) == len(units) {
		d.permute()
	} else {
		p.deal(d)
	}
	d.level()
	a, moves := t.result(d)
	return a, moves, nil
}

func bounds(units, shards, minimum int) error {
	switch {
	case shards < 1 || shards > MaxShards:
		return fmt.Errorf("reshard: %d shards, want 1 to %d", shards, MaxShards)
	case minimum < 0 || minimum > MaxUnits:
		return fmt.Errorf("reshard: minimum of %d units", minimum)
	case units > MaxUnits:
		return fmt.Errorf("reshard: %d units, at most %d", units, MaxUnits)
	case units < shards*minimum:
		return fmt.Errorf("reshard: %d units for %d shards of at least %d: %w", units, shards, minimum, ErrTooFew)
	}
	return nil
}

// newTable finds joiners and leavers by merging the two sorted lists.
func newTable(prev Assignment, units []Unit) (*table, error) {
	t := &table{from: make([]int32, len(units))}
	var err error
	if t.units, err = sorted(units); err != nil {
		return nil, err
	}
	old, err := flatten(prev)
	if err != nil {
		return nil, err
	}
	j := 0
	leave := func(limit func(placed) bool) {
		for ; j < len(old) && limit(old[j]); j++ {
			t.gone = append(t.gone, Move{old[j].unit, int(old[j].shard), -1})
		}
	}
	for i, u := range t.units {
		leave(func(p placed) bool { return p.unit.Compare(u) < 0 })
		t.from[i] = -1
		if j < len(old) && old[j].unit.Compare(u) == 0 {
			t.from[i] = old[j].shard
			j++
		}
	}
	leave(func(placed) bool { return true })
	return t, nil
}

// deal begins with everybody where they were; those whose shard is no more
// join again.
func (t *table) deal(shards int) *deal {
	sizes := make([]int, shards)
	for _, s := range t.from {
		if s >= 0 && int(s) < shards {
			sizes[s]++
		}
	}
	d := &deal{lists: make([][]int32, shards)}
	for s, n := range sizes {
		d.lists[s] = make([]int32, 0, n+n/8+1)
	}
	for i, s := range t.from {
		if s >= 0 && int(s) < shards {
			d.lists[s] = append(d.lists[s], int32(i))
		} else {
			d.joiners = append(d.joiners, int32(i))
		}
	}
	return d
}

// sorted returns the units in canonical order, refusing duplicates and units
// without a vote.
func sorted(units []Unit) ([]Unit, error) {
	s := ordered(slices.Clone(units), func(u *Unit) *Unit { return u })
	for i := range s {
		if s[i].Weight == 0 {
			return nil, fmt.Errorf("reshard: unit %v/%d has no weight", s[i].Slot, s[i].Share)
		}
		if i > 0 && s[i].Compare(s[i-1]) == 0 {
			return nil, fmt.Errorf("reshard: unit %v/%d twice", s[i].Slot, s[i].Share)
		}
	}
	return s, nil
}

// ordered puts a list into the canonical order of its units. It sorts short
// keys in place of the long elements.
func ordered[T any](list []T, unit func(*T) *Unit) []T {
	type ranked struct {
		key uint64 // the slot's first bytes: mostly decides
		i   int
	}
	compare := func(a, b ranked) int {
		if c := cmp.Compare(a.key, b.key); c != 0 {
			return c
		}
		return unit(&list[a.i]).Compare(*unit(&list[b.i]))
	}
	order := make([]ranked, len(list))
	for i := range list {
		order[i] = ranked{binary.BigEndian.Uint64(unit(&list[i]).Slot[:]), i}
	}
	if slices.IsSortedFunc(order, compare) {
		return list
	}
	slices.SortFunc(order, compare)
	out := make([]T, len(list))
	for n, r := range order {
		out[n] = list[r.i]
	}
	return out
}

// A placed unit is a unit with its shard.
type placed struct {
	unit  Unit
	shard int32
}

func flatten(a Assignment) ([]placed, error) {
	if len(a.Shards) > MaxShards {
		return nil, fmt.Errorf("reshard: previous assignment has %d shards", len(a.Shards))
	}
	old := make([]placed, 0, a.Count())
	for s, units := range a.Shards {
		for _, u := range units {
			old = append(old, placed{u, int32(s)})
		}
	}
	old = ordered(old, func(p *placed) *Unit { return &p.unit })
	for i := 1; i < len(old); i++ {
		if u := old[i].unit; u.Compare(old[i-1].unit) == 0 {
			return nil, fmt.Errorf("reshard: unit %v/%d twice in the previous assignment", u.Slot, u.Share)
		}
	}
	return old, nil
}

// result turns a finished deal into an assignment and its moves.
func (t *table) result(d *deal) (Assignment, []Move) {
	to := make([]int32, len(t.units))
	for s, list := range d.lists {
		for _, i := range list {
			to[i] = int32(s)
		}
	}
	a := Assignment{Shards: make([][]Unit, len(d.lists))}
	for s := range a.Shards {
		a.Shards[s] = make([]Unit, 0, len(d.lists[s]))
	}
	moves := make([]Move, 0, len(t.gone)+len(d.joiners))
	gone := t.gone
	for i, u := range t.units { // in canonical order, so the shards are too
		a.Shards[to[i]] = append(a.Shards[to[i]], u)
		if t.from[i] == to[i] {
			continue
		}
		for len(gone) > 0 && gone[0].Unit.Compare(u) < 0 {
			moves, gone = append(moves, gone[0]), gone[1:]
		}
		moves = append(moves, Move{u, int(t.from[i]), int(to[i])})
	}
	return a, append(moves, gone...)
}

// permute deals everybody by a random permutation; shard sizes differ by at
// most one.
func (d *deal) permute() {
	all := d.joiners
	for s := range d.lists {
		all = append(all, d.lists[s]...)
		d.lists[s] = d.lists[s][:0]
	}
	d.joiners = nil
	d.rng.shuffle(all)
	// Which shards get the odd units is drawn too, or the first shards would
	// always be the larger ones.
	first := d.rng.intn(len(d.lists))
	for n, i := range all {
		d.put(i, (first+n)%len(d.lists))
	}
}

func (d *deal) put(i int32, shard int) { d.lists[shard] = append(d.lists[shard], i) }

// evict takes up to n random members out of a shard.
func (d *deal) evict(shard, n int) []int32 {
	n = min(n, len(d.lists[shard]))
	out := make([]int32, n)
	for k := range out {
		out[k] = d.rng.take(&d.lists[shard])
	}
	return out
}

// crowd returns k times a shard's size over the mean size, rounded up or down
// by lot so that the mean is right. It is what keeps sizes from drifting.
func (d *deal) crowd(shard, k int) int {
	total := 0
	for _, list := range d.lists {
		total += len(list)
	}
	if total == 0 {
		return 0
	}
	n := k * len(d.lists) * len(d.lists[shard])
	if d.rng.intn(total) < n%total {
		return n/total + 1
	}
	return n / total
}

// smallest returns a smallest shard, equal ones by lot.
func (d *deal) smallest() int {
	best, ties := 0, 1
	for s := 1; s < len(d.lists); s++ {
		switch {
		case len(d.lists[s]) < len(d.lists[best]):
			best, ties = s, 1
		case len(d.lists[s]) == len(d.lists[best]):
			ties++
		}
	}
	// The ties-th of them is as good as any; count to a random one.
	if n := d.rng.intn(ties); n > 0 {
		for s := best + 1; ; s++ {
			if len(d.lists[s]) == len(d.lists[best]) {
				if n--; n == 0 {
					return s
				}
			}
		}
	}
	return best
}

// halves orders the shards by size, largest first, ties by lot, and cuts the
// list at the median: the active half, then the inactive one.
func (d *deal) halves() (active, inactive []int32) {
	order := make([]int32, len(d.lists))
	for i := range order {
		order[i] = int32(i)
	}
	d.rng.shuffle(order)
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(len(d.lists[b]), len(d.lists[a])) })
	half := (len(order) + 1) / 2
	return order[:half], order[half:]
}

// shift moves up to n random units from each shard of the larger half to
// random shards of the smaller half, as long as the giver is the larger one.
func (d *deal) shift(n int) {
	active, inactive := d.halves()
	if len(inactive) == 0 {
		return
	}
	for _, a := range active {
		for range n {
			b := inactive[d.rng.intn(len(inactive))]
			if len(d.lists[a]) > len(d.lists[b]) {
				d.put(d.rng.take(&d.lists[a]), int(b))
			}
		}
	}
}

// level is the last step of every policy: while a shard is below the minimum,
// the largest one gives it a random unit. It ends because there are at least
// shards·min units.
func (d *deal) level() {
	for s := range d.lists {
		for len(d.lists[s]) < d.min {
			donor := 0
			for t := range d.lists {
				if len(d.lists[t]) > len(d.lists[donor]) {
					donor = t
				}
			}
			d.put(d.rng.take(&d.lists[donor]), s)
		}
	}
}
