package ledger

import (
	"bytes"
	"errors"
	"hash/maphash"
	"iter"
	"sync"
	"sync/atomic"
)

// Store is an ordered map of byte strings that survives a crash. State and
// Chain keep everything they have in one; package pebblestore has one on disk,
// MemStore is one in memory, and package ledgertest checks any other.
//
// All methods are safe for concurrent use, Apply beside Get and Scan included.
// Keys have at least one byte. Values may be empty. Order is that of
// bytes.Compare.
type Store interface {
	// Get returns the value of key. The value may use the memory of buf and
	// belongs to the caller; it is not nil if ok.
	Get(key, buf []byte) (value []byte, ok bool, err error)

	// Apply deletes, then sets, all or nothing: a reader and a crash see the
	// whole of it or none. When Apply returns nil it is durable. deletes
	// yields ranges from lo on, up to and without hi; hi nil means the one key
	// lo. A sequence may be nil. What it yields may change once yield returns.
	// After an error it is not known whether the change was made, and the
	// store must be opened again to find out.
	Apply(sets, deletes iter.Seq2[[]byte, []byte]) error

	// Scan calls fn in order for every key from lo on, up to and without hi;
	// hi nil means to the end. It shows the store as it was at some moment
	// between call and first fn. k and v are valid until fn returns and must
	// not be changed; fn may call Get and Scan, not Apply. An error of fn ends
	// the scan and is returned as it is.
	Scan(lo, hi []byte, fn func(k, v []byte) error) error
}

// MultiScanner is what a Store may have beside: many scans for less than as
// many calls of Scan. A State in bucket mode, where each change is a short
// scan, uses it if it is there.
type MultiScanner interface {
	// MultiScan calls f with a function that does what Scan does, until f
	// returns and for one goroutine at a time; fn must not call it again. It
	// is fastest if the ranges ascend. All its scans show the store at one
	// moment between the call of MultiScan and that of f. An error of f is
	// returned as it is.
	MultiScan(f func(scan ScanFunc) error) error
}

// ScanFunc is Store.Scan as a function.
type ScanFunc = func(lo, hi []byte, fn func(k, v []byte) error) error

// errEmptyKey is what a store says to a key of no bytes.
var errEmptyKey = errors.New("ledger: store: empty key")

// MemStore is a Store in memory. It survives nothing, but Clone makes a copy
// at any moment at no cost, which is what a test of crashes needs. The zero
// value is not ready: use NewMemStore.
//
// It is a treap with path copying: a reader holds a root that never changes.
type MemStore struct {
	seed maphash.Seed
	mu   sync.Mutex // one Apply at a time
	root atomic.Pointer[memNode]
}

// memNode is immutable once the root above it is published. It is a search
// tree by key and a heap by prio.
type memNode struct {
	key, value  []byte
	prio        uint64
	left, right *memNode
}

// NewMemStore returns an empty MemStore.
func NewMemStore() *MemStore { return &MemStore{seed: maphash.MakeSeed()} }

// Clone returns an independent store of the same content, in constant time.
func (s *MemStore) Clone() *MemStore {
	c := &MemStore{seed: s.seed}
	c.root.Store(s.root.Load())
	return c
}

// Get implements Store.
func (s *MemStore) Get(key, buf []byte) ([]byte, bool, error) {
	if len(key) == 0 {
		return nil, false, errEmptyKey
	}
	for n := s.root.Load(); n != nil; {
		switch c := bytes.Compare(key, n.key); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return memCopy(buf, n.value), true, nil
		}
	}
	return nil, false, nil
}

// memCopy copies v into buf if it fits; the result is never nil.
func memCopy(buf, v []byte) []byte {
	if buf == nil {
		buf = make([]byte, 0, len(v))
	}
	return append(buf[:0], v...)
}

// Apply implements Store. Nothing is published before everything is done, so
// a refused key changes nothing.
func (s *MemStore) Apply(sets, deletes iter.Seq2[[]byte, []byte]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	root := s.root.Load()
	if deletes != nil {
		for lo, hi := range deletes {
			if len(lo) == 0 {
				return errEmptyKey
			}
			if hi == nil {
				hi = append(bytes.Clone(lo), 0) // the least key after lo
			}
			root = memDelete(root, lo, hi)
		}
	}
	if sets != nil {
		for k, v := range sets {
			if len(k) == 0 {
				return errEmptyKey
			}
			root = s.set(root, k, v)
		}
	}
	s.root.Store(root)
	return nil
}

// Scan implements Store.
func (s *MemStore) Scan(lo, hi []byte, fn func(k, v []byte) error) error {
	return memScan(s.root.Load(), lo, hi, fn)
}

// MultiScan implements MultiScanner.
func (s *MemStore) MultiScan(f func(scan ScanFunc) error) error {
	root := s.root.Load()
	return f(func(lo, hi []byte, fn func(k, v []byte) error) error { return memScan(root, lo, hi, fn) })
}

func memScan(n *memNode, lo, hi []byte, fn func(k, v []byte) error) error {
	if n == nil {
		return nil
	}
	after := bytes.Compare(n.key, lo) >= 0
	before := hi == nil || bytes.Compare(n.key, hi) < 0
	if after {
		if err := memScan(n.left, lo, hi, fn); err != nil {
			return err
		}
	}
	if after && before {
		if err := fn(n.key, n.value); err != nil {
			return err
		}
	}
	if before {
		return memScan(n.right, lo, hi, fn)
	}
	return nil
}

// set returns the tree n with k set to a copy of v.
func (s *MemStore) set(n *memNode, k, v []byte) *memNode {
	if n == nil {
		return &memNode{key: bytes.Clone(k), value: append([]byte{}, v...), prio: maphash.Bytes(s.seed, k)}
	}
	m := *n
	switch c := bytes.Compare(k, n.key); {
	case c < 0:
		m.left = s.set(n.left, k, v)
		if m.left.prio > m.prio { // only a fresh node can rise: it may be changed
			top := m.left
			m.left, top.right = top.right, &m
			return top
		}
	case c > 0:
		m.right = s.set(n.right, k, v)
		if m.right.prio > m.prio {
			top := m.right
			m.right, top.left = top.left, &m
			return top
		}
	default:
		m.value = append([]byte{}, v...)
	}
	return &m
}

// memDelete returns the tree n without the keys from lo on and before hi.
func memDelete(n *memNode, lo, hi []byte) *memNode {
	if bytes.Compare(lo, hi) >= 0 {
		return n
	}
	left, rest := memSplit(n, lo)
	_, right := memSplit(rest, hi)
	return memJoin(left, right)
}

// memSplit parts the tree n into keys before k, and k and after.
func memSplit(n *memNode, k []byte) (before, after *memNode) {
	if n == nil {
		return nil, nil
	}
	m := *n
	if bytes.Compare(n.key, k) < 0 {
		m.right, after = memSplit(n.right, k)
		return &m, after
	}
	before, m.left = memSplit(n.left, k)
	return before, &m
}

// memJoin is the tree of a and b, where every key of a is before those of b.
func memJoin(a, b *memNode) *memNode {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.prio > b.prio:
		m := *a
		m.right = memJoin(a.right, b)
		return &m
	default:
		m := *b
		m.left = memJoin(a, b.left)
		return &m
	}
}
