package fbft_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
)

// patient makes every timer of a core far longer than a test: what needs a
// repetition or a change of view does not happen.
func patient(cfg *fbft.NodeConfig) {
	cfg.Core.BaseTimeout, cfg.Core.MaxTimeout, cfg.Core.Resend = time.Hour, time.Hour, time.Hour
}

// slow is an application that judges nothing before it is let go, and counts
// what it is asked.
type slow struct {
	*ledger
	free  chan struct{}
	mu    sync.Mutex
	asked map[shardkit.Hash]int
}

func newSlow(app fbft.Application) *slow {
	return &slow{ledger: app.(*ledger), free: make(chan struct{}), asked: map[shardkit.Hash]int{}}
}

func (s *slow) Validate(ctx context.Context, v fbft.Validate) error {
	s.mu.Lock()
	s.asked[v.Hash]++
	s.mu.Unlock()
	select {
	case <-s.free:
	case <-ctx.Done():
	}
	return s.ledger.Validate(ctx, v)
}

// TestNodeCatchesUpAtOnce: one of four is slow for ten heights, which is more
// than what is kept for it, and then the others need it as leader. Nothing was
// lost on the way, so nobody may wait for a timer.
func TestNodeCatchesUpAtOnce(t *testing.T) {
	const slept, limit = 11, 15
	var app *slow
	c := newCluster(t, 4, counting(4), limit, func(i int, cfg *fbft.NodeConfig) {
		patient(cfg)
		cfg.Core.Leader = func(c *fbft.Committee, h shardkit.Height, view uint64) int {
			if h > slept {
				return 3
			}
			return int(h % 3)
		}
		if i == 3 {
			app = newSlow(cfg.App)
			cfg.App = app
		}
	})
	defer c.close()
	c.apps[3] = c.apps[0] // not yet
	c.reach(t, slept)
	close(app.free)
	c.apps[3] = app.ledger
	c.reach(t, limit)
	app.mu.Lock()
	defer app.mu.Unlock()
	for hash, n := range app.asked {
		if n > 1 {
			t.Errorf("block %v was judged %d times", hash, n)
		}
	}
}

// TestNodeNeverWaits runs committees as fast as they go. However far some get
// behind for want of a processor, nobody may wait for a timer.
func TestNodeNeverWaits(t *testing.T) {
	c := newCluster(t, 16, counting(16), 200, func(_ int, cfg *fbft.NodeConfig) { patient(cfg) })
	defer c.close()
	c.reach(t, 200)
}

// TestNodeFollows: a node without a vote hears nothing of its own, and asks.
func TestNodeFollows(t *testing.T) {
	c := newCluster(t, 5, counting(5), 30, func(i int, cfg *fbft.NodeConfig) {
		patient(cfg)
		cfg.Core.Leader = func(_ *fbft.Committee, h shardkit.Height, _ uint64) int { return int(h % 4) }
		if i == 4 {
			cfg.Core.Signer = nil
		}
	})
	defer c.close()
	c.reach(t, 30)
}

// deafen cuts node 3, which never leads, off from the others while deaf is set.
func deafen(i int, cfg *fbft.NodeConfig, deaf *atomic.Bool) {
	cfg.Core.Leader = func(_ *fbft.Committee, h shardkit.Height, view uint64) int { return int((uint64(h) + view) % 3) }
	send := cfg.Send
	cfg.Send = func(m shardkit.Message) error {
		if deaf.Load() && (i == 3 || m.To == shardkit.NodeID{4, 0}) {
			return nil
		}
		return send(m)
	}
}

// TestNodeReturnsToAQuietNetwork: one has heard nothing of forty-five heights,
// and the others have nothing more to do. It learns all of it at its first
// complaint; one height a timeout would take longer than reach waits.
func TestNodeReturnsToAQuietNetwork(t *testing.T) {
	const limit = 45
	var deaf atomic.Bool
	deaf.Store(true)
	c := newCluster(t, 4, counting(4), limit, func(i int, cfg *fbft.NodeConfig) {
		cfg.Core.BaseTimeout, cfg.Core.MaxTimeout = 1500*time.Millisecond, 1500*time.Millisecond
		deafen(i, cfg, &deaf)
	})
	defer c.close()
	late := c.apps[3]
	c.apps[3] = c.apps[0]
	c.reach(t, limit)
	deaf.Store(false)
	c.apps[3] = late
	c.nodes[3].Work() // somebody hands it a transaction
	c.reach(t, limit)
}

// TestNodeCatchesUpAmongLiars is TestNodeCatchesUpAtOnce with one peer that
// answers with false certificates and one that does not answer: both cost
// Resends, and none but the first may be blamed.
func TestNodeCatchesUpAmongLiars(t *testing.T) {
	const slept, limit, tell = 11, 15, 2
	var app *slow
	c := newCluster(t, 4, counting(4), limit, func(i int, cfg *fbft.NodeConfig) {
		patient(cfg)
		cfg.Core.Resend = 20 * time.Millisecond
		cfg.Core.Leader = func(_ *fbft.Committee, h shardkit.Height, _ uint64) int {
			if h > slept {
				return 3
			}
			return int(h % 3)
		}
		send := cfg.Send
		cfg.Send = func(m shardkit.Message) error {
			switch {
			case m.Data[0] == tell && i == 1:
				return nil
			case m.Data[0] == tell && i == 2:
				m.Data = bytes.Clone(m.Data)
				m.Data[len(m.Data)-1] ^= 1
			}
			return send(m)
		}
		if i == 3 {
			app = newSlow(cfg.App)
			cfg.App = app
			cfg.Events.Blame = func(b fbft.Blame) {
				if b.Peer != (shardkit.NodeID{3, 0}) {
					t.Errorf("%v blamed for %s", b.Peer, b.What)
				}
			}
		}
	})
	defer c.close()
	c.apps[3] = c.apps[0] // not yet
	c.reach(t, slept)
	close(app.free)
	c.apps[3] = app.ledger
	c.reach(t, limit)
}

// behind is a cluster of which node 3 has heard nothing of many heights, after
// which the others have nothing more to do. It runs once awake is called.
func behind(t *testing.T, edit func(i int, cfg *fbft.NodeConfig)) (c *cluster, awake func()) {
	t.Helper()
	const limit = 45
	var deaf atomic.Bool
	deaf.Store(true)
	c = idleCluster(t, 4, counting(4), limit, func(i int, cfg *fbft.NodeConfig) {
		patient(cfg)
		deafen(i, cfg, &deaf)
		edit(i, cfg)
	})
	run := func(n *fbft.Node) { c.wait.Go(func() { _ = n.Run(context.Background()) }) }
	for _, n := range c.nodes[:3] {
		run(n)
	}
	late := c.apps[3]
	c.apps[3] = c.apps[0]
	c.reach(t, limit)
	c.apps[3] = late
	return c, func() {
		deaf.Store(false)
		run(c.nodes[3])
	}
}

// TestNodeStartsBehind: nobody says anything to a node that begins far behind a
// network without work. It asks, and needs no timer for it.
func TestNodeStartsBehind(t *testing.T) {
	c, awake := behind(t, func(int, *fbft.NodeConfig) {})
	defer c.close()
	awake()
	c.reach(t, 45)
}

// TestNodeStartsAmongTheDead is TestNodeStartsBehind with only one node that
// answers.
func TestNodeStartsAmongTheDead(t *testing.T) {
	c, awake := behind(t, func(i int, cfg *fbft.NodeConfig) {
		cfg.Core.Resend = 20 * time.Millisecond
		if i != 3 {
			return
		}
		send := cfg.Send
		cfg.Send = func(m shardkit.Message) error {
			if m.To != (shardkit.NodeID{3}) {
				return nil
			}
			return send(m)
		}
	})
	defer c.close()
	awake()
	c.reach(t, 45)
}

// TestNodeWasCutOff: a node has nothing to do, and is cut off while the others
// decide more. Nobody says anything when it is back.
func TestNodeWasCutOff(t *testing.T) {
	const few, limit = 5, 45
	var deaf atomic.Bool
	c := newCluster(t, 4, counting(4), few, func(i int, cfg *fbft.NodeConfig) {
		cfg.Core.BaseTimeout, cfg.Core.MaxTimeout, cfg.Core.Resend = 50*time.Millisecond, 50*time.Millisecond, 20*time.Millisecond
		cfg.Core.Leader = func(_ *fbft.Committee, h shardkit.Height, view uint64) int { return int((uint64(h) + view) % 3) }
		send := cfg.Send
		cfg.Send = func(m shardkit.Message) error {
			if deaf.Load() && (i == 3 || m.To == shardkit.NodeID{4}) {
				return nil
			}
			return send(m)
		}
	})
	defer c.close()
	c.reach(t, few)
	deaf.Store(true)
	for i, a := range c.apps[:3] {
		a.mu.Lock()
		a.limit = limit
		a.mu.Unlock()
		c.nodes[i].Work()
	}
	late := c.apps[3]
	c.apps[3] = c.apps[0]
	c.reach(t, limit)
	deaf.Store(false)
	c.apps[3] = late
	c.reach(t, limit)
}

// TestStrangersDoNotStarveNodes: any number of nodes that nobody knows ask where
// a node is. A member is answered all the same.
func TestStrangersDoNotStarveNodes(t *testing.T) {
	const ask = 1
	answers := map[shardkit.NodeID]int{}
	c := idleCluster(t, 4, counting(4), 0, func(i int, cfg *fbft.NodeConfig) {
		patient(cfg)
		cfg.Send = func(m shardkit.Message) error {
			if m.Data[0] != ask {
				answers[m.To]++ // on the node's goroutine, which has ended when they are read
			}
			return nil
		}
	})
	node := c.nodes[0]
	c.wait.Go(func() { _ = node.Run(context.Background()) })
	for i := range uint32(5000) {
		stranger := shardkit.NodeID{31: 1}
		binary.BigEndian.PutUint32(stranger[8:], i)
		if err := node.Deliver(stranger, question(1)); err != nil {
			t.Fatal(err)
		}
	}
	member := shardkit.NodeID{2}
	for range 3 {
		if err := node.Deliver(member, question(1)); err != nil {
			t.Fatal(err)
		}
	}
	for node.Stats().Delivered < 5003 {
		time.Sleep(time.Millisecond)
	}
	c.close()
	if answers[member] != 1 || len(answers) > 1025 {
		t.Errorf("the member has %d answers, with the strangers %d nodes have any", answers[member], len(answers))
	}
}

// gated is an Archive whose reads wait to be let go, one at a time.
type gated struct {
	*ledger
	gate chan struct{}
}

func (g *gated) Block(h shardkit.Height) (header []byte, ct *fbft.Certificate, ok bool) {
	<-g.gate
	return g.ledger.Block(h)
}

// archived is a cluster of which node 0 has 80 blocks, the older ones of them
// behind a gate. answered are the nodes that it sends answers to; commit is told
// of its blocks.
func archived(t *testing.T, commit func(c *cluster, d fbft.Decided)) (c *cluster, g *gated, answered chan shardkit.NodeID) {
	t.Helper()
	const tell = 2
	g, answered = &gated{gate: make(chan struct{})}, make(chan shardkit.NodeID, 1000)
	c = idleCluster(t, 4, counting(4), 80, func(i int, cfg *fbft.NodeConfig) {
		patient(cfg)
		cfg.Core.Resend = time.Millisecond
		if i > 0 {
			return
		}
		g.ledger = cfg.App.(*ledger)
		g.commit = func(d fbft.Decided) { commit(c, d) }
		cfg.App = g
		send := cfg.Send
		cfg.Send = func(m shardkit.Message) error {
			if m.Data[0] == tell {
				answered <- m.To
			}
			return send(m)
		}
	})
	c.start()
	return c, g, answered
}

// question asks a node how heights from h on ended.
func question(h uint64) []byte { return binary.BigEndian.AppendUint64([]byte{1}, h) }

// ask asks node 0, and returns when it has taken notice.
func (c *cluster) ask(t *testing.T, from shardkit.NodeID, h uint64) {
	t.Helper()
	if err := c.nodes[0].Deliver(from, question(h)); err != nil {
		t.Fatal(err)
	}
	c.nodes[0].Stats()
}

// TestSlowArchive: while old blocks are being read for somebody the node goes on.
func TestSlowArchive(t *testing.T) {
	c, g, _ := archived(t, func(c *cluster, d fbft.Decided) {
		if d.Height == 40 {
			_ = c.nodes[0].Deliver(shardkit.NodeID{2}, question(3))
		}
	})
	defer c.close()
	defer close(g.gate)
	c.reach(t, 80)
}

// TestFairArchive: who asks again and again, ever further on, has one place in the
// line, and strangers stand behind members.
func TestFairArchive(t *testing.T) {
	c, g, answered := archived(t, func(*cluster, fbft.Decided) {})
	defer c.close()
	c.reach(t, 80)
	for len(answered) > 0 {
		<-answered
	}
	greedy, modest, stranger := shardkit.NodeID{2}, shardkit.NodeID{3}, shardkit.NodeID{99}
	c.ask(t, greedy, 1) // is being read
	c.ask(t, stranger, 1)
	for h := uint64(2); h < 12; h++ {
		c.ask(t, greedy, h)
	}
	c.ask(t, modest, 1)
	close(g.gate)
	for k, want := range []shardkit.NodeID{greedy, greedy, modest, stranger} {
		if got := <-answered; got != want {
			t.Errorf("answer %d goes to %v, want %v", k, got, want)
		}
	}
}

// TestLineOfStrangers: no more of them wait for old blocks than a line holds, and
// the next ones find it free again.
func TestLineOfStrangers(t *testing.T) {
	const line = 64
	c, g, answered := archived(t, func(*cluster, fbft.Decided) {})
	defer c.close()
	defer close(g.gate)
	c.reach(t, 80)
	for len(answered) > 0 {
		<-answered
	}
	stranger := shardkit.NodeID{31: 1}
	for range 3 {
		for range 2 * line {
			stranger[8]++
			if stranger[8] == 0 {
				stranger[9]++
			}
			c.ask(t, stranger, 1)
		}
		for range line + 1 { // one was being read for already
			g.gate <- struct{}{}
			for len(answered) == 0 { // of the other blocks of the answer
				select {
				case g.gate <- struct{}{}:
				case <-time.After(time.Millisecond):
				}
			}
			<-answered
		}
		c.nodes[0].Stats()
		select {
		case g.gate <- struct{}{}:
			t.Fatal("the line is longer")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestNodeIsAskedByOneAhead: a node that was cut off, and would not look for long,
// learns from a question that it is behind.
func TestNodeIsAskedByOneAhead(t *testing.T) {
	c, awake := behind(t, func(i int, cfg *fbft.NodeConfig) {
		if i != 3 {
			return
		}
		send := cfg.Send
		asked := 0
		cfg.Send = func(m shardkit.Message) error {
			if asked++; asked < 3 { // what it asks by itself when it begins is lost
				return nil
			}
			return send(m)
		}
	})
	defer c.close()
	awake()
	for range 3 {
		if err := c.nodes[3].Deliver(shardkit.NodeID{2}, question(46)); err != nil {
			t.Fatal(err)
		}
		c.nodes[3].Stats()
	}
	c.reach(t, 45)
}

// TestNodeStartsInTheMiddle: a quorum needs the node that begins last, and what the
// leader has said it has not heard. To its question the leader says it again.
func TestNodeStartsInTheMiddle(t *testing.T) {
	announced := make(chan struct{}, 1)
	c := idleCluster(t, 4, counting(4), 1, func(i int, cfg *fbft.NodeConfig) {
		patient(cfg)
		cfg.Core.Leader = func(*fbft.Committee, shardkit.Height, uint64) int { return 0 }
		send, lost := cfg.Send, true
		cfg.Send = func(m shardkit.Message) error {
			if i == 0 && m.To == (shardkit.NodeID{4}) && lost {
				lost = false
				announced <- struct{}{}
				return nil
			}
			if m.To == (shardkit.NodeID{3}) {
				return nil // it never begins
			}
			return send(m)
		}
	})
	defer c.close()
	run := func(i int) { c.wait.Go(func() { _ = c.nodes[i].Run(context.Background()) }) }
	run(0)
	run(1)
	<-announced
	run(3)
	c.apps[2] = c.apps[0]
	c.reach(t, 1)
}
