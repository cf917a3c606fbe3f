package chain_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/examples/chain"
)

// TestKeyFile: what was sealed comes back under the same passphrase and no
// other, and any changed byte is noticed.
func TestKeyFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "key")
	secret := [32]byte{1, 2, 3}
	require.NoError(t, chain.WriteKeyFile(name, secret, []byte("passphrase"), rand.Reader))
	require.Error(t, chain.WriteKeyFile(name, secret, []byte("passphrase"), rand.Reader), "a file is not replaced")
	got, err := chain.ReadKeyFile(name, []byte("passphrase"))
	require.NoError(t, err)
	require.Equal(t, secret, got)
	st, err := os.Stat(name)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode().Perm())
	_, err = chain.ReadKeyFile(name, []byte("Passphrase"))
	require.ErrorIs(t, err, chain.ErrKeyFile)

	whole, err := os.ReadFile(name)
	require.NoError(t, err)
	for _, i := range []int{0, 20, 24, 27, 50, len(whole) - 40, len(whole) - 1} {
		bad := append([]byte(nil), whole...)
		bad[i] ^= 1
		require.NoError(t, os.WriteFile(name, bad, 0o600))
		_, err = chain.ReadKeyFile(name, []byte("passphrase"))
		require.ErrorIs(t, err, chain.ErrKeyFile, "byte %d", i)
	}
	require.NoError(t, os.WriteFile(name, whole[:len(whole)-1], 0o600))
	_, err = chain.ReadKeyFile(name, []byte("passphrase"))
	require.ErrorIs(t, err, chain.ErrKeyFile)
}
