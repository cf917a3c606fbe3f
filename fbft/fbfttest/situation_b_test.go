package fbfttest_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/bls"
	"github.com/shardkit/shardkit/fbft/fbfttest"
)

// blsKeys returns secret keys of package bls and their public halves.
func blsKeys(t testing.TB, n int) (keys []*bls.SecretKey, public [][]byte) {
	t.Helper()
	for i := range n {
		k, err := bls.GenerateKey(bytes.Repeat([]byte{byte(i), byte(i >> 8), 7, 9}, 8))
		if err != nil {
			t.Fatal(err)
		}
		keys, public = append(keys, k), append(public, k.Public())
	}
	return keys, public
}

func TestSituation15_RogueKey(t *testing.T) {
	keys, public := blsKeys(t, 2)
	context := []byte("chain 1, account 7")
	proof := keys[0].Prove(context)
	if err := bls.VerifyPossession(public[0], context, proof); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"missing":          bls.VerifyPossession(public[0], context, nil),
		"of another key":   bls.VerifyPossession(public[1], context, proof),
		"of another chain": bls.VerifyPossession(public[0], []byte("chain 2, account 7"), proof),
	} {
		if err == nil {
			t.Errorf("a proof %s was accepted", name)
		}
	}
	vote, err := keys[0].Sign(public[0])
	if err != nil || bls.VerifyPossession(public[0], nil, vote) == nil {
		t.Errorf("a signature passes for a proof (%v)", err)
	}
}

func TestSituation16_MalformedPoints(t *testing.T) {
	keys, public := blsKeys(t, 1)
	infinity := append([]byte{0xc0}, make([]byte, 95)...)
	for name, key := range map[string][]byte{
		"identity":     infinity,
		"uncompressed": append([]byte{0}, make([]byte, 191)...),
		"wrong flags":  append([]byte{public[0][0] &^ 0x80}, public[0][1:]...),
		"trailing":     append(bytes.Clone(public[0]), 0),
		"short":        public[0][:95],
		"beyond field": bytes.Repeat([]byte{0x9f, 0xff}, 48),
	} {
		if _, err := bls.NewCommittee([][]byte{key}, [32]byte{1}); err == nil {
			t.Errorf("key %s: accepted", name)
		}
	}
	c, err := bls.NewCommittee(public, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	statement := []byte("statement")
	sig, err := keys[0].Sign(statement)
	if err != nil {
		t.Fatal(err)
	}
	agg, _ := c.Combine(statement, []int{0}, [][]byte{sig})
	if err := c.Verify(statement, []int{0}, agg); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"identity":    append([]byte{0xc0}, make([]byte, 47)...),
		"96 bytes":    append(bytes.Clone(agg), make([]byte, 48)...),
		"trailing":    append(bytes.Clone(agg), 0),
		"wrong flags": append([]byte{agg[0] &^ 0x80}, agg[1:]...),
		"empty":       nil,
	} {
		if c.Verify(statement, []int{0}, bad) == nil {
			t.Errorf("signature %s: accepted", name)
		}
	}
}

func TestSituation17_OddSets(t *testing.T) {
	l := labFor(t, fbfttest.LabConfig{Nodes: 5})
	f := l.Forger(1)
	good := f.Certificate(fbft.Commit, 0, shardkit.Hash{1}, none, 0, 1, 2, 3)
	if err := good.Check(l.Chain, 0, l.Committee); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]fbft.Bitmap{
		"padding":   {0x2f},
		"too long":  {0x0f, 0},
		"too short": {},
		"empty":     {0},
		"one less":  {0x07},
	} {
		bad := *good
		bad.Signers = b
		if bad.Check(l.Chain, 0, l.Committee) == nil {
			t.Errorf("bitmap %s: accepted", name)
		}
	}
	m := slices.Clone(l.Committee.Members())
	m[4].Key = m[0].Key
	if _, err := fbft.NewCommittee(m, 0, fbfttest.Fake(nil)); err == nil {
		t.Error("a key twice: accepted")
	}
}

func TestSituation18_InvalidPartials(t *testing.T) {
	for bad := range 3 {
		l := labFor(t, fbfttest.LabConfig{Nodes: 7, Silent: []int{5, 6}, Leaders: []int{0, 1, 2}})
		f := l.Forger(1)
		l.Run(kind(fbfttest.KindProposal, nil))
		var block shardkit.Hash
		for _, p := range l.Sent {
			block = p.Info.Block
		}
		for i := range bad { // false signatures first, of one and of both adversaries
			_ = l.Send(5+i, 0, f.VoteWith(fbft.Prepare, 0, block, none, []byte("nonsense")))
			_ = l.Send(5+i, 0, f.VoteWith(fbft.Commit, 0, block, none, []byte("nonsense")))
		}
		jobs := l.Jobs
		l.Run(nil)
		if !l.AllDecided(1) {
			t.Fatalf("%d false signatures keep the honest from deciding", bad)
		}
		for _, b := range l.Blamed {
			if !bytes.Contains([]byte(b), []byte("blames 5")) && !bytes.Contains([]byte(b), []byte("blames 6")) {
				t.Errorf("an honest member is blamed: %s", b)
			}
		}
		if l.Jobs-jobs > 80 {
			t.Errorf("%d false signatures cost %d jobs", bad, l.Jobs-jobs)
		}
		safe(t, l)
	}
}

// sumOnly is a scheme like a lazily summed one: what counts is that the sum
// verifies, and single signatures are looked at only if it does not.
type sumOnly struct{ fbft.Verifier }

func (s sumOnly) Combine(statement []byte, members []int, sigs [][]byte) ([]byte, []int) {
	sum := make([]byte, 8)
	for _, sig := range sigs {
		for k := range sum {
			sum[k] ^= sig[k]
		}
	}
	if s.Verify(statement, members, sum) == nil {
		return sum, nil
	}
	return s.Verifier.Combine(statement, members, sigs)
}

// TestSituation19_CancellingPair: two adversaries send signatures whose errors
// cancel. Together they pass; the certificate must then name both, and what is
// made of a part of them must be checked anew.
func TestSituation19_CancellingPair(t *testing.T) {
	l := labFor(t, fbfttest.LabConfig{Nodes: 7, Silent: []int{5, 6}, Leaders: []int{0, 1, 2},
		Scheme: func(keys [][]byte) fbft.Verifier { return sumOnly{fbfttest.Fake(keys)} }})
	f := l.Forger(1)
	l.Run(kind(fbfttest.KindProposal, nil))
	block := l.Sent[0].Info.Block
	for _, i := range []int{5, 6} {
		ct := f.Certificate(fbft.Prepare, 0, block, none, i)
		ct.Aggregate[3] ^= 0x55 // the same error twice: the sum is right
		_ = l.Send(i, 0, f.VoteWith(fbft.Prepare, 0, block, none, ct.Aggregate))
	}
	l.Drop(func(p fbfttest.Packet) bool { return p.From == 4 })
	l.Run(nil)
	if !l.AllDecided(1) || len(l.Blamed) > 0 {
		t.Fatalf("decided %v, blamed %v", l.AllDecided(1), l.Blamed)
	}
	safe(t, l)
}

func TestSituation20_VoteOfAnotherKind(t *testing.T) {
	s := stageFor(t, 0, 1, 2, 3)
	s.Run(kind(fbfttest.KindProposal, nil))
	block := s.Sent[0].Info.Block
	s.Run(func(p fbfttest.Packet) bool { return p.From == 1 && p.Info.Phase == fbft.Prepare })
	// One vote is missing. None of these is it:
	s.say(s.f.Vote(3, fbft.Commit, 0, block, none), 0)
	s.say(s.f.Vote(3, fbft.Prepare, 1, block, shardkit.Hash{1}), 0)
	s.say(s.f.Vote(3, fbft.Prepare, 0, shardkit.Hash{9}, none), 0)
	g := *s.f
	g.Committee = labFor(t, fbfttest.LabConfig{Nodes: 5}).Committee
	s.say(g.Vote(3, fbft.Prepare, 0, block, none), 0)
	a := s.Core(0)
	stranger := a.Deliver(0, shardkit.NodeID{99}, s.f.Vote(2, fbft.Prepare, 0, block, none))
	if !errors.Is(stranger, fbft.ErrMember) {
		t.Errorf("a stranger's vote: %v", stranger)
	}
	for _, p := range s.Sent {
		if p.Info.Kind == fbfttest.KindCertificate {
			t.Fatal("a certificate was made of votes that do not belong together")
		}
	}
	recovers(t, s.Lab, 0, 1, 2)
}

func TestSituation21_TwoVotesToTwoCollectors(t *testing.T) {
	s := stageFor(t, 0, 1, 2, 3)
	s.Run(kind(fbfttest.KindProposal, nil))
	block := s.Sent[0].Info.Block
	s.Run(kind(fbfttest.KindVote, nil))
	s.Run(kind(fbfttest.KindCertificate, nil))
	s.say(s.f.Vote(3, fbft.Commit, 0, block, none), 0)
	s.say(s.f.Vote(3, fbft.Commit, 0, shardkit.Hash{9}, none), 1)
	recovers(t, s.Lab, 0, 1, 2)
	if d, _ := s.Decided(1, 1); d != block {
		t.Error("another block decided")
	}
}

func TestSituation22_ExactlyTwoThirds(t *testing.T) {
	run := func(weights []uint64, down int) bool {
		l := labFor(t, fbfttest.LabConfig{Nodes: len(weights), Weights: weights})
		l.Crash(down, 0)
		for range 8 {
			l.Run(nil)
			for i := range weights {
				l.Timeout(i)
			}
		}
		safe(t, l)
		return l.AllDecided(1)
	}
	if run([]uint64{2, 2, 2}, 2) {
		t.Error("4 of 6 decide: exactly two thirds")
	}
	if !run([]uint64{3, 2, 2}, 2) {
		t.Error("5 of 7 do not decide")
	}
	big := uint64(fbft.MaxWeight / 4)
	if !run([]uint64{big, big, big, big - 3}, 3) || run([]uint64{big, big, big, big}, 0) == false {
		t.Error("heavy members do not decide")
	}
	if run([]uint64{1, 1, 4, 5}, 3) {
		t.Error("decided without a member of more than a third")
	}
	if _, err := fbft.NewCommittee([]fbft.Member{{Key: []byte{1}, Weight: 1 << 63}}, 0, fbfttest.Fake(nil)); err == nil {
		t.Error("weight 2^63 accepted")
	}
}

func TestSituation23_FloodFromTheFuture(t *testing.T) {
	s := stageFor(t, 0, 1, 2, 3)
	before := len(s.Core(1).AppendState(nil))
	for k := range uint64(3000) {
		view := k * k * k % fbft.MaxView
		s.say(s.f.Vote(3, fbft.Commit, view, shardkit.Hash{byte(k)}, none), 1)
		s.liar(view+1, 1)
		g := *s.f
		g.Height = shardkit.Height(1<<64 - 1 - k)
		_ = s.Send(3, 1, g.Vote(3, fbft.Commit, view, shardkit.Hash{byte(k)}, none))
		_ = s.Send(3, 1, g.ReportMessage(g.Report(3, view+1, fbfttest.Claim{}), nil, nil, nil))
	}
	core := s.Core(1)
	if st := core.Status(); st.View != 0 || st.Reported != 0 {
		t.Errorf("one member moved another: view %d, reported %d", st.View, st.Reported)
	}
	if after := len(core.AppendState(nil)); after > before+1000 {
		t.Errorf("the state grew from %d to %d bytes", before, after)
	}
	if len(s.Behind) > 1 {
		t.Errorf("%d hints in one instant", len(s.Behind))
	}
	recovers(t, s.Lab, 0, 1, 2)
}

func TestSituation24_OldAndDuplicatesAreFree(t *testing.T) {
	s := stageFor(t, 0, 1, 2, 3)
	s.Run(kind(fbfttest.KindProposal, nil))
	block := s.Sent[0].Info.Block
	vote := s.f.Vote(1, fbft.Prepare, 0, block, none)
	_ = s.Send(1, 0, vote)
	core, id := s.Core(0), s.ID(1)
	dup := testing.AllocsPerRun(200, func() { _ = core.Deliver(0, id, vote) })
	recovers(t, s.Lab, 0, 1, 2)
	_ = core.Deliver(0, id, vote)
	core.Ready()
	jobs := s.Jobs
	old := testing.AllocsPerRun(200, func() { _ = core.Deliver(0, id, vote) })
	if dup != 0 || old != 0 {
		t.Errorf("allocations: %v for a duplicate, %v for an old vote", dup, old)
	}
	if e := core.Ready(); len(e.Jobs) != 0 || s.Jobs != jobs || len(e.Messages) > 1 {
		t.Errorf("old votes cost %d jobs and %d messages", len(e.Jobs), len(e.Messages))
	}
}

func TestSituation25_SameBadCertificateFromMany(t *testing.T) {
	l := labFor(t, fbfttest.LabConfig{Nodes: 7, Silent: []int{4, 5, 6}})
	f := l.Forger(1)
	ct := f.Certificate(fbft.Commit, 0, shardkit.Hash{1}, none, 0, 1, 2, 3, 4)
	ct.Aggregate = []byte("nonsense")
	jobs := l.Jobs
	for range 5 {
		for i := 4; i < 7; i++ {
			_ = l.Send(i, 0, f.CertificateMessage(ct, false))
		}
	}
	if l.Jobs-jobs != 1 {
		t.Errorf("verified %d times", l.Jobs-jobs)
	}
	if len(l.Blamed) != 3 {
		t.Errorf("blamed: %v", l.Blamed)
	}
}

func TestSituation26_OversizeAndUnavailable(t *testing.T) {
	s := stageFor(t, 3, 0, 1, 2)
	for _, msg := range [][]byte{
		s.f.Announce(make([]byte, 16<<10+1), nil, nil),
		s.f.Announce([]byte("header"), make([]byte, 1<<10+1), nil),
		s.f.Announce(nil, nil, nil),
	} {
		if err := s.Send(3, 0, msg); !errors.Is(err, fbft.ErrMalformed) {
			t.Errorf("an announcement of %d bytes: %v", len(msg), err)
		}
	}
	// The body of a prepared block is nowhere to be had for member 2.
	l := labFor(t, fbfttest.LabConfig{Leaders: []int{0, 1, 2, 3}, Judge: func(actor int, v fbft.Validate) error {
		if actor == 2 && v.View == 0 {
			return fbfttest.ErrNever
		}
		return nil
	}})
	l.Run(nil)
	if !l.AllDecided(1) {
		t.Error("not decided")
	}
	for _, p := range l.Sent {
		if p.From == 2 && p.Info.Kind == fbfttest.KindVote {
			t.Errorf("a vote for a block whose body is not there: %s", l.Describe(p.Data))
		}
	}
	safe(t, l)
}

func TestSituation27_BodyGoodForSomeOnly(t *testing.T) {
	l := labFor(t, fbfttest.LabConfig{Leaders: []int{0, 1, 2, 3}, Judge: func(actor int, v fbft.Validate) error {
		if actor >= 2 && v.View == 0 {
			return errors.New("not to my taste")
		}
		return nil
	}})
	recovers(t, l, 0, 1, 2, 3)
	if d, _ := l.Decided(0, 1); d == l.Sent[0].Info.Block {
		t.Error("the block of half of the members was decided")
	}
}
