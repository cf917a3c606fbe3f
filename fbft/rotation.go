package fbft

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"sort"
	"sync/atomic"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Rotation names the member that leads view view of height h, by its place in
// the committee. Every replica evaluates it for every message that only a leader
// may send, so it is a function of its arguments alone, the same at all
// replicas, and safe for concurrent use. Whatever it is, consecutive views
// should have different leaders: one that is down costs a view each time.
//
// The default is (*Committee).Rotate. Every, ByOwner and Draw make others; they
// compose.
type Rotation func(c *Committee, h shardkit.Height, view uint64) int

// Rotate is the default Rotation: another leader at every height and view, in
// turns proportional to weight. The turn moves over the line of all weight in
// steps of 0.38 of it, the complement of the golden ratio: consecutive turns
// fall far apart, so that neighbours who together hold a third are never two
// turns in a row. The step has no factor in common with the total: in W turns
// every unit of weight leads once.
func (c *Committee) Rotate(h shardkit.Height, view uint64) int {
	return memberAt(c.upto, c.turns.at(h, view))
}

// Every lets a leader stay for k heights, as long as it is up: r (nil: the
// default) takes turns by runs of k heights. A leader that is down costs one
// view in each height of its run. k 0 counts as 1.
func Every(k uint64, r Rotation) Rotation {
	if r == nil {
		r = (*Committee).Rotate
	}
	k = max(k, 1)
	return func(c *Committee, h shardkit.Height, view uint64) int {
		return r(c, h/shardkit.Height(k), view)
	}
}

// ByOwner is the default with all members of one owner next to each other on
// the line of weight: owners take turns in proportion to their weight, and none
// that holds less than 0.38 of it, however many members that is, has two turns
// in a row. owner tells whose a member is; it looks at nothing else.
func ByOwner(owner func(m Member) shardkit.Hash) Rotation {
	var latest atomic.Pointer[line] // epochs are long: one is enough
	return func(c *Committee, h shardkit.Height, view uint64) int {
		l := latest.Load()
		if l == nil || l.committee != c {
			l = newLine(c, owner)
			latest.Store(l)
		}
		return l.order[memberAt(l.upto, c.turns.at(h, view))]
	}
}

// Draw draws each leader by weight from the randomness of the epoch, so that
// nobody knows leaders before that is known; seed returns that of a committee's
// epoch (nil: the committee's hash). Draws are independent: one in n repeats the
// leader before it, and shares are fair only in the long run.
func Draw(seed func(c *Committee) shardkit.Hash) Rotation {
	if seed == nil {
		seed = (*Committee).Hash
	}
	return func(c *Committee, h shardkit.Height, view uint64) int {
		s := seed(c)
		b := append([]byte(domainLeader), s[:]...)
		b = wire.AppendU64(wire.AppendU64(b, uint64(h)), view)
		d := sha256.Sum256(b)
		// 128 bits below the total of at most 2^60: the bias is below 2^-67.
		r := wire.NewReader(d[:])
		hi, lo := r.U64(), r.U64()
		return memberAt(c.upto, mod128(hi, lo, c.total))
	}
}

const domainLeader = "shardkit/fbft/leader/v1"

// memberAt returns the place of the member that holds a point of the line of
// weight; upto[i] is where the i-th one's part ends.
func memberAt(upto []uint64, point uint64) int {
	return sort.Search(len(upto), func(i int) bool { return upto[i] > point })
}

// turns is a walk over the line of weight.
type turns struct{ total, start, step uint64 }

// newTurns derives where the turns begin, from the committee's hash, and how
// far apart they are.
func newTurns(seed shardkit.Hash, total uint64) turns {
	r := wire.NewReader(seed[:])
	start := r.U64() % total
	step := max(mulDiv(total, 381966, 1000000), 1)
	for gcd(step, total) != 1 {
		step++
	}
	return turns{total, start, step}
}

func (t *turns) at(h shardkit.Height, view uint64) uint64 {
	turn := (uint64(h)%t.total + view%t.total) % t.total
	return (t.start + mulMod(turn, t.step, t.total)) % t.total
}

// line is the weight of a committee in another order of its members.
type line struct {
	committee *Committee
	order     []int
	upto      []uint64
}

func newLine(c *Committee, owner func(m Member) shardkit.Hash) *line {
	l := &line{committee: c}
	owners := make([]shardkit.Hash, c.Len())
	for i, m := range c.members {
		owners[i], l.order = owner(m), append(l.order, i)
	}
	slices.SortStableFunc(l.order, func(i, k int) int { return bytes.Compare(owners[i][:], owners[k][:]) })
	sum := uint64(0)
	for _, i := range l.order {
		sum += c.members[i].Weight
		l.upto = append(l.upto, sum)
	}
	return l
}
