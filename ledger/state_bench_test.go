package ledger_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/ledger/pebblestore"
)

var (
	benchKeys  = flag.Int("ledger.keys", 1_000_000, "keys in the state of BenchmarkState")
	benchBlock = flag.Int("ledger.block", 10_000, "changes of a block in BenchmarkState")
)

const (
	benchKeySize   = 32
	benchValueSize = 40
)

// benchKey is the i-th key: what an address looks like.
func benchKey(b []byte, i int) []byte {
	b = binary.BigEndian.AppendUint64(b[:0], uint64(i)*0x9e3779b97f4a7c15)
	return append(binary.BigEndian.AppendUint64(b, uint64(i)), make([]byte, benchKeySize-16)...)
}

func benchValue(b []byte, r *rand.Rand) []byte {
	b = b[:0]
	for range benchValueSize / 8 {
		b = binary.BigEndian.AppendUint64(b, r.Uint64())
	}
	return b
}

func benchStore(b *testing.B, dir string) *pebblestore.Store {
	s, err := pebblestore.Open(dir, pebblestore.Options{CacheBytes: 256 << 20})
	must(b, err)
	b.Cleanup(func() { must(b, s.Close()) })
	return s
}

// benchFill puts the keys into a state and the same pairs, without a tree,
// into the store of the floor.
func benchFill(b *testing.B, s *ledger.State, floor ledger.Store) {
	r := rand.New(rand.NewPCG(1, 1))
	var key, value []byte
	for lo := 0; lo < *benchKeys; {
		hi := min(*benchKeys, lo+50_000)
		st, pairs := s.Begin(), make([]benchPair, 0, hi-lo)
		for ; lo < hi; lo++ {
			key, value = benchKey(key, lo), benchValue(value, r)
			must(b, st.Set(key, value))
			pairs = append(pairs, benchPair{bytes.Clone(key), bytes.Clone(value)})
		}
		must(b, s.Commit(st, s.Version()+1, nil))
		must(b, benchFloor(floor, pairs))
	}
}

type benchPair struct{ key, value []byte }

// benchFloor writes what has to be written by anybody: the pairs, sorted, in
// one synced batch.
func benchFloor(store ledger.Store, pairs []benchPair) error {
	slices.SortFunc(pairs, func(a, b benchPair) int { return bytes.Compare(a.key, b.key) })
	return store.Apply(func(yield func(k, v []byte) bool) {
		for i := range pairs {
			if !yield(pairs[i].key, pairs[i].value) {
				return
			}
		}
	}, nil)
}

// benchPairs draws the changes of one block.
func benchPairs(r *rand.Rand, n int) []benchPair {
	pairs := make([]benchPair, n)
	for i := range pairs {
		pairs[i] = benchPair{benchKey(nil, r.IntN(*benchKeys)), benchValue(nil, r)}
	}
	return pairs
}

// BenchmarkState measures blocks of random changes to a large state: from
// Begin to the return of Commit. Beside each block the floor is measured: the
// same pairs in a pebble store of the same options without a tree.
//
//	x-floor        time of the blocks over time of the floors
//	bytes/payload  written to the log for each byte of key and value
func BenchmarkState(b *testing.B) {
	b.Run(fmt.Sprintf("blocks/keys=%d", *benchKeys), func(b *testing.B) {
		for _, cfg := range []ledger.StateConfig{{}, {Undo: 16}, {Buckets: true}, {Buckets: true, Undo: 16}} {
			b.Run(benchName(cfg), func(b *testing.B) { benchState(b, cfg) })
		}
	})
}

func benchName(cfg ledger.StateConfig) string {
	if cfg.Buckets {
		return fmt.Sprintf("undo=%d/buckets", cfg.Undo)
	}
	return fmt.Sprintf("undo=%d", cfg.Undo)
}

// benchBed is a filled state with its floor.
type benchBed struct {
	cfg          ledger.StateConfig
	store, floor *pebblestore.Store
	state        *ledger.State
	r            *rand.Rand
}

func benchState(b *testing.B, cfg ledger.StateConfig) {
	bed := &benchBed{cfg: cfg, store: benchStore(b, b.TempDir()), floor: benchStore(b, b.TempDir()), r: rand.New(rand.NewPCG(2, 2))}
	var err error
	bed.state, err = ledger.OpenState(bed.store, cfg)
	must(b, err)
	before := heap()
	benchFill(b, bed.state, bed.floor)
	perKey := float64(heap()-before) / float64(*benchKeys)
	b.Run("update", func(b *testing.B) {
		bed.blocks(b, false)
		b.ReportMetric(perKey, "heap-B/key")
	})
	if cfg.Undo > 0 {
		b.Run("read-update", func(b *testing.B) { bed.blocks(b, true) })
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// blocks runs blocks of updates. With read, the values are read first, which
// is not measured: it is the execution's.
func (bed *benchBed) blocks(b *testing.B, read bool) {
	var mine, floors time.Duration
	written := bed.store.Metrics().WAL.BytesWritten
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		pairs := benchPairs(bed.r, *benchBlock)
		st := bed.state.Begin()
		if read {
			for i := range pairs {
				_, _, err := st.Get(pairs[i].key)
				must(b, err)
			}
		}
		b.StartTimer()
		start := time.Now()
		for i := range pairs {
			must(b, st.Set(pairs[i].key, pairs[i].value))
		}
		_, err := st.Root()
		must(b, err)
		must(b, bed.state.Commit(st, bed.state.Version()+1, nil))
		mine += time.Since(start)
		b.StopTimer()
		start = time.Now()
		must(b, benchFloor(bed.floor, pairs))
		floors += time.Since(start)
		b.StartTimer()
	}
	written = bed.store.Metrics().WAL.BytesWritten - written
	n := float64(b.N) * float64(*benchBlock)
	b.ReportMetric(float64(mine)/float64(floors), "x-floor")
	b.ReportMetric(n/mine.Seconds(), "updates/s")
	b.ReportMetric(float64(written)/n/(benchKeySize+benchValueSize), "bytes/payload")
}
