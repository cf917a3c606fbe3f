package ledger_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/ledger/pebblestore"
)

var (
	crashPoints = flag.Int("ledger.crashes", 10_000, "crash points of TestStateCrash")
	killRounds  = flag.Int("ledger.kills", 3, "rounds of TestStateKill")
)

// crashOptions are small, so that flushes and compactions happen too.
func crashOptions(fs vfs.FS) pebblestore.Options {
	return pebblestore.Options{FS: fs, CacheBytes: 1 << 20, Pebble: &pebble.Options{
		MemTableSize:          16 << 10,
		L0CompactionThreshold: 2,
		FormatMajorVersion:    pebble.FormatNewest,
		DisableTableStats:     true,
	}}
}

// crashPlan is a history known beforehand: block n changes keys that depend on
// n and the seed alone, so its roots can be computed without a store.
type crashPlan struct {
	seed  uint64
	roots []shardkit.Hash // of version n
}

func newCrashPlan(seed uint64, blocks int) *crashPlan {
	p := &crashPlan{seed: seed, roots: make([]shardkit.Hash, 1)}
	m := model{}
	for n := 1; n <= blocks; n++ {
		p.block(n, func(k, v []byte) {
			if v == nil {
				delete(m, string(k))
			} else {
				m[string(k)] = string(v)
			}
		})
		p.roots = append(p.roots, m.root())
	}
	return p
}

// block yields the changes of block n.
func (p *crashPlan) block(n int, change func(k, v []byte)) {
	r := rand.New(rand.NewPCG(p.seed, uint64(n)))
	for range 10 {
		k := fmt.Appendf(nil, "key %d", r.IntN(60))
		if r.IntN(4) == 0 {
			change(k, nil)
		} else {
			change(k, fmt.Appendf(nil, "%d of %d %0*d", r.Uint32(), n, r.IntN(200), 0))
		}
	}
}

// commit applies block n to s, with a pair beside the state.
func (p *crashPlan) commit(s *ledger.State, n int) error {
	st := s.Begin()
	var failed error
	p.block(n, func(k, v []byte) {
		err := st.Delete(k)
		if v != nil {
			err = st.Set(k, v)
		}
		if err != nil {
			failed = err
		}
	})
	if failed != nil {
		return failed
	}
	return s.Commit(st, uint64(n), func(yield func(k, v []byte) bool) {
		yield([]byte("b/height"), binary.BigEndian.AppendUint64(nil, uint64(n)))
	})
}

// check opens what a crash left: everything acknowledged must be there, and
// perhaps blocks that were begun; all of it in one piece.
func (p *crashPlan) check(store ledger.Store, cfg ledger.StateConfig, acked, begun int) (*ledger.State, error) {
	s, err := ledger.OpenState(store, cfg)
	if err != nil {
		return nil, err
	}
	n := int(s.Version())
	if n < acked || n > begun {
		return nil, fmt.Errorf("version %d, acknowledged %d, begun %d", n, acked, begun)
	}
	if s.Root() != p.roots[n] {
		return nil, fmt.Errorf("version %d has another root", n)
	}
	v, ok, err := store.Get([]byte("b/height"), nil)
	if err != nil {
		return nil, err
	}
	if height := binary.BigEndian.Uint64(append(v, make([]byte, 8)...)); ok != (n > 0) || int(height) != n {
		return nil, fmt.Errorf("state at version %d, the pair beside it at %d", n, height)
	}
	for u := max(0, n-cfg.Undo); u < n; u++ {
		view, err := s.View(uint64(u))
		if err != nil {
			return nil, fmt.Errorf("version %d at %d: %w", u, n, err)
		}
		if view.Root() != p.roots[u] {
			return nil, fmt.Errorf("version %d at %d has another root", u, n)
		}
	}
	return s, nil
}

// crashDisk takes the place of MemFS.ReuseForWrite, which takes a lock twice
// and hangs if CrashClone comes in between.
type crashDisk struct{ *vfs.MemFS }

func (d crashDisk) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.Rename(from, to); err != nil {
		return nil, err
	}
	return d.OpenReadWrite(to, c)
}

// crash is the disk as one crash leaves it.
type crash struct {
	fs           *vfs.MemFS
	acked, begun int
	where        string
}

// TestStateCrash pulls the plug before every operation that changes the disk:
// what was not synced is lost, kept, or kept in part.
func TestStateCrash(t *testing.T) {
	const blocks = 80
	if testing.Short() {
		*crashPoints = min(*crashPoints, 1000)
	}
	var points atomic.Int64
	var wg sync.WaitGroup
	crashes := make(chan crash, 16)
	cfg := ledger.StateConfig{Undo: 3, Workers: 1}
	plan := newCrashPlan(1, blocks)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for c := range crashes {
				if err := plan.afterCrash(c, cfg); err != nil {
					t.Errorf("crash %s: %v", c.where, err)
				}
			}
		})
	}
	for round := uint64(0); points.Load() < int64(*crashPoints) && !t.Failed(); round++ {
		crashRun(t, plan, cfg, round, &points, crashes)
	}
	close(crashes)
	wg.Wait()
	t.Logf("%d crash points", points.Load())
}

// crashRun commits the plan once on a disk that is copied at each point.
func crashRun(t *testing.T, plan *crashPlan, cfg ledger.StateConfig, round uint64, points *atomic.Int64, out chan<- crash) {
	disk := vfs.NewCrashableMem()
	var acked, begun atomic.Int64
	var mu sync.Mutex
	var ops int
	hook := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		mu.Lock()
		ops++
		n, kept := ops, int(ops%3)*50
		mu.Unlock()
		// Blocks may be committed while a background job is stopped here.
		a := int(acked.Load())
		rng := rand.New(rand.NewPCG(round, uint64(n)))
		fs := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: rng})
		points.Add(1)
		out <- crash{fs, a, int(begun.Load()), fmt.Sprintf("round %d, operation %d (%v %s), %d %% of the rest kept", round, n, op.Kind, op.Path, kept)}
		return nil
	})
	store, err := pebblestore.Open("db", crashOptions(errorfs.Wrap(crashDisk{disk}, hook)))
	must(t, err)
	s, err := ledger.OpenState(store, cfg)
	must(t, err)
	for n := 1; n < len(plan.roots); n++ {
		begun.Store(int64(n))
		must(t, plan.commit(s, n))
		acked.Store(int64(n))
	}
	must(t, store.Close())
}

// afterCrash checks a copy and goes on from it.
func (p *crashPlan) afterCrash(c crash, cfg ledger.StateConfig) error {
	store, err := pebblestore.Open("db", crashOptions(c.fs))
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	s, err := p.check(store, cfg, c.acked, c.begun)
	if err != nil {
		return err
	}
	n := int(s.Version()) + 1
	if n == len(p.roots) {
		return nil
	}
	if err := p.commit(s, n); err != nil {
		return err
	}
	if s.Root() != p.roots[n] {
		return fmt.Errorf("going on to version %d: another root", n)
	}
	return nil
}

// TestStateErrors makes every operation of the disk fail once: whatever was
// acknowledged is there after a reopen on a healthy disk, nothing is
// acknowledged after the failure of a commit, and the process lives.
func TestStateErrors(t *testing.T) {
	const blocks = 40
	cfg := ledger.StateConfig{Undo: 2, Workers: 1}
	plan := newCrashPlan(2, blocks)
	for _, forever := range []bool{false, true} {
		var wg sync.WaitGroup
		var next, operations atomic.Int64
		for range 8 { // most of the time is spent waiting
			wg.Go(func() {
				for !t.Failed() {
					index := next.Add(1) - 1
					reached, err := plan.errorAt(cfg, index, forever)
					if err != nil {
						t.Errorf("error at operation %d, for ever %v: %v", index, forever, err)
					}
					if !reached {
						return
					}
					operations.Add(1)
				}
			})
		}
		wg.Wait()
		t.Logf("%d operations, for ever %v", operations.Load(), forever)
	}
}

// errorAt lets one operation fail and checks what is left. reached is false if
// there are fewer operations.
func (p *crashPlan) errorAt(cfg ledger.StateConfig, index int64, forever bool) (reached bool, err error) {
	disk := vfs.NewCrashableMem()
	acked, reached := errorRun(p, cfg, disk, index, forever)
	if !reached {
		return false, nil
	}
	store, err := pebblestore.Open("db", crashOptions(disk.CrashClone(vfs.CrashCloneCfg{})))
	if err != nil {
		return true, err
	}
	_, err = p.check(store, cfg, acked, acked+1)
	return true, errors.Join(err, store.Close())
}

// errorRun commits blocks until one fails, on a disk whose operation number
// index, and perhaps all after it, fail.
func errorRun(plan *crashPlan, cfg ledger.StateConfig, disk *vfs.MemFS, index int64, forever bool) (acked int, reached bool) {
	var count atomic.Int64
	fs := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileClose {
			return nil // the copy of the disk knows no difference
		}
		if n := count.Add(1) - 1; n == index || forever && n > index {
			return errorfs.ErrInjected
		}
		return nil
	}))
	defer func() { reached = count.Load() > index }() // after Close, which has operations too
	store, err := pebblestore.Open("db", crashOptions(fs))
	if err != nil {
		return 0, true
	}
	defer func() { _ = store.Close() }()
	s, err := ledger.OpenState(store, cfg)
	if err != nil {
		return 0, true
	}
	for n := 1; n < len(plan.roots); n++ {
		err := plan.commit(s, n)
		if err != nil {
			// An error of a read, before anything is written, may pass; one
			// of Apply must not.
			err = plan.commit(s, n)
		}
		if err != nil {
			return acked, true
		}
		acked = n
	}
	return acked, true
}

// TestStateKill kills a process that commits as fast as it can, again and
// again on the same directory, and compares what it said with what is there.
func TestStateKill(t *testing.T) {
	if dir := os.Getenv("LEDGER_KILL_DIR"); dir != "" {
		killChild(t, dir)
		return
	}
	dir := t.TempDir()
	acked := 0
	for round := range *killRounds {
		acked = killRound(t, dir, round, acked)
	}
	if acked == 0 {
		t.Fatal("no block was ever acknowledged")
	}
	t.Logf("%d blocks acknowledged over %d kills", acked, *killRounds)
}

const killBlocks = 5000

// killRound starts the child, kills it while it works and checks the
// directory. It returns the version to go on from.
func killRound(t *testing.T, dir string, round, acked int) int {
	cmd := exec.Command(os.Args[0], "-test.run=^TestStateKill$", "-test.v")
	cmd.Env = append(os.Environ(), "LEDGER_KILL_DIR="+dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	time.AfterFunc(time.Duration(150+70*round)*time.Millisecond, func() { _ = cmd.Process.Kill() })
	said, err := io.ReadAll(out)
	must(t, err)
	_ = cmd.Wait() // killed
	// Only whole lines were said.
	lines := strings.Split(string(said), "\n")
	for _, line := range lines[:len(lines)-1] {
		if n, err := strconv.Atoi(strings.TrimPrefix(line, "acked ")); err == nil {
			acked = max(acked, n)
		}
	}
	store, err := pebblestore.Open(filepath.Join(dir, "db"), pebblestore.Options{})
	must(t, err)
	s, err := newCrashPlan(3, min(acked+1, killBlocks)).check(store, ledger.StateConfig{Undo: 2}, acked, acked+1)
	if err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
	must(t, store.Close())
	return int(s.Version())
}

// killChild commits and says so until it is killed.
func killChild(t *testing.T, dir string) {
	store, err := pebblestore.Open(filepath.Join(dir, "db"), pebblestore.Options{})
	must(t, err)
	s, err := ledger.OpenState(store, ledger.StateConfig{Undo: 2})
	must(t, err)
	plan := &crashPlan{seed: 3}
	for n := int(s.Version()) + 1; n <= killBlocks; n++ {
		must(t, plan.commit(s, n))
		fmt.Printf("acked %d\n", n)
	}
}

// TestStateFailed checks that a state whose store failed once says so from
// then on, reads go on, and the store holds the version before or after.
func TestStateFailed(t *testing.T) {
	h := newHistory(t, ledger.StateConfig{Undo: 2}, &failingStore{Store: ledger.NewMemStore()}, 31)
	h.block()
	before := h.state.Version()
	h.store.(*failingStore).fail = true
	st, m := h.state.Begin(), maps.Clone(h.now)
	h.change(st, m, 20)
	err := h.state.Commit(st, before+1, nil)
	wantErr(t, err, errStateDisk)
	h.store.(*failingStore).fail = false
	wantErr(t, h.state.Commit(h.state.Begin(), before+2, nil), errStateDisk)
	wantErr(t, h.state.Rewind(before, nil, nil), errStateDisk)
	equal(t, "version", h.state.Version(), before)
	h.checkView(before)
	h.open()
	equal(t, "version after a reopen", h.state.Version(), before)
}

var errStateDisk = fmt.Errorf("disk on fire")

// failingStore refuses Apply while fail is set.
type failingStore struct {
	ledger.Store
	fail bool
}

func (s *failingStore) Apply(sets, deletes iter.Seq2[[]byte, []byte]) error {
	if s.fail {
		return errStateDisk
	}
	return s.Store.Apply(sets, deletes)
}
