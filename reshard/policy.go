package reshard

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

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
	d, err := newDeal(prev, units, shards, p.Min, seed, p.Name())
	if err != nil {
		return Assignment{}, nil, err
	}
	d.permute()
	return d.result()
}

// Cuckoo is the rule of Awerbuch and Scheideler, with a rebalancing step. The
// shards are arcs of one circle. A joiner lands at a random point, which
// decides its shard, and the K units of the shard nearest to the point are
// thrown to random points of the circle. Then each of the larger half of the
// shards gives Shift random units to shards of the smaller half, as long as
// it is the larger one.
type Cuckoo struct {
	K     int // units displaced per joiner. 0: 4
	Shift int // units given by each shard of the larger half. 0: 4
	Min   int // least units of a shard. 0: 1
}

func (p Cuckoo) defaults() Cuckoo {
	return Cuckoo{cmp.Or(p.K, 4), cmp.Or(p.Shift, 4), p.Min}
}

// Name is "cuckoo" and the parameters.
func (p Cuckoo) Name() string {
	p = p.defaults()
	return name("cuckoo", p.Min, param{"k", p.K}, param{"shift", p.Shift})
}

// Assign implements Policy.
func (p Cuckoo) Assign(prev Assignment, units []Unit, shards int, seed shardkit.Hash) (Assignment, []Move, error) {
	p = p.defaults()
	if p.K < 0 || p.Shift < 0 {
		return Assignment{}, nil, fmt.Errorf("reshard: %s: negative parameter", p.Name())
	}
	d, err := newDeal(prev, units, shards, p.Min, seed, p.Name())
	if err != nil {
		return Assignment{}, nil, err
	}
	if d.fresh {
		d.permute()
		return d.result()
	}
	d.cuckoo(p.K)
	d.shift(p.Shift)
	return d.result()
}

// A nest is a unit at its point of a shard's arc.
type nest struct {
	at   uint32
	unit int32
}

// cuckoo places the joiners. Points are drawn afresh each epoch: a unit's
// point within its shard is uniform and unknown before the seed is, as the
// rule wants it, and need not be remembered.
func (d *deal) cuckoo(k int) {
	arcs := make([][]nest, d.shards)
	put := func(i int32) (int, int) {
		p := d.rng.uint64n(uint64(d.shards) << 32)
		s, n := int(p>>32), nest{uint32(p), i}
		if s0 := d.to[i]; s0 >= 0 {
			s = int(s0)
		}
		at, _ := slices.BinarySearchFunc(arcs[s], n.at, func(a nest, x uint32) int { return cmp.Compare(a.at, x) })
		arcs[s] = slices.Insert(arcs[s], at, n)
		d.to[i] = int32(s)
		return s, at
	}
	joiners := d.joiners()
	for i, t := range d.to {
		if t >= 0 {
			arcs[t] = append(arcs[t], nest{uint32(d.rng.uint64()), int32(i)})
		}
	}
	for s := range arcs {
		slices.SortStableFunc(arcs[s], func(a, b nest) int { return cmp.Compare(a.at, b.at) })
	}
	for _, i := range joiners {
		s, at := put(i)
		for _, n := range evict(&arcs[s], at, k) {
			d.to[n.unit] = -1
			put(n.unit)
		}
	}
}

// evict removes the k nests nearest to the one at index c, on the arc closed
// to a circle.
func evict(arc *[]nest, c, k int) []nest {
	a := *arc
	n := len(a)
	k = min(k, n-1)
	// The nearest are a run around c: grow it on the nearer side.
	l, r := 1, 1
	for range k {
		left := a[c].at - a[(c-l+n)%n].at // modulo 2^32, as on the circle
		right := a[(c+r)%n].at - a[c].at
		if left <= right {
			l++
		} else {
			r++
		}
	}
	out := make([]nest, 0, k)
	keep := make([]nest, 0, n-k)
	for i, x := range a {
		if i != c && ((c-i+n)%n < l || (i-c+n)%n < r) {
			out = append(out, x)
		} else {
			keep = append(keep, x)
		}
	}
	*arc = keep
	return out
}

// halves orders the shards by size, largest first, ties by lot, and cuts the
// list at the median: the active half, then the inactive one.
func (d *deal) halves(lists [][]int32) (active, inactive []int32) {
	order := make([]int32, d.shards)
	for i := range order {
		order[i] = int32(i)
	}
	d.rng.shuffle(order)
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(len(lists[b]), len(lists[a])) })
	half := (d.shards + 1) / 2
	return order[:half], order[half:]
}

// shift moves up to n random units from each shard of the larger half to
// random shards of the smaller half.
func (d *deal) shift(n int) {
	lists := d.members()
	active, inactive := d.halves(lists)
	if len(inactive) == 0 {
		return
	}
	for _, a := range active {
		for range n {
			b := inactive[d.rng.intn(len(inactive))]
			if len(lists[a]) <= len(lists[b]) {
				continue
			}
			i := d.rng.take(&lists[a])
			lists[b] = append(lists[b], i)
			d.to[i] = b
		}
	}
}

type param struct {
	key   string
	value int
}

// name writes a policy the way ParsePolicy reads it.
func name(kind string, minimum int, params ...param) string {
	if minimum > 1 {
		params = append(params, param{"min", minimum})
	}
	var b strings.Builder
	b.WriteString(kind)
	for i, p := range params {
		b.WriteByte(":,"[min(i, 1)])
		b.WriteString(p.key + "=" + strconv.Itoa(p.value))
	}
	return b.String()
}

// ParsePolicy reads a policy as Name writes it: "full", "full:min=4",
// "cuckoo:k=4,shift=2". Parameters that are left out have their defaults.
func ParsePolicy(s string) (Policy, error) {
	kind, rest, _ := strings.Cut(s, ":")
	values, err := parseParams(rest)
	if err != nil {
		return nil, fmt.Errorf("reshard: policy %q: %w", s, err)
	}
	get := func(key string) int {
		for i, v := range values {
			if v.key == key {
				values = slices.Delete(values, i, i+1)
				return v.value
			}
		}
		return 0
	}
	var p Policy
	switch kind {
	case "full":
		p = Full{Min: get("min")}
	case "cuckoo":
		p = Cuckoo{K: get("k"), Shift: get("shift"), Min: get("min")}
	default:
		return nil, fmt.Errorf("reshard: policy %q: no such policy", s)
	}
	if len(values) > 0 {
		return nil, fmt.Errorf("reshard: policy %q: parameter %q", s, values[0].key)
	}
	return p, nil
}

func parseParams(s string) ([]param, error) {
	if s == "" {
		return nil, nil
	}
	var out []param
	for part := range strings.SplitSeq(s, ",") {
		key, text, ok := strings.Cut(part, "=")
		v, err := strconv.ParseUint(text, 10, 24)
		if !ok || err != nil {
			return nil, fmt.Errorf("parameter %q, want key=number", part)
		}
		out = append(out, param{key, int(v)})
	}
	return out, nil
}
