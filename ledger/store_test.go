package ledger_test

import (
	"fmt"
	"testing"

	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/ledger/ledgertest"
)

func TestMemStore(t *testing.T) {
	ledgertest.TestStore(t, ledgertest.Store{
		Open: func(testing.TB) ledger.Store { return ledger.NewMemStore() },
		Reopen: func(_ testing.TB, s ledger.Store) ledger.Store {
			return s.(*ledger.MemStore).Clone()
		},
	})
}

// TestMemStoreClone checks that a clone and its origin do not see each other's
// changes.
func TestMemStoreClone(t *testing.T) {
	set := func(s *ledger.MemStore, k, v string) {
		must(t, s.Apply(func(yield func(k, v []byte) bool) { yield([]byte(k), []byte(v)) }, nil))
	}
	a := ledger.NewMemStore()
	for i := range 100 {
		set(a, fmt.Sprint(i), "old")
	}
	b := a.Clone()
	set(a, "7", "a")
	set(b, "7", "b")
	for s, want := range map[*ledger.MemStore]string{a: "a", b: "b"} {
		v, _, err := s.Get([]byte("7"), nil)
		must(t, err)
		equal(t, "value", string(v), want)
	}
}
