package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
)

// proofState is a small state whose proofs are pinned.
func proofState(t testing.TB, n int) *ledger.View {
	s, err := ledger.OpenState(ledger.NewMemStore(), ledger.StateConfig{})
	must(t, err)
	st := s.Begin()
	for i := range n {
		must(t, st.Set(fmt.Append(nil, "key", i), fmt.Append(nil, "value", i)))
	}
	must(t, s.Commit(st, 1, nil))
	v, err := s.View(1)
	must(t, err)
	return v
}

// TestProofGolden pins the encodings.
func TestProofGolden(t *testing.T) {
	m := model{}
	for i := range 5 {
		m[fmt.Sprint("key", i)] = fmt.Sprint("value", i)
	}
	v := proofState(t, 5)
	equal(t, "root", v.Root(), m.root())
	single := func(key string) []byte {
		p, err := v.Prove([]byte(key))
		must(t, err)
		return p
	}
	multi, err := v.ProveMulti([][]byte{[]byte("key1"), []byte("none")})
	must(t, err)
	chunk, err := v.ReadRange(shardkit.Hash{0x20}, 60)
	must(t, err)
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"present", single("key3"), "00000280d7df859448145b4f19b9940d4aaa51a72ffd16d2e21ca2efed84b4c87120c570"},
		{"absent", single("none"), "01000100dff9ea6eda7a10847c6a8f92bbf5b1b66e7eacb8f787aba72dc7dc2e54937282"},
		{"multi", multi, "020002020304d1efefbafd107a6e017275b4574f8bd00f7124d41747dabcd617fb18a2eef0a104ef99540a77ca9a8d4273d7b65779d0b2cb070e3da9727eb90e04537fe18a0368"},
		{"range", chunk, "010000000001046b6579310000000676616c7565310200020203d1efefbafd107a6e017275b4574f8bd00f7124d41747dabcd617fb18a2eef0a1ef99540a77ca9a8d4273d7b65779d0b2cb070e3da9727eb90e04537fe18a0368"},
	} {
		equal(t, c.name, hex.EncodeToString(c.got), c.want)
	}
}

// TestProofNodeAsLeaf presents the root, a node, as the leaf of another key,
// which would prove every key absent and every range empty. All verifiers
// refuse, because a leaf is of another length.
func TestProofNodeAsLeaf(t *testing.T) {
	v := proofState(t, 100)
	// What the root is the hash of: the first siblings of keys on either side.
	var sides [2][]byte
	for i := range 100 {
		key := fmt.Append(nil, "key", i)
		proof, err := v.Prove(key)
		must(t, err)
		depth := int(proof[2])
		first := proof[3+(depth+7)/8:][:32]
		sides[1-sha256.Sum256(key)[0]>>7] = first
	}
	node := slices.Concat(sides[0], sides[1])
	equal(t, "root", shardkit.Hash(sha256.Sum256(node)), v.Root())

	key := []byte("key1")
	single := slices.Concat([]byte{2}, node, []byte{0, 0})
	wantErr(t, ledger.VerifyProof(v.Root(), key, nil, single), ledger.ErrProof)
	multi := slices.Concat([]byte{1}, node)
	wantErr(t, ledger.VerifyMulti(v.Root(), [][]byte{key}, [][]byte{nil}, multi), ledger.ErrProof)
	chunk := slices.Concat([]byte{1, 1, 0, 0, 0, 0, 1}, node)
	from := shardkit.Hash(sides[0])
	from[0]++ // the leaf lies before the range
	_, _, err := ledger.VerifyRange(v.Root(), from, chunk)
	wantErr(t, err, ledger.ErrProof)
}

// TestProofMulti proves random sets of keys of random histories, and changes
// what is claimed.
func TestProofMulti(t *testing.T) {
	for _, cfg := range []ledger.StateConfig{{Undo: 3}, {Undo: 3, Buckets: true}} {
		h := newHistory(t, cfg, ledger.NewMemStore(), 21)
		for range 15 {
			h.block()
			for _, version := range h.versions() {
				v, err := h.state.View(version)
				must(t, err)
				h.checkMulti(v, h.past[version])
			}
		}
	}
}

func (h *history) checkMulti(v *ledger.View, m model) {
	h.t.Helper()
	seen := map[string]bool{}
	var keys, values [][]byte
	for range h.r.IntN(40) {
		k := h.key()
		if seen[k] {
			continue
		}
		seen[k] = true
		keys = append(keys, []byte(k))
		var value []byte
		if x, ok := m[k]; ok {
			value = append([]byte{}, x...)
		}
		values = append(values, value)
	}
	proof, err := v.ProveMulti(keys)
	must(h.t, err)
	must(h.t, ledger.VerifyMulti(v.Root(), keys, values, proof))
	for range 10 {
		bad := bytes.Clone(proof)
		bad[h.r.IntN(len(bad))] ^= 1 << h.r.IntN(8)
		wantErr(h.t, ledger.VerifyMulti(v.Root(), keys, values, bad), ledger.ErrProof)
	}
	if len(keys) == 0 {
		return
	}
	i := h.r.IntN(len(keys))
	was := values[i]
	values[i] = []byte("another")
	wantErr(h.t, ledger.VerifyMulti(v.Root(), keys, values, proof), ledger.ErrProof)
	if was != nil {
		values[i] = nil
		wantErr(h.t, ledger.VerifyMulti(v.Root(), keys, values, proof), ledger.ErrProof)
	}
	twice := append(keys, keys[i])
	wantErr(h.t, ledger.VerifyMulti(v.Root(), twice, append(values, was), proof), ledger.ErrProof)
	if _, err := v.ProveMulti(twice); err == nil {
		h.t.Fatal("a key proved twice")
	}
}

// TestProofForged tries proofs that hash to the root but claim too much.
func TestProofForged(t *testing.T) {
	v := proofState(t, 40)
	root := v.Root()
	// An absence shown with a leaf that stands elsewhere.
	for i := range 40 {
		for j := range 40 {
			p, err := v.Prove(fmt.Append(nil, "none", j))
			must(t, err)
			key := fmt.Append(nil, "key", i)
			if ledger.VerifyProof(root, key, nil, p) == nil {
				t.Fatalf("%s shown absent with the proof of another key", key)
			}
		}
	}
	// Everything and nothing.
	for _, p := range [][]byte{nil, {0}, {1}, {1, 0, 0}, {2}, {3, 0, 0}, bytes.Repeat([]byte{0}, 99), bytes.Repeat([]byte{1}, 99), bytes.Repeat([]byte{2}, 999)} {
		wantErr(t, ledger.VerifyProof(root, []byte("key1"), []byte("value1"), p), ledger.ErrProof)
		wantErr(t, ledger.VerifyProof(root, []byte("key1"), nil, p), ledger.ErrProof)
		wantErr(t, ledger.VerifyMulti(root, [][]byte{[]byte("key1")}, [][]byte{nil}, p), ledger.ErrProof)
		_, _, err := ledger.VerifyRange(root, shardkit.Hash{}, p)
		wantErr(t, err, ledger.ErrProof)
	}
}

// TestProofSpliced takes proofs apart as TestRangeForged does chunks: of one
// fact one proof passes.
func TestProofSpliced(t *testing.T) {
	v := proofState(t, 12)
	keys, values := [][]byte{[]byte("key3"), []byte("none"), []byte("key11"), []byte("other")}, make([][]byte, 4)
	for i, key := range keys {
		if value, ok, err := v.Get(key); ok {
			values[i] = value
		} else {
			must(t, err)
		}
		proof, err := v.Prove(key)
		must(t, err)
		try := func(bad []byte) {
			if ledger.VerifyProof(v.Root(), key, values[i], bad) == nil && !bytes.Equal(bad, proof) {
				t.Fatalf("%s: two proofs: %x and %x", key, proof, bad)
			}
		}
		splice(proof, try)
		for bit := range 8 * min(len(proof), 1+64+2+32) { // an empty sibling spelled out
			bad := bytes.Clone(proof)
			bad[bit/8] ^= 1 << (bit % 8)
			for at := bit/8 + 1; at <= len(bad); at++ {
				try(slices.Concat(bad[:at], make([]byte, 32), bad[at:]))
			}
		}
	}
	multi, err := v.ProveMulti(keys)
	must(t, err)
	splice(multi, func(bad []byte) {
		if ledger.VerifyMulti(v.Root(), keys, values, bad) == nil && !bytes.Equal(bad, multi) {
			t.Fatalf("two proofs of many: %x and %x", multi, bad)
		}
	})
}

// FuzzVerifyProof: no bytes make the verifiers panic, and whatever they accept
// is the truth, encoded the one way it can be.
func FuzzVerifyProof(f *testing.F) {
	v := proofState(f, 40)
	for _, key := range []string{"key1", "key39", "none", "other"} {
		p, err := v.Prove([]byte(key))
		must(f, err)
		f.Add(key, p)
	}
	f.Fuzz(func(t *testing.T, key string, proof []byte) {
		value, ok, err := v.Get([]byte(key))
		must(t, err)
		want, err := v.Prove([]byte(key))
		must(t, err)
		if !ok {
			value = nil
			if ledger.VerifyProof(v.Root(), []byte(key), []byte("x"), proof) == nil {
				t.Fatal("proved a value of an absent key")
			}
		} else if ledger.VerifyProof(v.Root(), []byte(key), nil, proof) == nil {
			t.Fatal("proved a present key absent")
		}
		if ledger.VerifyProof(v.Root(), []byte(key), value, proof) == nil && !bytes.Equal(proof, want) {
			t.Fatalf("two proofs of one fact: %x and %x", proof, want)
		}
	})
}

// FuzzVerifyMulti is the same for proofs of many keys.
func FuzzVerifyMulti(f *testing.F) {
	v := proofState(f, 40)
	p, err := v.ProveMulti([][]byte{[]byte("key1"), []byte("none")})
	must(f, err)
	f.Add("key1", "none", p)
	f.Fuzz(func(t *testing.T, a, b string, proof []byte) {
		if a == b {
			return
		}
		keys, values := [][]byte{[]byte(a), []byte(b)}, make([][]byte, 2)
		for i := range keys {
			value, ok, err := v.Get(keys[i])
			must(t, err)
			if ok {
				values[i] = value
			}
		}
		want, err := v.ProveMulti(keys)
		must(t, err)
		if ledger.VerifyMulti(v.Root(), keys, values, proof) == nil && !bytes.Equal(proof, want) {
			t.Fatalf("two proofs of one fact: %x and %x", proof, want)
		}
		values[0] = append([]byte("x"), values[0]...)
		if ledger.VerifyMulti(v.Root(), keys, values, proof) == nil {
			t.Fatal("proved a wrong value")
		}
	})
}

// FuzzVerifyRange: what is accepted is what the state has there.
func FuzzVerifyRange(f *testing.F) {
	v := proofState(f, 40)
	for _, from := range []shardkit.Hash{{}, {0x80}, {0xff, 0xf0}} {
		for _, size := range []int{0, 300, 1 << 20} {
			chunk, err := v.ReadRange(from, size)
			must(f, err)
			f.Add(from[:], chunk)
		}
	}
	f.Fuzz(func(t *testing.T, start, chunk []byte) {
		var from shardkit.Hash
		copy(from[:], start)
		next, done, err := ledger.VerifyRange(v.Root(), from, chunk)
		restore, rerr := ledger.OpenRestore(ledger.NewMemStore(), ledger.StateConfig{}, v.Root(), 1)
		must(t, rerr)
		if rerr := restore.Add(from, chunk); rerr != nil && err == nil {
			t.Fatal(rerr) // what is not verified may be taken or refused, without a panic
		}
		if err != nil {
			return
		}
		// The same pairs asked for again give the same bytes.
		for size := 0; ; size += 40 {
			same, err := v.ReadRange(from, size)
			must(t, err)
			if bytes.Equal(same, chunk) {
				break
			}
			if size > 4000 { // the whole state is less
				t.Fatalf("accepted %x from %v, which nobody would send (next %v, done %v)", chunk, from, next, done)
			}
		}
	})
}
