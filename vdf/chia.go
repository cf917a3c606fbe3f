package vdf

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"

	"github.com/shardkit/shardkit/internal/wire"
)

// Chia verifies and makes proofs of time of the Chia network. Its challenge
// binds neither D nor T, so a statement must come with both from a place that
// is trusted; for a protocol of one's own use Params.
type Chia struct {
	bits int
	d    *big.Int
}

// MaxChiaBits bounds Chia's discriminants, which have 1024 bits on its network.
const MaxChiaBits = 1024

const (
	chiaB       = 33  // bytes of the challenge prime
	maxSegments = 64  // of an n-Wesolowski proof; the network's have up to 63
	chiaPrime   = 264 // bits of the challenge prime
	chiaHeader  = 2   // bytes of a form before its numbers
	flagB       = 1   // b < 0
	flagT       = 2   // t < 0
	flagOne     = 4   // the identity
	flagGen     = 8   // (2, 1, …)
)

// NewChia derives the discriminant from a challenge.
func NewChia(challenge []byte, bits int) (*Chia, error) {
	if bits < MinBits || bits > MaxChiaBits || bits%64 != 0 || len(challenge) == 0 {
		return nil, fmt.Errorf("vdf: %w: %d bits from a challenge of %d bytes", ErrParams, bits, len(challenge))
	}
	p := chiaHashPrime(challenge, bits, 0, 1, 2, bits-1)
	return &Chia{bits, p.Neg(p)}, nil
}

// chiaHashPrime returns the first prime among the strings of SHA-256 hashes of
// a counter that starts above seed, with some bits set.
func chiaHashPrime(seed []byte, size int, set ...int) *big.Int {
	sprout := bytes.Clone(seed)
	p := new(big.Int)
	blob := make([]byte, 0, size/8+sha256.Size)
	for {
		for blob = blob[:0]; len(blob) < size/8; {
			for i := len(sprout) - 1; i >= 0; i-- {
				if sprout[i]++; sprout[i] != 0 {
					break
				}
			}
			h := sha256.Sum256(sprout)
			blob = append(blob, h[:]...)
		}
		p.SetBytes(blob[:size/8])
		for _, b := range set {
			p.SetBit(p, b, 1)
		}
		if isPrime(p) {
			return p
		}
	}
}

// Discriminant returns D, a negative number.
func (c *Chia) Discriminant() *big.Int { return new(big.Int).Set(c.d) }

// FormSize returns the length of an encoded form.
func (c *Chia) FormSize() int { return (c.bits+31)/32*3 + 4 }

// Generator returns the encoding of (2, 1, …), where a chain of proofs starts.
func (c *Chia) Generator() []byte {
	b := make([]byte, c.FormSize())
	b[0] = flagGen
	return b
}

// Prove evaluates t squarings of x and returns y and the 1-Wesolowski proof.
func (c *Chia) Prove(ctx context.Context, x []byte, t uint64, o Options) (proof []byte, err error) {
	if t == 0 || t > MaxT {
		return nil, fmt.Errorf("vdf: %w: %d squarings", ErrParams, t)
	}
	start, err := c.parse(x)
	if err != nil {
		return nil, fmt.Errorf("vdf: x: %w", err)
	}
	label := expand(32, domainJournal+"/chia", 0, new(big.Int).Neg(c.d).Bytes(), wire.AppendU64(nil, t), x)
	y, pi, err := evaluate(ctx, c.d, start, t, label, o, func(y form) *big.Int { return c.challenge(start, y) })
	if err != nil {
		return nil, err
	}
	return append(c.encode(y), c.encode(pi)...), nil
}

// Verify checks a proof that t squarings lead from x to the y with which the
// proof begins. segments is the network's witness type: 0 for a plain proof,
// else the number of intermediate results that follow it.
func (c *Chia) Verify(x []byte, t uint64, segments int, proof []byte) error {
	if t == 0 || t > MaxT {
		return fmt.Errorf("vdf: %w: %d squarings", ErrParams, t)
	}
	size := c.FormSize()
	segment := 8 + chiaB + size
	if segments < 0 || segments > maxSegments || len(proof) != 2*size+segments*segment {
		return fmt.Errorf("vdf: %w: proof of %d bytes with %d segments", ErrEncoding, len(proof), segments)
	}
	at, err := c.parse(x)
	if err != nil {
		return fmt.Errorf("vdf: x: %w", err)
	}
	y, err := c.parse(proof[:size])
	if err != nil {
		return fmt.Errorf("vdf: y: %w", err)
	}
	for end := len(proof); end > 2*size; end -= segment {
		if at, t, err = c.segment(at, t, proof[end-segment:end]); err != nil {
			return err
		}
	}
	pi, err := c.parse(proof[size : 2*size])
	if err != nil {
		return fmt.Errorf("vdf: proof: %w", err)
	}
	b := c.challenge(at, y)
	if !holds(c.d, at, y, pi, b, remainder(t, b)) {
		return fmt.Errorf("vdf: %w", ErrProof)
	}
	return nil
}

// segment checks one intermediate result and returns it, with what is left of
// t. The result itself is not in the proof: it follows from pi and B, and B
// must be its challenge.
func (c *Chia) segment(x form, t uint64, seg []byte) (y form, rest uint64, err error) {
	n := binary.BigEndian.Uint64(seg)
	if n == 0 || n >= t {
		return y, 0, fmt.Errorf("vdf: %w: segment of %d squarings of %d", ErrEncoding, n, t)
	}
	b := new(big.Int).SetBytes(seg[8 : 8+chiaB])
	if b.BitLen() != chiaPrime {
		return y, 0, fmt.Errorf("vdf: %w: challenge of %d bits", ErrEncoding, b.BitLen())
	}
	pi, err := c.parse(seg[8+chiaB:])
	if err != nil {
		return y, 0, fmt.Errorf("vdf: segment: %w", err)
	}
	y = proven(c.d, x, pi, b, remainder(n, b))
	if c.challenge(x, y).Cmp(b) != 0 {
		return y, 0, fmt.Errorf("vdf: segment: %w", ErrProof)
	}
	return y, t - n, nil
}

func (c *Chia) challenge(x, y form) *big.Int {
	return chiaHashPrime(append(c.encode(x), c.encode(y)...), chiaPrime, 0, chiaPrime-1)
}

// chiaForm is a compressed form. Let t be the cofactor of b when Euclid's
// algorithm on (a, |b|) gets below √a: t²D = t²b² mod a is the square of a number
// below √a, so b can be had back from a and t. With g = gcd(a, t) that gives b
// modulo a/g only, and b0 is the rest.
type chiaForm struct {
	a, t, g, b0 *big.Int
	neg         bool // b < 0
}

// compress takes a form that is neither the identity nor the generator.
func compress(f form) chiaForm {
	b := new(big.Int).Abs(f.b)
	root := new(big.Int).Sqrt(f.a)
	r0, r1 := new(big.Int).Set(f.a), new(big.Int).Set(b)
	t0, t1 := new(big.Int), big.NewInt(1)
	q, r := new(big.Int), new(big.Int)
	for r1.Cmp(root) > 0 {
		q.QuoRem(r0, r1, r)
		r0, r1, r = r1, r, r0
		t0.Sub(t0, q.Mul(q, t1))
		t0, t1 = t1, t0
	}
	c := chiaForm{t: t1, neg: f.b.Sign() < 0}
	c.g = new(big.Int).GCD(nil, nil, f.a, new(big.Int).Abs(t1))
	c.a = new(big.Int).Quo(f.a, c.g)
	c.t.Quo(c.t, c.g)
	c.b0 = new(big.Int)
	if c.g.Cmp(bigOne) > 0 {
		c.b0.Quo(b, c.a)
	}
	return c
}

// expand undoes compress, as far as there is anything to undo it to.
func (c *chiaForm) expand(d *big.Int) (form, error) {
	fail := fmt.Errorf("%w: form", ErrEncoding)
	if c.a.Sign() <= 0 || c.g.Sign() <= 0 || c.t.Sign() == 0 {
		return form{}, fail
	}
	t := new(big.Int).Mod(c.t, c.a)
	inv := new(big.Int).ModInverse(t, c.a)
	if inv == nil {
		return form{}, fail
	}
	sq := t.Mul(t, t)
	sq.Mod(sq.Mul(sq.Mod(sq, c.a), new(big.Int).Mod(d, c.a)), c.a)
	root := new(big.Int).Sqrt(sq)
	if new(big.Int).Mul(root, root).Cmp(sq) != 0 {
		return form{}, fail
	}
	b := root.Mod(root.Mul(root, inv), c.a)
	b.Add(b, new(big.Int).Mul(c.b0, c.a))
	if c.neg {
		b.Neg(b)
	}
	return checkedForm(d, new(big.Int).Mul(c.a, c.g), b)
}

// encode encodes a form: flags, the length of g less one, then a/g, t/g, g and
// b0, little-endian.
func (c *Chia) encode(f form) []byte {
	out := make([]byte, c.FormSize())
	if f.b.Cmp(bigOne) == 0 && f.a.IsInt64() && f.a.Int64() <= 2 {
		out[0] = flagOne << (f.a.Int64() - 1)
		return out
	}
	z := compress(f)
	if z.neg {
		out[0] |= flagB
	}
	if z.t.Sign() < 0 {
		out[0] |= flagT
	}
	g := (z.g.BitLen()+7)/8 - 1
	out[1] = byte(g)
	p := out[chiaHeader:]
	for _, f := range c.fields(g, &z) {
		putLittle(p[:f.size], f.value)
		p = p[f.size:]
	}
	return out
}

// chiaField is a number of an encoded form and its length.
type chiaField struct {
	value *big.Int
	size  int
}

func (c *Chia) fields(g int, z *chiaForm) [4]chiaField {
	w := (c.bits + 31) / 32
	return [4]chiaField{{z.a, 2*w - g}, {z.t, w - g}, {z.g, g + 1}, {z.b0, g + 1}}
}

// parse decodes a form. It is strict: of the many strings that would do, only
// what encode gives is taken.
func (c *Chia) parse(b []byte) (form, error) {
	if len(b) != c.FormSize() {
		return form{}, fmt.Errorf("%w: form of %d bytes, want %d", ErrEncoding, len(b), c.FormSize())
	}
	f, err := c.parseLax(b)
	if err != nil {
		return form{}, err
	}
	if !bytes.Equal(c.encode(f), b) {
		return form{}, fmt.Errorf("%w: form is not canonical", ErrEncoding)
	}
	return f, nil
}

func (c *Chia) parseLax(b []byte) (form, error) {
	switch b[0] {
	case flagOne:
		return principal(c.d), nil
	case flagGen:
		return fromAB(c.d, big.NewInt(2), big.NewInt(1)), nil
	}
	g := int(b[1])
	if b[0] > flagB|flagT || g >= (c.bits+31)/32 {
		return form{}, fmt.Errorf("%w: header of a form", ErrEncoding)
	}
	z := chiaForm{a: new(big.Int), t: new(big.Int), g: new(big.Int), b0: new(big.Int), neg: b[0]&flagB != 0}
	p := b[chiaHeader:]
	for _, f := range c.fields(g, &z) {
		getLittle(f.value, p[:f.size])
		p = p[f.size:]
	}
	if b[0]&flagT != 0 {
		z.t.Neg(z.t)
	}
	return z.expand(c.d)
}

// putLittle writes |v|, little-endian.
func putLittle(b []byte, v *big.Int) {
	new(big.Int).Abs(v).FillBytes(b)
	reverse(b)
}

// getLittle reads a little-endian number.
func getLittle(v *big.Int, b []byte) {
	c := bytes.Clone(b)
	reverse(c)
	v.SetBytes(c)
}

func reverse(b []byte) {
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
}
