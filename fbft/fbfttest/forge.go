package fbfttest

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
)

// The kinds of message, as the second byte on the wire tells them apart.
const (
	KindProposal    = 1
	KindVote        = 2
	KindCertificate = 3
	KindReport      = 4
)

// Forger makes protocol messages for adversaries: whatever its keys can sign,
// honest or not. It writes the encoding by itself, from its description, and
// so checks the one in package fbft.
type Forger struct {
	Chain     shardkit.Hash
	Shard     shardkit.ShardID
	Epoch     shardkit.Epoch
	Height    shardkit.Height
	Committee *fbft.Committee
	Sign      func(member int, statement []byte) []byte // nil: the scheme of Fake
	Scheme    fbft.Verifier                             // what makes aggregates; nil: the scheme of Fake

	blind bool // votes do not sign their view: a mutant
}

// Claim is what a report says to be prepared; the zero Claim says nothing is.
type Claim struct {
	OK    bool
	View  uint64
	Block shardkit.Hash
}

// Report is a member's report, signed.
type Report struct {
	Member int
	View   uint64
	Claim  Claim
	Sig    []byte
}

// sign signs for any member: nothing keeps a forger from signing what it likes.
func (f *Forger) sign(member int, statement []byte) []byte {
	if f.Sign != nil {
		return f.Sign(member, statement)
	}
	sig, _ := FakeSigner(f.Committee.Members()[member].Key).Sign(statement)
	return sig
}

// heading is how a message begins: version, kind, shard, height.
func (f *Forger) heading(kind byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{1, kind}, uint32(f.Shard))
	return binary.BigEndian.AppendUint64(b, uint64(f.Height))
}

// context is how a signed statement begins. The domain keeps one kind of
// statement from standing for another.
func (f *Forger) context(domain string) []byte {
	b := append([]byte(domain), f.Chain[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(f.Shard))
	b = binary.BigEndian.AppendUint64(b, uint64(f.Epoch))
	b = binary.BigEndian.AppendUint64(b, uint64(f.Height))
	h := f.Committee.Hash()
	return append(b, h[:]...)
}

// appendBytes appends a byte string with its length.
func appendBytes(b, p []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(p))), p...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// appendCertificate appends a certificate that may be missing.
func appendCertificate(b []byte, ct *fbft.Certificate) []byte {
	b = appendBool(b, ct != nil)
	if ct != nil {
		enc, err := ct.AppendBinary(nil)
		if err != nil {
			panic(err) // a forger forges well-formed certificates
		}
		b = append(b, enc...)
	}
	return b
}

func (c Claim) append(b []byte) []byte {
	b = appendBool(b, c.OK)
	b = binary.BigEndian.AppendUint64(b, c.View)
	return append(b, c.Block[:]...)
}

// Vote is a member's vote.
func (f *Forger) Vote(member int, phase fbft.Phase, view uint64, block, newView shardkit.Hash) []byte {
	s := f.statement(phase, view, block, newView)
	return f.VoteWith(phase, view, block, newView, f.sign(member, s))
}

// VoteWith is a vote with a given signature.
func (f *Forger) VoteWith(phase fbft.Phase, view uint64, block, newView shardkit.Hash, sig []byte) []byte {
	b := binary.BigEndian.AppendUint64(f.heading(KindVote), view)
	b = append(b, byte(phase))
	b = append(b, block[:]...)
	b = append(b, newView[:]...)
	return appendBytes(b, sig)
}

// statement is what a vote signs.
func (f *Forger) statement(phase fbft.Phase, view uint64, block, newView shardkit.Hash) []byte {
	if f.blind {
		view, newView = 0, shardkit.Hash{}
	}
	b := append(f.context("shardkit/fbft/vote/v1"), byte(phase))
	b = binary.BigEndian.AppendUint64(b, view)
	b = append(b, block[:]...)
	return append(b, newView[:]...)
}

// Certificate is signed by the given members, of whatever weight they are.
func (f *Forger) Certificate(phase fbft.Phase, view uint64, block, newView shardkit.Hash, members ...int) *fbft.Certificate {
	slices.Sort(members)
	s := f.statement(phase, view, block, newView)
	var sigs [][]byte
	for _, i := range members {
		sigs = append(sigs, f.sign(i, s))
	}
	return f.certificate(phase, view, block, newView, members, sigs)
}

// certificate is of signatures that somebody else made.
func (f *Forger) certificate(phase fbft.Phase, view uint64, block, newView shardkit.Hash, members []int, sigs [][]byte) *fbft.Certificate {
	ct := &fbft.Certificate{Phase: phase, Epoch: f.Epoch, Height: f.Height, View: view, Block: block,
		Committee: f.Committee.Hash(), NewView: newView, Signers: fbft.NewBitmap(f.Committee.Len())}
	for _, i := range members {
		ct.Signers.Set(i)
	}
	ct.Aggregate = f.aggregate(f.statement(phase, view, block, newView), members, sigs)
	return ct
}

// aggregate is of whatever signatures there are. Schemes other than Fake leave
// the false ones out, so that the aggregate is one of fewer members than it is
// passed off for; if there is no good one at all, the first stands for all.
func (f *Forger) aggregate(statement []byte, members []int, sigs [][]byte) []byte {
	if f.Scheme != nil {
		if sum, _ := f.Scheme.Combine(statement, members, sigs); sum != nil {
			return sum
		}
		return slices.Concat(sigs[:min(1, len(sigs))]...)
	}
	var sum, tag [8]byte
	for _, sig := range sigs {
		copy(tag[:], sig)
		add(&sum, &tag)
	}
	return sum[:]
}

// CertificateMessage carries PREPARED or COMMITTED.
func (f *Forger) CertificateMessage(ct *fbft.Certificate, want bool) []byte {
	g := *f
	g.Height = ct.Height
	enc, err := ct.AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	return append(appendBool(g.heading(KindCertificate), want), enc...)
}

// Announce is a proposal for view 0.
func (f *Forger) Announce(header, ref []byte, previous *fbft.Certificate) []byte {
	b := binary.BigEndian.AppendUint64(f.heading(KindProposal), 0)
	b = appendBytes(appendBytes(b, header), ref)
	return appendCertificate(b, previous)
}

// Report is a member's report, signed.
func (f *Forger) Report(member int, view uint64, claim Claim) Report {
	return Report{Member: member, View: view, Claim: claim, Sig: f.sign(member, f.reportStatement(view, claim))}
}

// reportStatement is what a report signs: the claim too, so that nobody can claim
// in its name.
func (f *Forger) reportStatement(view uint64, claim Claim) []byte {
	return claim.append(binary.BigEndian.AppendUint64(f.context("shardkit/fbft/report/v1"), view))
}

// ReportMessage carries a report; cert and header go along if cert is not nil.
func (f *Forger) ReportMessage(r Report, previous, cert *fbft.Certificate, header []byte) []byte {
	b := binary.BigEndian.AppendUint64(f.heading(KindReport), r.View)
	b = appendBytes(r.Claim.append(b), r.Sig)
	b = appendCertificate(appendCertificate(b, previous), cert)
	if cert != nil {
		b = appendBytes(b, header)
	}
	return b
}

// NewView is a proposal above view 0 with the given reports as its proof. It
// also returns the digest that PREPARE signs.
func (f *Forger) NewView(view uint64, header, ref []byte, cert *fbft.Certificate, reports ...Report) (msg []byte, digest shardkit.Hash) {
	proof := f.proof(cert, reports)
	d := binary.BigEndian.AppendUint64(f.context("shardkit/fbft/newview/v1"), view)
	digest = sha256.Sum256(append(d, proof...))
	b := binary.BigEndian.AppendUint64(f.heading(KindProposal), view)
	b = appendBytes(appendBytes(b, header), ref)
	return append(append(b, 0), proof...), digest
}

// proof groups reports by claim, in order.
func (f *Forger) proof(cert *fbft.Certificate, reports []Report) []byte {
	claims := make([]Claim, 0, len(reports))
	for _, r := range reports {
		if !slices.Contains(claims, r.Claim) {
			claims = append(claims, r.Claim)
		}
	}
	slices.SortFunc(claims, func(a, b Claim) int { return slices.Compare(a.append(nil), b.append(nil)) })
	b := binary.BigEndian.AppendUint32(nil, uint32(len(claims)))
	for _, c := range claims {
		signers, members, sigs := fbft.NewBitmap(f.Committee.Len()), []int(nil), [][]byte(nil)
		for _, r := range reports {
			if r.Claim == c {
				signers.Set(r.Member)
				members, sigs = append(members, r.Member), append(sigs, r.Sig)
			}
		}
		sum := f.aggregate(f.reportStatement(reports[0].View, c), members, sigs)
		b = appendBytes(appendBytes(c.append(b), signers), sum)
	}
	return appendCertificate(b, cert)
}

// signatureInReport is where the first byte of a report's signature is: after
// heading, view, claim and length.
const signatureInReport = 14 + 8 + 41 + 4

// signatureInVote is where a vote's signature is: after heading, view, phase,
// block, digest and length.
const signatureInVote = 14 + 8 + 1 + 32 + 32 + 4

// newViewOf returns the digest that a vote signs.
func newViewOf(vote []byte) shardkit.Hash { return shardkit.Hash(vote[14+8+1+32:]) }

// secondProposal is a proposal of another block on the same proof: its header
// is longer by a byte.
func secondProposal(msg []byte) []byte {
	n := binary.BigEndian.Uint32(msg[22:])
	out := binary.BigEndian.AppendUint32(slices.Clone(msg[:22]), n+1)
	out = append(append(out, msg[26:26+n]...), 2)
	return append(out, msg[26+n:]...)
}

// Info is what can be told of a message without its context.
type Info struct {
	Kind   byte
	Height shardkit.Height
	View   uint64
	Phase  fbft.Phase    // of votes and certificates
	Block  shardkit.Hash // of votes, certificates, and the claim of a report
}

// Inspect reads the fixed fields of a message; ok is false if it is none.
func Inspect(msg []byte) (in Info, ok bool) {
	if len(msg) < 22 {
		return in, false
	}
	in.Kind = msg[1]
	in.Height = shardkit.Height(binary.BigEndian.Uint64(msg[6:]))
	body := msg[14:]
	if least := [...]int{0, 12, 41, 59, 49}; int(in.Kind) >= len(least) || len(body) < least[in.Kind] {
		return in, false
	}
	switch in.Kind {
	case KindProposal:
		in.View = binary.BigEndian.Uint64(body)
		if n := int(binary.BigEndian.Uint32(body[8:])); n <= len(body)-12 {
			in.Block = fbft.BlockHash(body[12 : 12+n])
		}
	case KindReport:
		in.View = binary.BigEndian.Uint64(body)
		in.Block = shardkit.Hash(body[17:])
	case KindVote:
		in.View, in.Phase = binary.BigEndian.Uint64(body), fbft.Phase(body[8])
		in.Block = shardkit.Hash(body[9:])
	case KindCertificate:
		in.Phase = fbft.Phase(body[2])
		in.View = binary.BigEndian.Uint64(body[19:])
		in.Block = shardkit.Hash(body[27:])
	}
	return in, true
}
