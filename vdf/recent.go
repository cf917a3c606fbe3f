package vdf

import (
	"bytes"
	"sync"
)

// recentSize is how many discriminants are remembered: more than the epochs
// and attempts that a node deals with at a time.
const recentSize = 16

// recent is a memo of NewParams. It changes no result.
var recent memo

type memo struct {
	mu      sync.Mutex
	entries []memoEntry // the most recent last
}

type memoEntry struct {
	seed   []byte
	params *Params
}

// params returns the parameters of seed and bits, made or remembered. They
// are made outside the lock: two callers at once may both do the work.
func (m *memo) params(seed []byte, bits int) *Params {
	m.mu.Lock()
	for _, e := range m.entries {
		if e.params.bits == bits && bytes.Equal(e.seed, seed) {
			m.mu.Unlock()
			return e.params
		}
	}
	m.mu.Unlock()
	p := makeParams(seed, bits)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.entries) == recentSize {
		m.entries = append(m.entries[:0], m.entries[1:]...)
	}
	m.entries = append(m.entries, memoEntry{bytes.Clone(seed), p})
	return p
}
