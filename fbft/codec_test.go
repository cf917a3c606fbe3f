package fbft

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

func sampleCertificate(p Phase, view uint64) *Certificate {
	ct := &Certificate{Phase: p, Epoch: 1, Height: 2, View: view, Block: shardkit.Hash{3},
		Committee: shardkit.Hash{4}, Signers: Bitmap{0x07}, Aggregate: []byte{6, 7}}
	if p == Prepare && view > 0 {
		ct.NewView = shardkit.Hash{5}
	}
	return ct
}

// samples holds one message of every kind, with everything optional present
// where it can be.
func samples() map[string][]byte {
	head := func(kind uint8) []byte { return appendHeading(nil, kind, 9, 2) }
	pf := &proof{
		groups: []group{
			{claim: claim{}, signers: Bitmap{1}, aggregate: []byte{1}},
			{claim: claim{ok: true, view: 1, block: shardkit.Hash{3}}, signers: Bitmap{6}, aggregate: []byte{2}},
		},
		cert: sampleCertificate(Prepare, 1),
	}
	announce := &proposal{header: []byte("head"), ref: []byte("ref"), previous: sampleCertificate(Commit, 0)}
	newView := &proposal{view: 2, header: []byte("head"), proof: pf}
	v := &vote{view: 2, phase: Prepare, block: shardkit.Hash{3}, newView: shardkit.Hash{5}, sig: []byte{8}}
	rep := &report{view: 2, claim: claim{ok: true, view: 1, block: shardkit.Hash{3}}, sig: []byte{8},
		previous: sampleCertificate(Commit, 0), cert: sampleCertificate(Prepare, 1), header: []byte("head")}
	end := &certMessage{cert: sampleCertificate(Commit, 3), want: true}
	late := &vote{view: 2, phase: Commit, block: shardkit.Hash{3}, sig: []byte{8}}
	return map[string][]byte{
		"announce":    announce.appendTo(head(kindProposal)),
		"newview":     newView.appendTo(head(kindProposal)),
		"vote":        v.appendTo(head(kindVote)),
		"certificate": end.appendTo(head(kindCertificate)),
		"report":      rep.appendTo(head(kindReport)),
		"late":        late.appendTo(head(kindLate)),
	}
}

// recode decodes a message and encodes what it got.
func recode(b []byte) ([]byte, error) {
	r := wire.NewReader(b)
	h := readHeading(r)
	out := appendHeading(nil, h.kind, h.shard, h.height)
	switch h.kind {
	case kindProposal:
		out = readProposalOnly(r, out)
	case kindVote, kindLate:
		v := readVote(r)
		out = v.appendTo(out)
	case kindCertificate:
		if m := readCertMessage(r); r.Err() == nil {
			out = m.appendTo(out)
		}
	case kindReport:
		out = readReport(r, 1<<14).appendTo(out)
	default:
		r.Fail(wire.ErrValue)
	}
	return out, r.Close()
}

func readProposalOnly(r *wire.Reader, out []byte) []byte {
	p := readProposal(r, 1<<14, 1<<10)
	if r.Err() != nil {
		return nil
	}
	return p.appendTo(out)
}

// TestGolden pins the encodings: changing one splits a network.
func TestGolden(t *testing.T) {
	golden := map[string]string{}
	for name, b := range samples() {
		got, err := recode(b)
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: recoded to %x, %v", name, got, err)
		}
		if want := goldenMessages[name]; hex.EncodeToString(b) != want {
			golden[name] = hex.EncodeToString(b)
		}
		for cut := range b {
			if _, err := recode(b[:cut]); err == nil {
				t.Errorf("%s: cut to %d bytes and accepted", name, cut)
			}
		}
		if _, err := recode(append(bytes.Clone(b), 0)); err == nil {
			t.Errorf("%s: accepted with a trailing byte", name)
		}
	}
	for name, b := range golden {
		t.Errorf("%q: %q,", name, b)
	}
}

// TestStatements pins what is signed, and that no two meanings share bytes.
func TestStatements(t *testing.T) {
	chain := shardkit.Hash{1}
	base := sampleCertificate(Prepare, 1)
	seen := map[string]string{string(base.Statement(chain, 7)): "base"}
	add := func(name string, b []byte) {
		if was, dup := seen[string(b)]; dup {
			t.Errorf("%s signs the same bytes as %s", name, was)
		}
		seen[string(b)] = name
	}
	vary := func(name string, f func(ct *Certificate)) {
		ct := *base
		f(&ct)
		add(name, ct.Statement(chain, 7))
	}
	add("chain", base.Statement(shardkit.Hash{2}, 7))
	add("shard", base.Statement(chain, 8))
	vary("epoch", func(ct *Certificate) { ct.Epoch++ })
	vary("height", func(ct *Certificate) { ct.Height++ })
	vary("view", func(ct *Certificate) { ct.View++ })
	vary("phase", func(ct *Certificate) { ct.Phase = Commit })
	vary("block", func(ct *Certificate) { ct.Block[9]++ })
	vary("committee", func(ct *Certificate) { ct.Committee[9]++ })
	vary("new view", func(ct *Certificate) { ct.NewView[9]++ })

	want := "73686172646b69742f666266742f766f74652f7631" + // shardkit/fbft/vote/v1
		"0100000000000000000000000000000000000000000000000000000000000000" + "00000007" +
		"0000000000000001" + "0000000000000002" +
		"0400000000000000000000000000000000000000000000000000000000000000" + "01" + "0000000000000001" +
		"0300000000000000000000000000000000000000000000000000000000000000" +
		"0500000000000000000000000000000000000000000000000000000000000000"
	if got := hex.EncodeToString(base.Statement(chain, 7)); got != want {
		t.Errorf("vote signs %s", got)
	}
}

func TestRefusedEncodings(t *testing.T) {
	bad := func(name string, ct *Certificate) {
		if got, err := ct.AppendBinary(nil); err == nil {
			t.Errorf("%s: encoded to %x", name, got)
		}
		if err := new(Certificate).UnmarshalBinary(ct.appendTo(nil)); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
	vary := func(name string, f func(ct *Certificate)) {
		ct := sampleCertificate(Commit, 1)
		f(ct)
		bad(name, ct)
	}
	vary("phase 0", func(ct *Certificate) { ct.Phase = 0 })
	vary("phase 3", func(ct *Certificate) { ct.Phase = 3 })
	vary("view too high", func(ct *Certificate) { ct.View = MaxView + 1 })
	vary("new view in commit", func(ct *Certificate) { ct.NewView[0] = 1 })
	vary("no new view in prepare", func(ct *Certificate) { ct.Phase = Prepare })
	vary("no signers", func(ct *Certificate) { ct.Signers = nil })
	vary("no aggregate", func(ct *Certificate) { ct.Aggregate = nil })
	vary("long bitmap", func(ct *Certificate) { ct.Signers = make(Bitmap, MaxMembers/8+1) })
	vary("long aggregate", func(ct *Certificate) { ct.Aggregate = make([]byte, MaxAggregate+1) })
}

func FuzzMessage(f *testing.F) {
	for _, b := range samples() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := recode(b); err == nil && !bytes.Equal(got, b) {
			t.Fatalf("%x recodes to %x", b, got)
		}
	})
}

func FuzzCertificate(f *testing.F) {
	f.Add(sampleCertificate(Commit, 1).appendTo(nil))
	f.Add(sampleCertificate(Prepare, 3).appendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var ct Certificate
		if ct.UnmarshalBinary(b) != nil {
			return
		}
		if got, err := ct.AppendBinary(nil); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x recodes to %x, %v", b, got, err)
		}
	})
}

func FuzzCommittee(f *testing.F) {
	c := &Committee{quorum: 3, members: []Member{{Node: shardkit.NodeID{1}, Key: []byte("k"), Weight: 2}, {Key: []byte{1}, Weight: 1}}}
	f.Add(c.appendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		members, quorum, err := DecodeCommittee(b)
		if err != nil {
			return
		}
		c := &Committee{members: members, quorum: quorum}
		if got := c.appendTo(nil); !bytes.Equal(got, b) {
			t.Fatalf("%x recodes to %x", b, got)
		}
	})
}

func sampleAnswer() []byte {
	ct := sampleCertificate(Commit, 3)
	ct.Block = BlockHash([]byte("header"))
	return appendTold(nil, 9, []told{{header: []byte("header"), cert: ct}})
}

func TestGoldenAnswer(t *testing.T) {
	b := sampleAnswer()
	if got := hex.EncodeToString(b); got != goldenAnswer {
		t.Errorf("%s", got)
	}
	for cut := range b {
		if _, _, err := readTold(b[:cut], 100); err == nil {
			t.Errorf("cut to %d bytes and accepted", cut)
		}
	}
	if _, _, err := readTold(append(b, 0), 100); err == nil {
		t.Error("accepted with a trailing byte")
	}
	if _, _, err := readTold(sampleAnswer(), 5); err == nil {
		t.Error("accepted with a header that is too long")
	}
	if _, _, err := readTold(appendTold(nil, 9, []told{{header: []byte("other"), cert: sampleCertificate(Commit, 3)}}), 100); !errors.Is(err, ErrInvalid) {
		t.Errorf("a header of another block: %v", err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(sampleAnswer())
	f.Fuzz(func(t *testing.T, b []byte) {
		list, top, err := readTold(b, 100)
		if err == nil && !bytes.Equal(appendTold(nil, top, list), b) {
			t.Error("encodes to something else")
		}
	})
}

func sampleRecords() []*logged {
	return []*logged{
		{kind: recVote, epoch: 1, height: 2, view: 3, vote: vote{view: 3, phase: Commit, block: shardkit.Hash{4}}},
		{kind: recLock, epoch: 1, height: 2, cert: sampleCertificate(Prepare, 1), data: []byte("head")},
		{kind: recReport, epoch: 1, height: 2, view: 3, claim: claim{ok: true, view: 2, block: shardkit.Hash{4}}},
		{kind: recProposal, epoch: 1, height: 2, view: 3, own: true, data: []byte("message")},
		{kind: recDecided, epoch: 1, height: 2, cert: sampleCertificate(Commit, 1)},
	}
}

func FuzzRecord(f *testing.F) {
	for _, l := range sampleRecords() {
		f.Add(l.encode(9))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := decodeRecord(b, 9)
		if err == nil && !bytes.Equal(l.encode(9), b) {
			t.Fatalf("%x recodes to %x", b, l.encode(9))
		}
	})
}

func TestGoldenRecords(t *testing.T) {
	for i, l := range sampleRecords() {
		if got := hex.EncodeToString(l.encode(9)); i >= len(goldenRecords) || got != goldenRecords[i] {
			t.Errorf("%q,", got)
		}
	}
	if _, err := decodeRecord(sampleRecords()[0].encode(8), 9); err == nil {
		t.Error("record of another shard accepted")
	}
}

func sampleEvidence() *Evidence {
	vote := Half{Phase: Commit, View: 1, Block: shardkit.Hash{3}, Signers: Bitmap{3}, Aggregate: []byte{1}}
	none := Half{View: 2, Signers: Bitmap{6}, Aggregate: []byte{2}}
	return newEvidence(1, 2, shardkit.Hash{4}, vote, none)
}

func TestGoldenEvidence(t *testing.T) {
	b := sampleEvidence().appendTo(nil)
	if got := hex.EncodeToString(b); got != goldenEvidence {
		t.Errorf("%q", got)
	}
	swapped := *sampleEvidence()
	swapped.First, swapped.Second = swapped.Second, swapped.First
	if new(Evidence).UnmarshalBinary(swapped.appendTo(nil)) == nil {
		t.Error("accepted out of order")
	}
}

// TestOffences goes through pairs of statements of one member.
func TestOffences(t *testing.T) {
	vote := func(p Phase, view uint64, block byte) Half {
		return Half{Phase: p, View: view, Block: shardkit.Hash{block}}
	}
	rep := func(view uint64, claimed bool, claim uint64) Half {
		return Half{View: view, Claimed: claimed, ClaimedView: claim}
	}
	for i, c := range []struct {
		a, b Half
		want bool
	}{
		{vote(Prepare, 1, 1), vote(Prepare, 1, 2), true},
		{vote(Prepare, 1, 1), vote(Commit, 1, 2), false},
		{vote(Prepare, 1, 1), vote(Prepare, 2, 2), false},
		{vote(Commit, 1, 1), vote(Prepare, 2, 2), false}, // on a valid NEWVIEW that is honest
		{vote(Commit, 1, 1), vote(Commit, 1, 1), false},
		{vote(Commit, 1, 1), rep(2, false, 0), true},
		{vote(Commit, 1, 1), rep(2, true, 0), true},
		{vote(Commit, 1, 1), rep(2, true, 1), false},
		{vote(Commit, 2, 1), rep(2, false, 0), false},
		{vote(Prepare, 1, 1), rep(2, false, 0), false},
		{rep(2, true, 1), rep(2, false, 0), true},
		{rep(2, true, 1), rep(3, false, 0), false},
	} {
		if offence(&c.a, &c.b) != c.want || offence(&c.b, &c.a) != c.want {
			t.Errorf("case %d: want %v", i, c.want)
		}
	}
}

func FuzzEvidence(f *testing.F) {
	f.Add(sampleEvidence().appendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Evidence
		if e.UnmarshalBinary(b) == nil && !bytes.Equal(e.appendTo(nil), b) {
			t.Fatalf("%x recodes to %x", b, e.appendTo(nil))
		}
	})
}
