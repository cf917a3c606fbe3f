package chain

import (
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/xshard"
)

// mutant names a deliberate defect. The tests run the whole chain with each of
// them to show that the invariants notice; a real node has none.
type mutant uint8

// The defects, one per invariant.
const (
	mutantNone         mutant = iota
	mutantDoubleCredit        // some receipts are credited twice
	mutantDropReceipt         // some receipts are not credited
	mutantMint                // a block with transfers makes a token
	mutantFree                // stakes cost nothing
	mutantFork                // one replica stores another block
	mutantDiverge             // one replica stores another state
	mutantLose                // says it admitted transactions, and forgets some
)

// times is how often a receipt is credited.
func (r *rules) times(rc *xshard.Receipt) int {
	switch {
	case r.mutant == mutantDoubleCredit && rc.Seq%5 == 2:
		return 2
	case r.mutant == mutantDropReceipt && rc.Seq%5 == 2:
		return 0
	}
	return 1
}

// mint makes a token out of nothing.
func (x *execution) mint(txs []ledger.Transaction) error {
	if x.mutant != mutantMint || len(txs) == 0 {
		return nil
	}
	return ledger.Credit(x.stage, &xshard.Receipt{Kind: ledger.ReceiptTransfer, To: txs[0].Sender(), Amount: 1})
}

// price is what an account pays for a stake.
func (m mutant) price(stake uint64) uint64 {
	if m == mutantFree {
		return 0
	}
	return stake
}

// spoil changes what a replica commits, at one height.
func (r *rules) spoil(b *ledger.Block, store ledger.Store) error {
	if b.Header.Height != 5 {
		return nil
	}
	switch r.mutant {
	case mutantFork:
		b.Header.Time++
	case mutantDiverge:
		return store.Scan([]byte("s/"), []byte("t"), func(k, v []byte) error {
			other := append([]byte(nil), v...)
			other[len(other)-1] ^= 1
			return store.Apply(func(yield func(k, v []byte) bool) { yield(append([]byte(nil), k...), other) }, nil)
		})
	}
	return nil
}

// loses reports whether an admitted transaction is forgotten.
func (m mutant) loses(t *ledger.Transaction) bool { return m == mutantLose && t.ID()[0] < 16 }
