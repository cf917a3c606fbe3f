package chain

import (
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad"
)

// routes finds the addresses of committee members. A committee names nodes, not
// addresses; those are looked up through a few bootstrap nodes.
type routes struct {
	kad     *kad.Core
	addr    string
	known   map[shardkit.NodeID]bool // the transport has an address
	asked   map[shardkit.NodeID]bool // a lookup is under way
	again   time.Duration            // when to look for the missing ones again
	missing bool
	started bool
}

// routeRetry is how long to wait before looking for a node again that was not
// found: it may not have announced itself yet.
const routeRetry = 300 * time.Millisecond

// openRoutes makes the address table of a node that is to have one.
func (c *Core) openRoutes(addr string) {
	if c.cfg.Kad == nil {
		return
	}
	cfg := *c.cfg.Kad
	cfg.Self = kad.Contact{ID: c.cfg.Self, Addr: addr}
	if cfg.Member == nil {
		cfg.Member = c.serves
	}
	k, err := kad.New(cfg)
	if err != nil {
		c.fail(err)
		return
	}
	c.routes = routes{kad: k, addr: addr, known: map[shardkit.NodeID]bool{}, asked: map[shardkit.NodeID]bool{}}
}

// serves reports whether a node has a seat in a shard, in any committee that
// is known: nobody else is taken for a member of it, whatever it claims.
func (c *Core) serves(shard shardkit.ShardID, id shardkit.NodeID) bool {
	return slices.ContainsFunc(c.sets, func(sets *Committees) bool {
		_, ok := sets.Seat(shard, id)
		return ok
	})
}

func (r *routes) wake() (at time.Duration, ok bool) {
	if r.kad == nil {
		return 0, false
	}
	at, ok = r.kad.Wake()
	if r.missing && (!ok || r.again < at) {
		return r.again, true
	}
	return at, ok
}

func (c *Core) startRoutes(now time.Duration) {
	if c.routes.kad == nil {
		return
	}
	c.routes.started = true
	c.announce(now)
	c.routes.kad.Start(now)
	c.findRoutes(now)
}

func (c *Core) tickRoutes(now time.Duration) {
	if c.routes.kad == nil {
		return
	}
	c.routes.kad.Tick(now)
	if c.routes.missing && now >= c.routes.again {
		c.findRoutes(now)
	}
	c.pumpRoutes(now)
}

// announce tells the neighbours which shards this node serves.
func (c *Core) announce(now time.Duration) {
	if !c.routes.started {
		return
	}
	var shards []shardkit.ShardID
	for _, r := range c.replicas {
		if len(shards) < kad.MaxShards {
			shards = append(shards, r.shard)
		}
	}
	if len(shards) == 0 {
		return
	}
	if err := c.routes.kad.SetSelf(now, shards, c.routes.addr); err != nil {
		c.fail(err)
	}
	c.pumpRoutes(now)
}

// findRoutes looks up the members of all known committees whose address is not
// known.
func (c *Core) findRoutes(now time.Duration) {
	if !c.routes.started {
		return
	}
	r := &c.routes
	r.missing, r.again = false, now+routeRetry
	for _, sets := range c.sets {
		for s := range shardkit.ShardID(len(sets.Shards)) {
			for _, n := range sets.Nodes(s) {
				if n == c.cfg.Self || r.known[n] {
					continue
				}
				r.missing = true
				if !r.asked[n] {
					r.asked[n] = true
					r.kad.Find(now, s, n)
				}
			}
		}
	}
	c.pumpRoutes(now)
}

// pumpRoutes carries out what the address table wants.
func (c *Core) pumpRoutes(now time.Duration) {
	r := &c.routes
	rd := r.kad.Ready()
	contacts := slices.Clone(rd.Routes)
	for _, f := range rd.Found {
		delete(r.asked, f.ID)
		if f.OK {
			r.known[f.ID] = true
			contacts = append(contacts, f.Contact)
		}
	}
	for _, m := range rd.Members {
		contacts = append(contacts, m.Contacts...)
	}
	c.out.Routes = append(c.out.Routes, contacts...)
	for _, m := range rd.Messages {
		c.send(m.To, m.Class, m.After, protoKad, 0, m.Data)
	}
	for _, j := range rd.Jobs {
		c.job(j, 0, partKad, 0)
	}
}
