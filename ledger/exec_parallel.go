package ledger

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/xshard"
)

// Accessor is an Executor that can tell beforehand what a transaction touches.
// With Context.Workers above one, ExecuteBlock runs transactions that have
// nothing in common beside each other if that is worth it. The result is
// always that of running them in order: an executor that touches what it did
// not tell makes the block be executed again, in order.
//
// Execute must then be safe for concurrent use and not depend on the sequence
// numbers that the outbox returns.
type Accessor interface {
	Executor
	// Access adds to set the keys that Execute may read or write for tx. It
	// returns false if that is not known before.
	Access(ctx *Context, tx *Transaction, set *AccessSet) bool
}

// AccessSet is what one transaction touches.
type AccessSet struct {
	Reads  [][]byte // keys that are read at most
	Writes [][]byte // keys that may be changed
	Cost   uint64   // roughly how many nanoseconds execution takes
}

// Rough costs in nanoseconds, from BenchmarkExec, by which it is decided
// whether a block is worth spreading over processors.
const (
	costTransfer = 500  // a transfer in order
	costSpread   = 2000 // what spreading adds for each transaction
)

// Access implements Accessor: both accounts. A transfer costs less than
// spreading it, so transfers alone are executed in order; among costlier
// transactions they do not stand in the way.
func (Transfer) Access(ctx *Context, tx *Transaction, set *AccessSet) bool {
	set.Writes = append(set.Writes, AccountKey(tx.Sender()))
	if tx.To.Shard(max(ctx.Shards, 1)) == ctx.Shard {
		set.Writes = append(set.Writes, AccountKey(tx.To))
	}
	set.Cost += costTransfer
	return true
}

// group is transactions that are connected by what they touch, ascending, and
// the part of the state that they need.
type group struct {
	txs   []int
	sets  []*AccessSet
	cost  uint64
	cells map[string]*accessCell
	order []*accessCell
	out   *xshard.Outbox
	sent  []sending
	done  []Result // for each of txs
	err   error    // of the last of txs that was executed
	at    int      // its index in the block
}

// accessCell is a key of a group.
type accessCell struct {
	key      []byte
	value    []byte
	ok       bool
	writable bool
	changed  bool
}

// sending is receipts that a transaction added.
type sending struct {
	tx    int
	dest  shardkit.ShardID
	count int
}

// errUndeclared is why a block is executed again in order.
var errUndeclared = errors.New("ledger: access to a key that was not declared")

// Get, Set and Delete make a group the KV of its transactions.
func (g *group) Get(key []byte) ([]byte, bool, error) {
	c := g.cells[string(key)]
	if c == nil {
		return nil, false, errUndeclared
	}
	return c.value, c.ok, nil
}

func (g *group) Set(key, value []byte) error { return g.put(key, value, true) }

func (g *group) Delete(key []byte) error { return g.put(key, nil, false) }

func (g *group) put(key, value []byte, ok bool) error {
	c := g.cells[string(key)]
	if c == nil || !c.writable {
		return errUndeclared
	}
	c.value, c.ok, c.changed = value, ok, true
	return nil
}

// groups divides a block into its connected components. It returns nil if some
// transaction cannot tell what it touches, or if spreading does not pay.
func groups(ctx *Context, txs []*Transaction, ex Accessor) []*group {
	sets := make([]AccessSet, len(txs))
	var total uint64
	for i, tx := range txs {
		if !ex.Access(ctx, tx, &sets[i]) {
			return nil
		}
		total += sets[i].Cost
	}
	// The time that the longest of the workers needs is at least an equal
	// share; the first look saves making groups of what is cheap anyway.
	price := costSpread * uint64(len(txs))
	share := total / uint64(ctx.Workers)
	if share+price >= total {
		return nil
	}
	all := gather(connect(sets), sets)
	for _, g := range all {
		share = max(share, g.cost)
	}
	if share+price >= total {
		return nil
	}
	return all
}

// connect joins transactions of which one may write what the other touches.
// Readers of a key that nobody writes stay apart.
func connect(sets []AccessSet) partition {
	parts := newPartition(len(sets))
	writers := make(map[string]int)
	for i := range sets {
		for _, k := range sets[i].Writes {
			if w, ok := writers[string(k)]; ok {
				parts.join(w, i)
			} else {
				writers[string(k)] = i
			}
		}
	}
	for i := range sets {
		for _, k := range sets[i].Reads {
			if w, ok := writers[string(k)]; ok {
				parts.join(w, i)
			}
		}
	}
	return parts
}

// gather makes a group of each part, in order of their first transactions.
func gather(parts partition, sets []AccessSet) (all []*group) {
	byRoot := make(map[int]*group)
	for i := range sets {
		root := parts.find(i)
		g := byRoot[root]
		if g == nil {
			g = &group{cells: make(map[string]*accessCell)}
			byRoot[root] = g
			all = append(all, g)
		}
		g.txs = append(g.txs, i)
		g.sets = append(g.sets, &sets[i])
		g.cost += sets[i].Cost
	}
	return all
}

// partition is a set of disjoint sets of the numbers below n.
type partition []int

func newPartition(n int) partition {
	p := make(partition, n)
	for i := range p {
		p[i] = i
	}
	return p
}

func (p partition) find(i int) int {
	for p[i] != i {
		p[i] = p[p[i]] // halves the way for the next
		i = p[i]
	}
	return i
}

// join puts the sets of i and j together, under the smaller root.
func (p partition) join(i, j int) {
	i, j = p.find(i), p.find(j)
	p[max(i, j)] = min(i, j)
}

// load reads what the group declared. It is done before anything runs, by one
// goroutine: the state has one owner.
func (g *group) load(s KV) error {
	get := func(key []byte, writable bool) error {
		if c := g.cells[string(key)]; c != nil {
			c.writable = c.writable || writable
			return nil
		}
		v, ok, err := s.Get(key)
		if err != nil {
			return err
		}
		c := &accessCell{key: key, value: v, ok: ok, writable: writable}
		g.cells[string(key)] = c
		g.order = append(g.order, c)
		return nil
	}
	for _, set := range g.sets {
		for _, k := range set.Writes {
			if err := get(k, true); err != nil {
				return err
			}
		}
		for _, k := range set.Reads {
			if err := get(k, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// newOutbox returns an outbox whose numbers start at 0.
func newOutbox(ctx *Context) *xshard.Outbox {
	return xshard.NewOutbox(ctx.Shard, max(ctx.Shards, 1), func(shardkit.ShardID) uint64 { return 0 })
}

// run executes the group's transactions in order, up to the first error.
func (g *group) run(ctx *Context, txs []*Transaction, ex Executor) {
	shards := max(ctx.Shards, 1)
	g.out = newOutbox(ctx)
	counts := make([]uint64, shards)
	for _, i := range g.txs {
		before := g.out.Len()
		res, err := ex.Execute(ctx, g, txs[i], g.out)
		if g.at, g.err = i, err; err != nil {
			return
		}
		g.done = append(g.done, res)
		if g.out.Len() == before {
			continue
		}
		for dest := range shardkit.ShardID(shards) {
			if n := g.out.Next(dest); n != counts[dest] {
				g.sent = append(g.sent, sending{i, dest, int(n - counts[dest])})
				counts[dest] = n
			}
		}
	}
}

// executeSpread executes a block over several processors. done is false if
// it has left s and out untouched and executing in order must decide.
func executeSpread(ctx *Context, s KV, txs []*Transaction, ex Accessor, out *xshard.Outbox) (list []Result, done bool, err error) {
	all := groups(ctx, txs, ex)
	if all == nil || uint32(ctx.Shard) >= max(ctx.Shards, 1) {
		return nil, false, nil
	}
	for _, g := range all {
		if err := g.load(s); err != nil {
			return nil, true, err
		}
	}
	runGroups(ctx, txs, ex, all)
	// In order, the block would have ended at the first refusal, and what a
	// later group met after that would not have happened: only the earliest
	// counts. Anything but a refusal, such as a key that was not declared, says
	// nothing about the block.
	first := -1 // of the groups that failed, the one that did so earliest in the block
	for i, g := range all {
		if g.err == nil {
			continue
		}
		if !errors.As(g.err, new(*TxError)) {
			return nil, false, nil
		}
		if first < 0 || g.at < all[first].at {
			first = i
		}
	}
	if first >= 0 {
		return nil, true, blockError(all[first].at, all[first].err)
	}
	if !mergeReceipts(all, out) {
		return nil, false, nil
	}
	list = make([]Result, len(txs))
	for _, g := range all {
		for i, tx := range g.txs {
			list[tx] = g.done[i]
		}
		if err := g.flush(s); err != nil {
			return nil, true, err
		}
	}
	return list, true, nil
}

// runGroups executes all groups on the workers. The costliest are given out
// first: one that is begun last keeps everybody waiting.
func runGroups(ctx *Context, txs []*Transaction, ex Executor, all []*group) {
	queue := slices.Clone(all)
	slices.SortStableFunc(queue, func(a, b *group) int { return cmp.Compare(b.cost, a.cost) })
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(ctx.Workers, len(queue)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(queue) {
					return
				}
				queue[i].run(ctx, txs, ex)
			}
		})
	}
	wg.Wait()
}

// mergeReceipts adds the receipts of all groups in the order of their
// transactions. If one does not fit, out is as before and the result false.
func mergeReceipts(all []*group, out *xshard.Outbox) bool {
	type lot struct {
		tx       int
		receipts []xshard.Receipt
	}
	var lots []lot
	for _, g := range all {
		left := make(map[shardkit.ShardID][]xshard.Receipt)
		for _, d := range g.out.Dests() {
			left[d] = g.out.Batch(d).Receipts
		}
		for _, s := range g.sent {
			lots = append(lots, lot{s.tx, left[s.dest][:s.count]})
			left[s.dest] = left[s.dest][s.count:]
		}
	}
	slices.SortStableFunc(lots, func(a, b lot) int { return cmp.Compare(a.tx, b.tx) })
	before := out.Len()
	for _, l := range lots {
		for _, r := range l.receipts {
			if _, err := out.Add(r); err != nil {
				out.Truncate(before)
				return false
			}
		}
	}
	return true
}

// flush writes what the group changed.
func (g *group) flush(s KV) error {
	for _, c := range g.order {
		var err error
		switch {
		case !c.changed:
		case c.ok:
			err = s.Set(c.key, c.value)
		default:
			err = s.Delete(c.key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
