package ledger

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/shardkit/shardkit"
)

// How changes are made in a tree.

// treeChange is what happens to one key. After the update that it was part
// of, existed says whether the key was there before.
type treeChange struct {
	key     shardkit.Hash
	leaf    shardkit.Hash // zero: the key goes
	existed bool
	entry   int32 // index of the stage's entry
}

// apply makes the changes in s, the whole tree, and returns them in order.
// Nothing that hangs on s is written to: it is copied where a change touches it
// and shared else. The changes name each key once. After an error s is good for
// nothing.
//
// The top of the tree is copied, what is below it is handed to the workers in
// many more parts than there are workers, so that a slow one holds nobody up,
// and then the top is hashed.
func (t *treeShape) apply(s *subtree, ch []treeChange, source treeSource) ([]treeChange, error) {
	ch = t.sort(ch)
	gone := false
	for i := range ch {
		gone = gone || ch[i].gone()
	}
	tasks := t.open(nil, s, 0, ch)
	err := t.eachErr(len(tasks), 1, func(i int) error {
		w, _ := t.idle.Get().(*treeWorker)
		if w == nil {
			w = &treeWorker{}
		}
		defer t.idle.Put(w)
		if !t.far {
			return w.update(t, &tasks[i], gone, nil)
		}
		return source(func(load treeLoad) error { return w.update(t, &tasks[i], gone, load) })
	})
	if err == nil {
		t.close(&nodeHasher{}, s, 0, ch, gone)
	}
	return ch, err
}

// treeTask is a subtree with the changes, sorted, that fall into it.
type treeTask struct {
	at    *subtree
	depth int
	ch    []treeChange
}

// open copies the part of the tree that has many changes and appends what is
// below it to tasks. The copies are nobody else's yet: the tasks write to
// different children of them.
func (t *treeShape) open(tasks []treeTask, s *subtree, depth int, ch []treeChange) []treeTask {
	old, ok := s.node.(*treeQuad)
	if !ok || len(ch) <= t.task {
		if len(ch) > 0 {
			tasks = append(tasks, treeTask{s, depth, ch})
		}
		return tasks
	}
	q := new(*old)
	s.node = q
	for i, ch := range treeParts(ch, depth) {
		tasks = t.open(tasks, q.child(i), depth+2, ch)
	}
	return tasks
}

// close hashes what open has copied. A task of an empty subtree may have built
// a quad that open did not see; to hash that again does no harm.
func (t *treeShape) close(h *nodeHasher, s *subtree, depth int, ch []treeChange, gone bool) {
	q, ok := s.node.(*treeQuad)
	if !ok || len(ch) <= t.task {
		return
	}
	for i, ch := range treeParts(ch, depth) {
		t.close(h, q.child(i), depth+2, ch, gone)
	}
	s.hash = h.quad(q)
	if gone {
		t.shrink(h, s)
	}
}

// gone reports whether the change takes a key away.
func (c *treeChange) gone() bool { return c.leaf == shardkit.Hash{} }

// treeParts cuts sorted changes into those of the children of a quad.
func treeParts(ch []treeChange, depth int) [4][]treeChange {
	n := treeSplit(ch, depth)
	l, r := treeSplit(ch[:n], depth+1), n+treeSplit(ch[n:], depth+1)
	return [4][]treeChange{ch[:l], ch[l:n], ch[n:r], ch[r:]}
}

// treeSplit returns how many of the sorted changes go left at depth.
func treeSplit(ch []treeChange, depth int) int {
	i, j := 0, len(ch)
	for i < j {
		if m := (i + j) / 2; treeBit(&ch[m].key, depth) {
			j = m
		} else {
			i = m + 1
		}
	}
	return i
}

// treeMerge appends to out the old leaves with the changes made, both sorted,
// and notes in the changes which keys were there.
func treeMerge(out, old []treeLeaf, ch []treeChange) []treeLeaf {
	for i := range ch {
		c := &ch[i]
		n := 0
		for n < len(old) && bytes.Compare(old[n].key[:], c.key[:]) < 0 {
			n++
		}
		out, old = append(out, old[:n]...), old[n:]
		if c.existed = len(old) > 0 && old[0].key == c.key; c.existed {
			old = old[1:]
		}
		if c.leaf != (shardkit.Hash{}) {
			out = append(out, treeLeaf{c.key, c.leaf})
		}
	}
	return append(out, old...)
}

// treeOrder is the place of a change in order of the keys.
type treeOrder struct {
	first uint64 // bits of the key
	at    int32  // index of the change
}

// sort returns the changes in order. What is moved while it sorts are short
// records, each change only once. Those that begin with the same byte are about
// the same number, so they are gathered first and then sorted beside each
// other.
func (t *treeShape) sort(ch []treeChange) []treeChange {
	var start [257]int // of those with each first byte, by a counting sort
	for i := range ch {
		start[int(ch[i].key[0])+1]++
	}
	for i := range 256 {
		start[i+1] += start[i]
	}
	order, next := make([]treeOrder, len(ch)), start
	for i := range ch {
		k := &ch[i].key
		order[next[k[0]]] = treeOrder{binary.BigEndian.Uint64(k[:]), int32(i)}
		next[k[0]]++
	}
	compare := func(a, b treeOrder) int {
		if a.first != b.first {
			return cmp.Compare(a.first, b.first)
		}
		return bytes.Compare(ch[a.at].key[:], ch[b.at].key[:])
	}
	sorted := make([]treeChange, len(ch))
	work := func(b int) {
		slices.SortFunc(order[start[b]:start[b+1]], compare)
		for i := start[b]; i < start[b+1]; i++ {
			sorted[i] = ch[order[i].at]
		}
	}
	if len(ch) < 1024 { // not worth a goroutine
		for b := range 256 {
			work(b)
		}
		return sorted
	}
	t.each(256, 8, work)
	return sorted
}

// treeCount is the number of keys after an update, given that before it.
func treeCount(before uint64, ch []treeChange) uint64 {
	for i := range ch {
		switch there := ch[i].leaf != (shardkit.Hash{}); {
		case there && !ch[i].existed:
			before++
		case !there && ch[i].existed:
			before--
		}
	}
	return before
}
