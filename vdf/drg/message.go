package drg

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/vrf"
)

// suite is the VRF of the whole protocol.
const suite = vrf.EdwardsELL2

// Errors by which a driver judges a peer. Deliver's errors wrap one of them.
var (
	ErrMalformed = errors.New("malformed message")        // a correct peer never sends it
	ErrForeign   = errors.New("sender does not own slot") // a correct peer never sends it
	ErrUnsigned  = errors.New("message is not signed")    // a correct peer that has Config.Sign never sends it
	ErrStale     = errors.New("of another round")         // happens between correct peers
)

const (
	version      = 1
	kindInput    = 1
	kindSet      = 2
	kindEntry    = 3
	kindSigned   = 4
	kindEvidence = 5
)

// input is a member's VRF output on its way to a leader.
type input struct {
	epoch     shardkit.Epoch
	attempt   uint32
	slot      shardkit.Hash
	pi        []byte
	signature []byte // of signingBytes by the member's node; nil: not signed
}

func (m *input) appendBinary(b []byte) []byte {
	kind := byte(kindInput)
	if m.signature != nil {
		kind = kindSigned
	}
	b = append(b, version, kind)
	b = wire.AppendU64(b, uint64(m.epoch))
	b = wire.AppendU32(b, m.attempt)
	b = append(b, m.slot[:]...)
	return append(append(b, m.pi...), m.signature...)
}

// unmarshalBinary decodes p; pi and signature alias it.
func (m *input) unmarshalBinary(p []byte) error {
	r := wire.NewReader(p)
	r.Expect(version, "version")
	kind := r.U8()
	if r.Err() == nil && kind != kindInput && kind != kindSigned {
		r.Fail(fmt.Errorf("kind %d: %w", kind, wire.ErrValue))
	}
	m.epoch = shardkit.Epoch(r.U64())
	m.attempt = r.U32()
	m.slot = r.Array32()
	m.pi = r.Fixed(proofSize)
	if m.signature = nil; kind == kindSigned {
		m.signature = r.Fixed(ed25519.SignatureSize)
	}
	if err := r.Close(); err != nil {
		return fmt.Errorf("drg: %w: %v", ErrMalformed, err)
	}
	return nil
}

// alphaOf is what the owner of slot feeds into its VRF in round r. All that
// names the round is in it, so an output cannot be used in another round, on
// another chain or for another slot.
func alphaOf(chain shardkit.Hash, r *Round, slot shardkit.Hash) []byte {
	b := []byte("shardkit/drg/vrf/1")
	b = append(b, chain[:]...)
	b = wire.AppendU64(b, uint64(r.Epoch))
	b = wire.AppendU32(b, r.Attempt)
	b = append(b, r.Alpha[:]...)
	return append(b, slot[:]...)
}
