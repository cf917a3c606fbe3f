package chain

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/vdf/drg"
)

// What a node has found against somebody may be the only evidence there is, and
// who double-signs may take care to do so just before its witness goes down. So
// it is in the node's log until the beacon's state has it, or until the offence
// is too old to be punished. What peers have sent is theirs to keep.

// accusation is evidence on its way to the beacon.
type accusation struct {
	proof  []byte
	from   shardkit.NodeID // who sent it; the node itself if it found it
	digest shardkit.Hash
	epoch  shardkit.Epoch // of the offence
	seq    uint64         // of the newest record that holds it; 0: none does
	due    time.Duration  // when to do something about it
	tries  int
	filing bool // a job is under way
}

const (
	maxAccusations = 64               // of its own that a node holds at once, and of its peers'
	maxFrom        = 4                // of those, from one peer
	maxTries       = 32               // before one of a peer's is given up
	accuseAgain    = 2 * time.Second  // between tries
	accuseEager    = 16               // tries to tell the beacon, before they become rarer
	accuseRarely   = 30 * time.Second // between those that follow
	accuseSpread   = 4                // members of the beacon told at each try
)

// found takes evidence that consensus found here. Who has double-signed once
// may do so at every height; the first time in an epoch is enough.
func (r *replica) found(now time.Duration, evidence []byte) {
	r.accuse(now, EvidenceProof(r.shard, evidence))
}

// foundInput takes evidence that the drawing found here.
func (r *replica) foundInput(now time.Duration, e *drg.Evidence) {
	r.accuse(now, InputProof(e))
}

func (r *replica) accuse(now time.Duration, proof []byte) {
	r.core.event(Event{Shard: r.shard, Kind: Accused, Evidence: proof})
	if err := r.core.accuse(now, r.core.cfg.Self, proof); err != nil {
		r.core.fail(fmt.Errorf("chain: shard %d: %w", r.shard, err))
	}
}

// accuse takes evidence, found here or sent by a peer, unless it is held
// already. Whether it is true is seen when it is filed: a peer's must not keep
// out what accuses the same node, so it is told apart by its bytes.
func (c *Core) accuse(now time.Duration, from shardkit.NodeID, proof []byte) error {
	o, err := decodeProof(proof)
	if err != nil {
		return err
	}
	a := &accusation{proof: slices.Clone(proof), from: from, digest: sha256.Sum256(proof), epoch: o.epoch, due: now}
	if from == c.cfg.Self {
		a.digest = o.digest()
	}
	own, same := 0, 0
	for _, b := range c.accusations {
		if b.digest == a.digest {
			return nil
		}
		if b.from == c.cfg.Self {
			own++
		}
		if b.from == from {
			same++
		}
	}
	switch peers := len(c.accusations) - own; {
	case from != c.cfg.Self && peers < maxAccusations && same < maxFrom:
		c.accusations = append(c.accusations, a)
	case from == c.cfg.Self && own < maxAccusations:
		c.accusations = append(c.accusations, a)
		c.record(a)
	}
	return nil
}

// record writes an accusation to the log.
func (c *Core) record(a *accusation) {
	a.seq = c.log.next()
	c.out.Records = append(c.out.Records, encodeRecord(recordEvidence, 0, 0, a.proof))
}

// recordAgain writes the accusations again whose records go when the log is
// pruned up to seq. Both happen in one step: the old record goes when the new
// one is durable.
func (c *Core) recordAgain(seq uint64) {
	for _, a := range c.accusations {
		if a.seq > 0 && a.seq <= seq {
			c.record(a)
		}
	}
}

// recall takes back what a former life had found.
func (c *Core) recall() error {
	for _, p := range c.log.evidence {
		if err := c.accuse(0, c.cfg.Self, p); err != nil {
			return err
		}
	}
	c.log.evidence = nil
	return nil
}

// unfile forgets what a replica of the beacon that goes was about to file.
func (c *Core) unfile() {
	for _, a := range c.accusations {
		a.filing = false
	}
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
	if r.core.cfg.Reporter == nil {
		return nil
	}
	return r.core.accuse(now, from, proof)
}

// tickAccusations files what is due, or tells those who can.
func (c *Core) tickAccusations(now time.Duration) {
	c.accusations = slices.DeleteFunc(c.accusations, func(a *accusation) bool {
		return a.epoch < c.cfg.Genesis.Params.keptEpoch(c.newest) || (a.from != c.cfg.Self && a.tries >= maxTries)
	})
	for _, a := range c.accusations {
		if a.filing || now < a.due {
			continue
		}
		a.due = now + accuseAgain
		a.tries++
		if r := c.replica(0); r != nil && r.ready() && c.cfg.Reporter != nil {
			a.filing = true
			rules, state, key := r.rules, r.chain.State(), c.cfg.Reporter
			r.job("evidence.file", len(a.proof), func() any {
				txs, why, err := rules.file(state, key, a.proof)
				return filedResult{a.digest, txs, why, err}
			})
			continue
		}
		c.tell(a)
		if a.tries > accuseEager {
			a.due = now + accuseRarely
		}
	}
}

// tell sends an accusation to some members of the beacon, to others each time.
// None of them answers: their word that the matter is settled would prove
// nothing.
func (c *Core) tell(a *accusation) {
	sets := c.committeesOf(c.newest)
	if sets == nil {
		return // still opening its replicas
	}
	nodes := sets.Nodes(0)
	for i := range min(accuseSpread, len(nodes)) {
		to := nodes[(int(a.digest[0])+(a.tries-1)*accuseSpread+i)%len(nodes)]
		c.send(to, shardkit.ClassBlock, 0, protoEvidence, 0, a.proof)
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
		r.core.accusations = slices.Delete(r.core.accusations, at, at+1)
	}
}
