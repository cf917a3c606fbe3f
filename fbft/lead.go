package fbft

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft/internal/mutant"
	"github.com/shardkit/shardkit/internal/wire"
)

// lead is how far the leader of a view has got.
type lead struct {
	gathering uint64 // number of the job that makes the proof
	proof     *proof // ready: the application has been asked for the block
	proposed  bool
}

// gathered is the result of making a new-view proof.
type gathered struct {
	id     uint64
	groups []group
	bad    []int // members whose report has a false signature
}

// askProposal asks for a block in view 0, where every block is allowed. Who has
// reported another view does not ask: it could not vote for its own block.
func (c *Core) askProposal() {
	if c.voter && c.decided == nil && c.view == 0 && c.reported == 0 && c.proposal == nil && c.leader(0) == c.self {
		c.ready.Propose = append(c.ready.Propose, Propose{Height: c.height})
	}
}

// tryLead makes the proof for a NEWVIEW once reports of exactly this view have
// quorum weight. It takes the highest claim whose certificate is verified and
// whose body is held, and leaves out reports that claim more.
//
// To leave them out hides no decision: of any reports of quorum weight one is
// from an honest member that signed COMMIT, and that claims what was decided or
// higher. And to wait for them would give a member that claims what nobody can
// get the power to stop the view.
func (c *Core) tryLead() {
	if c.view == 0 || !c.canVote() || c.leader(c.view) != c.self ||
		c.lead.gathering != 0 || c.lead.proof != nil || c.proposal != nil {
		return
	}
	if s := c.stored; s != nil && s.own && s.view == c.view {
		c.lead.proposed = true // one NEWVIEW per view: the same bytes again
		c.broadcast(0, s.raw, nil)
		c.accept(s)
		return
	}
	// From the highest claim down, so that whatever can be kept of former views
	// is.
	limits := c.claims()
	for k := len(limits) - 1; k >= 0; k-- {
		limit := limits[k]
		if limit.ok && !c.haveBody(limit) {
			continue
		}
		if c.usableWeight(limit) >= c.quorum() {
			c.gather(limit)
			return
		}
	}
}

// usable returns member i's report if it can be part of this view's proof. A
// claim whose certificate is not here is no more than a word; to take it up
// would bind the view to a block that may never have been prepared.
func (c *Core) usable(i int) *report {
	p := c.peers[i].report
	if p == nil || p.view != c.view || c.peers[i].banned || p.claim.ok && c.findCert(p.claim) == nil && !c.mutant(mutant.TrustClaim) {
		return nil
	}
	return p
}

// claims returns the distinct claims of usable reports, ascending.
func (c *Core) claims() []claim {
	var list []claim
	for i := range c.peers {
		if p := c.usable(i); p != nil && !slices.Contains(list, p.claim) {
			list = append(list, p.claim)
		}
	}
	slices.SortFunc(list, func(a, b claim) int {
		if a.less(b) {
			return -1
		} else if b.less(a) {
			return 1
		}
		return 0
	})
	return list
}

// haveBody reports whether the body of a claimed block is held, and has the
// application get it if not.
func (c *Core) haveBody(a claim) bool {
	b := c.findBlock(a.block)
	if b == nil || b.valid {
		return b != nil
	}
	if b.asks == 0 || b.due <= c.now {
		c.ready.Validate = append(c.ready.Validate, Validate{Height: c.height, View: c.view,
			Hash: b.hash, Header: b.header, From: c.holder(a, b.turn), Certified: true})
		b.turn++
		c.await(b)
	}
	return false
}

// await gives the member just named its time. If nothing comes it may be silent,
// or its claim a lie, and the view must not be lost to it: so the first one's
// time is short. If the body is large no time is enough at first: so the next
// one's is twice as long, and the last one has half of the view.
func (c *Core) await(b *block) {
	b.due = c.now + c.cfg.Resend<<min(b.asks, 10)
	b.asks++
}

// holder returns whom to ask for the body of a claimed block when it is some
// turn: first those who claim it, each of whom says that it holds it, then all
// others that signed the certificate, for who signs PREPARE holds the body. So
// it can be had even if all who claim it lie. However many claim, one is asked
// at a time.
func (c *Core) holder(a claim, turn int) shardkit.NodeID {
	var claimants, signers []int
	ct := c.findCert(a)
	for i := range c.peers {
		if i == c.self {
			continue
		}
		if p := c.usable(i); p != nil && p.claim == a {
			claimants = append(claimants, i)
		} else if ct != nil && ct.Signers.Has(i) {
			signers = append(signers, i)
		}
	}
	list := append(claimants, signers...)
	if len(list) == 0 {
		return c.cfg.Self
	}
	return c.committee.members[list[turn%len(list)]].Node
}

func (c *Core) usableWeight(limit claim) uint64 {
	var w uint64
	for i := range c.peers {
		if p := c.usable(i); p != nil && !limit.less(p.claim) {
			w += c.weight(i)
		}
	}
	return w
}

// gather submits the job that aggregates the reports, one group per claim.
func (c *Core) gather(limit claim) {
	type part struct {
		statement []byte
		members   []int
		sigs      [][]byte
	}
	var parts []part
	var claims []claim
	size := 0
	for _, a := range c.claims() {
		if limit.less(a) {
			break
		}
		p := part{statement: c.reportStatement(c.view, a)}
		for i := range c.peers {
			if r := c.usable(i); r != nil && r.claim == a {
				p.members, p.sigs = append(p.members, i), append(p.sigs, r.sig)
				size++
			}
		}
		parts, claims = append(parts, p), append(claims, a)
	}
	// The number tells its result from one that is left over of a former view.
	c.jobs++
	c.lead.gathering = c.jobs
	id, n, verifier := c.jobs, c.committee.Len(), c.committee.verifier
	c.ready.Jobs = append(c.ready.Jobs, shardkit.Job{Kind: "bls.combine", Size: size, Run: func() any {
		res := gathered{id: id}
		for k, p := range parts {
			agg, bad := verifier.Combine(p.statement, p.members, p.sigs)
			g := group{claim: claims[k], signers: NewBitmap(n), aggregate: agg}
			for pos, i := range p.members {
				if slices.Contains(bad, pos) {
					res.bad = append(res.bad, i)
				} else {
					g.signers.Set(i)
				}
			}
			res.groups = append(res.groups, g)
		}
		return res
	}})
}

// onGathered asks for the block that the proof allows. False signatures are
// left out and the rest is tried again.
func (c *Core) onGathered(res gathered) {
	if c.decided != nil || c.lead.gathering != res.id {
		return
	}
	c.lead.gathering = 0
	// Each turn bans one member at least, so there are few; those who are left
	// sign for themselves, and may be a quorum yet.
	if len(res.bad) > 0 {
		for _, i := range res.bad {
			c.ban(c.committee.members[i].Node, "report with a false signature")
		}
		c.tryLead()
		return
	}
	p := &proof{groups: res.groups}
	ask := Propose{Height: c.height, View: c.view}
	// Candidates may have gone, and their bodies with them, while the job ran.
	if top := c.decisive(p); top.ok {
		b := c.findBlock(top.block)
		if p.cert = c.findCert(top); p.cert == nil && !c.mutant(mutant.TrustClaim) || b == nil || !b.valid {
			c.tryLead()
			return
		}
		ask.Header = b.header
	}
	c.lead.proof = p
	c.ready.Propose = append(c.ready.Propose, ask)
}

// top is the highest claim of the proof. Groups ascend, so it is the last.
func (p *proof) top() claim { return p.groups[len(p.groups)-1].claim }

// decisive is the claim of the proof that says which block may be prepared.
func (c *Core) decisive(p *proof) claim {
	if c.mutant(mutant.FirstCertificate) {
		for _, g := range p.groups {
			if g.claim.ok {
				return g.claim
			}
		}
	}
	return p.top()
}

// Proposed answers a Propose. What comes too late is dropped; an error means
// that the application broke the contract. header and ref must not change
// after.
func (c *Core) Proposed(now time.Duration, height shardkit.Height, view uint64, header, ref []byte) error {
	c.advance(now)
	// The application took its time: the view may be over, or be led by what a
	// former life has proposed.
	if !c.started || height != c.height || view != c.view || !c.canVote() ||
		c.lead.proposed || c.proposal != nil || c.leader(view) != c.self || view > 0 && c.lead.proof == nil {
		return nil
	}
	if len(header) == 0 || len(header) > c.cfg.MaxHeader || len(ref) > c.cfg.MaxRef {
		return fmt.Errorf("fbft: proposed: header of %d bytes, reference of %d", len(header), len(ref))
	}
	p := &proposal{view: view, header: header, ref: ref, previous: c.previous}
	if view > 0 {
		p.proof = c.lead.proof
		// Members would refuse it, and the view would be lost.
		if ct := p.proof.cert; ct != nil && BlockHash(header) != ct.Block {
			return errors.New("fbft: proposed: another block than the one that is prepared")
		}
	}
	c.lead.proposed = true
	cur := c.newCurrent(p)
	cur.own = true
	seq := c.record(&logged{kind: recProposal, view: view, own: true, data: cur.raw})
	if view == 0 {
		// A leader that forgets its announcement in a crash may make another:
		// that costs a view, no more.
		c.broadcast(0, cur.raw, nil)
		c.accept(cur)
		return nil
	}
	// Votes sign the digest of this proof. If a leader that fell came back with
	// another one for the same view, the votes before and after would not add
	// up; so the bytes are durable before anybody sees them.
	cur.after = seq
	c.broadcast(seq, cur.raw, nil)
	c.own = append(c.own, ownMessage{seq: seq, proposal: cur})
	c.release()
	return nil
}

// newCurrent turns a proposal message into what the view remembers of it.
func (c *Core) newCurrent(p *proposal) *current {
	cur := &current{view: p.view, hash: BlockHash(p.header), header: p.header, ref: p.ref,
		previous: p.previous, raw: c.message(kindProposal, p)}
	// Certified means the proof's certificate; checkTop has compared its block.
	if p.proof != nil {
		cur.digest = c.proofDigest(p)
		cur.certed = p.proof.cert != nil
	}
	return cur
}

// proofDigest is what PREPARE above view 0 signs of its justification. It ties
// each vote to the reports it rests on: if they lied, they are named.
func (c *Core) proofDigest(p *proposal) shardkit.Hash {
	b := appendContext(nil, domainNewView, c.cfg.Chain, c.cfg.Shard, c.epoch, c.height, c.committee.hash)
	return sha256.Sum256(p.proof.appendTo(wire.AppendU64(b, p.view)))
}

// onProposal takes ANNOUNCE or NEWVIEW. In view 0 the leader's word is enough;
// above, the proof is checked before anything comes of it.
func (c *Core) onProposal(i int, p *proposal) error {
	if c.leader(p.view) != i {
		return fmt.Errorf("fbft: proposal of view %d: %w", p.view, ErrRole)
	}
	// A view that was left or reported past is closed; and what comes back of
	// its own words was acted on when it was durable.
	if !c.voter || p.view < c.view || p.view < c.reported || i == c.self {
		return nil
	}
	if p.view == 0 {
		c.accept(c.newCurrent(p))
		return nil
	}
	// The first one stays; to check the proof of another is work for nothing.
	if c.proposal != nil && c.proposal.view == p.view {
		c.lateHeader(p.header)
		return nil
	}
	if err := c.checkProofShape(p); err != nil {
		return fmt.Errorf("fbft: new view %d: %w: %w", p.view, ErrInvalid, err)
	}
	c.check(c.committee.members[i].Node,
		check{kind: checkProposal, prop: p, cert: p.proof.cert, digest: c.proofDigest(p)})
	return nil
}

// checkProofShape checks everything about a proof but its signatures: reports
// of quorum weight, each member once, and the certificate of the highest
// claim, which is the proposed block.
func (c *Core) checkProofShape(p *proposal) error {
	n := c.committee.Len()
	all, weight := NewBitmap(n), uint64(0)
	// Whoever sends this may have made it up: all that costs no verification
	// comes first. Groups have signers and are disjoint, so that no more of
	// them than members get through.
	for _, g := range p.proof.groups {
		if err := g.signers.check(n); err != nil {
			return err
		}
		// A claim of the view itself or above is of no honest member, and the
		// certificate could not have been prepared yet.
		if g.claim.ok && g.claim.view >= p.view {
			return errors.New("report claims a view not below its own")
		}
		if len(g.aggregate) == 0 || g.signers.Count() == 0 {
			return errors.New("group without signature")
		}
		// A member in two groups would count twice; honest ones sign one report
		// a view.
		for k := range all {
			if all[k]&g.signers[k] != 0 {
				return errors.New("member counted twice")
			}
			all[k] |= g.signers[k]
		}
		for _, i := range g.signers.Indices() {
			weight += c.weight(i)
		}
	}
	if weight < c.quorum() {
		return fmt.Errorf("reports of weight %d, the quorum is %d", weight, c.committee.quorum)
	}
	return c.checkTop(p)
}

func (c *Core) checkTop(p *proposal) error {
	groups, ct, top := p.proof.groups, p.proof.cert, c.decisive(p.proof)
	// None of a quorum knows a prepared block: nothing was decided, any block
	// will do.
	if !top.ok {
		if ct != nil {
			return errors.New("certificate that no report claims")
		}
		return nil
	}
	// Within a view claims are ordered by block, so that two of the highest
	// view are neighbours. The leader has to choose members that agree on it.
	if k := len(groups) - 2; k >= 0 && groups[k].claim.ok && groups[k].claim.view == groups[k+1].claim.view {
		return errors.New("two blocks claimed for the highest view")
	}
	if ct == nil && c.mutant(mutant.TrustClaim) && BlockHash(p.header) == top.block {
		return nil
	}
	// Certificates of lower claims are not asked for: the highest decides, and
	// a lie below it changes nothing.
	if ct == nil || ct.Phase != Prepare || ct.View != top.view || ct.Block != top.block ||
		ct.Height != c.height || ct.Epoch != c.epoch {
		return errors.New("not the certificate of the highest claim")
	}
	if BlockHash(p.header) != ct.Block {
		return errors.New("not the block of the highest claim")
	}
	return c.shape(ct)
}

// onNewView accepts a proposal whose proof holds.
func (c *Core) onNewView(p *proposal, digest shardkit.Hash) {
	cur := c.newCurrent(p)
	cur.digest = digest
	c.accept(cur)
}

// accept makes a proposal that is justified the proposal of its view. The
// first one stays; the proof alone decides, not what this replica is locked
// on.
func (c *Core) accept(p *current) {
	if c.decided != nil || p.view < c.view || p.view < c.reported {
		return
	}
	// Its proof has reports of quorum weight: the others are on their way here.
	if p.view > c.view {
		c.enter(p.view)
	}
	if c.proposal != nil {
		if c.proposal.hash != p.hash {
			c.lateHeader(p.header)
		}
		return
	}
	c.proposal = p
	c.claimCredit(p.previous)
	c.armTimer()
	if b := c.addBlock(p.hash, p.header); !b.valid {
		from := c.committee.members[c.leader(p.view)].Node
		c.ready.Validate = append(c.ready.Validate, Validate{Height: c.height, View: p.view,
			Hash: p.hash, Header: p.header, Ref: p.ref, From: from, Certified: p.certed})
	}
	// In this order: after COMMIT no PREPARE is signed, and the leader may yet
	// need it.
	c.tryPrepare()
	c.tryCommit()
}

// lateHeader takes the header of the block that a quorum prepared in this view
// although this replica had accepted another: it cannot prepare it, but commit
// to it. A leader that announced two blocks, say one key on two machines, need
// not cost the view then.
func (c *Core) lateHeader(header []byte) {
	if c.prepared == nil || c.findBlock(c.prepared.Block) != nil || BlockHash(header) != c.prepared.Block {
		return
	}
	c.addBlock(c.prepared.Block, header)
	c.ready.Validate = append(c.ready.Validate, Validate{Height: c.height, View: c.view,
		Hash: c.prepared.Block, Header: header, From: c.committee.members[c.leader(c.view)].Node, Certified: true})
}

// Validated answers a Validate. err nil promises that the body is good, and
// that header and body went to the log before any record that Ready hands out
// from here on.
func (c *Core) Validated(now time.Duration, hash shardkit.Hash, err error) {
	c.advance(now)
	if !c.started || c.decided != nil {
		return
	}
	// A block that was refused stays a candidate: others may find it good, and
	// it is asked about again if a quorum does.
	b := c.findBlock(hash)
	if b == nil || err != nil {
		return
	}
	// The body may be what any of the three was waiting for.
	b.valid = true
	c.tryPrepare()
	c.tryCommit()
	c.tryLead()
}

// findBlock returns a candidate. The pointer is good until the next addBlock.
func (c *Core) findBlock(hash shardkit.Hash) *block {
	for i := range c.blocks {
		if c.blocks[i].hash == hash {
			return &c.blocks[i]
		}
	}
	return nil
}

// addBlock makes a header a candidate. When there are too many the oldest that
// nothing refers to goes. If all are referred to the list grows, by the few
// there can be: the lock, the proposal, the prepared one, and those of maxCerts
// certificates.
func (c *Core) addBlock(hash shardkit.Hash, header []byte) *block {
	if b := c.findBlock(hash); b != nil {
		return b
	}
	if len(c.blocks) >= maxBlocks {
		if k := slices.IndexFunc(c.blocks, func(b block) bool { return !c.refers(b.hash) }); k >= 0 {
			c.blocks = slices.Delete(c.blocks, k, k+1)
		}
	}
	c.blocks = append(c.blocks, block{hash: hash, header: header})
	return &c.blocks[len(c.blocks)-1]
}

// refers reports whether a candidate is still needed.
func (c *Core) refers(hash shardkit.Hash) bool {
	return c.lock != nil && c.lock.cert.Block == hash || c.proposal != nil && c.proposal.hash == hash ||
		c.prepared != nil && c.prepared.Block == hash ||
		slices.ContainsFunc(c.certs, func(ct *Certificate) bool { return ct.Block == hash })
}
