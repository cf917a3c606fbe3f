package xshard

import (
	"bytes"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Packet is one certified block of a source shard as a destination sees it.
// The relay looks only at Source and Height; what the bytes are is between
// the composition's Load and Check.
type Packet struct {
	Source shardkit.ShardID
	Height shardkit.Height
	Header []byte // the source block's header
	Cert   []byte // its commit certificate
	Batch  []byte // the receipts for this destination with their proof; empty if none
}

// packetOverhead is what the encoding of a packet adds to its three strings.
const packetOverhead = 8 + 3*4

// size is the length of the packet's encoding inside a message.
func (p *Packet) size() int {
	return packetOverhead + len(p.Header) + len(p.Cert) + len(p.Batch)
}

// equal reports whether two packets are the same bytes.
func (p *Packet) equal(q *Packet) bool {
	return p.Height == q.Height && bytes.Equal(p.Batch, q.Batch) &&
		bytes.Equal(p.Header, q.Header) && bytes.Equal(p.Cert, q.Cert)
}

// clone copies the packet out of the message it was decoded from.
func (p *Packet) clone() Packet {
	buf := make([]byte, 0, len(p.Header)+len(p.Cert)+len(p.Batch))
	cut := func(s []byte) []byte {
		buf = append(buf, s...)
		return buf[len(buf)-len(s) : len(buf) : len(buf)]
	}
	return Packet{Source: p.Source, Height: p.Height, Header: cut(p.Header), Cert: cut(p.Cert), Batch: cut(p.Batch)}
}

// append encodes all but Source, which the message says once.
func (p *Packet) append(b []byte) []byte {
	b = wire.AppendU64(b, uint64(p.Height))
	b = wire.AppendBytes(b, p.Header)
	b = wire.AppendBytes(b, p.Cert)
	return wire.AppendBytes(b, p.Batch)
}

// read decodes a packet of at most max bytes. It aliases the message.
func (p *Packet) read(rd *wire.Reader, max int) {
	start := rd.Len()
	p.Height = shardkit.Height(rd.U64())
	p.Header = rd.Bytes(max)
	p.Cert = rd.Bytes(max)
	p.Batch = rd.Bytes(max)
	if size := start - rd.Len(); rd.Err() == nil && size > max {
		rd.Fail(fmt.Errorf("%w: packet of %d bytes, at most %d", wire.ErrLimit, size, max))
	}
}

// The kinds of message between relays.
const (
	kindPush   = 1 // the sender committed this packet
	kindPoll   = 2 // send me yours from a height on
	kindAnswer = 3 // to a poll
	kindHint   = 4 // the sender's shard has committed a height
)

// messageOverhead bounds what a message adds to its packets.
const messageOverhead = 64

// message is what one relay sends to another. Target and origin are the shards
// of the receiving and of the sending replica: a node may host several.
type message struct {
	kind           uint8
	target, origin shardkit.ShardID

	packets []Packet        // push: one; answer: heights from a poll's from on
	id      uint64          // poll and answer: of the asker's choosing
	from    shardkit.Height // poll: first height wanted; hint: height committed
	max     int             // poll: how many at most
	more    bool            // answer: the sender has the height after the last
}

func (m *message) append(b []byte) []byte {
	b = append(b, version, m.kind)
	b = wire.AppendU32(b, uint32(m.target))
	b = wire.AppendU32(b, uint32(m.origin))
	switch m.kind {
	case kindPush:
		b = m.packets[0].append(b)
	case kindPoll:
		b = wire.AppendU64(b, m.id)
		b = wire.AppendU64(b, uint64(m.from))
		b = wire.AppendU32(b, uint32(m.max))
	case kindHint:
		b = wire.AppendU64(b, uint64(m.from))
	case kindAnswer:
		b = wire.AppendU64(b, m.id)
		b = wire.AppendBool(b, m.more)
		b = wire.AppendU32(b, uint32(len(m.packets)))
		for i := range m.packets {
			b = m.packets[i].append(b)
		}
	}
	return b
}

// decode reads a message whose packets have at most maxPacket bytes each. The
// packets alias data.
func (m *message) decode(data []byte, maxPacket int) error {
	rd := wire.NewReader(data)
	rd.Expect(version, "version")
	m.kind = rd.U8()
	m.target = shardkit.ShardID(rd.U32())
	m.origin = shardkit.ShardID(rd.U32())
	n := 0
	switch m.kind {
	case kindPush:
		n = 1
	case kindPoll:
		m.id = rd.U64()
		m.from = shardkit.Height(rd.U64())
		m.max = int(rd.U32())
	case kindHint:
		m.from = shardkit.Height(rd.U64())
	case kindAnswer:
		m.id = rd.U64()
		m.more = rd.Bool()
		n = rd.Count(maxAnswer, packetOverhead)
	default:
		rd.Fail(fmt.Errorf("%w: kind %d", wire.ErrValue, m.kind))
	}
	if n > 0 {
		m.packets = make([]Packet, n)
		for i := range m.packets {
			m.packets[i].Source = m.origin
			m.packets[i].read(rd, maxPacket)
		}
	}
	return rd.Close()
}

// shardsOf reads the two shards that a message starts with.
func shardsOf(msg []byte) (target, origin shardkit.ShardID, ok bool) {
	rd := wire.NewReader(msg)
	rd.Fixed(2)
	target, origin = shardkit.ShardID(rd.U32()), shardkit.ShardID(rd.U32())
	return target, origin, rd.Err() == nil
}

// Target returns the shard of the replica that a relay's message is for, so
// that a node with replicas in several shards can hand it to the right one.
func Target(msg []byte) (shard shardkit.ShardID, ok bool) {
	shard, _, ok = shardsOf(msg)
	return shard, ok
}
