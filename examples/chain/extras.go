package chain

import (
	"encoding/binary"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/statesync"
)

// What a block leaves in the store beside the ledger's own: the packets for
// other shards, what its votes rest on, and the hop of an epoch.

// extraPrefix is where ledger.Chain keeps extra pairs in its store.
const extraPrefix = "x/"

type pair struct{ key, value []byte }

func keyPacket(dest shardkit.ShardID, h shardkit.Height) []byte {
	b := binary.BigEndian.AppendUint32([]byte("p/"), uint32(dest))
	return binary.BigEndian.AppendUint64(b, uint64(h))
}

// keyHop finds an epoch's hop, for state sync.
func keyHop(e shardkit.Epoch) []byte {
	return binary.BigEndian.AppendUint64([]byte("h/"), uint64(e))
}

func encodeHop(h *statesync.Hop) []byte {
	b := wire.AppendU64(nil, uint64(h.Epoch))
	return wire.AppendBytes(wire.AppendBytes(wire.AppendBytes(b, h.Header), h.Cert), h.Committee)
}

func decodeHop(b []byte) (h statesync.Hop, err error) {
	r := wire.NewReader(b)
	h = statesync.Hop{Epoch: shardkit.Epoch(r.U64()), Header: r.Bytes(maxHeader), Cert: r.Bytes(maxCert), Committee: r.Bytes(1 << 24)}
	return h, r.Close()
}

// extras lists the pairs that are committed with a block.
func (t *tip) extras(own shardkit.ShardID) []pair {
	out := make([]pair, 0, len(t.out.packets)+2)
	for d := range t.out.packets {
		if shardkit.ShardID(d) != own {
			out = append(out, pair{keyPacket(shardkit.ShardID(d), t.height), t.out.packets[d].encode()})
		}
	}
	if len(t.archive) > 0 {
		out = append(out, pair{keyArchive(t.height), encodeArchive(t.archive)})
	}
	if t.header.Hop != nil {
		hop := statesync.Hop{Epoch: t.header.Epoch, Header: t.encoded, Cert: t.raw, Committee: t.out.next}
		out = append(out, pair{keyHop(t.header.Epoch), encodeHop(&hop)})
	}
	return out
}
