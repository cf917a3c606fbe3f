package chain

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/bls"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/kad"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/statesync"
	"github.com/shardkit/shardkit/xshard"
)

// Config is what a node's Core is made from.
type Config struct {
	Genesis *Genesis
	Self    shardkit.NodeID
	Signer  fbft.Signer                               // of the node's slot; nil: a node without one
	Prove   func(alpha []byte) (pi []byte, err error) // VRF of the node's slot; nil: none
	// Sign makes the node's Ed25519 signature, in jobs. With it the node signs
	// what it contributes to a drawing and takes nothing unsigned. All nodes of a
	// chain have it, or none: see drg.Config.
	Sign   func(msg []byte) (signature []byte)
	Scheme Scheme // of all voting keys
	Batch  Batch  // of its certificates, for state sync. nil: one by one
	// Possession verifies the voting keys of slots that transactions register.
	// nil: bls.VerifyPossession.
	Possession Possession
	// Open opens the store of a replica, made if missing; called in jobs. fresh
	// asks for an empty one beside an old one that is of no use any more.
	Open func(s shardkit.ShardID, fresh bool) (ledger.Store, error)
	// Discard removes the store of a replica that is gone, closed, and of no use
	// even as evidence; called in jobs. What the shard had in it this node can get
	// by state sync only. nil: stores stay.
	Discard func(s shardkit.ShardID) error
	Held    []shardkit.ShardID // shards whose store exists from a former life
	Log     [][]byte           // durable records of former lives, in order
	Wall    uint64             // unix ms at now = 0

	// Reporter is the key of an account of the beacon, with or without tokens,
	// from which this node files evidence while it hosts a replica of the beacon.
	// nil: it leaves that to others.
	Reporter ed25519.PrivateKey

	// Follow makes a node without a seat join as an observer of the beacon, by
	// state sync. If its slot is registered and elected later, it sees that
	// there, and hosts the shard.
	Follow bool

	// Kad makes the node find the addresses of committee members by lookup; nil:
	// the transport knows them. Its Self is filled in by Start.
	Kad *kad.Config

	Interval  time.Duration // least time between blocks of a shard. 0: 100 ms
	Heartbeat time.Duration // an idle shard makes a block this often. 0: 2 s
	Timeout   time.Duration // of consensus view 0. 0: 2 s
	Poll      time.Duration // of other shards for missing packets. 0: 500 ms
	History   bool          // keep the histories of accounts, for wallets to ask; blocks are written more slowly
	Undo      int           // versions of the state that can be served to joiners. 0: 256
	SyncBytes int           // of state asked for in one answer. 0: 512 KiB
	Pool      ledger.MempoolConfig
	Small     int // bodies up to this size are not coded. 0: 4 KiB

	mutant mutant // of the tests
}

func (c *Config) defaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Interval, 100*time.Millisecond)
	def(&c.Heartbeat, 2*time.Second)
	def(&c.Timeout, 2*time.Second)
	def(&c.Poll, 500*time.Millisecond)
	if c.Possession == nil {
		c.Possession = bls.VerifyPossession
	}
	if c.Undo == 0 {
		c.Undo = 256
	}
	if c.Small == 0 {
		c.Small = 4 << 10
	}
}

// Ready holds the effects of a Core since the last call of Ready.
type Ready struct {
	Records  [][]byte
	Seq      uint64 // of the last of Records; consecutive from 1 in this life
	Prune    uint64 // records of earlier lives, and of this one up to Prune, are no longer needed; 0: none
	Messages []shardkit.Message
	Jobs     []shardkit.Job
	Routes   []kad.Contact // addresses that the transport must know before Messages leave
	Events   []Event
	Failed   error // own store or log failed: the node must stop
}

// Event is something that operators and tests like to know.
type Event struct {
	Shard     shardkit.ShardID
	Kind      EventKind
	Header    *ledger.Header // Committed
	Hash      shardkit.Hash
	Included  int           // transactions in the block
	Delivered int           // transfers from other shards credited by the block
	Report    *EpochReport  // Elected
	Took      time.Duration // of a delay function evaluated here; of a state sync
	Bytes     int           // Synced: of ranges
	Ranges    int
	Epochs    int
	Epoch     shardkit.Epoch // Evaluated: the epoch it decides
	View      uint64         // Committed: in which it was decided
	Signed    bool           // Committed: this node's signature is in the certificate
	Err       error          // Refused
	Evidence  []byte         // Accused: the Proof of an estake.Evidence
}

// EventKind says what an Event is about.
type EventKind uint8

// The kinds of events.
const (
	Committed EventKind = iota + 1 // a block and its state are durable here
	Rebuilt                        // a decided block's body was rebuilt from chunks
	Elected                        // a block decided the committees of an epoch
	Evaluated                      // this node evaluated the delay function
	Synced                         // a state sync is done
	Hosted                         // this node began to host a replica
	Retired                        // this node ceased to host a replica
	Refused                        // a peer's message was refused in a job
	Discarded                      // the store of a replica that is gone is removed
	Accused                        // this node found evidence of a double signature
)

// The protocols that share the wire. The byte stands first in every message,
// the shard it concerns second.
const (
	protoConsensus uint8 = iota + 1
	protoSpread
	protoRelay
	protoRequest // state sync, to the serving side
	protoAnswer  // state sync, to the joining side
	protoDraw
	protoGossip // transactions between members
	protoHint   // how far the shard is
	protoWallet // from wallets
	protoNotice // to wallets
	protoKad
	protoEvidence // to the beacon
)

// The refusals of Deliver that do not come from a part.
var (
	ErrProtocol = errors.New("chain: unknown protocol")
	ErrShard    = errors.New("chain: no replica of this shard")
)

// Core is one node: a replica for every shard in which it has a seat, and what
// they share. It is made of the cores of the packages and is one itself.
type Core struct {
	cfg Config
	id  shardkit.Hash

	replicas    []*replica // in order of shard
	sets        []*Committees
	log         recordLog
	out         Ready
	closing     map[shardkit.ShardID]int // stores of replicas that are gone, being closed
	routes      routes
	own         [][]byte // relay messages from one replica to another of this node
	wallets     wallets
	accusations []*accusation
	gone        []goneStore    // stores to be discarded
	lives       uint64         // replicas made so far
	newest      shardkit.Epoch // that any replica was ever in
	chunks      uint64         // sent by replicas that are gone
}

// New checks the configuration and sorts the durable records. The node does
// nothing before its first Tick.
func New(cfg Config) (*Core, error) {
	cfg.defaults()
	if cfg.Genesis == nil || cfg.Scheme == nil || cfg.Open == nil {
		return nil, errors.New("chain: Config lacks Genesis, Scheme or Open")
	}
	c := &Core{cfg: cfg, id: cfg.Genesis.ID(), closing: map[shardkit.ShardID]int{}}
	if err := c.log.recover(cfg.Log); err != nil {
		return nil, err
	}
	for e := range shardkit.Epoch(2) {
		sets, err := cfg.Genesis.committees(e)
		if err != nil {
			return nil, err
		}
		c.sets = append(c.sets, sets)
	}
	return c, c.recall()
}

// ID returns the chain's id.
func (c *Core) ID() shardkit.Hash { return c.id }

// Start opens the replicas of a former life and those of the genesis. It is
// called once, before any other input. addr is where the node can be reached;
// it is announced if the node has a Kad.
func (c *Core) Start(now time.Duration, addr string) {
	c.openRoutes(addr)
	for _, s := range c.cfg.Held {
		c.host(now, s, openHeld)
	}
	for s := range shardkit.ShardID(c.cfg.Genesis.Params.Shards) {
		if _, ok := c.sets[0].Seat(s, c.cfg.Self); ok {
			c.host(now, s, openGenesis)
		} else if _, ok := c.sets[1].Seat(s, c.cfg.Self); ok {
			c.host(now, s, openGenesis)
		}
	}
	if len(c.replicas) == 0 && c.cfg.Follow {
		c.host(now, 0, openJoin)
	}
	c.startRoutes(now)
}

// host adds a replica unless there is one.
func (c *Core) host(now time.Duration, s shardkit.ShardID, how openMode) {
	i, ok := slices.BinarySearchFunc(c.replicas, s, func(r *replica, s shardkit.ShardID) int { return int(r.shard) - int(s) })
	if ok {
		return
	}
	r := newReplica(c, s)
	c.replicas = slices.Insert(c.replicas, i, r)
	c.event(Event{Shard: s, Kind: Hosted})
	c.announce(now)
	r.open(now, how)
}

// retire drops a replica; its store stays where it is for the time being.
func (c *Core) retire(now time.Duration, r *replica) {
	c.replicas = slices.DeleteFunc(c.replicas, func(x *replica) bool { return x == r })
	if r.spread != nil {
		c.chunks += r.spread.Stats().ChunksSent
	}
	r.close(now)
	c.log.dropShard(r.shard)
	if r.shard == 0 {
		c.unfile()
	}
	c.event(Event{Shard: r.shard, Kind: Retired})
	c.announce(now)
	if c.cfg.Discard != nil {
		c.gone = append(c.gone, goneStore{r.shard, c.newest})
	}
}

// closed goes on with a replica that waited for its predecessor's store.
func (c *Core) closed(now time.Duration, s shardkit.ShardID) {
	c.closing[s]--
	if r := c.replica(s); r != nil && r.waiting != nil && c.closing[s] == 0 {
		how := *r.waiting
		r.waiting = nil
		r.open(now, how)
	}
}

// renew begins a replica again with an empty store and a state sync: what it
// has is so old that nobody serves what comes after.
func (c *Core) renew(now time.Duration, r *replica) {
	c.retire(now, r)
	c.host(now, r.shard, openFresh)
}

func (c *Core) replica(s shardkit.ShardID) *replica {
	for _, r := range c.replicas {
		if r.shard == s {
			return r
		}
	}
	return nil
}

// Deliver takes a peer's message.
func (c *Core) Deliver(now time.Duration, from shardkit.NodeID, msg []byte) error {
	rd := wire.NewReader(msg)
	proto, shard := rd.U8(), shardkit.ShardID(rd.U32())
	body := rd.Rest()
	if err := rd.Err(); err != nil {
		return fmt.Errorf("chain: %w", err)
	}
	if proto == protoKad {
		if c.routes.kad == nil {
			return ErrProtocol
		}
		err := c.routes.kad.Deliver(now, from, body)
		c.pumpRoutes(now)
		return err
	}
	if proto == protoRelay {
		// A relay speaks to the relays of other shards: its messages say whose.
		shard, _ = xshard.Target(body)
	}
	r := c.replica(shard)
	if proto == protoRequest && (r == nil || !r.ready()) {
		return c.refuse(from, shard, body)
	}
	if r == nil {
		return fmt.Errorf("%w: %d", ErrShard, shard)
	}
	err := r.deliver(now, from, proto, body)
	c.pump(now)
	return err
}

// refuse tells somebody who wants to sync from a replica that is not here, or
// not ready, to ask elsewhere.
func (c *Core) refuse(from shardkit.NodeID, shard shardkit.ShardID, request []byte) error {
	answer, err := statesync.Refuse(request)
	if err != nil {
		return err
	}
	c.send(from, shardkit.ClassSync, 0, protoAnswer, shard, answer)
	return nil
}

// routed is a job's result on its way back to the part that wanted it.
type routed struct {
	shard  shardkit.ShardID
	part   part
	life   uint64 // of the replica: a result for one that is gone is dropped
	result any
}

// Done takes a job's result.
func (c *Core) Done(now time.Duration, result any) {
	rt, ok := result.(routed)
	if !ok {
		return
	}
	if rt.part == partClose {
		c.closed(now, rt.shard)
		c.pump(now)
		return
	}
	if rt.part == partKad {
		c.routes.kad.Done(now, rt.result)
		c.pumpRoutes(now)
		return
	}
	if r := c.replica(rt.shard); r != nil && r.life == rt.life {
		r.done(now, rt.part, rt.result)
	} else if d, ok := rt.result.(interface{ release() }); ok {
		d.release()
	}
	c.pump(now)
}

// Persisted says that records up to seq are durable.
func (c *Core) Persisted(now time.Duration, seq uint64) {
	c.log.persisted = max(c.log.persisted, seq)
	for _, r := range c.replicas {
		r.persisted(now, seq)
	}
	c.pump(now)
}

// Tick lets time pass.
func (c *Core) Tick(now time.Duration) {
	for _, r := range slices.Clone(c.replicas) {
		r.tick(now)
	}
	c.tickAccusations(now)
	c.pump(now)
	c.tickRoutes(now)
}

// Wake says when the node next wants Tick.
func (c *Core) Wake() (at time.Duration, ok bool) {
	var a alarm
	for _, r := range c.replicas {
		a.sooner(r.wake())
	}
	a.sooner(c.routes.wake())
	a.sooner(c.wakeAccusations())
	return a.at, a.ok
}

// alarm is the earliest of several wake-up times.
type alarm struct {
	at time.Duration
	ok bool
}

func (a *alarm) sooner(t time.Duration, ok bool) {
	if ok && (!a.ok || t < a.at) {
		a.at, a.ok = t, true
	}
}

// Ready drains the effects.
func (c *Core) Ready() Ready {
	prune := c.log.prune()
	c.recordAgain(prune)
	out := c.out
	out.Seq, out.Prune = c.log.seq, prune
	c.out = Ready{}
	return out
}

// pump lets the replicas work off what their parts have made, carries messages
// between them, and starts and ends replicas as the committees ask.
func (c *Core) pump(now time.Duration) {
	for range 100 {
		for _, r := range slices.Clone(c.replicas) {
			r.pump(now)
		}
		c.settle(now)
		if len(c.own) == 0 {
			return
		}
		own := c.own
		c.own = nil
		for _, m := range own {
			if shard, ok := xshard.Target(m); ok {
				if r := c.replica(shard); r != nil && r.ready() {
					_ = r.relay.Deliver(now, c.cfg.Self, m) // as with any peer: what is refused is lost
				}
			}
		}
	}
}

// settle hosts a replica for every seat in a known committee of an epoch that
// is not over, and retires those whose duty is done. Nobody begins to host for
// an epoch that some shard has left behind: those who did in time see its
// hand-over through.
func (c *Core) settle(now time.Duration) {
	before := c.newest
	for _, r := range c.replicas {
		if r.tip != nil {
			c.newest = max(c.newest, r.tip.out.meta.Epoch)
		}
	}
	if c.newest != before {
		for _, r := range c.replicas {
			r.membersChanged(now)
		}
	}
	for _, sets := range c.sets {
		for s := range shardkit.ShardID(len(sets.Shards)) {
			if _, ok := sets.Seat(s, c.cfg.Self); ok && c.replica(s) == nil && sets.Epoch >= c.newest {
				c.host(now, s, openJoin)
			}
		}
	}
	for _, r := range slices.Clone(c.replicas) {
		if len(c.replicas) > 1 && r.finished() {
			c.retire(now, r)
		}
	}
	c.discard()
}

// learn takes committees that a block of some shard made known.
func (c *Core) learn(now time.Duration, sets *Committees) {
	i, ok := slices.BinarySearchFunc(c.sets, sets.Epoch, func(x *Committees, e shardkit.Epoch) int {
		switch {
		case x.Epoch < e:
			return -1
		case x.Epoch > e:
			return 1
		}
		return 0
	})
	if ok {
		return
	}
	c.sets = slices.Insert(c.sets, i, sets)
	if len(c.sets) > 4 {
		c.sets = c.sets[len(c.sets)-4:]
	}
	for _, r := range c.replicas {
		r.membersChanged(now)
	}
	c.findRoutes(now)
}

// committeesOf returns the committees of an epoch if they are known.
func (c *Core) committeesOf(e shardkit.Epoch) *Committees {
	for _, s := range c.sets {
		if s.Epoch == e {
			return s
		}
	}
	return nil
}

// send wraps a part's message. after is 0 or a record of this life.
func (c *Core) send(to shardkit.NodeID, class uint8, after uint64, proto uint8, shard shardkit.ShardID, data []byte) {
	if to == c.cfg.Self {
		// Two replicas of this node, in different shards: only relays do that.
		if proto == protoRelay {
			c.own = append(c.own, data)
		}
		return
	}
	b := make([]byte, 0, 5+len(data))
	b = wire.AppendU32(append(b, proto), uint32(shard))
	c.out.Messages = append(c.out.Messages, shardkit.Message{To: to, Class: class, After: after, Data: append(b, data...)})
}

func (c *Core) event(e Event) { c.out.Events = append(c.out.Events, e) }

// fail reports that the node cannot go on.
func (c *Core) fail(err error) {
	if c.out.Failed == nil {
		c.out.Failed = err
	}
}

// wall is the node's clock, in unix milliseconds.
func (c *Core) wall(now time.Duration) uint64 { return c.cfg.Wall + uint64(now/time.Millisecond) }

// job hands a part's job out so that its result comes back to it.
func (c *Core) job(j shardkit.Job, shard shardkit.ShardID, p part, life uint64) {
	run := j.Run
	j.Run = func() any { return routed{shard, p, life, run()} }
	c.out.Jobs = append(c.out.Jobs, j)
}

// ReplicaStatus is where a replica stands.
type ReplicaStatus struct {
	Shard     shardkit.ShardID
	Ready     bool            // it has its state; the rest is zero before
	Height    shardkit.Height // decided and executed
	Committed shardkit.Height // durable
	Epoch     shardkit.Epoch
	View      uint64 // of the next height
	Leads     bool   // this node leads that view, and has announced a block
	Seated    bool   // votes at the next height
	Follows   bool   // fetches blocks from others
	Pending   int    // transactions that wait
	Weight    uint64 // of this node in the committee of the next height
	Total     uint64 // of that committee
}

// Status returns where the node's replicas stand.
func (c *Core) Status() (out []ReplicaStatus) {
	for _, r := range c.replicas {
		s := ReplicaStatus{Shard: r.shard, Ready: r.ready()}
		if r.ready() {
			st := r.consensus.Status()
			s.Height, s.Committed, s.Epoch = r.tip.height, r.committed, r.tip.out.meta.Epoch
			s.View, s.Follows, s.Pending = st.View, r.following, r.queued()
			s.Leads = st.Leader == c.cfg.Self && st.Height == r.tip.height+1 && r.announced()
			i, ok := r.tip.out.committee.Index(c.cfg.Self)
			s.Seated, s.Total = ok, r.tip.out.committee.Total()
			if ok {
				s.Weight = r.tip.out.committee.Members()[i].Weight
			}
		}
		out = append(out, s)
	}
	return out
}

// Stats counts what the node's parts did.
type Stats struct {
	ChunksSent uint64 // of bodies
	Lookups    uint64 // of addresses
}

// Stats returns the counts of this life.
func (c *Core) Stats() (s Stats) {
	s.ChunksSent = c.chunks
	for _, r := range c.replicas {
		if r.spread != nil {
			s.ChunksSent += r.spread.Stats().ChunksSent
		}
	}
	if c.routes.kad != nil {
		s.Lookups = c.routes.kad.Stats().Lookups
	}
	return s
}
