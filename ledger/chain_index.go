package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/xshard"
)

// The indexes answer what a wallet asks. They are written in the batch of their
// block, so that they never tell of a block that is not there, and cost nothing
// where they are not asked for: a block of 10,000 transfers then writes 30,000
// more pairs.

// Found says where a transaction is in the chain, and what became of it.
type Found struct {
	Height shardkit.Height
	Place  int     // among the block's transactions
	Result *Result // nil: its block was committed without results
}

// Arrival is a receipt of another shard that a block took in, and what became
// of it: where it did not reach its receiver, Result.Failed says why.
type Arrival struct {
	Receipt xshard.Receipt
	Result  Result
}

// Move is a line of an account's history.
type Move struct {
	Height  shardkit.Height
	Arrived bool // a receipt of another shard, see ArrivalAt; else a transaction, see TransactionAt
	Place   int  // among the block's transactions, or its arrivals
}

// pair is what an index adds to a block's batch.
type pair struct{ key, value []byte }

// Records of the indexes begin with a checksum: nothing else covers what is in
// them.
const indexSum = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealed puts the checksum in front of a record that was made behind
// indexSum bytes.
func sealed(record []byte) []byte {
	wire.AppendU32(record[:0], crc32.Checksum(record[indexSum:], castagnoli))
	return record
}

// unseal returns a reader of the record behind the checksum.
func unseal(record []byte) *wire.Reader {
	r := wire.NewReader(record)
	if sum := r.U32(); r.Err() == nil && sum != crc32.Checksum(record[indexSum:], castagnoli) {
		r.Fail(errors.New("checksum differs"))
	}
	return r
}

// appendResult appends fee, gas, and what failed and was told, each with its
// length.
func appendResult(b []byte, res *Result) []byte {
	b = wire.AppendU64(wire.AppendU64(b, res.Fee), res.Gas)
	b = wire.AppendBytes(b, []byte(res.Failed))
	b = wire.AppendU32(b, uint32(len(res.Events)))
	for _, e := range res.Events {
		b = wire.AppendBytes(b, e)
	}
	return b
}

// readResult reads what appendResult wrote. The checksum has been compared, so
// that no length needs a limit but what there is.
func readResult(r *wire.Reader) *Result {
	res := &Result{Fee: r.U64(), Gas: r.U64(), Failed: Reason(r.Bytes(r.Len()))}
	if n := r.Count(r.Len(), 4); n > 0 {
		res.Events = make([][]byte, n)
		for i := range res.Events {
			res.Events[i] = bytes.Clone(r.Bytes(r.Len()))
		}
	}
	return res
}

// index returns the pairs of the indexes that a block adds to, by what
// ChainConfig asks for. Of x the body may be missing, or everything.
func (c *Chain) index(b *Block, x *Executed) (pairs []pair, err error) {
	if !c.cfg.Transactions && !c.cfg.Accounts || len(b.Body) == 0 {
		return nil, nil
	}
	body := x.Body
	if body == nil {
		if body, err = DecodeBody(b.Body); err != nil {
			return nil, err
		}
	}
	if x.Results != nil && len(x.Results) != len(body.Transactions) {
		return nil, fmt.Errorf("ledger: block %d: %d results of %d transactions", b.Header.Height, len(x.Results), len(body.Transactions))
	}
	for i := range body.Transactions {
		var res *Result
		if x.Results != nil {
			res = &x.Results[i]
		}
		pairs = c.indexTransaction(pairs, &body.Transactions[i], b.Header.Height, i, res)
	}
	for i := range x.Arrived {
		if pairs, err = c.indexArrival(pairs, &x.Arrived[i], b.Header.Height, i); err != nil {
			return nil, err
		}
	}
	return pairs, nil
}

// indexTransaction adds where a transaction is and what became of it, under its
// id, and that it concerns sender and receiver, under theirs. A receiver in
// another shard is listed too: there, it has the arrival.
func (c *Chain) indexTransaction(pairs []pair, tx *Transaction, h shardkit.Height, i int, res *Result) []pair {
	if c.cfg.Transactions {
		id := tx.ID()
		record := make([]byte, indexSum, indexSum+8+4+1+8+8+4+4)
		record = wire.AppendU32(wire.AppendU64(record, uint64(h)), uint32(i))
		if record = wire.AppendBool(record, res != nil); res != nil {
			record = appendResult(record, res)
		}
		pairs = append(pairs, pair{append([]byte(keyTx), id[:]...), sealed(record)})
	}
	if !c.cfg.Accounts {
		return pairs
	}
	sender, m := tx.Sender(), Move{Height: h, Place: i}
	pairs = append(pairs, pair{key: moveKey(sender, m)})
	if tx.To != sender {
		pairs = append(pairs, pair{key: moveKey(tx.To, m)})
	}
	return pairs
}

// indexArrival adds the receipt itself, which is in no body, and where it can be
// found from.
func (c *Chain) indexArrival(pairs []pair, a *Arrival, h shardkit.Height, i int) ([]pair, error) {
	receipt, err := a.Receipt.AppendBinary(nil)
	if err != nil {
		return nil, err
	}
	record := appendResult(wire.AppendBytes(make([]byte, indexSum), receipt), &a.Result)
	pairs = append(pairs, pair{arrivalKey(h, i), sealed(record)})
	// Receipts that no transaction caused have no id to ask for.
	if c.cfg.Transactions && a.Receipt.ID != (shardkit.Hash{}) {
		pairs = append(pairs, pair{key: originKey(a.Receipt.ID, h, i)})
	}
	if c.cfg.Accounts {
		pairs = append(pairs, pair{key: moveKey(a.Receipt.To, Move{h, true, i})})
	}
	return pairs, nil
}

func arrivalKey(h shardkit.Height, i int) []byte {
	return wire.AppendU32(heightKey(keyArrival, h), uint32(i))
}

func originKey(id shardkit.Hash, h shardkit.Height, i int) []byte {
	return wire.AppendU32(wire.AppendU64(append([]byte(keyOrigin), id[:]...), uint64(h)), uint32(i))
}

// moveKey orders an account's moves from the newest to the oldest: a block
// takes receipts in before it executes transactions.
func moveKey(a Address, m Move) []byte {
	k := wire.AppendU64(append([]byte(keyMoves), a[:]...), ^uint64(m.Height))
	return wire.AppendU32(wire.AppendBool(k, m.Arrived), ^uint32(m.Place))
}

// unindex lists the keys of the indexes for blocks from lo to hi, both
// included.
func (c *Chain) unindex(lo, hi shardkit.Height) (keys [][]byte, err error) {
	add := func(pairs []pair, err error) error {
		for _, p := range pairs {
			keys = append(keys, p.key)
		}
		return err
	}
	for h := lo; h <= hi; h++ {
		b, err := c.Block(h)
		if err != nil {
			return nil, err
		}
		if err := add(c.index(b, new(Executed))); err != nil {
			return nil, err
		}
	}
	err = c.store.Scan(heightKey(keyArrival, lo), heightKey(keyArrival, hi+1), func(k, v []byte) error {
		h, i, err := arrivalPlace(k)
		if err != nil {
			return err
		}
		a, err := readArrival(v, h, i)
		if err != nil {
			return err
		}
		return add(c.indexArrival(nil, a, h, i))
	})
	return keys, err
}

func arrivalPlace(k []byte) (shardkit.Height, int, error) {
	r := wire.NewReader(k[len(keyArrival):])
	h, i := height(r), int(r.U32())
	if err := r.Close(); err != nil {
		return 0, 0, &DamageError{What: "index of arrivals", Err: err}
	}
	return h, i, nil
}

func readArrival(v []byte, h shardkit.Height, i int) (*Arrival, error) {
	r := unseal(v)
	receipt := r.Bytes(r.Len())
	a := &Arrival{Result: *readResult(r)}
	err := r.Close()
	if err == nil {
		err = a.Receipt.UnmarshalBinary(receipt)
	}
	if err != nil {
		return nil, &DamageError{What: fmt.Sprintf("arrival %d of block %d", i, h), Err: err}
	}
	return a, nil
}
