package erasure

import (
	"time"

	"github.com/shardkit/shardkit"
)

// Config is what a broadcast Core is made from.
type Config struct {
	Self    shardkit.NodeID
	MaxBody int           // bytes of a body. 0: 4 MiB
	Small   int           // bodies up to this size travel whole, uncoded. 0: 4 KiB
	Resend  time.Duration // period of asking members for missing chunks. 0: 500 ms
	// PerPeer bounds the undelivered bodies a peer may have open here. 0: 8
	PerPeer int
}

// Member is a receiver and relay of chunks, dealt chunks in proportion to its
// weight.
type Member struct {
	Node   shardkit.NodeID
	Weight uint64
}

// Group is a committee as the broadcast sees it. Sure is the weight of
// members that is sure to hold its chunks (2q - W of the consensus): any
// members of that weight together can rebuild a body.
type Group struct {
	Members []Member
	Sure    uint64
}

// Inputs of the Core beside the five common ones:
//
//	SetGroup(now, id uint64, g Group) error  // a committee under a number of the caller's; at most a few live, Forget(id) drops
//	DropGroup(id uint64)
//	Disperse(now, group uint64, body []byte)  // -> Ready.Dispersed, and chunks go out
//	Obtain(now, group uint64, from NodeID, ref []byte) error // the announced reference: -> Ready.Delivered
//	Supply(now, group uint64, ref, body []byte) // a body obtained otherwise: judged like one from chunks
//	Forget(ref []byte)                          // free everything about it
//
// Ready holds the effects of a Core since the last call of Ready.
type Ready struct {
	Messages  []shardkit.Message
	Jobs      []shardkit.Job
	Dispersed []Dispersed
	Delivered []Delivered
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
// no body encodes to it.
type Delivered struct {
	Group    uint64
	Ref      []byte
	Body     []byte
	ByChunks bool // rebuilt from chunks, not sent whole
	Err      error
}
