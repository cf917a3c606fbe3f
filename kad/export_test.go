package kad

import (
	"time"

	"github.com/shardkit/shardkit"
)

// Insert puts contacts into the table as if they had answered: simulations of
// large networks begin with tables that took hours to fill.
func (c *Core) Insert(contacts []Contact) {
	for _, x := range contacts {
		e, err := c.newEntry(x.ID, &message{addr: x.Addr, shards: []shardkit.ShardID{x.Shard}})
		if err == nil && c.table.index[x.ID] == nil {
			c.table.insert(e)
		}
	}
}

// Begun makes the Core behave as if it had joined.
func (c *Core) Begun(now time.Duration) {
	c.started = true
	c.sweep = now + c.cfg.Refresh/sweeps
}

// Place is where a node of a shard is in the key space, and Shared how many
// leading bits two places share.
func Place(id shardkit.NodeID, s shardkit.ShardID, shardBits int) [4]uint64 {
	return keyOf(id, s, shardBits)
}

func Shared(a, b [4]uint64) int { return key(a).xor(key(b)).zeros() }

func Less(a, b [4]uint64) bool { return key(a).less(key(b)) }

// Message is the codec, for tests of hostile peers.
type Message = message

// Kinds of messages.
const (
	KindPing    = kindPing
	KindPong    = kindPong
	KindFind    = kindFind
	KindMembers = kindMembers
	KindNodes   = kindNodes
)

// NewMessage makes a message.
func NewMessage(kind uint8, req uint64, addr string, shards []shardkit.ShardID, target [4]uint64, shard shardkit.ShardID, contacts []Contact) *Message {
	return &message{kind: kind, req: req, addr: addr, shards: shards, target: target, shard: shard, contacts: contacts}
}

// Request returns a message's kind, number, target and shard.
func (m *message) Request() (kind uint8, req uint64, target [4]uint64, shard shardkit.ShardID) {
	return m.kind, m.req, m.target, m.shard
}

// Contacts returns what an answer names.
func (m *message) Contacts() []Contact { return m.contacts }
