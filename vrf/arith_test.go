package vrf

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/sha512"
	"encoding/binary"
	"math/big"
	"testing"

	"github.com/cloudflare/circl/expander"
	fp "github.com/cloudflare/circl/math/fp25519"
	ed "github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"github.com/oasisprotocol/curve25519-voi/primitives/h2c"
	"github.com/stretchr/testify/require"
)

// The package's own arithmetic against that of others: math/big, crypto/elliptic
// and curve25519-voi.

// bytesOf returns 64 bytes that depend on the numbers.
func bytesOf(n ...int) []byte {
	var b []byte
	for _, x := range n {
		b = binary.BigEndian.AppendUint64(b, uint64(x))
	}
	d := sha512.Sum512(b)
	return d[:]
}

// edgeBytes are 32-byte numbers: edges of the words and of both moduli, and
// many at random.
func edgeBytes() (out [][32]byte) {
	n := elliptic.P256().Params()
	for _, m := range []*big.Int{new(big.Int), n.P, n.N, new(big.Int).Lsh(big.NewInt(1), 256)} {
		for d := int64(-2); d <= 2; d++ {
			if x := new(big.Int).Add(m, big.NewInt(d)); x.Sign() >= 0 && x.BitLen() <= 256 {
				out = append(out, [32]byte(x.FillBytes(make([]byte, 32))))
			}
		}
	}
	for i := range 60 {
		b := [32]byte(bytesOf(i))
		out = append(out, b)
		clear(b[8*(i%4) : 8*(i%4)+8]) // a word of zeros, a word of ones
		for j := range 8 {
			b[(8*(i/4%4)+j)%32] |= 255
		}
		out = append(out, b)
	}
	return out
}

func bigOf(b [32]byte) *big.Int { return new(big.Int).SetBytes(b[:]) }

func TestScalarArithmetic(t *testing.T) {
	q := elliptic.P256().Params().N
	all := edgeBytes()
	for i, x := range all {
		r := reduceScalar(&x)
		require.Zero(t, bigOf(r).Cmp(new(big.Int).Mod(bigOf(x), q)))
		require.Equal(t, bigOf(x).Sign() > 0 && bigOf(x).Cmp(q) < 0, validScalar(&x))
		for j := range all {
			a, b, c := reduceScalar(&x), reduceScalar(&all[j]), reduceScalar(&all[(i+j)%len(all)])
			want := new(big.Int).Mul(bigOf(a), bigOf(b))
			want.Mod(want.Add(want, bigOf(c)), q)
			require.Zero(t, bigOf(mulAddScalar(&a, &b, &c)).Cmp(want), "%x*%x+%x", a, b, c)
		}
	}
}

func TestNistField(t *testing.T) {
	p := elliptic.P256().Params().P
	value := func(x *nistField) *big.Int {
		v := x.value()
		return bigOf(v.bytes())
	}
	all := edgeBytes()
	for i := range all {
		x, bx := nistFromBytes(all[i][:]), new(big.Int).Mod(bigOf(all[i]), p)
		require.Zero(t, value(&x).Cmp(bx))
		require.Equal(t, -uint64(bx.Bit(0)), x.odd())
		require.Equal(t, bx.Sign() == 0, x.isZero() == ^uint64(0))
		for j := range all {
			y, by := nistFromBytes(all[j][:]), new(big.Int).Mod(bigOf(all[j]), p)
			var z nistField
			for _, op := range []struct {
				f    func(x, y *nistField)
				want *big.Int
			}{{z.mul, new(big.Int).Mul(bx, by)}, {z.add, new(big.Int).Add(bx, by)}, {z.sub, new(big.Int).Sub(bx, by)}} {
				op.f(&x, &y)
				require.Zero(t, value(&z).Cmp(op.want.Mod(op.want, p)), "%x %x", all[i], all[j])
			}
		}
		if bx.Sign() == 0 {
			continue
		}
		var z nistField
		z.pow(&x, &nistInvert)
		require.Zero(t, value(&z).Cmp(new(big.Int).ModInverse(bx, p)))
		// A root of 1/x, or of -1/x if there is none.
		ok := z.root(&nistOne, &x)
		want := new(big.Int).ModInverse(bx, p)
		require.Equal(t, big.Jacobi(bx, p) == 1, ok == ^uint64(0))
		if ok == 0 {
			want.Sub(p, want)
		}
		z.mul(&z, &z)
		require.Zero(t, value(&z).Cmp(want))
	}
}

func TestField25519(t *testing.T) {
	value := func(x fp.Elt) *big.Int {
		fp.Modp(&x)
		var b [32]byte
		for i := range x {
			b[31-i] = x[i]
		}
		return bigOf(b)
	}
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	require.Zero(t, value(fp.Elt{}).Sign())
	require.Zero(t, value(fp.P()).Sign())
	var xs []fp.Elt
	for _, b := range edgeBytes() {
		x := fp.Elt(b)
		if feEqual(&x, &feZero) == 1 {
			continue
		}
		xs = append(xs, x)
		require.EqualValues(t, value(x).Bit(0), feOdd(&x))
		var r, one fp.Elt
		isRoot := feRoot(&r, &feOne, &x)
		require.Equal(t, big.Jacobi(value(x), p) == 1, isRoot == 1)
		// r² x is 1 or, if there is no root, a root of -1.
		fp.Sqr(&one, &r)
		fp.Mul(&one, &one, &x)
		if isRoot == 0 {
			require.Zero(t, feEqual(&one, &feOne))
			fp.Sqr(&one, &one)
			fp.Neg(&one, &one)
		}
		require.Equal(t, 1, feEqual(&one, &feOne))
	}
	ys := append([]fp.Elt(nil), xs...)
	feInvert(ys)
	for i := range xs {
		fp.Mul(&ys[i], &ys[i], &xs[i])
		require.Equal(t, 1, feEqual(&ys[i], &feOne))
	}
	feInvert(nil)
}

// edPoints returns points of all kinds: of prime order, of small order and
// mixed.
func edPoints(t *testing.T, n int) (points []edPoint, voi []*ed.EdwardsPoint) {
	for i := range ed.EIGHT_TORSION {
		voi = append(voi, ed.EIGHT_TORSION[i])
	}
	for i := 0; len(voi) < n; i++ {
		k, err := scalar.NewFromBytesModOrderWide(bytesOf(i))
		require.NoError(t, err)
		var p ed.EdwardsPoint
		p.MulBasepoint(ed.ED25519_BASEPOINT_TABLE, k)
		if i%3 == 0 {
			p.Add(&p, ed.EIGHT_TORSION[i%8])
		}
		voi = append(voi, &p)
	}
	for _, v := range voi {
		p, err := edParsePoint(edEncode(v))
		require.NoError(t, err)
		points = append(points, p)
	}
	return points, voi
}

// encoding is that of any point.
func (p edPoint) encoding() []byte {
	var inv fp.Elt
	fp.Inv(&inv, &p.z)
	return p.encode(&inv)
}

func TestEdPoint(t *testing.T) {
	points, voi := edPoints(t, 24)
	for i, p := range points {
		require.Equal(t, edEncode(voi[i]), p.encoding())
		require.Equal(t, voi[i].IsSmallOrder(), p.isSmallOrder())
		d := p
		d.clearCofactor()
		require.Equal(t, edEncode(new(ed.EdwardsPoint).MulByCofactor(voi[i])), d.encoding())
		for j, q := range points {
			want := edEncode(new(ed.EdwardsPoint).Add(voi[i], voi[j]))
			a := q.affine()
			s := p
			s.addAffine(&a, false)
			require.Equal(t, want, s.encoding(), "%d %d", i, j)
			s.addAffine(&a, true)
			require.Equal(t, edEncode(voi[i]), s.encoding())
			s.add(&q)
			require.Equal(t, want, s.encoding())
			s.add(&s)
			require.Equal(t, edEncode(new(ed.EdwardsPoint).Add(
				new(ed.EdwardsPoint).Add(voi[i], voi[j]), new(ed.EdwardsPoint).Add(voi[i], voi[j]))), s.encoding())
		}
	}
	require.Equal(t, edEncode(ed.ED25519_BASEPOINT_POINT), edBasePoint.encoding())
}

// Both decoders take the same bytes.
func FuzzPoint(f *testing.F) {
	for i := range 20 {
		f.Add(bytesOf(i)[:32])
	}
	for y := range byte(20) { // y and y + p, each with both signs
		low, high := append([]byte{y}, make([]byte, 31)...), bytes.Repeat([]byte{255}, 32)
		high[0] = 0xed + y
		for _, b := range [][]byte{low, high} {
			b[31] &= 0x7f
			f.Add(bytes.Clone(b))
			b[31] |= 0x80
			f.Add(bytes.Clone(b))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := edParsePoint(b)
		_, want := edDecode(b)
		require.Equal(t, want == nil, err == nil, "%x: %v, %v", b, err, want)
		if err == nil {
			require.Equal(t, b, p.encoding())
		}
		good := edBasePoint.encoding()
		for lane := range 4 { // the same among others
			bs := [][]byte{good, good, good, good}
			bs[lane] = b
			var ps [4]edPoint
			lanes := edParsePoints([]*edPoint{&ps[0], &ps[1], &ps[2], &ps[3]}, bs...)
			require.Equal(t, err == nil, lanes == nil)
			for i := range ps {
				if lanes == nil {
					require.Equal(t, bs[i], ps[i].encoding())
				}
			}
		}
	})
}

func TestElligator(t *testing.T) {
	for i := range 200 {
		salt, msg := bytesOf(i)[:32], bytesOf(i, 1)[:i%65]
		want, err := h2c.Edwards25519_XMD_SHA512_ELL2_NU(ell2Domain, append(bytes.Clone(salt), msg...))
		require.NoError(t, err)
		require.Equal(t, edEncode(want), ell2Hash(salt, msg).encoding())
	}
	// 0 goes to the point of order 2 of the other curve, which has no image.
	p := montgomeryToEdwards(elligator2(&feZero))
	require.Equal(t, edEncode(ed.NewEdwardsPoint()), p.encoding())
	p = montgomeryToEdwards(feZero, fe2D, feZero) // in any fraction
	require.Equal(t, edEncode(ed.NewEdwardsPoint()), p.encoding())
}

// sswuReference is RFC 9380, section 6.6.2, as it stands there.
func sswuReference(u *big.Int) (x, y *big.Int) {
	curve := elliptic.P256().Params()
	p, a, z := curve.P, big.NewInt(-3), big.NewInt(-10)
	mod := func(x *big.Int) *big.Int { return x.Mod(x, p) }
	mul := func(xs ...*big.Int) *big.Int {
		r := big.NewInt(1)
		for _, x := range xs {
			mod(r.Mul(r, x))
		}
		return r
	}
	add := func(x, y *big.Int) *big.Int { return mod(new(big.Int).Add(x, y)) }
	inv0 := func(x *big.Int) *big.Int {
		if mod(x).Sign() == 0 {
			return x
		}
		return new(big.Int).ModInverse(x, p)
	}
	g := func(x *big.Int) *big.Int { return add(add(mul(x, x, x), mul(a, x)), curve.B) }
	tv1 := inv0(add(mul(z, z, u, u, u, u), mul(z, u, u)))
	x = mul(big.NewInt(-1), curve.B, inv0(mul(a)), add(big.NewInt(1), tv1))
	if tv1.Sign() == 0 {
		x = mul(curve.B, inv0(mul(z, a)))
	}
	if y = new(big.Int).ModSqrt(g(x), p); y == nil {
		x = mul(z, u, u, x)
		y = new(big.Int).ModSqrt(g(x), p)
	}
	if y.Bit(0) != u.Bit(0) {
		y.Sub(p, y)
	}
	return x, y
}

func TestSSWU(t *testing.T) {
	p := elliptic.P256().Params().P
	for _, b := range edgeBytes() {
		u := nistFromBytes(b[:])
		x, y := sswu(&u)
		wx, wy := sswuReference(new(big.Int).Mod(bigOf(b), p))
		require.Zero(t, nistBig(&x).Cmp(wx), "%x", b)
		require.Zero(t, nistBig(&y).Cmp(wy), "%x", b)
	}
	// The 48 bytes of the hash, modulo p.
	for i := range 50 {
		msg := bytesOf(i)
		e := expander.NewExpanderMD(crypto.SHA256, sswuDomain).Expand(msg, 48)
		wx, wy := sswuReference(new(big.Int).Mod(new(big.Int).SetBytes(e), p))
		require.Equal(t, point{wx, wy}.encode(), sswuHash(msg[:33], msg[33:]).encode())
	}
}

// point is a sum as crypto/elliptic has it.
func (p *nistSum) point() point {
	var zz, zzz, x, y nistField
	zz.pow(&p.zz, &nistInvert)
	zzz.pow(&p.zzz, &nistInvert)
	x.mul(&p.x, &zz)
	y.mul(&p.y, &zzz)
	return point{nistBig(&x), nistBig(&y)}
}

// Sums with all the exceptions: the same point, the opposite one, infinity.
func TestNistSum(t *testing.T) {
	var points []point
	for i := range 6 {
		p := baseMul(bytesOf(i)[:32])
		points = append(points, p, point{new(big.Int), new(big.Int)}.sub(p), p.mul([]byte{2}))
	}
	infinity := point{new(big.Int), new(big.Int)}
	for _, p := range points {
		for _, q := range points {
			for _, subtract := range []bool{false, true} {
				want := infinity.sub(infinity.sub(p).sub(q)) // p + q
				if subtract {
					want = p.sub(q)
				}
				var s, r nistSum
				a, b := p.affine(), q.affine()
				s.addAffine(&a, false)
				r.addAffine(&b, subtract)
				sum := s
				sum.addAffine(&b, subtract)
				require.Equal(t, want.encode(), sum.point().encode())
				s.add(&r)
				require.Equal(t, want.encode(), s.point().encode())
				s.add(&nistSum{})
				require.Equal(t, want.encode(), s.point().encode())
				twice := s
				twice.double()
				s.add(&s)
				require.Equal(t, twice.point().encode(), s.point().encode())
				require.Equal(t, want.mul([]byte{2}).encode(), s.point().encode())
			}
		}
	}
}

func TestRecode(t *testing.T) {
	for width := 2; width <= 14; width++ {
		for _, b := range edgeBytes() {
			k := fromBytes(&b)
			const stride = 3
			digits := make([]int16, stride*(256/width+1))
			recode(digits, stride, &k, width)
			sum := new(big.Int)
			for col := 256 / width; col >= 0; col-- {
				d := digits[col*stride]
				require.LessOrEqual(t, max(d, -d), int16(1)<<(width-1))
				sum.Add(sum.Lsh(sum, uint(width)), big.NewInt(int64(d)))
			}
			require.Zero(t, sum.Cmp(bigOf(b)), "%x in %d", b, width)
		}
	}
}

func TestMultiScalar(t *testing.T) {
	for _, n := range []int{0, 1, 2, 11, 50, 300} {
		points, voi := edPoints(t, max(n, 8))
		var affine []edAffine
		var nistPoints []nistAffine
		var ks []words
		var scalars []*scalar.Scalar
		sum := point{new(big.Int), new(big.Int)}
		for i := range n {
			k, err := scalar.NewFromBytesModOrderWide(bytesOf(i, n))
			require.NoError(t, err)
			if i%4 == 0 { // short, and once zero
				k, err = edChallenge(bytes.Repeat([]byte{byte(i)}, 16))
				require.NoError(t, err)
			}
			ks, scalars, affine = append(ks, edWords(k)), append(scalars, k), append(affine, points[i].affine())
			p := baseMul(bytesOf(i % 100)[:32]) // some twice
			nistPoints = append(nistPoints, p.affine())
			b := ks[i].bytes()
			sum = sum.sub(point{new(big.Int), new(big.Int)}.sub(p.mul(b[:])))
		}
		var want ed.EdwardsPoint
		want.MultiscalarMulVartime(scalars, voi[:n])
		require.Equal(t, edEncode(&want), multiScalar[edPoint](affine, ks).encoding())
		got := multiScalar[nistSum](nistPoints, ks)
		require.Equal(t, sum.encode(), got.point().encode())
	}
}

// A P-256 proof with U at infinity satisfies the RFC, though no honest prover
// makes it. It has no batch-compatible form, and nothing panics.
func TestProofAtInfinity(t *testing.T) {
	for _, suite := range []Suite{P256TAI, P256SSWU} {
		key, err := GenerateKey(suite, bytesOf(1)[:32])
		require.NoError(t, err)
		k := key.secret.(*nistSecret)
		h, err := nistHash(suite, k.pub, nil)
		require.NoError(t, err)
		tr := transcript{suite: suite, y: k.pub, h: h.encode(), gamma: h.mul(k.x[:]).encode(), u: []byte{0}, v: []byte{0}}
		var c, zero [32]byte
		copy(c[16:], tr.challenge())
		s := mulAddScalar(&c, &k.x, &zero)
		pi := append(append(bytes.Clone(tr.gamma), c[16:]...), s[:]...)
		_, err = Verify(suite, k.pub, nil, pi)
		require.NoError(t, err)
		_, _, err = Convert(suite, k.pub, nil, pi)
		require.ErrorIs(t, err, ErrProof)
	}
}

// Proofs that satisfy the equations, and yet are none: with a key of small
// order, and with s not reduced.
func TestBatchIsStrict(t *testing.T) {
	for _, suite := range []Suite{EdwardsTAI, EdwardsELL2} {
		items := make([]Item, leastBatch)
		for i := range items {
			key, err := GenerateKey(suite, bytesOf(i)[:32])
			require.NoError(t, err)
			pi, err := key.ProveBatch(nil)
			require.NoError(t, err)
			items[i] = Item{key.Public(), nil, pi}
		}
		_, err := VerifyBatch(suite, items)
		require.NoError(t, err)

		identity := edEncode(ed.NewEdwardsPoint())
		h, _, err := edHash(suite, identity, nil)
		require.NoError(t, err)
		k, err := scalar.NewFromBytesModOrderWide(bytesOf(1))
		require.NoError(t, err)
		var u, v ed.EdwardsPoint
		tr := transcript{suite: suite, gamma: identity, u: edEncode(u.Mul(ed.ED25519_BASEPOINT_POINT, k)), v: edEncode(v.Mul(h, k))}
		s := make([]byte, 32)
		require.NoError(t, k.ToBytes(s))
		smallKey := Item{identity, nil, tr.batchProof(s)}

		large := Item{items[2].Public, nil, bytes.Clone(items[2].Proof)}
		q := make([]byte, 32)
		require.NoError(t, scalar.BASEPOINT_ORDER.ToBytes(q))
		var carry uint16
		for i := range q {
			carry += uint16(q[i]) + uint16(large.Proof[96+i])
			large.Proof[96+i], carry = byte(carry), carry>>8
		}
		for _, bad := range []Item{smallKey, large} {
			all := append([]Item(nil), items...)
			all[2] = bad
			_, err = VerifyBatch(suite, all)
			var be *BatchError
			require.ErrorAs(t, err, &be)
			require.Equal(t, []int{2}, be.Bad)
		}
	}
}

// The sum itself takes good batches; otherwise they would all be checked one
// by one, and nothing but time would tell.
func TestBatchIsOneSum(t *testing.T) {
	for suite := P256TAI; suite <= EdwardsELL2; suite++ {
		for _, n := range []int{1, 8, 33} {
			items := make([]Item, n)
			for i := range items {
				key, err := GenerateKey(suite, bytesOf(i % 5)[:32]) // some keys, and points, several times
				require.NoError(t, err)
				pi, err := key.ProveBatch(bytesOf(i)[:i])
				require.NoError(t, err)
				items[i] = Item{key.Public(), bytesOf(i)[:i], pi}
			}
			cv, err := suite.curve()
			require.NoError(t, err)
			betas := make([][]byte, n)
			require.True(t, cv.verifyAll(suite, items, coefficients(suite, items), betas))
			for i := range items {
				beta, err := verifyBatchable(cv, suite, &items[i])
				require.NoError(t, err)
				require.Equal(t, beta, betas[i])
			}
		}
	}
}

// A proof whose two equations are wrong by opposite points: their plain sum
// holds.
func TestBatchCoefficientsDiffer(t *testing.T) {
	key, err := GenerateKey(EdwardsELL2, bytesOf(1)[:32])
	require.NoError(t, err)
	k := key.secret.(*edwardsSecret)
	tr, _, err := k.prove(nil)
	require.NoError(t, err)
	h, err := edDecode(tr.h)
	require.NoError(t, err)
	nonce, err := scalar.NewFromBytesModOrderWide(bytesOf(2))
	require.NoError(t, err)
	var u, v ed.EdwardsPoint
	u.Add(u.Mul(ed.ED25519_BASEPOINT_POINT, nonce), ed.ED25519_BASEPOINT_POINT)
	v.Sub(v.Mul(h, nonce), ed.ED25519_BASEPOINT_POINT)
	tr.u, tr.v = edEncode(&u), edEncode(&v)
	z, err := edChallenge(tr.challenge())
	require.NoError(t, err)
	s := make([]byte, 32)
	require.NoError(t, z.Add(z.Mul(z, k.x), nonce).ToBytes(s))
	items := make([]Item, leastBatch)
	for i := range items {
		items[i] = Item{k.pub, nil, tr.batchProof(s)}
	}
	_, err = VerifyBatch(EdwardsELL2, items)
	require.ErrorIs(t, err, ErrProof)
}
