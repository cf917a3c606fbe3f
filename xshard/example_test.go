package xshard_test

import (
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/xshard"
)

// A block of shard 1 sends two receipts to shard 3; shard 3 takes them once.
func Example() {
	const source, dest, shards = 1, 3, 4

	out := xshard.NewOutbox(source, shards, func(shardkit.ShardID) uint64 { return 0 })
	for _, amount := range []uint64{10, 20} {
		seq, err := out.Add(xshard.Receipt{Dest: dest, To: [32]byte{7}, Amount: amount})
		fmt.Println("sent", seq, err)
	}
	root := out.Root() // goes into the header, which the committee certifies
	batch := out.Batch(dest)

	var inbox xshard.Inbox // part of the state of shard 3
	fmt.Println("proof:", xshard.VerifyBatch(root, &batch), batch.Expect(source, dest, shards))
	fmt.Println("first time:", inbox.Accept(&batch))
	fmt.Println("again:", inbox.Accept(&batch))
	// Output:
	// sent 0 <nil>
	// sent 1 <nil>
	// proof: <nil> <nil>
	// first time: <nil>
	// again: xshard: batch of shard 1 starts at 0, want 2
}

// A relay is driven like every core: inputs in, effects out.
func ExampleRelay() {
	self, peer := shardkit.NodeID{1}, shardkit.NodeID{2}
	r, err := xshard.NewRelay(xshard.RelayConfig{
		Self: self, Shard: 0,
		Load: func(dest shardkit.ShardID, from shardkit.Height, n, maxBytes int) func() []xshard.Packet {
			return func() []xshard.Packet { return nil } // read from the store
		},
		Check: func(run []xshard.Packet) func() (int, error) {
			return func() (int, error) { return len(run), nil } // certificate, header chain, VerifyBatch
		},
	})
	if err != nil {
		panic(err)
	}
	r.SetMembers(0, 0, []shardkit.NodeID{self})
	r.SetMembers(0, 1, []shardkit.NodeID{peer})
	r.Committed(0, []xshard.Addressed{{Dest: 1, Packet: xshard.Packet{Source: 0, Height: 1}}})
	for _, m := range r.Ready().Messages {
		shard, _ := xshard.Target(m.Data)
		fmt.Println("to", m.To, "for shard", shard)
	}
	// Output: to 0200000000000000 for shard 1
}
