package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
)

// TestRangeRestore downloads views of random histories, chunk by chunk, into
// other states.
func TestRangeRestore(t *testing.T) {
	eachConfig(t, func(t *testing.T, cfg ledger.StateConfig) {
		for seed := range uint64(4) {
			h := newHistory(t, cfg, ledger.NewMemStore(), seed)
			for range 12 {
				h.block()
			}
			for _, v := range h.versions() {
				restoreView(h, v)
			}
		}
	})
}

// restoreView copies a version through ReadRange and Restore, with reopens.
func restoreView(h *history, version uint64) {
	t := h.t
	v, err := h.state.View(version)
	must(t, err)
	store := ledger.NewMemStore()
	cfg := ledger.StateConfig{Buckets: h.r.IntN(2) == 0, Undo: 2}
	for {
		r, err := ledger.OpenRestore(store, cfg, v.Root(), version)
		must(t, err)
		_, err = ledger.OpenState(store, cfg)
		wantErr(t, err, ledger.ErrRestoring)
		for range 4 {
			from := r.Next()
			if h.r.IntN(3) == 0 {
				from[0] = byte(h.r.IntN(256)) // from the middle
			}
			chunk, err := v.ReadRange(from, h.r.IntN(4000))
			must(t, err)
			_, _, err = ledger.VerifyRange(v.Root(), from, chunk)
			must(t, err)
			must(t, r.Add(from, chunk))
		}
		if r.Complete() {
			s, err := r.Finish(nil)
			must(t, err)
			equal(t, "restored root", s.Root(), v.Root())
			break
		}
		if _, err := r.Finish(nil); err == nil {
			t.Fatal("finished with ranges missing")
		}
	}
	s, err := ledger.OpenState(store, cfg)
	must(t, err)
	equal(t, "restored version", s.Version(), version)
	got := model{}
	must(t, s.Scan(func(k, v []byte) error { got[string(k)] = string(v); return nil }))
	if !maps.Equal(got, h.past[version]) {
		t.Fatal("restored pairs differ")
	}
	st := s.Begin()
	h.change(st, got, 20)
	root, err := st.Root()
	must(t, err)
	equal(t, "root on top", root, got.root())
}

// TestRangeWrong changes chunks in every byte: none may pass, except as what
// it is.
func TestRangeWrong(t *testing.T) {
	h := newHistory(t, ledger.StateConfig{}, ledger.NewMemStore(), 5)
	h.block()
	v, err := h.state.View(h.state.Version())
	must(t, err)
	from := shardkit.Hash{0x40, 1}
	chunk, err := v.ReadRange(from, 300)
	must(t, err)
	for i := range chunk {
		for bit := range 8 {
			bad := bytes.Clone(chunk)
			bad[i] ^= 1 << bit
			if _, _, err := ledger.VerifyRange(v.Root(), from, bad); err == nil {
				t.Fatalf("bit %d of byte %d changed and taken", bit, i)
			}
		}
		_, _, err := ledger.VerifyRange(v.Root(), from, chunk[:i])
		wantErr(t, err, ledger.ErrProof)
	}
	_, _, err = ledger.VerifyRange(v.Root(), from, append(bytes.Clone(chunk), 0))
	wantErr(t, err, ledger.ErrProof)
	_, _, err = ledger.VerifyRange(shardkit.Hash{1}, from, chunk)
	wantErr(t, err, ledger.ErrProof)
}

// TestRestoreWrong finishes a restore with a pair that is not of the state: it
// is refused and starts over.
func TestRestoreWrong(t *testing.T) {
	h := newHistory(t, ledger.StateConfig{}, ledger.NewMemStore(), 6)
	h.block()
	v, err := h.state.View(h.state.Version())
	must(t, err)
	chunk, err := v.ReadRange(shardkit.Hash{}, 1<<20)
	must(t, err)
	bad := bytes.Clone(chunk)
	bad[6+1+int(bad[6])+4] ^= 1 // in the first value, or after it
	store := ledger.NewMemStore()
	r, err := ledger.OpenRestore(store, ledger.StateConfig{}, v.Root(), 9)
	must(t, err)
	must(t, r.Add(shardkit.Hash{}, bad))
	if _, err := r.Finish(nil); err == nil {
		t.Fatal("finished with a wrong pair")
	}
	equal(t, "next", r.Next(), shardkit.Hash{})
	must(t, r.Add(shardkit.Hash{}, chunk))
	_, err = r.Finish(nil)
	must(t, err)
	if r.Add(shardkit.Hash{}, chunk) == nil {
		t.Fatal("added to a finished restore")
	}
}

// TestRangeForged takes chunks apart: pairs left out or made up, parts of the
// proof deleted, spelled out as zeros or put twice, the chunk passed off as one from
// another place. Whatever is accepted must be the truth about its range.
func TestRangeForged(t *testing.T) {
	v := proofState(t, 12)
	var all []string // pairs as a chunk has them, by hash
	var hashes []shardkit.Hash
	must(t, v.Scan(func(k, val []byte) error {
		all = append(all, fmt.Sprintf("%c%s\x00\x00\x00%c%s", len(k), k, len(val), val))
		hashes = append(hashes, sha256.Sum256(k))
		return nil
	}))
	starts := []shardkit.Hash{{}, {0xff, 0xff}}
	for _, h := range hashes { // at, before and behind each key
		before, behind := h, h
		before[31]--
		behind[31]++
		starts = append(starts, h, before, behind)
	}
	// honest is the only chunk of n pairs from a place.
	honest := map[string]bool{}
	for _, from := range starts {
		for size := 0; size < 1200; size += 30 {
			chunk, err := v.ReadRange(from, size)
			must(t, err)
			honest[string(from[:])+string(chunk)] = true
		}
	}
	try := func(from shardkit.Hash, chunk []byte) {
		_, _, err := ledger.VerifyRange(v.Root(), from, chunk)
		if err == nil && !honest[string(from[:])+string(chunk)] {
			t.Fatalf("from %v accepted: %x", from, chunk)
		}
	}
	for i, from := range starts {
		for _, size := range []int{0, 200, 1 << 20} {
			chunk, err := v.ReadRange(from, size)
			must(t, err)
			for _, other := range starts {
				try(other, chunk)
			}
			for _, pair := range all { // without the pair, with and without counting it
				if at := strings.Index(string(chunk), pair); at >= 0 {
					bad := slices.Concat(chunk[:at], chunk[at+len(pair):])
					try(from, bad)
					bad[5]--
					try(from, bad)
				}
			}
			for n := range 64 { // with a pair that does not exist, wherever it could stand
				made := fmt.Sprintf("\x01%c\x00\x00\x00\x00", n)
				for at := 6; ; {
					bad := slices.Concat(chunk[:at], []byte(made), chunk[at:])
					bad[5]++
					try(from, bad)
					i := slices.IndexFunc(all, func(pair string) bool { return strings.HasPrefix(string(chunk[at:]), pair) })
					if i < 0 {
						break
					}
					at += len(all[i])
				}
			}
			last := bytes.Clone(chunk) // not the last, and the other way round
			last[1] ^= 1
			try(from, last)
			if i%12 == 0 {
				splice(chunk, func(bad []byte) { try(from, bad) })
			}
		}
	}
}

// splice calls try with the chunk with parts taken out, put twice, and with
// hashes and tags put in.
func splice(chunk []byte, try func(bad []byte)) {
	for i := range chunk {
		for j := i + 1; j <= len(chunk); j++ {
			try(slices.Concat(chunk[:i], chunk[j:]))
			if j-i <= 34 {
				try(slices.Concat(chunk[:j], chunk[i:]))
			}
		}
		for tag := range byte(5) {
			try(slices.Concat(chunk[:i], []byte{tag}, make([]byte, 32), chunk[i+1:]))
			try(slices.Concat(chunk[:i], []byte{tag}, chunk[i:]))
			try(slices.Concat(chunk[:i], []byte{tag}, chunk[i+1:]))
			try(slices.Concat(chunk[:i], bytes.Repeat([]byte{tag}, 3), chunk[i+1:]))
		}
		try(slices.Concat(chunk[:i], make([]byte, 32), chunk[i:]))
	}
}
