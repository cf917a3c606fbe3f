package ledger

import (
	"errors"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// index returns the pairs of the indexes that a block adds to, by what
// ChainConfig asks for.
func (c *Chain) index(b *Block) ([][2][]byte, error) {
	if !c.cfg.Transactions && !c.cfg.Accounts || len(b.Body) == 0 {
		return nil, nil
	}
	body, err := DecodeBody(b.Body)
	if err != nil {
		return nil, err
	}
	var pairs [][2][]byte
	for i := range body.Transactions {
		tx := &body.Transactions[i]
		if c.cfg.Transactions {
			id := tx.ID()
			at := wire.AppendU32(wire.AppendU64(nil, uint64(b.Header.Height)), uint32(i))
			pairs = append(pairs, [2][]byte{append([]byte(keyTx), id[:]...), at})
		}
		if !c.cfg.Accounts {
			continue
		}
		sender := tx.Sender()
		pairs = append(pairs, [2][]byte{movesKey(sender, b.Header.Height, i), nil})
		if tx.To != sender {
			pairs = append(pairs, [2][]byte{movesKey(tx.To, b.Header.Height, i), nil})
		}
	}
	return pairs, nil
}

func movesKey(a Address, h shardkit.Height, i int) []byte {
	k := append([]byte(keyMoves), a[:]...)
	return wire.AppendU32(wire.AppendU64(k, ^uint64(h)), ^uint32(i))
}

// Transaction returns a transaction by its id, with its block's height and its
// place there, or ErrNotFound. It needs ChainConfig.Transactions.
func (c *Chain) Transaction(id shardkit.Hash) (tx *Transaction, h shardkit.Height, place int, err error) {
	v, ok, err := c.store.Get(append([]byte(keyTx), id[:]...), nil)
	if err != nil {
		return nil, 0, 0, err
	}
	if !ok {
		return nil, 0, 0, ErrNotFound
	}
	r := wire.NewReader(v)
	h, place = height(r), int(r.U32())
	if err = r.Close(); err == nil {
		tx, err = c.transactionAt(h, place, id)
	}
	if err != nil {
		return nil, 0, 0, &DamageError{What: fmt.Sprintf("index of transaction %v", id), Err: err}
	}
	return tx, h, place, nil
}

func (c *Chain) transactionAt(h shardkit.Height, place int, id shardkit.Hash) (*Transaction, error) {
	b, err := c.Block(h)
	if err != nil {
		return nil, err
	}
	body, err := DecodeBody(b.Body)
	if err != nil {
		return nil, err
	}
	if place >= len(body.Transactions) || body.Transactions[place].ID() != id {
		return nil, errors.New("points to another")
	}
	return &body.Transactions[place], nil
}

// errStop ends a scan.
var errStop = errors.New("stop")

// History calls fn for the transactions that an account sent or is the To of,
// the newest first, until fn returns false. Receipts from other shards are not
// among them: they are the composition's items. It needs ChainConfig.Accounts.
func (c *Chain) History(a Address, fn func(h shardkit.Height, place int) bool) error {
	lo := append([]byte(keyMoves), a[:]...)
	hi := append(append([]byte(nil), lo...), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	err := c.store.Scan(lo, hi, func(k, _ []byte) error {
		r := wire.NewReader(k[len(lo):])
		h, place := shardkit.Height(^r.U64()), int(^r.U32())
		if err := r.Close(); err != nil {
			return &DamageError{What: "index of account " + a.String(), Err: err}
		}
		if !fn(h, place) {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}
