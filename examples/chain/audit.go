package chain

import (
	"errors"
	"fmt"
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/xshard"
)

// Copy is one replica's store, as an audit reads it. The replica must have
// stopped.
type Copy struct {
	Node  shardkit.NodeID
	Shard shardkit.ShardID
	Store ledger.Store
}

// Transfer is a transfer that a validator accepted, for an audit to look up.
type Transfer struct {
	ID           shardkit.Hash
	Source, Dest shardkit.ShardID
}

// Report is what an audit found, from the stores alone. Every false has a
// reason in Why.
type Report struct {
	SupplyConserved      bool `json:"supply_conserved"`
	OneBlockPerHeight    bool `json:"one_block_per_height"`
	ReplicasAgree        bool `json:"replicas_agree"`
	NoReceiptTwice       bool `json:"no_receipt_twice"`
	AllReceiptsDelivered bool `json:"all_receipts_delivered"`
	AllAcceptedCommitted bool `json:"all_accepted_committed"`

	Heights []shardkit.Height `json:"-"` // per shard
	Supply  uint64            `json:"-"`
	Why     []string          `json:"-"`
}

// OK reports whether every invariant holds.
func (r *Report) OK() bool {
	return r.SupplyConserved && r.OneBlockPerHeight && r.ReplicasAgree && r.NoReceiptTwice &&
		r.AllReceiptsDelivered && r.AllAcceptedCommitted
}

// audit is a Report in the making.
type audit struct {
	g      *Genesis
	id     shardkit.Hash
	chains [][]*ledger.Chain // by shard
	best   []*ledger.Chain   // by shard: the one that is furthest
	heads  []shardkit.Height
	report *Report
}

// Audit recomputes the invariants of a whole chain from the stores of its
// replicas. accepted lists transfers that some validator said it accepted.
func Audit(g *Genesis, copies []Copy, accepted []Transfer) (*Report, error) {
	n := int(g.Params.Shards)
	a := &audit{
		g: g, id: g.ID(), chains: make([][]*ledger.Chain, n), best: make([]*ledger.Chain, n), heads: make([]shardkit.Height, n),
		report: &Report{true, true, true, true, true, true, nil, 0, nil},
	}
	for _, c := range copies {
		if err := a.open(c); err != nil {
			return nil, err
		}
	}
	for s := range a.best {
		if a.best[s] == nil {
			return nil, fmt.Errorf("chain: audit: no replica of shard %d", s)
		}
	}
	a.report.Heights = a.heads
	for s := range a.best {
		if err := a.compare(shardkit.ShardID(s)); err != nil {
			return nil, err
		}
	}
	if err := a.receipts(); err != nil {
		return nil, err
	}
	if err := a.supply(); err != nil {
		return nil, err
	}
	a.accepted(accepted)
	return a.report, nil
}

// fail turns an invariant false, with the reason for the first few.
func (a *audit) fail(what *bool, format string, args ...any) {
	*what = false
	if len(a.report.Why) < 20 {
		a.report.Why = append(a.report.Why, fmt.Sprintf(format, args...))
	}
}

// open opens a replica's chain: this rebuilds its state and compares the root.
func (a *audit) open(c Copy) error {
	r := &rules{id: a.id, shard: c.Shard, genesis: a.g}
	ch, err := ledger.OpenChain(c.Store, r.chainConfig(0))
	if err != nil {
		a.fail(&a.report.ReplicasAgree, "node %v shard %d: %v", c.Node, c.Shard, err)
		return nil
	}
	head, ok := ch.Head()
	if !ok {
		return nil // a replica that never got its state, or not all of it
	}
	if root := ch.State().Root(); root != head.State {
		a.fail(&a.report.ReplicasAgree, "node %v shard %d: state root %v, header %v", c.Node, c.Shard, root, head.State)
	}
	a.chains[c.Shard] = append(a.chains[c.Shard], ch)
	if a.best[c.Shard] == nil || head.Height > a.heads[c.Shard] {
		a.best[c.Shard], a.heads[c.Shard] = ch, head.Height
	}
	return nil
}

// block finds a block of a shard with its body at whoever has it: a replica
// that joined by state sync lacks what came before.
func (a *audit) block(s shardkit.ShardID, h shardkit.Height) (*ledger.Block, *ledger.Chain) {
	for _, c := range a.chains[s] {
		if b, err := c.Block(h); err == nil && len(b.Body) > 0 {
			return b, c
		}
	}
	return nil, nil
}

// compare checks that every replica of a shard has the same block at each
// height, and that each follows the one before.
func (a *audit) compare(s shardkit.ShardID) error {
	var parent shardkit.Hash
	for h := shardkit.Height(0); h <= a.heads[s]; h++ {
		var hash shardkit.Hash
		seen := false
		for _, c := range a.chains[s] {
			hd, err := c.HeaderAt(h)
			if err != nil {
				continue // before its state sync, or above its head
			}
			got := hd.Hash()
			switch {
			case !seen:
				hash, seen = got, true
				if h > 0 && hd.Parent != parent {
					a.fail(&a.report.OneBlockPerHeight, "shard %d height %d does not follow height %d", s, h, h-1)
				}
			case got != hash:
				a.fail(&a.report.OneBlockPerHeight, "shard %d height %d: blocks %v and %v", s, h, hash, got)
				a.fail(&a.report.ReplicasAgree, "shard %d height %d: replicas differ", s, h)
			}
		}
		if !seen {
			return fmt.Errorf("chain: audit: nobody has shard %d height %d", s, h)
		}
		parent = hash
	}
	return nil
}

// place is where a receipt stands.
type place struct{ source, dest shardkit.ShardID }

// receipts walks every block: what was sent must be taken exactly once, in
// order.
func (a *audit) receipts() error {
	taken := map[place]uint64{}
	for s := range shardkit.ShardID(a.g.Params.Shards) {
		for h := shardkit.Height(1); h <= a.heads[s]; h++ {
			b, _ := a.block(s, h)
			if b == nil {
				return fmt.Errorf("chain: audit: nobody has the body of shard %d height %d", s, h)
			}
			if err := a.takes(s, b, taken); err != nil {
				return err
			}
		}
	}
	for s := range shardkit.ShardID(a.g.Params.Shards) {
		sent, err := loadOutbox(a.best[s].State().Begin(), a.g.Params.Shards)
		if err != nil {
			return err
		}
		for d := range sent {
			p := place{s, shardkit.ShardID(d)}
			if err := errors.Join(a.credited(p, taken[p]), a.arrived(p, taken[p], sent[d])); err != nil {
				return err
			}
		}
	}
	return nil
}

// takes counts the receipts that a block takes in.
func (a *audit) takes(s shardkit.ShardID, b *ledger.Block, taken map[place]uint64) error {
	var body ledger.Body
	if err := body.UnmarshalBinary(b.Body); err != nil {
		return err
	}
	it, err := decodeItems(body.Items, int(a.g.Params.MaxRun))
	if err != nil {
		return err
	}
	for _, l := range it.Links {
		for _, raw := range l.Batches {
			var batch xshard.Batch
			if err := batch.UnmarshalBinary(raw); err != nil {
				return err
			}
			p := place{l.Source, s}
			if batch.First != taken[p] {
				a.fail(&a.report.NoReceiptTwice, "shard %d height %d takes receipt %d of shard %d, %d were taken before",
					s, b.Header.Height, batch.First, l.Source, taken[p])
			}
			taken[p] += uint64(len(batch.Receipts))
		}
	}
	return nil
}

// credited compares what a shard took in with what it credited.
func (a *audit) credited(p place, taken uint64) error {
	st := a.best[p.dest].State().Begin()
	defer st.Discard()
	n, err := loadU64(st, keyCredited(p.source))
	if err != nil {
		return err
	}
	switch {
	case n > taken:
		a.fail(&a.report.NoReceiptTwice, "shard %d credited %d receipts of shard %d and took in %d", p.dest, n, p.source, taken)
	case n < taken:
		a.fail(&a.report.AllReceiptsDelivered, "shard %d credited %d receipts of shard %d and took in %d", p.dest, n, p.source, taken)
	}
	return nil
}

// arrived checks that a pair's receipts have all been taken. What a shard
// sends to the beacon's pool as its epoch ends may be on its way.
func (a *audit) arrived(p place, taken, sent uint64) error {
	if taken > sent {
		a.fail(&a.report.NoReceiptTwice, "shard %d took %d receipts of shard %d, which sent %d", p.dest, taken, p.source, sent)
	}
	flying, err := a.flying(p, taken)
	if err != nil {
		return err
	}
	for _, r := range flying {
		if r.Kind == ledger.ReceiptTransfer {
			a.fail(&a.report.AllReceiptsDelivered, "receipt %d from shard %d to %d is not delivered", r.Seq, p.source, p.dest)
		}
	}
	return nil
}

// flying reads the receipts of a pair from number from on.
func (a *audit) flying(p place, from uint64) (out []xshard.Receipt, err error) {
	for h := a.heads[p.source]; h > 0; h-- {
		_, c := a.block(p.source, h)
		if c == nil {
			return nil, fmt.Errorf("chain: audit: nobody has shard %d height %d", p.source, h)
		}
		raw, ok, err := c.Get(keyPacket(p.dest, h))
		if err != nil || !ok {
			return out, err
		}
		pk, err := decodePacket(raw)
		if err != nil {
			return nil, err
		}
		var b xshard.Batch
		if err := b.UnmarshalBinary(pk.Batch); err != nil {
			return nil, err
		}
		if b.First+uint64(len(b.Receipts)) <= from {
			return out, nil
		}
		for _, r := range b.Receipts {
			if r.Seq >= from {
				out = append(out, r)
			}
		}
	}
	return out, nil
}

// supply adds up every token: accounts, fees, stakes, receipts on their way.
func (a *audit) supply() error {
	var sum, minted, burned uint64
	for s := range a.best {
		got, err := holdings(a.best[s].State())
		if err != nil {
			return err
		}
		sum += got
		for src := range shardkit.ShardID(a.g.Params.Shards) {
			if src == shardkit.ShardID(s) {
				continue
			}
			in, err := loadInbox(a.best[s].State().Begin())
			if err != nil {
				return err
			}
			flying, err := a.flying(place{src, shardkit.ShardID(s)}, in.Next(src))
			if err != nil {
				return err
			}
			for _, r := range flying {
				sum += r.Amount
			}
		}
	}
	st := a.best[0].State().Begin()
	var err error
	if minted, err = loadU64(st, keyMinted); err != nil {
		return err
	}
	if burned, err = estake.Burned(st); err != nil {
		return err
	}
	if err := estake.Audit(a.best[0].State().Scan); err != nil {
		a.fail(&a.report.SupplyConserved, "stakes: %v", err)
	}
	a.report.Supply = sum
	if want := a.g.Supply() + minted - burned; sum != want {
		a.fail(&a.report.SupplyConserved, "%d tokens, want %d (%d minted, %d burned)", sum, want, minted, burned)
	}
	return nil
}

// holdings are the tokens in one shard's state.
func holdings(st *ledger.State) (sum uint64, err error) {
	if err := ledger.EachAccount(st, func(_ ledger.Address, acc ledger.Account) error {
		sum += acc.Balance
		return nil
	}); err != nil {
		return 0, err
	}
	view := st.Begin()
	defer view.Discard()
	for _, key := range [][]byte{keyFees, keyPool} {
		v, err := loadU64(view, key)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	staked, err := estake.TotalTokens(view)
	return sum + staked, err
}

// accepted looks every accepted transfer up: included at its source, and
// credited at its destination.
func (a *audit) accepted(list []Transfer) {
	for _, t := range list {
		if !a.anywhere(t.Source, func(f Fate) bool { return f.Included > 0 }, t.ID) {
			a.fail(&a.report.AllAcceptedCommitted, "transfer %v is not in shard %d", t.ID, t.Source)
		} else if t.Source != t.Dest && !a.anywhere(t.Dest, func(f Fate) bool { return f.Delivered > 0 }, t.ID) {
			a.fail(&a.report.AllAcceptedCommitted, "transfer %v is not credited in shard %d", t.ID, t.Dest)
		}
	}
}

// anywhere reports whether some replica of a shard has what is asked for.
func (a *audit) anywhere(s shardkit.ShardID, has func(Fate) bool, id shardkit.Hash) bool {
	return slices.ContainsFunc(a.chains[s], func(c *ledger.Chain) bool {
		f, err := fateOf(c, id)
		return err == nil && has(f)
	})
}
