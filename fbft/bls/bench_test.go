package bls_test

import (
	"testing"

	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/bls"
	"github.com/shardkit/shardkit/fbft/fbfttest"
)

// bench measures as the other schemes do.
func bench(b *testing.B) fbfttest.SchemeBench {
	key, statement := newKey(b, 1), []byte("a single signature")
	sig, public := sign(b, key, statement), key.Public()
	return fbfttest.SchemeBench{
		Scheme: fbfttest.Scheme{New: func(t testing.TB, n int) (fbft.Verifier, []fbft.Signer) {
			c, keys := newCommittee(t, n)
			signers := make([]fbft.Signer, n)
			for i, k := range keys {
				signers[i] = k
			}
			return c, signers
		}},
		Single: func() error { return bls.VerifySingle(public, statement, sig) },
		Rounds: 20,
	}
}

func BenchmarkVotes(b *testing.B)       { bench(b).Votes(b) }
func BenchmarkCertificate(b *testing.B) { bench(b).Certificate(b) }
func BenchmarkValidator(b *testing.B)   { bench(b).Validator(b) }
func BenchmarkSpoiled(b *testing.B)     { bench(b).Spoiled(b) }

func BenchmarkSign(b *testing.B) {
	k := newKey(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		sign(b, k, []byte("statement"))
	}
}

// BenchmarkCommittee makes the committee of the next epoch, in which a tenth
// of 100 members is new, with and without a Keyring.
func BenchmarkCommittee(b *testing.B) {
	const n, moved = 100, 10
	var public [][]byte
	for i := range 20 * n {
		public = append(public, newKey(b, i).Public())
	}
	run := func(name string, decode func([][]byte, [32]byte) (*bls.Committee, error)) {
		b.Run(name, func(b *testing.B) {
			first := 0
			for b.Loop() {
				if _, err := decode(public[first:first+n], batchSeed); err != nil {
					b.Fatal(err)
				}
				if first += moved; first+n > len(public) {
					first = 0
				}
			}
		})
	}
	run("keyring=false", bls.NewCommittee)
	run("keyring=true", bls.NewKeyring(5*n).NewCommittee)
}
