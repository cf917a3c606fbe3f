package chain

import (
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// The kinds of items in a block's body, in the order in which a body holds
// them: at most one Link per source, in order of source, then the rest at most
// once each.
const (
	itemLink   uint8 = iota + 1 // blocks of another shard
	itemEpoch                   // the committees that an epoch start names
	itemSigned                  // who signed the parent (beacon)
	itemSet                     // the input set of a drawing (beacon)
	itemOutput                  // the delay function's output (beacon)
)

// Link brings consecutive blocks of another shard: their headers, the
// certificate of the last one, and each one's receipts for this shard. A run
// begins right after the last block that was linked, and never crosses the
// first block of an epoch.
type Link struct {
	Source  shardkit.ShardID
	Headers [][]byte
	Batches [][]byte // xshard.Batch for each header, empty receipts included
	Cert    []byte   // commit certificate of the last header
}

// epochItem comes with the Link whose last header is the beacon's first block
// of an epoch: the committees, of all shards, that it names for the next one.
type epochItem struct {
	Sets []byte // encoded Committees
}

// signedItem is the commit certificate of the parent block.
type signedItem struct {
	Cert []byte
}

// setItem and outputItem carry what package drg made.
type (
	setItem    struct{ Set []byte }
	outputItem struct{ Output []byte }
)

// items is the decoded item list of a body.
type items struct {
	Links  []Link
	Epoch  *epochItem
	Signed *signedItem
	Set    *setItem
	Output *outputItem
}

const (
	maxHeader  = 16 << 10
	maxCert    = 64 << 10
	maxPayload = 4 << 20
)

func (l *Link) encode() []byte {
	b := []byte{itemLink}
	b = wire.AppendU32(b, uint32(l.Source))
	b = wire.AppendU32(b, uint32(len(l.Headers)))
	for i := range l.Headers {
		b = wire.AppendBytes(b, l.Headers[i])
		b = wire.AppendBytes(b, l.Batches[i])
	}
	return wire.AppendBytes(b, l.Cert)
}

func decodeLink(r *wire.Reader, maxRun int) (l Link) {
	l.Source = shardkit.ShardID(r.U32())
	n := r.Count(maxRun, 8)
	if n == 0 {
		r.Fail(fmt.Errorf("%w: empty link", wire.ErrValue))
	}
	for range n {
		l.Headers = append(l.Headers, r.Bytes(maxHeader))
		l.Batches = append(l.Batches, r.Bytes(maxPayload))
	}
	l.Cert = r.Bytes(maxCert)
	return l
}

// encode returns the items in canonical order.
func (it *items) encode() (out [][]byte) {
	for i := range it.Links {
		out = append(out, it.Links[i].encode())
	}
	if it.Epoch != nil {
		out = append(out, wire.AppendBytes([]byte{itemEpoch}, it.Epoch.Sets))
	}
	if it.Signed != nil {
		out = append(out, wire.AppendBytes([]byte{itemSigned}, it.Signed.Cert))
	}
	if it.Set != nil {
		out = append(out, wire.AppendBytes([]byte{itemSet}, it.Set.Set))
	}
	if it.Output != nil {
		out = append(out, wire.AppendBytes([]byte{itemOutput}, it.Output.Output))
	}
	return out
}

// decodeItems is strict: the items of a body have one order and no repeats.
func decodeItems(raw [][]byte, maxRun int) (*items, error) {
	var it items
	var last uint8
	for _, b := range raw {
		r := wire.NewReader(b)
		kind := r.U8()
		if kind < last || (kind == last && kind != itemLink) {
			return nil, fmt.Errorf("chain: items out of order: %w", wire.ErrValue)
		}
		last = kind
		switch kind {
		case itemLink:
			l := decodeLink(r, maxRun)
			if n := len(it.Links); n > 0 && it.Links[n-1].Source >= l.Source {
				r.Fail(fmt.Errorf("%w: links out of order", wire.ErrValue))
			}
			it.Links = append(it.Links, l)
		case itemEpoch:
			it.Epoch = &epochItem{Sets: r.Bytes(maxPayload)}
		case itemSigned:
			it.Signed = &signedItem{Cert: r.Bytes(maxCert)}
		case itemSet:
			it.Set = &setItem{Set: r.Bytes(maxPayload)}
		case itemOutput:
			it.Output = &outputItem{Output: r.Bytes(maxPayload)}
		default:
			r.Fail(fmt.Errorf("%w: item kind %d", wire.ErrValue, kind))
		}
		if err := r.Close(); err != nil {
			return nil, fmt.Errorf("chain: item: %w", err)
		}
	}
	return &it, nil
}

// packet is what a shard puts behind a header for another shard into
// xshard.Packet.Batch: the receipts, and with an epoch's first beacon block the
// committees it names. Useful says that there is something in it: a reason for
// the destination to make a block.
type packet struct {
	Useful bool
	Batch  []byte
	Sets   []byte // encoded Committees, or empty
}

func (p *packet) encode() []byte {
	b := wire.AppendBool(nil, p.Useful)
	return wire.AppendBytes(wire.AppendBytes(b, p.Batch), p.Sets)
}

// decodePacket does not copy.
func decodePacket(b []byte) (p packet, err error) {
	r := wire.NewReader(b)
	p = packet{Useful: r.Bool(), Batch: r.Bytes(maxPayload), Sets: r.Bytes(maxPayload)}
	return p, r.Close()
}
