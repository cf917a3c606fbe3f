package xshard_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
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

func TestEveryMemberGetsOneCopy(t *testing.T) {
	for _, own := range []int{1, 3, 4, 7} {
		for _, dest := range []int{1, 4, 10} {
			for h := range shardkit.Height(5) {
				got, hinted := map[shardkit.NodeID]int{}, map[shardkit.NodeID]int{}
				for i := range own {
					b := newBench(t, func(cfg *xshard.RelayConfig) { cfg.Self = node(0, i) })
					b.SetMembers(0, 0, nodes(0, own))
					b.SetMembers(0, 1, nodes(1, dest))
					b.Ready()
					b.Committed(0, []xshard.Addressed{{Dest: 1, Packet: packet(0, 100+h, 50)}, {Dest: 9, Packet: packet(0, 100+h, 50)}})
					for _, m := range b.Ready().Messages {
						if m.Data[1] == 1 {
							got[m.To]++
						} else {
							hinted[m.To]++
						}
					}
				}
				require.Len(t, got, dest)
				for id, n := range got {
					require.Equal(t, 1, n, "copies for %v", id)
					require.Equal(t, min(2, own-1), hinted[id], "hints for %v", id)
				}
			}
		}
	}
}

func TestObserverPushesNothing(t *testing.T) {
	b := newBench(t, func(cfg *xshard.RelayConfig) { cfg.Self = node(9, 9) })
	b.Committed(0, []xshard.Addressed{{Dest: 1, Packet: packet(0, 1, 50)}})
	require.Empty(t, b.Ready().Messages)
}

func TestOrderAndCheckInRuns(t *testing.T) {
	b := newBench(t, nil)
	b.deliver(0, node(1, 0), pushMsg(0, packet(1, 1, 9)))
	jobs := b.Ready().Jobs
	require.Len(t, jobs, 1)
	require.Equal(t, "xshard.check", jobs[0].Kind)
	for h := shardkit.Height(2); h <= 5; h++ { // meanwhile more come, not in order
		b.deliver(1, node(1, int(h)%4), pushMsg(0, packet(1, 7-h, 9)))
	}
	require.NotContains(t, b.runs, "1:2-2", "one check of a source at a time")
	b.Done(2, jobs[0].Run())
	require.Equal(t, []int{1}, b.heights(1))
	require.Equal(t, []shardkit.ShardID{1}, func() []shardkit.ShardID {
		ready := b.Ready()
		b.Done(3, ready.Jobs[0].Run())
		return ready.Arrived
	}())
	require.Equal(t, []string{"1:1-1", "1:2-5"}, b.runs)
	require.Equal(t, []int{1, 2, 3, 4, 5}, b.heights(1))

	b.Included(4, 1, 3)
	require.Equal(t, []int{4, 5}, b.heights(1))
	b.Included(4, 1, 2)
	require.Equal(t, []int{4, 5}, b.heights(1), "never back")
	b.deliver(5, node(1, 0), pushMsg(0, packet(1, 4, 9)))
	b.deliver(5, node(1, 0), pushMsg(0, packet(1, 2, 9)))
	require.EqualValues(t, 2, b.Stats().Duplicate)
	b.Included(6, 1, 9)
	require.Empty(t, b.heights(1))
	b.deliver(6, node(1, 0), pushMsg(0, packet(1, 10, 9)))
	b.finish(7)
	require.Equal(t, []int{10}, b.heights(1))
}

func TestIncludedDuringCheck(t *testing.T) {
	b := newBench(t, nil)
	for h := shardkit.Height(1); h <= 4; h++ {
		b.deliver(0, node(1, int(h-1)), pushMsg(0, packet(1, h, 9)))
		if h == 1 {
			b.finish(0)
		}
	}
	job := b.Ready().Jobs[0] // of 2 to 4, or 2 alone
	b.Included(1, 1, 3)
	b.Done(2, job.Run())
	b.finish(3)
	require.Equal(t, []int{4}, b.heights(1))
	require.NotContains(t, b.Ready().Arrived, shardkit.ShardID(2))
}

func TestGapIsAskedForAtOnce(t *testing.T) {
	b := newBench(t, nil)
	b.deliver(0, node(1, 0), pushMsg(0, packet(1, 4, 9)))
	sent, _ := b.finish(0)
	require.Len(t, sent, 1)
	require.Regexp(t, `^poll 1\.\d 1\+3$`, sent[0])
	b.deliver(1, node(1, 1), pushMsg(0, packet(1, 5, 9)))
	sent, _ = b.finish(1)
	require.Empty(t, sent, "one question at a time")

	// An empty answer: the next is asked, but not for ever.
	asked := map[string]bool{}
	for range 10 {
		for i := range 4 {
			b.deliver(2, node(1, i), answerMsg(0, 1, b.Stats().Polls, false))
		}
		sent, _ = b.finish(2)
		for _, s := range sent {
			require.False(t, asked[s], "another member each time")
			asked[s] = true
		}
	}
	require.EqualValues(t, 3, b.Stats().Polls)
}

// TestHint: the copy that was to come does not.
func TestHint(t *testing.T) {
	b := newBench(t, func(cfg *xshard.RelayConfig) { cfg.Poll = 80 * ms })
	b.SetMembers(0, 2, nil)
	b.SetMembers(0, 3, nil)
	due := func() time.Duration { at, _ := b.Wake(); return at }
	b.deliver(0, node(1, 0), pushMsg(0, packet(1, 1, 9)))
	b.finish(0)
	b.deliver(20*ms, node(1, 1), hintMsg(0, 1, 1))
	require.Equal(t, 80*ms, due(), "it is there")
	b.deliver(20*ms, node(1, 1), hintMsg(0, 1, 2))
	require.Equal(t, 30*ms, due())
	b.deliver(25*ms, node(1, 0), pushMsg(0, packet(1, 2, 9)))
	b.finish(25 * ms)
	require.Equal(t, 105*ms, due(), "it came")
	b.deliver(30*ms, node(1, 2), hintMsg(0, 1, 3))
	b.Tick(40 * ms)
	sent, _ := b.finish(40 * ms)
	require.Len(t, sent, 1)
	require.Regexp(t, `^poll 1\.\d 3\+`, sent[0])
	b.deliver(41*ms, node(1, 3), hintMsg(0, 1, 4))
	require.Equal(t, 120*ms, due(), "an answer is on its way")

	// A member's hints count once in a period.
	b.Tick(120 * ms)
	b.finish(120 * ms)
	for i := range 4 { // nobody answers
		b.deliver(121*ms, node(1, i), answerMsg(0, 1, b.Stats().Polls, false))
	}
	for range 3 {
		b.deliver(130*ms, node(1, 1), hintMsg(0, 1, 1<<40))
	}
	require.Equal(t, 140*ms, due())
	b.Tick(140 * ms)
	for i := range 4 {
		b.deliver(141*ms, node(1, i), answerMsg(0, 1, b.Stats().Polls, false))
	}
	b.deliver(142*ms, node(1, 1), hintMsg(0, 1, 1<<40+1))
	require.Equal(t, 220*ms, due())
	require.Error(t, b.Deliver(121*ms, node(1, 0), append(hintMsg(0, 1, 1), 0)))
	require.ErrorIs(t, b.Deliver(121*ms, node(9, 9), hintMsg(0, 1, 1)), xshard.ErrPeer)
}

// TestAnswersWithMoreGoOn: a replica that is far behind does not wait for the
// timer between answers.
func TestAnswersWithMoreGoOn(t *testing.T) {
	b := newBench(t, nil)
	b.Tick(100 * ms)
	next := shardkit.Height(1)
	for i := 0; i < 5; i++ {
		ready := b.Ready()
		var asked shardkit.NodeID
		for _, m := range ready.Messages {
			if strings.HasPrefix(describe(m), "poll 1.") {
				asked = m.To
			}
		}
		require.NotZero(t, asked, "round %d", i)
		id := uint64(0)
		for _, m := range ready.Messages {
			if m.To == asked {
				rd := wire.NewReader(m.Data[10:])
				id = rd.U64()
				require.EqualValues(t, next, rd.U64())
			}
		}
		b.deliver(101*ms, asked, answerMsg(0, 1, id, true, packet(1, next, 9), packet(1, next+1, 9)))
		next += 2
		for _, j := range ready.Jobs {
			b.Done(101*ms, j.Run())
		}
	}
	b.finish(102 * ms)
	require.Len(t, b.heights(1), 10)
}

func TestLateAnswerIsStillWelcome(t *testing.T) {
	b := newBench(t, nil)
	b.Tick(100 * ms)
	b.Tick(200 * ms)
	for i := range 4 {
		b.deliver(250*ms, node(1, i), answerMsg(0, 1, 1, false, packet(1, 1, 9)))
	}
	b.finish(250 * ms)
	require.Equal(t, []int{1}, b.heights(1))
}

func TestBadPacket(t *testing.T) {
	b := newBench(t, nil)
	forged := func(h shardkit.Height) xshard.Packet {
		p := packet(1, h, 9)
		p.Cert = []byte("forged")
		return p
	}
	b.deliver(0, node(1, 3), pushMsg(0, packet(1, 1, 9)))
	for h := shardkit.Height(2); h < 50; h++ {
		b.deliver(0, node(1, 0), pushMsg(0, forged(h)))
	}
	b.deliver(0, node(1, 1), pushMsg(0, packet(1, 2, 9))) // the true one beside the false one
	sent, bad := b.finish(0)
	require.Equal(t, []int{1, 2}, b.heights(1))
	require.Equal(t, []xshard.BadPeer{{Peer: node(1, 0), Err: errForged}}, bad, "one check for all it sent")
	for _, s := range sent {
		require.NotContains(t, s, "1.0", "others are asked")
	}
	require.Error(t, b.Deliver(1, node(1, 0), pushMsg(0, packet(1, 3, 9))), "ignored for a while")
	b.deliver(3*time.Second, node(1, 0), pushMsg(0, packet(1, 3, 9)))
	b.finish(3 * time.Second)
	require.Equal(t, []int{1, 2, 3}, b.heights(1))
}

// TestOneCertificateForARun: a false certificate at the end of a run spoils the
// check of all of it; the relay finds out whose it is.
func TestOneCertificateForARun(t *testing.T) {
	for at := shardkit.Height(2); at <= 40; at++ {
		b := newBench(t, nil)
		b.last = true
		b.deliver(0, node(1, 0), pushMsg(0, packet(1, 1, 9)))
		for h := shardkit.Height(2); h <= 40; h++ {
			p, from := packet(1, h, 9), node(1, int(h)%3)
			if h == at {
				p.Cert, from = []byte("forged"), node(1, 3)
			}
			b.deliver(0, from, pushMsg(0, p))
		}
		_, bad := b.finish(0)
		if at == 40 { // else a later certificate stands for it
			require.Equal(t, []xshard.BadPeer{{Peer: node(1, 3), Err: errForged}}, bad)
			require.Len(t, b.heights(1), 39)
		} else {
			require.Empty(t, bad)
			require.Len(t, b.heights(1), 40)
		}
		require.Less(t, len(b.runs), 16)
	}
}

func TestAllMembersMuted(t *testing.T) {
	b := newBench(t, nil)
	for i := range 4 {
		p := packet(1, 1, 9)
		p.Cert = []byte("forged")
		b.deliver(0, node(1, i), pushMsg(0, p))
		b.finish(0)
	}
	b.Tick(100 * ms)
	sent, _ := b.finish(100 * ms)
	require.Contains(t, strings.Join(sent, "\n"), "poll 1.", "somebody is asked all the same")
}

// TestNotYetDecidable: packets of a committee that is not known are kept, and
// looked at again when something may have changed.
func TestNotYetDecidable(t *testing.T) {
	for what, change := range map[string]func(b *bench){
		"Included":   func(b *bench) { b.Included(50*ms, 2, 7) },
		"SetMembers": func(b *bench) { b.SetMembers(50*ms, 3, nodes(3, 5)) },
		"Poll":       func(b *bench) { b.Tick(100 * ms) },
	} {
		b := newBench(t, nil)
		b.committee = 2
		for h := shardkit.Height(1); h <= 4; h++ {
			b.deliver(0, node(1, 0), pushMsg(0, packet(1, h, 9)))
		}
		b.finish(0)
		require.Equal(t, []int{1, 2}, b.heights(1))
		n := len(b.runs)
		b.deliver(1*ms, node(1, 0), pushMsg(0, packet(1, 5, 9)))
		b.finish(1 * ms)
		require.Len(t, b.runs, n, "no use before something changes")
		b.committee = 0
		change(b)
		_, bad := b.finish(51 * ms)
		require.Empty(t, bad)
		require.Equal(t, []int{1, 2, 3, 4, 5}, b.heights(1), what)
	}
}

// TestUndecidableJunkDoesNotBlock: somebody sends what claims to be certified
// by a committee of the far future.
func TestUndecidableJunkDoesNotBlock(t *testing.T) {
	b := newBench(t, nil)
	for i := range 3 {
		p := packet(1, 1, 9+i)
		p.Cert = []byte("later")
		b.deliver(0, node(1, i), pushMsg(0, p))
		b.finish(0)
	}
	require.Empty(t, b.heights(1))
	b.deliver(1, node(1, 3), pushMsg(0, packet(1, 1, 9)))
	b.finish(1)
	require.Equal(t, []int{1}, b.heights(1))
}

// TestNewsDuringCheck: the committee becomes known while the check that did not
// know it is under way.
func TestNewsDuringCheck(t *testing.T) {
	b := newBench(t, nil)
	b.committee = -1
	later := packet(1, 1, 9)
	later.Cert = []byte("later")
	b.deliver(0, node(1, 0), pushMsg(0, later))
	job := b.Ready().Jobs[0]
	b.Included(1, 2, 5)
	b.Done(2, job.Run())
	require.Len(t, b.Ready().Jobs, 1, "checked again at once")
}

// TestStuckSourceIsAskedLessAndLess: others are asked for what stands in the
// way, even when the queue is full, but not at every period.
func TestStuckSourceIsAskedLessAndLess(t *testing.T) {
	b := newBench(t, func(cfg *xshard.RelayConfig) { cfg.MaxQueue = 1 })
	p := packet(1, 1, 9)
	p.Cert = []byte("later")
	b.deliver(0, node(1, 0), pushMsg(0, p))
	b.finish(0)
	polls := 0
	for i := 1; i <= 64; i++ {
		b.Tick(time.Duration(i) * 100 * ms)
		sent, _ := b.finish(time.Duration(i) * 100 * ms)
		for _, s := range sent {
			if strings.HasPrefix(s, "poll 1.") {
				require.True(t, strings.HasSuffix(s, " 1+1"), s)
				polls++
			}
		}
	}
	require.Equal(t, 7, polls)
}

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
