package chain

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/vdf/drg"
)

// Who finds evidence of an offence tells members of the beacon, or is one. A
// member of the beacon with an account files it: an estake.Evidence for every
// culprit. The beacon's state has the committees of every epoch whose offences
// can still be punished.

// evidenceTag begins what the digest of verified evidence covers.
const evidenceTag = "shardkit/chain/evidence/1"

const evidenceVersion = 1

// What a proof can be of.
const (
	kindVotes uint8 = iota + 1 // votes that clash
	kindInput                  // a contribution to a drawing that is not valid, and signed
)

// EvidenceProof is the Proof of an estake.Evidence: what fbft.Ready.Evidence
// gave in a replica of a shard. Anybody may send that order to the beacon.
func EvidenceProof(shard shardkit.ShardID, evidence []byte) []byte {
	b := wire.AppendU32([]byte{evidenceVersion, kindVotes}, uint32(shard))
	return wire.AppendBytes(b, evidence)
}

// InputProof is EvidenceProof of what drg.Ready.Evidence gave.
func InputProof(e *drg.Evidence) []byte {
	raw, _ := e.AppendBinary(nil) // it has no error to return
	return wire.AppendBytes([]byte{evidenceVersion, kindInput}, raw)
}

// offence is a decoded proof: one of votes and input is set.
type offence struct {
	shard shardkit.ShardID
	epoch shardkit.Epoch // whose committee the offender was in
	votes *fbft.Evidence
	input *drg.Evidence
}

func decodeProof(b []byte) (*offence, error) {
	r := wire.NewReader(b)
	r.Expect(evidenceVersion, "version")
	var o offence
	var part interface{ UnmarshalBinary([]byte) error }
	switch kind := r.U8(); kind {
	case kindVotes:
		o.shard, o.votes = shardkit.ShardID(r.U32()), new(fbft.Evidence)
		part = o.votes
	case kindInput:
		o.input = new(drg.Evidence)
		part = o.input
	default:
		r.Fail(fmt.Errorf("%w: kind %d", wire.ErrValue, kind))
	}
	raw := r.Bytes(estake.MaxEvidence)
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("chain: evidence: %w", err)
	}
	if err := part.UnmarshalBinary(raw); err != nil {
		return nil, err
	}
	switch {
	case o.votes != nil:
		o.epoch = o.votes.Epoch
	case o.input.Epoch < drawAhead:
		return nil, fmt.Errorf("chain: evidence: %w: nothing is drawn for epoch %d", wire.ErrValue, o.input.Epoch)
	default:
		o.epoch = o.input.Epoch - drawAhead
	}
	return &o, nil
}

// digest names what the offence is: the same one may be proven in many ways.
func (o *offence) digest() shardkit.Hash {
	if o.input != nil {
		b := wire.AppendU64([]byte("input"), uint64(o.input.Epoch))
		return sha256.Sum256(append(b, o.input.Slot[:]...))
	}
	b := wire.AppendU64(wire.AppendU32(nil, uint32(o.shard)), uint64(o.epoch))
	return sha256.Sum256(append(append(b, o.votes.First.Signers...), o.votes.Second.Signers...))
}

// accuses reports whether the proof is against the member in a seat.
func (o *offence) accuses(seats []Seat, i int) bool {
	if i < 0 {
		return false
	}
	if o.votes != nil {
		return o.votes.First.Signers.Has(i) && o.votes.Second.Signers.Has(i)
	}
	return seats[i].Slot == o.input.Slot
}

// check verifies the signatures against the member in seat i.
func (o *offence) check(r *rules, seats []Seat, i int) error {
	if o.votes != nil {
		c, err := r.committee(seats)
		if err != nil {
			return err
		}
		_, err = o.votes.Check(r.id, o.shard, c)
		return err
	}
	s := &seats[i]
	return o.input.Verify(r.id, drg.Member{Node: s.Node, Slot: s.Slot, Key: s.VRFKey, Weight: s.Weight})
}

// checkEvidence says why a proof does not show that a slot committed an offence
// in the epoch claimed. err is the state's. The signatures cost milliseconds; a
// replica verifies them once, however often it meets the proof.
func (r *rules) checkEvidence(s ledger.KV, slot *estake.Slot, e *estake.Evidence) (why, err error) {
	o, why := decodeProof(e.Proof)
	if why != nil {
		return why, nil
	}
	if o.epoch != e.Epoch {
		return fmt.Errorf("of epoch %d", o.epoch), nil
	}
	seats, ok, err := loadSeats(s, o.epoch, o.shard)
	if err != nil {
		return nil, err
	}
	if !ok {
		return fmt.Errorf("no committee of shard %d in epoch %d", o.shard, o.epoch), nil
	}
	i := slices.IndexFunc(seats, func(x Seat) bool { return x.Slot == slot.ID })
	if !o.accuses(seats, i) {
		return errors.New("against others"), nil
	}
	committee := sha256.Sum256(appendSeats(nil, seats))
	digest := shardkit.Hash(sha256.Sum256(slices.Concat([]byte(evidenceTag), committee[:], e.Proof)))
	if r.holds(digest) {
		return nil, nil
	}
	if why := o.check(r, seats, i); why != nil {
		return why, nil
	}
	r.remember(digest)
	return nil, nil
}

// keptEpoch is the oldest epoch whose committees the beacon needs for evidence.
func (p *Params) keptEpoch(now shardkit.Epoch) shardkit.Epoch {
	return now - min(now, shardkit.Epoch(p.Stake.EvidenceEpochs))
}

// Reporter derives the key of an account, on the beacon of a chain of so many
// shards, from which the node files evidence. It needs no tokens. The
// reporter's part of a slash is credited to it.
func (id *Identity) Reporter(shards uint32) ed25519.PrivateKey {
	return AccountKey(id.reporter, 0, shards)
}

// errBehind says that a state is older than an offence, of which it can tell
// nothing: this node is catching up.
var errBehind = errors.New("chain: offence in an epoch to come")

// file makes the transactions that punish whom a proof accuses, as far as the
// beacon's committed state takes them. Without any the matter is settled, or the
// proof is worth nothing, as why says. err is the state's, or errBehind.
func (r *rules) file(state *ledger.State, key ed25519.PrivateKey, proof []byte) (txs [][]byte, why, err error) {
	o, why := decodeProof(proof)
	if why != nil {
		return nil, why, nil
	}
	err = readState(state, func(st *ledger.Stage) (err error) {
		txs, why = nil, nil
		var m meta
		if err := load(st, keyMeta, &m); err != nil {
			return err
		}
		if m.next() < o.epoch {
			return errBehind
		}
		seats, _, err := loadSeats(st, o.epoch, o.shard)
		for i := 0; i < len(seats) && err == nil && len(txs) < maxRehearsed; i++ {
			if !o.accuses(seats, i) {
				continue
			}
			var raw []byte
			raw, err = r.indict(st, key, estake.Evidence{Slot: seats[i].Slot, Epoch: o.epoch, Proof: proof})
			var refused *ledger.TxError
			switch {
			case errors.As(err, &refused):
				if why, err = err, nil; refused.Reason == StakingReason(estake.ErrEvidence) {
					return nil // and so are the others
				}
			case err == nil:
				txs = append(txs, raw)
			}
		}
		return err
	})
	return txs, why, err
}

// indict executes one order of evidence on a stage, to see whether it is taken,
// and returns the signed transaction.
func (r *rules) indict(st *ledger.Stage, key ed25519.PrivateKey, order estake.Evidence) ([]byte, error) {
	var m meta
	if err := load(st, keyMeta, &m); err != nil {
		return nil, err
	}
	public := [32]byte(key.Public().(ed25519.PublicKey))
	acc, err := ledger.GetAccount(st, ledger.AddressOf(public[:]))
	if err != nil {
		return nil, err
	}
	tx, err := NewStaking(r.id, order, acc.Nonce, 0)
	if err != nil {
		return nil, err
	}
	tx.From = public
	ctx := ledger.Context{Chain: r.id, Shards: r.genesis.Params.Shards, Epoch: m.next()}
	if _, err := r.executor.Execute(&ctx, st, &tx, nil); err != nil {
		return nil, err
	}
	tx.Sign(key)
	return tx.AppendBinary(nil)
}
