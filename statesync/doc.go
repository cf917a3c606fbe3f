// Package statesync lets a node join a shard that has been running for long:
// one header per epoch, then the state of a recent block in proven ranges,
// then blocks, for as long as the node follows the shard.
//
// # The model
//
// Two cores. A [Server] belongs to a replica and answers; a [Client] belongs
// to a node that lacks something and asks. The client trusts one committee,
// that of its checkpoint's next epoch: a committee from the genesis block, or
// from a checkpoint so recent that its members still have something to lose
// (weak subjectivity [2]). Everything else follows from signatures. Every
// peer may lie, stay silent or be slow; the sync is right if no committee on
// the way has a quorum of liars, and ends if one reachable peer is honest.
//
// Who can ask is anybody, so the serving side is bounded: one job per request,
// an answer of bounded size, few requests under way per peer and in all, and
// no state between them.
//
// What headers, certificates and states look like is the application's: both
// cores are given functions that make the jobs which read, check and write.
//
// # The protocol
//
//  1. Hops. The first block of epoch e names the committee of epoch e+1 and is
//     certified by the committee of epoch e, which the hop before named. One
//     header, one certificate and one committee per epoch lead from the
//     checkpoint to the present. A block that named its own signers would
//     certify itself; hence the distance of one epoch. Hops are fetched many
//     at a time and checked in order, in runs that a batch verification can
//     take in one go.
//  2. Head. Several peers are asked for their newest certified header, because
//     one of them could show an old one. The newest is taken, or one a little
//     older, which all honest peers are likely to have. A head of an epoch that
//     is not verified yet sends the client back to fetch that epoch's hop, from
//     the peer that claims it.
//  3. State. The key space is cut into segments that are walked in parallel,
//     at several peers: a chunk proves all keys from its start to where the
//     next one starts. A chunk is checked, then written, then the next step
//     counts on it. What was written survives a crash, see ClientConfig.Gaps.
//     If the head leaves the window that peers serve, the client begins again
//     with a newer one.
//  4. Blocks, from the head on, in order of height, within a window over what
//     the application has applied. At the tip the client polls; a hint makes
//     it ask at once.
//
// A request that is not answered in time goes to another peer, and the slow
// one is asked for less and left alone for a while, twice as long each time. A
// peer whose answer fails its check is reported in Ready.Bad and left alone
// for ten timeouts. Nobody is blamed for an answer that depends on what
// somebody else said: hops are checked one run at a time, each under a
// committee that is verified.
//
// # How to drive them
//
// Both are cores in the sense of package shardkit: Deliver, Done, Persisted,
// Tick, Wake and Ready. On the serving side:
//
//	server, err := statesync.NewServer(statesync.ServerConfig{Hops: …, Head: …, Range: …, Blocks: …})
//
// On the joining side:
//
//	client, err := statesync.NewClient(statesync.ClientConfig{CheckHop: …, …})
//	client.SetPeers(now, members)
//	client.Sync(now, epoch, committee)   // the committee of epoch+1 is trusted
//	…
//	r := client.Ready()
//	if r.Synced != nil { open the state; client.Applied(now, r.Synced.Head.Height) }
//	for _, b := range r.Blocks { apply it; client.Applied(now, b.Height) }
//
// A node that has the state calls Follow instead of Sync. After a crash in the
// middle of a download it calls Resume with the head that Begin was given,
// Trust with the committee of the last hop it has kept, and Sync with the one
// after that: the download goes on where it was if that head is still served.
//
// CheckHops instead of CheckHop lets a run of certificates be verified in one
// batch, of which fbft/bls has one across committees, and a Keyring for their
// keys.
//
// # What it does not do
//
// It does not find peers, keep hops, or ban anybody from the network. It does
// not repair a half-downloaded state of one head into that of another: if the
// window is shorter than the download, which restarts report in Stats, the
// window must be widened. It does not check that blocks follow from each
// other: the application executes them. It assumes that keys are spread
// evenly, to estimate; a state whose keys are not is downloaded correctly,
// with less parallelism.
//
// # Deviations from the published design
//
// Harmony's whitepaper [1] links epoch blocks by hash pointers, from the newest
// back, and takes the newest from a peer. Pointers do not authenticate it: the
// hand-over of committees does, so the walk goes forward. Pointers are still
// of use to who has the newest block and wants an old one.
//
// # References
//
//	[1] Harmony: Technical Whitepaper, version 2.0, "State synchronization", 2018.
//	[2] Buterin: Proof of Stake: How I Learned to Love Weak Subjectivity, 2014.
package statesync
