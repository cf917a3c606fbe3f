package vdf

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"
	"sync"

	"github.com/shardkit/shardkit/internal/wire"
)

// Harmony verifies and makes proofs in the format of harmony-one/vdf. Its
// challenge has 128 bits and binds neither D nor T, half of what a proof
// without interaction needs; for a protocol of one's own use Params.
type Harmony struct {
	bits int
	d    *big.Int
}

const (
	harmonyPrime   = 16 // bytes of the challenge prime
	harmonyModulus = 8 * 3 * 5 * 7 * 11 * 13
	harmonySieve   = 1 << 16 // candidates looked at in one go
)

// harmonyResidues lists what p can be modulo harmonyModulus: 7 modulo 8, and
// no multiple of the other factors.
var harmonyResidues = sync.OnceValue(func() []int64 {
	var r []int64
	for i := int64(7); i < harmonyModulus; i += 8 {
		if i%3 != 0 && i%5 != 0 && i%7 != 0 && i%11 != 0 && i%13 != 0 {
			r = append(r, i)
		}
	}
	return r
})

// NewHarmony derives the discriminant from a seed; the chain's has 2048 bits.
func NewHarmony(seed []byte, bits int) (*Harmony, error) {
	if bits < MinBits || bits > MaxBits || bits%64 != 0 {
		return nil, fmt.Errorf("vdf: %w: %d bits", ErrParams, bits)
	}
	var entropy []byte
	for i := uint16(0); len(entropy) < bits/8+2; i++ {
		h := sha256.Sum256(binary.BigEndian.AppendUint16(seed[:len(seed):len(seed)], i))
		entropy = append(entropy, h[:]...)
	}
	n := new(big.Int).SetBytes(entropy[:bits/8])
	n.SetBit(n, bits-1, 1)
	residues := harmonyResidues()
	choice := binary.BigEndian.Uint16(entropy[bits/8:])
	modulus := big.NewInt(harmonyModulus)
	n.Sub(n, new(big.Int).Mod(n, modulus))
	n.Add(n, big.NewInt(residues[int(choice)%len(residues)]))
	for {
		if p := searchPrime(n, harmonyModulus, harmonySieve, nil); p != nil {
			if p.BitLen() != bits {
				return nil, fmt.Errorf("vdf: %w: seed leads to a discriminant of %d bits", ErrParams, p.BitLen())
			}
			return &Harmony{bits, p.Neg(p)}, nil
		}
		n.Add(n, new(big.Int).Mul(modulus, big.NewInt(harmonySieve)))
	}
}

// Discriminant returns D, a negative number.
func (h *Harmony) Discriminant() *big.Int { return new(big.Int).Set(h.d) }

// ProofSize returns the length of a proof.
func (h *Harmony) ProofSize() int { return 4 * h.numberSize() }

// numberSize is the length of a or b: half the bits and a sign, in bytes.
func (h *Harmony) numberSize() int { return (h.bits + 16) >> 4 }

// Prove evaluates t squarings of the form (2, 1, …) and returns y and the proof.
func (h *Harmony) Prove(ctx context.Context, t uint64, o Options) (proof []byte, err error) {
	if t == 0 || t > MaxT {
		return nil, fmt.Errorf("vdf: %w: %d squarings", ErrParams, t)
	}
	label := expand(32, domainJournal+"/harmony", 0, new(big.Int).Neg(h.d).Bytes(), wire.AppendU64(nil, t))
	y, pi, err := evaluate(ctx, h.d, h.start(), t, label, o, h.challenge)
	if err != nil {
		return nil, err
	}
	return append(h.encode(y), h.encode(pi)...), nil
}

// Verify checks a proof for t squarings of the form (2, 1, …).
func (h *Harmony) Verify(t uint64, proof []byte) error {
	if t == 0 || t > MaxT {
		return fmt.Errorf("vdf: %w: %d squarings", ErrParams, t)
	}
	if len(proof) != h.ProofSize() {
		return fmt.Errorf("vdf: %w: proof of %d bytes, want %d", ErrEncoding, len(proof), h.ProofSize())
	}
	y, err := h.parse(proof[:len(proof)/2])
	if err != nil {
		return fmt.Errorf("vdf: y: %w", err)
	}
	pi, err := h.parse(proof[len(proof)/2:])
	if err != nil {
		return fmt.Errorf("vdf: proof: %w", err)
	}
	b := h.challenge(y)
	if !holds(h.d, h.start(), y, pi, b, remainder(t, b)) {
		return fmt.Errorf("vdf: %w", ErrProof)
	}
	return nil
}

func (h *Harmony) start() form { return fromAB(h.d, big.NewInt(2), big.NewInt(1)) }

// challenge is the first prime among hashes of the encoded x and y.
func (h *Harmony) challenge(y form) *big.Int {
	tail := append(h.encode(h.start()), h.encode(y)...)
	for j := uint64(0); ; j++ {
		d := sha256.Sum256(append(binary.BigEndian.AppendUint64([]byte("prime"), j), tail...))
		if p := new(big.Int).SetBytes(d[:harmonyPrime]); isPrime(p) {
			return p
		}
	}
}

// encode writes a and b in two's complement, big-endian.
func (h *Harmony) encode(f form) []byte {
	n := h.numberSize()
	out := make([]byte, 2*n)
	f.a.FillBytes(out[:n])
	b := new(big.Int).Set(f.b)
	if b.Sign() < 0 {
		b.Add(b, new(big.Int).Lsh(bigOne, uint(8*n)))
	}
	b.FillBytes(out[n:])
	return out
}

// parse decodes a reduced form of the discriminant and refuses all else.
func (h *Harmony) parse(p []byte) (form, error) {
	n := h.numberSize()
	a, b := new(big.Int).SetBytes(p[:n]), new(big.Int).SetBytes(p[n:])
	if b.Bit(8*n-1) == 1 {
		b.Sub(b, new(big.Int).Lsh(bigOne, uint(8*n)))
	}
	return checkedForm(h.d, a, b)
}
