package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"sync/atomic"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// undoLog is one link of the list of what the commits did, each holding what
// the values were before. A view keeps a pointer to the link of its version;
// what follows there, patched over the store, gives the values of then. A link
// is hung on before the store is touched, so whoever reads the store first and
// the list after never misses a change. Links nobody points to any more are
// garbage.
type undoLog struct {
	next   atomic.Pointer[undoLog]
	number uint64 // the version this commit made

	record  []byte   // nil: the values before are not known (Undo is 0)
	entries []uint32 // where each entry starts in record, in order of their keys
}

// An undo record: what leads from a version back to the one before.
//
//	format  u8 = 1
//	any     bool, version u64, root [32]: the version before
//	count   u32
//	entries key [32], kind u8, then by kind
//	        undoAbsent:  nothing
//	        undoValue:   value
//	        undoRemoved: value, raw key
const (
	undoHeader = 1 + 1 + 8 + 32 + 4
	undoLimit  = 1<<31 - 1 // bytes of a record; its entries are found with 32 bits
)

// What a key was before a commit.
const (
	undoAbsent  = 0 // not there
	undoValue   = 1 // there, and after it too
	undoRemoved = 2 // there, and not after it
)

// undoEntry is one decoded entry.
type undoEntry struct {
	key   shardkit.Hash
	kind  byte
	value []byte // not nil unless kind is undoAbsent
	name  []byte
}

// undo is the key of the record of a version: they lie in order of age.
func (k stateKeys) undo(version uint64) []byte {
	return k.key(kindUndo, binary.BigEndian.AppendUint64(nil, version))
}

// undoRecord encodes what st changes, nil if no versions are kept. Old values
// that the stage has not read are read now.
func (s *State) undoRecord(st *Stage, head *stateVersion) ([]byte, error) {
	if s.undo == 0 {
		return nil, nil
	}
	if err := s.readOld(st); err != nil {
		return nil, err
	}
	size := undoHeader // an upper bound, so that the record is allocated once
	for i := range st.changes {
		e := &st.entries.list[st.changes[i].entry]
		size += 32 + 1 + 4 + len(e.old) + 1
		if e.value == nil {
			size += len(e.name)
		}
	}
	if size > undoLimit {
		return nil, fmt.Errorf("ledger: state: %w: undo record of %d bytes, at most %d", ErrSize, size, undoLimit)
	}
	b := append(make([]byte, 0, size), 1)
	b = wire.AppendBool(b, head.any)
	b = wire.AppendU64(b, head.number)
	b = append(b, head.root[:]...)
	b = wire.AppendU32(b, uint32(len(st.changes)))
	for i := range st.changes {
		st.touch(i)
		c := &st.changes[i]
		e := &st.entries.list[c.entry]
		b = append(b, c.key[:]...)
		switch {
		case e.old == nil:
			b = append(b, undoAbsent)
		case e.value != nil: // the raw key is where it was
			b = wire.AppendBytes(append(b, undoValue), e.old)
		default:
			b = wire.AppendBytes(append(b, undoRemoved), e.old)
			b = append(append(b, byte(len(e.name))), e.name...)
		}
	}
	return b, nil
}

// readOld reads the old values of blind changes.
func (s *State) readOld(st *Stage) error {
	return s.shape.eachErr(len(st.changes), 16, func(i int) error {
		c := &st.changes[i]
		e := &st.entries.list[c.entry]
		if e.known {
			return nil
		}
		if c.existed {
			old, err := st.below(e.name)
			if err == nil && old == nil {
				err = errStateRun
			}
			if err != nil {
				return err
			}
			e.old = old
		}
		e.known = true
		return nil
	})
}

// newUndoLog makes a link of a record of this process.
func newUndoLog(version uint64, record []byte) *undoLog {
	l := &undoLog{number: version, record: record}
	if record != nil {
		if _, err := l.index(); err != nil {
			panic("ledger: state: own undo record: " + err.Error())
		}
	}
	return l
}

// index finds the entries of the record and returns the version before it.
func (l *undoLog) index() (before *stateVersion, err error) {
	r := wire.NewReader(l.record)
	r.Expect(1, "format")
	before = &stateVersion{any: r.Bool(), number: r.U64(), root: r.Array32()}
	n := r.Count(1<<31-1, 33)
	l.entries = make([]uint32, 0, n)
	var last shardkit.Hash // in order, or lookups would miss what is there
	for i := range n {
		at := len(l.record) - r.Len()
		l.entries = append(l.entries, uint32(at))
		e := undoRead(r)
		if i > 0 && bytes.Compare(last[:], e.key[:]) >= 0 {
			r.Fail(errors.New("keys out of order"))
		}
		last = e.key
	}
	return before, r.Close()
}

// undoRead reads one entry. Values and names are parts of the record.
func undoRead(r *wire.Reader) (e undoEntry) {
	e.key = r.Array32()
	e.kind = r.U8()
	switch e.kind {
	case undoAbsent:
	case undoValue:
		e.value = r.Bytes(MaxValue)
	case undoRemoved:
		e.value = r.Bytes(MaxValue)
		if e.name = r.Fixed(int(r.U8())); len(e.name) == 0 {
			r.Fail(fmt.Errorf("%w: no key", wire.ErrValue))
		}
	default:
		r.Fail(fmt.Errorf("%w: kind %d", wire.ErrValue, e.kind))
	}
	return e
}

// entry decodes the i-th entry.
func (l *undoLog) entry(i int) undoEntry {
	return undoRead(wire.NewReader(l.record[l.entries[i]:]))
}

// find returns the index of the first entry with a key not below k.
func (l *undoLog) find(k *shardkit.Hash) int {
	return sort.Search(len(l.entries), func(i int) bool {
		at := l.entries[i]
		return bytes.Compare(l.record[at:at+32], k[:]) >= 0
	})
}

// lookup returns what k was before.
func (l *undoLog) lookup(k *shardkit.Hash) (undoEntry, bool) {
	i := l.find(k)
	if i == len(l.entries) {
		return undoEntry{}, false
	}
	e := l.entry(i)
	return e, e.key == *k
}

// since lists the links after l, oldest first. ErrPruned: one does not know
// the values before it.
func (l *undoLog) since() (list []*undoLog, err error) {
	for n := l.next.Load(); n != nil; n = n.next.Load() {
		if n.record == nil {
			return nil, ErrPruned
		}
		list = append(list, n)
	}
	return list, nil
}

// prepare makes the tree of a version that was found in the store as undo
// records, from the tree of the version after it.
func (s *State) prepare(v *stateVersion) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.tree != nil {
		return nil
	}
	if err := s.prepare(v.next); err != nil {
		return err
	}
	// The runs that this touches in bucket mode are read as they were after the
	// commit that is taken back, since that is the tree it starts from.
	log := v.log.next.Load()
	ch := make([]treeChange, len(log.entries))
	for i := range ch {
		e := log.entry(i)
		ch[i] = treeChange{key: e.key}
		if e.kind != undoAbsent {
			ch[i].leaf = leafOf(e.key, e.value)
		}
	}
	tree := *v.next.tree
	ch, err := s.shape.apply(&tree, ch, log.source(s))
	if err != nil {
		return err
	}
	if tree.hash != v.root {
		return &DamageError{fmt.Sprintf("undo record of version %d", log.number), errors.New("root differs")}
	}
	v.tree, v.count, v.next = &tree, treeCount(v.next.count, ch), nil
	return nil
}
