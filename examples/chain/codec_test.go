package chain

import (
	"encoding/hex"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/statesync"
)

func sampleCommittees() *Committees {
	return &Committees{Epoch: 7, Shards: [][]Seat{
		{{Slot: shardkit.Hash{1}, Node: shardkit.NodeID{2}, VotingKey: []byte{3}, VRFKey: []byte{4, 5}, Weight: 6}},
		{{Slot: shardkit.Hash{1}, Node: shardkit.NodeID{2}, Weight: 1}, {Slot: shardkit.Hash{9}, Node: shardkit.NodeID{8}, Weight: 2}},
	}}
}

func sampleItems() *items {
	return &items{
		Links: []Link{
			{Source: 1, Headers: [][]byte{{1}, {2, 3}}, Batches: [][]byte{{4}, {}}, Cert: []byte{5}},
			{Source: 3, Headers: [][]byte{{6}}, Batches: [][]byte{{7}}, Cert: []byte{8}},
		},
		Epoch: &epochItem{Sets: []byte{9}}, Signed: &signedItem{Cert: []byte{10}},
		Set: &setItem{Set: []byte{11}}, Output: &outputItem{Output: []byte{12}},
	}
}

// TestGolden pins the encodings: a change of any is a change of the protocol.
func TestGolden(t *testing.T) {
	c, err := (&Committees{Epoch: 1, Shards: [][]Seat{{{Weight: 2, VotingKey: []byte{3}}}}}).AppendBinary(nil)
	require.NoError(t, err)
	zero := hex.EncodeToString(make([]byte, 64))
	for name, got := range map[string][2]string{
		"committees": {hex.EncodeToString(c), "0000000000000001" + "00000001" + "00000055" + "00000001" + zero + "0000000103" + "00000000" + "0000000000000002"},
		"link":       {hex.EncodeToString(sampleItems().Links[1].encode()), "01" + "00000003" + "00000001" + "0000000106" + "0000000107" + "0000000108"},
		"packet":     {hex.EncodeToString((&packet{Useful: true, Batch: []byte{1}, Sets: []byte{2}}).encode()), "01" + "0000000101" + "0000000102"},
		"find":       {hex.EncodeToString(Find(2, 3, []shardkit.Hash{{4}})), "09" + "00000002" + "03" + "0000000000000003" + "00000001" + "04" + hex.EncodeToString(make([]byte, 31))},
		"holdings":   {hex.EncodeToString(Holdings(3, ledger.Address{4}, []ledger.Address{{5}})), "09" + "00000000" + "06" + "0000000000000003" + "00000002" + "04" + zero[:62] + "05" + zero[:62]},
		"history":    {hex.EncodeToString(History(2, 3, ledger.Address{4}, &ledger.Move{Height: 5, Arrived: true, Place: 6})), "09" + "00000002" + "07" + "0000000000000003" + "04" + zero[:62] + "01" + "0000000000000005" + "01" + "00000006"},
	} {
		require.Equal(t, got[1], got[0], name)
	}
}

func TestItemsAreCanonical(t *testing.T) {
	raw := sampleItems().encode()
	got, err := decodeItems(raw, 8)
	require.NoError(t, err)
	require.Equal(t, sampleItems(), got)
	swap := func(i, j int) [][]byte {
		out := append([][]byte(nil), raw...)
		out[i], out[j] = out[j], out[i]
		return out
	}
	for name, bad := range map[string][][]byte{
		"links out of order": swap(0, 1), "kinds out of order": swap(1, 2), "twice": append(raw, raw[5]),
		"same source twice": {raw[0], raw[0]}, "unknown kind": {{99}}, "empty": {{}}, "trailing": {append(append([]byte(nil), raw[5]...), 0)},
	} {
		_, err := decodeItems(bad, 8)
		require.Error(t, err, name)
	}
	_, err = decodeItems(raw, 1)
	require.ErrorIs(t, err, wire.ErrLimit, "more headers than a run may have")
}

// reencode checks a decoder: what it accepts has one encoding.
func reencode[T any](f *testing.F, seed []byte, decode func([]byte) (T, error), encode func(T) []byte) {
	f.Add(seed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decode(b)
		if err == nil {
			require.Equal(t, b, encode(v))
		}
	})
}

func FuzzCommittees(f *testing.F) {
	b, _ := sampleCommittees().AppendBinary(nil)
	reencode(f, b, func(b []byte) (*Committees, error) {
		c := new(Committees)
		return c, c.UnmarshalBinary(b)
	}, func(c *Committees) []byte {
		b, _ := c.AppendBinary(nil)
		return b
	})
}

func FuzzItem(f *testing.F) {
	for _, b := range sampleItems().encode() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if it, err := decodeItems([][]byte{b}, 8); err == nil {
			require.Equal(t, [][]byte{b}, it.encode())
		}
	})
}

func FuzzPacket(f *testing.F) {
	reencode(f, (&packet{true, []byte{1}, []byte{2}}).encode(), decodePacket, func(p packet) []byte { return p.encode() })
}

func FuzzHop(f *testing.F) {
	h := statesync.Hop{Epoch: 1, Header: []byte{2}, Cert: []byte{3}, Committee: []byte{4}}
	reencode(f, encodeHop(&h), decodeHop, func(h statesync.Hop) []byte { return encodeHop(&h) })
}

// FuzzNotice has no encoder to compare with on the wallet's side: it must not
// panic, and must not accept two readings of a prefix.
func FuzzNotice(f *testing.F) {
	f.Add(Watch(1))
	head := func(kind uint8) []byte {
		return wire.AppendU64(append(wire.AppendU32([]byte{protoNotice}, 1), kind), 0)
	}
	f.Add(append(head(noticeMembers), 0, 0, 0, 0))
	f.Add(append(head(noticeFound), 0, 0, 0, 0))
	f.Add(append(head(noticeHistory), 1, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := DecodeNotice(b); err == nil {
			_, err := DecodeNotice(append(append([]byte(nil), b...), 0))
			require.Error(t, err, "%+v", n)
		}
	})
}

func FuzzState(f *testing.F) {
	m := meta{Epoch: 1, Start: 2, First: shardkit.Hash{3}, Ends: true, Beacon: shardkit.Hash{4}, Time: 5, Oldest: 6}
	l := linkState{Height: 1, Hash: shardkit.Hash{2}, Epoch: 3, First: shardkit.Hash{4}}
	d := draw{Phase: drawDelay, Epoch: 1, Attempt: 2, Opened: 3, Alpha: shardkit.Hash{4}, PRnd: shardkit.Hash{5}, Rnd: shardkit.Hash{6}}
	for _, b := range [][]byte{m.encode(), l.encode(), d.encode()} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range []interface {
			decode([]byte) error
			encode() []byte
		}{new(meta), new(linkState), new(draw)} {
			if v.decode(b) == nil {
				require.Equal(t, b, v.encode(), reflect.TypeOf(v).String())
			}
		}
	})
}

// FuzzDeliver throws bytes at a running node: it refuses or ignores them, and
// goes on.
func FuzzDeliver(f *testing.F) {
	w := newWorld(f, options{seed: 3, shards: 2, nodes: 8})
	w.net.Run(1500 * time.Millisecond)
	n := w.nodes[w.ids[0].node]
	shard := n.replicas[0].shard
	for p := protoConsensus; p <= protoKad; p++ {
		f.Add(append(wire.AppendU32([]byte{p}, uint32(shard)), 1, 2, 3))
	}
	f.Add(Watch(shard))
	f.Add(Holdings(1, ledger.Address{}, []ledger.Address{{}}))
	f.Add(History(shard, 1, ledger.Address{}, nil))
	b, _ := Submit(shard, 1, []ledger.Transaction{{}})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		before := n.height(shard)
		_ = n.Deliver(w.net.Now(), w.ids[1].node, b)
		_ = n.Deliver(w.net.Now(), shardkit.NodeID{1}, b)
		for _, j := range n.Ready().Jobs {
			n.Done(w.net.Now(), j.Run())
		}
		require.GreaterOrEqual(t, n.height(shard), before)
		require.NoError(t, n.Ready().Failed)
	})
}
