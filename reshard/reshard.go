package reshard

import (
	"bytes"
	"cmp"
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

// A deal is one run of a policy: the units in canonical order, where each was
// and where it goes.
type deal struct {
	units  []Unit
	from   []int32 // shard in the previous assignment, -1 for a joiner
	to     []int32 // shard in the new one, -1 while not yet dealt
	gone   []Move  // leavers
	shards int
	min    int
	fresh  bool // nothing to build on: deal everything anew
	rng    stream
}

// newDeal checks the arguments and finds joiners and leavers by merging the
// two sorted lists. Units of prev stay where they are until the policy, which
// goes on from here, takes them up.
func newDeal(prev Assignment, units []Unit, shards, minimum int, seed shardkit.Hash, name string) (*deal, error) {
	if shards < 1 || shards > MaxShards {
		return nil, fmt.Errorf("reshard: %d shards, want 1 to %d", shards, MaxShards)
	}
	if minimum == 0 {
		minimum = 1
	}
	if minimum < 0 || minimum > MaxUnits {
		return nil, fmt.Errorf("reshard: minimum of %d units", minimum)
	}
	if len(units) > MaxUnits {
		return nil, fmt.Errorf("reshard: %d units, at most %d", len(units), MaxUnits)
	}
	if len(units) < shards*minimum {
		return nil, fmt.Errorf("reshard: %d units for %d shards of at least %d: %w", len(units), shards, minimum, ErrTooFew)
	}
	d := &deal{shards: shards, min: minimum, rng: newStream(seed, name)}
	var err error
	if d.units, err = sorted(units); err != nil {
		return nil, err
	}
	old, err := flatten(prev)
	if err != nil {
		return nil, err
	}
	d.merge(old)
	d.fresh = len(prev.Shards) != shards || len(old) == len(d.gone)
	return d, nil
}

// sorted returns the units in canonical order, refusing duplicates and units
// without a vote.
func sorted(units []Unit) ([]Unit, error) {
	s := slices.Clone(units)
	if !slices.IsSortedFunc(s, Unit.Compare) {
		slices.SortFunc(s, Unit.Compare)
	}
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
	slices.SortFunc(old, func(x, y placed) int { return x.unit.Compare(y.unit) })
	for i := 1; i < len(old); i++ {
		if u := old[i].unit; u.Compare(old[i-1].unit) == 0 {
			return nil, fmt.Errorf("reshard: unit %v/%d twice in the previous assignment", u.Slot, u.Share)
		}
	}
	return old, nil
}

// merge fills from, to and gone.
func (d *deal) merge(old []placed) {
	d.from = make([]int32, len(d.units))
	d.to = make([]int32, len(d.units))
	j := 0
	for i, u := range d.units {
		for ; j < len(old) && old[j].unit.Compare(u) < 0; j++ {
			d.gone = append(d.gone, Move{old[j].unit, int(old[j].shard), -1})
		}
		d.from[i], d.to[i] = -1, -1
		if j < len(old) && old[j].unit.Compare(u) == 0 {
			d.from[i] = old[j].shard
			if int(old[j].shard) < d.shards {
				d.to[i] = old[j].shard
			}
			j++
		}
	}
	for ; j < len(old); j++ {
		d.gone = append(d.gone, Move{old[j].unit, int(old[j].shard), -1})
	}
}

// joiners returns the units that have no place yet.
func (d *deal) joiners() []int32 {
	var out []int32
	for i, t := range d.to {
		if t < 0 {
			out = append(out, int32(i))
		}
	}
	return out
}

// members lists the units of each shard, in canonical order.
func (d *deal) members() [][]int32 {
	sizes := make([]int, d.shards)
	for _, t := range d.to {
		if t >= 0 {
			sizes[t]++
		}
	}
	lists := make([][]int32, d.shards)
	for s := range lists {
		lists[s] = make([]int32, 0, sizes[s]+1)
	}
	for i, t := range d.to {
		if t >= 0 {
			lists[t] = append(lists[t], int32(i))
		}
	}
	return lists
}

// permute deals all units by a random permutation; shard sizes differ by at
// most one.
func (d *deal) permute() {
	order := make([]int32, len(d.units))
	for i := range order {
		order[i] = int32(i)
	}
	d.rng.shuffle(order)
	// Which shards get the odd units is drawn too, or the first shards would
	// always be the larger ones.
	first := d.rng.intn(d.shards)
	for n, i := range order {
		d.to[i] = int32((first + n) % d.shards)
	}
}

// level is the last step of every policy: while a shard is below the minimum,
// the largest one gives it a random unit. It ends because there are at least
// shards·min units.
func (d *deal) level() {
	lists := d.members()
	for s := range lists {
		for len(lists[s]) < d.min {
			donor := 0
			for t := range lists {
				if len(lists[t]) > len(lists[donor]) {
					donor = t
				}
			}
			i := d.rng.take(&lists[donor])
			lists[s] = append(lists[s], i)
			d.to[i] = int32(s)
		}
	}
}

// result turns the finished deal into an assignment and its moves.
func (d *deal) result() (Assignment, []Move, error) {
	d.level()
	a := Assignment{Shards: make([][]Unit, d.shards)}
	for s, list := range d.members() {
		a.Shards[s] = make([]Unit, len(list))
		for n, i := range list {
			a.Shards[s][n] = d.units[i]
		}
	}
	moves := d.gone
	for i, u := range d.units {
		if d.from[i] != d.to[i] {
			moves = append(moves, Move{u, int(d.from[i]), int(d.to[i])})
		}
	}
	slices.SortFunc(moves, func(x, y Move) int { return x.Unit.Compare(y.Unit) })
	return a, moves, nil
}
