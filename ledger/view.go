package ledger

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/shardkit/shardkit"
)

// View is one committed version, for reading and proving. It is safe for
// concurrent use and stays as it is while commits go on, also when its version
// has left the window; it then holds the undo records since in memory.
type View struct {
	state  *State
	number uint64
	tree   subtree
	count  uint64
	log    *undoLog
}

// View opens a version of the window: the committed one or one of the Undo
// before it, else ErrPruned. With Undo 0 the view proves presence for ever,
// but anything that needs a value returns ErrPruned after the next commit.
func (s *State) View(version uint64) (*View, error) {
	v, err := s.versionAt(version)
	if err != nil {
		return nil, err
	}
	return &View{s, version, *v.tree, v.count, v.log}, nil
}

// Root returns the root of the version.
func (v *View) Root() shardkit.Hash { return v.tree.hash }

// Version returns the number of the version.
func (v *View) Version() uint64 { return v.number }

// Len returns the number of keys.
func (v *View) Len() uint64 { return v.count }

// Close lets go of the memory that the view holds. The view must not be used
// after it.
func (v *View) Close() { v.tree, v.log = subtree{}, &undoLog{} }

// Get returns the value of key, which belongs to the caller.
func (v *View) Get(key []byte) (value []byte, ok bool, err error) {
	return v.get(sha256.Sum256(key))
}

func (v *View) get(key shardkit.Hash) ([]byte, bool, error) {
	// First the store, then the log: a commit hangs its record on the log
	// before it touches the store, so this order misses none.
	value, ok, err := v.state.read(key, nil)
	if err != nil {
		return nil, false, err
	}
	for l := v.log.next.Load(); l != nil; l = l.next.Load() {
		if l.record == nil {
			return nil, false, ErrPruned
		}
		if e, found := l.lookup(&key); found { // the oldest change since the version has its value
			return bytes.Clone(e.value), e.kind != undoAbsent, nil
		}
	}
	return value, ok, nil
}

// load is the treeLoad of the version.
func (v *View) load(p shardkit.Hash, depth int) ([]treeLeaf, error) {
	return v.state.leavesAt(v.state.store.Scan, v.log, p, depth)
}

// source is the treeSource of a version.
func (l *undoLog) source(s *State) treeSource {
	return func(f func(load treeLoad) error) error {
		return s.scans(func(scan ScanFunc) error {
			return f(func(p shardkit.Hash, depth int) ([]treeLeaf, error) { return s.leavesAt(scan, l, p, depth) })
		})
	}
}

// leavesAt returns the leaves under a prefix as they were at a version.
func (s *State) leavesAt(scan ScanFunc, at *undoLog, p shardkit.Hash, depth int) ([]treeLeaf, error) {
	leaves, err := s.leaves(scan, p, depth)
	if err != nil {
		return nil, err
	}
	since, err := at.since()
	if err != nil {
		return nil, err
	}
	last := treeLast(p, depth)
	// Newest first, so that the oldest change has the last word: it has the
	// value of the version.
	for _, l := range slices.Backward(since) {
		var ch []treeChange
		for i := l.find(&p); i < len(l.entries); i++ {
			e := l.entry(i)
			if bytes.Compare(e.key[:], last[:]) > 0 {
				break
			}
			c := treeChange{key: e.key}
			if e.kind != undoAbsent {
				c.leaf = leafOf(e.key, e.value)
			}
			ch = append(ch, c)
		}
		if len(ch) > 0 {
			leaves = treeMerge(nil, leaves, ch)
		}
	}
	return leaves, nil
}

// viewPair is one pair with its raw key.
type viewPair struct {
	key         shardkit.Hash
	name, value []byte
}

func viewPairCompare(p viewPair, k shardkit.Hash) int { return bytes.Compare(p.key[:], k[:]) }

// errViewPage ends a scan that has enough.
var errViewPage = errors.New("page is full")

// page returns the pairs of the version from a hash on, in order, about
// maxBytes of them but at least one; more is false if they are the last.
func (v *View) page(from shardkit.Hash, maxBytes int) (pairs []viewPair, more bool, err error) {
	for {
		pairs, last, more, err := v.state.pairs(from, maxBytes)
		if err == nil {
			pairs, err = v.patch(pairs, from, last)
		}
		if err == nil && more && len(pairs) > 0 {
			more, err = v.after(pairs[len(pairs)-1].key)
		}
		if err != nil || len(pairs) > 0 || !more {
			return pairs, more, err
		}
		from = hashAfter(last) // not reached if last is the greatest hash: then more is false
	}
}

// after reports whether the version has a key after k, which it has. The store
// does not tell: what follows there may have come later.
func (v *View) after(k shardkit.Hash) (bool, error) {
	at, p, h := v.tree, shardkit.Hash{}, &nodeHasher{}
	for depth := 0; at.keys() > 1; depth++ {
		l, r, err := v.state.shape.sides(h, &at, p, depth, v.load)
		if err != nil {
			return false, err
		}
		if !treeBit(&k, depth) {
			if r.keys() > 0 {
				return true, nil
			}
			at = l
		} else {
			at, p = r, treeSide(p, depth)
		}
	}
	return false, nil
}

// hashAfter is the hash after h, zero after the greatest.
func hashAfter(h shardkit.Hash) shardkit.Hash {
	for i := len(h) - 1; i >= 0; i-- {
		if h[i]++; h[i] != 0 {
			break
		}
	}
	return h
}

// pairs reads a page as the store has it: everything from the hash from up to
// and with last.
func (s *State) pairs(from shardkit.Hash, maxBytes int) (out []viewPair, last shardkit.Hash, more bool, err error) {
	last = treeLast(shardkit.Hash{}, 0)
	lo, hi := s.keys.within(kindData, from, last)
	size := 0
	err = s.store.Scan(lo, hi, func(k, v []byte) error {
		if size >= maxBytes && len(out) > 0 {
			return errViewPage
		}
		h, err := s.keys.strip(k)
		out = append(out, viewPair{key: h, value: append([]byte{}, v...)})
		size += len(v) + 2*len(h) // about what name and framing add
		return err
	})
	if more = errors.Is(err, errViewPage); more {
		last, err = out[len(out)-1].key, nil
	}
	if err != nil {
		return nil, last, false, err
	}
	// Names come in the same order. A commit between the two scans may leave
	// some without a name: patch has it, or says that it is missing.
	lo, hi = s.keys.within(kindName, from, last)
	rest := out
	err = s.store.Scan(lo, hi, func(k, v []byte) error {
		h, err := s.keys.strip(k)
		for len(rest) > 0 && viewPairCompare(rest[0], h) < 0 {
			rest = rest[1:]
		}
		if len(rest) > 0 && rest[0].key == h {
			rest[0].name = bytes.Clone(v)
		}
		return err
	})
	return out, last, more, err
}

// patch turns what the store had between two hashes into what the version
// had.
func (v *View) patch(pairs []viewPair, from, last shardkit.Hash) ([]viewPair, error) {
	since, err := v.log.since()
	if err != nil {
		return nil, err
	}
	for _, l := range slices.Backward(since) {
		pairs = l.patch(pairs, from, last)
	}
	// A wrong name would not show in the root, which knows only its hash.
	for i := range pairs {
		if sha256.Sum256(pairs[i].name) != pairs[i].key {
			return nil, &DamageError{"name of a key", errStateRun}
		}
	}
	return pairs, nil
}

// patch takes the commit of the link back.
func (l *undoLog) patch(pairs []viewPair, from, last shardkit.Hash) []viewPair {
	out := make([]viewPair, 0, len(pairs))
	for i := l.find(&from); i < len(l.entries); i++ {
		e := l.entry(i)
		if bytes.Compare(e.key[:], last[:]) > 0 {
			break
		}
		n, found := slices.BinarySearchFunc(pairs, e.key, viewPairCompare)
		out = append(out, pairs[:n]...)
		pairs = pairs[n:]
		p := viewPair{key: e.key, name: e.name, value: e.value}
		if found {
			if p.name == nil {
				p.name = pairs[0].name // the commit left the key where it was
			}
			pairs = pairs[1:]
		}
		if e.kind != undoAbsent {
			out = append(out, p)
		}
	}
	return append(out, pairs...)
}

// Scan calls fn with every raw key and value of the version, in order of the
// hashes of the keys. An error of fn ends it and is returned.
func (v *View) Scan(fn func(key, value []byte) error) error {
	from, more := shardkit.Hash{}, true
	for more {
		var pairs []viewPair
		var err error
		if pairs, more, err = v.page(from, 1<<20); err != nil {
			return err
		}
		for _, p := range pairs {
			if err := fn(p.name, p.value); err != nil {
				return err
			}
			from = hashAfter(p.key)
		}
	}
	return nil
}

// Scan calls fn with every raw key and value of the committed version, in
// order of the hashes of the keys. It may run beside commits if Undo is above
// 0; otherwise a commit ends it with ErrPruned.
func (s *State) Scan(fn func(key, value []byte) error) error {
	head := s.head()
	v := &View{s, head.number, *head.tree, head.count, head.log}
	return v.Scan(fn)
}
