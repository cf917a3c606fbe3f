package ledger

import (
	"errors"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Find returns where the transaction with the id is, or ErrNotFound. It reads
// one record, no block. It needs ChainConfig.Transactions.
func (c *Chain) Find(id shardkit.Hash) (*Found, error) {
	v, ok, err := c.store.Get(append([]byte(keyTx), id[:]...), nil)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ErrNotFound
	}
	r := unseal(v)
	f := &Found{Height: height(r), Place: int(r.U32())}
	if r.Bool() {
		f.Result = readResult(r)
	}
	if err := r.Close(); err != nil {
		return nil, damagedIndex(id, err)
	}
	return f, nil
}

func damagedIndex(id shardkit.Hash, err error) error {
	return &DamageError{What: fmt.Sprintf("index of transaction %v", id), Err: err}
}

// Transaction is Find with the transaction itself, which is read from its
// block.
func (c *Chain) Transaction(id shardkit.Hash) (*Transaction, *Found, error) {
	f, err := c.Find(id)
	if err != nil {
		return nil, nil, err
	}
	tx, err := c.TransactionAt(f.Height, f.Place)
	if err == nil && tx.ID() != id {
		err = errors.New("points to another")
	}
	if err != nil {
		return nil, nil, damagedIndex(id, err)
	}
	return tx, f, nil
}

// TransactionAt returns a transaction by its place in a block, or ErrNotFound.
func (c *Chain) TransactionAt(h shardkit.Height, place int) (*Transaction, error) {
	b, err := c.Block(h)
	if err != nil {
		return nil, err
	}
	if len(b.Body) == 0 || place < 0 {
		return nil, ErrNotFound
	}
	body, err := DecodeBody(b.Body)
	if err != nil {
		return nil, &DamageError{What: fmt.Sprintf("body of block %d", h), Err: err}
	}
	if place >= len(body.Transactions) {
		return nil, ErrNotFound
	}
	return &body.Transactions[place], nil
}

// ArrivalAt returns a receipt by its place among those that a block took in,
// or ErrNotFound. It needs ChainConfig.Transactions or Accounts.
func (c *Chain) ArrivalAt(h shardkit.Height, place int) (*Arrival, error) {
	v, ok, err := c.store.Get(arrivalKey(h, place), nil)
	if err != nil {
		return nil, err
	}
	if !ok || place < 0 {
		return nil, ErrNotFound
	}
	return readArrival(v, h, place)
}

// Arrivals returns up to n receipts that the transaction with the id, which was
// executed in another shard, has sent to this one, the oldest first: how a
// payer sees that the money is there. It needs ChainConfig.Transactions.
func (c *Chain) Arrivals(id shardkit.Hash, n int) (moves []Move, err error) {
	lo, hi := originKey(id, 0, 0), append(originKey(id, ^shardkit.Height(0), -1), 0)
	err = c.page(lo, hi, n, func(r *wire.Reader) {
		r.Fixed(len(keyOrigin) + len(id))
		moves = append(moves, Move{Height: height(r), Arrived: true, Place: int(r.U32())})
	})
	return moves, err
}

// History returns up to n moves of an account, the newest first: transactions
// that it sent or is the To of, and receipts that arrived for it. before is the
// last move of the page before, or nil. It needs ChainConfig.Accounts.
func (c *Chain) History(a Address, before *Move, n int) (moves []Move, err error) {
	lo := append([]byte(keyMoves), a[:]...)
	hi := append(moveKey(a, Move{Arrived: true}), 0) // the oldest there can be
	if before != nil {
		lo = append(moveKey(a, *before), 0)
	}
	err = c.page(lo, hi, n, func(r *wire.Reader) {
		r.Fixed(len(keyMoves) + len(a))
		moves = append(moves, Move{shardkit.Height(^r.U64()), r.Bool(), int(^r.U32())})
	})
	return moves, err
}

// errStop ends a scan.
var errStop = errors.New("stop")

// page reads up to n keys of an index.
func (c *Chain) page(lo, hi []byte, n int, read func(*wire.Reader)) error {
	if n <= 0 {
		return nil
	}
	err := c.store.Scan(lo, hi, func(k, _ []byte) error {
		r := wire.NewReader(k)
		read(r)
		if err := r.Close(); err != nil {
			return &DamageError{What: "key of an index", Err: err}
		}
		if n--; n == 0 {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}
