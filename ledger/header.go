package ledger

import "github.com/shardkit/shardkit"

// Header is what consensus certifies. The view in which a block was proposed
// is not in it: a block keeps its hash when a later view proposes it again.
type Header struct {
	Chain     shardkit.Hash // id of the chain: the hash of its genesis
	Shard     shardkit.ShardID
	Epoch     shardkit.Epoch
	Height    shardkit.Height
	Parent    shardkit.Hash   // hash of the header before
	Proposer  shardkit.NodeID // who made the block, not who proposed it again
	Time      uint64          // unix milliseconds, greater than the parent's
	Body      shardkit.Hash   // hash of the encoded body
	State     shardkit.Hash   // root of the state after this block
	Outbox    shardkit.Hash   // root of the receipts this block sends
	Inbox     shardkit.Hash   // root of the per-source receipt counters after this block
	Committee shardkit.Hash   // hash of the committee that certifies this block
	Late      []byte          // late commit signatures of an earlier height; empty if none; at most MaxLate bytes
	Hop       *Hop            // in the first block of an epoch only
}

// Hop is what the first block of an epoch carries beside: enough for a
// newcomer to go from epoch to epoch by one header each.
type Hop struct {
	Previous      shardkit.Hash // hash of the shard's first block of the epoch before
	NextCommittee shardkit.Hash // hash of the shard's committee of the next epoch
	Beacon        shardkit.Hash // hash of the beacon's first block of this epoch; in the beacon itself, of the next epoch's committees of all shards
}

// Body is what a header's Body hash covers. Items are the composition's own
// entries (links to other shards, epoch starts, randomness); package ledger
// carries them and does not look inside.
type Body struct {
	Items        [][]byte
	Transactions []Transaction
}

// Block is a header with its encoded body and, once committed, the encoded
// commit certificate.
type Block struct {
	Header      Header
	Body        []byte
	Certificate []byte
}
