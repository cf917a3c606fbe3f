package bls

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cloudflare/circl/ecc/bls12381"
)

// Committee verifies the signatures of a fixed list of keys, which members
// are named into by their index. It implements fbft.Verifier and is safe for
// concurrent use.
type Committee struct {
	keys []bls12381.G2
	all  bls12381.G2 // sum of keys
	name []byte      // its encoding, which stands for the committee in a transcript
	seed [32]byte

	mu sync.Mutex
	// known marks members that were found to have handed in a wrong signature.
	// It decides in which order votes are checked, and for known members how
	// much work they are worth; never whether an aggregate is valid.
	known []bool
}

// NewCommittee decodes keys, a third of a millisecond each, all of them with
// a verified proof of possession. A key twice is refused. seed must be secret
// and unpredictable to peers; it makes the coefficients of batches. A Keyring
// does the same and remembers the keys.
func NewCommittee(keys [][]byte, seed [32]byte) (*Committee, error) {
	return newCommittee(keys, seed, decodeKey)
}

func newCommittee(keys [][]byte, seed [32]byte, decode func([]byte) (*bls12381.G2, error)) (*Committee, error) {
	if len(keys) == 0 {
		return nil, errors.New("bls: committee: no keys")
	}
	c := &Committee{keys: make([]bls12381.G2, len(keys)), seed: seed, known: make([]bool, len(keys))}
	c.all.SetIdentity()
	seen := make(map[string]int, len(keys))
	for i, enc := range keys {
		if j, ok := seen[string(enc)]; ok {
			return nil, fmt.Errorf("bls: committee: keys %d and %d are the same", j, i)
		}
		seen[string(enc)] = i
		k, err := decode(enc)
		if err != nil {
			return nil, fmt.Errorf("bls: committee: key %d: %w", i, err)
		}
		c.keys[i] = *k
		c.all.Add(&c.all, k)
	}
	c.name = c.all.BytesCompressed()
	return c, nil
}

// Verify reports whether aggregate is the signature of exactly members,
// ascending, over statement.
func (c *Committee) Verify(statement []byte, members []int, aggregate []byte) error {
	key, sig, err := c.open(members, aggregate)
	if err == nil && !residue(hash(statement, tagSignature), key, sig).IsIdentity() {
		err = errSignature
	}
	if err != nil {
		return fmt.Errorf("bls: aggregate of %d: %w", len(members), err)
	}
	return nil
}

// open checks the shape of a certificate, cheapest first, and returns the
// signers' key and the decoded aggregate.
func (c *Committee) open(members []int, aggregate []byte) (*bls12381.G2, *bls12381.G1, error) {
	if err := c.checkMembers(members); err != nil {
		return nil, nil, err
	}
	sig, err := decodeSignature(aggregate)
	if err != nil {
		return nil, nil, err
	}
	// Members with opposite keys have the key at infinity. Only the signature
	// at infinity verifies under it, and that was refused.
	return c.keyOf(members), sig, nil
}

// checkMembers refuses what is not a non-empty ascending list of members.
func (c *Committee) checkMembers(members []int) error {
	if len(members) == 0 {
		return errors.New("no members")
	}
	last := -1
	for _, m := range members {
		if m <= last || m >= len(c.keys) {
			return fmt.Errorf("member %d after %d of %d", m, last, len(c.keys))
		}
		last = m
	}
	return nil
}

// keyOf returns the sum of the members' keys. A quorum is the larger part of
// the committee, so subtracting the absent from the whole is the shorter way.
func (c *Committee) keyOf(members []int) *bls12381.G2 {
	key := new(bls12381.G2)
	key.SetIdentity()
	if 2*len(members) <= len(c.keys) {
		for _, m := range members {
			key.Add(key, &c.keys[m])
		}
		return key
	}
	present := make([]bool, len(c.keys))
	for _, m := range members {
		present[m] = true
	}
	for i := range c.keys {
		if !present[i] {
			key.Add(key, &c.keys[i])
		}
	}
	key.Neg()
	key.Add(key, &c.all)
	return key
}

// Combine aggregates sigs[i], said to be the signature of member members[i]
// over statement, and leaves out what does not verify: bad holds the
// positions it left out, ascending. The aggregate is valid for exactly the
// others and nil if none is left. A member named twice counts with its first
// signature. Combine panics if the lists differ in length.
//
// A position is bad if its signature was checked alone and failed, or if
// there are many bad ones among members found out before and this one of them
// was not worth more pairings (at most knownBudget a call). A member that has
// always signed correctly is never in bad, provided that each signature comes
// from its member over an authenticated channel: nobody else may be able to
// hand in a wrong one in its name.
func (c *Committee) Combine(statement []byte, members []int, sigs [][]byte) (aggregate []byte, bad []int) {
	if len(members) != len(sigs) {
		panic("bls: Combine: members and signatures differ in number")
	}
	v := &votes{c: c, members: members, sigs: sigs, hash: hash(statement, tagSignature)}
	v.decode()
	fresh, known := v.split()
	total := new(bls12381.G1)
	total.SetIdentity()
	left := v.settle(fresh, total, -1)
	left += v.settle(known, total, knownBudget)
	c.remember(v.guilty)
	slices.Sort(v.bad)
	if left == 0 {
		return nil, v.bad
	}
	if total.IsIdentity() {
		// Only members with opposite keys can sum up to nothing.
		bad = make([]int, len(members))
		for i := range bad {
			bad[i] = i
		}
		return nil, bad
	}
	return total.BytesCompressed(), v.bad
}

// remember marks members as known to have handed in a wrong signature.
func (c *Committee) remember(members []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range members {
		c.known[m] = true
	}
}
