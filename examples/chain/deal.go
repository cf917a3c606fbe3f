package chain

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/reshard"
)

// Election is the outcome of an epoch's election, priced in shares.
type Election struct {
	Elected []estake.Elected
	Price   uint64   // effective stake per voting share
	Shares  []uint64 // of each of Elected
}

// price prices the elected slots: P = total effective stake / (shards · λ),
// shares = ⌊effective / P⌋. A slot below one share gets none and no seat.
func price(e *estake.Election, p *Params) *Election {
	out := &Election{Elected: e.Elected, Price: estake.VotePrice(e.Total, p.Shards, p.Stake.Lambda)}
	for i := range e.Elected {
		out.Shares = append(out.Shares, estake.Shares(e.Elected[i].Effective, out.Price))
	}
	return out
}

// deal gives every elected slot its places: the policy moves units between
// the shards of the committees before.
func deal(e *Election, before *Committees, p *Params, epoch shardkit.Epoch, rnd shardkit.Hash) (*Committees, []reshard.Move, error) {
	policy, err := reshard.ParsePolicy(p.Policy)
	if err != nil {
		return nil, nil, err
	}
	prev := reshard.Assignment{Shards: make([][]reshard.Unit, p.Shards)}
	if before != nil {
		prev = unitsOf(before, p.Deal)
	}
	var units []reshard.Unit
	slots := make(map[shardkit.Hash]*estake.Slot, len(e.Elected))
	for i := range e.Elected {
		s := &e.Elected[i].Slot
		slots[s.ID] = s
		if e.Shares[i] > 0 {
			units = append(units, reshard.Unit{Slot: s.ID, Weight: e.Shares[i], Owner: s.Validator})
		}
	}
	if p.Deal == DealShares {
		if units, err = reshard.Shares(prev, units, rnd); err != nil {
			return nil, nil, fmt.Errorf("chain: dealing epoch %d: %w", epoch, err)
		}
	}
	next, moves, err := policy.Assign(prev, units, int(p.Shards), rnd)
	if err != nil {
		return nil, nil, fmt.Errorf("chain: dealing epoch %d: %w", epoch, err)
	}
	out := &Committees{Epoch: epoch, Shards: make([][]Seat, p.Shards)}
	for i, units := range next.Shards {
		out.Shards[i] = seatsOf(units, slots)
	}
	return out, moves, nil
}

// unitsOf is the assignment that committees came from. Single shares of a
// slot are alike, so they are numbered anew: over the shards in order.
func unitsOf(c *Committees, mode uint8) reshard.Assignment {
	a := reshard.Assignment{Shards: make([][]reshard.Unit, len(c.Shards))}
	dealt := make(map[shardkit.Hash]uint32)
	for i, seats := range c.Shards {
		for _, s := range seats {
			if mode == DealSlots {
				a.Shards[i] = append(a.Shards[i], reshard.Unit{Slot: s.Slot, Weight: s.Weight})
				continue
			}
			for range s.Weight {
				a.Shards[i] = append(a.Shards[i], reshard.Unit{Slot: s.Slot, Share: dealt[s.Slot], Weight: 1})
				dealt[s.Slot]++
			}
		}
	}
	return a
}

// seatsOf adds up the units of each slot and returns the seats in order of
// slot.
func seatsOf(units []reshard.Unit, slots map[shardkit.Hash]*estake.Slot) []Seat {
	units = slices.Clone(units)
	slices.SortFunc(units, func(a, b reshard.Unit) int { return bytes.Compare(a.Slot[:], b.Slot[:]) })
	var seats []Seat
	for _, u := range units {
		if n := len(seats); n > 0 && seats[n-1].Slot == u.Slot {
			seats[n-1].Weight += u.Weight
			continue
		}
		s := slots[u.Slot]
		seats = append(seats, Seat{Slot: u.Slot, Node: s.Node, VotingKey: s.VotingKey, VRFKey: s.VRFKey, Weight: u.Weight})
	}
	return seats
}
