package chain

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/vdf"
	"github.com/shardkit/shardkit/vdf/drg"
)

// The two ways of dealing voting shares to shards.
const (
	DealSlots  uint8 = iota // all shares of a slot sit together in one shard
	DealShares              // every share is dealt by itself
)

// Params are the rules of a chain. They are part of the genesis and so of the
// chain's id.
type Params struct {
	Shards      uint32
	EpochBlocks uint32 // beacon blocks of an epoch, at least
	Deal        uint8  // DealSlots or DealShares
	Policy      string // of re-dealing, as reshard.ParsePolicy reads it
	Stake       estake.Params

	MaxTransactions uint32 // of a block
	MaxBody         uint32 // bytes
	MaxDrift        uint32 // ms that a header's time may be ahead of a validator's clock
	MaxRun          uint32 // headers of one source in a block

	VDFBits    uint32
	VDFT       uint64
	VDFBound   uint32 // ms; see drg.Params.Bound
	ShortDelay bool   // accept a delay that is too short to be safe: demonstrations
	DrawAfter  uint32 // blocks of an epoch before its drawing starts
	DrawWindow uint32 // blocks after which a drawing without an input set is void
}

// drg returns the randomness parameters of a chain.
func (p *Params) drg(chain shardkit.Hash, memo *vdf.Memo) drg.Params {
	return drg.Params{
		Chain: chain, Bits: int(p.VDFBits), T: p.VDFT, Spread: 3,
		Bound: time.Duration(p.VDFBound) * time.Millisecond, AllowShortDelay: p.ShortDelay, Memo: memo,
	}
}

// Allocation is an account that holds tokens from the start.
type Allocation struct {
	Address ledger.Address
	Balance uint64
}

// Genesis is everything that the nodes of a chain agree on beforehand. It
// holds no network addresses: those change, the chain's id does not.
type Genesis struct {
	Name       string        // of the chain; proofs of possession are bound to it
	Time       uint64        // unix milliseconds of the genesis block
	Seed       shardkit.Hash // randomness of the epochs 0 and 1
	Params     Params
	Validators []estake.Genesis
	Proofs     [][]byte // of possession of the voting keys, in order of validators and slots
	Accounts   []Allocation
}

// ErrGenesis is wrapped by every refusal of a genesis.
var ErrGenesis = errors.New("chain: bad genesis")

// ID returns the chain's id: the hash of the canonical encoding.
func (g *Genesis) ID() shardkit.Hash {
	b := append([]byte(nil), "shardkit/chain/genesis/1"...)
	b = wire.AppendBytes(b, []byte(g.Name))
	b = wire.AppendU64(b, g.Time)
	b = append(b, g.Seed[:]...)
	b = g.Params.append(b)
	b = wire.AppendU32(b, uint32(len(g.Validators)))
	for i := range g.Validators {
		b = appendValidator(b, &g.Validators[i])
	}
	b = wire.AppendU32(b, uint32(len(g.Proofs)))
	for _, p := range g.Proofs {
		b = wire.AppendBytes(b, p)
	}
	b = wire.AppendU32(b, uint32(len(g.Accounts)))
	for _, a := range g.Accounts {
		b = append(b, a.Address[:]...)
		b = wire.AppendU64(b, a.Balance)
	}
	return sha256.Sum256(b)
}

func (p *Params) append(b []byte) []byte {
	b = wire.AppendU32(b, p.Shards)
	b = wire.AppendU32(b, p.EpochBlocks)
	b = append(b, p.Deal)
	b = wire.AppendBytes(b, []byte(p.Policy))
	stake, _ := p.Stake.AppendBinary(nil)
	b = wire.AppendBytes(b, stake)
	for _, v := range []uint32{p.MaxTransactions, p.MaxBody, p.MaxDrift, p.MaxRun, p.VDFBits} {
		b = wire.AppendU32(b, v)
	}
	b = wire.AppendU64(b, p.VDFT)
	b = wire.AppendU32(b, p.VDFBound)
	b = wire.AppendBool(b, p.ShortDelay)
	b = wire.AppendU32(b, p.DrawAfter)
	return wire.AppendU32(b, p.DrawWindow)
}

func appendValidator(b []byte, v *estake.Genesis) []byte {
	b = append(b, v.Validator[:]...)
	b = wire.AppendU64(b, v.Stake)
	b = wire.AppendU32(b, v.CommissionPPM)
	b = wire.AppendU32(b, v.MaxCommissionPPM)
	b = wire.AppendU32(b, v.MaxChangePPM)
	b = wire.AppendBool(b, v.Restake)
	b = wire.AppendU32(b, uint32(len(v.Slots)))
	for _, s := range v.Slots {
		b = append(b, s.ID[:]...)
		b = wire.AppendU32(b, s.Index)
		b = wire.AppendBytes(b, s.VotingKey)
		b = wire.AppendBytes(b, s.VRFKey)
		b = append(b, s.Node[:]...)
	}
	return b
}

// Slots returns the number of slots that the genesis validators bid for.
func (g *Genesis) Slots() (n int) {
	for i := range g.Validators {
		n += len(g.Validators[i].Slots)
	}
	return n
}

// Supply returns the tokens that exist at the start.
func (g *Genesis) Supply() (sum uint64) {
	for _, a := range g.Accounts {
		sum += a.Balance
	}
	for i := range g.Validators {
		sum += g.Validators[i].Stake
	}
	return sum
}

// Validate reports why g cannot be the genesis of a chain, if it cannot.
// check verifies the proof of possession of a voting key, bound to context.
func (g *Genesis) Validate(check Possession) error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%w: %s", ErrGenesis, fmt.Sprintf(format, a...))
	}
	p := &g.Params
	switch {
	case p.Shards == 0 || p.Shards > MaxShards:
		return bad("%d shards, want 1 to %d", p.Shards, MaxShards)
	case p.EpochBlocks < 4:
		return bad("epochs of %d blocks, want at least 4", p.EpochBlocks)
	case p.DrawAfter == 0 || p.DrawAfter >= p.EpochBlocks:
		return bad("drawing after %d of %d blocks", p.DrawAfter, p.EpochBlocks)
	case p.DrawWindow == 0 || p.MaxRun == 0 || p.MaxTransactions == 0:
		return bad("a limit is zero")
	case p.MaxBody < 1<<16:
		return bad("bodies of %d bytes, want at least 64 KiB", p.MaxBody)
	case p.Deal != DealSlots && p.Deal != DealShares:
		return bad("deal mode %d", p.Deal)
	case g.Slots() != len(g.Proofs):
		return bad("%d proofs of possession for %d slots", len(g.Proofs), g.Slots())
	}
	nodes := map[shardkit.NodeID]bool{}
	i := 0
	for v := range g.Validators {
		for _, s := range g.Validators[v].Slots {
			if nodes[s.Node] {
				return bad("node %v serves two slots", s.Node)
			}
			nodes[s.Node] = true
			if err := check(s.VotingKey, possession(g.Name, s.Validator), g.Proofs[i]); err != nil {
				return bad("slot %v: %v", s.ID, err)
			}
			i++
		}
	}
	return nil
}

// Homes returns a shard in which each node sits in the first epoch.
func (g *Genesis) Homes() map[shardkit.NodeID]shardkit.ShardID {
	sets, err := g.committees(0)
	if err != nil {
		return nil
	}
	out := make(map[shardkit.NodeID]shardkit.ShardID)
	for s := range shardkit.ShardID(len(sets.Shards)) {
		for _, n := range sets.Nodes(s) {
			if _, ok := out[n]; !ok {
				out[n] = s
			}
		}
	}
	return out
}
