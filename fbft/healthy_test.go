package fbft_test

import (
	"testing"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/fbfttest"
	"github.com/shardkit/shardkit/kad/simnet"
)

// TestHealthyNetworkNeedsNoTimer runs committees that lose nothing, while
// messages overtake each other and the committee changes, with timers that
// would be seen. Each message is sent once: what comes before its height has
// begun must have been kept.
func TestHealthyNetworkNeedsNoTimer(t *testing.T) {
	const heights = 30
	epochs := map[string]func(h shardkit.Height) (shardkit.Epoch, []int){
		"one committee": nil,
		"another order": func(h shardkit.Height) (shardkit.Epoch, []int) {
			e := int(h-1) / 3
			var list []int
			for k := range 8 {
				list = append(list, (k*3+e)%8)
			}
			return shardkit.Epoch(e), list
		},
	}
	for name, members := range epochs {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				s, err := fbfttest.NewSim(fbfttest.SimConfig{
					Nodes: 8, Heights: heights, Epochs: members,
					Core: fbft.Config{BaseTimeout: time.Hour, MaxTimeout: time.Hour, Resend: time.Hour},
					Net: simnet.Config{Seed: seed, Jitter: 40 * time.Millisecond, Reorder: 0.1,
						SyncTime: 5 * time.Millisecond},
				})
				if err != nil {
					t.Fatal(err)
				}
				if err := s.RunTo(heights, 10*time.Minute); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		})
	}
}

// TestAnnouncementOfANewcomer: the first leader of a new committee was not in
// the old one, and is faster than a member of both. Its announcement is kept.
func TestAnnouncementOfANewcomer(t *testing.T) {
	all, keys := members(1, 1, 1, 1, 1)
	build := func(place ...int) *fbft.Committee {
		var list []fbft.Member
		var its [][]byte
		for _, i := range place {
			list, its = append(list, all[i]), append(its, keys[i])
		}
		c, err := fbft.NewCommittee(list, 0, fbfttest.Fake(its))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old, next := build(0, 1, 2, 3), build(4, 0, 1, 2)
	core := func(i int) *fbft.Core {
		c, err := fbft.New(fbft.Config{Self: all[i].Node, Signer: fbfttest.FakeSigner(keys[i]),
			Leader: func(*fbft.Committee, shardkit.Height, uint64) int { return 0 }})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	leader, both := core(4), core(1)
	if err := leader.Start(0, fbft.Start{Epoch: 1, Height: 6, Committee: next, Before: old}); err != nil {
		t.Fatal(err)
	}
	if err := leader.Proposed(0, 6, 0, []byte("header"), nil); err != nil {
		t.Fatal(err)
	}
	if err := both.Start(0, fbft.Start{Height: 5, Committee: old}); err != nil {
		t.Fatal(err)
	}
	for _, m := range leader.Ready().Messages {
		if m.To == all[1].Node {
			if err := both.Deliver(0, all[4].Node, m.Data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := both.Start(0, fbft.Start{Epoch: 1, Height: 6, Committee: next, Before: old}); err != nil {
		t.Fatal(err)
	}
	if v := both.Ready().Validate; len(v) != 1 || string(v[0].Header) != "header" {
		t.Errorf("asked to validate %v", v)
	}
}
