package erasure_test

import (
	"bytes"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/erasure"
)

// Four members: the first disperses a body, the others rebuild it from chunks.
func Example() {
	var members []erasure.Member
	cores := map[shardkit.NodeID]*erasure.Core{}
	for i := range byte(4) {
		members = append(members, erasure.Member{Node: shardkit.NodeID{i}, Weight: 1})
	}
	for _, m := range members {
		core, err := erasure.New(erasure.Config{Self: m.Node})
		if err != nil {
			panic(err)
		}
		// Four of weight 1 have quorum 3, and 2*3 - 4 = 2.
		if err := core.SetGroup(0, 1, erasure.Group{Members: members, Sure: 2}); err != nil {
			panic(err)
		}
		cores[m.Node] = core
	}

	body := bytes.Repeat([]byte("block "), 2000)
	cores[members[0].Node].Disperse(0, 1, body)
	for busy := true; busy; { // a driver: runs jobs, carries messages
		busy = false
		for _, m := range members {
			ready := cores[m.Node].Ready()
			for _, job := range ready.Jobs {
				busy = true
				cores[m.Node].Done(0, job.Run())
			}
			for _, msg := range ready.Messages {
				busy = true
				if err := cores[msg.To].Deliver(0, m.Node, msg.Data); err != nil {
					panic(err)
				}
			}
			for _, d := range ready.Dispersed { // the announcement
				for _, other := range members[1:] {
					if err := cores[other.Node].Obtain(0, d.Group, m.Node, d.Ref); err != nil {
						panic(err)
					}
				}
			}
			for _, d := range ready.Delivered {
				fmt.Println(len(d.Body), bytes.Equal(d.Body, body), d.ByChunks, d.Err)
			}
		}
	}
	// Output:
	// 12000 true true <nil>
	// 12000 true true <nil>
	// 12000 true true <nil>
}
