package simnet

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/shardkit/shardkit"
)

// Effects are what a node wants done. They mirror the Ready structs of the
// cores: a node made of one core copies its fields.
type Effects struct {
	Records  [][]byte // to be made durable, in order
	Seq      uint64   // number of the last of Records; numbers are consecutive from 1 in each life
	Prune    uint64   // once Records are durable, earlier lives' records and this life's up to Prune may be dropped; 0: none
	Messages []shardkit.Message
	Jobs     []shardkit.Job
}

// Node is a core as the network drives it: the five inputs of every core, and
// Effects, which drains what the inputs brought about. It is called after
// every input.
type Node interface {
	Deliver(now time.Duration, from shardkit.NodeID, msg []byte) error
	Done(now time.Duration, result any)
	Persisted(now time.Duration, seq uint64)
	Tick(now time.Duration)
	Wake() (at time.Duration, ok bool)
	Effects() Effects
}

// Boot builds a node from its durable records: at its first start, when log is
// empty, and at every restart. What the node keeps elsewhere on its disk (a
// store) is held by the closure.
type Boot func(log [][]byte) (Node, error)

// Config describes a network. The zero value is a perfect one: 1 ms from node
// to node, no limits, no faults.
type Config struct {
	Seed uint64

	// Latency of a message from one node to another. nil: 1 ms. See Regions.
	Latency func(from, to shardkit.NodeID) time.Duration
	// Jitter is added to the latency: uniform in [0, Jitter). It lets messages
	// overtake each other.
	Jitter time.Duration
	// Bandwidth of every node's uplink and of its downlink, bytes per second.
	// 0: unlimited. SetBandwidth sets those of one node.
	Bandwidth int
	// Size is what a message counts for against the bandwidth, in bytes; with
	// it, a short stub can stand for a long message. nil: its length.
	Size func(msg []byte) int

	Loss      float64 // share of messages that get lost
	Duplicate float64 // share of messages that arrive twice
	Reorder   float64 // share of messages held back by up to ten further latencies

	// SyncTime is how long it takes to make records durable. 0: no time, but
	// still a step of its own.
	SyncTime time.Duration
	// Torn lets a crash keep a random number of the records that were being
	// made durable, as disks do. Off: they are all lost.
	Torn bool

	// JobTime is the price of a job. nil: jobs take no time.
	JobTime func(shardkit.Job) time.Duration
	Workers int           // jobs that a node runs at once. 0: 4
	LongJob time.Duration // jobs of this price or more take no worker. 0: 1 s

	// Drift is how much faster than true a node's clock runs, in parts per
	// million. nil: all are true.
	Drift func(id shardkit.NodeID) int

	// Filter sees every message as it leaves and decides on it. nil: all pass.
	Filter func(from, to shardkit.NodeID, msg []byte) Verdict
	// OnError is told of every error that Deliver returned.
	OnError func(node, from shardkit.NodeID, err error)
	// OnStep is called after every input of a node, when its effects have been
	// carried out: the place to check invariants.
	OnStep func(id shardkit.NodeID, node Node)

	// Trace gets every event as a line of JSON. nil: no trace.
	Trace io.Writer
}

// Verdict is what Filter decides. The zero Verdict lets the message pass.
type Verdict struct {
	Drop  bool
	Delay time.Duration // on top of the latency
	Extra int           // further copies
	Data  []byte        // goes in place of the message, if not nil
}

// Stats counts what happened on the whole network.
type Stats struct {
	Events    uint64
	Sent      uint64 // messages that left
	SentBytes uint64
	Delivered uint64
	Lost      uint64 // by chance, block, partition, filter or a receiver that was down
	Refused   uint64 // Deliver returned an error
}

// NodeStats counts what one node did, over all its lives.
type NodeStats struct {
	Lives         int
	Sent          uint64
	SentBytes     uint64
	Received      uint64
	ReceivedBytes uint64
	Refused       uint64
	Jobs          uint64
	JobTime       time.Duration // price of the jobs it finished
	Records       uint64        // made durable
	Syncs         uint64
}

// ErrUnknown says that no node of that id was added.
var ErrUnknown = errors.New("simnet: unknown node")

// Net is a simulated network. It is not safe for concurrent use.
type Net struct {
	cfg     Config
	rng     *rand.Rand
	now     time.Duration
	queue   queue
	nodes   []*host
	ids     map[shardkit.NodeID]int32
	blocked map[uint64]bool // by from and to
	split   bool            // a partition is on: hosts of different groups are apart
	trace   *tracer
	stats   Stats
}

// New returns a network without nodes.
func New(cfg Config) (*Net, error) {
	for _, p := range []float64{cfg.Loss, cfg.Duplicate, cfg.Reorder} {
		if !(p >= 0 && p <= 1) {
			return nil, fmt.Errorf("simnet: a share of messages is %v, want 0 to 1", p)
		}
	}
	if cfg.Jitter < 0 || cfg.SyncTime < 0 || cfg.Bandwidth < 0 || cfg.Workers < 0 || cfg.LongJob < 0 {
		return nil, errors.New("simnet: negative value in Config")
	}
	if cfg.Workers == 0 {
		cfg.Workers = 4
	}
	if cfg.LongJob == 0 {
		cfg.LongJob = time.Second
	}
	var seed [32]byte
	for i := range 8 {
		seed[i] = byte(cfg.Seed >> (8 * i))
	}
	return &Net{
		cfg:     cfg,
		rng:     rand.New(rand.NewChaCha8(seed)),
		ids:     make(map[shardkit.NodeID]int32),
		blocked: make(map[uint64]bool),
		trace:   newTracer(cfg.Trace),
	}, nil
}

// Regions returns a Latency: matrix[of(from)][of(to)].
func Regions(matrix [][]time.Duration, of func(shardkit.NodeID) int) func(from, to shardkit.NodeID) time.Duration {
	return func(from, to shardkit.NodeID) time.Duration { return matrix[of(from)][of(to)] }
}

// Add makes a node and starts it.
func (n *Net) Add(id shardkit.NodeID, boot Boot) error {
	if _, ok := n.ids[id]; ok {
		return fmt.Errorf("simnet: node %v added twice", id)
	}
	h := &host{id: id, boot: boot, index: int32(len(n.nodes)), name: id.String()}
	h.up.rate, h.down.rate = n.cfg.Bandwidth, n.cfg.Bandwidth
	if n.cfg.Drift != nil {
		h.drift = int64(n.cfg.Drift(id))
	}
	n.nodes = append(n.nodes, h)
	n.ids[id] = h.index
	return n.start(h)
}

// Crash stops a node: at once, and in the middle of its effects if it is being
// served. Nothing happens if it is down or unknown.
func (n *Net) Crash(id shardkit.NodeID) {
	if h := n.host(id); h != nil && h.node != nil {
		n.crash(h)
	}
}

// Restart starts a crashed node from its durable records.
func (n *Net) Restart(id shardkit.NodeID) error {
	h := n.host(id)
	if h == nil {
		return fmt.Errorf("%w: %v", ErrUnknown, id)
	}
	if h.node != nil {
		return fmt.Errorf("simnet: node %v is up", id)
	}
	return n.start(h)
}

// Block cuts the link from one node to another, in that direction, or mends it.
func (n *Net) Block(from, to shardkit.NodeID, on bool) {
	a, b := n.host(from), n.host(to)
	if a == nil || b == nil {
		return
	}
	if on {
		n.blocked[link(a.index, b.index)] = true
	} else {
		delete(n.blocked, link(a.index, b.index))
	}
}

// Partition separates groups of nodes from each other; nodes in no group make
// up one more. It replaces an earlier partition.
func (n *Net) Partition(groups ...[]shardkit.NodeID) {
	for _, h := range n.nodes {
		h.group = 0
	}
	for i, g := range groups {
		for _, id := range g {
			if h := n.host(id); h != nil {
				h.group = i + 1
			}
		}
	}
	n.split = true
}

// Heal undoes every Block and Partition.
func (n *Net) Heal() {
	clear(n.blocked)
	n.split = false
}

// SetLoss changes the share of messages that get lost.
func (n *Net) SetLoss(p float64) { n.cfg.Loss = p }

// SetDuplicate changes the share of messages that arrive twice.
func (n *Net) SetDuplicate(p float64) { n.cfg.Duplicate = p }

// SetReorder changes the share of messages that are held back.
func (n *Net) SetReorder(p float64) { n.cfg.Reorder = p }

// SetJitter changes the jitter.
func (n *Net) SetJitter(d time.Duration) { n.cfg.Jitter = d }

// SetBandwidth sets the uplink and downlink of one node, bytes per second; 0:
// unlimited. What is queued there is lost.
func (n *Net) SetBandwidth(id shardkit.NodeID, up, down int) {
	if h := n.host(id); h != nil {
		h.up.rate, h.down.rate = max(up, 0), max(down, 0)
		h.up.reset()
		h.down.reset()
	}
}

// At calls f at time t, or at once (as the next event) if t has passed.
func (n *Net) At(t time.Duration, f func()) {
	n.queue.push(max(t, n.now), event{kind: evFunc, fn: f})
}

// Do calls f with a node and its clock, then carries out the effects. It does
// nothing and returns false if the node is down or unknown.
func (n *Net) Do(id shardkit.NodeID, f func(now time.Duration, node Node)) bool {
	h := n.host(id)
	if h == nil || h.node == nil {
		return false
	}
	n.trace.add(trDo, n.now, h.index, -1, 0, nil)
	n.trace.line(trDo, n.now, h.name, "", 0, 0, "")
	life := h.life
	f(h.clock(n.now), h.node)
	if h.life == life {
		n.settle(h, life)
	}
	return true
}

// Run lets events happen until time until, which is then Now.
func (n *Net) Run(until time.Duration) {
	n.RunUntil(func() bool { return false }, until)
}

// RunUntil lets events happen until cond holds, which is asked after each, or
// nothing is left to happen before limit. It reports whether cond holds; if
// not, limit is then Now.
func (n *Net) RunUntil(cond func() bool, limit time.Duration) bool {
	if cond() {
		return true
	}
	for n.queue.len() > 0 && n.queue.heap[0].at <= limit {
		at, ev := n.queue.pop()
		n.now = at
		n.stats.Events++
		n.handle(&ev)
		if cond() {
			return true
		}
	}
	n.now = max(n.now, limit)
	return false
}

// Now is the time since the network was made.
func (n *Net) Now() time.Duration { return n.now }

// Rand is the network's source of chance, for scenarios.
func (n *Net) Rand() *rand.Rand { return n.rng }

// Node returns a node, nil when it is down or unknown. After calling methods
// that have effects, use Do instead.
func (n *Net) Node(id shardkit.NodeID) Node {
	if h := n.host(id); h != nil {
		return h.node
	}
	return nil
}

// Nodes returns the ids of all nodes, up or down, in the order of Add.
func (n *Net) Nodes() []shardkit.NodeID {
	ids := make([]shardkit.NodeID, len(n.nodes))
	for i, h := range n.nodes {
		ids[i] = h.id
	}
	return ids
}

// Records returns what is durable at a node: what Boot would get.
func (n *Net) Records(id shardkit.NodeID) [][]byte {
	if h := n.host(id); h != nil {
		return h.durableRecords()
	}
	return nil
}

// Digest covers all that happened so far.
func (n *Net) Digest() shardkit.Hash { return n.trace.digest() }

// Stats returns the counters of the network.
func (n *Net) Stats() Stats { return n.stats }

// NodeStats returns the counters of a node.
func (n *Net) NodeStats(id shardkit.NodeID) NodeStats {
	if h := n.host(id); h != nil {
		return h.stats
	}
	return NodeStats{}
}

// Flush writes out the trace and returns the first error met in writing it.
func (n *Net) Flush() error {
	if n.trace.out == nil {
		return nil
	}
	if n.trace.err == nil {
		n.trace.err = n.trace.out.Flush()
	}
	return n.trace.err
}

func (n *Net) host(id shardkit.NodeID) *host {
	if i, ok := n.ids[id]; ok {
		return n.nodes[i]
	}
	return nil
}

func link(from, to int32) uint64 { return uint64(uint32(from))<<32 | uint64(uint32(to)) }
