package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/shardkit/shardkit"
)

// What callers of State, Stage, View and Restore tell apart.
var (
	ErrStale     = errors.New("ledger: state: stage does not build on the committed state")
	ErrFrozen    = errors.New("ledger: state: stage has children or is committed")
	ErrPruned    = errors.New("ledger: state: version is not kept")
	ErrSize      = errors.New("size not allowed")
	ErrProof     = errors.New("ledger: proof refused")
	ErrRestoring = errors.New("ledger: state: a restore has not finished")
)

var (
	errStateRun    = &DamageError{"pairs", errors.New("not those of the tree")}
	errStateFailed = errors.New("ledger: state: writing failed, open it again")
)

// DamageError says that what the store holds is not what was written.
type DamageError struct {
	What string // which record
	Err  error
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("ledger: state: damaged %s: %v", e.What, e.Err)
}

func (e *DamageError) Unwrap() error { return e.Err }

// StateConfig is how a State is kept. Prefix must be the same each time a
// store is opened; the rest may change.
type StateConfig struct {
	// Prefix begins every key of the State in its Store; no other key there may
	// begin with it. nil: "s/".
	Prefix []byte
	// Undo is the number of versions before the committed one that can be
	// viewed and rewound to. Each keeps the old values of what its successor
	// changed, in the store and in memory. 0: none; then a View of the
	// committed version can read values only until the next commit.
	Undo int
	// Buckets keeps of the tree in memory only the part above runs of up to a
	// dozen keys: a fifth of the memory or less, at the price of reading a run
	// from the store for each key changed or proved. Roots are the same.
	Buckets bool
	// Workers is the number of goroutines that compute a root or open a
	// state. 0: GOMAXPROCS.
	Workers int
}

func (c StateConfig) validate() error {
	if c.Undo < 0 || c.Undo > 1<<16 || c.Workers < 0 || c.Workers > 1<<10 {
		return errors.New("ledger: state: Undo or Workers out of range")
	}
	return nil
}

// State is an authenticated map from keys to values in a Store: every version
// has a root hash under which pairs, absences and ranges can be proved.
//
// A version is changed through stages and committed with Commit, which is
// atomic and durable together with other pairs of the caller. All methods are
// safe for concurrent use.
type State struct {
	store Store
	undo  int
	keys  stateKeys
	seed  maphash.Seed // of the tables of the stages
	shape *treeShape

	tip atomic.Pointer[Stage] // the committed stage, from the moment its commit begins

	commit sync.Mutex // one Commit, Rewind or Checkpoint at a time
	failed error      // guarded by commit: an Apply failed, so the store is ahead or behind

	mu     sync.RWMutex
	window []*stateVersion // those kept, oldest first; the last is the committed one
}

// stateVersion is a committed version.
type stateVersion struct {
	number uint64
	any    bool // false: nothing was ever committed
	root   shardkit.Hash
	log    *undoLog // position: what comes after it happened after the version

	mu    sync.Mutex
	tree  *subtree      // nil: to be made from that of next
	count uint64        // keys of tree
	next  *stateVersion // set as long as tree is nil
}

// stateKeys builds the keys of the records in the store.
type stateKeys struct{ prefix []byte }

// The kinds of records. Data and names have the hash of the raw key behind
// the kind, undo records the version.
const (
	kindHead       = 'h'
	kindData       = 'd'
	kindName       = 'n'
	kindUndo       = 'u'
	kindCheckpoint = 'c'
	kindRestore    = 'r'
)

func (k stateKeys) key(kind byte, rest []byte) []byte {
	b := make([]byte, 0, len(k.prefix)+33)
	return append(append(append(b, k.prefix...), kind), rest...)
}

// span is the range of the records of a kind.
func (k stateKeys) span(kind byte) (lo, hi []byte) { return k.key(kind, nil), k.key(kind+1, nil) }

// within is the range of the records of a kind with hashes from lo to last,
// both included.
func (k stateKeys) within(kind byte, lo, last shardkit.Hash) (from, to []byte) {
	return k.key(kind, lo[:]), append(k.key(kind, last[:]), 0)
}

// strip takes the prefix and the kind off a key of data or names.
func (k stateKeys) strip(key []byte) (h shardkit.Hash, err error) {
	if len(key) != len(k.prefix)+1+len(h) {
		return h, &DamageError{"key", fmt.Errorf("%d bytes", len(key))}
	}
	return shardkit.Hash(key[len(k.prefix)+1:]), nil
}

// Root returns the root of the committed version, zero if it has no keys.
func (s *State) Root() shardkit.Hash { return s.head().root }

// Version returns the number of the committed version, 0 if there is none.
func (s *State) Version() uint64 { return s.head().number }

// Len returns the number of keys of the committed version.
func (s *State) Len() uint64 { return s.head().count }

func (s *State) head() *stateVersion {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.window[len(s.window)-1]
}

// read returns the value stored for a key; nil: absent.
func (s *State) read(key shardkit.Hash, buf []byte) ([]byte, bool, error) {
	v, ok, err := s.store.Get(s.keys.key(kindData, key[:]), buf)
	if err != nil {
		return nil, false, fmt.Errorf("ledger: state: read: %w", err)
	}
	return v, ok, nil
}

// scans calls f with a scan of the store, for many ranges if the store has a
// way for that.
func (s *State) scans(f func(scan ScanFunc) error) error {
	if m, ok := s.store.(MultiScanner); ok {
		return m.MultiScan(f)
	}
	return f(s.store.Scan)
}

// leaves reads the leaves under a prefix from the store.
func (s *State) leaves(scan ScanFunc, p shardkit.Hash, depth int) ([]treeLeaf, error) {
	var out []treeLeaf
	lo, hi := s.keys.within(kindData, p, treeLast(p, depth))
	err := scan(lo, hi, func(k, v []byte) error {
		h, err := s.keys.strip(k)
		if err == nil {
			out = append(out, treeLeaf{h, leafOf(h, v)})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ledger: state: scan: %w", err)
	}
	return out, nil
}

// Commit makes st the committed state under a version number above the
// present one (the first may be 0). The changes, the undo record and the pairs
// of extra become durable in one Apply; Commit panics if a key of extra begins
// with Prefix.
// st must be a child of the committed state. Its children stay valid, all
// other stages become stale.
//
// If the store fails, Commit and all later ones return its error, and the
// state must be opened again: it will be as before or as after.
func (s *State) Commit(st *Stage, version uint64, extra func(yield func(k, v []byte) bool)) error {
	s.commit.Lock()
	defer s.commit.Unlock()
	head := s.head()
	if err := s.admit(st, head, version); err != nil {
		return err
	}
	st.frozen.Store(true)
	tree, err := st.compute()
	if err != nil {
		return err
	}
	record, err := s.undoRecord(st, head)
	if err != nil {
		return err
	}
	log := newUndoLog(version, record)
	next := &stateVersion{number: version, any: true, root: tree.hash, log: log, tree: &tree, count: st.count}
	s.publish(st, head, log)
	expired := s.expired()
	if err := s.apply(s.commitSets(st, next, record, extra), s.commitDeletes(st, expired)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.window = append(s.window[len(expired):len(s.window):len(s.window)], next)
	return nil
}

// publish lets stages and views know what the store is about to do.
func (s *State) publish(st *Stage, head *stateVersion, log *undoLog) {
	head.log.next.Store(log)
	s.tip.Store(st)
	st.parent.Store(nil) // after the tip has moved, see live
}

// apply changes the store. Whatever stops it, be it a panic in a caller's
// iterator, leaves the state failed.
func (s *State) apply(sets, deletes iter.Seq2[[]byte, []byte]) error {
	s.failed = errStateFailed
	if err := s.store.Apply(sets, deletes); err != nil {
		s.failed = fmt.Errorf("%w: %w", errStateFailed, err)
		return s.failed
	}
	s.failed = nil
	return nil
}

// admit checks that st can be committed as version.
func (s *State) admit(st *Stage, head *stateVersion, version uint64) error {
	switch {
	case s.failed != nil:
		return s.failed
	case st.state != s:
		return errors.New("ledger: state: stage of another state")
	case !st.live() || st.parent.Load() != s.tip.Load():
		return ErrStale
	case head.any && version <= head.number:
		return fmt.Errorf("ledger: state: version %d is not above %d", version, head.number)
	}
	return nil
}

// expired are the versions that one more commit pushes out of the window.
func (s *State) expired() []*stateVersion {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.window[:max(0, len(s.window)-s.undo)]
}

// commitSets yields the pairs of a commit, those of the state in order of
// their keys.
func (s *State) commitSets(st *Stage, v *stateVersion, undo []byte, extra iter.Seq2[[]byte, []byte]) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		k := s.keys.key(kindData, make([]byte, 32))
		at := len(k) - 32
		for i := range st.changes {
			st.touch(i)
			if c := &st.changes[i]; c.leaf != (shardkit.Hash{}) {
				copy(k[at:], c.key[:])
				if !yield(k, st.entries.list[c.entry].value) {
					return
				}
			}
		}
		if !yield(s.keys.key(kindHead, nil), v.appendHead(nil)) {
			return
		}
		k[at-1] = kindName
		for i := range st.changes {
			if c := &st.changes[i]; c.leaf != (shardkit.Hash{}) && !c.existed {
				copy(k[at:], c.key[:])
				if !yield(k, st.entries.list[c.entry].name) {
					return
				}
			}
		}
		if undo != nil && !yield(s.keys.undo(v.number), undo) {
			return
		}
		if extra == nil {
			return
		}
		extra(func(k, v []byte) bool {
			if bytes.HasPrefix(k, s.keys.prefix) {
				panic("ledger: state: an extra key begins with the prefix of the state")
			}
			return yield(k, v)
		})
	}
}

// commitDeletes yields the keys that a commit removes.
func (s *State) commitDeletes(st *Stage, expired []*stateVersion) iter.Seq2[[]byte, []byte] {
	return func(yield func(lo, hi []byte) bool) {
		for i := range st.changes {
			c := &st.changes[i]
			gone := c.leaf == (shardkit.Hash{}) && c.existed
			if gone && (!yield(s.keys.key(kindData, c.key[:]), nil) || !yield(s.keys.key(kindName, c.key[:]), nil)) {
				return
			}
		}
		for _, v := range expired {
			// The record of the version after v leads back to v.
			if next := v.log.next.Load(); next != nil && next.record != nil && !yield(s.keys.undo(next.number), nil) {
				return
			}
		}
	}
}

// versionAt returns a version that is kept, with its tree.
func (s *State) versionAt(number uint64) (*stateVersion, error) {
	s.mu.RLock()
	// From the newest: the empty state counts as version 0 until one is
	// committed under that number.
	i := len(s.window) - 1
	for i >= 0 && s.window[i].number != number {
		i--
	}
	if i < 0 {
		s.mu.RUnlock()
		return nil, fmt.Errorf("version %d: %w", number, ErrPruned)
	}
	v := s.window[i]
	s.mu.RUnlock()
	return v, s.prepare(v)
}
