package erasure

import (
	"errors"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/merkle"
	"github.com/shardkit/shardkit/internal/wire"
)

const version = 1

// RefSize is the length of an encoded Ref.
const RefSize = 1 + 1 + 2 + 2 + 4 + 32

var (
	// ErrBad is wrapped by the error about a reference to which no body
	// encodes: whoever made it cheated.
	ErrBad = errors.New("no body encodes to the reference")
	// ErrChunk is wrapped by the error about a chunk that is not of the body
	// it claims to be of.
	ErrChunk = errors.New("chunk does not fit the reference")
	// ErrFew is wrapped by Coder.Rebuild if there are fewer than K chunks.
	ErrFew = errors.New("too few chunks")
)

// Ref names a body in a form that fixes everything about its encoding: what
// one node can rebuild, every node can, to the same bytes. It is what an
// announcement carries.
type Ref struct {
	Shape
	Root shardkit.Hash // of the Merkle tree over the chunks
}

// AppendBinary implements encoding.BinaryAppender. It fails only if the shape
// is not one that an Encode can make.
func (r *Ref) AppendBinary(b []byte) ([]byte, error) {
	if err := r.check(); err != nil {
		return b, fmt.Errorf("erasure: reference: %w", err)
	}
	return r.append(b), nil
}

// append encodes a reference whose shape has been checked.
func (r *Ref) append(b []byte) []byte {
	b = append(b, version, byte(r.Codec()))
	b = wire.AppendU16(b, uint16(r.K))
	b = wire.AppendU16(b, uint16(r.N))
	b = wire.AppendU32(b, uint32(r.Length))
	return append(b, r.Root[:]...)
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (r *Ref) UnmarshalBinary(data []byte) error {
	rd := wire.NewReader(data)
	v := readRef(rd)
	if err := rd.Close(); err != nil {
		return fmt.Errorf("erasure: reference: %w", err)
	}
	*r = v
	return nil
}

func readRef(rd *wire.Reader) (r Ref) {
	rd.Expect(version, "version")
	c := Codec(rd.U8())
	r.K, r.N, r.Length = int(rd.U16()), int(rd.U16()), int(rd.U32())
	r.Root = rd.Array32()
	if rd.Err() != nil {
		return Ref{}
	}
	if err := r.check(); err != nil {
		rd.Fail(fmt.Errorf("%w: %w", wire.ErrValue, err))
	} else if c != r.Codec() {
		rd.Fail(fmt.Errorf("%w: codec %d for %d of %d chunks", wire.ErrValue, c, r.K, r.N))
	}
	return r
}

// Chunk is a piece of an encoded body with the proof that it is.
type Chunk struct {
	Index int
	Data  []byte // not to be changed once verified
	Proof []shardkit.Hash

	leaf shardkit.Hash // of Data, set by Verify: Rebuild need not hash again
}

// chunkOverhead is what the encoding of a chunk adds to data and proof.
const chunkOverhead = 2

// size is the length of the encoding of a chunk of this body with the longest
// proof.
func (r *Ref) size() int {
	return chunkOverhead + r.ChunkSize() + 32*merkle.ProofLen(0, uint64(r.N))
}

// Verify returns nil if c is chunk c.Index of the encoding that r names. It
// hashes the chunk.
func (r *Ref) Verify(c *Chunk) error {
	if c.Index < 0 || c.Index >= r.N || len(c.Data) != r.ChunkSize() {
		return fmt.Errorf("erasure: chunk %d: %w: %d bytes", c.Index, ErrChunk, len(c.Data))
	}
	leaf := merkle.LeafHash(c.Data)
	if merkle.Verify(r.Root, uint64(c.Index), uint64(r.N), leaf, c.Proof) != nil {
		return fmt.Errorf("erasure: chunk %d: %w", c.Index, ErrChunk)
	}
	c.leaf = leaf
	return nil
}

// appendChunk encodes a chunk of r. Lengths follow from r: they are not written.
func appendChunk(b []byte, c *Chunk) []byte {
	b = wire.AppendU16(b, uint16(c.Index))
	b = append(b, c.Data...)
	for i := range c.Proof {
		b = append(b, c.Proof[i][:]...)
	}
	return b
}

// readChunk decodes a chunk of r. Its data aliases the input.
func (r *Ref) readChunk(rd *wire.Reader) (c Chunk) {
	c.Index = int(rd.U16())
	if rd.Err() == nil && c.Index >= r.N {
		rd.Fail(fmt.Errorf("%w: chunk %d of %d", wire.ErrValue, c.Index, r.N))
	}
	c.Data = rd.Fixed(r.ChunkSize())
	if rd.Err() != nil {
		return Chunk{}
	}
	if n := merkle.ProofLen(uint64(c.Index), uint64(r.N)); n > 0 {
		c.Proof = make([]shardkit.Hash, n)
		for i := range c.Proof {
			c.Proof[i] = rd.Array32()
		}
	}
	return c
}
