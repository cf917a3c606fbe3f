package reshard

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/shardkit/shardkit"
)

// Full deals all units by a fresh random permutation each epoch. It gives
// every shard exactly the hypergeometric draw that the calculators assume,
// whatever an adversary did before, and moves nearly everything.
type Full struct {
	Min int // least units of a shard. 0: 1
}

// Name is "full" and the parameters.
func (p Full) Name() string { return name("full", p.Min) }

// Assign implements Policy.
func (p Full) Assign(prev Assignment, units []Unit, shards int, seed shardkit.Hash) (Assignment, []Move, error) {
	return assign(p, p.Min, prev, units, shards, seed)
}

func (p Full) deal(d *deal) { d.permute() }

// Cuckoo is the rule of Awerbuch and Scheideler with a rebalancing step, as
// sharded chains propose it. The shards are equal arcs of one circle; a joiner
// lands at a random point, which decides its shard, and throws out the units
// within K/n of the circle around it, K on average, more where it is crowded;
// they go to random points of the circle. Then each of the larger half of the
// shards gives Shift random units to shards of the smaller half, as long as it
// is the larger one.
//
// The points of those who stay are drawn afresh each epoch, so that nobody
// knows them before the seed; the nearest are then just random members of the
// shard, and no point needs to be remembered.
type Cuckoo struct {
	K     int // units displaced per joiner, in the mean. 0: 4
	Shift int // units given by each shard of the larger half. 0: 4
	Min   int // least units of a shard. 0: 1
}

func (p Cuckoo) defaults() Cuckoo { return Cuckoo{cmp.Or(p.K, 4), cmp.Or(p.Shift, 4), p.Min} }

// Name is "cuckoo" and the parameters.
func (p Cuckoo) Name() string {
	p = p.defaults()
	return name("cuckoo", p.Min, param{"k", p.K}, param{"shift", p.Shift})
}

// Assign implements Policy.
func (p Cuckoo) Assign(prev Assignment, units []Unit, shards int, seed shardkit.Hash) (Assignment, []Move, error) {
	if err := positive(p.K, p.Shift); err != nil {
		return Assignment{}, nil, err
	}
	return assign(p, p.Min, prev, units, shards, seed)
}

func (p Cuckoo) deal(d *deal) {
	p = p.defaults()
	for _, i := range d.joiners {
		s := d.rng.intn(len(d.lists))
		out := d.evict(s, d.crowd(s, p.K))
		d.put(i, s)
		for _, e := range out {
			d.put(e, d.rng.intn(len(d.lists)))
		}
	}
	d.shift(p.Shift)
}

// Bounded is RapidChain's bounded cuckoo rule: joiners go to random shards of
// the larger half, the active one, and out of each shard that received any go
// K random members, or Percent of them if that is set, to random shards of the
// smaller half.
type Bounded struct {
	K       int // members displaced of each receiving shard. 0: 2
	Percent int // instead of K. 0: K counts
	Min     int // least units of a shard. 0: 1
}

// Name is "bounded" and the parameters.
func (p Bounded) Name() string {
	if p.Percent > 0 {
		return name("bounded", p.Min, param{"percent", p.Percent})
	}
	return name("bounded", p.Min, param{"k", cmp.Or(p.K, 2)})
}

// Assign implements Policy.
func (p Bounded) Assign(prev Assignment, units []Unit, shards int, seed shardkit.Hash) (Assignment, []Move, error) {
	if err := positive(p.K, p.Percent, 100-p.Percent); err != nil {
		return Assignment{}, nil, err
	}
	return assign(p, p.Min, prev, units, shards, seed)
}

func (p Bounded) deal(d *deal) {
	active, inactive := d.halves()
	received := make([][]int32, len(d.lists))
	for _, i := range d.joiners {
		s := active[d.rng.intn(len(active))]
		received[s] = append(received[s], i)
	}
	if len(inactive) == 0 { // one shard
		inactive = active
	}
	for s, in := range received {
		if len(in) == 0 {
			continue
		}
		n := cmp.Or(p.K, 2)
		if p.Percent > 0 {
			n = (len(d.lists[s])*p.Percent + 99) / 100
		}
		for _, e := range d.evict(s, n) {
			d.put(e, int(inactive[d.rng.intn(len(inactive))]))
		}
		d.lists[s] = append(d.lists[s], in...)
	}
}

// Commensal is the commensal cuckoo rule of Sen and Freedman: a joiner goes to
// a random shard that is ready, and K random members of it, more if it is
// larger than the mean and fewer if it is smaller, go to random shards. A shard that took a joiner is ready again when K−1 displaced ones
// have come to it. Every shard begins an epoch ready. If none is, the one
// that is closest takes the joiner.
type Commensal struct {
	K   int // members displaced per joiner. 0: 4
	Min int // least units of a shard. 0: 1
}

// Name is "commensal" and the parameters.
func (p Commensal) Name() string { return name("commensal", p.Min, param{"k", cmp.Or(p.K, 4)}) }

// Assign implements Policy.
func (p Commensal) Assign(prev Assignment, units []Unit, shards int, seed shardkit.Hash) (Assignment, []Move, error) {
	if err := positive(p.K); err != nil {
		return Assignment{}, nil, err
	}
	return assign(p, p.Min, prev, units, shards, seed)
}

func (p Commensal) deal(d *deal) {
	k := cmp.Or(p.K, 4)
	wait := make([]int, len(d.lists)) // displaced ones still to come
	for _, i := range d.joiners {
		s := 0
		for range 4 * len(d.lists) {
			if s = d.rng.intn(len(d.lists)); wait[s] == 0 {
				break
			}
		}
		if wait[s] > 0 {
			for t := range wait {
				if wait[t] < wait[s] {
					s = t
				}
			}
		}
		out := d.evict(s, d.crowd(s, k))
		d.put(i, s)
		wait[s] = k - 1
		for _, e := range out {
			t := d.rng.intn(len(d.lists))
			d.put(e, t)
			wait[t] = max(wait[t]-1, 0)
		}
	}
}

// Pooled draws Percent of every shard, puts them in a pool with the joiners,
// and deals the pool to the smallest shards.
type Pooled struct {
	Percent int // of every shard. 0: 20
	Min     int // least units of a shard. 0: 1
}

// Name is "pooled" and the parameters.
func (p Pooled) Name() string {
	return name("pooled", p.Min, param{"percent", cmp.Or(p.Percent, 20)})
}

// Assign implements Policy.
func (p Pooled) Assign(prev Assignment, units []Unit, shards int, seed shardkit.Hash) (Assignment, []Move, error) {
	if err := positive(p.Percent, 100-p.Percent); err != nil {
		return Assignment{}, nil, err
	}
	return assign(p, p.Min, prev, units, shards, seed)
}

func (p Pooled) deal(d *deal) {
	pool := d.joiners
	for s := range d.lists {
		n := (len(d.lists[s])*cmp.Or(p.Percent, 20) + 99) / 100
		pool = append(pool, d.evict(s, n)...)
	}
	d.rng.shuffle(pool)
	for _, i := range pool {
		d.put(i, d.smallest())
	}
}

// Gradual moves towards a fresh full permutation each epoch, but not further
// than Percent of a shard's members may leave and may come in one epoch, in a
// random order: OmniLedger's way of keeping a shard able to work while it
// changes, with an epoch as its step.
type Gradual struct {
	Percent int // of a shard. 0: 33
	Min     int // least units of a shard. 0: 1
}

// Name is "gradual" and the parameters.
func (p Gradual) Name() string {
	return name("gradual", p.Min, param{"percent", cmp.Or(p.Percent, 33)})
}

// Assign implements Policy.
func (p Gradual) Assign(prev Assignment, units []Unit, shards int, seed shardkit.Hash) (Assignment, []Move, error) {
	if err := positive(p.Percent, 100-p.Percent); err != nil {
		return Assignment{}, nil, err
	}
	return assign(p, p.Min, prev, units, shards, seed)
}

func (p Gradual) deal(d *deal) {
	n := len(d.lists)
	type swap struct{ i, from int32 }
	var order []swap
	limit := make([]int, n)
	for s, list := range d.lists {
		limit[s] = max(len(list)*cmp.Or(p.Percent, 33)/100, 1)
		for _, i := range list {
			order = append(order, swap{i, int32(s)})
		}
		d.lists[s] = list[:0]
	}
	for i := len(order) - 1; i > 0; i-- {
		j := d.rng.intn(i + 1)
		order[i], order[j] = order[j], order[i]
	}
	// The permutation is the order itself: the n-th goes to shard n mod shards.
	out, in := make([]int, n), make([]int, n)
	first := d.rng.intn(n)
	for k, x := range order {
		from, to := int(x.from), (first+k)%n
		if from != to && (out[from] == limit[from] || in[to] == limit[to]) {
			to = from
		}
		if from != to {
			out[from]++
			in[to]++
		}
		d.put(x.i, to)
	}
	d.rng.shuffle(d.joiners)
	for _, i := range d.joiners {
		d.put(i, d.smallest())
	}
}

// positive refuses negative parameters.
func positive(params ...int) error {
	if i := slices.IndexFunc(params, func(n int) bool { return n < 0 }); i >= 0 {
		return fmt.Errorf("reshard: policy parameter %d out of range", params[i])
	}
	return nil
}
