package xshard

import (
	"errors"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/merkle"
	"github.com/shardkit/shardkit/internal/wire"
)

// Limits of what a decoder accepts and an Outbox makes.
const (
	MaxReceiptData = 1 << 10 // bytes of a receipt's payload
	MaxReceipts    = 1 << 16 // receipts of one block for one destination
	MaxShards      = 1 << 16 // shards of a chain
)

// version is the first byte of every encoding of this package.
const version = 1

// minBody is the size of the smallest receipt inside a batch.
const minBody = 1 + 3*32 + 8 + 4

// Errors of this package that a caller may want to tell apart.
var (
	// ErrProof is wrapped by VerifyBatch and VerifyReceipt when the proof does
	// not lead to the root.
	ErrProof = errors.New("proof does not fit the root")
	// ErrShape is wrapped when a value contradicts itself or exceeds a limit.
	ErrShape = errors.New("malformed")
)

// Receipt is value or a message on its way from one shard to another. Its
// place is (Source, Dest, Seq): sequence numbers of a pair run 0, 1, 2, …
// without gaps.
type Receipt struct {
	Source shardkit.ShardID
	Dest   shardkit.ShardID
	Seq    uint64
	Kind   uint8         // meaning is the executor's
	ID     shardkit.Hash // what caused it: the transaction's id
	From   [32]byte      // account at the source
	To     [32]byte      // account at the destination
	Amount uint64
	Data   []byte // at most MaxReceiptData
}

// AppendBinary implements encoding.BinaryAppender. It fails only on a receipt
// over the limits.
func (r *Receipt) AppendBinary(b []byte) ([]byte, error) {
	if len(r.Data) > MaxReceiptData {
		return b, fmt.Errorf("xshard: receipt: %w: %d bytes of data, at most %d", ErrShape, len(r.Data), MaxReceiptData)
	}
	return r.append(b), nil
}

// append encodes a receipt that is known to be within the limits.
func (r *Receipt) append(b []byte) []byte {
	b = append(b, version)
	b = wire.AppendU32(b, uint32(r.Source))
	b = wire.AppendU32(b, uint32(r.Dest))
	b = wire.AppendU64(b, r.Seq)
	return r.appendBody(b)
}

// appendBody encodes what a batch does not already say.
func (r *Receipt) appendBody(b []byte) []byte {
	b = append(b, r.Kind)
	b = append(b, r.ID[:]...)
	b = append(b, r.From[:]...)
	b = append(b, r.To[:]...)
	b = wire.AppendU64(b, r.Amount)
	return wire.AppendBytes(b, r.Data)
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler. The receipt does not
// alias data.
func (r *Receipt) UnmarshalBinary(data []byte) error {
	rd := wire.NewReader(data)
	var v Receipt
	v.read(rd)
	if err := rd.Close(); err != nil {
		return fmt.Errorf("xshard: receipt: %w", err)
	}
	*r = v
	return nil
}

func (r *Receipt) read(rd *wire.Reader) {
	rd.Expect(version, "version")
	r.Source = shardkit.ShardID(rd.U32())
	r.Dest = shardkit.ShardID(rd.U32())
	r.Seq = rd.U64()
	r.readBody(rd)
}

func (r *Receipt) readBody(rd *wire.Reader) {
	r.Kind = rd.U8()
	r.ID = rd.Array32()
	r.From = rd.Array32()
	r.To = rd.Array32()
	r.Amount = rd.U64()
	if data := rd.Bytes(MaxReceiptData); len(data) > 0 {
		r.Data = append([]byte(nil), data...)
	}
}

// leaf is the hash of a receipt in the tree of its batch. buf is scratch.
func (r *Receipt) leaf(buf []byte) (shardkit.Hash, []byte) {
	buf = r.append(buf[:0])
	return merkle.LeafHash(buf), buf
}

// Batch is the receipts of one source block for one destination, with the
// proof that the block's outbox root commits to them. A batch without receipts
// is a statement too: First is the next sequence number, and its proof shows
// that the block had nothing for Dest.
type Batch struct {
	Source   shardkit.ShardID
	Dest     shardkit.ShardID
	First    uint64 // sequence number of Receipts[0]
	Receipts []Receipt
	Leaves   uint64          // how many leaves the outbox has: the number of shards
	Proof    []shardkit.Hash // of the leaf under the outbox root
}

// check returns an error if the batch contradicts itself or the limits.
func (b *Batch) check() error {
	switch {
	case b.Source == b.Dest:
		return fmt.Errorf("%w: shard %d to itself", ErrShape, b.Source)
	case b.Leaves > MaxShards || uint64(b.Dest) >= b.Leaves || uint64(b.Source) >= b.Leaves:
		return fmt.Errorf("%w: shard %d to %d of %d", ErrShape, b.Source, b.Dest, b.Leaves)
	case len(b.Receipts) > MaxReceipts:
		return fmt.Errorf("%w: %d receipts, at most %d", ErrShape, len(b.Receipts), MaxReceipts)
	case b.First+uint64(len(b.Receipts)) < b.First:
		return fmt.Errorf("%w: sequence numbers overflow", ErrShape)
	case len(b.Proof) != merkle.ProofLen(uint64(b.Dest), b.Leaves):
		return fmt.Errorf("%w: proof of %d hashes", ErrShape, len(b.Proof))
	}
	for i := range b.Receipts {
		r := &b.Receipts[i]
		if r.Source != b.Source || r.Dest != b.Dest || r.Seq != b.First+uint64(i) {
			return fmt.Errorf("%w: receipt %d is (%d, %d, %d)", ErrShape, i, r.Source, r.Dest, r.Seq)
		}
		if len(r.Data) > MaxReceiptData {
			return fmt.Errorf("%w: receipt %d has %d bytes of data", ErrShape, i, len(r.Data))
		}
	}
	return nil
}

// AppendBinary implements encoding.BinaryAppender. It fails only on a batch
// that contradicts itself or the limits.
func (b *Batch) AppendBinary(dst []byte) ([]byte, error) {
	if err := b.check(); err != nil {
		return dst, fmt.Errorf("xshard: batch: %w", err)
	}
	dst = append(dst, version)
	dst = wire.AppendU32(dst, uint32(b.Source))
	dst = wire.AppendU32(dst, uint32(b.Dest))
	dst = wire.AppendU64(dst, b.First)
	dst = wire.AppendU32(dst, uint32(b.Leaves))
	// The proof's length follows from Dest and Leaves, a receipt's place from
	// its position: neither is written.
	for _, h := range b.Proof {
		dst = append(dst, h[:]...)
	}
	dst = wire.AppendU32(dst, uint32(len(b.Receipts)))
	for i := range b.Receipts {
		dst = b.Receipts[i].appendBody(dst)
	}
	return dst, nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler. The batch does not
// alias data.
func (b *Batch) UnmarshalBinary(data []byte) error {
	rd := wire.NewReader(data)
	rd.Expect(version, "version")
	v := Batch{
		Source: shardkit.ShardID(rd.U32()),
		Dest:   shardkit.ShardID(rd.U32()),
		First:  rd.U64(),
		Leaves: uint64(rd.U32()),
	}
	if rd.Err() == nil { // at most merkle.MaxProof whatever the fields say
		v.Proof = readHashes(rd, merkle.ProofLen(uint64(v.Dest), v.Leaves))
	}
	if n := rd.Count(MaxReceipts, minBody); n > 0 {
		v.Receipts = make([]Receipt, n)
		for i := range v.Receipts {
			r := &v.Receipts[i]
			r.Source, r.Dest, r.Seq = v.Source, v.Dest, v.First+uint64(i)
			r.readBody(rd)
		}
	}
	if err := rd.Close(); err != nil {
		return fmt.Errorf("xshard: batch: %w", err)
	}
	if err := v.check(); err != nil {
		return fmt.Errorf("xshard: batch: %w", err)
	}
	*b = v
	return nil
}

func readHashes(rd *wire.Reader, n int) []shardkit.Hash {
	if n == 0 {
		return nil
	}
	hs := make([]shardkit.Hash, n)
	for i := range hs {
		hs[i] = rd.Array32()
	}
	return hs
}

// Next returns the sequence number that follows the batch.
func (b *Batch) Next() uint64 { return b.First + uint64(len(b.Receipts)) }

// Expect returns an error unless the batch goes from source to dest in a chain
// of the given number of shards. VerifyBatch proves what a batch says of
// itself; whether that is what the caller is waiting for, only it knows.
func (b *Batch) Expect(source, dest shardkit.ShardID, shards uint32) error {
	if b.Source != source || b.Dest != dest || b.Leaves != uint64(shards) {
		return fmt.Errorf("xshard: batch from shard %d to %d of %d, want %d to %d of %d",
			b.Source, b.Dest, b.Leaves, source, dest, shards)
	}
	return nil
}

// receiptLeaves hashes the receipts of a batch.
func receiptLeaves(receipts []Receipt) []shardkit.Hash {
	leaves := make([]shardkit.Hash, len(receipts))
	buf := make([]byte, 0, 512)
	for i := range receipts {
		leaves[i], buf = receipts[i].leaf(buf)
	}
	return leaves
}

// outboxLeaf is the leaf of one destination in the outbox tree of a block.
// It names the number of leaves, which the root of a Merkle tree does not.
func outboxLeaf(source, dest shardkit.ShardID, leaves, first uint64, count int, root shardkit.Hash) shardkit.Hash {
	buf := make([]byte, 0, 64)
	buf = append(buf, version)
	buf = wire.AppendU32(buf, uint32(source))
	buf = wire.AppendU32(buf, uint32(dest))
	buf = wire.AppendU32(buf, uint32(leaves))
	buf = wire.AppendU64(buf, first)
	buf = wire.AppendU32(buf, uint32(count))
	buf = append(buf, root[:]...)
	return merkle.LeafHash(buf)
}

// VerifyBatch returns nil if the outbox with the given root, which the caller
// takes from a certified header of b.Source, holds exactly b for b.Dest. That
// Source, Dest and Leaves are what the caller expects is its own to compare:
// see Expect.
func VerifyBatch(root shardkit.Hash, b *Batch) error {
	if err := b.check(); err != nil {
		return fmt.Errorf("xshard: batch: %w", err)
	}
	leaf := outboxLeaf(b.Source, b.Dest, b.Leaves, b.First, len(b.Receipts), merkle.Root(receiptLeaves(b.Receipts)))
	if err := merkle.Verify(root, uint64(b.Dest), b.Leaves, leaf, b.Proof); err != nil {
		return fmt.Errorf("xshard: batch from shard %d to %d: %w", b.Source, b.Dest, ErrProof)
	}
	return nil
}
