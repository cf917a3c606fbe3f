package vdf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"

	"github.com/shardkit/shardkit/internal/wire"
)

// The ways in which an evaluation or a verification fails. Errors of this
// package wrap one of these, or the context's error.
var (
	ErrParams   = errors.New("parameters out of range")
	ErrEncoding = errors.New("malformed bytes")
	ErrProof    = errors.New("proof does not hold")
)

// Limits of the parameters.
const (
	MinBits = 256     // demonstrations and tests; 1024 is the least that is in serious use
	MaxBits = 4096    // and a multiple of 64 in between
	MaxT    = 1 << 48 // squarings
)

// Params are the public parameters: the class group of discriminant D = -p
// for a prime p = 7 mod 8 of Bits bits. Nobody knows the order of the group,
// so there is no short cut through 2^T mod order, and no trusted setup. A
// Params is immutable and safe for concurrent use.
type Params struct {
	bits int
	d    *big.Int
}

// NewParams derives a discriminant of bits bits from a seed. Who can choose
// the seed after much trial can look for a weak group: the seed should come
// from a place nobody controls, and change (each epoch), so that work on the
// order of one group is lost with it.
//
// A discriminant takes up to a second; a Memo remembers the latest.
func NewParams(seed []byte, bits int) (*Params, error) {
	if bits < MinBits || bits > MaxBits || bits%64 != 0 {
		return nil, fmt.Errorf("vdf: %w: %d bits", ErrParams, bits)
	}
	p := hashToPrime(bits, 8, 7, nil, domainDiscriminant, wire.AppendU32(nil, uint32(bits)), seed)
	return &Params{bits, p.Neg(p)}, nil
}

// Bits returns the size of the discriminant.
func (p *Params) Bits() int { return p.bits }

// Discriminant returns D, a negative number.
func (p *Params) Discriminant() *big.Int { return new(big.Int).Set(p.d) }

// OutputSize returns the length of an output: two encoded forms, y and pi.
func (p *Params) OutputSize() int { return 2 * formSize(p.bits) }

// Options tune an evaluation. The zero value is fine.
type Options struct {
	// Progress, if not nil, is called now and then from the evaluating
	// goroutine with the squarings done so far.
	Progress func(done, total uint64)
	// Workers is how many cores the proof may use, after the evaluation, which
	// is sequential. 0: as many as there are
	Workers int
	// Journal, if not nil, is where the evaluation writes what it needs to go on
	// after a crash: small records, one by one, some tens of megabytes in all at
	// the most. An error of it ends the evaluation.
	Journal io.Writer
	// Resume is what an earlier evaluation of the same input wrote to its
	// Journal. Bytes at its end that make no whole record are ignored; it is an
	// error if the journal is of something else. The new Journal gets only what
	// comes after Resume: it can be appended to the same file, cut to
	// JournalSize.
	Resume []byte
}

// Evaluate computes y = x^(2^t) by t squarings, one after the other, and the
// proof of it. The result is the same on every machine. ctx ends it early.
func (p *Params) Evaluate(ctx context.Context, x []byte, t uint64, o Options) (output []byte, err error) {
	if t == 0 || t > MaxT {
		return nil, fmt.Errorf("vdf: %w: %d squarings", ErrParams, t)
	}
	label := expand(32, domainJournal, 0, new(big.Int).Neg(p.d).Bytes(), wire.AppendU64(nil, t), x)
	y, pi, err := evaluate(ctx, p.d, p.input(x), t, label, o, func(y form) *big.Int { return p.challenge(x, t, y) })
	if err != nil {
		return nil, err
	}
	output = appendForm(appendForm(nil, y, p.bits), pi, p.bits)
	return output, nil
}

// Verify checks that output is what Evaluate returns for x and t. It is a pure
// function; its time hardly depends on t.
func (p *Params) Verify(x []byte, t uint64, output []byte) error {
	if t == 0 || t > MaxT {
		return fmt.Errorf("vdf: %w: %d squarings", ErrParams, t)
	}
	if len(output) != p.OutputSize() {
		return fmt.Errorf("vdf: %w: output of %d bytes, want %d", ErrEncoding, len(output), p.OutputSize())
	}
	n := formSize(p.bits)
	y, err := parseForm(p.d, p.bits, output[:n])
	if err != nil {
		return fmt.Errorf("vdf: y: %w", err)
	}
	pi, err := parseForm(p.d, p.bits, output[n:])
	if err != nil {
		return fmt.Errorf("vdf: proof: %w", err)
	}
	b := p.challenge(x, t, y)
	if !holds(p.d, p.input(x), y, pi, b, remainder(t, b)) {
		return fmt.Errorf("vdf: %w", ErrProof)
	}
	return nil
}

// holds reports whether pi^b * x^r = y.
func holds(d *big.Int, x, y, pi form, b, r *big.Int) bool {
	return proven(d, x, pi, b, r).equal(y)
}

// proven returns pi^b * x^r, the y of which pi is the proof.
func proven(d *big.Int, x, pi form, b, r *big.Int) form {
	s := newSquarer(d)
	e, f := s.newElement(), s.newElement()
	e.setForm(pi)
	f.setForm(x)
	return s.powers(e, b, f, r).form()
}

// challenge is the Fiat–Shamir prime. It binds everything that the statement
// is made of: D, T, x and y.
func (p *Params) challenge(x []byte, t uint64, y form) *big.Int {
	return hashToPrime(challengeBits, 2, 1, nil, domainChallenge,
		new(big.Int).Neg(p.d).Bytes(), wire.AppendU64(nil, t), x, appendForm(nil, y, p.bits))
}

// input hashes x to a group element: the form (q, b, …) of a prime q of 256
// bits, for which D must be a square. Products of such forms are forms of
// products of such primes, so relations between inputs do not come for free.
func (p *Params) input(x []byte) form {
	q := hashToPrime(challengeBits, 4, 3, func(q *big.Int) bool { return big.Jacobi(p.d, q) == 1 },
		domainInput, new(big.Int).Neg(p.d).Bytes(), x)
	// q = 3 mod 4: the square root is a power.
	e := new(big.Int).Rsh(new(big.Int).Add(q, bigOne), 2)
	b := e.Exp(new(big.Int).Mod(p.d, q), e, q)
	if b.Bit(0) == 0 {
		b.Sub(q, b)
	}
	return fromAB(p.d, q, b).reduce()
}
