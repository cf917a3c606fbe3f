package estake

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"sort"

	"github.com/shardkit/shardkit"
)

// Elected is a slot with its effective stake.
type Elected struct {
	Slot      Slot
	Bid       uint64 // stake per slot
	Effective uint64 // what it votes and earns with
}

// Election is the outcome of an election.
type Election struct {
	Elected    []Elected // by bid, highest first; equal bids by slot id
	Median     uint64    // of the bids elected
	Total      uint64    // sum of the effective stakes
	Candidates int       // slots that bid
}

// candidate is a slot that bids.
type candidate struct {
	bid       uint64
	id        shardkit.Hash // once identified
	validator [32]byte
	index     uint32
	absent    uint64
}

// identify fills in the ids, which decide between equal bids.
func identify(cands []candidate) []candidate {
	for i := range cands {
		cands[i].id = SlotID(cands[i].validator, cands[i].index)
	}
	return cands
}

// rank orders candidates: a total order, so that every node elects the same.
func rank(a, b candidate) int {
	if c := cmp.Compare(b.bid, a.bid); c != 0 {
		return c
	}
	return bytes.Compare(a.id[:], b.id[:])
}

// Elect fills the seats from the bids as they stand. It changes nothing.
//
// A validator bids the same for each of its active slots: its stake, own and
// delegated, divided by their number. The highest bids win. If fewer than
// MinSlots seats are filled the error is ErrTooFew, and the chain keeps the
// committee it has.
func Elect(s State, p Params) (*Election, error) {
	cands, err := bids(s, p)
	if err != nil {
		return nil, err
	}
	e := &Election{Candidates: len(cands)}
	// Most bids are far from winning: those need no id and no rank.
	won := winners(identify(shortlist(cands, p)), p)
	if len(won) < max(p.MinSlots, 1) {
		return nil, refuse(ErrTooFew, "%d, want %d", len(won), max(p.MinSlots, 1))
	}
	e.Median = median(won)
	e.Elected = make([]Elected, len(won))
	for i, c := range won {
		slot, ok, err := loadSlot(s, c.id)
		if err != nil || !ok {
			return nil, damaged(err, keySlot, c.id)
		}
		eff := p.effective(c, e.Median)
		e.Elected[i] = Elected{slot, c.bid, eff}
		e.Total += eff
	}
	return e, nil
}

// ElectOr is Elect, but returns previous if too few seats are filled: a chain
// keeps its committee rather than go on without one. It reports whether the
// election is new.
func ElectOr(s State, p Params, previous *Election) (e *Election, fresh bool, err error) {
	e, err = Elect(s, p)
	if errors.Is(err, ErrTooFew) && previous != nil {
		return previous, false, nil
	}
	return e, err == nil, err
}

// shortlist leaves the candidates whose bid is at least that of the last who
// can win a seat. Candidates of one validator are next to each other.
func shortlist(cands []candidate, p Params) []candidate {
	bids := make([]uint64, 0, len(cands))
	run := 0
	for i, c := range cands {
		if run++; i > 0 && cands[i-1].validator != c.validator {
			run = 1
		}
		if p.SlotsPerValidator == 0 || run <= p.SlotsPerValidator {
			bids = append(bids, c.bid)
		}
	}
	if len(bids) <= p.Slots {
		return cands
	}
	slices.Sort(bids)
	last := bids[len(bids)-p.Slots]
	return slices.DeleteFunc(cands, func(c candidate) bool { return c.bid < last })
}

// bids lists what every validator bids, validator by validator.
func bids(s State, p Params) ([]candidate, error) {
	g, err := loadGlobals(s)
	if err != nil {
		return nil, err
	}
	cands := make([]candidate, 0, min(g.Validators, 1<<20))
	for i := range g.Validators {
		v, err := at(s, i)
		if err != nil {
			return nil, err
		}
		cands = v.bid(cands, p)
	}
	return cands, nil
}

// bid appends the validator's candidates.
func (v *validator) bid(cands []candidate, p Params) []candidate {
	n := v.active()
	if v.Status != StatusActive || v.Self < p.MinSelf || n == 0 {
		return cands
	}
	bid := v.tokens() / n
	if bid < max(p.MinBid, 1) {
		return cands
	}
	for _, slot := range v.Slots {
		if slot.Status == SlotActive {
			cands = append(cands, candidate{bid: bid, validator: v.Address, index: slot.Index, absent: slot.Absent})
		}
	}
	return cands
}

// winners ranks the candidates, in place, and returns those who get a seat.
func winners(cands []candidate, p Params) []candidate {
	slices.SortFunc(cands, rank)
	if p.SlotsPerValidator > 0 {
		cands = capped(cands, p.SlotsPerValidator)
	}
	won := cands[:min(len(cands), p.Slots)]
	// Refusing low bids raises the median, which may make more bids low: go on
	// until nothing changes. Each round drops at least one.
	for p.MinBidPPM > 0 && len(won) > 0 {
		least := mulDiv(median(won), uint64(p.MinBidPPM), PPM)
		n := sort.Search(len(won), func(i int) bool { return won[i].bid < least })
		if n == len(won) {
			break
		}
		won = won[:n]
	}
	return won
}

// capped leaves each validator its first limit candidates.
func capped(cands []candidate, limit int) []candidate {
	taken := make(map[[32]byte]int)
	return slices.DeleteFunc(cands, func(c candidate) bool {
		taken[c.validator]++
		return taken[c.validator] > limit
	})
}

// median of ranked bids; of an even number the mean of the two in the middle,
// rounded down.
func median(ranked []candidate) uint64 {
	n := len(ranked)
	a, b := ranked[(n-1)/2].bid, ranked[n/2].bid
	return b + (a-b)/2
}

// Effective returns the effective stake of a bid: the bid, but not more than
// (1+c)·median and, if the floor is lifted, not less than (1−c)·median.
func (p Params) Effective(bid, median uint64) uint64 {
	c := mulDiv(median, uint64(p.BoundPPM), PPM)
	eff := min(bid, median+c)
	if p.Floor == FloorLift {
		eff = max(eff, median-c)
	}
	return eff
}

// effective is Effective with the price of absence.
func (p Params) effective(c candidate, median uint64) uint64 {
	return mulDiv(p.Effective(c.bid, median), uint64(p.Power(c.absent)), PPM)
}

// VotePrice returns what one voting share costs: the effective stake of all
// elected slots over shards·lambda shares. It is rounded up, so that there are
// never more than shards·lambda shares; it is at least 1.
func VotePrice(total uint64, shards uint32, lambda uint64) uint64 {
	n, ok := mulDivOK(uint64(shards), lambda, 1)
	if !ok || n >= total {
		return 1
	}
	return (total-1)/max(n, 1) + 1
}

// Shares returns the voting shares of an effective stake; the remainder has
// no vote.
func Shares(effective, price uint64) uint64 { return effective / max(price, 1) }

// LargestRemainder divides exactly n shares among stakes: first the whole
// shares, then one more each to the largest remainders, equal ones in order
// of position. Unlike ⌊stake/price⌋ it leaves no share out.
func LargestRemainder(stakes []uint64, n uint64) []uint64 {
	out := make([]uint64, len(stakes))
	total := uint64(0)
	for _, s := range stakes {
		total += s
	}
	if total == 0 {
		return out
	}
	type rest struct {
		i   int
		rem uint64
	}
	rests := make([]rest, len(stakes))
	left := n
	for i, s := range stakes {
		var rem uint64
		out[i], rem = quoRem(s, n, total)
		left -= out[i]
		rests[i] = rest{i, rem}
	}
	slices.SortStableFunc(rests, func(a, b rest) int { return cmp.Compare(b.rem, a.rem) })
	for _, r := range rests[:left] {
		out[r.i]++
	}
	return out
}
