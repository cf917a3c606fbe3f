package drg_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/vdf/drg"
	"github.com/shardkit/shardkit/vrf"
)

// The delay is far too short to be safe, as all demonstrations are.
var exampleParams = drg.Params{Chain: shardkit.Hash{1}, Bits: 256, T: 1000, AllowShortDelay: true}

// A drawing in a committee of one, driven by hand: what a driver does with
// goroutines and a network, and consensus with blocks.
func Example() {
	key, err := vrf.GenerateKey(vrf.EdwardsELL2, make([]byte, vrf.SeedSize)) // nil for a random key
	if err != nil {
		panic(err)
	}
	entry := drawAlone(exampleParams, key, 5)

	// A reader follows the values, epoch by epoch.
	history, err := drg.NewHistory(exampleParams, nil)
	if err != nil {
		panic(err)
	}
	if _, err := history.Add(entry); err != nil {
		panic(err)
	}
	v, err := history.Get(5)
	fmt.Println(v.Rnd, err)
	// Output: 5b3f5f7adeab95aa <nil>
}

// drawAlone draws the randomness of an epoch, all by itself, and returns what
// proves it.
func drawAlone(params drg.Params, key *vrf.SecretKey, epoch shardkit.Epoch) *drg.Entry {
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
		Epoch:   epoch,
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
	return &drg.Entry{Round: round, Set: set, Output: core.Output()}
}

// A reader who trusts nothing but the chain's hash and the keys of its genesis
// verifies a history that a stranger serves, and watches what is new.
func ExampleHistory() {
	key, err := vrf.GenerateKey(vrf.EdwardsELL2, make([]byte, vrf.SeedSize))
	if err != nil {
		panic(err)
	}
	genesis := []drg.Member{{Node: shardkit.NodeID{1}, Slot: shardkit.Hash{1}, Key: key.Public(), Weight: 1}}

	// Here the committee is always that of the genesis. On a chain where it
	// changes, certify looks the round up in headers that were verified.
	certify := func(r *drg.Round, pRnd shardkit.Hash) error {
		same := slices.EqualFunc(r.Members, genesis, func(a, b drg.Member) bool {
			return a.Node == b.Node && a.Slot == b.Slot && string(a.Key) == string(b.Key) && a.Weight == b.Weight
		})
		if !same || r.Need != 1 {
			return errors.New("not the committee of the genesis")
		}
		return nil
	}
	history, err := drg.NewHistory(exampleParams, certify)
	if err != nil {
		panic(err)
	}
	for epoch := shardkit.Epoch(5); epoch < 8; epoch++ {
		served, err := drawAlone(exampleParams, key, epoch).AppendBinary(nil) // by a stranger
		if err != nil {
			panic(err)
		}
		var entry drg.Entry
		if err := entry.UnmarshalBinary(served); err != nil {
			panic(err)
		}
		if _, err := history.Add(&entry); err != nil {
			panic(err)
		}
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for v := range history.Watch(ctx, 5) { // would wait for epoch 8, if it were not for break
		fmt.Println(v.Epoch, v.Rnd)
		if v.Epoch == 7 {
			break
		}
	}
	// Who has the same link has the same history, from its first value on.
	latest, _ := history.Latest()
	fmt.Println("link", latest.Link)
	// Output:
	// 5 5b3f5f7adeab95aa
	// 6 3fe5e587e1609db0
	// 7 c3ea980d954178f3
	// link 0c2afe625d35bcf0
}
