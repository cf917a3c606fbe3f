package fbfttest

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/shardkit/shardkit/fbft"
)

// Search explores one height of four members of equal weight, one of them
// Byzantine, over all that the network and that member can do up to a view.
//
// The cores are the production ones. The network is the set of all statements
// signed so far: whatever can be made of them may reach anybody at any time,
// any number of times, or never. The Byzantine member leads every view and has
// signed every well-formed statement about two blocks. It is handed every vote
// and report, and shows whom it likes any announcement, any certificate that
// votes of two honest members allow, and any NEWVIEW that reports of two allow.
// A member's timer may run out at any time, it may join others, and it may lose
// power and start again from its log. Deliveries that an honest leader or
// collector would make are among those the Byzantine one can make. Nobody is
// shown a decision: whoever sees one does nothing more at this height.
//
// The states are those of three honest members. Because nothing that was signed
// is ever unsigned, an event that is possible stays possible whatever the
// others do, and a broken invariant stays broken. On this rest the reductions:
//
//   - What an event does to a member depends on the member alone, who signed
//     does not matter to it: so one machine, found beforehand with fixed
//     signers, stands for all three (machine), and states of the committee that
//     differ in the names of members are one.
//   - States of the machine that sign the same now and after any events are
//     one, and states that differ in the names of the blocks alone are visited
//     once (quotient).
//   - A member that can do all that it could before and has signed no less
//     (quotient.order) does no harm by going on. If such a step is possible it
//     is the only one taken; and of the steps of one member those are left out
//     that another one outdoes.
//
// So every state that can be reached is reached, or one in which somebody has
// signed more and everybody can do as much.
type Search struct {
	Views     uint64      // views 0 … Views-1
	Restarts  int         // power failures per member
	MaxStates int         // stop after so many; 0: never
	Core      fbft.Config // Mutant of the cores

	plain bool // nothing is reduced, but that members have no names
	run   run
}

// run is the state of a search.
type run struct {
	q        *quotient
	needs    []need      // by event
	prepares [2][]uint64 // by block and view: PREPARE, on whatever basis
	commits  [2]uint64   // by block: COMMIT, in whatever view
	seen     table
	frontier []uint64 // states that were not expanded yet, the latest last
}

// SearchResult says how far a search went.
type SearchResult struct {
	Members  int  // states of one member, whatever the others do
	Classes  int  // those that are different
	States   int  // states of the committee
	Complete bool // the frontier emptied: there is no other state
}

// Run searches until there is nothing new, or enough. An error is a broken
// invariant: one block is decided, one is prepared in a view, and no member
// signs two statements that clash.
func (s *Search) Run() (res SearchResult, err error) {
	m, err := s.explore()
	if err != nil {
		return res, err
	}
	q := &quotient{machine: *m}
	if !s.plain {
		if err := q.reduce(); err != nil {
			return res, err
		}
	}
	res.Members, res.Classes = len(m.next), len(q.next)
	if res.Classes > 1<<classBits {
		return res, fmt.Errorf("%d states of one member are too many", res.Classes)
	}
	s.run = run{q: q}
	r := &s.run
	r.read(s.Views)
	r.visit([3]uint32{q.first, q.first, q.first})
	for len(r.frontier) > 0 && err == nil && (s.MaxStates == 0 || r.seen.count < s.MaxStates) {
		at := unpack(r.frontier[len(r.frontier)-1])
		r.frontier = r.frontier[:len(r.frontier)-1]
		err = r.expand(at)
	}
	res.States, res.Complete = r.seen.count, len(r.frontier) == 0 && err == nil
	return res, err
}

// need is what must have been signed for an event to be possible. All of it is
// about more being signed, never less.
type need struct {
	act     uint8
	certs   uint64 // one of these, by two honest members; 0: no certificate is needed
	reports uint64 // one of these: each of two honest members, or to join one other
}

// read derives from the statements what makes events possible and what breaks
// invariants.
func (r *run) read(views uint64) {
	for i := range r.q.events {
		r.needs = append(r.needs, r.need(&r.q.events[i]))
	}
	for k := range uint8(2) {
		for v := range views {
			r.prepares[k] = append(r.prepares[k], r.which(func(st statement) bool {
				return st.phase == fbft.Prepare && st.view == v && st.block == k+1
			}))
		}
		r.commits[k] = r.which(func(st statement) bool { return st.phase == fbft.Commit && st.block == k+1 })
	}
}

// need says what an event shows that others must have signed.
func (r *run) need(e *event) need {
	n := need{act: e.act}
	switch e.act {
	case actPrepared: // PREPARE signs what its NEWVIEW rested on
		n.certs = r.which(func(st statement) bool {
			return st == statement{phase: fbft.Prepare, view: e.view, block: e.block, basis: e.basis}
		})
	case actJoin:
		n.reports = r.which(func(st statement) bool { return st.phase == 0 && st.view == e.above })
	case actNewView: // the claim, or less; the Byzantine member claims as it likes
		n.reports = r.which(func(st statement) bool {
			return st.phase == 0 && st.view == e.view &&
				(st.basis < e.basis || st.basis == e.basis && (e.basis == 0 || st.block == e.block))
		})
		n.certs = r.which(func(st statement) bool {
			return st.phase == fbft.Prepare && e.basis > 0 && st.view == uint64(e.basis-1) && st.block == e.block
		})
	}
	return n
}

// which returns the bits of the statements that are so.
func (r *run) which(is func(st statement) bool) (set uint64) {
	for i, st := range r.q.statements {
		if is(st) {
			set |= 1 << i
		}
	}
	return set
}

// signed is what the honest members have signed: each, and what two of them
// have, which with the Byzantine member is a quorum.
type signed struct {
	each   [3]uint64
	quorum uint64
}

// signed gathers it for a state of the committee.
func (r *run) signed(at [3]uint32) signed {
	a, b, c := r.q.said[at[0]], r.q.said[at[1]], r.q.said[at[2]]
	return signed{each: [3]uint64{a, b, c}, quorum: a&b | a&c | b&c}
}

// possible reports whether an event can happen to member i.
func (n *need) possible(i int, by signed) bool {
	switch n.act {
	case actPrepared:
		return by.quorum&n.certs != 0
	case actJoin:
		return (by.each[(i+1)%3]|by.each[(i+2)%3])&n.reports != 0
	case actNewView:
		reporters := 0
		for _, set := range by.each {
			if set&n.reports != 0 {
				reporters++
			}
		}
		return reporters >= 2 && (n.certs == 0 || by.quorum&n.certs != 0)
	}
	return true
}

// check is the invariants of the committee.
func (r *run) check(by signed) error {
	both := func(a, b uint64) bool { return by.quorum&a != 0 && by.quorum&b != 0 }
	if both(r.commits[0], r.commits[1]) {
		return fmt.Errorf("two blocks have a quorum of %v", fbft.Commit)
	}
	for v := range r.prepares[0] {
		if both(r.prepares[0][v], r.prepares[1][v]) {
			return fmt.Errorf("two blocks have a quorum of %v in view %d", fbft.Prepare, v)
		}
	}
	return nil
}

// expand visits what can come next: one step that does no harm, or else all
// that no other step of the same member outdoes.
func (r *run) expand(at [3]uint32) error {
	by := r.signed(at)
	if err := r.check(by); err != nil {
		return err
	}
	var steps [3][]uint32
	for i, from := range at {
		if i > 0 && at[i-1] == from {
			continue // the same again under another name
		}
		for k, to := range r.q.next[from] {
			if to == from || slices.Contains(steps[i], to) || !r.needs[k].possible(i, by) {
				continue
			}
			if r.q.isAbove(to, from) {
				at[i] = to
				r.visit(at)
				return nil
			}
			steps[i] = append(steps[i], to)
		}
	}
	for i, list := range steps {
		for _, to := range list {
			if !slices.ContainsFunc(list, func(o uint32) bool { return o != to && r.q.isAbove(o, to) }) {
				next := at
				next[i] = to
				r.visit(next)
			}
		}
	}
	return nil
}

// visit puts a state on the frontier unless it was there before, under
// whatever names.
func (r *run) visit(at [3]uint32) {
	key := pack(at)
	if m := r.q.mirror; m != nil {
		key = min(key, pack([3]uint32{m[at[0]], m[at[1]], m[at[2]]}))
	}
	if r.seen.add(key) {
		r.frontier = append(r.frontier, key)
	}
}

// classBits is as many bits as three fit a key with.
const classBits = 21

// pack makes one number of a state of the committee, members in order.
func pack(at [3]uint32) uint64 {
	lo, mid, hi := min(at[0], at[1]), max(at[0], at[1]), at[2]
	lo, mid, hi = min(lo, hi), max(lo, min(mid, hi)), max(mid, hi)
	return uint64(lo)<<(2*classBits) | uint64(mid)<<classBits | uint64(hi)
}

func unpack(key uint64) [3]uint32 {
	const mask = 1<<classBits - 1
	return [3]uint32{uint32(key >> (2 * classBits)), uint32(key >> classBits & mask), uint32(key & mask)}
}

// table is a set of keys, nine bytes each when it is full: open addressing,
// and no digests in place of keys, so that no state is taken for another. The
// zero table is empty.
type table struct {
	slots []uint64 // a key plus one; 0: free
	count int
}

// add reports whether key is new.
func (t *table) add(key uint64) bool {
	if t.count >= len(t.slots)/8*7 {
		old := t.slots
		t.slots = make([]uint64, max(1<<16, 2*len(old)))
		for _, k := range old {
			if k != 0 {
				t.put(k)
			}
		}
	}
	if !t.put(key + 1) {
		return false
	}
	t.count++
	return true
}

// put looks for a key from its place on, up to the first free slot.
func (t *table) put(k uint64) bool {
	n := uint64(len(t.slots))
	at, _ := bits.Mul64(k*0x9e3779b97f4a7c15, n) // the golden ratio spreads neighbours
	for t.slots[at] != 0 {
		if t.slots[at] == k {
			return false
		}
		at = (at + 1) % n
	}
	t.slots[at] = k
	return true
}
