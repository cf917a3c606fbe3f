package vdf

import (
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"sync"
)

// Domains of the hashes in this package.
const (
	domainDiscriminant = "shardkit/vdf/discriminant/1"
	domainInput        = "shardkit/vdf/input/1"
	domainChallenge    = "shardkit/vdf/challenge/1"
	domainJournal      = "shardkit/vdf/journal/1"
)

// challengeBits is the size of the Fiat–Shamir prime: 2λ for λ = 128.
const challengeBits = 256

// smallPrimes returns the odd primes below 2^16, with which candidates are
// sieved.
var smallPrimes = sync.OnceValue(func() []uint32 {
	const limit = 1 << 16
	composite := make([]bool, limit)
	var primes []uint32
	for i := int64(3); i < limit; i += 2 {
		if composite[i] {
			continue
		}
		primes = append(primes, uint32(i))
		for j := i * i; j < limit; j += 2 * i {
			composite[j] = true
		}
	}
	return primes
})

// expand fills size bytes with SHA-256(domain, part lengths and parts, try, block).
func expand(size int, domain string, try uint32, parts ...[]byte) []byte {
	h := sha256.New()
	h.Write([]byte(domain))
	h.Write([]byte{0})
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write(p)
	}
	seed := h.Sum(nil)
	var out []byte
	for block := uint32(0); len(out) < size; block++ {
		in := binary.BigEndian.AppendUint32(seed[:len(seed):len(seed)], try)
		d := sha256.Sum256(binary.BigEndian.AppendUint32(in, block))
		out = append(out, d[:]...)
	}
	return out[:size]
}

// hashToPrime returns the first prime p of exactly bits bits (a multiple of
// 8) with p = residue mod modulus (a power of two, residue odd) and ok(p), at
// or above a number that is hashed from the parts. ok may be nil.
//
// A prime is hit with a probability in proportion to the gap below it. Gaps
// at this size are below 2^16, so nobody gains more than some 16 bits over a
// uniform choice, of 256 and more.
func hashToPrime(bits int, modulus, residue uint64, ok func(*big.Int) bool, domain string, parts ...[]byte) *big.Int {
	for try := uint32(0); ; try++ {
		n := new(big.Int).SetBytes(expand(bits/8, domain, try, parts...))
		n.SetBit(n, bits-1, 1)
		for i := 0; modulus>>(i+1) > 0; i++ {
			n.SetBit(n, i, uint(residue>>i)&1)
		}
		if p := searchPrime(n, modulus, bits*16, ok); p != nil && p.BitLen() == bits {
			return p
		}
	}
}

// searchPrime returns the first prime among n, n+step, … of count candidates
// for which ok holds, or nil.
func searchPrime(n *big.Int, step uint64, count int, ok func(*big.Int) bool) *big.Int {
	composite := sieve(n, step, count)
	p, s := new(big.Int), new(big.Int)
	for i := 0; i < count; i++ {
		if composite[i] {
			continue
		}
		p.Add(n, s.SetUint64(uint64(i)*step))
		if ok != nil && !ok(p) {
			continue
		}
		if isPrime(p) {
			return p
		}
	}
	return nil
}

// isPrime is the Baillie–PSW test, of which no false positive is known, and
// four more rounds of Miller–Rabin. What is composite mostly fails in the first.
func isPrime(p *big.Int) bool { return p.ProbablyPrime(4) }

// sieve marks the candidates n + i*step that a small prime divides. Larger
// numbers are worth more sieving, as it costs more to test them.
func sieve(n *big.Int, step uint64, count int) []bool {
	composite := make([]bool, count)
	words := make([]uint64, (n.BitLen()+63)/64)
	setBig(words, n)
	limit := uint64(max(2048, n.BitLen()*n.BitLen()/128))
	for _, p := range smallPrimes() {
		q := uint64(p)
		if q > limit {
			break
		}
		s := step % q
		if s == 0 {
			continue
		}
		// The first i with n + i*step = 0 mod q.
		for i := (q - modWord(words, q)) % q * inverseWord(s, q) % q; i < uint64(count); i += q {
			composite[i] = true
		}
	}
	return composite
}
