package ledger_test

import (
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/ledger"
)

func testHeader() *ledger.Header {
	return &ledger.Header{
		Chain: testChain, Shard: 1, Epoch: 2, Height: 3,
		Parent: shardkit.Hash{4}, Proposer: shardkit.NodeID{5}, Time: 6,
		Body: shardkit.Hash{7}, State: shardkit.Hash{8}, Outbox: shardkit.Hash{9},
		Inbox: shardkit.Hash{10}, Committee: shardkit.Hash{11}, Late: []byte("late"),
		Hop: &ledger.Hop{Previous: shardkit.Hash{12}, NextCommittee: shardkit.Hash{13}, Beacon: shardkit.Hash{14}},
	}
}

func testBody(t testing.TB) *ledger.Body {
	return &ledger.Body{
		Items:        [][]byte{[]byte("item"), {}},
		Transactions: []ledger.Transaction{*transfer(key(1), 7, addressOf(key(2)), 100, 3), *multi(t), *call()},
	}
}

func testBlock(t testing.TB) *ledger.Block {
	body, err := testBody(t).AppendBinary(nil)
	require.NoError(t, err)
	b := &ledger.Block{Header: *testHeader(), Body: body, Certificate: []byte("certificate")}
	b.Header.Body = ledger.BodyHash(body)
	return b
}

// codec is what all encodings of the package have in common.
type codec interface {
	AppendBinary([]byte) ([]byte, error)
	UnmarshalBinary([]byte) error
}

// checkCodec checks golden bytes, round trip, and refusal of cut and longer
// input.
func checkCodec(t *testing.T, name string, v, fresh codec) []byte {
	t.Helper()
	enc, err := v.AppendBinary([]byte{1, 2})
	require.NoError(t, err)
	require.Equal(t, []byte{1, 2}, enc[:2], "appends")
	enc = enc[2:]
	golden(t, name, enc)
	require.NoError(t, fresh.UnmarshalBinary(enc))
	again, err := fresh.AppendBinary(nil)
	require.NoError(t, err)
	require.Equal(t, enc, again)
	for i := range enc {
		require.Error(t, fresh.UnmarshalBinary(enc[:i]), "cut at %d", i)
	}
	require.Error(t, fresh.UnmarshalBinary(append(enc[:len(enc):len(enc)], 0)))
	again, err = fresh.AppendBinary(nil)
	require.NoError(t, err)
	require.Equal(t, enc, again, "changed by a refused input")
	return enc
}

func TestHeaderCodec(t *testing.T) {
	h := testHeader()
	var got ledger.Header
	enc := checkCodec(t, "header", h, &got)
	require.Equal(t, h, &got)
	require.Equal(t, shardkit.Hash(sha256.Sum256(enc)), h.Hash())
	h.Hop, h.Late = nil, nil
	enc = checkCodec(t, "header-plain", h, &got)
	require.Equal(t, h, &got)
	require.Equal(t, shardkit.Hash(sha256.Sum256(enc)), h.Hash())
	h.Late = make([]byte, ledger.MaxLate+1)
	_, err := h.AppendBinary(nil)
	require.Error(t, err)
}

func TestBodyCodec(t *testing.T) {
	b := testBody(t)
	var got ledger.Body
	enc := checkCodec(t, "body", b, &got)
	require.Equal(t, ledger.BodyHash(enc), b.Hash())
	require.Equal(t, b.Items, got.Items)
	for i := range b.Transactions {
		require.Equal(t, b.Transactions[i].ID(), got.Transactions[i].ID())
	}
	checkCodec(t, "body-empty", &ledger.Body{}, &ledger.Body{})

	b.Transactions[1].Memo = make([]byte, ledger.MaxMemo+1)
	_, err := b.AppendBinary(nil)
	require.Error(t, err)
	require.Zero(t, b.Hash())
}

// TestBodyLimits: size is looked at first, numbers before anything is made.
func TestBodyLimits(t *testing.T) {
	long := make([]byte, ledger.MaxBody+1)
	_, err := ledger.DecodeBody(long)
	require.ErrorIs(t, err, wire.ErrLimit)
	require.ErrorIs(t, new(ledger.Body).UnmarshalBinary(long), wire.ErrLimit)
	_, err = (&ledger.Body{Items: make([][]byte, ledger.MaxItems+1)}).AppendBinary(nil)
	require.Error(t, err)
	for _, many := range [][]byte{{1, 'B', 0xff, 0xff, 0xff, 0xff}, {1, 'B', 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}} {
		allocated := testing.AllocsPerRun(1, func() { _, err = ledger.DecodeBody(many) })
		require.ErrorIs(t, err, wire.ErrLimit)
		require.Less(t, allocated, 20.0)
	}
}

func TestBlockCodec(t *testing.T) {
	b := testBlock(t)
	var got ledger.Block
	checkCodec(t, "block", b, &got)
	require.Equal(t, b, &got)
	require.Equal(t, b.Header.Hash(), b.Hash())
	b.Header.Body[0]++
	enc, err := b.AppendBinary(nil)
	require.NoError(t, err)
	require.Error(t, got.UnmarshalBinary(enc), "body of another header")
}

// TestDecodeBodyShares shows that decoding takes slices of its input.
func TestDecodeBodyShares(t *testing.T) {
	enc, err := testBody(t).AppendBinary(nil)
	require.NoError(t, err)
	b, err := ledger.DecodeBody(enc)
	require.NoError(t, err)
	require.Equal(t, "item", string(b.Items[0]))
	clear(enc)
	require.Equal(t, []byte{0, 0, 0, 0}, b.Items[0])
}

func fuzzCodec(f *testing.F, seed codec, fresh func() codec) {
	enc, err := seed.AppendBinary(nil)
	require.NoError(f, err)
	f.Add(enc)
	f.Fuzz(func(t *testing.T, data []byte) {
		v := fresh()
		if v.UnmarshalBinary(data) != nil {
			return
		}
		again, err := v.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, data, again)
	})
}

func FuzzHeader(f *testing.F) {
	fuzzCodec(f, testHeader(), func() codec { return new(ledger.Header) })
}

func FuzzBody(f *testing.F) {
	fuzzCodec(f, testBody(f), func() codec { return new(ledger.Body) })
}

func FuzzBlock(f *testing.F) {
	fuzzCodec(f, testBlock(f), func() codec { return new(ledger.Block) })
}
