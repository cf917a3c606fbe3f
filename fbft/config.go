package fbft

import (
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft/internal/mutant"
)

// Verifier checks the signatures of one committee, whose keys it was built
// from, in member order. Package fbft/bls has the default one. Methods are
// slow, are called from jobs, and must be safe for concurrent use.
type Verifier interface {
	// Combine aggregates sigs[i], said to be the signature of member
	// members[i] over statement. It leaves out what does not verify: bad holds
	// the positions (into members) it left out, ascending. The aggregate is
	// valid for exactly the others and nil if none is left.
	Combine(statement []byte, members []int, sigs [][]byte) (aggregate []byte, bad []int)
	// Verify reports whether aggregate is the signature of exactly members
	// (ascending) over statement.
	Verify(statement []byte, members []int, aggregate []byte) error
	// VerifyBatch is Verify of several statements at once: nil only if every
	// one holds.
	VerifyBatch(statements [][]byte, members [][]int, aggregates [][]byte) error
}

// Signer signs statements with the replica's voting key. It is called from
// jobs and must be deterministic: the same statement has the same signature.
type Signer interface {
	Sign(statement []byte) ([]byte, error)
}

// Config is what a Core is made from. It is validated by New and not changed
// after.
type Config struct {
	Chain  shardkit.Hash    // the chain's id; bound into every vote
	Shard  shardkit.ShardID // bound into every vote
	Self   shardkit.NodeID  // this replica's node
	Signer Signer           // nil: an observer, which never votes, and is sent nothing: it has to ask (a Node does)

	// Leader names the member that leads a view of a height, the same at every
	// replica. nil: (*Committee).Rotate, another one each time, by weight.
	Leader Rotation

	// All replicas of a shard should have the same times. A block is decided
	// without a change of view if getting its body, executing it and five messages
	// take less than BaseTimeout; blocks are decided at all if all that, and two
	// messages more, takes less than MaxTimeout.
	BaseTimeout time.Duration // of view 0; doubles each view. 0: 2 s
	MaxTimeout  time.Duration // cap of the doubling. 0: 30 s, or BaseTimeout if that is more
	Resend      time.Duration // period of repeating the latest report, vote, announcement. 0: BaseTimeout / 4

	MaxHeader int // bytes of a header. 0: 16 KiB
	MaxRef    int // bytes of a body reference. 0: 1 KiB

	// VoteFrom is the first height at which this replica votes. A replica that
	// lost its log sets it beyond every height at which it may have voted; see
	// the package documentation. Below it, the replica only follows.
	VoteFrom shardkit.Height

	// Mutant is for the tests of this module alone, which show by it that they
	// notice a broken rule; nobody else can name a value but the empty one.
	Mutant mutant.Set

	// Log holds the records of this replica's former life, in the order in
	// which Ready handed them out. nil: a new replica.
	Log [][]byte
}

// Start begins a height. All replicas begin it with the same Epoch, Parent and
// Committee: functions of the blocks before.
type Start struct {
	Epoch     shardkit.Epoch
	Height    shardkit.Height
	Parent    shardkit.Hash // hash of the block before
	Committee *Committee    // of this height, for all its views
	Previous  *Certificate  // commit certificate of the block before, which the application vouches for; nil at the first height
	Work      bool          // there is something to decide: Work is called at once
	Before    *Committee    // committee of Previous if it is another; gets the certificates of this height's start (hand-over)
}

// Ready holds the effects of a Core since the last call of Ready, each list in the
// order in which it came about. The Data of messages to several peers is shared:
// nobody may write to it.
type Ready struct {
	Records  [][]byte           // to append to the log, in order; Persisted is told when they are durable
	Seq      uint64             // sequence number of the last record so far; numbers are consecutive from 1 in this life
	Prune    uint64             // records up to this one, and of former lives, can go once every block decided so far is durable; 0: none
	Messages []shardkit.Message // never to this replica itself; each leaves when record After is durable
	Jobs     []shardkit.Job     // to run anywhere, in any order; Done takes what Run returns

	Propose  []Propose  // answered by Proposed
	Validate []Validate // answered by Validated
	Decided  []Decided  // answered by Start
	Serve    []Serve
	Behind   []Behind
	Late     []*Certificate // answers CollectLate: votes that the certificates of their heights lack; see CheckLate
	Evidence [][]byte       // encoded proofs of misbehaviour, each verifiable alone
	Archive  [][]byte       // messages to keep until evidence of this height expires: what this replica prepared or committed on; see Accuse
	Blame    []Blame        // peers found to have sent what no honest member sends
}

// Blame names a peer that sent a signature which does not verify. The channel
// is authenticated, so the peer itself did it; but it is no proof for others.
type Blame struct {
	Peer shardkit.NodeID
	What string
}

// Propose asks the application for a proposal; it answers with Proposed, at
// its leisure, or never. It will then be asked to validate its own block like any
// other.
type Propose struct {
	Height shardkit.Height
	View   uint64
	// Header is nil if any block is allowed. Otherwise this block has to be
	// proposed again: the application has its body and answers with the same
	// header and a reference under which members can get the body.
	Header []byte
	// Late is filled in by a Node if NodeConfig.Late is set: COMMIT votes that
	// the certificates of their heights lack, for the header of a new block.
	Late []*Certificate
}

// Validate asks the application to get the body of a block and to judge it;
// it answers with Validated, once, when it has the body, or with an error: this
// replica will not prepare the block then, until it is asked again. It may be asked
// for the same block in several views, and answers every time. A leader that needs
// the body of a block that others have prepared asks several times in a view,
// and names another member each time: the one before had its time, and may be
// silent.
type Validate struct {
	Height shardkit.Height
	View   uint64
	Hash   shardkit.Hash
	Header []byte
	Ref    []byte          // as the leader's Proposed gave it; nil for a block known from the log or a certificate
	From   shardkit.NodeID // who announced it, or should have it; the replica itself for its own proposals
	// Certified says that a quorum has prepared the block in an earlier view:
	// what is judged only at a first proposal, like a header's time against the
	// clock, has been judged.
	Certified bool
}

// Decided reports that a block is final. Header is nil if the application has
// not validated the block (this replica may have only the certificate): it
// fetches the block. The core does
// nothing more at this height; the application calls Start for the next.
type Decided struct {
	Height      shardkit.Height
	Hash        shardkit.Hash
	Header      []byte
	Known       []byte // the header even if the application has not validated the block, if it is known here
	Certificate *Certificate
}

// Serve asks the application to send a peer what it lacks: the certificate
// and block of a height that the core no longer holds.
type Serve struct {
	To     shardkit.NodeID
	Height shardkit.Height
}

// Behind reports that a peer claims to work at a later height of this shard:
// a hint, unverified, to go and fetch blocks.
type Behind struct {
	Peer   shardkit.NodeID
	Height shardkit.Height
}
