package simnet_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad/simnet"
)

func id(i int) (id shardkit.NodeID) {
	binary.BigEndian.PutUint32(id[:], uint32(i+1))
	return id
}

// node is a scripted node: tests set the functions they need.
type node struct {
	deliver func(now time.Duration, from shardkit.NodeID, msg []byte) error
	done    func(now time.Duration, result any)
	saved   func(now time.Duration, seq uint64)
	tick    func(now time.Duration)
	wake    time.Duration
	eff     simnet.Effects
}

func (n *node) Deliver(now time.Duration, from shardkit.NodeID, msg []byte) error {
	if n.deliver == nil {
		return nil
	}
	return n.deliver(now, from, msg)
}

func (n *node) Done(now time.Duration, result any) {
	if n.done != nil {
		n.done(now, result)
	}
}

func (n *node) Persisted(now time.Duration, seq uint64) {
	if n.saved != nil {
		n.saved(now, seq)
	}
}

func (n *node) Tick(now time.Duration) {
	if n.tick != nil {
		n.tick(now)
	}
}

func (n *node) Wake() (time.Duration, bool) { return n.wake, n.wake != 0 }

func (n *node) Effects() simnet.Effects {
	eff := n.eff
	n.eff = simnet.Effects{}
	return eff
}

func (n *node) send(to int, class uint8, data []byte) {
	n.eff.Messages = append(n.eff.Messages, shardkit.Message{To: id(to), Class: class, Data: data})
}

// network makes a net of count scripted nodes.
func network(t testing.TB, cfg simnet.Config, count int) (*simnet.Net, []*node) {
	net, err := simnet.New(cfg)
	require.NoError(t, err)
	nodes := make([]*node, count)
	for i := range nodes {
		require.NoError(t, net.Add(id(i), func([][]byte) (simnet.Node, error) {
			nodes[i] = &node{}
			return nodes[i], nil
		}))
	}
	return net, nodes
}

// do runs f on a scripted node.
func do(net *simnet.Net, i int, f func(n *node)) bool {
	return net.Do(id(i), func(_ time.Duration, x simnet.Node) { f(x.(*node)) })
}

func TestLatencyAndOrder(t *testing.T) {
	net, nodes := network(t, simnet.Config{
		Latency: simnet.Regions([][]time.Duration{{1, 50}, {70, 1}}, func(n shardkit.NodeID) int { return int(n[3]) - 1 }),
	}, 2)
	var got []string
	for i, n := range nodes {
		n.deliver = func(now time.Duration, _ shardkit.NodeID, msg []byte) error {
			got = append(got, fmt.Sprintf("%d at %d: %s", i, now, msg))
			return nil
		}
	}
	do(net, 0, func(n *node) { n.send(1, 0, []byte("a")); n.send(1, 0, []byte("b")) })
	do(net, 1, func(n *node) { n.send(0, 0, []byte("c")) })
	net.Run(time.Second)
	require.Equal(t, []string{"1 at 50: a", "1 at 50: b", "0 at 70: c"}, got)
	require.Equal(t, time.Second, net.Now())
}

// A second is 1000 bytes. Bulk goes first, an urgent message interrupts it,
// and the rest of the bulk follows; the downlink does the same again.
func TestBandwidthAndClasses(t *testing.T) {
	net, nodes := network(t, simnet.Config{Bandwidth: 1000, Latency: func(_, _ shardkit.NodeID) time.Duration { return 0 }}, 3)
	var got []string
	nodes[1].deliver = func(now time.Duration, _ shardkit.NodeID, msg []byte) error {
		got = append(got, fmt.Sprintf("%d at %v", len(msg), now))
		return nil
	}
	do(net, 0, func(n *node) { n.send(1, shardkit.ClassSync, make([]byte, 1000)) })
	net.At(500*time.Millisecond, func() {
		do(net, 0, func(n *node) { n.send(1, shardkit.ClassVote, make([]byte, 100)) })
	})
	net.Run(time.Minute)
	// Up: the vote from 0.5 to 0.6, the bulk until 1.1; down: 0.7 and 2.1.
	require.Equal(t, []string{"100 at 700ms", "1000 at 2.1s"}, got)
}

func TestDownlinkIsShared(t *testing.T) {
	net, nodes := network(t, simnet.Config{Size: func([]byte) int { return 500 }}, 4)
	net.SetBandwidth(id(3), 0, 1000)
	var last time.Duration
	nodes[3].deliver = func(now time.Duration, _ shardkit.NodeID, _ []byte) error { last = now; return nil }
	for i := range 3 {
		do(net, i, func(n *node) { n.send(3, 1, []byte("stub")) })
	}
	net.Run(time.Minute)
	require.Equal(t, 1501*time.Millisecond, last)
}

func TestFaults(t *testing.T) {
	const sent = 10_000
	net, nodes := network(t, simnet.Config{Seed: 1, Loss: 0.2, Duplicate: 0.1, Reorder: 0.5, Jitter: time.Millisecond}, 2)
	got, behind, newest := 0, 0, uint32(0)
	nodes[1].deliver = func(_ time.Duration, _ shardkit.NodeID, msg []byte) error {
		got++
		n := binary.BigEndian.Uint32(msg)
		if n < newest {
			behind++
		}
		newest = max(newest, n)
		return nil
	}
	for i := range sent {
		net.At(time.Duration(i)*time.Millisecond, func() {
			do(net, 0, func(n *node) { n.send(1, 0, binary.BigEndian.AppendUint32(nil, uint32(i))) })
		})
	}
	net.Run(time.Minute)
	require.InDelta(t, sent*0.8*1.1, got, sent*0.03)
	require.Greater(t, behind, sent/4)
	require.Equal(t, uint64(sent), net.Stats().Sent)
	require.Equal(t, uint64(got), net.Stats().Delivered)
}

func TestBlockAndPartition(t *testing.T) {
	net, nodes := network(t, simnet.Config{}, 4)
	got := map[string]bool{}
	for i, n := range nodes {
		n.deliver = func(_ time.Duration, from shardkit.NodeID, _ []byte) error {
			got[fmt.Sprintf("%d-%d", from[3]-1, i)] = true
			return nil
		}
	}
	all := func() int {
		clear(got)
		for i := range nodes {
			for j := range nodes {
				if i != j {
					do(net, i, func(n *node) { n.send(j, 0, nil) })
				}
			}
		}
		net.Run(net.Now() + time.Second)
		return len(got)
	}
	require.Equal(t, 12, all())
	net.Block(id(0), id(1), true)
	require.Equal(t, 11, all())
	require.False(t, got["0-1"])
	require.True(t, got["1-0"])
	net.Block(id(0), id(1), false)
	net.Partition([]shardkit.NodeID{id(0), id(1)}, []shardkit.NodeID{id(2)})
	require.Equal(t, 2, all())
	require.True(t, got["0-1"] && got["1-0"])
	net.Heal()
	require.Equal(t, 12, all())
}

// saver is a node that writes one record per message and answers each when
// its record is durable.
func saver(boots *[][]string) simnet.Boot {
	return func(log [][]byte) (simnet.Node, error) {
		var had []string
		for _, r := range log {
			had = append(had, string(r))
		}
		*boots = append(*boots, had)
		n := &node{}
		seq := uint64(0)
		n.deliver = func(_ time.Duration, from shardkit.NodeID, msg []byte) error {
			seq++
			n.eff.Records = append(n.eff.Records, msg)
			n.eff.Seq = seq
			n.eff.Messages = append(n.eff.Messages,
				shardkit.Message{To: from, Data: []byte("got " + string(msg))},
				shardkit.Message{To: from, Data: []byte("safe " + string(msg)), After: seq})
			return nil
		}
		return n, nil
	}
}

func TestCrashLosesWhatIsNotDurable(t *testing.T) {
	net, nodes := network(t, simnet.Config{SyncTime: 10 * time.Millisecond}, 1)
	var boots [][]string
	require.NoError(t, net.Add(id(1), saver(&boots)))
	var got []string
	nodes[0].deliver = func(_ time.Duration, _ shardkit.NodeID, msg []byte) error {
		got = append(got, string(msg))
		return nil
	}
	say := func(at time.Duration, what string) {
		net.At(at, func() { do(net, 0, func(n *node) { n.send(1, 0, []byte(what)) }) })
	}
	say(0, "a")                          // arrives at 1, durable at 11
	say(2*time.Millisecond, "b")         // waits for the write of a, durable at 21
	say(3*time.Millisecond, "c")         // shares b's write
	say(15*time.Millisecond, "d")        // arrives at 16, not yet being written
	net.At(20*time.Millisecond, func() { // b and c are being written
		require.Equal(t, [][]byte{[]byte("a")}, net.Records(id(1)))
		net.Crash(id(1))
		require.Nil(t, net.Node(id(1)))
	})
	say(21*time.Millisecond, "lost")
	net.At(30*time.Millisecond, func() { require.NoError(t, net.Restart(id(1))) })
	say(40*time.Millisecond, "e")
	net.Run(time.Second)
	require.Equal(t, [][]string{nil, {"a"}}, boots)
	require.Equal(t, []string{"got a", "got b", "got c", "safe a", "got d", "got e", "safe e"}, got)
	require.Equal(t, "[a e]", fmt.Sprintf("%s", net.Records(id(1))))
	require.Equal(t, uint64(2), net.NodeStats(id(1)).Records)
	require.Error(t, net.Restart(id(1)))
	require.ErrorIs(t, net.Restart(id(9)), simnet.ErrUnknown)
}

// With Torn, any prefix of the records being written survives.
func TestTorn(t *testing.T) {
	seen := map[int]bool{}
	for seed := range uint64(50) {
		net, _ := network(t, simnet.Config{Seed: seed, Torn: true, SyncTime: time.Second}, 1)
		do(net, 0, func(n *node) { n.eff.Records = [][]byte{{1}, {2}}; n.eff.Seq = 2 })
		net.Crash(id(0))
		seen[len(net.Records(id(0)))] = true
	}
	require.Equal(t, map[int]bool{0: true, 1: true, 2: true}, seen)
}

func TestPrune(t *testing.T) {
	net, _ := network(t, simnet.Config{}, 1)
	add := func(seq, prune uint64, recs ...byte) {
		do(net, 0, func(n *node) {
			for _, r := range recs {
				n.eff.Records = append(n.eff.Records, []byte{r})
			}
			n.eff.Seq, n.eff.Prune = seq, prune
		})
		net.Run(net.Now() + time.Second)
	}
	have := func() (b []byte) { return bytes.Join(net.Records(id(0)), nil) }
	add(3, 0, 1, 2, 3)
	require.Equal(t, []byte{1, 2, 3}, have())
	add(4, 2, 4)
	require.Equal(t, []byte{3, 4}, have())
	net.Crash(id(0))
	require.NoError(t, net.Restart(id(0)))
	add(2, 0, 5, 6)
	require.Equal(t, []byte{3, 4, 5, 6}, have())
	add(3, 1, 7)
	require.Equal(t, []byte{6, 7}, have())
	require.Panics(t, func() { add(9, 0, 8) }, "records are numbered without gaps")
}

func TestJobs(t *testing.T) {
	net, nodes := network(t, simnet.Config{
		Workers: 2,
		JobTime: func(j shardkit.Job) time.Duration { return time.Duration(j.Size) * time.Millisecond },
	}, 1)
	var got []string
	nodes[0].done = func(now time.Duration, r any) { got = append(got, fmt.Sprintf("%v at %v", r, now)) }
	ran := 0
	job := func(size int) shardkit.Job {
		return shardkit.Job{Kind: "test", Size: size, Run: func() any { ran++; return size }}
	}
	do(net, 0, func(n *node) {
		n.eff.Jobs = []shardkit.Job{job(5000), job(10), job(20), job(30)} // the first takes no worker
	})
	net.Run(100 * time.Millisecond)
	require.Equal(t, []string{"10 at 10ms", "20 at 20ms", "30 at 40ms"}, got)
	net.Crash(id(0))
	net.Run(time.Minute)
	require.Equal(t, 3, ran, "a job that was under way never ran")
	require.Equal(t, uint64(3), net.NodeStats(id(0)).Jobs)
	require.Equal(t, 60*time.Millisecond, net.NodeStats(id(0)).JobTime)
}

func TestTimers(t *testing.T) {
	net, nodes := network(t, simnet.Config{Drift: func(shardkit.NodeID) int { return 1000 }}, 1)
	n := nodes[0]
	var got []time.Duration
	n.tick = func(now time.Duration) { got = append(got, now); n.wake = 0 }
	do(net, 0, func(n *node) { n.wake = 3 * time.Second })
	do(net, 0, func(n *node) { n.wake = time.Second }) // earlier
	do(net, 0, func(n *node) { n.wake = 2002 * time.Millisecond })
	net.Run(time.Minute)
	require.Len(t, got, 1)
	require.InDelta(t, 2002*time.Millisecond, got[0], 2e3)
	require.False(t, net.RunUntil(func() bool { return len(got) > 1 }, 2*time.Minute))

	// A node that is never content does not stop the time.
	ticks := 0
	n.tick = func(time.Duration) { ticks++ }
	do(net, 0, func(n *node) { n.wake = 1 })
	net.Run(net.Now() + time.Millisecond)
	require.InDelta(t, 1000, ticks, 2)
}

func TestClockStartsAtBoot(t *testing.T) {
	net, nodes := network(t, simnet.Config{}, 1)
	net.Run(time.Hour)
	net.Crash(id(0))
	require.NoError(t, net.Restart(id(0)))
	var at time.Duration
	do(net, 0, func(n *node) { n.wake = time.Second })
	nodes[0].tick = func(now time.Duration) { at = now; nodes[0].wake = 0 }
	net.Run(2 * time.Hour)
	require.Equal(t, time.Second, at)
}

// What a former life began does not reach the next, even if that begins soon.
func TestOldLifeIsOver(t *testing.T) {
	net, nodes := network(t, simnet.Config{
		SyncTime: 10 * time.Millisecond,
		JobTime:  func(shardkit.Job) time.Duration { return 10 * time.Millisecond },
	}, 1)
	do(net, 0, func(n *node) {
		n.wake = 10 * time.Millisecond
		n.eff.Records, n.eff.Seq = [][]byte{{1}}, 1
		n.eff.Jobs = []shardkit.Job{{Run: func() any { t.Error("ran"); return nil }}}
	})
	net.Run(time.Millisecond)
	net.Crash(id(0))
	require.NoError(t, net.Restart(id(0)))
	nodes[0].done = func(time.Duration, any) { t.Error("done") }
	nodes[0].saved = func(time.Duration, uint64) { t.Error("persisted") }
	nodes[0].tick = func(time.Duration) { t.Error("ticked") }
	net.Run(time.Minute)
	require.Empty(t, net.Records(id(0)))
}

func TestFilter(t *testing.T) {
	var verdict simnet.Verdict
	var net *simnet.Net
	var crash bool
	net, nodes := network(t, simnet.Config{Filter: func(from, to shardkit.NodeID, msg []byte) simnet.Verdict {
		if crash {
			net.Crash(from)
		}
		return verdict
	}}, 2)
	var got []string
	nodes[1].deliver = func(_ time.Duration, _ shardkit.NodeID, msg []byte) error {
		got = append(got, string(msg))
		return nil
	}
	for _, verdict = range []simnet.Verdict{{}, {Drop: true}, {Delay: time.Second}, {Extra: 1}, {Data: []byte("other")}} {
		do(net, 0, func(n *node) { n.send(1, 0, []byte("m")) })
	}
	net.Run(time.Minute)
	require.Equal(t, []string{"m", "m", "m", "other", "m"}, got)

	// A crash between two effects: the first message leaves, the second does not.
	got, verdict, crash = nil, simnet.Verdict{}, true
	do(net, 0, func(n *node) { n.send(1, 0, []byte("1")); n.send(1, 0, []byte("2")) })
	net.Run(net.Now() + time.Minute)
	require.Equal(t, []string{"1"}, got)
	require.False(t, do(net, 0, func(*node) { t.Fatal("down") }))
}

func TestHooks(t *testing.T) {
	var refused []string
	steps := 0
	bad := errors.New("bad")
	net, nodes := network(t, simnet.Config{
		OnError: func(n, from shardkit.NodeID, err error) {
			refused = append(refused, fmt.Sprint(n == id(1), from == id(0), err))
		},
		OnStep: func(shardkit.NodeID, simnet.Node) { steps++ },
	}, 2)
	nodes[1].deliver = func(time.Duration, shardkit.NodeID, []byte) error { return bad }
	do(net, 0, func(n *node) { n.send(1, 0, nil); n.send(77, 0, nil) })
	net.Run(time.Second)
	require.Equal(t, []string{"true true bad"}, refused)
	require.Equal(t, 4, steps) // two boots, Do, Deliver
	require.Equal(t, simnet.Stats{Events: 1, Sent: 2, Delivered: 1, Lost: 1, Refused: 1}, net.Stats())
}

func TestConfigErrors(t *testing.T) {
	for _, cfg := range []simnet.Config{{Loss: -1}, {Loss: 2}, {Duplicate: 1.5}, {Reorder: -0.1}, {Jitter: -1}, {Bandwidth: -1}} {
		_, err := simnet.New(cfg)
		require.Error(t, err)
	}
	net, _ := network(t, simnet.Config{}, 1)
	require.Error(t, net.Add(id(0), nil))
	require.ErrorContains(t, net.Add(id(1), func([][]byte) (simnet.Node, error) { return nil, errors.New("no") }), "no")
	require.Nil(t, net.Node(id(1)))
}

// gossip is a busy network with every fault: nodes pass numbers on, write some
// down, and crash.
func gossip(t testing.TB, seed uint64, count int, until time.Duration, trace *bytes.Buffer) *simnet.Net {
	cfg := simnet.Config{
		Seed: seed, Loss: 0.05, Duplicate: 0.02, Reorder: 0.05, Jitter: 5 * time.Millisecond,
		SyncTime: 2 * time.Millisecond, Torn: true, Bandwidth: 1e6,
		JobTime: func(j shardkit.Job) time.Duration { return time.Duration(j.Size) * time.Microsecond },
	}
	if trace != nil {
		cfg.Trace = trace
	}
	net, err := simnet.New(cfg)
	require.NoError(t, err)
	for i := range count {
		require.NoError(t, net.Add(id(i), func(log [][]byte) (simnet.Node, error) {
			return gossiper(i, count, len(log)), nil
		}))
	}
	for i := range 10 {
		victim := id(net.Rand().IntN(count))
		net.At(time.Duration(i+1)*until/12, func() { net.Crash(victim) })
		net.At(time.Duration(i+2)*until/12, func() { _ = net.Restart(victim) })
	}
	net.Run(until)
	return net
}

func gossiper(i, count, state int) *node {
	n := &node{wake: time.Millisecond}
	seq := uint64(0)
	n.tick = func(now time.Duration) {
		n.wake = now + 10*time.Millisecond
		state++
		n.send((i*7+state)%count, uint8(state%3), make([]byte, 100+state%50))
	}
	n.deliver = func(_ time.Duration, from shardkit.NodeID, msg []byte) error {
		if len(msg)%7 == 0 {
			return errors.New("odd")
		}
		if len(msg)%3 == 0 {
			seq++
			n.eff.Records, n.eff.Seq = append(n.eff.Records, msg), seq
			n.eff.Messages = append(n.eff.Messages, shardkit.Message{To: from, After: seq, Data: msg[:50]})
		}
		size := len(msg)
		n.eff.Jobs = append(n.eff.Jobs, shardkit.Job{Kind: "sum", Size: size, Run: func() any { return size }})
		return nil
	}
	n.done = func(_ time.Duration, r any) { n.send((i+r.(int))%count, 1, make([]byte, r.(int)-1)) }
	return n
}

func TestSameSeedSameHistory(t *testing.T) {
	var a, b bytes.Buffer
	one := gossip(t, 5, 20, time.Second, &a)
	two := gossip(t, 5, 20, time.Second, &b)
	require.NoError(t, one.Flush())
	require.NoError(t, two.Flush())
	require.Equal(t, one.Digest(), two.Digest())
	require.Equal(t, a.Bytes(), b.Bytes())
	require.Equal(t, one.Digest(), gossip(t, 5, 20, time.Second, nil).Digest(), "tracing changes nothing")
	require.NotEqual(t, one.Digest(), gossip(t, 6, 20, time.Second, nil).Digest())
	for _, line := range bytes.Split(bytes.TrimSpace(a.Bytes()), []byte("\n")) {
		require.True(t, json.Valid(line), "%s", line)
	}
}

func BenchmarkEvents(b *testing.B) {
	for _, count := range []int{8, 1000} {
		b.Run(fmt.Sprintf("nodes=%d", count), func(b *testing.B) {
			b.ReportAllocs()
			var events uint64
			for b.Loop() {
				events += gossip(b, 1, count, time.Second, nil).Stats().Events
			}
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkFlood lets one message of a megabyte reach 44,000 nodes, each of
// which passes it on to eight others over a line of 100 Mbit/s. The message is
// a stub that counts as a megabyte.
func BenchmarkFlood(b *testing.B) {
	const count = 44_000
	for b.Loop() {
		net, err := simnet.New(simnet.Config{Seed: 1, Bandwidth: 100e6 / 8, Size: func([]byte) int { return 1 << 20 }})
		require.NoError(b, err)
		reached := 0
		var last time.Duration
		for i := range count {
			err := net.Add(id(i), func([][]byte) (simnet.Node, error) {
				n, seen := &node{}, false
				n.deliver = func(_ time.Duration, _ shardkit.NodeID, msg []byte) error {
					if seen {
						return nil
					}
					seen = true
					reached++
					last = net.Now()
					for k := range 8 {
						n.send((i*8+k+1)%count, 1, msg)
					}
					return nil
				}
				return n, nil
			})
			require.NoError(b, err)
		}
		net.Do(id(0), func(now time.Duration, n simnet.Node) { _ = n.Deliver(now, id(1), []byte("stub")) })
		net.Run(time.Hour)
		require.Equal(b, count, reached)
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		b.ReportMetric(last.Seconds(), "virtual-s")
		b.ReportMetric(float64(mem.HeapAlloc)/count, "B/node")
		runtime.KeepAlive(net)
	}
}
