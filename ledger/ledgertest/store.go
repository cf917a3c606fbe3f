// Package ledgertest checks implementations of ledger.Store.
//
//	func TestStore(t *testing.T) {
//		ledgertest.TestStore(t, ledgertest.Store{
//			Open: func(t testing.TB) ledger.Store { return mystore.New(t.TempDir()) },
//		})
//	}
package ledgertest

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"testing"

	"github.com/shardkit/shardkit/ledger"
)

// Store says how to get at the stores to be checked.
type Store struct {
	// Open returns a new, empty store. It is closed with t.Cleanup.
	Open func(t testing.TB) ledger.Store
	// Reopen stops s, which Open returned, without its help where that is
	// possible, and opens again what it kept. nil: the store does not survive,
	// and what it keeps is not checked.
	Reopen func(t testing.TB, s ledger.Store) ledger.Store
}

// TestStore runs every check as a subtest.
func TestStore(t *testing.T, h Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, h Store)
	}{
		{"Empty", testEmpty},
		{"Keys", testKeys},
		{"Values", testValues},
		{"Ownership", testOwnership},
		{"Ranges", testRanges},
		{"DeleteBeforeSet", testDeleteBeforeSet},
		{"ScanError", testScanError},
		{"ScanReads", testScanReads},
		{"MultiScan", testMultiScan},
		{"Histories", testHistories},
		{"Atomic", testAtomic},
		{"Reopen", testReopen},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, h) })
	}
}

// pair is a key and its value, or the two ends of a range.
type pair struct{ k, v []byte }

// seq yields pairs through buffers that are overwritten after each yield, as
// the contract allows.
func seq(pairs ...pair) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		for _, p := range pairs {
			k, v := bytes.Clone(p.k), bytes.Clone(p.v)
			more := yield(k, v)
			for _, b := range [][]byte{k, v} {
				for i := range b {
					b[i] = 0xee
				}
			}
			if !more {
				return
			}
		}
	}
}

// kv is a pair of strings.
func kv(k, v string) pair { return pair{[]byte(k), []byte(v)} }

// apply fails the test if the store refuses what it has to take.
func apply(t testing.TB, s ledger.Store, sets, deletes []pair) {
	t.Helper()
	if err := s.Apply(seq(sets...), seq(deletes...)); err != nil {
		t.Fatalf("Apply: %v", err)
	}
}

// content lists what Scan shows from lo to hi as k=v.
func content(t testing.TB, s ledger.Store, lo, hi []byte) (out []string) {
	t.Helper()
	err := s.Scan(lo, hi, func(k, v []byte) error {
		out = append(out, fmt.Sprintf("%q=%q", k, v))
		return nil
	})
	if err != nil {
		t.Fatalf("Scan(%q, %q): %v", lo, hi, err)
	}
	return out
}

// wantContent compares a scan with what must be there, in order.
func wantContent(t testing.TB, s ledger.Store, lo, hi []byte, want ...string) {
	t.Helper()
	if got := content(t, s, lo, hi); !slices.Equal(got, want) {
		t.Fatalf("Scan(%q, %q) shows\n%v, want\n%v", lo, hi, got, want)
	}
}

// wantGet compares a value. An empty one must not look like an absent one, so
// nil is refused where there is something.
func wantGet(t testing.TB, s ledger.Store, key, want string, there bool) {
	t.Helper()
	v, ok, err := s.Get([]byte(key), nil)
	if err != nil {
		t.Fatalf("Get(%q): %v", key, err)
	}
	if ok != there || string(v) != want {
		t.Fatalf("Get(%q) = %q, %v, want %q, %v", key, v, ok, want, there)
	}
	if ok && v == nil {
		t.Fatalf("Get(%q): ok with a nil value", key)
	}
}

// testEmpty: nothing is there, nothing to do is no error, and deleting what is
// not there is none either.
func testEmpty(t *testing.T, h Store) {
	s := h.Open(t)
	wantGet(t, s, "a", "", false)
	wantContent(t, s, nil, nil)
	if err := s.Apply(nil, nil); err != nil {
		t.Fatalf("Apply of nothing: %v", err)
	}
	apply(t, s, nil, []pair{{[]byte("a"), nil}, kv("b", "c")})
	wantContent(t, s, nil, nil)
}

// testKeys: the order is that of bytes, zeros and the prefix of another key
// included; a refused key changes nothing, those before it neither.
func testKeys(t *testing.T, h Store) {
	s := h.Open(t)
	apply(t, s, []pair{kv("b", "2"), kv("a", "1"), kv("\xff\xff", "4"), kv("\x00", "0"), kv("a\x00", "3")}, nil)
	wantContent(t, s, nil, nil, `"\x00"="0"`, `"a"="1"`, `"a\x00"="3"`, `"b"="2"`, `"\xff\xff"="4"`)
	if err := s.Apply(seq(kv("c", "1"), kv("", "x")), nil); err == nil {
		t.Fatal("Apply took an empty key")
	}
	wantGet(t, s, "c", "", false)
	if _, _, err := s.Get(nil, nil); err == nil {
		t.Fatal("Get took an empty key")
	}
	long := string(bytes.Repeat([]byte("k"), 1000))
	apply(t, s, []pair{kv(long, "long")}, nil)
	wantGet(t, s, long, "long", true)
}

// testValues: empty, large and overwritten values.
func testValues(t *testing.T, h Store) {
	s := h.Open(t)
	big := string(bytes.Repeat([]byte("0123456789abcdef"), 1<<16)) // 1 MiB
	apply(t, s, []pair{kv("empty", ""), {[]byte("nil"), nil}, kv("big", big), kv("twice", "1"), kv("twice", "2")}, nil)
	wantGet(t, s, "empty", "", true)
	wantGet(t, s, "nil", "", true)
	wantGet(t, s, "big", big, true)
	wantGet(t, s, "twice", "2", true) // in the order given
	apply(t, s, []pair{kv("big", "small")}, nil)
	wantGet(t, s, "big", "small", true)
}

// testOwnership: a value belongs to who asked for it, whatever buffer was
// given. A store that hands out its own memory shows here.
func testOwnership(t *testing.T, h Store) {
	s := h.Open(t)
	apply(t, s, []pair{kv("a", "one"), kv("b", "two")}, nil)
	for _, buf := range [][]byte{nil, {}, make([]byte, 1), make([]byte, 64)} {
		v, ok, err := s.Get([]byte("a"), buf)
		if err != nil || !ok || string(v) != "one" {
			t.Fatalf("Get with a buffer of %d: %q, %v, %v", len(buf), v, ok, err)
		}
		copy(v, "xxx") // ours now
		_ = append(v, "yyyyyyyy"...)
	}
	wantContent(t, s, nil, nil, `"a"="one"`, `"b"="two"`)
}

// testRanges: ends in and out of the keys, empty and reversed ranges, and that
// a range that is deleted ends before its hi.
func testRanges(t *testing.T, h Store) {
	s := h.Open(t)
	letters := func() []pair { return []pair{kv("a", ""), kv("b", ""), kv("c", ""), kv("d", ""), kv("e", "")} }
	apply(t, s, letters(), nil)
	wantContent(t, s, []byte("b"), []byte("d"), `"b"=""`, `"c"=""`)
	wantContent(t, s, []byte("b"), []byte("b"))
	wantContent(t, s, []byte("d"), []byte("b"))
	wantContent(t, s, []byte("bb"), nil, `"c"=""`, `"d"=""`, `"e"=""`)
	wantContent(t, s, nil, []byte("bb"), `"a"=""`, `"b"=""`)
	apply(t, s, nil, []pair{kv("b", "d"), kv("d", "b"), {[]byte("e"), nil}, kv("x", "z")})
	wantContent(t, s, nil, nil, `"a"=""`, `"d"=""`)
	apply(t, s, letters(), nil)
	apply(t, s, nil, []pair{kv("a", "c"), kv("b", "d"), {[]byte("z"), nil}})
	wantContent(t, s, nil, nil, `"d"=""`, `"e"=""`)
	apply(t, s, letters(), []pair{kv("a", "z")})
	wantContent(t, s, []byte("a"), []byte("b"), `"a"=""`)
}

// testDeleteBeforeSet: a key that is deleted and set in one Apply is there. A
// restore that starts over in one batch depends on it.
func testDeleteBeforeSet(t *testing.T, h Store) {
	s := h.Open(t)
	apply(t, s, []pair{kv("a", "1"), kv("b", "1"), kv("c", "1")}, nil)
	apply(t, s, []pair{kv("b", "2"), kv("c", "2")}, []pair{kv("a", "c"), {[]byte("c"), nil}})
	wantContent(t, s, nil, nil, `"b"="2"`, `"c"="2"`)
}

// testScanError: the error of fn comes back as it is, for callers that compare
// it, and ends the scan at once.
func testScanError(t *testing.T, h Store) {
	s := h.Open(t)
	apply(t, s, []pair{kv("a", ""), kv("b", ""), kv("c", "")}, nil)
	stop := errors.New("stop")
	n := 0
	err := s.Scan(nil, nil, func(_, _ []byte) error {
		if n++; n == 2 {
			return stop
		}
		return nil
	})
	if err != stop || n != 2 {
		t.Fatalf("Scan returned %v after %d keys, want the error of fn after 2", err, n)
	}
}

// testScanReads: fn may read. A store that holds a lock during the scan hangs
// here.
func testScanReads(t *testing.T, h Store) {
	s := h.Open(t)
	apply(t, s, []pair{kv("a", "1"), kv("b", "2")}, nil)
	err := s.Scan(nil, nil, func(k, v []byte) error {
		wantGet(t, s, string(k), string(v), true)
		wantContent(t, s, []byte("b"), nil, `"b"="2"`)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// testMultiScan: what a store that is a ledger.MultiScanner shows is what Scan
// shows, whatever the order of the ranges, also after fn has ended a scan.
func testMultiScan(t *testing.T, h Store) {
	s := h.Open(t)
	m, ok := s.(ledger.MultiScanner)
	if !ok {
		t.Skip("the store is no MultiScanner")
	}
	stop := errors.New("stop")
	if err := m.MultiScan(func(ledger.ScanFunc) error { return stop }); err != stop {
		t.Fatalf("MultiScan returned %v, want the error of f", err)
	}
	r := rand.New(rand.NewPCG(9, 0))
	for range 30 {
		sets, deletes := randomBatch(r)
		apply(t, s, sets, deletes)
		err := m.MultiScan(func(scan ledger.ScanFunc) error {
			ranges := []pair{{nil, nil}, {randomKey(r), nil}, {nil, randomKey(r)}}
			for range 20 {
				ranges = append(ranges, pair{randomKey(r), randomKey(r)})
			}
			for _, p := range ranges {
				if err := scan(nil, nil, func(_, _ []byte) error { return stop }); err != stop && err != nil {
					t.Fatalf("scan returned %v, want the error of fn", err)
				}
				var got []string
				err := scan(p.k, p.v, func(k, v []byte) error {
					wantGet(t, s, string(k), string(v), true)
					got = append(got, fmt.Sprintf("%q=%q", k, v))
					return nil
				})
				if err != nil {
					return err
				}
				if want := content(t, s, p.k, p.v); !slices.Equal(got, want) {
					t.Fatalf("MultiScan from %q to %q shows\n%v, want\n%v", p.k, p.v, got, want)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// scanHalves lists the values of a store whose keys begin with 0 or 1, if it is
// a MultiScanner in two scans of one moment.
func scanHalves(s ledger.Store) (values []string, err error) {
	add := func(_, v []byte) error { values = append(values, string(v)); return nil }
	m, ok := s.(ledger.MultiScanner)
	if !ok {
		return values, s.Scan(nil, nil, add)
	}
	return values, m.MultiScan(func(scan ledger.ScanFunc) error {
		if err := scan(nil, []byte("1"), add); err != nil {
			return err
		}
		return scan([]byte("1"), nil, add)
	})
}

// testHistories applies random batches to the store and to a map.
func testHistories(t *testing.T, h Store) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 0))
		s, m := h.Open(t), map[string]string{}
		for range 150 {
			sets, deletes := randomBatch(r)
			apply(t, s, sets, deletes)
			replay(m, sets, deletes)
			lo, hi := randomKey(r), randomKey(r)
			wantContent(t, s, lo, hi, between(m, lo, hi)...)
			k := string(randomKey(r))
			v, ok := m[k]
			wantGet(t, s, k, v, ok)
			if h.Reopen != nil && r.IntN(40) == 0 {
				s = h.Reopen(t, s)
			}
		}
		wantContent(t, s, nil, nil, between(m, nil, nil)...)
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}
}

// randomKey draws from few keys, short ones more often, so that batches meet.
func randomKey(r *rand.Rand) []byte {
	return []byte(fmt.Sprintf("%03d", r.IntN(500))[:1+r.IntN(3)])
}

// randomBatch draws sets and deletes of keys and ranges, some of them reversed.
func randomBatch(r *rand.Rand) (sets, deletes []pair) {
	for range r.IntN(30) {
		v := make([]byte, r.IntN(100))
		for i := range v {
			v[i] = byte(r.Uint32())
		}
		sets = append(sets, pair{randomKey(r), v})
	}
	for range r.IntN(5) {
		p := pair{k: randomKey(r)}
		if r.IntN(3) == 0 {
			p.v = randomKey(r)
		}
		deletes = append(deletes, p)
	}
	return sets, deletes
}

// replay does to the map what Apply does to the store.
func replay(m map[string]string, sets, deletes []pair) {
	for _, d := range deletes {
		for k := range m {
			if k == string(d.k) && d.v == nil || d.v != nil && k >= string(d.k) && k < string(d.v) {
				delete(m, k)
			}
		}
	}
	for _, p := range sets {
		m[string(p.k)] = string(p.v)
	}
}

// between lists the map as content lists the store.
func between(m map[string]string, lo, hi []byte) (out []string) {
	keys := make([]string, 0, len(m))
	for k := range m {
		if k >= string(lo) && (hi == nil || k < string(hi)) {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	for _, k := range keys {
		out = append(out, fmt.Sprintf("%q=%q", k, m[k]))
	}
	return out
}

// testAtomic scans while batches replace all keys: each scan shows one batch
// whole.
func testAtomic(t *testing.T, h Store) {
	s := h.Open(t)
	const width, batches = 50, 60
	// Every other batch has other keys, and each deletes those of the one before
	// it: a store that does one after the other shows none or twice as many.
	batch := func(n int) (sets []pair) {
		for i := range width {
			sets = append(sets, kv(fmt.Sprintf("%d/%02d", n%2, i), fmt.Sprint(n)))
		}
		return sets
	}
	apply(t, s, batch(0), nil)
	var wg sync.WaitGroup
	done := make(chan struct{})
	whole := func() (values []string, err error) {
		err = s.Scan(nil, nil, func(_, v []byte) error { values = append(values, string(v)); return nil })
		return values, err
	}
	halves := func() ([]string, error) { return scanHalves(s) }
	for _, read := range []func() ([]string, error){whole, halves} {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				values, err := read()
				if err != nil || len(values) != width || slices.Min(values) != slices.Max(values) {
					t.Errorf("a scan beside Apply shows %v (%v)", values, err)
					return
				}
			}
		})
	}
	// The readers end before the test does, also when what follows fails.
	defer func() {
		close(done)
		wg.Wait()
	}()
	for n := 1; n < batches; n++ {
		apply(t, s, batch(n), []pair{kv("0", "2")})
		wantGet(t, s, fmt.Sprintf("%d/00", n%2), fmt.Sprint(n), true)
	}
}

// testReopen: what Apply acknowledged is there after a reopen, each time.
func testReopen(t *testing.T, h Store) {
	if h.Reopen == nil {
		t.Skip("the store does not survive")
	}
	s := h.Open(t)
	// What was deleted must not come back either.
	for n := range 5 {
		apply(t, s, []pair{kv("n", fmt.Sprint(n)), kv(fmt.Sprint("k", n), "v")}, []pair{{fmt.Appendf(nil, "k%d", n-2), nil}})
		s = h.Reopen(t, s)
		wantGet(t, s, "n", fmt.Sprint(n), true)
	}
	wantContent(t, s, nil, nil, `"k3"="v"`, `"k4"="v"`, `"n"="4"`)
}
