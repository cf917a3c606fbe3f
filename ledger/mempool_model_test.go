package ledger_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
)

// poolModel is a pool that does everything the slow way: it knows which
// transactions are held and works the rest out anew each time.
type poolModel struct {
	accounts map[ledger.Address]ledger.Account
	held     []*ledger.Transaction // in order of arrival
}

// ready lists a sender's transactions that can be used in a row from acc on.
func (m *poolModel) ready(a ledger.Address, acc ledger.Account) (out []*ledger.Transaction) {
	for {
		i := slices.IndexFunc(m.held, func(tx *ledger.Transaction) bool { return tx.Sender() == a && tx.Nonce == acc.Nonce })
		if i < 0 {
			return out
		}
		cost, _ := m.held[i].Cost()
		if cost > acc.Balance {
			return out
		}
		acc.Nonce, acc.Balance = acc.Nonce+1, acc.Balance-cost
		out = append(out, m.held[i])
	}
}

func perByte(tx *ledger.Transaction) float64 { return float64(tx.Fee) / float64(tx.Size()) }

// worth is the lowest price from the sender's first transaction to tx; -1 if
// tx is not ready.
func (m *poolModel) worth(tx *ledger.Transaction) float64 {
	lowest := -1.0
	for i, r := range m.ready(tx.Sender(), m.accounts[tx.Sender()]) {
		if p := perByte(r); i == 0 || p < lowest {
			lowest = p
		}
		if r == tx {
			return lowest
		}
	}
	return -1
}

// selection takes the best head again and again.
func (m *poolModel) selection(maxCount, maxBytes int) (out []*ledger.Transaction) {
	queues := map[ledger.Address][]*ledger.Transaction{}
	for a, acc := range m.accounts {
		queues[a] = m.ready(a, acc)
	}
	for len(out) < maxCount {
		var best *ledger.Transaction
		for _, tx := range m.held { // in order of arrival: the first of equals wins
			q := queues[tx.Sender()]
			if len(q) > 0 && q[0] == tx && (best == nil || perByte(tx) > perByte(best)) {
				best = tx
			}
		}
		if best == nil {
			return out
		}
		if best.Size() > maxBytes {
			queues[best.Sender()] = nil
			continue
		}
		maxBytes -= best.Size()
		out = append(out, best)
		queues[best.Sender()] = queues[best.Sender()][1:]
	}
	return out
}

// sync drops from the model what the pool no longer holds and returns it.
func (m *poolModel) sync(pool *ledger.Mempool) (dropped []*ledger.Transaction) {
	m.held = slices.DeleteFunc(m.held, func(tx *ledger.Transaction) bool {
		gone := !pool.Has(tx.ID())
		if gone {
			dropped = append(dropped, tx)
		}
		return gone
	})
	return dropped
}

func (m *poolModel) check(t *testing.T, pool *ledger.Mempool, rng *rand.Rand) {
	bytes := 0
	for _, tx := range m.held {
		bytes += tx.Size()
	}
	require.Equal(t, len(m.held), pool.Len())
	require.Equal(t, bytes, pool.Bytes())
	count, space := rng.IntN(60), rng.IntN(12_000)
	require.Equal(t, m.selection(count, space), pool.Select(count, space, nil))
}

// TestMempoolModel runs random histories against the model.
func TestMempoolModel(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 7))
		cfg := ledger.MempoolConfig{MaxCount: 40, MaxBytes: 9000, PerSender: 8}
		pool := ledger.NewMempool(cfg)
		m := &poolModel{accounts: map[ledger.Address]ledger.Account{}}
		var height shardkit.Height
		for range 400 {
			switch rng.IntN(12) {
			case 0:
				height++
				touched := map[ledger.Address]ledger.Account{}
				for range 3 {
					tx := unsigned(rng.IntN(15), 0, 0)
					acc := m.accounts[tx.Sender()]
					acc.Nonce += rng.Uint64N(4)
					acc.Balance = rng.Uint64N(400)
					touched[tx.Sender()] = acc
					m.accounts[tx.Sender()] = acc
				}
				pool.Committed(height, func(yield func(ledger.Address, ledger.Account) bool) {
					for a, acc := range touched {
						if !yield(a, acc) {
							return
						}
					}
				})
				for _, tx := range m.sync(pool) {
					used := tx.Nonce < m.accounts[tx.Sender()].Nonce
					require.True(t, used || tx.Expiry != 0 && tx.Expiry <= height)
				}
				for _, tx := range m.held {
					require.GreaterOrEqual(t, tx.Nonce, m.accounts[tx.Sender()].Nonce)
				}
			case 1:
				if len(m.held) > 0 {
					pool.Remove(m.held[rng.IntN(len(m.held))].ID())
					require.Len(t, m.sync(pool), 1)
				}
			default:
				m.add(t, pool, rng, height)
			}
			m.check(t, pool, rng)
		}
	}
}

// add offers a random transaction and checks what became of it.
func (m *poolModel) add(t *testing.T, pool *ledger.Mempool, rng *rand.Rand, height shardkit.Height) {
	tx := unsigned(rng.IntN(15), 0, rng.Uint64N(60))
	acc, known := m.accounts[tx.Sender()]
	if !known {
		acc = ledger.Account{Balance: 200}
		m.accounts[tx.Sender()] = acc
	}
	tx.Nonce = acc.Nonce + rng.Uint64N(6)
	if rng.IntN(4) == 0 {
		tx.Expiry = height + 1 + shardkit.Height(rng.IntN(5))
	}
	if rng.IntN(6) == 0 {
		tx.Memo = make([]byte, 100)
	}
	before := slices.Clone(m.held)
	same := slices.IndexFunc(m.held, func(h *ledger.Transaction) bool { return h.Sender() == tx.Sender() && h.Nonce == tx.Nonce })
	if err := pool.Add(tx, acc, height); err != nil {
		requireReason(t, err.(*ledger.TxError).Reason, err)
		require.Empty(t, m.sync(pool), "a refusal changes nothing")
		return
	}
	if same >= 0 {
		old := before[same]
		require.GreaterOrEqual(t, tx.Fee*10, old.Fee*11)
		require.False(t, pool.Has(old.ID()))
		m.held = slices.Delete(m.held, same, same+1)
	}
	m.held = append(m.held, tx)
	worth := map[*ledger.Transaction]float64{}
	for _, h := range m.held {
		worth[h] = m.worth(h)
	}
	dropped := m.sync(pool)
	for _, d := range dropped {
		for _, h := range m.held {
			if h.Sender() != d.Sender() || h.Nonce > d.Nonce {
				require.True(t, cmp.Compare(worth[d], worth[h]) <= 0 || m.followed(h), "dropped the better one")
			}
		}
	}
}

// followed reports whether another of the same sender comes later: a queue is
// cut from its end.
func (m *poolModel) followed(tx *ledger.Transaction) bool {
	return slices.ContainsFunc(m.held, func(h *ledger.Transaction) bool {
		return h.Sender() == tx.Sender() && h.Nonce > tx.Nonce
	})
}
