package fbft_test

import (
	"context"
	"fmt"
	"sync"
	"time"

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

// replica is a Core with the least around it: a log, and a network that is a
// queue.
type replica struct {
	id   shardkit.NodeID
	core *fbft.Core
	log  [][]byte
}

type packet struct {
	from shardkit.NodeID
	msg  shardkit.Message
}

// pump carries out what the core wants, until it wants nothing more. It follows
// every input: Start, Deliver, Tick, and those below.
func (r *replica) pump(now time.Duration, committee *fbft.Committee) (sent []packet, decided []fbft.Decided) {
	for {
		e := r.core.Ready()
		if len(e.Records)+len(e.Messages)+len(e.Jobs)+len(e.Propose)+len(e.Validate)+len(e.Decided) == 0 {
			return sent, decided
		}
		// In earnest: written by another goroutine, which reports when they are on
		// the disk; a message leaves when record After is.
		r.log = append(r.log, e.Records...)
		r.core.Persisted(now, e.Seq)
		for _, m := range e.Messages {
			sent = append(sent, packet{r.id, m})
		}
		for _, j := range e.Jobs { // in earnest: on workers
			r.core.Done(now, j.Run())
		}
		for _, p := range e.Propose {
			if err := r.core.Proposed(now, p.Height, p.View, hello(p.Height), nil); err != nil {
				panic(err)
			}
		}
		for _, v := range e.Validate { // in earnest: get the body, execute, log it
			r.core.Validated(now, v.Hash, nil)
		}
		for _, d := range e.Decided { // in earnest: apply the block
			decided = append(decided, d)
			next := fbft.Start{Height: d.Height + 1, Parent: d.Hash, Previous: d.Certificate, Committee: committee}
			if err := r.core.Start(now, next); err != nil {
				panic(err)
			}
		}
	}
}

// Four cores driven by hand: nothing happens but what is done here.
func ExampleCore() {
	var members []fbft.Member
	var keys [][]byte
	for i := range 4 {
		keys = append(keys, []byte{byte('a' + i)})
		members = append(members, fbft.Member{Node: shardkit.NodeID{byte(i + 1)}, Key: keys[i], Weight: 1})
	}
	committee, err := fbft.NewCommittee(members, 0, fbfttest.Fake(keys))
	if err != nil {
		panic(err)
	}
	var now time.Duration // since the replicas began; in earnest, Tick is called when Wake says
	var network []packet
	replicas := make(map[shardkit.NodeID]*replica)
	for i, m := range members {
		core, err := fbft.New(fbft.Config{Chain: shardkit.Hash{1}, Self: m.Node, Signer: fbfttest.FakeSigner(keys[i])})
		if err != nil {
			panic(err)
		}
		if err := core.Start(now, fbft.Start{Height: 1, Committee: committee}); err != nil {
			panic(err)
		}
		replicas[m.Node] = &replica{id: m.Node, core: core}
	}
	for _, m := range members {
		sent, _ := replicas[m.Node].pump(now, committee)
		network = append(network, sent...)
	}
	for decided := 0; decided < 2*len(members); {
		p := network[0]
		network = network[1:]
		to := replicas[p.msg.To]
		if err := to.core.Deliver(now, p.from, p.msg.Data); err != nil {
			panic(err)
		}
		sent, done := to.pump(now, committee)
		network = append(network, sent...)
		for _, d := range done {
			fmt.Printf("%d decided %q by %d of 4\n", to.id[0], d.Header, d.Certificate.Signers.Count())
			decided++
		}
	}
	// Output:
	// 4 decided "hello 1" by 3 of 4
	// 3 decided "hello 1" by 3 of 4
	// 1 decided "hello 1" by 3 of 4
	// 2 decided "hello 1" by 3 of 4
	// 4 decided "hello 2" by 3 of 4
	// 1 decided "hello 2" by 3 of 4
	// 2 decided "hello 2" by 3 of 4
	// 3 decided "hello 2" by 3 of 4
}
