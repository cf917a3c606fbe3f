package fbft

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// version is the first byte of every encoding of this package.
const version = 1

// Bounds of what peers send.
const (
	MaxView      = 1 << 48 // a view above it is malformed
	MaxSignature = 256     // bytes of one member's signature
	MaxAggregate = 1 << 19 // bytes of an aggregate; a list of 64-byte signatures of MaxMembers fits
)

// Every signature of this package is over a domain tag and the fields that
// keep it from meaning anything else: chain, shard, epoch, height, view,
// phase, block and committee.
const (
	domainVote    = "shardkit/fbft/vote/v1"
	domainReport  = "shardkit/fbft/report/v1"
	domainNewView = "shardkit/fbft/newview/v1"
)

// Phase tells the two votes on a block apart.
type Phase uint8

// The phases. A quorum of Prepare in a view makes the block the only one which
// that view can decide; a quorum of Commit decides it.
const (
	Prepare Phase = 1
	Commit  Phase = 2
)

// String returns the name of the phase.
func (p Phase) String() string {
	switch p {
	case Prepare:
		return "prepare"
	case Commit:
		return "commit"
	}
	return fmt.Sprintf("phase(%d)", uint8(p))
}

// BlockHash names a block: SHA-256 of its header's bytes.
func BlockHash(header []byte) shardkit.Hash { return sha256.Sum256(header) }

// Certificate proves that members of quorum weight voted for a block in one
// view and phase. It is immutable once made.
type Certificate struct {
	Phase     Phase
	Epoch     shardkit.Epoch
	Height    shardkit.Height
	View      uint64
	Block     shardkit.Hash
	Committee shardkit.Hash // Committee.Hash
	// NewView is the digest of the proof by which the view allowed the block:
	// set in Prepare above view 0 and zero otherwise.
	NewView   shardkit.Hash
	Signers   Bitmap
	Aggregate []byte
}

// Statement returns what every signer signed.
func (ct *Certificate) Statement(chain shardkit.Hash, shard shardkit.ShardID) []byte {
	b := appendContext(nil, domainVote, chain, shard, ct.Epoch, ct.Height, ct.Committee)
	b = append(b, byte(ct.Phase))
	b = wire.AppendU64(b, ct.View)
	b = append(b, ct.Block[:]...)
	return append(b, ct.NewView[:]...)
}

// appendContext appends what every statement begins with.
func appendContext(b []byte, domain string, chain shardkit.Hash, shard shardkit.ShardID,
	epoch shardkit.Epoch, height shardkit.Height, committee shardkit.Hash) []byte {
	b = append(b, domain...)
	b = append(b, chain[:]...)
	b = wire.AppendU32(b, uint32(shard))
	b = wire.AppendU64(b, uint64(epoch))
	b = wire.AppendU64(b, uint64(height))
	return append(b, committee[:]...)
}

// Shape checks everything but the signature: that the certificate is of this
// committee, well-formed, and of quorum weight.
func (ct *Certificate) Shape(c *Committee) error {
	if err := ct.fields(); err != nil {
		return fmt.Errorf("fbft: certificate: %w", err)
	}
	if ct.Committee != c.hash {
		return errors.New("fbft: certificate: of another committee")
	}
	if err := ct.Signers.check(c.Len()); err != nil {
		return fmt.Errorf("fbft: certificate: %w", err)
	}
	// By weight, never by heads: a member with many small keys is worth what
	// they weigh.
	if w := c.Weight(ct.Signers); w < c.quorum {
		return fmt.Errorf("fbft: certificate: weight %d below the quorum %d", w, c.quorum)
	}
	return nil
}

// fields checks what can be judged without the committee. It also runs when one
// is decoded, so that no malformed one exists further in.
func (ct *Certificate) fields() error {
	if ct.Phase != Prepare && ct.Phase != Commit {
		return errors.New("unknown phase")
	}
	if ct.View > MaxView {
		return errors.New("view out of range")
	}
	// COMMIT rests on PREPARED, which has the digest; in view 0 there is none.
	if justified := ct.Phase == Prepare && ct.View > 0; justified == (ct.NewView == shardkit.Hash{}) {
		return errors.New("new-view digest missing or out of place")
	}
	if len(ct.Signers) == 0 || len(ct.Signers) > (MaxMembers+7)/8 {
		return errors.New("bitmap of a wrong length")
	}
	if len(ct.Aggregate) == 0 || len(ct.Aggregate) > MaxAggregate {
		return errors.New("aggregate of a wrong length")
	}
	return nil
}

// Check checks the certificate against its committee: shape, weight, and then
// the signature, which takes milliseconds. Cores call it from jobs.
func (ct *Certificate) Check(chain shardkit.Hash, shard shardkit.ShardID, c *Committee) error {
	if err := ct.Shape(c); err != nil {
		return err
	}
	if err := c.verifier.Verify(ct.Statement(chain, shard), ct.Signers.Indices(), ct.Aggregate); err != nil {
		return fmt.Errorf("fbft: certificate: %w", err)
	}
	return nil
}

// AppendBinary appends the encoding of the certificate.
func (ct *Certificate) AppendBinary(b []byte) ([]byte, error) {
	if err := ct.fields(); err != nil {
		return b, fmt.Errorf("fbft: certificate: %w", err)
	}
	return ct.appendTo(b), nil
}

func (ct *Certificate) appendTo(b []byte) []byte {
	b = append(b, version, byte(ct.Phase))
	b = wire.AppendU64(b, uint64(ct.Epoch))
	b = wire.AppendU64(b, uint64(ct.Height))
	b = wire.AppendU64(b, ct.View)
	b = append(b, ct.Block[:]...)
	b = append(b, ct.Committee[:]...)
	b = append(b, ct.NewView[:]...)
	b = wire.AppendBytes(b, ct.Signers)
	return wire.AppendBytes(b, ct.Aggregate)
}

// UnmarshalBinary decodes what AppendBinary wrote and refuses everything else.
// The certificate does not alias b.
func (ct *Certificate) UnmarshalBinary(b []byte) error {
	r := wire.NewReader(b)
	got := readCertificate(r)
	if err := r.Close(); err != nil {
		return fmt.Errorf("fbft: certificate: %w", err)
	}
	*ct = *got
	return nil
}

// readCertificate reads a certificate off r. It never returns nil; after an
// error of r its value means nothing.
func readCertificate(r *wire.Reader) *Certificate {
	ct := new(Certificate)
	r.Expect(version, "version")
	ct.Phase = Phase(r.U8())
	ct.Epoch = shardkit.Epoch(r.U64())
	ct.Height = shardkit.Height(r.U64())
	ct.View = r.U64()
	ct.Block = r.Array32()
	ct.Committee = r.Array32()
	ct.NewView = r.Array32()
	ct.Signers = append(Bitmap(nil), r.Bytes((MaxMembers+7)/8)...)
	ct.Aggregate = append([]byte(nil), r.Bytes(MaxAggregate)...)
	if r.Err() == nil {
		if err := ct.fields(); err != nil {
			r.Fail(err)
		}
	}
	return ct
}
