package ledger

import (
	"errors"
	"fmt"
	"math"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/xshard"
)

// Context is the block in which transactions are executed.
type Context struct {
	Chain    shardkit.Hash
	Shard    shardkit.ShardID
	Shards   uint32 // number of shards, which with its address places an account. 0: 1
	Epoch    shardkit.Epoch
	Height   shardkit.Height
	Time     uint64 // of the block, unix milliseconds
	Proposer shardkit.NodeID

	// Seed is randomness of the block that no sender could foresee, for
	// executors and fee markets. Zero: there is none.
	Seed shardkit.Hash
	// Market decides the fees. nil: everybody pays what the transaction says.
	Market FeeMarket
	// Workers is the number of goroutines for the transactions of an Accessor.
	// 0 or 1: they run in order.
	Workers int
	// Report takes what became of the block's transactions, in their order,
	// once, after all of them have succeeded. Arrived takes what became of a
	// receipt that was given to Receive. They may be nil.
	Report  func([]Result)
	Arrived func(*xshard.Receipt, Result)

	pay func(*Transaction) uint64 // set while a block of a market is executed
}

// Executor gives transactions their meaning. What it does depends on its
// arguments alone, because every node must get the same.
//
// There is room for contracts: Transaction.Payload is their input and Gas the
// most they may use (Limits.Gas bounds a block's sum); storage is keys of s that
// begin with a letter of the executor's own; an Overlay and Outbox.Truncate undo
// what a failed call did, while its fee stays paid; receipts with a Kind and
// Data of their own call other shards, where a Receiver takes them; gas used,
// failure and events are in the Result; an Accessor may be run on several
// processors. Executors of several kinds of transactions are put together by
// Kinds.
type Executor interface {
	// Execute applies tx to s and adds receipts for other shards to out. The
	// signature is not its matter: where it is false, nothing of the block
	// stays. Result.Fee is what the sender paid: it is off the sender's balance
	// and not yet on another's.
	//
	// A refusal is a *TxError and leaves s and out as they were; a block with
	// such a transaction is not valid. Any other error is a failure of s; the
	// whole block is given up then. A call that fails but pays is neither: that
	// is Result.Failed.
	Execute(ctx *Context, s KV, tx *Transaction, out *xshard.Outbox) (Result, error)
}

// Result is what became of a transaction in a block, or of a receipt at its
// destination. It is not part of the block: what somebody has to be able to
// prove, an executor writes to the state.
type Result struct {
	Fee    uint64   // what the sender paid
	Gas    uint64   // what was used of Transaction.Gas
	Failed Reason   // why all but the fee was undone; empty: it was not
	Events [][]byte // what the executor tells about it
}

// Transfer executes KindTransfer: the sender pays Amount and Fee; Amount is
// credited to To here, or by a receipt if To lives in another shard. The memo
// goes with the receipt.
type Transfer struct{}

// ReceiptTransfer is the Kind of a receipt that pays Amount to an account.
// Other kinds are a composition's own.
const ReceiptTransfer uint8 = 0

// Execute implements Executor.
func (Transfer) Execute(ctx *Context, s KV, tx *Transaction, out *xshard.Outbox) (Result, error) {
	if tx.Kind != KindTransfer {
		return Result{}, tx.refuse(ReasonKind, "%d", tx.Kind)
	}
	sender := tx.Sender()
	key := AccountKey(sender)
	from, err := charge(ctx, s, tx, key)
	if err != nil {
		return Result{}, err
	}
	switch dest := tx.To.Shard(max(ctx.Shards, 1)); {
	case dest != ctx.Shard:
		if err := send(tx, sender, dest, out); err != nil {
			return Result{}, err
		}
	case tx.To == sender:
		from.Balance += tx.Amount
	default:
		if err := deposit(s, tx); err != nil {
			return Result{}, err
		}
	}
	return Result{Fee: ctx.FeeOf(tx)}, setAccount(s, key, from)
}

// Charge makes the checks that every transaction needs, whatever its kind, and
// returns the sender's account as it is after: nonce advanced, amount and
// Context.FeeOf paid. The sender must have the whole bid, whatever it pays.
// Charge writes nothing; the executor stores the account once nothing can be
// refused any more.
func Charge(ctx *Context, s KV, tx *Transaction) (Account, error) {
	return charge(ctx, s, tx, AccountKey(tx.Sender()))
}

func charge(ctx *Context, s KV, tx *Transaction, key []byte) (Account, error) {
	cost, ok := tx.Cost()
	switch {
	case tx.Chain != ctx.Chain:
		return Account{}, tx.refuse(ReasonChain, "%v", tx.Chain)
	case tx.Shard != ctx.Shard:
		return Account{}, tx.refuse(ReasonShard, "%d, this is %d", tx.Shard, ctx.Shard)
	case tx.Expiry != 0 && ctx.Height > tx.Expiry:
		return Account{}, tx.refuse(ReasonExpired, "at height %d, now %d", tx.Expiry, ctx.Height)
	case !ok || tx.Nonce == math.MaxUint64:
		return Account{}, tx.refuse(ReasonOverflow, "")
	}
	acc, err := getAccount(s, key)
	switch {
	case err != nil:
		return Account{}, err
	case tx.Nonce < acc.Nonce:
		return Account{}, tx.refuse(ReasonNonceLow, "%d, account at %d", tx.Nonce, acc.Nonce)
	case tx.Nonce > acc.Nonce:
		return Account{}, tx.refuse(ReasonNonceHigh, "%d, account at %d", tx.Nonce, acc.Nonce)
	case acc.Balance < cost:
		return Account{}, tx.refuse(ReasonBalance, "has %d, needs %d", acc.Balance, cost)
	}
	paid := cost - tx.Fee + ctx.FeeOf(tx)
	return Account{Nonce: acc.Nonce + 1, Balance: acc.Balance - paid}, nil
}

func send(tx *Transaction, sender Address, dest shardkit.ShardID, out *xshard.Outbox) error {
	_, err := out.Add(xshard.Receipt{
		Dest: dest, Kind: ReceiptTransfer, ID: tx.ID(),
		From: sender, To: tx.To, Amount: tx.Amount, Data: tx.Memo,
	})
	if err != nil {
		return tx.refuse(ReasonOutbox, "%v", err)
	}
	return nil
}

func deposit(s KV, tx *Transaction) error {
	if tx.Amount == 0 {
		return nil
	}
	key := AccountKey(tx.To)
	to, err := getAccount(s, key)
	if err != nil {
		return err
	}
	if to.Balance > math.MaxUint64-tx.Amount {
		return tx.refuse(ReasonOverflow, "receiver has %d", to.Balance)
	}
	to.Balance += tx.Amount
	return setAccount(s, key, to)
}

// BlockError says which transaction of a block was refused, and why.
type BlockError struct {
	Index int
	Err   *TxError
}

func (e *BlockError) Error() string {
	return fmt.Sprintf("ledger: transaction %d of the block: %v", e.Index, e.Err)
}

func (e *BlockError) Unwrap() error { return e.Err }

// ExecuteBlock executes the transactions of a block in order and returns the
// fees they paid. All of them must succeed: a block with a transaction that is
// refused is not valid, the error is then a *BlockError. After any error s and
// out are left half-way and are discarded by the caller.
//
// Signatures are not checked here, see VerifyBatch. Crediting the fees is the
// caller's.
func ExecuteBlock(ctx *Context, s KV, txs []Transaction, ex Executor, out *xshard.Outbox) (fees uint64, err error) {
	refs := make([]*Transaction, len(txs))
	for i := range txs {
		refs[i] = &txs[i]
	}
	return execute(ctx, s, refs, ex, out)
}

// execute is ExecuteBlock: the market opens, the transactions run, the market
// closes.
func execute(ctx *Context, s KV, txs []*Transaction, ex Executor, out *xshard.Outbox) (fees uint64, err error) {
	if ctx.Market != nil {
		open := *ctx
		if open.pay, err = ctx.Market.Price(ctx, s, txs); err != nil {
			return 0, err
		}
		ctx = &open
	}
	if a, ok := ex.(Accessor); ok && ctx.Workers > 1 {
		list, done, err := executeSpread(ctx, s, txs, a, out)
		if err != nil {
			return 0, err
		}
		if done {
			return closeBlock(ctx, s, txs, list)
		}
	}
	list := make([]Result, len(txs))
	for i, tx := range txs {
		if list[i], err = ex.Execute(ctx, s, tx, out); err != nil {
			return 0, blockError(i, err)
		}
	}
	return closeBlock(ctx, s, txs, list)
}

// closeBlock adds the fees up, lets the market do the same, and reports.
func closeBlock(ctx *Context, s KV, txs []*Transaction, list []Result) (fees uint64, err error) {
	for i := range list {
		if fees > math.MaxUint64-list[i].Fee {
			return 0, blockError(i, txs[i].refuse(ReasonOverflow, "fees of the block"))
		}
		fees += list[i].Fee
	}
	if ctx.Market != nil {
		if err := ctx.Market.Close(ctx, s, txs); err != nil {
			return 0, err
		}
	}
	if ctx.Report != nil {
		ctx.Report(list)
	}
	return fees, nil
}

func blockError(i int, err error) error {
	var refused *TxError
	if errors.As(err, &refused) {
		return &BlockError{Index: i, Err: refused}
	}
	return fmt.Errorf("ledger: transaction %d of the block: %w", i, err)
}
