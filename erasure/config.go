package erasure

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/shardkit/shardkit"
)

// Config is what a broadcast Core is made from.
type Config struct {
	Self    shardkit.NodeID
	MaxBody int           // bytes of a body, the same at all members. 0: 4 MiB
	Small   int           // bodies up to this size travel whole, uncoded. 0: 4 KiB
	Resend  time.Duration // period of asking members for missing chunks. 0: 500 ms
	// PerPeer bounds the bodies not yet announced of which chunks of a peer are
	// kept. 0: 8
	PerPeer int
	// Reliable delivers a body only when it is certain that every honest member
	// will, also if the sender is hostile and nothing else makes members agree.
	// It costs a round of small messages; the same at all members. A body may
	// then be delivered that was never announced to this node. Inside a
	// consensus, which has its own votes, it is not needed.
	Reliable bool
	// Bodies bounds the bodies held at a time: Forget frees them, and beyond the
	// bound the one not asked for for the longest time goes. 0: 64
	Bodies int
}

// withDefaults fills in the zero values.
func (c Config) withDefaults() (Config, error) {
	if c.MaxBody < 0 || c.Small < 0 || c.Resend < 0 || c.PerPeer < 0 || c.Bodies < 0 {
		return c, errors.New("erasure: negative setting")
	}
	if c.MaxBody > MaxLength {
		return c, fmt.Errorf("erasure: bodies of %d bytes, at most %d", c.MaxBody, MaxLength)
	}
	if c.MaxBody == 0 {
		c.MaxBody = 4 << 20
	}
	if c.Small == 0 {
		c.Small = 4 << 10
	}
	if c.Resend == 0 {
		c.Resend = 500 * time.Millisecond
	}
	if c.PerPeer == 0 {
		c.PerPeer = 8
	}
	if c.Bodies == 0 {
		c.Bodies = 64
	}
	return c, nil
}

// maxMessage bounds a message: chunks are packed up to packTo bytes, and one
// chunk can be as long as a body.
func (c *Config) maxMessage() int {
	return min(c.MaxBody, math.MaxInt32/2) + packTo + messageOverhead
}

// Ready holds the effects of a Core since the last call of Ready. The Data of
// messages to several peers is shared: nobody may write to it.
type Ready struct {
	Messages  []shardkit.Message
	Jobs      []shardkit.Job
	Dispersed []Dispersed
	Delivered []Delivered
	Bad       []BadPeer
}

// Dispersed reports that a body has been coded: Ref commits to codec, k, n,
// length and chunks, and is what an announcement names.
type Dispersed struct {
	Group uint64
	Ref   []byte
	Body  []byte
	Err   error
}

// Delivered reports the body of a reference, or that the reference is bad:
// no body encodes to it. Body is shared with the core until Forget: it is not
// to be changed.
type Delivered struct {
	Group    uint64
	Ref      []byte
	Body     []byte
	ByChunks bool // rebuilt from chunks, not sent whole
	Err      error
}

// BadPeer names a peer that sent a chunk which is not of the body that it
// named.
type BadPeer struct {
	Peer shardkit.NodeID
	Err  error
}

// Stats counts what a Core did.
type Stats struct {
	ChunksSent     uint64
	ChunksReceived uint64 // taken in to be verified
	ChunksBad      uint64
	Encoded        uint64 // own bodies dispersed
	Rebuilt        uint64 // bodies rebuilt from chunks
	Wants          uint64 // requests for chunks sent
	Served         uint64 // requests answered
	Evicted        uint64 // bodies that went because there were too many
	EarlyDropped   uint64 // messages about bodies not announced for which there was no room
}
