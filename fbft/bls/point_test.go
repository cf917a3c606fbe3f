package bls

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/cloudflare/circl/ecc/bls12381"
	"github.com/cloudflare/circl/ecc/bls12381/ff"
	circl "github.com/cloudflare/circl/sign/bls"
	"github.com/stretchr/testify/require"
)

// small returns n times the generator of G1.
func small(n uint64) *bls12381.G1 {
	var k bls12381.Scalar
	k.SetUint64(n)
	g := new(bls12381.G1)
	g.ScalarMult(&k, bls12381.G1Generator())
	return g
}

// outside returns a point of the curve that is not in G1: the one with the
// least x ≥ from.
func outside(t testing.TB, from uint64) (compressed []byte, p affine) {
	for x := from; ; x++ {
		b := make([]byte, SignatureSize)
		new(big.Int).SetUint64(x).FillBytes(b)
		b[0] |= flagCompressed
		if p.decompress(b) == nil {
			require.Error(t, new(bls12381.G1).SetBytes(b))
			return b, p
		}
	}
}

func TestSqrtChain(t *testing.T) {
	e, base := new(big.Int), int64(0)
	for _, s := range sqrtSteps {
		if base == 0 { // the first digit starts the chain
			e.SetInt64(int64(s.digit))
			base = 1
			continue
		}
		e.Lsh(e, uint(s.squarings))
		e.Add(e, big.NewInt(int64(s.digit)))
	}
	want := new(big.Int).SetBytes(ff.FpOrder())
	want.Add(want, big.NewInt(1)).Rsh(want, 2)
	require.Equal(t, want, e)

	for i := range uint64(200) {
		var a, mine, theirs ff.Fp
		a.SetUint64(i)
		ok := sqrt(&mine, &a)
		require.Equal(t, theirs.Sqrt(&a) == 1, ok, i)
		if ok {
			require.Equal(t, 1, mine.IsEqual(&theirs), i)
		}
	}
}

func TestDecompressAgreesWithCircl(t *testing.T) {
	for i := uint64(1); i <= 200; i++ {
		g := small(i)
		var p affine
		require.NoError(t, p.decompress(g.BytesCompressed()))
		x, err := p.x.MarshalBinary()
		require.NoError(t, err)
		y, err := p.y.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, g.Bytes(), append(x, y...), i)
	}
}

// TestSumComplete adds in the ways in which incomplete formulas go wrong.
func TestSumComplete(t *testing.T) {
	point := func(g *bls12381.G1) *affine {
		p := new(affine)
		require.NoError(t, p.decompress(g.BytesCompressed()))
		return p
	}
	negative := func(p *affine) *affine {
		n := *p
		n.y.Neg()
		return &n
	}
	add := func(ps ...*affine) *sum {
		s := new(sum)
		s.reset()
		for _, p := range ps {
			s.add(p)
		}
		return s
	}
	value := func(s *sum) []byte {
		g, err := s.group()
		if err != nil {
			require.ErrorIs(t, err, errIdentity)
			return nil
		}
		return g.BytesCompressed()
	}
	p, q := point(small(5)), point(small(7))
	for name, c := range map[string]struct {
		s    *sum
		want uint64
	}{
		"nothing":               {add(), 0},
		"infinity + P":          {add(p), 5},
		"P + Q":                 {add(p, q), 12},
		"doubling":              {add(p, p), 10},
		"doubling twice":        {add(p, p, p, p), 20},
		"2P + P":                {add(p, p, p), 15},
		"P - P":                 {add(p, negative(p)), 0},
		"P - P + Q":             {add(p, negative(p), q), 7},
		"P + Q - P - Q":         {add(p, q, negative(p), negative(q)), 0},
		"doubling a projective": {add(p, q, point(small(12))), 24},
		"minus a projective":    {add(p, q, negative(point(small(12)))), 0},
	} {
		var want []byte
		if c.want > 0 {
			want = small(c.want).BytesCompressed()
		}
		require.Equal(t, want, value(c.s), name)
	}

	// Outside the subgroup: seen in the sum, gone if it cancels.
	_, o := outside(t, 0)
	_, err := add(&o).group()
	require.ErrorIs(t, err, errGroup)
	_, err = add(p, &o, q).group()
	require.ErrorIs(t, err, errGroup)
	_, err = add(&o, &o).group()
	require.ErrorIs(t, err, errGroup)
	require.Equal(t, small(12).BytesCompressed(), value(add(p, &o, q, negative(&o))))
}

func TestSumAgreesWithCircl(t *testing.T) {
	var s sum
	s.reset()
	want := new(bls12381.G1)
	want.SetIdentity()
	for i := range 100 {
		g := hash([]byte{byte(i)}, "sum")
		var p affine
		require.NoError(t, p.decompress(g.BytesCompressed()))
		s.add(&p)
		want.Add(want, g)
	}
	got, err := s.group()
	require.NoError(t, err)
	require.True(t, got.IsEqual(want))
}

// TestDouble compares with adding, in the cases in which formulas go wrong too.
func TestDouble(t *testing.T) {
	_, o := outside(t, 0)
	twelve := new(affine)
	require.NoError(t, twelve.decompress(small(12).BytesCompressed()))
	for name, p := range map[string]*affine{"in G1": twelve, "of order three": &o} {
		var doubled, added sum
		doubled.reset()
		added.reset()
		doubled.double() // at infinity
		require.Equal(t, 1, doubled.z.IsZero())
		for i := 1; i <= 8; i++ {
			doubled.add(p)
			twice := doubled
			twice.double()
			added.reset()
			for range 2 * i {
				added.add(p)
			}
			require.True(t, same(&twice, &added), "%s: %d", name, i)
		}
	}
}

// same compares points in projective coordinates.
func same(a, b *sum) bool {
	cross := func(x, z, x2, z2 *ff.Fp) bool {
		var l, r ff.Fp
		l.Mul(x, z2)
		r.Mul(x2, z)
		return l.IsEqual(&r) == 1
	}
	if a.z.IsZero() == 1 || b.z.IsZero() == 1 {
		return a.z.IsZero() == b.z.IsZero()
	}
	return cross(&a.x, &a.z, &b.x, &b.z) && cross(&a.y, &a.z, &b.y, &b.z)
}

// TestInGroup compares with circl's decoder: points of G1, points of the curve,
// and points of G1 with a part of every small order that the cofactor has.
func TestInGroup(t *testing.T) {
	agree := func(s *sum, name string, k uint64) {
		t.Helper()
		p, ok := s.affine()
		require.True(t, ok, name)
		_, err := s.group()
		require.Equal(t, err == nil, p.inGroup(), "%s %d", name, k)
	}
	for i := uint64(1); i <= 50; i++ {
		var p affine
		require.NoError(t, p.decompress(hash([]byte{byte(i)}, "in group").BytesCompressed()))
		require.True(t, p.inGroup())
		require.NoError(t, p.decompress(small(i).BytesCompressed()))
		require.True(t, p.inGroup())

		_, o := outside(t, 20*i)
		require.False(t, o.inGroup())
	}
	// The group of the curve has exponent order·3·11·10177·859267·52437899: the
	// cofactor has all but 3 squared, and both parts are of the prime's order.
	primes := []int64{3, 11, 10177, 859267, 52437899}
	for _, prime := range primes {
		e := new(big.Int).SetBytes(bls12381.Order())
		for _, other := range primes {
			if other != prime {
				e.Mul(e, big.NewInt(other))
			}
		}
		part := new(sum)
		for from := uint64(20); part.z.IsZero() == 1 && from < 40; from++ {
			_, any := outside(t, from)
			part = times(&any, e)
		}
		require.Zero(t, part.z.IsZero(), prime)
		agree(part, "of order", uint64(prime))
		var g affine
		require.NoError(t, g.decompress(small(7).BytesCompressed()))
		part.add(&g)
		agree(part, "with a part of order", uint64(prime))
	}
}

// affine returns s in affine coordinates; ok is false at infinity.
func (s *sum) affine() (p affine, ok bool) {
	if s.z.IsZero() == 1 {
		return p, false
	}
	var inverse ff.Fp
	inverse.Inv(&s.z)
	p.x.Mul(&s.x, &inverse)
	p.y.Mul(&s.y, &inverse)
	return p, true
}

// times returns k·p, bit by bit.
func times(p *affine, k *big.Int) *sum {
	s := new(sum)
	s.reset()
	for i := k.BitLen() - 1; i >= 0; i-- {
		s.double()
		if k.Bit(i) == 1 {
			s.add(p)
		}
	}
	return s
}

// TestKeyAddition covers circl's addition in G2 where sums of keys can meet
// its special cases.
func TestKeyAddition(t *testing.T) {
	g := bls12381.G2Generator()
	double, sum, minus, zero := *g, new(bls12381.G2), *g, new(bls12381.G2)
	double.Double()
	sum.Add(g, g)
	require.True(t, sum.IsEqual(&double))
	minus.Neg()
	sum.Add(g, &minus)
	require.True(t, sum.IsIdentity())
	zero.SetIdentity()
	sum.Add(zero, g)
	require.True(t, sum.IsEqual(g))
	sum.Add(zero, zero)
	require.True(t, sum.IsIdentity())
}

func TestMalformedPoints(t *testing.T) {
	good := small(3).BytesCompressed()
	edit := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	order := ff.FpOrder()
	order[0] |= flagCompressed
	offCurve := make([]byte, SignatureSize)
	offCurve[0] = flagCompressed
	for offCurve[SignatureSize-1] = 0; new(affine).decompress(offCurve) == nil; offCurve[SignatureSize-1]++ {
	}
	notInG1, _ := outside(t, 0)
	infinity := make([]byte, SignatureSize)
	infinity[0] = flagCompressed | flagInfinity

	require.NoError(t, new(affine).decompress(good))
	for name, c := range map[string]struct {
		enc  []byte
		lazy error // of decompress; nil: found by the subgroup check
	}{
		"empty":              {nil, errLength},
		"one byte short":     {good[:47], errLength},
		"trailing byte":      {append(bytes.Clone(good), 0), errLength},
		"uncompressed":       {small(3).Bytes(), errLength},
		"zeros":              {make([]byte, SignatureSize), errEncoding},
		"no compressed flag": {edit(func(b []byte) []byte { b[0] &^= flagCompressed; return b }), errEncoding},
		"infinity":           {infinity, errIdentity},
		"infinity, larger":   {edit(func(b []byte) []byte { clear(b); b[0] = flagMask; return b }), errIdentity},
		"infinity, not zero": {edit(func(b []byte) []byte { b[0] |= flagInfinity; return b }), errIdentity},
		"x is the order":     {order, errField},
		"x all ones":         {bytes.Repeat([]byte{0xbf}, SignatureSize), errField},
		"x not on the curve": {offCurve, errCurve},
		"not in G1":          {notInG1, nil},
	} {
		err := new(affine).decompress(c.enc)
		if c.lazy == nil {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, c.lazy, name)
		}
		_, err = decodeSignature(c.enc)
		require.Error(t, err, name)
	}
	flipped := edit(func(b []byte) []byte { b[0] ^= flagLarger; return b })
	require.NoError(t, new(affine).decompress(flipped), "the negative is a point as well")
}

func TestMalformedKeys(t *testing.T) {
	k, err := GenerateKey(make([]byte, MinSeed))
	require.NoError(t, err)
	good := k.Public()
	_, err = decodeKey(good)
	require.NoError(t, err)
	infinity := make([]byte, KeySize)
	infinity[0] = flagCompressed | flagInfinity
	g, err := decodeKey(good)
	require.NoError(t, err)
	var outside []byte // on the twist, not in G2
	for x := byte(1); outside == nil; x++ {
		b := make([]byte, KeySize)
		b[0], b[KeySize-1] = flagCompressed, x
		if !onTwist(b) {
			continue
		}
		outside = b
	}
	for name, enc := range map[string][]byte{
		"empty": nil, "short": good[:95], "trailing": append(bytes.Clone(good), 0),
		"uncompressed": g.Bytes(), "infinity": infinity, "no flag": make([]byte, KeySize),
		"not in G2": outside, "over the field": bytes.Repeat([]byte{0x9f}, KeySize),
	} {
		_, err := decodeKey(enc)
		require.Error(t, err, name)
	}
}

// onTwist reports whether a compressed point's x has a y with
// y² = x³ + 4(1 + i).
func onTwist(b []byte) bool {
	raw := bytes.Clone(b)
	raw[0] &^= flagMask
	var x, y2, y, c ff.Fp2
	if x.UnmarshalBinary(raw) != nil {
		return false
	}
	c[0].SetUint64(4)
	c[1].SetUint64(4)
	y2.Sqr(&x)
	y2.Mul(&y2, &x)
	y2.Add(&y2, &c)
	return y.Sqrt(&y2) == 1
}

func TestHashRFC9380(t *testing.T) {
	f, err := os.Open("testdata/rfc9380_g1.txt")
	require.NoError(t, err)
	defer f.Close()
	vectors := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if fields[0] == "#" {
			continue
		}
		msg, err := hex.DecodeString(strings.TrimPrefix(fields[0], "-"))
		require.NoError(t, err)
		p := hash(msg, "QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_")
		require.Equal(t, fields[1]+fields[2], hex.EncodeToString(p.Bytes()))
		vectors++
	}
	require.Equal(t, 5, vectors)
}

// TestGenerateKeyVector is test case 0 of EIP-2333, whose master key is the
// draft's KeyGen.
func TestGenerateKeyVector(t *testing.T) {
	seed, err := hex.DecodeString("c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e5349553" +
		"1f09a6987599d18264c1e1c92f2cf141630c7a3c4ab7c81b2f001698e7463b04")
	require.NoError(t, err)
	k, err := GenerateKey(seed)
	require.NoError(t, err)
	b, err := k.scalar.MarshalBinary()
	require.NoError(t, err)
	require.Equal(t, "6083874454709270928345386274498605044986640685124978867557563392430687146096",
		new(big.Int).SetBytes(b).String())
}

// TestSignAgreesWithCircl compares with circl's scheme, which has the same
// groups and another domain tag.
func TestSignAgreesWithCircl(t *testing.T) {
	const basic = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
	for i := range 8 {
		k, err := GenerateKey(bytes.Repeat([]byte{byte(i)}, MinSeed))
		require.NoError(t, err)
		raw, err := k.scalar.MarshalBinary()
		require.NoError(t, err)
		theirs := new(circl.PrivateKey[circl.G2])
		require.NoError(t, theirs.UnmarshalBinary(raw))
		public, err := theirs.PublicKey().MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, public, k.Public())
		msg := []byte{byte(i)}
		sig := k.sign(msg, basic)
		require.Equal(t, []byte(circl.Sign(theirs, msg)), sig)
		require.NoError(t, verifySingle(k.Public(), msg, sig, basic))
		require.True(t, circl.Verify(theirs.PublicKey(), msg, sig))
	}
}

// TestWeighted compares with scalar multiplication one by one.
func TestWeighted(t *testing.T) {
	var points []affine
	var p []bls12381.G1
	var k [][coefficientSize]byte
	want := new(bls12381.G1)
	want.SetIdentity()
	for i := range 20 {
		p = append(p, *hash([]byte{byte(i)}, "weighted"))
		var c [coefficientSize]byte
		copy(c[:], bytes.Repeat([]byte{byte(17 * i)}, i%coefficientSize+1))
		k = append(k, c)
		var s bls12381.Scalar
		s.SetBytes(c[:])
		var term bls12381.G1
		term.ScalarMult(&s, &p[i])
		want.Add(want, &term)
		require.True(t, weightedG1(p, k).IsEqual(want), i)

		var a affine
		require.NoError(t, a.decompress(p[i].BytesCompressed()))
		points = append(points, a)
		if got, err := weighted(points, k).group(); err == nil {
			require.True(t, got.IsEqual(want), i)
		} else {
			require.True(t, want.IsIdentity(), i)
		}
	}
}

func FuzzDecompress(f *testing.F) {
	f.Add(small(9).BytesCompressed())
	o, _ := outside(f, 3)
	f.Add(o)
	f.Add(make([]byte, SignatureSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p affine
		err := p.decompress(b)
		g, groupErr := decodeSignature(b)
		if groupErr == nil {
			require.NoError(t, err)
			require.Equal(t, b, g.BytesCompressed())
		}
		if err != nil {
			return
		}
		require.Equal(t, groupErr == nil, p.inGroup())
		// One point, one encoding: put it back together.
		x, _ := p.x.MarshalBinary()
		x[0] |= flagCompressed
		if p.y.IsNegative() == 1 {
			x[0] |= flagLarger
		}
		require.Equal(t, b, x)
	})
}

// TestKeyringIsBounded: the oldest keys make room.
func TestKeyringIsBounded(t *testing.T) {
	r := NewKeyring(3)
	key := func(i byte) []byte {
		k, err := GenerateKey(bytes.Repeat([]byte{i}, MinSeed))
		require.NoError(t, err)
		return k.Public()
	}
	for i := range byte(8) {
		_, err := r.decode(key(i))
		require.NoError(t, err)
		_, err = r.decode(key(i))
		require.NoError(t, err)
	}
	require.Len(t, r.keys, 3)
	require.Len(t, r.ring, 3)
	for i := byte(5); i < 8; i++ {
		require.Contains(t, r.keys, [KeySize]byte(key(i)))
	}
}

func FuzzKey(f *testing.F) {
	k, err := GenerateKey(make([]byte, MinSeed))
	require.NoError(f, err)
	f.Add(k.Public())
	f.Add(append([]byte{flagCompressed | flagInfinity}, make([]byte, KeySize-1)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, err := decodeKey(b); err == nil {
			require.Equal(t, b, g.BytesCompressed())
			require.False(t, g.IsIdentity())
		}
	})
}
