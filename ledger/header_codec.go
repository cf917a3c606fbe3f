package ledger

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// MaxLate bounds the late signatures that a header carries: an aggregate and
// a bitmap of its signers.
const MaxLate = 4096

// MaxHeader is the size of the largest header.
const MaxHeader = 2 + 32 + 4 + 8 + 8 + 32 + 32 + 8 + 5*32 + 4 + MaxLate + 1 + 3*32

// Every encoding begins with a format number and what it is, so that no bytes
// are two things.
const (
	headerFormat = 1
	bodyFormat   = 1
	blockFormat  = 1

	kindHeader = 'H'
	kindBody   = 'B'
	kindBlock  = 'K'
)

func shardID(r *wire.Reader) shardkit.ShardID { return shardkit.ShardID(r.U32()) }
func height(r *wire.Reader) shardkit.Height   { return shardkit.Height(r.U64()) }

// append appends the encoding without checking limits.
func (h *Header) append(b []byte) []byte {
	b = append(b, headerFormat, kindHeader)
	b = append(b, h.Chain[:]...)
	b = wire.AppendU32(b, uint32(h.Shard))
	b = wire.AppendU64(b, uint64(h.Epoch))
	b = wire.AppendU64(b, uint64(h.Height))
	b = append(b, h.Parent[:]...)
	b = append(b, h.Proposer[:]...)
	b = wire.AppendU64(b, h.Time)
	b = append(b, h.Body[:]...)
	b = append(b, h.State[:]...)
	b = append(b, h.Outbox[:]...)
	b = append(b, h.Inbox[:]...)
	b = append(b, h.Committee[:]...)
	b = wire.AppendBytes(b, h.Late)
	b = wire.AppendBool(b, h.Hop != nil)
	if h.Hop != nil {
		b = append(b, h.Hop.Previous[:]...)
		b = append(b, h.Hop.NextCommittee[:]...)
		b = append(b, h.Hop.Beacon[:]...)
	}
	return b
}

// AppendBinary appends the encoding.
func (h *Header) AppendBinary(b []byte) ([]byte, error) {
	if len(h.Late) > MaxLate {
		return b, fmt.Errorf("ledger: header: late signatures of %d bytes, at most %d", len(h.Late), MaxLate)
	}
	return h.append(b), nil
}

// UnmarshalBinary decodes what AppendBinary made and refuses everything else.
// It keeps nothing of data.
func (h *Header) UnmarshalBinary(data []byte) error {
	r := wire.NewReader(data)
	v := decodeHeader(r)
	if err := r.Close(); err != nil {
		return fmt.Errorf("ledger: header: %w", err)
	}
	*h = v
	return nil
}

func decodeHeader(r *wire.Reader) (h Header) {
	r.Expect(headerFormat, "header format")
	r.Expect(kindHeader, "kind")
	h.Chain = r.Array32()
	h.Shard = shardID(r)
	h.Epoch = shardkit.Epoch(r.U64())
	h.Height = height(r)
	h.Parent = r.Array32()
	h.Proposer = r.Array32()
	h.Time = r.U64()
	h.Body = r.Array32()
	h.State = r.Array32()
	h.Outbox = r.Array32()
	h.Inbox = r.Array32()
	h.Committee = r.Array32()
	h.Late = bytes.Clone(some(r.Bytes(MaxLate)))
	if r.Bool() {
		h.Hop = &Hop{Previous: r.Array32(), NextCommittee: r.Array32(), Beacon: r.Array32()}
	}
	return h
}

// Hash returns the hash of the encoding: what consensus certifies and the
// next header names as its parent.
func (h *Header) Hash() shardkit.Hash {
	return sha256.Sum256(h.append(make([]byte, 0, 512+len(h.Late))))
}
