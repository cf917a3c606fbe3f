package edlist_test

import (
	"bytes"
	stded "crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/fbft/edlist"
)

var batchSeed = [32]byte{1, 2, 3}

func newKey(t testing.TB, i int) *edlist.SecretKey {
	k, err := edlist.GenerateKey(fmt.Appendf(nil, "the seed of a test's key %07d", i))
	require.NoError(t, err)
	return k
}

func newCommittee(t testing.TB, n int) (*edlist.Committee, []*edlist.SecretKey) {
	keys, public := make([]*edlist.SecretKey, n), make([][]byte, n)
	for i := range keys {
		keys[i] = newKey(t, i)
		public[i] = keys[i].Public()
	}
	c, err := edlist.NewCommittee(public, batchSeed)
	require.NoError(t, err)
	return c, keys
}

func sign(t testing.TB, k *edlist.SecretKey, statement []byte) []byte {
	sig, err := k.Sign(statement)
	require.NoError(t, err)
	return sig
}

// signAll returns the signatures of the members.
func signAll(t testing.TB, keys []*edlist.SecretKey, members []int, statement []byte) [][]byte {
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

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

// TestVectors is RFC 8032, §7.1, tests 1 to 3.
func TestVectors(t *testing.T) {
	for _, v := range []struct{ seed, public, message, signature string }{
		{
			"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
			"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
			"",
			"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
		}, {
			"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
			"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
			"72",
			"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
		}, {
			"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
			"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
			"af82",
			"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
		},
	} {
		k, err := edlist.GenerateKey(unhex(t, v.seed))
		require.NoError(t, err)
		require.Equal(t, unhex(t, v.public), k.Public())
		message, want := unhex(t, v.message), unhex(t, v.signature)
		require.Equal(t, want, sign(t, k, message))
		require.NoError(t, edlist.VerifySingle(k.Public(), message, want))
		require.Error(t, edlist.VerifySingle(k.Public(), append(message, 0), want))
	}
}

// TestCertificate: the aggregate is the signatures in the order of the members.
func TestCertificate(t *testing.T) {
	c, keys := newCommittee(t, 6)
	statement := []byte("statement")
	members := []int{5, 0, 3}
	sigs := signAll(t, keys, members, statement)
	aggregate, bad := c.Combine(statement, members, sigs)
	require.Empty(t, bad)
	require.Equal(t, slices.Concat(sigs[1], sigs[2], sigs[0]), aggregate)
	require.NoError(t, c.Verify(statement, []int{0, 3, 5}, aggregate))
	require.EqualError(t, c.Verify(statement, []int{0, 3, 4}, aggregate), "edlist: list of 3: signature does not verify")
}

// order is that of the group, L of RFC 8032.
var order, _ = new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)

// malformed returns variants of a good signature that must not pass.
func malformed(t testing.TB, good []byte) map[string][]byte {
	with := func(r, s []byte) []byte { return slices.Concat(r, s) }
	r, s := good[:32], good[32:]
	n := new(big.Int).SetBytes(reversed(s))
	shifted := reversed(n.Add(n, order).FillBytes(make([]byte, 32)))
	identity := append([]byte{1}, make([]byte, 31)...)
	// y = 2^255-18 is 1 modulo the field's order, and no canonical encoding.
	noncanonical := append(append([]byte{0xee}, bytes.Repeat([]byte{0xff}, 30)...), 0x7f)
	return map[string][]byte{
		"empty":                    nil,
		"short":                    good[:63],
		"trailing byte":            append(slices.Clone(good), 0),
		"S not reduced":            with(r, shifted),
		"S zero":                   with(r, make([]byte, 32)),
		"S all ones":               with(r, bytes.Repeat([]byte{0xff}, 32)),
		"R the identity":           with(identity, s),
		"R the identity, S zero":   with(identity, make([]byte, 32)),
		"R not canonical, S zero":  with(noncanonical, make([]byte, 32)),
		"R not on the curve":       with(append([]byte{2}, make([]byte, 31)...), s),
		"R with its sign changed":  with(append(slices.Clone(r[:31]), r[31]^0x80), s),
		"R and S exchanged":        with(s, r),
		"another statement's half": with(r, sign(t, newKey(t, 0), []byte("another"))[32:]),
	}
}

func reversed(b []byte) []byte {
	b = slices.Clone(b)
	slices.Reverse(b)
	return b
}

func TestMalformedSignatures(t *testing.T) {
	c, keys := newCommittee(t, 3)
	statement := []byte("statement")
	sigs := signAll(t, keys, ascending(3), statement)
	for name, wrong := range malformed(t, sigs[0]) {
		require.Error(t, edlist.VerifySingle(keys[0].Public(), statement, wrong), name)
		aggregate, bad := c.Combine(statement, ascending(3), [][]byte{wrong, sigs[1], sigs[2]})
		require.Equal(t, []int{0}, bad, name)
		require.NoError(t, c.Verify(statement, []int{1, 2}, aggregate), name)
		require.Error(t, c.Verify(statement, ascending(3), slices.Concat(wrong, sigs[1], sigs[2])), name)
	}
}

func TestNewCommitteeRefuses(t *testing.T) {
	a, b := newKey(t, 1).Public(), newKey(t, 2).Public()
	for name, keys := range map[string][][]byte{
		"none":               nil,
		"twice":              {a, b, a},
		"short":              {a, b[:31]},
		"trailing":           {a, append(slices.Clone(b), 0)},
		"empty":              {nil},
		"not canonical":      {append(append([]byte{0xf0}, bytes.Repeat([]byte{0xff}, 30)...), 0x7f)},
		"negative zero":      {append([]byte{1}, append(make([]byte, 30), 0x80)...)},
		"not on the curve":   {append([]byte{2}, make([]byte, 31)...)},
		"another's, negated": {a, append(slices.Clone(a[:31]), a[31]^0x80), a},
	} {
		_, err := edlist.NewCommittee(keys, batchSeed)
		require.Error(t, err, name)
	}
	for i, p := range curve.EIGHT_TORSION {
		var y curve.CompressedEdwardsY
		y.SetEdwardsPoint(p)
		_, err := edlist.NewCommittee([][]byte{a, y[:]}, batchSeed)
		require.ErrorContains(t, err, "of small order", i)
	}
	for _, n := range []int{0, 31, 33} {
		_, err := edlist.GenerateKey(make([]byte, n))
		require.Error(t, err)
	}
}

// TestTorsion signs with a point R that has a part of order eight, which only
// the signer can. Alone, in a list and in a batch the answer is the same; the
// equation without the cofactor, as in crypto/ed25519, would say otherwise than
// a batch.
func TestTorsion(t *testing.T) {
	seed := bytes.Repeat([]byte{7}, edlist.SeedSize)
	k, err := edlist.GenerateKey(seed)
	require.NoError(t, err)
	statement := []byte("statement")
	sig := torsionSignature(t, seed, k.Public(), statement)
	require.False(t, stded.Verify(k.Public(), statement, sig))

	require.NoError(t, edlist.VerifySingle(k.Public(), statement, sig))
	other := newKey(t, 1)
	c, err := edlist.NewCommittee([][]byte{k.Public(), other.Public()}, batchSeed)
	require.NoError(t, err)
	aggregate, bad := c.Combine(statement, []int{0, 1}, [][]byte{sig, sign(t, other, statement)})
	require.Empty(t, bad)
	require.NoError(t, c.Verify(statement, []int{0, 1}, aggregate))
	_, bad = c.Combine(statement, []int{0, 1}, [][]byte{sig, sig}) // each alone
	require.Equal(t, []int{1}, bad)
}

func torsionSignature(t testing.TB, seed, public, statement []byte) []byte {
	h := sha512.Sum512(seed)
	h[0] &= 248
	h[31] = h[31]&127 | 64
	var a, r, k, s scalar.Scalar
	_, err := a.SetBits(h[:32])
	require.NoError(t, err)
	r.SetUint64(12345)
	var R curve.EdwardsPoint
	R.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, &r)
	R.Add(&R, curve.EIGHT_TORSION[1])
	var y curve.CompressedEdwardsY
	y.SetEdwardsPoint(&R)
	d := sha512.Sum512(slices.Concat(y[:], public, statement))
	_, err = k.SetBytesModOrderWide(d[:])
	require.NoError(t, err)
	s.Mul(&k, &a)
	s.Add(&s, &r)
	enc := make([]byte, 32)
	require.NoError(t, s.ToBytes(enc))
	return append(y[:], enc...)
}

// TestLargeBatch goes past the number of signatures of one equation.
func TestLargeBatch(t *testing.T) {
	const n = 600
	c, keys := newCommittee(t, n)
	var statements, aggregates [][]byte
	var members [][]int
	for i := range 3 {
		s := []byte{byte(i)}
		aggregate, bad := c.Combine(s, ascending(n), signAll(t, keys, ascending(n), s))
		require.Empty(t, bad)
		statements, members, aggregates = append(statements, s), append(members, ascending(n)), append(aggregates, aggregate)
	}
	require.NoError(t, c.VerifyBatch(statements, members, aggregates))
	aggregates[2][n*edlist.SignatureSize-1] ^= 1 // the very last
	require.Error(t, c.VerifyBatch(statements, members, aggregates))
}

func TestKeyDoesNotPrintItself(t *testing.T) {
	k := newKey(t, 1)
	k.Public()[0] ^= 1
	require.Equal(t, newKey(t, 1).Public(), k.Public(), "Public returns a copy")
	require.Regexp(t, `^edlist\.SecretKey\([0-9a-f]{16}…\)$`, fmt.Sprintf("%v", k))
}

func Example() {
	// Each member makes a key.
	var keys []*edlist.SecretKey
	var public [][]byte
	for i := range 4 {
		k, err := edlist.GenerateKey(bytes.Repeat([]byte{byte(i)}, edlist.SeedSize)) // use crypto/rand
		if err != nil {
			panic(err)
		}
		keys, public = append(keys, k), append(public, k.Public())
	}
	committee, err := edlist.NewCommittee(public, [32]byte{}) // use crypto/rand
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
	// bytes: 128 left out: [2]
	// 0 and 1: <nil>
	// 0, 1 and 3: edlist: list of 3: 128 bytes for 3 signatures
}

// FuzzAgreement: alone, in a list and in a batch a signature is good or it is
// not, and if it is, so it is for the standard library but for torsion.
func FuzzAgreement(f *testing.F) {
	c, keys := newCommittee(f, 3)
	statement := []byte("statement")
	good := signAll(f, keys, ascending(3), statement)
	f.Add(good[1])
	f.Add(good[0])
	for _, sig := range malformed(f, good[1]) {
		f.Add(sig)
	}
	f.Fuzz(func(t *testing.T, sig []byte) {
		alone := edlist.VerifySingle(keys[1].Public(), statement, sig) == nil
		aggregate, bad := c.Combine(statement, ascending(3), [][]byte{good[0], sig, good[2]})
		left := ascending(3)
		if !alone {
			left = []int{0, 2}
		}
		if slices.Contains(bad, 1) == alone || len(bad) > 1 {
			t.Fatalf("alone %v, bad %v", alone, bad)
		}
		require.NoError(t, c.Verify(statement, left, aggregate))
		list := slices.Concat(good[0], sig, good[2])
		require.Equal(t, alone, c.Verify(statement, ascending(3), list) == nil)
		require.Equal(t, alone, c.VerifyBatch([][]byte{statement, statement}, [][]int{{0}, ascending(3)}, [][]byte{good[0], list}) == nil)
		if stded.Verify(keys[1].Public(), statement, sig) {
			require.True(t, alone)
		}
	})
}

// FuzzAggregate: whatever comes as a certificate does not pass unless it is
// one, and does not panic.
func FuzzAggregate(f *testing.F) {
	c, keys := newCommittee(f, 4)
	statement := []byte("statement")
	members := []int{0, 1, 3}
	good, _ := c.Combine(statement, members, signAll(f, keys, members, statement))
	f.Add(good)
	f.Add(good[:64])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, aggregate []byte) {
		want := len(aggregate) == 3*edlist.SignatureSize
		for i := 0; want && i < 3; i++ {
			want = edlist.VerifySingle(keys[members[i]].Public(), statement, aggregate[i*64:][:64]) == nil
		}
		require.Equal(t, want, c.Verify(statement, members, aggregate) == nil)
	})
}
