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
}

// Executor gives transactions their meaning. What it does depends on its
// arguments alone, because every node must get the same.
type Executor interface {
	// Execute applies tx to s and adds receipts for other shards to out. The
	// signature was checked before. It returns the fee that the sender paid,
	// which is off the sender's balance and not yet on another's.
	//
	// A refusal is a *TxError and leaves s and out as they were. Any other
	// error is a failure of s; the whole block is given up then.
	Execute(ctx *Context, s KV, tx *Transaction, out *xshard.Outbox) (fee uint64, err error)
}

// Transfer executes KindTransfer: the sender pays Amount and Fee; Amount is
// credited to To here, or by a receipt if To lives in another shard. The memo
// goes with the receipt.
type Transfer struct{}

// ReceiptTransfer is the Kind of a receipt that pays Amount to an account.
// Other kinds are a composition's own.
const ReceiptTransfer uint8 = 0

// Execute implements Executor.
func (Transfer) Execute(ctx *Context, s KV, tx *Transaction, out *xshard.Outbox) (uint64, error) {
	if tx.Kind != KindTransfer {
		return 0, tx.refuse(ReasonKind, "%d", tx.Kind)
	}
	sender := tx.Sender()
	from, err := Charge(ctx, s, tx)
	if err != nil {
		return 0, err
	}
	switch dest := tx.To.Shard(max(ctx.Shards, 1)); {
	case dest != ctx.Shard:
		if err := send(tx, sender, dest, out); err != nil {
			return 0, err
		}
	case tx.To == sender:
		from.Balance += tx.Amount
	default:
		if err := deposit(s, tx); err != nil {
			return 0, err
		}
	}
	return tx.Fee, SetAccount(s, sender, from)
}

// Charge makes the checks that every transaction needs, whatever its kind, and
// returns the sender's account as it is after: nonce advanced, amount and fee
// paid. It writes nothing; the executor stores the account once nothing can be
// refused any more.
func Charge(ctx *Context, s KV, tx *Transaction) (Account, error) {
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
	acc, err := GetAccount(s, tx.Sender())
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
	return Account{Nonce: acc.Nonce + 1, Balance: acc.Balance - cost}, nil
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
	to, err := GetAccount(s, tx.To)
	if err != nil {
		return err
	}
	if to.Balance > math.MaxUint64-tx.Amount {
		return tx.refuse(ReasonOverflow, "receiver has %d", to.Balance)
	}
	to.Balance += tx.Amount
	return SetAccount(s, tx.To, to)
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
	for i := range txs {
		fee, err := ex.Execute(ctx, s, &txs[i], out)
		if err != nil {
			return 0, blockError(i, err)
		}
		if fees > math.MaxUint64-fee {
			return 0, blockError(i, txs[i].refuse(ReasonOverflow, "fees of the block"))
		}
		fees += fee
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

// Limits bound the transactions of one block.
type Limits struct {
	Count int    // 0: MaxTransactions
	Bytes int    // of their encodings. 0: MaxBody
	Gas   uint64 // sum of the gas they may use. 0: no limit
}

// Picked is a block in the making.
type Picked struct {
	Taken   []Transaction
	Fees    uint64    // that the taken ones paid
	Dropped []Dropped // candidates that were refused
}

// Dropped is a candidate that was refused.
type Dropped struct {
	Transaction *Transaction
	Err         *TxError
}

// Pick builds a block: it executes candidates in order on s and keeps those
// that succeed, until a limit is reached. What it keeps ExecuteBlock accepts
// on the same state. Candidates for which there was no space are passed over
// without being dropped. The error is the state's; s is then to be discarded.
func Pick(ctx *Context, s KV, candidates []*Transaction, ex Executor, out *xshard.Outbox, lim Limits) (*Picked, error) {
	lim = lim.withDefaults()
	p := new(Picked)
	for _, tx := range candidates {
		if len(p.Taken) == lim.Count {
			break
		}
		size := tx.Size()
		if size > lim.Bytes || tx.Gas > lim.Gas {
			continue // a smaller one may still fit
		}
		fee, err := ex.Execute(ctx, s, tx, out)
		var refused *TxError
		switch {
		case errors.As(err, &refused):
			p.Dropped = append(p.Dropped, Dropped{tx, refused})
			continue
		case err != nil:
			return nil, fmt.Errorf("ledger: building a block: %w", err)
		case p.Fees > math.MaxUint64-fee:
			return nil, fmt.Errorf("ledger: building a block: fees exceed all there is")
		}
		p.Taken = append(p.Taken, *tx)
		p.Fees += fee
		lim.Bytes -= size
		lim.Gas -= tx.Gas
	}
	return p, nil
}

func (l Limits) withDefaults() Limits {
	if l.Count == 0 || l.Count > MaxTransactions {
		l.Count = MaxTransactions
	}
	if l.Bytes == 0 || l.Bytes > MaxBody {
		l.Bytes = MaxBody
	}
	if l.Gas == 0 {
		l.Gas = math.MaxUint64
	}
	return l
}
