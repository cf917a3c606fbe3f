package drg

import (
	"bytes"
	"testing"

	"github.com/shardkit/shardkit"
)

// AlphaOf lets tests make proofs for the wrong rounds.
var AlphaOf = alphaOf

// InputBytes is a member's message; sign may be nil.
func InputBytes(chain shardkit.Hash, r *Round, slot shardkit.Hash, pi []byte, sign func([]byte) []byte) []byte {
	m := input{r.Epoch, r.Attempt, slot, pi, nil}
	if sign != nil {
		m.signature = sign(signingBytes(alphaOf(chain, r, slot), pi))
	}
	return m.appendBinary(nil)
}

// InputProof returns the proof in a member's message.
func InputProof(b []byte) []byte {
	var m input
	if err := m.unmarshalBinary(b); err != nil {
		panic(err)
	}
	return bytes.Clone(m.pi)
}

// CheckInput fails if b decodes but is not what it decodes to.
func CheckInput(t *testing.T, b []byte) {
	var m input
	if m.unmarshalBinary(b) == nil && !bytes.Equal(m.appendBinary(nil), b) {
		t.Fatalf("%x is not canonical", b)
	}
}
