package drg_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad/simnet"
	"github.com/shardkit/shardkit/vdf/drg"
	"github.com/shardkit/shardkit/vrf"
)

// world is a committee on a simulated network with a stand-in for consensus:
// every slotTime one leader, in rotation, may propose, and what two thirds of
// the nodes find valid is committed at once.
type world struct {
	t       *testing.T
	net     *simnet.Net
	params  drg.Params
	round   drg.Round
	ids     []shardkit.NodeID
	keys    []*vrf.SecretKey
	signers []func([]byte) []byte
	view    int
	propose map[int]func(set []byte) []byte // what a Byzantine leader makes of its set
	silent  map[int]bool                    // leaders that never propose
	// crashes says whether a leader crashes as it comes to a step of its turn.
	crashes func(s step, leader int) bool

	set, output []byte // committed
	pRnd, rnd   shardkit.Hash
	refused     []error // of sets proposed
	invalid     map[shardkit.NodeID]int
	evidence    []drg.Evidence
	started     map[seen]bool
}

// seen is that a node has seen an alpha, in this life or before.
type seen struct {
	node  shardkit.NodeID
	alpha shardkit.Hash
}

// step is a point in a leader's turn at which it may crash.
type step string

const (
	turnBegins      step = "its turn begins"
	hasSet          step = "it has a set, not yet sent"
	setCommitted    step = "its set has been committed"
	delayRuns       step = "the set is final, the delay not through"
	hasOutput       step = "it has the output, not yet sent"
	outputCommitted step = "its output has been committed"
)

const slotTime = 300 * time.Millisecond

// node makes a Core a simnet.Node.
type node struct {
	*drg.Core
	w    *world
	id   shardkit.NodeID
	seen shardkit.Hash // alpha, in this life
}

func (n *node) Effects() simnet.Effects {
	r := n.Core.Ready()
	for _, m := range r.Invalid {
		n.w.invalid[m.Node]++
	}
	n.w.evidence = append(n.w.evidence, r.Evidence...)
	return simnet.Effects{Messages: r.Messages, Jobs: r.Jobs}
}

var demo = drg.Params{
	Chain: shardkit.Hash{1}, Bits: 256, T: 200, Bound: 10 * time.Second, AllowShortDelay: true,
}

// newWorld makes n nodes of weight 1; adjust, if not nil, changes their
// configuration.
func newWorld(t *testing.T, n int, cfg simnet.Config, adjust func(i int, c *drg.Config)) *world {
	w := &world{
		t: t, params: demo, propose: map[int]func([]byte) []byte{}, silent: map[int]bool{},
		invalid: map[shardkit.NodeID]int{}, started: map[seen]bool{},
	}
	if cfg.JobTime == nil {
		cfg.JobTime = func(j shardkit.Job) time.Duration {
			if j.Kind == "vdf.eval" {
				return 2 * time.Second
			}
			return time.Duration(j.Size) * time.Millisecond
		}
	}
	net, err := simnet.New(cfg)
	require.NoError(t, err)
	w.net = net
	w.round = drg.Round{Epoch: 5, Alpha: shardkit.Hash{9}, Need: uint64(n - (2*n/3 + 1) + 1)}
	for i := range n {
		seed := sha256.Sum256([]byte(fmt.Sprint("key", i)))
		key, err := vrf.GenerateKey(vrf.EdwardsELL2, seed[:])
		require.NoError(t, err)
		id, sign := identity(i)
		w.ids, w.keys, w.signers = append(w.ids, id), append(w.keys, key), append(w.signers, sign)
		w.round.Members = append(w.round.Members, drg.Member{
			Node: id, Slot: shardkit.Hash(sha256.Sum256(id[:])), Key: key.Public(), Weight: 1,
		})
	}
	for i, id := range w.ids {
		c := drg.Config{Params: w.params, Self: id, Prove: w.keys[i].Prove, Sign: w.signers[i]}
		if adjust != nil {
			adjust(i, &c)
		}
		require.NoError(t, net.Add(id, func([][]byte) (simnet.Node, error) {
			core, err := drg.New(c)
			return &node{Core: core, w: w, id: id}, err
		}))
	}
	net.At(0, w.slot)
	return w
}

// identity is the network key of a node.
func identity(i int) (id shardkit.NodeID, sign func([]byte) []byte) {
	seed := sha256.Sum256([]byte(fmt.Sprint("node", i)))
	key := ed25519.NewKeyFromSeed(seed[:])
	return shardkit.NodeID(key.Public().(ed25519.PublicKey)), func(m []byte) []byte { return ed25519.Sign(key, m) }
}

// leaders lists the next ones, soonest first.
func (w *world) leaders() []shardkit.NodeID {
	var l []shardkit.NodeID
	for i := range w.ids {
		l = append(l, w.ids[(w.view+i)%len(w.ids)])
	}
	return l
}

// each runs f on every node that is up.
func (w *world) each(f func(i int, now time.Duration, n *node)) {
	for i, id := range w.ids {
		w.net.Do(id, func(now time.Duration, sn simnet.Node) { f(i, now, sn.(*node)) })
	}
}

// slot gives the leader of this slot its turn.
func (w *world) slot() {
	leader := w.view % len(w.ids)
	w.each(func(_ int, now time.Duration, n *node) { w.catchUp(now, n) })
	if n, ok := w.net.Node(w.ids[leader]).(*node); ok && !w.silent[leader] && !w.fails(turnBegins, leader) {
		switch {
		case w.set == nil && n.Set() != nil:
			if set := n.Set(); !w.fails(hasSet, leader) {
				w.tryset(leader, set)
				w.fails(setCommitted, leader)
			}
		case w.set != nil && w.output == nil && n.Output() == nil:
			w.fails(delayRuns, leader)
		case w.set != nil && w.output == nil:
			if output := n.Output(); !w.fails(hasOutput, leader) {
				rnd, err := drg.CheckOutput(w.params, w.round.Epoch, w.pRnd, output)
				require.NoError(w.t, err)
				w.output, w.rnd = output, rnd
				w.fails(outputCommitted, leader)
			}
		}
	}
	w.view++
	w.net.At(w.net.Now()+slotTime, w.slot)
}

// fails crashes the leader if it is to crash at this step.
func (w *world) fails(s step, leader int) bool {
	if w.crashes == nil || !w.crashes(s, leader) {
		return false
	}
	w.net.Crash(w.ids[leader])
	return true
}

// catchUp tells a node what the chain says: also after a crash.
func (w *world) catchUp(now time.Duration, n *node) {
	if n.seen != w.round.Alpha {
		n.seen = w.round.Alpha
		start := n.Start
		if w.started[seen{n.id, n.seen}] {
			start = n.Resume
		}
		w.started[seen{n.id, n.seen}] = true
		require.NoError(w.t, start(now, w.round))
	}
	n.SetLeaders(now, w.leaders())
	if w.set != nil {
		n.Committed(now, w.pRnd)
	}
}

// tryset puts a proposal to the vote.
func (w *world) tryset(leader int, set []byte) {
	if f := w.propose[leader]; f != nil {
		set = f(set)
	}
	if set == nil {
		return
	}
	votes := 0
	pRnd, err := drg.CheckSet(w.params, w.round, set)
	if err != nil {
		w.refused = append(w.refused, err)
		return
	}
	w.each(func(_ int, now time.Duration, n *node) {
		if !n.Late(now) {
			votes++
		}
	})
	if 3*votes > 2*len(w.ids) {
		w.set, w.pRnd = set, pRnd
	}
}

// finish runs until the output is committed, and checks that it is the same
// for a newcomer who has the chain alone.
func (w *world) finish(limit time.Duration) {
	ok := w.net.RunUntil(func() bool { return w.output != nil }, limit)
	require.True(w.t, ok, "no output: %v", w.refused)
	pRnd, err := drg.CheckSet(w.params, w.round, w.set)
	require.NoError(w.t, err)
	require.Equal(w.t, w.pRnd, pRnd)
	rnd, err := drg.CheckOutput(w.params, w.round.Epoch, pRnd, w.output)
	require.NoError(w.t, err)
	require.Equal(w.t, w.rnd, rnd)
	w.net.Run(w.net.Now() + 10*time.Minute)
	w.each(func(i int, _ time.Duration, n *node) {
		require.Equal(w.t, w.output, n.Output(), "node %d", i)
	})
}
