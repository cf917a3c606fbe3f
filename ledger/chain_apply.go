package ledger

import (
	"errors"
	"fmt"
	"iter"

	"github.com/shardkit/shardkit/xshard"
)

// ErrInvalid is returned, wrapped, for a block that the rules do not allow,
// whoever certified it.
var ErrInvalid = errors.New("invalid block")

// Rules are what a shard's blocks obey: enough to execute one from its header
// and body, and to build one. A composition whose blocks do more hooks it in with Before and
// After.
type Rules struct {
	Shards     uint32          // of the chain. 0: 1
	Executor   Executor        // nil: Transfer
	Market     FeeMarket       // nil: everybody pays the bid
	Workers    int             // see Context
	Signatures *SignatureCache // may be nil

	// Outbox makes the outbox of a block, with sequence numbers from the state.
	// nil: numbers start at 0, for a chain of one shard.
	Outbox func(s KV) (*xshard.Outbox, error)
	// Before runs before the transactions, with the body's items, and gives the
	// receipts that they bring to Receive; After runs behind them, with the fees
	// to be credited. They return an error that wraps ErrInvalid for a block that
	// is not allowed, any other if the state fails. nil: items are not allowed,
	// and fees go to the Sink.
	Before func(ctx *Context, s KV, items [][]byte, out *xshard.Outbox) error
	After  func(ctx *Context, s KV, fees uint64, out *xshard.Outbox) error
}

// Executed is a block on a stage, and what came of it beside the state.
type Executed struct {
	Stage   *Stage
	Body    *Body
	Outbox  *xshard.Outbox
	Fees    uint64
	Results []Result  // of the transactions
	Arrived []Arrival // receipts of other shards, in the order of Receive
	Dropped []Dropped // of Build: candidates that were refused
}

// Execute runs a body on a stage, which the caller discards if an error comes
// back: one that wraps ErrInvalid, or the store's.
//
// The signatures are checked beside the execution and the root of the state,
// which cost less and depend on nothing that is found out there: what ran with
// a false signature is discarded.
func (r *Rules) Execute(h *Header, body []byte, st *Stage) (*Executed, error) {
	x := &Executed{Stage: st}
	var err error
	if x.Body, err = DecodeBody(body); err != nil {
		return nil, invalid(h, err)
	}
	signed := make(chan error, 1)
	go func() { signed <- x.verify(r.Signatures) }()
	ctx := r.Context(h)
	err = r.run(ctx, h, x, func(ex Executor) (uint64, error) {
		return ExecuteBlock(ctx, st, x.Body.Transactions, ex, x.Outbox)
	})
	if err == nil {
		_, err = st.Root()
	}
	// The signatures first: who gets blamed must not depend on which was faster.
	if bad := <-signed; bad != nil {
		return nil, invalid(h, bad)
	}
	return x, err
}

// Build makes a block: it picks from the candidates, whose signatures were
// checked, what Execute will allow on another stage of the same state. h is the header but for
// what comes of execution: Body, State and Outbox. Limits.Bytes is for the
// transactions; there is as much as the items leave. An error that wraps
// ErrInvalid says that Before or After refuse, any other that the state fails or
// that the items are too long; the caller discards st then. CommitExecuted takes
// both once the block is decided.
func (r *Rules) Build(h Header, items [][]byte, candidates []*Transaction, lim Limits, st *Stage) (*Block, *Executed, error) {
	x := &Executed{Stage: st, Body: &Body{Items: items}}
	ctx := r.Context(&h)
	err := r.run(ctx, &h, x, func(ex Executor) (uint64, error) {
		lim = lim.withDefaults()
		lim.Bytes = max(1, min(lim.Bytes, MaxBody-x.Body.Size()))
		p, err := Pick(ctx, st, candidates, ex, x.Outbox, lim)
		if err != nil {
			return 0, err
		}
		x.Body.Transactions, x.Dropped = p.Taken, p.Dropped
		return p.Fees, nil
	})
	if err != nil {
		return nil, nil, err
	}
	b := &Block{Header: h}
	if b.Body, err = x.Body.AppendBinary(nil); err != nil {
		return nil, nil, err
	}
	b.Header.Body, b.Header.Outbox = BodyHash(b.Body), x.Outbox.Root()
	b.Header.State, err = st.Root()
	return b, x, err
}

// verify checks all signatures and returns the first error.
func (x *Executed) verify(cache *SignatureCache) error {
	refs := make([]*Transaction, len(x.Body.Transactions))
	for i := range refs {
		refs[i] = &x.Body.Transactions[i]
	}
	for _, err := range VerifyBatch(refs, cache) {
		if err != nil {
			return err
		}
	}
	return nil
}

// Context returns the context in which a block is executed, and built. Its
// Seed is the hash of the parent.
func (r *Rules) Context(h *Header) *Context {
	return &Context{
		Chain: h.Chain, Shard: h.Shard, Shards: max(r.Shards, 1), Epoch: h.Epoch, Height: h.Height,
		Time: h.Time, Proposer: h.Proposer, Seed: h.Parent, Market: r.Market, Workers: r.Workers,
	}
}

// run is what Execute and Build have in common: all but the transactions.
func (r *Rules) run(ctx *Context, h *Header, x *Executed, transactions func(Executor) (fees uint64, err error)) (err error) {
	if uint32(h.Shard) >= max(r.Shards, 1) {
		return invalid(h, fmt.Errorf("shard %d of %d", h.Shard, max(r.Shards, 1)))
	}
	// What is only told is collected here; what is decided is on the stage.
	ctx.Report = func(list []Result) { x.Results = list }
	ctx.Arrived = func(rc *xshard.Receipt, res Result) { x.Arrived = append(x.Arrived, Arrival{*rc, res}) }
	x.Outbox = newOutbox(ctx)
	if r.Outbox != nil {
		if x.Outbox, err = r.Outbox(x.Stage); err != nil {
			return err
		}
	}
	if r.Before != nil {
		err = r.Before(ctx, x.Stage, x.Body.Items, x.Outbox)
	} else if len(x.Body.Items) > 0 {
		err = invalid(h, errors.New("has items"))
	}
	if err != nil {
		return err
	}
	ex := r.Executor
	if ex == nil {
		ex = Transfer{}
	}
	if x.Fees, err = transactions(ex); err != nil {
		if errors.As(err, new(*BlockError)) {
			err = invalid(h, err)
		}
		return err
	}
	if r.After == nil {
		return Credit(x.Stage, &xshard.Receipt{To: Sink(), Amount: x.Fees})
	}
	return r.After(ctx, x.Stage, x.Fees, x.Outbox)
}

func invalid(h *Header, err error) error {
	return fmt.Errorf("ledger: block %d: %w: %w", h.Height, ErrInvalid, err)
}

// Apply executes a block on the head, compares what comes out with the roots
// of state and outbox in its header, and commits it, with extra as in Commit.
// Whether the block is certified was checked before. An invalid block, and one
// that does not follow the head, changes nothing.
func (c *Chain) Apply(b *Block, r *Rules, extra iter.Seq2[[]byte, []byte]) (*Executed, error) {
	if err := c.follows(b); err != nil {
		return nil, err
	}
	st := c.State().Begin()
	x, err := r.Execute(&b.Header, b.Body, st)
	if err == nil {
		err = x.matches(&b.Header)
	}
	if err != nil {
		st.Discard()
		return nil, err
	}
	return x, c.write(b, x, extra)
}

// matches compares the roots of what came out with those that were certified:
// the state's and the outbox's. Nothing else in a header is execution's.
func (x *Executed) matches(h *Header) error {
	root, err := x.Stage.Root()
	switch {
	case err != nil:
		return err
	case root != h.State:
		return invalid(h, fmt.Errorf("state root %v, header has %v", root, h.State))
	case x.Outbox.Root() != h.Outbox:
		return invalid(h, fmt.Errorf("outbox root %v, header has %v", x.Outbox.Root(), h.Outbox))
	}
	return nil
}
