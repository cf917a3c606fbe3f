package ledger

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// A proof of many keys: the tree from the root on, left before right, as deep
// as the keys lead. Each subtree is a tag u8 and what the tag asks for.
const (
	multiEmpty = 0 // nothing
	multiOther = 1 // one leaf, of no key that is asked for though some lead here: key [32], value hash [32]
	multiInner = 2 // both sides
	multiOwn   = 3 // one leaf, of a key that is asked for
	multiHash  = 4 // a subtree to which no key leads, not empty: hash [32]
)

// multiKey is a key that is asked for.
type multiKey struct {
	key  shardkit.Hash
	leaf shardkit.Hash // zero: absent
}

// multiKeys hashes and sorts; a key twice is refused.
func multiKeys(keys [][]byte, leaf func(i int, key shardkit.Hash) shardkit.Hash) ([]multiKey, error) {
	out := make([]multiKey, len(keys))
	for i := range keys {
		out[i].key = sha256.Sum256(keys[i])
		out[i].leaf = leaf(i, out[i].key)
	}
	slices.SortFunc(out, func(a, b multiKey) int { return bytes.Compare(a.key[:], b.key[:]) })
	for i := 1; i < len(out); i++ {
		if out[i].key == out[i-1].key {
			return nil, errors.New("a key twice")
		}
	}
	return out, nil
}

// multiCut returns how many of the sorted keys go left at depth.
func multiCut(keys []multiKey, depth int) int {
	n, _ := slices.BinarySearchFunc(keys, 1, func(k multiKey, _ int) int {
		if treeBit(&k.key, depth) {
			return 1
		}
		return -1
	})
	return n
}

// ProveMulti returns one proof for all keys, present or not, none of them
// twice. It is shorter than their single proofs, the more so the more keys
// there are.
func (v *View) ProveMulti(keys [][]byte) ([]byte, error) {
	ks, err := multiKeys(keys, func(int, shardkit.Hash) shardkit.Hash { return shardkit.Hash{} })
	if err != nil {
		return nil, fmt.Errorf("ledger: prove: %w", err)
	}
	// Which subtrees are opened follows from the keys alone, so the verifier
	// knows it too, and there is one proof of a set of keys.
	return v.appendMulti(nil, &nodeHasher{}, ks, v.tree, shardkit.Hash{}, 0)
}

// appendMulti appends the proof of the subtree at, to which keys lead.
func (v *View) appendMulti(b []byte, h *nodeHasher, keys []multiKey, at subtree, p shardkit.Hash, depth int) ([]byte, error) {
	switch n := at.keys(); {
	case n == 0:
		return append(b, multiEmpty), nil
	case len(keys) == 0:
		return append(append(b, multiHash), at.hash[:]...), nil
	case n == 1: // however many keys lead here, one leaf answers them all
		leaf, err := v.only(at, p, depth)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(keys, func(k multiKey) bool { return k.key == leaf.key }) {
			return append(b, multiOwn), nil
		}
		return v.appendLeaf(append(b, multiOther), leaf)
	}
	l, r, err := v.state.shape.sides(h, &at, p, depth, v.load)
	if err != nil {
		return nil, err
	}
	n := multiCut(keys, depth)
	if b, err = v.appendMulti(append(b, multiInner), h, keys[:n], l, p, depth+1); err != nil {
		return nil, err
	}
	return v.appendMulti(b, h, keys[n:], r, treeSide(p, depth), depth+1)
}

// VerifyMulti checks that under root each key has the value of the same index,
// or is absent if that is nil. The error wraps ErrProof.
func VerifyMulti(root shardkit.Hash, keys, values [][]byte, proof []byte) error {
	if len(keys) != len(values) {
		return fmt.Errorf("%w: %d keys, %d values", ErrProof, len(keys), len(values))
	}
	ks, err := multiKeys(keys, func(i int, key shardkit.Hash) shardkit.Hash {
		if values[i] == nil {
			return shardkit.Hash{}
		}
		return leafOf(key, values[i])
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	// The leaves of the keys come from the caller's values, never from the
	// proof: what hashes to the root is what was claimed.
	r := wire.NewReader(proof)
	got := multiRead(r, &nodeHasher{}, ks, shardkit.Hash{}, 0)
	if err := r.Close(); err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	if got != root {
		return fmt.Errorf("%w: root differs", ErrProof)
	}
	return nil
}

// multiRead computes the hash of the subtree under p from the proof. The keys
// say which way to go, the tags only what is found there: a prover can leave
// out no subtree to which a key leads. The depth is bounded by the hash, so the
// recursion is too.
func multiRead(r *wire.Reader, h *nodeHasher, keys []multiKey, p shardkit.Hash, depth int) shardkit.Hash {
	tag := r.U8()
	if r.Err() != nil {
		return shardkit.Hash{}
	}
	switch {
	case tag == multiInner && len(keys) > 0 && depth < treeDepthLimit:
		n := multiCut(keys, depth)
		left := multiRead(r, h, keys[:n], p, depth+1)
		right := multiRead(r, h, keys[n:], treeSide(p, depth), depth+1)
		return h.one(&left, &right)
	case tag == multiHash && len(keys) == 0:
		other := shardkit.Hash(r.Array32())
		if other == (shardkit.Hash{}) {
			r.Fail(fmt.Errorf("%w: an empty subtree spelled out", wire.ErrValue))
		}
		return other
	case tag == multiEmpty:
		multiAbsent(r, keys)
		return shardkit.Hash{}
	case tag == multiOther && len(keys) > 0:
		multiAbsent(r, keys)
		key, value := shardkit.Hash(r.Array32()), shardkit.Hash(r.Array32())
		// A leaf from elsewhere says nothing about this place, and one that is
		// asked for would be claimed absent by the tag.
		asked := slices.ContainsFunc(keys, func(k multiKey) bool { return k.key == key })
		if asked || treeFirst(key, depth) != p {
			r.Fail(errors.New("a leaf out of place"))
		}
		return leafHash(key, value)
	case tag == multiOwn:
		return multiPresent(r, keys)
	}
	r.Fail(fmt.Errorf("%w: tag %d", wire.ErrValue, tag))
	return shardkit.Hash{}
}

// multiAbsent refuses keys that are claimed to be present.
func multiAbsent(r *wire.Reader, keys []multiKey) {
	if slices.ContainsFunc(keys, func(k multiKey) bool { return k.leaf != shardkit.Hash{} }) {
		r.Fail(errors.New("a key is absent"))
	}
}

// multiPresent returns the leaf of the one key that is claimed to be present.
func multiPresent(r *wire.Reader, keys []multiKey) (leaf shardkit.Hash) {
	n := 0 // the others are claimed to be absent, which this leaf shows too
	for i := range keys {
		if keys[i].leaf != (shardkit.Hash{}) {
			leaf = keys[i].leaf
			n++
		}
	}
	if n != 1 {
		r.Fail(errors.New("not one key present where one is claimed"))
	}
	return leaf
}
