package ledger

import "github.com/shardkit/shardkit/xshard"

// Kinds is an Executor that gives each kind of transaction to an executor of
// its own. Kinds that are not there are refused.
type Kinds map[uint8]Executor

// Execute implements Executor.
func (k Kinds) Execute(ctx *Context, s KV, tx *Transaction, out *xshard.Outbox) (Result, error) {
	ex := k[tx.Kind]
	if ex == nil {
		return Result{}, tx.refuse(ReasonKind, "%d", tx.Kind)
	}
	return ex.Execute(ctx, s, tx, out)
}

// Access implements Accessor for the kinds whose executors do.
func (k Kinds) Access(ctx *Context, tx *Transaction, set *AccessSet) bool {
	ex, ok := k[tx.Kind].(Accessor)
	return ok && ex.Access(ctx, tx, set)
}

// Receive implements Receiver: a receipt goes to the executor of the kind of
// transactions that has the same number. If there is none, or it takes no
// receipts, the receipt is refused.
func (k Kinds) Receive(ctx *Context, s KV, r *xshard.Receipt, out *xshard.Outbox) (Result, error) {
	if to, ok := k[r.Kind].(Receiver); ok {
		return to.Receive(ctx, s, r, out)
	}
	return Result{}, &TxError{ID: r.ID, Reason: ReasonKind}
}
