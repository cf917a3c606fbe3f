package chain

import (
	"errors"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/vdf/drg"
	"github.com/shardkit/shardkit/xshard"
)

// outcome is what a block does to its shard: the stage that holds the new
// state, and everything the core wants to know of it without reading the
// state itself.
type outcome struct {
	stage  *ledger.Stage
	root   shardkit.Hash
	inbox  shardkit.Hash
	outbox shardkit.Hash

	meta      meta
	committee *fbft.Committee // of the next block
	next      []byte          // if the block begins an epoch: the committee that it names, encoded
	sets      *Committees     // the committees that this block made known, if any
	links     []linkState     // by source, where each stands; the own entry is unused
	packets   []packet        // by destination, for the relay; the own entry is unused
	draw      draw            // beacon
	round     *drg.Round      // beacon: the drawing under way, if it wants inputs or a delay
	election  *EpochReport    // beacon: the election this block held, if any

	included  []shardkit.Hash // ids of the transactions
	delivered []shardkit.Hash // ids of the transfers credited from other shards
	accounts  []touched       // accounts it may have changed, as they are after it

	// For the ledger's indexes: what became of transactions and receipts.
	content *ledger.Body
	results []ledger.Result
	arrived []ledger.Arrival
}

type touched struct {
	addr    ledger.Address
	account ledger.Account
}

// EpochReport says what an epoch's election decided.
type EpochReport struct {
	Epoch      shardkit.Epoch
	Randomness shardkit.Hash
	VotePrice  uint64
	Shares     []uint64 // per shard
	Moved      int      // units that changed shard, joined or left
	Elected    int
}

// execution is a block under way.
type execution struct {
	*rules
	ctx   ledger.Context
	stage *ledger.Stage
	out   *outcome
	box   *xshard.Outbox
	sent  []uint64
	in    *xshard.Inbox
	seen  map[ledger.Address]bool

	parent   shardkit.Hash
	previous shardkit.Hash // first block of the epoch before, if this block begins one
	began    bool          // this block begins an epoch
	before   meta
}

// begin starts a block on a stage, which it owns from then on.
func (r *rules) begin(stage *ledger.Stage, ctx ledger.Context, parentHash shardkit.Hash) (*execution, error) {
	x := &execution{rules: r, ctx: ctx, stage: stage, parent: parentHash, out: new(outcome), seen: map[ledger.Address]bool{}}
	var m meta
	if err := load(x.stage, keyMeta, &m); err != nil {
		return nil, x.discard(err)
	}
	x.before, x.began = m, m.Ends
	x.out.meta, x.previous = m.advance(ctx.Height, parentHash)
	if ctx.Time <= m.Time {
		return nil, x.discard(invalid("time %d is not after the parent's", ctx.Time))
	}
	x.out.meta.Time = ctx.Time
	x.ctx.Epoch = x.out.meta.Epoch
	x.ctx.Report = func(list []ledger.Result) { x.out.results = list }
	x.ctx.Arrived = func(rc *xshard.Receipt, res ledger.Result) {
		x.out.arrived = append(x.out.arrived, ledger.Arrival{Receipt: *rc, Result: res})
	}
	err := x.stage.Set(keyRecent(ctx.Height-1), parentHash[:])
	if err != nil {
		return nil, x.discard(err)
	}
	if x.sent, err = loadOutbox(x.stage, r.genesis.Params.Shards); err != nil {
		return nil, x.discard(err)
	}
	if x.in, err = loadInbox(x.stage); err != nil {
		return nil, x.discard(err)
	}
	x.box = xshard.NewOutbox(r.shard, r.genesis.Params.Shards, func(d shardkit.ShardID) uint64 { return x.sent[d] })
	return x, nil
}

func (x *execution) discard(err error) error {
	x.stage.Discard()
	return err
}

// hop returns the header fields that the first block of an epoch carries.
func (x *execution) hop() (*ledger.Hop, error) {
	if !x.began {
		return nil, nil
	}
	sets, err := loadSets(x.stage, x.out.meta.Epoch+1, x.genesis.Params.Shards)
	if err != nil {
		return nil, err
	}
	if sets == nil {
		return nil, fmt.Errorf("chain: committees of epoch %d are missing", x.out.meta.Epoch+1)
	}
	c, err := x.rules.committee(sets.Shards[x.shard])
	if err != nil {
		return nil, err
	}
	if x.out.next, err = c.AppendBinary(nil); err != nil {
		return nil, err
	}
	h := &ledger.Hop{Previous: x.previous, NextCommittee: c.Hash(), Beacon: x.before.Beacon}
	if x.shard == 0 {
		h.Beacon = sets.Hash()
	}
	return h, nil
}

// items applies a body's items.
func (x *execution) items(it *items) error {
	var start *ledger.Header
	for i := range it.Links {
		l, err := x.link(&x.ctx, x.stage, x.in, &it.Links[i])
		if err != nil {
			return err
		}
		for _, rc := range l.receipts {
			x.touch(ledger.Address(rc.To))
			if rc.Kind == ledger.ReceiptTransfer {
				x.out.delivered = append(x.out.delivered, rc.ID)
			}
		}
		if l.hop != nil && l.source == 0 {
			start = l.hop
		}
		if x.shard == 0 {
			if err := x.crossLink(l); err != nil {
				return err
			}
		}
	}
	if err := x.epochStart(start, it.Epoch); err != nil {
		return err
	}
	if x.shard != 0 {
		if it.Signed != nil || it.Set != nil || it.Output != nil {
			return invalid("beacon items in shard %d", x.shard)
		}
		return nil
	}
	return x.beacon(it)
}

// epochStart ends the shard's epoch when the beacon's next one has begun.
func (x *execution) epochStart(start *ledger.Header, item *epochItem) error {
	if start == nil {
		if item != nil {
			return invalid("committees without an epoch start")
		}
		return nil
	}
	if item == nil || x.shard == 0 {
		return invalid("epoch start without its committees")
	}
	if start.Epoch != x.out.meta.Epoch+1 {
		return invalid("epoch %d starts in epoch %d", start.Epoch, x.out.meta.Epoch)
	}
	sets := new(Committees)
	if err := sets.UnmarshalBinary(item.Sets); err != nil {
		return invalid("%v", err)
	}
	if sets.Hash() != start.Hop.Beacon || sets.Epoch != start.Epoch+1 || len(sets.Shards) != int(x.genesis.Params.Shards) {
		return invalid("committees are not the ones the beacon names")
	}
	x.out.sets = sets
	x.out.meta.Ends, x.out.meta.Beacon = true, start.Hash()
	return saveSets(x.stage, sets)
}

// crossLink is the beacon's part of a link: an epoch's first block must be
// the one that the beacon's own assignment asks for, and who signed is noted.
func (x *execution) crossLink(l *linked) error {
	if h := l.hop; h != nil {
		if h.Epoch > x.out.meta.Epoch {
			return invalid("shard %d begins epoch %d before the beacon", l.source, h.Epoch)
		}
		seats, ok, err := loadSeats(x.stage, h.Epoch+1, l.source)
		if err != nil {
			return err
		}
		if !ok {
			return invalid("committee of epoch %d is not known", h.Epoch+1)
		}
		c, err := x.rules.committee(seats)
		if err != nil {
			return err
		}
		if h.Hop.NextCommittee != c.Hash() {
			return invalid("shard %d names another committee for epoch %d", l.source, h.Epoch+1)
		}
	}
	if err := x.creditLate(l.source, l.cert.Epoch, l.late); err != nil {
		return err
	}
	return x.signed(l.source, l.cert)
}

// transactions executes txs, all of which must succeed, after their
// signatures have been checked in one batch.
func (x *execution) transactions(txs []ledger.Transaction) error {
	refs := make([]*ledger.Transaction, len(txs))
	room := uint64(MaxBlockGas)
	for i := range txs {
		refs[i] = &txs[i]
		if txs[i].Gas > room {
			return invalid("transaction %d: more gas than a block has", i)
		}
		room -= txs[i].Gas
	}
	for i, err := range ledger.VerifyBatch(refs, x.sigs) {
		if err != nil {
			return invalid("transaction %d: %v", i, err)
		}
	}
	fees, err := ledger.ExecuteBlock(&x.ctx, x.stage, txs, x.executor, x.box)
	if err != nil {
		return invalid("%v", err)
	}
	return x.charge(fees, txs)
}

// charge books the fees and notes what the transactions touched.
func (x *execution) charge(fees uint64, txs []ledger.Transaction) error {
	if err := addU64(x.stage, keyFees, fees); err != nil {
		return err
	}
	for i := range txs {
		x.out.included = append(x.out.included, txs[i].ID())
		x.touch(txs[i].Sender())
		x.touch(txs[i].To)
	}
	return x.mint(txs)
}

// touch notes an account of this shard whose balance may have changed.
func (x *execution) touch(a ledger.Address) {
	if !x.seen[a] && a.Shard(x.genesis.Params.Shards) == x.shard {
		x.seen[a] = true
		x.out.accounts = append(x.out.accounts, touched{addr: a})
	}
}

// finish closes the epoch if it ends here, writes the counters back and takes
// the root.
func (x *execution) finish() (*outcome, error) {
	if x.shard == 0 {
		if err := x.endBeacon(); err != nil {
			return nil, x.discard(err)
		}
	} else if x.out.meta.Ends {
		if err := x.sendFees(); err != nil {
			return nil, x.discard(err)
		}
	}
	if err := x.save(); err != nil {
		return nil, x.discard(err)
	}
	var err error
	if x.out.root, err = x.stage.Root(); err != nil {
		return nil, x.discard(err)
	}
	x.out.stage = x.stage
	x.out.inbox, x.out.outbox = x.in.Root(), x.box.Root()
	if err := x.describe(); err != nil {
		return nil, x.discard(err)
	}
	return x.out, nil
}

// sendFees sends the epoch's fees to the beacon's pool.
func (x *execution) sendFees() error {
	fees, err := loadU64(x.stage, keyFees)
	if err != nil || fees == 0 {
		return err
	}
	if _, err := x.box.Add(xshard.Receipt{Dest: 0, Kind: receiptFees, Amount: fees}); err != nil {
		return err
	}
	return saveU64(x.stage, keyFees, 0)
}

func (x *execution) save() error {
	oldest := max(x.out.meta.Epoch, 1) - 1
	for d := range shardkit.ShardID(len(x.sent)) {
		x.sent[d] = x.box.Next(d)
		if d == x.shard {
			continue
		}
		st, err := loadLink(x.stage, x.rules, d)
		if err != nil {
			return err
		}
		oldest = min(oldest, st.Epoch)
	}
	if x.shard == 0 {
		oldest = min(oldest, x.genesis.Params.keptEpoch(x.out.meta.Epoch))
	}
	if err := forget(x.stage, &x.out.meta, oldest, x.genesis.Params.Shards); err != nil {
		return err
	}
	return errors.Join(
		saveOutbox(x.stage, x.sent),
		saveInbox(x.stage, x.in),
		x.stage.Set(keyMeta, x.out.meta.encode()),
	)
}

// describe fills in what the core wants to know about the finished state.
func (x *execution) describe() error {
	p := &x.genesis.Params
	for i := range x.out.accounts {
		t := &x.out.accounts[i]
		var err error
		if t.account, err = ledger.GetAccount(x.stage, t.addr); err != nil {
			return err
		}
	}
	x.out.links = make([]linkState, p.Shards)
	x.out.packets = make([]packet, p.Shards)
	var sets []byte
	if x.shard == 0 && x.began {
		c, err := loadSets(x.stage, x.out.meta.Epoch+1, p.Shards)
		if err != nil {
			return err
		}
		if sets, err = c.AppendBinary(nil); err != nil {
			return err
		}
	}
	for d := range shardkit.ShardID(p.Shards) {
		if d == x.shard {
			continue
		}
		st, err := loadLink(x.stage, x.rules, d)
		if err != nil {
			return err
		}
		x.out.links[d] = st
		b := x.box.Batch(d)
		raw, err := b.AppendBinary(nil)
		if err != nil {
			return err
		}
		x.out.packets[d] = packet{Useful: len(b.Receipts) > 0 || len(sets) > 0 || (d == 0 && x.began), Batch: raw, Sets: sets}
	}
	return x.successor(&x.out.meta)
}

// successor finds the committee of the next block.
func (x *execution) successor(m *meta) error {
	seats, ok, err := loadSeats(x.stage, m.next(), x.shard)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("chain: committee of epoch %d is missing", m.next())
	}
	x.out.committee, err = x.rules.committee(seats)
	return err
}

// endBeacon closes the books of the epoch before, once every shard has begun
// this one. Then this one may end, if it is long enough and the committees
// after the next one are known.
func (x *execution) endBeacon() error {
	m, p := &x.out.meta, &x.genesis.Params
	if begun, err := x.begun(); err != nil || !begun {
		return err
	}
	if err := x.closeBooks(); err != nil {
		return err
	}
	if uint64(x.ctx.Height) < uint64(m.Start)+uint64(p.EpochBlocks)-1 || x.out.draw.Phase != drawDone {
		return nil
	}
	m.Ends = true
	return x.poolFees()
}

// begun reports whether every shard has begun the beacon's epoch.
func (x *execution) begun() (bool, error) {
	for s := range shardkit.ShardID(x.genesis.Params.Shards) {
		if s == 0 {
			continue
		}
		st, err := loadLink(x.stage, x.rules, s)
		if err != nil || st.Epoch < x.out.meta.Epoch {
			return false, err
		}
	}
	return true, nil
}

// beacon applies the beacon's own items: the parent's signers, and the
// drawing's steps.
func (x *execution) beacon(it *items) error {
	if it.Signed != nil {
		if err := x.parentSigned(it.Signed.Cert); err != nil {
			return err
		}
	}
	d := &x.out.draw
	if err := load(x.stage, keyDraw, d); err != nil {
		return err
	}
	x.openDraw(d)
	if it.Set != nil {
		if err := x.inputSet(d, it.Set.Set); err != nil {
			return err
		}
	}
	if it.Output != nil {
		if err := x.output(d, it.Output.Output); err != nil {
			return err
		}
	}
	if err := x.currentRound(d); err != nil {
		return err
	}
	return x.stage.Set(keyDraw, d.encode())
}

// parentSigned notes who signed the parent block.
func (x *execution) parentSigned(cert []byte) error {
	seats, _, err := loadSeats(x.stage, x.before.Epoch, 0)
	if err != nil {
		return err
	}
	c, err := x.rules.committee(seats)
	if err != nil {
		return err
	}
	parent := &ledger.Header{Shard: 0, Epoch: x.before.Epoch, Height: x.ctx.Height - 1, Committee: c.Hash()}
	q, err := x.certify(parent, x.parent, cert, c)
	if err != nil {
		return invalid("signers of the parent: %v", err)
	}
	return x.signed(0, q)
}
