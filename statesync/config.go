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
// functions are called by the Server's owner and return what a job runs, on
// another goroutine; what is returned must read a consistent snapshot and may
// fail if the thing is not there any more.
type ServerConfig struct {
	// Hops reads at most max consecutive hops from an epoch on; none if there
	// is no such epoch yet.
	Hops func(from shardkit.Epoch, max int) func() ([]Hop, error)
	// Head reads the newest head whose ranges can be served for a while; nil if
	// there is none. All nodes that join at a time are best given the same one.
	Head func() func() (*Head, error)
	// Range reads a proven range of the state at height h, of about maxBytes.
	Range func(h shardkit.Height, from shardkit.Hash, maxBytes int) func() (chunk []byte, err error)
	// Blocks reads at most max consecutive blocks, of about maxBytes, but at
	// least one if there is one of height from.
	Blocks func(from shardkit.Height, max, maxBytes int) func() ([]Block, error)

	MaxBytes int // of one answer, but at least one piece. 0: 512 KiB
	PerPeer  int // requests of one peer being served at a time; more are refused. 0: 4
	Rate     int // bytes per second that one peer is sent, on average; beyond, it is refused. 0: no limit
}

// ClientConfig is what the joining side is made from. The functions are
// called by the Client's owner and return what a job runs, on another
// goroutine.
type ClientConfig struct {
	Self  shardkit.NodeID
	Shard shardkit.ShardID

	// CheckHop verifies a hop under the encoded committee of its epoch: its
	// certificate, and that its header names its Committee.
	CheckHop func(committee []byte, h Hop) func() error
	// CheckHops verifies consecutive hops at once, the first under committee,
	// each other one under the committee of the one before, and returns how
	// many are good and what is wrong with the next one. nil: CheckHop is used
	// for each; with batch verification, this is faster.
	CheckHops func(committee []byte, run []Hop) func() (good int, err error)
	// CheckHead verifies a head under the committee of its epoch, and that its fields are the header's.
	CheckHead func(committee []byte, h Head) func() error
	// Begin makes room for the state of head h; resume is the place from which
	// ranges are still missing (zero: from the start).
	Begin func(h Head) func() (resume shardkit.Hash, err error)
	// Gaps reads which ranges of the key space are missing, in order, once
	// Begin has run. nil: all from resume on. With it nothing is fetched twice
	// after a crash; without, what was written behind the first gap is.
	Gaps func() func() ([]Gap, error)
	// CheckRange verifies a chunk that starts at from under root and returns
	// where the next one starts; done if it was the last.
	CheckRange func(root, from shardkit.Hash, chunk []byte) func() (next shardkit.Hash, done bool, err error)
	// Write stores verified chunks durably. Chunks come from several places at
	// a time and can overlap; one Write runs at a time.
	Write func(from shardkit.Hash, chunk []byte) func() error
	// Finish checks the whole and opens it.
	Finish func(h Head) func() error
	// CheckBlock verifies the certificate of a block and that header, body and
	// certificate belong together. It is called in order of height; the jobs
	// may run at the same time.
	CheckBlock func(b Block) func() error

	Parallel int           // requests under way. 0: 4
	MaxBytes int           // asked for in one answer. 0: 512 KiB
	Timeout  time.Duration // of one request. 0: 2 s
	Poll     time.Duration // period of asking for new blocks when following. 0: 250 ms
	Window   int           // blocks held until applied. 0: 64
}

// Ready holds the effects of a Client since the last call of Ready.
type Ready struct {
	Messages []shardkit.Message
	Jobs     []shardkit.Job
	Synced   *Synced // the state of a head is in place
	Blocks   []Block // verified, in order, to be applied
	Bad      []BadPeer
	Err      error // the sync failed for good (own disk): the client has stopped
}

// Gap is a part of the key space: from From on up to and without To; To zero
// means to the end.
type Gap struct{ From, To shardkit.Hash }

// Synced reports a finished state download.
type Synced struct {
	Head      Head
	Committee []byte // of Head.Epoch
	Next      []byte // of Head.Epoch + 1
	Epochs    int    // hops verified
	Ranges    int
	Bytes     int
}

// BadPeer names a peer that sent something that failed its check. The client
// does not ask it for a while.
type BadPeer struct {
	Peer shardkit.NodeID
	Err  error
}
