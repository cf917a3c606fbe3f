package fbft

import (
	"crypto/sha256"
	"slices"

	"github.com/shardkit/shardkit"
)

// What a check is for.
const (
	checkPrepared  = iota // PREPARED
	checkCommitted        // COMMITTED
	checkClaim            // the certificate in a report
	checkProposal         // the proof in a NEWVIEW
)

// check is something from a peer whose signatures a job is verifying.
type check struct {
	// from answers for it: it is who gets banned if the signatures do not hold.
	from   shardkit.NodeID
	kind   uint8
	key    shardkit.Hash
	cert   *Certificate
	report *report   // of checkClaim
	prop   *proposal // of checkProposal
	digest shardkit.Hash
}

// checked is the result of a verification job. It names what was checked, not
// who asked: one job may serve all replicas of a process.
type checked struct {
	key shardkit.Hash
	ok  bool
}

// batch is statements with their signers and aggregates.
type batch struct {
	statements [][]byte
	members    [][]int
	aggregates [][]byte
}

func (b *batch) add(statement []byte, signers Bitmap, aggregate []byte) {
	b.statements = append(b.statements, statement)
	b.members = append(b.members, signers.Indices())
	b.aggregates = append(b.aggregates, aggregate)
}

// check has the signatures of ck verified, unless that is known or under way.
// A peer has one check of a kind running, one outside the committee shares a
// few with all of those, and one that was caught has none.
func (c *Core) check(from shardkit.NodeID, ck check) {
	// A false certificate costs its sender nothing and the receiver
	// milliseconds. So what may be under way is counted before anything is even
	// hashed. Whoever is honest repeats what is dropped here.
	ck.from = from
	guest := true
	if i, ok := c.committee.Index(from); ok {
		if guest = false; c.peers[i].banned {
			return
		}
	}
	// The log of the former life and Accept: no peer answers for these.
	if from == c.cfg.Self {
		guest = false
	}
	// Outside the committee anybody can have any number of names, so a bound
	// for each name would be none.
	guests := 0
	for i := range c.checks {
		o := &c.checks[i]
		if o.from == from && o.kind == ck.kind {
			return
		}
		if _, ok := c.committee.Index(o.from); !ok {
			guests++
		}
	}
	if guest && guests >= maxGuests {
		return
	}
	ck.key = c.checkKey(&ck)
	// Honest members pass on only what they have verified: who sends this again
	// has not, and it costs a hash, not another verification.
	if slices.Contains(c.bad, ck.key) {
		c.ban(from, "certificate known to be false")
		return
	}
	// The same certificate comes from many: one job serves them all, and each
	// of them is still answerable if it does not hold.
	running := slices.ContainsFunc(c.checks, func(o check) bool { return o.key == ck.key })
	c.checks = append(c.checks, ck)
	if running {
		return
	}
	c.ready.Jobs = append(c.ready.Jobs, c.checkJob(&ck))
}

// checkJob verifies one certificate, or all signatures of a new-view proof.
func (c *Core) checkJob(ck *check) shardkit.Job {
	v, key := c.committee.verifier, ck.key
	var b batch
	// The statements are made here, of this height and committee: what was
	// signed for any other does not verify.
	if ck.kind == checkProposal {
		for _, g := range ck.prop.proof.groups {
			b.add(c.reportStatement(ck.prop.view, g.claim), g.signers, g.aggregate)
		}
	}
	if ct := ck.cert; ct != nil {
		b.add(c.statement(ct), ct.Signers, ct.Aggregate)
	}
	run := func() any {
		if len(b.statements) == 1 {
			return checked{key: key, ok: v.Verify(b.statements[0], b.members[0], b.aggregates[0]) == nil}
		}
		return checked{key: key, ok: v.VerifyBatch(b.statements, b.members, b.aggregates) == nil}
	}
	return shardkit.Job{Kind: "bls.verify", Size: len(b.statements), Key: key, Run: run}
}

// checkKey names what is checked: the statements, which name the committee and
// so its keys, the signers and the signatures.
func (c *Core) checkKey(ck *check) shardkit.Hash {
	b := []byte("shardkit/fbft/check/v1")
	b = append(b, c.cfg.Chain[:]...)
	b = append(b, byte(c.cfg.Shard>>24), byte(c.cfg.Shard>>16), byte(c.cfg.Shard>>8), byte(c.cfg.Shard))
	// The digest covers view, groups and certificate. The header is not in it:
	// where the proof names a block, it has been compared.
	if ck.prop != nil {
		b = append(b, ck.digest[:]...)
	} else {
		b = ck.cert.appendTo(b)
	}
	return sha256.Sum256(b)
}

// onChecked takes the verdict on everything that has the key.
func (c *Core) onChecked(res checked) {
	var mine, rest []check
	for _, ck := range c.checks {
		if ck.key == res.key {
			mine = append(mine, ck)
		} else {
			rest = append(rest, ck)
		}
	}
	// They go first: what is done about the verdict may begin other checks. If
	// the height was decided meanwhile none is left, and the result means
	// nothing.
	c.checks = rest
	if !res.ok && len(mine) > 0 {
		if len(c.bad) == maxBad {
			c.bad = append([]shardkit.Hash(nil), c.bad[1:]...)
		}
		c.bad = append(c.bad, res.key)
	}
	for i := range mine {
		// the one before may have decided the height
		if c.decided != nil {
			return
		}
		if res.ok {
			c.verified(&mine[i])
		} else {
			c.ban(mine[i].from, "certificate that does not verify")
		}
	}
}

// verified acts on what a check found to be true. The view may have moved on
// while the job ran, so whether it still matters is judged again by each of
// these.
func (c *Core) verified(ck *check) {
	switch ck.kind {
	case checkCommitted:
		c.decide(ck.cert)
	case checkPrepared:
		// Even one that comes too late to vote on may convict, with one that is
		// known, whoever signed both.
		c.compare(ck.cert)
		c.onPrepared(ck.cert)
	case checkClaim:
		c.onClaim(ck.cert, ck.report.header)
	case checkProposal:
		c.onNewView(ck.prop, ck.digest)
	}
}

// ban notes that a peer sent a false signature. Its votes no longer share a
// batch with others, and what it sends to be checked is dropped. It goes on
// counting where its own word is enough: its reports still move views, its
// votes count once verified alone. To shut it out for good is up to the
// application.
func (c *Core) ban(node shardkit.NodeID, what string) {
	if node == c.cfg.Self {
		return
	}
	if i, ok := c.committee.Index(node); ok {
		if c.peers[i].banned {
			return
		}
		c.peers[i].banned = true
	}
	c.ready.Blame = append(c.ready.Blame, Blame{Peer: node, What: what})
}
