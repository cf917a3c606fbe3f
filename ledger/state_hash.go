package ledger

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"

	"github.com/shardkit/shardkit"
)

// hashBlock is a message of SHA-256 with room for the padding: at most
// hashShort bytes of message, all others zero.
type hashBlock [2 * sha256.BlockSize]byte

const hashShort = len(hashBlock{}) - 9

// sum is sha256.Sum256(b[:n]), in two thirds of the time: of the 150 ns that
// takes for a node of the tree, 60 go into copying the digest and the message
// about to append the padding. Here the padding is part of what is written, and
// the digest is read out of the marshaled state, which begins with it.
func (b *hashBlock) sum(n int) shardkit.Hash {
	b[n] = 0x80
	end := (n + 9 + sha256.BlockSize - 1) &^ (sha256.BlockSize - 1)
	binary.BigEndian.PutUint16(b[end-2:], uint16(8*n))
	d := sha256.New()
	d.Write(b[:end])
	var room [128]byte
	state, err := d.(encoding.BinaryAppender).AppendBinary(room[:0])
	if err != nil || len(state) < hashStateLen || string(state[:len(hashStateMagic)]) != hashStateMagic {
		return sha256.Sum256(b[:n]) // a library that marshals in another way
	}
	return shardkit.Hash(state[len(hashStateMagic):])
}

// How crypto/sha256 marshals its state: this, the digest, and what does not
// matter here. It must stay so for states marshaled by older versions to be
// read.
const (
	hashStateMagic = "sha\x03"
	hashStateLen   = len(hashStateMagic) + sha256.Size
)

// hashOf is sha256.Sum256.
func hashOf(msg []byte) shardkit.Hash {
	if len(msg) > hashShort {
		return sha256.Sum256(msg)
	}
	var b hashBlock
	return b.sum(copy(b[:], msg))
}

func leafHash(key, value shardkit.Hash) shardkit.Hash {
	var b hashBlock
	copy(b[1:], key[:])
	copy(b[33:], value[:])
	return b.sum(65)
}

// leafOf is the leaf of a key with a value.
func leafOf(key shardkit.Hash, value []byte) shardkit.Hash { return leafHash(key, hashOf(value)) }

// nodeHasher computes the hashes of inner nodes: SHA-256 of the two sides. It is
// for one goroutine, and lies on the heap, since what assembly is given does:
// make one for many nodes.
//
// A node is 64 bytes and a leaf 65. Who computes either takes the parts from
// fields of 32 bytes, so the length is not the prover's to choose, and a leaf
// that is read as a node, or a node as a leaf, would be two messages with one
// SHA-256. That a value or a key may be the 64 bytes of a node does not matter:
// their hashes stand in leaves only, never in the place of a node.
type nodeHasher struct {
	in  [4][32]byte
	out [2][32]byte
}

// one is the hash of a node.
func (h *nodeHasher) one(left, right *shardkit.Hash) shardkit.Hash {
	h.in[0], h.in[1] = *left, *right
	nodeSums(h.out[:1], h.in[:2])
	return h.out[0]
}

// pair is the hash of a pair.
func (h *nodeHasher) pair(p *treePair) shardkit.Hash {
	if leaf, ok := p.lone(); ok {
		return leaf.hash
	}
	return h.one(&p[0].hash, &p[1].hash)
}

// quad computes the hashes of the children of q, both at once, and returns its
// own.
func (h *nodeHasher) quad(q *treeQuad) shardkit.Hash {
	for i := range q.half {
		p := &q.half[i]
		h.in[2*i], h.in[2*i+1] = p[0].hash, p[1].hash
	}
	nodeSums(h.out[:], h.in[:])
	for i := range q.half {
		q.hash[i] = h.out[i]
		if leaf, ok := q.half[i].lone(); ok {
			q.hash[i] = leaf.hash
		}
	}
	return h.one(&q.hash[0], &q.hash[1])
}

// fold is the hash of the sorted leaves, which share their first depth bits.
func (h *nodeHasher) fold(leaves []treeLeaf, depth int) shardkit.Hash {
	switch len(leaves) {
	case 0:
		return shardkit.Hash{}
	case 1:
		return leaves[0].hash
	}
	first := &leaves[0].key
	d := hashShared(first, &leaves[len(leaves)-1].key)
	n := treeCut(leaves, d)
	l, r := h.fold(leaves[:n], d+1), h.fold(leaves[n:], d+1)
	sum := h.one(&l, &r)
	for d--; d >= depth; d-- { // nodes with an empty side
		if treeBit(first, d) {
			sum = h.one(&shardkit.Hash{}, &sum)
		} else {
			sum = h.one(&sum, &shardkit.Hash{})
		}
	}
	return sum
}
