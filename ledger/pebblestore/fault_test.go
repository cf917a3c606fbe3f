package pebblestore_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/shardkit/shardkit/ledger/pebblestore"
)

// set applies one pair.
func set(s *pebblestore.Store, k, v string) error {
	return s.Apply(func(yield func(k, v []byte) bool) { yield([]byte(k), []byte(v)) }, nil)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// broken is a disk on which the operations that match fail once on is set.
func broken(disk vfs.FS, on *atomic.Bool, match func(op errorfs.Op) bool) vfs.FS {
	return errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if on.Load() && match(op) {
			return errorfs.ErrInjected
		}
		return nil
	}))
}

// TestFailedSync: a commit whose sync failed is not acknowledged, writing
// stops for good although the disk is well again, reads go on, and what was
// acknowledged is there after a reopen.
func TestFailedSync(t *testing.T) {
	var on atomic.Bool
	disk := vfs.NewCrashableMem()
	sync := func(op errorfs.Op) bool {
		return strings.HasSuffix(op.Path, ".log") && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo)
	}
	var out bytes.Buffer
	s, err := pebblestore.Open("db", pebblestore.Options{FS: broken(disk, &on, sync), Logger: slog.New(slog.NewTextHandler(&out, nil))})
	must(t, err)
	must(t, set(s, "a", "1"))
	on.Store(true)
	if err := set(s, "b", "2"); !errors.Is(err, errorfs.ErrInjected) {
		t.Fatalf("Apply over a failed sync: %v", err)
	}
	on.Store(false)
	if err := set(s, "c", "3"); !errors.Is(err, errorfs.ErrInjected) {
		t.Fatalf("Apply after a failed sync: %v", err)
	}
	if !errors.Is(s.Err(), errorfs.ErrInjected) || !errors.Is(s.Checkpoint("copy"), errorfs.ErrInjected) {
		t.Fatal("the error is not told")
	}
	if !strings.Contains(out.String(), "writing stops") {
		t.Fatal("the error is not logged")
	}
	v, ok, err := s.Get([]byte("a"), nil)
	if err != nil || !ok || string(v) != "1" {
		t.Fatal(v, ok, err)
	}
	if err := s.Close(); !errors.Is(err, errorfs.ErrInjected) {
		t.Fatalf("Close: %v", err)
	}
	s = open(t, disk.CrashClone(vfs.CrashCloneCfg{}))
	if _, ok, err := s.Get([]byte("a"), nil); err != nil || !ok {
		t.Fatal("acknowledged and lost", err)
	}
	if _, ok, err := s.Get([]byte("c"), nil); err != nil || ok {
		t.Fatal("refused and there", err)
	}
}

// TestDiskFull fills the disk while flushes and compactions run: they fail,
// the process lives, Close returns, and what was acknowledged is there.
func TestDiskFull(t *testing.T) {
	for _, suffix := range []string{".log", ".sst", "MANIFEST"} {
		t.Run(suffix, func(t *testing.T) {
			var on atomic.Bool
			disk := vfs.NewCrashableMem()
			full := func(op errorfs.Op) bool {
				return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpFileClose && strings.Contains(op.Path, suffix)
			}
			s, err := pebblestore.Open("db", pebblestore.Options{
				FS:     broken(disk, &on, full),
				Pebble: &pebble.Options{MemTableSize: 16 << 10, FormatMajorVersion: pebble.FormatNewest},
			})
			must(t, err)
			acked := 0
			for i := 0; ; i++ {
				on.Store(i > 50)
				if err := set(s, fmt.Sprintf("%06d", i), strings.Repeat("v", 500)); err != nil {
					break
				}
				acked = i
				if i > 100_000 {
					t.Fatal("the full disk is not noticed")
				}
			}
			_ = s.Close()
			s = open(t, disk.CrashClone(vfs.CrashCloneCfg{}))
			n := 0
			must(t, s.Scan(nil, nil, func(_, _ []byte) error { n++; return nil }))
			if n < acked+1 {
				t.Fatalf("%d pairs acknowledged, %d there", acked+1, n)
			}
		})
	}
}

// TestDamagedFile changes bytes of a table: the read says so, and writing
// stops.
func TestDamagedFile(t *testing.T) {
	disk := vfs.NewMem()
	opts := func() *pebble.Options { return &pebble.Options{FormatMajorVersion: pebble.FormatNewest} }
	db, err := pebble.Open("db", func() *pebble.Options { o := opts(); o.FS = disk; return o }())
	must(t, err)
	for i := range 1000 {
		must(t, db.Set(fmt.Appendf(nil, "%06d", i), bytes.Repeat([]byte{byte(i)}, 100), nil))
	}
	must(t, db.Flush())
	must(t, db.Close())
	names, err := disk.List("db")
	must(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") {
			f, err := disk.OpenReadWrite(disk.PathJoin("db", name), "test")
			must(t, err)
			_, err = f.WriteAt(bytes.Repeat([]byte{0xaa}, 20), 2000)
			must(t, err)
			must(t, f.Close())
		}
	}
	s, err := pebblestore.Open("db", pebblestore.Options{FS: disk, Pebble: opts()})
	must(t, err)
	defer func() { _ = s.Close() }()
	if err := s.Scan(nil, nil, func(_, _ []byte) error { return nil }); err == nil {
		t.Fatal("damaged pairs were read")
	}
	if err := set(s, "k", "v"); err == nil {
		t.Fatal("a damaged store takes writes")
	}
}

// TestClose: after Close every method says so; a scan under way ends first.
func TestClose(t *testing.T) {
	s := open(t, vfs.NewMem())
	must(t, set(s, "a", "1"))
	started, more := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := s.Scan(nil, nil, func(_, _ []byte) error {
			close(started)
			<-more
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-started
	wg.Go(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for { // until Close is waiting
		if _, _, err := s.Get([]byte("a"), nil); errors.Is(err, pebblestore.ErrClosed) {
			break
		}
	}
	close(more)
	wg.Wait()
	must(t, s.Close())
	for _, err := range []error{set(s, "b", "2"), s.Scan(nil, nil, nil), s.Checkpoint("x")} {
		if !errors.Is(err, pebblestore.ErrClosed) {
			t.Fatalf("after Close: %v", err)
		}
	}
	if s.Metrics() != nil {
		t.Fatal("metrics of a closed store")
	}
}

// TestCheckpoint makes a backup while the store is in use and opens it.
func TestCheckpoint(t *testing.T) {
	dir := t.TempDir()
	s, err := pebblestore.Open(filepath.Join(dir, "db"), pebblestore.Options{})
	must(t, err)
	must(t, set(s, "a", "1"))
	must(t, s.Checkpoint(filepath.Join(dir, "copy")))
	must(t, set(s, "a", "2"))
	if s.Metrics().WAL.BytesWritten == 0 {
		t.Fatal("no metrics")
	}
	must(t, s.Close())
	c, err := pebblestore.Open(filepath.Join(dir, "copy"), pebblestore.Options{})
	must(t, err)
	v, _, err := c.Get([]byte("a"), nil)
	must(t, err)
	if string(v) != "1" {
		t.Fatalf("the backup has %s", v)
	}
	must(t, c.Close())
}

// TestBackupDiskFull: a backup that fails elsewhere does not stop the store.
func TestBackupDiskFull(t *testing.T) {
	var on atomic.Bool
	on.Store(true)
	elsewhere := func(op errorfs.Op) bool {
		return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.HasPrefix(op.Path, "copy")
	}
	s := open(t, broken(vfs.NewMem(), &on, elsewhere))
	must(t, set(s, "a", "1"))
	if err := s.Checkpoint("copy"); err == nil {
		t.Fatal("a backup to a full disk")
	}
	must(t, s.Err())
	must(t, set(s, "a", "2"))
}
