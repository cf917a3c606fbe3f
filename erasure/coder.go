package erasure

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/reedsolomon"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/merkle"
)

// Coder encodes and rebuilds bodies of one K and N. It keeps the tables and
// buffers of its code, so it pays to keep a Coder. It is safe for concurrent
// use; its methods are heavy work.
type Coder struct {
	k, n int
	code func() (reedsolomon.Encoder, error) // nil without parity
}

// NewCoder returns the coder for k of n chunks. The tables of the code are
// built at first use.
func NewCoder(k, n int) (*Coder, error) {
	s := Shape{K: k, N: n, Length: 1}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("erasure: coder: %w", err)
	}
	c := &Coder{k: k, n: n}
	if k < n {
		// The library's own goroutines are off: see columns. So is its cache of
		// decoding tables: with it, Leopard8's ReconstructData of v1.14.2 gives
		// wrong bytes, without an error, when the same pattern of missing data
		// chunks comes again beside another pattern of missing parity.
		options := []reedsolomon.Option{reedsolomon.WithMaxGoroutines(1), reedsolomon.WithInversionCache(false)}
		switch s.Codec() {
		case Leopard8:
			options = append(options, reedsolomon.WithLeopardGF(true))
		case Leopard16:
			options = append(options, reedsolomon.WithLeopardGF16(true))
		}
		c.code = sync.OnceValues(func() (reedsolomon.Encoder, error) {
			return reedsolomon.New(k, n-k, options...)
		})
	}
	return c, nil
}

// Coded is an encoded body: all its chunks, and the tree over them.
type Coded struct {
	Ref  Ref
	Body []byte // shared with the chunks: not to be changed
	data [][]byte
	tree *merkle.Tree
}

// Chunk returns chunk i with its proof. It panics if there is none.
func (c *Coded) Chunk(i int) Chunk {
	return Chunk{Index: i, Data: c.data[i], Proof: c.tree.Prove(i)}
}

// Encode cuts body into chunks. It does not keep body. It fails if the body is
// too long for any shape, or empty and to be cut into several.
func (c *Coder) Encode(body []byte) (*Coded, error) {
	s := Shape{K: c.k, N: c.n, Length: len(body)}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("erasure: encode: %w", err)
	}
	chunks := cut(s)
	copy(chunks.buf, body)
	if err := c.parity(s, chunks); err != nil {
		return nil, err
	}
	return seal(s, chunks, make([]shardkit.Hash, s.N)), nil
}

// cutting is the memory of the chunks of one body, one after the other.
type cutting struct {
	buf    []byte
	chunks [][]byte
}

func cut(s Shape) cutting {
	size := s.ChunkSize()
	c := cutting{buf: make([]byte, s.N*size), chunks: make([][]byte, s.N)}
	for i := range c.chunks {
		c.chunks[i] = c.buf[i*size : (i+1)*size : (i+1)*size]
	}
	return c
}

// parity computes the parity chunks from the data chunks.
func (c *Coder) parity(s Shape, chunks cutting) error {
	if c.code == nil {
		return nil
	}
	code, err := c.code()
	if err == nil {
		err = columns(s, chunks.chunks, code.Encode)
	}
	if err != nil {
		return fmt.Errorf("erasure: encode: %w", err)
	}
	return nil
}

// seal builds the tree over all chunks. leaves holds the hashes that are known
// already, else zero.
func seal(s Shape, chunks cutting, leaves []shardkit.Hash) *Coded {
	hashAll(leaves, chunks.chunks)
	tree := merkle.NewTree(leaves)
	return &Coded{
		Ref:  Ref{Shape: s, Root: tree.Root()},
		Body: chunks.buf[:s.Length:s.Length],
		data: chunks.chunks,
		tree: tree,
	}
}

// Check returns the encoding of body if it is the one that ref names, else an
// error that wraps ErrBad.
func (c *Coder) Check(ref Ref, body []byte) (*Coded, error) {
	if len(body) != ref.Length {
		return nil, fmt.Errorf("erasure: body of %d bytes for %d: %w", len(body), ref.Length, ErrBad)
	}
	coded, err := c.Encode(body)
	if err != nil {
		return nil, err
	}
	if coded.Ref != ref {
		return nil, fmt.Errorf("erasure: the body's chunks: %w", ErrBad)
	}
	return coded, nil
}

// Rebuild gives back the body of ref from K or more of its chunks, which must
// have passed Ref.Verify. It encodes the body once more and compares, because
// a cheating sender can put chunks under one root that are not the encoding
// of any body; which bytes came out would then depend on which chunks went
// in. The error then wraps ErrBad, for every choice of chunks alike.
func (c *Coder) Rebuild(ref Ref, chunks []Chunk) (*Coded, error) {
	if ref.K != c.k || ref.N != c.n {
		return nil, fmt.Errorf("erasure: rebuild: %d of %d chunks with a coder for %d of %d", ref.K, ref.N, c.k, c.n)
	}
	have := make([][]byte, ref.N)
	leaves := make([]shardkit.Hash, ref.N)
	distinct := 0
	for i := range chunks {
		if ch := &chunks[i]; have[ch.Index] == nil {
			have[ch.Index], leaves[ch.Index] = ch.Data, ch.leaf
			distinct++
		}
	}
	if distinct < ref.K {
		return nil, fmt.Errorf("erasure: rebuild: %w: %d, need %d", ErrFew, distinct, ref.K)
	}
	out := cut(ref.Shape)
	if err := c.fill(ref.Shape, out, slices.Clone(have)); err != nil {
		return nil, fmt.Errorf("erasure: rebuild: %w", err)
	}
	// What follows the body is padding: an encoder leaves it zero.
	clear(out.buf[ref.Length : ref.K*ref.ChunkSize()])
	if err := c.parity(ref.Shape, out); err != nil {
		return nil, err
	}
	for i, data := range have {
		if data != nil && !bytes.Equal(data, out.chunks[i]) {
			return nil, fmt.Errorf("erasure: rebuild: chunk %d: %w", i, ErrBad)
		}
	}
	coded := seal(ref.Shape, out, leaves)
	if coded.Ref != ref {
		return nil, fmt.Errorf("erasure: rebuild: %w", ErrBad)
	}
	return coded, nil
}

// fill writes the data chunks to out, from those that are there. It changes
// have.
func (c *Coder) fill(s Shape, out cutting, have [][]byte) error {
	missing := false
	for i := range s.K {
		if have[i] == nil {
			missing = true
			// Empty with room: the decoder puts the chunk where it belongs.
			have[i] = out.chunks[i][:0]
		} else {
			copy(out.chunks[i], have[i])
		}
	}
	if !missing {
		return nil
	}
	for i := s.K; i < s.N; i++ {
		if have[i] == nil {
			have[i] = out.chunks[i][:0]
		}
	}
	code, err := c.code()
	if err != nil {
		return err
	}
	return columns(s, have, code.ReconstructData)
}
