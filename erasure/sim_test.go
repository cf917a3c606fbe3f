package erasure_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/erasure"
	"github.com/shardkit/shardkit/kad/simnet"
)

var seeds = flag.Int("erasure.seeds", 40, "seeds of the simulation")

// simNode is a member in a simulated network: the core, and an announcement
// that stands for the consensus.
type simNode struct {
	*erasure.Core
	self  shardkit.NodeID
	group erasure.Group
	extra []shardkit.Message // to be sent beside the core's

	delivered []erasure.Delivered
	at        []time.Duration // when
	bad       []erasure.BadPeer
	now       time.Duration
}

const announce = 0xa0 // first byte of an announcement: a reference follows

func newSimNode(self shardkit.NodeID, g erasure.Group, cfg erasure.Config) (*simNode, error) {
	cfg.Self = self
	core, err := erasure.New(cfg)
	if err != nil {
		return nil, err
	}
	return &simNode{Core: core, self: self, group: g}, core.SetGroup(0, 1, g)
}

func (n *simNode) Deliver(now time.Duration, from shardkit.NodeID, msg []byte) error {
	n.now = now
	if len(msg) > 0 && msg[0] == announce {
		return n.Obtain(now, 1, from, msg[1:])
	}
	return n.Core.Deliver(now, from, msg)
}

func (n *simNode) Done(now time.Duration, result any) {
	n.now = now
	n.Core.Done(now, result)
}

func (n *simNode) Effects() simnet.Effects {
	ready := n.Ready()
	for _, d := range ready.Delivered {
		n.delivered = append(n.delivered, d)
		n.at = append(n.at, n.now)
	}
	n.bad = append(n.bad, ready.Bad...)
	e := simnet.Effects{Jobs: ready.Jobs}
	for _, d := range ready.Dispersed {
		e.Messages = append(e.Messages, n.announcement(d.Ref)...)
	}
	e.Messages = append(append(e.Messages, ready.Messages...), n.extra...)
	n.extra = nil
	return e
}

func (n *simNode) announcement(ref []byte) (msgs []shardkit.Message) {
	for _, m := range n.group.Members {
		if m.Node != n.self {
			msgs = append(msgs, shardkit.Message{To: m.Node, Class: shardkit.ClassVote, Data: append([]byte{announce}, ref...)})
		}
	}
	return msgs
}

// simulation is a group in a network.
type simulation struct {
	t     testing.TB
	net   *simnet.Net
	group erasure.Group
	nodes []*simNode
}

func newSimulation(t testing.TB, g erasure.Group, cfg erasure.Config, sim simnet.Config) *simulation {
	net, err := simnet.New(sim)
	require.NoError(t, err)
	s := &simulation{t: t, net: net, group: g, nodes: make([]*simNode, len(g.Members))}
	for i, m := range g.Members {
		require.NoError(t, net.Add(m.Node, func([][]byte) (simnet.Node, error) {
			n, err := newSimNode(m.Node, g, cfg)
			s.nodes[i] = n
			return n, err
		}))
	}
	return s
}

func (s *simulation) do(i int, f func(now time.Duration, n *simNode)) {
	require.True(s.t, s.net.Do(s.group.Members[i].Node, func(now time.Duration, node simnet.Node) {
		f(now, node.(*simNode))
	}))
}

// delivered reports whether the nodes for which it is asked have at least n
// deliveries.
func (s *simulation) delivered(n int, of func(i int) bool) func() bool {
	return func() bool {
		for i, node := range s.nodes {
			if of(i) && len(node.delivered) < n {
				return false
			}
		}
		return true
	}
}

// randomGroup returns 1 to 20 members of equal or very different weights.
func randomGroup(rng *rand.Rand) erasure.Group {
	ws := make([]uint64, 1+rng.IntN(20))
	for i := range ws {
		ws[i] = 1
		if rng.IntN(2) == 0 {
			ws[i] += rng.Uint64N(30)
		}
	}
	return group(ws...)
}

// TestEverybodyDelivers: honest members, a bad network, crashes.
func TestEverybodyDelivers(t *testing.T) {
	for seed := range uint64(*seeds) {
		rng := rand.New(rand.NewPCG(seed, 1))
		g := randomGroup(rng)
		s := newSimulation(t, g, erasure.Config{Small: 500}, simnet.Config{
			Seed: seed, Loss: 0.2, Duplicate: 0.1, Reorder: 0.1, Jitter: 50 * ms,
			JobTime: func(shardkit.Job) time.Duration { return 2 * ms },
		})
		var bodies [][]byte
		for i := range 4 {
			b := body(1 + rng.IntN(1<<rng.IntN(17)))
			bodies = append(bodies, b)
			s.net.At(time.Duration(i)*100*ms, func() {
				s.do(0, func(now time.Duration, n *simNode) { n.Disperse(now, 1, b) })
			})
		}
		if len(g.Members) > 1 { // one restarts empty and hears the announcements again
			s.net.At(350*ms, func() {
				s.net.Crash(g.Members[1].Node)
				require.NoError(t, s.net.Restart(g.Members[1].Node))
			})
		}
		for i := range 40 { // the announcement is the consensus's, which repeats it
			s.net.At(time.Duration(400+100*i)*ms, func() {
				for _, b := range bodies {
					ref := reference(t, g, b)
					s.do(0, func(_ time.Duration, n *simNode) { n.extra = append(n.extra, n.announcement(ref)...) })
				}
			})
		}
		s.net.Run(15 * time.Second)
		for i, n := range s.nodes[1:] {
			got := map[string]bool{}
			for _, d := range n.delivered {
				require.NoError(t, d.Err)
				got[string(d.Body)] = true
			}
			for _, b := range bodies {
				require.True(t, got[string(b)], "seed %d: member %d of %d lacks %d bytes", seed, i+1, len(g.Members), len(b))
			}
			require.Empty(t, n.bad, "nobody is blamed")
		}
	}
}

// reference returns the reference to a body that Disperse makes.
func reference(t testing.TB, g erasure.Group, b []byte) []byte {
	d, err := erasure.NewDeal(g)
	require.NoError(t, err)
	k, n := d.K, d.N
	if len(b) <= 500 {
		k, n = 1, 1
	}
	_, coded := encode(t, k, n, b)
	return encoded(coded.Ref)
}

// TestHostileSender: the sender of each seed cheats in one way. Either every
// honest member delivers the same, or what too few got is delivered by none.
func TestHostileSender(t *testing.T) {
	for seed := range uint64(*seeds) {
		rng := rand.New(rand.NewPCG(seed, 2))
		ws := equal(4 + 3*rng.IntN(5))
		for i := range ws {
			ws[i] += rng.Uint64N(3)
		}
		g := group(ws...)
		d, err := erasure.NewDeal(g)
		require.NoError(t, err)
		s := newSimulation(t, g, erasure.Config{Small: 10}, simnet.Config{
			Seed: seed, Jitter: 50 * ms, Loss: 0.05,
			JobTime: func(shardkit.Job) time.Duration { return 2 * ms },
		})
		garbage := func(c [][]byte) {
			if seed%2 == 0 && d.N > d.K {
				c[rng.IntN(d.N)][rng.IntN(3)]++
			}
		}
		length := 3000
		if rng.IntN(3) == 0 {
			length = 100_000
		}
		ref, chunks := forge(t, d.K, d.N, body(length), garbage)
		bad := seed%2 == 0 && d.N > d.K

		// It gives their chunks to some members only, random ones to some, and
		// is silent from then on.
		given := 0
		share := rng.Float64()
		for i, m := range g.Members[1:] {
			s.nodes[0].extra = append(s.nodes[0].extra, shardkit.Message{To: m.Node, Data: append([]byte{announce}, encoded(ref)...)})
			if lo, hi := d.Range(i + 1); rng.Float64() < share {
				s.nodes[0].extra = append(s.nodes[0].extra, shardkit.Message{To: m.Node, Data: rawChunks(ref, chunks[lo:hi]...)})
				given += hi - lo
			}
		}
		s.net.SetLoss(0) // until what it sends is out
		s.do(0, func(time.Duration, *simNode) {})
		s.net.Run(200 * ms)
		s.net.SetLoss(0.05)
		s.net.Crash(g.Members[0].Node)
		s.net.Run(20 * time.Second)

		for i, n := range s.nodes[1:] {
			require.Empty(t, n.bad, "honest members are not blamed")
			if given < d.K {
				require.Empty(t, n.delivered, "seed %d", seed)
				continue
			}
			require.Len(t, n.delivered, 1, "seed %d: member %d of %d, %d of %d chunks given", seed, i+1, len(g.Members), given, d.K)
			if bad {
				require.ErrorIs(t, n.delivered[0].Err, erasure.ErrBad)
			} else {
				require.True(t, bytes.Equal(body(length), n.delivered[0].Body))
			}
		}
	}
}

// TestHostileMembers: members of all the weight that is not sure send false
// chunks in place of every chunk they owe, and ask all the time.
func TestHostileMembers(t *testing.T) {
	for seed := range uint64(*seeds) {
		rng := rand.New(rand.NewPCG(seed, 3))
		g := group(equal(4 + 3*rng.IntN(7))...)
		m := len(g.Members)
		faults := (m - 1) / 3
		hostile := func(i int) bool { return i >= m-faults }
		id := map[shardkit.NodeID]int{}
		for i, x := range g.Members {
			id[x.Node] = i
		}
		sim := simnet.Config{Seed: seed, Jitter: 50 * ms, Loss: 0.05, JobTime: func(shardkit.Job) time.Duration { return 2 * ms }}
		sim.Filter = func(from, _ shardkit.NodeID, msg []byte) simnet.Verdict {
			if !hostile(id[from]) || msg[0] == announce || msg[1] != 1 {
				return simnet.Verdict{}
			}
			msg = bytes.Clone(msg)
			msg[len(msg)/2+rng.IntN(len(msg)/2)]++
			return simnet.Verdict{Data: msg}
		}
		s := newSimulation(t, g, erasure.Config{Small: 10}, sim)
		s.do(0, func(now time.Duration, n *simNode) { n.Disperse(now, 1, body(5000)) })
		for i := range 20 {
			s.net.At(time.Duration(100*i)*ms, func() {
				s.do(0, func(_ time.Duration, n *simNode) { n.extra = n.announcement(reference(t, g, body(5000))) })
			})
		}
		honest := func(i int) bool { return i > 0 && !hostile(i) }
		require.True(t, s.net.RunUntil(s.delivered(1, honest), 10*time.Second), "seed %d", seed)
		for i, n := range s.nodes {
			if honest(i) {
				require.True(t, bytes.Equal(body(5000), n.delivered[0].Body))
				for _, b := range n.bad {
					require.True(t, hostile(id[b.Peer]))
				}
			}
		}
	}
}

func TestSameSeedSameHistory(t *testing.T) {
	run := func() shardkit.Hash {
		g := group(3, 1, 4, 1, 5, 9, 2, 6)
		s := newSimulation(t, g, erasure.Config{}, simnet.Config{Seed: 3, Loss: 0.2, Jitter: 50 * ms})
		s.do(2, func(now time.Duration, n *simNode) { n.Disperse(now, 1, body(100_000)) })
		s.net.Run(5 * time.Second)
		return s.net.Digest()
	}
	require.Equal(t, run(), run())
}

// BenchmarkDissemination is the time in the simulated network until the last
// member has a body of 2 MB: 20 Mbit/s up and down, 100 ms from node to node.
// Bytes are those of the busiest member.
func BenchmarkDissemination(b *testing.B) {
	for _, m := range []int{4, 50, 250} {
		for _, small := range []int{1, 4 << 20} {
			name := fmt.Sprintf("members=%d/way=two-hop", m)
			if small > 1 {
				name = fmt.Sprintf("members=%d/way=sender-to-all", m)
			}
			b.Run(name, func(b *testing.B) {
				g := group(equal(m)...)
				for b.Loop() {
					s := newSimulation(b, g, erasure.Config{Small: small, Resend: time.Hour}, simnet.Config{
						Latency:   func(_, _ shardkit.NodeID) time.Duration { return 100 * ms },
						Bandwidth: 20e6 / 8,
					})
					s.do(0, func(now time.Duration, n *simNode) { n.Disperse(now, 1, body(2_000_000)) })
					done := s.delivered(1, func(i int) bool { return i > 0 })
					if !s.net.RunUntil(done, time.Hour) {
						b.Fatal("not delivered")
					}
					last, most := time.Duration(0), uint64(0)
					for i, n := range s.nodes {
						if i > 0 {
							last = max(last, n.at[0])
						}
						most = max(most, s.net.NodeStats(n.self).SentBytes)
					}
					b.ReportMetric(last.Seconds(), "virtual-s")
					b.ReportMetric(float64(most)/1e6, "MB-sent-by-busiest")
				}
			})
		}
	}
}
