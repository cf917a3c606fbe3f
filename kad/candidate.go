package kad

import (
	"slices"
	"time"
)

const (
	maxAddrs   = 3  // addresses kept of a candidate
	huntedAddr = 16 // of the one that a lookup is for
)

// The states of a candidate.
const (
	candNew    uint8 = iota
	candFlying       // asked
	candGood         // answered
	candBad          // did not, at any address
)

// candidate is a node that somebody named.
type candidate struct {
	Contact
	distance key
	claims   bool // somebody says that it serves the shard whose members we look for
	state    uint8
	addrs    []claim // where it is said to be
	out      int     // requests under way
	late     int     // of them, those that take long
	depth    int     // answers that led to it
}

// claim is an address that a candidate is said to have.
type claim struct {
	addr  string
	votes int // how many named it
	tried bool
}

// untried reports whether an address is left to ask at.
func (x *candidate) untried() bool {
	return slices.ContainsFunc(x.addrs, func(a claim) bool { return !a.tried })
}

// nextAddr takes the address named most often among those not tried. There
// must be one.
func (x *candidate) nextAddr() string {
	best := -1
	for i, a := range x.addrs {
		if !a.tried && (best < 0 || a.votes > x.addrs[best].votes) {
			best = i
		}
	}
	x.addrs[best].tried = true
	return x.addrs[best].addr
}

// add notes that somebody gave an address, of which up to limit are kept.
func (x *candidate) add(addr string, limit int) {
	for i := range x.addrs {
		if x.addrs[i].addr == addr {
			x.addrs[i].votes++
			return
		}
	}
	if len(x.addrs) >= limit {
		return
	}
	x.addrs = append(x.addrs, claim{addr: addr, votes: 1})
	if x.state == candBad {
		x.state = candNew
	}
}

// offer enters a contact that somebody named into a path.
func (c *Core) offer(now time.Duration, l *lookup, p int, x Contact, depth int) {
	at, ok := parseAddr(x.Addr)
	if !ok || x.ID == c.self.ID || !c.validShard(x.Shard) || c.table.strict && at.loopback {
		return
	}
	cand, limit := l.seen[x.ID], maxAddrs
	if l.hunts(x.ID) {
		limit = huntedAddr
	} else if cand == nil && !c.admits(l, at, depth) {
		return
	}
	if cand == nil {
		cand = &candidate{Contact: x, depth: depth, distance: c.place(x.ID, x.Shard).xor(l.target)}
		if e := c.table.index[x.ID]; e != nil { // we know better than hearsay
			cand.add(e.addr, limit)
		}
		l.seen[x.ID] = cand
	}
	cand.claims = cand.claims || l.key.members && x.Shard == l.key.shard
	cand.add(x.Addr, limit)
	c.enter(&l.paths[p], cand)
	c.chase(now, l, cand)
}

// admits reports whether a lookup takes another candidate with this address.
// Those from our own table were admitted there.
func (c *Core) admits(l *lookup, at address, depth int) bool {
	if len(l.seen) >= maxSeen {
		return false
	}
	if depth > 0 && c.table.limited(at) {
		if l.count[at.prefix] >= perTable*c.cfg.PerPrefix {
			return false
		}
		l.count[at.prefix]++
	}
	return true
}

// enter puts a candidate in its place in a path.
func (c *Core) enter(p *path, cand *candidate) {
	i, _ := slices.BinarySearchFunc(p.list, cand, func(a, b *candidate) int { return a.distance.compare(b.distance) })
	for j := i; j < len(p.list) && p.list[j].distance == cand.distance; j++ {
		if p.list[j] == cand {
			return
		}
	}
	p.list = slices.Insert(p.list, i, cand)
	if limit := 8 * c.cfg.K; len(p.list) > limit {
		p.list = p.list[:limit]
	}
}
