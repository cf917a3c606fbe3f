package erasure

import (
	"fmt"

	"github.com/shardkit/shardkit/internal/wire"
)

// The kinds of message.
const (
	kindChunks = 1 // chunks of a body
	kindWant   = 2 // send me chunks of a body
	kindVouch  = 3 // I have the body
)

const (
	// packTo is up to how many bytes chunks for one receiver are put into one
	// message; a longer chunk has a message of its own.
	packTo = 256 << 10
	// messageOverhead bounds what a message adds to its chunks, proofs of the
	// first chunk included.
	messageOverhead = 2 + RefSize + 4 + chunkOverhead + 32*16
)

// headSize is the length of what all messages start with: version, kind,
// reference.
const headSize = 2 + RefSize

func appendHead(b []byte, kind uint8, ref []byte) []byte {
	return append(append(b, version, kind), ref...)
}

// readHead decodes the start of a message.
func readHead(rd *wire.Reader) (kind uint8, ref Ref) {
	rd.Expect(version, "version")
	kind = rd.U8()
	ref = readRef(rd)
	if rd.Err() == nil && (kind < kindChunks || kind > kindVouch) {
		rd.Fail(fmt.Errorf("%w: kind %d", wire.ErrValue, kind))
	}
	return kind, ref
}

// chunkMessages encodes chunks of a body, in as many messages as it takes.
func chunkMessages(ref *Ref, raw []byte, chunks []Chunk) (msgs [][]byte) {
	per := max(1, packTo/ref.size())
	for len(chunks) > 0 {
		n := min(per, len(chunks))
		b := make([]byte, 0, headSize+2+n*ref.size())
		b = appendHead(b, kindChunks, raw)
		b = wire.AppendU16(b, uint16(n))
		for i := range chunks[:n] {
			b = appendChunk(b, &chunks[i])
		}
		msgs = append(msgs, b)
		chunks = chunks[n:]
	}
	return msgs
}

// readChunks decodes the chunks of a message, ascending by index. Their data
// aliases the message.
func (r *Ref) readChunks(rd *wire.Reader) []Chunk {
	n := int(rd.U16())
	if rd.Err() != nil {
		return nil
	}
	if n < 1 || n > r.N || n*(chunkOverhead+r.ChunkSize()) > rd.Len() {
		rd.Fail(fmt.Errorf("%w: %d chunks", wire.ErrValue, n))
		return nil
	}
	chunks := make([]Chunk, n)
	for i := range chunks {
		chunks[i] = r.readChunk(rd)
		if rd.Err() == nil && i > 0 && chunks[i].Index <= chunks[i-1].Index {
			rd.Fail(fmt.Errorf("%w: chunks not in order", wire.ErrValue))
		}
		if rd.Err() != nil {
			return nil
		}
	}
	return chunks
}

// want is a request for at most max chunks that are not among have.
type want struct {
	max  int
	have []byte // bit i: chunk i is there
}

func (w *want) append(b []byte) []byte {
	b = wire.AppendU16(b, uint16(w.max))
	return append(b, w.have...)
}

func (r *Ref) readWant(rd *wire.Reader) (w want) {
	w.max = int(rd.U16())
	w.have = rd.Fixed((r.N + 7) / 8)
	if rd.Err() != nil {
		return want{}
	}
	if w.max < 1 || w.max > r.K {
		rd.Fail(fmt.Errorf("%w: %d chunks wanted of %d", wire.ErrValue, w.max, r.K))
	}
	if r.N%8 != 0 && w.have[len(w.have)-1]>>(r.N%8) != 0 {
		rd.Fail(fmt.Errorf("%w: chunks beyond the last", wire.ErrValue))
	}
	return w
}

func (w *want) has(i int) bool { return w.have[i/8]>>(i%8)&1 == 1 }
