package vdf_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/vdf"
)

func TestEvaluateVerify(t *testing.T) {
	for _, bits := range []int{256, 512, 1024} {
		p, err := vdf.NewParams([]byte("seed"), bits)
		require.NoError(t, err)
		x := []byte("input")
		for _, n := range []uint64{1, 2, 300, 1000} {
			out, err := p.Evaluate(context.Background(), x, n, vdf.Options{})
			require.NoError(t, err)
			require.NoError(t, p.Verify(x, n, out))
			require.ErrorIs(t, p.Verify(x, n+1, out), vdf.ErrProof)
			require.ErrorIs(t, p.Verify([]byte("other"), n, out), vdf.ErrProof)
			for i := range out {
				out[i] ^= 4
				require.Error(t, p.Verify(x, n, out))
				out[i] ^= 4
				if bits > 256 && i > 2 {
					break
				}
			}
		}
	}
}
