package fbft_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/fbfttest"
)

// greeter is an application: the block of height h says "hello h".
type greeter struct {
	committee *fbft.Committee
	decided   func(d fbft.Decided)
}

func hello(h shardkit.Height) []byte { return fmt.Appendf(nil, "hello %d", h) }

func (g *greeter) Propose(_ context.Context, p fbft.Propose) (header, ref []byte, err error) {
	return hello(p.Height), nil, nil // there is no other: p.Header can only be the same
}

func (g *greeter) Validate(_ context.Context, v fbft.Validate) error {
	if string(v.Header) != string(hello(v.Height)) {
		return fmt.Errorf("not a greeting: %q", v.Header)
	}
	return nil
}

func (g *greeter) Commit(_ context.Context, d fbft.Decided) (fbft.Start, error) {
	g.decided(d)
	return fbft.Start{Committee: g.committee}, nil
}

// Four nodes in memory, until each has decided three blocks.
func Example() {
	var members []fbft.Member
	var keys [][]byte
	for i := range 4 {
		keys = append(keys, []byte{byte('a' + i)}) // in earnest: public keys of package bls
		members = append(members, fbft.Member{Node: shardkit.NodeID{byte(i + 1)}, Key: keys[i], Weight: 1})
	}
	committee, err := fbft.NewCommittee(members, 0, fbfttest.Fake(keys)) // in earnest: a bls.Committee
	if err != nil {
		panic(err)
	}
	var done, running sync.WaitGroup
	nodes := make(map[shardkit.NodeID]*fbft.Node)
	for i, m := range members {
		done.Add(3)
		app := &greeter{committee, func(d fbft.Decided) {
			if d.Height <= 3 {
				done.Done()
			}
		}}
		nodes[m.Node], err = fbft.NewNode(fbft.NodeConfig{
			Core:  fbft.Config{Chain: shardkit.Hash{1}, Self: m.Node, Signer: fbfttest.FakeSigner(keys[i])},
			App:   app,
			Start: fbft.Start{Height: 1, Committee: committee},
			Send: func(msg shardkit.Message) error { // in earnest: a network
				return nodes[msg.To].Deliver(m.Node, msg.Data)
			},
		})
		if err != nil {
			panic(err)
		}
	}
	for _, n := range nodes {
		running.Go(func() { _ = n.Run(context.Background()) })
	}
	done.Wait()
	for _, n := range nodes {
		n.Close()
	}
	running.Wait()
	fmt.Println("four nodes, three blocks each")
	// Output: four nodes, three blocks each
}
