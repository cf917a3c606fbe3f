package ledger

import (
	"crypto/sha256"
	"math/rand/v2"
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
