package ledger

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/shardkit/shardkit"
)

// Limits of one pair of the state.
const (
	MaxKey   = 255     // bytes of a key; at least one
	MaxValue = 1 << 16 // bytes of a value
)

// Stage is a set of changes on top of the state, or of another stage: what a
// block does before it is certain that the block stays. Stages form a tree
// over the committed state. Only a child of the committed state can be
// committed; that makes it the committed state, leaves its children valid and
// makes all others stale.
//
// A stage has one owner at a time. Different stages may be used by different
// goroutines, also while the State commits another one; of the stage that is
// being committed, Begin, Get and Root may be used, if nothing else was under
// way when the commit began.
type Stage struct {
	state     *State
	parent    atomic.Pointer[Stage] // nil once committed
	discarded atomic.Bool

	entries stageEntries
	frozen  atomic.Bool // has children, or is committed: never changes again

	mu      sync.Mutex   // guards what follows: children ask for it from their goroutines
	done    bool         // tree and changes are those of the entries
	tree    subtree      // of the state with the changes made
	count   uint64       // keys of it
	changes []treeChange // sorted
	sum     byte         // see touch
}

// stageEntry is a key that the stage has read or changed.
type stageEntry struct {
	name   []byte // raw key
	value  []byte // now; nil: absent
	old    []byte // in the parent; nil: absent
	known  bool   // old was read
	change bool   // value was set by this stage
}

// Begin starts a stage on top of the committed state.
func (s *State) Begin() *Stage { return s.tip.Load().child() }

// Begin starts a stage on top of s, which from then on cannot be changed.
func (s *Stage) Begin() *Stage {
	s.frozen.Store(true)
	return s.child()
}

func (s *Stage) child() *Stage {
	c := &Stage{state: s.state}
	c.entries.seed = s.state.seed
	c.entries.expect(min(len(s.entries.list), 1<<14)) // a guess: about as many as the parent
	c.parent.Store(s)
	return c
}

// live reports whether s builds on the committed state. It must be asked
// after a read of the store: a commit that would have shown in the read has
// made the stage stale before.
func (s *Stage) live() bool {
	for p := s; !p.discarded.Load(); {
		if p == s.state.tip.Load() {
			return true
		}
		next := p.parent.Load()
		if next == nil {
			// The tip moves to p before p loses its parent.
			return p == s.state.tip.Load()
		}
		p = next
	}
	return false
}

// check refuses what no stage takes.
func (s *Stage) check(key []byte) error {
	if len(key) == 0 || len(key) > MaxKey {
		return fmt.Errorf("ledger: state: %w: key of %d bytes, want 1 to %d", ErrSize, len(key), MaxKey)
	}
	if !s.live() {
		return ErrStale
	}
	return nil
}

// Get returns the value of key, which must not be changed. What is read is
// remembered until the stage is gone: a change of a key that was read before
// costs no second read when it is committed with undo.
func (s *Stage) Get(key []byte) (value []byte, ok bool, err error) {
	if err := s.check(key); err != nil {
		return nil, false, err
	}
	if e := s.entries.find(key); e != nil {
		return e.value, e.value != nil, nil
	}
	v, err := s.below(key)
	if err != nil {
		return nil, false, err
	}
	if !s.live() {
		return nil, false, ErrStale
	}
	if !s.frozen.Load() {
		e := s.entries.entry(key)
		e.value, e.old, e.known = v, v, true
	}
	return v, v != nil, nil
}

// below is the value of key in the stage's parent; nil: absent.
func (s *Stage) below(key []byte) ([]byte, error) {
	for p := s.parent.Load(); p != nil; p = p.parent.Load() {
		if e := p.entries.find(key); e != nil {
			return e.value, nil
		}
	}
	v, _, err := s.state.read(sha256.Sum256(key), nil)
	return v, err
}

// Set gives key the value, a copy of which is kept. A value of no bytes is a
// value.
func (s *Stage) Set(key, value []byte) error {
	if len(value) > MaxValue {
		return fmt.Errorf("ledger: state: %w: value of %d bytes, at most %d", ErrSize, len(value), MaxValue)
	}
	return s.put(key, s.entries.keep(value))
}

// Delete makes key absent.
func (s *Stage) Delete(key []byte) error { return s.put(key, nil) }

func (s *Stage) put(key, value []byte) error {
	if err := s.check(key); err != nil {
		return err
	}
	if s.frozen.Load() {
		return ErrFrozen
	}
	e := s.entries.entry(key)
	e.value, e.change = value, true
	s.done = false
	return nil
}

// Root returns the root of the state with the changes of the stage made. It
// is computed once, on as many goroutines as StateConfig.Workers allows.
func (s *Stage) Root() (shardkit.Hash, error) {
	tree, err := s.compute()
	if !s.live() {
		return shardkit.Hash{}, ErrStale // err may come from a mixture of two states
	}
	return tree.hash, err
}

// Discard gives the stage up, and with it the stages on top of it: their
// methods return ErrStale.
func (s *Stage) Discard() { s.discarded.Store(true) }

// compute makes the tree of the stage, and before it that of its parent.
func (s *Stage) compute() (subtree, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return s.tree, nil
	}
	parent := s.parent.Load()
	if parent == nil { // committed stages are done
		return subtree{}, ErrStale
	}
	base, err := parent.compute()
	if err != nil {
		return subtree{}, err
	}
	ch, err := s.state.shape.apply(&base, s.collect(), parent.source)
	if err != nil {
		return subtree{}, err
	}
	s.tree = base
	s.changes, s.count, s.done = ch, treeCount(parent.count, ch), true
	return s.tree, nil
}

// collect lists the entries that change something, as far as is known, with
// their hashes.
func (s *Stage) collect() []treeChange {
	ch := make([]treeChange, len(s.entries.list))
	s.state.shape.each(len(ch), 64, func(i int) {
		e, c := &s.entries.list[i], &ch[i]
		same := e.known && (e.old == nil) == (e.value == nil) && bytes.Equal(e.old, e.value)
		if !e.change || same {
			c.entry = -1
			return
		}
		c.entry, c.key = int32(i), hashOf(e.name)
		if e.value != nil {
			c.leaf = leafOf(c.key, e.value)
		}
	})
	n := 0
	for i := range ch {
		if ch[i].entry < 0 {
			continue
		}
		if n < i {
			ch[n] = ch[i]
		}
		n++
	}
	return ch[:n]
}

// source is the treeSource of the state as the stage shows it: what the store
// has, with the changes of the stages from the committed one up to s. While
// one of these is being committed the store may have its changes or not; they
// are made either way.
func (s *Stage) source(f func(load treeLoad) error) error {
	// The stages come first: what leaves the chain later is in the store that
	// the scans show.
	var chain []*Stage
	for q := s; q != nil; q = q.parent.Load() {
		chain = append(chain, q)
	}
	return s.state.scans(func(scan ScanFunc) error {
		return f(func(p shardkit.Hash, depth int) ([]treeLeaf, error) {
			leaves, err := s.state.leaves(scan, p, depth)
			if err != nil {
				return nil, err
			}
			last := treeLast(p, depth)
			for _, q := range slices.Backward(chain) {
				if ch := changesWithin(q.changes, p, last); len(ch) > 0 {
					leaves = treeMerge(nil, leaves, slices.Clone(ch)) // a merge notes in its changes what it met
				}
			}
			return leaves, nil
		})
	})
}

// stageAhead is how many changes touch looks ahead.
const stageAhead = 64

// touch is for those who go through the changes in order of the hashes and
// want the values: these lie in memory in the order they were set in, so each
// would be waited for. Every stageAhead changes it reads a byte at either end
// of the next ones, all at a time, which halves the time that a batch takes to
// fill.
func (s *Stage) touch(i int) {
	if i%stageAhead != 0 {
		return
	}
	for _, c := range s.changes[i:min(i+stageAhead, len(s.changes))] {
		e := &s.entries.list[c.entry]
		for _, v := range [...][]byte{e.value, e.old} {
			if len(v) > 0 {
				s.sum += v[0] + v[len(v)-1] // of no use, but a read that nobody uses is left out
			}
		}
	}
}

// changesWithin are the sorted changes of the keys from lo to hi, both
// included.
func changesWithin(ch []treeChange, lo, hi shardkit.Hash) []treeChange {
	cmp := func(c treeChange, k shardkit.Hash) int { return bytes.Compare(c.key[:], k[:]) }
	i, _ := slices.BinarySearchFunc(ch, lo, cmp)
	j, found := slices.BinarySearchFunc(ch, hi, cmp)
	if found {
		j++
	}
	return ch[i:j]
}
