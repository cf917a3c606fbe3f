package fbfttest_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"testing"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/fbfttest"
)

// The situations are what has broken relatives of this protocol, or could
// have. In most of them member 3 of four is the adversary.

func stageFor(t *testing.T, leaders ...int) *stage {
	t.Helper()
	s, err := newStage(0, leaders...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func labFor(t *testing.T, cfg fbfttest.LabConfig) *fbfttest.Lab {
	t.Helper()
	l, err := fbfttest.NewLab(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// recovers lets the network behave until the actors have decided height 1.
func recovers(t *testing.T, l *fbfttest.Lab, actors ...int) {
	t.Helper()
	for range 12 {
		l.Run(nil)
		if l.AllDecided(1, actors...) {
			safe(t, l)
			return
		}
		l.Timeout(actors...)
	}
	t.Fatal("not decided")
}

func safe(t *testing.T, l *fbfttest.Lab) {
	t.Helper()
	if l.Err() != nil {
		t.Fatal(l.Err())
	}
}

func forget(l *fbfttest.Lab) { l.Drop(func(fbfttest.Packet) bool { return true }) }

// votes counts the members that have voted in a phase and view.
func votes(l *fbfttest.Lab, phase fbft.Phase, view uint64) (n int) {
	seen := map[int]bool{}
	for _, p := range l.Sent {
		if p.Info.Kind == fbfttest.KindVote && p.Info.Phase == phase && p.Info.View == view && !seen[p.From] {
			seen[p.From] = true
			n++
		}
	}
	return n
}

func TestSituation01_LeaderSendsTwoBlocks(t *testing.T) {
	s := stageFor(t, 3, 0, 1, 2)
	second := append([]byte("second"), s.other...)
	s.say(s.f.Announce(s.other, []byte("ref"), nil), 0, 1)
	s.say(s.f.Announce(second, []byte("ref"), nil), 2)
	s.say(s.f.Announce(second, []byte("ref"), nil), 0, 1)
	if s.Harvest(1, fbft.Prepare, 0, hash(second), none) != nil {
		t.Fatal("both blocks prepared")
	}
	recovers(t, s.Lab, 0, 1, 2)
}

func TestSituation02_EquivocationOverThreeViews(t *testing.T) {
	for n := range 16 * 16 * 16 {
		w := &fbfttest.Twins{Nodes: 4}
		for _, mask := range []int{n & 15, n >> 4 & 15, n >> 8} {
			w.Rounds = append(w.Rounds, (twinRound(3)<<4 | twinRound(mask)).round())
		}
		if err := w.Run(); err != nil {
			t.Fatalf("%+v: %v", w.Rounds, err)
		}
	}
}

func TestSituation03_PreparedReachesOneThenLeaderDies(t *testing.T) {
	s := stageFor(t, 3, 0, 1, 2)
	s.say(s.f.Announce(s.other, []byte("ref"), nil), 0, 1, 2)
	s.show(s.Harvest(1, fbft.Prepare, 0, hash(s.other), none), 1)
	forget(s.Lab)
	recovers(t, s.Lab, 0, 1, 2)
	if d, _ := s.Decided(0, 1); d != hash(s.other) {
		t.Error("another block decided although a member of the quorum was locked")
	}
}

func TestSituation04_LockedNodeOutsideTheQuorum(t *testing.T) {
	s := stageFor(t, 3, 1, 0, 2)
	s.say(s.f.Announce(s.other, []byte("ref"), nil), 0, 1, 2)
	s.show(s.Harvest(1, fbft.Prepare, 0, hash(s.other), none), 0)
	forget(s.Lab)
	s.Timeout(1, 2)
	s.liar(1, 1)
	s.Run(among(1, 2))
	if s.Core(1).Status().View != 1 || !s.Core(0).Status().Locked {
		t.Fatal("not the situation")
	}
	s.Run(nil) // 0 follows the proof, not its lock
	s.prepare(1, 1)
	recovers(t, s.Lab, 0, 1, 2)
	if d, _ := s.Decided(0, 1); d == hash(s.other) {
		t.Error("the locked block was decided: the lock was seen by nobody")
	}
}

func TestSituation05_TwoCertificatesOfDifferentViews(t *testing.T) {
	for _, lowFirst := range []bool{true, false} {
		s := stageFor(t, 3, 1, 3, 0)
		s.say(s.f.Announce(s.other, []byte("ref"), nil), 0, 1, 2)
		s.show(s.Harvest(1, fbft.Prepare, 0, hash(s.other), none), 0)
		forget(s.Lab)
		b, err := s.decideInView1(1, 2)
		if err != nil {
			t.Fatal(err)
		}
		s.Timeout(0)
		s.liar(1, 0)
		s.Run(kind(fbfttest.KindReport, among(0, 1)))
		s.Timeout(0, 1)
		s.liar(2, 0, 1)
		s.Run(kind(fbfttest.KindReport, among(0, 1)))
		s.Timeout(0, 1) // view 3 is led by 0
		if lowFirst {
			s.Run(kind(fbfttest.KindReport, to(1)))
		}
		s.Run(kind(fbfttest.KindReport, to(0)))
		s.liar(3, 0, 1)
		s.Run(among(0, 1))
		for _, p := range s.Sent {
			if p.Info.Kind == fbfttest.KindProposal && p.Info.View == 3 && p.Info.Block != b {
				t.Fatal("the leader proposes another block than that of the highest certificate")
			}
		}
		if votes(s.Lab, fbft.Prepare, 3) == 0 {
			t.Fatal("nothing proposed in view 3")
		}
		recovers(t, s.Lab, 0, 1, 2)
	}
}

// newViewStage is a stage in which the adversary leads view 1, member 0 is
// locked on the adversary's block of view 0, and all have reported.
func newViewStage(t *testing.T) (s *stage, lock *fbft.Certificate, r [4]fbfttest.Report) {
	s = stageFor(t, 3, 3, 0, 1)
	s.say(s.f.Announce(s.other, []byte("ref"), nil), 0, 1, 2)
	lock = s.Harvest(1, fbft.Prepare, 0, hash(s.other), none)
	s.show(lock, 0)
	s.Timeout(0, 1, 2)
	s.Run(kind(fbfttest.KindReport, among(0, 1, 2)))
	for i := range r {
		r[i] = s.f.Report(i, 1, fbfttest.Claim{})
	}
	r[0] = s.f.Report(0, 1, fbfttest.Claim{OK: true, Block: hash(s.other)})
	return s, lock, r
}

func TestSituation06_NewLeaderOmitsTheHighest(t *testing.T) {
	second := []byte("another block of the adversary")
	try := func(name string, f func(s *stage, lock *fbft.Certificate, r [4]fbfttest.Report) []byte) {
		t.Helper()
		s, lock, r := newViewStage(t)
		s.say(f(s, lock, r), 0, 1, 2)
		if votes(s.Lab, fbft.Prepare, 1) != 0 {
			t.Errorf("%s: prepared", name)
		}
		recovers(t, s.Lab, 0, 1, 2)
	}
	msg := func(m []byte, _ shardkit.Hash) []byte { return m }
	try("left out, below the quorum", func(s *stage, _ *fbft.Certificate, r [4]fbfttest.Report) []byte {
		return msg(s.f.NewView(1, second, nil, nil, r[1], r[3]))
	})
	try("a forged report of none", func(s *stage, _ *fbft.Certificate, r [4]fbfttest.Report) []byte {
		r[0].Claim = fbfttest.Claim{}
		return msg(s.f.NewView(1, second, nil, nil, r[0], r[1], r[3]))
	})
	try("without the certificate", func(s *stage, _ *fbft.Certificate, r [4]fbfttest.Report) []byte {
		return msg(s.f.NewView(1, s.other, nil, nil, r[0], r[1], r[3]))
	})
	try("another block", func(s *stage, lock *fbft.Certificate, r [4]fbfttest.Report) []byte {
		return msg(s.f.NewView(1, second, nil, lock, r[0], r[1], r[3]))
	})
	try("a member twice", func(s *stage, lock *fbft.Certificate, r [4]fbfttest.Report) []byte {
		twice := s.f.Report(3, 1, fbfttest.Claim{OK: true, Block: hash(s.other)})
		return msg(s.f.NewView(1, s.other, nil, lock, r[3], twice, r[1]))
	})
	s, lock, r := newViewStage(t)
	good, _ := s.f.NewView(1, s.other, []byte("ref"), lock, r[0], r[1], r[3])
	s.say(good, 0, 1, 2)
	if votes(s.Lab, fbft.Prepare, 1) != 3 {
		t.Error("the honest proposal was not prepared: the others prove nothing")
	}
}

func TestSituation07_NewViewWithAFalseCertificate(t *testing.T) {
	for name, change := range map[string]func(s *stage, ct *fbft.Certificate) *fbft.Certificate{
		"below the quorum": func(s *stage, _ *fbft.Certificate) *fbft.Certificate {
			return s.f.Certificate(fbft.Prepare, 0, hash(s.other), none, 0, 3)
		},
		"of another epoch": func(s *stage, ct *fbft.Certificate) *fbft.Certificate {
			g := *s.f
			g.Epoch = 1
			return g.Certificate(fbft.Prepare, 0, hash(s.other), none, 0, 1, 2)
		},
		"of another height": func(s *stage, ct *fbft.Certificate) *fbft.Certificate {
			g := *s.f
			g.Height = 2
			return g.Certificate(fbft.Prepare, 0, hash(s.other), none, 0, 1, 2)
		},
		"of the other phase": func(s *stage, ct *fbft.Certificate) *fbft.Certificate {
			return s.f.Certificate(fbft.Commit, 0, hash(s.other), none, 0, 1, 2)
		},
		"with another signature": func(s *stage, ct *fbft.Certificate) *fbft.Certificate {
			bad := *ct
			bad.Aggregate = []byte("nonsense")
			return &bad
		},
	} {
		s, lock, r := newViewStage(t)
		msg, _ := s.f.NewView(1, s.other, []byte("ref"), change(s, lock), r[0], r[1], r[3])
		s.say(msg, 0, 1, 2)
		if votes(s.Lab, fbft.Prepare, 1) != 0 {
			t.Errorf("%s: prepared", name)
		}
		recovers(t, s.Lab, 0, 1, 2)
	}
}

func TestSituation08_ReplayedReports(t *testing.T) {
	for name, change := range map[string]func(g *fbfttest.Forger) uint64{
		"height": func(g *fbfttest.Forger) uint64 { g.Height++; return 1 },
		"view":   func(g *fbfttest.Forger) uint64 { return 2 },
		"shard":  func(g *fbfttest.Forger) uint64 { g.Shard++; return 1 },
		"epoch":  func(g *fbfttest.Forger) uint64 { g.Epoch++; return 1 },
		"chain":  func(g *fbfttest.Forger) uint64 { g.Chain[5]++; return 1 },
	} {
		s, _, r := newViewStage(t)
		g := *s.f
		view := change(&g)
		r[0] = g.Report(0, view, fbfttest.Claim{})
		msg, _ := s.f.NewView(1, []byte("another block"), nil, nil, r[0], r[1], r[3])
		s.say(msg, 0, 1, 2)
		if votes(s.Lab, fbft.Prepare, 1) != 0 {
			t.Errorf("a report of another %s counted", name)
		}
		if len(s.Blamed) != 3 {
			t.Errorf("%s: blamed %v", name, s.Blamed)
		}
		recovers(t, s.Lab, 0, 1, 2)
	}
}

func TestSituation09_CommittedShownToOne(t *testing.T) {
	text, err := os.ReadFile("testdata/committed_shown_to_one.txt")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := fbfttest.RunScript(string(text)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestSituation10_LeaderWithholdsCommitted(t *testing.T) {
	l := labFor(t, fbfttest.LabConfig{Heights: 5, Leaders: []int{0, 1, 2, 3}})
	withheld := func(p fbfttest.Packet) bool {
		return p.From == 0 && p.To == 3 && p.Info.Kind == fbfttest.KindCertificate && p.Info.Phase == fbft.Commit
	}
	for range 5 {
		l.Run(func(p fbfttest.Packet) bool { return !withheld(p) })
		l.Drop(withheld)
		l.Resend(0, 1, 2, 3)
	}
	if !l.AllDecided(5) {
		t.Error("one node was kept from the decisions")
	}
	safe(t, l)
}

// TestSituation11_CrashAtEveryLogBoundary stops a member after every delivery
// of a height with one view change, with every number of its unwritten records
// surviving, and wants no fork, no second word, and a decision.
func TestSituation11_CrashAtEveryLogBoundary(t *testing.T) {
	crashes := 0
	for step := 0; ; step++ {
		more := false
		for keep := 0; ; keep++ {
			l := labFor(t, fbfttest.LabConfig{Leaders: []int{1, 2, 3, 0}})
			l.HoldDisk(1, true)
			for k := 0; k < step && len(l.Flight) > 0; k++ {
				if k%7 == 6 {
					l.HoldDisk(1, false)
					l.HoldDisk(1, true)
				}
				if k == 20 {
					l.Timeout(0, 1, 2, 3)
				}
				l.Deliver(0)
			}
			more = more || len(l.Flight) > 0
			pending := l.Pending(1)
			l.Crash(1, keep)
			l.Restart(1, false)
			crashes++
			recovers(t, l, 0, 1, 2, 3)
			oneWord(t, l)
			if keep >= pending {
				break
			}
		}
		if !more {
			break
		}
	}
	t.Logf("%d crashes", crashes)
}

// oneWord checks that no member signed two votes of one view and phase for
// different blocks, or two different reports for a view.
func oneWord(t *testing.T, l *fbfttest.Lab) {
	t.Helper()
	type slot struct {
		from int
		kind byte
		view uint64
		p    fbft.Phase
		h    shardkit.Height
	}
	said := map[slot]shardkit.Hash{}
	for _, p := range l.Sent {
		if p.Info.Kind != fbfttest.KindVote && p.Info.Kind != fbfttest.KindReport {
			continue
		}
		k := slot{p.From, p.Info.Kind, p.Info.View, p.Info.Phase, p.Info.Height}
		if was, ok := said[k]; ok && was != p.Info.Block {
			t.Fatalf("%d said two things: %s and %s", p.From, l.Name(was), l.Describe(p.Data))
		}
		said[k] = p.Info.Block
	}
}

func TestSituation12_DamagedOrMissingLog(t *testing.T) {
	list, keys := []fbft.Member{}, [][]byte{}
	for i := range 4 {
		key := []byte{'k', byte(i)}
		list, keys = append(list, fbft.Member{Node: shardkit.NodeID{byte(i + 1)}, Key: key, Weight: 1}), append(keys, key)
	}
	c, err := fbft.NewCommittee(list, 0, fbfttest.Fake(keys))
	if err != nil {
		t.Fatal(err)
	}
	cfg := fbft.Config{Self: list[0].Node, Signer: fbfttest.FakeSigner(keys[0])}
	boot := func(cfg fbft.Config) *fbft.Core {
		core, err := fbft.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := core.Start(0, fbft.Start{Height: 1, Committee: c}); err != nil {
			t.Fatal(err)
		}
		core.Work(0)
		return core
	}
	core := boot(cfg)
	core.Tick(time.Hour)
	records := core.Ready().Records
	if len(records) == 0 {
		t.Fatal("no record of the report")
	}
	for k := range records[0] { // a flipped byte is refused or changes a value; it never panics
		bad := bytes.Clone(records[0])
		bad[k] ^= 0xff
		cfg.Log = [][]byte{bad}
		if _, err := fbft.New(cfg); err == nil && k < 6 {
			t.Errorf("byte %d flipped: accepted", k)
		}
		cfg.Log = [][]byte{records[0][:k]}
		if _, err := fbft.New(cfg); err == nil {
			t.Errorf("cut at byte %d: accepted", k)
		}
	}
	cfg.Log = records
	if st := boot(cfg).Status(); st.Reported != 1 {
		t.Error("the report is forgotten")
	}
	cfg.Log, cfg.VoteFrom = nil, 100 // the key without its log
	core = boot(cfg)
	core.Tick(time.Hour)
	if e := core.Ready(); core.Status().Voter || len(e.Records) > 0 || len(e.Messages) > 0 {
		t.Error("a key without its log votes")
	}
}

func TestSituation13_OneKeyOnTwoMachines(t *testing.T) {
	l := labFor(t, fbfttest.LabConfig{Twins: []int{3}, Heights: 1, Leaders: []int{3, 3, 0, 1}})
	for range 4 {
		l.Run(nil)
		l.Timeout(0, 1, 2, 3, 4)
	}
	recovers(t, l, 0, 1, 2)
}

func TestSituation14_ClockJumps(t *testing.T) {
	l := labFor(t, fbfttest.LabConfig{})
	core := l.Core(1)
	core.Tick(math.MaxInt64 / 2)
	core.Tick(time.Second) // back: time stands still
	core.Persisted(0, 99)
	_ = core.Deliver(-time.Hour, l.ID(0), []byte("x"))
	if at, ok := core.Wake(); ok && at < math.MaxInt64/2 {
		t.Errorf("time went back: wake at %v", at)
	}
	recovers(t, l, 0, 2, 3)
	if !errors.Is(core.Deliver(0, l.ID(0), nil), fbft.ErrMalformed) {
		t.Error("an empty message is no error")
	}
}
