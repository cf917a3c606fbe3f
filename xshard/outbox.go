package xshard

import (
	"fmt"
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/merkle"
)

// Outbox collects the receipts of one block. It is not safe for concurrent
// use.
type Outbox struct {
	source shardkit.ShardID
	next   func(dest shardkit.ShardID) uint64
	lanes  []lane             // one for every shard
	order  []shardkit.ShardID // destinations in the order of Add, for Truncate
	tree   *merkle.Tree       // nil if something was added since
}

// lane is the receipts of the block for one destination.
type lane struct {
	known    bool // first has been asked for
	first    uint64
	receipts []Receipt
}

// NewOutbox returns an empty outbox of a block of shard source in a chain of
// the given number of shards. next gives the first unused sequence number for
// a destination; it is called at most once for each. It panics if source is
// not one of the shards or there are more than MaxShards.
func NewOutbox(source shardkit.ShardID, shards uint32, next func(dest shardkit.ShardID) uint64) *Outbox {
	if uint32(source) >= shards || shards > MaxShards {
		panic(fmt.Sprintf("xshard: outbox of shard %d of %d", source, shards))
	}
	return &Outbox{source: source, next: next, lanes: make([]lane, shards)}
}

// lane returns the lane of a shard of the chain, its first number read.
func (o *Outbox) lane(dest shardkit.ShardID) *lane {
	l := &o.lanes[dest]
	if !l.known {
		l.known, l.first = true, o.next(dest)
	}
	return l
}

// Add appends r, of which it sets Source and Seq, and returns Seq. It does not
// copy r.Data. It refuses a destination that is not another shard of the
// chain, too much data, and more than MaxReceipts for one destination; the
// outbox is then unchanged.
func (o *Outbox) Add(r Receipt) (seq uint64, err error) {
	switch {
	case r.Dest == o.source || int64(r.Dest) >= int64(len(o.lanes)):
		return 0, fmt.Errorf("xshard: no receipt from shard %d to %d of %d", o.source, r.Dest, len(o.lanes))
	case len(r.Data) > MaxReceiptData:
		return 0, fmt.Errorf("xshard: receipt: %w: %d bytes of data, at most %d", ErrShape, len(r.Data), MaxReceiptData)
	}
	l := o.lane(r.Dest)
	seq = l.first + uint64(len(l.receipts))
	if len(l.receipts) >= MaxReceipts || seq+1 < l.first {
		return 0, fmt.Errorf("xshard: outbox to shard %d is full", r.Dest)
	}
	r.Source, r.Seq = o.source, seq
	l.receipts = append(l.receipts, r)
	o.order = append(o.order, r.Dest)
	o.tree = nil
	return seq, nil
}

// Len returns the number of receipts added.
func (o *Outbox) Len() int { return len(o.order) }

// Truncate takes back all but the first n receipts added: an executor that
// fails half-way undoes what it sent with it. It panics if there are fewer.
func (o *Outbox) Truncate(n int) {
	for _, dest := range o.order[n:] {
		l := &o.lanes[dest]
		l.receipts = l.receipts[:len(l.receipts)-1]
		o.tree = nil
	}
	o.order = o.order[:n]
}

// Next returns the first sequence number for dest that the block leaves
// unused: the counter to write back to the state. It panics if dest is not a
// shard of the chain.
func (o *Outbox) Next(dest shardkit.ShardID) uint64 {
	l := o.lane(dest)
	return l.first + uint64(len(l.receipts))
}

// Dests returns the destinations that have receipts, ascending.
func (o *Outbox) Dests() []shardkit.ShardID {
	dests := slices.Clone(o.order)
	slices.Sort(dests)
	return slices.Compact(dests)
}

// Root returns the root for the block's header. It hashes every receipt, once
// until something is added or taken back.
func (o *Outbox) Root() shardkit.Hash {
	if o.tree == nil {
		leaves := make([]shardkit.Hash, len(o.lanes))
		for i := range o.lanes {
			dest := shardkit.ShardID(i)
			l := o.lane(dest)
			root := merkle.Root(receiptLeaves(l.receipts))
			leaves[i] = outboxLeaf(o.source, dest, uint64(len(o.lanes)), l.first, len(l.receipts), root)
		}
		o.tree = merkle.NewTree(leaves)
	}
	return o.tree.Root()
}

// Batch returns the receipts for dest with their proof; if there are none, the
// proof of that. The receipts are shared with the outbox. It panics if dest is
// not a shard of the chain.
func (o *Outbox) Batch(dest shardkit.ShardID) Batch {
	o.Root()
	l := &o.lanes[dest]
	return Batch{
		Source:   o.source,
		Dest:     dest,
		First:    l.first,
		Receipts: l.receipts[:len(l.receipts):len(l.receipts)],
		Leaves:   uint64(len(o.lanes)),
		Proof:    o.tree.Prove(int(dest)),
	}
}
