package merkle_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/merkle"
)

// The eight leaves on which the Certificate Transparency log implementations
// test their trees (certificate-transparency, merkletree tests), with the
// roots of their first 1 to 8.
var (
	ctLeaves = []string{
		"", "00", "10", "2021", "3031", "40414243", "5051525354555657",
		"606162636465666768696a6b6c6d6e6f",
	}
	ctRoots = []string{
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
)

func ctHashes(t testing.TB, n int) []shardkit.Hash {
	var leaves []shardkit.Hash
	for _, s := range ctLeaves[:n] {
		data, err := hex.DecodeString(s)
		require.NoError(t, err)
		leaves = append(leaves, merkle.LeafHash(data))
	}
	return leaves
}

func numbered(n int) []shardkit.Hash {
	leaves := make([]shardkit.Hash, n)
	for i := range leaves {
		leaves[i] = merkle.LeafHash(binary.BigEndian.AppendUint64(nil, uint64(i)))
	}
	return leaves
}

// slowRoot and slowProof are the definitions of RFC 6962, section 2.1, read
// aloud.
func slowRoot(leaves []shardkit.Hash) shardkit.Hash {
	if len(leaves) < 2 {
		return merkle.Root(leaves)
	}
	k := split(len(leaves))
	return merkle.NodeHash(slowRoot(leaves[:k]), slowRoot(leaves[k:]))
}

func slowProof(leaves []shardkit.Hash, i int) []shardkit.Hash {
	if len(leaves) < 2 {
		return nil
	}
	k := split(len(leaves))
	if i < k {
		return append(slowProof(leaves[:k], i), slowRoot(leaves[k:]))
	}
	return append(slowProof(leaves[k:], i-k), slowRoot(leaves[:k]))
}

func split(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}

func TestVectorsOfCertificateTransparency(t *testing.T) {
	for n, want := range ctRoots {
		root := merkle.Root(ctHashes(t, n))
		require.Equal(t, want, hex.EncodeToString(root[:]), "%d leaves", n)
		require.Equal(t, root, merkle.NewTree(ctHashes(t, n)).Root())
	}
}

func TestLeafHashOfEveryLength(t *testing.T) {
	seen := map[shardkit.Hash]int{}
	for n := range 600 {
		h := merkle.LeafHash(make([]byte, n))
		before, dup := seen[h]
		require.False(t, dup, "lengths %d and %d", before, n)
		seen[h] = n
	}
	h := merkle.LeafHash(make([]byte, 300))
	// head -c 301 /dev/zero | sha256sum
	require.Equal(t, "1386bff17a8c6c42bc4a3e0d13b31ba158bfbcbf941a5e0b22c6bed8cc6a4a0b", hex.EncodeToString(h[:]))
}

func TestAgainstTheDefinition(t *testing.T) {
	for n := range 70 {
		leaves := numbered(n)
		before := slices.Clone(leaves)
		root := merkle.Root(leaves)
		require.Equal(t, before, leaves, "Root must not change its input")
		require.Equal(t, slowRoot(leaves), root)
		tree := merkle.NewTree(leaves)
		require.Equal(t, root, tree.Root())
		require.Equal(t, n, tree.Len())
		for i := range n {
			proof := tree.Prove(i)
			require.Equal(t, len(slowProof(leaves, i)), len(proof))
			require.True(t, slices.Equal(slowProof(leaves, i), proof))
			require.True(t, slices.Equal(merkle.Prove(leaves, i), proof))
			require.NoError(t, merkle.Verify(root, uint64(i), uint64(n), leaves[i], proof))
		}
	}
}

// TestVerifyRefuses changes one thing at a time in a good proof.
func TestVerifyRefuses(t *testing.T) {
	const n = 21
	leaves := numbered(n)
	root := merkle.Root(leaves)
	for i := range uint64(n) {
		proof := merkle.Prove(leaves, int(i))
		bad := func(what string, err error) {
			t.Helper()
			require.ErrorIs(t, err, merkle.ErrProof, "%s of leaf %d", what, i)
		}
		for j := range uint64(n + 3) {
			if j != i {
				bad("index", merkle.Verify(root, j, n, leaves[i], proof))
			}
		}
		bad("leaf", merkle.Verify(root, i, n, leaves[(i+1)%n], proof))
		bad("root", merkle.Verify(leaves[0], i, n, leaves[i], proof))
		bad("longer", merkle.Verify(root, i, n, leaves[i], append(slices.Clone(proof), root)))
		bad("shorter", merkle.Verify(root, i, n, leaves[i], proof[:len(proof)-1]))
		for k := range proof {
			changed := slices.Clone(proof)
			changed[k][31] ^= 1
			bad("hash", merkle.Verify(root, i, n, leaves[i], changed))
		}
		bad("empty tree", merkle.Verify(merkle.Root(nil), i, 0, leaves[i], nil))
	}
	// An inner node is not a leaf, although its hash is on the way.
	inner := merkle.NodeHash(leaves[0], leaves[1])
	require.Error(t, merkle.Verify(root, 0, n, merkle.LeafHash(inner[:]), merkle.Prove(leaves, 0)[1:]))
}

func TestLargestCounts(t *testing.T) {
	require.Equal(t, merkle.MaxProof, merkle.ProofLen(0, 1<<64-1))
	require.Equal(t, 0, merkle.ProofLen(5, 5))
	proof := make([]shardkit.Hash, merkle.ProofLen(1<<63, 1<<64-1))
	require.Error(t, merkle.Verify(shardkit.Hash{}, 1<<63, 1<<64-1, shardkit.Hash{}, proof))
}

func TestPanics(t *testing.T) {
	require.Panics(t, func() { merkle.Prove(nil, 0) })
	require.Panics(t, func() { merkle.Prove(numbered(3), 3) })
	require.Panics(t, func() { merkle.Prove(numbered(3), -1) })
	require.Panics(t, func() { merkle.Fold(3, 3, shardkit.Hash{}, nil) })
	require.Panics(t, func() { merkle.Fold(0, 3, shardkit.Hash{}, nil) })
}

// FuzzVerify: Verify never panics, and nothing but the tree's own proof of a
// leaf is accepted at its index.
func FuzzVerify(f *testing.F) {
	f.Add(uint64(3), uint64(7), []byte{1, 2, 3})
	f.Add(uint64(0), uint64(1), []byte{})
	f.Add(uint64(1<<40), uint64(1<<63), make([]byte, 32*50))
	f.Fuzz(func(t *testing.T, index, count uint64, raw []byte) {
		var proof []shardkit.Hash
		for ; len(raw) >= 32; raw = raw[32:] {
			proof = append(proof, shardkit.Hash(raw))
		}
		require.Error(t, merkle.Verify(shardkit.Hash{}, index, count, merkle.LeafHash(raw), proof))
		leaves := numbered(int(count % 50))
		if len(leaves) == 0 {
			return
		}
		i := index % uint64(len(leaves))
		err := merkle.Verify(merkle.Root(leaves), i, uint64(len(leaves)), leaves[i], proof)
		require.Equal(t, slices.Equal(proof, slowProof(leaves, int(i))), err == nil)
	})
}

func Example() {
	leaves := []shardkit.Hash{
		merkle.LeafHash([]byte("a")),
		merkle.LeafHash([]byte("b")),
		merkle.LeafHash([]byte("c")),
	}
	root := merkle.Root(leaves)
	proof := merkle.Prove(leaves, 2)
	fmt.Println(len(proof), merkle.Verify(root, 2, 3, leaves[2], proof))
	fmt.Println(merkle.Verify(root, 1, 3, leaves[2], proof))
	// Output:
	// 1 <nil>
	// merkle: proof does not fit: 1 hashes, want 2
}

func BenchmarkRoot(b *testing.B) {
	for _, n := range []int{16, 1024} {
		leaves := numbered(n)
		b.Run(fmt.Sprintf("leaves=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				merkle.Root(leaves)
			}
		})
	}
}

func BenchmarkLeafHash(b *testing.B) {
	for _, n := range []int{32, 255, 256, 4096} {
		data := make([]byte, n)
		b.Run(fmt.Sprintf("bytes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for b.Loop() {
				merkle.LeafHash(data)
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	leaves := numbered(1024)
	root, proof := merkle.Root(leaves), merkle.Prove(leaves, 700)
	b.ReportAllocs()
	for b.Loop() {
		if err := merkle.Verify(root, 700, 1024, leaves[700], proof); err != nil {
			b.Fatal(err)
		}
	}
}
