package estake_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/shardkit/shardkit/estake"
	"github.com/stretchr/testify/require"
)

// slowCost tries every number of seats and every bid, in real elections.
func slowCost(bids []uint64, p estake.Params, top uint64) (best uint64) {
	for k := 1; k <= p.Slots; k++ {
		for b := uint64(1); b <= top && (best == 0 || uint64(k)*b < best); b++ {
			list := append([]uint64(nil), bids...)
			for range k {
				list = append(list, b)
			}
			elected, med := estake.Curve(list, p)
			// With ties in its favour all of the attacker's have won if enough
			// seats hold at most, and not less than, its bid.
			n := 0
			for _, x := range elected {
				if x.Bid >= b {
					n++
				}
			}
			above := 0
			for _, x := range bids {
				if x > b {
					above++
				}
			}
			if n-above < k {
				continue
			}
			eff, total := p.Effective(b, med), uint64(0)
			for _, x := range elected {
				total += x.Effective
			}
			if 3*uint64(k)*eff >= total {
				best = uint64(k) * b
			}
		}
	}
	return best
}

func TestCostOfAttackAgainstTrying(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		p := estake.DefaultParams(2 + r.IntN(12))
		p.Floor = estake.Floor(r.IntN(2))
		p.BoundPPM = uint32(r.IntN(400_000))
		if r.IntN(3) == 0 {
			p.MinBidPPM = uint32(r.IntN(900_000))
		}
		bids := make([]uint64, 1+r.IntN(14))
		for i := range bids {
			bids[i] = 1 + r.Uint64N(60)
		}
		want := slowCost(bids, p, 300)
		got, ok := estake.CostOfAttack(bids, p)
		require.Equal(t, want > 0, ok)
		// Bids this small do not grow smoothly.
		require.GreaterOrEqual(t, got.Stake, want, "%v %+v: %+v", bids, p, got)
		require.LessOrEqual(t, got.Stake, want+want/8+uint64(got.Seats), "%v %+v: %+v", bids, p, got)
		if ok {
			require.GreaterOrEqual(t, 3*got.Effective, got.TotalEffective)
		}
	}
}

// A network of 100 seats in which 60 bidders hold 960,000 tokens and the other
// seats can be had for a token: lifting low bids sells a third of the votes
// for 36 tokens.
func ExampleCostOfAttack() {
	bids := make([]uint64, 60)
	for i := range bids {
		bids[i] = 16_000
	}
	p := estake.DefaultParams(100)
	show := func(name string) {
		c, ok := estake.CostOfAttack(bids, p)
		fmt.Println(name, ok, c.Seats, c.Stake)
	}
	show("lifted:")
	p.Floor = estake.FloorOff
	show("not lifted:")
	p.Floor, p.MinBidPPM = estake.FloorLift, 500_000
	show("lifted from half the median:")
	// Output:
	// lifted: true 36 36
	// not lifted: true 30 480000
	// lifted from half the median: true 36 288000
}

func TestCurve(t *testing.T) {
	p := estake.DefaultParams(4)
	seats, median := estake.Curve([]uint64{5, 100, 90, 110, 200, 0}, p)
	require.EqualValues(t, 105, median)
	require.Equal(t, []estake.Point{{Bid: 200, Effective: 120}, {Bid: 110, Effective: 110}, {Bid: 100, Effective: 100}, {Bid: 90, Effective: 90}}, seats)
	seats, _ = estake.Curve(nil, p)
	require.Empty(t, seats)
}
