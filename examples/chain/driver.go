package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/bls"
	"github.com/shardkit/shardkit/internal/loop"
	"github.com/shardkit/shardkit/kad"
	"github.com/shardkit/shardkit/kad/quicnet"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/ledger/pebblestore"
)

// NodeConfig is what a Node is made from.
type NodeConfig struct {
	Genesis   *Genesis
	Identity  *Identity
	Dir       string              // of the node's data; made if missing
	Store     pebblestore.Options // of every replica's store
	LogFS     fbft.LogFS          // where the log is. nil: the operating system's
	Addr      string              // to listen on. "": any port of the loopback
	Find      bool                // find the other nodes through Bootstrap; else SetAddr names them
	Bootstrap []kad.Contact       // a few nodes to begin with; none at the very first
	Discard   bool                // remove the stores of replicas that are gone, when they cannot serve as evidence any more
	Follow    bool                // not in the genesis: join as an observer of the beacon, and take seats as they come
	History   bool                // keep the histories of accounts, see Config
	Pool      *loop.Pool          // workers; may be shared between nodes of a process. nil: an own one

	// Tune may change what Core offers beyond the above: timings and limits.
	Tune func(*Config)

	// Events is told of everything that happens, from the node's goroutine; it
	// must not block. nil: nobody.
	Events func(now time.Duration, e Event)
	Logger *slog.Logger // nil: silent
}

// Node is a Core with its goroutine, network, stores and log. Its methods are
// safe for concurrent use.
type Node struct {
	cfg     NodeConfig
	core    *Core
	loop    *loop.Loop
	host    *quicnet.Host
	log     *fbft.Log
	cancel  context.CancelFunc
	ended   chan struct{}
	err     error
	refused atomic.Uint64

	mu     sync.Mutex
	stores []*pebblestore.Store
	gens   map[shardkit.ShardID]int // the newest store of each shard
}

// errForeign says that a directory belongs to another chain.
var errForeign = errors.New("data of another chain")

// StartNode opens a node's data and lets it take part.
func StartNode(cfg NodeConfig) (*Node, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := cfg.Genesis.Validate(bls.VerifyPossession); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, ended: make(chan struct{}), gens: map[shardkit.ShardID]int{}}
	held, err := n.claim()
	if err != nil {
		return nil, err
	}
	voting := cfg.Identity.Voting.Public()
	var records [][]byte
	n.log, records, err = fbft.OpenLog(filepath.Join(cfg.Dir, "log"), voting, fbft.LogOptions{Must: len(held) > 0, FS: cfg.LogFS})
	if err != nil {
		return nil, fmt.Errorf("chain: node %v: %w", cfg.Identity.ID(), err)
	}
	if err := n.assemble(held, records); err != nil {
		n.log.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() {
		defer close(n.ended)
		if err := n.loop.Run(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, loop.ErrClosed) {
			n.err = err
		}
	}()
	n.loop.Post(func(now time.Duration) { n.core.Start(now, n.host.Addr()) })
	return n, nil
}

// claim marks the directory as this chain's and lists the shards whose stores
// are in it.
func (n *Node) claim() (held []shardkit.ShardID, err error) {
	dir, id := n.cfg.Dir, n.cfg.Genesis.ID()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("chain: data directory: %w", err)
	}
	name := filepath.Join(dir, "chain")
	want := fmt.Sprintf("%x\n", id[:])
	switch got, err := os.ReadFile(name); {
	case errors.Is(err, os.ErrNotExist):
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			return nil, fmt.Errorf("chain: data directory: %w", err)
		}
	case err != nil:
		return nil, fmt.Errorf("chain: data directory: %w", err)
	case string(got) != want:
		return nil, fmt.Errorf("chain: data directory %s: %w", dir, errForeign)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("chain: data directory: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), gonePrefix) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return nil, fmt.Errorf("chain: data directory: %w", err)
			}
		}
		if s, gen, ok := parseStore(e.Name()); ok && e.IsDir() {
			if _, known := n.gens[s]; !known {
				held = append(held, s)
			}
			n.gens[s] = max(n.gens[s], gen)
		}
	}
	slices.Sort(held)
	return held, nil
}

// assemble makes core, loop and host, in this order: each may be called by the
// next from its first moment.
func (n *Node) assemble(held []shardkit.ShardID, records [][]byte) error {
	cfg, id := n.cfg, n.cfg.Identity
	core := Config{
		Genesis: cfg.Genesis, Self: id.ID(), Signer: id.Voting, Prove: id.Prove, Sign: id.Sign, Scheme: id.Scheme, Batch: id.Batch,
		Reporter: id.Reporter(cfg.Genesis.Params.Shards),
		Open:     n.open, Held: held, Log: records, Wall: uint64(time.Now().UnixMilli()), Follow: cfg.Follow,
		History: cfg.History,
	}
	if cfg.Find {
		core.Kad = &kad.Config{
			ShardBits: max(1, bits.Len32(cfg.Genesis.Params.Shards-1)), Bootstrap: cfg.Bootstrap,
		}
	}
	if cfg.Discard {
		core.Discard = n.discard
	}
	if cfg.Tune != nil {
		cfg.Tune(&core)
	}
	var err error
	if n.core, err = New(core); err != nil {
		return err
	}
	n.loop, err = loop.New(loop.Config{
		Core: n.core, Effects: n.effects, Log: n.log, LogSeq: n.log.LastSeq(),
		Send: func(m shardkit.Message) error { return n.host.Send(m) },
		Pool: cfg.Pool, Logger: cfg.Logger,
		OnRefuse: func(from shardkit.NodeID, err error) {
			n.refused.Add(1)
			cfg.Logger.Debug("refused", "from", from, "err", err)
		},
		OnError: func(err error) { cfg.Logger.Error("node stops", "err", err) },
	})
	if err != nil {
		return err
	}
	n.host, err = quicnet.Listen(quicnet.Config{
		Key: id.Network, Addr: cfg.Addr, Network: cfg.Genesis.ID().String(), Logger: cfg.Logger,
		// A full queue drops: delivery is best effort.
		Handle: func(from shardkit.NodeID, _ uint8, msg []byte) { _ = n.loop.Deliver(from, msg) },
	})
	if err != nil {
		n.loop.Close()
		return err
	}
	return nil
}

// effects drains the core on the loop's goroutine.
func (n *Node) effects() loop.Effects {
	rd := n.core.Ready()
	for _, c := range rd.Routes {
		n.host.SetAddr(c.ID, c.Addr)
	}
	if n.cfg.Events != nil && len(rd.Events) > 0 {
		now := n.loop.Now()
		for _, e := range rd.Events {
			n.cfg.Events(now, e)
		}
	}
	if rd.Failed != nil {
		n.cfg.Logger.Error("node fails", "err", rd.Failed)
		n.err = rd.Failed
		go n.stop()
	}
	return loop.Effects{Records: rd.Records, Seq: rd.Seq, Prune: rd.Prune, Messages: rd.Messages, Jobs: rd.Jobs}
}

// storeName names a replica's store: the shard, and a number that grows when a
// replica begins again with an empty one.
func storeName(s shardkit.ShardID, gen int) string { return fmt.Sprintf("shard-%d-%d", s, gen) }

func parseStore(name string) (s shardkit.ShardID, gen int, ok bool) {
	n, err := fmt.Sscanf(name, "shard-%d-%d", &s, &gen)
	return s, gen, err == nil && n == 2 && storeName(s, gen) == name
}

// Stores lists the directories of all stores under a node's directory, with
// their shards: the ones in use and those that were given up.
func Stores(dir string) (map[string]shardkit.ShardID, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	out := map[string]shardkit.ShardID{}
	for _, e := range entries {
		if s, _, ok := parseStore(e.Name()); ok && e.IsDir() {
			out[filepath.Join(dir, e.Name())] = s
		}
	}
	return out, nil
}

// open opens a replica's store; the core calls it in a job.
func (n *Node) open(s shardkit.ShardID, fresh bool) (ledger.Store, error) {
	n.mu.Lock()
	if fresh {
		n.gens[s]++
	}
	name := storeName(s, n.gens[s])
	n.mu.Unlock()
	st, err := pebblestore.Open(filepath.Join(n.cfg.Dir, name), n.cfg.Store)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stores = append(n.stores, st)
	return st, nil
}

// gonePrefix marks a store that is being removed, so that what a crash leaves
// of it is not taken for a store.
const gonePrefix = "gone-"

// discard removes all stores of a shard; the core calls it in a job, when they
// are closed.
func (n *Node) discard(s shardkit.ShardID) error {
	n.mu.Lock()
	last := n.gens[s]
	n.mu.Unlock()
	var gone []string
	for gen := range last + 1 {
		name := filepath.Join(n.cfg.Dir, storeName(s, gen))
		to := filepath.Join(n.cfg.Dir, gonePrefix+storeName(s, gen))
		if err := os.Rename(name, to); err == nil {
			gone = append(gone, to)
		} else if !errors.Is(err, os.ErrNotExist) {
			n.cfg.Logger.Warn("store stays", "dir", name, "err", err)
		}
	}
	if err := syncDir(n.cfg.Dir); err != nil {
		return err
	}
	for _, dir := range gone {
		if err := os.RemoveAll(dir); err != nil {
			return err // the next start removes what is left
		}
	}
	return nil
}

// syncDir makes renames in a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// ID returns the node's id.
func (n *Node) ID() shardkit.NodeID { return n.cfg.Identity.ID() }

// Addr returns the address the node listens on.
func (n *Node) Addr() string { return n.host.Addr() }

// SetAddr tells where another node listens.
func (n *Node) SetAddr(id shardkit.NodeID, addr string) { n.host.SetAddr(id, addr) }

// Refused returns how many messages of peers were refused.
func (n *Node) Refused() uint64 { return n.refused.Load() }

// Network returns the traffic of the node.
func (n *Node) Network() quicnet.Stats { return n.host.Stats() }

// Inspect runs f on the node's goroutine, with the core at rest. It reports
// false if the node has stopped.
func (n *Node) Inspect(f func(*Core)) bool {
	return n.loop.Do(func(time.Duration) { f(n.core) })
}

// Err returns what stopped the node, once it has stopped.
func (n *Node) Err() error {
	select {
	case <-n.ended:
		return n.err
	default:
		return nil
	}
}

// Done is closed when the node has stopped, by Close or by a failure.
func (n *Node) Done() <-chan struct{} { return n.ended }

// Close stops the node in good order and reports what had gone wrong.
func (n *Node) Close() error {
	n.stop()
	<-n.ended
	n.host.Close()
	errs := []error{n.err, n.log.Close()}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.stores {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

func (n *Node) stop() {
	n.loop.Close()
	n.cancel()
}

// Abort cuts the node off between two effects: no goodbye to peers, nothing
// flushed. With file systems that forget what was not synced this is a crash;
// the stores are not closed, the caller drops what is under them.
func (n *Node) Abort() {
	n.loop.Abort()
	n.cancel()
	n.host.Abort()
	<-n.ended
}
