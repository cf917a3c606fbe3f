package ledger

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// recordStore is a store with a record of every kind: a state of a few keys
// with undo records and a checkpoint, and a restore half way under "r/".
func recordStore(t testing.TB) *MemStore {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	store := NewMemStore()
	s, err := OpenState(store, StateConfig{Undo: 2, Buckets: true})
	check(err)
	for version := range uint64(2) {
		st := s.Begin()
		for i := version; i < 20; i += 1 + version {
			check(st.Set(fmt.Append(nil, "key", i), fmt.Append(nil, "value", i+version)))
		}
		check(st.Delete([]byte("key0")))
		check(st.Delete(fmt.Append(nil, "key", 18*version)))
		check(s.Commit(st, version+1, nil))
	}
	check(s.Checkpoint())
	v, err := s.View(2)
	check(err)
	r, err := OpenRestore(store, StateConfig{Prefix: []byte("r/")}, v.Root(), 2)
	check(err)
	for _, from := range []shardkit.Hash{{}, {0x80}} {
		chunk, err := v.ReadRange(from, 1)
		check(err)
		check(r.Add(from, chunk))
	}
	return store
}

// record returns the values of the records of a kind.
func record(t testing.TB, prefix string, kind byte) (all [][]byte) {
	t.Helper()
	lo, hi := stateKeys{[]byte(prefix)}.span(kind)
	if err := recordStore(t).Scan(lo, hi, func(_, v []byte) error {
		all = append(all, bytes.Clone(v))
		return nil
	}); err != nil || len(all) == 0 {
		t.Fatalf("%d records of kind %c: %v", len(all), kind, err)
	}
	return all
}

// TestStateRecords pins the encodings of the records.
func TestStateRecords(t *testing.T) {
	for _, c := range []struct {
		prefix string
		kind   byte
		want   string
	}{
		{"s/", kindHead, "010000000000000002216404123f3d74c06917a8ac913bf9f9ff3780f8b6ef303679403e6bf6a0b682"},
		{"s/", kindUndo, "01000000000000000000000000000000000000000000000000000000000000000000000000000000000000000014040623b913f92eb696aa476bd8f9bf942fb5e446f3a074a8ef553ae6fd38559c0007.. 120cf284580157a7"},
		{"s/", kindCheckpoint, "010000000000000002216404123f3d74c06917a8ac913bf9f9ff3780f8b6ef303679403e6bf6a0b682ff059370b52d71483f4ac690823754d6acad5a7a6e46d8c4d7f6f25d5aef8baa341803a4d49e77.. 141bbac21c54ad8e"},
		{"r/", kindRestore, "010000000000000002216404123f3d74c06917a8ac913bf9f9ff3780f8b6ef303679403e6bf6a0b682000000020000000000000000000000000000000000000000000000000000000000000000040623.. fa82d083e91bdf69"},
	} {
		all := slices.Concat(record(t, c.prefix, c.kind)...)
		got := hex.EncodeToString(all)
		if len(all) > 170 {
			got = fmt.Sprintf("%x.. %v", all[:80], hashOf(all))
		}
		if got != c.want {
			t.Errorf("kind %c: %s", c.kind, got)
		}
	}
}

// FuzzHead: what decodes is what encodes.
func FuzzHead(f *testing.F) {
	f.Add(record(f, "s/", kindHead)[0])
	f.Fuzz(func(t *testing.T, b []byte) {
		var v stateVersion
		r := wire.NewReader(b)
		if v.readHeadFrom(r); r.Close() == nil && !bytes.Equal(v.appendHead(nil), b) {
			t.Fatalf("%x is read as %x", b, v.appendHead(nil))
		}
	})
}

// FuzzUndo: what decodes is what encodes, and lookups in it stay inside.
func FuzzUndo(f *testing.F) {
	for _, b := range record(f, "s/", kindUndo) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l := &undoLog{record: b}
		before, err := l.index()
		if err != nil {
			return
		}
		again := wire.AppendU64(wire.AppendBool([]byte{1}, before.any), before.number)
		again = wire.AppendU32(append(again, before.root[:]...), uint32(len(l.entries)))
		for i := range l.entries {
			e := l.entry(i)
			if found, ok := l.lookup(&e.key); !ok || found.kind != e.kind {
				t.Fatalf("entry %d is not found", i)
			}
			again = append(append(again, e.key[:]...), e.kind)
			if e.kind != undoAbsent {
				again = wire.AppendBytes(again, e.value)
			}
			if e.kind == undoRemoved {
				again = append(append(again, byte(len(e.name))), e.name...)
			}
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%x is read as %x", b, again)
		}
		l.lookup(&shardkit.Hash{1})
		l.patch(nil, shardkit.Hash{}, treeLast(shardkit.Hash{}, 0))
	})
}

// FuzzCheckpoint: what decodes is what encodes, and its hashes are computed,
// not believed.
func FuzzCheckpoint(f *testing.F) {
	all := slices.Concat(record(f, "s/", kindCheckpoint)...)
	f.Add(all[1+8+32:])
	f.Add([]byte{0})
	f.Add(bytes.Repeat([]byte{checkpointInner}, 200))
	s := &State{shape: newTreeShape(true, 1)}
	f.Fuzz(func(t *testing.T, b []byte) {
		var tree subtree
		r := wire.NewReader(b)
		if s.readCheckpoint(r, &nodeHasher{}, &tree, 0); r.Close() == nil && !bytes.Equal(appendCheckpoint(nil, &tree), b) {
			t.Fatalf("%x is read as %x", b, appendCheckpoint(nil, &tree))
		}
	})
}

// FuzzRestore: what decodes is what encodes, and is what a union would make.
func FuzzRestore(f *testing.F) {
	b := record(f, "r/", kindRestore)[0]
	f.Add(b)
	at := len(b) - 64 // the last range
	f.Add(slices.Concat(b[:at-64], b[at:], b[at-64:at]))
	f.Add(slices.Concat(b[:at], make([]byte, 32), b[at+32:]))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &Restore{}
		r.head.readHeadFrom(wire.NewReader(b)) // whatever it says is what is asked for
		if r.read(b) != nil {
			return
		}
		if again := r.append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x is read as %x", b, again)
		}
		var union []restoreSpan
		for _, x := range r.done {
			union = restoreUnion(union, x)
		}
		if !slices.Equal(union, r.done) {
			t.Fatalf("ranges %v are %v", r.done, union)
		}
	})
}
