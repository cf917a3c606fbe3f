package xshard

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Inbox is what a destination remembers of the receipts it took: for every
// source the next sequence number. The zero Inbox has taken nothing. It is a
// value of the replicated state: Clone it to try a block.
type Inbox struct {
	counters []counter // ascending by source, none zero: one value, one encoding
}

type counter struct {
	source shardkit.ShardID
	next   uint64
}

// SequenceError is returned by Inbox.Accept for a batch that is not next: a
// replay if Got < Want, a hole if Got > Want.
type SequenceError struct {
	Source    shardkit.ShardID
	Got, Want uint64
}

func (e *SequenceError) Error() string {
	return fmt.Sprintf("xshard: batch of shard %d starts at %d, want %d", e.Source, e.Got, e.Want)
}

// find returns the place of source among the counters, and whether it is there.
func (in *Inbox) find(source shardkit.ShardID) (int, bool) {
	return slices.BinarySearchFunc(in.counters, source, func(c counter, s shardkit.ShardID) int {
		return int(int64(c.source) - int64(s))
	})
}

// Next returns the sequence number that the next batch of source starts with.
func (in *Inbox) Next(source shardkit.ShardID) uint64 {
	if i, ok := in.find(source); ok {
		return in.counters[i].next
	}
	return 0
}

// Accept counts the receipts of a verified batch as taken. A batch that does
// not start exactly at Next is refused with a *SequenceError, an empty one
// too, and changes nothing.
func (in *Inbox) Accept(b *Batch) error {
	if want := in.Next(b.Source); b.First != want {
		return &SequenceError{Source: b.Source, Got: b.First, Want: want}
	}
	switch {
	case b.Next() < b.First || b.Source >= MaxShards:
		return fmt.Errorf("xshard: inbox: %w: %d receipts of shard %d from %d on", ErrShape, len(b.Receipts), b.Source, b.First)
	case len(b.Receipts) == 0:
		return nil
	}
	i, ok := in.find(b.Source)
	if !ok {
		in.counters = slices.Insert(in.counters, i, counter{source: b.Source})
	}
	in.counters[i].next = b.Next()
	return nil
}

// Clone returns an independent copy.
func (in *Inbox) Clone() *Inbox { return &Inbox{counters: slices.Clone(in.counters)} }

// Root returns the digest of all counters, for the block's header.
func (in *Inbox) Root() shardkit.Hash {
	b, _ := in.AppendBinary([]byte("shardkit/xshard/inbox")) // never fails
	return sha256.Sum256(b)
}

// AppendBinary implements encoding.BinaryAppender. It never fails.
func (in *Inbox) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, version)
	b = wire.AppendU32(b, uint32(len(in.counters)))
	for _, c := range in.counters {
		b = wire.AppendU32(b, uint32(c.source))
		b = wire.AppendU64(b, c.next)
	}
	return b, nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (in *Inbox) UnmarshalBinary(data []byte) error {
	rd := wire.NewReader(data)
	rd.Expect(version, "version")
	counters := make([]counter, rd.Count(MaxShards, 4+8))
	for i := range counters {
		c := counter{source: shardkit.ShardID(rd.U32()), next: rd.U64()}
		if c.next == 0 || c.source >= MaxShards || i > 0 && c.source <= counters[i-1].source {
			rd.Fail(fmt.Errorf("%w: counter %d", wire.ErrValue, i))
		}
		counters[i] = c
	}
	if err := rd.Close(); err != nil {
		return fmt.Errorf("xshard: inbox: %w", err)
	}
	in.counters = slices.Clip(counters)
	return nil
}
