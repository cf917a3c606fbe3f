package chain

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/bls"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/vrf"
)

// Identity is the secret side of a node: the key of its place on the network,
// and the voting and VRF keys of its slot.
type Identity struct {
	Network  ed25519.PrivateKey
	Voting   *bls.SecretKey
	VRF      *vrf.SecretKey
	seed     [32]byte // of the coefficients of batch verification
	reporter [32]byte // of the account that files evidence
	keys     *bls.Keyring
}

// NewIdentity derives the keys of a node from 32 secret bytes. Each key, and
// the seed of the batch coefficients, has a tag of its own.
func NewIdentity(seed [32]byte) (*Identity, error) {
	derive := func(tag string) [32]byte {
		return sha256.Sum256(append([]byte("shardkit/chain/key/"+tag+"/1"), seed[:]...))
	}
	net, vote, rand := derive("network"), derive("voting"), derive("vrf")
	id := &Identity{Network: ed25519.NewKeyFromSeed(net[:]), seed: derive("batch"), reporter: derive("reporter"), keys: bls.NewKeyring(maxKeys)}
	var err error
	if id.Voting, err = bls.GenerateKey(vote[:]); err != nil {
		return nil, fmt.Errorf("chain: identity: %w", err)
	}
	if id.VRF, err = vrf.GenerateKey(vrf.EdwardsELL2, rand[:]); err != nil {
		return nil, fmt.Errorf("chain: identity: %w", err)
	}
	return id, nil
}

// ID returns the node's id.
func (id *Identity) ID() (n shardkit.NodeID) {
	copy(n[:], id.Network.Public().(ed25519.PublicKey))
	return n
}

// Slot returns the public side as a validator's slot, and the proof that the
// voting key is possessed, bound to the chain's name and the validator's account.
func (id *Identity) Slot(name string, validator [32]byte, index uint32) (estake.Slot, []byte) {
	return estake.Slot{
		ID: estake.SlotID(validator, index), Validator: validator, Index: index,
		VotingKey: id.Voting.Public(), VRFKey: id.VRF.Public(), Node: id.ID(),
	}, id.Voting.Prove(possession(name, validator))
}

// possession is what a proof of possession is bound to. It cannot be the
// chain's id, which covers the proofs.
func possession(name string, validator [32]byte) []byte {
	return append([]byte(name+"/"), validator[:]...)
}

// Prove is the VRF of the slot.
func (id *Identity) Prove(alpha []byte) ([]byte, error) { return id.VRF.Prove(alpha) }

// Sign is the signature of the node.
func (id *Identity) Sign(msg []byte) []byte { return ed25519.Sign(id.Network, msg) }

// Batch verifies claims about committees of Scheme.
func (id *Identity) Batch(claims []Claim) error {
	list := make([]bls.Claim, len(claims))
	for i, c := range claims {
		committee, ok := c.Verifier.(*bls.Committee)
		if !ok {
			return fmt.Errorf("chain: identity: not a committee of the scheme: %T", c.Verifier)
		}
		list[i] = bls.Claim{Committee: committee, Statement: c.Statement, Members: c.Members, Aggregate: c.Aggregate}
	}
	return bls.VerifyClaims(id.seed, list)
}

// AccountKey derives from 32 secret bytes the key of an account that lives in a
// given shard; one that stakes has to be in shard 0. It tries as many keys as
// there are shards, on average. It panics if there is no such shard.
func AccountKey(seed [32]byte, shard shardkit.ShardID, shards uint32) ed25519.PrivateKey {
	if uint32(shard) >= shards {
		panic(fmt.Sprintf("chain: an account in shard %d of %d", shard, shards))
	}
	tag := append([]byte("shardkit/chain/account/1"), seed[:]...)
	for n := uint64(0); ; n++ {
		try := sha256.Sum256(wire.AppendU64(tag, n))
		key := ed25519.NewKeyFromSeed(try[:])
		if ledger.AddressOf(key.Public().(ed25519.PublicKey)).Shard(shards) == shard {
			return key
		}
	}
}

// maxKeys is how many decoded voting keys a node remembers: committees change
// by a few members at a time.
const maxKeys = 4096

// Scheme is the BLS scheme with the node's own batch coefficients.
func (id *Identity) Scheme(keys [][]byte) (fbft.Verifier, error) {
	c, err := id.keys.NewCommittee(keys, id.seed)
	if err != nil {
		return nil, err
	}
	return c, nil
}
