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

// benchFill puts the keys into a state in the store, and the same pairs, without
// a tree, into that of the floor. In memory mode and without undo that is
// fastest; what is in the store is the same in all modes.
func benchFill(b *testing.B, store, floor ledger.Store) {
	s, err := ledger.OpenState(store, ledger.StateConfig{})
	must(b, err)
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
	all := func(yield func(k, v []byte) bool) {
		for i := range pairs {
			if !yield(pairs[i].key, pairs[i].value) {
				return
			}
		}
	}
	if len(pairs) > 0 && pairs[0].value == nil {
		return store.Apply(nil, all) // keys to be deleted
	}
	return store.Apply(all, nil)
}

// BenchmarkState measures a large state over pebble.
//
// The blocks are random changes, synced, from Begin to the return of Commit.
// Beside each the floor is measured: the same pairs, sorted, in one synced
// batch of a pebble store of the same options, without a tree.
//
//	update       of keys that nobody has read
//	read-update  of keys whose values were read on the same stage: the
//	             execution's time, not measured; with undo that saves reading
//	             the old values in Commit
//	insert       of new keys, delete of old ones
//
//	x-floor        time of the blocks over time of the floors
//	bytes/payload  written to the log for each byte of key and value
//	heap-B/key     of the state as it is opened, without the undo window that
//	               the blocks fill
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
	inserted     int // keys beyond those of the fill
}

func benchState(b *testing.B, cfg ledger.StateConfig) {
	bed := &benchBed{cfg: cfg, store: benchStore(b, b.TempDir()), floor: benchStore(b, b.TempDir()), r: rand.New(rand.NewPCG(2, 2))}
	benchFill(b, bed.store, bed.floor)
	settle(bed.store)
	settle(bed.floor)
	before := heap()
	var err error
	bed.state, err = ledger.OpenState(bed.store, cfg)
	must(b, err)
	perKey := float64(heap()-before) / float64(*benchKeys)
	b.Run("update", func(b *testing.B) {
		bed.blocks(b, bed.updates, false)
		b.ReportMetric(perKey, "heap-B/key")
	})
	b.Run("read-update", func(b *testing.B) { bed.blocks(b, bed.updates, true) })
	b.Run("insert", func(b *testing.B) { bed.blocks(b, bed.inserts, false) })
	b.Run("delete", func(b *testing.B) { bed.blocks(b, bed.deletes, true) })
	b.Run("prove", bed.prove)
	b.Run("verify", bed.verify)
	b.Run("reopen", bed.reopen)
	if cfg.Buckets {
		must(b, bed.state.Checkpoint())
		b.Run("reopen-checkpoint", bed.reopen)
	}
}

// settle waits until the store has done what the fill left to do in the
// background.
func settle(s *pebblestore.Store) {
	for still := 0; still < 10; still++ {
		if m := s.Metrics(); m.Compact.NumInProgress > 0 || m.Flush.NumInProgress > 0 {
			still = 0
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// updates draws the changes of one block.
func (bed *benchBed) updates() []benchPair {
	pairs := make([]benchPair, *benchBlock)
	for i := range pairs {
		pairs[i] = benchPair{benchKey(nil, bed.r.IntN(*benchKeys)), benchValue(nil, bed.r)}
	}
	return pairs
}

// inserts draws pairs with new keys.
func (bed *benchBed) inserts() []benchPair {
	pairs := make([]benchPair, *benchBlock)
	for i := range pairs {
		pairs[i] = benchPair{benchKey(nil, *benchKeys+bed.inserted), benchValue(nil, bed.r)}
		bed.inserted++
	}
	return pairs
}

// deletes takes the last keys inserted, or those of the fill if there are none
// left.
func (bed *benchBed) deletes() []benchPair {
	pairs := make([]benchPair, *benchBlock)
	for i := range pairs {
		bed.inserted--
		pairs[i] = benchPair{key: benchKey(nil, *benchKeys+bed.inserted)}
	}
	return pairs
}

// blocks runs blocks of changes. With read, the values are read first, which
// is not measured.
func (bed *benchBed) blocks(b *testing.B, draw func() []benchPair, read bool) {
	var mine, floors time.Duration
	written := bed.store.Metrics().WAL.BytesWritten
	payload := 0
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		pairs := draw()
		st := bed.state.Begin()
		for _, p := range pairs {
			payload += len(p.key) + len(p.value)
			if read {
				_, _, err := st.Get(p.key)
				must(b, err)
			}
		}
		b.StartTimer()
		start := time.Now()
		bed.block(b, st, pairs)
		mine += time.Since(start)
		b.StopTimer()
		start = time.Now()
		must(b, benchFloor(bed.floor, pairs))
		floors += time.Since(start)
		b.StartTimer()
	}
	written = bed.store.Metrics().WAL.BytesWritten - written
	b.ReportMetric(float64(mine)/float64(floors), "x-floor")
	b.ReportMetric(float64(b.N)*float64(*benchBlock)/mine.Seconds(), "updates/s")
	b.ReportMetric(float64(written)/float64(payload), "bytes/payload")
}

// block makes the changes, computes the root and commits.
func (bed *benchBed) block(b *testing.B, st *ledger.Stage, pairs []benchPair) {
	for _, p := range pairs {
		var err error
		if p.value == nil {
			err = st.Delete(p.key)
		} else {
			err = st.Set(p.key, p.value)
		}
		if err != nil { // must takes longer than Set
			b.Fatal(err)
		}
	}
	_, err := st.Root()
	must(b, err)
	must(b, bed.state.Commit(st, bed.state.Version()+1, nil))
}

// prove makes proofs of random keys.
func (bed *benchBed) prove(b *testing.B) {
	v, err := bed.state.View(bed.state.Version())
	must(b, err)
	var key []byte
	sizes := make([]int, 0, 1<<14) // more would only set off the garbage collector
	next := func() []byte {
		key = benchKey(key, bed.r.IntN(*benchKeys))
		proof, err := v.Prove(key)
		if err != nil {
			b.Fatal(err)
		}
		return proof
	}
	for range 1000 { // a short run would measure how code and top come into the caches
		next()
	}
	b.ReportAllocs()
	for b.Loop() {
		proof := next()
		if len(sizes) < cap(sizes) {
			sizes = append(sizes, len(proof))
		}
	}
	slices.Sort(sizes)
	b.ReportMetric(float64(sizes[len(sizes)/2]), "p50-B")
}

// verify checks proofs of random keys.
func (bed *benchBed) verify(b *testing.B) {
	v, err := bed.state.View(bed.state.Version())
	must(b, err)
	const n = 1024
	var keys, values, proofs [n][]byte
	for i := range n {
		keys[i] = benchKey(nil, bed.r.IntN(*benchKeys))
		values[i], _, err = v.Get(keys[i])
		must(b, err)
		proofs[i], err = v.Prove(keys[i])
		must(b, err)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if err := ledger.VerifyProof(v.Root(), keys[i%n], values[i%n], proofs[i%n]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// reopen builds the tree again.
func (bed *benchBed) reopen(b *testing.B) {
	for b.Loop() {
		_, err := ledger.OpenState(bed.store, bed.cfg)
		must(b, err)
	}
}
