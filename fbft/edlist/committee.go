package edlist

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// maxBatch is the number of signatures in one equation. More gain little and
// take half a kilobyte each.
const maxBatch = 1024

// Committee verifies the signatures of a fixed list of keys, which members
// are named into by their index. It implements fbft.Verifier and is safe for
// concurrent use. It takes a kilobyte and a half for a member.
type Committee struct {
	keys []*ed25519.ExpandedPublicKey
	name [32]byte // of the keys, for transcripts
	seed [32]byte
}

// NewCommittee decodes keys. A key twice is refused. seed must be secret and
// unpredictable to peers; it makes the coefficients of batches.
func NewCommittee(keys [][]byte, seed [32]byte) (*Committee, error) {
	if len(keys) == 0 {
		return nil, errors.New("edlist: committee: no keys")
	}
	c := &Committee{keys: make([]*ed25519.ExpandedPublicKey, len(keys)), seed: seed}
	seen := make(map[string]int, len(keys))
	for i, enc := range keys {
		if j, ok := seen[string(enc)]; ok {
			return nil, fmt.Errorf("edlist: committee: keys %d and %d are the same", j, i)
		}
		seen[string(enc)] = i
		k, err := decodeKey(enc)
		if err != nil {
			return nil, fmt.Errorf("edlist: committee: key %d: %w", i, err)
		}
		c.keys[i] = k
	}
	c.name = sha256.Sum256(bytes.Join(keys, nil)) // of one length each
	return c, nil
}

// Combine lists sigs[i], said to be the signature of member members[i] over
// statement, in the order of the members, and leaves out what does not verify:
// bad holds the positions it left out, ascending. The aggregate is valid for
// exactly the others and nil if none is left. A member named twice counts with
// its first signature. Combine panics if the lists differ in length.
func (c *Committee) Combine(statement []byte, members []int, sigs [][]byte) (aggregate []byte, bad []int) {
	if len(members) != len(sigs) {
		panic("edlist: Combine: members and signatures differ in number")
	}
	place := make([]int, len(c.keys)) // one more than the position of a member's signature
	for i, m := range members {
		if m >= 0 && m < len(c.keys) && place[m] == 0 {
			place[m] = i + 1
		}
	}
	var list []entry
	for m, at := range place {
		if at > 0 && len(sigs[at-1]) == SignatureSize {
			list = append(list, entry{m, statement, sigs[at-1]})
		}
	}
	good := make([]bool, len(members))
	for k, ok := range c.verdicts(list) {
		if m := list[k].member; ok {
			good[place[m]-1] = true
			aggregate = append(aggregate, sigs[place[m]-1]...)
		}
	}
	for i := range good {
		if !good[i] {
			bad = append(bad, i)
		}
	}
	return aggregate, bad
}

// Verify reports whether aggregate is the signatures of exactly members,
// ascending, over statement.
func (c *Committee) Verify(statement []byte, members []int, aggregate []byte) error {
	list, err := c.appendList(nil, statement, members, aggregate)
	if err == nil && !c.holds(list) {
		err = errSignature
	}
	if err != nil {
		return fmt.Errorf("edlist: list of %d: %w", len(members), err)
	}
	return nil
}

// VerifyBatch is Verify of several statements at once: nil only if every one
// holds. It panics if the lists differ in length.
func (c *Committee) VerifyBatch(statements [][]byte, members [][]int, aggregates [][]byte) error {
	if len(statements) != len(members) || len(statements) != len(aggregates) {
		panic("edlist: VerifyBatch: lists differ in number")
	}
	var list []entry
	for i := range statements {
		var err error
		if list, err = c.appendList(list, statements[i], members[i], aggregates[i]); err != nil {
			return fmt.Errorf("edlist: batch: list %d: %w", i, err)
		}
	}
	if !c.holds(list) {
		return fmt.Errorf("edlist: batch of %d: %w", len(statements), errSignature)
	}
	return nil
}

// entry is one signature to be checked.
type entry struct {
	member    int
	statement []byte
	sig       []byte
}

// appendList appends the signatures of a certificate, if its shape is right.
func (c *Committee) appendList(list []entry, statement []byte, members []int, aggregate []byte) ([]entry, error) {
	if len(members) == 0 {
		return nil, errors.New("no members")
	}
	if len(aggregate) != len(members)*SignatureSize {
		return nil, fmt.Errorf("%d bytes for %d signatures", len(aggregate), len(members))
	}
	last := -1
	for i, m := range members {
		if m <= last || m >= len(c.keys) {
			return nil, fmt.Errorf("member %d after %d of %d", m, last, len(c.keys))
		}
		last = m
		list = append(list, entry{m, statement, aggregate[i*SignatureSize : (i+1)*SignatureSize]})
	}
	return list, nil
}

// holds reports whether all signatures are good.
func (c *Committee) holds(list []entry) bool {
	for part := range slices.Chunk(list, maxBatch) {
		if !c.batch(part).VerifyBatchOnly(c.coefficients(part)) {
			return false
		}
	}
	return true
}

// verdicts says of each signature whether it is good.
func (c *Committee) verdicts(list []entry) (good []bool) {
	for part := range slices.Chunk(list, maxBatch) {
		_, each := c.batch(part).Verify(c.coefficients(part))
		good = append(good, each...)
	}
	return good
}

func (c *Committee) batch(list []entry) *ed25519.BatchVerifier {
	v := ed25519.NewBatchVerifierWithCapacity(len(list))
	for i := range list {
		e := &list[i]
		v.AddExpandedWithOptions(c.keys[e.member], e.statement, e.sig, rules)
	}
	return v
}

// coefficients returns the key of the stream that the coefficients are read
// from: derived from the secret seed and all that is checked, so that nothing
// can be changed once they are known.
func (c *Committee) coefficients(list []entry) io.Reader {
	mac := hmac.New(sha256.New, c.seed[:])
	mac.Write([]byte("shardkit/edlist/batch"))
	mac.Write(c.name[:])
	var head []byte
	for i := range list {
		e := &list[i]
		head = binary.BigEndian.AppendUint32(head[:0], uint32(e.member))
		mac.Write(binary.BigEndian.AppendUint64(head, uint64(len(e.statement))))
		mac.Write(e.statement)
		mac.Write(e.sig) // all of one length
	}
	return bytes.NewReader(mac.Sum(nil))
}
