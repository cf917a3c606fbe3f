package fbfttest_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/fbfttest"
	"github.com/shardkit/shardkit/fbft/internal/mutant"
)

// The plays below are attacks by member 3 of four, each made for one rule of
// the protocol: with the rule broken two blocks are decided, or none.

// stage is a lab in which member 3 is the adversary.
type stage struct {
	*fbfttest.Lab
	f     *fbfttest.Forger
	other []byte // header of a block of the adversary
}

func newStage(m mutant.Set, leaders ...int) (*stage, error) {
	l, err := fbfttest.NewLab(fbfttest.LabConfig{Leaders: leaders, Silent: []int{3},
		Core: fbft.Config{Mutant: m}})
	if err != nil {
		return nil, err
	}
	return &stage{Lab: l, f: l.Forger(1), other: []byte("a block that the adversary made up, well over forty bytes")}, nil
}

func hash(h []byte) shardkit.Hash { return fbft.BlockHash(h) }

// say sends a message of the adversary to members.
func (s *stage) say(msg []byte, to ...int) {
	for _, i := range to {
		_ = s.Send(3, i, msg)
	}
}

// show sends a certificate, if there is one.
func (s *stage) show(ct *fbft.Certificate, to ...int) {
	if ct != nil {
		s.say(s.f.CertificateMessage(ct, false), to...)
	}
}

// among lets messages pass between the given members only.
func among(list ...int) func(p fbfttest.Packet) bool {
	in := func(i int) bool {
		for _, k := range list {
			if k == i {
				return true
			}
		}
		return false
	}
	return func(p fbfttest.Packet) bool { return in(p.From) && in(p.To) }
}

func kind(k byte, more func(p fbfttest.Packet) bool) func(p fbfttest.Packet) bool {
	return func(p fbfttest.Packet) bool { return p.Info.Kind == k && (more == nil || more(p)) }
}

func to(i int) func(p fbfttest.Packet) bool {
	return func(p fbfttest.Packet) bool { return p.To == i }
}

var none shardkit.Hash

// liar is the adversary's report that nothing is prepared.
func (s *stage) liar(view uint64, to ...int) {
	s.say(s.f.ReportMessage(s.f.Report(3, view, fbfttest.Claim{}), nil, nil, nil), to...)
}

// commit is the adversary's COMMIT.
func (s *stage) commit(view uint64, block shardkit.Hash, to ...int) {
	s.say(s.f.Vote(3, fbft.Commit, view, block, none), to...)
}

// prepare is the adversary's PREPARE for what others prepared in a view.
func (s *stage) prepare(view uint64, to int) {
	for _, p := range s.Sent {
		if p.Info.Kind == fbfttest.KindVote && p.Info.Phase == fbft.Prepare && p.Info.View == view {
			digest := shardkit.Hash(p.Data[14+8+1+32:])
			s.say(s.f.Vote(3, fbft.Prepare, view, p.Info.Block, digest), to)
			return
		}
	}
}

// playVoteAfterReport: block A is prepared in view 0 and nobody is told. Two
// members report for view 1 that nothing is prepared; only then they are shown
// the certificate. If they commit to A now, the adversary decides A with them,
// while view 1 is free to decide B.
func playVoteAfterReport(m mutant.Set) error {
	s, err := newStage(m, 3, 0, 1, 3)
	if err != nil {
		return err
	}
	s.say(s.f.Announce(s.other, []byte("ref"), nil), 0, 1, 2)
	a := s.Harvest(1, fbft.Prepare, 0, hash(s.other), none)
	s.Timeout(0, 1)
	s.show(a, 0, 1)
	decided := s.Harvest(1, fbft.Commit, 0, hash(s.other), none)
	s.liar(1, 0)
	s.Run(kind(fbfttest.KindReport, to(0)))
	s.Run(kind(fbfttest.KindProposal, nil))
	s.Run(kind(fbfttest.KindVote, to(0)))
	s.Run(kind(fbfttest.KindCertificate, to(1)))
	s.Run(kind(fbfttest.KindCertificate, to(2)))
	s.Run(kind(fbfttest.KindVote, to(1)))
	s.show(decided, 2)
	return s.Err()
}

// playForgetLock: 0 alone sees the decision; the others lose power after their
// COMMIT and change view.
func playForgetLock(m mutant.Set) error {
	s, err := newStage(m, 0, 1, 2, 3)
	if err != nil {
		return err
	}
	s.Run(kind(fbfttest.KindProposal, nil))
	s.Run(kind(fbfttest.KindVote, nil))
	s.Run(kind(fbfttest.KindCertificate, among(0, 1, 2)))
	s.Run(kind(fbfttest.KindVote, to(0)))
	s.Drop(func(fbfttest.Packet) bool { return true })
	for _, i := range []int{1, 2} {
		s.Crash(i, 0)
		s.Restart(i, false)
	}
	s.Timeout(1, 2)
	s.liar(1, 1, 2)
	for range 3 {
		s.Run(among(1, 2))
		s.prepare(1, 1)
		for _, b := range s.Sent {
			if b.Info.Phase == fbft.Commit && b.Info.View == 1 {
				s.commit(1, b.Info.Block, 1, 2)
				break
			}
		}
	}
	return s.Err()
}

// playTrustClaim: A is decided in view 0. In view 2 the adversary leads and
// claims to have prepared its own block in view 1, without a certificate.
func playTrustClaim(m mutant.Set) error {
	s, err := newStage(m, 0, 1, 3, 2)
	if err != nil {
		return err
	}
	s.Run(kind(fbfttest.KindProposal, nil))
	s.Run(kind(fbfttest.KindVote, nil))
	s.Run(kind(fbfttest.KindCertificate, among(0, 1, 2)))
	s.Run(kind(fbfttest.KindVote, to(0)))
	d, ok := s.Decided(0, 1)
	if !ok {
		return errors.New("nothing decided in view 0")
	}
	s.Drop(func(fbfttest.Packet) bool { return true })
	lock := fbfttest.Claim{OK: true, View: 0, Block: d}
	msg, digest := s.f.NewView(2, s.other, []byte("ref"), nil, s.f.Report(1, 2, lock), s.f.Report(2, 2, lock),
		s.f.Report(3, 2, fbfttest.Claim{OK: true, View: 1, Block: hash(s.other)}))
	s.Timeout(1, 2)
	s.liar(1, 1, 2)
	s.Run(kind(fbfttest.KindReport, among(1, 2)))
	s.Timeout(1, 2)
	s.say(msg, 1, 2)
	s.show(s.Harvest(1, fbft.Prepare, 2, hash(s.other), digest), 1, 2)
	s.show(s.Harvest(1, fbft.Commit, 2, hash(s.other), none), 1, 2)
	return s.Err()
}

// playFirstCertificate: A is prepared in view 0 and known to 0 alone, B is
// decided in view 1. View 2 is led by 0, whose own certificate is the lower.
func playFirstCertificate(m mutant.Set) error {
	s, err := newStage(m, 3, 1, 0, 2)
	if err != nil {
		return err
	}
	s.say(s.f.Announce(s.other, []byte("ref"), nil), 0, 1, 2)
	s.show(s.Harvest(1, fbft.Prepare, 0, hash(s.other), none), 0)
	s.Drop(func(fbfttest.Packet) bool { return true })
	b, err := s.decideInView1(1, 2)
	if err != nil {
		return err
	}
	s.Timeout(0)
	s.liar(1, 0)
	s.Run(kind(fbfttest.KindReport, among(0, 1)))
	s.Timeout(0, 1)
	s.liar(2, 0, 1)
	for range 3 {
		s.Run(among(0, 1))
		s.prepare(2, 0)
		s.commit(2, hash(s.other), 0, 1)
		s.commit(2, b, 0, 1)
	}
	return s.Err()
}

// decideInView1 has two members and the adversary change to view 1, led by the
// first, and decide its block, so that only the second sees it.
func (s *stage) decideInView1(i, k int) (b shardkit.Hash, err error) {
	s.Timeout(i, k)
	s.liar(1, i)
	s.Run(kind(fbfttest.KindReport, to(i)))
	s.Run(kind(fbfttest.KindProposal, to(k)))
	s.prepare(1, i)
	s.Run(kind(fbfttest.KindVote, to(i)))
	s.Run(kind(fbfttest.KindCertificate, to(k)))
	for _, p := range s.Sent {
		if p.Info.Kind == fbfttest.KindVote && p.Info.Phase == fbft.Commit && p.Info.View == 1 {
			b = p.Info.Block
		}
	}
	s.show(s.f.Certificate(fbft.Commit, 1, b, none, i, k, 3), k)
	if _, ok := s.Decided(k, 1); !ok {
		return b, errors.New("nothing decided in view 1")
	}
	s.Drop(func(p fbfttest.Packet) bool { return p.Info.Kind != fbfttest.KindReport })
	return b, nil
}

// playCommitLower: A is prepared in view 0 and nobody is told. In view 1 two
// members prepare B and are shown A's certificate: if they commit to A now,
// view 2 goes on with B.
func playCommitLower(m mutant.Set) error {
	s, err := newStage(m, 3, 2, 0, 1)
	if err != nil {
		return err
	}
	s.say(s.f.Announce(s.other, []byte("ref"), nil), 0, 1, 2)
	a := s.Harvest(1, fbft.Prepare, 0, hash(s.other), none)
	s.Timeout(0, 1, 2)
	s.Run(kind(fbfttest.KindReport, nil))
	s.Run(kind(fbfttest.KindProposal, nil))
	s.show(a, 0, 1)
	decided := s.Harvest(1, fbft.Commit, 1, hash(s.other), none)
	s.Run(kind(fbfttest.KindVote, to(2)))
	s.Drop(func(p fbfttest.Packet) bool { return p.Info.Kind == fbfttest.KindCertificate })
	s.show(decided, 1)
	s.Timeout(0, 2)
	s.liar(2, 0, 2)
	for range 3 {
		s.Run(among(0, 2))
		s.prepare(2, 0)
		for _, p := range s.Sent {
			if p.Info.Phase == fbft.Commit && p.Info.View == 2 {
				s.commit(2, p.Info.Block, 0, 2)
				break
			}
		}
	}
	return s.Err()
}

// playNoView: A is prepared in view 0, B decided in view 1. The adversary
// passes A's certificate off as one of view 2.
func playNoView(m mutant.Set) error {
	s, err := newStage(m, 3, 1, 0, 3)
	if err != nil {
		return err
	}
	s.say(s.f.Announce(s.other, []byte("ref"), nil), 0, 1, 2)
	a := s.Harvest(1, fbft.Prepare, 0, hash(s.other), none)
	b, err := s.decideInView1(1, 2)
	if err != nil {
		return err
	}
	old := *a
	old.View, old.NewView = 2, shardkit.Hash{1}
	msg, digest := s.f.NewView(3, s.other, []byte("ref"), &old, s.f.Report(0, 3, fbfttest.Claim{}),
		s.f.Report(1, 3, fbfttest.Claim{OK: true, View: 1, Block: b}),
		s.f.Report(3, 3, fbfttest.Claim{OK: true, View: 2, Block: hash(s.other)}))
	s.say(msg, 0, 1)
	s.show(s.Harvest(1, fbft.Prepare, 3, hash(s.other), digest), 0, 1)
	s.show(s.Harvest(1, fbft.Commit, 3, hash(s.other), none), 0, 1)
	return s.Err()
}

// playForgetVotes: two members prepare A, lose power, and are offered B in the
// same view. Two prepared certificates in one view would be the end of rule 3.
func playForgetVotes(m mutant.Set) error {
	s, err := newStage(m, 3, 0, 1, 2)
	if err != nil {
		return err
	}
	s.say(s.f.Announce(s.other, []byte("ref"), nil), 0, 1)
	a := s.Harvest(1, fbft.Prepare, 0, hash(s.other), none)
	for _, i := range []int{0, 1} {
		s.Crash(i, 0)
		s.Restart(i, false)
	}
	second := append([]byte("second"), s.other...)
	s.say(s.f.Announce(second, []byte("ref"), nil), 0, 1)
	if b := s.Harvest(1, fbft.Prepare, 0, hash(second), none); a == nil || b != nil {
		return fmt.Errorf("certificates for two blocks in view 0: %v, %v", a != nil, b != nil)
	}
	return s.Err()
}

// playSendFirst: two members commit to A and lose power before their disks
// have written a thing; then they are offered B in the same view.
func playSendFirst(m mutant.Set) error {
	s, err := newStage(m, 3, 0, 1, 2)
	if err != nil {
		return err
	}
	for _, i := range []int{0, 1} {
		s.HoldDisk(i, true)
	}
	s.say(s.f.Announce(s.other, []byte("ref"), nil), 0, 1)
	s.show(s.Harvest(1, fbft.Prepare, 0, hash(s.other), none), 0, 1)
	s.show(s.Harvest(1, fbft.Commit, 0, hash(s.other), none), 2)
	for _, i := range []int{0, 1} {
		s.Crash(i, 0)
		s.Restart(i, false)
	}
	s.Drop(func(fbfttest.Packet) bool { return true })
	second := append([]byte("second"), s.other...)
	s.say(s.f.Announce(second, []byte("ref"), nil), 0, 1)
	s.show(s.Harvest(1, fbft.Prepare, 0, hash(second), none), 0, 1)
	s.show(s.Harvest(1, fbft.Commit, 0, hash(second), none), 0)
	return s.Err()
}

// playSplit: the adversaries announce A to 0 and B to 1, and show each a
// certificate by it and themselves, which is too little.
func playSplit(cfg fbfttest.LabConfig) error {
	l, err := fbfttest.NewLab(cfg)
	if err != nil {
		return err
	}
	f := l.Forger(1)
	leader := cfg.Leaders[0]
	for i, h := range [][]byte{[]byte("one block"), []byte("another block")} {
		signers := append([]int{i}, cfg.Silent...)
		_ = l.Send(leader, i, f.Announce(h, []byte("ref"), nil))
		for _, phase := range []fbft.Phase{fbft.Prepare, fbft.Commit} {
			ct := f.Certificate(phase, 0, hash(h), none, signers...)
			_ = l.Send(leader, i, f.CertificateMessage(ct, false))
		}
	}
	return l.Err()
}

// playQuorumLess: with a quorum of two among four, an honest member and the
// adversary are one.
func playQuorumLess(m mutant.Set) error {
	return playSplit(fbfttest.LabConfig{Silent: []int{3}, Leaders: []int{3}, Core: fbft.Config{Mutant: m}})
}

// playCountHeads: three members with weight 3 of 11 are adversaries. An honest
// one with weight 4 and they are four heads of five.
func playCountHeads(m mutant.Set) error {
	return playSplit(fbfttest.LabConfig{Nodes: 5, Weights: []uint64{4, 4, 1, 1, 1}, Silent: []int{2, 3, 4},
		Leaders: []int{4}, Core: fbft.Config{Mutant: m}})
}

// playRepeat: 2 has committed, its vote was lost, and then its timer ran out.
// Repeating alone is enough for the others to decide.
func playRepeat(m mutant.Set) error {
	s, err := newStage(m, 0, 1, 2, 3)
	if err != nil {
		return err
	}
	s.Run(kind(fbfttest.KindProposal, nil))
	s.Run(func(p fbfttest.Packet) bool { return p.Info.Phase == fbft.Prepare })
	s.Drop(func(p fbfttest.Packet) bool { return p.From == 2 })
	s.Timeout(2)
	s.Drop(func(p fbfttest.Packet) bool { return true })
	s.Resend(0, 1, 2)
	s.Run(among(0, 1, 2))
	if !s.AllDecided(1) {
		return errors.New("not decided by repeating")
	}
	return s.Err()
}

// heals lets the network behave among the honest members, for more views than
// an honest leader is away, and wants a decision.
func (s *stage) heals() error {
	for range 8 {
		s.Resend(0, 1, 2)
		s.Run(among(0, 1, 2))
		if s.Err() != nil || s.AllDecided(1, 0, 1, 2) {
			return s.Err()
		}
		s.Timeout(0, 1, 2)
	}
	return errors.New("not decided after healing")
}

// playOwnLock: 0 is locked on A of view 0, of which the others know nothing, and
// 1 on B of view 1. Then the adversary falls silent. Whoever holds on to A
// prepares nothing any more.
func playOwnLock(m mutant.Set) error {
	s, err := newStage(m, 3, 1, 0, 2)
	if err != nil {
		return err
	}
	s.say(s.f.Announce(s.other, []byte("ref"), nil), 0, 1, 2)
	s.show(s.Harvest(1, fbft.Prepare, 0, hash(s.other), none), 0)
	s.Drop(func(fbfttest.Packet) bool { return true })
	s.Timeout(1, 2)
	s.liar(1, 1)
	s.Run(kind(fbfttest.KindReport, to(1)))
	s.Run(kind(fbfttest.KindProposal, to(2)))
	s.prepare(1, 1)
	s.Run(kind(fbfttest.KindVote, to(1)))
	s.Drop(func(fbfttest.Packet) bool { return true })
	if st := s.Core(1).Status(); !st.Locked || st.LockView != 1 {
		return errors.New("1 is not locked in view 1")
	}
	s.Timeout(0) // it is not to learn of B in view 1
	s.liar(1, 0)
	s.Resend(2)
	s.Run(kind(fbfttest.KindReport, to(0)))
	s.Timeout(0, 1, 2)
	s.Drop(func(fbfttest.Packet) bool { return true })
	if st := s.Core(0).Status(); st.Reported != 2 || st.LockView != 0 {
		return errors.New("0 is not locked in view 0, or has not reported view 2")
	}
	return s.heals()
}

// playEnterExact: 1 and 2 report view 1. The adversary, its leader, shows 0
// alone a NEWVIEW that rests on their reports; 0 enters, and goes on to report
// view 2. Nobody is left to make the quorum of exactly view 1.
func playEnterExact(m mutant.Set) error {
	s, err := newStage(m, 0, 3, 1, 2)
	if err != nil {
		return err
	}
	s.Timeout(1, 2)
	msg, _ := s.f.NewView(1, s.other, []byte("ref"), nil, s.f.Report(1, 1, fbfttest.Claim{}),
		s.f.Report(2, 1, fbfttest.Claim{}), s.f.Report(3, 1, fbfttest.Claim{}))
	s.say(msg, 0)
	s.Timeout(0)
	s.Drop(func(fbfttest.Packet) bool { return true })
	if st := s.Core(0).Status(); st.Reported != 2 {
		return errors.New("0 has not reported view 2")
	}
	return s.heals()
}

// TestMutants breaks one rule after another and wants the suite to notice: by
// the play made for it, or by the simulator in a few hundred runs. The plays
// themselves must find nothing wrong in the true core.
func TestMutants(t *testing.T) {
	plays := map[mutant.Set]func(m mutant.Set) error{
		mutant.VoteAfterReport:  playVoteAfterReport,
		mutant.ForgetLock:       playForgetLock,
		mutant.TrustClaim:       playTrustClaim,
		mutant.FirstCertificate: playFirstCertificate,
		mutant.CommitLower:      playCommitLower,
		mutant.NoView:           playNoView,
		mutant.ForgetVotes:      playForgetVotes,
		mutant.SendFirst:        playSendFirst,
		mutant.QuorumLess:       playQuorumLess,
		mutant.CountHeads:       playCountHeads,
		mutant.RepeatOne:        playRepeat,
		mutant.OwnLock:          playOwnLock,
		mutant.EnterExact:       playEnterExact,
	}
	caught := 0
	list := mutant.List()
	for _, m := range list {
		var err error
		how := "play"
		if play := plays[m.Mutant]; play != nil {
			if err := play(0); err != nil {
				t.Errorf("%s: the play finds fault with the true core: %v", m.Name, err)
			}
			err = play(m.Mutant)
		}
		if err == nil {
			how, err = seekSeed(m.Mutant)
		}
		if err == nil {
			t.Errorf("not caught: %s", m.Name)
			continue
		}
		if m.Safety && strings.Contains(err.Error(), "not at height") {
			t.Errorf("%s: it only stalls: %v", m.Name, err)
		}
		caught++
		t.Logf("%s: %s: %.60v", m.Name, how, err)
	}
	t.Logf("caught %d of %d", caught, len(list))
}

// known are seeds that showed a mutant that few of them show.
var known = map[mutant.Set]int64{mutant.TimerFromReport: 412, mutant.ReportUnheld: 1820}

// seekSeed looks for a seeded run that shows a mutant, on all processors and
// where one was last seen first.
func seekSeed(m mutant.Set) (how string, err error) {
	const most = 6000
	var next atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for k := next.Add(1) - 1; k < most; k = next.Add(1) - 1 {
				seed := (known[m] + k) % most
				if e := runSeedWith(uint64(seed), m); e != nil {
					next.Store(most) // the others stop
					mu.Lock()
					how, err = fmt.Sprintf("seed %d", seed), e
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return how, err
}
