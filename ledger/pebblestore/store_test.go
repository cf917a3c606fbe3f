package pebblestore_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/ledger/ledgertest"
	"github.com/shardkit/shardkit/ledger/pebblestore"
)

var _ ledger.MultiScanner = (*pebblestore.Store)(nil)

func open(t testing.TB, fs vfs.FS) *pebblestore.Store {
	t.Helper()
	s, err := pebblestore.Open("db", pebblestore.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestConformance runs the kit; a reopen is a crash that loses all that was
// not synced.
func TestConformance(t *testing.T) {
	disks := map[ledger.Store]*vfs.MemFS{}
	on := func(t testing.TB, fs *vfs.MemFS) ledger.Store {
		s := open(t, fs)
		disks[s] = fs
		return s
	}
	ledgertest.TestStore(t, ledgertest.Store{
		Open: func(t testing.TB) ledger.Store { return on(t, vfs.NewCrashableMem()) },
		Reopen: func(t testing.TB, s ledger.Store) ledger.Store {
			return on(t, disks[s].CrashClone(vfs.CrashCloneCfg{}))
		},
	})
}

// TestDirectory runs on the operating system's files.
func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		s, err := pebblestore.Open(dir, pebblestore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok, err := s.Get([]byte("k"), nil); err != nil || ok != (i > 0) {
			t.Fatal(ok, err)
		}
		if err := s.Apply(func(yield func(k, v []byte) bool) { yield([]byte("k"), []byte("v")) }, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
