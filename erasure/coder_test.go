package erasure_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/erasure"
	"github.com/shardkit/shardkit/internal/merkle"
)

// body returns n bytes that look random and are the same every time.
func body(n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = rng.Read(b) // never fails
	return b
}

// shapes are one or two of each codec.
var shapes = [][2]int{{1, 1}, {1, 4}, {2, 4}, {3, 3}, {8, 22}, {9, 25}, {34, 100}, {84, 250}, {134, 400}}

func encode(t testing.TB, k, n int, b []byte) (*erasure.Coder, *erasure.Coded) {
	coder, err := erasure.NewCoder(k, n)
	require.NoError(t, err)
	coded, err := coder.Encode(b)
	require.NoError(t, err)
	return coder, coded
}

func TestAnyKChunksRebuild(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, s := range shapes {
		k, n := s[0], s[1]
		for _, length := range []int{1, k, k + 1, 1000, 65_537} {
			want := body(length)
			coder, coded := encode(t, k, n, want)
			require.Equal(t, want, coded.Body)
			for range 4 {
				var chunks []erasure.Chunk
				for _, i := range rng.Perm(n)[:k] {
					c := coded.Chunk(i)
					require.NoError(t, coded.Ref.Verify(&c))
					chunks = append(chunks, c)
				}
				got, err := coder.Rebuild(coded.Ref, chunks)
				require.NoError(t, err, "%d of %d, %d bytes", k, n, length)
				require.Equal(t, want, got.Body)
				require.Equal(t, coded.Ref, got.Ref)
				require.Equal(t, coded.Chunk(n-1), got.Chunk(n-1))

				_, err = coder.Rebuild(coded.Ref, append(chunks[1:], chunks[1:]...))
				require.ErrorIs(t, err, erasure.ErrFew)
			}
		}
	}
}

// TestManyPatterns rebuilds from many sets of chunks with one coder, in which
// no set may leave anything behind that spoils the next.
func TestManyPatterns(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for k := 1; k <= 40; k++ {
		for _, n := range []int{k + 2, 2 * k, 3 * k} {
			coder, coded := encode(t, k, n, body(500))
			for range 20 {
				var chunks []erasure.Chunk
				for _, i := range rng.Perm(n)[:k+rng.IntN(n-k+1)] {
					chunks = append(chunks, coded.Chunk(i))
				}
				_, err := coder.Rebuild(coded.Ref, chunks)
				require.NoError(t, err, "%d of %d from %d", k, n, len(chunks))
			}
		}
	}
}

// TestGoldenRoots pins the encodings: another version of the code library that
// gave other chunks would split a network. The first two were computed apart
// (SHA-256; the matrix code with polynomial 0x11d and parity rows 3 2 and 2 3),
// the others are what github.com/klauspost/reedsolomon v1.14.2 gives.
func TestGoldenRoots(t *testing.T) {
	want := bytes.Repeat([]byte("shardkit"), 250)
	for s, root := range map[[2]int]string{
		{1, 1}:     "23a2363fca644fd1",
		{2, 4}:     "a7ad0467e759e7c9",
		{8, 22}:    "9927dff18b41e278",
		{34, 100}:  "dfd513bd6a258f21",
		{134, 400}: "2fd066cbd9ef497a",
	} {
		_, coded := encode(t, s[0], s[1], want)
		require.Equal(t, root, hex.EncodeToString(coded.Ref.Root[:8]), "%d of %d", s[0], s[1])
	}
}

// TestSplitGivesTheSame: a long body is encoded by several goroutines.
func TestSplitGivesTheSame(t *testing.T) {
	for _, s := range [][2]int{{2, 4}, {7, 20}, {34, 100}, {134, 400}} {
		for _, length := range []int{1 << 20, 3<<20 + 12345} {
			want := body(length)
			coder, many := encode(t, s[0], s[1], want)
			procs := runtime.GOMAXPROCS(1)
			one, err := coder.Encode(want)
			runtime.GOMAXPROCS(procs)
			require.NoError(t, err)
			require.Equal(t, one.Ref, many.Ref)
			var chunks []erasure.Chunk
			for i := s[1] - s[0]; i < s[1]; i++ {
				chunks = append(chunks, many.Chunk(i))
			}
			got, err := coder.Rebuild(many.Ref, chunks)
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got.Body))
		}
	}
}

// forge returns a reference and chunks under one good root that are not the
// encoding of any body: change alters the chunks before they are hashed.
func forge(t testing.TB, k, n int, b []byte, change func(chunks [][]byte)) (erasure.Ref, []erasure.Chunk) {
	_, coded := encode(t, k, n, b)
	var data [][]byte
	for i := range n {
		data = append(data, bytes.Clone(coded.Chunk(i).Data))
	}
	change(data)
	leaves := make([]shardkit.Hash, n)
	for i := range data {
		leaves[i] = merkle.LeafHash(data[i])
	}
	ref := coded.Ref
	ref.Root = merkle.Root(leaves)
	chunks := make([]erasure.Chunk, n)
	for i := range chunks {
		chunks[i] = erasure.Chunk{Index: i, Data: data[i], Proof: merkle.Prove(leaves, i)}
		require.NoError(t, ref.Verify(&chunks[i]))
	}
	return ref, chunks
}

// TestGarbageIsJudgedAlike: whichever chunks a node happens to get.
func TestGarbageIsJudgedAlike(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, s := range shapes[2:] {
		k, n := s[0], s[1]
		for what, change := range map[string]func([][]byte){
			"a parity chunk":   func(c [][]byte) { c[n-1][0]++ },
			"a data chunk":     func(c [][]byte) { c[0][0]++ },
			"padding not zero": func(c [][]byte) { c[k-1][len(c[k-1])-1]++ },
			"all":              func(c [][]byte) { copy(c[0], c[1]); c[1][1]++ },
		} {
			if k == n && what != "padding not zero" {
				continue // without parity, every choice of chunks is a body
			}
			ref, chunks := forge(t, k, n, body(1003), change)
			coder, err := erasure.NewCoder(k, n)
			require.NoError(t, err)
			for range 5 {
				rng.Shuffle(n, func(i, j int) { chunks[i], chunks[j] = chunks[j], chunks[i] })
				_, err = coder.Rebuild(ref, chunks[:k])
				require.ErrorIs(t, err, erasure.ErrBad, "%d of %d: %s", k, n, what)
			}
			_, err = coder.Check(ref, body(1003))
			require.ErrorIs(t, err, erasure.ErrBad)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	_, coded := encode(t, 3, 7, body(1000))
	for what, change := range map[string]func(c *erasure.Chunk){
		"data":          func(c *erasure.Chunk) { c.Data = append([]byte{^c.Data[0]}, c.Data[1:]...) },
		"shorter":       func(c *erasure.Chunk) { c.Data = c.Data[1:] },
		"index":         func(c *erasure.Chunk) { c.Index++ },
		"beyond":        func(c *erasure.Chunk) { c.Index = 7 },
		"below":         func(c *erasure.Chunk) { c.Index = -1 },
		"proof":         func(c *erasure.Chunk) { c.Proof[0][0]++ },
		"no proof":      func(c *erasure.Chunk) { c.Proof = nil },
		"another chunk": func(c *erasure.Chunk) { c.Data = coded.Chunk(5).Data },
	} {
		c := coded.Chunk(2)
		change(&c)
		require.ErrorIs(t, coded.Ref.Verify(&c), erasure.ErrChunk, what)
	}
}

func TestCheck(t *testing.T) {
	coder, coded := encode(t, 2, 4, body(1000))
	got, err := coder.Check(coded.Ref, body(1000))
	require.NoError(t, err)
	require.Equal(t, coded.Ref, got.Ref)
	for _, bad := range [][]byte{nil, body(999), body(1001), make([]byte, 1000)} {
		_, err = coder.Check(coded.Ref, bad)
		require.ErrorIs(t, err, erasure.ErrBad)
	}
	other, err := erasure.NewCoder(2, 5)
	require.NoError(t, err)
	_, err = other.Check(coded.Ref, body(1000))
	require.ErrorIs(t, err, erasure.ErrBad)
	_, err = other.Rebuild(coded.Ref, nil)
	require.Error(t, err)
}

func TestCoderRefuses(t *testing.T) {
	for _, s := range [][2]int{{0, 1}, {-1, 4}, {2, 1}, {1, erasure.MaxChunks + 1}, {300, 300}} {
		_, err := erasure.NewCoder(s[0], s[1])
		require.Error(t, err, "%v", s)
	}
	coder, err := erasure.NewCoder(2, 4)
	require.NoError(t, err)
	_, err = coder.Encode(nil)
	require.Error(t, err)
	_, whole := encode(t, 1, 1, nil)
	require.Empty(t, whole.Body)
	require.Equal(t, merkle.LeafHash(nil), whole.Ref.Root)
}

// FuzzRef: one reference, one encoding.
func FuzzRef(f *testing.F) {
	for _, s := range shapes {
		_, coded := encode(f, s[0], s[1], body(500))
		enc, err := coded.Ref.AppendBinary(nil)
		require.NoError(f, err)
		f.Add(enc)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r erasure.Ref
		if r.UnmarshalBinary(data) != nil {
			return
		}
		enc, err := r.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, data, enc)
		_, err = erasure.NewCoder(r.K, r.N) // what a peer may name can be coded
		require.NoError(t, err)
	})
}

// FuzzRebuild: chunks of any bytes under a root of their own give a body that
// encodes to that root, or ErrBad.
func FuzzRebuild(f *testing.F) {
	f.Add(uint8(2), []byte("0123456789abcdefghij"), uint16(10))
	f.Add(uint8(9), make([]byte, 100), uint16(1))
	f.Fuzz(func(t *testing.T, k uint8, data []byte, length uint16) {
		n := 3*int(k) + 1
		ref := erasure.Ref{Shape: erasure.Shape{K: max(1, int(k)), N: n, Length: max(1, int(length))}}
		coder, err := erasure.NewCoder(ref.K, ref.N)
		require.NoError(t, err)
		chunks := make([]erasure.Chunk, n)
		leaves := make([]shardkit.Hash, n)
		for i := range chunks {
			c := make([]byte, ref.ChunkSize())
			data = data[copy(c, data):]
			chunks[i] = erasure.Chunk{Index: i, Data: c}
			leaves[i] = merkle.LeafHash(c)
		}
		ref.Root = merkle.Root(leaves)
		first, err1 := coder.Rebuild(ref, chunks[:ref.K])
		_, err2 := coder.Rebuild(ref, chunks[n-ref.K:])
		require.Equal(t, err1 == nil, err2 == nil, "two nodes judge alike")
		if err1 != nil {
			require.ErrorIs(t, err1, erasure.ErrBad)
			return
		}
		_, err = coder.Check(ref, first.Body)
		require.NoError(t, err)
	})
}

func ExampleCoder() {
	coder, err := erasure.NewCoder(2, 4)
	if err != nil {
		panic(err)
	}
	coded, err := coder.Encode([]byte("a body for four members"))
	if err != nil {
		panic(err)
	}
	chunks := []erasure.Chunk{coded.Chunk(1), coded.Chunk(3)}
	for i := range chunks {
		fmt.Println(coded.Ref.Verify(&chunks[i]))
	}
	back, err := coder.Rebuild(coded.Ref, chunks)
	fmt.Printf("%s %v\n", back.Body, err)
	// Output:
	// <nil>
	// <nil>
	// a body for four members <nil>
}
