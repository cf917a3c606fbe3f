package fbft

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Evidence proves that members broke a rule that honest members cannot break:
// it holds two signed statements of one height that no honest member signs
// both of, with the members that signed each. Whoever signed both is guilty;
// with proofs of possession nobody can be put there by others.
//
// The offences, all within one chain, shard, epoch and height:
//
//   - two votes of one view and phase for different blocks (another new-view
//     digest alone is none);
//   - COMMIT in view v, and a report for a view above v that claims less than v;
//   - two reports for one view that claim different things.
type Evidence struct {
	Epoch     shardkit.Epoch
	Height    shardkit.Height
	Committee shardkit.Hash
	First     Half
	Second    Half
}

// Half is one statement of an Evidence: a vote (Phase is set) or a report for
// View that claims Claimed, and then that Block was prepared in ClaimedView.
type Half struct {
	Phase       Phase // 0: a report
	View        uint64
	Block       shardkit.Hash
	NewView     shardkit.Hash // of a vote
	Claimed     bool          // of a report
	ClaimedView uint64
	Signers     Bitmap
	Aggregate   []byte
}

func (a *Half) claim() claim { return claim{ok: a.Claimed, view: a.ClaimedView, block: a.Block} }

// offence reports whether no honest member signs both.
//
// COMMIT takes the lock first and locks only rise, so an honest report for a
// later view claims that view or a higher one, whatever came between. A PREPARE
// of another block in a later view is no offence: a valid NEWVIEW may ask for
// it.
func offence(a, b *Half) bool {
	switch {
	case a.Phase != 0 && b.Phase != 0:
		return a.Phase == b.Phase && a.View == b.View && a.Block != b.Block
	case a.Phase == 0 && b.Phase == 0:
		return a.View == b.View && a.claim() != b.claim()
	case a.Phase == 0:
		a, b = b, a
	}
	return a.Phase == Commit && b.View > a.View && (!b.Claimed || b.ClaimedView < a.View)
}

// Fields that do not count have to be zero, so that a statement has one
// encoding.
func (a *Half) fields() error {
	justified := a.Phase == Prepare && a.View > 0
	switch {
	case a.Phase > Commit || a.View > MaxView || a.ClaimedView > MaxView:
		return errors.New("field out of range")
	case justified == (a.NewView == shardkit.Hash{}):
		return errors.New("new-view digest missing or out of place")
	case a.Phase != 0 && (a.Claimed || a.ClaimedView != 0):
		return errors.New("claim in a vote")
	case a.Phase == 0 && !a.Claimed && (a.ClaimedView != 0 || a.Block != shardkit.Hash{}):
		return errors.New("claim not canonical")
	case len(a.Signers) == 0 || len(a.Aggregate) == 0:
		return errors.New("nobody signed")
	}
	return nil
}

func (a *Half) appendTo(b []byte) []byte {
	b = append(b, byte(a.Phase))
	b = wire.AppendU64(b, a.View)
	b = append(b, a.Block[:]...)
	b = append(b, a.NewView[:]...)
	b = wire.AppendBool(b, a.Claimed)
	b = wire.AppendU64(b, a.ClaimedView)
	b = wire.AppendBytes(b, a.Signers)
	return wire.AppendBytes(b, a.Aggregate)
}

func readHalf(r *wire.Reader) (a Half) {
	a.Phase = Phase(r.U8())
	a.View = r.U64()
	a.Block = r.Array32()
	a.NewView = r.Array32()
	a.Claimed = r.Bool()
	a.ClaimedView = r.U64()
	a.Signers = Bitmap(clip(r.Bytes((MaxMembers + 7) / 8)))
	a.Aggregate = clip(r.Bytes(MaxAggregate))
	if r.Err() == nil {
		if err := a.fields(); err != nil {
			r.Fail(err)
		}
	}
	return a
}

// AppendBinary appends the encoding of the evidence.
func (e *Evidence) AppendBinary(b []byte) ([]byte, error) { return e.appendTo(b), nil }

func (e *Evidence) appendTo(b []byte) []byte {
	b = append(b, version)
	b = wire.AppendU64(b, uint64(e.Epoch))
	b = wire.AppendU64(b, uint64(e.Height))
	b = append(b, e.Committee[:]...)
	return e.Second.appendTo(e.First.appendTo(b))
}

// UnmarshalBinary decodes what AppendBinary wrote. The statements are in the
// order of their bytes and amount to an offence, or it refuses.
func (e *Evidence) UnmarshalBinary(b []byte) error {
	r := wire.NewReader(b)
	r.Expect(version, "version")
	var got Evidence
	got.Epoch = shardkit.Epoch(r.U64())
	got.Height = shardkit.Height(r.U64())
	got.Committee = r.Array32()
	got.First = readHalf(r)
	got.Second = readHalf(r)
	if r.Err() == nil && (bytes.Compare(got.First.appendTo(nil), got.Second.appendTo(nil)) >= 0 || !offence(&got.First, &got.Second)) {
		r.Fail(errors.New("no offence, or not in order"))
	}
	if err := r.Close(); err != nil {
		return fmt.Errorf("fbft: evidence: %w", err)
	}
	*e = got
	return nil
}

// Check verifies the evidence against the committee of its height, and returns
// the members that are guilty. It is slow.
func (e *Evidence) Check(chain shardkit.Hash, shard shardkit.ShardID, c *Committee) (guilty []int, err error) {
	if e.Committee != c.hash {
		return nil, errors.New("fbft: evidence: of another committee")
	}
	if !offence(&e.First, &e.Second) {
		return nil, errors.New("fbft: evidence: no offence")
	}
	// Both aggregates are of exactly their signers. What is in both sets has
	// signed both, for a share in a sum cannot be forged by others who have
	// proven to hold their own keys.
	for _, a := range []*Half{&e.First, &e.Second} {
		if err := a.fields(); err != nil {
			return nil, fmt.Errorf("fbft: evidence: %w", err)
		}
		if err := a.Signers.check(c.Len()); err != nil {
			return nil, fmt.Errorf("fbft: evidence: %w", err)
		}
		if err := c.verifier.Verify(e.statement(a, chain, shard), a.Signers.Indices(), a.Aggregate); err != nil {
			return nil, fmt.Errorf("fbft: evidence: %w", err)
		}
	}
	for _, i := range e.First.Signers.Indices() {
		if e.Second.Signers.Has(i) {
			guilty = append(guilty, i)
		}
	}
	if len(guilty) == 0 {
		return nil, errors.New("fbft: evidence: nobody signed both")
	}
	return guilty, nil
}

func (e *Evidence) statement(a *Half, chain shardkit.Hash, shard shardkit.ShardID) []byte {
	if a.Phase != 0 {
		ct := Certificate{Phase: a.Phase, Epoch: e.Epoch, Height: e.Height, View: a.View,
			Block: a.Block, Committee: e.Committee, NewView: a.NewView}
		return ct.Statement(chain, shard)
	}
	b := appendContext(nil, domainReport, chain, shard, e.Epoch, e.Height, e.Committee)
	return a.claim().appendTo(wire.AppendU64(b, a.View))
}

// newEvidence puts the halves in order. One pair of statements then has one
// encoding, whichever was seen first.
func newEvidence(epoch shardkit.Epoch, height shardkit.Height, committee shardkit.Hash, a, b Half) *Evidence {
	if bytes.Compare(a.appendTo(nil), b.appendTo(nil)) > 0 {
		a, b = b, a
	}
	return &Evidence{Epoch: epoch, Height: height, Committee: committee, First: a, Second: b}
}

// Accuse finds who caused a fork. It takes what replicas archived about one
// height (Ready.Archive) and the two commit certificates, and returns evidence
// against members of at least the weight 2q−W when the archives are those of
// honest replicas that prepared and committed on both sides. Signatures are
// not checked here: Evidence.Check does.
func Accuse(committee *Committee, certs []*Certificate, archive [][]byte) []*Evidence {
	var halves []Half
	var epoch shardkit.Epoch
	var height shardkit.Height
	add := func(ct *Certificate) {
		epoch, height = ct.Epoch, ct.Height
		halves = append(halves, Half{Phase: ct.Phase, View: ct.View, Block: ct.Block, NewView: ct.NewView,
			Signers: ct.Signers, Aggregate: ct.Aggregate})
	}
	for _, ct := range certs {
		add(ct)
	}
	for _, msg := range archive {
		ct, groups, view := archived(msg)
		if ct != nil {
			add(ct)
		}
		for _, g := range groups {
			halves = append(halves, Half{View: view, Block: g.claim.block, Claimed: g.claim.ok,
				ClaimedView: g.claim.view, Signers: g.signers, Aggregate: g.aggregate})
		}
	}
	// Pairs that share nobody convict nobody, and are left out before anything
	// is verified.
	var list []*Evidence
	for i := range halves {
		for k := range halves[:i] {
			if offence(&halves[i], &halves[k]) && meet(halves[i].Signers, halves[k].Signers) {
				list = append(list, newEvidence(epoch, height, committee.hash, halves[k], halves[i]))
			}
		}
	}
	return list
}

func meet(a, b Bitmap) bool {
	return slices.ContainsFunc(a.Indices(), b.Has)
}

// archived reads an archived message: a NEWVIEW or PREPARED.
func archived(msg []byte) (ct *Certificate, groups []group, view uint64) {
	r := wire.NewReader(msg)
	switch readHeading(r).kind {
	case kindCertificate:
		m := readCertMessage(r)
		if r.Close() == nil {
			ct = m.cert
		}
	case kindProposal:
		p := readProposal(r, maxRecord, maxRecord)
		if r.Close() == nil && p.proof != nil {
			ct, groups, view = p.proof.cert, p.proof.groups, p.view
		}
	}
	return ct, groups, view
}

// accused is the result of a job that turns two signatures of a member into
// evidence.
type accused struct {
	evidence []byte
}

// maxAccused bounds the evidence made of a member at one height. It is more
// than one because a statement with a false signature uses one up.
const maxAccused = 3

// accuse has evidence made of two statements of member i. Signatures that do
// not verify give none.
func (c *Core) accuse(i int, a, b Half) {
	p := &c.peers[i]
	if p.accused >= maxAccused || !offence(&a, &b) {
		return
	}
	// Counted before it is known to hold: signatures of votes and reports have
	// not been looked at, and a member must not have work done by contradicting
	// itself.
	p.accused++
	e := newEvidence(c.epoch, c.height, c.committee.hash, a, b)
	verifier, chain, shard, n := c.committee.verifier, c.cfg.Chain, c.cfg.Shard, c.committee.Len()
	c.ready.Jobs = append(c.ready.Jobs, shardkit.Job{Kind: "bls.combine", Size: 2, Run: func() any {
		for _, h := range []*Half{&e.First, &e.Second} {
			agg, bad := verifier.Combine(e.statement(h, chain, shard), []int{i}, [][]byte{h.Aggregate})
			if len(bad) > 0 || len(agg) == 0 {
				return accused{}
			}
			h.Aggregate, h.Signers = agg, NewBitmap(n)
			h.Signers.Set(i)
		}
		// The order is that of the bytes, which are others now.
		sorted := newEvidence(e.Epoch, e.Height, e.Committee, e.First, e.Second)
		return accused{evidence: sorted.appendTo(nil)}
	}})
}

// half returns a vote as a statement; the aggregate is the bare signature yet.
func (v *vote) half() Half {
	return Half{Phase: v.phase, View: v.view, Block: v.block, NewView: v.newView, Aggregate: v.sig}
}

func (p *report) half() Half {
	return Half{View: p.view, Block: p.claim.block, Claimed: p.claim.ok, ClaimedView: p.claim.view, Aggregate: p.sig}
}

// compare accuses whoever signed a pair of prepared certificates of one view.
func (c *Core) compare(ct *Certificate) {
	known := c.certs
	if c.prepared != nil {
		known = append(slices.Clip(known), c.prepared)
	}
	if c.lock != nil {
		known = append(slices.Clip(known), c.lock.cert)
	}
	for _, o := range known {
		// Both hold: this is a fork in the making, and needs no
		// other proof.
		if o.View == ct.View && o.Block != ct.Block && len(c.ready.Evidence) < maxBad {
			list := Accuse(c.committee, []*Certificate{o, ct}, nil)
			for _, e := range list {
				c.ready.Evidence = append(c.ready.Evidence, e.appendTo(nil))
			}
			return
		}
	}
}
