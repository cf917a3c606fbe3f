package reshard

import (
	"fmt"
	"math/big"
)

// Quorum is a committee of n equal members that decides with q of them. Two
// quorums share at least 2q−n members, so it is safe while fewer than that
// are bad; it is live while q others are left. The usual q, the least with
// 3q > 2n, gives up both at about a third. A larger q is safe against more
// and stalls against fewer.
type Quorum struct{ N, Q int }

// DefaultQuorum is the least q with 3q > 2n: of 600, 401.
func DefaultQuorum(n int) Quorum { return Quorum{n, 2*n/3 + 1} }

// Fork is the number of bad members from which two blocks can be decided: of
// 600 by default 202.
func (q Quorum) Fork() int { return 2*q.Q - q.N }

// Stall is the number of bad members from which nothing need be decided: of
// 600 by default 200.
func (q Quorum) Stall() int { return q.N - q.Q + 1 }

// Risk is what one draw of a quorum's committee can bring.
type Risk struct {
	Fork  *big.Rat // probability of a draw that can fork
	Stall *big.Rat // of one that can stall but not fork
	// Epoch is the probability that an epoch can fork if a watchdog draws
	// again whenever a committee stalls: the adversary may stall and wait for
	// a better draw as long as that goes on.
	Epoch *big.Rat
	// Draws is the mean number of draws until a committee does not stall, if
	// the adversary stalls whenever it can.
	Draws *big.Rat
}

// Risk computes the risks exactly for a draw from a pool in which bad are bad.
func (q Quorum) Risk(pool, bad int) (Risk, error) {
	if q.N < 1 || q.Q > q.N || 2*q.Q <= q.N || pool < q.N || bad < 0 || bad > pool {
		return Risk{}, fmt.Errorf("reshard: quorum of %d in %d of a pool of %d with %d bad", q.Q, q.N, pool, bad)
	}
	return q.risk(func(t int) *big.Rat { return HypergeometricTail(pool, bad, q.N, t) })
}

// RiskInfinite is Risk for a draw from an infinite pool of which part p is bad.
func (q Quorum) RiskInfinite(p *big.Rat) (Risk, error) {
	if q.N < 1 || q.Q > q.N || 2*q.Q <= q.N {
		return Risk{}, fmt.Errorf("reshard: quorum of %d in %d", q.Q, q.N)
	}
	return q.risk(func(t int) *big.Rat { return BinomialTail(q.N, t, p) })
}

func (q Quorum) risk(tail func(t int) *big.Rat) (Risk, error) {
	r := Risk{Fork: tail(q.Fork()), Stall: new(big.Rat)}
	if q.Stall() < q.Fork() {
		r.Stall.Sub(tail(q.Stall()), r.Fork)
	}
	ends := new(big.Rat).Sub(big.NewRat(1, 1), r.Stall)
	if ends.Sign() == 0 {
		return Risk{}, fmt.Errorf("reshard: quorum of %d in %d: every draw stalls", q.Q, q.N)
	}
	r.Draws = ends.Inv(ends)
	r.Epoch = new(big.Rat).Mul(r.Fork, r.Draws)
	return r, nil
}

// SmallestQuorum finds the smallest committee, with its quorum, whose chance
// to fork in an epoch is at most fork while a draw stalls with probability at
// most stall, for an adversary with part p of an infinite pool. The watchdog
// that draws a stalled committee again makes a large stall acceptable, and the
// committee many times smaller (GearBox, 2022).
func SmallestQuorum(p, fork, stall *big.Rat) (Quorum, Risk, error) {
	if p.Sign() < 0 || fork.Sign() <= 0 || stall.Sign() < 0 || stall.Cmp(big.NewRat(1, 1)) >= 0 {
		return Quorum{}, Risk{}, fmt.Errorf("reshard: fork %v, stall %v", fork, stall)
	}
	for n := 4; n <= 4096; n++ {
		q := leastQuorum(n, p, fork)
		if q.Q > n {
			continue
		}
		r, err := q.RiskInfinite(p)
		if err != nil {
			return Quorum{}, Risk{}, err
		}
		if r.Stall.Cmp(stall) <= 0 && r.Epoch.Cmp(fork) <= 0 {
			return q, r, nil
		}
	}
	return Quorum{}, Risk{}, fmt.Errorf("reshard: more than 4096 members")
}

// leastQuorum finds the least q that is safe enough, by halving: a larger q
// never forks more easily.
func leastQuorum(n int, p, fork *big.Rat) Quorum {
	lo, hi := n/2, n+1
	for hi-lo > 1 {
		mid := Quorum{n, (lo + hi) / 2}
		if BinomialTail(n, mid.Fork(), p).Cmp(fork) <= 0 {
			hi = mid.Q
		} else {
			lo = mid.Q
		}
	}
	return Quorum{n, hi}
}
