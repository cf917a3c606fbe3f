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
	slots []stageSlot // a power of two of them, at most 3/4 in use
	room  []byte      // the rest of a piece of memory
}

// stageSlot is empty or leads to an entry. The tag keeps a search from looking
// at entries of other keys, which are all over the memory.
type stageSlot struct {
	tag uint32 // of the key's hash
	at  int32  // index of the entry + 1; 0: empty
}

// expect makes room for n entries.
func (s *stageEntries) expect(n int) {
	s.list = make([]stageEntry, 0, n+n/8)
	size := 16
	for size*3/4 < n {
		size *= 2
	}
	s.slots = make([]stageSlot, size)
}

// find returns the entry of key, nil if there is none.
func (s *stageEntries) find(key []byte) *stageEntry {
	if len(s.list) == 0 {
		return nil
	}
	slot, _ := s.slot(key)
	if slot.at == 0 {
		return nil
	}
	return &s.list[slot.at-1]
}

// slot returns where key is, or the free slot where it would be, and its tag.
func (s *stageEntries) slot(key []byte) (*stageSlot, uint32) {
	h := maphash.Bytes(s.seed, key)
	tag, mask := uint32(h>>32), uint64(len(s.slots)-1)
	for at := h & mask; ; at = (at + 1) & mask {
		slot := &s.slots[at]
		if slot.at == 0 || slot.tag == tag && bytes.Equal(s.list[slot.at-1].name, key) {
			return slot, tag
		}
	}
}

// entry returns the entry of key, made if there is none. It stays where it is
// until the next call.
func (s *stageEntries) entry(key []byte) *stageEntry {
	if (len(s.list)+1)*4 > len(s.slots)*3 {
		s.grow()
	}
	slot, tag := s.slot(key)
	if slot.at == 0 {
		s.list = append(s.list, stageEntry{name: s.keep(key)})
		*slot = stageSlot{tag, int32(len(s.list))}
	}
	return &s.list[slot.at-1]
}

// grow doubles the table.
func (s *stageEntries) grow() {
	// The entries stay: only the table is made again.
	s.slots = make([]stageSlot, max(16, 2*len(s.slots)))
	for i := range s.list {
		slot, tag := s.slot(s.list[i].name)
		*slot = stageSlot{tag, int32(i + 1)}
	}
}

// keep returns a copy of b, never nil.
func (s *stageEntries) keep(b []byte) []byte {
	if len(b) == 0 {
		return []byte{}
	}
	if len(b) > cap(s.room)-len(s.room) {
		// Small stages take little; what is left of the old piece is lost.
		s.room = make([]byte, 0, max(len(b), min(64*len(s.list), 1<<16)))
	}
	n := len(s.room)
	s.room = append(s.room, b...)
	return s.room[n:len(s.room):len(s.room)]
}
