package xshard

import (
	"time"

	"github.com/shardkit/shardkit"
)

// Receipt is value or a message on its way from one shard to another. Its
// place is (Source, Dest, Seq): sequence numbers of a pair run 0, 1, 2, …
// without gaps.
type Receipt struct {
	Source shardkit.ShardID
	Dest   shardkit.ShardID
	Seq    uint64
	Kind   uint8         // meaning is the executor's
	ID     shardkit.Hash // what caused it: the transaction's id
	From   [32]byte      // account at the source
	To     [32]byte      // account at the destination
	Amount uint64
	Data   []byte // at most MaxReceiptData
}

// Batch is the receipts of one source block for one destination, with the
// proof that the block's outbox root commits to them.
type Batch struct {
	Source   shardkit.ShardID
	Dest     shardkit.ShardID
	First    uint64 // sequence number of Receipts[0]
	Receipts []Receipt
	Leaves   uint64          // how many leaves the outbox has: the number of shards
	Proof    []shardkit.Hash // of the leaf under the outbox root
}

// Functions and values of the package that a composition uses:
//
// BINDING CHANGE: an outbox has one leaf for EVERY shard 0..shards-1 of the
// chain, in order, empty ones too (count 0, first = next): a destination that
// is shown a header can thus tell "no receipts for me" from "withheld".
//
//	NewOutbox(source ShardID, shards uint32, next func(dest ShardID) uint64) *Outbox   // next: first unused sequence number, read from state
//	(*Outbox) Add(r Receipt) (seq uint64, err error)   // sets Source and Seq
//	(*Outbox) Next(dest) uint64; Dests() []ShardID     // to write the counters back, ascending
//	(*Outbox) Root() Hash; Batch(dest) Batch           // with proof; Receipts empty if there are none for dest: proven as such
//	VerifyBatch(root Hash, b *Batch) error             // shape, sequence, receipts root, leaf, proof; needs b.Leaves == shards checked by the caller
//	(*Batch) AppendBinary / UnmarshalBinary; (*Receipt) the same
//	Inbox: plain value, one counter per source: Accept(b *Batch) error // first must be next: typed *SequenceError{Source, Got, Want}; Next(source); Root() Hash; AppendBinary/UnmarshalBinary

// Packet is one certified block of a source shard as a destination sees it.
// The relay looks only at Source and Height; what the bytes are is between
// the composition's Load and Check.
type Packet struct {
	Source shardkit.ShardID
	Height shardkit.Height
	Header []byte // the source block's header
	Cert   []byte // its commit certificate
	Batch  []byte // the receipts for this destination with their proof; empty if none
}

// RelayConfig is what a Relay is made from. One Relay serves one replica: it
// sends the packets of its own shard and gathers those of all other shards,
// each source in order of height without gaps.
type RelayConfig struct {
	Self  shardkit.NodeID
	Shard shardkit.ShardID
	// Load returns the function a job runs to read packets of the own shard for
	// dest from height from on: at most max packets and about maxBytes bytes.
	Load func(dest shardkit.ShardID, from shardkit.Height, max, maxBytes int) func() []Packet
	// Check returns the function a job runs to verify a run of packets of one
	// source, consecutive heights: it returns how many from the front are good
	// (certificate, header chain, receipts proof) and an error for the next one.
	// Fewer good ones with a nil error: not decidable yet, keep and ask again later.
	Check func(run []Packet) func() (good int, err error)

	Poll      time.Duration // period of asking a source for what is missing. 0: 500 ms
	MaxQueue  int           // verified packets held per source. 0: 256
	MaxPacket int           // bytes of one packet. 0: 4 MiB
}

// Inputs of the Relay beside the five common ones:
//
//	SetMembers(now, shard ShardID, nodes []NodeID)    // of any shard, own included; again at each epoch (union of outgoing and incoming at hand-over)
//	Committed(now, packets map-free []Addressed)      // own block committed: {Dest, Packet} for every other shard; pushes one copy to every member of dest, spread over the own members by index
//	Included(now, source ShardID, h Height)           // the own chain has linked source up to h: drops those, asks from h+1
//	Arrived(source) []Packet                          // verified packets following the last Included, in order (a view; not modified)

// RelayReady holds the effects of a Relay since the last call of Ready.
type RelayReady struct {
	Messages []shardkit.Message
	Jobs     []shardkit.Job
	Arrived  []shardkit.ShardID // sources with newly verified packets
	Bad      []BadPeer
}

// Addressed is a packet for one destination shard.
type Addressed struct {
	Dest   shardkit.ShardID
	Packet Packet
}

// BadPeer names a peer that sent a packet that failed its check.
type BadPeer struct {
	Peer shardkit.NodeID
	Err  error
}
