package fbfttest_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/bls"
	"github.com/shardkit/shardkit/fbft/fbfttest"
	"github.com/shardkit/shardkit/kad/simnet"
)

func simFor(t *testing.T, cfg fbfttest.SimConfig) *fbfttest.Sim {
	t.Helper()
	s, err := fbfttest.NewSim(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// lastFirst delivers what is in flight, the newest first.
func lastFirst(l *fbfttest.Lab) {
	for len(l.Flight) > 0 {
		l.Deliver(len(l.Flight) - 1)
	}
}

func TestSituation28_EverythingInTheWrongOrder(t *testing.T) {
	l := labFor(t, fbfttest.LabConfig{Heights: 4})
	for range 6 {
		lastFirst(l)
		l.Timeout(0, 1, 2, 3)
	}
	lastFirst(l)
	if !l.AllDecided(4) {
		t.Error("not decided, newest first")
	}
	safe(t, l)

	// COMMITTED, then PREPARED, then the announcement.
	s := stageFor(t, 3, 0, 1, 2)
	s.say(s.f.Announce(s.other, []byte("ref"), nil), 1, 2)
	prepared := s.f.Certificate(fbft.Prepare, 0, hash(s.other), none, 1, 2, 3)
	s.show(prepared, 0)
	if votes(s.Lab, fbft.Commit, 0) != 0 {
		t.Error("COMMIT without the body")
	}
	s.say(s.f.Announce(s.other, []byte("ref"), nil), 0)
	if votes(s.Lab, fbft.Commit, 0) != 1 {
		t.Error("no COMMIT once the body came")
	}
	s.show(s.f.Certificate(fbft.Commit, 0, hash(s.other), none, 1, 2, 3), 0)
	if _, ok := s.Decided(0, 1); !ok {
		t.Error("COMMITTED did not decide")
	}

	// NEWVIEW before the own timer.
	s, lock, r := newViewStage(t)
	_ = lock
	fresh := stageFor(t, 3, 3, 0, 1)
	msg, _ := fresh.f.NewView(1, fresh.other, []byte("ref"), nil, r[1], r[2], r[3])
	fresh.say(msg, 2)
	if fresh.Core(2).Status().View != 1 || votes(fresh.Lab, fbft.Prepare, 1) != 1 {
		t.Error("a valid NEWVIEW before the own timer is not followed")
	}
	safe(t, s.Lab)
}

func TestSituation29_PartitionsThenHeal(t *testing.T) {
	s := simFor(t, fbfttest.SimConfig{Heights: 200, Nodes: 4,
		Core: fbft.Config{BaseTimeout: 200 * time.Millisecond, MaxTimeout: time.Second},
		Net:  simnet.Config{Seed: 3, Jitter: 20 * time.Millisecond}})
	n := s.Net
	n.At(100*time.Millisecond, func() { // deaf in one direction
		for i := range 3 {
			n.Block(s.ID(i), s.ID(3), true)
		}
	})
	n.At(2*time.Second, func() { n.Partition([]shardkit.NodeID{s.ID(0), s.ID(1)}) })
	for k := range 20 { // flapping
		n.At(4*time.Second+time.Duration(k)*150*time.Millisecond, func() {
			n.Heal()
			n.Partition([]shardkit.NodeID{s.ID(k % 4), s.ID((k + 1) % 4)})
		})
	}
	n.At(8*time.Second, n.Heal)
	n.Run(8 * time.Second)
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	h := s.Height(0)
	if err := s.RunTo(h+20, 20*time.Second); err != nil {
		t.Error(err)
	}
}

func TestSituation30_OneAlwaysLate(t *testing.T) {
	late := 3
	var s *fbfttest.Sim
	s = simFor(t, fbfttest.SimConfig{Heights: 60, Nodes: 4,
		Core: fbft.Config{BaseTimeout: 100 * time.Millisecond, MaxTimeout: 400 * time.Millisecond},
		Net: simnet.Config{Seed: 4, Latency: func(from, to shardkit.NodeID) time.Duration {
			if s != nil && (from == s.ID(late) || to == s.ID(late)) {
				return 90 * time.Millisecond
			}
			return 5 * time.Millisecond
		}}})
	if err := s.RunTo(60, 60*time.Second, 0, 1, 2); err != nil {
		t.Fatal(err)
	}
	if err := s.RunTo(60, s.Net.Now()+3*time.Second); err != nil {
		t.Errorf("the late one was left behind: %v", err)
	}
}

func TestSituation31_LeaderDropsChosenVotes(t *testing.T) {
	l := labFor(t, fbfttest.LabConfig{Leaders: []int{0, 1, 2, 3}})
	l.Crash(3, 0)
	ignored := func(p fbfttest.Packet) bool { return p.From == 2 && p.To == 0 }
	for range 4 {
		l.Drop(ignored)
		l.Run(func(p fbfttest.Packet) bool { return !ignored(p) })
		l.Drop(ignored)
		l.Timeout(0, 1, 2)
	}
	if !l.AllDecided(1) {
		t.Error("one leader that ignores one member stops the committee")
	}
	safe(t, l)
}

func TestSituation32_SilentAndSlowLeaders(t *testing.T) {
	l := labFor(t, fbfttest.LabConfig{Nodes: 7, Silent: []int{0, 1}, Leaders: []int{0, 1, 2}})
	live := []int{2, 3, 4, 5, 6}
	views := 0
	for ; !l.AllDecided(1) && views < 5; views++ {
		l.Timeout(live...)
		l.Run(nil)
	}
	if views != 2 {
		t.Errorf("decided after %d views, two leaders are silent", views)
	}
	safe(t, l)

	// Two leaders that do everything right before the timer runs out.
	var s *fbfttest.Sim
	s = simFor(t, fbfttest.SimConfig{Nodes: 7, Heights: 30,
		Core: fbft.Config{BaseTimeout: 200 * time.Millisecond, MaxTimeout: time.Second},
		Net: simnet.Config{Seed: 5, Filter: func(from, _ shardkit.NodeID, msg []byte) (v simnet.Verdict) {
			in, ok := fbfttest.Inspect(msg[1:])
			if ok && msg[0] == 0 && s != nil && (from == s.ID(0) || from == s.ID(1)) && in.Kind == fbfttest.KindProposal {
				v.Delay = 190 * time.Millisecond
			}
			return v
		}}})
	if err := s.RunTo(30, 40*time.Second); err != nil {
		t.Error(err)
	}
}

func TestSituation33_EpochChange(t *testing.T) {
	for seed := range uint64(30) {
		if err := runEpochSeed(seed + 5000); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	// The last block of the epoch is known to one node of the old committee
	// alone, which then dies and comes back.
	s := simFor(t, fbfttest.SimConfig{Nodes: 7, Heights: 4,
		Core: fbft.Config{BaseTimeout: 200 * time.Millisecond, MaxTimeout: time.Second},
		Net:  simnet.Config{Seed: 6},
		Epochs: func(h shardkit.Height) (shardkit.Epoch, []int) {
			if h <= 2 {
				return 0, []int{0, 1, 2, 3}
			}
			return 1, []int{3, 4, 5, 6}
		}})
	if !s.Net.RunUntil(func() bool { return s.Status(3).Height == 3 || s.Height(3) == 2 }, time.Second) {
		t.Fatal("the epoch does not end")
	}
	s.Net.Partition([]shardkit.NodeID{s.ID(3)})
	s.Net.Run(s.Net.Now() + 100*time.Millisecond)
	s.Net.Crash(s.ID(3))
	s.Net.Heal()
	if err := s.Net.Restart(s.ID(3)); err != nil {
		t.Fatal(err)
	}
	if err := s.RunTo(4, 30*time.Second, 3, 4, 5, 6); err != nil {
		t.Error(err)
	}
	if err := s.RunTo(2, 40*time.Second); err != nil {
		t.Errorf("the old committee: %v", err)
	}
}

func TestSituation34_JoinWithoutLog(t *testing.T) {
	// Node 3 is in the committee, is removed, and is added again.
	cfg := fbfttest.SimConfig{Nodes: 5, Heights: 9,
		Core: fbft.Config{BaseTimeout: 200 * time.Millisecond, MaxTimeout: time.Second},
		Net:  simnet.Config{Seed: 7, Jitter: 10 * time.Millisecond},
		Epochs: func(h shardkit.Height) (shardkit.Epoch, []int) {
			if e := min(shardkit.Epoch(h-1)/3, 2); e == 1 {
				return e, []int{0, 1, 2, 4}
			} else {
				return e, []int{0, 1, 2, 3}
			}
		}}
	s := simFor(t, cfg)
	if err := s.RunTo(9, 30*time.Second, 0, 1, 2, 3); err != nil {
		t.Error(err)
	}

	// A replica that lost its log follows a view change without a vote.
	cfg = fbfttest.SimConfig{Nodes: 4, Heights: 8,
		Core: fbft.Config{BaseTimeout: 200 * time.Millisecond, MaxTimeout: time.Second},
		Net:  simnet.Config{Seed: 8},
		Edit: func(node int, cfg *fbft.Config) {
			if node == 3 {
				cfg.Log, cfg.VoteFrom = nil, 6
			}
		}}
	s = simFor(t, cfg)
	if err := s.RunTo(8, 30*time.Second); err != nil {
		t.Error(err)
	}
	if s.Status(3).Height > 6 && !s.Status(3).Voter {
		t.Error("it never votes again")
	}
}

// TestSituation35_ForkNamesItsAuthors: with two adversaries of four a fork is
// possible. In one view the two certificates name them; over two views the
// archives of honest members do.
func TestSituation35_ForkNamesItsAuthors(t *testing.T) {
	l := labFor(t, fbfttest.LabConfig{Silent: []int{2, 3}, Leaders: []int{3, 2}})
	f := l.Forger(1)
	a, b := []byte("a block of forty bytes and then some more"), []byte("b block of forty bytes and then some more")
	ca := f.Certificate(fbft.Commit, 0, hash(a), none, 0, 2, 3)
	cb := f.Certificate(fbft.Commit, 0, hash(b), none, 1, 2, 3)
	names(t, l, fbft.Accuse(l.Committee, []*fbft.Certificate{ca, cb}, nil))

	// View 0 decides A with 0; the adversaries then report that nothing is
	// prepared, and view 1 decides B with 1.
	nv, digest := f.NewView(1, b, []byte("ref"), nil, f.Report(1, 1, fbfttest.Claim{}),
		f.Report(2, 1, fbfttest.Claim{}), f.Report(3, 1, fbfttest.Claim{}))
	_ = l.Send(2, 1, nv)
	cb = f.Certificate(fbft.Commit, 1, hash(b), none, 1, 2, 3)
	_ = l.Send(2, 1, f.CertificateMessage(f.Certificate(fbft.Prepare, 1, hash(b), digest, 1, 2, 3), false))
	_ = l.Send(2, 1, f.CertificateMessage(cb, false))
	_ = l.Send(3, 0, f.CertificateMessage(ca, false))
	if l.Err() == nil {
		t.Fatal("no fork: not the situation")
	}
	if len(l.Archive) == 0 {
		t.Fatal("nothing archived")
	}
	names(t, l, fbft.Accuse(l.Committee, []*fbft.Certificate{ca, cb}, l.Archive))
}

// names checks that evidence survives its encoding and names 2 and 3, and
// nobody else.
func names(t *testing.T, l *fbfttest.Lab, list []*fbft.Evidence) {
	t.Helper()
	var all []int
	for _, e := range list {
		enc, err := e.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		var again fbft.Evidence
		if err := again.UnmarshalBinary(enc); err != nil {
			t.Fatal(err)
		}
		guilty, err := again.Check(l.Chain, 0, l.Committee)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := again.Check(shardkit.Hash{9}, 0, l.Committee); err == nil {
			t.Error("evidence of another chain holds")
		}
		all = append(all, guilty...)
	}
	slices.Sort(all)
	if all = slices.Compact(all); !slices.Equal(all, []int{2, 3}) {
		t.Errorf("guilty: %v, want 2 and 3", all)
	}
}

func TestSituation36_OldKeys(t *testing.T) {
	l := labFor(t, fbfttest.LabConfig{})
	old := labFor(t, fbfttest.LabConfig{Weights: []uint64{2, 1, 1, 1}}) // the committee before
	f := old.Forger(1)
	f.Chain = l.Chain
	ct := f.Certificate(fbft.Commit, 0, shardkit.Hash{1}, none, 0, 1, 2, 3)
	if ct.Check(l.Chain, 0, l.Committee) == nil {
		t.Error("a certificate of the old committee holds")
	}
	if err := l.Send(3, 0, f.CertificateMessage(ct, false)); !errors.Is(err, fbft.ErrInvalid) {
		t.Errorf("delivered: %v", err)
	}
	moved := *ct
	moved.Committee = l.Committee.Hash()
	_ = l.Send(3, 0, f.CertificateMessage(&moved, false))
	if _, ok := l.Decided(0, 1); ok {
		t.Error("decided by old keys")
	}
}

func TestSituation37_SlowApplication(t *testing.T) {
	var late []fbft.Validate
	l := labFor(t, fbfttest.LabConfig{Leaders: []int{0, 1, 2, 3}, Judge: func(actor int, v fbft.Validate) error {
		if v.View == 0 {
			late = append(late, v)
			return fbfttest.ErrNever
		}
		return nil
	}})
	l.Run(nil)
	l.Timeout(0, 1, 2, 3)
	l.Run(kind(fbfttest.KindReport, nil))
	for _, v := range late { // the view has moved on
		l.Validated(2, v.Hash, nil)
	}
	if err := l.Core(1).Proposed(0, 1, 0, []byte("too late"), nil); err != nil {
		t.Errorf("an answer that comes late is an error: %v", err)
	}
	if votes(l, fbft.Prepare, 0) != 0 {
		t.Error("a vote in a view that is over")
	}
	recovers(t, l, 0, 1, 2, 3)
	l.Validated(2, shardkit.Hash{77}, nil) // never asked
	safe(t, l)
}

// TestSituation38_ForgedBatch: two aggregates in each other's place have the
// right sum. A batch that is not weighted with secret coefficients accepts it.
func TestSituation38_ForgedBatch(t *testing.T) {
	keys, public := blsKeys(t, 2)
	c, err := bls.NewCommittee(public, [32]byte{42})
	if err != nil {
		t.Fatal(err)
	}
	statement := []byte("the same for both")
	var sigs [2][]byte
	for i := range sigs {
		if sigs[i], err = keys[i].Sign(statement); err != nil {
			t.Fatal(err)
		}
		sigs[i], _ = c.Combine(statement, []int{i}, [][]byte{sigs[i]})
	}
	two := [][]byte{statement, statement}
	if err := c.VerifyBatch(two, [][]int{{0}, {1}}, [][]byte{sigs[0], sigs[1]}); err != nil {
		t.Fatal(err)
	}
	if c.VerifyBatch(two, [][]int{{0}, {1}}, [][]byte{sigs[1], sigs[0]}) == nil {
		t.Error("swapped signatures pass in a batch")
	}
}

func TestSituation39_DiskFull(t *testing.T) {
	l := labFor(t, fbfttest.LabConfig{Leaders: []int{1, 2, 3, 0}})
	l.HoldDisk(0, true) // nothing of 0 becomes durable any more
	l.Run(nil)
	if !l.AllDecided(1, 1, 2, 3) {
		t.Fatal("not decided by the other three")
	}
	for _, p := range l.Sent {
		if p.From == 0 && (p.Info.Kind == fbfttest.KindVote || p.Info.Kind == fbfttest.KindReport) {
			t.Errorf("a vote without its record: %s", l.Describe(p.Data))
		}
	}
	safe(t, l)

	broken := labFor(t, fbfttest.LabConfig{Signer: func(node int) fbft.Signer {
		if node == 2 {
			return noSigner{}
		}
		return fbfttest.FakeSigner([]byte{'k', byte(node), 0})
	}})
	recovers(t, broken, 0, 1, 2, 3)
}

// noSigner has lost its key.
type noSigner struct{}

func (noSigner) Sign([]byte) ([]byte, error) { return nil, errors.New("no key") }

func TestSituation40_OwnVoteEchoed(t *testing.T) {
	s := stageFor(t, 0, 1, 2, 3)
	s.Run(kind(fbfttest.KindProposal, nil))
	block := s.Sent[0].Info.Block
	own := s.f.Vote(0, fbft.Prepare, 0, block, none)
	if err := s.Send(0, 0, own); err != nil {
		t.Errorf("own vote echoed: %v", err)
	}
	s.say(own, 0)                                          // under another index
	s.say(s.f.Vote(1, fbft.Prepare, 0, block, none), 0, 2) // another's vote as its own
	s.Run(nil)
	if !s.AllDecided(1, 0, 1, 2) {
		recovers(t, s.Lab, 0, 1, 2)
	}
	for _, b := range s.Blamed {
		if !bytes.HasSuffix([]byte(b), []byte("3: vote with a false signature")) {
			t.Errorf("blamed: %s", b)
		}
	}
	if len(s.Blamed) == 0 {
		t.Error("nobody is blamed for a vote that is not its own")
	}
	safe(t, s.Lab)
}
