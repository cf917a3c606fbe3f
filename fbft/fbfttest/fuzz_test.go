package fbfttest_test

import (
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/fbfttest"
)

// FuzzEvents lets bytes decide what happens to a committee of which one member
// is Byzantine: deliveries in any order, losses, timers, crashes, and votes,
// reports and junk of the adversary. Nothing of it may fork the honest or make
// them panic, and once it stops they decide.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("0123456789abcdefghijklmnopqrstuvwxyz"))
	f.Add([]byte{0, 0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 255, 254, 0x51, 0x42, 0x33})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 400 {
			return
		}
		s, err := newStage(0, 0, 3, 1, 2)
		if err != nil {
			t.Fatal(err)
		}
		for k := 0; k+1 < len(data); k += 2 {
			event(s, data[k], int(data[k+1]))
		}
		for i := range 3 {
			s.HoldDisk(i, false)
		}
		for range 30 {
			s.Run(nil)
			if s.Err() != nil {
				t.Fatal(s.Err())
			}
			if s.AllDecided(1, 0, 1, 2) {
				return
			}
			s.Timeout(0, 1, 2)
		}
		t.Fatal("not decided")
	})
}

func event(s *stage, what byte, arg int) {
	i, view := arg%3, uint64(arg>>4)%4
	block := hash(s.other)
	if len(s.Sent) > 0 && arg&8 != 0 {
		block = s.Sent[arg%len(s.Sent)].Info.Block
	}
	switch what % 10 {
	case 0, 1, 2:
		if n := len(s.Flight); n > 0 {
			s.Deliver(arg % n)
		}
	case 3:
		if n := len(s.Flight); n > 0 {
			at := s.Flight[arg%n]
			s.Drop(func(p fbfttest.Packet) bool { return p.From == at.From && p.To == at.To })
		}
	case 4:
		s.Timeout(i)
	case 5:
		s.Crash(i, arg>>2)
		s.Restart(i, false)
	case 6:
		s.say(s.f.Vote(3, fbft.Commit, view, block, none), i)
	case 7:
		digest := none
		if view > 0 {
			digest = shardkit.Hash{byte(arg)}
		}
		s.say(s.f.Vote(3, fbft.Prepare, view, block, digest), i)
	case 8:
		s.liar(view+1, i)
	case 9:
		if n := len(s.Sent); n > 0 { // another's message, damaged, as its own
			msg := append([]byte(nil), s.Sent[arg%n].Data...)
			msg[(arg*7)%len(msg)] ^= byte(arg) | 1
			s.say(msg, i)
		}
	}
}

// TestLateVotes collects what came after the quorum.
func TestLateVotes(t *testing.T) {
	l := labFor(t, fbfttest.LabConfig{Heights: 2, Leaders: []int{0, 1, 2, 3}})
	held := func(p fbfttest.Packet) bool {
		return p.From == 3 && p.Info.Kind == fbfttest.KindVote && p.Info.Phase == fbft.Commit && p.Info.Height == 1
	}
	l.Run(func(p fbfttest.Packet) bool { return !held(p) })
	if !l.AllDecided(2) {
		t.Fatal("not decided")
	}
	l.Run(nil)
	l.CollectLate(0)
	if len(l.Late) == 0 || l.Late[0].Height != 1 || l.Late[0].Signers.Count() != 1 || !l.Late[0].Signers.Has(3) {
		t.Fatalf("late: %+v", l.Late)
	}
	main := l.Certificate(0, 1)
	if err := l.Late[0].CheckLate(l.Chain, 0, l.Committee, main); err != nil {
		t.Error(err)
	}
	if err := main.CheckLate(l.Chain, 0, l.Committee, main); err == nil {
		t.Error("a certificate passes for its own late votes")
	}
	forged := *l.Late[0]
	forged.Aggregate = []byte("nonsense")
	if err := forged.CheckLate(l.Chain, 0, l.Committee, main); err == nil {
		t.Error("a false signature passes")
	}
}
