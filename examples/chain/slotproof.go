package chain

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/vrf"
)

// slotTag begins what the three keys of a slot sign.
const slotTag = "shardkit/chain/slot/1"

// slotMessage is what the voting key, the VRF key and the node of a new slot
// all vouch for: the chain, the account that registers them, and each other.
// So nobody can register what is another's, or repeat a proof elsewhere.
func slotMessage(chain shardkit.Hash, account [32]byte, k *estake.SlotKeys) []byte {
	b := append([]byte(slotTag), chain[:]...)
	b = append(b, account[:]...)
	b = append(b, k.Node[:]...)
	return wire.AppendBytes(wire.AppendBytes(b, k.VotingKey), k.VRFKey)
}

// slotProof is the Proof of estake.SlotKeys, over slotMessage.
type slotProof struct {
	Possession []byte   // of the voting key, with the message as its context
	VRF        []byte   // the VRF key's proof, with the message as its input
	Network    [64]byte // signature by the node's network key
}

const slotProofVersion = 1

func (p *slotProof) encode() []byte {
	b := wire.AppendBytes([]byte{slotProofVersion}, p.Possession)
	return append(wire.AppendBytes(b, p.VRF), p.Network[:]...)
}

func decodeSlotProof(b []byte) (p slotProof, err error) {
	r := wire.NewReader(b)
	r.Expect(slotProofVersion, "version")
	p = slotProof{Possession: r.Bytes(estake.MaxProof), VRF: r.Bytes(estake.MaxProof)}
	copy(p.Network[:], r.Fixed(len(p.Network)))
	return p, r.Close()
}

// SlotKeys returns the public side of an identity as a new slot of a staking
// transaction, with the proof that the account which sends it holds the keys.
func (id *Identity) SlotKeys(chain shardkit.Hash, account ledger.Address) (estake.SlotKeys, error) {
	k := estake.SlotKeys{VotingKey: id.Voting.Public(), VRFKey: id.VRF.Public(), Node: id.ID()}
	msg := slotMessage(chain, account, &k)
	pi, err := id.VRF.Prove(msg)
	if err != nil {
		return k, fmt.Errorf("chain: slot: %w", err)
	}
	p := slotProof{Possession: id.Voting.Prove(msg), VRF: pi, Network: [64]byte(ed25519.Sign(id.Network, msg))}
	k.Proof = p.encode()
	return k, nil
}

// Possession verifies the proof that somebody has the secret key of a voting
// key, bound to a context.
type Possession func(key, context, proof []byte) error

// checkSlot verifies the proof of a new slot, which takes about 3 ms: a replica
// does it once, as a job checks the transaction for admission, and remembers the
// outcome for the jobs that build and verify blocks.
func (r *rules) checkSlot(account [32]byte, k *estake.SlotKeys) error {
	msg := slotMessage(r.id, account, k)
	digest := shardkit.Hash(sha256.Sum256(wire.AppendBytes(wire.AppendBytes(nil, msg), k.Proof)))
	if r.holds(digest) {
		return nil
	}
	p, err := decodeSlotProof(k.Proof)
	if err != nil {
		return err
	}
	if !ed25519.Verify(k.Node[:], msg, p.Network[:]) { // the cheapest first
		return errors.New("not signed by the node")
	}
	if _, err := vrf.Verify(vrf.EdwardsELL2, k.VRFKey, msg, p.VRF); err != nil {
		return err
	}
	if err := r.possession(k.VotingKey, msg, p.Possession); err != nil {
		return err
	}
	r.remember(digest)
	return nil
}
