package fbfttest

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// quotient is a machine with states merged that no search can tell apart, and
// an order among those that are left.
type quotient struct {
	machine
	first  uint32
	above  [][]uint64 // above[a] has bit b: state b can do all that a can, and has signed all that a has
	mirror []uint32   // the state that differs in the names of the blocks only
}

// reduce merges in two steps. Bisimilar states have signed the same and go to
// bisimilar states by every event. That leaves few enough to compare each with
// each; those that are above each other are merged too, so that going up comes
// to an end.
func (q *quotient) reduce() error {
	q.merge(q.bisimilar())
	if err := q.findMirror(); err != nil {
		return err
	}
	q.order()
	q.merge(q.equivalent())
	q.order()
	return nil
}

// bisimilar returns the class of every state, by refinement: states are parted
// until all of a class go to the same classes.
func (q *quotient) bisimilar() []uint32 {
	class, count := make([]uint32, len(q.next)), 0
	for {
		names := make(map[[32]byte]uint32)
		refined := make([]uint32, len(class))
		var b []byte
		for i, row := range q.next {
			b = binary.BigEndian.AppendUint32(b[:0], class[i])
			b = binary.BigEndian.AppendUint64(b, q.said[i])
			for _, to := range row {
				b = binary.BigEndian.AppendUint32(b, class[to])
			}
			h := sha256.Sum256(b)
			if _, ok := names[h]; !ok {
				names[h] = uint32(len(names))
			}
			refined[i] = names[h]
		}
		class = refined
		if len(names) == count {
			return class
		}
		count = len(names)
	}
}

// merge makes one state of each class. Classes are numbered in the order of
// their first states, which represent them.
func (q *quotient) merge(class []uint32) {
	old := *q
	q.next, q.said, q.mirror = nil, nil, nil
	for i, row := range old.next {
		if int(class[i]) < len(q.next) {
			continue
		}
		to := make([]uint32, len(row))
		for k, t := range row {
			to[k] = class[t]
		}
		q.next, q.said = append(q.next, to), append(q.said, old.said[i])
		if old.mirror != nil {
			q.mirror = append(q.mirror, class[old.mirror[i]])
		}
	}
	q.first = class[q.first]
}

// isAbove reports whether b is above a. Without an order nothing is.
func (q *quotient) isAbove(b, a uint32) bool {
	return q.above != nil && q.above[a][b/64]>>(b%64)&1 == 1
}

// order finds the greatest simulation: b is above a if b has signed all that a
// has and, whatever event takes a to a', either b or where the event takes b is
// above a'. What is possible in a committee with a is possible in the one with
// b in its place, since more is signed there; so that gets to every broken
// invariant that the other gets to.
func (q *quotient) order() {
	n := uint32(len(q.next))
	q.above = make([][]uint64, n)
	for a := range n {
		q.above[a] = make([]uint64, (n+63)/64)
		for b := range n {
			if q.said[a]&^q.said[b] == 0 {
				q.above[a][b/64] |= 1 << (b % 64)
			}
		}
	}
	for changed := true; changed; {
		changed = false
		for a := range n {
			for b := range n {
				if q.isAbove(b, a) && !q.answers(b, a) {
					q.above[a][b/64] &^= 1 << (b % 64)
					changed = true
				}
			}
		}
	}
}

// answers reports whether b can follow wherever an event takes a, or is there
// already.
func (q *quotient) answers(b, a uint32) bool {
	for k, to := range q.next[a] {
		if !q.isAbove(q.next[b][k], to) && !q.isAbove(b, to) {
			return false
		}
	}
	return true
}

// equivalent returns the classes of states that are above each other.
func (q *quotient) equivalent() []uint32 {
	class, count := make([]uint32, len(q.next)), uint32(0)
	for a := range uint32(len(class)) {
		class[a] = count
		for b := range a {
			if q.isAbove(a, b) && q.isAbove(b, a) {
				class[a] = class[b]
				break
			}
		}
		if class[a] == count {
			count++
		}
	}
	return class
}

// findMirror follows the machine and its mirror image side by side. That there
// is one is not taken for granted: if they part, the blocks are not alike.
func (q *quotient) findMirror() error {
	events, statements := make([]int, len(q.events)), make([]int, len(q.statements))
	for i := range q.events {
		for k := range q.events {
			if q.events[i].mirrors(&q.events[k]) {
				events[i] = k
			}
		}
	}
	for i, a := range q.statements {
		for k, b := range q.statements {
			if a.phase == b.phase && a.view == b.view && a.basis == b.basis && a.block == otherBlock(b.block) {
				statements[i] = k
			}
		}
	}
	known := make([]bool, len(q.next))
	q.mirror = make([]uint32, len(q.next))
	q.mirror[q.first], known[q.first] = q.first, true
	list := []uint32{q.first}
	for ; len(list) > 0; list = list[1:] {
		a := list[0]
		var said uint64
		for k := range q.statements {
			said |= q.said[a] >> k & 1 << statements[k]
		}
		if said != q.said[q.mirror[a]] {
			return errors.New("the blocks are not alike in what is signed")
		}
		for k, to := range q.next[a] {
			image := q.next[q.mirror[a]][events[k]]
			if !known[to] {
				q.mirror[to], known[to] = image, true
				list = append(list, to)
			} else if q.mirror[to] != image {
				return errors.New("the blocks are not alike in what they lead to")
			}
		}
	}
	return nil
}

// mirrors reports whether two events differ in the names of the blocks only.
func (e *event) mirrors(o *event) bool {
	return e.act == o.act && e.view == o.view && e.basis == o.basis && e.above == o.above && e.block == otherBlock(o.block)
}

func otherBlock(block uint8) uint8 {
	if block == 0 {
		return 0
	}
	return 3 - block
}
