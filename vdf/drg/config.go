package drg

import (
	"time"

	"github.com/shardkit/shardkit"
)

// Params fix the randomness of a chain. They are the same at every node.
type Params struct {
	Chain  shardkit.Hash
	Bits   int    // of the VDF discriminant, which is made from the chain and the epoch
	T      uint64 // squarings of the VDF
	Spread int    // V: leaders that get each VRF output. 0: 3
	// Bound is how long after it saw alpha a validator accepts a new input set;
	// it must be below the time in which the fastest adversary evaluates T
	// squarings, less the capped timeouts of V views: see SafeDelay.
	Bound time.Duration
	// AllowShortDelay accepts parameters that are not safe, for demonstrations.
	AllowShortDelay bool
}

// Member may contribute to a round: a member of the beacon committee with the
// VRF key that was fixed when the committee was named.
type Member struct {
	Node   shardkit.NodeID
	Slot   shardkit.Hash
	Key    []byte // VRF public key
	Weight uint64
}

// Round is one drawing.
type Round struct {
	Epoch   shardkit.Epoch // the epoch it decides
	Attempt uint32         // 0, then counted up when a round is void
	Alpha   shardkit.Hash  // hash of the block at the round's fixed offset
	Members []Member
	Need    uint64            // weight of inputs that an input set must reach (a)
	Leaders []shardkit.NodeID // the next leaders, who get the outputs first; the core sends to them and keeps sending to later ones as they are named by SetLeaders
}

// Config is what a Core is made from.
type Config struct {
	Params Params
	Self   shardkit.NodeID
	Prove  func(alpha []byte) (pi []byte, err error) // with the own VRF key, in a job; nil: contributes nothing
	Resend time.Duration                             // 0: 500 ms
}

// Functions and inputs that a composition uses:
//
//	(*Core) Start(now, Round)                    // alpha is final; a later Start replaces the round
//	(*Core) SetLeaders(now, []NodeID)
//	(*Core) Set() []byte                         // a proposable input set, nil while below Need: goes into a block
//	CheckSet(p Params, r Round, set []byte) (pRnd Hash, err error)  // pure, slow (VRF batch): in the job that validates a block
//	(*Core) Late(now) bool                       // now is beyond Bound after Start: do not prepare a new set
//	(*Core) Committed(now, pRnd Hash)            // the set is final: the VDF starts (a job, Kind "vdf.eval")
//	(*Core) Output() []byte                      // proposable VDF output with proof, nil until there
//	CheckOutput(p Params, epoch Epoch, pRnd Hash, output []byte) (rnd Hash, err error) // pure, slow: in a job
//	(*Core) Stop(now)
//
// Ready holds the effects of a Core since the last call of Ready.
type Ready struct {
	Messages []shardkit.Message
	Jobs     []shardkit.Job
	SetReady bool          // Set has become non-nil: worth a block
	OutReady bool          // Output has become non-nil: worth a block
	VDFTime  time.Duration // of the evaluation just finished here, as measured by its job
}
