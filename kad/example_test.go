package kad_test

import (
	"fmt"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad"
)

// Two nodes, driven by hand: the second joins through the first and finds the
// members of the first one's shard.
func Example() {
	first := kad.Contact{ID: shardkit.NodeID{1}, Shard: 2, Addr: "192.0.2.1:9000"}
	second := kad.Contact{ID: shardkit.NodeID{2}, Shard: 0, Addr: "198.51.100.1:9000"}

	a, err := kad.New(kad.Config{Self: first, ShardBits: 2})
	if err != nil {
		panic(err)
	}
	b, err := kad.New(kad.Config{Self: second, ShardBits: 2, Bootstrap: []kad.Contact{first}})
	if err != nil {
		panic(err)
	}

	now := time.Second
	// carry takes messages back and forth until nobody says anything more.
	carry := func() (members []kad.Members) {
		for quiet := false; !quiet; {
			fromA, fromB := a.Ready(), b.Ready()
			for _, m := range fromA.Messages {
				_ = b.Deliver(now, first.ID, m.Data)
			}
			for _, m := range fromB.Messages {
				_ = a.Deliver(now, second.ID, m.Data)
			}
			members = append(members, fromB.Members...)
			quiet = len(fromA.Messages)+len(fromB.Messages) == 0
		}
		return members
	}

	a.Start(now)
	b.Start(now)
	carry()
	b.FindShard(now, 2, 10)
	for _, m := range carry() {
		for _, c := range m.Contacts {
			fmt.Println("shard", m.Shard, "at", c.Addr)
		}
	}
	// Output: shard 2 at 192.0.2.1:9000
}
