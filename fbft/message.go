package fbft

import (
	"errors"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// The kinds of message. Every message begins with version, kind, shard and
// height, so that what is old or foreign costs nothing to drop.
const (
	kindProposal    = 1 // ANNOUNCE in view 0, NEWVIEW above
	kindVote        = 2 // PREPARE or COMMIT
	kindCertificate = 3 // PREPARED or COMMITTED
	kindReport      = 4 // view change
	kindLate        = 5 // COMMIT of a decided height whose certificate lacks it
)

// headingSize is the length of a heading: version, kind, shard, height.
const headingSize = 14

// heading is how every message begins.
type heading struct {
	kind   uint8
	shard  shardkit.ShardID
	height shardkit.Height
}

func readHeading(r *wire.Reader) heading {
	r.Expect(version, "version")
	return heading{kind: r.U8(), shard: shardkit.ShardID(r.U32()), height: shardkit.Height(r.U64())}
}

func appendHeading(b []byte, kind uint8, shard shardkit.ShardID, h shardkit.Height) []byte {
	b = append(b, version, kind)
	b = wire.AppendU32(b, uint32(shard))
	return wire.AppendU64(b, uint64(h))
}

// claim is what a report says about the past: the highest view in which a block
// was prepared, with its block, or nothing (ok false, the rest zero). A
// prepared block is named as well as its view, so that two claims that differ
// are two statements.
type claim struct {
	ok    bool
	view  uint64
	block shardkit.Hash
}

// less orders claims: nothing first, then by view, then by block.
func (a claim) less(b claim) bool {
	if a.ok != b.ok {
		return b.ok
	}
	if a.view != b.view {
		return a.view < b.view
	}
	return string(a.block[:]) < string(b.block[:])
}

func (a claim) appendTo(b []byte) []byte {
	b = wire.AppendBool(b, a.ok)
	b = wire.AppendU64(b, a.view)
	return append(b, a.block[:]...)
}

func readClaim(r *wire.Reader) claim {
	a := claim{ok: r.Bool(), view: r.U64(), block: r.Array32()}
	// one value, one encoding: else one claim could be made in two groups
	if r.Err() == nil && (!a.ok && a != claim{} || a.view > MaxView) {
		r.Fail(errors.New("claim not canonical"))
	}
	return a
}

// proposal is ANNOUNCE (view 0) or NEWVIEW. previous is the commit certificate
// of the height before; proof is there above view 0 and only there.
type proposal struct {
	view     uint64
	header   []byte
	ref      []byte
	previous *Certificate
	proof    *proof
}

// proof shows which block a view may prepare: reports of quorum weight in
// groups of equal claims, ascending, and the certificate of the highest claim
// (nil if none claims anything).
type proof struct {
	groups []group
	cert   *Certificate
}

// group is the reports that make the same claim, with one aggregate.
type group struct {
	claim     claim
	signers   Bitmap
	aggregate []byte
}

// vote is PREPARE or COMMIT of one member. sig aliases the message. The channel
// says whose it is; the message does not.
type vote struct {
	view    uint64
	phase   Phase
	block   shardkit.Hash
	newView shardkit.Hash
	sig     []byte
}

// report is a member's vote to go to a view. The signature covers view and
// claim. To the leader of the view it carries the certificate and header of
// what it claims; to everybody the certificate of the height before. The rest
// is not signed, and need not be: it proves itself.
type report struct {
	view     uint64
	claim    claim
	sig      []byte
	previous *Certificate
	cert     *Certificate
	header   []byte
}

// certMessage is PREPARED or COMMITTED. want asks for the certificate of the
// height after, in return.
type certMessage struct {
	cert *Certificate
	want bool
}

func appendOptional(b []byte, ct *Certificate) []byte {
	b = wire.AppendBool(b, ct != nil)
	if ct != nil {
		b = ct.appendTo(b)
	}
	return b
}

func readOptional(r *wire.Reader) *Certificate {
	if !r.Bool() {
		return nil
	}
	return readCertificate(r)
}

func (p *proposal) appendTo(b []byte) []byte {
	b = wire.AppendU64(b, p.view)
	b = wire.AppendBytes(b, p.header)
	b = wire.AppendBytes(b, p.ref)
	b = appendOptional(b, p.previous)
	if p.view > 0 {
		b = p.proof.appendTo(b)
	}
	return b
}

func (p *proof) appendTo(b []byte) []byte {
	b = wire.AppendU32(b, uint32(len(p.groups)))
	for _, g := range p.groups {
		b = g.claim.appendTo(b)
		b = wire.AppendBytes(b, g.signers)
		b = wire.AppendBytes(b, g.aggregate)
	}
	return appendOptional(b, p.cert)
}

// readProposal copies what it keeps: the proposal does not alias the message.
func readProposal(r *wire.Reader, maxHeader, maxRef int) *proposal {
	p := &proposal{view: readView(r)}
	if p.header = clip(r.Bytes(maxHeader)); len(p.header) == 0 {
		r.Fail(errors.New("no header"))
	}
	p.ref = clip(r.Bytes(maxRef))
	p.previous = readOptional(r)
	if r.Err() == nil && p.view > 0 {
		p.proof = readProof(r)
	}
	return p
}

func readProof(r *wire.Reader) *proof {
	p := new(proof)
	// 49 bytes is the least group, so that the count is bounded by what has
	// come.
	n := r.Count(MaxMembers, 49)
	if n == 0 {
		r.Fail(errors.New("proof without reports"))
	}
	for i := range n {
		g := group{claim: readClaim(r)}
		g.signers = Bitmap(clip(r.Bytes((MaxMembers + 7) / 8)))
		g.aggregate = clip(r.Bytes(MaxAggregate))
		if r.Err() != nil {
			return p
		}
		// Strictly ascending: no claim has two groups, the highest is the last,
		// and a proof has one encoding, which is what PREPARE signs.
		if i > 0 && !p.groups[i-1].claim.less(g.claim) {
			r.Fail(errors.New("groups not ascending"))
			return p
		}
		p.groups = append(p.groups, g)
	}
	p.cert = readOptional(r)
	return p
}

// readView bounds views far below 2^64, so that to add one never wraps.
func readView(r *wire.Reader) uint64 {
	v := r.U64()
	if v > MaxView {
		r.Fail(errors.New("view out of range"))
	}
	return v
}

// clip copies p without spare capacity. What is kept of a message must not keep
// the message.
func clip(p []byte) []byte { return append([]byte(nil), p...) }

func (v *vote) appendTo(b []byte) []byte {
	b = wire.AppendU64(b, v.view)
	b = append(b, byte(v.phase))
	b = append(b, v.block[:]...)
	b = append(b, v.newView[:]...)
	return wire.AppendBytes(b, v.sig)
}

// readVote returns a vote whose signature aliases the message: a duplicate is
// dropped without a copy.
func readVote(r *wire.Reader) vote {
	v := vote{view: readView(r), phase: Phase(r.U8()), block: r.Array32(), newView: r.Array32()}
	v.sig = r.Bytes(MaxSignature)
	if r.Err() != nil {
		return v
	}
	// The digest is there where it means something and zero elsewhere: a vote
	// must be one signature of a certificate, whose rule this is.
	justified := v.phase == Prepare && v.view > 0
	if (v.phase != Prepare && v.phase != Commit) || justified == (v.newView == shardkit.Hash{}) {
		r.Fail(errors.New("vote not canonical"))
	}
	return v
}

func (p *report) appendTo(b []byte) []byte {
	b = wire.AppendU64(b, p.view)
	b = p.claim.appendTo(b)
	b = wire.AppendBytes(b, p.sig)
	b = appendOptional(b, p.previous)
	b = appendOptional(b, p.cert)
	if p.cert != nil {
		b = wire.AppendBytes(b, p.header)
	}
	return b
}

// readReport copies what it keeps.
func readReport(r *wire.Reader, maxHeader int) *report {
	p := &report{view: readView(r), claim: readClaim(r)}
	p.sig = clip(r.Bytes(MaxSignature))
	p.previous = readOptional(r)
	p.cert = readOptional(r)
	if p.cert != nil {
		p.header = clip(r.Bytes(maxHeader))
	}
	// View 0 is where everybody begins; and no honest member has a certificate
	// of a view that it still wants to enter.
	if r.Err() == nil && (p.view == 0 || p.claim.ok && p.claim.view >= p.view) {
		r.Fail(errors.New("report not canonical"))
	}
	return p
}

func (m *certMessage) appendTo(b []byte) []byte {
	return m.cert.appendTo(wire.AppendBool(b, m.want))
}

func readCertMessage(r *wire.Reader) certMessage {
	return certMessage{want: r.Bool(), cert: readCertificate(r)}
}

// malformed wraps the error of a decoder.
func malformed(what string, err error) error {
	return fmt.Errorf("fbft: %s: %w: %w", what, ErrMalformed, err)
}
