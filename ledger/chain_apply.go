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
// and body. A composition whose blocks do more hooks it in with Before and
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
	// Before runs before the transactions, with the body's items; After runs
	// behind them, with the fees to be credited. They return an error that
	// wraps ErrInvalid for a block that is not allowed, any other if the state
	// fails. nil: items are not allowed, and fees go to the Sink.
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
	if uint32(h.Shard) >= max(r.Shards, 1) {
		return nil, invalid(h, fmt.Errorf("shard %d of %d", h.Shard, max(r.Shards, 1)))
	}
	if x.Body, err = DecodeBody(body); err != nil {
		return nil, invalid(h, err)
	}
	signed := make(chan error, 1)
	go func() { signed <- x.verify(r.Signatures) }()
	if err = r.run(r.Context(h), h, x); err == nil {
		_, err = st.Root()
	}
	// The signatures first: who gets blamed must not depend on which was faster.
	if bad := <-signed; bad != nil {
		return nil, invalid(h, bad)
	}
	return x, err
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

func (r *Rules) run(ctx *Context, h *Header, x *Executed) (err error) {
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
	if x.Fees, err = ExecuteBlock(ctx, x.Stage, x.Body.Transactions, ex, x.Outbox); err != nil {
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
