package main

import (
	"fmt"
	"math/big"
	"strconv"

	"github.com/shardkit/shardkit/reshard"
)

var (
	third   = big.NewRat(1, 3)
	quarter = big.NewRat(1, 4)
)

// float rounds an exact number for people.
func float(r *big.Rat) float64 {
	f, _ := r.Float64()
	return f
}

// years formats a mean time, at one draw a day.
func (l *lab) years(p *big.Rat) string {
	y, err := reshard.Years(p, reshard.Daily())
	if err != nil {
		return "never"
	}
	return fmt.Sprintf("%.4g", float(y))
}

// safety asks how large shards have to be.
func (l *lab) safety() {
	l.networks()
	l.lambdas()
	l.committees()
	l.quorums()
	l.failureCurve()
	l.quorumCurve()
}

// networks is the exact joint probability, for the published shard size and
// larger ones.
func (l *lab) networks() {
	sizes := []int{600, 700, 800}
	shards := []int{4, 16, 100}
	if l.full {
		sizes = append(sizes, 900, 1000)
	}
	if l.tiny {
		sizes, shards = sizes[:1], shards[:1]
	}
	var rows [][]string
	for _, size := range sizes {
		t := reshard.Threshold(size, third)
		one := reshard.BinomialTail(size, t, quarter)
		rows = append(rows, []string{strconv.Itoa(size), "one, binomial", fmt.Sprintf("%.3e", float(one)), l.years(one)})
		for _, s := range shards {
			p := reshard.NetworkFailure(s, size, reshard.Part(s*size, quarter), t)
			rows = append(rows, []string{strconv.Itoa(size), strconv.Itoa(s), fmt.Sprintf("%.3e", float(p)), l.years(p)})
		}
	}
	l.table("networks", "Some shard fails, a quarter of all shares bad, a third of a shard fails it, one draw a day (exact)",
		[]string{"shares per shard", "shards", "P per draw", "mean years"}, rows)
}

// lambdas solves for the shard size.
func (l *lab) lambdas() {
	var rows [][]string
	for _, bad := range []*big.Rat{big.NewRat(1, 5), quarter, big.NewRat(3, 10)} {
		for _, s := range []int{4, 16, 100} {
			if l.tiny && (s > 4 || bad != quarter) {
				continue
			}
			got, err := reshard.SolveLambda(reshard.Goal{Shards: s, Adversary: bad, Threshold: third, Years: big.NewRat(1000, 1)})
			if l.fail(err) {
				return
			}
			rows = append(rows, []string{fmt.Sprintf("%.0f %%", 100*float(bad)), strconv.Itoa(s), strconv.Itoa(got.First), strconv.Itoa(got.Safe)})
		}
	}
	l.table("lambda", "Shares per shard for 1000 years without a failure in any shard, one draw a day",
		[]string{"bad", "shards", "first that does", "all from"}, rows)
}

// committees is for whoever draws one committee from an infinite pool.
func (l *lab) committees() {
	targets := []struct {
		name string
		p    *big.Rat
	}{{"1e-06", big.NewRat(1, 1_000_000)}, {"2^-40", big.NewRat(1, 1<<40)}}
	var rows [][]string
	for _, c := range []struct {
		bad, limit *big.Rat
	}{{quarter, third}, {quarter, big.NewRat(1, 2)}, {third, big.NewRat(1, 2)}} {
		for _, t := range targets {
			got, err := reshard.SmallestCommittee(c.bad, c.limit, t.p)
			if l.fail(err) {
				return
			}
			rows = append(rows, []string{c.bad.String(), c.limit.String(), t.name, strconv.Itoa(got.First), strconv.Itoa(got.Safe)})
		}
	}
	l.table("committees", "Smallest committee, binomial",
		[]string{"bad", "fails at", "with P at most", "first that does", "all from"}, rows)
}

// quorums compares the usual quorum with larger ones and a watchdog that draws
// a stalled committee again.
func (l *lab) quorums() {
	var rows [][]string
	row := func(name string, q reshard.Quorum, r reshard.Risk) {
		rows = append(rows, []string{name, strconv.Itoa(q.N), strconv.Itoa(q.Q), fmt.Sprintf("%.3e", float(r.Epoch)),
			fmt.Sprintf("%.3e", float(r.Stall)), fmt.Sprintf("%.2f", float(r.Draws))})
	}
	million := big.NewRat(1, 1_000_000)
	usual := reshard.DefaultQuorum(661)
	r, err := usual.RiskInfinite(quarter)
	if l.fail(err) {
		return
	}
	row("two thirds", usual, r)
	for _, stall := range []*big.Rat{big.NewRat(1, 100), big.NewRat(1, 10), big.NewRat(1, 2)} {
		if l.tiny && stall.Cmp(big.NewRat(1, 2)) < 0 {
			continue
		}
		q, r, err := reshard.SmallestQuorum(quarter, million, stall)
		if l.fail(err) {
			return
		}
		row(fmt.Sprintf("watchdog, stall up to %.0f %%", 100*float(stall)), q, r)
	}
	l.table("quorums", "Committees that fork with P at most 1e-06 per epoch, a quarter bad (binomial)",
		[]string{"rule", "members", "quorum", "P fork per epoch", "P stall per draw", "mean draws"}, rows)
}

// failureCurve is failure probability against the shares per shard.
func (l *lab) failureCurve() {
	c := chart{
		title: "Some shard fails: a quarter of all shares bad, a third of a shard fails it",
		x:     "shares per shard λ", y: "probability per draw", logY: true,
	}
	step, last := 15, 1050
	if l.full {
		step = 3
	}
	if l.tiny {
		step, last = 150, 450
	}
	one := &series{name: "one shard, as published (binomial)", dash: true}
	c.series = append(c.series, one)
	var rows [][]string
	for _, shards := range []int{4, 16, 100} {
		s := &series{name: fmt.Sprintf("%d shards", shards)}
		for size := 150; size <= last; size += step {
			t := reshard.Threshold(size, third)
			if shards == 4 {
				one.add(float64(size), float(reshard.BinomialTail(size, t, quarter)))
			}
			n := shards * size
			p := reshard.HypergeometricTail(n, reshard.Part(n, quarter), size, t)
			p.Mul(p, big.NewRat(int64(shards), 1)) // bound from above, exact in the table
			s.add(float64(size), min(float(p), 1))
			rows = append(rows, []string{strconv.Itoa(shards), strconv.Itoa(size), fmt.Sprintf("%.3e", float(p))})
		}
		c.series = append(c.series, s)
	}
	goal := &series{name: "once in 1000 years, one draw a day", dash: true}
	goal.add(150, 1/365_250.0)
	goal.add(float64(last), 1/365_250.0)
	c.series = append(c.series, goal)
	l.csv("failure", []string{"shards", "lambda", "p_bound"}, rows)
	l.plot("failure", c)
}

// quorumCurve is what turning the quorum does to one committee.
func (l *lab) quorumCurve() {
	c := chart{
		title: "Turning the quorum of a committee of 200, a quarter of the pool bad",
		x:     "quorum q (of 200)", y: "probability per draw", logY: true, legendBottom: true,
		yMin: 1e-15, yMax: 2,
	}
	fork := &series{name: "can fork: bad ≥ 2q−n"}
	stall := &series{name: "can stall: bad > n−q"}
	var rows [][]string
	for q := 120; q <= 185; q++ {
		k := reshard.Quorum{N: 200, Q: q}
		f := float(reshard.BinomialTail(200, k.Fork(), quarter))
		s := float(reshard.BinomialTail(200, k.Stall(), quarter))
		fork.add(float64(q), max(f, 1e-16))
		stall.add(float64(q), s)
		rows = append(rows, []string{strconv.Itoa(q), fmt.Sprintf("%.3e", f), fmt.Sprintf("%.3e", s)})
	}
	usual := &series{name: "two thirds", dash: true}
	usual.add(134, 1e-15)
	usual.add(134, 2)
	c.series = []*series{fork, stall, usual}
	l.csv("quorum", []string{"q", "p_fork", "p_stall"}, rows)
	l.plot("quorum", c)
}
