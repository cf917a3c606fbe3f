package reshard

import (
	"fmt"
	"math/big"
)

// Class is a number of units of one weight in a pool: what whole slots are,
// whose weights lie within the bounds of effective stake.
type Class struct {
	Weight    int // voting shares of each
	Good, Bad int // how many there are
}

// WeightedTail returns the probability that of n units drawn from a pool
// without replacement the bad ones hold at least part t of the weight drawn.
// With one class it is HypergeometricTail at Threshold(n, t). The work grows
// with n² times the range of weights, for each class: it is for shards of some
// hundred slots.
func WeightedTail(pool []Class, n int, t *big.Rat) (*big.Rat, error) {
	if !t.Num().IsInt64() || !t.Denom().IsInt64() || t.Sign() < 0 || t.Denom().Int64() > 1000 || t.Num().Int64() > 1000 {
		return nil, fmt.Errorf("reshard: threshold %v", t)
	}
	num, denom := int(t.Num().Int64()), int(t.Denom().Int64())
	d, total := newDrawing(n), 0
	for _, c := range pool {
		if c.Weight < 1 || c.Weight > 1000 || c.Good < 0 || c.Bad < 0 || c.Good > MaxUnits || c.Bad > MaxUnits {
			return nil, fmt.Errorf("reshard: class of %d good and %d bad units of weight %d", c.Good, c.Bad, c.Weight)
		}
		// The bad hold part num/denom of the weight iff the sum of these scores
		// is not negative.
		d = d.add(c.Bad, (denom-num)*c.Weight)
		d = d.add(c.Good, -num*c.Weight)
		total += c.Good + c.Bad
	}
	if n < 1 || n > total {
		return nil, fmt.Errorf("reshard: %d drawn of %d units", n, total)
	}
	sum := new(big.Int)
	for score, ways := range d.ways[n] {
		if score+d.least >= 0 {
			sum.Add(sum, ways)
		}
	}
	return new(big.Rat).SetFrac(sum, binomial(total, n)), nil
}

// A drawing counts the ways to draw so many units with such a score:
// ways[count][score−least].
type drawing struct {
	ways  [][]*big.Int
	least int
}

func newDrawing(n int) *drawing {
	d := &drawing{ways: make([][]*big.Int, n+1)}
	for i := range d.ways {
		d.ways[i] = []*big.Int{new(big.Int)}
	}
	d.ways[0][0].SetInt64(1)
	return d
}

// add takes in units of one score each.
func (d *drawing) add(units, score int) *drawing {
	n := len(d.ways) - 1
	reach := min(units, n) * score
	next := &drawing{ways: make([][]*big.Int, n+1), least: d.least + min(reach, 0)}
	width := len(d.ways[0]) + max(reach, -reach)
	for i := range next.ways {
		next.ways[i] = make([]*big.Int, width)
		for k := range next.ways[i] {
			next.ways[i][k] = new(big.Int)
		}
	}
	var x big.Int
	for j := 0; j <= min(units, n); j++ {
		choose := binomial(units, j)
		for i := 0; i+j <= n; i++ {
			for k, ways := range d.ways[i] {
				if ways.Sign() != 0 {
					to := next.ways[i+j][k+d.least+j*score-next.least]
					to.Add(to, x.Mul(ways, choose))
				}
			}
		}
	}
	return next
}
