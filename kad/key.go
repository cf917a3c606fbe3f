package kad

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/shardkit/shardkit"
)

// key is a place in the key space: the shard's bits, then a hash of the node's
// id. The distance of two places is their XOR, read as a number.
type key [4]uint64

const keyDomain = "shardkit/kad/key/1"

// keyOf is the place of a node in a shard.
func keyOf(id shardkit.NodeID, shard shardkit.ShardID, shardBits int) key {
	var buf [len(keyDomain) + 32]byte
	copy(buf[:], keyDomain)
	copy(buf[len(keyDomain):], id[:])
	return keyFrom(sha256.Sum256(buf[:])).within(shard, shardBits)
}

// within is k moved to the same place of a shard.
func (k key) within(shard shardkit.ShardID, shardBits int) key {
	if shardBits > 0 {
		k[0] = uint64(shard)<<(64-shardBits) | k[0]<<shardBits>>shardBits
	}
	return k
}

func keyFrom(b [32]byte) (k key) {
	for i := range k {
		k[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return k
}

func (k key) append(b []byte) []byte {
	for _, w := range k {
		b = binary.BigEndian.AppendUint64(b, w)
	}
	return b
}

func (k key) xor(o key) key {
	return key{k[0] ^ o[0], k[1] ^ o[1], k[2] ^ o[2], k[3] ^ o[3]}
}

// compare is -1, 0 or 1 as k is less than, equal to or greater than o.
func (k key) compare(o key) int {
	for i := range k {
		if k[i] != o[i] {
			if k[i] < o[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

func (k key) less(o key) bool { return k.compare(o) < 0 }

// zeros is the number of leading zero bits: how many bits two places share, if
// k is their distance.
func (k key) zeros() int {
	for i, w := range k {
		if w != 0 {
			return 64*i + bits.LeadingZeros64(w)
		}
	}
	return 256
}

// far is a place that shares exactly n bits with k, n < 256; the rest is noise.
func (k key) far(n int, noise key) key {
	word, bit := n/64, uint64(1)<<(63-n%64)
	noise[word] = noise[word]&^bit | ^k[word]&bit
	for i := range k {
		keep := ^(^uint64(0) >> min(max(n-64*i, 0), 64)) // the bits of this word that are shared
		k[i] = k[i]&keep | noise[i]&^keep
	}
	return k
}

// address is what a contact's address says about who runs it.
type address struct {
	prefix   prefix
	loopback bool
}

// prefix is an IPv4 /24 or an IPv6 /64, told apart by the first byte; the zero
// value stands for all host names together.
type prefix [9]byte

// parseAddr accepts "host:port" of at most MaxAddr bytes. Names count as one
// prefix together, because anybody can have many.
func parseAddr(s string) (a address, ok bool) {
	if len(s) == 0 || len(s) > MaxAddr {
		return a, false
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return a, validName(s)
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ap.Port() == 0 || ip.IsUnspecified() || ip.IsMulticast() {
		return a, false
	}
	if ip.Is4() {
		b := ip.As4()
		a.prefix[0] = 4
		copy(a.prefix[1:], b[:3])
	} else {
		b := ip.As16()
		a.prefix[0] = 6
		copy(a.prefix[1:], b[:8])
	}
	a.loopback = ip.IsLoopback()
	return a, true
}

// validName accepts a host name with a port.
func validName(s string) bool {
	colon := -1
	for i := range len(s) {
		switch c := s[i]; {
		case c == ':':
			if colon >= 0 {
				return false
			}
			colon = i
		case colon >= 0 && (c < '0' || c > '9'):
			return false
		case colon < 0 && c != '.' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z'):
			return false
		}
	}
	return colon > 0 && colon < len(s)-1 && len(s)-colon <= 6
}

// prng is splitmix64: targets of refreshing and positions to read from. Nothing
// that an attacker must not guess depends on it.
type prng uint64

func (p *prng) next() uint64 {
	*p += 0x9e3779b97f4a7c15
	z := uint64(*p)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (p *prng) key() key { return key{p.next(), p.next(), p.next(), p.next()} }
