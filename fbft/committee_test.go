package fbft_test

import (
	"math"
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/fbfttest"
)

func members(weights ...uint64) (list []fbft.Member, keys [][]byte) {
	for i, w := range weights {
		key := []byte{'k', byte(i)}
		list = append(list, fbft.Member{Node: shardkit.NodeID{byte(i + 1)}, Key: key, Weight: w})
		keys = append(keys, key)
	}
	return list, keys
}

func committee(t *testing.T, weights ...uint64) *fbft.Committee {
	t.Helper()
	list, keys := members(weights...)
	c, err := fbft.NewCommittee(list, 0, fbfttest.Fake(keys))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestQuorum checks the least weight above two thirds and what follows from
// it, at small totals, at 600 shares, and near the bound.
func TestQuorum(t *testing.T) {
	for w := uint64(1); w < 300; w++ {
		c := committee(t, w)
		q := c.Quorum()
		if 3*q <= 2*w || 3*(q-1) > 2*w {
			t.Errorf("quorum of %d is %d", w, q)
		}
	}
	c := committee(t, 150, 150, 300)
	if c.Quorum() != 401 || c.Amplify() != 200 || c.Fork() != 202 {
		t.Errorf("600 shares: quorum %d, stalls at %d, forks at %d", c.Quorum(), c.Amplify(), c.Fork())
	}
	c = committee(t, fbft.MaxWeight-1, 1)
	if q := c.Quorum(); q != 2*(uint64(fbft.MaxWeight)/3)+1 {
		t.Errorf("quorum of %d is %d", c.Total(), q)
	}
}

func TestCommitteeRefused(t *testing.T) {
	try := func(name string, quorum uint64, f func(list []fbft.Member) []fbft.Member) {
		t.Helper()
		list, keys := members(1, 2, 3)
		list = f(list)
		if _, err := fbft.NewCommittee(list, quorum, fbfttest.Fake(keys)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	same := func(list []fbft.Member) []fbft.Member { return list }
	edit := func(f func(m []fbft.Member)) func([]fbft.Member) []fbft.Member {
		return func(list []fbft.Member) []fbft.Member { f(list); return list }
	}
	try("no members", 0, func([]fbft.Member) []fbft.Member { return nil })
	try("too many", 0, func([]fbft.Member) []fbft.Member { return make([]fbft.Member, fbft.MaxMembers+1) })
	try("zero weight", 0, edit(func(m []fbft.Member) { m[1].Weight = 0 }))
	try("too heavy", 0, edit(func(m []fbft.Member) { m[1].Weight = fbft.MaxWeight }))
	try("overflow", 0, edit(func(m []fbft.Member) { m[1].Weight = math.MaxUint64 }))
	try("same key", 0, edit(func(m []fbft.Member) { m[2].Key = m[0].Key }))
	try("same node", 0, edit(func(m []fbft.Member) { m[2].Node = m[0].Node }))
	try("no key", 0, edit(func(m []fbft.Member) { m[0].Key = nil }))
	try("long key", 0, edit(func(m []fbft.Member) { m[0].Key = make([]byte, fbft.MaxKey+1) }))
	try("quorum of half", 3, same)
	try("quorum above all", 7, same)
	list, _ := members(1)
	if _, err := fbft.NewCommittee(list, 0, nil); err == nil {
		t.Error("no verifier: accepted")
	}
}

func TestCommitteeHash(t *testing.T) {
	list, keys := members(1, 2, 3)
	a, err := fbft.NewCommittee(list, 0, fbfttest.Fake(keys))
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	decoded, quorum, err := fbft.DecodeCommittee(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := fbft.NewCommittee(decoded, quorum, fbfttest.Fake(keys))
	if err != nil || again.Hash() != a.Hash() {
		t.Fatalf("decoded: %v, %v is not %v", err, again.Hash(), a.Hash())
	}
	other, err := fbft.NewCommittee(list, 6, fbfttest.Fake(keys))
	if err != nil || other.Hash() == a.Hash() {
		t.Fatalf("another quorum, same hash: %v", err)
	}
	list[0], list[1] = list[1], list[0]
	if other, err = fbft.NewCommittee(list, 0, fbfttest.Fake(keys)); err != nil || other.Hash() == a.Hash() {
		t.Fatalf("another order, same hash: %v", err)
	}
}

// TestRotate checks that over W turns every member leads as often as it has
// weight, and that neighbours with a third of it never lead twice running.
func TestRotate(t *testing.T) {
	c := committee(t, 1, 7, 2, 30, 5, 15, 9, 11, 20)
	led := make([]uint64, c.Len())
	for h := range c.Total() {
		led[c.Rotate(shardkit.Height(h), 3)]++
	}
	for i, m := range c.Members() {
		if led[i] != m.Weight {
			t.Errorf("member %d of weight %d leads %d of %d", i, m.Weight, led[i], c.Total())
		}
	}
	for v := range uint64(1000) {
		if a, b := c.Rotate(5, v), c.Rotate(5, v+1); a > 6 && b > 6 || a == 3 && b == 3 { // neighbours of weight 31, and one of 30, of 100
			t.Fatalf("views %d and %d led by %d and %d", v, v+1, a, b)
		}
	}
	if i := c.Rotate(math.MaxUint64, math.MaxUint64); i < 0 || i >= c.Len() {
		t.Errorf("leader %d", i)
	}
}

func TestBitmap(t *testing.T) {
	b := fbft.NewBitmap(11)
	for _, i := range []int{0, 3, 8, 10} {
		b.Set(i)
	}
	if got := b.Indices(); len(got) != 4 || got[0] != 0 || got[1] != 3 || got[2] != 8 || got[3] != 10 || b.Count() != 4 {
		t.Errorf("indices %v", got)
	}
	if b.Has(1) || b.Has(-1) || b.Has(999) || !b.Has(8) {
		t.Error("membership")
	}
}
