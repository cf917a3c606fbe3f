package chain

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/xshard"
)

// forker is what a block can be built on: the committed state, or the stage
// of a block that is decided but not yet committed.
type forker interface{ Begin() *ledger.Stage }

// site is where a block goes: all that building and verifying one have in
// common. A job owns it.
type site struct {
	parent     forker
	parentHash shardkit.Hash
	height     shardkit.Height
	committee  shardkit.Hash
	seats      []shardkit.NodeID // who may propose
}

// candidate is what a proposer may put into a block.
type candidate struct {
	site
	proposer shardkit.NodeID
	time     uint64
	packets  [][]xshard.Packet // by source, following what is linked
	txs      []*ledger.Transaction
	late     []lateVotes
	cert     []byte // beacon: certificate of the parent
	set      []byte // beacon: input set
	output   []byte // beacon: delay output
}

// block is a block with what it does.
type block struct {
	hash    shardkit.Hash
	header  ledger.Header
	encoded []byte // header
	body    []byte
	outcome *outcome
	refused []refusal // builder: transactions that cannot go into any block now
	skipped error     // builder: why something was left out, if it was
}

type refusal struct {
	id  shardkit.Hash
	err error
}

// build makes the best block it can of a candidate. What does not apply is
// left out: a run that fails loses its last header, then the one before, and
// the drawing's items wait for another block.
func (r *rules) build(c *candidate) (*block, error) {
	runs := r.runs(c)
	var skipped error
	for {
		b, bad, err := r.try(c, runs)
		if err == nil {
			b.skipped = skipped
			return b, nil
		}
		skipped = err
		switch {
		case bad >= 0:
			if runs[bad].shorten(); len(runs[bad].Headers) == 0 {
				runs = append(runs[:bad:bad], runs[bad+1:]...)
			}
		case len(c.set)+len(c.output)+len(c.cert) > 0:
			c.set, c.output, c.cert = nil, nil, nil
		default:
			return nil, err
		}
	}
}

// try builds a block with the given runs. If one of them does not apply, bad
// is its index; if something else failed, bad is -1.
func (r *rules) try(c *candidate, runs []run) (b *block, bad int, err error) {
	x, err := r.begin(c.parent.Begin(), ledger.Context{
		Chain: r.id, Shard: r.shard, Shards: r.genesis.Params.Shards,
		Height: c.height, Time: c.time, Proposer: c.proposer,
	}, c.parentHash)
	if err != nil {
		return nil, -1, err
	}
	hop, err := x.hop()
	if err != nil {
		return nil, -1, x.discard(err)
	}
	it := x.collect(c, runs)
	if err := x.items(it); err != nil {
		return nil, x.culprit(c, runs), x.discard(err)
	}
	if err := x.creditLate(r.shard, x.ctx.Epoch, c.late); err != nil {
		return nil, -1, x.discard(err)
	}
	b = new(block)
	body := ledger.Body{Items: it.encode()}
	if body.Transactions, err = x.pick(c, size(body.Items), b); err != nil {
		return nil, -1, x.discard(err)
	}
	if b.outcome, err = x.finish(); err != nil {
		return nil, -1, err
	}
	b.outcome.content = &body
	if b.body, err = body.AppendBinary(nil); err != nil {
		return nil, -1, x.discard(err)
	}
	b.header = x.header(c.site, ledger.BodyHash(b.body), hop)
	b.header.Late = encodeLate(c.late)
	return b, -1, b.seal()
}

// pick executes what fits of the candidate's transactions.
func (x *execution) pick(c *candidate, used int, b *block) ([]ledger.Transaction, error) {
	pick, err := ledger.Pick(&x.ctx, x.stage, c.txs, x.executor, x.box, ledger.Limits{
		Gas:   MaxBlockGas,
		Count: int(x.genesis.Params.MaxTransactions),
		Bytes: int(x.genesis.Params.MaxBody) - used,
	})
	if err != nil {
		return nil, err
	}
	for _, d := range pick.Dropped {
		b.refused = append(b.refused, refusal{d.Transaction.ID(), d.Err})
	}
	return pick.Taken, x.charge(pick.Fees, pick.Taken)
}

// seal encodes the header and takes its hash.
func (b *block) seal() (err error) {
	b.encoded, err = b.header.AppendBinary(nil)
	b.hash = b.header.Hash()
	return err
}

// header is the only header that fits the execution.
func (x *execution) header(s site, body shardkit.Hash, hop *ledger.Hop) ledger.Header {
	return ledger.Header{
		Chain: x.id, Shard: x.shard, Epoch: x.ctx.Epoch, Height: x.ctx.Height, Parent: s.parentHash,
		Proposer: x.ctx.Proposer, Time: x.ctx.Time, Body: body,
		State: x.out.root, Outbox: x.out.outbox, Inbox: x.out.inbox, Committee: s.committee, Hop: hop,
	}
}

// collect puts the runs and whatever else the candidate has into items.
func (x *execution) collect(c *candidate, runs []run) *items {
	it := new(items)
	for i := range runs {
		it.Links = append(it.Links, runs[i].Link)
		if runs[i].Source == 0 && len(runs[i].sets) > 0 {
			it.Epoch = &epochItem{Sets: runs[i].sets}
		}
	}
	if x.shard != 0 {
		return it
	}
	if len(c.cert) > 0 {
		it.Signed = &signedItem{Cert: c.cert}
	}
	if len(c.set) > 0 {
		it.Set = &setItem{Set: c.set}
	}
	if len(c.output) > 0 {
		it.Output = &outputItem{Output: c.output}
	}
	return it
}

// culprit finds the run that does not apply, by trying each on a fresh stage;
// -1 if it is none of them.
func (x *execution) culprit(c *candidate, runs []run) int {
	for i := range runs {
		y, err := x.rules.begin(c.parent.Begin(), x.ctx, c.parentHash)
		if err != nil {
			return -1
		}
		l, err := y.link(&y.ctx, y.stage, y.in, &runs[i].Link)
		if err == nil && x.shard == 0 {
			err = y.crossLink(l)
		}
		y.stage.Discard()
		if err != nil {
			return i
		}
	}
	return -1
}

// run is a Link in the making, with every header's own certificate, so that it
// can be cut anywhere.
type run struct {
	Link
	certs [][]byte
	sets  []byte // of the epoch that the first header begins
}

// shorten takes the last header off.
func (l *run) shorten() {
	n := len(l.Headers) - 1
	l.Headers, l.Batches, l.certs = l.Headers[:n], l.Batches[:n], l.certs[:n]
	if n > 0 {
		l.Cert = l.certs[n-1]
	}
}

// runs cuts the queued packets of each source into the run that a block may
// take: within one epoch and the limits of a block.
func (r *rules) runs(c *candidate) (out []run) {
	p := &r.genesis.Params
	room := int(p.MaxBody) / 2
	for source, queue := range c.packets {
		l := run{Link: Link{Source: shardkit.ShardID(source)}}
		var epoch shardkit.Epoch
		for i, q := range queue {
			var h ledger.Header
			pk, err := decodePacket(q.Batch)
			if err != nil || h.UnmarshalBinary(q.Header) != nil {
				break
			}
			cost := len(q.Header) + len(pk.Batch) + len(pk.Sets) + 8
			if cost > room || i == int(p.MaxRun) || (i > 0 && h.Epoch != epoch) {
				break
			}
			room -= cost
			epoch = h.Epoch
			if i == 0 && r.shard != 0 {
				l.sets = pk.Sets
			}
			l.Headers = append(l.Headers, q.Header)
			l.Batches = append(l.Batches, pk.Batch)
			l.certs = append(l.certs, q.Cert)
			l.Cert = q.Cert
		}
		if len(l.Headers) > 0 {
			out = append(out, l)
		}
	}
	return out
}

func size(items [][]byte) (n int) {
	for _, it := range items {
		n += len(it) + 4
	}
	return n + 64
}

// verify executes a block that somebody else made and compares everything the
// header says with what comes out.
func (r *rules) verify(s site, h *ledger.Header, encoded, body []byte) (*block, error) {
	if err := r.shape(s, h, body); err != nil {
		return nil, err
	}
	votes, err := decodeLate(h)
	if err != nil {
		return nil, invalid("%v", err)
	}
	var content ledger.Body
	if err := content.UnmarshalBinary(body); err != nil {
		return nil, invalid("%v", err)
	}
	if len(content.Transactions) > int(r.genesis.Params.MaxTransactions) {
		return nil, invalid("%d transactions", len(content.Transactions))
	}
	it, err := decodeItems(content.Items, int(r.genesis.Params.MaxRun))
	if err != nil {
		return nil, invalid("%v", err)
	}
	x, err := r.begin(s.parent.Begin(), ledger.Context{
		Chain: r.id, Shard: r.shard, Shards: r.genesis.Params.Shards,
		Height: s.height, Time: h.Time, Proposer: h.Proposer,
	}, s.parentHash)
	if err != nil {
		return nil, err
	}
	hop, err := x.hop()
	if err != nil {
		return nil, x.discard(err)
	}
	if err := x.items(it); err != nil {
		return nil, x.discard(err)
	}
	if err := x.checkLate(votes); err != nil {
		return nil, x.discard(err)
	}
	if err := x.creditLate(r.shard, x.ctx.Epoch, votes); err != nil {
		return nil, x.discard(err)
	}
	if err := x.transactions(content.Transactions); err != nil {
		return nil, x.discard(err)
	}
	out, err := x.finish()
	if err != nil {
		return nil, err
	}
	out.content = &content
	b := &block{outcome: out, body: body, header: x.header(s, h.Body, hop)}
	b.header.Late = h.Late
	if err := b.seal(); err != nil {
		return nil, x.discard(err)
	}
	if !bytes.Equal(b.encoded, encoded) {
		return nil, x.discard(differs(&b.header, h))
	}
	return b, nil
}

// shape checks what can be checked without executing.
func (r *rules) shape(s site, h *ledger.Header, body []byte) error {
	switch {
	case h.Chain != r.id || h.Shard != r.shard:
		return invalid("of another chain or shard")
	case h.Height != s.height || h.Parent != s.parentHash:
		return invalid("does not follow the block before")
	case h.Committee != s.committee:
		return invalid("names another committee")
	case len(body) > int(r.genesis.Params.MaxBody):
		return invalid("body of %d bytes", len(body))
	case ledger.BodyHash(body) != h.Body:
		return invalid("body is not the header's")
	}
	for _, n := range s.seats {
		if n == h.Proposer {
			return nil
		}
	}
	return invalid("proposer %v has no seat", h.Proposer)
}

// differs names the first field in which a header is wrong.
func differs(want, got *ledger.Header) error {
	switch {
	case want.Epoch != got.Epoch:
		return invalid("epoch %d, want %d", got.Epoch, want.Epoch)
	case want.Outbox != got.Outbox:
		return invalid("outbox root %v, want %v", got.Outbox, want.Outbox)
	case want.Inbox != got.Inbox:
		return invalid("inbox root %v, want %v", got.Inbox, want.Inbox)
	case want.State != got.State:
		return invalid("state root %v, want %v", got.State, want.State)
	case (want.Hop == nil) != (got.Hop == nil):
		return invalid("hop fields in the wrong block")
	}
	return invalid("hop fields are wrong")
}

// checkRun verifies packets of one source as they arrive: the longest prefix
// whose newest certificate holds. A header whose committee is not known yet is
// neither good nor bad.
func (r *rules) checkRun(from linkState, run []xshard.Packet, seats func(shardkit.Epoch) ([]Seat, error)) (good int, err error) {
	st := from
	headers := make([]ledger.Header, len(run))
	hashes := make([]shardkit.Hash, len(run))
	n := 0
	for ; n < len(run); n++ {
		h := &headers[n]
		if err = h.UnmarshalBinary(run[n].Header); err != nil {
			break
		}
		if known, serr := seats(h.Epoch); serr != nil || known == nil {
			break
		}
		// Runs of a queue may cross epochs: each epoch's part is certified by
		// itself below.
		if err = r.step(&st, h, true); err != nil {
			break
		}
		if err = r.checkPacket(h, run[n].Batch); err != nil {
			break
		}
		hashes[n] = st.Hash
	}
	for good < n {
		end := good + 1
		for end < n && headers[end].Epoch == headers[good].Epoch {
			end++
		}
		known, cerr := seats(headers[good].Epoch)
		if cerr != nil {
			return good, nil // the own store: not the packet's fault
		}
		c, cerr := r.committee(known)
		if cerr != nil {
			return good, cerr
		}
		if _, cerr := r.certify(&headers[end-1], hashes[end-1], run[end-1].Cert, c); cerr != nil {
			return good, fmt.Errorf("height %d: %w", headers[end-1].Height, cerr)
		}
		good = end
	}
	return good, err
}

// checkPacket checks the receipts behind a header, and the committees behind a
// beacon header that begins an epoch.
func (r *rules) checkPacket(h *ledger.Header, raw []byte) error {
	p, err := decodePacket(raw)
	if err != nil {
		return err
	}
	var b xshard.Batch
	if err := b.UnmarshalBinary(p.Batch); err != nil {
		return err
	}
	if b.Source != h.Shard || b.Dest != r.shard || b.Leaves != uint64(r.genesis.Params.Shards) {
		return errors.New("receipts for somebody else")
	}
	if h.Shard == 0 && h.Hop != nil {
		var sets Committees
		if err := sets.UnmarshalBinary(p.Sets); err != nil {
			return err
		}
		if sets.Hash() != h.Hop.Beacon {
			return errors.New("committees are not the ones the beacon names")
		}
	} else if len(p.Sets) > 0 {
		return errors.New("committees without an epoch start")
	}
	return xshard.VerifyBatch(h.Outbox, &b)
}
