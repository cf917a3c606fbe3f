package estake

import "github.com/shardkit/shardkit"

// State is the key-value view an execution has. Keys are this package's own,
// under the prefix "estake/".
type State interface {
	Get(key []byte) (value []byte, ok bool, err error)
	Set(key, value []byte) error
	Delete(key []byte) error
}

// Slot is the unit of election: a seat bid for by a validator, with the keys
// and the node that would serve it.
type Slot struct {
	ID        shardkit.Hash // hash of validator and index
	Validator [32]byte      // the validator's account
	Index     uint32
	VotingKey []byte
	VRFKey    []byte
	Node      shardkit.NodeID
}

// Elected is a slot with its effective stake.
type Elected struct {
	Slot      Slot
	Bid       uint64 // stake per slot
	Effective uint64
}

// What a composition uses (Params holds every number: slots, c, lambda, locks, …):
//
//	type Genesis struct{ Validator [32]byte; Stake uint64; Slots []Slot; CommissionPPM uint32 … }
//	Init(s State, p Params, validators []Genesis) error
//	Elect(s State, p Params) (*Election, error)      // Election{Elected []Elected (total order), Median, Total uint64}
//	VotePrice(total uint64, shards uint32, lambda uint64) uint64 ; Shares(effective, price uint64) uint64
//	RecordSigned(s State, epoch, shard, slots that signed with weights, slots that should have) error; accumulates
//	EndEpoch(s State, p Params, epoch, minted, fees uint64) (paid uint64, err error) // pays rewards of the epoch by accumulators; sum of payouts exact
//	TotalTokens(s State) (uint64, error) // everything this package holds, for conservation checks
//	transactions: Stake, Delegate, Undelegate, … as typed values with AppendBinary/UnmarshalBinary and Apply(s State, p Params, ctx, tx) error
