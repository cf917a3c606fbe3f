package drg_test

import (
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/vdf/drg"
	"github.com/shardkit/shardkit/vrf"
)

// A drawing in a committee of one, driven by hand: what a driver does with
// goroutines and a network, and consensus with blocks.
func Example() {
	key, err := vrf.GenerateKey(vrf.EdwardsELL2, make([]byte, vrf.SeedSize))
	if err != nil {
		panic(err)
	}
	// The delay is far too short to be safe, as all demonstrations are.
	params := drg.Params{Chain: shardkit.Hash{1}, Bits: 256, T: 1000, AllowShortDelay: true}
	self := shardkit.NodeID{1}
	core, err := drg.New(drg.Config{Params: params, Self: self, Prove: key.Prove})
	if err != nil {
		panic(err)
	}
	work := func() { // runs the jobs; a message would go to the network
		for _, job := range core.Ready().Jobs {
			core.Done(0, job.Run())
		}
	}

	// The block whose hash is alpha is final.
	round := drg.Round{
		Epoch:   5,
		Alpha:   shardkit.Hash{0xa1},
		Members: []drg.Member{{Node: self, Slot: shardkit.Hash{1}, Key: key.Public(), Weight: 1}},
		Need:    1,
	}
	if err := core.Start(0, round); err != nil {
		panic(err)
	}
	work()

	// As the leader: propose the set. As a validator: check it. Then it is final.
	set := core.Set()
	pRnd, err := drg.CheckSet(params, round, set)
	if err != nil {
		panic(err)
	}
	core.Committed(0, pRnd)
	work()
	output := core.Output()

	// A reader follows the values, epoch by epoch.
	history, err := drg.NewHistory(params, nil)
	if err != nil {
		panic(err)
	}
	if _, err := history.Add(&drg.Entry{Round: round, Set: set, Output: output}); err != nil {
		panic(err)
	}
	v, err := history.Get(5)
	fmt.Println(v.Rnd, err)
	// Output: 5b3f5f7adeab95aa <nil>
}
