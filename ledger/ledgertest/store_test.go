package ledgertest_test

import (
	"iter"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/ledger/ledgertest"
)

// The ways in which a store can be wrong, and the check that must find each.
var mutants = map[string]struct {
	wrap  func(s *ledger.MemStore) ledger.Store
	check string
}{
	"sets before deletes": {func(s *ledger.MemStore) ledger.Store { return swapped{s} }, "DeleteBeforeSet"},
	"two steps":           {func(s *ledger.MemStore) ledger.Store { return torn{s} }, "Atomic"},
	"nil for empty":       {func(s *ledger.MemStore) ledger.Store { return nilEmpty{s} }, "Values"},
	"own error":           {func(s *ledger.MemStore) ledger.Store { return deaf{s} }, "ScanError"},
	"many moments":        {func(s *ledger.MemStore) ledger.Store { return moving{s} }, "Atomic"},
	"ranges forgotten":    {func(s *ledger.MemStore) ledger.Store { return endless{s} }, "MultiScan"},
	"hi included":         {func(s *ledger.MemStore) ledger.Store { return greedy{s} }, "Ranges"},
}

type pairs = iter.Seq2[[]byte, []byte]

type swapped struct{ *ledger.MemStore }

func (s swapped) Apply(sets, deletes pairs) error {
	if err := s.MemStore.Apply(sets, nil); err != nil {
		return err
	}
	return s.MemStore.Apply(nil, deletes)
}

type torn struct{ *ledger.MemStore }

func (s torn) Apply(sets, deletes pairs) error {
	if err := s.MemStore.Apply(nil, deletes); err != nil {
		return err
	}
	time.Sleep(2 * time.Millisecond) // let the reader of the check in between
	return s.MemStore.Apply(sets, nil)
}

type nilEmpty struct{ *ledger.MemStore }

func (s nilEmpty) Get(key, buf []byte) ([]byte, bool, error) {
	v, ok, err := s.MemStore.Get(key, buf)
	if len(v) == 0 {
		v = nil
	}
	return v, ok, err
}

type deaf struct{ *ledger.MemStore }

func (s deaf) Scan(lo, hi []byte, fn func(k, v []byte) error) error {
	_ = s.MemStore.Scan(lo, hi, fn)
	return nil
}

type greedy struct{ *ledger.MemStore }

func (s greedy) Scan(lo, hi []byte, fn func(k, v []byte) error) error {
	if hi != nil && string(lo) < string(hi) {
		hi = append(append([]byte{}, hi...), 0)
	}
	return s.MemStore.Scan(lo, hi, fn)
}

type moving struct{ *ledger.MemStore }

func (s moving) Apply(sets, deletes pairs) error {
	time.Sleep(time.Millisecond)
	return s.MemStore.Apply(sets, deletes)
}

func (s moving) MultiScan(f func(scan ledger.ScanFunc) error) error {
	return f(func(lo, hi []byte, fn func(k, v []byte) error) error {
		time.Sleep(2 * time.Millisecond)
		return s.Scan(lo, hi, fn)
	})
}

type endless struct{ *ledger.MemStore }

func (s endless) MultiScan(f func(scan ledger.ScanFunc) error) error {
	return f(func(lo, _ []byte, fn func(k, v []byte) error) error { return s.Scan(lo, nil, fn) })
}

// TestMutants runs the kit on wrong stores, each in a process of its own, and
// expects the check that is about its fault to fail.
func TestMutants(t *testing.T) {
	if name := os.Getenv("LEDGERTEST_MUTANT"); name != "" {
		ledgertest.TestStore(t, ledgertest.Store{
			Open: func(testing.TB) ledger.Store { return mutants[name].wrap(ledger.NewMemStore()) },
		})
		return
	}
	for name, m := range mutants {
		cmd := exec.Command(os.Args[0], "-test.run=^TestMutants$")
		cmd.Env = append(os.Environ(), "LEDGERTEST_MUTANT="+name)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "FAIL: TestMutants/"+m.check+" ") {
			t.Errorf("%s: %s does not find it:\n%s", name, m.check, out)
		}
	}
}
