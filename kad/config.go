package kad

import (
	"errors"
	"fmt"
	"slices"
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

// Config is what a Core is made from. It is validated by New and not changed
// after.
type Config struct {
	Self      Contact
	ShardBits int           // bits of the key space that name the shard, at most 32
	Bootstrap []Contact     // where to begin; may be empty for a first node
	Known     []Contact     // what Contacts returned in a former life; they serve like Bootstrap if they still answer
	K         int           // bucket size, at most 32. 0: 16
	Alpha     int           // parallel requests of a lookup, spread over its paths, at least one each. 0: 3
	Paths     int           // disjoint paths of a lookup, at most 16. 0: 4
	Timeout   time.Duration // of one request. 0: 1 s
	Refresh   time.Duration // of a bucket. 0: 10 min
	Seed      uint64        // of lookup targets when refreshing
	// PerPrefix bounds the contacts of one address prefix (/24, /64) per bucket
	// and, five times that, per table. Loopback is exempt. 0: 2
	PerPrefix int
	// Member tells who may serve a shard: contacts that claim a shard without
	// right are not reported as its members. nil: every claim counts, and the
	// limits by prefix are all that holds back somebody with many keys.
	Member func(shard shardkit.ShardID, id shardkit.NodeID) bool
	// MaxMembers bounds the contacts kept of each own shard, beside the table.
	// 0: 4096
	MaxMembers int
}

// withDefaults validates c and fills in its zero values.
func (c Config) withDefaults() (Config, error) {
	set := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	set(&c.K, 16)
	set(&c.Alpha, 3)
	set(&c.Paths, 4)
	set(&c.PerPrefix, 2)
	set(&c.MaxMembers, 4096)
	if c.Timeout == 0 {
		c.Timeout = time.Second
	}
	if c.Refresh == 0 {
		c.Refresh = 10 * time.Minute
	}
	switch {
	case c.ShardBits < 0 || c.ShardBits > 32:
		return c, fmt.Errorf("kad: Config.ShardBits is %d, want 0 to 32", c.ShardBits)
	case c.K < 1 || c.K > maxReply:
		return c, fmt.Errorf("kad: Config.K is %d, want 1 to %d", c.K, maxReply)
	case c.Paths < 1 || c.Paths > 16 || c.Alpha < 1 || c.PerPrefix < 1 || c.MaxMembers < 1:
		return c, errors.New("kad: Config: Paths outside 1 to 16, or a negative value")
	case c.Timeout < 0 || c.Refresh < sweeps:
		return c, errors.New("kad: Config: Timeout or Refresh out of range")
	}
	for _, b := range slices.Concat(c.Bootstrap, c.Known) {
		if _, ok := parseAddr(b.Addr); !ok {
			return c, fmt.Errorf("kad: bootstrap node %v: bad address %q", b.ID, b.Addr)
		}
	}
	return c, nil
}

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
