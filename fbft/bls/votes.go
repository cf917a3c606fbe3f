package bls

import "github.com/cloudflare/circl/ecc/bls12381"

// knownBudget bounds the pairing checks that one Combine spends on members
// that were found out before: enough to pick out a few, so that a member that
// was wrong once can still make a quorum.
const knownBudget = 16

// votes is one call of Combine. Positions index members and sigs.
type votes struct {
	c       *Committee
	members []int
	sigs    [][]byte
	hash    *bls12381.G1

	points []affine // of the positions that decompressed
	good   []int    // those positions
	bad    []int    // positions left out
	guilty []int    // members proven wrong by a check of theirs alone
}

// decode decompresses every signature and puts aside the malformed, foreign
// and repeated ones.
func (v *votes) decode() {
	v.points = make([]affine, len(v.sigs))
	seen := make([]bool, len(v.c.keys))
	for i, m := range v.members {
		if m < 0 || m >= len(v.c.keys) || seen[m] {
			v.bad = append(v.bad, i)
			continue
		}
		seen[m] = true
		if v.points[i].decompress(v.sigs[i]) != nil {
			v.blame(i)
			continue
		}
		v.good = append(v.good, i)
	}
}

// blame leaves out position i, whose signature is wrong by itself.
func (v *votes) blame(i int) {
	v.bad = append(v.bad, i)
	v.guilty = append(v.guilty, v.members[i])
}

// split parts the positions into those of members without a stain and those
// of members that were found out before.
func (v *votes) split() (fresh, known []int) {
	v.c.mu.Lock()
	defer v.c.mu.Unlock()
	for _, i := range v.good {
		if v.c.known[v.members[i]] {
			known = append(known, i)
		} else {
			fresh = append(fresh, i)
		}
	}
	return fresh, known
}

// settle adds to total the signatures of group that verify, and returns how
// many. budget bounds the extra pairing checks if it is not negative.
func (v *votes) settle(group []int, total *bls12381.G1, budget int) int {
	if len(group) == 0 {
		return 0
	}
	s := search{votes: v, total: total, budget: budget}
	s.take(group, s.check(group))
	return s.left
}

// key returns the sum of the keys of the members at the positions of group.
func (v *votes) key(group []int) *bls12381.G2 {
	members := make([]int, len(group))
	for n, i := range group {
		members[n] = v.members[i]
	}
	return v.c.keyOf(members)
}

// search takes what is right of a group and bisects what is not. What it takes
// is a union of sets each of which verified as a sum, so their sum verifies as
// well, even if members cancelled each other's errors within one of them.
type search struct {
	votes  *votes
	total  *bls12381.G1 // sum of what was taken
	left   int          // how many those are
	budget int          // checks left; negative: no bound
}

// verdict is what is known of a set of signatures: their sum, and its
// residue, which is one if it verifies. Both are nil if the sum is outside
// the subgroup, where residues mean nothing, or at infinity.
type verdict struct {
	sum     *bls12381.G1
	residue *bls12381.Gt
}

func (s *search) check(group []int) verdict {
	var p sum
	p.reset()
	for _, i := range group {
		p.add(&s.votes.points[i])
	}
	g, err := p.group()
	if err != nil {
		return verdict{}
	}
	return verdict{g, residue(s.votes.hash, s.votes.key(group), g)}
}

// without returns the verdict about the rest of a set of which part is known:
// sums subtract, residues divide, and no pairing is needed.
func (v verdict) without(part verdict) verdict {
	r := verdict{new(bls12381.G1), new(bls12381.Gt)}
	minus := *part.sum
	minus.Neg()
	r.sum.Add(v.sum, &minus)
	r.residue.Inv(part.residue)
	r.residue.Mul(r.residue, v.residue)
	return r
}

// take adds up what is right in group, of which v is known, and puts aside
// the rest: one check to a split, so fewer checks than signatures in all, and
// log2 of their number for a single culprit. (Sums outside the subgroup need a
// second check to a split, but those end before the pairing.)
func (s *search) take(group []int, v verdict) {
	switch {
	case v.residue != nil && v.residue.IsIdentity():
		s.total.Add(s.total, v.sum)
		s.left += len(group)
		return
	case len(group) == 1:
		s.votes.blame(group[0])
		return
	case s.budget == 0:
		s.votes.bad = append(s.votes.bad, group...)
		return
	}
	s.budget--
	left, right := group[:len(group)/2], group[len(group)/2:]
	l := s.check(left)
	var r verdict
	if v.residue != nil && l.residue != nil {
		r = v.without(l)
	} else {
		r = s.check(right)
	}
	s.take(left, l)
	s.take(right, r)
}
