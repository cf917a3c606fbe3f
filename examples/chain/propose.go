package chain

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/erasure"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/xshard"
)

// proposal is a block above the tip, from its announcement to its decision.
type proposal struct {
	hash      shardkit.Hash
	header    *ledger.Header
	encoded   []byte
	ref       []byte          // under which the body can be had
	from      shardkit.NodeID // who announced ref
	early     bool            // its time is ahead of the clock: not looked at yet
	certified bool            // a quorum has prepared it
	body      []byte
	logged    bool   // header and body are in the log
	busy      bool   // being executed
	block     *block // executed and good
	err       error  // bad
	asked     bool   // consensus waits for the verdict
	late      bool   // first seen when a new input set is no longer welcome
	chunks    bool   // the body came in chunks
}

// proposing is this node's own proposal at the current height.
type proposing struct {
	want *fbft.Propose
	busy bool // building or dispersing
	// collected says that the late votes for this block have been asked for.
	collected bool
	height    shardkit.Height
	view      uint64
	header    []byte // being dispersed
	body      []byte
}

func newProposal(encoded []byte) (*proposal, error) {
	h := new(ledger.Header)
	if err := h.UnmarshalBinary(encoded); err != nil {
		return nil, err
	}
	return &proposal{hash: fbft.BlockHash(encoded), header: h, encoded: encoded}, nil
}

func (r *replica) find(hash shardkit.Hash) *proposal {
	for _, p := range r.blocks {
		if p.hash == hash {
			return p
		}
	}
	return nil
}

// maxProposals bounds the blocks held above the tip: honest leaders make one a
// view.
const maxProposals = 16

// hold adds a proposal, dropping the oldest one that nobody waits for if there
// are too many.
func (r *replica) hold(p *proposal) {
	if len(r.blocks) >= maxProposals {
		for i, q := range r.blocks {
			if !q.busy && !q.logged {
				r.blocks = slices.Delete(r.blocks, i, i+1)
				break
			}
		}
	}
	r.blocks = append(r.blocks, p)
}

// site is the place of the block after the tip.
func (r *replica) site() site {
	s := site{parent: r.tip.out.stage, parentHash: r.tip.hash, height: r.tip.height + 1, committee: r.tip.out.committee.Hash()}
	if r.tip.out.stage == nil {
		s.parent = r.chain.State()
	}
	for _, m := range r.tip.out.committee.Members() {
		s.seats = append(s.seats, m.Node)
	}
	return s
}

// work tells consensus when there is something to decide, so that a silent
// leader is replaced.
func (r *replica) work(now time.Duration) {
	if !r.worked && r.hasWork(now) {
		r.worked = true
		r.consensus.Work(now)
	}
}

// hasWork reports whether a block is worth making: transactions, receipts, an
// epoch that begins or can end, a step of the drawing, or the heartbeat. A
// transaction that waits for one before it is not work: it costs its sender
// nothing, and blocks without it would go on for ever.
func (r *replica) hasWork(now time.Duration) bool {
	t := r.tip
	if len(r.pick(1)) > 0 || t.out.meta.Ends || r.core.wall(now) >= t.header.Time+uint64(r.core.cfg.Heartbeat/time.Millisecond) {
		return true
	}
	if r.draw != nil && (len(r.drawSet()) > 0 || len(r.drawOutput()) > 0) {
		return true
	}
	for s := range t.out.links {
		for _, p := range r.relay.Arrived(shardkit.ShardID(s)) {
			if pk, err := decodePacket(p.Batch); err == nil && pk.Useful {
				return true
			}
		}
	}
	return false
}

// onPropose notes that consensus wants a proposal of this node.
func (r *replica) onPropose(now time.Duration, p fbft.Propose) {
	if p.Height != r.tip.height+1 {
		return
	}
	r.proposal.want = &p
	r.propose(now)
}

// due is when the next block may be built: not before Interval after the
// parent, unless a view has failed already.
func (r *replica) due() time.Duration {
	at := time.Duration(int64(r.tip.header.Time)-int64(r.core.cfg.Wall)) * time.Millisecond
	return at + r.core.cfg.Interval
}

// propose builds or repeats a block if it is time.
func (r *replica) propose(now time.Duration) {
	r.collectLate(now)
	w := r.proposal.want
	if w == nil || r.proposal.busy {
		return
	}
	if w.Header != nil {
		r.repeat(now, w)
		return
	}
	if w.View == 0 && (now < r.due() || !r.hasWork(now)) {
		return
	}
	r.proposal.want, r.proposal.busy = nil, true
	r.proposal.height, r.proposal.view = w.Height, w.View
	c := r.candidate(now)
	rules, height, view := r.rules, w.Height, w.View
	r.job("chain.build", len(c.txs), func() any {
		b, err := rules.build(c)
		return builtResult{height, view, b, err}
	})
}

// candidate gathers what a block may hold.
func (r *replica) candidate(now time.Duration) *candidate {
	p := &r.core.cfg.Genesis.Params
	c := &candidate{site: r.site(), proposer: r.core.cfg.Self, time: max(r.core.wall(now), r.tip.header.Time+1)}
	c.packets = make([][]xshard.Packet, p.Shards)
	for s := range c.packets {
		if shardkit.ShardID(s) != r.shard {
			q := r.relay.Arrived(shardkit.ShardID(s))
			c.packets[s] = slices.Clone(q[:min(len(q), int(p.MaxRun))])
		}
	}
	c.late = r.pickLate()
	c.txs = r.pick(int(p.MaxTransactions))
	if r.shard == 0 {
		c.cert, c.set, c.output = r.tip.raw, r.drawSet(), r.drawOutput()
		if len(c.set) > 0 && r.draw.Late(now) {
			c.set = nil
		}
	}
	return c
}

type builtResult struct {
	height shardkit.Height
	view   uint64
	block  *block
	err    error
}

func (b builtResult) release() {
	if b.block != nil {
		b.block.outcome.stage.Discard()
	}
}

// onBuilt sends the body out; the announcement follows when it is coded.
func (r *replica) onBuilt(now time.Duration, res builtResult) {
	if res.err != nil || res.height != r.tip.height+1 {
		r.proposal.busy = false
		res.release()
		if res.err != nil && !errors.Is(res.err, ledger.ErrStale) {
			r.core.event(Event{Shard: r.shard, Kind: Refused, Err: res.err})
		}
		return
	}
	if err := res.block.skipped; err != nil {
		r.core.event(Event{Shard: r.shard, Kind: Refused, Err: fmt.Errorf("chain: left out of a block: %w", err)})
	}
	for _, d := range res.block.refused {
		for _, q := range r.queues() {
			q.Remove(d.id)
		}
	}
	b := res.block
	p := &proposal{hash: b.hash, header: &b.header, encoded: b.encoded, body: b.body, block: b}
	if q := r.find(p.hash); q != nil {
		p = q
	} else {
		r.hold(p)
	}
	r.keep(p)
	r.disperse(now, p)
}

// disperse codes a body and sends it to the members.
func (r *replica) disperse(now time.Duration, p *proposal) {
	r.proposal.busy = true
	r.proposal.header, r.proposal.body = p.encoded, p.body
	r.spread.Disperse(now, uint64(p.header.Epoch), p.body)
}

// repeat proposes a block of an earlier view again.
func (r *replica) repeat(now time.Duration, w *fbft.Propose) {
	p := r.find(fbft.BlockHash(w.Header))
	if p == nil || p.body == nil {
		return
	}
	r.proposal.want = nil
	r.proposal.height, r.proposal.view = w.Height, w.View
	r.disperse(now, p)
}

// onDispersed announces.
func (r *replica) onDispersed(now time.Duration, d erasure.Dispersed) {
	if !r.proposal.busy || !same(d.Body, r.proposal.body) {
		return
	}
	r.proposal.busy = false
	if d.Err != nil {
		r.core.event(Event{Shard: r.shard, Kind: Refused, Err: d.Err})
		return
	}
	if p := r.find(fbft.BlockHash(r.proposal.header)); p != nil {
		p.ref = d.Ref
	}
	r.consensus.Proposed(now, r.proposal.height, r.proposal.view, r.proposal.header, d.Ref)
	r.propose(now)
}

func same(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || bytes.Equal(a, b))
}

// keep puts header and body into the log, ahead of any vote that depends on
// them.
func (r *replica) keep(p *proposal) {
	if p.logged {
		return
	}
	p.logged = true
	h := p.header.Height
	r.core.log.add(r.shard, h)
	r.core.out.Records = append(r.core.out.Records, encodeRecord(recordBody, r.shard, h, p.encoded, p.body))
}

// onValidate gets a block's body and judges it.
func (r *replica) onValidate(now time.Duration, v fbft.Validate) {
	p := r.find(v.Hash)
	if p == nil {
		var err error
		if p, err = newProposal(v.Header); err != nil {
			r.consensus.Validated(now, v.Hash, err)
			return
		}
		p.late = r.draw != nil && r.draw.Late(now)
		r.hold(p)
	}
	p.asked = true
	p.certified = p.certified || v.Certified
	if p.block == nil && p.err == nil && p.body == nil && len(v.Ref) > 0 {
		p.ref, p.from, p.early = v.Ref, v.From, true
		r.obtain(now, p)
		return
	}
	r.examine(now, p)
}

// obtain asks for a proposal's body, as soon as the proposal's time is not
// ahead of this node's clock by more than the drift that is allowed.
func (r *replica) obtain(now time.Duration, p *proposal) {
	if !p.early || now < r.notBefore(p) {
		return
	}
	p.early = false
	if err := r.spread.Obtain(now, uint64(r.tip.out.meta.next()), p.from, p.ref); errors.Is(err, erasure.ErrBad) {
		r.judge(now, p, err)
	} else if err != nil {
		r.core.event(Event{Shard: r.shard, Kind: Refused, Err: err, Hash: p.hash}) // no verdict on the block
	}
}

// notBefore is when a proposal may be looked at. One that a quorum prepared in
// an earlier view is not judged by this node's clock again.
func (r *replica) notBefore(p *proposal) time.Duration {
	if p.certified {
		return 0
	}
	ahead := int64(p.header.Time) - int64(r.core.cfg.Wall) - int64(r.core.cfg.Genesis.Params.MaxDrift)
	return time.Duration(min(max(ahead, 0), int64(1<<40))) * time.Millisecond
}

// onDelivered takes a body, or the news that there is none.
func (r *replica) onDelivered(now time.Duration, d erasure.Delivered) {
	for _, p := range slices.Clone(r.blocks) {
		if !bytes.Equal(p.ref, d.Ref) || p.body != nil {
			continue
		}
		if d.Err != nil {
			r.judge(now, p, d.Err)
			continue
		}
		p.body, p.chunks = d.Body, d.ByChunks
		r.examine(now, p)
	}
}

// examine executes a block whose body is here, or repeats the verdict.
func (r *replica) examine(now time.Duration, p *proposal) {
	switch {
	case p.block != nil || p.err != nil:
		r.judge(now, p, p.err)
	case p.body != nil && !p.busy && p.header.Height == r.tip.height+1:
		p.busy = true
		r.execute(p, nil)
	}
}

// execute runs a block in a job. cert is nil for a proposal; a block that was
// fetched comes with its certificate, which is checked first.
func (r *replica) execute(p *proposal, cert []byte) {
	rules, s, committee := r.rules, r.site(), r.tip.out.committee
	hash, header, encoded, body := p.hash, p.header, p.encoded, p.body
	r.job("chain.verify", len(body), func() any {
		var q *fbft.Certificate
		if cert != nil {
			var err error
			if q, err = rules.certify(header, hash, cert, committee); err != nil {
				return executedResult{hash: hash, err: err, cert: cert}
			}
		}
		b, err := rules.verify(s, header, encoded, body)
		return executedResult{hash: hash, block: b, err: err, cert: cert, quorum: q}
	})
}

type executedResult struct {
	hash   shardkit.Hash
	block  *block
	err    error
	cert   []byte
	quorum *fbft.Certificate
}

func (e executedResult) release() {
	if e.block != nil {
		e.block.outcome.stage.Discard()
	}
}

// onExecuted notes the verdict on a block.
func (r *replica) onExecuted(now time.Duration, e executedResult) {
	if e.cert != nil {
		r.onFetched(now, e)
		return
	}
	p := r.find(e.hash)
	if p == nil {
		e.release()
		return
	}
	p.busy = false
	if e.err != nil && !errors.Is(e.err, ErrInvalid) {
		// Not the block's fault: the parent moved on, or the own disk failed.
		if !errors.Is(e.err, ledger.ErrStale) {
			r.core.fail(e.err)
		}
		return
	}
	p.block = e.block
	r.judge(now, p, e.err)
	r.decide(now)
}

// judge tells consensus about a block if it asked.
func (r *replica) judge(now time.Duration, p *proposal, err error) {
	p.err = err
	if err == nil {
		r.keep(p)
	} else {
		r.core.event(Event{Shard: r.shard, Kind: Refused, Err: err, Hash: p.hash})
	}
	if p.asked {
		p.asked = false
		if err == nil && r.tooLate(p) {
			err = errLate
		}
		r.consensus.Validated(now, p.hash, err)
	}
}

// errLate is this node's reason not to vote for a block that is valid.
var errLate = errors.New("chain: a new input set after the time for it")

// tooLate reports whether a good block brings an input set of which somebody
// may know by now what it leads to. That is a judgement of this node's clock,
// and of its own vote only: once a quorum has prepared the block it is over.
func (r *replica) tooLate(p *proposal) bool {
	brings := r.tip.out.draw.Phase == drawInputs && p.block.outcome.draw.Phase > drawInputs
	return brings && p.late && !p.certified
}

// onDecided makes a block final as soon as it is executed here; what is
// missing is fetched.
func (r *replica) onDecided(now time.Duration, d fbft.Decided) {
	if d.Height != r.tip.height+1 {
		return
	}
	r.pending = &d
	r.decide(now)
}

// decide advances to the decided block, or sees to it that it can be executed.
func (r *replica) decide(now time.Duration) {
	d := r.pending
	if d == nil || d.Height != r.tip.height+1 {
		r.pending = nil
		return
	}
	p := r.find(d.Hash)
	switch {
	case p != nil && p.block != nil:
		r.pending = nil
		raw, _ := d.Certificate.AppendBinary(nil)
		if p.chunks {
			r.core.event(Event{Shard: r.shard, Kind: Rebuilt, Hash: p.hash})
		}
		t := p.tip(d.Certificate, raw)
		t.live = true
		r.advance(now, t)
	case p != nil && p.busy:
	case p != nil && p.body != nil && p.err == nil:
		r.examine(now, p)
	case p != nil && p.body != nil:
		r.core.fail(fmt.Errorf("chain: shard %d height %d: the decided block does not apply here: %w", r.shard, d.Height, p.err))
	default:
		r.follow(now)
	}
}

// tip is the proposal as a decided block.
func (p *proposal) tip(cert *fbft.Certificate, raw []byte) *tip {
	return &tip{
		height: p.header.Height, hash: p.hash, header: p.header, encoded: p.encoded, body: p.body,
		cert: cert, raw: raw, out: p.block.outcome,
	}
}

// announced reports whether this node has a block of its own out at the height.
func (r *replica) announced() bool {
	return r.proposal.want == nil && !r.proposal.busy && r.proposal.height == r.tip.height+1 && len(r.proposal.header) > 0
}
