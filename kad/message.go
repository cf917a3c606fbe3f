package kad

import (
	"fmt"
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

const (
	// MaxAddr is the length of an address in bytes.
	MaxAddr = 64
	// MaxShards is how many shards a node may serve at a time.
	MaxShards = 8
	// maxReply is how many contacts an answer may hold.
	maxReply = 32

	version    = 1
	minContact = 32 + 4 + 4 + 1 // id, shard, address
)

// The kinds of messages.
const (
	kindPing    uint8 = iota + 1 // are you there
	kindPong                     // answer to kindPing
	kindFind                     // whom do you know near target
	kindMembers                  // whom do you know in shard, at target and after
	kindNodes                    // answer to kindFind and kindMembers
)

// message is what nodes send each other. Every message carries what its sender
// says of itself, so that each exchange confirms it.
type message struct {
	kind   uint8
	req    uint64 // chosen by who asks, returned by who answers
	addr   string // of the sender
	shards []shardkit.ShardID

	target   key              // kindFind, kindMembers
	shard    shardkit.ShardID // kindMembers
	contacts []Contact        // kindNodes
}

// AppendBinary implements encoding.BinaryAppender.
func (m *message) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, version, m.kind)
	b = wire.AppendU64(b, m.req)
	b = wire.AppendBytes(b, []byte(m.addr))
	b = wire.AppendU32(b, uint32(len(m.shards)))
	for _, s := range m.shards {
		b = wire.AppendU32(b, uint32(s))
	}
	switch m.kind {
	case kindMembers:
		b = wire.AppendU32(b, uint32(m.shard))
		b = m.target.append(b)
	case kindFind:
		b = m.target.append(b)
	case kindNodes:
		b = appendContacts(b, m.contacts)
	}
	return b, nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (m *message) UnmarshalBinary(data []byte) error {
	r := wire.NewReader(data)
	r.Expect(version, "version")
	m.kind = r.U8()
	m.req = r.U64()
	m.addr = readAddr(r)
	n := r.Count(MaxShards, 4)
	m.shards = make([]shardkit.ShardID, 0, n)
	for i := range n {
		m.shards = append(m.shards, shardkit.ShardID(r.U32()))
		if i > 0 && m.shards[i] <= m.shards[i-1] {
			r.Fail(fmt.Errorf("%w: shards not in order", wire.ErrValue))
		}
	}
	switch m.kind {
	case kindPing, kindPong:
	case kindFind:
		m.target = keyFrom(r.Array32())
	case kindMembers:
		m.shard = shardkit.ShardID(r.U32())
		m.target = keyFrom(r.Array32())
	case kindNodes:
		m.contacts = readContacts(r, maxReply)
	default:
		r.Fail(fmt.Errorf("%w: kind %d", wire.ErrValue, m.kind))
	}
	return r.Close()
}

// readAddr reads an address that parseAddr accepts.
func readAddr(r *wire.Reader) string {
	s := string(r.Bytes(MaxAddr))
	if _, ok := parseAddr(s); !ok {
		r.Fail(fmt.Errorf("%w: address %q", wire.ErrValue, s))
		return ""
	}
	return s
}

func appendContacts(b []byte, contacts []Contact) []byte {
	b = wire.AppendU32(b, uint32(len(contacts)))
	for i := range contacts {
		b = append(b, contacts[i].ID[:]...)
		b = wire.AppendU32(b, uint32(contacts[i].Shard))
		b = wire.AppendBytes(b, []byte(contacts[i].Addr))
	}
	return b
}

func readContacts(r *wire.Reader, limit int) []Contact {
	n := r.Count(limit, minContact)
	contacts := make([]Contact, n)
	for i := range contacts {
		contacts[i].ID = r.Array32()
		contacts[i].Shard = shardkit.ShardID(r.U32())
		contacts[i].Addr = readAddr(r)
	}
	return contacts
}

// maxKnown bounds what DecodeContacts reads.
const maxKnown = 1 << 16

// AppendContacts appends contacts to b, for a file of known peers: what
// Contacts returned, for Config.Known of the next start.
func AppendContacts(b []byte, contacts []Contact) []byte {
	b = append(b, version)
	return appendContacts(b, contacts[:min(len(contacts), maxKnown)])
}

// DecodeContacts reads what AppendContacts wrote.
func DecodeContacts(data []byte) ([]Contact, error) {
	r := wire.NewReader(data)
	r.Expect(version, "version")
	contacts := readContacts(r, maxKnown)
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("kad: contacts: %w", err)
	}
	return contacts, nil
}

// sortShards returns shards in order and without repetition.
func sortShards(shards []shardkit.ShardID) []shardkit.ShardID {
	s := slices.Clone(shards)
	slices.Sort(s)
	return slices.Compact(s)
}
