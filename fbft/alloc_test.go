package fbft_test

import (
	"testing"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/fbfttest"
)

// inbox is one of a hundred, the leader or another, and messages to hand to it.
type inbox struct {
	core    *fbft.Core
	members []fbft.Member
	forger  *fbfttest.Forger
	block   shardkit.Hash
}

func newInbox(tb testing.TB, h shardkit.Height) *inbox    { return newInboxOf(tb, h, 0) }
func newFollower(tb testing.TB, h shardkit.Height) *inbox { return newInboxOf(tb, h, 1) }

func newInboxOf(tb testing.TB, h shardkit.Height, leader int) *inbox {
	tb.Helper()
	weights := make([]uint64, 100)
	for i := range weights {
		weights[i] = 1
	}
	list, keys := members(weights...)
	for i := range list {
		list[i].Node = shardkit.NodeID{byte(i + 1), 1}
	}
	c, err := fbft.NewCommittee(list, 0, fbfttest.Fake(keys))
	if err != nil {
		tb.Fatal(err)
	}
	core, err := fbft.New(fbft.Config{Self: list[0].Node, Signer: fbfttest.FakeSigner(keys[0]), BaseTimeout: time.Hour,
		MaxTimeout: time.Hour, Leader: func(*fbft.Committee, shardkit.Height, uint64) int { return leader }})
	if err != nil {
		tb.Fatal(err)
	}
	if err := core.Start(0, fbft.Start{Height: h, Committee: c}); err != nil {
		tb.Fatal(err)
	}
	core.Ready()
	return &inbox{core: core, members: list, forger: &fbfttest.Forger{Height: h, Committee: c}, block: shardkit.Hash{7}}
}

func (b *inbox) deliver(tb testing.TB, i int, msg []byte) {
	if err := b.core.Deliver(0, b.members[i].Node, msg); err != nil {
		tb.Fatal(err)
	}
}

// allocated returns what delivering costs: the messages once each.
func (b *inbox) allocated(tb testing.TB, messages [][]byte) float64 {
	tb.Helper()
	k := 0
	return testing.AllocsPerRun(len(messages)-1, func() {
		b.deliver(tb, 1+k, messages[k])
		k++
	})
}

// votes is one vote each of members 1 to n.
func (b *inbox) votes(n int, phase fbft.Phase) (list [][]byte) {
	for i := range n {
		list = append(list, b.forger.Vote(1+i, phase, 0, b.block, shardkit.Hash{}))
	}
	return list
}

// TestAllocations: a vote that is kept costs the copy of its signature. What is
// old, foreign or has been said before costs nothing, so that nobody can keep
// the collector busy with it.
func TestAllocations(t *testing.T) {
	for _, phase := range []fbft.Phase{fbft.Prepare, fbft.Commit} {
		b := newInbox(t, 5)
		votes := b.votes(60, phase) // below the quorum
		if n := b.allocated(t, votes); n != 1 {
			t.Errorf("%v: %v allocations to keep a vote", phase, n)
		}
		if n := b.allocated(t, votes); n != 0 {
			t.Errorf("%v: %v allocations for a repetition", phase, n)
		}
		b.forger.Height = 7
		early := b.votes(60, phase)
		b.allocated(t, early)
		if n := b.allocated(t, early); n != 0 {
			t.Errorf("%v: %v allocations for a repetition of an early vote", phase, n)
		}
	}
}

func TestOldMessagesCostNothing(t *testing.T) {
	b := newInbox(t, 5)
	b.forger.Height = 3
	f := b.forger
	ct := f.Certificate(fbft.Commit, 0, b.block, shardkit.Hash{}, 1, 2, 3)
	late := f.Vote(1, fbft.Commit, 0, b.block, shardkit.Hash{})
	late[1] = kindLate
	newView, _ := f.NewView(1, []byte("header"), nil, nil, f.Report(1, 1, fbfttest.Claim{}))
	for name, msg := range map[string][]byte{
		"announce":    f.Announce([]byte("header"), []byte("ref"), ct),
		"newview":     newView,
		"prepare":     f.Vote(1, fbft.Prepare, 0, b.block, shardkit.Hash{}),
		"commit":      f.Vote(1, fbft.Commit, 0, b.block, shardkit.Hash{}),
		"late":        late,
		"certificate": f.CertificateMessage(ct, false),
		"report":      f.ReportMessage(f.Report(1, 1, fbfttest.Claim{}), ct, nil, nil),
	} {
		b.deliver(t, 1, msg) // may be answered, once
		b.core.Ready()
		if n := testing.AllocsPerRun(50, func() { b.deliver(t, 1, msg) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestRepetitionsOfTheLeaderCostNothing: neither its announcement nor its
// prepared certificate is decoded twice.
func TestRepetitionsOfTheLeaderCostNothing(t *testing.T) {
	b := newFollower(t, 5)
	header := []byte("header")
	b.block = fbft.BlockHash(header)
	var signers []int
	for i := range 67 {
		signers = append(signers, i)
	}
	ct := b.forger.Certificate(fbft.Prepare, 0, b.block, shardkit.Hash{}, signers...)
	for name, msg := range map[string][]byte{
		"announce": b.forger.Announce(header, []byte("ref"), nil),
		"prepared": b.forger.CertificateMessage(ct, false),
	} {
		b.deliver(t, 1, msg)
		for _, j := range b.core.Ready().Jobs {
			b.core.Done(0, j.Run())
		}
		if n := testing.AllocsPerRun(50, func() { b.deliver(t, 1, msg) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkVote is what a vote costs a collector before the quorum: decoding,
// filing, counting.
func BenchmarkVote(b *testing.B) {
	b.ReportAllocs()
	in := newInbox(b, 5)
	votes := in.votes(60, fbft.Commit)
	for k := 0; b.Loop(); k++ {
		if k == len(votes) {
			b.StopTimer()
			in, k = newInbox(b, 5), 0
			b.StartTimer()
		}
		in.deliver(b, 1+k, votes[k])
	}
}
