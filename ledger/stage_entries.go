package ledger

import (
	"bytes"
	"hash/maphash"
)

// stageEntries is a list of entries with a table that finds them by their raw
// key, and the memory for keys and values. A stage makes ten thousand entries
// in a few milliseconds; a Go map from strings takes three times as long for
// it. The seed keeps a sender from choosing keys that collide.
type stageEntries struct {
	seed  maphash.Seed
	list  []stageEntry
	slots []int32 // index of an entry + 1, or 0; a power of two of them, at most 3/4 in use
	room  []byte  // the rest of a piece of memory
}

// expect makes room for n entries.
func (s *stageEntries) expect(n int) {
	s.list = make([]stageEntry, 0, n+n/8)
	size := 16
	for size*3/4 < n {
		size *= 2
	}
	s.slots = make([]int32, size)
}

// find returns the entry of key, nil if there is none.
func (s *stageEntries) find(key []byte) *stageEntry {
	if len(s.list) == 0 {
		return nil
	}
	i := s.slots[s.slot(key)]
	if i == 0 {
		return nil
	}
	return &s.list[i-1]
}

// slot returns where key is, or the free slot where it would be.
func (s *stageEntries) slot(key []byte) uint64 {
	mask := uint64(len(s.slots) - 1)
	at := maphash.Bytes(s.seed, key) & mask
	for {
		i := s.slots[at]
		if i == 0 || bytes.Equal(s.list[i-1].name, key) {
			return at
		}
		at = (at + 1) & mask
	}
}

// entry returns the entry of key, made if there is none. It stays where it is
// until the next call.
func (s *stageEntries) entry(key []byte) *stageEntry {
	if (len(s.list)+1)*4 > len(s.slots)*3 {
		s.slots = make([]int32, max(16, 2*len(s.slots)))
		for i := range s.list {
			s.slots[s.slot(s.list[i].name)] = int32(i + 1)
		}
	}
	at := s.slot(key)
	if s.slots[at] == 0 {
		s.list = append(s.list, stageEntry{name: s.keep(key)})
		s.slots[at] = int32(len(s.list))
	}
	return &s.list[s.slots[at]-1]
}

// keep returns a copy of b, never nil.
func (s *stageEntries) keep(b []byte) []byte {
	if len(b) == 0 {
		return []byte{}
	}
	if len(b) > cap(s.room)-len(s.room) {
		s.room = make([]byte, 0, max(len(b), min(64*len(s.list), 1<<16)))
	}
	n := len(s.room)
	s.room = append(s.room, b...)
	return s.room[n:len(s.room):len(s.room)]
}
