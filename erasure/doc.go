// Package erasure broadcasts a body, such as a block's, from one member of a
// committee to all: cut into chunks of which a part is enough, each with its
// proof, so that no member uploads much more than the others and nobody can
// slip in a false piece.
//
// # Model
//
// A committee is a list of members with weights, known to all of them. Members
// of weight Sure together hold enough to rebuild any body: with a quorum q of
// the total weight W in the consensus, Sure is 2q - W, the weight that two
// quorums share. The others may be hostile, the sender among them: it may send
// different chunks to different members, too few, or chunks that are not the
// encoding of anything; others may send false chunks, floods of them, or
// nothing. The network loses, repeats and reorders. Messages are authenticated
// by the transport.
//
// # Protocol
//
//  1. The sender encodes the body (a Reed-Solomon code: K data chunks, N in
//     all) and builds the Merkle tree [3] over the chunks. The reference, [Ref],
//     holds codec, K, N, length and root: everything that decides what a body's
//     chunks are. K and N follow from the committee's weights ([NewDeal]), so a
//     reference of another shape is refused without a look at any chunk.
//  2. It sends every member that member's chunks with their proofs, in
//     proportion to its weight: first hop. What announces the body (the
//     consensus) carries the reference, and is signed.
//  3. A member that knows the announcement verifies its own chunks and sends
//     them to all others: second hop. Each uploads about N/K times the body in
//     all, the sender twice that, and none of it waits for the whole body.
//  4. With K chunks verified, a member rebuilds the body, encodes it once more
//     and compares. A reference to which no body encodes is bad for everybody
//     alike, whichever chunks each happened to get and also if the body came
//     another way (Supply).
//  5. What is missing after a while is asked for: of everybody its own chunks,
//     later of one member at a time all that is missing. Whoever has rebuilt the
//     body has all chunks.
//
// A body up to Config.Small goes to everybody whole: one chunk.
//
// With Config.Reliable, members say when they have a body, and deliver it when
// members of weight q do: then either all honest members deliver it or none,
// even if the sender announced it to some only. Inside a consensus this is not
// needed: its votes do it.
//
// # Use
//
//	core, err := erasure.New(erasure.Config{Self: self})
//	err = core.SetGroup(now, 1, erasure.Group{Members: members, Sure: 2*q - w})
//
// The leader calls Disperse and announces the reference that Ready.Dispersed
// reports; the others call Obtain with it and find the body in
// Ready.Delivered. Forget frees it when it has been stored elsewhere. The core
// is driven as package shardkit describes.
//
// [Coder], [Deal] and [Ref] are the same without a network: plain values to
// encode, verify and rebuild.
//
// # Bounds
//
// A chunk is verified once, in a job, and kept only if it fits. Of bodies that
// nobody announced, no more is kept of a peer than an honest one sends of one
// body, and nothing is passed on. Of one body, at most three copies of a chunk
// wait to be verified, and only from those entitled to send it: its owner, the
// announcer, who was asked, and for this node's own chunks any member. One bad
// chunk, and nothing more of that body is taken from its sender. Requests are
// answered once per half a period and never with more than K chunks.
//
// # What it does not do
//
// It does not decide which reference counts: that two references are announced
// for one height is the consensus's matter, with Config.Reliable too. A sender
// may let too few members have chunks; then nobody delivers, and the consensus
// moves on to another sender.
//
// # Deviations
//
// The published design [1] relays chunks of a fountain code (RaptorQ) through
// Kademlia's buckets, as RapidChain's IDA-gossip [2] relays them to sixteen
// peers. Inside a committee everybody can reach everybody: sending each chunk
// straight to its owner and from there to all takes two hops and N/K times the
// body per member, and a Reed-Solomon code never needs more than K chunks. The
// check by encoding again is that of verifiable information dispersal [4]. Its
// agreement (Reliable) differs in that a member vouches for what it has and
// never for what others say: Bracha's amplification [6] becomes to fetch.
//
// # References
//
//   - [1] Harmony team, Harmony technical whitepaper, version 2.0, 2018, §3.3.
//   - [2] M. Zamani, M. Movahedi, M. Raykova, RapidChain, CCS 2018, §4.2.
//   - [3] B. Laurie, A. Langley, E. Kasper, Certificate Transparency, RFC 6962,
//     §2.1.
//   - [4] C. Cachin, S. Tessaro, Asynchronous verifiable information dispersal,
//     SRDS 2005.
//   - [5] S.-J. Lin, T. Al-Naffouri, Y. Han, W.-H. Chung, Novel polynomial basis
//     with fast Fourier transform and its application to Reed-Solomon erasure
//     codes, IEEE Trans. Inf. Theory 62(11), 2016.
//   - [6] G. Bracha, Asynchronous Byzantine agreement protocols, Information and
//     Computation 75(2), 1987.
package erasure
