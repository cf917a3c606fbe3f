package kad

import (
	"slices"
	"time"

	"github.com/shardkit/shardkit"
)

const (
	maxSeen = 1024 // candidates of a lookup

	widen        = 2 // times K: how many of the nearest a path asks before it gives up on a node
	refreshWidth = 4 // nearest nodes that must have answered when refreshing
)

// lookupKey names a lookup that somebody waits for: equal ones are one.
type lookupKey struct {
	shard   shardkit.ShardID
	id      shardkit.NodeID
	members bool
}

// lookup goes from contact to contact towards a target, along disjoint paths
// (Baumgart and Mies 2007, §4.4): a node that one path has asked is not asked
// by another, so that a liar spoils one path only.
type lookup struct {
	key    lookupKey
	wanted bool // somebody waits for the result
	joins  bool // ours, to join
	target key
	width  int // a path ends when the nearest so many it knows have been asked
	limit  int // members wanted, if key.members
	paths  []path
	seen   map[shardkit.NodeID]*candidate
	count  map[prefix]int
	asked  int
	found  []Contact // members that answered
	over   bool
}

type path struct {
	list   []*candidate // nearest first
	flying int          // requests that the path waits for
}

// Find looks for a node. The answer comes in Ready.Found.
func (c *Core) Find(now time.Duration, shard shardkit.ShardID, id shardkit.NodeID) {
	if id == c.self.ID {
		c.ready.Found = append(c.ready.Found, Found{ID: id, Contact: c.self, OK: true})
		return
	}
	if e := c.table.index[id]; e != nil && e.fails == 0 {
		s := e.shards[0]
		if slices.Contains(e.shards, shard) {
			s = shard
		}
		c.ready.Found = append(c.ready.Found, Found{ID: id, Contact: e.contact(s), OK: true})
		return
	}
	k := lookupKey{shard: shard, id: id}
	if c.lookups[k] != nil {
		return
	}
	l := &lookup{key: k, wanted: true, target: c.place(id, shard), width: c.cfg.K}
	c.lookups[k] = l
	c.begin(now, l, c.cfg.Paths)
}

// FindShard looks for up to max nodes that serve a shard. The answer comes in
// Ready.Members; every contact in it has answered us and says that it serves
// the shard.
func (c *Core) FindShard(now time.Duration, shard shardkit.ShardID, limit int) {
	k := lookupKey{shard: shard, members: true}
	if c.lookups[k] != nil {
		return
	}
	l := &lookup{key: k, wanted: true, width: c.cfg.K, limit: max(limit, 0)}
	l.target = c.rng.key().within(shard, c.cfg.ShardBits)
	if m := c.table.membersOf(shard); m != nil {
		l.found = m.page(l.target, l.limit)
	}
	c.lookups[k] = l
	if len(l.found) >= l.limit || !c.validShard(shard) {
		c.end(now, l)
		return
	}
	c.begin(now, l, c.cfg.Paths)
}

// join looks for our own places, which makes us known to our neighbours.
func (c *Core) join(now time.Duration) {
	c.retry = now + min(c.cfg.Timeout<<min(c.tries, 8), maxRetry)
	c.tries++
	c.visit(now, true)
}

// visit asks for our own places.
func (c *Core) visit(now time.Duration, joins bool) {
	for _, s := range c.shards {
		l := &lookup{key: lookupKey{shard: s, id: c.self.ID}, joins: joins, width: c.cfg.K}
		l.target = c.place(c.self.ID, s)
		c.begin(now, l, c.cfg.Paths)
		c.revisit(now, l)
	}
}

// revisit asks bootstrap nodes that have dropped out of the table for our own
// place: after a partition of the network they may be the only way back.
func (c *Core) revisit(now time.Duration, l *lookup) {
	n := len(c.cfg.Bootstrap)
	from := int(c.rng.next() % uint64(max(n, 1)))
	asked := 0
	for i := range n {
		b := c.cfg.Bootstrap[(from+i)%n]
		if l.over || asked == c.cfg.Alpha || b.ID == c.self.ID || c.table.index[b.ID] != nil {
			continue
		}
		c.offer(now, l, 0, b, 0)
		if cand := l.seen[b.ID]; cand != nil && cand.state == candNew {
			asked++
			c.query(now, l, -1, cand)
		}
	}
}

// joined goes on after join: when somebody has answered, the rest of the key
// space is looked through.
func (c *Core) joined(now time.Duration) {
	if len(c.table.index) == 0 || c.retry == 0 {
		return
	}
	c.retry, c.tries = 0, 0
	for i := range c.table.buckets {
		if len(c.table.buckets[i].live) < c.cfg.K {
			c.refresh(now, i)
		}
	}
	c.gap = min(c.cfg.Timeout, c.cfg.Refresh)
	c.again = now + c.gap
	c.walkMembers(now, 2)
}

// settle looks around at home again: who joined when we did may not have been
// there to be found. The pauses double until they are as long as Refresh.
func (c *Core) settle(now time.Duration) {
	c.gap = min(2*c.gap, c.cfg.Refresh)
	c.again = now + c.gap
	c.visit(now, false)
	c.walkMembers(now, 1)
}

// refresh looks for a random place in a bucket.
func (c *Core) refresh(now time.Duration, i int) {
	l := &lookup{target: c.table.self.far(i, c.rng.key()), width: refreshWidth}
	c.begin(now, l, 1)
}

// begin starts a lookup from the nearest contacts, or from the bootstrap nodes
// if those are few.
func (c *Core) begin(now time.Duration, l *lookup, paths int) {
	c.stats.Lookups++
	l.paths = make([]path, paths)
	l.seen = make(map[shardkit.NodeID]*candidate)
	l.count = make(map[prefix]int)
	d := l.target.xor(c.table.self).zeros()
	if d < len(c.table.buckets) {
		c.table.buckets[d].looked = now
	}
	n := 0
	for _, near := range c.table.closest(l.target, max(c.cfg.K, 2*paths), true) {
		c.offer(now, l, n%paths, near.entry.contact(near.shard), 0)
		n++
	}
	if n < c.cfg.K {
		for _, list := range [][]Contact{c.cfg.Bootstrap, c.cfg.Known} {
			for _, b := range list {
				if b.ID != c.self.ID && l.seen[b.ID] == nil {
					c.offer(now, l, n%paths, b, 0)
					n++
				}
			}
		}
	}
	c.advance(now, l)
}

// next returns the candidate that a path asks next, or nil.
func (l *lookup) next(p *path) *candidate {
	near := 0
	for _, cand := range p.list {
		if cand.state == candBad {
			continue
		}
		if near >= l.width && !cand.claims {
			if l.key.members {
				continue
			}
			return nil
		}
		if cand.state == candNew {
			return cand
		}
		near++
	}
	return nil
}

// advance lets every path ask whom it can, and ends the lookup when none can
// and none waits.
func (c *Core) advance(now time.Duration, l *lookup) {
	if l.over {
		return
	}
	parallel := (c.cfg.Alpha + len(l.paths) - 1) / len(l.paths)
	busy := false
	for i := range l.paths {
		p := &l.paths[i]
		for p.flying < parallel && !l.spent() {
			cand := l.next(p)
			if cand == nil {
				break
			}
			p.flying++
			c.query(now, l, i, cand)
		}
		busy = busy || p.flying > 0
	}
	if busy || l.waits() {
		return
	}
	if l.wanted && !l.key.members && l.width < widen*c.cfg.K && !l.spent() {
		l.width *= 2 // the nearest may be a conspiracy: ask those behind them too
		c.advance(now, l)
		return
	}
	c.end(now, l)
}

// spent reports whether a lookup has asked as many as it may.
func (l *lookup) spent() bool {
	if l.key.members {
		return l.asked >= 4*l.limit+64
	}
	return l.asked >= maxSeen
}

// waits reports whether slow answers could still bring something: the path no
// longer waits for them, the lookup does.
func (l *lookup) waits() bool {
	for i := range l.paths {
		for _, cand := range l.paths[i].list {
			if cand.state == candFlying {
				return true
			}
		}
	}
	return false
}

// query asks a candidate, for path p or, if p is -1, beside the paths.
func (c *Core) query(now time.Duration, l *lookup, p int, cand *candidate) {
	l.asked++
	c.stats.Queries++
	cand.state = candFlying
	cand.out++
	to := cand.Contact
	to.Addr = cand.nextAddr()
	m := message{kind: kindFind, target: l.target}
	if cand.claims {
		m = message{kind: kindMembers, shard: l.key.shard, target: c.rng.key().within(l.key.shard, c.cfg.ShardBits)}
	}
	c.ask(now, to, m, request{lookup: l, path: p, cand: cand})
}

// returned notes that a request of a lookup was answered or ran out.
func (r *request) returned() {
	r.cand.out--
	if r.slow {
		r.cand.late--
	} else if r.path >= 0 {
		r.lookup.paths[r.path].flying--
	}
}

// lookupAnswered takes an answer into a lookup.
func (c *Core) lookupAnswered(now time.Duration, r *request, m *message, said *entry) {
	l := r.lookup
	r.returned()
	if l.over {
		return
	}
	first := r.cand.state != candGood
	r.cand.state = candGood
	serves := slices.Contains(said.shards, l.key.shard)
	if l.hunts(r.to) {
		x := said.contact(said.shards[0])
		if serves {
			x.Shard = l.key.shard
		}
		l.found = append(l.found, x)
		c.stats.Hops += uint64(r.cand.depth)
		c.end(now, l)
		return
	}
	if l.key.members && serves && first && c.vouched(l.key.shard, r.to) && !l.has(r.to) {
		l.found = append(l.found, said.contact(l.key.shard))
		if len(l.found) >= l.limit {
			c.end(now, l)
			return
		}
	}
	for _, x := range m.contacts {
		c.offer(now, l, max(r.path, 0), x, r.cand.depth+1)
	}
	c.advance(now, l)
}

func (l *lookup) has(id shardkit.NodeID) bool {
	return slices.ContainsFunc(l.found, func(x Contact) bool { return x.ID == id })
}

// lookupFailed takes note that a candidate did not answer.
func (c *Core) lookupFailed(now time.Duration, r *request) {
	l := r.lookup
	r.returned()
	if l.over {
		return
	}
	if r.cand.state == candFlying && r.cand.out == 0 {
		r.cand.state = candBad
		if r.cand.untried() {
			r.cand.state = candNew
		}
	}
	c.chase(now, l, r.cand)
	c.advance(now, l)
}

// lookupSlow lets a path go on without an answer that takes long.
func (c *Core) lookupSlow(now time.Duration, r *request) {
	if r.lookup.over {
		return
	}
	r.slow = true
	if r.path >= 0 {
		r.lookup.paths[r.path].flying--
	}
	r.cand.late++
	c.chase(now, r.lookup, r.cand)
	c.advance(now, r.lookup)
}

// chase asks the node that is wanted, beside the paths and without delay, at
// one of its addresses after the other: what others say of them may be false.
func (c *Core) chase(now time.Duration, l *lookup, cand *candidate) {
	if l.hunts(cand.ID) && cand.state != candGood && cand.out == cand.late && cand.untried() {
		c.query(now, l, -1, cand)
	}
}

// hunts reports whether a lookup is for the node of this id.
func (l *lookup) hunts(id shardkit.NodeID) bool {
	return l.wanted && !l.key.members && id == l.key.id
}

// end reports the result of a lookup.
func (c *Core) end(now time.Duration, l *lookup) {
	l.over = true
	if l.joins {
		c.joined(now)
	}
	if !l.wanted {
		return
	}
	delete(c.lookups, l.key)
	if l.key.members {
		c.ready.Members = append(c.ready.Members, Members{Shard: l.key.shard, Contacts: l.found})
		return
	}
	f := Found{ID: l.key.id}
	if len(l.found) > 0 {
		f.Contact, f.OK = l.found[0], true
		c.stats.Found++
	} else {
		c.stats.Missed++
	}
	c.ready.Found = append(c.ready.Found, f)
}

// walk reads a member's list of an own shard, page by page, once around. Who
// is not known yet gets a ping, which makes us known to them too.
type walk struct {
	with  Contact
	shard shardkit.ShardID
	from  key // where the next page begins
	start key
	past  bool // the end of the key space: start is ahead again
	pages int
}

// walkMembers starts walks with n members of each own shard.
func (c *Core) walkMembers(now time.Duration, n int) {
	for i := range c.table.own {
		m := &c.table.own[i]
		for _, x := range m.page(c.rng.key().within(m.shard, c.cfg.ShardBits), n) {
			start := c.rng.key().within(m.shard, c.cfg.ShardBits)
			c.walkOn(now, &walk{with: x, shard: m.shard, start: start, from: start})
		}
	}
}

func (c *Core) walkOn(now time.Duration, w *walk) {
	w.pages++
	c.ask(now, w.with, message{kind: kindMembers, shard: w.shard, target: w.from}, request{walk: w})
}

// walked takes a page. It is the last if it is short, goes around, or is one
// too many.
func (c *Core) walked(now time.Duration, r *request, m *message) {
	w := r.walk
	if c.table.membersOf(w.shard) == nil {
		return
	}
	for _, x := range m.contacts {
		p := c.place(x.ID, x.Shard)
		if x.Shard != w.shard || !w.step(p) {
			return
		}
		if e := c.table.index[x.ID]; e != nil {
			if !slices.Contains(e.shards, x.Shard) { // we have old news, or they have
				c.ping(now, e)
			}
			continue
		}
		if e, err := c.newEntry(x.ID, &message{addr: x.Addr, shards: []shardkit.ShardID{x.Shard}}); err == nil {
			c.check(now, e)
		}
	}
	if len(m.contacts) >= maxReply-1 && w.pages <= c.cfg.MaxMembers/maxReply {
		c.walkOn(now, w)
	}
}

// step moves on to a place and reports whether that is forward and not yet
// around.
func (w *walk) step(p key) bool {
	if p.less(w.from) {
		if w.past {
			return false
		}
		w.past = true
	}
	if w.past && !p.less(w.start) {
		return false
	}
	w.from = p
	for i := len(p) - 1; i >= 0; i-- { // the place after p
		if w.from[i]++; w.from[i] != 0 {
			break
		}
	}
	return true
}
