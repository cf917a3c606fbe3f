package vdf_test

import (
	"context"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/vdf"
)

var long = flag.Bool("long", false, "reproduce all Chia proofs below 15 million squarings; takes minutes")

// vectorFiles lists the files of testdata, and those of the folder that the
// environment variable SHARDKIT_VECTORS names, which match pattern.
func vectorFiles(t *testing.T, pattern string) []string {
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	if dir := os.Getenv("SHARDKIT_VECTORS"); dir != "" {
		more, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		files = append(files, more...)
	}
	return files
}

type chiaVector struct {
	Challenge, X, Proof string
	DiscriminantBits    int `json:"discriminant_bits"`
	Iterations          uint64
	WitnessType         int `json:"witness_type"`
}

func unhex(t *testing.T, s string) []byte {
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func TestVectorsChia(t *testing.T) {
	for _, name := range vectorFiles(t, "chiavdf*.json") {
		var file struct{ Vectors []chiaVector }
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &file))
		require.NotEmpty(t, file.Vectors)
		least := uint64(1) << 63
		for _, v := range file.Vectors {
			if v.WitnessType == 0 {
				least = min(least, v.Iterations)
			}
		}
		made := 0
		for i, v := range file.Vectors {
			c, err := vdf.NewChia(unhex(t, v.Challenge), v.DiscriminantBits)
			require.NoError(t, err)
			x, proof := unhex(t, v.X), unhex(t, v.Proof)
			require.NoError(t, c.Verify(x, v.Iterations, v.WitnessType, proof), "vector %d", i)
			require.Error(t, c.Verify(x, v.Iterations+1, v.WitnessType, proof), "vector %d", i)
			if v.WitnessType > 0 { // segments of more squarings than there are
				n := binary.BigEndian.Uint64(proof[len(proof)-141:])
				require.ErrorIs(t, c.Verify(x, n, v.WitnessType, proof), vdf.ErrEncoding)
				require.ErrorIs(t, c.Verify(x, n-1, v.WitnessType, proof), vdf.ErrEncoding)
			}
			proof[len(proof)/2] ^= 1
			require.Error(t, c.Verify(x, v.Iterations, v.WitnessType, proof), "vector %d", i)
			proof[len(proof)/2] ^= 1
			if v.WitnessType == 0 && (v.Iterations == least || *long && v.Iterations < 15_000_000) {
				got, err := c.Prove(context.Background(), x, v.Iterations, vdf.Options{})
				require.NoError(t, err)
				require.Equal(t, v.Proof, hex.EncodeToString(got), "vector %d", i)
				made++
			}
		}
		t.Logf("%s: %d vectors verified, %d proofs reproduced", name, len(file.Vectors), made)
	}
}

func TestVectorsHarmony(t *testing.T) {
	for _, name := range vectorFiles(t, "harmony-vdf*.csv") {
		f, err := os.Open(name)
		require.NoError(t, err)
		rows, err := csv.NewReader(f).ReadAll()
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.Equal(t, []string{"seed", "iterations", "proof"}, rows[0])
		t.Run(filepath.Base(name), func(t *testing.T) {
			for i, row := range rows[1:] {
				t.Run(strconv.Itoa(i), func(t *testing.T) {
					t.Parallel()
					checkHarmony(t, row)
				})
			}
		})
		t.Logf("%s: %d vectors verified and reproduced", name, len(rows)-1)
	}
}

func checkHarmony(t *testing.T, row []string) {
	h, err := vdf.NewHarmony(unhex(t, row[0]), 2048)
	require.NoError(t, err)
	n, err := strconv.ParseUint(row[1], 10, 64)
	require.NoError(t, err)
	proof := unhex(t, row[2])
	require.NoError(t, h.Verify(n, proof))
	require.ErrorIs(t, h.Verify(n+1, proof), vdf.ErrProof)
	got, err := h.Prove(context.Background(), n, vdf.Options{Workers: 1})
	require.NoError(t, err)
	require.Equal(t, row[2], hex.EncodeToString(got))
}
