// Package shardkit is a library of independent packages, each one primitive
// of a sharded proof-of-stake blockchain. Import one, or compose them into a
// chain of your own; examples/chain is the reference composition.
//
//   - fbft: BFT consensus with aggregated signatures (fbft/bls: BLS12-381;
//     fbft/edlist: lists of Ed25519 signatures).
//   - vrf, vdf, vdf/drg: verifiable random functions, delay functions, and the
//     distributed randomness made of both.
//   - estake: effective proof of stake: election, vote price, rewards.
//   - reshard: who sits in which shard, and how safe that is.
//   - xshard: receipts that carry value between shards exactly once.
//   - erasure: authenticated erasure-coded broadcast.
//   - kad: Kademlia table, lookup and shard-aware routing (kad/simnet: a
//     deterministic simulated network; kad/quicnet: an authenticated QUIC host).
//   - statesync: joining a shard by epoch hops and proven state ranges.
//   - ledger: transactions, authenticated state, blocks, mempool
//     (ledger/pebblestore: a durable store).
//
// # Cores and drivers
//
// A protocol is a core: a plain struct that takes inputs (a peer's bytes, the
// passing of time, a job's result) and hands out effects (records to persist,
// messages, jobs, a wake-up time). A core has no goroutine, lock, clock,
// network, disk, randomness source or logger, so the same code runs over QUIC
// and pebble, and in a simulation that one seed replays byte for byte. A
// driver of a few hundred lines supplies what the core lacks.
//
// Every core has these methods and a package-specific Ready:
//
//	Deliver(now time.Duration, from shardkit.NodeID, msg []byte) error
//	Done(now time.Duration, result any)
//	Persisted(now time.Duration, seq uint64)
//	Tick(now time.Duration)
//	Wake() (at time.Duration, ok bool)
//	Ready() Ready
//
// now is monotonic time since the node started. Deliver does not keep msg and
// never panics, whatever the bytes. A core is not safe for concurrent use: one
// goroutine owns it.
//
// This package holds only the value types that the packages share.
package shardkit

import "encoding/hex"

// Hash is a SHA-256 digest.
type Hash [32]byte

// String returns the first eight bytes in hex, enough to tell hashes apart in
// a log line.
func (h Hash) String() string { return hex.EncodeToString(h[:8]) }

// NodeID names a node on the network: its Ed25519 public key.
type NodeID [32]byte

// String returns the first eight bytes in hex.
func (id NodeID) String() string { return hex.EncodeToString(id[:8]) }

// ShardID numbers a shard from 0, the beacon.
type ShardID uint32

// Epoch numbers an epoch from 0, the epoch of the genesis block.
type Epoch uint64

// Height numbers the blocks of one shard; the genesis block has height 0.
type Height uint64

// The classes of a Message, most urgent first.
const (
	ClassVote  uint8 = iota // small, latency matters: votes, certificates
	ClassBlock              // bodies, chunks, receipts, transactions
	ClassSync               // bulk: state and block download
)

// Message is bytes for one peer.
type Message struct {
	To    NodeID
	Class uint8  // one of ClassVote, ClassBlock, ClassSync
	After uint64 // leaves only once the record with this sequence number is durable; 0: at once
	Data  []byte // owned by the receiver of the Message; the core does not touch it again
}

// Job is heavy work for a worker: pure in its inputs, which it owns until it
// is done. The driver runs it once and hands the result to Done.
type Job struct {
	Kind string // what it is, for pricing and for statistics: "bls.verify"
	Size int    // how much of it, in the unit of its kind
	Key  Hash   // jobs with equal non-zero keys give equal results and may be run once
	Run  func() any
}
