package kad

import (
	"time"

	"github.com/shardkit/shardkit"
)

// Contact is where a node can be reached. Shard is the shard it serves; a
// node's place in the key space is its shard's bits followed by a hash of its
// id, so that plain XOR distance finds shards first, members second.
type Contact struct {
	ID    shardkit.NodeID
	Shard shardkit.ShardID
	Addr  string // "host:port", at most MaxAddr bytes
}

// Config is what a Core is made from.
type Config struct {
	Self      Contact
	ShardBits int           // bits of the key space that name the shard
	Bootstrap []Contact     // where to begin; may be empty for a first node
	K         int           // bucket size. 0: 16
	Alpha     int           // parallel requests of a lookup. 0: 3
	Paths     int           // disjoint paths of a lookup. 0: 4
	Timeout   time.Duration // of one request. 0: 1 s
	Refresh   time.Duration // of a bucket. 0: 10 min
	Seed      uint64        // of lookup targets when refreshing
	// PerPrefix bounds the contacts of one address prefix (/24, /64) per bucket
	// and, five times that, per table. Loopback is exempt. 0: 2
	PerPrefix int
}

// Inputs of the Core beside the five common ones:
//
//	Start(now)                                   // joins through Bootstrap
//	SetSelf(now, shards []ShardID, addr string)  // own shards change with the epoch: told to neighbours
//	Find(now, shard ShardID, id NodeID)          // -> Ready.Found (Contact, or not found)
//	FindShard(now, shard ShardID, max int)       // -> Ready.Members: contacts of nodes serving that shard
//	Contacts() []Contact; Stats()
//	A contact enters the table only after it answered our own ping at that address.
//
// Ready holds the effects of a Core since the last call of Ready.
type Ready struct {
	Routes   []Contact // addresses to be known to the transport before Messages are sent
	Messages []shardkit.Message
	Jobs     []shardkit.Job
	Found    []Found
	Members  []Members
}

// Found answers Find.
type Found struct {
	ID      shardkit.NodeID
	Contact Contact
	OK      bool
}

// Members answers FindShard.
type Members struct {
	Shard    shardkit.ShardID
	Contacts []Contact
}
