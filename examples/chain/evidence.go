package chain

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

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

// file makes the transactions that punish whom a proof accuses, as far as the
// beacon's committed state takes them. Without any the matter is settled, or the
// proof is worth nothing, as why says. err is the state's.
func (r *rules) file(state *ledger.State, key ed25519.PrivateKey, proof []byte) (txs [][]byte, why, err error) {
	o, why := decodeProof(proof)
	if why != nil {
		return nil, why, nil
	}
	err = readState(state, func(st *ledger.Stage) (err error) {
		txs, why = nil, nil
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

// accusation is evidence on its way to the beacon.
type accusation struct {
	proof  []byte
	from   shardkit.NodeID // who sent it; the node itself if it found it
	digest shardkit.Hash
	due    time.Duration // when to do something about it
	tries  int
	filing bool // a job is under way
}

const (
	maxAccusations = 64              // held at once
	maxFrom        = 4               // of them from one peer
	maxTries       = 32              // before one is given up
	accuseAgain    = 2 * time.Second // between tries
	accuseSpread   = 4               // members of the beacon told at each try
)

// found takes evidence that consensus found here. Who has double-signed once
// may do so at every height; the first time in an epoch is enough.
func (r *replica) found(now time.Duration, evidence []byte) {
	var ev fbft.Evidence
	if err := ev.UnmarshalBinary(evidence); err != nil {
		r.core.fail(fmt.Errorf("chain: shard %d: %w", r.shard, err))
		return
	}
	proof := EvidenceProof(r.shard, evidence)
	r.core.event(Event{Shard: r.shard, Kind: Accused, Evidence: proof})
	b := wire.AppendU64(wire.AppendU32(nil, uint32(r.shard)), uint64(ev.Epoch))
	b = append(append(b, ev.First.Signers...), ev.Second.Signers...)
	r.core.accuse(now, r.core.cfg.Self, sha256.Sum256(b), proof)
}

// foundInput takes evidence that the drawing found here.
func (r *replica) foundInput(now time.Duration, e *drg.Evidence) {
	proof := InputProof(e)
	r.core.event(Event{Shard: r.shard, Kind: Accused, Evidence: proof})
	b := wire.AppendU64([]byte("input"), uint64(e.Epoch))
	r.core.accuse(now, r.core.cfg.Self, sha256.Sum256(append(b, e.Slot[:]...)), proof)
}

// accuse takes evidence, found here or sent by a peer, unless what has its
// digest is held already. Whether it is true is seen when it is filed.
func (c *Core) accuse(now time.Duration, from shardkit.NodeID, digest shardkit.Hash, proof []byte) {
	n := 0
	for _, a := range c.accusations {
		if a.digest == digest {
			return
		}
		if a.from == from {
			n++
		}
	}
	if len(c.accusations) >= maxAccusations || (from != c.cfg.Self && n >= maxFrom) {
		return
	}
	c.accusations = append(c.accusations, &accusation{proof: slices.Clone(proof), from: from, digest: digest, due: now})
}

// onEvidence takes evidence from a member of some shard.
func (r *replica) onEvidence(now time.Duration, from shardkit.NodeID, proof []byte) error {
	if r.shard != 0 {
		return ErrProtocol
	}
	seated := slices.ContainsFunc(r.core.sets, func(sets *Committees) bool { return sets.Has(from) })
	if !seated || len(proof) > estake.MaxEvidence {
		return errors.New("chain: evidence too long, or from a node without a seat")
	}
	if r.core.cfg.Reporter != nil {
		r.core.accuse(now, from, sha256.Sum256(proof), proof)
	}
	return nil
}

// tickAccusations files what is due, or tells those who can.
func (c *Core) tickAccusations(now time.Duration) {
	for _, a := range slices.Clone(c.accusations) {
		if a.filing || now < a.due {
			continue
		}
		a.due = now + accuseAgain
		if a.tries++; a.tries > maxTries {
			c.acquit(a.digest)
			continue
		}
		if r := c.replica(0); r != nil && r.ready() && c.cfg.Reporter != nil {
			a.filing = true
			rules, state, key := r.rules, r.chain.State(), c.cfg.Reporter
			r.job("evidence.file", len(a.proof), func() any {
				txs, why, err := rules.file(state, key, a.proof)
				return filedResult{a.digest, txs, why, err}
			})
			continue
		}
		nodes := c.committeesOf(c.newest).Nodes(0)
		for i := range min(accuseSpread, len(nodes)) {
			to := nodes[(int(a.digest[0])+(a.tries-1)*accuseSpread+i)%len(nodes)]
			c.send(to, shardkit.ClassBlock, 0, protoEvidence, 0, a.proof)
		}
	}
}

// wakeAccusations says when tickAccusations has something to do.
func (c *Core) wakeAccusations() (at time.Duration, ok bool) {
	var al alarm
	for _, a := range c.accusations {
		al.sooner(a.due, !a.filing)
	}
	return al.at, al.ok
}

// acquit forgets an accusation.
func (c *Core) acquit(digest shardkit.Hash) {
	c.accusations = slices.DeleteFunc(c.accusations, func(a *accusation) bool { return a.digest == digest })
}

type filedResult struct {
	digest shardkit.Hash
	txs    [][]byte
	why    error
	err    error
}

// onFiled brings the transactions into the mempool. They are made again until
// none is left to make: then they are in the state.
func (r *replica) onFiled(res filedResult) {
	at := slices.IndexFunc(r.core.accusations, func(a *accusation) bool { return a.digest == res.digest })
	if at < 0 {
		return
	}
	a := r.core.accusations[at]
	a.filing = false
	switch {
	case len(res.txs) > 0:
		_ = r.admit(r.core.cfg.Self, 0, true, res.txs) // busy: another time
	case res.err == nil:
		if res.why != nil && a.tries == 1 {
			r.core.event(Event{Shard: r.shard, Kind: Refused, Err: fmt.Errorf("chain: evidence from %v: %w", a.from, res.why)})
		}
		r.core.acquit(res.digest)
	}
}
