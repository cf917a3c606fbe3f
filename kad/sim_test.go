package kad_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad"
	"github.com/shardkit/shardkit/kad/simnet"
)

// world is a simulated network of Cores with addresses: a message reaches a
// node only by a route to its real address, or as an answer on the connection
// that it opened.
type world struct {
	net   *simnet.Net
	bits  int
	nodes []*simNode
	cfg   func(i int) kad.Config
}

type simNode struct {
	w      *world
	self   kad.Contact
	core   *kad.Core
	liar   *liar
	routes map[shardkit.NodeID]string
	open   map[shardkit.NodeID]bool
	found  []kad.Found
	member []kad.Members
	out    []shardkit.Message
}

func nodeID(i int) (id shardkit.NodeID) {
	binary.BigEndian.PutUint64(id[:], uint64(i)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(id[8:], uint64(i))
	return id
}

// contact of the i-th node: every node in a /24 of its own.
func contact(i, bits int) kad.Contact {
	return kad.Contact{
		ID:    nodeID(i),
		Shard: shardkit.ShardID(i % (1 << bits)),
		Addr:  fmt.Sprintf("%d.%d.%d.1:9000", 1+i>>16, i>>8&255, i&255),
	}
}

func newWorld(t testing.TB, seed uint64, count, bits int, change func(i int, c *kad.Config)) *world {
	cfg := simnet.Config{Seed: seed, Latency: func(_, _ shardkit.NodeID) time.Duration { return 50 * time.Millisecond }}
	return newWorldOn(t, cfg, seed, count, bits, change)
}

// newWorldOn is newWorld on a given network.
func newWorldOn(t testing.TB, on simnet.Config, seed uint64, count, bits int, change func(i int, c *kad.Config)) *world {
	net, err := simnet.New(on)
	require.NoError(t, err)
	w := &world{net: net, bits: bits, nodes: make([]*simNode, count)}
	w.cfg = func(i int) kad.Config {
		c := kad.Config{Self: contact(i, bits), ShardBits: bits, Seed: seed + uint64(i)}
		if change != nil {
			change(i, &c)
		}
		return c
	}
	for i := range count {
		w.nodes[i] = &simNode{w: w, self: contact(i, bits)}
		require.NoError(t, net.Add(nodeID(i), func([][]byte) (simnet.Node, error) { return w.boot(i) }))
	}
	return w
}

func (w *world) boot(i int) (simnet.Node, error) {
	n := w.nodes[i]
	cfg := w.cfg(i)
	core, err := kad.New(cfg)
	n.core, n.self = core, cfg.Self
	n.routes, n.open = map[shardkit.NodeID]string{}, map[shardkit.NodeID]bool{}
	return n, err
}

// start joins node i.
func (w *world) start(i int) {
	w.net.Do(nodeID(i), func(now time.Duration, _ simnet.Node) { w.nodes[i].core.Start(now) })
}

func (w *world) do(i int, f func(now time.Duration, c *kad.Core)) {
	w.net.Do(nodeID(i), func(now time.Duration, _ simnet.Node) { f(now, w.nodes[i].core) })
}

// find looks for node j from node i and waits for the answer.
func (w *world) find(i, j int) kad.Found {
	n := w.nodes[i]
	n.found = nil
	w.do(i, func(now time.Duration, c *kad.Core) { c.Find(now, contact(j, w.bits).Shard, nodeID(j)) })
	w.net.RunUntil(func() bool { return len(n.found) > 0 }, w.net.Now()+5*time.Minute)
	return n.found[0]
}

func (w *world) findShard(i int, s shardkit.ShardID, limit int) []kad.Contact {
	n := w.nodes[i]
	n.member = nil
	w.do(i, func(now time.Duration, c *kad.Core) { c.FindShard(now, s, limit) })
	w.net.RunUntil(func() bool { return len(n.member) > 0 }, w.net.Now()+5*time.Minute)
	return n.member[0].Contacts
}

func (n *simNode) Deliver(now time.Duration, from shardkit.NodeID, msg []byte) error {
	n.open[from] = true
	if n.liar != nil {
		n.liar.deliver(n, from, msg)
		return nil
	}
	return n.core.Deliver(now, from, msg)
}

func (n *simNode) Done(time.Duration, any)         {}
func (n *simNode) Persisted(time.Duration, uint64) {}
func (n *simNode) Tick(now time.Duration)          { n.core.Tick(now) }
func (n *simNode) Wake() (time.Duration, bool)     { return n.core.Wake() }

func (n *simNode) Effects() simnet.Effects {
	r := n.core.Ready()
	for _, c := range r.Routes {
		n.routes[c.ID] = c.Addr
	}
	n.found = append(n.found, r.Found...)
	n.member = append(n.member, r.Members...)
	out := n.out
	n.out = nil
	for _, m := range r.Messages {
		if n.open[m.To] || n.routes[m.To] == n.w.addrOf(m.To) {
			out = append(out, m)
		}
	}
	return simnet.Effects{Messages: out}
}

func (w *world) addrOf(id shardkit.NodeID) string {
	if i := int(binary.BigEndian.Uint64(id[8:])); i < len(w.nodes) {
		return w.nodes[i].self.Addr
	}
	return ""
}

// placed is a contact with its place.
type placed struct {
	key [4]uint64
	kad.Contact
}

// fill gives every node the table it would have after a long time: in every
// bucket k nodes chosen at random.
func (w *world) fill(k int) {
	all := make([]placed, len(w.nodes))
	for i := range all {
		c := contact(i, w.bits)
		all[i] = placed{kad.Place(c.ID, c.Shard, w.bits), c}
	}
	slices.SortFunc(all, func(a, b placed) int { return nearer(a.key, b.key, [4]uint64{}) })
	rng := rand.New(rand.NewPCG(1, 2))
	for at, me := range all {
		var contacts []kad.Contact
		lo, hi := 0, len(all) // those that share at least b bits with us
		for b := 0; hi-lo > 1; b++ {
			l := lo + sort.Search(at-lo, func(x int) bool { return kad.Shared(all[lo+x].key, me.key) > b })
			h := at + 1 + sort.Search(hi-at-1, func(x int) bool { return kad.Shared(all[at+1+x].key, me.key) <= b })
			count := l - lo + hi - h
			at := func(x int) kad.Contact {
				if x < l-lo {
					return all[lo+x].Contact
				}
				return all[h+x-(l-lo)].Contact
			}
			var picked []int
			for x := max(0, count-k); x < count; x++ { // Floyd's sampling
				y := rng.IntN(x + 1)
				if slices.Contains(picked, y) {
					y = x
				}
				picked = append(picked, y)
				contacts = append(contacts, at(y))
			}
			lo, hi = l, h
		}
		w.do(int(binary.BigEndian.Uint64(me.ID[8:])), func(now time.Duration, c *kad.Core) { c.Insert(contacts); c.Begun(now) })
	}
}

// liar answers every question with the nodes nearest to the target among those
// that lie too, and among a great number that do not exist.
type liar struct {
	pool    []placed
	hunted  kad.Contact // named too, at a false address of every liar's own, if set
	nowhere int
}

// newLiar prepares the answers of a conspiracy, with invented nodes beside.
func newLiar(lying []kad.Contact, invented, bits int) *liar {
	x := &liar{}
	add := func(c kad.Contact) { x.pool = append(x.pool, placed{kad.Place(c.ID, c.Shard, bits), c}) }
	for _, c := range lying {
		add(c)
	}
	for i := range invented {
		add(contact(1<<20+i, bits))
	}
	slices.SortFunc(x.pool, func(a, b placed) int { return nearer(a.key, b.key, [4]uint64{}) })
	return x
}

// near returns 16 of those that share the most bits with target.
func (x *liar) near(target [4]uint64) []kad.Contact {
	lo, hi := 0, len(x.pool)
	for b := 0; hi-lo > 16; b++ {
		l := lo + sort.Search(hi-lo, func(i int) bool {
			return kad.Shared(x.pool[lo+i].key, target) > b || !kad.Less(x.pool[lo+i].key, target)
		})
		h := l + sort.Search(hi-l, func(i int) bool {
			return kad.Shared(x.pool[l+i].key, target) <= b && !kad.Less(x.pool[l+i].key, target)
		})
		if h-l < 16 {
			break
		}
		lo, hi = l, h
	}
	var out []kad.Contact
	for _, p := range x.pool[lo:min(hi, lo+16)] {
		out = append(out, p.Contact)
	}
	return out
}

func (x *liar) deliver(n *simNode, from shardkit.NodeID, msg []byte) {
	var m kad.Message
	if m.UnmarshalBinary(msg) != nil {
		return
	}
	kind, req, target, _ := m.Request()
	answer := kad.NewMessage(kad.KindPong, req, n.self.Addr, []shardkit.ShardID{n.self.Shard}, [4]uint64{}, 0, nil)
	switch kind {
	case kad.KindFind, kad.KindMembers:
		near := x.near(target)
		if x.hunted.Addr != "" {
			x.nowhere++
			x.hunted.Addr = fmt.Sprintf("200.%d.%d.1:1", x.nowhere>>8&255, x.nowhere&255)
			near = append(near, x.hunted)
		}
		answer = kad.NewMessage(kad.KindNodes, req, n.self.Addr, []shardkit.ShardID{n.self.Shard}, [4]uint64{}, 0, near)
	case kad.KindPing:
	default:
		return
	}
	data, _ := answer.AppendBinary(nil)
	n.out = append(n.out, shardkit.Message{To: from, Class: shardkit.ClassBlock, Data: data})
}

func nearer(a, b, target [4]uint64) int {
	for i := range target {
		if x, y := a[i]^target[i], b[i]^target[i]; x != y {
			if x < y {
				return -1
			}
			return 1
		}
	}
	return 0
}
