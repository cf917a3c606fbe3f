package fbft

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft/internal/mutant"
	"github.com/shardkit/shardkit/internal/wire"
)

// reportStatement is what a report signs. It names the height and the committee
// even if it claims nothing: a bare "nothing prepared" could be replayed for
// ever.
func (c *Core) reportStatement(view uint64, a claim) []byte {
	b := appendContext(nil, domainReport, c.cfg.Chain, c.cfg.Shard, c.epoch, c.height, c.committee.hash)
	return a.appendTo(wire.AppendU64(b, view))
}

// expire reports the next view: the timer of the entered view has run out. A
// COMMIT does not keep it from doing so: if others did not get as far, those
// who did would wait for ever. And it goes one view beyond the entered one, no
// further: alone it waits there.
func (c *Core) expire() {
	if c.mutant(mutant.TimerFromReport) && c.voter && c.decided == nil {
		c.reportView(max(c.view, c.reported) + 1)
		return
	}
	committed := c.vote != nil && c.vote.vote.phase == Commit
	if committed && c.mutant(mutant.NoReportAfterCommit) {
		return
	}
	if c.voter && c.decided == nil && c.reported <= c.view && c.view < MaxView {
		c.reportView(c.view + 1)
	}
}

// reportView reports a view: from now on this replica votes in no view below.
// The claim is the lock, whose header, body and certificate are in the log
// before this record. A vote cast before may still be on its way to leave. If
// it is a COMMIT, its lock was taken before it, so this claim is no lower.
// Callers see to it that views rise.
func (c *Core) reportView(view uint64) {
	c.reported = view
	// The next timer runs from entry of a view. One that ran from the report
	// would go off before the others have come, and views would never meet.
	c.timer.on = false
	if c.mutant(mutant.TimerFromReport) {
		c.timer = alarm{on: true, at: c.now + c.timeout(view)}
	}
	p := report{view: view, previous: c.previous}
	if l := c.claimed(); l != nil {
		p.claim = claim{ok: true, view: l.cert.View, block: l.cert.Block}
		p.cert, p.header = l.cert, l.header
	}
	seq := c.record(&logged{kind: recReport, view: view, claim: p.claim})
	c.report = &ownReport{report: p, seq: seq}
	c.signReport()
	c.armResend()
}

// claimed is the highest prepared certificate whose block is held. A
// certificate without its block does not count: if the leader took it up and
// nobody had the body, no view could ever pass it.
func (c *Core) claimed() *lock {
	ct := c.prepared
	if ct == nil || !c.mutant(mutant.ReportUnheld) || c.lock != nil && c.lock.cert.View >= ct.View {
		return c.lock
	}
	return &lock{cert: ct, header: []byte{0}}
}

func (c *Core) signReport() {
	p := &c.report.report
	c.report.signing = true
	c.signJob(c.reportStatement(p.view, p.claim), signed{height: c.height, report: true, view: p.view})
}

func (c *Core) onSignedReport(res signed) {
	o := c.report
	if o == nil || !o.signing || o.report.view != res.view {
		return
	}
	o.signing = false
	if len(res.sig) == 0 || len(res.sig) > MaxSignature {
		return
	}
	o.report.sig = res.sig
	// It leaves, and counts here, once the record is durable.
	c.sendReport()
	p := o.report
	c.own = append(c.own, ownMessage{seq: o.seq, report: &p})
	c.release()
}

// sendReport sends the latest report to all, and to the leader of its view
// with the certificate and header of what it claims.
func (c *Core) sendReport() {
	// Small ones to all, the large one to one: n² of the former in a view
	// change, n of the latter. The certificate of the height before is in both,
	// for whoever is stuck there.
	o := c.report
	lean := o.report
	lean.cert, lean.header = nil, nil
	to := c.leader(o.report.view)
	c.broadcast(o.seq, c.message(kindReport, &lean), func(i int) bool { return i == to })
	c.sendMember(to, o.seq, c.message(kindReport, &o.report))
}

// onReport files a member's report: the one of the highest view. For the
// pacemaker it counts at once, whatever it claims: the channel says who sent
// it. For a NEWVIEW it counts only with the certificate it claims.
func (c *Core) onReport(i int, p *report) error {
	// Judged before anything is kept, so that a refused report leaves nothing.
	if p.cert != nil {
		if err := c.checkClaimShape(p); err != nil {
			return err
		}
	}
	if !c.voter {
		return nil
	}
	slot := &c.peers[i].report
	// Honest members report views in rising order: this one is late.
	if *slot != nil && p.view < (*slot).view {
		return nil
	}
	bare := p.claim.ok && p.cert == nil && i != c.self
	if bare && c.mutant(mutant.JoinWithCertificate) {
		return nil
	}
	// Two claims for one view. The first stays: the second must not take out of
	// a proof what it is being made of.
	if old := *slot; old != nil && old.view == p.view && old.claim != p.claim {
		c.accuse(i, old.half(), p.half())
		return nil
	}
	// Header and certificate are not kept with it: they are filed once
	// verified, or a member could have any bytes held for it.
	if *slot == nil || p.view > (*slot).view {
		*slot = &report{view: p.view, claim: p.claim, sig: p.sig}
		if c.peers[i].voted[Commit-1] {
			c.accuse(i, c.peers[i].votes[Commit-1].half(), p.half())
		}
	}
	// Somebody waits for a decision. If only it knew of the work, its timer
	// alone would not make a view change.
	if c.view == 0 {
		c.armTimer()
	}
	// Only who leads that view needs it; a repetition may bring what the first
	// one lacked.
	if p.cert != nil && p.view >= c.view && c.leader(p.view) == c.self && c.findCert(p.claim) == nil {
		c.check(c.committee.members[i].Node, check{kind: checkClaim, cert: p.cert, report: p})
	}
	c.follow()
	c.tryLead()
	return nil
}

// checkClaimShape judges the certificate and header in a report.
func (c *Core) checkClaimShape(p *report) error {
	ct := p.cert
	if !p.claim.ok || ct.Phase != Prepare || ct.View != p.claim.view || ct.Block != p.claim.block ||
		ct.Height != c.height || ct.Epoch != c.epoch {
		return fmt.Errorf("fbft: report: not the certificate it claims: %w", ErrInvalid)
	}
	if err := c.shape(ct); err != nil {
		return fmt.Errorf("fbft: report: %w: %w", ErrInvalid, err)
	}
	if BlockHash(p.header) != ct.Block {
		return fmt.Errorf("fbft: report: header of another block: %w", ErrInvalid)
	}
	return nil
}

// onClaim files a certificate that a report brought along and that holds. In
// order of views, whatever came first. Each took a quorum to sign, so nobody
// can crowd them out with inventions; of too many the lowest goes, for the
// highest decides.
func (c *Core) onClaim(ct *Certificate, header []byte) {
	a := claim{ok: true, view: ct.View, block: ct.Block}
	if !c.voter || c.findCert(a) != nil {
		return
	}
	c.compare(ct)
	c.certs = append(slices.Clip(c.certs), ct)
	slices.SortFunc(c.certs, func(x, y *Certificate) int {
		if x.View != y.View {
			if x.View < y.View {
				return -1
			}
			return 1
		}
		return bytes.Compare(x.Block[:], y.Block[:])
	})
	if len(c.certs) > maxCerts {
		c.certs = slices.Clone(c.certs[1:])
	}
	c.addBlock(ct.Block, header)
	c.tryLead()
}

// findCert returns the verified prepared certificate that a claim names.
func (c *Core) findCert(a claim) *Certificate {
	is := func(ct *Certificate) bool { return ct.View == a.view && ct.Block == a.block }
	// The own report may claim a lower one than the lock by now, so both are
	// looked at.
	if c.lock != nil && is(c.lock.cert) {
		return c.lock.cert
	}
	if c.report != nil && c.report.report.cert != nil && is(c.report.report.cert) {
		return c.report.report.cert
	}
	if k := slices.IndexFunc(c.certs, is); k >= 0 {
		return c.certs[k]
	}
	return nil
}

// follow moves with the others. Reports of views ≥ v with the weight that
// holds an honest member: join, that is report v. With the weight of a quorum:
// enter v. Reports of exactly v would not do: members that timed out at
// different times would never add up.
//
// Below the first weight a view may be the invention of members that lie: a
// single one that names a view far away moves nobody. The second is never below
// the first, so whoever enters a view here has reported it or a later one.
func (c *Core) follow() {
	type entry struct{ view, weight uint64 }
	list := make([]entry, 0, len(c.peers))
	for i := range c.peers {
		if p := c.peers[i].report; p != nil && p.view > c.view {
			list = append(list, entry{p.view, c.weight(i)})
		}
	}
	slices.SortFunc(list, func(a, b entry) int {
		if a.view > b.view {
			return -1
		} else if a.view < b.view {
			return 1
		}
		return 0
	})
	// From the highest view down: weight is that of the reports of e.view and
	// above, and the first to reach a bound is the highest view that does.
	var join, enter, weight uint64
	for _, e := range list {
		weight += e.weight
		if join == 0 && weight >= c.committee.Amplify() {
			join = e.view
		}
		if weight >= c.quorum() {
			enter = e.view
			break
		}
	}
	if c.mutant(mutant.EnterExact) {
		enter = c.enterExact()
	}
	if join > c.view && join > c.reported {
		c.reportView(join)
	}
	if enter > c.view {
		c.enter(enter)
	}
}

// enterExact is the broken wording of the rule: reports of exactly a view.
func (c *Core) enterExact() (enter uint64) {
	for i := range c.peers {
		p := c.peers[i].report
		if p == nil || p.view <= max(c.view, enter) {
			continue
		}
		var weight uint64
		for k := range c.peers {
			if o := c.peers[k].report; o != nil && o.view == p.view {
				weight += c.weight(k)
			}
		}
		if weight >= c.quorum() {
			enter = p.view
		}
	}
	return enter
}

// enter begins a view. Its timer runs from here, whatever happens in it.
func (c *Core) enter(view uint64) {
	c.view = view
	// What is bound to the view goes: a certificate of an earlier one must not
	// lead to COMMIT in this. The lock stays, and so do the votes: COMMIT of an
	// earlier view may yet reach its quorum, and a job for it runs on.
	c.proposal, c.prepared = nil, nil
	c.combining[Prepare-1] = 0
	c.lead = lead{}
	if !c.mutant(mutant.TimerFromReport) {
		c.timer.on = false
	}
	for k := range c.blocks {
		c.blocks[k].asks = 0
	}
	c.armTimer()
	c.tryLead()
}

// repeat sends again whatever the latest word of this replica is. The core
// assumes nothing of the transport: everything needed may have been lost.
func (c *Core) repeat() {
	if c.decided != nil {
		c.resend.on = false
		return
	}
	// Vote and report both, not only the later one: the quorum that is short of
	// one vote, and the view that is short of one report, may be waiting for
	// this replica at the same time.
	if o := c.report; o != nil && !(c.mutant(mutant.RepeatOne) && c.vote != nil && c.vote.vote.view >= o.report.view) {
		if o.report.sig != nil {
			c.sendReport()
		} else if !o.signing {
			c.signReport()
		}
	}
	if o := c.vote; o != nil && !(c.mutant(mutant.RepeatOne) && c.reported > o.vote.view) {
		if o.vote.sig != nil {
			c.sendVote()
		} else if !o.signing {
			c.signVote()
		}
	}
	c.repeatLead()
	if c.holds != nil {
		c.handOver()
	}
}

// remind tells one member again what this replica has said at its height: what
// it sent may have come when the member could not keep it.
func (c *Core) remind(node shardkit.NodeID) {
	i, ok := c.committee.Index(node)
	if !ok || c.decided != nil {
		return
	}
	if o := c.report; o != nil && o.report.sig != nil {
		p := o.report
		// as sendReport does
		if i != c.leader(p.view) {
			p.cert, p.header = nil, nil
		}
		c.sendMember(i, o.seq, c.message(kindReport, &p))
	}
	if o := c.vote; o != nil && o.vote.sig != nil && slices.Contains(c.collectors(c.committee, c.height, o.vote.phase, o.vote.view), i) {
		c.sendMember(i, o.seq, c.message(kindVote, &o.vote))
	}
	if p := c.proposal; p != nil && p.own {
		c.sendMember(i, p.after, p.raw)
	}
	if c.prepared != nil && c.leader(c.view) == c.self {
		c.sendMember(i, 0, c.committed(c.prepared, false))
	}
}

// repeatLead repeats what a leader has said in its view to those who have not
// committed to it; or tries again to have something to say.
func (c *Core) repeatLead() {
	if !c.voter || c.leader(c.view) != c.self {
		return
	}
	// COMMIT of this view shows that its sender has had both.
	done := func(i int) bool {
		p := &c.peers[i]
		return p.voted[Commit-1] && p.votes[Commit-1].view >= c.view
	}
	if p := c.proposal; p != nil && p.own {
		c.broadcast(p.after, p.raw, done)
	}
	if c.prepared != nil {
		c.broadcast(0, c.committed(c.prepared, false), done)
	}
	c.tryLead()
}
