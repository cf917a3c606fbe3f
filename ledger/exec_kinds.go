package ledger

import "github.com/shardkit/shardkit/xshard"

// Kinds is an Executor that gives each kind of transaction to an executor of
// its own. Kinds that are not there are refused.
type Kinds map[uint8]Executor

// Execute implements Executor.
func (k Kinds) Execute(ctx *Context, s KV, tx *Transaction, out *xshard.Outbox) (uint64, error) {
	ex := k[tx.Kind]
	if ex == nil {
		return 0, tx.refuse(ReasonKind, "%d", tx.Kind)
	}
	return ex.Execute(ctx, s, tx, out)
}

// Access implements Accessor for the kinds whose executors do.
func (k Kinds) Access(ctx *Context, tx *Transaction, set *AccessSet) bool {
	ex, ok := k[tx.Kind].(Accessor)
	return ok && ex.Access(ctx, tx, set)
}
