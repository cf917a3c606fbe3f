package bls

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/cloudflare/circl/ecc/bls12381"
)

// Claim says that Members of Committee signed Statement, as Committee.Verify
// would check it.
type Claim struct {
	Committee *Committee
	Statement []byte
	Members   []int // ascending
	Aggregate []byte
}

// VerifyBatch is Verify of several statements at once: nil only if every one
// holds. It panics if the lists differ in length.
func (c *Committee) VerifyBatch(statements [][]byte, members [][]int, aggregates [][]byte) error {
	if len(statements) != len(members) || len(statements) != len(aggregates) {
		panic("bls: VerifyBatch: lists differ in number")
	}
	claims := make([]Claim, len(statements))
	for i := range claims {
		claims[i] = Claim{c, statements[i], members[i], aggregates[i]}
	}
	return VerifyClaims(c.seed, claims)
}

// VerifyClaims verifies claims about any committees in one pairing product,
// nil only if every one holds: what somebody needs who catches up with many
// epochs. seed must be unpredictable to whoever made the claims, who could
// otherwise shape wrong ones that cancel out.
//
// Claim i enters as e(rᵢ·Hᵢ, keyᵢ) = e(rᵢ·sigᵢ, g2) with a random rᵢ; the
// right sides collapse into one pairing, the left ones into one per distinct
// set of signers.
func VerifyClaims(seed [32]byte, claims []Claim) error {
	if len(claims) == 0 {
		return nil
	}
	if c := claims[0]; len(claims) == 1 {
		return c.Committee.Verify(c.Statement, c.Members, c.Aggregate)
	}
	r := coefficients(seed, claims)
	sigs := make([]affine, len(claims))
	hashes := make([]bls12381.G1, len(claims))
	for i, c := range claims {
		if err := c.open(&sigs[i]); err != nil {
			return fmt.Errorf("bls: batch: claim %d: %w", i, err)
		}
		hashes[i] = *hash(c.Statement, tagSignature)
	}
	total, err := weighted(sigs, r).group()
	if err != nil { // at infinity, which random coefficients do not lead to
		return fmt.Errorf("bls: batch of %d: %w", len(claims), err)
	}
	left := []*bls12381.G1{total}
	right := []*bls12381.G2{bls12381.G2Generator()}
	signs := []int{-1}
	for _, group := range bySigners(claims) {
		var h []bls12381.G1
		var k [][coefficientSize]byte
		for _, i := range group {
			h, k = append(h, hashes[i]), append(k, r[i])
		}
		first := &claims[group[0]]
		left = append(left, weightedG1(h, k))
		right = append(right, first.Committee.keyOf(first.Members))
		signs = append(signs, 1)
	}
	if !bls12381.ProdPairFrac(left, right, signs).IsIdentity() {
		return fmt.Errorf("bls: batch of %d: %w", len(claims), errSignature)
	}
	return nil
}

// open checks the shape of a claim, cheapest first, and decodes its aggregate.
func (c *Claim) open(sig *affine) error {
	if err := c.Committee.checkMembers(c.Members); err != nil {
		return err
	}
	if err := sig.decompress(c.Aggregate); err != nil {
		return err
	}
	if !sig.inGroup() {
		return errGroup
	}
	return nil
}

// bySigners groups the indices of claims that have the same key: the same
// members of the same committee.
func bySigners(claims []Claim) [][]int {
	type signers struct {
		committee *Committee
		members   string
	}
	var groups [][]int
	place := make(map[signers]int, len(claims))
	for i, c := range claims {
		id := make([]byte, 0, 4*len(c.Members))
		for _, m := range c.Members {
			id = binary.BigEndian.AppendUint32(id, uint32(m))
		}
		key := signers{c.Committee, string(id)}
		g, ok := place[key]
		if !ok {
			g = len(groups)
			place[key] = g
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], i)
	}
	return groups
}

// coefficientSize is the length of a random coefficient: a batch with a wrong
// claim passes with probability 2^-128.
const coefficientSize = 16

// coefficients derives a coefficient for each claim from the secret seed and
// all that is claimed, so that nothing can be changed once they are known.
func coefficients(seed [32]byte, claims []Claim) [][coefficientSize]byte {
	mac := hmac.New(sha256.New, seed[:])
	number := func(n int) {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(n))
		mac.Write(b[:])
	}
	mac.Write([]byte("shardkit/bls/batch"))
	number(len(claims))
	for _, c := range claims {
		mac.Write(c.Committee.name)
		number(len(c.Statement))
		mac.Write(c.Statement)
		number(len(c.Members))
		for _, m := range c.Members {
			number(m)
		}
		number(len(c.Aggregate))
		mac.Write(c.Aggregate)
	}
	key := mac.Sum(nil)
	r := make([][coefficientSize]byte, len(claims))
	for i := range r {
		h := sha256.Sum256(binary.BigEndian.AppendUint64(key[:len(key):len(key)], uint64(i)))
		copy(r[i][:], h[:])
	}
	return r
}

// weightedG1 is weighted for points of circl, whose coordinates are out of reach
// (Straus: the doublings are shared, digits of four bits). Variable time:
// everything here is public or used once.
func weightedG1(p []bls12381.G1, k [][coefficientSize]byte) *bls12381.G1 {
	const digits = 2 * coefficientSize
	multiples := make([][16]bls12381.G1, len(p)) // [0] stays unused
	for i := range p {
		m := &multiples[i]
		m[1] = p[i]
		for d := 2; d < len(m); d++ {
			m[d].Add(&m[d-1], &p[i])
		}
	}
	s := new(bls12381.G1)
	s.SetIdentity()
	for d := range digits {
		for range 4 {
			s.Double()
		}
		for i := range p {
			digit := k[i][d/2] >> (4 - 4*(d%2)) & 0xf
			if digit != 0 {
				s.Add(s, &multiples[i][digit])
			}
		}
	}
	return s
}
