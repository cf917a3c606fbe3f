package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// A proof of one key: the way from the root to the one leaf or to the empty
// place where the key is or would be.
//
//	kind     u8: proofPresent, proofEmpty or proofOther
//	other    key [32], value hash [32]: the leaf in the place, proofOther only
//	depth    u16: inner nodes on the way, at most 256
//	empties  one bit for each, from the root on: the sibling is empty; ⌈depth/8⌉
//	         bytes, last bits zero
//	hashes   [32] of each sibling that is not empty, from the root on
const (
	proofPresent = 0
	proofEmpty   = 1
	proofOther   = 2
)

// Prove returns the proof that key has the value it has in the version, or
// that it has none.
func (v *View) Prove(key []byte) ([]byte, error) {
	k := shardkit.Hash(sha256.Sum256(key))
	way := make([]shardkit.Hash, 0, 32) // of the siblings, seldom more of them
	at := &v.tree
	for q, ok := at.node.(*treeQuad); ok; q, ok = at.node.(*treeQuad) {
		i := treeIndex(&k, len(way))
		way = append(way, q.hash[1-i])
		p := &q.half[i]
		if leaf, ok := p.lone(); ok {
			at = leaf
			break
		}
		i = treeIndex(&k, len(way))
		way = append(way, p[1-i].hash)
		at = &p[i]
	}
	// What is left is a run. Of its parts only those beside the way are hashed.
	h := &nodeHasher{}
	leaves, err := v.state.shape.checked(h, at, treeFirst(k, len(way)), len(way), v.load)
	if err != nil {
		return nil, err
	}
	for len(leaves) > 1 {
		n, depth := treeCut(leaves, len(way)), len(way)+1
		if treeBit(&k, len(way)) {
			way, leaves = append(way, h.fold(leaves[:n], depth)), leaves[n:]
		} else {
			way, leaves = append(way, h.fold(leaves[n:], depth)), leaves[:n]
		}
	}
	// The whole proof in one piece of memory, its longest form.
	b := make([]byte, 0, 1+64+2+len(way)/8+1+32*len(way))
	if b, err = v.appendPlace(b, leaves, k); err != nil {
		return nil, err
	}
	return appendSiblings(b, way), nil
}

// appendPlace appends what stands where k leads: nothing or one leaf.
func (v *View) appendPlace(b []byte, leaves []treeLeaf, k shardkit.Hash) ([]byte, error) {
	switch {
	case len(leaves) == 0:
		return append(b, proofEmpty), nil
	case leaves[0].key == k:
		return append(b, proofPresent), nil
	}
	return v.appendLeaf(append(b, proofOther), leaves[0])
}

// only returns the leaf of a subtree of one key.
func (v *View) only(at subtree, p shardkit.Hash, depth int) (treeLeaf, error) {
	leaves, err := v.state.shape.leaves(&at, p, depth, v.load)
	if err != nil {
		return treeLeaf{}, err
	}
	if len(leaves) != 1 || leaves[0].hash != at.hash {
		return treeLeaf{}, errStateRun
	}
	return leaves[0], nil
}

// appendLeaf appends what a leaf is the hash of.
func (v *View) appendLeaf(b []byte, leaf treeLeaf) ([]byte, error) {
	value, ok, err := v.get(leaf.key)
	if err != nil {
		return nil, err
	}
	h := sha256.Sum256(value)
	if !ok || leafHash(leaf.key, h) != leaf.hash {
		return nil, errStateRun
	}
	return append(append(b, leaf.key[:]...), h[:]...), nil
}

// appendSiblings appends the way, root first.
func appendSiblings(b []byte, siblings []shardkit.Hash) []byte {
	b = wire.AppendU16(b, uint16(len(siblings)))
	at := len(b)
	b = append(b, make([]byte, (len(siblings)+7)/8)...)
	for i := range siblings {
		if siblings[i] == (shardkit.Hash{}) {
			b[at+i/8] |= 0x80 >> (i % 8)
		} else {
			b = append(b, siblings[i][:]...)
		}
	}
	return b
}

// VerifyProof checks that under root key has value, or is absent if value is
// nil. It needs nothing else. The error wraps ErrProof.
//
// Why it suffices: the hashes lead from the root along the bits of the key to
// one place, and what stands in a place follows from the set of keys. A leaf
// of the key with the value proves presence. Nothing there, or the leaf of
// another key that shares the bits up to there, proves absence, because two
// keys below that place would need an inner node, which is of another length
// than a leaf (see nodeHasher).
func VerifyProof(root shardkit.Hash, key, value, proof []byte) error {
	k := shardkit.Hash(sha256.Sum256(key))
	r := wire.NewReader(proof)
	var h shardkit.Hash
	kind := r.U8()
	var other shardkit.Hash
	switch kind {
	case proofPresent:
		h = leafOf(k, value)
	case proofEmpty:
	case proofOther:
		other = r.Array32()
		h = leafHash(other, r.Array32())
	default:
		return fmt.Errorf("%w: kind %d", ErrProof, kind)
	}
	if present := kind == proofPresent; present != (value != nil) {
		return fmt.Errorf("%w: it is one of the opposite", ErrProof)
	}
	siblings, err := readSiblings(r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	// A leaf from elsewhere in the tree would say nothing about this place.
	if kind == proofOther && (other == k || hashShared(&other, &k) < len(siblings)) {
		return fmt.Errorf("%w: the other leaf does not stand in the way", ErrProof)
	}
	hasher := &nodeHasher{}
	for depth := len(siblings) - 1; depth >= 0; depth-- {
		if treeBit(&k, depth) {
			h = hasher.one(&siblings[depth], &h)
		} else {
			h = hasher.one(&h, &siblings[depth])
		}
	}
	if h != root {
		return fmt.Errorf("%w: root differs", ErrProof)
	}
	return nil
}

// readSiblings reads the way of a proof, root first, and to the end of r.
func readSiblings(r *wire.Reader) ([]shardkit.Hash, error) {
	depth := int(r.U16())
	if depth > treeDepthLimit {
		r.Fail(fmt.Errorf("%w: depth %d", wire.ErrLimit, depth))
		depth = 0
	}
	empties := r.Fixed((depth + 7) / 8)
	if r.Err() != nil {
		return nil, r.Err()
	}
	if n := depth % 8; n != 0 && empties[len(empties)-1]<<n != 0 {
		r.Fail(fmt.Errorf("%w: bits after the last", wire.ErrValue))
	}
	siblings := make([]shardkit.Hash, depth)
	for i := range siblings {
		if empties[i/8]&(0x80>>(i%8)) != 0 {
			continue
		}
		if siblings[i] = r.Array32(); siblings[i] == (shardkit.Hash{}) {
			r.Fail(fmt.Errorf("%w: an empty sibling spelled out", wire.ErrValue))
		}
	}
	return siblings, r.Close()
}

// hashShared is the number of leading bits that a and b share.
func hashShared(a, b *shardkit.Hash) int {
	for i := 0; i < len(a); i += 8 {
		if x := binary.BigEndian.Uint64(a[i:]) ^ binary.BigEndian.Uint64(b[i:]); x != 0 {
			return 8*i + bits.LeadingZeros64(x)
		}
	}
	return 256
}
