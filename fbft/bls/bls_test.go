package bls_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cloudflare/circl/ecc/bls12381"
	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/fbft/bls"
)

var batchSeed = [32]byte{1, 2, 3}

func newKey(t testing.TB, i int) *bls.SecretKey {
	k, err := bls.GenerateKey(fmt.Appendf(nil, "a seed of a test, with number %09d", i))
	require.NoError(t, err)
	return k
}

func newCommittee(t testing.TB, n int) (*bls.Committee, []*bls.SecretKey) {
	keys, public := make([]*bls.SecretKey, n), make([][]byte, n)
	for i := range keys {
		keys[i] = newKey(t, i)
		public[i] = keys[i].Public()
	}
	c, err := bls.NewCommittee(public, batchSeed)
	require.NoError(t, err)
	return c, keys
}

func sign(t testing.TB, k *bls.SecretKey, statement []byte) []byte {
	sig, err := k.Sign(statement)
	require.NoError(t, err)
	return sig
}

// signAll returns the signatures of the members.
func signAll(t testing.TB, keys []*bls.SecretKey, members []int, statement []byte) [][]byte {
	sigs := make([][]byte, len(members))
	for i, m := range members {
		sigs[i] = sign(t, keys[m], statement)
	}
	return sigs
}

func ascending(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

// shift returns sig + delta·G: with delta and -delta two members cancel each
// other's errors.
func shift(t testing.TB, sig []byte, delta int) []byte {
	var p bls12381.G1
	require.NoError(t, p.SetBytes(sig))
	d := *bls12381.G1Generator()
	if delta < 0 {
		d.Neg()
		delta = -delta
	}
	for range delta {
		p.Add(&p, &d)
	}
	return p.BytesCompressed()
}

func TestCombineAndVerify(t *testing.T) {
	c, keys := newCommittee(t, 10)
	statement := []byte("statement")
	for _, members := range [][]int{{0}, {9}, {3, 7}, {0, 1, 2, 3, 4, 5, 6}, ascending(10)} {
		aggregate, bad := c.Combine(statement, members, signAll(t, keys, members, statement))
		require.Empty(t, bad)
		require.Len(t, aggregate, bls.SignatureSize)
		require.NoError(t, c.Verify(statement, members, aggregate))

		// The slow reference: circl's points, one by one.
		sum := new(bls12381.G1)
		sum.SetIdentity()
		for _, m := range members {
			var p bls12381.G1
			require.NoError(t, p.SetBytes(sign(t, keys[m], statement)))
			sum.Add(sum, &p)
		}
		require.Equal(t, sum.BytesCompressed(), aggregate)
	}
}

func TestVerifyRefuses(t *testing.T) {
	c, keys := newCommittee(t, 6)
	statement := []byte("statement")
	members := []int{0, 2, 3, 5}
	good, bad := c.Combine(statement, members, signAll(t, keys, members, statement))
	require.Empty(t, bad)
	require.NoError(t, c.Verify(statement, members, good))

	infinity := make([]byte, bls.SignatureSize)
	infinity[0] = 0xc0
	var p bls12381.G1
	require.NoError(t, p.SetBytes(good))
	for name, v := range map[string]struct {
		statement string
		members   []int
		aggregate []byte
	}{
		"another statement":  {"statemenT", members, good},
		"nobody":             {"statement", nil, good},
		"one less":           {"statement", []int{0, 2, 3}, good},
		"one more":           {"statement", []int{0, 2, 3, 4, 5}, good},
		"another":            {"statement", []int{0, 2, 4, 5}, good},
		"not ascending":      {"statement", []int{0, 3, 2, 5}, good},
		"twice":              {"statement", []int{0, 2, 3, 3, 5}, good},
		"out of range":       {"statement", []int{0, 2, 3, 6}, good},
		"negative":           {"statement", []int{-1, 2, 3, 5}, good},
		"infinity":           {"statement", members, infinity},
		"uncompressed":       {"statement", members, p.Bytes()},
		"trailing byte":      {"statement", members, append(bytes.Clone(good), 0)},
		"short":              {"statement", members, good[:47]},
		"empty":              {"statement", members, nil},
		"another aggregate":  {"statement", members, shift(t, good, 1)},
		"a single signature": {"statement", members, sign(t, keys[0], statement)},
	} {
		require.Error(t, c.Verify([]byte(v.statement), v.members, v.aggregate), name)
		require.Error(t, c.VerifyBatch([][]byte{statement, []byte(v.statement)},
			[][]int{members, v.members}, [][]byte{good, v.aggregate}), name)
	}
}

// spoil makes the signatures at positions wrong in ways that differ.
func spoil(t testing.TB, sigs [][]byte, positions []int) {
	for n, i := range positions {
		switch n % 5 {
		case 0:
			sigs[i] = shift(t, sigs[i], i+1)
		case 1:
			sigs[i] = bytes.Repeat([]byte{0xff}, bls.SignatureSize)
		case 2:
			sigs[i] = shift(t, sigs[i], 1000+i)
		case 3:
			sigs[i] = nil
		case 4: // on the curve, outside the subgroup: x = 0, y = 2
			sigs[i] = make([]byte, bls.SignatureSize)
			sigs[i][0] = 0x80
		}
	}
}

func TestCombineFindsTheWrongOnes(t *testing.T) {
	const n = 20
	statement := []byte("statement")
	_, keys := newCommittee(t, n)
	members := ascending(n)
	good := signAll(t, keys, members, statement)
	alternating := []int{0, 2, 4, 6, 8, 10, 12, 14, 16, 18}
	for name, positions := range map[string][]int{
		"one": {7}, "first": {0}, "last": {19}, "neighbours": {9, 10}, "a third": {1, 4, 5, 11, 17, 18},
		"alternating": alternating, "all": members, "all but one": members[1:],
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := newCommittee(t, n)
			sigs := slices.Clone(good)
			spoil(t, sigs, positions)
			for range 2 { // the second time with what was learnt
				aggregate, bad := c.Combine(statement, members, sigs)
				require.Equal(t, positions, bad)
				left := slices.DeleteFunc(ascending(n), func(i int) bool { return slices.Contains(positions, i) })
				if len(left) == 0 {
					require.Nil(t, aggregate)
					return
				}
				require.NoError(t, c.Verify(statement, left, aggregate))
			}
			// Who was wrong before and is right now counts.
			aggregate, bad := c.Combine(statement, members, good)
			require.Empty(t, bad)
			require.NoError(t, c.Verify(statement, members, aggregate))
		})
	}
}

func TestCombineKnownOffendersAreBounded(t *testing.T) {
	const n, wrong = 90, 60
	c, keys := newCommittee(t, n)
	statement := []byte("statement")
	members := ascending(n)
	sigs := signAll(t, keys, members, statement)
	for i := range wrong {
		sigs[i] = shift(t, sigs[i], 1+i)
	}
	_, bad := c.Combine(statement, members, sigs)
	require.Equal(t, ascending(wrong), bad)

	// One of them turns honest among the others: it may be left out, the rest
	// of the committee may not.
	sigs[0] = sign(t, keys[0], statement)
	aggregate, bad := c.Combine(statement, members, sigs)
	require.Subset(t, ascending(wrong), bad)
	left := slices.DeleteFunc(ascending(n), func(i int) bool { return slices.Contains(bad, i) })
	require.GreaterOrEqual(t, len(left), n-wrong)
	require.NoError(t, c.Verify(statement, left, aggregate))

	// Alone it counts.
	aggregate, bad = c.Combine(statement, []int{0, 70, 80},
		[][]byte{sigs[0], sigs[70], sigs[80]})
	require.Empty(t, bad)
	require.NoError(t, c.Verify(statement, []int{0, 70, 80}, aggregate))
}

// TestCancellingPair: two members cancel each other's errors. As a set they
// did sign; without one of them the sum must not pass.
func TestCancellingPair(t *testing.T) {
	c, keys := newCommittee(t, 8)
	statement := []byte("statement")
	members := ascending(8)
	sigs := signAll(t, keys, members, statement)
	sigs[2], sigs[5] = shift(t, sigs[2], 3), shift(t, sigs[5], -3)
	aggregate, bad := c.Combine(statement, members, sigs)
	require.Empty(t, bad)
	require.NoError(t, c.Verify(statement, members, aggregate))

	without := []int{0, 1, 2, 3, 4, 6, 7}
	aggregate, bad = c.Combine(statement, without, slices.Concat(sigs[:5], sigs[6:]))
	require.Equal(t, []int{2}, bad)
	require.NoError(t, c.Verify(statement, []int{0, 1, 3, 4, 6, 7}, aggregate))
	require.Error(t, bls.VerifySingle(keys[2].Public(), statement, sigs[2]))
}

func TestCombineOddInput(t *testing.T) {
	c, keys := newCommittee(t, 4)
	statement := []byte("statement")
	sig := func(i int) []byte { return sign(t, keys[i], statement) }

	aggregate, bad := c.Combine(statement, nil, nil)
	require.Nil(t, aggregate)
	require.Empty(t, bad)

	// Any order; foreign, negative and repeated members are left out.
	aggregate, bad = c.Combine(statement, []int{3, 4, 0, -1, 3}, [][]byte{sig(3), sig(0), sig(0), sig(1), sig(3)})
	require.Equal(t, []int{1, 3, 4}, bad)
	require.NoError(t, c.Verify(statement, []int{0, 3}, aggregate))

	aggregate, bad = c.Combine(statement, []int{2, 2}, [][]byte{sig(2), sig(2)})
	require.Equal(t, []int{1}, bad)
	require.Equal(t, sig(2), aggregate)

	// A signature under another index is wrong for both.
	_, bad = c.Combine(statement, []int{0, 1, 2}, [][]byte{sig(1), sig(2), sig(2)})
	require.Equal(t, []int{0, 1}, bad)
	require.Panics(t, func() { c.Combine(statement, []int{0}, nil) })
}

func TestCombineRandom(t *testing.T) {
	const n = 12
	c, keys := newCommittee(t, n)
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 15 {
		statement := []byte{byte(round)}
		members := rnd.Perm(n)[:1+rnd.IntN(n)]
		sigs := signAll(t, keys, members, statement)
		var want []int
		for i := range sigs {
			if rnd.IntN(4) == 0 {
				want = append(want, i)
			}
		}
		spoil(t, sigs, want)
		aggregate, bad := c.Combine(statement, members, sigs)
		require.Equal(t, want, bad)
		var left []int
		for i, m := range members {
			if !slices.Contains(want, i) {
				left = append(left, m)
			}
		}
		slices.Sort(left)
		if len(left) > 0 {
			require.NoError(t, c.Verify(statement, left, aggregate))
		} else {
			require.Nil(t, aggregate)
		}
	}
}

func TestVerifyBatch(t *testing.T) {
	c, keys := newCommittee(t, 7)
	var statements, aggregates [][]byte
	var members [][]int
	for i := range 9 {
		s, m := []byte{byte(i)}, ascending(7)
		if i%3 != 0 {
			m = slices.Delete(m, i%7, i%7+1)
		}
		aggregate, bad := c.Combine(s, m, signAll(t, keys, m, s))
		require.Empty(t, bad)
		statements, members, aggregates = append(statements, s), append(members, m), append(aggregates, aggregate)
	}
	require.NoError(t, c.VerifyBatch(statements, members, aggregates))
	require.NoError(t, c.VerifyBatch(nil, nil, nil))
	require.NoError(t, c.VerifyBatch(statements[:1], members[:1], aggregates[:1]))
	require.Error(t, c.VerifyBatch(statements[:1], members[:1], aggregates[1:2]))
	for i := range statements {
		wrong := slices.Clone(aggregates)
		wrong[i] = shift(t, wrong[i], 1)
		require.Error(t, c.VerifyBatch(statements, members, wrong))
		// Errors that cancel in a plain sum do not in a random combination,
		// not even between claims of the same signers (0 and 3).
		j := (i + 3) % len(statements)
		wrong[j] = shift(t, wrong[j], -1)
		require.Error(t, c.VerifyBatch(statements, members, wrong))
	}
	require.Panics(t, func() { _ = c.VerifyBatch(statements, members[1:], aggregates) })
}

func TestVerifyClaimsOfManyCommittees(t *testing.T) {
	var claims []bls.Claim
	for i := range 5 {
		c, keys := newCommittee(t, 3+i)
		s, m := []byte("the same statement"), ascending(2+i)
		aggregate, bad := c.Combine(s, m, signAll(t, keys, m, s))
		require.Empty(t, bad)
		claims = append(claims, bls.Claim{Committee: c, Statement: s, Members: m, Aggregate: aggregate})
	}
	require.NoError(t, bls.VerifyClaims(batchSeed, claims))
	claims[1].Aggregate, claims[2].Aggregate = claims[2].Aggregate, claims[1].Aggregate
	require.Error(t, bls.VerifyClaims(batchSeed, claims))
}

func TestPossession(t *testing.T) {
	k, other := newKey(t, 1), newKey(t, 2)
	context := []byte("chain, account")
	proof := k.Prove(context)
	require.NoError(t, bls.VerifyPossession(k.Public(), context, proof))
	require.NoError(t, bls.VerifyPossession(k.Public(), nil, k.Prove(nil)))

	require.Error(t, bls.VerifyPossession(k.Public(), []byte("another chain"), proof))
	require.Error(t, bls.VerifyPossession(other.Public(), context, proof))
	require.Error(t, bls.VerifyPossession(k.Public(), context, nil))
	// A signature over the same bytes is no proof, nor the other way round.
	msg := append(k.Public(), context...)
	require.Error(t, bls.VerifyPossession(k.Public(), context, sign(t, k, msg)))
	require.Error(t, bls.VerifySingle(k.Public(), msg, proof))
	require.NoError(t, bls.VerifySingle(k.Public(), msg, sign(t, k, msg)))
}

// TestRogueKey plays the attack that the proof of possession is there for:
// without it, a key made out of the others' keys signs for all.
func TestRogueKey(t *testing.T) {
	victim, mine := newKey(t, 1), newKey(t, 2)
	var rogue, v bls12381.G2
	require.NoError(t, rogue.SetBytes(mine.Public()))
	require.NoError(t, v.SetBytes(victim.Public()))
	v.Neg()
	rogue.Add(&rogue, &v)

	statement := []byte("statement")
	c, err := bls.NewCommittee([][]byte{victim.Public(), rogue.BytesCompressed()}, batchSeed)
	require.NoError(t, err)
	require.NoError(t, c.Verify(statement, []int{0, 1}, sign(t, mine, statement)), "the forgery")
	for _, proof := range [][]byte{mine.Prove(nil), victim.Prove(nil), nil} {
		require.Error(t, bls.VerifyPossession(rogue.BytesCompressed(), nil, proof))
	}
}

func TestOppositeKeys(t *testing.T) {
	k := newKey(t, 1)
	var p bls12381.G2
	require.NoError(t, p.SetBytes(k.Public()))
	p.Neg()
	c, err := bls.NewCommittee([][]byte{k.Public(), p.BytesCompressed()}, batchSeed)
	require.NoError(t, err)
	statement := []byte("statement")
	sig := sign(t, k, statement)
	var s bls12381.G1
	require.NoError(t, s.SetBytes(sig))
	s.Neg()
	aggregate, bad := c.Combine(statement, []int{0, 1}, [][]byte{sig, s.BytesCompressed()})
	require.Nil(t, aggregate)
	require.Equal(t, []int{0, 1}, bad)
	require.Error(t, c.Verify(statement, []int{0, 1}, sig))
}

func TestNewCommitteeRefuses(t *testing.T) {
	a, b := newKey(t, 1).Public(), newKey(t, 2).Public()
	infinity := make([]byte, bls.KeySize)
	infinity[0] = 0xc0
	for name, keys := range map[string][][]byte{
		"none": nil, "twice": {a, b, a}, "infinity": {a, infinity}, "short": {a, b[:95]},
		"trailing": {a, append(bytes.Clone(b), 0)}, "empty": {nil},
	} {
		_, err := bls.NewCommittee(keys, batchSeed)
		require.Error(t, err, name)
	}
	_, err := bls.GenerateKey(make([]byte, bls.MinSeed-1))
	require.Error(t, err)
}

func TestKeyIsDeterministicAndDoesNotPrintItself(t *testing.T) {
	a, b := newKey(t, 1), newKey(t, 1)
	require.Equal(t, a.Public(), b.Public())
	require.Equal(t, sign(t, a, []byte("x")), sign(t, b, []byte("x")))
	require.NotEqual(t, a.Public(), newKey(t, 2).Public())
	a.Public()[0] ^= 1
	require.Equal(t, a.Public(), b.Public(), "Public returns a copy")
	require.Regexp(t, `^bls\.SecretKey\([0-9a-f]{16}…\)$`, fmt.Sprintf("%v", a))
}

func TestConcurrentUse(t *testing.T) {
	c, keys := newCommittee(t, 5)
	statement := []byte("statement")
	members := ascending(5)
	sigs := signAll(t, keys, members, statement)
	sigs[4] = shift(t, sigs[4], 1)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			aggregate, bad := c.Combine(statement, members, sigs)
			if !slices.Equal(bad, []int{4}) || c.Verify(statement, members[:4], aggregate) != nil {
				t.Error("wrong under concurrency")
			}
		})
	}
	wait.Wait()
}

func Example() {
	// Each member makes a key and proves that it knows it.
	context := []byte("chain 7, account of the member")
	var keys []*bls.SecretKey
	var public [][]byte
	for i := range 4 {
		k, err := bls.GenerateKey(bytes.Repeat([]byte{byte(i)}, bls.MinSeed)) // use crypto/rand
		if err != nil {
			panic(err)
		}
		if err := bls.VerifyPossession(k.Public(), context, k.Prove(context)); err != nil {
			panic(err)
		}
		keys, public = append(keys, k), append(public, k.Public())
	}
	committee, err := bls.NewCommittee(public, [32]byte{}) // use crypto/rand
	if err != nil {
		panic(err)
	}

	// Members 0, 1 and 3 sign a statement; 3 signs another one.
	statement := []byte("block 12")
	votes := make([][]byte, 0, 3)
	for _, i := range []int{0, 1} {
		sig, _ := keys[i].Sign(statement)
		votes = append(votes, sig)
	}
	wrong, _ := keys[3].Sign([]byte("block 13"))
	votes = append(votes, wrong)

	aggregate, bad := committee.Combine(statement, []int{0, 1, 3}, votes)
	fmt.Println("bytes:", len(aggregate), "left out:", bad)
	fmt.Println("0 and 1:", committee.Verify(statement, []int{0, 1}, aggregate))
	fmt.Println("0, 1 and 3:", committee.Verify(statement, []int{0, 1, 3}, aggregate))
	// Output:
	// bytes: 48 left out: [2]
	// 0 and 1: <nil>
	// 0, 1 and 3: bls: aggregate of 3: signature does not verify
}

func TestKeyring(t *testing.T) {
	var public [][]byte
	var keys []*bls.SecretKey
	for i := range 12 {
		keys = append(keys, newKey(t, i))
		public = append(public, keys[i].Public())
	}
	ring := bls.NewKeyring(5) // fewer than there are
	statement := []byte("statement")
	for first := range 10 {
		c, err := ring.NewCommittee(public[first:first+3], batchSeed)
		require.NoError(t, err)
		sigs := signAll(t, keys[first:], ascending(3), statement)
		aggregate, bad := c.Combine(statement, ascending(3), sigs)
		require.Empty(t, bad)
		require.NoError(t, c.Verify(statement, ascending(3), aggregate))
		other, err := bls.NewCommittee(public[first:first+3], batchSeed)
		require.NoError(t, err)
		require.NoError(t, other.Verify(statement, ascending(3), aggregate))
	}
	// What it knows does not make it take what is malformed.
	for _, wrong := range [][]byte{nil, public[0][:95], append(bytes.Clone(public[0]), 0), make([]byte, bls.KeySize)} {
		_, err := ring.NewCommittee([][]byte{public[0], wrong}, batchSeed)
		require.Error(t, err)
	}
	_, err := ring.NewCommittee([][]byte{public[0], public[0]}, batchSeed)
	require.Error(t, err)
}

// FuzzCombine: whatever is handed in as the signature of one member, what
// remains verifies, and the honest ones remain.
func FuzzCombine(f *testing.F) {
	c, keys := newCommittee(f, 3)
	statement := []byte("statement")
	good := signAll(f, keys, ascending(3), statement)
	for _, sig := range good {
		f.Add(sig)
	}
	f.Add(make([]byte, bls.SignatureSize))
	f.Fuzz(func(t *testing.T, sig []byte) {
		aggregate, bad := c.Combine(statement, ascending(3), [][]byte{good[0], sig, good[2]})
		left := []int{0, 1, 2}
		if bytes.Equal(sig, good[1]) {
			require.Empty(t, bad)
		} else {
			require.Equal(t, []int{1}, bad)
			left = []int{0, 2}
		}
		require.NoError(t, c.Verify(statement, left, aggregate))
	})
}
