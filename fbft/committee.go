package fbft

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Bounds of a committee.
const (
	MaxMembers = 4096    // members of a committee
	MaxKey     = 256     // bytes of a voting key
	MaxWeight  = 1 << 60 // total weight of a committee
)

const domainCommittee = "shardkit/fbft/committee/v1"

// Member is one voter: the node that speaks for it, its voting key, and its
// weight. Slot is the application's name for it; consensus only binds it.
type Member struct {
	Node   shardkit.NodeID
	Key    []byte // at most MaxKey bytes; the Verifier knows what they mean
	Weight uint64
	Slot   shardkit.Hash
}

// Committee is who decides a height. It is immutable and safe for concurrent
// use.
//
// With total weight W and quorum q, two quorums share weight of at least 2q−W:
// so much has to misbehave for a fork. Once weight W−q+1 is silent nothing is
// decided any more. With the default quorum a committee of 600 forks at 202
// and stalls at 200. A larger q moves weight from liveness to safety.
type Committee struct {
	members  []Member
	quorum   uint64
	total    uint64
	upto     []uint64 // upto[i]: weight of members 0..i
	index    map[shardkit.NodeID]int
	hash     shardkit.Hash
	verifier Verifier
	turns    turns // of the default rotation
}

// NewCommittee makes a committee. The order of members is part of its
// identity; nodes and keys must be distinct and weights positive. quorum 0
// means the least weight above two thirds. v must have been built from the
// same keys in the same order.
func NewCommittee(members []Member, quorum uint64, v Verifier) (*Committee, error) {
	if v == nil {
		return nil, errors.New("fbft: committee: no verifier")
	}
	c := &Committee{verifier: v, quorum: quorum}
	if err := c.setMembers(members); err != nil {
		return nil, fmt.Errorf("fbft: committee: %w", err)
	}
	if quorum == 0 {
		c.quorum = 2*c.total/3 + 1 // the least q with 3q > 2W
	}
	if c.quorum > c.total || 2*c.quorum <= c.total {
		return nil, fmt.Errorf("fbft: committee: quorum %d of %d: two quorums need not meet, or none exists", c.quorum, c.total)
	}
	c.hash = sha256.Sum256(c.appendTo([]byte(domainCommittee)))
	c.turns = newTurns(c.hash, c.total)
	return c, nil
}

func (c *Committee) setMembers(members []Member) error {
	if len(members) == 0 || len(members) > MaxMembers {
		return fmt.Errorf("%d members, want 1 to %d", len(members), MaxMembers)
	}
	c.members = make([]Member, len(members))
	c.upto = make([]uint64, len(members))
	c.index = make(map[shardkit.NodeID]int, len(members))
	keys := make(map[string]int, len(members))
	for i, m := range members {
		if len(m.Key) == 0 || len(m.Key) > MaxKey {
			return fmt.Errorf("member %d: key of %d bytes", i, len(m.Key))
		}
		if m.Weight == 0 || m.Weight > MaxWeight-c.total {
			return fmt.Errorf("member %d: weight %d", i, m.Weight)
		}
		if j, dup := c.index[m.Node]; dup {
			return fmt.Errorf("members %d and %d: same node", j, i)
		}
		if j, dup := keys[string(m.Key)]; dup {
			return fmt.Errorf("members %d and %d: same key", j, i)
		}
		m.Key = append([]byte(nil), m.Key...)
		c.members[i], c.index[m.Node], keys[string(m.Key)] = m, i, i
		c.total += m.Weight
		c.upto[i] = c.total
	}
	return nil
}

// Hash names the committee: members in order, weights, quorum.
func (c *Committee) Hash() shardkit.Hash { return c.hash }

// Members returns the members. The caller must not change them.
func (c *Committee) Members() []Member { return c.members }

// Len returns the number of members.
func (c *Committee) Len() int { return len(c.members) }

// Index returns the place of the member that node speaks for.
func (c *Committee) Index(node shardkit.NodeID) (int, bool) {
	i, ok := c.index[node]
	return i, ok
}

// Total returns the weight of all members.
func (c *Committee) Total() uint64 { return c.total }

// Quorum returns the weight q that decides.
func (c *Committee) Quorum() uint64 { return c.quorum }

// Amplify returns W−q+1: at least one of any members of this weight is honest
// if the committee is live at all. So much silent weight stops it.
func (c *Committee) Amplify() uint64 { return c.total - c.quorum + 1 }

// Fork returns 2q−W, the least weight that has to misbehave for two blocks to
// be decided at one height.
func (c *Committee) Fork() uint64 { return 2*c.quorum - c.total }

// Weight returns the weight of a set. Bits past the members count nothing.
func (c *Committee) Weight(set Bitmap) uint64 {
	var w uint64
	for i := range c.members {
		if set.Has(i) {
			w += c.members[i].Weight
		}
	}
	return w
}

// AppendBinary appends the encoding of the committee: all that Hash binds.
func (c *Committee) AppendBinary(b []byte) ([]byte, error) { return c.appendTo(b), nil }

func (c *Committee) appendTo(b []byte) []byte {
	b = append(b, version)
	b = wire.AppendU64(b, c.quorum)
	b = wire.AppendU32(b, uint32(len(c.members)))
	for _, m := range c.members {
		b = append(b, m.Node[:]...)
		b = wire.AppendBytes(b, m.Key)
		b = wire.AppendU64(b, m.Weight)
		b = append(b, m.Slot[:]...)
	}
	return b
}

// DecodeCommittee decodes what AppendBinary wrote. The caller builds a
// Verifier from the keys and calls NewCommittee, which judges the values.
func DecodeCommittee(b []byte) (members []Member, quorum uint64, err error) {
	r := wire.NewReader(b)
	r.Expect(version, "version")
	quorum = r.U64()
	if n := r.Count(MaxMembers, 76); n > 0 {
		members = make([]Member, n)
	}
	for i := range members {
		m := &members[i]
		m.Node = r.Array32()
		m.Key = append([]byte(nil), r.Bytes(MaxKey)...)
		m.Weight = r.U64()
		m.Slot = r.Array32()
	}
	if err := r.Close(); err != nil {
		return nil, 0, fmt.Errorf("fbft: committee: %w", err)
	}
	return members, quorum, nil
}
