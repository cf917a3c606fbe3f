package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// FeeMarket decides what the transactions of a block pay, as a function of the
// block and the state before it, so that every validator finds the same. The
// Fee of a transaction is its bid: it never pays more, and its sender must be
// able to pay that much. Without a market everybody pays the bid.
type FeeMarket interface {
	// Price fixes what transactions of a block pay. The error is a *BlockError
	// if the market does not allow the block: a bid too low, too many units.
	Price(ctx *Context, s KV, txs []*Transaction) (pay func(*Transaction) uint64, err error)
	// Choose returns those of the candidates that the proposer should include,
	// in their order. Price allows what it returns.
	Choose(ctx *Context, s KV, candidates []*Transaction) ([]*Transaction, error)
	// Close moves the market's own state on, after the block's transactions.
	Close(ctx *Context, s KV, txs []*Transaction) error
}

// Units measures transactions: prices are per unit. The smallest transfer is
// one.
type Units struct {
	Bytes int    // bytes of encoding in one unit. 0: 256
	Gas   uint64 // gas in one unit. 0: gas is not counted
}

// Of returns the units of a transaction, at least one.
func (u Units) Of(tx *Transaction) uint64 {
	size := u.Bytes
	if size <= 0 {
		size = 256
	}
	n := uint64((tx.Size() + size - 1) / size)
	if u.Gas > 0 && tx.Gas > 0 {
		n += (tx.Gas-1)/u.Gas + 1
	}
	return n
}

// Bid returns what a transaction offers for a unit.
func (u Units) Bid(tx *Transaction) uint64 { return tx.Fee / u.Of(tx) }

// sum returns the units of all transactions.
func (u Units) sum(txs []*Transaction) (n uint64) {
	for _, tx := range txs {
		n += u.Of(tx)
	}
	return n
}

// flat charges everybody the same price.
func (u Units) flat(price uint64) func(*Transaction) uint64 {
	return func(tx *Transaction) uint64 { return price * u.Of(tx) }
}

// reach returns for each candidate the highest price at which it can be
// included: its bid, or that of an earlier one of the same sender if that is
// lower, since it needs that one's nonce.
func (u Units) reach(candidates []*Transaction) []uint64 {
	out := make([]uint64, len(candidates))
	lowest := make(map[Address]uint64, len(candidates))
	for i, tx := range candidates {
		out[i] = u.Bid(tx)
		if low, ok := lowest[tx.Sender()]; ok {
			out[i] = min(out[i], low)
		}
		lowest[tx.Sender()] = out[i]
	}
	return out
}

// keep returns the candidates whose reach is at least the price.
func keep(candidates []*Transaction, reach []uint64, price uint64) []*Transaction {
	var out []*Transaction
	for i, tx := range candidates {
		if reach[i] >= price {
			out = append(out, tx)
		}
	}
	return out
}

// allow checks that every transaction bids what it has to pay.
func allow(txs []*Transaction, pay func(*Transaction) uint64) error {
	for i, tx := range txs {
		if p := pay(tx); p > tx.Fee {
			return &BlockError{Index: i, Err: tx.refuse(ReasonFee, "bids %d, pays %d", tx.Fee, p)}
		}
	}
	return nil
}

// BaseFee is the market of EIP-1559 [4]: all pay a base fee per unit, which
// rises after blocks above the target and falls after those below. A bid is
// the base fee a sender would still accept; there is no tip, the fees go to a
// pool in which the proposer has a share.
type BaseFee struct {
	Units       Units
	Target      uint64 // units of a block at which the base fee stays. 0: 10,000
	Elasticity  uint64 // most units of a block, in targets. 0: 2
	Denominator uint64 // the base fee moves by at most 1/Denominator per block. 0: 8
	Min         uint64 // least base fee. 0: 1
}

// baseFeeKey holds the base fee in the state.
var baseFeeKey = []byte("f/base")

func (m BaseFee) target() uint64 {
	if m.Target == 0 {
		return 10_000
	}
	return m.Target
}

// limit returns the most units of a block.
func (m BaseFee) limit() uint64 {
	if m.Elasticity == 0 {
		return 2 * m.target()
	}
	return m.Elasticity * m.target()
}

// Base returns the base fee for the next block on s.
func (m BaseFee) Base(s Reader) (uint64, error) {
	least := max(m.Min, 1)
	v, ok, err := s.Get(baseFeeKey)
	switch {
	case err != nil:
		return 0, err
	case !ok:
		return least, nil
	case len(v) != 8:
		return 0, &DamageError{What: "base fee", Err: fmt.Errorf("%d bytes", len(v))}
	}
	return max(binary.BigEndian.Uint64(v), least), nil
}

// Price implements FeeMarket.
func (m BaseFee) Price(_ *Context, s KV, txs []*Transaction) (func(*Transaction) uint64, error) {
	base, err := m.Base(s)
	if err != nil {
		return nil, err
	}
	var used uint64
	for i, tx := range txs {
		if used += m.Units.Of(tx); used > m.limit() {
			return nil, &BlockError{Index: i, Err: tx.refuse(ReasonSpace, "more than %d units", m.limit())}
		}
		if m.Units.Bid(tx) < base {
			return nil, &BlockError{Index: i, Err: tx.refuse(ReasonFee, "bids %d per unit, base fee is %d", m.Units.Bid(tx), base)}
		}
	}
	return m.Units.flat(base), nil
}

// Choose implements FeeMarket: all that bid the base fee, up to the limit.
func (m BaseFee) Choose(_ *Context, s KV, candidates []*Transaction) ([]*Transaction, error) {
	base, err := m.Base(s)
	if err != nil {
		return nil, err
	}
	left := m.limit()
	var out []*Transaction
	for _, tx := range keep(candidates, m.Units.reach(candidates), base) {
		n := m.Units.Of(tx)
		if n > left {
			break
		}
		left -= n
		out = append(out, tx)
	}
	return out, nil
}

// Close implements FeeMarket.
func (m BaseFee) Close(_ *Context, s KV, txs []*Transaction) error {
	base, err := m.Base(s)
	if err != nil {
		return err
	}
	return s.Set(baseFeeKey, binary.BigEndian.AppendUint64(nil, m.move(base, m.Units.sum(txs))))
}

// move returns the base fee after a block of used units.
func (m BaseFee) move(base, used uint64) uint64 {
	target, den := m.target(), m.Denominator
	if den == 0 {
		den = 8
	}
	if used >= target {
		step := mulDiv(base, used-target, target) / den
		if used > target {
			step = max(step, 1)
		}
		if base > math.MaxUint64-step {
			return math.MaxUint64
		}
		return base + step
	}
	return max(base-mulDiv(base, target-used, target)/den, m.Min, 1)
}

// mulDiv returns a·b/c, or the largest number if that overflows.
func mulDiv(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	if hi >= c {
		return math.MaxUint64
	}
	q, _ := bits.Div64(hi, lo, c)
	return q
}

// Monopolist is the monopolistic price [5]: all pay, per unit, the lowest bid
// that is included, and the proposer includes as many as bring the most. A
// sender has next to nothing to gain from bidding less than it would pay.
type Monopolist struct {
	Units   Units
	Reserve uint64 // least price
}

// Price implements FeeMarket.
func (m Monopolist) Price(_ *Context, _ KV, txs []*Transaction) (func(*Transaction) uint64, error) {
	price := uint64(math.MaxUint64)
	for _, tx := range txs {
		price = min(price, m.Units.Bid(tx))
	}
	pay := m.Units.flat(max(price, m.Reserve))
	return pay, allow(txs, pay)
}

// Choose implements FeeMarket: of all prices the one that brings the most.
func (m Monopolist) Choose(_ *Context, _ KV, candidates []*Transaction) ([]*Transaction, error) {
	reach := m.Units.reach(candidates)
	return keep(candidates, reach, max(m.Units.best(candidates, reach), m.Reserve)), nil
}

// Close implements FeeMarket; there is no state.
func (m Monopolist) Close(*Context, KV, []*Transaction) error { return nil }

// best returns the price that brings the most if all pay it who can; of
// several the lowest. Zero if there are none.
func (u Units) best(txs []*Transaction, reach []uint64) uint64 {
	order := make([]int, len(txs))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		switch {
		case reach[i] > reach[j]:
			return -1
		case reach[i] < reach[j]:
			return 1
		}
		return i - j
	})
	var units, price, mostHi, mostLo uint64
	for at, i := range order {
		units += u.Of(txs[i])
		if at+1 < len(order) && reach[order[at+1]] == reach[i] {
			continue // the price is not reached with fewer than all that bid it
		}
		hi, lo := bits.Mul64(units, reach[i])
		if hi > mostHi || hi == mostHi && lo >= mostLo {
			mostHi, mostLo, price = hi, lo, reach[i]
		}
	}
	return price
}

// RandomHalves is the truthful variant of Monopolist [5]: the senders are dealt
// into two halves by Context.Seed, and each half pays the price that would be
// best for the other, so that nobody's bid moves its own price.
//
// In the paper the block shows losing bids as well. Here only what is included
// counts, and a block is allowed if no included bid is below its price: losing
// bids are left out and the prices found again until nobody loses. A proposer
// can therefore still gain by leaving bids out.
type RandomHalves struct {
	Units   Units
	Reserve uint64 // least price
}

// half deals a sender.
func half(ctx *Context, tx *Transaction) int {
	sender := tx.Sender()
	h := sha256.Sum256(append(append([]byte("shardkit/ledger/half:"), ctx.Seed[:]...), sender[:]...))
	return int(h[0] & 1)
}

// prices returns the price that each half pays.
func (m RandomHalves) prices(ctx *Context, txs []*Transaction) (prices [2]uint64) {
	var parts [2][]*Transaction
	for _, tx := range txs {
		h := half(ctx, tx)
		parts[h] = append(parts[h], tx)
	}
	for h, part := range parts {
		bids := make([]uint64, len(part))
		for i, tx := range part {
			bids[i] = m.Units.Bid(tx)
		}
		prices[1-h] = max(m.Units.best(part, bids), m.Reserve)
	}
	return prices
}

// Price implements FeeMarket.
func (m RandomHalves) Price(ctx *Context, _ KV, txs []*Transaction) (func(*Transaction) uint64, error) {
	prices := m.prices(ctx, txs)
	for i, tx := range txs {
		if p := prices[half(ctx, tx)]; m.Units.Bid(tx) < p {
			return nil, &BlockError{Index: i, Err: tx.refuse(ReasonFee, "bids %d per unit, its half pays %d", m.Units.Bid(tx), p)}
		}
	}
	return func(tx *Transaction) uint64 { return prices[half(ctx, tx)] * m.Units.Of(tx) }, nil
}

// maxRounds bounds the search for a choice that stands.
const maxRounds = 16

// Choose implements FeeMarket. Bids made so that each round loses a single one
// could keep it going as long as there are candidates; after maxRounds the
// larger half is taken alone, which pays the reserve since nobody is opposite.
func (m RandomHalves) Choose(ctx *Context, _ KV, candidates []*Transaction) ([]*Transaction, error) {
	for range maxRounds {
		prices := m.prices(ctx, candidates)
		out := m.winners(ctx, candidates, prices)
		if len(out) == len(candidates) {
			return out, nil
		}
		candidates = out
	}
	first := m.winners(ctx, candidates, [2]uint64{m.Reserve, math.MaxUint64})
	second := m.winners(ctx, candidates, [2]uint64{math.MaxUint64, m.Reserve})
	if len(first) >= len(second) {
		return first, nil
	}
	return second, nil
}

// winners leaves out who bids below its price, and what follows of its sender.
func (m RandomHalves) winners(ctx *Context, txs []*Transaction, prices [2]uint64) (out []*Transaction) {
	lost := make(map[Address]bool)
	for _, tx := range txs {
		if lost[tx.Sender()] || m.Units.Bid(tx) < prices[half(ctx, tx)] {
			lost[tx.Sender()] = true
			continue
		}
		out = append(out, tx)
	}
	return out
}

// Close implements FeeMarket; there is no state.
func (m RandomHalves) Close(*Context, KV, []*Transaction) error { return nil }

// FeeOf returns what tx pays in the block: its bid, or what the market says.
func (ctx *Context) FeeOf(tx *Transaction) uint64 {
	if ctx.pay == nil {
		return tx.Fee
	}
	return min(ctx.pay(tx), tx.Fee)
}
