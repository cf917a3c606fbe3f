// Package fbft is a Byzantine fault tolerant consensus engine: members of a
// committee, weighted by shares, agree on one block per height, with
// signatures that are aggregated into certificates.
//
// # Model
//
// A committee has total weight W and quorum q (default: the least above 2W/3).
// Two bounds follow from q, and moving it trades one for the other:
//
//   - Safety: two quorums share weight 2q−W at least (Committee.Fork). As long as
//     Byzantine members, which do anything their keys allow, weigh less, no two
//     blocks are decided at one height.
//   - Liveness: once weight W−q+1 (Committee.Amplify) is silent, nothing is
//     decided any more. As long as less is, Byzantine members included, and the
//     network is eventually timely, blocks are decided.
//
// With 600 shares: a fork takes 202, a standstill 200. A standstill is for ever if
// logs of that weight are lost in one shard, because who has lost its log does not
// vote.
//
// The network may delay, lose, repeat and reorder; peers are authenticated by
// the transport. Disks keep what they said they had written. Clocks need not
// agree. Time is monotonic; no clock of the wall is used.
//
// # The protocol, message by message
//
// A height goes through views 0, 1, …, each with a leader that everybody can
// compute. In the normal case five messages decide, O(n) of them:
//
// ANNOUNCE, leader to all: header, a reference to the body, and the commit
// certificate of the height before. A member gets the body and judges it.
//
// PREPARE, member to leader: a signature over chain, shard, epoch, height,
// committee, view, phase and block, above view 0 also over the digest of the
// NEWVIEW. Signed once per view, and only with the body held and good.
//
// PREPARED, leader to all: PREPARE of quorum weight in one certificate. Two
// quorums share an honest member, which signs one PREPARE a view: so a view
// has at most one prepared block. Who holds the block takes the lock: the
// certificate and header go to the log, after the body.
//
// COMMIT, member to the leaders of this view, of the next view and of the next
// height, so that no single node can keep the decision to itself. It takes a
// prepared certificate of exactly this view. Its record follows those of the
// lock and the body in the log, and it leaves only once they are durable: when
// a whole shard loses power here, somebody still has the block.
//
// COMMITTED, whoever holds a quorum of COMMIT to all: the block is final. A
// certificate also rides on the next ANNOUNCE and on reports, and is the
// answer to everybody that is still at work on a decided height.
//
// LATE, member to leaders to come: its COMMIT, if the certificate by which the
// next height goes is one without it. It decides nothing; a chain that pays for
// votes can put it in a later header (CollectLate), so that who is far away is
// paid like the others.
//
// REPORT, member to all, when the timer of its view runs out or when reports
// of weight W−q+1 show that an honest member has gone ahead: "I go to view w;
// the highest view in which I hold a prepared block is v", or none. To the
// leader of w it carries that certificate and header. Once it is recorded the
// member signs nothing below w, ever.
//
// NEWVIEW, leader of w to all: reports for w of quorum weight, grouped by what
// they claim, and the certificate of the highest claim, whose block it
// proposes again; if nobody claims anything, any block. Everybody checks all
// of it. It is on the leader's disk before it leaves, and there is one per
// view.
//
// # Why two blocks are never decided
//
// Within a view: two quorums of COMMIT share an honest member, which signed one
// COMMIT in it, on a prepared certificate; and so it is with PREPARE.
//
// Over views: let v be the lowest that decides, say A: members of weight q signed
// COMMIT(v, A), so each honest one of them held A and the certificate of (v, A)
// on disk. Take the first later view w in which another block is prepared.
// Its NEWVIEW has reports for w of weight q; one of them is by an honest member
// that signed COMMIT(v, A). It did so before its report, for after it nothing
// below w is signed. So its report claims view v or higher, and the highest
// claim of the proof is some u with v ≤ u < w. Its certificate was checked. If
// u = v it names A, since a view has one prepared block; if u > v it names A
// because w is the first view to prepare anything else. So w proposes A. The
// argument rests on the log: on the report and the vote being durable before
// they are seen. A certificate of view v does not make COMMIT in another view,
// and votes sign their view: an old certificate cannot pass for a new one. An
// own lock is no reason to refuse a valid NEWVIEW: the proof, not the lock,
// decides (two-phase protocols that wait for the lock instead stall when its
// owner is outside the quorum).
//
// So each message has its part in it. ANNOUNCE and NEWVIEW bind nobody: what they
// allow is checked by who prepares. PREPARE gives a view one block; COMMIT after
// the lock makes that block what every later quorum reports; REPORT closes the
// views below it; and COMMITTED, LATE and repetitions only carry signatures that
// somebody has made before.
//
// # Why blocks are decided
//
// A view is entered on reports of it or any higher one with quorum weight, on a
// valid NEWVIEW, or on a prepared certificate; its timer runs from there, goes
// on whatever happens, and is a function of the view alone, doubling up to a
// cap. Reports count for this by their sender alone, whatever they claim. So
// honest members end up in one view: whoever is behind gets the reports, which
// are repeated, and joins; whoever is alone ahead waits, its timer stopped,
// until the others reach its view or a later one. Once the cap exceeds seven
// messages and the execution of a block, the first honest leader decides: it
// has reports of all honest members for its view, with the certificates they
// claim, and the claimed body can be had from one of those who claimed it or
// prepared it, whom it asks in turn.
//
// No message is needed that its sender does not repeat. Every core sends again,
// every Resend, its latest report and its latest vote, as leader also what it
// proposed and prepared; and whoever is told a vote or report for a height that
// it knows to be decided answers with the certificate. So nothing is assumed of
// the transport, but that it delivers some of many copies.
//
// When nothing is lost no timer is needed either. What comes for one of the next
// few heights is kept until that begins. A replica that is too slow even for that
// is told by Ready.Behind, and asks: a Node gets the blocks, and at the height
// where the others are has them say again what it could not keep.
//
// View 0 of an idle height makes no noise: its timer runs only once there is an
// announcement, a report of another member, or Work. So a replica that begins, or
// comes back, behind a network that has nothing to decide hears nothing. A Node
// asks members where they are, when it begins and whenever nothing was decided for
// Config.MaxTimeout; who drives a Core does so itself.
//
// # Change of committee
//
// A height has one committee, a function of the blocks before. The first height
// of a new committee is started with the old one (Start.Before): members of
// both tell both how the last height ended, every Resend, until they see the
// first decision of the new committee. Old members who have not heard go on
// with views of their height.
//
// # After a crash
//
// Config.Log holds the records that Ready gave out. A replica repeats its
// latest words, byte for byte, is bound by them, and asks for the block it is
// locked on through Validate. A log with votes above a height but without that
// height has been pruned there: the replica does not vote in it. Who has a key
// but not its log must set VoteFrom beyond every height at which the key may
// have voted: the first block of the second epoch after one whose certified
// time is later than the restart is safe.
//
// # Who leads
//
// Config.Leader is a Rotation, which every receiver evaluates: another leader at
// each height and view by weight (the default), one for k heights (Every), owners
// in turn whatever number of members each has (ByOwner), or drawn from the
// randomness of the epoch (Draw). Safety does not depend on it. Liveness needs
// that honest leaders come up among the views.
//
// # Evidence
//
// Two votes of one view and phase for different blocks, COMMIT in v with a
// later report that claims less than v, and two reports for one view are
// offences (Evidence). Each is proven by two signatures or two certificates:
// who signed both is guilty. A fork within a view convicts by its two commit
// certificates; one over several views through what honest replicas archive
// (Ready.Archive, Accuse). Preparing another block on a valid NEWVIEW after a
// COMMIT is no offence.
//
// # What is whose
//
// A block is a header and a body. The header is any bytes of the application's,
// and its hash (BlockHash) is what is voted on: so it has to bind the body, and the
// parent. The body never comes here. A reference is a few bytes that go with an
// announcement and say where the body can be had; it is not voted on, and another
// view may give another one. A member is a voting key with a weight, and the node
// that speaks for it: to vote for two members a process runs two replicas, with two
// node ids.
//
// # How to drive it
//
// A Node runs a Core for an Application:
//
//	log, records, err := fbft.OpenLog(dir, publicKey, fbft.LogOptions{})
//	node, err := fbft.NewNode(fbft.NodeConfig{
//		Core: fbft.Config{Chain: chain, Self: id, Signer: key},
//		App:  app, Start: start, Log: log, Records: records, Send: host.Send,
//	})
//	go node.Run(ctx)
//	// from the network: node.Deliver(from, msg)
//
// Start is the height after the last block that the application holds. On a new
// chain that is height 1 on the hash of the genesis, without Previous. After a
// restart it is what Commit returned for the last block, with Height, Parent and
// Previous, the block's certificate: the application stores that with the block.
// Nodes understand Nodes: what they send to each other is not what bare Cores do.
//
// A composition embeds the Core itself, which has no goroutine, clock, disk or
// network: it takes Deliver, Done, Persisted, Tick, Start, Work, Proposed and
// Validated, and hands out a Ready, which is to be drained after each of them. The
// example of Core is a whole driver. Three promises keep it safe: a message does not
// leave before its record (Message.After) is durable; records reach the disk in
// their order, and the body of a block that was found good before those handed out
// after Validated; and after a restart Config.Log holds every record that was
// durable. All the rest, late, twice or never, costs time only.
//
// Package fbfttest has what tests of either need.
//
// # What it costs
//
// In the normal case a height is five messages in a row: its leader sends three
// to each member and gets two, the two other collectors of COMMIT send and get one
// each, and everybody else sends four and gets five. A vote that is kept costs one
// allocation, the copy of its signature, and its verification is shared with all
// others of its quorum; what is old or said twice costs none. A peer can make a
// replica keep one vote of each phase and one report at its height, one message
// of each kind at the next four, and run one check of each kind at a time.
//
// # What it does not do
//
// It does not move bodies, hold transactions or execute; it does not choose
// committees, and it does not punish. It opens no connection.
//
// # Deviations from the published FBFT
//
// Harmony's paper [1] describes the normal case and the view change in outline.
// Beyond it, here:
//
//   - Votes sign view, phase, height, shard and committee, and PREPARE its
//     NEWVIEW: an old certificate cannot pass for a new one, a fork can be
//     attributed.
//   - What a report claims is held and durable: a claim whose block nobody has
//     would bind the shard to nothing.
//   - Nothing is signed below a reported view: else a certificate that was delayed
//     could be committed behind the back of a view change.
//   - COMMIT goes to three collectors: one leader alone could keep a decision to
//     itself.
//   - Views are entered by reports and not by the clock, which nobody shares.
//   - Everything is repeated, decided heights are answered for, and idle heights
//     make no views.
//   - Weight is counted, never heads, and leaders may be drawn.
//
// The locking follows PBFT [2] with certificates in place of message sets, the
// amplification of reports Bracha [3] as [2] uses it.
//
// # References
//
//	[1] Harmony Team: Technical Whitepaper, version 2.0, §2.
//	[2] Castro, Liskov: Practical Byzantine Fault Tolerance, OSDI 1999.
//	[3] Bracha: Asynchronous Byzantine agreement protocols, 1987.
//	[4] Bano et al.: Twins: BFT systems made robust, OPODIS 2021.
package fbft
