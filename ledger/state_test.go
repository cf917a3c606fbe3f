package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
)

// model is the reference: a map, and the root computed from it by the
// definition alone.
type model map[string]string

func (m model) root() shardkit.Hash {
	type leaf struct{ key, hash shardkit.Hash }
	leaves := make([]leaf, 0, len(m))
	for k, v := range m {
		kh, vh := sha256.Sum256([]byte(k)), sha256.Sum256([]byte(v))
		leaves = append(leaves, leaf{kh, sha256.Sum256(slices.Concat([]byte{0}, kh[:], vh[:]))})
	}
	var fold func(ls []leaf, depth int) shardkit.Hash
	fold = func(ls []leaf, depth int) shardkit.Hash {
		if len(ls) == 0 {
			return shardkit.Hash{}
		}
		if len(ls) == 1 {
			return ls[0].hash
		}
		var side [2][]leaf
		for _, l := range ls {
			bit := l.key[depth/8] >> (7 - depth%8) & 1
			side[bit] = append(side[bit], l)
		}
		l, r := fold(side[0], depth+1), fold(side[1], depth+1)
		return sha256.Sum256(slices.Concat(l[:], r[:]))
	}
	return fold(leaves, 0)
}

// configs are the ways in which a State can be kept; roots must not depend on
// them.
func configs() map[string]ledger.StateConfig {
	return map[string]ledger.StateConfig{
		"memory":         {},
		"memory/undo":    {Undo: 5, Workers: 3},
		"buckets":        {Buckets: true, Workers: 2, Prefix: []byte("another")},
		"buckets/undo":   {Buckets: true, Undo: 5},
		"memory/serial":  {Undo: 2, Workers: 1, Prefix: []byte{}},
		"buckets/serial": {Buckets: true, Undo: 2, Workers: 1},
	}
}

func eachConfig(t *testing.T, f func(t *testing.T, cfg ledger.StateConfig)) {
	all := configs()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) { f(t, all[name]) })
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func wantErr(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got error %v, want %v", err, target)
	}
}

func newRand(t testing.TB, seed uint64) *rand.Rand {
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// history drives a State and the model side by side.
type history struct {
	t     *testing.T
	r     *rand.Rand
	cfg   ledger.StateConfig
	store ledger.Store
	state *ledger.State
	now   model
	past  map[uint64]model
	keys  int    // size of the key space
	floor uint64 // versions below were out of the window once: a rewind does not bring them back
}

func newHistory(t *testing.T, cfg ledger.StateConfig, store ledger.Store, seed uint64) *history {
	h := &history{t: t, r: newRand(t, seed), cfg: cfg, store: store, now: model{}, past: map[uint64]model{0: {}}, keys: 300}
	h.open()
	return h
}

func (h *history) open() {
	h.t.Helper()
	s, err := ledger.OpenState(h.store, h.cfg)
	must(h.t, err)
	h.state = s
}

func (h *history) key() string {
	k := fmt.Sprintf("key %d", h.r.IntN(h.keys))
	if h.r.IntN(10) == 0 {
		k += string(make([]byte, h.r.IntN(200)))
	}
	return k
}

// change makes n random changes to a stage and to a model.
func (h *history) change(st *ledger.Stage, m model, n int) {
	h.t.Helper()
	for range n {
		k := h.key()
		if h.r.IntN(2) == 0 {
			v, ok, err := st.Get([]byte(k))
			must(h.t, err)
			want, there := m[k]
			equal(h.t, "present "+k, ok, there)
			equal(h.t, "value of "+k, string(v), want)
		}
		switch h.r.IntN(5) {
		case 0, 1:
			must(h.t, st.Delete([]byte(k)))
			delete(m, k)
		case 2:
			if v, ok := m[k]; ok { // set to what it is
				must(h.t, st.Set([]byte(k), []byte(v)))
				break
			}
			fallthrough
		default:
			v := make([]byte, h.r.IntN(60))
			binary.BigEndian.AppendUint64(v[:0], h.r.Uint64())
			must(h.t, st.Set([]byte(k), v))
			m[k] = string(v)
		}
	}
}

func (h *history) commit(st *ledger.Stage, m model) {
	h.t.Helper()
	v := h.state.Version() + 1 + h.r.Uint64N(2)
	root, err := st.Root()
	must(h.t, err)
	equal(h.t, "root of stage", root, m.root())
	must(h.t, h.state.Commit(st, v, nil))
	h.now = m
	h.past[v] = maps.Clone(m)
	equal(h.t, "root", h.state.Root(), root)
	equal(h.t, "version", h.state.Version(), v)
	equal(h.t, "len", h.state.Len(), uint64(len(m)))
}

// versions are those that must be viewable, newest first.
func (h *history) versions() []uint64 {
	all := slices.Sorted(maps.Keys(h.past))
	for len(all) > h.cfg.Undo+1 || all[0] < h.floor {
		all = all[1:]
	}
	slices.Reverse(all)
	return all
}

// checkView compares a view with the model of its version.
func (h *history) checkView(version uint64) {
	h.t.Helper()
	m := h.past[version]
	v, err := h.state.View(version)
	must(h.t, err)
	defer v.Close()
	equal(h.t, "root of view", v.Root(), m.root())
	equal(h.t, "len of view", v.Len(), uint64(len(m)))
	for range 20 {
		h.checkProof(v, m, h.key())
	}
	got := model{}
	must(h.t, v.Scan(func(k, val []byte) error { got[string(k)] = string(val); return nil }))
	if !maps.Equal(got, m) {
		h.t.Fatalf("version %d: scan shows %d pairs, want %d", version, len(got), len(m))
	}
}

func (h *history) checkProof(v *ledger.View, m model, key string) {
	h.t.Helper()
	want, there := m[key]
	got, ok, err := v.Get([]byte(key))
	must(h.t, err)
	equal(h.t, "present in view", ok, there)
	equal(h.t, "value in view", string(got), want)
	proof, err := v.Prove([]byte(key))
	must(h.t, err)
	value := []byte(want)
	if !there {
		value = nil
	}
	must(h.t, ledger.VerifyProof(v.Root(), []byte(key), value, proof))
	wrong := append([]byte("x"), value...)
	wantErr(h.t, ledger.VerifyProof(v.Root(), []byte(key), wrong, proof), ledger.ErrProof)
	if there {
		wantErr(h.t, ledger.VerifyProof(v.Root(), []byte(key), nil, proof), ledger.ErrProof)
	}
	proof[h.r.IntN(len(proof))] ^= 1 << h.r.IntN(8)
	wantErr(h.t, ledger.VerifyProof(v.Root(), []byte(key), value, proof), ledger.ErrProof)
}

// TestStateHistories runs random histories with competing and pipelined
// stages, discards, reopens and views against the model.
func TestStateHistories(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg ledger.StateConfig) {
		for seed := range uint64(3) {
			h := newHistory(t, cfg, ledger.NewMemStore(), seed)
			for range 40 {
				h.block()
			}
		}
	})
}

// block commits a stage or two that grow on each other beside siblings that
// lose.
func (h *history) block() {
	h.t.Helper()
	loser := h.state.Begin()
	h.change(loser, maps.Clone(h.now), h.r.IntN(20))
	m := maps.Clone(h.now)
	st := h.state.Begin()
	h.change(st, m, h.r.IntN(60))
	if h.r.IntN(2) == 0 {
		_, err := loser.Root()
		must(h.t, err)
	}
	child := st.Begin()
	m2 := maps.Clone(m)
	h.change(child, m2, h.r.IntN(30))
	wantErr(h.t, st.Set([]byte("k"), nil), ledger.ErrFrozen)
	wantErr(h.t, h.state.Commit(child, h.state.Version()+9, nil), ledger.ErrStale)
	h.commit(st, m)
	h.checkStale(loser)
	if h.r.IntN(3) > 0 {
		h.change(child, m2, h.r.IntN(30))
		h.commit(child, m2)
	} else {
		child.Discard()
		h.checkStale(child)
	}
	if h.cfg.Buckets && h.r.IntN(6) == 0 {
		must(h.t, h.state.Checkpoint())
	}
	if h.r.IntN(8) == 0 {
		h.open()
		must(h.t, h.state.Verify())
	}
	if h.r.IntN(6) == 0 {
		h.rewind()
	}
	if h.r.IntN(4) == 0 {
		for _, v := range h.versions() {
			h.checkView(v)
		}
	}
}

// rewind goes back to some version of the window.
func (h *history) rewind() {
	h.t.Helper()
	kept := h.versions()
	to := kept[h.r.IntN(len(kept))]
	oldest, newest := h.state.Window()
	equal(h.t, "oldest", oldest, kept[len(kept)-1])
	equal(h.t, "newest", newest, kept[0])
	open, err := h.state.View(kept[0])
	must(h.t, err)
	defer open.Close()
	was, st := h.past[kept[0]], h.state.Begin()
	var sets, deletes iter.Seq2[[]byte, []byte]
	if h.cfg.Prefix == nil {
		sets = func(yield func(k, v []byte) bool) { yield([]byte("rewound"), nil) }
		deletes = func(yield func(k, v []byte) bool) { yield([]byte("beside"), nil) }
	}
	must(h.t, h.state.Rewind(to, sets, deletes))
	equal(h.t, "version", h.state.Version(), to)
	equal(h.t, "root", h.state.Root(), h.past[to].root())
	h.checkStale(st)
	if h.cfg.Undo > 0 {
		for range 20 {
			h.checkProof(open, was, h.key())
		}
	}
	for v := range h.past {
		if v > to {
			delete(h.past, v)
		}
	}
	h.now = maps.Clone(h.past[to])
	h.floor = max(h.floor, oldest)
	_, err = h.state.View(to + 1)
	wantErr(h.t, err, ledger.ErrPruned)
}

func (h *history) checkStale(st *ledger.Stage) {
	h.t.Helper()
	_, err := st.Root()
	wantErr(h.t, err, ledger.ErrStale)
	_, _, err = st.Get([]byte("key 1"))
	wantErr(h.t, err, ledger.ErrStale)
	wantErr(h.t, st.Set([]byte("key 1"), nil), ledger.ErrStale)
	wantErr(h.t, h.state.Commit(st, h.state.Version()+1, nil), ledger.ErrStale)
}

// TestStateOrder inserts the same pairs in different orders and block sizes:
// the root is that of the pairs.
func TestStateOrder(t *testing.T) {
	r := newRand(t, 7)
	m := model{}
	for i := range 3000 {
		m[fmt.Sprint("k", i)] = fmt.Sprint("v", i)
	}
	want := m.root()
	eachConfig(t, func(t *testing.T, cfg ledger.StateConfig) {
		s, err := ledger.OpenState(ledger.NewMemStore(), cfg)
		must(t, err)
		keys := slices.Sorted(maps.Keys(m))
		r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		version := uint64(0) // the first version may be 0
		for len(keys) > 0 {
			n := min(len(keys), 1+r.IntN(900))
			st := s.Begin()
			for _, k := range keys[:n] {
				must(t, st.Set([]byte(k), []byte(m[k])))
				must(t, st.Set([]byte("gone"+k), nil))
			}
			keys = keys[n:]
			must(t, s.Commit(st, version, nil))
			version++
		}
		st := s.Begin()
		for k := range m {
			must(t, st.Delete([]byte("gone"+k)))
		}
		root, err := st.Root()
		must(t, err)
		equal(t, "root", root, want)
		must(t, s.Commit(st, version, nil))
		empty := s.Begin()
		for k := range m {
			must(t, empty.Delete([]byte(k)))
		}
		must(t, s.Commit(empty, version+1, nil))
		equal(t, "empty root", s.Root(), shardkit.Hash{})
	})
}

// TestStateRoot pins the definition of the root: an accident here would split
// every chain.
func TestStateRoot(t *testing.T) {
	for _, c := range []struct {
		pairs int
		want  string
	}{
		{1, "76aac0d0bfc616899ba560f2f575df86e37c1c857763db3740fcb544ac254fc4"}, {2, "0fca87a91dbadbd4e9da7c72b3b29c57493135f430bc17ce6872a1d5c0c75b52"}, {100, "283238862f3dd460ee6fb5582383ff123ac59a85ddae343ca3a083a749ae74a3"},
	} {
		m := model{}
		s, err := ledger.OpenState(ledger.NewMemStore(), ledger.StateConfig{})
		must(t, err)
		st := s.Begin()
		for i := range c.pairs {
			k, v := fmt.Sprint("key", i), fmt.Sprint("value", i)
			m[k] = v
			must(t, st.Set([]byte(k), []byte(v)))
		}
		root, err := st.Root()
		must(t, err)
		equal(t, "root of model", root, m.root())
		equal(t, fmt.Sprint("root of ", c.pairs), hex.EncodeToString(root[:]), c.want)
	}
}

// TestStateExtra checks that the caller's pairs go with the commit, and that
// the state's own keys are refused there.
func TestStateExtra(t *testing.T) {
	store := ledger.NewMemStore()
	s, err := ledger.OpenState(store, ledger.StateConfig{})
	must(t, err)
	must(t, s.Commit(s.Begin(), 1, func(yield func(k, v []byte) bool) { yield([]byte("b/1"), []byte("block")) }))
	v, ok, err := store.Get([]byte("b/1"), nil)
	must(t, err)
	equal(t, "present", ok, true)
	equal(t, "extra", string(v), "block")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a key with the state's prefix was taken")
			}
		}()
		_ = s.Commit(s.Begin(), 2, func(yield func(k, v []byte) bool) { yield([]byte("s/d"), nil) })
	}()
	if err := s.Commit(s.Begin(), 2, nil); err == nil {
		t.Error("the state went on after a torn commit")
	}
	s, err = ledger.OpenState(store, ledger.StateConfig{})
	must(t, err)
	equal(t, "version", s.Version(), 1)
}

// TestStateLimits checks sizes and versions.
func TestStateLimits(t *testing.T) {
	s, err := ledger.OpenState(ledger.NewMemStore(), ledger.StateConfig{})
	must(t, err)
	st := s.Begin()
	wantErr(t, st.Set(nil, nil), ledger.ErrSize)
	wantErr(t, st.Set(make([]byte, ledger.MaxKey+1), nil), ledger.ErrSize)
	wantErr(t, st.Set([]byte("k"), make([]byte, ledger.MaxValue+1)), ledger.ErrSize)
	_, _, err = st.Get(nil)
	wantErr(t, err, ledger.ErrSize)
	must(t, st.Set(make([]byte, ledger.MaxKey), make([]byte, ledger.MaxValue)))
	must(t, s.Commit(st, 5, nil))
	if err := s.Commit(s.Begin(), 5, nil); err == nil {
		t.Error("the same version twice")
	}
	_, err = s.View(4)
	wantErr(t, err, ledger.ErrPruned)
	other, err := ledger.OpenState(ledger.NewMemStore(), ledger.StateConfig{})
	must(t, err)
	if err := s.Commit(other.Begin(), 6, nil); err == nil {
		t.Error("a stage of another state")
	}
	_, err = ledger.OpenState(ledger.NewMemStore(), ledger.StateConfig{Undo: -1})
	if err == nil {
		t.Error("negative Undo")
	}
}

// TestStateViewPruned checks what a view can do without undo records.
func TestStateViewPruned(t *testing.T) {
	s, err := ledger.OpenState(ledger.NewMemStore(), ledger.StateConfig{})
	must(t, err)
	st := s.Begin()
	must(t, st.Set([]byte("a"), []byte("1")))
	must(t, s.Commit(st, 1, nil))
	v, err := s.View(1)
	must(t, err)
	must(t, s.Commit(s.Begin(), 2, nil))
	proof, err := v.Prove([]byte("a"))
	must(t, err)
	must(t, ledger.VerifyProof(v.Root(), []byte("a"), []byte("1"), proof))
	_, _, err = v.Get([]byte("a"))
	wantErr(t, err, ledger.ErrPruned)
	_, err = v.ReadRange(shardkit.Hash{}, 100)
	wantErr(t, err, ledger.ErrPruned)
}

// TestStateDamage changes records behind the state's back: opening names the
// damage.
func TestStateDamage(t *testing.T) {
	for _, cfg := range []ledger.StateConfig{{Undo: 3}, {Undo: 3, Buckets: true}} {
		clean := ledger.NewMemStore()
		h := newHistory(t, cfg, clean, 3)
		for range 6 {
			h.block()
		}
		must(t, clean.Scan(nil, nil, func(k, v []byte) error {
			if !bytes.HasPrefix(k, []byte("s/")) || k[2] == 'n' { // not of the state, and names are checked when they are read
				return nil
			}
			damaged := clean.Clone()
			bad := append(bytes.Clone(v), 1)
			if len(v) > 0 {
				bad = bytes.Clone(v)
				bad[h.r.IntN(len(v))] ^= 4
			}
			must(t, damaged.Apply(func(yield func(k, v []byte) bool) { yield(k, bad) }, nil))
			s, err := ledger.OpenState(damaged, cfg)
			if err == nil {
				err = s.Verify() // which a checkpoint may have saved
			}
			var damage *ledger.DamageError
			if err == nil && k[2] == 'u' {
				// What is well-formed but wrong comes out with the tree.
				for _, v := range h.versions() {
					if _, e := s.View(v); e != nil {
						err = e
						break
					}
				}
			}
			if err != nil && !errors.As(err, &damage) {
				t.Fatalf("%q: %v", k[:3], err)
			}
			if err == nil && k[2] != 'h' && k[2] != 'u' {
				t.Fatalf("damaged %q not seen", k)
			}
			return nil
		}))
	}
}

// TestStateConcurrent uses everything at once; the race detector and the model
// watch.
func TestStateConcurrent(t *testing.T) {
	for _, cfg := range []ledger.StateConfig{{Undo: 4}, {Undo: 4, Buckets: true}} {
		h := newHistory(t, cfg, ledger.NewMemStore(), 11)
		h.keys = 2000
		st, m := h.state.Begin(), model{}
		h.change(st, m, 3000)
		h.commit(st, m)
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for i := range 3 {
			r := rand.New(rand.NewPCG(uint64(i), 2))
			wg.Go(func() { readAlong(t, h.state, r, stop) })
		}
		tip, tipModel := h.state.Begin(), maps.Clone(h.now)
		for range 40 {
			h.change(tip, tipModel, 100)
			next, nextModel := tip.Begin(), maps.Clone(tipModel)
			h.change(next, nextModel, 50)
			var side sync.WaitGroup
			side.Go(func() { // the child's root while the parent is committed
				if _, err := next.Root(); err != nil {
					t.Error(err)
				}
			})
			side.Go(func() { // and another child
				child := tip.Begin()
				if _, _, err := child.Get([]byte("key 1")); err != nil {
					t.Error(err)
				}
				if _, err := tip.Root(); err != nil {
					t.Error(err)
				}
				child.Discard()
			})
			h.commit(tip, tipModel)
			side.Wait()
			tip, tipModel = next, nextModel
		}
		close(stop)
		wg.Wait()
	}
}

// readAlong views, proves and stages against a moving state.
func readAlong(t *testing.T, s *ledger.State, r *rand.Rand, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		v, err := s.View(s.Version())
		if errors.Is(err, ledger.ErrPruned) {
			continue // many commits between the two calls
		}
		if err != nil {
			t.Error(err)
			return
		}
		for range 30 {
			key := fmt.Appendf(nil, "key %d", r.IntN(2000))
			value, _, err := v.Get(key)
			if err != nil {
				t.Error(err)
				return
			}
			proof, err := v.Prove(key)
			if err == nil {
				err = ledger.VerifyProof(v.Root(), key, value, proof)
			}
			if err != nil {
				t.Errorf("version %d: %v", v.Version(), err)
				return
			}
		}
		if err := walkRanges(v, r.IntN(3000)); err != nil {
			t.Error(err)
			return
		}
		v.Close()
		st := s.Begin()
		_ = st.Set([]byte("key 1"), []byte("sibling"))
		if _, err := st.Root(); err != nil && !errors.Is(err, ledger.ErrStale) {
			t.Error(err)
			return
		}
	}
}

// walkRanges reads and verifies a view chunk by chunk.
func walkRanges(v *ledger.View, maxBytes int) error {
	var from shardkit.Hash
	for {
		chunk, err := v.ReadRange(from, maxBytes)
		if err != nil {
			return err
		}
		next, done, err := ledger.VerifyRange(v.Root(), from, chunk)
		if err != nil || done {
			return err
		}
		from = next
	}
}
