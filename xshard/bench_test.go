package xshard_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad/simnet"
	"github.com/shardkit/shardkit/xshard"
)

func outbox(n, shards int) *xshard.Outbox {
	out := xshard.NewOutbox(0, uint32(shards), func(shardkit.ShardID) uint64 { return 0 })
	for i := range n {
		if _, err := out.Add(receipt(shardkit.ShardID(1+i%(shards-1)), i)); err != nil {
			panic(err)
		}
	}
	return out
}

func BenchmarkOutbox(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("receipts=%d/shards=16", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				outbox(n, 16).Root()
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "receipts/s")
		})
	}
}

func BenchmarkVerifyBatch(b *testing.B) {
	for _, n := range []int{10, 1000} {
		out := outbox(n, 2)
		root, batch := out.Root(), out.Batch(1)
		b.Run(fmt.Sprintf("receipts=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := xshard.VerifyBatch(root, &batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "receipts/s")
		})
	}
}

func BenchmarkBatchDecode(b *testing.B) {
	out := outbox(1000, 2)
	batch := out.Batch(1)
	enc, err := batch.AppendBinary(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(enc)))
	for b.Loop() {
		var v xshard.Batch
		if err := v.UnmarshalBinary(enc); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRelay is a packet's way through the queue of its destination, the
// check left out.
func BenchmarkRelay(b *testing.B) {
	r, err := xshard.NewRelay(xshard.RelayConfig{
		Self:  node(0, 0),
		Load:  func(shardkit.ShardID, shardkit.Height, int, int) func() []xshard.Packet { return nil },
		Check: func(run []xshard.Packet) func() (int, error) { return func() (int, error) { return len(run), nil } },
	})
	if err != nil {
		b.Fatal(err)
	}
	r.SetMembers(0, 1, nodes(1, 100))
	h := shardkit.Height(0)
	b.ReportAllocs()
	for b.Loop() {
		h++
		if err := r.Deliver(0, node(1, int(h)%100), pushMsg(0, packet(1, h, 4096))); err != nil {
			b.Fatal(err)
		}
		for _, j := range r.Ready().Jobs {
			r.Done(0, j.Run())
		}
		if len(r.Arrived(1)) != 1 {
			b.Fatal("did not arrive")
		}
		r.Included(0, 1, h)
	}
}

// carrier is a replica that only relays: it commits a block when told to, and
// takes what arrives at once.
type carrier struct {
	*xshard.Relay
	shard, shards shardkit.ShardID
	head          shardkit.Height
	arrived       func(source shardkit.ShardID, h shardkit.Height)
	now           time.Duration
}

func newCarrier(shard, shards shardkit.ShardID, i, members int) (*carrier, error) {
	c := &carrier{shard: shard, shards: shards}
	relay, err := xshard.NewRelay(xshard.RelayConfig{
		Self: node(shard, i), Shard: shard,
		Load: func(_ shardkit.ShardID, from shardkit.Height, n, _ int) func() []xshard.Packet {
			head := c.head
			return func() (ps []xshard.Packet) {
				for h := from; h <= head && len(ps) < n; h++ {
					ps = append(ps, packet(shard, h, 20_000))
				}
				return ps
			}
		},
		Check: func(run []xshard.Packet) func() (int, error) {
			return func() (int, error) { return len(run), nil }
		},
	})
	c.Relay = relay
	for s := range shards {
		relay.SetMembers(0, s, nodes(s, members))
	}
	return c, err
}

func (c *carrier) commit(now time.Duration) {
	c.head++
	var out []xshard.Addressed
	for d := range c.shards {
		if d != c.shard {
			out = append(out, xshard.Addressed{Dest: d, Packet: packet(c.shard, c.head, 20_000)})
		}
	}
	c.Committed(now, out)
}

func (c *carrier) Done(now time.Duration, result any) {
	c.now = now
	c.Relay.Done(now, result)
}

func (c *carrier) Effects() simnet.Effects {
	ready := c.Ready()
	for _, s := range ready.Arrived {
		last := shardkit.Height(0)
		for _, p := range c.Arrived(s) {
			last = p.Height
			c.arrived(s, p.Height)
		}
		c.Included(c.now, s, last)
	}
	more := c.Ready() // of Included
	return simnet.Effects{Messages: append(ready.Messages, more.Messages...), Jobs: append(ready.Jobs, more.Jobs...)}
}

// BenchmarkCarry is how long a packet of 20 kB takes from its commit to the
// members of another shard, in a simulated network: 4 shards of 16, a block
// every 300 ms, 50 to 100 ms from node to node, 1 % of messages lost; silent
// members send no packets unasked. sent/packet counts packets on the wire for
// each that arrived.
func BenchmarkCarry(b *testing.B) {
	for _, silent := range []int{0, 5} {
		b.Run(fmt.Sprintf("silent=%d_of_16", silent), func(b *testing.B) {
			for b.Loop() {
				carry(b, silent)
			}
		})
	}
}

func carry(b *testing.B, silent int) {
	const shards, members, blocks, pace = 4, 16, 100, 300 * ms
	sent := 0
	net, err := simnet.New(simnet.Config{
		Seed: 1, Jitter: 50 * ms, Loss: 0.01, Bandwidth: 100e6 / 8,
		Latency: func(_, _ shardkit.NodeID) time.Duration { return 50 * ms },
		JobTime: func(shardkit.Job) time.Duration { return 3 * ms },
		Filter: func(from, _ shardkit.NodeID, msg []byte) simnet.Verdict {
			push := msg[1] == 1
			if push && int(from[0]) < silent {
				return simnet.Verdict{Drop: true}
			}
			sent += len(msg) / 20_000
			return simnet.Verdict{}
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for s := range shardkit.ShardID(shards) {
		for i := range members {
			c, err := newCarrier(s, shards, i, members)
			if err != nil {
				b.Fatal(err)
			}
			c.arrived = func(_ shardkit.ShardID, h shardkit.Height) {
				took = append(took, net.Now()-time.Duration(h)*pace)
			}
			if err := net.Add(node(s, i), func([][]byte) (simnet.Node, error) { return c, nil }); err != nil {
				b.Fatal(err)
			}
			for h := 1; h <= blocks; h++ {
				net.At(time.Duration(h)*pace, func() {
					net.Do(node(s, i), func(now time.Duration, _ simnet.Node) { c.commit(now) })
				})
			}
		}
	}
	net.Run((blocks + 20) * pace)
	if want := blocks * shards * (shards - 1) * members; len(took) != want {
		b.Fatalf("%d packets arrived, want %d", len(took), want)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "ms-p50")
	b.ReportMetric(float64(took[len(took)*9/10].Milliseconds()), "ms-p90")
	b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "ms-p99")
	b.ReportMetric(float64(sent)/float64(len(took)), "sent/packet")
}
