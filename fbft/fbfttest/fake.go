package fbfttest

import (
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/shardkit/shardkit/fbft"
)

// Fake returns a scheme without cryptography for the committee with these
// keys: a signature is a tag of eight bytes that anybody can compute. It
// behaves like a sound one towards replicas that do not forge: a signature of
// another statement or member is found out, and so is an aggregate of other
// members.
func Fake(keys [][]byte) fbft.Verifier { return fake(keys) }

// FakeSigner returns the signer with a key, under the scheme of Fake.
func FakeSigner(key []byte) fbft.Signer { return fakeSigner(key) }

type fake [][]byte

type fakeSigner []byte

// fakeTag is the signature of a statement by a key. The statement is hashed
// once for all members.
func fakeTag(key []byte, digest [32]byte) [8]byte {
	// FNV-1a over key and digest, then a finaliser: forging is not the
	// concern, mixing up statements or members is.
	h := uint64(14695981039346656037)
	for _, b := range key {
		h = (h ^ uint64(b)) * 1099511628211
	}
	for _, b := range digest[:16] {
		h = (h ^ uint64(b)) * 1099511628211
	}
	h ^= h >> 31
	h *= 0x94d049bb133111eb
	h ^= h >> 29
	var t [8]byte
	for i := range t {
		t[i] = byte(h >> (8 * i))
	}
	return t
}

// Sign implements fbft.Signer.
func (s fakeSigner) Sign(statement []byte) ([]byte, error) {
	t := fakeTag(s, sha256.Sum256(statement))
	return t[:], nil
}

// Combine implements fbft.Verifier: the aggregate is the tags, exclusive-ored.
func (f fake) Combine(statement []byte, members []int, sigs [][]byte) (aggregate []byte, bad []int) {
	digest := sha256.Sum256(statement)
	var sum [8]byte
	good := 0
	for pos, i := range members {
		t := fakeTag(f[i], digest)
		if !slices.Equal(sigs[pos], t[:]) {
			bad = append(bad, pos)
			continue
		}
		good++
		for k := range sum {
			sum[k] ^= t[k]
		}
	}
	if good == 0 {
		return nil, bad
	}
	return sum[:], bad
}

// Verify implements fbft.Verifier.
func (f fake) Verify(statement []byte, members []int, aggregate []byte) error {
	digest := sha256.Sum256(statement)
	var sum [8]byte
	for _, i := range members {
		if i < 0 || i >= len(f) {
			return errors.New("fbfttest: no such member")
		}
		t := fakeTag(f[i], digest)
		for k := range sum {
			sum[k] ^= t[k]
		}
	}
	if !slices.Equal(aggregate, sum[:]) {
		return errors.New("fbfttest: false signature")
	}
	return nil
}

// VerifyBatch implements fbft.Verifier.
func (f fake) VerifyBatch(statements [][]byte, members [][]int, aggregates [][]byte) error {
	for i := range statements {
		if err := f.Verify(statements[i], members[i], aggregates[i]); err != nil {
			return err
		}
	}
	return nil
}
