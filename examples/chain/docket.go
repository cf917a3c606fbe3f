package chain

import (
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/ledger"
)

// A transaction that files evidence waits apart from those that pay, in the
// docket. Its reporter need not have a token, and owes nobody a fee for what is
// to everybody's good; but among those that pay it would come last, which under
// load is never, and offenders could see to that. What bounds it instead:
//
//   - To be admitted it must be true: rehearse executes it on the newest state,
//     which refuses what has been punished, and evidence whose turn has not come.
//     So a lie costs a validator a signature check, as a transfer with a false
//     signature does, and nothing is kept or passed on.
//   - To be in a block it must succeed: one for each validator and epoch does.
//   - What is true can be filed by many. The docket is short, and a leader that
//     comes across what another report has settled throws it out.
const (
	maxDocket = 64 // transactions
	maxFiled  = 8  // of them in a block
)

// filesEvidence reports whether a transaction belongs in the docket.
func filesEvidence(t *ledger.Transaction) bool {
	if t.Kind != KindStaking {
		return false
	}
	order, err := estake.DecodeTx(t.Payload)
	return err == nil && order.Kind() == estake.KindEvidence
}

// queueOf is where an admitted transaction waits.
func (r *replica) queueOf(t *ledger.Transaction) *ledger.Mempool {
	if filesEvidence(t) {
		return r.docket
	}
	return r.pool
}

// queues lists both.
func (r *replica) queues() [2]*ledger.Mempool { return [...]*ledger.Mempool{r.docket, r.pool} }

// queued is how many transactions wait.
func (r *replica) queued() int { return r.docket.Len() + r.pool.Len() }

// pick chooses what the next block may hold: at most n transactions.
func (r *replica) pick(n int) []*ledger.Transaction {
	room := int(r.core.cfg.Genesis.Params.MaxBody)
	filed := r.docket.Select(min(maxFiled, n), room/4, nil)
	return append(filed, r.pool.Select(n-len(filed), room/2, nil)...)
}
