package vdf

import (
	"context"
	"math/big"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
)

// maxPoints bounds the powers of x that are kept for the proof. At 2048 bits a
// point takes 512 bytes, so all of them 32 MiB.
const maxPoints = 1 << 16

// plan says how the proof of T squarings is made (Wesolowski 2019, section
// 4.1). With Q = floor(2^T / B) = sum of digits d(i) 2^(κ i), the proof x^Q is a
// product of powers of the points x^(2^(κ i)). Points are kept for every γ-th i
// only; the digits with i = o mod γ make one round:
//
//	x^Q = prod over o of (prod over j of x^(2^(κ γ j))^d(γ j + o))^(2^(κ o))
//
// Digits are signed, as inverses are free, and in a round the points with the
// same |d| are multiplied first. A round costs a composition a point, and 2^κ.
// The plan depends on T alone, so that a journal fits on any machine.
type plan struct {
	t     uint64
	kappa int // κ, bits of a digit
	gamma int // γ, rounds
}

// makePlan takes the digit size with the fewest compositions: n points, and 2^κ
// for the buckets of each of γ rounds, where signs halve the buckets and each
// costs two. 22 bits are enough for any delay that can be waited for.
func makePlan(t uint64) plan {
	best, p := ^uint64(0), plan{}
	for kappa := 1; kappa <= 22; kappa++ {
		n := t/uint64(kappa) + 1
		gamma := (n + maxPoints - 1) / maxPoints
		if cost := n + gamma<<kappa; cost < best {
			best, p = cost, plan{t, kappa, int(gamma)}
		}
	}
	return p
}

// step is how many squarings lie between two points.
func (p plan) step() uint64 { return uint64(p.kappa) * uint64(p.gamma) }

// digits is the number of digits that can be other than zero: above, 2^κ and
// what is left of T give less than B.
func (p plan) digits() uint64 { return p.t / uint64(p.kappa) }

// count is the number of points: those at multiples of step up to T.
func (p plan) count() uint64 { return p.t/p.step() + 1 }

// points keeps elements in one block of memory.
type points struct {
	half  int
	words []uint64
	neg   []bool
}

func newPoints(half, n int) *points {
	return &points{half: half, words: make([]uint64, 0, 4*half*n), neg: make([]bool, 0, n)}
}

func (p *points) append(x *element) {
	p.words = append(append(append(p.words, x.a...), x.b...), x.c...)
	p.neg = append(p.neg, x.neg)
}

func (p *points) len() int { return len(p.neg) }

// at makes x a view of point i. Its words are shared and must not be changed;
// its sign may. Workers read the same points at the same time.
func (p *points) at(x *element, i int) {
	w := p.words[4*p.half*i:]
	x.a, x.b, x.c = w[:p.half], w[p.half:2*p.half], w[2*p.half:4*p.half]
	x.neg = p.neg[i]
}

// prove returns x^floor(2^t / b). Its work is spread over workers.
func prove(ctx context.Context, d *big.Int, pl plan, pts *points, b *big.Int, workers int) (form, error) {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	// If there are more workers than rounds, a round is cut into parts, by |d|: so
	// no two have a bucket in common, and there is nothing to do twice but the
	// digits, which take little time.
	parts := min((workers+pl.gamma-1)/pl.gamma, 1<<(pl.kappa-1))
	// Each has its own place, so the proof is the same whoever comes first.
	results := make([]form, pl.gamma*parts)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(workers, len(results)) {
		group.Go(func() {
			w := newRound(d, pl, pts, b)
			// The buckets are the worker's own and are used again; what other
			// rounds need is shared and only read.
			for i := int(next.Add(1)) - 1; i < len(results); i = int(next.Add(1)) - 1 {
				if err := w.run(ctx, i/parts, i%parts, parts); err != nil {
					cancel(err)
					return
				}
				results[i] = w.total()
			}
		})
	}
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		return form{}, err
	}
	return assemble(d, pl, results, parts), nil
}

// assemble puts the rounds together, the last first. It is Horner's rule in the
// exponent: z is to the power 2^κ each time a lower round joins. The identity
// is left out, as it would take the slow path.
func assemble(d *big.Int, pl plan, results []form, parts int) form {
	s := newSquarer(d)
	one := principal(d)
	z, t := product{s: s, e: s.newElement()}, s.newElement()
	for o := pl.gamma - 1; o >= 0; o-- {
		for range pl.kappa {
			z.square()
		}
		for _, f := range results[o*parts : (o+1)*parts] {
			if !f.equal(one) {
				t.setForm(f)
				z.compose(t)
			}
		}
	}
	if !z.set {
		return one
	}
	return z.e.form()
}

// round is what a worker needs for a round.
type round struct {
	s       *squarer
	pl      plan
	pts     *points
	div     digitizer
	buckets []product // by |digit|
	from    int       // the part: |digit| in [from, to)
	to      int
}

func newRound(d *big.Int, pl plan, pts *points, b *big.Int) *round {
	r := &round{s: newSquarer(d), pl: pl, pts: pts, div: newDigitizer(pl, b)}
	r.buckets = make([]product, 1<<(pl.kappa-1)+1)
	return r
}

// chunk is how many digits are computed ahead.
const chunk = 512

// run fills the buckets of one part out of parts, for the digits i = o mod γ.
func (r *round) run(ctx context.Context, o, part, parts int) error {
	for i := range r.buckets {
		r.buckets[i].set = false
	}
	// The parts of 1 to top are disjoint and leave nothing out; a digit 0 needs
	// no bucket.
	top := len(r.buckets) - 1
	r.from, r.to = 1+top*part/parts, 1+top*(part+1)/parts
	n := uint64(r.pts.len())
	gamma := uint64(r.pl.gamma)
	var x element
	digits := make([]int32, 0, chunk)
	for j := uint64(0); j < n; {
		if err := ctx.Err(); err != nil {
			return err
		}
		count := min(chunk, n-j)
		digits = r.div.every(digits[:0], j*gamma+uint64(o), count)
		for k := range count {
			d := int(digits[k])
			abs := max(d, -d)
			if abs < r.from || abs >= r.to {
				continue
			}
			r.pts.at(&x, int(j+k))
			if d < 0 {
				x.invert()
			}
			// Room for a bucket is made when its first point comes: a part has
			// few of them.
			b := &r.buckets[abs]
			if b.e == nil {
				b.s, b.e = r.s, r.s.newElement()
			}
			b.compose(&x)
		}
		j += count
	}
	return nil
}

// total returns the product of bucket[d]^d, by partial products from the top:
// that of bucket[d]^(d-from+1), and of all of them to the power from-1.
func (r *round) total() form {
	run := product{s: r.s, e: r.s.newElement()}
	sum := product{s: r.s, e: r.s.newElement()}
	// run is the product of the buckets from d up, and joins sum once a turn:
	// so bucket[d] is in sum d-from+1 times.
	for d := r.to - 1; d >= r.from; d-- {
		if r.buckets[d].set {
			run.compose(r.buckets[d].e)
		}
		if run.set {
			sum.compose(run.e)
		}
	}
	if !run.set {
		return principal(r.s.d)
	}
	rest := product{s: r.s, e: r.s.newElement()}
	for i := bits.Len(uint(r.from-1)) - 1; i >= 0; i-- {
		rest.square()
		if (r.from-1)>>i&1 == 1 {
			rest.compose(run.e)
		}
	}
	if rest.set {
		sum.compose(rest.e)
	}
	return sum.e.form()
}

// digitizer computes digits of floor(2^T / B). Digits are computed where they
// are needed: to keep those of 2^T would take T bits.
type digitizer struct {
	pl   plan
	b    *big.Int
	jump *big.Int // 2^(κ(γ-2)) mod B, if γ > 1
}

func newDigitizer(pl plan, b *big.Int) digitizer {
	z := digitizer{pl: pl, b: b}
	if pl.gamma > 1 {
		e := big.NewInt(int64(pl.kappa) * int64(pl.gamma-2))
		z.jump = e.Exp(big.NewInt(2), e, b)
	}
	return z
}

// every appends the signed digits i, i+γ, … i+γ(n-1). With the digit below, a
// digit tells its carry; from there a multiplication leads to the next.
func (z *digitizer) every(dst []int32, i, n uint64) []int32 {
	if z.pl.gamma == 1 {
		return z.digits(dst, i, n)
	}
	start, kappa := len(dst), uint(z.pl.kappa)
	dst = append(dst, make([]int32, n)...)
	half := int32(1) << (kappa - 1)
	var rem *big.Int
	q := new(big.Int)
	for k := n; k > 0; k-- {
		// From the highest down: rem is 2^(T-κ(at+1)) mod B to begin with, and
		// 2^(T-κ(at-1)) after both digits. The next one is γ places down, so
		// that κ(γ-2) is missing, which jump has.
		at := i + (k-1)*uint64(z.pl.gamma)
		d := &dst[start+int(k-1)]
		// no digit below, or none here: it is at the ends only
		if at == 0 || at >= z.pl.digits() {
			*d = z.digits(nil, at, 1)[0]
			continue
		}
		if rem == nil {
			e := new(big.Int).SetUint64(z.pl.t - uint64(kappa)*(at+1))
			rem = e.Exp(big.NewInt(2), e, z.b)
		} else {
			q.QuoRem(rem.Mul(rem, z.jump), z.b, rem)
		}
		q.QuoRem(rem.Lsh(rem, kappa), z.b, rem)
		*d = int32(q.Int64())
		q.QuoRem(rem.Lsh(rem, kappa), z.b, rem)
		below := int32(q.Int64())
		// Once in 2^κ. The carry comes from further down, but rem is right for
		// the next one all the same.
		if below == half {
			*d = z.digits(nil, at, 1)[0]
			continue
		}
		if below > half {
			*d++
		}
		// the carry that this makes is for a digit of another round, which
		// finds it by itself
		if *d > half {
			*d -= 2 * half
		}
	}
	return dst
}

// digits appends the signed digits i, i+1, … i+n-1.
//
// The plain digit is d(i) = floor(2^κ (2^(T-κ(i+1)) mod B) / B): the long
// division of 2^T by B in base 2^κ, entered in the middle. It goes from high i
// to low; then the carries that make digits signed go up. The carry into i is
// 1 if the digit below is above 2^(κ-1); if it is just that, it depends on the
// one below it.
func (z *digitizer) digits(dst []int32, i, n uint64) []int32 {
	// Down to a digit that tells its carry whatever is below it.
	low, size := i, z.pl.digits()
	for low > 0 {
		low--
		if low < size && z.plain(nil, low, 1)[0] != 1<<(z.pl.kappa-1) {
			break
		}
	}
	start := len(dst)
	dst = z.plain(dst, low, i+n-low)
	carry, half := int32(0), int32(1)<<(z.pl.kappa-1)
	// A digit in and a carry are at most 2^κ; what goes out is above -2^(κ-1)
	// and at most 2^(κ-1), so a carry is 0 or 1.
	for k := start; k < len(dst); k++ {
		dst[k] += carry
		if carry = 0; dst[k] > half {
			dst[k] -= 2 * half
			carry = 1
		}
	}
	copy(dst[start:], dst[uint64(start)+i-low:])
	return dst[:uint64(start)+n]
}

// plain appends the plain digits i … i+n-1.
func (z *digitizer) plain(dst []int32, i, n uint64) []int32 {
	start := uint64(len(dst))
	for range n {
		dst = append(dst, 0)
	}
	size := z.pl.digits()
	if i >= size {
		return dst
	}
	top := min(i+n, size) - 1
	kappa := uint(z.pl.kappa)
	e := new(big.Int).SetUint64(z.pl.t - uint64(kappa)*(top+1))
	rem := e.Exp(big.NewInt(2), e, z.b)
	q := new(big.Int)
	for k := top; ; k-- {
		// rem < B, so the quotient has κ bits
		rem.Lsh(rem, kappa)
		q.QuoRem(rem, z.b, rem)
		dst[start+k-i] = int32(q.Int64())
		if k == i {
			return dst
		}
	}
}
