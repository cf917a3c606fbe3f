package ledger_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/ledger"
)

// TestViewOfFirstVersion: a chain's genesis is version 0, as the empty state
// is; a view of version 0 is the genesis.
func TestViewOfFirstVersion(t *testing.T) {
	s, err := ledger.OpenState(ledger.NewMemStore(), ledger.StateConfig{Undo: 4})
	require.NoError(t, err)
	st := s.Begin()
	require.NoError(t, st.Set([]byte("genesis"), []byte("value")))
	require.NoError(t, s.Commit(st, 0, nil))
	root := s.Root()
	st = s.Begin()
	require.NoError(t, st.Set([]byte("next"), []byte("value")))
	require.NoError(t, s.Commit(st, 1, nil))
	v, err := s.View(0)
	require.NoError(t, err)
	defer v.Close()
	require.Equal(t, root, v.Root())
	_, ok, err := v.Get([]byte("genesis"))
	require.NoError(t, err)
	require.True(t, ok)
}
