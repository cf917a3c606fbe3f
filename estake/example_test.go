package estake_test

import (
	"fmt"

	"github.com/shardkit/shardkit/estake"
)

// Three validators bid for four seats; the votes of two shards of 600 shares
// are sold; an epoch is paid.
func Example() {
	s, p := memory{}, estake.DefaultParams(4)
	estake.Init(s, p, []estake.Genesis{
		{Validator: account(1), Stake: 2000, Slots: []estake.Slot{slotKeys(1, 0), slotKeys(1, 1)}},
		{Validator: account(2), Stake: 5000, Slots: []estake.Slot{slotKeys(2, 0)}},
		{Validator: account(3), Stake: 900, Slots: []estake.Slot{slotKeys(3, 0)}},
	})
	e, _ := estake.Elect(s, p)
	price := estake.VotePrice(e.Total, 2, p.Lambda)
	fmt.Println("median", e.Median, "total", e.Total, "price", price)
	block := estake.Attendance{Height: 1, Time: 1_700_000_000_000}
	for _, x := range e.Elected {
		fmt.Println("bid", x.Bid, "counts as", x.Effective, "shares", estake.Shares(x.Effective, price))
		block.Seats = append(block.Seats, estake.Seat{Slot: x.Slot.ID, Weight: x.Effective, Signed: true})
	}
	estake.RecordSigned(s, p, block)
	paid, _ := estake.EndEpoch(s, p, 0, 100, 5)
	total, _ := estake.TotalTokens(s)
	fmt.Println("paid", paid, "held", total)
	// Output:
	// median 1000 total 4050 price 4
	// bid 5000 counts as 1150 shares 287
	// bid 1000 counts as 1000 shares 250
	// bid 1000 counts as 1000 shares 250
	// bid 900 counts as 900 shares 225
	// paid 105 held 8005
}
