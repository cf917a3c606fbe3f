package kad

import (
	"cmp"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
)

const (
	maxSpares = 4 // of a bucket: contacts that wait for a place
	maxFails  = 2 // unanswered requests after which a contact is gone
	perTable  = 5 // times PerPrefix: contacts of one prefix in a table, a member set, a lookup
)

// entry is a contact that has answered us.
type entry struct {
	id     shardkit.NodeID
	addr   string
	at     address
	shards []shardkit.ShardID
	places []key // one per shard

	bucket int           // where it is; -1: only in member sets
	seen   time.Duration // when it was last heard of
	fails  int           // requests it left unanswered since
	asked  bool          // a ping is under way
}

// place returns the entry's place nearest to target, as its distance and the
// shard it belongs to.
func (e *entry) place(target key) (distance key, shard shardkit.ShardID) {
	best := 0
	distance = e.places[0].xor(target)
	for i := 1; i < len(e.places); i++ {
		if d := e.places[i].xor(target); d.less(distance) {
			best, distance = i, d
		}
	}
	return distance, e.shards[best]
}

func (e *entry) contact(shard shardkit.ShardID) Contact {
	return Contact{ID: e.id, Shard: shard, Addr: e.addr}
}

// bucket holds contacts whose places share the same number of bits with ours:
// live in the order in which they were heard of, the longest ago first.
type bucket struct {
	live   []*entry
	spares []*entry // answered once, when there was no room; the newest last
	looked time.Duration
}

// members are the contacts of one of our own shards, by place.
type members struct {
	shard shardkit.ShardID
	list  []member
	count map[prefix]int
}

type member struct {
	place key
	entry *entry
}

// table is whom we know.
type table struct {
	k, perPrefix int
	maxMembers   int
	self         key
	strict       bool // our own address is public: loopback counts for nothing
	buckets      []bucket
	index        map[shardkit.NodeID]*entry
	count        map[prefix]int
	own          []members
	vouched      func(shardkit.ShardID, shardkit.NodeID) bool
}

// limited reports whether an address counts against the limits by prefix.
func (t *table) limited(a address) bool { return t.strict || !a.loopback }

// bucketOf says in which bucket an entry belongs.
func (t *table) bucketOf(e *entry) int {
	d, _ := e.place(t.self)
	return min(d.zeros(), 255)
}

// room reports whether the table could use an unknown contact with this address
// and place: a free place or a spare one in its bucket, within the limits.
func (t *table) room(e *entry) bool {
	for _, s := range e.shards {
		if m := t.membersOf(s); m != nil && t.welcome(m, e) {
			return true
		}
	}
	i := t.bucketOf(e)
	if i >= len(t.buckets) {
		return !t.limited(e.at) || t.count[e.at.prefix] < perTable*t.perPrefix
	}
	b := &t.buckets[i]
	return t.allowed(b, e) && (len(b.live) < t.k || len(b.spares) < maxSpares)
}

// allowed applies the limits by prefix.
func (t *table) allowed(b *bucket, e *entry) bool {
	if !t.limited(e.at) {
		return true
	}
	same := 0
	for _, o := range b.live {
		if o.at.prefix == e.at.prefix {
			same++
		}
	}
	return same < t.perPrefix && t.count[e.at.prefix] < perTable*t.perPrefix
}

// insert takes in a contact that has just answered, and that is not in the
// index. If its bucket is full it becomes a spare, and the entry heard of
// longest ago is returned: if that one does not answer, the spare gets its
// place. A live contact never leaves for a newcomer.
func (t *table) insert(e *entry) (doubt *entry) {
	e.bucket = -1
	t.enlist(e)
	i := t.bucketOf(e)
	for len(t.buckets) <= i {
		t.buckets = append(t.buckets, bucket{})
	}
	b := &t.buckets[i]
	if t.allowed(b, e) {
		if len(b.live) < t.k {
			t.place(b, i, e)
			return nil
		}
		b.spares = slices.DeleteFunc(b.spares, func(s *entry) bool { return s.id == e.id })
		if len(b.spares) == maxSpares {
			b.spares = append(b.spares[:0], b.spares[1:]...)
		}
		b.spares = append(b.spares, e)
		doubt = b.live[0]
	}
	return doubt
}

func (t *table) place(b *bucket, i int, e *entry) {
	e.bucket = i
	b.live = append(b.live, e)
	t.index[e.id] = e
	if t.limited(e.at) {
		t.count[e.at.prefix]++
	}
}

// heard notes a sign of life of an entry.
func (t *table) heard(e *entry, now time.Duration) {
	e.seen, e.fails = now, 0
	if e.bucket >= 0 {
		live := t.buckets[e.bucket].live
		if i := slices.Index(live, e); i >= 0 && i < len(live)-1 {
			copy(live[i:], live[i+1:])
			live[len(live)-1] = e
		}
	}
}

// remove forgets an entry and returns a spare to try in its place, or nil.
func (t *table) remove(e *entry) (spare *entry) {
	for i := range t.own {
		t.own[i].remove(e, t.limited(e.at))
	}
	if t.index[e.id] == e {
		delete(t.index, e.id)
	}
	if e.bucket < 0 {
		return nil
	}
	b := &t.buckets[e.bucket]
	if i := slices.Index(b.live, e); i >= 0 {
		b.live = slices.Delete(b.live, i, i+1)
		if t.limited(e.at) {
			if t.count[e.at.prefix]--; t.count[e.at.prefix] == 0 {
				delete(t.count, e.at.prefix)
			}
		}
	}
	e.bucket = -1
	if n := len(b.spares); n > 0 {
		spare, b.spares = b.spares[n-1], b.spares[:n-1]
	}
	return spare
}

// membersOf returns the member set of an own shard.
func (t *table) membersOf(s shardkit.ShardID) *members {
	for i := range t.own {
		if t.own[i].shard == s {
			return &t.own[i]
		}
	}
	return nil
}

// welcome reports whether an entry may join a member set.
func (t *table) welcome(m *members, e *entry) bool {
	if len(m.list) >= t.maxMembers {
		return false
	}
	if t.vouched != nil {
		return t.vouched(m.shard, e.id)
	}
	return !t.limited(e.at) || m.count[e.at.prefix] < perTable*t.perPrefix
}

// enlist puts an entry into the member sets of those of its shards that are
// ours.
func (t *table) enlist(e *entry) {
	for i, s := range e.shards {
		m := t.membersOf(s)
		if m == nil || !t.welcome(m, e) {
			continue
		}
		at, found := m.search(e.places[i])
		if found {
			continue
		}
		m.list = slices.Insert(m.list, at, member{e.places[i], e})
		if t.limited(e.at) {
			m.count[e.at.prefix]++
		}
		t.index[e.id] = e
	}
}

func (m *members) search(place key) (int, bool) {
	return slices.BinarySearchFunc(m.list, place, func(x member, k key) int { return x.place.compare(k) })
}

func (m *members) remove(e *entry, limited bool) {
	for _, p := range e.places {
		if i, found := m.search(p); found && m.list[i].entry == e {
			m.list = slices.Delete(m.list, i, i+1)
			if limited {
				if m.count[e.at.prefix]--; m.count[e.at.prefix] == 0 {
					delete(m.count, e.at.prefix)
				}
			}
		}
	}
}

// each calls f with every entry once, in a fixed order.
func (t *table) each(f func(*entry)) {
	for i := range t.buckets {
		for _, e := range t.buckets[i].live {
			f(e)
		}
	}
	for i := range t.own {
		for _, m := range t.own[i].list {
			if m.entry.bucket < 0 && t.first(m.entry, i) {
				f(m.entry)
			}
		}
	}
}

// first reports whether own shard i is the first that lists e.
func (t *table) first(e *entry, i int) bool {
	for j := range i {
		if slices.Contains(e.shards, t.own[j].shard) {
			if _, found := t.own[j].search(e.placeIn(t.own[j].shard)); found {
				return false
			}
		}
	}
	return true
}

func (e *entry) placeIn(s shardkit.ShardID) key {
	if i, found := slices.BinarySearch(e.shards, s); found {
		return e.places[i]
	}
	return key{}
}

// witness returns the contact heard of last, other than e.
func (t *table) witness(e *entry) (last *entry) {
	t.each(func(o *entry) {
		if o != e && (last == nil || o.seen > last.seen) {
			last = o
		}
	})
	return last
}

// near is a contact at a distance from a target.
type near struct {
	distance key
	entry    *entry
	shard    shardkit.ShardID
}

// closest returns up to n entries nearest to target, nearest first. Entries
// that failed to answer come in only if failing is set.
func (t *table) closest(target key, n int, failing bool) []near {
	if n <= 0 {
		return nil
	}
	best := make([]near, 0, n)
	t.each(func(e *entry) {
		if e.fails > 0 && !failing {
			return
		}
		d, s := e.place(target)
		i := len(best)
		if i == n {
			if !d.less(best[n-1].distance) {
				return
			}
			i--
		} else {
			best = best[:i+1]
		}
		for i > 0 && d.less(best[i-1].distance) {
			best[i] = best[i-1]
			i--
		}
		best[i] = near{d, e, s}
	})
	return best
}

// page returns up to n members of an own shard at from and after, around the
// end of the shard.
func (m *members) page(from key, n int) []Contact {
	at, _ := m.search(from)
	n = min(n, len(m.list))
	out := make([]Contact, 0, n)
	for i := range n {
		e := m.list[(at+i)%len(m.list)].entry
		out = append(out, e.contact(m.shard))
	}
	return out
}

// rebuild sorts every entry into place anew, after our own place or shards, or
// an entry's, have changed. Entries that find no room are forgotten.
func (t *table) rebuild(self key, shards []shardkit.ShardID) {
	var all []*entry
	t.each(func(e *entry) { all = append(all, e) })
	slices.SortStableFunc(all, func(a, b *entry) int { return cmp.Compare(a.seen, b.seen) })
	t.self = self
	t.buckets = nil
	clear(t.index)
	clear(t.count)
	t.own = make([]members, 0, len(shards))
	for _, s := range shards {
		t.own = append(t.own, members{shard: s, count: make(map[prefix]int)})
	}
	for _, e := range all {
		t.insert(e)
	}
	for i := range t.buckets {
		t.buckets[i].spares = nil
	}
}
