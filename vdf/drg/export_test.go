package drg

import (
	"bytes"
	"testing"

	"github.com/shardkit/shardkit"
)

// AlphaOf lets tests make proofs for the wrong rounds.
var AlphaOf = alphaOf

// InputBytes is a member's message.
func InputBytes(r *Round, slot shardkit.Hash, pi []byte) []byte {
	m := input{r.Epoch, r.Attempt, slot, pi}
	return m.appendBinary(nil)
}

// CheckInput fails if b decodes but is not what it decodes to.
func CheckInput(t *testing.T, b []byte) {
	var m input
	if m.unmarshalBinary(b) == nil && !bytes.Equal(m.appendBinary(nil), b) {
		t.Fatalf("%x is not canonical", b)
	}
}
