package ledger

import (
	"bytes"
	"crypto/sha256"
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
//	more        H(0x01 ‖ left ‖ right), an empty side counting as zero
//
// so the root depends on the pairs alone, never on the order of changes.
//
// In memory, a subtree of few keys is one sorted run of leaves, or, in bucket
// mode, only their number; the hashes below it are computed when needed.
// Nothing is changed in place: an update copies the paths it touches, so that
// a root once taken can be read for ever without a lock.

const (
	treeRunKeys    = 4  // most keys of a run: more of them, less memory and more hashing
	treeFarKeys    = 16 // the same in bucket mode, where a run costs a scan of the store
	treeForkLeast  = 64 // changes on each side that are worth a goroutine
	treeDepthLimit = 256
)

// treeLeaf is one key of the tree.
type treeLeaf struct {
	key  shardkit.Hash // of the raw key
	hash shardkit.Hash // of the leaf
}

// subtree is a part of the tree: the keys that share their first bits. The
// zero subtree is empty; else node is a *treeRun, a treeFar or, if the keys are
// more than a run holds, a *treeInner.
type subtree struct {
	hash shardkit.Hash
	node any
}

// treeInner is a node with its two sides.
type treeInner struct{ left, right subtree }

// treeRun is the first n leaves, sorted.
type treeRun struct {
	leaves [treeRunKeys]treeLeaf
	n      int
}

// treeFar is a run whose leaves are made from the store: their number.
type treeFar uint8

// treeLoaded is a part of a run that somebody reads. It is never in a tree.
type treeLoaded []treeLeaf

// treeMany is what keys says of a subtree that is not a run.
const treeMany = 1 << 16

// keys is the number of keys of a run, treeMany for more.
func (s *subtree) keys() int {
	switch n := s.node.(type) {
	case nil:
		return 0
	case *treeRun:
		return n.n
	case treeFar:
		return int(n)
	case treeLoaded:
		return len(n)
	}
	return treeMany
}

// near is the leaves of a run in memory; the caller does not change them.
func (s *subtree) near() []treeLeaf {
	switch n := s.node.(type) {
	case *treeRun:
		return n.leaves[:n.n]
	case treeLoaded:
		return n
	}
	return nil
}

// treeChange is what happens to one key. After the update that it was part
// of, existed says whether the key was there before.
type treeChange struct {
	key     shardkit.Hash
	leaf    shardkit.Hash // zero: the key goes
	existed bool
	entry   int32 // index of the stage's entry
}

func leafHash(key, value shardkit.Hash) shardkit.Hash {
	var b [65]byte
	copy(b[1:], key[:])
	copy(b[33:], value[:])
	return sha256.Sum256(b[:])
}

// leafOf is the leaf of a key with a value.
func leafOf(key shardkit.Hash, value []byte) shardkit.Hash {
	return leafHash(key, sha256.Sum256(value))
}

func innerHash(left, right *shardkit.Hash) shardkit.Hash {
	var b [65]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}

// treeBit is the bit of k that decides the side at depth.
func treeBit(k *shardkit.Hash, depth int) bool { return k[depth>>3]&(0x80>>(depth&7)) != 0 }

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

// treeFold is the hash of the sorted leaves, which share their first depth
// bits.
func treeFold(leaves []treeLeaf, depth int) shardkit.Hash {
	switch len(leaves) {
	case 0:
		return shardkit.Hash{}
	case 1:
		return leaves[0].hash
	}
	n := treeCut(leaves, depth)
	l, r := treeFold(leaves[:n], depth+1), treeFold(leaves[n:], depth+1)
	return innerHash(&l, &r)
}

// A treeLoad reads the leaves of a run in bucket mode: the keys from the
// prefix p of depth bits to the last one under it. It may be called from many
// goroutines.
type treeLoad func(p shardkit.Hash, depth int) ([]treeLeaf, error)

// treeShape is what all subtrees of a State have in common.
type treeShape struct {
	far   bool          // bucket mode
	most  int           // keys of a run
	slots chan struct{} // one token for each goroutine beside the caller's
}

// newTreeShape makes a shape; workers 0 means one for each processor.
func newTreeShape(far bool, workers int) *treeShape {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	t := &treeShape{far: far, most: treeRunKeys, slots: make(chan struct{}, workers-1)}
	if far {
		t.most = treeFarKeys
	}
	return t
}

// build makes dst the subtree of sorted leaves that share depth bits. It keeps
// no reference to them.
func (t *treeShape) build(dst *subtree, leaves []treeLeaf, depth int) {
	if len(leaves) > t.most {
		i := treeCut(leaves, depth)
		in := &treeInner{}
		t.build(&in.left, leaves[:i], depth+1)
		t.build(&in.right, leaves[i:], depth+1)
		t.join(dst, in)
		return
	}
	dst.hash = treeFold(leaves, depth)
	t.setRun(dst, leaves, nil)
}

// setRun makes the node of dst the run of two parts of leaves.
func (t *treeShape) setRun(dst *subtree, a, b []treeLeaf) {
	n := len(a) + len(b)
	switch {
	case n == 0:
		dst.node = nil
	case t.far:
		dst.node = treeFar(n)
	default:
		run := &treeRun{n: n}
		copy(run.leaves[copy(run.leaves[:], a):], b)
		dst.node = run
	}
}

// join makes dst the subtree of two sides.
func (t *treeShape) join(dst *subtree, in *treeInner) {
	l, r := in.left.keys(), in.right.keys()
	switch {
	case l+r > 1:
		dst.hash = innerHash(&in.left.hash, &in.right.hash)
	case l > 0:
		dst.hash = in.left.hash
	default:
		dst.hash = in.right.hash
	}
	switch {
	case l+r > t.most:
		dst.node = in
	case t.far && l+r > 0:
		dst.node = treeFar(l + r)
	default: // both sides are runs
		t.setRun(dst, in.left.near(), in.right.near())
	}
}

// update makes dst what src is with the changes made, and sorts them on the
// way. Subtrees that no change touches are shared with src. The changes are at
// least one, name each key once, and share the first depth bits with the keys
// of src.
func (t *treeShape) update(dst, src *subtree, depth int, ch []treeChange, load treeLoad) error {
	old, ok := src.node.(*treeInner)
	if !ok {
		return t.updateRun(dst, src, depth, ch, load)
	}
	n := treePart(ch, depth)
	in := &treeInner{}
	if min(n, len(ch)-n) >= treeForkLeast {
		if err := t.updateBoth(in, old, depth, ch[:n], ch[n:], load); err != nil {
			return err
		}
	} else if err := t.updateSide(&in.left, &old.left, depth+1, ch[:n], load); err != nil {
		return err
	} else if err := t.updateSide(&in.right, &old.right, depth+1, ch[n:], load); err != nil {
		return err
	}
	t.join(dst, in)
	return nil
}

// updateSide is update, or a copy if there are no changes.
func (t *treeShape) updateSide(dst, src *subtree, depth int, ch []treeChange, load treeLoad) error {
	if len(ch) == 0 {
		*dst = *src
		return nil
	}
	return t.update(dst, src, depth, ch, load)
}

// updateBoth updates the two sides of a node at the same time.
func (t *treeShape) updateBoth(dst, src *treeInner, depth int, l, r []treeChange, load treeLoad) error {
	var errL error
	wait := t.fork(func() { errL = t.update(&dst.left, &src.left, depth+1, l, load) })
	errR := t.update(&dst.right, &src.right, depth+1, r, load)
	wait()
	if errL != nil {
		return errL
	}
	return errR
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

// treePart moves the changes that go left at depth to the front and returns
// how many they are.
func treePart(ch []treeChange, depth int) int {
	i, j := 0, len(ch)
	for i < j {
		if !treeBit(&ch[i].key, depth) {
			i++
		} else {
			j--
			ch[i], ch[j] = ch[j], ch[i]
		}
	}
	return i
}

// updateRun merges changes into a run or an empty subtree.
func (t *treeShape) updateRun(dst, src *subtree, depth int, ch []treeChange, load treeLoad) error {
	if len(ch) > 1 {
		slices.SortFunc(ch, func(a, b treeChange) int { return bytes.Compare(a.key[:], b.key[:]) })
	}
	old, err := t.leaves(src, treeFirst(ch[0].key, depth), depth, load)
	if err != nil {
		return err
	}
	var room [treeRunKeys + 2]treeLeaf
	t.build(dst, treeMerge(room[:0], old, ch), depth)
	return nil
}

// leaves returns the leaves of a run.
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

// treeMerge appends to out the old leaves with the changes made, both sorted.
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

// sides returns the two halves of a subtree of more than one key, for reading.
func (t *treeShape) sides(s *subtree, p shardkit.Hash, depth int, load treeLoad) (l, r subtree, err error) {
	if in, ok := s.node.(*treeInner); ok {
		return in.left, in.right, nil
	}
	leaves, err := t.leaves(s, p, depth, load)
	if err != nil {
		return l, r, err
	}
	if treeFold(leaves, depth) != s.hash {
		return l, r, errStateRun
	}
	n := treeCut(leaves, depth)
	return treePiece(leaves[:n], depth+1), treePiece(leaves[n:], depth+1), nil
}

// treePiece is a part of a run that is in memory.
func treePiece(leaves []treeLeaf, depth int) subtree {
	if len(leaves) == 0 {
		return subtree{}
	}
	return subtree{treeFold(leaves, depth), treeLoaded(leaves)}
}

// each runs f for 0 to n-1, many at a time if that is worth it.
func (t *treeShape) each(n int, f func(i int)) {
	const chunk = 256
	var wait []func()
	for lo := 0; lo < n; lo += chunk {
		hi := min(lo+chunk, n)
		part := func() {
			for i := lo; i < hi; i++ {
				f(i)
			}
		}
		if hi == n { // the last part is for the caller, and so is the only one
			part()
			break
		}
		wait = append(wait, t.fork(part))
	}
	for _, w := range wait {
		w()
	}
}

// eachErr is each for an f that may fail; it returns one of the errors.
func (t *treeShape) eachErr(n int, f func(i int) error) error {
	var failed atomic.Pointer[error]
	t.each(n, func(i int) {
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
