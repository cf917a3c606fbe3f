package vdf

import (
	"bytes"
	"sync"
)

// memoSize is how many discriminants a Memo remembers: more than the epochs
// and attempts that a node deals with at a time.
const memoSize = 16

// Memo remembers the parameters made of the latest seeds: a discriminant takes
// up to a second. It changes no result. The zero value is ready, and so is a
// nil Memo, which remembers nothing. It is safe for concurrent use.
type Memo struct {
	mu      sync.Mutex
	entries []memoEntry // the most recent last
}

type memoEntry struct {
	seed   []byte
	params *Params
}

// Params is NewParams, made or remembered. It makes them outside the lock: two
// callers at once may both do the work.
func (m *Memo) Params(seed []byte, bits int) (*Params, error) {
	if m == nil {
		return NewParams(seed, bits)
	}
	m.mu.Lock()
	for _, e := range m.entries {
		if e.params.bits == bits && bytes.Equal(e.seed, seed) {
			m.mu.Unlock()
			return e.params, nil
		}
	}
	m.mu.Unlock()
	p, err := NewParams(seed, bits)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.entries) == memoSize {
		m.entries = append(m.entries[:0], m.entries[1:]...)
	}
	m.entries = append(m.entries, memoEntry{bytes.Clone(seed), p})
	return p, nil
}
