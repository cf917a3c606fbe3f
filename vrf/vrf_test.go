package vrf_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/vrf"
)

var all = []vrf.Suite{vrf.P256TAI, vrf.P256SSWU, vrf.EdwardsTAI, vrf.EdwardsELL2}

func newKey(t testing.TB, s vrf.Suite, seed byte) *vrf.SecretKey {
	k, err := vrf.GenerateKey(s, bytes.Repeat([]byte{seed}, vrf.SeedSize))
	require.NoError(t, err)
	return k
}

func TestRoundTrip(t *testing.T) {
	for _, s := range all {
		key, err := vrf.GenerateKey(s, nil)
		require.NoError(t, err)
		require.Equal(t, s, key.Suite())
		require.Len(t, key.Public(), s.PublicSize())
		require.NoError(t, vrf.CheckKey(s, key.Public()))
		for i := range 10 {
			alpha := fmt.Append(nil, i)
			pi, err := key.Prove(alpha)
			require.NoError(t, err)
			require.Len(t, pi, s.ProofSize())
			beta, err := vrf.Verify(s, key.Public(), alpha, pi)
			require.NoError(t, err)
			require.Len(t, beta, s.OutputSize())
			hash, err := vrf.ProofToHash(s, pi)
			require.NoError(t, err)
			require.Equal(t, beta, hash)

			// The other form says the same.
			other, err := key.ProveBatch(alpha)
			require.NoError(t, err)
			converted, beta2, err := vrf.Convert(s, key.Public(), alpha, pi)
			require.NoError(t, err)
			require.Equal(t, other, converted)
			require.Equal(t, beta, beta2)
			betas, err := vrf.VerifyBatch(s, []vrf.Item{{Public: key.Public(), Alpha: alpha, Proof: other}})
			require.NoError(t, err)
			require.Equal(t, beta, betas[0])
		}
	}
}

// Any changed bit of a proof, key or input is found.
func TestTamper(t *testing.T) {
	for _, s := range all {
		key := newKey(t, s, 3)
		alpha := []byte("alpha")
		pi, err := key.Prove(alpha)
		require.NoError(t, err)
		other, err := key.ProveBatch(alpha)
		require.NoError(t, err)
		for i := range pi {
			bad := bytes.Clone(pi)
			bad[i] ^= 1 << (i % 8)
			_, err := vrf.Verify(s, key.Public(), alpha, bad)
			require.ErrorIs(t, err, vrf.ErrProof, "%v byte %d", s, i)
		}
		for i := range other {
			bad := bytes.Clone(other)
			bad[i] ^= 1 << (i % 8)
			_, err := vrf.VerifyBatch(s, []vrf.Item{{Public: key.Public(), Alpha: alpha, Proof: bad}})
			require.ErrorIs(t, err, vrf.ErrProof, "%v byte %d", s, i)
		}
		_, err = vrf.Verify(s, newKey(t, s, 4).Public(), alpha, pi)
		require.ErrorIs(t, err, vrf.ErrProof)
		_, err = vrf.Verify(s, key.Public(), []byte("alphb"), pi)
		require.ErrorIs(t, err, vrf.ErrProof)
		_, err = vrf.Verify(s, key.Public(), alpha, pi[:len(pi)-1])
		require.ErrorIs(t, err, vrf.ErrProof)
	}
	_, err := vrf.Verify(9, nil, nil, nil)
	require.ErrorIs(t, err, vrf.ErrSuite)
	_, err = vrf.GenerateKey(9, nil)
	require.ErrorIs(t, err, vrf.ErrSuite)
}

// Encodings that decode leniently elsewhere, and keys of small order.
func TestMalformed(t *testing.T) {
	keys := []struct{ name, hex string }{
		{"identity", "0100000000000000000000000000000000000000000000000000000000000000"},
		{"order 2", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"},
		{"order 4", "0000000000000000000000000000000000000000000000000000000000000000"},
		{"order 4, other sign", "0000000000000000000000000000000000000000000000000000000000000080"},
		{"order 8", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"},
		{"order 8, other", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"},
		{"identity, y = p+1", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"},
		{"identity, sign set", "0100000000000000000000000000000000000000000000000000000000000080"},
		{"order 4, y = p", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"},
		{"not a point", "0200000000000000000000000000000000000000000000000000000000000000"},
		{"short", "02"},
	}
	for _, k := range keys {
		b, err := hex.DecodeString(k.hex)
		require.NoError(t, err)
		for _, s := range []vrf.Suite{vrf.EdwardsTAI, vrf.EdwardsELL2} {
			require.ErrorIs(t, vrf.CheckKey(s, b), vrf.ErrKey, k.name)
		}
	}
	// y and y + p are the same coordinate: only the first may be written.
	points := 0
	for y := byte(2); y < 19; y++ {
		canonical := append([]byte{y}, make([]byte, 31)...)
		if vrf.CheckKey(vrf.EdwardsELL2, canonical) != nil {
			continue
		}
		points++
		other := bytes.Repeat([]byte{255}, 32)
		other[0], other[31] = 0xed+y, 0x7f
		require.ErrorIs(t, vrf.CheckKey(vrf.EdwardsELL2, other), vrf.ErrKey, "y = %d + p", y)
	}
	require.Positive(t, points)
	p := "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff" // the field's prime
	for _, h := range []string{"", "00", "02" + p, "03" + p, "04" + p, "02" + "00" + p[2:60] + "0000", "00" + p} {
		b, err := hex.DecodeString(h)
		require.NoError(t, err)
		require.ErrorIs(t, vrf.CheckKey(vrf.P256SSWU, b), vrf.ErrKey, h)
	}
	q, _ := hex.DecodeString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
	for _, seed := range [][]byte{q, make([]byte, 32), bytes.Repeat([]byte{255}, 32), {1}} {
		_, err := vrf.GenerateKey(vrf.P256TAI, seed)
		require.ErrorIs(t, err, vrf.ErrKey)
	}
}

// s + q is the same scalar: it must not be a second proof.
func TestScalarIsReduced(t *testing.T) {
	order := map[vrf.Suite]string{
		vrf.EdwardsELL2: "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010",
		vrf.P256TAI:     "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
	}
	for s, h := range order {
		q, err := hex.DecodeString(h)
		require.NoError(t, err)
		key := newKey(t, s, 1)
		for i := range 50 {
			pi, err := key.Prove([]byte{byte(i)})
			require.NoError(t, err)
			z := pi[len(pi)-32:]
			var c uint16
			for j := range z { // z += q, in the suite's byte order
				k := j
				if s == vrf.P256TAI {
					k = 31 - j
				}
				c += uint16(z[k]) + uint16(q[k])
				z[k], c = byte(c), c>>8
			}
			if c != 0 { // the sum has 257 bits; any s that is too large will do
				copy(z, bytes.Repeat([]byte{255}, 32))
			}
			_, err = vrf.Verify(s, key.Public(), []byte{byte(i)}, pi)
			require.ErrorIs(t, err, vrf.ErrProof)
			require.ErrorContains(t, err, "reduced")
		}
	}
}

func TestBatchNamesTheBad(t *testing.T) {
	for _, s := range []vrf.Suite{vrf.EdwardsELL2, vrf.P256SSWU} {
		var items []vrf.Item
		for i := range 20 {
			key := newKey(t, s, byte(i+1))
			alpha := []byte{byte(i)}
			pi, err := key.ProveBatch(alpha)
			require.NoError(t, err)
			items = append(items, vrf.Item{Public: key.Public(), Alpha: alpha, Proof: pi})
		}
		good, err := vrf.VerifyBatch(s, items)
		require.NoError(t, err)
		items[3].Alpha = []byte("other")
		items[7].Proof = items[7].Proof[1:]
		items[19].Public = items[18].Public
		betas, err := vrf.VerifyBatch(s, items)
		var be *vrf.BatchError
		require.ErrorAs(t, err, &be)
		require.ErrorIs(t, err, vrf.ErrProof)
		require.Equal(t, []int{3, 7, 19}, be.Bad)
		for i := range items {
			if i == 3 || i == 7 || i == 19 {
				require.Nil(t, betas[i])
			} else {
				require.Equal(t, good[i], betas[i])
			}
		}
	}
	betas, err := vrf.VerifyBatch(vrf.EdwardsELL2, nil)
	require.NoError(t, err)
	require.Empty(t, betas)
}

// Errors that cancel in a plain sum do not cancel under the coefficients.
func TestBatchCancellation(t *testing.T) {
	for suite, last := range map[vrf.Suite]int{vrf.EdwardsELL2: 97, vrf.P256SSWU: 3*33 + 30} {
		one := batch(t, suite, 1)[0]
		items := make([]vrf.Item, 10)
		for i := range items {
			items[i] = one
		}
		_, err := vrf.VerifyBatch(suite, items)
		require.NoError(t, err)
		for i, d := range []byte{1, 255} { // s + 256 and s - 256, unless there is a carry
			items[i].Proof = bytes.Clone(one.Proof)
			items[i].Proof[last] += d
		}
		_, err = vrf.VerifyBatch(suite, items)
		var be *vrf.BatchError
		require.ErrorAs(t, err, &be)
		require.Equal(t, []int{0, 1}, be.Bad)
	}
}

func FuzzVerify(f *testing.F) {
	for _, s := range all {
		key, err := vrf.GenerateKey(s, bytes.Repeat([]byte{7}, 32))
		require.NoError(f, err)
		pi, _ := key.Prove([]byte("a"))
		f.Add(uint8(s), key.Public(), []byte("a"), pi)
		pi, _ = key.ProveBatch([]byte("a"))
		f.Add(uint8(s), key.Public(), []byte("a"), pi)
	}
	f.Fuzz(func(t *testing.T, s uint8, public, alpha, pi []byte) {
		suite := vrf.Suite(s)
		_ = vrf.CheckKey(suite, public)
		if beta, err := vrf.Verify(suite, public, alpha, pi); err == nil {
			// What verifies verifies in the other form, with the same output.
			b, beta2, err := vrf.Convert(suite, public, alpha, pi)
			require.NoError(t, err)
			require.Equal(t, beta, beta2)
			_, err = vrf.VerifyBatch(suite, []vrf.Item{{Public: public, Alpha: alpha, Proof: b}})
			require.NoError(t, err)
		}
		// Alone or among many, the verdict on it is the same.
		items := slices.Repeat([]vrf.Item{{Public: public, Alpha: alpha, Proof: pi}}, 8)
		_, one := vrf.VerifyBatch(suite, items[:1])
		_, many := vrf.VerifyBatch(suite, items)
		require.Equal(t, one == nil, many == nil)
		_, _ = vrf.ProofToHash(suite, pi)
	})
}

func Example() {
	seed := bytes.Repeat([]byte{1}, vrf.SeedSize) // nil for a random key
	key, err := vrf.GenerateKey(vrf.EdwardsELL2, seed)
	if err != nil {
		panic(err)
	}
	alpha := []byte("hash of a block")
	pi, err := key.Prove(alpha)
	if err != nil {
		panic(err)
	}

	// Anybody, with the public key alone:
	beta, err := vrf.Verify(vrf.EdwardsELL2, key.Public(), alpha, pi)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%x\n", beta[:8])

	// 30 of 1000 tokens, of which 100 are chosen on average.
	chosen, err := vrf.Select(beta, 30, 1000, 100)
	fmt.Println(chosen, err)
	// Output:
	// 130d9b8ecc837f0c
	// 1 <nil>
}

// Proofs of many are shown to others in one form and checked together.
func ExampleVerifyBatch() {
	alpha := []byte("hash of a block")
	var items []vrf.Item
	for i := range byte(10) {
		key, err := vrf.GenerateKey(vrf.EdwardsELL2, bytes.Repeat([]byte{i}, vrf.SeedSize)) // nil for a random key
		if err != nil {
			panic(err)
		}
		pi, err := key.Prove(alpha)
		if err != nil {
			panic(err)
		}
		// Who collects them checks each as it comes.
		proof, _, err := vrf.Convert(vrf.EdwardsELL2, key.Public(), alpha, pi)
		if err != nil {
			panic(err)
		}
		items = append(items, vrf.Item{Public: key.Public(), Alpha: alpha, Proof: proof})
	}
	betas, err := vrf.VerifyBatch(vrf.EdwardsELL2, items)
	fmt.Printf("%x %v\n", betas[1][:8], err)

	items[3].Alpha = []byte("hash of another block")
	betas, err = vrf.VerifyBatch(vrf.EdwardsELL2, items)
	var bad *vrf.BatchError
	if errors.As(err, &bad) {
		fmt.Printf("%x %v: %v\n", betas[1][:8], bad.Bad, err)
	}
	// Output:
	// 130d9b8ecc837f0c <nil>
	// 130d9b8ecc837f0c [3]: vrf: invalid proof: 1 in the batch, the first is 3
}
