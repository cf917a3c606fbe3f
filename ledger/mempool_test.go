package ledger_test

import (
	"maps"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
)

// unsigned returns a transfer that pretends to be from the n-th account: the
// pool trusts that signatures were checked.
func unsigned(from int, nonce, fee uint64) *ledger.Transaction {
	tx := &ledger.Transaction{Chain: testChain, Nonce: nonce, Amount: 1, Fee: fee}
	tx.From[0], tx.From[1], tx.From[2] = byte(from), byte(from>>8), byte(from>>16)
	return tx
}

var rich = ledger.Account{Balance: 1 << 40}

func fees(txs []*ledger.Transaction) (out []uint64) {
	for _, tx := range txs {
		out = append(out, tx.Fee)
	}
	return out
}

func TestMempoolOrder(t *testing.T) {
	m := ledger.NewMempool(ledger.MempoolConfig{})
	for _, tx := range []*ledger.Transaction{
		unsigned(1, 0, 10), unsigned(1, 1, 50), unsigned(1, 2, 5),
		unsigned(2, 1, 90), // waits for nonce 0
		unsigned(3, 0, 20), unsigned(4, 0, 20),
	} {
		require.NoError(t, m.Add(tx, rich, 0))
	}
	require.Equal(t, []uint64{20, 20, 10, 50, 5}, fees(m.Select(100, 1<<20, nil)))
	require.Equal(t, []uint64{20, 20, 10}, fees(m.Select(3, 1<<20, nil)))
	require.Equal(t, []uint64{20, 20}, fees(m.Select(100, 2*unsigned(1, 0, 0).Size()+1, nil)))
	require.NoError(t, m.Add(unsigned(2, 0, 15), rich, 0))
	require.Equal(t, []uint64{20, 20, 15, 90, 10, 50, 5}, fees(m.Select(100, 1<<20, nil)))

	// The block is built on a state in which account 1 has sent one and 3 is poor.
	ahead := func(a ledger.Address) ledger.Account {
		switch tx := unsigned(1, 0, 0); a {
		case tx.Sender():
			return ledger.Account{Nonce: 1, Balance: 100}
		case unsigned(3, 0, 0).Sender():
			return ledger.Account{Balance: 20}
		}
		return rich
	}
	require.Equal(t, []uint64{20, 15, 90, 50, 5}, fees(m.Select(100, 1<<20, ahead)))
	require.Equal(t, 7, m.Len(), "selecting removes nothing")
}

func TestMempoolRefuses(t *testing.T) {
	m := ledger.NewMempool(ledger.MempoolConfig{MaxBytes: 2000, PerSender: 4, MinFee: 3})
	acc := ledger.Account{Nonce: 10, Balance: 100}
	require.NoError(t, m.Add(unsigned(1, 10, 49), acc, 7))
	for _, tc := range []struct {
		want   ledger.Reason
		change func(*ledger.Transaction)
	}{
		{ledger.ReasonKnown, func(tx *ledger.Transaction) { tx.Nonce, tx.Fee = 10, 49 }},
		{ledger.ReasonExpired, func(tx *ledger.Transaction) { tx.Expiry = 7 }},
		{ledger.ReasonFee, func(tx *ledger.Transaction) { tx.Fee = 2 }},
		{ledger.ReasonNonceLow, func(tx *ledger.Transaction) { tx.Nonce = 9 }},
		{ledger.ReasonNonceHigh, func(tx *ledger.Transaction) { tx.Nonce = 14 }},
		{ledger.ReasonOverflow, func(tx *ledger.Transaction) { tx.Amount = math.MaxUint64 }},
		{ledger.ReasonBalance, func(tx *ledger.Transaction) { tx.Fee = 100 }},
		{ledger.ReasonBalance, func(tx *ledger.Transaction) { tx.Fee = 50 }}, // after the one before
		{ledger.ReasonFull, func(tx *ledger.Transaction) { tx.Kind, tx.Payload = 1, make([]byte, 2000) }},
		{ledger.ReasonFee, func(tx *ledger.Transaction) { tx.Nonce, tx.Fee = 10, 53 }}, // replaces for too little
	} {
		tx := unsigned(1, 11, 4)
		tc.change(tx)
		requireReason(t, tc.want, m.Add(tx, acc, 7))
		require.Equal(t, 1, m.Len())
	}
	for n := range uint64(3) {
		require.NoError(t, m.Add(unsigned(1, 11+n, 4), acc, 7))
	}
	require.NoError(t, m.Add(unsigned(1, 10, 54), acc, 7), "10 % more replaces")
	require.Equal(t, 4, m.Len())
	require.Equal(t, []uint64{54, 4, 4, 4}, fees(m.Select(9, 9999, nil)))
}

func TestMempoolEviction(t *testing.T) {
	m := ledger.NewMempool(ledger.MempoolConfig{MaxCount: 4})
	for i, fee := range []uint64{10, 20, 30} {
		require.NoError(t, m.Add(unsigned(i, 0, fee), rich, 0))
	}
	// A dear transaction behind a cheap one is worth no more than that.
	require.NoError(t, m.Add(unsigned(0, 1, 1000), rich, 0))
	requireReason(t, ledger.ReasonFull, m.Add(unsigned(5, 0, 9), rich, 0))
	requireReason(t, ledger.ReasonFull, m.Add(unsigned(5, 0, 10), rich, 0), "the older stays")
	require.NoError(t, m.Add(unsigned(5, 0, 11), rich, 0))
	require.Equal(t, []uint64{30, 20, 11, 10}, fees(m.Select(9, 9999, nil)))
	// What is not ready goes before everything that is.
	m.Remove(unsigned(0, 0, 10).ID())
	require.NoError(t, m.Add(unsigned(6, 1, 5000), rich, 0))
	require.NoError(t, m.Add(unsigned(7, 0, 1), rich, 0))
	require.Equal(t, []uint64{30, 20, 11, 1}, fees(m.Select(9, 9999, nil)))
	require.Equal(t, 4, m.Len())
}

// TestMempoolUnpayable lets an account become poor: what it cannot pay for
// any more goes first, whatever it bids.
func TestMempoolUnpayable(t *testing.T) {
	m := ledger.NewMempool(ledger.MempoolConfig{MaxCount: 3})
	require.NoError(t, m.Add(unsigned(1, 0, 50), rich, 0))
	require.NoError(t, m.Add(unsigned(1, 1, 50), rich, 0))
	require.NoError(t, m.Add(unsigned(2, 0, 5), rich, 0))
	m.Committed(1, maps.All(map[ledger.Address]ledger.Account{unsigned(1, 0, 0).Sender(): {Balance: 60}}))
	require.NoError(t, m.Add(unsigned(3, 0, 1), rich, 0))
	require.Equal(t, []uint64{50, 5, 1}, fees(m.Select(9, 9999, nil)))
	require.Equal(t, 3, m.Len())
}

// TestMempoolRefusalRestores is about a large transaction that is worth more
// than some but not enough to get all the room it needs.
func TestMempoolRefusalRestores(t *testing.T) {
	size := unsigned(1, 0, 1).Size()
	m := ledger.NewMempool(ledger.MempoolConfig{MaxBytes: 4*size + size/2})
	for i, fee := range []uint64{10, 100, 100, 100} {
		require.NoError(t, m.Add(unsigned(i, 0, fee), rich, 0))
	}
	big := unsigned(9, 0, 80)
	big.Kind, big.Payload = 1, make([]byte, 2*size)
	requireReason(t, ledger.ReasonFull, m.Add(big, rich, 0))
	require.Equal(t, []uint64{100, 100, 100, 10}, fees(m.Select(9, 1<<20, nil)))
	require.Equal(t, 4*size, m.Bytes())
}

func TestMempoolCommitted(t *testing.T) {
	m := ledger.NewMempool(ledger.MempoolConfig{})
	for n := range uint64(4) {
		require.NoError(t, m.Add(unsigned(1, n, 10), rich, 0))
		tx := unsigned(2, n, 20)
		tx.Expiry = shardkit.Height(5 + n)
		require.NoError(t, m.Add(tx, rich, 0))
	}
	m.Committed(5, maps.All(map[ledger.Address]ledger.Account{
		unsigned(1, 0, 0).Sender(): {Nonce: 2, Balance: 15},
		unsigned(8, 0, 0).Sender(): {Nonce: 2, Balance: 15},
	}))
	// Of 1, two are used and one can be paid for; of 2, the first has expired
	// and the others wait for it.
	require.Equal(t, 5, m.Len())
	require.Equal(t, []uint64{10}, fees(m.Select(9, 9999, nil)))
	require.False(t, m.Has(unsigned(1, 1, 10).ID()))
	require.True(t, m.Has(unsigned(1, 2, 10).ID()))
	m.Committed(8, func(func(ledger.Address, ledger.Account) bool) {})
	require.Equal(t, 2, m.Len())
	require.Equal(t, 2*unsigned(1, 0, 0).Size(), m.Bytes())
	require.NotNil(t, m.Get(unsigned(1, 2, 10).ID()))
	require.Nil(t, m.Get(unsigned(1, 1, 10).ID()))
}

// TestMempoolReplacement: both the fee and what it is per byte must rise.
func TestMempoolReplacement(t *testing.T) {
	m := ledger.NewMempool(ledger.MempoolConfig{Bump: 25})
	require.NoError(t, m.Add(unsigned(1, 0, 100), rich, 0))
	require.NoError(t, m.Add(unsigned(1, 1, 7), rich, 0))
	requireReason(t, ledger.ReasonFee, m.Add(unsigned(1, 0, 124), rich, 0))
	long := unsigned(1, 0, 130)
	long.Memo = make([]byte, 128)
	requireReason(t, ledger.ReasonFee, m.Add(long, rich, 0))
	require.NoError(t, m.Add(unsigned(1, 0, 125), rich, 0))
	require.Equal(t, []uint64{125, 7}, fees(m.Select(9, 9999, nil)))
	require.False(t, m.Has(unsigned(1, 0, 100).ID()))
	require.Equal(t, 2*unsigned(1, 0, 0).Size(), m.Bytes())

	// In a full pool too, and when it is itself the cheapest.
	m = ledger.NewMempool(ledger.MempoolConfig{MaxCount: 2})
	require.NoError(t, m.Add(unsigned(1, 0, 10), rich, 0))
	require.NoError(t, m.Add(unsigned(2, 0, 50), rich, 0))
	require.NoError(t, m.Add(unsigned(1, 0, 11), rich, 0))
	require.Equal(t, []uint64{50, 11}, fees(m.Select(9, 9999, nil)))
}

// TestMempoolAccountMoves gives Add an account that is further, or further
// back, than the pool knew.
func TestMempoolAccountMoves(t *testing.T) {
	m := ledger.NewMempool(ledger.MempoolConfig{PerSender: 4})
	at := func(nonce uint64) ledger.Account { return ledger.Account{Nonce: nonce, Balance: 1000} }
	for n := range uint64(4) {
		require.NoError(t, m.Add(unsigned(1, n, 10+n), at(0), 5))
	}
	require.NoError(t, m.Add(unsigned(1, 4, 14), at(2), 5))
	require.Equal(t, 3, m.Len(), "two are used")
	require.Equal(t, []uint64{12, 13, 14}, fees(m.Select(9, 9999, nil)))
	require.NoError(t, m.Add(unsigned(1, 5, 15), at(2), 5))
	// A block was taken back: the window begins earlier, the queue is full.
	requireReason(t, ledger.ReasonSender, m.Add(unsigned(1, 1, 99), at(1), 5))
	require.Empty(t, m.Select(9, 9999, nil), "they wait for the nonce again")
	require.Equal(t, 4, m.Len())
	m.Committed(6, maps.All(map[ledger.Address]ledger.Account{unsigned(1, 0, 0).Sender(): at(3)}))
	require.Equal(t, []uint64{13, 14, 15}, fees(m.Select(9, 9999, nil)))
	// The height never goes back.
	old := unsigned(2, 0, 9)
	old.Expiry = 6
	requireReason(t, ledger.ReasonExpired, m.Add(old, rich, 2))
}

// TestMempoolMisses: a block that is nearly full is not worth a walk through
// everything that does not fit.
func TestMempoolMisses(t *testing.T) {
	size := unsigned(0, 0, 0).Size()
	for large, want := range map[int]int{60: 1, 64: 0, 90: 0} {
		m := ledger.NewMempool(ledger.MempoolConfig{})
		for i := range large {
			tx := unsigned(i, 0, 1000)
			tx.Memo = make([]byte, 100)
			require.NoError(t, m.Add(tx, rich, 0))
		}
		require.NoError(t, m.Add(unsigned(large, 0, 1), rich, 0))
		require.Len(t, m.Select(9, size, nil), want, "%d that do not fit", large)
	}
}

// TestMempoolOverload offers as much as blocks can hold, twice, and four times
// as much. The pool is full then, but blocks are as well, of dearer ones the
// more there is to choose from, and every transaction is accounted for.
func TestMempoolOverload(t *testing.T) {
	const capacity, blocks = 100, 30
	var last uint64
	for _, load := range []int{1, 2, 4} {
		rng := rand.New(rand.NewPCG(uint64(load), 8))
		m := ledger.NewMempool(ledger.MempoolConfig{MaxCount: 5 * capacity})
		accounts := map[ledger.Address]ledger.Account{}
		var included, offered, gone int
		var paid uint64
		for height := range shardkit.Height(blocks) {
			for range load * capacity {
				tx := unsigned(rng.IntN(10*capacity), 0, 1+rng.Uint64N(1<<20))
				acc := ledger.Account{Nonce: accounts[tx.Sender()].Nonce, Balance: rich.Balance}
				tx.Nonce = acc.Nonce + rng.Uint64N(2)
				before := m.Len()
				err := m.Add(tx, acc, height) // refused, or it replaces one, or pushes one out
				if err != nil && m.Len() != before || m.Len() > 5*capacity {
					t.Fatalf("holds %d after %d: %v", m.Len(), before, err)
				}
				offered++
				gone += before + 1 - m.Len()
			}
			touched := map[ledger.Address]ledger.Account{}
			picked := m.Select(capacity, 1<<20, nil)
			for _, tx := range picked {
				acc := ledger.Account{Nonce: tx.Nonce + 1, Balance: rich.Balance}
				touched[tx.Sender()], accounts[tx.Sender()] = acc, acc
				paid += tx.Fee
			}
			m.Committed(height+1, maps.All(touched))
			included += len(picked)
			if load > 1 && height > 5 {
				require.Len(t, picked, capacity, "load %d, height %d", load, height)
			}
		}
		require.Equal(t, offered, included+gone+m.Len(), "load %d", load)
		require.Greater(t, paid/uint64(included), last, "load %d", load)
		last = paid / uint64(included)
	}
}
