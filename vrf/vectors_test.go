package vrf_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/vrf"
)

// hexBytes is a hex string in JSON.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

type vector struct {
	Suite, SK, PK string
	Alpha         hexBytes
	U, V          hexBytes
	Pi, Beta      hexBytes
	Example       int
}

var suites = map[string]vrf.Suite{}

func init() {
	for s := vrf.P256TAI; s <= vrf.EdwardsELL2; s++ {
		suites[s.String()] = s
	}
}

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

func TestVectors(t *testing.T) {
	for _, name := range vectorFiles(t, "rfc9381*.json") {
		var file struct{ Vectors []vector }
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &file))
		require.NotEmpty(t, file.Vectors)
		for _, v := range file.Vectors {
			checkVector(t, v)
		}
		t.Logf("%s: %d vectors", name, len(file.Vectors))
	}
}

func checkVector(t *testing.T, v vector) {
	suite, ok := suites[v.Suite]
	require.True(t, ok, v.Suite)
	seed, err := hex.DecodeString(v.SK)
	require.NoError(t, err)
	key, err := vrf.GenerateKey(suite, seed)
	require.NoError(t, err)
	require.Equal(t, v.PK, hex.EncodeToString(key.Public()))
	pi, err := key.Prove(v.Alpha)
	require.NoError(t, err)
	require.Equal(t, hex.EncodeToString(v.Pi), hex.EncodeToString(pi), "example %d", v.Example)
	beta, err := vrf.Verify(suite, key.Public(), v.Alpha, pi)
	require.NoError(t, err)
	require.Equal(t, hex.EncodeToString(v.Beta), hex.EncodeToString(beta))
	if v.U != nil { // Gamma || U || V || s
		n := suite.PublicSize()
		want := slices.Concat(pi[:n], v.U, v.V, pi[n+16:])
		got, err := key.ProveBatch(v.Alpha)
		require.NoError(t, err)
		require.Equal(t, hex.EncodeToString(want), hex.EncodeToString(got), "example %d", v.Example)
	}
	beta, err = vrf.ProofToHash(suite, pi)
	require.NoError(t, err)
	require.Equal(t, hex.EncodeToString(v.Beta), hex.EncodeToString(beta))
}
