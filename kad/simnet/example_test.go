package simnet_test

import (
	"fmt"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad/simnet"
)

// pinger sends a ping every 100 ms and counts the answers; every node answers
// pings.
type pinger struct {
	peer  shardkit.NodeID
	next  time.Duration
	pongs int
	out   []shardkit.Message
}

func (p *pinger) Deliver(_ time.Duration, from shardkit.NodeID, msg []byte) error {
	switch string(msg) {
	case "ping":
		p.out = append(p.out, shardkit.Message{To: from, Data: []byte("pong")})
	case "pong":
		p.pongs++
	default:
		return fmt.Errorf("pinger: unknown message %q", msg)
	}
	return nil
}

func (p *pinger) Tick(now time.Duration) {
	if now >= p.next {
		p.next = now + 100*time.Millisecond
		p.out = append(p.out, shardkit.Message{To: p.peer, Data: []byte("ping")})
	}
}

func (p *pinger) Wake() (time.Duration, bool)     { return p.next, true }
func (p *pinger) Done(time.Duration, any)         {}
func (p *pinger) Persisted(time.Duration, uint64) {}
func (p *pinger) Effects() (eff simnet.Effects)   { eff.Messages, p.out = p.out, nil; return eff }

func Example() {
	a, b := shardkit.NodeID{1}, shardkit.NodeID{2}
	run := func(seed uint64) (int, shardkit.Hash) {
		net, err := simnet.New(simnet.Config{
			Seed:   seed,
			Loss:   0.1,
			Jitter: 20 * time.Millisecond,
		})
		if err != nil {
			panic(err)
		}
		alice := &pinger{peer: b}
		_ = net.Add(a, func([][]byte) (simnet.Node, error) { return alice, nil })
		_ = net.Add(b, func([][]byte) (simnet.Node, error) { return &pinger{peer: a}, nil })
		net.At(5*time.Second, func() { net.Crash(b) })
		net.At(8*time.Second, func() { _ = net.Restart(b) })
		net.Run(10 * time.Second)
		return alice.pongs, net.Digest()
	}
	pongs, first := run(1)
	_, again := run(1)
	_, other := run(2)
	fmt.Println(pongs > 40 && pongs < 75, first == again, first == other)
	// Output: true true false
}
