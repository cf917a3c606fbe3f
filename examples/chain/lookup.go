package chain

import (
	"errors"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/ledger"
)

// What a node answers to wallets from its store.

// lookUp answers a wallet's question from the store, in a job.
func (r *replica) lookUp(from shardkit.NodeID, kind uint8, request uint64, rd *wire.Reader) error {
	n := rd.Count(MaxFind, 32)
	keys := make([][32]byte, n)
	for i := range keys {
		keys[i] = rd.Array32()
	}
	if err := rd.Close(); err != nil {
		return fmt.Errorf("chain: wallet: %w", err)
	}
	chain, state := r.chain, r.chain.State()
	return r.answer(n, func() foundResult {
		res := foundResult{to: from, request: request}
		err := readState(state, func(st *ledger.Stage) (err error) {
			switch kind {
			case walletFind:
				res.kind = noticeFound
				res.data, err = readFates(chain, keys)
			case walletAccounts:
				res.kind = noticeAccounts
				res.data, err = readAccounts(st, keys)
			case walletHoldings:
				res.kind = noticeHoldings
				res.data, err = readHoldings(st, keys)
			}
			return err
		})
		if err != nil {
			res.kind = 0
		}
		return res
	})
}

// answer reads an answer in a job, unless there are too many.
func (r *replica) answer(size int, read func() foundResult) error {
	if r.asked >= maxAdmit {
		return errBusy
	}
	r.asked++
	r.job("ledger.find", size, func() any { return read() })
	return nil
}

// Fate is what became of a transaction in a shard: where its sender is, and
// where its transfer goes to.
type Fate struct {
	Included  shardkit.Height // 0: not in a block here
	Fee       uint64          // paid there
	Delivered shardkit.Height // that credited its transfer from another shard; 0: none did
	Failed    ledger.Reason   // why all but the fee was undone, or nobody could be credited; else empty
}

// fateOf looks a transaction up in the ledger's index.
func fateOf(c *ledger.Chain, id shardkit.Hash) (f Fate, err error) {
	at, err := c.Find(id)
	switch {
	case err == nil:
		f.Included = at.Height
		if at.Result != nil {
			f.Fee, f.Failed = at.Result.Fee, at.Result.Failed
		}
	case !errors.Is(err, ledger.ErrNotFound):
		return f, err
	}
	moves, err := c.Arrivals(id, 1)
	if err != nil || len(moves) == 0 {
		return f, err
	}
	a, err := c.ArrivalAt(moves[0].Height, moves[0].Place)
	if err != nil {
		return f, err
	}
	f.Delivered, f.Failed = moves[0].Height, a.Result.Failed
	return f, nil
}

func readFates(chain *ledger.Chain, ids [][32]byte) ([]byte, error) {
	b := wire.AppendU32(nil, uint32(len(ids)))
	for _, id := range ids {
		f, err := fateOf(chain, id)
		if err != nil {
			return nil, err
		}
		b = wire.AppendU64(wire.AppendU64(b, uint64(f.Included)), f.Fee)
		b = wire.AppendBytes(wire.AppendU64(b, uint64(f.Delivered)), []byte(f.Failed))
	}
	return b, nil
}

func decodeFates(r *wire.Reader) (list []Fate) {
	for range r.Count(MaxFind, 28) {
		list = append(list, Fate{
			Included: shardkit.Height(r.U64()), Fee: r.U64(),
			Delivered: shardkit.Height(r.U64()), Failed: ledger.Reason(r.Bytes(maxReason)),
		})
	}
	return list
}

func readAccounts(st ledger.KV, list [][32]byte) ([]byte, error) {
	b := wire.AppendU32(nil, uint32(len(list)))
	for _, a := range list {
		acc, err := ledger.GetAccount(st, a)
		if err != nil {
			return nil, err
		}
		b = wire.AppendU64(wire.AppendU64(b, acc.Nonce), acc.Balance)
	}
	return b, nil
}

// readHoldings says what an account, the first of the list, has with the
// validators that follow.
func readHoldings(st ledger.KV, list [][32]byte) ([]byte, error) {
	if len(list) == 0 {
		return wire.AppendU32(nil, 0), nil
	}
	b := wire.AppendU32(nil, uint32(len(list)-1))
	for _, v := range list[1:] {
		p, err := estake.Holding(st, v, list[0])
		if err != nil {
			return nil, err
		}
		b = wire.AppendU64(wire.AppendU64(wire.AppendU64(b, p.Plain), p.Compound), p.Rewards)
	}
	return b, nil
}

type foundResult struct {
	to      shardkit.NodeID
	kind    uint8 // 0: the store failed, no answer
	request uint64
	data    []byte
}

func (r *replica) onFound(res foundResult) {
	r.asked--
	if res.kind != 0 {
		r.notice(res.to, shardkit.ClassBlock, res.kind, res.request, res.data)
	}
}
