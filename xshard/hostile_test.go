package xshard_test

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/xshard"
)

func TestBounds(t *testing.T) {
	b := newBench(t, func(cfg *xshard.RelayConfig) { cfg.MaxQueue, cfg.MaxPacket, cfg.MaxBytes = 10, 1000, 3500 })
	b.deliver(0, node(1, 0), pushMsg(0, packet(1, 11, 9)))
	require.EqualValues(t, 1, b.Stats().Dropped, "beyond the queue")
	b.deliver(0, node(1, 0), pushMsg(0, packet(1, 1<<63, 9)))
	b.deliver(0, node(1, 0), pushMsg(0, packet(1, 1<<64-1, 9)))
	require.EqualValues(t, 3, b.Stats().Dropped)
	require.Error(t, b.Deliver(0, node(1, 0), pushMsg(0, packet(1, 1, 1001))))
	require.Error(t, b.Deliver(0, node(1, 0), pushMsg(0, packet(1, 1, 980))), "with its fields over the limit")

	// Room for three large packets: nearer ones push out farther ones.
	for _, h := range []shardkit.Height{9, 8, 7, 3, 2} {
		b.deliver(0, node(1, 0), pushMsg(0, packet(1, h, 940)))
	}
	b.deliver(0, node(1, 1), pushMsg(0, packet(1, 9, 940)))
	require.EqualValues(t, 4, b.Stats().Dropped)
	b.deliver(0, node(1, 1), pushMsg(0, packet(1, 1, 940)))
	b.finish(0)
	require.Equal(t, []int{1, 2, 3}, b.heights(1))

	// Full of verified packets: nobody is asked before some are taken.
	b.Tick(100 * ms)
	sent, _ := b.finish(100 * ms)
	require.NotContains(t, strings.Join(sent, "\n"), "poll 1.")
	b.Included(150*ms, 1, 3)
	b.Tick(200 * ms)
	sent, _ = b.finish(200 * ms)
	require.Contains(t, strings.Join(sent, "\n"), "poll 1.")
}

func TestFullQueueIsNotAskedFor(t *testing.T) {
	b := newBench(t, func(cfg *xshard.RelayConfig) { cfg.MaxQueue = 5 })
	for h := shardkit.Height(1); h <= 7; h++ {
		b.deliver(0, node(1, 0), pushMsg(0, packet(1, h, 9)))
	}
	b.finish(0)
	require.Len(t, b.heights(1), 5)
	b.Tick(100 * ms)
	sent, _ := b.finish(100 * ms)
	require.NotContains(t, strings.Join(sent, "\n"), "poll 1.")
}

func TestStrangersAndMalformed(t *testing.T) {
	b := newBench(t, nil)
	good := pushMsg(0, packet(1, 1, 9))
	require.ErrorIs(t, b.Deliver(0, node(2, 0), good), xshard.ErrPeer, "a member of another shard")
	require.ErrorIs(t, b.Deliver(0, node(9, 9), good), xshard.ErrPeer)
	require.ErrorIs(t, b.Deliver(0, node(9, 9), pushMsg(0, packet(9, 1, 9))), xshard.ErrPeer, "a shard nobody knows")
	require.Error(t, b.Deliver(0, node(1, 0), pushMsg(3, packet(1, 1, 9))), "for another shard")
	require.Error(t, b.Deliver(0, node(0, 0), pushMsg(0, packet(0, 1, 9))), "from the own shard")
	for n := range good {
		require.Error(t, b.Deliver(0, node(1, 0), good[:n]))
	}
	require.Error(t, b.Deliver(0, node(1, 0), append(good, 0)))
	for _, change := range []func(m []byte){
		func(m []byte) { m[0] = 2 },
		func(m []byte) { m[1] = 5 },
		func(m []byte) { m[18] = 0xff },
	} {
		bad := pushMsg(0, packet(1, 1, 9))
		change(bad)
		require.Error(t, b.Deliver(0, node(1, 0), bad))
	}
	sent, bad := b.finish(0)
	require.Empty(t, sent)
	require.Empty(t, bad)
	require.Empty(t, b.runs)

	// Members change: the outgoing are no longer heard.
	b.SetMembers(1, 1, nodes(1, 2))
	require.ErrorIs(t, b.Deliver(1, node(1, 3), good[:len(good)-1]), xshard.ErrPeer)
	shard, ok := xshard.Target(good)
	require.True(t, ok)
	require.Zero(t, shard)
	_, ok = xshard.Target(good[:5])
	require.False(t, ok)
}

func TestAnswers(t *testing.T) {
	b := newBench(t, nil)
	b.head = 20
	b.deliver(0, node(1, 0), pollMsg(0, 1, 7, 5, 10))
	sent, _ := b.finish(0)
	require.Equal(t, []string{"answer 1.0 true 10"}, sent)
	require.Equal(t, []string{"1:5+11"}, b.loads)

	b.deliver(1, node(1, 0), pollMsg(0, 1, 8, 15, 10))
	sent, _ = b.finish(1)
	require.Equal(t, []string{"answer 1.0 false 6"}, sent)

	b.Committed(2, []xshard.Addressed{{Dest: 1, Packet: packet(0, 20, 9)}})
	b.Ready()
	n := len(b.loads)
	b.deliver(3, node(1, 0), pollMsg(0, 1, 9, 21, 10))
	sent, _ = b.finish(3)
	require.Equal(t, []string{"answer 1.0 false 0"}, sent)
	require.Len(t, b.loads, n, "nothing to read")
	require.Error(t, b.Deliver(3, node(1, 0), pollMsg(0, 1, 9, 21, 0)))
}

func TestAnswerIsCutToFit(t *testing.T) {
	b := newBench(t, func(cfg *xshard.RelayConfig) { cfg.MaxPacket = 400 })
	b.head = 20
	b.deliver(0, node(1, 0), pollMsg(0, 1, 7, 5, 10))
	ready := b.Ready()
	b.Done(0, ready.Jobs[0].Run())
	m := b.Ready().Messages[0]
	require.Equal(t, "answer 1.0 true 3", describe(m))
	require.LessOrEqual(t, len(m.Data), 400+64)
}

func TestAskingTooMuch(t *testing.T) {
	b := newBench(t, nil)
	b.head = 20
	poll := func(now time.Duration, i int, from shardkit.Height) error {
		return b.Deliver(now, node(1, i), pollMsg(0, 1, 7, from, 5))
	}
	require.NoError(t, poll(0, 0, 1))
	require.ErrorIs(t, poll(0, 0, 6), xshard.ErrBusy, "one at a time")
	require.NoError(t, poll(0, 1, 1))
	b.finish(0)
	require.ErrorIs(t, poll(1*ms, 0, 5), xshard.ErrBusy, "the same again")
	require.NoError(t, poll(1*ms, 0, 6))
	b.finish(1 * ms)
	require.NoError(t, poll(60*ms, 0, 6), "but after a while")
}

// TestFloodOfOneShard: the members of shard 1 all ask at once, again and again;
// a member of shard 2 is served in its turn.
func TestFloodOfOneShard(t *testing.T) {
	b := newBench(t, nil)
	b.head = 20
	b.SetMembers(0, 1, nodes(1, 100))
	for i := range 100 {
		b.deliver(0, node(1, i), pollMsg(0, 1, 7, 1, 5))
	}
	b.deliver(0, node(2, 0), pollMsg(0, 2, 7, 1, 5))
	jobs := b.Ready().Jobs
	require.Len(t, jobs, 8, "reads under way are bounded")
	for i := range 2 {
		b.Done(0, jobs[i].Run())
	}
	var sent []string
	for _, j := range b.Ready().Jobs {
		b.Done(0, j.Run())
	}
	for _, m := range b.Ready().Messages {
		sent = append(sent, describe(m))
	}
	require.Contains(t, strings.Join(sent, "\n"), "answer 2.0")
	// Members that leave are forgotten.
	b.SetMembers(1, 1, nil)
	left, _ := b.finish(1)
	require.Empty(t, left)
}

func TestWake(t *testing.T) {
	b := newBench(t, nil)
	at, ok := b.Wake()
	require.True(t, ok)
	require.Equal(t, 100*ms, at)
	b.Tick(at)
	sent, _ := b.finish(at)
	require.Len(t, sent, 3, "one member of every other shard")
	at, _ = b.Wake()
	require.Equal(t, 200*ms, at)
	for s := range shardkit.ShardID(4) {
		b.SetMembers(at, s, nil)
	}
	_, ok = b.Wake()
	require.False(t, ok)
}

func TestRelayConfig(t *testing.T) {
	load := func(shardkit.ShardID, shardkit.Height, int, int) func() []xshard.Packet { return nil }
	check := func([]xshard.Packet) func() (int, error) { return nil }
	for what, cfg := range map[string]xshard.RelayConfig{
		"no Load":        {Check: check},
		"no Check":       {Load: load},
		"negative":       {Load: load, Check: check, Poll: -1},
		"little room":    {Load: load, Check: check, MaxPacket: 10, MaxBytes: 9},
		"enormous":       {Load: load, Check: check, MaxPacket: 1 << 31},
		"negative queue": {Load: load, Check: check, MaxQueue: -1},
	} {
		_, err := xshard.NewRelay(cfg)
		require.Error(t, err, what)
	}
}

func TestMessageGolden(t *testing.T) {
	b := newBench(t, nil)
	b.Committed(0, []xshard.Addressed{{Dest: 1, Packet: packet(0, 5, 2)}})
	m := b.Ready().Messages[0]
	require.Equal(t, strings.ReplaceAll("01 01 00000001 00000000 0000000000000005 00000003 302f35 00000004 676f6f64 00000002 0000", " ", ""),
		hex.EncodeToString(m.Data))
	require.Equal(t, pushMsg(1, packet(0, 5, 2)), m.Data)
	require.Equal(t, shardkit.ClassBlock, m.Class)
	b.Committed(0, []xshard.Addressed{{Dest: 2, Packet: packet(0, 6, 2)}})
	for _, m := range b.Ready().Messages {
		if m.Data[1] == 4 {
			require.Equal(t, hintMsg(2, 0, 6), m.Data)
		}
	}
	b.Tick(100 * ms)
	m = b.Ready().Messages[0]
	require.Equal(t, pollMsg(1, 0, 1, 1, 256), m.Data)
	b.head = 7
	b.deliver(0, node(1, 0), pollMsg(0, 1, 9, 4, 1))
	for _, j := range b.Ready().Jobs {
		b.Done(0, j.Run())
	}
	require.Equal(t, answerMsg(1, 0, 9, true, packet(0, 4, 100)), b.Ready().Messages[0].Data)
}

// FuzzDeliver: no bytes make the relay panic, or send, or accept anything but
// what the check calls good.
func FuzzDeliver(f *testing.F) {
	f.Add(pushMsg(0, packet(1, 1, 9)), uint8(0))
	f.Add(pollMsg(0, 1, 3, 1, 9), uint8(1))
	f.Add(answerMsg(0, 1, 3, true, packet(1, 1, 9), packet(1, 2, 9)), uint8(2))
	f.Add(hintMsg(0, 1, 2), uint8(3))
	f.Fuzz(func(t *testing.T, msg []byte, from uint8) {
		b := newBench(t, nil)
		b.head = 3
		err := b.Deliver(0, node(1, int(from%5)), msg)
		ready := b.Ready()
		if err != nil {
			require.Empty(t, ready, "a refused message changes nothing")
		}
		for _, j := range ready.Jobs {
			b.Done(0, j.Run())
		}
		for _, p := range b.Arrived(1) {
			require.Equal(t, "good", string(p.Cert))
		}
		b.Tick(time.Second)
		b.finish(time.Second)
	})
}
