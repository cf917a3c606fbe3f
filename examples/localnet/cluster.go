package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/examples/chain"
	"github.com/shardkit/shardkit/internal/loop"
	"github.com/shardkit/shardkit/kad"
	"github.com/shardkit/shardkit/ledger/pebblestore"
)

// cluster is all nodes of a run. They share the process and the worker
// goroutines, and nothing else.
type cluster struct {
	o     *options
	setup *setup
	dir   string
	pool  *loop.Pool
	log   *slog.Logger
	start time.Time

	mu     sync.Mutex
	nodes  []*member
	counts counts
}

// member is one node of the cluster through all its lives.
type member struct {
	identity *chain.Identity
	node     *chain.Node // nil while down
	disk     *disk
	dir      string
	addr     string           // of its first life; it listens there again
	follow   bool             // the newcomer: not in the genesis
	home     shardkit.ShardID // in the first epoch
}

// counts is what the nodes' events add up to.
type counts struct {
	first    []time.Duration // by shard: when the first block was durable anywhere
	heights  []shardkit.Height
	views    []uint64 // by shard: views beyond the first that decided blocks needed
	rebuilt  int
	synced   []chain.Event
	epochs   map[shardkit.Epoch]*epochCount
	blocks   []int // by shard, seen committed for the first time
	refused  int
	join     joining
	failures []error
}

type epochCount struct {
	report *chain.EpochReport
	vdf    []time.Duration
}

func newCluster(o *options, s *setup, dir string, start time.Time) *cluster {
	c := &cluster{o: o, setup: s, dir: dir, pool: loop.NewPool(workers()), start: start}
	c.log = slog.New(slog.DiscardHandler)
	if o.verbose {
		c.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	c.counts.first = make([]time.Duration, o.shards)
	c.counts.heights = make([]shardkit.Height, o.shards)
	c.counts.views = make([]uint64, o.shards)
	c.counts.blocks = make([]int, o.shards)
	c.counts.epochs = map[shardkit.Epoch]*epochCount{}
	homes := s.genesis.Homes()
	for i, id := range s.identities {
		c.nodes = append(c.nodes, &member{identity: id, dir: filepath.Join(dir, fmt.Sprintf("node-%d", i)), home: homes[id.ID()]})
	}
	if c.hasJoined() {
		c.nodes = append(c.nodes, c.newcomerMember())
	}
	return c
}

// startAll starts the bootstrap nodes one after the other, then all others at
// once.
func (c *cluster) startAll() error {
	for _, m := range c.nodes[:min(bootstraps, len(c.nodes))] {
		if err := c.startNode(m); err != nil {
			return err
		}
	}
	errs := make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i, m := range c.nodes[min(bootstraps, len(c.nodes)):] {
		wg.Go(func() { errs[i] = c.startNode(m) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// storeOptions keeps the stores of many replicas in one process small.
func storeOptions(fs vfs.FS) pebblestore.Options {
	o := pebblestore.Tuned()
	o.MemTableSize = 4 << 20
	return pebblestore.Options{FS: fs, Pebble: o, CacheBytes: 4 << 20}
}

// startNode starts a node, for the first time or on its own data.
func (c *cluster) startNode(m *member) error {
	d := newDisk()
	n, err := chain.StartNode(chain.NodeConfig{
		Genesis: c.setup.genesis, Identity: m.identity, Dir: m.dir, Addr: m.addr, Follow: m.follow,
		Find: true, Bootstrap: c.bootstrap(m), History: c.o.history > 0,
		Store: storeOptions(d), LogFS: logDisk{d}, Pool: c.pool,
		Logger: c.log.With("node", m.identity.ID()),
		Events: func(_ time.Duration, e chain.Event) { c.note(m, e) },
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	m.node, m.disk, m.addr = n, d, n.Addr()
	c.mu.Unlock()
	go c.watch(m, n)
	return nil
}

// bootstraps is how many nodes the others know from the start; the rest they
// find.
const bootstraps = 3

// bootstrap lists the contacts of the first nodes that are up.
func (c *cluster) bootstrap(self *member) (out []kad.Contact) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.nodes[:min(bootstraps, len(c.nodes))] {
		if m != self && m.addr != "" {
			out = append(out, kad.Contact{ID: m.identity.ID(), Shard: m.home, Addr: m.addr})
		}
	}
	return out
}

// watch notes a node that stops by itself.
func (c *cluster) watch(m *member, n *chain.Node) {
	<-n.Done()
	if err := n.Err(); err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if m.node == n {
			c.counts.failures = append(c.counts.failures, err)
		}
	}
}

// note takes a node's event.
func (c *cluster) note(m *member, e chain.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &c.counts
	switch e.Kind {
	case chain.Committed:
		s, h := e.Shard, e.Header.Height
		if m.follow {
			k.join.note(e)
		}
		if k.first[s] == 0 {
			k.first[s] = time.Since(c.start)
		}
		if h > k.heights[s] {
			k.heights[s] = h
			k.blocks[s]++
			k.views[s] += e.View
		}
	case chain.Rebuilt:
		k.rebuilt++
	case chain.Synced:
		k.synced = append(k.synced, e)
	case chain.Elected:
		k.epoch(e.Report.Epoch).report = e.Report
	case chain.Evaluated:
		ep := k.epoch(e.Epoch)
		ep.vdf = append(ep.vdf, e.Took)
	case chain.Refused:
		k.refused++
	}
}

func (k *counts) epoch(e shardkit.Epoch) *epochCount {
	if k.epochs[e] == nil {
		k.epochs[e] = new(epochCount)
	}
	return k.epochs[e]
}

// ready waits until every node has opened its replicas, and returns the epoch
// that the beacon's members find themselves in.
func (c *cluster) ready() (shardkit.Epoch, error) {
	for end := time.Now().Add(idleEpoch); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err := c.failed(); err != nil {
			return 0, err
		}
		opened, beacon := true, false
		for _, m := range c.up() {
			for _, s := range m.status() {
				opened = opened && s.Ready
				beacon = beacon || (s.Shard == 0 && s.Ready)
			}
		}
		if opened && beacon {
			return c.epoch(), nil
		}
	}
	return 0, fmt.Errorf("the nodes did not open their data within %v", idleEpoch)
}

// epoch returns the epoch that the beacon is in.
func (c *cluster) epoch() (e shardkit.Epoch) {
	for _, m := range c.up() {
		for _, s := range m.status() {
			if s.Shard == 0 && s.Ready {
				e = max(e, s.Epoch)
			}
		}
	}
	return e
}

// failed returns the first failure of a node.
func (c *cluster) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.counts.failures) > 0 {
		return c.counts.failures[0]
	}
	return nil
}

// up lists the nodes that run.
func (c *cluster) up() (out []*member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.nodes {
		if m.node != nil {
			out = append(out, m)
		}
	}
	return out
}

// status asks a node where its replicas stand.
func (m *member) status() (out []chain.ReplicaStatus) {
	if n := m.node; n != nil {
		n.Inspect(func(c *chain.Core) { out = c.Status() })
	}
	return out
}

// cut is a crash of one node: connections end without goodbye, and bytes not
// synced are lost.
func (c *cluster) cut(m *member) error {
	c.mu.Lock()
	n := m.node
	m.node = nil
	c.mu.Unlock()
	n.Abort()
	return m.disk.pull()
}

// closeAll ends the run in good order.
func (c *cluster) closeAll() error {
	var wg sync.WaitGroup
	errs := make([]error, len(c.nodes))
	for i, m := range c.nodes {
		if m.node != nil {
			wg.Go(func() { errs[i] = m.node.Close() })
		}
	}
	wg.Wait()
	c.pool.Close()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// audit reads every replica's store, after closeAll.
func (c *cluster) audit(accepted []chain.Transfer) (*chain.Report, error) {
	var copies []chain.Copy
	for _, m := range c.nodes {
		dirs, err := chain.Stores(m.dir)
		if err != nil {
			return nil, err
		}
		for dir, s := range dirs {
			st, err := pebblestore.Open(dir, storeOptions(vfs.Default))
			if err != nil {
				return nil, err
			}
			defer st.Close()
			copies = append(copies, chain.Copy{Node: m.identity.ID(), Shard: s, Store: st})
		}
	}
	return chain.Audit(c.setup.genesis, copies, accepted)
}
