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
