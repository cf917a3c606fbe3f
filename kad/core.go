package kad

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
)

const (
	maxChecks  = 64   // pings of unknown nodes under way
	maxPending = 1024 // unknown nodes that wait for their ping
	maxRetry   = 30 * time.Second
	sweeps     = 16 // per Refresh: how often the table is looked through

	// A peer may ask rate times a second, burst times at once. Peers share
	// slots by a hash that they do not know.
	rate  = 100
	burst = 200
	slots = 256
)

// ErrRate says that a peer asks too often.
var ErrRate = errors.New("kad: too many requests")

// Stats counts what a Core did.
type Stats struct {
	Contacts int // in the table
	Members  int // of own shards
	Lookups  uint64
	Found    uint64 // lookups by Find that found
	Missed   uint64 // lookups by Find that did not
	Hops     uint64 // of those that found, in total: how many answers led to each other
	Queries  uint64 // requests sent by lookups
	Requests uint64 // requests sent
	Timeouts uint64 // requests that were not answered
	Late     uint64 // answers that nobody waited for
	Refused  uint64 // messages refused
	Evicted  uint64 // contacts that stopped answering
}

// Core finds nodes and keeps the table. It is a deterministic core: see package
// shardkit. One goroutine owns it.
type Core struct {
	cfg    Config
	self   Contact
	shards []shardkit.ShardID // ours, in order
	table  table
	rng    prng

	requests map[uint64]*request
	flight   []*request // in the order of sending, so of deadlines too
	slow     []*request // the same, for those that may still be overtaken
	nextReq  uint64
	lookups  map[lookupKey]*lookup // those that somebody waits for
	heardAt  time.Duration         // last sign of life of anybody

	checks   int
	pending  []*entry
	checking map[shardkit.NodeID]bool // under way or pending

	started bool
	retry   time.Duration // when to try to join again; 0: joined
	tries   int
	again   time.Duration // when to look around at home again; 0: not joined
	gap     time.Duration // from the time before to that
	sweep   time.Duration // when to look through the table

	limits [slots]struct {
		tokens float64
		at     time.Duration
	}

	ready Ready
	stats Stats
}

// New validates cfg and returns a Core that knows nobody.
func New(cfg Config) (*Core, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Core{
		cfg:      cfg,
		self:     cfg.Self,
		rng:      prng(cfg.Seed),
		requests: make(map[uint64]*request),
		lookups:  make(map[lookupKey]*lookup),
		checking: make(map[shardkit.NodeID]bool),
		table: table{
			k: cfg.K, perPrefix: cfg.PerPrefix, maxMembers: cfg.MaxMembers, vouched: cfg.Member,
			index: make(map[shardkit.NodeID]*entry), count: make(map[prefix]int),
		},
	}
	if err := c.setSelf([]shardkit.ShardID{cfg.Self.Shard}, cfg.Self.Addr); err != nil {
		return nil, err
	}
	return c, nil
}

// setSelf checks and sets what we say of ourselves.
func (c *Core) setSelf(shards []shardkit.ShardID, addr string) error {
	at, ok := parseAddr(addr)
	if !ok {
		return fmt.Errorf("kad: bad own address %q", addr)
	}
	if len(shards) == 0 || len(shards) > MaxShards {
		return fmt.Errorf("kad: %d own shards, want 1 to %d", len(shards), MaxShards)
	}
	for _, s := range shards {
		if !c.validShard(s) {
			return fmt.Errorf("kad: shard %d does not fit in %d bits", s, c.cfg.ShardBits)
		}
	}
	c.self.Addr, c.self.Shard = addr, shards[0]
	c.shards = sortShards(shards)
	c.table.strict = !at.loopback
	own := c.shards
	if c.cfg.ShardBits == 0 {
		own = nil // one shard is no shard: no member set of the whole network
	}
	c.table.rebuild(c.place(c.self.ID, c.self.Shard), own)
	return nil
}

func (c *Core) validShard(s shardkit.ShardID) bool { return uint64(s)>>c.cfg.ShardBits == 0 }

func (c *Core) place(id shardkit.NodeID, s shardkit.ShardID) key {
	return keyOf(id, s, c.cfg.ShardBits)
}

// Start joins through Bootstrap and Known. It tries again until somebody
// answers.
func (c *Core) Start(now time.Duration) {
	c.started = true
	c.sweep = now + c.cfg.Refresh/sweeps
	c.join(now)
}

// SetSelf changes what we say of ourselves: the shards we serve, the first of
// which gives our place in the key space, and our address. Neighbours are told,
// and the members of the new shards looked for.
func (c *Core) SetSelf(now time.Duration, shards []shardkit.ShardID, addr string) error {
	seen := make(map[shardkit.NodeID]bool)
	tell := c.acquainted(seen)
	if err := c.setSelf(shards, addr); err != nil {
		return err
	}
	if !c.started {
		return nil
	}
	tell = append(tell, c.acquainted(seen)...)
	for _, x := range tell {
		c.ask(now, x, message{kind: kindPing}, request{})
	}
	c.join(now)
	return nil
}

// acquainted returns whoever is likely to have us in a member set or a near
// bucket: members, neighbours, and those whom we have just asked; less those
// already seen.
func (c *Core) acquainted(seen map[shardkit.NodeID]bool) []Contact {
	var list []Contact
	add := func(x Contact) {
		if !seen[x.ID] {
			seen[x.ID] = true
			list = append(list, x)
		}
	}
	for i := range c.table.own {
		for _, m := range c.table.own[i].list {
			add(m.entry.contact(c.table.own[i].shard))
		}
	}
	for _, x := range contactsOf(c.table.closest(c.table.self, c.cfg.K, false)) {
		add(x)
	}
	for _, r := range c.flight {
		if !r.done {
			add(Contact{ID: r.to, Shard: c.self.Shard, Addr: r.addr})
		}
	}
	return list
}

// Deliver takes a peer's message.
func (c *Core) Deliver(now time.Duration, from shardkit.NodeID, msg []byte) error {
	err := c.deliver(now, from, msg)
	if err != nil {
		c.stats.Refused++
	}
	return err
}

func (c *Core) deliver(now time.Duration, from shardkit.NodeID, msg []byte) error {
	if from == c.self.ID {
		return errors.New("kad: message from ourselves")
	}
	if len(msg) >= 2 && msg[1] != kindPong && msg[1] != kindNodes && !c.within(now, from) {
		return ErrRate
	}
	var m message
	if err := m.UnmarshalBinary(msg); err != nil {
		return fmt.Errorf("kad: message of %v: %w", from, err)
	}
	e, err := c.newEntry(from, &m)
	if err != nil {
		return err
	}
	c.heardAt = now
	switch m.kind {
	case kindPong, kindNodes:
		c.answered(now, from, &m, e)
		return nil
	case kindPing:
		c.reply(from, message{kind: kindPong, req: m.req})
	case kindFind:
		c.reply(from, message{kind: kindNodes, req: m.req, contacts: c.near(m.target, from)})
	case kindMembers:
		c.reply(from, message{kind: kindNodes, req: m.req, contacts: c.page(&m, from)})
	}
	c.heard(now, e)
	return nil
}

// newEntry makes an entry of what a node says of itself.
func (c *Core) newEntry(from shardkit.NodeID, m *message) (*entry, error) {
	if len(m.shards) == 0 {
		return nil, fmt.Errorf("kad: node %v names no shard", from)
	}
	at, _ := parseAddr(m.addr)
	e := &entry{id: from, addr: m.addr, at: at, shards: m.shards, places: make([]key, len(m.shards)), bucket: -1}
	base := c.place(from, 0)
	for i, s := range m.shards {
		if !c.validShard(s) {
			return nil, fmt.Errorf("kad: node %v: shard %d does not fit in %d bits", from, s, c.cfg.ShardBits)
		}
		e.places[i] = base.within(s, c.cfg.ShardBits)
	}
	return e, nil
}

// within applies the limit of requests by peer.
func (c *Core) within(now time.Duration, from shardkit.NodeID) bool {
	mix := prng(c.cfg.Seed ^ keyFrom(from)[0])
	l := &c.limits[mix.next()%slots]
	if l.at == 0 {
		l.tokens = burst
	}
	l.tokens = min(burst, l.tokens+(now-l.at).Seconds()*rate)
	l.at = max(now, 1)
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}

// near answers kindFind.
func (c *Core) near(target key, from shardkit.NodeID) []Contact {
	found := c.table.closest(target, c.cfg.K+1, false)
	out := make([]Contact, 0, len(found))
	for _, n := range found {
		if n.entry.id != from && len(out) < c.cfg.K {
			out = append(out, n.entry.contact(n.shard))
		}
	}
	return out
}

// page answers kindMembers: from the members if the shard is ours, else like
// kindFind.
func (c *Core) page(m *message, from shardkit.NodeID) []Contact {
	own := c.table.membersOf(m.shard)
	if own == nil {
		return c.near(m.target, from)
	}
	out := own.page(m.target, maxReply)
	return slices.DeleteFunc(out, func(x Contact) bool { return x.ID == from })
}

// heard notes a request of a node: a sign of life of one we know, an
// introduction of one we do not.
func (c *Core) heard(now time.Duration, said *entry) {
	e := c.table.index[said.id]
	if e == nil {
		c.check(now, said)
		return
	}
	if e.addr != said.addr { // only a ping at the new address confirms it
		c.check(now, said)
		return
	}
	c.update(now, e, said)
}

// update notes a sign of life of a known entry that says the given of itself.
func (c *Core) update(now time.Duration, e, said *entry) {
	if slices.Equal(e.shards, said.shards) {
		c.table.heard(e, now)
		if e.bucket < 0 && c.table.room(e) {
			c.table.insert(e)
		}
		return
	}
	c.replace(now, e)
	c.take(now, said)
}

// replace removes an entry and gives its place to a spare.
func (c *Core) replace(now time.Duration, e *entry) {
	if spare := c.table.remove(e); spare != nil {
		c.check(now, spare)
	}
}

// take inserts a node that has just answered and that the table does not know.
func (c *Core) take(now time.Duration, said *entry) {
	said.seen = now
	if doubt := c.table.insert(said); doubt != nil && now-doubt.seen > c.cfg.Refresh/sweeps {
		c.ping(now, doubt)
	}
}

// Tick lets requests run out and keeps the table fresh.
func (c *Core) Tick(now time.Duration) {
	for len(c.slow) > 0 && (c.slow[0].done || c.slow[0].sent+c.cfg.Timeout/4 <= now) {
		r := c.slow[0]
		c.slow = c.slow[1:]
		if !r.done {
			c.lookupSlow(now, r)
		}
	}
	for len(c.flight) > 0 && (c.flight[0].done || c.flight[0].sent+c.cfg.Timeout <= now) {
		r := c.flight[0]
		c.flight = c.flight[1:]
		if !r.done {
			c.timeout(now, r)
		}
	}
	if c.retry > 0 && c.retry <= now {
		c.join(now)
	}
	if c.again > 0 && c.again <= now {
		c.settle(now)
	}
	if c.started && c.sweep <= now {
		c.sweep = now + c.cfg.Refresh/sweeps
		c.sweepTable(now)
	}
}

// sweepTable pings who has been silent for long, and looks again through a
// part of the key space that nobody asked about for long.
func (c *Core) sweepTable(now time.Duration) {
	var silent []*entry
	c.table.each(func(e *entry) {
		if now-e.seen >= c.cfg.Refresh {
			silent = append(silent, e)
		}
	})
	for _, e := range silent {
		c.ping(now, e)
	}
	for i := range c.table.buckets {
		if b := &c.table.buckets[i]; now-b.looked >= c.cfg.Refresh {
			c.refresh(now, i)
			break
		}
	}
}

// Wake returns when Tick is wanted next.
func (c *Core) Wake() (at time.Duration, ok bool) {
	earliest := func(t time.Duration) {
		if !ok || t < at {
			at, ok = t, true
		}
	}
	for len(c.slow) > 0 && c.slow[0].done {
		c.slow = c.slow[1:]
	}
	for len(c.flight) > 0 && c.flight[0].done {
		c.flight = c.flight[1:]
	}
	if len(c.slow) > 0 {
		earliest(c.slow[0].sent + c.cfg.Timeout/4)
	}
	if len(c.flight) > 0 {
		earliest(c.flight[0].sent + c.cfg.Timeout)
	}
	if c.retry > 0 {
		earliest(c.retry)
	}
	if c.again > 0 {
		earliest(c.again)
	}
	if c.started {
		earliest(c.sweep)
	}
	return at, ok
}

// Done does nothing: the core hands out no jobs.
func (c *Core) Done(time.Duration, any) {}

// Persisted does nothing: the core hands out no records.
func (c *Core) Persisted(time.Duration, uint64) {}

// Ready drains the effects.
func (c *Core) Ready() Ready {
	r := c.ready
	c.ready = Ready{}
	return r
}

// Contacts returns everybody in the table and in the member sets of our own
// shards, nearest first: what is worth keeping over a restart.
func (c *Core) Contacts() []Contact {
	found := make([]near, 0, len(c.table.index))
	c.table.each(func(e *entry) {
		d, s := e.place(c.table.self)
		found = append(found, near{d, e, s})
	})
	slices.SortFunc(found, func(a, b near) int { return a.distance.compare(b.distance) })
	return contactsOf(found)
}

func contactsOf(list []near) []Contact {
	out := make([]Contact, len(list))
	for i, n := range list {
		out[i] = n.entry.contact(n.shard)
	}
	return out
}

// Members returns the contacts of a shard that we know: all that we know of if
// it is ours, a few otherwise.
func (c *Core) Members(shard shardkit.ShardID) []Contact {
	if m := c.table.membersOf(shard); m != nil {
		return m.page(key{}, len(m.list))
	}
	var out []Contact
	c.table.each(func(e *entry) {
		if slices.Contains(e.shards, shard) && c.vouched(shard, e.id) {
			out = append(out, e.contact(shard))
		}
	})
	return out
}

func (c *Core) vouched(shard shardkit.ShardID, id shardkit.NodeID) bool {
	return c.cfg.Member == nil || c.cfg.Member(shard, id)
}

// Closest returns up to n contacts nearest to a node of a shard, nearest first:
// the next hops of a message for it. Messages that must arrive go to several.
func (c *Core) Closest(shard shardkit.ShardID, id shardkit.NodeID, n int) []Contact {
	return contactsOf(c.table.closest(c.place(id, shard), max(n, 0), false))
}

// Stats returns the counters.
func (c *Core) Stats() Stats {
	s := c.stats
	for i := range c.table.buckets {
		s.Contacts += len(c.table.buckets[i].live)
	}
	for i := range c.table.own {
		s.Members += len(c.table.own[i].list)
	}
	return s
}
