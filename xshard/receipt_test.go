package xshard_test

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/xshard"
)

// receipt returns a receipt that differs from those of other n in every field.
func receipt(dest shardkit.ShardID, n int) xshard.Receipt {
	r := xshard.Receipt{Dest: dest, Kind: uint8(n), Amount: uint64(n) * 1000, Data: bytes.Repeat([]byte{byte(n)}, n%5)}
	binary.BigEndian.PutUint64(r.ID[:], uint64(n))
	r.From[0], r.To[31] = byte(n), byte(n)
	if len(r.Data) == 0 {
		r.Data = nil
	}
	return r
}

// sample returns an outbox of shard 1 of 5 with receipts for 0, 2 and 4.
func sample(t testing.TB) *xshard.Outbox {
	out := xshard.NewOutbox(1, 5, func(dest shardkit.ShardID) uint64 { return 100 * uint64(dest) })
	for n, dest := range []shardkit.ShardID{2, 0, 2, 4, 2, 0} {
		_, err := out.Add(receipt(dest, n))
		require.NoError(t, err)
	}
	return out
}

func TestOutbox(t *testing.T) {
	out := sample(t)
	require.Equal(t, []shardkit.ShardID{0, 2, 4}, out.Dests())
	require.Equal(t, 6, out.Len())
	for dest, want := range map[shardkit.ShardID]uint64{0: 2, 2: 203, 3: 300, 4: 401} {
		require.Equal(t, want, out.Next(dest))
	}
	for _, dest := range []shardkit.ShardID{0, 2, 3, 4} {
		b := out.Batch(dest)
		require.NoError(t, xshard.VerifyBatch(out.Root(), &b))
		require.NoError(t, b.Expect(1, dest, 5))
		require.Equal(t, 100*uint64(dest), b.First)
		require.Equal(t, out.Next(dest), b.Next())
	}
	require.Empty(t, out.Batch(3).Receipts)
}

func TestOutboxRefuses(t *testing.T) {
	out := sample(t)
	root := out.Root()
	for _, r := range []xshard.Receipt{
		{Dest: 1}, {Dest: 5}, {Dest: 1<<32 - 1},
		{Dest: 2, Data: make([]byte, xshard.MaxReceiptData+1)},
	} {
		_, err := out.Add(r)
		require.Error(t, err)
	}
	require.Equal(t, root, out.Root())

	full := xshard.NewOutbox(0, 2, func(shardkit.ShardID) uint64 { return 1<<64 - 3 })
	for range 2 {
		_, err := full.Add(xshard.Receipt{Dest: 1})
		require.NoError(t, err)
	}
	_, err := full.Add(xshard.Receipt{Dest: 1})
	require.ErrorContains(t, err, "full", "sequence numbers must not wrap")

	full = xshard.NewOutbox(0, 2, func(shardkit.ShardID) uint64 { return 0 })
	for range xshard.MaxReceipts {
		_, err := full.Add(xshard.Receipt{Dest: 1})
		require.NoError(t, err)
	}
	_, err = full.Add(xshard.Receipt{Dest: 1})
	require.ErrorContains(t, err, "full")

	require.Panics(t, func() { xshard.NewOutbox(2, 2, nil) })
	require.Panics(t, func() { xshard.NewOutbox(0, xshard.MaxShards+1, nil) })
}

func TestOutboxTruncate(t *testing.T) {
	out := sample(t)
	root := out.Root()
	for n, dest := range []shardkit.ShardID{3, 2, 0} {
		_, err := out.Add(receipt(dest, 10+n))
		require.NoError(t, err)
	}
	require.NotEqual(t, root, out.Root())
	out.Truncate(6)
	require.Equal(t, root, out.Root())
	require.Equal(t, []shardkit.ShardID{0, 2, 4}, out.Dests())
	seq, err := out.Add(receipt(2, 20))
	require.NoError(t, err)
	require.EqualValues(t, 203, seq)
}

// TestVerifyBatchRefuses changes one thing at a time in a good batch.
func TestVerifyBatchRefuses(t *testing.T) {
	out := sample(t)
	root := out.Root()
	for what, change := range map[string]func(b *xshard.Batch){
		"a receipt less":      func(b *xshard.Batch) { b.Receipts = b.Receipts[:2] },
		"the first left out":  func(b *xshard.Batch) { b.First++; b.Receipts = b.Receipts[1:] },
		"a receipt more":      func(b *xshard.Batch) { b.Receipts = append(b.Receipts, b.Receipts[2]); b.Receipts[3].Seq++ },
		"another amount":      func(b *xshard.Batch) { b.Receipts[1].Amount++ },
		"another target":      func(b *xshard.Batch) { b.Receipts[1].To[5]++ },
		"another payload":     func(b *xshard.Batch) { b.Receipts[2].Data = []byte("x") },
		"order":               func(b *xshard.Batch) { b.Receipts[0], b.Receipts[1] = b.Receipts[1], b.Receipts[0] },
		"numbers shifted":     func(b *xshard.Batch) { shift(b, 1) },
		"another destination": func(b *xshard.Batch) { redirect(b, 4) },
		"another source":      func(b *xshard.Batch) { rename(b, 3) },
		"to itself":           func(b *xshard.Batch) { redirect(b, 1) },
		"a receipt elsewhere": func(b *xshard.Batch) { b.Receipts[1].Dest = 3 },
		"more shards":         func(b *xshard.Batch) { b.Leaves++ },
		"fewer shards":        func(b *xshard.Batch) { b.Leaves = 2 },
		"too many shards":     func(b *xshard.Batch) { b.Leaves = xshard.MaxShards + 1 },
		"numbers wrap":        func(b *xshard.Batch) { shift(b, -uint64(b.First)-2) },
		"proof":               func(b *xshard.Batch) { b.Proof[1][0]++ },
		"no proof":            func(b *xshard.Batch) { b.Proof = nil },
		"longer proof":        func(b *xshard.Batch) { b.Proof = append(b.Proof, b.Proof[0]) },
		"emptied":             func(b *xshard.Batch) { b.Receipts = nil },
		"too much data":       func(b *xshard.Batch) { b.Receipts[0].Data = make([]byte, xshard.MaxReceiptData+1) },
	} {
		b := out.Batch(2)
		b.Receipts = slices.Clone(b.Receipts)
		require.NoError(t, xshard.VerifyBatch(root, &b))
		change(&b)
		require.Error(t, xshard.VerifyBatch(root, &b), what)
	}
	b := out.Batch(2)
	require.ErrorIs(t, xshard.VerifyBatch(shardkit.Hash{}, &b), xshard.ErrProof)
	require.Error(t, b.Expect(2, 1, 5))
	require.Error(t, b.Expect(1, 2, 6))
}

func shift(b *xshard.Batch, by uint64) {
	b.First += by
	for i := range b.Receipts {
		b.Receipts[i].Seq += by
	}
}

func redirect(b *xshard.Batch, dest shardkit.ShardID) {
	b.Dest = dest
	for i := range b.Receipts {
		b.Receipts[i].Dest = dest
	}
}

func rename(b *xshard.Batch, source shardkit.ShardID) {
	b.Source = source
	for i := range b.Receipts {
		b.Receipts[i].Source = source
	}
}

func TestReceiptProof(t *testing.T) {
	out := sample(t)
	batch := out.Batch(2)
	for i := range batch.Receipts {
		p := batch.Prove(i)
		require.NoError(t, xshard.VerifyReceipt(out.Root(), p))
		require.ErrorIs(t, xshard.VerifyReceipt(shardkit.Hash{}, p), xshard.ErrProof)
		for what, change := range map[string]func(p *xshard.Proof){
			"amount":        func(p *xshard.Proof) { p.Receipt.Amount++ },
			"number":        func(p *xshard.Proof) { p.Receipt.Seq++ },
			"before first":  func(p *xshard.Proof) { p.Receipt.Seq = p.First - 1 },
			"first":         func(p *xshard.Proof) { p.First-- },
			"count":         func(p *xshard.Proof) { p.Count++ },
			"many":          func(p *xshard.Proof) { p.Count = xshard.MaxReceipts + 1 },
			"destination":   func(p *xshard.Proof) { p.Receipt.Dest = 4 },
			"self":          func(p *xshard.Proof) { p.Receipt.Dest = 1 },
			"shards":        func(p *xshard.Proof) { p.Leaves = 4 },
			"path":          func(p *xshard.Proof) { p.Path[0][0]++ },
			"shorter path":  func(p *xshard.Proof) { p.Path = p.Path[1:] },
			"outbox":        func(p *xshard.Proof) { p.Outbox = p.Outbox[1:] },
			"too much data": func(p *xshard.Proof) { p.Receipt.Data = make([]byte, xshard.MaxReceiptData+1) },
		} {
			bad := batch.Prove(i)
			change(bad)
			require.Error(t, xshard.VerifyReceipt(out.Root(), bad), what)
		}
	}
	require.Panics(t, func() { batch.Prove(3) })
}

func TestInbox(t *testing.T) {
	var in xshard.Inbox
	batch := func(source shardkit.ShardID, first uint64, n int) *xshard.Batch {
		return &xshard.Batch{Source: source, First: first, Receipts: make([]xshard.Receipt, n)}
	}
	empty := in.Root()
	require.NoError(t, in.Accept(batch(3, 0, 0)))
	require.Equal(t, empty, in.Root(), "an empty batch leaves no trace")
	require.NoError(t, in.Accept(batch(3, 0, 2)))
	require.NoError(t, in.Accept(batch(1, 0, 1)))
	require.NoError(t, in.Accept(batch(3, 2, 5)))
	require.EqualValues(t, 7, in.Next(3))
	require.EqualValues(t, 1, in.Next(1))
	require.EqualValues(t, 0, in.Next(2))

	root, tried := in.Root(), in.Clone()
	var seq *xshard.SequenceError
	for _, bad := range []*xshard.Batch{batch(3, 2, 5), batch(3, 8, 1), batch(3, 6, 0), batch(2, 1, 1)} {
		require.ErrorAs(t, in.Accept(bad), &seq)
		require.Equal(t, bad.First, seq.Got)
		require.Equal(t, in.Next(bad.Source), seq.Want)
	}
	require.Error(t, in.Accept(batch(xshard.MaxShards, 0, 1)), "what cannot be encoded is not accepted")
	require.NoError(t, tried.Accept(batch(3, 7, 1)))
	require.Equal(t, root, in.Root(), "neither refusals nor a clone may change it")
	require.NotEqual(t, root, tried.Root())
}

// codec is what every encoded type implements.
type codec interface {
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

// again decodes into v and requires that it encodes to the same bytes.
func again(t *testing.T, data []byte, v codec) {
	if v.UnmarshalBinary(data) != nil {
		return
	}
	enc, err := v.AppendBinary(nil)
	require.NoError(t, err)
	require.Equal(t, data, enc, "one value, one encoding")
}

// encodings are one of each encoded type with its bytes, spaces for reading.
func encodings(t testing.TB) map[string]struct {
	value codec
	hex   string
} {
	out := xshard.NewOutbox(1, 3, func(shardkit.ShardID) uint64 { return 7 })
	r := xshard.Receipt{Dest: 2, Kind: 4, ID: shardkit.Hash{5}, From: [32]byte{6}, To: [32]byte{8}, Amount: 9, Data: []byte("hi")}
	_, err := out.Add(r)
	require.NoError(t, err)
	b := out.Batch(2)
	var in xshard.Inbox
	require.NoError(t, in.Accept(&xshard.Batch{Source: 3, Receipts: b.Receipts}))
	pad := strings.Repeat("00", 31)
	body := "04 05" + pad + "06" + pad + "08" + pad + "0000000000000009 00000002 6869"
	return map[string]struct {
		value codec
		hex   string
	}{
		"receipt": {&b.Receipts[0], "01 00000001 00000002 0000000000000007" + body},
		"batch": {&b, "01 00000001 00000002 0000000000000007 00000003" +
			"918507a8400edcd8917a2edd4cfabb74acb7ac33a88dde3dad1fdfb1d8869f9b" + "00000001" + body},
		"proof": {b.Prove(0), "01 00000001 00000002 0000000000000007" + body + "0000000000000007 00000001 00000003" +
			"918507a8400edcd8917a2edd4cfabb74acb7ac33a88dde3dad1fdfb1d8869f9b"},
		"inbox": {&in, "01 00000001 00000003 0000000000000001"},
	}
}

func TestGolden(t *testing.T) {
	for name, c := range encodings(t) {
		enc, err := c.value.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, strings.ReplaceAll(c.hex, " ", ""), hex.EncodeToString(enc), name)
		require.NoError(t, c.value.UnmarshalBinary(enc))
		again(t, enc, c.value)
		for n := range enc {
			require.Error(t, c.value.UnmarshalBinary(enc[:n]), "%s cut to %d bytes", name, n)
		}
		require.Error(t, c.value.UnmarshalBinary(append(enc, 0)), "%s with a byte more", name)
	}
}

func TestInboxDecoderIsCanonical(t *testing.T) {
	for what, s := range map[string]string{
		"zero counter": "01 00000001 00000003 0000000000000000",
		"not sorted":   "01 00000002 00000003 0000000000000001 00000002 0000000000000001",
		"twice":        "01 00000002 00000003 0000000000000001 00000003 0000000000000001",
		"big shard":    "01 00000001 00010000 0000000000000001",
		"many":         "01 ffffffff 00000003 0000000000000001",
		"version":      "02 00000000",
	} {
		data, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		require.NoError(t, err)
		var in xshard.Inbox
		require.Error(t, in.UnmarshalBinary(data), what)
	}
}

func fuzz(f *testing.F, name string, v func() codec) {
	enc, err := encodings(f)[name].value.AppendBinary(nil)
	require.NoError(f, err)
	f.Add(enc)
	f.Add(enc[:len(enc)/2])
	f.Fuzz(func(t *testing.T, data []byte) { again(t, data, v()) })
}

func FuzzReceipt(f *testing.F) { fuzz(f, "receipt", func() codec { return new(xshard.Receipt) }) }
func FuzzBatch(f *testing.F)   { fuzz(f, "batch", func() codec { return new(xshard.Batch) }) }
func FuzzProof(f *testing.F)   { fuzz(f, "proof", func() codec { return new(xshard.Proof) }) }
func FuzzInbox(f *testing.F)   { fuzz(f, "inbox", func() codec { return new(xshard.Inbox) }) }
