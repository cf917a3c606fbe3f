package reshard

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Holding is what one owner has in one shard.
type Holding struct {
	Shard  int
	Owner  [32]byte
	Units  int
	Weight uint64
	Total  uint64 // of the shard
}

// third says whether the holding is a third of its shard or more: it can stop
// it alone.
func (h Holding) third() bool { return h.Weight >= (h.Total+2)/3 }

// Fragile lists the holdings of a third of a shard or more, shard by shard,
// the largest first. A draw that has some is legal, and fragile: one owner's
// failure stops the shard.
func Fragile(a Assignment) []Holding {
	var out []Holding
	for s := range a.Shards {
		for _, h := range holdings(a, s) {
			if h.third() {
				out = append(out, h)
			}
		}
	}
	return out
}

// holdings sums a shard up by owner, the largest first.
func holdings(a Assignment, s int) []Holding {
	units := slices.Clone(a.Shards[s])
	slices.SortFunc(units, func(x, y Unit) int { return bytes.Compare(x.Owner[:], y.Owner[:]) })
	var out []Holding
	var total uint64
	for _, u := range units {
		total += u.Weight
		if n := len(out); n > 0 && out[n-1].Owner == u.Owner {
			out[n-1].Units++
			out[n-1].Weight += u.Weight
			continue
		}
		out = append(out, Holding{Shard: s, Owner: u.Owner, Units: 1, Weight: u.Weight})
	}
	for i := range out {
		out[i].Total = total
	}
	slices.SortStableFunc(out, func(x, y Holding) int { return cmp.Compare(y.Weight, x.Weight) })
	return out
}

// Redraw deals again, with seeds derived from the epoch's, until no owner has
// a third of a shard, nor more than MaxUnits units in one. After Tries draws
// it takes the one with the fewest offending holdings, the earliest of equals.
//
// Every redraw is known as soon as the seed is, so nobody gains a choice; but
// the draw is no longer uniform: it is uniform among the acceptable ones.
type Redraw struct {
	Policy   Policy
	Tries    int // 0: 16
	MaxUnits int // of one owner in one shard. 0: any number
}

// Name is that of the policy and the number of tries.
func (p Redraw) Name() string {
	s := p.Policy.Name() + "+redraw=" + strconv.Itoa(cmp.Or(p.Tries, 16))
	if p.MaxUnits > 0 {
		s += "/" + strconv.Itoa(p.MaxUnits)
	}
	return s
}

// Assign implements Policy.
func (p Redraw) Assign(prev Assignment, units []Unit, shards int, seed shardkit.Hash) (Assignment, []Move, error) {
	var best Assignment
	var moves []Move
	least := -1
	seeds := newStream(seed, "redraw")
	for range cmp.Or(p.Tries, 16) {
		a, m, err := p.Policy.Assign(prev, units, shards, seed)
		if err != nil {
			return Assignment{}, nil, err
		}
		if n := p.offending(a); least < 0 || n < least {
			best, moves, least = a, m, n
		}
		if least == 0 {
			break
		}
		for i := 0; i < len(seed); i += 8 {
			copy(seed[i:], wire.AppendU64(nil, seeds.uint64()))
		}
	}
	return best, moves, nil
}

func (p Redraw) offending(a Assignment) int {
	n := 0
	for s := range a.Shards {
		for _, h := range holdings(a, s) {
			if h.third() || p.MaxUnits > 0 && h.Units > p.MaxUnits {
				n++
			}
		}
	}
	return n
}

// Cooldown keeps owners who left from coming back at once: the strongest
// lever against an adversary that leaves and joins until its units sit where
// it wants them. It is a value that the chain's state keeps, from epoch to
// epoch. The zero value knows of nobody.
type Cooldown struct {
	left []departure // in order of owner
}

type departure struct {
	Owner [32]byte
	Epoch shardkit.Epoch // the last one in which a unit of it left
}

// MaxDepartures bounds what a Cooldown remembers; beyond it the oldest go.
const MaxDepartures = 1 << 16

// Admit divides the units of an epoch: those that take part, and the joiners
// whose owner had a unit leave less than wait epochs ago. It remembers who
// leaves now. Units already in prev are always admitted.
func (c *Cooldown) Admit(epoch shardkit.Epoch, wait uint64, prev Assignment, units []Unit) (admitted, held []Unit, err error) {
	t, err := newTable(prev, units)
	if err != nil {
		return nil, nil, err
	}
	c.left = slices.DeleteFunc(c.left, func(d departure) bool { return uint64(epoch-min(epoch, d.Epoch)) >= wait })
	for i, u := range t.units {
		if _, away := c.find(u.Owner); away && t.from[i] < 0 {
			held = append(held, u)
		} else {
			admitted = append(admitted, u)
		}
	}
	for _, m := range t.gone {
		c.note(m.Unit.Owner, epoch)
	}
	for len(c.left) > MaxDepartures {
		oldest := slices.MinFunc(c.left, func(a, b departure) int { return cmp.Compare(a.Epoch, b.Epoch) })
		i, _ := c.find(oldest.Owner)
		c.left = slices.Delete(c.left, i, i+1)
	}
	return admitted, held, nil
}

func (c *Cooldown) find(owner [32]byte) (int, bool) {
	return slices.BinarySearchFunc(c.left, owner, func(d departure, o [32]byte) int { return bytes.Compare(d.Owner[:], o[:]) })
}

func (c *Cooldown) note(owner [32]byte, epoch shardkit.Epoch) {
	i, ok := c.find(owner)
	if !ok {
		c.left = slices.Insert(c.left, i, departure{Owner: owner})
	}
	c.left[i].Epoch = epoch
}

const cooldownVersion = 1

// AppendBinary appends the canonical encoding.
func (c *Cooldown) AppendBinary(b []byte) ([]byte, error) {
	b = wire.AppendU32(append(b, cooldownVersion), uint32(len(c.left)))
	for _, d := range c.left {
		b = wire.AppendU64(append(b, d.Owner[:]...), uint64(d.Epoch))
	}
	return b, nil
}

// UnmarshalBinary reads what AppendBinary wrote.
func (c *Cooldown) UnmarshalBinary(data []byte) error {
	r := wire.NewReader(data)
	r.Expect(cooldownVersion, "version")
	list := make([]departure, r.Count(MaxDepartures, 40))
	for i := range list {
		list[i] = departure{r.Array32(), shardkit.Epoch(r.U64())}
		if i > 0 && bytes.Compare(list[i-1].Owner[:], list[i].Owner[:]) >= 0 {
			r.Fail(fmt.Errorf("%w: order of owners", wire.ErrValue))
		}
	}
	if err := r.Close(); err != nil {
		return fmt.Errorf("reshard: cool-down: %w", err)
	}
	c.left = list
	return nil
}

// Steps cuts the moves between shards into steps such that in each of them no
// shard loses or gains more than percent of its units, in an order drawn from
// the seed: for a hand-over within an epoch (OmniLedger, 2018). Joiners and
// leavers are in the first step.
func Steps(prev Assignment, moves []Move, percent int, seed shardkit.Hash) ([][]Move, error) {
	if percent < 1 || percent > 100 {
		return nil, fmt.Errorf("reshard: steps of %d %%", percent)
	}
	order := make([]int32, len(moves))
	for i := range order {
		order[i] = int32(i)
	}
	rng := newStream(seed, "steps")
	rng.shuffle(order)
	limit := func(s int) int {
		if s >= len(prev.Shards) {
			return len(moves)
		}
		return max(len(prev.Shards[s])*percent/100, 1)
	}
	var steps [][]Move
	out, in := make([]map[int]int, 0), make([]map[int]int, 0)
	for _, i := range order {
		m := moves[i]
		at := 0
		for ; at < len(steps); at++ {
			if m.From < 0 || m.To < 0 || out[at][m.From] < limit(m.From) && in[at][m.To] < limit(m.To) {
				break
			}
		}
		if at == len(steps) {
			steps, out, in = append(steps, nil), append(out, map[int]int{}), append(in, map[int]int{})
		}
		if m.From >= 0 && m.To >= 0 {
			out[at][m.From]++
			in[at][m.To]++
		}
		steps[at] = append(steps[at], m)
	}
	return steps, nil
}
