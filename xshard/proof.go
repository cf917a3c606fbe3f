package xshard

import (
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/merkle"
	"github.com/shardkit/shardkit/internal/wire"
)

// Proof shows a third party, such as the wallet of the receiver, that a block
// sent one receipt, without the others of its batch.
type Proof struct {
	Receipt Receipt
	First   uint64          // of the batch
	Count   uint64          // of the batch
	Path    []shardkit.Hash // from the receipt to the root of the batch
	Leaves  uint64          // of the outbox
	Outbox  []shardkit.Hash // from the leaf of the destination to the outbox root
}

// Prove returns the proof of Receipts[i]. It panics if there is none.
func (b *Batch) Prove(i int) *Proof {
	return &Proof{
		Receipt: b.Receipts[i],
		First:   b.First,
		Count:   uint64(len(b.Receipts)),
		Path:    merkle.Prove(receiptLeaves(b.Receipts), i),
		Leaves:  b.Leaves,
		Outbox:  b.Proof,
	}
}

// check returns an error if the proof contradicts itself or the limits.
func (p *Proof) check() error {
	r := &p.Receipt
	switch {
	case r.Source == r.Dest || p.Leaves > MaxShards || uint64(r.Dest) >= p.Leaves || uint64(r.Source) >= p.Leaves:
		return fmt.Errorf("%w: shard %d to %d of %d", ErrShape, r.Source, r.Dest, p.Leaves)
	case p.Count > MaxReceipts || p.First+p.Count < p.First || r.Seq < p.First || r.Seq-p.First >= p.Count:
		return fmt.Errorf("%w: receipt %d of %d from %d on", ErrShape, r.Seq, p.Count, p.First)
	case len(r.Data) > MaxReceiptData:
		return fmt.Errorf("%w: %d bytes of data", ErrShape, len(r.Data))
	case len(p.Path) != merkle.ProofLen(r.Seq-p.First, p.Count),
		len(p.Outbox) != merkle.ProofLen(uint64(r.Dest), p.Leaves):
		return fmt.Errorf("%w: proof of %d and %d hashes", ErrShape, len(p.Path), len(p.Outbox))
	}
	return nil
}

// VerifyReceipt returns nil if the outbox with the given root holds
// p.Receipt. As with VerifyBatch, root comes from a certified header of
// p.Receipt.Source.
func VerifyReceipt(root shardkit.Hash, p *Proof) error {
	if err := p.check(); err != nil {
		return fmt.Errorf("xshard: receipt proof: %w", err)
	}
	r := &p.Receipt
	leaf, _ := r.leaf(nil)
	batch := merkle.Fold(r.Seq-p.First, p.Count, leaf, p.Path)
	leaf = outboxLeaf(r.Source, r.Dest, p.Leaves, p.First, int(p.Count), batch)
	if err := merkle.Verify(root, uint64(r.Dest), p.Leaves, leaf, p.Outbox); err != nil {
		return fmt.Errorf("xshard: receipt %d from shard %d to %d: %w", r.Seq, r.Source, r.Dest, ErrProof)
	}
	return nil
}

// AppendBinary implements encoding.BinaryAppender.
func (p *Proof) AppendBinary(dst []byte) ([]byte, error) {
	if err := p.check(); err != nil {
		return dst, fmt.Errorf("xshard: receipt proof: %w", err)
	}
	dst = p.Receipt.append(dst)
	dst = wire.AppendU64(dst, p.First)
	dst = wire.AppendU32(dst, uint32(p.Count))
	dst = wire.AppendU32(dst, uint32(p.Leaves))
	for _, h := range p.Path {
		dst = append(dst, h[:]...)
	}
	for _, h := range p.Outbox {
		dst = append(dst, h[:]...)
	}
	return dst, nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler. The proof does not
// alias data.
func (p *Proof) UnmarshalBinary(data []byte) error {
	rd := wire.NewReader(data)
	var v Proof
	v.Receipt.read(rd)
	v.First = rd.U64()
	v.Count = uint64(rd.U32())
	v.Leaves = uint64(rd.U32())
	if rd.Err() == nil { // both lengths follow from the fields before
		v.Path = readHashes(rd, merkle.ProofLen(v.Receipt.Seq-v.First, v.Count))
		v.Outbox = readHashes(rd, merkle.ProofLen(uint64(v.Receipt.Dest), v.Leaves))
	}
	if err := rd.Close(); err != nil {
		return fmt.Errorf("xshard: receipt proof: %w", err)
	}
	if err := v.check(); err != nil {
		return fmt.Errorf("xshard: receipt proof: %w", err)
	}
	*p = v
	return nil
}
