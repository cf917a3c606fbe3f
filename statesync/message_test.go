package statesync

import (
	"bytes"
	"encoding/hex"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
)

func requests() map[string]request {
	start := shardkit.Hash{0xaa, 31: 0xbb}
	return map[string]request{
		"0101000000000000000700000000000000050020" + "00000200": {kind: askHops, id: 7, from: 5, most: 32, maxBytes: 512},
		"01020000000000000008": {kind: askHead, id: 8},
		"010300000000000000090000000000000064" + hex.EncodeToString(start[:]) + "00001000": {kind: askRange, id: 9, from: 100, start: start, maxBytes: 4096},
		"0104000000000000000a0000000000000065001000080000":                                 {kind: askBlocks, id: 10, from: 101, most: 16, maxBytes: 512 << 10},
	}
}

func answers() map[string]answer {
	root := shardkit.Hash{1, 31: 2}
	return map[string]answer{
		"0111000000000000000701" + "00000002" + "0000000168" + "00000000" + "000000026363" + "000000026831" + "0000000163" + "00000000": {
			kind: ansHops, id: 7, more: true,
			hops: []Hop{{Header: []byte("h"), Cert: []byte{}, Committee: []byte("cc")}, {Header: []byte("h1"), Cert: []byte("c"), Committee: []byte{}}},
		},
		"0111000000000000000700" + "00000000": {kind: ansHops, id: 7, hops: []Hop{}},
		"0112000000000000000800":              {kind: ansHead, id: 8},
		"0112000000000000000801" + "0000000000000003" + "0000000000000021" + hex.EncodeToString(root[:]) + "0000000168" + "0000000163": {
			kind: ansHead, id: 8, head: &Head{Epoch: 3, Height: 33, Root: root, Header: []byte("h"), Cert: []byte("c")},
		},
		"01130000000000000009636875": {kind: ansChunk, id: 9, chunk: []byte("chu")},
		"0114000000000000000a00" + "00000001" + "0000000168" + "0000000163" + "000000026262": {
			kind: ansBlocks, id: 10, blocks: []Block{{Header: []byte("h"), Cert: []byte("c"), Body: []byte("bb")}},
		},
		"0115000000000000000b02": {kind: ansRefused, id: 11, reason: refusedGone},
	}
}

func TestGolden(t *testing.T) {
	for want, q := range requests() {
		enc := q.appendTo(nil)
		require.Equal(t, want, hex.EncodeToString(enc))
		got, err := decodeRequest(enc)
		require.NoError(t, err)
		require.Equal(t, q, got)
		refuseAll(t, enc, func(b []byte) error { _, err := decodeRequest(b); return err })
	}
	for want, a := range answers() {
		enc := a.appendTo(nil)
		require.Equal(t, want, hex.EncodeToString(enc))
		require.LessOrEqual(t, len(enc), a.size())
		got, err := decodeAnswer(enc)
		require.NoError(t, err)
		require.Equal(t, a, got)
		if a.kind != ansChunk { // which goes on to the end, wherever that is
			refuseAll(t, enc, func(b []byte) error { _, err := decodeAnswer(b); return err })
		}
	}
}

// refuseAll cuts an encoding everywhere and makes it longer.
func refuseAll(t *testing.T, enc []byte, decode func([]byte) error) {
	for n := range enc {
		require.Error(t, decode(enc[:n]))
	}
	require.Error(t, decode(append(bytes.Clone(enc), 0)))
	for _, i := range []int{0, 1} { // version, kind
		b := bytes.Clone(enc)
		b[i] = 99
		require.Error(t, decode(b))
	}
}

// TestNoAllocationOnAnnouncedLength: a short message that announces a long
// list is refused before there is room made for it.
func TestNoAllocationOnAnnouncedLength(t *testing.T) {
	for _, kind := range []byte{ansHops, ansBlocks} {
		for _, count := range []string{"00000400", "00000401", "ffffffff"} {
			msg, err := hex.DecodeString("01" + hex.EncodeToString([]byte{kind}) + "0000000000000001" + "01" + count)
			require.NoError(t, err)
			require.Less(t, testing.AllocsPerRun(10, func() {
				_, err = decodeAnswer(msg)
			}), 10.0)
			require.Error(t, err)
		}
	}
}

func FuzzRequest(f *testing.F) {
	for want := range requests() {
		b, _ := hex.DecodeString(want)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := decodeRequest(b)
		if err == nil {
			require.Equal(t, b, q.appendTo(nil))
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for want := range answers() {
		b, _ := hex.DecodeString(want)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := decodeAnswer(b)
		if err == nil {
			require.Equal(t, b, a.appendTo(nil))
		}
	})
}

// TestServerForgetsPeers: nothing stays of a peer that has been served.
func TestServerForgetsPeers(t *testing.T) {
	s, err := NewServer(ServerConfig{
		Hops: func(shardkit.Epoch, int) func() ([]Hop, error) { return func() ([]Hop, error) { return nil, nil } },
		Head: func() func() (*Head, error) { return func() (*Head, error) { return nil, nil } },
		Range: func(shardkit.Height, shardkit.Hash, int) func() ([]byte, error) {
			return func() ([]byte, error) { return nil, nil }
		},
		Blocks: func(shardkit.Height, int, int) func() ([]Block, error) {
			return func() ([]Block, error) { return nil, nil }
		},
	})
	require.NoError(t, err)
	for i := range 100 {
		for _, q := range requests() {
			require.NoError(t, s.Deliver(0, shardkit.NodeID{byte(i)}, q.appendTo(nil)))
		}
		for _, job := range s.Ready().Jobs {
			s.Done(0, job.Run())
		}
		require.Len(t, s.Ready().Messages, 4)
	}
	require.LessOrEqual(t, len(s.order), 2)
	require.Len(t, s.askers, len(s.order))
	require.Zero(t, s.serving)
}

func TestSpool(t *testing.T) {
	p, q := new(peer), new(peer)
	s := newSpool[string](10)
	none := func(uint64) bool { return false }
	from, n := s.missing(s.limit(100, false), none)
	require.Equal(t, []uint64{10, 16}, []uint64{from, uint64(n)})
	_, n = s.missing(s.limit(100, true), none)
	require.Zero(t, n, "one try until it is known what there is")

	s.put(12, p, "twelve", 6)
	s.put(10, q, "ten", 3)
	s.put(12, q, "again", 5)
	s.put(9, q, "old", 3)
	require.Equal(t, 9, s.bytes)
	s.answered(10, 16, 3, true)
	require.Equal(t, 3, s.slice)
	from, n = s.missing(s.limit(100, true), none)
	require.Equal(t, []uint64{11, 1}, []uint64{from, uint64(n)})
	from, n = s.missing(s.limit(100, true), func(n uint64) bool { return n == 11 || n == 14 })
	require.Equal(t, []uint64{13, 1}, []uint64{from, uint64(n)})

	s.answered(20, 3, 0, true)
	require.Equal(t, uint64(20), s.end)
	s.answered(30, 3, 0, false)
	require.Equal(t, uint64(20), s.end, "what is further on says nothing")
	s.answered(19, 3, 2, false)
	require.Equal(t, uint64(21), s.end)
	s.answered(19, 3, 3, true)
	require.Equal(t, uint64(math.MaxUint64), s.end)

	s.dropFrom(q)
	require.Nil(t, s.at(9))
	require.Equal(t, entryMissing, s.at(10).state)
	require.Equal(t, "twelve", s.at(12).v)
	s.advance(12)
	require.Equal(t, 6, s.bytes)
	s.release(s.at(12))
	require.Zero(t, s.bytes)
	require.Equal(t, entryGiven, s.at(12).state)
	s.put(13, p, "thirteen", 8)
	s.advance(50)
	require.Zero(t, s.bytes)
	require.Equal(t, uint64(50), s.base)
	require.Empty(t, s.items)
}

func TestGap(t *testing.T) {
	h := func(i byte) shardkit.Hash { return shardkit.Hash{i} }
	for _, c := range []struct {
		g, r Gap
		want Gap
		left bool
	}{
		{Gap{h(10), h(20)}, Gap{h(10), h(15)}, Gap{h(15), h(20)}, true},
		{Gap{h(10), h(20)}, Gap{h(5), h(15)}, Gap{h(15), h(20)}, true},
		{Gap{h(10), h(20)}, Gap{h(5), h(10)}, Gap{h(10), h(20)}, true},
		{Gap{h(10), h(20)}, Gap{h(11), h(15)}, Gap{h(10), h(20)}, true}, // a hole is not kept
		{Gap{h(10), h(20)}, Gap{h(10), h(20)}, Gap{}, false},
		{Gap{h(10), h(20)}, Gap{h(1), h(30)}, Gap{}, false},
		{Gap{h(10), h(20)}, Gap{h(1), h(0)}, Gap{}, false}, // to the end
		{Gap{h(10), h(0)}, Gap{h(10), h(200)}, Gap{h(200), h(0)}, true},
		{Gap{h(10), h(0)}, Gap{h(10), h(0)}, Gap{}, false},
		{Gap{h(0), h(0)}, Gap{h(0), h(1)}, Gap{h(1), h(0)}, true},
	} {
		g := c.g
		require.Equal(t, c.left, g.cut(c.r), c)
		if c.left {
			require.Equal(t, c.want, g, c)
		}
	}
	require.Equal(t, uint64(10)<<56, (&Gap{h(10), h(20)}).width())
	require.Equal(t, uint64(math.MaxUint64), (&Gap{}).width())
	require.Equal(t, uint64(math.MaxUint64), times(1<<40, 1<<40))
	require.Equal(t, uint64(math.MaxUint64), plus(math.MaxUint64, 1))
}
