package ledger

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEdgeSignatures checks the signatures on which Ed25519 implementations
// are known to differ: each alone, together with its like, and hidden in a
// batch of others. The answer must be that of ZIP 215 every time.
func TestEdgeSignatures(t *testing.T) {
	data, err := os.ReadFile("testdata/ed25519-edge.json")
	require.NoError(t, err)
	var vectors struct {
		Speccheck, Zip215 []struct {
			Case, Message, Key, Signature string
			Good                          bool
		}
	}
	require.NoError(t, json.Unmarshal(data, &vectors))
	require.Len(t, vectors.Speccheck, 12)
	require.Len(t, vectors.Zip215, 14*14)

	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		require.NoError(t, err)
		return b
	}
	var batch, goodOnly []signature
	var want []bool
	add := func(key, message, sig string, good bool) {
		s := signature{key: unhex(key), message: unhex(message), sig: unhex(sig)}
		require.Equal(t, []bool{good}, verifyAll([]signature{s}), "alone: %s %s", key, sig)
		batch, want = append(batch, s), append(want, good)
		if good {
			goodOnly = append(goodOnly, s)
		}
	}
	for _, v := range vectors.Speccheck {
		add(v.Key, v.Message, v.Signature, v.Good)
	}
	for _, v := range vectors.Zip215 {
		add(v.Key, "5a63617368", v.Signature, true)
		add(v.Key, "", v.Signature, true)
	}
	require.Equal(t, want, verifyAll(batch))
	require.True(t, verifyTogether(goodOnly), "the batch equation holds for what passes alone")
}

// TestBadEncodings spoils every byte of a good signature and of its key, and
// gives points and scalars that are none.
func TestBadEncodings(t *testing.T) {
	data, err := os.ReadFile("testdata/tx-transfer.hex")
	require.NoError(t, err)
	enc, err := hex.DecodeString(string(data[:len(data)-1]))
	require.NoError(t, err)
	var tx Transaction
	require.NoError(t, tx.UnmarshalBinary(enc))
	good := appendSignatures(nil, 0, &tx, new([]byte))[0]
	require.True(t, verifyTogether([]signature{good}))
	bad := func(change func(s *signature)) {
		s := signature{key: append([]byte(nil), good.key...), message: good.message, sig: append([]byte(nil), good.sig...)}
		change(&s)
		require.Equal(t, []bool{false}, verifyAll([]signature{s}))
		require.Equal(t, []bool{true, false, true}, verifyAll([]signature{good, s, good}))
	}
	for i := range good.sig {
		bad(func(s *signature) { s.sig[i] ^= 1 })
	}
	for i := range good.key {
		bad(func(s *signature) { s.key[i] ^= 0x80 })
	}
	bad(func(s *signature) { copy(s.sig[32:], order(1)) })
}

// order returns the group order plus n, little-endian: a scalar must be below
// it (RFC 8032, section 5.1.7).
func order(n byte) []byte {
	l, _ := hex.DecodeString("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	l[0] += n
	return l
}
