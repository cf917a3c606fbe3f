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

func innerHash(left, right *shardkit.Hash) shardkit.Hash {
	var b hashBlock
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return b.sum(65)
}
