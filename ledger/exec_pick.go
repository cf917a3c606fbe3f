package ledger

import (
	"errors"
	"fmt"
	"math"

	"github.com/shardkit/shardkit/xshard"
)

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
// on the same state, with the same result. Candidates for which there was no
// space, or that the market left out, are passed over without being dropped.
// The error is the state's; s is then to be discarded.
//
// It uses one processor whatever Context.Workers says: which candidates fit
// depends on which of those before them succeeded, so that running them side by
// side would mean running many twice, and a block of transfers is executed in a
// tenth of the time in which its signatures are checked.
func Pick(ctx *Context, s KV, candidates []*Transaction, ex Executor, out *xshard.Outbox, lim Limits) (*Picked, error) {
	p := new(Picked)
	if ctx.Market != nil {
		return p, p.market(ctx, s, candidates, ex, out, lim.withDefaults())
	}
	taken, list, err := p.try(ctx, s, candidates, ex, out, lim.withDefaults())
	if err != nil {
		return nil, err
	}
	p.Fees, err = closeBlock(ctx, s, taken, list)
	return p.take(taken), err
}

// try executes candidates and returns those that succeeded with what they
// paid.
func (p *Picked) try(ctx *Context, s KV, candidates []*Transaction, ex Executor, out *xshard.Outbox, lim Limits) (taken []*Transaction, list []Result, err error) {
	for _, tx := range candidates {
		if len(taken) == lim.Count {
			break
		}
		size := tx.Size()
		if size > lim.Bytes || tx.Gas > lim.Gas {
			continue // a smaller one may still fit
		}
		res, err := ex.Execute(ctx, s, tx, out)
		var refused *TxError
		switch {
		case errors.As(err, &refused):
			p.Dropped = append(p.Dropped, Dropped{tx, refused})
			continue
		case err != nil:
			return nil, nil, fmt.Errorf("ledger: building a block: %w", err)
		}
		taken, list = append(taken, tx), append(list, res)
		lim.Bytes -= size
		lim.Gas -= tx.Gas
	}
	return taken, list, nil
}

func (p *Picked) take(taken []*Transaction) *Picked {
	for _, tx := range taken {
		p.Taken = append(p.Taken, *tx)
	}
	return p
}

// maxSettle bounds how often market tries to find a block.
const maxSettle = 8

// market is Pick for a market, whose prices depend on what is in the block,
// while what succeeds depends on the prices, and on what others in the block
// do. It finds out who succeeds when all pay their bids, lets the market
// choose, and tries the choice until nothing of it is refused; nearly always
// the first stands. A block that cannot be settled is left empty.
func (p *Picked) market(ctx *Context, s KV, candidates []*Transaction, ex Executor, out *xshard.Outbox, lim Limits) error {
	trial, before := NewOverlay(s), out.Len()
	again := func() { trial.Reset(); out.Truncate(before) }
	valid, _, err := p.try(ctx, trial, candidates, ex, out, lim)
	if err != nil {
		return err
	}
	for range maxSettle {
		again()
		choice, err := ctx.Market.Choose(ctx, s, valid)
		if err != nil {
			return err
		}
		fees, err := execute(ctx, trial, choice, ex, out)
		if err == nil {
			p.Fees = fees
			p.take(choice)
			return trial.Flush()
		}
		if !errors.As(err, new(*BlockError)) {
			return err
		}
		// Somebody needed what was left out: without the market, who succeeds of these?
		again()
		if valid, _, err = new(Picked).try(ctx, trial, choice, ex, out, lim); err != nil {
			return err
		}
		if len(valid) == len(choice) {
			break // it is the prices that this executor refuses
		}
	}
	again()
	p.Fees, err = execute(ctx, s, nil, ex, out)
	return err
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
