package fbfttest

import (
	"bytes"
	"crypto/sha256"
	"errors"

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

// add adds a tag to an aggregate: exclusive or.
func add(sum, tag *[8]byte) {
	for k := range sum {
		sum[k] ^= tag[k]
	}
}

// Combine implements fbft.Verifier: the aggregate is the tags, exclusive-ored.
func (f fake) Combine(statement []byte, members []int, sigs [][]byte) (aggregate []byte, bad []int) {
	if len(members) != len(sigs) {
		panic("fbfttest: Combine: members and signatures differ in number")
	}
	digest := sha256.Sum256(statement)
	seen := make([]bool, len(f))
	var sum [8]byte
	for pos, i := range members {
		if i < 0 || i >= len(f) || seen[i] {
			bad = append(bad, pos)
			continue
		}
		seen[i] = true
		t := fakeTag(f[i], digest)
		if !bytes.Equal(sigs[pos], t[:]) {
			bad = append(bad, pos)
			continue
		}
		add(&sum, &t)
	}
	if len(bad) == len(members) {
		return nil, bad
	}
	return sum[:], bad
}

// Verify implements fbft.Verifier.
func (f fake) Verify(statement []byte, members []int, aggregate []byte) error {
	if len(members) == 0 {
		return errors.New("fbfttest: no members")
	}
	digest := sha256.Sum256(statement)
	var sum [8]byte
	last := -1
	for _, i := range members {
		if i <= last || i >= len(f) {
			return errors.New("fbfttest: members not ascending, or out of range")
		}
		last = i
		t := fakeTag(f[i], digest)
		add(&sum, &t)
	}
	if !bytes.Equal(aggregate, sum[:]) {
		return errors.New("fbfttest: false signature")
	}
	return nil
}

// VerifyBatch implements fbft.Verifier.
func (f fake) VerifyBatch(statements [][]byte, members [][]int, aggregates [][]byte) error {
	if len(statements) != len(members) || len(statements) != len(aggregates) {
		panic("fbfttest: VerifyBatch: lists differ in number")
	}
	for i := range statements {
		if err := f.Verify(statements[i], members[i], aggregates[i]); err != nil {
			return err
		}
	}
	return nil
}
