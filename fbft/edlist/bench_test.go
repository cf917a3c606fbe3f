package edlist_test

import (
	"testing"

	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/edlist"
	"github.com/shardkit/shardkit/fbft/fbfttest"
)

// bench measures as package fbft/bls does, under the same names.
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
		Single: func() error { return edlist.VerifySingle(public, statement, sig) },
		Rounds: 200,
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
