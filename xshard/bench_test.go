package xshard_test

import (
	"fmt"
	"testing"

	"github.com/shardkit/shardkit"
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
