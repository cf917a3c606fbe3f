// Package xshard carries value and messages between the shards of a chain by
// receipts: each arrives exactly once, in order, and nobody has to resend
// anything by hand.
//
// # Model
//
// A shard is a chain of blocks certified by its committee. Committees are
// honest in the sense of their consensus: what they certify is taken as true,
// and they keep making blocks. Single members, of either shard, are hostile:
// they withhold, repeat, delay, reorder and invent, up to the bound that the
// consensus tolerates. The network loses and reorders.
//
// Crediting a receipt cannot fail (what has no proper target goes to a sink,
// by the executor's rule), so a debit is never rolled back, and order never
// blocks.
//
// # Protocol
//
//  1. A block of the source collects its receipts in an [Outbox]. Receipts of a
//     pair (source, destination) are numbered 0, 1, 2, … without gaps, over all
//     blocks. The header carries the outbox root, the root of a Merkle tree with
//     one leaf for every shard of the chain in order:
//     (source, destination, shards, first sequence number, count, root of the receipts).
//     Empty leaves stand there too, so that "nothing for you" is a proven
//     statement and not the absence of one.
//  2. When the block is committed, every destination gets a [Packet]: header,
//     certificate and [Batch], the receipts with their proof. The members of the
//     source push it, each to its part of the members of the destination, so
//     that one copy goes to every member, and hint to others' receivers that
//     there is one.
//  3. A member of the destination queues what arrives per source and has it
//     checked in runs of consecutive heights, one run per source at a time: the
//     newest certificate of a run covers the headers before it, so the busier
//     a source is, the less a block of it costs. A run that fails is checked
//     again in shorter ones, until the bad packet is found.
//  4. What is missing is pulled: at once when a gap shows, soon after a hint, and
//     when nothing came for a Poll, the member asks one member of the source, another each time,
//     for the next height it lacks.
//  5. A block of the destination takes verified packets in order of height. Its
//     [Inbox] is one counter per source: a batch is accepted if it starts
//     exactly there, so a replay is refused by construction, and a hole cannot
//     be stepped over.
//
// # Use
//
// The source, in the block being built:
//
//	out := xshard.NewOutbox(shard, shards, next)
//	seq, err := out.Add(xshard.Receipt{Dest: 3, To: account, Amount: 10})
//	header.Outbox = out.Root()
//
// The destination, with a header that it has verified:
//
//	err := xshard.VerifyBatch(header.Outbox, &batch)      // the header committed to these receipts
//	err = batch.Expect(header.Shard, own, shards)         // they are for this shard
//	err = inbox.Accept(&batch)                            // they are next
//
// A [Relay] is a core as package shardkit describes it: it is told what the
// own shard committed (Committed), who sits where (SetMembers) and how far the
// own chain has linked each source (Included), and hands out verified packets
// (Arrived). It keeps nothing on disk: after a restart it starts from what
// the ledger says was included.
//
// # Bounds
//
// Everything held is bounded per source, in packets and in bytes, and every
// source has its own queue and at most one check under way, so a flood from
// one shard costs the others nothing. Only members of the source are listened
// to. A peer whose packet fails its check is reported, and ignored for a
// while. Requests of peers are read from disk one at a time for each peer,
// the asking shards taking turns.
//
// # What it does not do
//
// It does not know what a header, a certificate or a receipt's payload means;
// the composition's Load and Check do. Receipts are one-way: a transaction
// that must take effect in several shards or in none needs an atomic commit on
// top. A chain that lowers its number of shards has to keep the outboxes of
// those that go until their receipts are taken.
//
// # Deviations
//
// In Harmony's design [1] receipts are routed along a Kademlia overlay and
// each carries its own Merkle proof; the spent set is keyed by the block
// number that the proof itself names. Here batches go straight to the members,
// a batch has one proof, and position is a sequence number in the verified
// leaf, so there is no set to keep and no field of the sender to trust.
//
// # References
//
//   - [1] Harmony team, Harmony technical whitepaper, version 2.0, 2018, §4.3.
//   - [2] B. Laurie, A. Langley, E. Kasper, Certificate Transparency, RFC 6962,
//     §2.1: the Merkle tree.
//   - [3] A. Sonnino, S. Bano, M. Al-Bassam, G. Danezis, Replay Attacks and
//     Defenses Against Cross-shard Consensus in Sharded Distributed Ledgers,
//     EuroS&P 2020.
package xshard
