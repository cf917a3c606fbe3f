package main

import (
	"fmt"
	"math"
	"strconv"

	"github.com/shardkit/shardkit/estake"
)

// distribution is what the slots of a network bid.
type distribution struct {
	name string
	bids []uint64
}

const seats = 800

// distributions of 800 seats: with bidders to spare, with seats to spare, and
// with a cheap tail.
func distributions() []distribution {
	even := make([]uint64, 1000)
	power := make([]uint64, 1000)
	for i := range even {
		even[i] = 1_000_000 - uint64(i)*100
		power[i] = uint64(2e7 / math.Pow(float64(i+1), 0.6))
	}
	tail := append([]uint64(nil), power[:450]...)
	for range 550 {
		tail = append(tail, 1000)
	}
	return []distribution{
		{"even, 1000 bids", even},
		{"power law, 1000 bids", power},
		{"power law, 300 seats empty", power[:500]},
		{"450 large bids, 550 tiny ones", tail},
	}
}

// stake asks what stake counts, and what a third of the votes costs.
func (l *lab) stake() {
	l.effective()
	l.cost()
	l.bounds()
	l.penalties()
}

func params(boundPPM uint32) estake.Params {
	p := estake.DefaultParams(seats)
	p.BoundPPM = boundPPM
	return p
}

// effective is the curve of actual against effective stake.
func (l *lab) effective() {
	bids := distributions()[1].bids
	c := chart{
		title: "What a bid counts as: 800 seats, power law, by rank",
		x:     "rank of the bid", y: "stake per seat (tokens)", logY: true,
	}
	actual := &series{name: "actual stake"}
	c.series = append(c.series, actual)
	var rows [][]string
	for _, ppm := range []uint32{150_000, 350_000} {
		points, median := estake.Curve(bids, params(ppm))
		s := &series{name: fmt.Sprintf("effective, c = %.2f", float64(ppm)/estake.PPM), dash: ppm > 150_000}
		for i, pt := range points {
			s.add(float64(i+1), float64(pt.Effective))
			if ppm == 150_000 {
				actual.add(float64(i+1), float64(pt.Bid))
			}
			rows = append(rows, []string{fmt.Sprintf("%.2f", float64(ppm)/estake.PPM), strconv.Itoa(i + 1),
				strconv.FormatUint(pt.Bid, 10), strconv.FormatUint(pt.Effective, 10), strconv.FormatUint(median, 10)})
		}
		c.series = append(c.series, s)
	}
	l.csv("effective", []string{"c", "rank", "bid", "effective", "median"}, rows)
	l.plot("effective", c)
}

// rules are the policies for low bids.
var rules = []struct {
	name string
	set  func(*estake.Params)
}{
	{"lifted (published)", func(*estake.Params) {}},
	{"lifted from half the median", func(p *estake.Params) { p.MinBidPPM = 500_000 }},
	{"not lifted", func(p *estake.Params) { p.Floor = estake.FloorOff }},
}

// cost is what a third of the votes costs, by distribution and rule.
func (l *lab) cost() {
	var rows [][]string
	for _, d := range distributions() {
		for _, rule := range rules {
			p := params(150_000)
			rule.set(&p)
			a, ok := estake.CostOfAttack(d.bids, p)
			if !ok {
				continue
			}
			rows = append(rows, []string{d.name, rule.name, strconv.Itoa(a.Seats), strconv.FormatUint(a.Bid, 10),
				strconv.FormatUint(a.Stake, 10), fmt.Sprintf("%.4f %%", 100*float64(a.Stake)/float64(a.Stake+a.Honest)),
				fmt.Sprintf("%.2f %%", 100*float64(a.Effective)/float64(a.TotalEffective))})
		}
	}
	l.table("cost", "The least stake that gets a third of the effective stake, c = 0.15, 800 seats",
		[]string{"bids", "low bids are", "seats", "bid", "stake", "of all stake", "of the votes"}, rows)
}

// bounds is the cost against c.
func (l *lab) bounds() {
	c := chart{
		title: "What a third of the votes costs: 800 seats, 450 large bids and 550 tiny ones",
		x:     "bound c of effective stake", y: "attacker's part of all stake (%)", yMin: 0, yMax: 36, legendBottom: true,
	}
	bids := distributions()[3].bids
	var rows [][]string
	for _, rule := range rules {
		s := &series{name: "low bids " + rule.name}
		for ppm := uint32(0); ppm <= 900_000; ppm += 25_000 {
			p := params(ppm)
			rule.set(&p)
			a, ok := estake.CostOfAttack(bids, p)
			if !ok {
				continue
			}
			part := 100 * float64(a.Stake) / float64(a.Stake+a.Honest)
			s.add(float64(ppm)/estake.PPM, part)
			rows = append(rows, []string{rule.name, fmt.Sprintf("%.3f", float64(ppm)/estake.PPM), fmt.Sprintf("%.4f", part)})
		}
		c.series = append(c.series, s)
	}
	third := &series{name: "a third of all stake", dash: true}
	third.add(0, 100/3.0)
	third.add(0.9, 100/3.0)
	c.series = append(c.series, third)
	l.csv("bounds", []string{"rule", "c", "percent_of_stake"}, rows)
	l.plot("bounds", c)
}

// penalties are the two curves of the rules that take power and stake away.
func (l *lab) penalties() {
	p := estake.DefaultParams(seats)
	power := &series{name: "power left"}
	var rows [][]string
	for minutes := 0; minutes <= 14*60; minutes++ {
		left := 100 * float64(p.Power(uint64(minutes)*60_000)) / estake.PPM
		power.add(float64(minutes)/60, left)
		rows = append(rows, []string{fmt.Sprintf("%.3f", float64(minutes)/60), fmt.Sprintf("%.2f", left)})
	}
	l.csv("absence", []string{"hours", "percent_of_power"}, rows)
	l.plot("absence", chart{
		title: "Voting power after continuous absence", x: "hours of absence", y: "power left (%)",
		yMin: 0, yMax: 105, series: []*series{power},
	})
	loss := &series{name: "of the offenders' stake"}
	rows = nil
	for permille := uint64(0); permille <= 400; permille++ {
		x := 100 * float64(p.SlashRate(permille, 1000)) / estake.PPM
		loss.add(float64(permille)/10, x)
		rows = append(rows, []string{fmt.Sprintf("%.1f", float64(permille)/10), fmt.Sprintf("%.2f", x)})
	}
	l.csv("slash", []string{"percent_offending", "percent_lost"}, rows)
	l.plot("slash", chart{
		title: "What double signing costs", x: "stake that double-signed in the same epoch (%)", y: "lost (%)",
		yMin: 0, yMax: 105, legendBottom: true, series: []*series{loss},
	})
}
