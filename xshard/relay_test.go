package xshard_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/xshard"
)

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
