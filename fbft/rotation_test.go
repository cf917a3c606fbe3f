package fbft_test

import (
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/fbfttest"
	"github.com/shardkit/shardkit/kad/simnet"
)

// owned makes a committee of members in owners' hands: slots names them.
func owned(t *testing.T, slots string, weights ...uint64) *fbft.Committee {
	t.Helper()
	list, keys := members(weights...)
	for i := range list {
		list[i].Slot = shardkit.Hash{slots[i], byte(i)}
	}
	c, err := fbft.NewCommittee(list, 0, fbfttest.Fake(keys))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ownerOf(m fbft.Member) shardkit.Hash { return shardkit.Hash{m.Slot[0]} }

func rotations() map[string]fbft.Rotation {
	return map[string]fbft.Rotation{
		"default":          (*fbft.Committee).Rotate,
		"every 3":          fbft.Every(3, nil),
		"every 0":          fbft.Every(0, nil),
		"by owner":         fbft.ByOwner(ownerOf),
		"every 2 by owner": fbft.Every(2, fbft.ByOwner(ownerOf)),
		"draw":             fbft.Draw(nil),
		"draw of a seed":   fbft.Draw(func(*fbft.Committee) shardkit.Hash { return shardkit.Hash{9} }),
	}
}

// TestRotationTable pins leaders: replicas of two versions must agree on them.
// One line is the heights 0 to 11 of view 0, then of view 1.
func TestRotationTable(t *testing.T) {
	want := map[string]string{
		"default":          "404737262525 047372625251 ",
		"every 3":          "444000444777 000444777333 ",
		"every 0":          "404737262525 047372625251 ",
		"by owner":         "707545451212 075454512126 ",
		"every 2 by owner": "770077554455 007755445544 ",
		"draw":             "750437225553 755273240121 ",
		"draw of a seed":   "477715722260 514657572246 ",
	}
	c := owned(t, "abcabcab", 1, 2, 3, 1, 2, 3, 1, 2)
	for name, r := range rotations() {
		text := ""
		for view := range uint64(2) {
			for h := range shardkit.Height(12) {
				text += fmt.Sprint(r(c, h, view))
			}
			text += " "
		}
		if text != want[name] {
			t.Errorf("%q: %q", name, text)
		}
	}
}

// TestRotationIsAFunction: a replica that made its own policy and committee, and
// asks in another order, gets the same leaders, all of them members.
func TestRotationIsAFunction(t *testing.T) {
	weights := []uint64{1, 2, 3, 1, 2, 3, 1, 2}
	c, same, other := owned(t, "abcabcab", weights...), owned(t, "abcabcab", weights...), owned(t, "ccbbaaba", weights...)
	again := rotations()
	for name, r := range rotations() {
		for k := range 400 {
			h, view := shardkit.Height(k/4), uint64(k%4)
			if k%50 == 49 {
				h, view = math.MaxUint64-h, math.MaxUint64-view
			}
			a := r(c, h, view)
			_ = again[name](other, h, view) // what it remembers is of another committee now
			if b := again[name](same, h, view); a != b || a < 0 || a >= c.Len() {
				t.Fatalf("%s: height %d, view %d: %d and %d", name, h, view, a, b)
			}
		}
	}
}

// TestRotationIsFair: who leads how often is in proportion to weight, exactly
// over W turns, and for draws within five standard deviations.
func TestRotationIsFair(t *testing.T) {
	c := owned(t, "abcabcaba", 1, 7, 2, 30, 5, 15, 9, 11, 20)
	for name, r := range rotations() {
		const rounds = 300 // times W heights; a multiple of the runs
		led := make([]float64, c.Len())
		for h := range shardkit.Height(rounds * c.Total()) {
			led[r(c, h, 0)]++
		}
		for i, m := range c.Members() {
			want, slack := float64(rounds*m.Weight), 0.0
			if name[:4] == "draw" {
				p := float64(m.Weight) / float64(c.Total())
				slack = 5 * math.Sqrt(want*(1-p))
			}
			if math.Abs(led[i]-want) > slack {
				t.Errorf("%s: member %d of weight %d leads %v times, want %v", name, i, m.Weight, led[i], want)
			}
		}
	}
}

// TestByOwner: an owner of many small members, scattered over the committee, is
// never up twice running, nor in the view after.
func TestByOwner(t *testing.T) {
	c := owned(t, "abacadaeaf", 3, 6, 3, 6, 3, 6, 3, 6, 3, 6) // a holds a third
	r := fbft.ByOwner(ownerOf)
	owner := func(i int) shardkit.Hash { return ownerOf(c.Members()[i]) }
	for h := range shardkit.Height(200) {
		now := owner(r(c, h, 0))
		if now == owner(r(c, h+1, 0)) || now == owner(r(c, h, 1)) {
			t.Fatalf("owner %v leads height %d, and next again", now, h)
		}
	}
	twice := 0
	for h := range shardkit.Height(200) {
		if owner(c.Rotate(h, 0)) == owner(c.Rotate(h+1, 0)) {
			twice++
		}
	}
	if twice == 0 {
		t.Error("the default would do as well: the test shows nothing")
	}
}

// TestRotationInUse runs a committee under each policy, with one member down:
// everybody evaluates the policy, or nobody's announcement would be heard.
func TestRotationInUse(t *testing.T) {
	for name, r := range rotations() {
		leaders := make(map[shardkit.NodeID]bool)
		s, err := fbfttest.NewSim(fbfttest.SimConfig{Nodes: 7, Heights: 30,
			Core: fbft.Config{Leader: r, BaseTimeout: 400 * time.Millisecond, MaxTimeout: 1600 * time.Millisecond},
			Net: simnet.Config{Seed: 5, Jitter: 20 * time.Millisecond,
				Filter: func(from, _ shardkit.NodeID, msg []byte) simnet.Verdict {
					if in, ok := fbfttest.Inspect(msg[1:]); ok && msg[0] == 0 && in.Kind == fbfttest.KindProposal {
						leaders[from] = true
					}
					return simnet.Verdict{}
				}}})
		if err != nil {
			t.Fatal(err)
		}
		s.Net.At(time.Second, func() { s.Net.Crash(s.ID(2)) })
		if err := s.RunTo(30, 10*time.Minute, 0, 1, 3, 4, 5, 6); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(leaders) < 4 {
			t.Errorf("%s: only %d of seven ever proposed", name, len(leaders))
		}
	}
}

// TestDrawFollowsTheSeed: another epoch's randomness draws other leaders.
func TestDrawFollowsTheSeed(t *testing.T) {
	c := owned(t, "abcdefgh", 1, 1, 1, 1, 1, 1, 1, 1)
	draw := func(seed string) (list []int) {
		r := fbft.Draw(func(*fbft.Committee) shardkit.Hash { return sha256.Sum256([]byte(seed)) })
		for h := range shardkit.Height(40) {
			list = append(list, r(c, h, 0))
		}
		return list
	}
	if !slices.Equal(draw("one"), draw("one")) || slices.Equal(draw("one"), draw("two")) {
		t.Error("leaders do not follow from the seed")
	}
}
