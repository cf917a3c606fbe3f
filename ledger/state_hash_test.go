package ledger

import (
	"crypto/sha256"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shardkit/shardkit"
)

// TestStateHash compares the short way to a digest with the library's.
func TestStateHash(t *testing.T) {
	r := rand.NewChaCha8([32]byte{1})
	for n := range 300 {
		msg := make([]byte, n)
		_, _ = r.Read(msg)
		if got, want := hashOf(msg), shardkit.Hash(sha256.Sum256(msg)); got != want {
			t.Fatalf("%d bytes: got %v, want %v", n, got, want)
		}
	}
	var b hashBlock
	if n := testing.AllocsPerRun(100, func() { b = hashBlock{}; b.sum(65) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestNodeHash compares leaves and nodes, one and two at a time, with the
// library's hash of the bytes that define them.
func TestNodeHash(t *testing.T) {
	r := rand.NewChaCha8([32]byte{2})
	h := &nodeHasher{}
	for range 1000 {
		var p [4]shardkit.Hash
		for i := range p {
			_, _ = r.Read(p[i][:])
		}
		hash := func(parts ...[]byte) shardkit.Hash { return sha256.Sum256(slices.Concat(parts...)) }
		left, right := hash(p[0][:], p[1][:]), hash(p[2][:], p[3][:])
		if h.one(&p[0], &p[1]) != left {
			t.Fatalf("node of %v", p[:2])
		}
		if leafHash(p[0], p[1]) != hash([]byte{0}, p[0][:], p[1][:]) {
			t.Fatalf("leaf of %v", p[:2])
		}
		run := newTreeRun(make([]treeLeaf, 2))
		q := &treeQuad{half: [2]treePair{{{p[0], run}, {p[1], run}}, {{p[2], run}, {p[3], run}}}}
		top := h.quad(q)
		if q.hash != [2]shardkit.Hash{left, right} || top != hash(left[:], right[:]) {
			t.Fatalf("quad of %v", p)
		}
	}
	var a, b shardkit.Hash
	if n := testing.AllocsPerRun(100, func() { a = h.one(&a, &b) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestNodeSums compares any number of nodes at a time with the library's: how
// they are computed depends on how many there are.
func TestNodeSums(t *testing.T) {
	r := rand.NewChaCha8([32]byte{3})
	for n := 1; n <= 40; n++ {
		in, out := make([][32]byte, 2*n), make([][32]byte, n)
		for i := range in {
			_, _ = r.Read(in[i][:])
		}
		nodeSums(out, in)
		for i := range out {
			if want := sha256.Sum256(slices.Concat(in[2*i][:], in[2*i+1][:])); out[i] != want {
				t.Fatalf("%d of %d nodes: got %x, want %x", i, n, out[i], want)
			}
		}
	}
}
