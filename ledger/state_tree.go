package ledger

import (
	"bytes"
	"crypto/sha256"
	"runtime"
	"slices"
	"sync"

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
// In memory, a subtree of at most treeBucket keys is kept as one sorted run of
// leaves, or, in bucket mode, as its hash and count only; hashes below it are
// computed when needed. Nothing is changed in place: an update copies the
// paths it touches, so that a root once taken can be read for ever without a
// lock.

const (
	treeBucket     = 8  // keys of a run in memory mode: more memory above, more hashing below
	treeBucketFar  = 32 // in bucket mode, where a run costs a scan of the store
	treeForkLeast  = 64 // changes that are worth a goroutine
	treeDepthLimit = 256
)

// treeLeaf is one key of the tree.
type treeLeaf struct {
	key  shardkit.Hash // of the raw key
	hash shardkit.Hash // of the leaf
}

// subtree is a part of the tree: the keys that share their first bits. The
// zero subtree is empty. Exactly one of inner and leaves is set if count is
// above zero, and neither in a run of bucket mode.
type subtree struct {
	hash   shardkit.Hash
	count  uint64
	inner  *treeInner
	leaves []treeLeaf
}

// treeInner is a subtree of more keys than a run holds.
type treeInner struct{ left, right subtree }

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
	far    bool // bucket mode: runs are not kept in memory
	bucket uint64
	slots  chan struct{} // one token for each goroutine beside the caller's
}

// newTreeShape makes a shape; workers 0 means one for each processor.
func newTreeShape(far bool, workers int) *treeShape {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	t := &treeShape{far: far, bucket: treeBucket, slots: make(chan struct{}, workers-1)}
	if far {
		t.bucket = treeBucketFar
	}
	return t
}

// build makes the subtree of sorted leaves that share depth bits. It keeps no
// reference to them.
func (t *treeShape) build(leaves []treeLeaf, depth int) subtree {
	n := uint64(len(leaves))
	if n == 0 {
		return subtree{}
	}
	if n > t.bucket {
		i := treeCut(leaves, depth)
		return t.join(t.build(leaves[:i], depth+1), t.build(leaves[i:], depth+1))
	}
	s := subtree{hash: treeFold(leaves, depth), count: n}
	if !t.far {
		s.leaves = append(make([]treeLeaf, 0, n), leaves...)
	}
	return s
}

// join makes the subtree of two sides.
func (t *treeShape) join(l, r subtree) subtree {
	s := subtree{count: l.count + r.count}
	switch {
	case s.count > 1:
		s.hash = innerHash(&l.hash, &r.hash)
	case l.count > 0:
		s.hash = l.hash
	default:
		s.hash = r.hash
	}
	if s.count > t.bucket {
		s.inner = &treeInner{l, r}
	} else if !t.far && s.count > 0 {
		// Both sides are runs: neither has more keys than the whole.
		s.leaves = append(append(make([]treeLeaf, 0, s.count), l.leaves...), r.leaves...)
	}
	return s
}

// update returns s with the changes made and sorts them on the way. Subtrees
// that no change touches are shared with s. Keys under s begin with the depth
// bits of p, and so do the changes, which name each key once.
func (t *treeShape) update(s subtree, p shardkit.Hash, depth int, ch []treeChange, load treeLoad) (subtree, error) {
	if len(ch) == 0 {
		return s, nil
	}
	if s.inner == nil {
		return t.updateRun(s, p, depth, ch, load)
	}
	n := treePart(ch, depth)
	var l, r subtree
	var errL, errR error
	left := func() { l, errL = t.update(s.inner.left, p, depth+1, ch[:n], load) }
	wait := t.fork(min(n, len(ch)-n) >= treeForkLeast, left)
	r, errR = t.update(s.inner.right, treeSide(p, depth), depth+1, ch[n:], load)
	wait()
	if errL != nil {
		return subtree{}, errL
	}
	if errR != nil {
		return subtree{}, errR
	}
	return t.join(l, r), nil
}

// fork runs f, in a goroutine of its own if it is worth one and one is free.
// The function it returns waits for f.
func (t *treeShape) fork(worth bool, f func()) (wait func()) {
	if worth {
		select {
		case t.slots <- struct{}{}:
			var wg sync.WaitGroup
			wg.Go(func() {
				f()
				<-t.slots
			})
			return wg.Wait
		default:
		}
	}
	f()
	return func() {}
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
func (t *treeShape) updateRun(s subtree, p shardkit.Hash, depth int, ch []treeChange, load treeLoad) (subtree, error) {
	slices.SortFunc(ch, func(a, b treeChange) int { return bytes.Compare(a.key[:], b.key[:]) })
	old, err := t.run(s, p, depth, load)
	if err != nil {
		return subtree{}, err
	}
	return t.build(treeMerge(old, ch), depth), nil
}

// run returns the leaves of a subtree that is a run.
func (t *treeShape) run(s subtree, p shardkit.Hash, depth int, load treeLoad) ([]treeLeaf, error) {
	if !t.far || s.count == 0 {
		return s.leaves, nil
	}
	leaves, err := load(p, depth)
	if err == nil && uint64(len(leaves)) != s.count {
		err = errStateRun
	}
	return leaves, err
}

// treeMerge returns the old leaves with the changes made, both sorted.
func treeMerge(old []treeLeaf, ch []treeChange) []treeLeaf {
	out := make([]treeLeaf, 0, len(old)+len(ch))
	for i := range ch {
		c := &ch[i]
		for len(old) > 0 && bytes.Compare(old[0].key[:], c.key[:]) < 0 {
			out, old = append(out, old[0]), old[1:]
		}
		if c.existed = len(old) > 0 && old[0].key == c.key; c.existed {
			old = old[1:]
		}
		if c.leaf != (shardkit.Hash{}) {
			out = append(out, treeLeaf{c.key, c.leaf})
		}
	}
	return append(out, old...)
}

// sides returns the two halves of a subtree of more than one key.
func (t *treeShape) sides(s subtree, p shardkit.Hash, depth int, load treeLoad) (l, r subtree, err error) {
	if s.inner != nil {
		return s.inner.left, s.inner.right, nil
	}
	leaves := s.leaves // set in memory mode, and once loaded
	if leaves == nil {
		if leaves, err = load(p, depth); err != nil {
			return subtree{}, subtree{}, err
		}
		if uint64(len(leaves)) != s.count || treeFold(leaves, depth) != s.hash {
			return subtree{}, subtree{}, errStateRun
		}
	}
	n := treeCut(leaves, depth)
	return treeView(leaves[:n], depth+1), treeView(leaves[n:], depth+1), nil
}

// treeView is a run over leaves, for reading only: they stay the owner's.
func treeView(leaves []treeLeaf, depth int) subtree {
	return subtree{hash: treeFold(leaves, depth), count: uint64(len(leaves)), leaves: leaves}
}

// each runs f for 0 to n-1, many at a time if that is worth it.
func (t *treeShape) each(n int, f func(i int)) {
	const chunk = 256
	var wait []func()
	for lo := 0; lo < n; lo += chunk {
		hi := min(lo+chunk, n)
		wait = append(wait, t.fork(hi < n, func() {
			for i := lo; i < hi; i++ {
				f(i)
			}
		}))
	}
	for _, w := range wait {
		w()
	}
}
