package xshard_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/xshard"
)

const ms = time.Millisecond

// node returns a node's id: member i of a shard.
func node(shard shardkit.ShardID, i int) shardkit.NodeID {
	return shardkit.NodeID{byte(i), 0, byte(shard)}
}

func nodes(shard shardkit.ShardID, n int) []shardkit.NodeID {
	ids := make([]shardkit.NodeID, n)
	for i := range ids {
		ids[i] = node(shard, n-1-i) // order must not matter
	}
	return ids
}

// packet returns a packet that the bench's Check finds good.
func packet(source shardkit.ShardID, h shardkit.Height, size int) xshard.Packet {
	p := xshard.Packet{Source: source, Height: h, Header: fmt.Appendf(nil, "%d/%d", source, h), Cert: []byte("good")}
	if size > 0 {
		p.Batch = make([]byte, size)
	}
	return p
}

// The messages between relays, written out once more.

func pushMsg(target shardkit.ShardID, p xshard.Packet) []byte {
	b := wire.AppendU32([]byte{1, 1}, uint32(target))
	return appendPacket(wire.AppendU32(b, uint32(p.Source)), p)
}

func pollMsg(target, origin shardkit.ShardID, id uint64, from shardkit.Height, n uint32) []byte {
	b := wire.AppendU32([]byte{1, 2}, uint32(target))
	b = wire.AppendU64(wire.AppendU32(b, uint32(origin)), id)
	return wire.AppendU32(wire.AppendU64(b, uint64(from)), n)
}

func hintMsg(target, origin shardkit.ShardID, h shardkit.Height) []byte {
	b := wire.AppendU32([]byte{1, 4}, uint32(target))
	return wire.AppendU64(wire.AppendU32(b, uint32(origin)), uint64(h))
}

func answerMsg(target, origin shardkit.ShardID, id uint64, more bool, ps ...xshard.Packet) []byte {
	b := wire.AppendU32([]byte{1, 3}, uint32(target))
	b = wire.AppendU64(wire.AppendU32(b, uint32(origin)), id)
	b = wire.AppendU32(wire.AppendBool(b, more), uint32(len(ps)))
	for _, p := range ps {
		b = appendPacket(b, p)
	}
	return b
}

func appendPacket(b []byte, p xshard.Packet) []byte {
	b = wire.AppendU64(b, uint64(p.Height))
	b = wire.AppendBytes(b, p.Header)
	b = wire.AppendBytes(b, p.Cert)
	return wire.AppendBytes(b, p.Batch)
}

// bench drives one relay of shard 0 by hand. Shards 0 to 3 have four members.
type bench struct {
	*testing.T
	*xshard.Relay
	committee int // packets of heights beyond cannot be judged; 0: no limit
	runs      []string
	last      bool // only the last certificate of a run is looked at: it stands for all
	loads     []string
	head      shardkit.Height // of the own chain, for Load
}

func newBench(t *testing.T, change func(*xshard.RelayConfig)) *bench {
	b := &bench{T: t}
	cfg := xshard.RelayConfig{Self: node(0, 1), Poll: 100 * ms, Load: b.load, Check: b.check}
	if change != nil {
		change(&cfg)
	}
	r, err := xshard.NewRelay(cfg)
	require.NoError(t, err)
	b.Relay = r
	for s := range shardkit.ShardID(4) {
		r.SetMembers(0, s, nodes(s, 4))
	}
	return b
}

func (b *bench) load(dest shardkit.ShardID, from shardkit.Height, n, maxBytes int) func() []xshard.Packet {
	b.loads = append(b.loads, fmt.Sprintf("%d:%d+%d", dest, from, n))
	head := b.head
	return func() (ps []xshard.Packet) {
		for h := from; h <= head && len(ps) < n; h++ {
			ps = append(ps, packet(0, h, 100))
		}
		return ps
	}
}

var errForged = errors.New("forged")

func (b *bench) check(run []xshard.Packet) func() (int, error) {
	b.runs = append(b.runs, fmt.Sprintf("%d:%d-%d", run[0].Source, run[0].Height, run[len(run)-1].Height))
	for i := range run {
		require.Equal(b, run[0].Source, run[i].Source)
		require.Equal(b, run[0].Height+shardkit.Height(i), run[i].Height)
	}
	committee, last := b.committee, b.last
	return func() (int, error) {
		if last && string(run[len(run)-1].Cert) != "good" {
			return 0, errForged
		} else if last {
			return len(run), nil
		}
		for i, p := range run {
			if committee > 0 && int(p.Height) > committee || string(p.Cert) == "later" {
				return i, nil
			}
			if string(p.Cert) != "good" {
				return i, errForged
			}
		}
		return len(run), nil
	}
}

// finish runs jobs until none are left and returns the messages sent, readable,
// in order.
func (b *bench) finish(now time.Duration) (sent []string, bad []xshard.BadPeer) {
	for {
		ready := b.Ready()
		for _, m := range ready.Messages {
			sent = append(sent, describe(m))
		}
		bad = append(bad, ready.Bad...)
		if len(ready.Jobs) == 0 {
			return sent, bad
		}
		for _, j := range ready.Jobs {
			b.Done(now, j.Run())
		}
	}
}

// describe names a message: kind, receiver, what.
func describe(m shardkit.Message) string {
	rd := wire.NewReader(m.Data[1:])
	kind := rd.U8()
	target := rd.U32()
	rd.U32()
	to := fmt.Sprintf("%d.%d", target, m.To[0])
	switch kind {
	case 1:
		return fmt.Sprintf("push %s %d", to, rd.U64())
	case 2:
		rd.U64()
		return fmt.Sprintf("poll %s %d+%d", to, rd.U64(), rd.U32())
	case 4:
		return fmt.Sprintf("hint %s %d", to, rd.U64())
	default:
		rd.U64()
		return fmt.Sprintf("answer %s %v %d", to, rd.Bool(), rd.U32())
	}
}

func (b *bench) deliver(now time.Duration, from shardkit.NodeID, msg []byte) {
	b.Helper()
	require.NoError(b, b.Deliver(now, from, msg))
}

func (b *bench) heights(source shardkit.ShardID) (hs []int) {
	for _, p := range b.Arrived(source) {
		hs = append(hs, int(p.Height))
	}
	return hs
}
