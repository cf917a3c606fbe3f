package drg

import (
	"crypto/sha256"
	"fmt"
	"math"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Entry is everything from which one epoch's randomness follows, and by which
// it is checked.
type Entry struct {
	Round  Round // without Leaders
	Set    []byte
	Output []byte
}

// Value is one epoch's randomness.
type Value struct {
	Epoch   shardkit.Epoch
	Attempt uint32
	PRnd    shardkit.Hash // hash of the inputs
	Rnd     shardkit.Hash // the randomness
	Link    shardkit.Hash // hash of this value and the link before: two who have the same link have the same history
}

const (
	maxKey    = 256
	maxSet    = 18 + MaxMembers*(2+128)
	maxOutput = 2 * 512 // two forms of the largest discriminant
)

// Hash names a history: the link before its first value. It covers what is the
// same in all rounds: the chain, and the delay.
func (p Params) Hash() shardkit.Hash {
	b := append([]byte("shardkit/drg/history/1"), p.Chain[:]...)
	b = wire.AppendU32(b, uint32(p.Bits))
	return sha256.Sum256(wire.AppendU64(b, p.T))
}

// Value checks an entry and returns its value; link is that of the value
// before, or p.Hash(). It is pure, and slow.
//
// That shows that members of weight Need took part in this very round. That
// consensus settled on this round and this set, where others were possible, is
// for the chain to say: see History.
func (p Params) Value(link shardkit.Hash, e *Entry) (v Value, err error) {
	v = Value{Epoch: e.Round.Epoch, Attempt: e.Round.Attempt}
	if v.PRnd, err = CheckSet(p, e.Round, e.Set); err != nil {
		return v, err
	}
	if v.Rnd, err = CheckOutput(p, v.Epoch, v.PRnd, e.Output); err != nil {
		return v, err
	}
	b := append([]byte("shardkit/drg/link/1"), link[:]...)
	b = wire.AppendU64(b, uint64(v.Epoch))
	b = wire.AppendU32(b, v.Attempt)
	b = append(append(append(b, e.Round.Alpha[:]...), v.PRnd[:]...), v.Rnd[:]...)
	v.Link = sha256.Sum256(b)
	return v, nil
}

// AppendBinary appends the encoding of e, with the members in order of slot.
func (e *Entry) AppendBinary(b []byte) ([]byte, error) {
	members := e.Round.sorted()
	if err := e.Round.check(members); err != nil {
		return nil, err
	}
	if len(e.Set) > maxSet || len(e.Output) > maxOutput {
		return nil, fmt.Errorf("drg: set of %d or output of %d bytes", len(e.Set), len(e.Output))
	}
	b = append(b, version, kindEntry)
	b = wire.AppendU64(b, uint64(e.Round.Epoch))
	b = wire.AppendU32(b, e.Round.Attempt)
	b = append(b, e.Round.Alpha[:]...)
	b = wire.AppendU64(b, e.Round.Need)
	b = wire.AppendU32(b, uint32(len(members)))
	for _, m := range members {
		if len(m.Key) > maxKey {
			return nil, fmt.Errorf("drg: key of %d bytes", len(m.Key))
		}
		b = append(append(b, m.Node[:]...), m.Slot[:]...)
		b = wire.AppendU64(wire.AppendBytes(b, m.Key), m.Weight)
	}
	return wire.AppendBytes(wire.AppendBytes(b, e.Set), e.Output), nil
}

// UnmarshalBinary decodes what AppendBinary gives, and nothing else. It does
// not check that the entry holds.
func (e *Entry) UnmarshalBinary(p []byte) error {
	r := wire.NewReader(p)
	r.Expect(version, "version")
	r.Expect(kindEntry, "kind")
	n := Entry{Round: Round{Epoch: shardkit.Epoch(r.U64()), Attempt: r.U32(), Alpha: r.Array32(), Need: r.U64()}}
	n.Round.Members = make([]Member, r.Count(MaxMembers, 32+32+4+8))
	for i := range n.Round.Members {
		m := &n.Round.Members[i]
		m.Node, m.Slot = r.Array32(), r.Array32()
		m.Key, m.Weight = append([]byte(nil), r.Bytes(maxKey)...), r.U64()
		if i > 0 && string(m.Slot[:]) <= string(n.Round.Members[i-1].Slot[:]) {
			r.Fail(fmt.Errorf("member %d: %w", i, wire.ErrValue))
		}
	}
	n.Set = append([]byte(nil), r.Bytes(maxSet)...)
	n.Output = append([]byte(nil), r.Bytes(maxOutput)...)
	if err := r.Close(); err != nil {
		return fmt.Errorf("drg: entry: %w: %w", ErrMalformed, err)
	}
	if err := n.Round.check(n.Round.Members); err != nil {
		return fmt.Errorf("drg: entry: %w: %w", ErrMalformed, err)
	}
	*e = n
	return nil
}

// last is the epoch after which there is no other.
const last = shardkit.Epoch(math.MaxUint64)
