// Package merkle is the binary Merkle tree of RFC 6962, section 2.1: hashes of
// leaves and of inner nodes have different prefixes, so neither can pass for
// the other, and a tree of n leaves splits at the largest power of two below
// n, so no leaf is ever doubled to fill a level and every count has one shape.
//
// A root says nothing about the number of leaves: two parties agree on it only
// together with the count, so whoever publishes a root publishes or hashes the
// count beside it. [Verify] takes both index and count and accepts only the
// one proof length that belongs to them.
package merkle

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"

	"github.com/shardkit/shardkit"
)

// The prefixes of RFC 6962 that keep leaves and inner nodes apart.
const (
	leafPrefix = 0
	nodePrefix = 1
)

// MaxProof is the length of the longest proof: of a leaf among 2^64 - 1.
// Decoders use it as their cap.
const MaxProof = 64

// ErrProof is returned, wrapped, by Verify for every proof it refuses.
var ErrProof = errors.New("merkle: proof does not fit")

// LeafHash hashes the data of a leaf: SHA-256(0x00 || data).
func LeafHash(data []byte) (h shardkit.Hash) {
	d := sha256.New()
	d.Write([]byte{leafPrefix})
	d.Write(data)
	d.Sum(h[:0])
	return h
}

// NodeHash hashes an inner node: SHA-256(0x01 || l || r).
func NodeHash(l, r shardkit.Hash) shardkit.Hash {
	var buf [1 + 2*len(l)]byte
	buf[0] = nodePrefix
	copy(buf[1:], l[:])
	copy(buf[1+len(l):], r[:])
	return sha256.Sum256(buf[:])
}

// Root returns the root over leaf hashes; without leaves, SHA-256 of nothing.
// It does not change leaves.
func Root(leaves []shardkit.Hash) shardkit.Hash {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	}
	level := parents(make([]shardkit.Hash, 0, (len(leaves)+1)/2), leaves)
	for len(level) > 1 {
		level = parents(level[:0], level) // in place: writes stay behind reads
	}
	return level[0]
}

// parents appends the level above level to dst. The last of an odd number of
// nodes has no sibling and stands for itself one level up: that is the split
// at the largest power of two, seen from below.
func parents(dst, level []shardkit.Hash) []shardkit.Hash {
	for i := 0; i+1 < len(level); i += 2 {
		dst = append(dst, NodeHash(level[i], level[i+1]))
	}
	if len(level)%2 == 1 {
		dst = append(dst, level[len(level)-1])
	}
	return dst
}

// Prove returns the proof of leaf i: the siblings on its way to the root,
// lowest first. It panics if there is no leaf i. For several proofs of one
// tree, a Tree hashes only once.
func Prove(leaves []shardkit.Hash, i int) []shardkit.Hash {
	return NewTree(leaves).Prove(i)
}

// Verify returns nil if proof shows that leaf stands at index in the tree of
// count leaves with the given root. A proof has exactly one valid length.
func Verify(root shardkit.Hash, index, count uint64, leaf shardkit.Hash, proof []shardkit.Hash) error {
	if index >= count {
		return fmt.Errorf("%w: leaf %d of %d", ErrProof, index, count)
	}
	if want := ProofLen(index, count); len(proof) != want {
		return fmt.Errorf("%w: %d hashes, want %d", ErrProof, len(proof), want)
	}
	if Fold(index, count, leaf, proof) != root {
		return fmt.Errorf("%w: root differs", ErrProof)
	}
	return nil
}

// Fold returns the root to which proof leads from leaf, for a tree whose root
// is itself hashed into something that the caller compares. It panics unless
// index < count and proof has the length ProofLen(index, count).
func Fold(index, count uint64, leaf shardkit.Hash, proof []shardkit.Hash) shardkit.Hash {
	if index >= count || len(proof) != ProofLen(index, count) {
		panic(fmt.Sprintf("merkle: proof of %d hashes for leaf %d of %d", len(proof), index, count))
	}
	h := leaf
	// last is the index of the last node of the level; a node that is last and
	// has no sibling goes up unhashed and uses up nothing of the proof.
	for last := count - 1; last > 0; index, last = index/2, last/2 {
		switch {
		case index%2 == 1:
			h, proof = NodeHash(proof[0], h), proof[1:]
		case index < last:
			h, proof = NodeHash(h, proof[0]), proof[1:]
		}
	}
	return h
}

// ProofLen returns the length of the proof of leaf index of count leaves.
func ProofLen(index, count uint64) int {
	if index >= count {
		return 0
	}
	// Below the level where the paths of the leaf and of the last leaf meet,
	// the leaf always has a sibling; above it, exactly where its bit is 1.
	meet := bits.Len64(index ^ (count - 1))
	return meet + bits.OnesCount64(index>>meet)
}

// Tree keeps every level of a tree, for several proofs of one root.
type Tree struct {
	levels [][]shardkit.Hash // leaves first; the last level is the root alone
}

// NewTree builds the tree over leaf hashes, which it copies.
func NewTree(leaves []shardkit.Hash) *Tree {
	if len(leaves) == 0 {
		return &Tree{}
	}
	// All levels share one allocation: n + n/2 + ... and one odd node a level.
	nodes := make([]shardkit.Hash, 0, 2*len(leaves)+bits.Len(uint(len(leaves))))
	nodes = append(nodes, leaves...)
	t := &Tree{levels: [][]shardkit.Hash{nodes}}
	for level := nodes; len(level) > 1; {
		start := len(nodes)
		nodes = parents(nodes, level)
		level = nodes[start:]
		t.levels = append(t.levels, level)
	}
	return t
}

// Root returns the root of the tree.
func (t *Tree) Root() shardkit.Hash {
	if len(t.levels) == 0 {
		return Root(nil)
	}
	return t.levels[len(t.levels)-1][0]
}

// Len returns the number of leaves.
func (t *Tree) Len() int {
	if len(t.levels) == 0 {
		return 0
	}
	return len(t.levels[0])
}

// Prove returns the proof of leaf i, which the caller may keep and change. It
// panics if there is no leaf i.
func (t *Tree) Prove(i int) []shardkit.Hash {
	if i < 0 || i >= t.Len() {
		panic(fmt.Sprintf("merkle: no leaf %d of %d", i, t.Len()))
	}
	proof := make([]shardkit.Hash, 0, ProofLen(uint64(i), uint64(t.Len())))
	for _, level := range t.levels {
		if sibling := i ^ 1; sibling < len(level) {
			proof = append(proof, level[sibling])
		}
		i /= 2
	}
	return proof
}
