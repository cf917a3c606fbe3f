package fbft

import (
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft/internal/mutant"
)

// same reports whether two votes sign the same statement. The digest of the
// NEWVIEW is part of it: votes on one block by different proofs do not add up.
func (v *vote) same(o *vote) bool {
	return v.view == o.view && v.phase == o.phase && v.block == o.block && v.newView == o.newView
}

// certificate returns the certificate that v is one signature of, yet without
// signers.
func (c *Core) certificate(v *vote) *Certificate {
	return &Certificate{Phase: v.phase, Epoch: c.epoch, Height: c.height, View: v.view,
		Block: v.block, Committee: c.committee.hash, NewView: v.newView}
}

func (c *Core) voteStatement(v *vote) []byte { return c.statement(c.certificate(v)) }

// statement is what the signers of a certificate signed.
func (c *Core) statement(ct *Certificate) []byte {
	if c.mutant(mutant.NoView) {
		blind := *ct
		blind.View, blind.NewView = 0, shardkit.Hash{}
		ct = &blind
	}
	return ct.Statement(c.cfg.Chain, c.cfg.Shard)
}

// canVote reports whether this replica may sign anything in its view: never
// below a view it has reported, and never below a view it has voted in. Its
// view is no lower than any it has voted in; see replay.
//
// Without the first, a prepared certificate that was delayed could be committed
// by members who have already told the next view that they know of none, and
// that view could decide another block.
func (c *Core) canVote() bool {
	return c.voter && c.decided == nil && (c.reported <= c.view || c.mutant(mutant.VoteAfterReport))
}

// tryPrepare signs PREPARE for the proposal of the view once its body is there
// and good. At most once in a view, and not after COMMIT.
func (c *Core) tryPrepare() {
	// One PREPARE of an honest member in a view is why a view has no more than
	// one prepared block. The lock is not asked: the proof, if there is one,
	// has shown that nothing else was decided, and a lock held against it would
	// stall the shard.
	p := c.proposal
	if p == nil || !c.canVote() || c.vote != nil && c.vote.vote.view >= c.view {
		return
	}
	// A quorum of PREPARE promises that the body can be had. A body that is
	// good for some and not for others costs a view, no more.
	if b := c.findBlock(p.hash); b == nil || !b.valid {
		return
	}
	if c.mutant(mutant.OwnLock) && c.lock != nil && c.lock.cert.Block != p.hash {
		return
	}
	// The proof on which this vote rests is durable with it, and archived:
	// without it a fork over two views would name nobody.
	if c.view > 0 && !p.own && p != c.stored {
		c.record(&logged{kind: recProposal, view: p.view, data: p.raw})
	}
	if c.view > 0 {
		c.ready.Archive = append(c.ready.Archive, p.raw)
	}
	// COMMIT needs no digest: it rests on a certificate whose signers have all
	// signed it.
	c.cast(vote{view: c.view, phase: Prepare, block: p.hash, newView: p.digest})
}

// tryCommit takes the lock on the block prepared in this view if its body is
// held, and signs COMMIT. Both records follow the body's in the log.
func (c *Core) tryCommit() {
	// enter clears prepared: this one is of exactly this view. COMMIT on that
	// of a lower view would be one which later reports need not know of.
	ct := c.prepared
	if ct == nil || !c.voter || c.decided != nil {
		return
	}
	b := c.findBlock(ct.Block)
	if b == nil || !b.valid {
		return
	}
	// Also if it is too late to vote: the next report claims it then. Locks
	// only rise, so that a report never claims less than a COMMIT before it.
	if c.lock == nil || c.lock.cert.View < ct.View {
		c.lock = &lock{cert: ct, header: b.header}
		if !c.mutant(mutant.ForgetLock) {
			c.record(&logged{kind: recLock, cert: ct, data: b.header})
		}
	}
	// No PREPARE of this replica is asked for: the certificate says enough, and
	// one that was led astray by two announcements still helps to decide.
	voted := c.vote != nil && c.vote.vote.view == c.view && c.vote.vote.phase == Commit
	if c.canVote() && !voted {
		// Kept for the day of a fork: it shows who prepared this block.
		c.ready.Archive = append(c.ready.Archive, c.committed(ct, false))
		c.cast(vote{view: c.view, phase: Commit, block: ct.Block})
	}
}

// cast decides a vote: the record first, then the signature, then the message,
// which leaves only once the record is durable. If the replica falls between
// the record and the message it makes the same vote again; the other way round
// it could make another one.
func (c *Core) cast(v vote) {
	seq := c.record(&logged{kind: recVote, vote: v})
	c.vote = &ownVote{vote: v, seq: seq}
	c.signVote()
	c.armResend()
}

// signed is the result of a signing job. It needs no block to say what it is
// of: a replica never has two votes of one view and phase, nor two reports of
// one view.
type signed struct {
	height shardkit.Height
	report bool
	view   uint64
	phase  Phase
	sig    []byte
}

func (c *Core) signVote() {
	v := &c.vote.vote
	c.vote.signing = true
	c.signJob(c.voteStatement(v), signed{height: c.height, view: v.view, phase: v.phase})
}

// signJob signs a statement. A failed signature comes back empty and is tried
// again at the next repetition.
func (c *Core) signJob(statement []byte, res signed) {
	signer := c.cfg.Signer
	c.ready.Jobs = append(c.ready.Jobs, shardkit.Job{Kind: "bls.sign", Size: 1, Run: func() any {
		if sig, err := signer.Sign(statement); err == nil {
			res.sig = sig
		}
		return res
	}})
}

func (c *Core) onSigned(res signed) {
	// A report made meanwhile does not call the vote back: it was cast before,
	// so that the report claims whatever lock a COMMIT stands on.
	if res.height != c.height || c.decided != nil {
		return
	}
	if res.report {
		c.onSignedReport(res)
		return
	}
	o := c.vote
	if o == nil || !o.signing || o.vote.view != res.view || o.vote.phase != res.phase {
		return
	}
	o.signing = false
	if len(res.sig) == 0 || len(res.sig) > MaxSignature {
		return
	}
	o.vote.sig = res.sig
	c.sendVote()
	v := o.vote
	c.own = append(c.own, ownMessage{seq: o.seq, vote: &v})
	c.release()
}

// sendVote sends the latest vote to those who collect it.
func (c *Core) sendVote() {
	o := c.vote
	data := c.message(kindVote, &o.vote)
	for _, i := range c.collectors(c.committee, c.height, o.vote.phase, o.vote.view) {
		c.sendMember(i, o.seq, data)
	}
}

// collectors are those who make certificates of votes: of PREPARE the leader;
// of COMMIT also the leaders of the next view and the next height, so that no
// single node can keep the decision to itself.
func (c *Core) collectors(members *Committee, h shardkit.Height, phase Phase, view uint64) []int {
	list := []int{c.leaderOf(members, h, view)}
	if phase == Commit {
		for _, i := range []int{c.leaderOf(members, h, view+1), c.leaderOf(members, h+1, 0)} {
			if !slices.Contains(list, i) {
				list = append(list, i)
			}
		}
	}
	return list
}

func (c *Core) sendMember(i int, after uint64, data []byte) {
	c.send(c.committee.members[i].Node, after, data)
}

// release lets this replica act on its own messages whose records are durable.
func (c *Core) release() {
	for len(c.own) > 0 && c.decided == nil {
		k := slices.IndexFunc(c.own, func(o ownMessage) bool { return o.seq <= c.durable || c.mutant(mutant.SendFirst) })
		if k < 0 {
			return
		}
		o := c.own[k]
		c.own = slices.Delete(slices.Clone(c.own), k, k+1)
		switch {
		case o.vote != nil:
			c.onVote(c.self, *o.vote)
		case o.report != nil:
			_ = c.onReport(c.self, o.report) // its own: well-formed
		case o.proposal != nil:
			c.accept(o.proposal)
		}
	}
}

// onVote files a member's vote. A member has one place per phase, for its vote
// of the highest view: honest members never go back.
func (c *Core) onVote(i int, v vote) {
	// PREPARE is of use to the leader alone, in a view that is not over. COMMIT
	// of any view counts at everybody who gets it: a decision of a former view
	// is one all the same.
	if !c.voter || v.phase == Prepare && (v.view < c.view || c.leader(v.view) != c.self) {
		return
	}
	p, k := &c.peers[i], v.phase-1
	// What is old or said twice goes here, with no copy, no signature looked
	// at. Another block in the same view is the one thing worth keeping; the
	// first vote stays.
	if p.voted[k] && v.view <= p.votes[k].view {
		if old := &p.votes[k]; v.view == old.view && v.block != old.block && p.accused < maxAccused {
			v.sig = clip(v.sig)
			c.accuse(i, old.half(), v.half())
		}
		return
	}
	v.sig = clip(v.sig)
	// COMMIT in a view below that of a report which claims less.
	if p.report != nil {
		c.accuse(i, p.report.half(), v.half())
	}
	p.votes[k], p.voted[k], p.alone[k] = v, true, false
	// In a batch it could spoil the sum again, view after view.
	if p.banned {
		c.checkAlone(i, &v)
		return
	}
	c.collect(&v)
}

// combined is the result of making a certificate out of votes.
type combined struct {
	id        uint64
	height    shardkit.Height
	vote      vote
	members   []int
	aggregate []byte
	bad       []int // positions in members
}

// collect makes a certificate once the votes like v have quorum weight. Their
// signatures have not been looked at: one job adds them all up.
func (c *Core) collect(v *vote) {
	// One job of a phase at a time: votes that come while it runs wait in their
	// places, and are looked at if it falls short. PREPARE for a view still to
	// come waits until this leader is in it, and its own vote brings it here.
	k := v.phase - 1
	if c.decided != nil || c.combining[k] != 0 || v.phase == Prepare && (v.view != c.view || c.prepared != nil) {
		return
	}
	var weight uint64
	for i := range c.peers {
		if c.counts(i, v) {
			weight += c.weight(i)
		}
	}
	if weight < c.quorum() {
		return
	}
	members := make([]int, 0, len(c.peers))
	sigs := make([][]byte, 0, len(c.peers))
	for i := range c.peers {
		if c.counts(i, v) {
			members, sigs = append(members, i), append(sigs, c.peers[i].votes[k].sig)
		}
	}
	c.combining[k] = c.combine(*v, members, sigs)
}

// counts reports whether member i has voted like v with a signature that is
// good or may be.
func (c *Core) counts(i int, v *vote) bool {
	p, k := &c.peers[i], v.phase-1
	return p.voted[k] && (!p.banned || p.alone[k]) && p.votes[k].same(v)
}

// combine submits the job and returns its number.
func (c *Core) combine(v vote, members []int, sigs [][]byte) uint64 {
	c.jobs++
	verifier, statement := c.committee.verifier, c.voteStatement(&v)
	res := combined{id: c.jobs, height: c.height, vote: v, members: members}
	c.ready.Jobs = append(c.ready.Jobs, shardkit.Job{Kind: "bls.combine", Size: len(members), Run: func() any {
		res.aggregate, res.bad = verifier.Combine(statement, members, sigs)
		return res
	}})
	return c.jobs
}

// checkAlone verifies the vote of a member that was caught, once per view and
// phase: it may count again, but never again spoil a batch.
func (c *Core) checkAlone(i int, v *vote) {
	p, k := &c.peers[i], v.phase-1
	// However often it changes its vote, it gets one verification a view.
	if v.view != c.view || p.tried[k] > c.view {
		return
	}
	p.tried[k] = c.view + 1
	c.combine(*v, []int{i}, [][]byte{v.sig})
}

func (c *Core) onCombined(res combined) {
	k := res.vote.phase - 1
	if res.height != c.height || c.decided != nil || res.vote.view < c.view && res.vote.phase == Prepare {
		return
	}
	// A check of one member; or left over from a view that is done with, which
	// onAlone drops.
	if c.combining[k] != res.id {
		c.onAlone(res)
		return
	}
	c.combining[k] = 0
	signers, weight := NewBitmap(c.committee.Len()), uint64(0)
	for pos, i := range res.members {
		// It came by the member's own channel, so the member itself is to
		// blame. Its place is free again for a true vote.
		if slices.Contains(res.bad, pos) {
			c.peers[i].voted[k] = false
			c.ban(c.committee.members[i].Node, "vote with a false signature")
			continue
		}
		signers.Set(i)
		weight += c.weight(i)
	}
	// The aggregate is of those who are left, and they may be too few.
	if weight < c.quorum() || len(res.aggregate) == 0 {
		c.recollect(res.vote.phase)
		return
	}
	ct := c.certificate(&res.vote)
	ct.Signers, ct.Aggregate = signers, res.aggregate
	// A certificate speaks for itself and promises nothing in this replica's
	// name: it waits for no record.
	if ct.Phase == Commit {
		c.decide(ct)
		c.publish(ct)
		return
	}
	c.broadcast(0, c.committed(ct, false), nil)
	c.onPrepared(ct)
}

// onAlone takes the verdict on the single vote of a member that was caught.
func (c *Core) onAlone(res combined) {
	if len(res.members) != 1 || len(res.bad) > 0 {
		return
	}
	p, k := &c.peers[res.members[0]], res.vote.phase-1
	if p.banned && p.voted[k] && p.votes[k].same(&res.vote) {
		p.alone[k] = true
		c.collect(&res.vote)
	}
}

// recollect looks for a quorum among all votes of a phase, after some of them
// turned out to be false.
func (c *Core) recollect(phase Phase) {
	k := phase - 1
	for i := range c.peers {
		if c.peers[i].voted[k] {
			v := c.peers[i].votes[k]
			c.collect(&v)
		}
	}
}

// onPrepared takes a prepared certificate that holds. One of a higher view
// shows that a quorum is there: the replica goes there too.
func (c *Core) onPrepared(ct *Certificate) {
	if !c.voter || c.decided != nil || !c.timely(ct) {
		return
	}
	if ct.View > c.view {
		c.enter(ct.View)
	}
	// The first stays. Two of one view take weight 2q−W that signed both;
	// compare has named them.
	if c.prepared == nil {
		c.prepared = ct
	}
	c.tryCommit()
}

// timely reports whether a prepared certificate still allows to COMMIT. A view
// that has been left or reported past is closed: votes in it could no longer be
// seen by the reports of the next.
func (c *Core) timely(ct *Certificate) bool {
	if c.mutant(mutant.CommitLower) {
		return true
	}
	return ct.View >= c.view && (ct.View >= c.reported || c.mutant(mutant.VoteAfterReport))
}
