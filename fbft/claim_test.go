package fbft_test

import (
	"context"
	"testing"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/fbfttest"
)

// claims is a leader of view 1 that lacks a block which 1 and 2 of four claim
// and 1, 2 and 3 have prepared.
func claims(t *testing.T) *inbox {
	t.Helper()
	list, keys := members(1, 1, 1, 1)
	c, err := fbft.NewCommittee(list, 0, fbfttest.Fake(keys))
	if err != nil {
		t.Fatal(err)
	}
	core, err := fbft.New(fbft.Config{Self: list[0].Node, Signer: fbfttest.FakeSigner(keys[0]),
		BaseTimeout: time.Hour, Resend: time.Second,
		Leader: func(_ *fbft.Committee, _ shardkit.Height, view uint64) int { return int(view+3) % 4 }})
	if err != nil {
		t.Fatal(err)
	}
	if err := core.Start(0, fbft.Start{Height: 1, Committee: c}); err != nil {
		t.Fatal(err)
	}
	header := []byte("header")
	b := &inbox{core: core, members: list, forger: &fbfttest.Forger{Height: 1, Committee: c}, block: fbft.BlockHash(header)}
	ct := b.forger.Certificate(fbft.Prepare, 0, b.block, shardkit.Hash{}, 1, 2, 3)
	claim := fbfttest.Claim{OK: true, Block: b.block}
	b.deliver(t, 1, b.forger.ReportMessage(b.forger.Report(1, 1, claim), nil, ct, header))
	b.deliver(t, 2, b.forger.ReportMessage(b.forger.Report(2, 1, claim), nil, nil, nil))
	b.deliver(t, 3, b.forger.ReportMessage(b.forger.Report(3, 1, fbfttest.Claim{}), nil, nil, nil))
	return b
}

// named carries out the core's jobs and returns whom it names to get a body from.
func (b *inbox) named(now time.Duration) (list []shardkit.NodeID) {
	for {
		e := b.core.Ready()
		b.core.Persisted(now, e.Seq)
		for _, j := range e.Jobs {
			b.core.Done(now, j.Run())
		}
		for _, v := range e.Validate {
			list = append(list, v.From)
		}
		if len(e.Records)+len(e.Jobs) == 0 {
			return list
		}
	}
}

// TestBodyOfAClaim: whoever claims a block is asked for its body, then whoever has
// prepared it, one at a time, each for twice as long as the one before. What
// others say meanwhile makes no more of it.
func TestBodyOfAClaim(t *testing.T) {
	b := claims(t)
	want := map[int]int{0: 1, 1: 2, 3: 3, 7: 1, 15: 2} // at second: member
	for s := range 20 {
		now := time.Duration(s) * time.Second
		b.core.Tick(now)
		got := b.named(now)
		for i := 1; i < 4; i++ {
			claim := fbfttest.Claim{}
			if i < 3 {
				claim = fbfttest.Claim{OK: true, Block: b.block}
			}
			b.deliver(t, i, b.forger.ReportMessage(b.forger.Report(i, 1, claim), nil, nil, nil))
		}
		if i, ask := want[s]; ask != (len(got) == 1) || ask && got[0] != b.members[i].Node {
			t.Errorf("at %v: %v", now, got)
		}
		if more := b.named(now); len(more) > 0 {
			t.Errorf("at %v: again: %v", now, more)
		}
	}
	b.core.Validated(20*time.Second, b.block, nil)
	b.named(20 * time.Second)
	b.core.Tick(40 * time.Second)
	if got := b.named(40 * time.Second); len(got) > 0 {
		t.Errorf("asked for what is held: %v", got)
	}
}

// TestBodyOfAClaimInALaterView: the next one is asked at once when a view begins.
func TestBodyOfAClaimInALaterView(t *testing.T) {
	b := claims(t)
	if got := b.named(0); len(got) != 1 || got[0] != b.members[1].Node {
		t.Fatal(got)
	}
	for i := 1; i < 4; i++ {
		b.deliver(t, i, b.forger.ReportMessage(b.forger.Report(i, 5, fbfttest.Claim{OK: true, Block: b.block}), nil, nil, nil))
	}
	if got := b.named(0); len(got) != 1 || got[0] != b.members[2].Node || b.core.Status().View != 5 {
		t.Error(got, b.core.Status().View)
	}
}

// hanging is an application to which one member never sends a body.
type hanging struct {
	*ledger
	silent shardkit.NodeID
}

func (h *hanging) Validate(ctx context.Context, v fbft.Validate) error {
	if v.From == h.silent {
		<-ctx.Done()
		return ctx.Err()
	}
	return h.ledger.Validate(ctx, v)
}

// TestNodeLeavesWhoIsSilent: the first leader gives its block to two of three and
// shows one of them that it is prepared. The third, whose turn it is to lead, can
// go on only if its application gives up on that leader, which claims to have the
// block and does not send it.
func TestNodeLeavesWhoIsSilent(t *testing.T) {
	const proposal, certificate, report = 1, 3, 4
	c := newCluster(t, 4, counting(4), 1, func(i int, cfg *fbft.NodeConfig) {
		cfg.Core.BaseTimeout = 100 * time.Millisecond
		cfg.Core.Leader = func(_ *fbft.Committee, _ shardkit.Height, view uint64) int { return int(view*3) % 4 }
		switch i {
		case 0:
			send := cfg.Send
			cfg.Send = func(m shardkit.Message) error {
				kind := m.Data[2]
				if kind == proposal || kind == report || kind == certificate && m.Data[1+14+2] == byte(fbft.Prepare) && m.To[0] == 2 {
					return send(m)
				}
				return nil
			}
		case 3:
			cfg.App = &hanging{ledger: cfg.App.(*ledger), silent: shardkit.NodeID{1}}
		}
	})
	defer c.close()
	for _, n := range c.nodes {
		n.Work()
	}
	c.reach(t, 1)
}
