package ledger

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/shardkit/shardkit"
)

// The tree: a binary trie over the SHA-256 of the keys, most significant bit
// first, in which
//
//	no key      hash is zero
//	one key     hash is that of its leaf: H(0x00 ‖ H(key) ‖ H(value))
//	more        H(left ‖ right), an empty side counting as zero
//
// so the root depends on the pairs alone, never on the order of changes.
//
// In memory, a subtree of few keys is one sorted run of leaves, or, in bucket
// mode, only their number; the hashes below it are computed when needed. Above
// the runs two levels of the trie are one object: with a million keys an
// update waits for memory more than for anything else, and half as many
// objects are half as many waits. So quads and runs begin at even depths.
// Nothing is changed in place: an update copies the paths it touches, so that
// a root once taken can be read for ever without a lock.

const (
	treeRunKeys    = 8   // most keys of a run: more of them, less memory and more hashing
	treeFarKeys    = 12  // the same in bucket mode, where a run costs a scan of the store
	treeTaskMost   = 256 // changes that a worker makes at a time
	treeTaskFar    = 32  // the same in bucket mode
	treeDepthLimit = 256
)

// treeLeaf is one key of the tree.
type treeLeaf struct {
	key  shardkit.Hash // of the raw key
	hash shardkit.Hash // of the leaf
}

// subtree is a part of the tree: the keys that share their first bits. The
// zero subtree is empty; else node is a run (see newTreeRun), a treeFar or, if
// the keys are more than a run holds, a *treeQuad. Those who walk bit by bit
// meet a *treePair or treeLoaded too.
type subtree struct {
	hash shardkit.Hash
	node any
}

// treePair is two sides.
type treePair [2]subtree

// treeQuad is a node with its children and theirs.
type treeQuad struct {
	hash [2]shardkit.Hash // of the children
	half [2]treePair      // their sides
}

// treeFar is a run whose leaves are made from the store: their number.
type treeFar uint8

// treeLoaded is a part of a run that somebody reads. It is never in a tree.
type treeLoaded []treeLeaf

// treeMany is what keys says of a subtree that is not a run.
const treeMany = 1 << 16

// newTreeRun makes the node of a run in memory: the leaves, in an array that
// is no longer than they are.
func newTreeRun(leaves []treeLeaf) any {
	switch c := append(make([]treeLeaf, 0, len(leaves)), leaves...); len(c) {
	case 1:
		return (*[1]treeLeaf)(c)
	case 2:
		return (*[2]treeLeaf)(c)
	case 3:
		return (*[3]treeLeaf)(c)
	case 4:
		return (*[4]treeLeaf)(c)
	case 5:
		return (*[5]treeLeaf)(c)
	case 6:
		return (*[6]treeLeaf)(c)
	case 7:
		return (*[7]treeLeaf)(c)
	default:
		return (*[treeRunKeys]treeLeaf)(c)
	}
}

// near is the leaves of a run in memory; the caller does not change them.
func (s *subtree) near() []treeLeaf {
	switch n := s.node.(type) {
	case *[1]treeLeaf:
		return n[:]
	case *[2]treeLeaf:
		return n[:]
	case *[3]treeLeaf:
		return n[:]
	case *[4]treeLeaf:
		return n[:]
	case *[5]treeLeaf:
		return n[:]
	case *[6]treeLeaf:
		return n[:]
	case *[7]treeLeaf:
		return n[:]
	case *[treeRunKeys]treeLeaf:
		return n[:]
	case treeLoaded:
		return n
	}
	return nil
}

// keys is the number of keys of a run, at least treeMany for more.
func (s *subtree) keys() int {
	switch n := s.node.(type) {
	case nil:
		return 0
	case *treeQuad:
		return treeMany
	case *treePair:
		return n[0].keys() + n[1].keys()
	case treeFar:
		return int(n)
	}
	return len(s.near())
}

// treeBit is the bit of k that decides the side at depth.
func treeBit(k *shardkit.Hash, depth int) bool { return k[depth>>3]&(0x80>>(depth&7)) != 0 }

// treeIndex is treeBit as the index of the side.
func treeIndex(k *shardkit.Hash, depth int) int { return int(k[depth>>3] >> (7 - depth&7) & 1) }

// treeSide is the prefix p, of depth bits, followed by a one.
func treeSide(p shardkit.Hash, depth int) shardkit.Hash {
	p[depth>>3] |= 0x80 >> (depth & 7)
	return p
}

// treeFirst is the first key that shares the first depth bits with k.
func treeFirst(k shardkit.Hash, depth int) shardkit.Hash {
	var p shardkit.Hash
	copy(p[:], k[:depth>>3])
	if depth&7 != 0 {
		p[depth>>3] = k[depth>>3] &^ (0xff >> (depth & 7))
	}
	return p
}

// treeLast is the last key that begins with the depth bits of p.
func treeLast(p shardkit.Hash, depth int) shardkit.Hash {
	if depth < treeDepthLimit {
		p[depth>>3] |= 0xff >> (depth & 7)
		for i := depth>>3 + 1; i < len(p); i++ {
			p[i] = 0xff
		}
	}
	return p
}

// treeCut returns how many of the sorted leaves go left at depth.
func treeCut(leaves []treeLeaf, depth int) int {
	if len(leaves) > 16 {
		n, _ := slices.BinarySearchFunc(leaves, true, func(l treeLeaf, _ bool) int {
			if treeBit(&l.key, depth) {
				return 1
			}
			return -1
		})
		return n
	}
	n := 0
	for n < len(leaves) && !treeBit(&leaves[n].key, depth) {
		n++
	}
	return n
}

// A treeLoad reads the leaves of a run in bucket mode: the keys from the
// prefix p of depth bits to the last one under it.
type treeLoad func(p shardkit.Hash, depth int) ([]treeLeaf, error)

// A treeSource calls f with a treeLoad for many runs, which f and those it
// calls use from one goroutine. It may be called from many.
type treeSource func(f func(load treeLoad) error) error

// treeShape is what all subtrees of a State have in common.
type treeShape struct {
	far   bool          // bucket mode
	most  int           // keys of a run
	task  int           // changes of a task
	idle  sync.Pool     // of *treeWorker
	slots chan struct{} // one token for each goroutine beside the caller's
}

// newTreeShape makes a shape; workers 0 means one for each processor.
func newTreeShape(far bool, workers int) *treeShape {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	t := &treeShape{far: far, most: treeRunKeys, task: treeTaskMost, slots: make(chan struct{}, workers-1)}
	if far {
		t.most, t.task = treeFarKeys, treeTaskFar
	}
	return t
}

// build makes s the subtree of sorted leaves that share depth bits, an even
// number. It keeps no reference to them.
func (t *treeShape) build(h *nodeHasher, s *subtree, leaves []treeLeaf, depth int) {
	if len(leaves) <= t.most {
		s.hash = h.fold(leaves, depth)
		t.setRun(s, leaves)
		return
	}
	q := &treeQuad{}
	n := treeCut(leaves, depth)
	for i, side := range [2][]treeLeaf{leaves[:n], leaves[n:]} {
		n := treeCut(side, depth+1)
		t.build(h, &q.half[i][0], side[:n], depth+2)
		t.build(h, &q.half[i][1], side[n:], depth+2)
	}
	s.hash, s.node = h.quad(q), q
}

// setRun makes the node of s a run.
func (t *treeShape) setRun(s *subtree, leaves []treeLeaf) {
	switch {
	case len(leaves) == 0:
		s.node = nil
	case t.far:
		s.node = treeFar(len(leaves))
	default:
		s.node = newTreeRun(leaves)
	}
}

// lone returns the side that stands for a pair of at most one leaf, so that a
// leaf stands where it is met first and hashes alike at any depth.
func (p *treePair) lone() (s *subtree, ok bool) {
	l, r := &p[0], &p[1]
	switch {
	case l.node == nil && r.keys() <= 1:
		return r, true
	case r.node == nil && l.keys() <= 1:
		return l, true
	}
	return nil, false
}

// shrink makes a quad a run if it has become small.
func (t *treeShape) shrink(h *nodeHasher, s *subtree) {
	q := s.node.(*treeQuad)
	n := 0
	for i := range q.half {
		n += q.half[i][0].keys() + q.half[i][1].keys()
	}
	if n > t.most {
		return
	}
	// Chains of nodes with one side, which only the keys now gone had made,
	// collapse too.
	sides := treePair{q.side(0), q.side(1)}
	s.hash = h.pair(&sides)
	if t.far && n > 0 {
		s.node = treeFar(n)
		return
	}
	leaves := make([]treeLeaf, 0, treeRunKeys)
	for i := range q.half {
		leaves = append(append(leaves, q.half[i][0].near()...), q.half[i][1].near()...)
	}
	t.setRun(s, leaves)
}

// side returns the left or the right child of a quad, for those who walk. It
// is not a copy: the pair in it is that of the quad.
func (q *treeQuad) side(i int) subtree {
	p := &q.half[i]
	if leaf, ok := p.lone(); ok {
		return *leaf
	}
	return subtree{q.hash[i], p}
}

// child is one of the four children's children.
func (q *treeQuad) child(i int) *subtree { return &q.half[i>>1][i&1] }

// leaves returns the leaves of a run, as they are in memory or in the store.
func (t *treeShape) leaves(s *subtree, p shardkit.Hash, depth int, load treeLoad) ([]treeLeaf, error) {
	n, far := s.node.(treeFar)
	if !far {
		return s.near(), nil
	}
	leaves, err := load(p, depth)
	if err == nil && len(leaves) != int(n) {
		err = errStateRun
	}
	return leaves, err
}

// sides returns the two halves of a subtree of more than one key, for reading.
func (t *treeShape) sides(h *nodeHasher, s *subtree, p shardkit.Hash, depth int, load treeLoad) (l, r subtree, err error) {
	switch n := s.node.(type) {
	case *treeQuad:
		return n.side(0), n.side(1), nil
	case *treePair:
		return n[0], n[1], nil
	}
	leaves, err := t.checked(h, s, p, depth, load)
	if err != nil {
		return l, r, err
	}
	n := treeCut(leaves, depth)
	return h.piece(leaves[:n], depth+1), h.piece(leaves[n:], depth+1), nil
}

// checked is leaves for those who prove: what comes from the store is held
// against the tree.
func (t *treeShape) checked(h *nodeHasher, s *subtree, p shardkit.Hash, depth int, load treeLoad) ([]treeLeaf, error) {
	leaves, err := t.leaves(s, p, depth, load)
	if _, far := s.node.(treeFar); err == nil && far && h.fold(leaves, depth) != s.hash {
		err = errStateRun
	}
	return leaves, err
}

// piece is a part of a run that is in memory.
func (h *nodeHasher) piece(leaves []treeLeaf, depth int) subtree {
	if len(leaves) == 0 {
		return subtree{}
	}
	return subtree{h.fold(leaves, depth), treeLoaded(leaves)}
}

// fork runs f, in a goroutine of its own if there is one to spare. The
// function it returns waits for f.
func (t *treeShape) fork(f func()) (wait func()) {
	select {
	case t.slots <- struct{}{}:
		var wg sync.WaitGroup
		wg.Go(func() {
			f()
			<-t.slots
		})
		return wg.Wait
	default:
		f()
		return func() {}
	}
}

// each runs f for 0 to n-1, chunk of them at a time on as many goroutines as
// there are to spare. Whoever has done a chunk takes the next, so none waits
// while there is work.
func (t *treeShape) each(n, chunk int, f func(i int)) {
	var next atomic.Int64
	work := func() {
		for {
			hi := int(next.Add(int64(chunk)))
			for i := hi - chunk; i < min(hi, n); i++ {
				f(i)
			}
			if hi >= n {
				return
			}
		}
	}
	var wait []func()
	for i := chunk; i < n && len(wait) < cap(t.slots); i += chunk {
		wait = append(wait, t.fork(work))
	}
	work()
	for _, w := range wait {
		w()
	}
}

// eachErr is each for an f that may fail; it returns one of the errors.
func (t *treeShape) eachErr(n, chunk int, f func(i int) error) error {
	var failed atomic.Pointer[error]
	t.each(n, chunk, func(i int) {
		if failed.Load() == nil {
			if err := f(i); err != nil {
				failed.Store(&err)
			}
		}
	})
	if p := failed.Load(); p != nil {
		return *p
	}
	return nil
}
