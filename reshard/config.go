package reshard

import "github.com/shardkit/shardkit"

// Unit is what is dealt to a shard: a whole slot, or a single share of one.
type Unit struct {
	Slot   shardkit.Hash
	Share  uint32 // 0 when whole slots are dealt
	Weight uint64 // voting shares it carries; 1 for a single share
}

// Assignment says which units sit in which shard: Shards[i] in order of
// (Slot, Share).
type Assignment struct {
	Shards [][]Unit
}

// Move is a unit that changes place. From is -1 for a joiner, To is -1 for a
// leaver.
type Move struct {
	Unit     Unit
	From, To int
}

// Policy re-deals units to shards. Implementations are pure: the result
// depends on the arguments' values alone, not on their order.
type Policy interface {
	// Assign deals units, the complete new set, to shards shards. Units in prev
	// but not in units leave; units not in prev join. A unit whose weight has
	// changed keeps its place. seed is the epoch's randomness.
	Assign(prev Assignment, units []Unit, shards int, seed shardkit.Hash) (Assignment, []Move, error)
	// Name is the policy's name and parameters, for reports and flags.
	Name() string
}

// A composition also uses ParsePolicy(name string) (Policy, error): "full",
// "cuckoo", "bounded:k=2", …; Deal modes are the composition's: it makes the
// units.
