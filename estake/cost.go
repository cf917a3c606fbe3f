package estake

import (
	"slices"
	"sort"
)

// Point is a bid and what it counts as.
type Point struct{ Bid, Effective uint64 }

// Curve returns the seats that bids win and their effective stakes, the
// highest first: the curve of actual against effective stake.
func Curve(bids []uint64, p Params) (seats []Point, median uint64) {
	m := newMarket(bids, p)
	f, ok := m.fill(0, 0)
	if !ok {
		return nil, 0
	}
	for _, b := range m.bids[:f.honest] {
		seats = append(seats, Point{b, p.Effective(b, f.median)})
	}
	return seats, f.median
}

// AttackCost is the cheapest way to a third found.
type AttackCost struct {
	Seats  int    // won by the attacker
	Bid    uint64 // for each
	Stake  uint64 // Seats·Bid: what has to be bonded
	Honest uint64 // stake of the honest bids that still win a seat
	// Effective of TotalEffective is at least a third.
	Effective, TotalEffective uint64
}

// CostOfAttack returns the least stake with which a newcomer gets a third of
// the effective stake, and so can stop the network, if the others bid as they
// do: bids are one per slot.
//
// It tries every number of seats with the least equal bids that suffice, and
// grants the attacker every tie. Bounding effective stake protects the small
// bidders against the large ones; where seats are cheap the same bounds sell
// a third for less than a third of the stake, and this says for how much.
func CostOfAttack(bids []uint64, p Params) (AttackCost, bool) {
	m := newMarket(bids, p)
	var best AttackCost
	for k := 1; k <= p.Slots; k++ {
		b, ok := m.leastBid(k, best.Stake)
		if !ok {
			continue
		}
		f, _ := m.fill(k, b)
		if stake := uint64(k) * b; best.Seats == 0 || stake < best.Stake {
			best = AttackCost{k, b, stake, m.sum[f.honest], uint64(k) * f.effective, f.total}
		}
	}
	return best, best.Seats > 0
}

// market is the honest bids in a form in which an election among them and k
// equal bids of an attacker takes a few binary searches.
type market struct {
	p    Params
	bids []uint64 // highest first
	sum  []uint64 // of the first i bids
}

func newMarket(bids []uint64, p Params) *market {
	m := &market{p: p, bids: slices.Clone(bids), sum: make([]uint64, 1, len(bids)+1)}
	m.bids = slices.DeleteFunc(m.bids, func(b uint64) bool { return b < max(p.MinBid, 1) || b > MaxTokens })
	slices.SortFunc(m.bids, func(a, b uint64) int {
		if a > b {
			return -1
		}
		if a < b {
			return 1
		}
		return 0
	})
	for _, b := range m.bids {
		m.sum = append(m.sum, min(m.sum[len(m.sum)-1]+b, 1<<62))
	}
	return m
}

// atLeast counts the bids of at least b among the first n.
func (m *market) atLeast(b uint64, n int) int {
	return sort.Search(n, func(i int) bool { return m.bids[i] < b })
}

// filled is an election: how many honest bids win, and what that makes.
type filled struct {
	honest    int
	median    uint64
	effective uint64 // of one seat of the attacker
	total     uint64
}

// fill holds an election with k bids of b added; false if they do not all win
// or nobody does.
func (m *market) fill(k int, b uint64) (filled, bool) {
	f := filled{honest: min(len(m.bids), m.p.Slots-k)}
	if k > 0 && (b < max(m.p.MinBid, 1) || f.honest < len(m.bids) && b < m.bids[f.honest]) {
		return f, false
	}
	for {
		if f.honest+k == 0 {
			return f, false
		}
		f.median = m.median(f.honest, k, b)
		least := mulDiv(f.median, uint64(m.p.MinBidPPM), PPM)
		if k > 0 && b < least {
			return f, false
		}
		n := m.atLeast(least, f.honest)
		if n == f.honest {
			break
		}
		f.honest = n
	}
	f.effective = m.p.Effective(b, f.median)
	f.total = uint64(k)*f.effective + m.effective(f.honest, f.median)
	return f, true
}

// median of the first n bids and k times b.
func (m *market) median(n, k int, b uint64) uint64 {
	above := m.atLeast(b, n)
	at := func(i int) uint64 {
		switch {
		case i < above:
			return m.bids[i]
		case i < above+k:
			return b
		}
		return m.bids[i-k]
	}
	hi, lo := at((n+k-1)/2), at((n+k)/2)
	return lo + (hi-lo)/2
}

// effective sums up the effective stakes of the first n bids.
func (m *market) effective(n int, median uint64) uint64 {
	c := mulDiv(median, uint64(m.p.BoundPPM), PPM)
	high := m.atLeast(median+c, n)
	sum := uint64(high) * (median + c)
	low := n
	if m.p.Floor == FloorLift {
		low = m.atLeast(median-c, n)
		sum += uint64(n-low) * (median - c)
	}
	return sum + m.sum[low] - m.sum[high]
}

// leastBid finds the least bid with which k seats have a third, if it costs
// less than limit (0: any).
func (m *market) leastBid(k int, limit uint64) (uint64, bool) {
	top := uint64(1)
	if len(m.bids) > 0 {
		top = min(4*m.bids[0], MaxTokens/uint64(k))
	}
	if limit > 0 {
		top = min(top, limit/uint64(k))
	}
	wins := func(b uint64) bool {
		f, ok := m.fill(k, b)
		return ok && 3*uint64(k)*f.effective >= f.total
	}
	// A bid that only just wins its seats may do, if low bids are lifted.
	// Above it a higher bid never makes less of a third, but for rounding.
	just := max(m.p.MinBid, 1)
	if n := max(m.p.Slots-k, 0); n < len(m.bids) {
		just = max(just, m.bids[n])
	}
	if just <= top && wins(just) {
		return just, true
	}
	if !wins(top) {
		return 0, false
	}
	lo, hi := uint64(0), top
	for hi-lo > 1 {
		if mid := lo + (hi-lo)/2; wins(mid) {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi, true
}
