package ledger_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
)

func TestUnits(t *testing.T) {
	u := ledger.Units{Gas: 1000}
	tx := unsigned(1, 0, 30)
	require.Equal(t, uint64(1), u.Of(tx))
	tx.Memo = make([]byte, 128)
	require.Equal(t, uint64(2), u.Of(tx))
	tx.Kind, tx.Gas = 1, 1001
	require.Equal(t, uint64(4), u.Of(tx))
	require.Equal(t, uint64(7), u.Bid(tx))
	require.Equal(t, uint64(2), ledger.Units{}.Of(tx), "gas is not counted")
}

func TestBaseFeeMoves(t *testing.T) {
	m := ledger.BaseFee{Target: 4, Min: 100}
	s := newMapKV()
	ctx := &ledger.Context{}
	base := func() uint64 {
		b, err := m.Base(s)
		require.NoError(t, err)
		return b
	}
	after := func(n int) uint64 {
		txs := make([]*ledger.Transaction, n)
		for i := range txs {
			txs[i] = unsigned(i, 0, 1000)
		}
		require.NoError(t, m.Close(ctx, s, txs))
		return base()
	}
	require.Equal(t, uint64(100), base())
	require.Equal(t, uint64(100), after(4), "on target")
	require.Equal(t, uint64(112), after(8), "an eighth up")
	require.Equal(t, uint64(119), after(6), "half of that")
	require.Equal(t, uint64(105), after(0), "an eighth down")
	require.Equal(t, uint64(100), after(0), "not below the least")
	require.Equal(t, uint64(103), after(5))
	m.Min = 1
	for range 100 {
		after(0)
	}
	require.Equal(t, uint64(7), base(), "where an eighth is nothing")
	require.Equal(t, uint64(8), after(5), "one at least")
	s.m["f/base"] = bytes.Repeat([]byte{0xff}, 8)
	require.Equal(t, uint64(math.MaxUint64), after(5), "no higher than a number can be")
	s.m["f/base"] = binary.BigEndian.AppendUint64(nil, math.MaxUint64-9)
	require.Equal(t, uint64(math.MaxUint64), after(1000))
	s.m["f/base"] = []byte{1}
	_, err := m.Base(s)
	require.ErrorAs(t, err, new(*ledger.DamageError))
}

func TestBaseFeePrice(t *testing.T) {
	m := ledger.BaseFee{Target: 2, Min: 10}
	s := newMapKV()
	ctx := &ledger.Context{}
	all := []*ledger.Transaction{
		unsigned(1, 0, 9), unsigned(1, 1, 50), // the second waits for the first
		unsigned(2, 0, 10), unsigned(3, 0, 11), unsigned(4, 0, 12), unsigned(5, 0, 13), unsigned(6, 0, 14),
	}
	chosen, err := m.Choose(ctx, s, all)
	require.NoError(t, err)
	require.Equal(t, []uint64{10, 11, 12, 13}, fees(chosen))
	pay, err := m.Price(ctx, s, chosen)
	require.NoError(t, err)
	require.Equal(t, uint64(10), pay(chosen[3]))
	_, err = m.Price(ctx, s, all[:1])
	requireReason(t, ledger.ReasonFee, err)
	_, err = m.Price(ctx, s, all[2:])
	requireReason(t, ledger.ReasonSpace, err)
}

// TestMonopolistBest compares with trying every price.
func TestMonopolistBest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		m := ledger.Monopolist{Reserve: rng.Uint64N(4)}
		var txs []*ledger.Transaction
		for i := range rng.IntN(12) {
			tx := unsigned(i, 0, rng.Uint64N(20))
			tx.Memo = make([]byte, 100*rng.IntN(2))
			txs = append(txs, tx)
		}
		var want uint64
		for price := m.Reserve; price < 20; price++ {
			var units uint64
			for _, tx := range txs {
				if m.Units.Bid(tx) >= price {
					units += m.Units.Of(tx)
				}
			}
			want = max(want, price*units)
		}
		chosen, err := m.Choose(nil, nil, txs)
		require.NoError(t, err)
		pay, err := m.Price(nil, nil, chosen)
		require.NoError(t, err)
		var got uint64
		for _, tx := range chosen {
			require.LessOrEqual(t, pay(tx), tx.Fee)
			got += pay(tx)
		}
		require.Equal(t, want, got)
	}
	_, err := ledger.Monopolist{Reserve: 5}.Price(nil, nil, []*ledger.Transaction{unsigned(1, 0, 4)})
	requireReason(t, ledger.ReasonFee, err)
}

// TestMonopolistTie: of prices that bring the same, the one that more can pay.
func TestMonopolistTie(t *testing.T) {
	txs := []*ledger.Transaction{unsigned(1, 0, 6), unsigned(2, 0, 3), unsigned(3, 0, 2)}
	chosen, err := ledger.Monopolist{}.Choose(nil, nil, txs)
	require.NoError(t, err)
	require.Len(t, chosen, 3)
}

// greedy is a market that asks more than was bid.
type greedy struct{ ledger.Monopolist }

func (greedy) Price(*ledger.Context, ledger.KV, []*ledger.Transaction) (func(*ledger.Transaction) uint64, error) {
	return func(tx *ledger.Transaction) uint64 { return tx.Fee + 100 }, nil
}

// TestMarketNeverAboveBid: a sender pays no more than it signed for, whatever a
// market says.
func TestMarketNeverAboveBid(t *testing.T) {
	s := newMapKV()
	fund(t, s, addressOf(key(1)), 1000)
	txs := []ledger.Transaction{*transfer(key(1), 0, addressOf(key(2)), 10, 5)}
	fees, err := ledger.ExecuteBlock(&ledger.Context{Chain: testChain, Market: greedy{}}, s, txs, ledger.Transfer{}, outbox(0, 1))
	require.NoError(t, err)
	require.Equal(t, uint64(5), fees)
	require.Equal(t, uint64(985), balance(t, s, addressOf(key(1))))
}

// TestRandomHalvesTruthful changes the bid of one winner while the others stay
// as they are: it does not change what that one pays.
func TestRandomHalvesTruthful(t *testing.T) {
	m := ledger.RandomHalves{Reserve: 1}
	rng := rand.New(rand.NewPCG(1, 1))
	compared := 0
	for round := range 200 {
		ctx := &ledger.Context{Seed: shardkit.Hash{byte(round)}}
		var txs []*ledger.Transaction
		for i := range 1 + rng.IntN(30) {
			txs = append(txs, unsigned(i, 0, 1+rng.Uint64N(100)))
		}
		chosen, err := m.Choose(ctx, nil, txs)
		require.NoError(t, err)
		pay, err := m.Price(ctx, nil, chosen)
		require.NoError(t, err)
		for i, tx := range chosen {
			require.LessOrEqual(t, pay(tx), tx.Fee)
			other := append(chosen[:0:0], chosen...)
			other[i] = unsigned(int(tx.From[0]), 0, pay(tx)+rng.Uint64N(100))
			if again, err := m.Price(ctx, nil, other); err == nil {
				require.Equal(t, pay(tx), again(other[i]))
				compared++
			}
		}
	}
	require.Greater(t, compared, 500)
}

// TestRandomHalvesEnds gives bids that lose one by one.
func TestRandomHalvesEnds(t *testing.T) {
	m := ledger.RandomHalves{Reserve: 3}
	rng := rand.New(rand.NewPCG(5, 5))
	for round := range 100 {
		ctx := &ledger.Context{Seed: shardkit.Hash{byte(round)}}
		var txs []*ledger.Transaction
		bid := uint64(1)
		for i := range 200 {
			txs = append(txs, unsigned(i%150, uint64(i/150), bid))
			bid += bid*rng.Uint64N(30)/100 + rng.Uint64N(2)
		}
		chosen, err := m.Choose(ctx, nil, txs)
		require.NoError(t, err)
		_, err = m.Price(ctx, nil, chosen)
		require.NoError(t, err)
	}
}

// TestMarkets builds blocks under every market out of random candidates, many
// of which depend on each other, and executes them again: same fees, same
// state, and no value made or lost.
func TestMarkets(t *testing.T) {
	for _, market := range []ledger.FeeMarket{
		nil, ledger.BaseFee{Target: 10}, ledger.Monopolist{Reserve: 1}, ledger.RandomHalves{},
	} {
		t.Run(fmt.Sprintf("%T", market), func(t *testing.T) {
			taken, empty := 0, 0
			for seed := range uint64(150) {
				rng := rand.New(rand.NewPCG(seed, 3))
				start := newMapKV()
				var candidates []*ledger.Transaction
				nonces := make([]uint64, 12)
				for range rng.IntN(60) {
					from := rng.IntN(len(nonces))
					tx := unsigned(from, nonces[from], 1+rng.Uint64N(50))
					tx.To = unsigned(rng.IntN(len(nonces)), 0, 0).Sender()
					tx.Amount = rng.Uint64N(60)
					nonces[from]++
					if from < 6 {
						fund(t, start, tx.Sender(), 200) // the others live on what they get
					}
					candidates = append(candidates, tx)
				}
				ctx := &ledger.Context{Chain: testChain, Market: market, Seed: shardkit.Hash{byte(seed)}}
				before := start.supply(t)
				built := start.clone()
				p, err := ledger.Pick(ctx, built, candidates, ledger.Transfer{}, outbox(0, 1), ledger.Limits{})
				require.NoError(t, err)
				again := start.clone()
				fees, err := ledger.ExecuteBlock(ctx, again, p.Taken, ledger.Transfer{}, outbox(0, 1))
				require.NoError(t, err)
				require.Equal(t, p.Fees, fees)
				require.Equal(t, built.m, again.m)
				require.Equal(t, before, again.supply(t)+fees)
				taken += len(p.Taken)
				if len(p.Taken) == 0 && len(candidates) > 10 {
					empty++
				}
			}
			require.Greater(t, taken, 300)
			require.Less(t, empty, 10, "blocks that found no choice")
		})
	}
}
