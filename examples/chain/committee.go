package chain

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/internal/wire"
)

// MaxShards and MaxSeats bound what a decoder accepts.
const (
	MaxShards = 1024
	MaxSeats  = 4096
)

// Seat is one member of a shard's committee.
type Seat struct {
	Slot      shardkit.Hash
	Node      shardkit.NodeID
	VotingKey []byte
	VRFKey    []byte
	Weight    uint64
}

// Committees says who sits in which shard during an epoch: Shards[i] in order
// of Slot.
type Committees struct {
	Epoch  shardkit.Epoch
	Shards [][]Seat
}

// AppendBinary implements encoding.BinaryAppender.
func (c *Committees) AppendBinary(b []byte) ([]byte, error) {
	b = wire.AppendU64(b, uint64(c.Epoch))
	b = wire.AppendU32(b, uint32(len(c.Shards)))
	for _, seats := range c.Shards {
		b = wire.AppendBytes(b, appendSeats(nil, seats))
	}
	return b, nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (c *Committees) UnmarshalBinary(b []byte) error {
	r := wire.NewReader(b)
	out := Committees{Epoch: shardkit.Epoch(r.U64())}
	n := r.Count(MaxShards, 4)
	for range n {
		seats, err := decodeSeats(r.Bytes(1 << 24))
		if err != nil {
			r.Fail(err)
			break
		}
		out.Shards = append(out.Shards, seats)
	}
	if err := r.Close(); err != nil {
		return fmt.Errorf("chain: committees: %w", err)
	}
	*c = out
	return nil
}

func appendSeats(b []byte, seats []Seat) []byte {
	b = wire.AppendU32(b, uint32(len(seats)))
	for i := range seats {
		s := &seats[i]
		b = append(b, s.Slot[:]...)
		b = append(b, s.Node[:]...)
		b = wire.AppendBytes(b, s.VotingKey)
		b = wire.AppendBytes(b, s.VRFKey)
		b = wire.AppendU64(b, s.Weight)
	}
	return b
}

func decodeSeats(b []byte) ([]Seat, error) {
	r := wire.NewReader(b)
	n := r.Count(MaxSeats, 32+32+4+4+8)
	seats := make([]Seat, 0, n)
	for i := range n {
		s := Seat{Slot: r.Array32(), Node: r.Array32()}
		s.VotingKey = slices.Clone(r.Bytes(256))
		s.VRFKey = slices.Clone(r.Bytes(256))
		s.Weight = r.U64()
		if i > 0 && slices.Compare(seats[i-1].Slot[:], s.Slot[:]) >= 0 {
			r.Fail(fmt.Errorf("%w: seats out of order", wire.ErrValue))
		}
		seats = append(seats, s)
	}
	return seats, r.Close()
}

// Hash identifies the committees of all shards of an epoch. The beacon's first
// block of the epoch before names it.
func (c *Committees) Hash() shardkit.Hash {
	b, _ := c.AppendBinary([]byte("shardkit/chain/committees/1"))
	return sha256.Sum256(b)
}

// Seat returns the seat of a node in a shard.
func (c *Committees) Seat(shard shardkit.ShardID, node shardkit.NodeID) (Seat, bool) {
	if c == nil || int(shard) >= len(c.Shards) {
		return Seat{}, false
	}
	for _, s := range c.Shards[shard] {
		if s.Node == node {
			return s, true
		}
	}
	return Seat{}, false
}

// Has reports whether a node has a seat in any shard.
func (c *Committees) Has(node shardkit.NodeID) bool {
	for s := range c.Shards {
		if _, ok := c.Seat(shardkit.ShardID(s), node); ok {
			return true
		}
	}
	return false
}

// Nodes returns the nodes of a shard's committee in member order.
func (c *Committees) Nodes(shard shardkit.ShardID) []shardkit.NodeID {
	if c == nil || int(shard) >= len(c.Shards) {
		return nil
	}
	out := make([]shardkit.NodeID, len(c.Shards[shard]))
	for i, s := range c.Shards[shard] {
		out[i] = s.Node
	}
	return out
}

// Scheme builds the verifier of a committee from its voting keys, in member
// order.
type Scheme func(keys [][]byte) (fbft.Verifier, error)

// committee builds the consensus committee of some seats. It decodes keys:
// milliseconds, so jobs call it, and a rules value caches the result.
func committee(seats []Seat, scheme Scheme) (*fbft.Committee, error) {
	members := make([]fbft.Member, len(seats))
	keys := make([][]byte, len(seats))
	for i, s := range seats {
		members[i] = fbft.Member{Node: s.Node, Key: s.VotingKey, Weight: s.Weight, Slot: s.Slot}
		keys[i] = s.VotingKey
	}
	v, err := scheme(keys)
	if err != nil {
		return nil, err
	}
	return fbft.NewCommittee(members, 0, v)
}
