package drg

import (
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/vdf"
)

// Params fix the randomness of a chain. They are the same at every node.
type Params struct {
	Chain  shardkit.Hash
	Bits   int    // of the VDF discriminant, which is made from the chain and the epoch
	T      uint64 // squarings of the VDF
	Spread int    // V: leaders that get each VRF output. 0: 3
	// Bound is how long after it saw alpha a validator accepts a new input set.
	// Together with the timeouts of Views views it must be shorter than the
	// fastest adversary's evaluation: see SafeDelay. 0: 30 s
	Bound time.Duration
	// Views is how many faulty leaders in a row safety has to outlast; more
	// come with probability 3^-Views. 0: 13, that is below one in a million
	Views int
	// ViewTimeout is the cap of the consensus' view timeout. 0: 30 s
	ViewTimeout time.Duration
	// Advantage is how much faster than the fastest known squarer the fastest
	// adversary is taken to be. 0: 10
	Advantage float64
	// AllowShortDelay accepts parameters that are not safe, for demonstrations.
	AllowShortDelay bool
	// Memo remembers the groups of the latest epochs for this node. nil: they
	// are made anew each time. It is no part of what nodes agree on.
	Memo *vdf.Memo
}

// Member may contribute to a round: a member of the beacon committee with the
// VRF key that was fixed when the committee was named.
type Member struct {
	Node   shardkit.NodeID
	Slot   shardkit.Hash // unique in a round
	Key    []byte        // VRF public key, suite EdwardsELL2
	Weight uint64
}

// Round is one drawing. It is the same at every node.
type Round struct {
	Epoch   shardkit.Epoch // the epoch it decides
	Attempt uint32         // 0, then counted up when a round is void
	Alpha   shardkit.Hash  // hash of the block at the round's fixed offset
	Members []Member       // in any order
	Need    uint64         // weight of inputs that an input set must reach (a)
	// Leaders are the next leaders, soonest first, who get the outputs: the
	// first Params.Spread of them. SetLeaders renews them. The only field in
	// which nodes may differ.
	Leaders []shardkit.NodeID
}

// Config is what a Core is made from.
type Config struct {
	Params Params
	Self   shardkit.NodeID
	// Prove makes the VRF proof for an input with the own key, in a job. nil:
	// this node contributes nothing.
	Prove func(alpha []byte) (pi []byte, err error)
	// ProveSlot, if not nil, is used in place of Prove, by a node whose slots
	// have different keys.
	ProveSlot func(slot shardkit.Hash, alpha []byte) (pi []byte, err error)
	// Sign makes the Ed25519 signature of Self, in a job: from any goroutine.
	// With it the node signs the outputs it sends, and takes none that is not
	// signed: one that is wrong is Evidence then. nil: it sends and takes outputs
	// without a signature, and wrong ones are only named. All nodes have it, or
	// none.
	Sign   func(msg []byte) (signature []byte)
	Resend time.Duration // period of sending the output again until the set is final. 0: 500 ms
}

// Ready holds the effects of a Core since the last call of Ready.
type Ready struct {
	Messages []shardkit.Message
	Jobs     []shardkit.Job
	SetReady bool          // Set has become non-nil: worth a block
	OutReady bool          // Output has become non-nil: worth a block
	VDFTime  time.Duration // of the evaluation just finished here, as measured by its job
	// Invalid names members whose VRF output did not verify: each once a round.
	// Nobody but the member itself can have sent it.
	Invalid []Member
	// Evidence has for each of them what convicts it, if it signed.
	Evidence []Evidence
}
