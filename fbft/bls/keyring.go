package bls

import (
	"sync"

	"github.com/cloudflare/circl/ecc/bls12381"
)

// Keyring remembers decoded keys. Committees of consecutive epochs, and of the
// shards of one chain, have most of their keys in common, and for whoever
// walks through many of them decoding is most of the work. A Keyring is safe
// for concurrent use.
type Keyring struct {
	mu   sync.Mutex
	keys map[[KeySize]byte]*bls12381.G2
	// ring is the keys in the order in which they came; the oldest, at next,
	// makes room.
	ring [][KeySize]byte
	next int
	most int
}

// NewKeyring returns a Keyring of at most so many keys, about half a kilobyte
// each.
func NewKeyring(most int) *Keyring {
	most = max(most, 1)
	return &Keyring{keys: make(map[[KeySize]byte]*bls12381.G2), most: most}
}

// NewCommittee is the function of the same name, and decodes only keys that
// the Keyring does not know.
func (r *Keyring) NewCommittee(keys [][]byte, seed [32]byte) (*Committee, error) {
	return newCommittee(keys, seed, r.decode)
}

func (r *Keyring) decode(enc []byte) (*bls12381.G2, error) {
	if len(enc) == KeySize {
		r.mu.Lock()
		k := r.keys[[KeySize]byte(enc)]
		r.mu.Unlock()
		if k != nil {
			return k, nil
		}
	}
	k, err := decodeKey(enc)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add([KeySize]byte(enc), k)
	return k, nil
}

func (r *Keyring) add(enc [KeySize]byte, k *bls12381.G2) {
	if r.keys[enc] != nil {
		return // another goroutine decoded it meanwhile
	}
	r.keys[enc] = k
	if len(r.ring) < r.most {
		r.ring = append(r.ring, enc)
		return
	}
	delete(r.keys, r.ring[r.next])
	r.ring[r.next] = enc
	r.next = (r.next + 1) % r.most
}
