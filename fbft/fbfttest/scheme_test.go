package fbfttest_test

import (
	"testing"

	"github.com/cloudflare/circl/ecc/bls12381"

	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/bls"
	"github.com/shardkit/shardkit/fbft/edlist"
	"github.com/shardkit/shardkit/fbft/fbfttest"
)

// TestSchemes runs all schemes of this module through the kit.
func TestSchemes(t *testing.T) {
	for name, s := range map[string]fbfttest.Scheme{
		"counting": {New: countingScheme},
		"bls":      {New: blsScheme, Cancel: blsCancel},
		"edlist":   {New: edlistScheme},
	} {
		t.Run(name, func(t *testing.T) { fbfttest.TestScheme(t, s) })
	}
}

func countingScheme(_ testing.TB, n int) (fbft.Verifier, []fbft.Signer) {
	var keys [][]byte
	var signers []fbft.Signer
	for i := range n {
		keys = append(keys, []byte{'k', byte(i)})
		signers = append(signers, fbfttest.FakeSigner(keys[i]))
	}
	return fbfttest.Fake(keys), signers
}

func blsScheme(t testing.TB, n int) (fbft.Verifier, []fbft.Signer) {
	keys, public := blsKeys(t, n)
	c, err := bls.NewCommittee(public, [32]byte{7})
	if err != nil {
		t.Fatal(err)
	}
	var signers []fbft.Signer
	for _, k := range keys {
		signers = append(signers, k)
	}
	return c, signers
}

// blsCancel adds the generator to one signature and subtracts it from the other.
func blsCancel(t testing.TB, a, b []byte) (wrongA, wrongB []byte) {
	shift := func(sig []byte, g bls12381.G1) []byte {
		var p bls12381.G1
		if err := p.SetBytes(sig); err != nil {
			t.Fatal(err)
		}
		p.Add(&p, &g)
		return p.BytesCompressed()
	}
	plus, minus := *bls12381.G1Generator(), *bls12381.G1Generator()
	minus.Neg()
	return shift(a, plus), shift(b, minus)
}

func edlistScheme(t testing.TB, n int) (fbft.Verifier, []fbft.Signer) {
	var public [][]byte
	var signers []fbft.Signer
	for i := range n {
		k, err := edlist.GenerateKey(append(make([]byte, edlist.SeedSize-1), byte(i)))
		if err != nil {
			t.Fatal(err)
		}
		public, signers = append(public, k.Public()), append(signers, k)
	}
	c, err := edlist.NewCommittee(public, [32]byte{7})
	if err != nil {
		t.Fatal(err)
	}
	return c, signers
}
