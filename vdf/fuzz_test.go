package vdf

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// decodes checks what holds for every decoder: bytes that decode are the
// encoding of what they decode to, and that is a reduced form.
func decodes(t *testing.T, d *big.Int, b []byte, parse func([]byte) (form, error), encode func(form) []byte) {
	f, err := parse(b)
	if err != nil {
		require.ErrorIs(t, err, ErrEncoding)
		return
	}
	require.Equal(t, b, encode(f))
	g, err := checkedForm(d, f.a, f.b)
	require.NoError(t, err)
	require.Zero(t, g.c.Cmp(f.c))
}

func FuzzForm(f *testing.F) {
	p := testGroup(f, 256)
	for _, e := range edgeForms(p) {
		f.Add(appendForm(nil, e, 256))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		decodes(t, p.d, b,
			func(b []byte) (form, error) { return parseForm(p.d, 256, b) },
			func(f form) []byte { return appendForm(nil, f, 256) })
	})
}

func FuzzChia(f *testing.F) {
	c, err := NewChia([]byte("challenge"), 256)
	require.NoError(f, err)
	p := &Params{256, c.d}
	for _, e := range edgeForms(p) {
		f.Add(c.encode(e))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == c.FormSize() {
			decodes(t, c.d, b, c.parse, c.encode)
		}
		_ = c.Verify(c.Generator(), 1000, len(b)/(8+chiaB+c.FormSize()), b)
	})
}

func FuzzHarmony(f *testing.F) {
	h, err := NewHarmony([]byte("seed"), 256)
	require.NoError(f, err)
	for _, e := range edgeForms(&Params{256, h.d}) {
		f.Add(h.encode(e))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == h.ProofSize()/2 {
			decodes(t, h.d, b, h.parse, h.encode)
		}
		_ = h.Verify(1000, b)
	})
}

// All edge forms survive all encodings.
func TestEncodings(t *testing.T) {
	for _, bits := range []int{256, 512, 1024} {
		p := testGroup(t, bits)
		c, h := &Chia{bits, p.d}, &Harmony{bits, p.d}
		for _, f := range edgeForms(p) {
			for _, enc := range []struct {
				encode func(form) []byte
				parse  func([]byte) (form, error)
			}{
				{func(f form) []byte { return appendForm(nil, f, bits) }, func(b []byte) (form, error) { return parseForm(p.d, bits, b) }},
				{c.encode, c.parse},
				{h.encode, h.parse},
			} {
				g, err := enc.parse(enc.encode(f))
				require.NoError(t, err)
				require.True(t, g.equal(f))
			}
		}
	}
}

// Other forms of the same class are not a second encoding of it.
func TestUnreducedIsRefused(t *testing.T) {
	p := testGroup(t, 512)
	h, c := &Harmony{512, p.d}, &Chia{512, p.d}
	tried := 0
	for i := range 40 {
		f := p.input([]byte{byte(i)})
		for range 5 {
			f = square(p.d, f)
		}
		two := new(big.Int).Lsh(f.a, 1)
		for _, g := range []form{
			{f.a, new(big.Int).Add(f.b, two), nil},
			{f.a, new(big.Int).Sub(f.b, two), nil},
			{f.c, new(big.Int).Neg(f.b), nil},
			{new(big.Int).Neg(f.a), f.b, nil},
		} {
			_, err := checkedForm(p.d, g.a, g.b)
			require.ErrorIs(t, err, ErrEncoding)
			if g.a.BitLen() > 256 || g.b.BitLen() > 256 || g.a.Sign() < 0 {
				continue
			}
			tried++
			_, err = parseForm(p.d, 512, appendForm(nil, g, 512))
			require.ErrorIs(t, err, ErrEncoding)
			_, err = h.parse(h.encode(g))
			require.ErrorIs(t, err, ErrEncoding)
		}
	}
	require.Greater(t, tried, 40)
	minus := form{bigOne, big.NewInt(-1), nil} // the identity has b = 1
	_, err := parseForm(p.d, 512, appendForm(nil, minus, 512))
	require.ErrorIs(t, err, ErrEncoding)

	// Many cofactors lead to the same b; Chia's format means one.
	lax := 0
	for n := int64(1 << 10); n < 1<<11; n += 16 {
		f := primeForm(p.d, n)
		z := compress(f)
		for k := int64(1); k < 200; k++ {
			b := c.encode(f)
			putLittle(b[chiaHeader+2*16:chiaHeader+3*16], big.NewInt(k))
			g, err := c.parseLax(b)
			if err != nil || z.t.CmpAbs(big.NewInt(k)) == 0 {
				continue
			}
			lax++
			if !bytes.Equal(c.encode(g), b) {
				_, err = c.parse(b)
				require.ErrorIs(t, err, ErrEncoding)
			}
		}
	}
	require.Positive(t, lax)
}

// Chia's format stores b as a remainder and a multiple; a lax decoder takes
// other pairs that come to another b of the same class, or to the same one.
func TestChiaIsStrict(t *testing.T) {
	data, err := os.ReadFile("testdata/chiavdf.json")
	require.NoError(t, err)
	var file struct {
		Vectors []struct{ Challenge, X, Proof hexText }
	}
	require.NoError(t, json.Unmarshal(data, &file))
	v := file.Vectors[1]
	c, err := NewChia(v.Challenge, 1024)
	require.NoError(t, err)
	good := []byte(v.X)
	_, err = c.parse(good)
	require.NoError(t, err)
	for i := range good {
		for _, bit := range []byte{1, 2, 4, 8, 16, 32, 64, 128} {
			bad := bytes.Clone(good)
			bad[i] ^= bit
			if f, err := c.parse(bad); err == nil {
				require.Equal(t, bad, c.encode(f))
				require.True(t, i == 0 && bit == flagB, "byte %d", i) // the inverse
			}
		}
	}
	bad := bytes.Clone(good)
	bad[len(bad)-1] += 2 // b0: b grows by 2a
	_, err = c.parse(bad)
	require.ErrorIs(t, err, ErrEncoding)
}

type hexText []byte

func (h *hexText) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}
