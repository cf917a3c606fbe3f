package chain

import (
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/xshard"
)

// Limits of an answer to History.
const (
	MaxHistory      = 16      // lines
	maxHistoryBytes = 1 << 17 // after which it ends, short of one line
)

// History encodes a question for the newest lines of an account's history, or
// for those before a line of an earlier answer. Nodes that keep histories
// (Config.History) answer with Notice.Page.
func History(shard shardkit.ShardID, request uint64, account ledger.Address, before *ledger.Move) []byte {
	b := walletHead(shard, walletHistory, request)
	b = append(b, account[:]...)
	var m ledger.Move
	if before != nil {
		m = *before
	}
	return appendMove(wire.AppendBool(b, before != nil), m)
}

// Page is a part of an account's history, the newest line first. An empty one
// is its end.
type Page struct {
	Kept  bool // this node keeps histories, since it was told to
	Lines []Line
}

// Line is what happened to an account: a transaction that it sent or that names
// it, or a receipt from another shard.
type Line struct {
	ledger.Move
	Fee         uint64        // that the transaction paid
	Failed      ledger.Reason // as in Fate
	Transaction *ledger.Transaction
	Receipt     *xshard.Receipt // if Arrived
}

func appendMove(b []byte, m ledger.Move) []byte {
	b = wire.AppendBool(wire.AppendU64(b, uint64(m.Height)), m.Arrived)
	return wire.AppendU32(b, uint32(m.Place))
}

func readMove(r *wire.Reader) ledger.Move {
	return ledger.Move{Height: shardkit.Height(r.U64()), Arrived: r.Bool(), Place: int(r.U32())}
}

// history answers a wallet's question, in a job.
func (r *replica) history(from shardkit.NodeID, request uint64, rd *wire.Reader) error {
	account := ledger.Address(rd.Array32())
	more, m := rd.Bool(), readMove(rd)
	if err := rd.Close(); err != nil {
		return fmt.Errorf("chain: wallet: %w", err)
	}
	before := &m
	if !more {
		before = nil
	}
	chain, kept := r.chain, r.rules.history
	return r.answer(MaxHistory, func() foundResult {
		res := foundResult{to: from, request: request}
		var err error
		if res.data, err = readHistory(chain, kept, account, before); err == nil {
			res.kind = noticeHistory
		}
		return res
	})
}

func readHistory(c *ledger.Chain, kept bool, account ledger.Address, before *ledger.Move) ([]byte, error) {
	b := wire.AppendBool(nil, kept)
	if !kept {
		return wire.AppendU32(b, 0), nil
	}
	moves, err := c.History(account, before, MaxHistory)
	if err != nil {
		return nil, err
	}
	var lines []byte
	n := 0
	for _, m := range moves {
		if len(lines) > maxHistoryBytes {
			break
		}
		if lines, err = appendLine(lines, c, m); err != nil {
			return nil, err
		}
		n++
	}
	return append(wire.AppendU32(b, uint32(n)), lines...), nil
}

// appendLine appends a line: where it is, the fee and what failed, and the
// transaction or the receipt.
func appendLine(b []byte, c *ledger.Chain, m ledger.Move) ([]byte, error) {
	var what interface{ AppendBinary([]byte) ([]byte, error) }
	var res ledger.Result
	if m.Arrived {
		a, err := c.ArrivalAt(m.Height, m.Place)
		if err != nil {
			return nil, err
		}
		what, res = &a.Receipt, a.Result
	} else {
		tx, err := c.TransactionAt(m.Height, m.Place)
		if err != nil {
			return nil, err
		}
		f, err := c.Find(tx.ID())
		if err != nil {
			return nil, err
		}
		if what = tx; f.Result != nil {
			res = *f.Result
		}
	}
	raw, err := what.AppendBinary(nil)
	if err != nil {
		return nil, err
	}
	b = wire.AppendU64(appendMove(b, m), res.Fee)
	return wire.AppendBytes(wire.AppendBytes(b, []byte(res.Failed)), raw), nil
}

func decodePage(r *wire.Reader) *Page {
	p := &Page{Kept: r.Bool()}
	for range r.Count(MaxHistory, 13+8+4+4) {
		l := Line{Move: readMove(r), Fee: r.U64(), Failed: ledger.Reason(r.Bytes(maxReason))}
		raw := r.Bytes(ledger.MaxTransaction)
		var what interface{ UnmarshalBinary([]byte) error }
		if l.Arrived {
			l.Receipt = new(xshard.Receipt)
			what = l.Receipt
		} else {
			l.Transaction = new(ledger.Transaction)
			what = l.Transaction
		}
		if r.Err() == nil {
			if err := what.UnmarshalBinary(raw); err != nil {
				r.Fail(err)
			}
		}
		p.Lines = append(p.Lines, l)
	}
	return p
}
