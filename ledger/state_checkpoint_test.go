package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/shardkit/shardkit/ledger"
)

// countingStore counts the pairs that scans show.
type countingStore struct {
	ledger.Store
	pairs atomic.Int64
}

func (s *countingStore) Scan(lo, hi []byte, fn func(k, v []byte) error) error {
	return s.Store.Scan(lo, hi, func(k, v []byte) error {
		s.pairs.Add(1)
		return fn(k, v)
	})
}

// TestStateCheckpoint opens with a checkpoint: few pairs are read, the root is
// compared all the same, and Verify finds what that does not.
func TestStateCheckpoint(t *testing.T) {
	store := &countingStore{Store: ledger.NewMemStore()}
	cfg := ledger.StateConfig{Buckets: true, Undo: 4}
	s, err := ledger.OpenState(store, cfg)
	must(t, err)
	block := func(n int, keys ...int) {
		st := s.Begin()
		for _, k := range keys {
			must(t, st.Set(fmt.Append(nil, "key", k), fmt.Append(nil, n)))
		}
		must(t, s.Commit(st, s.Version()+1, nil))
	}
	const many = 5000
	all := make([]int, many)
	for i := range all {
		all[i] = i
	}
	reopen := func() int64 {
		root, count := s.Root(), s.Len()
		store.pairs.Store(0)
		s, err = ledger.OpenState(store, cfg)
		must(t, err)
		equal(t, "root", s.Root(), root)
		equal(t, "count", s.Len(), count)
		return store.pairs.Load()
	}
	block(1, all...)
	if n := reopen(); n < many {
		t.Fatalf("read %d pairs without a checkpoint", n)
	}
	must(t, s.Checkpoint())
	if n := reopen(); n > 50 {
		t.Fatalf("read %d pairs with a fresh checkpoint", n)
	}
	block(2, 1, 2, 3)
	block(3, 2, many+1)
	if n := reopen(); n > many/10 {
		t.Fatalf("read %d pairs with a checkpoint of two versions before", n)
	}
	for i := range 5 { // now it is too old
		block(4+i, i)
	}
	if n := reopen(); n < many {
		t.Fatalf("read %d pairs with a checkpoint that is too old", n)
	}
	must(t, s.Checkpoint())
	damagePair(t, store)
	reopen()
	var damage *ledger.DamageError
	if err := s.Verify(); !errors.As(err, &damage) {
		t.Fatalf("Verify: %v", err)
	}
	memory, err := ledger.OpenState(ledger.NewMemStore(), ledger.StateConfig{})
	must(t, err)
	if memory.Checkpoint() == nil {
		t.Fatal("a checkpoint in memory mode")
	}
}

// damagePair changes the value of some key behind the state's back.
func damagePair(t *testing.T, store ledger.Store) {
	done := errors.New("done")
	var key []byte
	err := store.Scan([]byte("s/d"), []byte("s/e"), func(k, _ []byte) error {
		key = bytes.Clone(k)
		return done
	})
	wantErr(t, err, done)
	must(t, store.Apply(func(yield func(k, v []byte) bool) { yield(key, []byte("damaged")) }, nil))
}

// TestStateCheckpointDamage changes each byte of a checkpoint: the state opens
// with the right root or not at all.
func TestStateCheckpointDamage(t *testing.T) {
	clean := ledger.NewMemStore()
	h := newHistory(t, ledger.StateConfig{Buckets: true, Undo: 2}, clean, 4)
	for range 8 {
		h.block()
	}
	must(t, h.state.Checkpoint())
	key := []byte("s/c\x00\x00\x00\x00")
	record, ok, err := clean.Get(key, nil)
	must(t, err)
	equal(t, "checkpoint", ok, true)
	for i := range record {
		bad := bytes.Clone(record)
		bad[i] ^= 1 << h.r.IntN(8)
		store := clean.Clone()
		must(t, store.Apply(func(yield func(k, v []byte) bool) { yield(key, bad) }, nil))
		s, err := ledger.OpenState(store, h.cfg)
		var damage *ledger.DamageError
		if err == nil {
			equal(t, "root", s.Root(), h.state.Root())
			must(t, s.Verify())
		} else if !errors.As(err, &damage) {
			t.Fatal(err)
		}
	}
}
