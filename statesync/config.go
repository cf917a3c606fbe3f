package statesync

import (
	"time"

	"github.com/shardkit/shardkit"
)

// Hop is one epoch as a newcomer sees it: the epoch's first block with its
// certificate, and the committee of the next epoch, whose hash the header
// names.
type Hop struct {
	Epoch     shardkit.Epoch
	Header    []byte
	Cert      []byte
	Committee []byte // encoded committee of Epoch+1
}

// Block is a certified block in transit.
type Block struct {
	Height shardkit.Height
	Header []byte
	Cert   []byte
	Body   []byte
}

// Head is a certified header whose state can be downloaded.
type Head struct {
	Epoch  shardkit.Epoch
	Height shardkit.Height
	Root   shardkit.Hash // state root after this block
	Header []byte
	Cert   []byte
}

// ServerConfig is what the serving side of a replica is made from. The
// functions return what a job runs; they must read a consistent snapshot.
type ServerConfig struct {
	Hops   func(from shardkit.Epoch, max int) func() ([]Hop, error)
	Head   func() func() (*Head, error)                                                               // newest height whose ranges can be served for a while
	Range  func(h shardkit.Height, from shardkit.Hash, maxBytes int) func() (chunk []byte, err error) // proven range of the state at h
	Blocks func(from shardkit.Height, max, maxBytes int) func() ([]Block, error)

	MaxBytes int // of one answer. 0: 512 KiB
	PerPeer  int // requests of one peer being served at a time; more are refused. 0: 4
}

// ClientConfig is what the joining side is made from. The functions return
// what a job runs.
type ClientConfig struct {
	Self  shardkit.NodeID
	Shard shardkit.ShardID

	// CheckHop verifies a hop under the encoded committee of its epoch.
	CheckHop func(committee []byte, h Hop) func() error
	// CheckHead verifies a head under the committee of its epoch, and that its fields are the header's.
	CheckHead func(committee []byte, h Head) func() error
	// Begin makes room for the state of head h; resume is the place from which
	// ranges are still missing (zero: from the start).
	Begin func(h Head) func() (resume shardkit.Hash, err error)
	// CheckRange verifies a chunk that starts at from under root and returns
	// where the next one starts; done if it was the last.
	CheckRange func(root, from shardkit.Hash, chunk []byte) func() (next shardkit.Hash, done bool, err error)
	// Write stores verified chunks durably.
	Write func(from shardkit.Hash, chunk []byte) func() error
	// Finish checks the whole and opens it.
	Finish func(h Head) func() error
	// CheckBlock verifies the certificate of a block and that header, body and
	// certificate belong together. Blocks come in order of height.
	CheckBlock func(b Block) func() error

	Parallel int           // range requests under way. 0: 4
	Timeout  time.Duration // of one request. 0: 2 s
	Poll     time.Duration // period of asking for new blocks when following. 0: 250 ms
	Window   int           // verified blocks held until applied. 0: 64
}

// Inputs of the Client beside the five common ones:
//
//	SetPeers(now, nodes []NodeID)                         // whom to ask: the members of the shard
//	Sync(now, epoch Epoch, committee []byte)              // trusted: committee of epoch+1 (hop epoch+1 is checked under it). Hops, then state of the newest head, then follows
//	Follow(now, next Height)                              // state is there: fetch blocks from next on, for ever, until Stop
//	Applied(now, h Height)                                // the application has applied blocks up to h (by itself or from Ready.Blocks)
//	Hint(now, peer NodeID, h Height)                      // somebody claims height h: ask at once
//	Stop(now)
//	Stats() Stats // bytes, hops, ranges, blocks, retries
//
// Ready holds the effects of a Client since the last call of Ready.
type Ready struct {
	Messages []shardkit.Message
	Jobs     []shardkit.Job
	Synced   *Synced // the state of a head is in place
	Blocks   []Block // verified, in order, to be applied
	Bad      []BadPeer
	Err      error // the sync failed for good (own disk): the client has stopped
}

// Synced reports a finished state download.
type Synced struct {
	Head      Head
	Committee []byte // of Head.Epoch
	Next      []byte // of Head.Epoch + 1
	Epochs    int    // hops verified
	Ranges    int
	Bytes     int
}

// BadPeer names a peer that sent something that failed its check.
type BadPeer struct {
	Peer shardkit.NodeID
	Err  error
}
