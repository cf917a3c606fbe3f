package fbft_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/fbfttest"
)

const (
	lateNodes = 25
	kindLate  = 5 // byte 1 of a late vote's message
)

// far runs a committee in which what members 23 and 24 say of how a height ends
// arrives when everybody is two heights further. Leaders take turns, and collect
// when they propose. It returns for each height who is credited in a later
// header.
func far(t *testing.T, hold func(p fbfttest.Packet) bool) (*fbfttest.Lab, map[shardkit.Height]fbft.Bitmap) {
	t.Helper()
	const heights = 34
	var l *fbfttest.Lab
	credited := make(map[shardkit.Height]fbft.Bitmap)
	propose := func(actor int, h shardkit.Height, view uint64, parent shardkit.Hash) []byte {
		if l != nil {
			seen := len(l.Late)
			l.CollectLate(actor)
			for _, ct := range l.Late[seen:] {
				if err := ct.CheckLate(l.Chain, 0, l.Committee, l.Certificate(actor, ct.Height)); err != nil {
					t.Errorf("height %d: %v", ct.Height, err)
				}
				if credited[ct.Height] == nil {
					credited[ct.Height] = fbft.NewBitmap(lateNodes)
				}
				for _, i := range ct.Signers.Indices() {
					credited[ct.Height].Set(i)
				}
			}
		}
		return append([]byte{byte(h), byte(actor), byte(view)}, parent[:]...)
	}
	lab, err := fbfttest.NewLab(fbfttest.LabConfig{Nodes: lateNodes, Heights: heights, Header: propose,
		Core: fbft.Config{Leader: func(_ *fbft.Committee, h shardkit.Height, view uint64) int {
			return int((uint64(h) - 1 + view) % 23) // so that the two cannot help themselves
		}}})
	if err != nil {
		t.Fatal(err)
	}
	l = lab
	l.Run(func(p fbfttest.Packet) bool {
		if hold != nil && hold(p) {
			return false
		}
		if h := shardkit.Height(p.Data[13]); p.From >= 23 && p.Data[1] == kindLate {
			return l.AllDecided(min(h+4, heights)) // sent a height or two later, and slow as well
		} else if p.From >= 23 && p.Info.Kind == fbfttest.KindVote && p.Info.Phase == fbft.Commit {
			return l.AllDecided(min(h+2, heights))
		}
		return true
	})
	if !l.AllDecided(heights) || l.Err() != nil || len(l.Blamed) > 0 {
		t.Fatal("not decided", l.Err(), l.Blamed)
	}
	return l, credited
}

// TestFarMembersAreCredited: whose votes always come late is credited in every
// height all the same. Left with the collectors of their heights they would wait
// for those to have another turn, and be out of date by then.
func TestFarMembersAreCredited(t *testing.T) {
	_, credited := far(t, nil)
	_, without := far(t, func(p fbfttest.Packet) bool { return p.Data[1] == kindLate })
	missed := 0
	for h := shardkit.Height(1); h <= 22; h++ {
		if set := credited[h]; !set.Has(23) || !set.Has(24) {
			t.Errorf("height %d: only %v credited", h, set.Indices())
		}
		if !without[h].Has(23) {
			missed++
		}
	}
	if missed < 20 {
		t.Errorf("only %d of 22 heights missed without late votes: the test shows little", missed)
	}
}

// TestLateVotesAreSentOnce: each member sends its vote for a height to three
// leaders at most, and who is in the certificate to none.
func TestLateVotesAreSentOnce(t *testing.T) {
	l, _ := far(t, nil)
	type word struct {
		from   int
		height shardkit.Height
	}
	sent := make(map[word]int)
	for _, p := range l.Sent {
		if p.Data[1] != kindLate {
			continue
		}
		w := word{p.From, shardkit.Height(p.Data[13])}
		if sent[w]++; sent[w] > 3 {
			t.Errorf("actor %d sends its vote for height %d %d times", p.From, w.height, sent[w])
		}
	}
	if sent[word{23, 10}] != 3 || sent[word{5, 10}] != 0 {
		t.Errorf("member 23 sends %d, member 5 %d", sent[word{23, 10}], sent[word{5, 10}])
	}
}

// TestFalseLateVote: a late vote with a false signature spoils nothing, and
// repetitions change nothing.
func TestFalseLateVote(t *testing.T) {
	l, _ := far(t, func(p fbfttest.Packet) bool { return p.Data[1] == kindLate })
	pick := func(from int) fbfttest.Packet {
		k := slices.IndexFunc(l.Flight, func(p fbfttest.Packet) bool {
			return p.Data[1] == kindLate && p.Data[13] == 30 && p.From == from && p.To < 20
		})
		if k < 0 {
			t.Fatal("no late vote")
		}
		return l.Flight[k]
	}
	good, bad := pick(23), pick(24)
	to := good.To
	l.CollectLate(to) // what it has without them
	before := len(l.Late)
	forged := bytes.Clone(bad.Data)
	forged[len(forged)-1] ^= 1
	for range 2 {
		if err := errors.Join(l.Send(24, to, forged), l.Send(23, to, good.Data), l.Send(3, to, good.Data)); err != nil {
			t.Fatal(err)
		}
	}
	l.CollectLate(to)
	if len(l.Late) != before+1 {
		t.Fatalf("%d certificates, want one", len(l.Late)-before)
	}
	if set := l.Late[before].Signers; set.Count() != 1 || !set.Has(23) {
		t.Errorf("credited: %v", set.Indices())
	}
}

// crediting is an application that notes for whom late votes were handed to it.
type crediting struct {
	*ledger
	mu       sync.Mutex
	credited []*fbft.Certificate
}

func (c *crediting) Propose(ctx context.Context, p fbft.Propose) (header, ref []byte, err error) {
	c.mu.Lock()
	c.credited = append(c.credited, p.Late...)
	c.mu.Unlock()
	return c.ledger.Propose(ctx, p)
}

// TestNodeHandsOutLateVotes: five decide with four, and the fifth vote of each
// height is late.
func TestNodeHandsOutLateVotes(t *testing.T) {
	var apps []*crediting
	c := newCluster(t, 5, counting(5), 60, func(i int, cfg *fbft.NodeConfig) {
		cfg.Late = true
		apps = append(apps, &crediting{ledger: cfg.App.(*ledger)})
		cfg.App = apps[i]
	})
	defer c.close()
	c.reach(t, 60)
	total := 0
	for i, app := range apps {
		app.mu.Lock()
		for _, ct := range app.credited {
			main := c.apps[i].blocks[ct.Height-1].Certificate
			if err := ct.CheckLate(shardkit.Hash{}, 0, app.committee, main); err != nil {
				t.Error(err)
			}
			total += ct.Signers.Count()
		}
		app.mu.Unlock()
	}
	if total == 0 {
		t.Error("nobody was credited")
	}
}
