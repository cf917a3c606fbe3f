package statesync

import (
	"errors"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// The kinds of message: what a client asks, what a server answers.
//
//	every message: version u8 = 1, kind u8, id u64 (the asker's), then
//	askHops:   first epoch u64, most u16, most bytes u32
//	askHead:   nothing
//	askRange:  height u64, from [32], most bytes u32
//	askBlocks: first height u64, most u16, most bytes u32
//	hops:      more bool, count u32, each header, certificate, committee (bytes)
//	head:      present bool, then epoch u64, height u64, root [32], header, certificate (bytes)
//	chunk:     the chunk, to the end of the message
//	blocks:    more bool, count u32, each header, certificate, body (bytes)
//	refused:   reason u8
//
// Hops and blocks are consecutive from the first one asked for.
const (
	askHops   = 1
	askHead   = 2
	askRange  = 3
	askBlocks = 4

	ansHops    = 17
	ansHead    = 18
	ansChunk   = 19
	ansBlocks  = 20
	ansRefused = 21
)

const version = 1

// Bounds of what a peer may send, in bytes and pieces.
const (
	maxHeader    = 64 << 10
	maxCert      = 256 << 10
	maxCommittee = 16 << 20
	maxBody      = 16 << 20
	maxList      = 1024 // hops or blocks in an answer
)

// Why a server refused.
const (
	refusedBusy = 1 // ask again later
	refusedGone = 2 // cannot be served: too old, or not there
)

// request is what a client asks.
type request struct {
	kind     uint8
	id       uint64
	from     uint64        // first epoch or height; the height of a range
	start    shardkit.Hash // of a range
	most     int           // hops or blocks
	maxBytes int
}

func (q *request) appendTo(b []byte) []byte {
	b = wire.AppendU64(append(b, version, q.kind), q.id)
	switch q.kind {
	case askRange:
		b = append(wire.AppendU64(b, q.from), q.start[:]...)
		b = wire.AppendU32(b, uint32(q.maxBytes))
	case askHops, askBlocks:
		b = wire.AppendU16(wire.AppendU64(b, q.from), uint16(q.most))
		b = wire.AppendU32(b, uint32(q.maxBytes))
	}
	return b
}

func decodeRequest(msg []byte) (q request, err error) {
	r := wire.NewReader(msg)
	r.Expect(version, "version")
	q.kind, q.id = r.U8(), r.U64()
	switch q.kind {
	case askHead:
	case askRange:
		q.from, q.start, q.maxBytes = r.U64(), r.Array32(), int(r.U32())
	case askHops, askBlocks:
		q.from, q.most, q.maxBytes = r.U64(), int(r.U16()), int(r.U32())
	default:
		r.Fail(fmt.Errorf("%w: kind %d", wire.ErrValue, q.kind))
	}
	return q, r.Close()
}

// answer is what a server sends back. Which fields count depends on the kind.
type answer struct {
	kind   uint8
	id     uint64
	more   bool // there is more after the last hop or block
	hops   []Hop
	blocks []Block
	head   *Head
	chunk  []byte
	reason uint8
}

// size returns how many bytes appendTo appends at most.
func (a *answer) size() int {
	n := 128 + len(a.chunk)
	for i := range a.hops {
		h := &a.hops[i]
		n += 12 + len(h.Header) + len(h.Cert) + len(h.Committee)
	}
	for i := range a.blocks {
		k := &a.blocks[i]
		n += 12 + len(k.Header) + len(k.Cert) + len(k.Body)
	}
	if a.head != nil {
		n += len(a.head.Header) + len(a.head.Cert)
	}
	return n
}

func (a *answer) appendTo(b []byte) []byte {
	b = wire.AppendU64(append(b, version, a.kind), a.id)
	switch a.kind {
	case ansHops:
		b = wire.AppendU32(wire.AppendBool(b, a.more), uint32(len(a.hops)))
		for i := range a.hops {
			h := &a.hops[i]
			b = wire.AppendBytes(wire.AppendBytes(wire.AppendBytes(b, h.Header), h.Cert), h.Committee)
		}
	case ansHead:
		b = wire.AppendBool(b, a.head != nil)
		if h := a.head; h != nil {
			b = wire.AppendU64(wire.AppendU64(b, uint64(h.Epoch)), uint64(h.Height))
			b = append(b, h.Root[:]...)
			b = wire.AppendBytes(wire.AppendBytes(b, h.Header), h.Cert)
		}
	case ansChunk:
		b = append(b, a.chunk...)
	case ansBlocks:
		b = wire.AppendU32(wire.AppendBool(b, a.more), uint32(len(a.blocks)))
		for i := range a.blocks {
			k := &a.blocks[i]
			b = wire.AppendBytes(wire.AppendBytes(wire.AppendBytes(b, k.Header), k.Cert), k.Body)
		}
	case ansRefused:
		b = append(b, a.reason)
	}
	return b
}

// decodeAnswer reads an answer; what it returns aliases msg. Epochs and
// heights of hops and blocks are left to who asked.
func decodeAnswer(msg []byte) (a answer, err error) {
	r := wire.NewReader(msg)
	r.Expect(version, "version")
	a.kind, a.id = r.U8(), r.U64()
	switch a.kind {
	case ansHops:
		a.more = r.Bool()
		a.hops = make([]Hop, r.Count(maxList, 12))
		for i := range a.hops {
			a.hops[i] = Hop{Header: r.Bytes(maxHeader), Cert: r.Bytes(maxCert), Committee: r.Bytes(maxCommittee)}
		}
	case ansHead:
		if r.Bool() {
			a.head = &Head{
				Epoch: shardkit.Epoch(r.U64()), Height: shardkit.Height(r.U64()), Root: r.Array32(),
				Header: r.Bytes(maxHeader), Cert: r.Bytes(maxCert),
			}
		}
	case ansChunk:
		a.chunk = r.Rest()
	case ansBlocks:
		a.more = r.Bool()
		a.blocks = make([]Block, r.Count(maxList, 12))
		for i := range a.blocks {
			a.blocks[i] = Block{Header: r.Bytes(maxHeader), Cert: r.Bytes(maxCert), Body: r.Bytes(maxBody)}
		}
	case ansRefused:
		if a.reason = r.U8(); a.reason != refusedBusy && a.reason != refusedGone {
			r.Fail(fmt.Errorf("%w: reason %d", wire.ErrValue, a.reason))
		}
	default:
		r.Fail(fmt.Errorf("%w: kind %d", wire.ErrValue, a.kind))
	}
	return a, r.Close()
}

// pieceBytes bounds a message of one piece, which is sent whatever was asked
// for: a server cannot cut it.
const pieceBytes = maxHeader + maxCert + maxBody + 1024

// answerID reads the id of an answer, and nothing else of it.
func answerID(msg []byte) (uint64, error) {
	r := wire.NewReader(msg)
	r.Expect(version, "version")
	r.U8()
	id := r.U64()
	return id, r.Err()
}

// errUnasked is returned for an answer to nothing that was asked.
var errUnasked = errors.New("answer to a question that was not asked")
