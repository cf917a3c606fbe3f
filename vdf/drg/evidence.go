package drg

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/vrf"
)

// ErrEvidence says that evidence does not convict.
var ErrEvidence = errors.New("no evidence")

// Evidence shows that a member signed a VRF output that is not valid. It
// convicts by itself: the statement signed names chain, round and slot, and
// whether the proof holds for them anybody can compute. A correct member
// checks its proof before it signs, whatever alpha it was told.
type Evidence struct {
	Epoch   shardkit.Epoch
	Attempt uint32
	Alpha   shardkit.Hash
	Slot    shardkit.Hash
	Proof   [proofSize]byte
	// Signature is the Ed25519 signature of the member's node over the above.
	Signature [ed25519.SignatureSize]byte
}

const proofSize = 80

// Verify returns nil if the evidence convicts m, which is the member as it was
// registered for the round: its node, slot and VRF key. The caller looks it up
// by Epoch and Slot, and punishes a member once a round. It takes as long as
// a VRF verification.
func (e *Evidence) Verify(chain shardkit.Hash, m Member) error {
	if m.Slot != e.Slot {
		return fmt.Errorf("drg: %w: about slot %v, not %v", ErrEvidence, e.Slot, m.Slot)
	}
	if err := vrf.CheckKey(suite, m.Key); err != nil {
		return fmt.Errorf("drg: %w: who registered the key is to blame: %w", ErrEvidence, err)
	}
	r := Round{Epoch: e.Epoch, Attempt: e.Attempt, Alpha: e.Alpha}
	alpha := alphaOf(chain, &r, e.Slot)
	if !ed25519.Verify(m.Node[:], signingBytes(alpha, e.Proof[:]), e.Signature[:]) {
		return fmt.Errorf("drg: %w: %v did not sign it", ErrEvidence, m.Node)
	}
	if _, err := vrf.Verify(suite, m.Key, alpha, e.Proof[:]); err == nil {
		return fmt.Errorf("drg: %w: the output is valid", ErrEvidence)
	}
	return nil
}

// signingBytes is what a member signs: alpha names all but the proof.
func signingBytes(alpha, proof []byte) []byte {
	b := []byte("shardkit/drg/input/1")
	b = append(b, alpha...)
	return append(b, proof...)
}

// evidence is an arrival as evidence; nil if it is not signed.
func (a *arrival) evidence(r *Round, slot shardkit.Hash) *Evidence {
	if a.signature == nil {
		return nil
	}
	e := &Evidence{Epoch: r.Epoch, Attempt: r.Attempt, Alpha: r.Alpha, Slot: slot}
	copy(e.Proof[:], a.pi)
	copy(e.Signature[:], a.signature)
	return e
}

// AppendBinary appends the encoding of e.
func (e *Evidence) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, version, kindEvidence)
	b = wire.AppendU64(b, uint64(e.Epoch))
	b = wire.AppendU32(b, e.Attempt)
	b = append(append(b, e.Alpha[:]...), e.Slot[:]...)
	return append(append(b, e.Proof[:]...), e.Signature[:]...), nil
}

// UnmarshalBinary decodes what AppendBinary gives, and nothing else.
func (e *Evidence) UnmarshalBinary(p []byte) error {
	r := wire.NewReader(p)
	r.Expect(version, "version")
	r.Expect(kindEvidence, "kind")
	n := Evidence{Epoch: shardkit.Epoch(r.U64()), Attempt: r.U32(), Alpha: r.Array32(), Slot: r.Array32()}
	copy(n.Proof[:], r.Fixed(len(n.Proof)))
	copy(n.Signature[:], r.Fixed(len(n.Signature)))
	if err := r.Close(); err != nil {
		return fmt.Errorf("drg: evidence: %w: %w", ErrMalformed, err)
	}
	*e = n
	return nil
}
