package fbfttest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/shardkit/shardkit/fbft"
)

// Scheme is how TestScheme gets hold of a signature scheme.
type Scheme struct {
	// New returns the verifier of a committee of n, and its members' signers in
	// order. Calls for the same n may or may not return the same keys.
	New func(t testing.TB, n int) (fbft.Verifier, []fbft.Signer)
	// Cancel returns two signatures of a statement with errors that are each
	// other's opposite, if the scheme adds signatures up; nil if it does not.
	Cancel func(t testing.TB, a, b []byte) (wrongA, wrongB []byte)
}

// TestScheme checks that a signature scheme does what fbft.Verifier and
// fbft.Signer promise and the protocol relies on.
func TestScheme(t *testing.T, s Scheme) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(t *testing.T, s Scheme)
	}{
		{"Sign", testSign}, {"Combine", testCombine}, {"Verify", testVerify}, {"Batch", testBatch},
		{"Wrong", testWrong}, {"Odd", testOdd}, {"Cancelling", testCancelling},
		{"Random", testRandom}, {"Concurrent", testConcurrent},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, s) })
	}
}

// ballot is a committee that has signed a statement.
type ballot struct {
	v         fbft.Verifier
	signers   []fbft.Signer
	statement []byte
	sigs      [][]byte // by member
}

// newBallot has every member sign.
func newBallot(t testing.TB, s Scheme, n int) *ballot {
	b := &ballot{statement: []byte("a statement")}
	b.v, b.signers = s.New(t, n)
	if len(b.signers) != n {
		t.Fatalf("%d signers for a committee of %d", len(b.signers), n)
	}
	for i := range n {
		b.sigs = append(b.sigs, b.sign(t, i, b.statement))
	}
	return b
}

func (b *ballot) sign(t testing.TB, i int, statement []byte) []byte {
	t.Helper()
	sig, err := b.signers[i].Sign(statement)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// of returns the signatures of members.
func (b *ballot) of(members []int) (sigs [][]byte) {
	for _, i := range members {
		sigs = append(sigs, b.sigs[i])
	}
	return sigs
}

// combine wants exactly the positions in bad left out, and an aggregate that
// is valid for exactly the others.
func (b *ballot) combine(t testing.TB, members []int, sigs [][]byte, bad ...int) []byte {
	t.Helper()
	aggregate, got := b.v.Combine(b.statement, members, sigs)
	if !slices.Equal(got, bad) {
		t.Fatalf("Combine of members %v left out positions %v, want %v", members, got, bad)
	}
	left := others(members, bad)
	if len(left) == 0 {
		if aggregate != nil {
			t.Fatal("Combine made an aggregate of nothing")
		}
		return nil
	}
	if len(aggregate) > fbft.MaxAggregate {
		t.Fatalf("aggregate of %d bytes", len(aggregate))
	}
	if err := b.v.Verify(b.statement, left, aggregate); err != nil {
		t.Fatalf("Verify refuses what Combine made of %v: %v", left, err)
	}
	return aggregate
}

// others returns the members at all positions but those, ascending.
func others(members, bad []int) (left []int) {
	for pos, i := range members {
		if !slices.Contains(bad, pos) {
			left = append(left, i)
		}
	}
	slices.Sort(left)
	return left
}

func upTo(n int) (list []int) {
	for i := range n {
		list = append(list, i)
	}
	return list
}

// testSign: the same statement has the same signature, which is not that of
// another statement or member, and not longer than a vote may carry.
func testSign(t *testing.T, s Scheme) {
	b := newBallot(t, s, 2)
	for i, sig := range b.sigs {
		if len(sig) == 0 || len(sig) > fbft.MaxSignature {
			t.Errorf("signature of %d bytes", len(sig))
		}
		if !bytes.Equal(sig, b.sign(t, i, b.statement)) {
			t.Error("another signature of the same statement: after a restart it would be a second vote")
		}
		if bytes.Equal(sig, b.sign(t, i, []byte("another"))) {
			t.Error("the same signature of another statement")
		}
	}
	if bytes.Equal(b.sigs[0], b.sigs[1]) {
		t.Error("the same signature by another member")
	}
}

// testCombine: any members in any order make an aggregate that verifies.
func testCombine(t *testing.T, s Scheme) {
	b := newBallot(t, s, 9)
	for _, members := range [][]int{nil, {0}, {8}, {3, 5}, {8, 0, 4}, upTo(7), upTo(9)} {
		want := b.combine(t, members, b.of(members))
		reversed := slices.Clone(members)
		slices.Reverse(reversed)
		if got := b.combine(t, reversed, b.of(reversed)); !bytes.Equal(got, want) {
			t.Errorf("members %v: another aggregate in another order", members)
		}
	}
}

// testVerify: an aggregate is of exactly its members over exactly its
// statement.
func testVerify(t *testing.T, s Scheme) {
	b := newBallot(t, s, 7)
	members := []int{0, 2, 3, 5, 6}
	good := b.combine(t, members, b.of(members))
	for name, members := range map[string][]int{
		"nobody": nil, "one less": {0, 2, 3, 5}, "one more": {0, 1, 2, 3, 5, 6}, "another": {0, 1, 3, 5, 6},
		"twice": {0, 2, 3, 5, 5, 6}, "not ascending": {2, 0, 3, 5, 6}, "out of range": {0, 2, 3, 5, 7}, "negative": {-1, 2, 3, 5, 6},
	} {
		if b.v.Verify(b.statement, members, good) == nil {
			t.Errorf("%s: verifies", name)
		}
	}
	if b.v.Verify([]byte("another statement"), members, good) == nil {
		t.Error("verifies for another statement")
	}
	for name, aggregate := range map[string][]byte{
		"nothing": nil, "short": good[:len(good)-1], "long": append(slices.Clone(good), 0), "one signature": b.sigs[0],
		"zeros": make([]byte, len(good)), "ones": bytes.Repeat([]byte{0xff}, len(good)),
	} {
		if b.v.Verify(b.statement, members, aggregate) == nil {
			t.Errorf("%s: verifies", name)
		}
	}
	for i := range good {
		flipped := slices.Clone(good)
		flipped[i] ^= 1 << (i % 8)
		if b.v.Verify(b.statement, members, flipped) == nil {
			t.Errorf("verifies with a bit of byte %d flipped", i)
		}
	}
}

// testBatch: a batch holds if all of it does.
func testBatch(t *testing.T, s Scheme) {
	b := newBallot(t, s, 5)
	var statements, aggregates [][]byte
	var members [][]int
	for k := range 6 {
		b.statement = fmt.Appendf(nil, "statement %d", k/2)
		list := slices.Delete(upTo(5), k%3, k%3+1)
		var sigs [][]byte
		for _, i := range list {
			sigs = append(sigs, b.sign(t, i, b.statement))
		}
		statements, members = append(statements, b.statement), append(members, list)
		aggregates = append(aggregates, b.combine(t, list, sigs))
		if err := b.v.VerifyBatch(statements, members, aggregates); err != nil {
			t.Fatalf("batch of %d: %v", k+1, err)
		}
	}
	if err := b.v.VerifyBatch(nil, nil, nil); err != nil {
		t.Errorf("empty batch: %v", err)
	}
	for k := range statements {
		wrong := func(name string, s [][]byte, m [][]int, a [][]byte) {
			if b.v.VerifyBatch(s, m, a) == nil {
				t.Errorf("verifies with %s %d wrong", name, k)
			}
		}
		s, m, a := slices.Clone(statements), slices.Clone(members), slices.Clone(aggregates)
		s[k], m[k], a[k] = []byte("another"), []int{0, 4}, slices.Clone(a[k])
		a[k][len(a[k])-1] ^= 1
		wrong("statement", s, members, aggregates)
		wrong("member list", statements, m, aggregates)
		wrong("aggregate", statements, members, a)
	}
	aggregates[0], aggregates[1] = aggregates[1], aggregates[0]
	if b.v.VerifyBatch(statements, members, aggregates) == nil {
		t.Error("verifies with two aggregates exchanged")
	}
}

// testWrong: the wrong signatures are found, whatever is wrong with them, and
// the rest counts. Who was wrong once and is right now counts as well.
func testWrong(t *testing.T, s Scheme) {
	const n = 16
	alternating := []int{1, 3, 5, 7, 9, 11, 13, 15}
	for name, bad := range map[string][]int{
		"one": {5}, "first": {0}, "last": {15}, "neighbours": {7, 8}, "a third": {0, 2, 3, 9, 14},
		"alternating": alternating, "all but one": upTo(15), "all": upTo(16),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBallot(t, s, n)
			sigs := b.of(upTo(n))
			for k, i := range bad {
				sigs[i] = b.spoilt(t, i, k)
			}
			b.combine(t, upTo(n), sigs, bad...)
			b.combine(t, upTo(n), sigs, bad...)
			b.combine(t, upTo(n), b.of(upTo(n)))
		})
	}
}

// spoilt returns a wrong signature of member i, in one of several ways.
func (b *ballot) spoilt(t testing.TB, i, way int) []byte {
	flipped := slices.Clone(b.sigs[i])
	flipped[len(flipped)/2] ^= 4
	ways := [][]byte{
		b.sign(t, i, []byte("another statement")),
		b.sigs[(i+1)%len(b.sigs)], // of another member
		flipped,
		nil,
		append(slices.Clone(b.sigs[i]), 0),
		b.sigs[i][:len(b.sigs[i])-1],
		make([]byte, len(b.sigs[i])),
		bytes.Repeat([]byte{0xff}, len(b.sigs[i])),
	}
	return ways[way%len(ways)]
}

// testOdd: members named twice, out of range, and lists of different lengths.
func testOdd(t *testing.T, s Scheme) {
	b := newBallot(t, s, 4)
	for _, c := range []struct {
		members, sigs, bad []int
	}{
		{members: []int{2, 2}, sigs: []int{2, 2}, bad: []int{1}},
		{members: []int{3, 4, 0, -1, 3}, sigs: []int{3, 0, 0, 1, 3}, bad: []int{1, 3, 4}},
		{members: []int{1, 0, 1}, sigs: []int{0, 0, 1}, bad: []int{0, 2}}, // the first of the two counts
		{members: []int{0, 1, 2}, sigs: []int{1, 2, 2}, bad: []int{0, 1}}, // an own signature under another index
	} {
		b.combine(t, c.members, b.of(c.sigs), c.bad...)
	}
	panics := func(name string, f func()) {
		defer func() {
			if recover() == nil {
				t.Errorf("%s: no panic for lists of different lengths", name)
			}
		}()
		f()
	}
	panics("Combine", func() { b.v.Combine(b.statement, []int{0}, nil) })
	panics("VerifyBatch", func() { _ = b.v.VerifyBatch([][]byte{b.statement}, nil, nil) })
}

// testCancelling: what Combine makes of two signatures whose errors cancel may
// pass for both, which did sign; without one of them the other is found.
func testCancelling(t *testing.T, s Scheme) {
	b := newBallot(t, s, 7)
	sigs := b.of(upTo(7))
	if s.Cancel == nil {
		sigs[2], sigs[5] = sigs[5], sigs[2] // a sum would not notice
		b.combine(t, upTo(7), sigs, 2, 5)
		return
	}
	sigs[2], sigs[5] = s.Cancel(t, sigs[2], sigs[5])
	aggregate, bad := b.v.Combine(b.statement, upTo(7), sigs)
	if err := b.v.Verify(b.statement, others(upTo(7), bad), aggregate); err != nil {
		t.Errorf("the aggregate is not valid for who was not left out: %v", err)
	}
	b.combine(t, []int{0, 1, 2, 3, 4, 6}, slices.Concat(sigs[:5], sigs[6:]), 2)
	b.combine(t, []int{5}, sigs[5:6], 0)
}

// testRandom: random members, random wrong ones.
func testRandom(t *testing.T, s Scheme) {
	const n = 10
	b := newBallot(t, s, n)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 12 {
		members := rng.Perm(n)[:1+rng.IntN(n)]
		sigs := b.of(members)
		var bad []int
		for pos, i := range members {
			if rng.IntN(4) == 0 {
				sigs[pos] = b.spoilt(t, i, rng.IntN(8))
				bad = append(bad, pos)
			}
		}
		b.combine(t, members, sigs, bad...)
	}
}

// testConcurrent: one verifier serves many jobs.
func testConcurrent(t *testing.T, s Scheme) {
	b := newBallot(t, s, 5)
	sigs := b.of(upTo(5))
	sigs[4] = b.sigs[0]
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			aggregate, bad := b.v.Combine(b.statement, upTo(5), sigs)
			if !slices.Equal(bad, []int{4}) || b.v.Verify(b.statement, upTo(4), aggregate) != nil {
				t.Error("another answer under concurrency")
			}
		})
	}
	wg.Wait()
}
