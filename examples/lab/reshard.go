package main

import (
	"fmt"
	"strconv"

	"github.com/shardkit/shardkit/reshard"
)

// reshard asks what policies hold out against adversaries.
func (l *lab) reshard() {
	for _, bad := range []int{20, 25} {
		l.survival(bad)
	}
	l.rejoins()
	l.attacks()
	l.waits()
	l.groups()
}

func (l *lab) policy(name string) reshard.Policy {
	p, err := reshard.ParsePolicy(name)
	l.fail(err)
	return p
}

// battle is the setting of the published simulations: 16 shards of 600, and an
// adversary that lets 5 % of its members rejoin every epoch.
func (l *lab) battle(policy string, badPercent int) reshard.Simulation {
	s := reshard.Simulation{
		Policy: l.policy(policy), Shards: 16, Size: 600,
		BadPPM: 10_000 * badPercent, RatePPM: 50_000, Epochs: 300,
	}
	if l.full {
		s.Epochs = 1000
	}
	if l.tiny {
		s.Shards, s.Size, s.Epochs = 4, 40, 10
	}
	return s
}

// histories is how many seeds an experiment runs.
func (l *lab) histories() int {
	switch {
	case l.tiny:
		return 2
	case l.full:
		return 24
	}
	return 12
}

// sums are the means over some histories.
type sums struct {
	median      string
	moved       float64 // part of all units per epoch
	synced      float64 // downloads of a shard's state per slot and epoch
	worst       float64 // largest bad part of a shard seen
	least, most int     // sizes
	alive, of   int
}

func (l *lab) simulate(s reshard.Simulation) (sums, []reshard.Outcome) {
	outs, err := reshard.Survival(s, l.seed, l.histories())
	if l.fail(err) {
		return sums{}, nil
	}
	x := sums{least: s.Shards * s.Size, of: len(outs), median: fmt.Sprintf("> %d", s.Epochs)}
	if m, failed := reshard.MedianFailure(outs); failed {
		x.median = strconv.Itoa(m)
	}
	epochs, units := 0, float64(s.Shards*s.Size)
	for _, o := range outs {
		epochs += o.Epoch
		x.moved += float64(o.Moved) / units
		x.synced += float64(o.Synced) / units * float64(max(s.Group, 1))
		x.worst = max(x.worst, float64(o.WorstBad)/float64(o.WorstSize))
		x.least, x.most = min(x.least, o.MinSize), max(x.most, o.MaxSize)
		if !o.Failed {
			x.alive++
		}
	}
	x.moved /= float64(max(epochs, 1))
	x.synced /= float64(max(epochs, 1))
	return x, outs
}

// survival compares the policies.
func (l *lab) survival(bad int) {
	names := []string{"bounded:k=1", "bounded:k=10", "bounded:percent=10", "cuckoo:k=4", "commensal:k=4", "pooled:percent=20", "gradual", "full"}
	if l.tiny {
		names = names[len(names)-2:]
	}
	c := chart{
		title: fmt.Sprintf("16 shards of 600, %d %% bad, 5 %% of them rejoin per epoch: no shard has failed", bad),
		x:     "epochs", y: "part of the histories", logX: true, yMin: -0.02, yMax: 1.02, legendBottom: true, legendLeft: true,
	}
	var rows, points [][]string
	for i, name := range names {
		s := l.battle(name, bad)
		x, outs := l.simulate(s)
		line := &series{name: name, steps: true, dash: i >= 5}
		for _, pt := range reshard.Curve(outs) {
			alive := float64(pt.Alive) / float64(len(outs))
			// Curves that stay up would hide one another.
			line.add(max(float64(pt.Epoch), 1), alive-0.006*float64(i-4))
			points = append(points, []string{name, strconv.Itoa(pt.Epoch), fmt.Sprintf("%.3f", alive)})
		}
		c.series = append(c.series, line)
		rows = append(rows, []string{name, x.median, fmt.Sprintf("%d/%d", x.alive, x.of), fmt.Sprintf("%.1f %%", 100*x.moved),
			fmt.Sprintf("%.3f", x.synced), fmt.Sprintf("%.3f", x.worst), fmt.Sprintf("%d–%d", x.least, x.most)})
	}
	file := fmt.Sprintf("survival-%d", bad)
	l.table(file, fmt.Sprintf("Greedy join–leave, %d %% bad: 16 shards of 600, 5 %% of the bad rejoin per epoch, failure at a third", bad),
		[]string{"policy", "median epoch of failure", "survived", "moved/epoch", "syncs/slot/epoch", "worst shard", "sizes"}, rows)
	l.csv(file+"-curve", []string{"policy", "epoch", "alive"}, points)
	l.plot(file, c)
}

// rejoins is RapidChain's own setting, one rejoin at a time.
func (l *lab) rejoins() {
	limit := 10_000
	ks := []int{1, 2, 3, 4, 6}
	if l.full {
		limit, ks = 100_000, []int{1, 2, 3, 4, 6, 8, 12, 16}
	}
	if l.tiny {
		limit, ks = 500, ks[:1]
	}
	c := chart{
		title: "Bounded cuckoo: 16 committees of 250, a third bad, failure at a half",
		x:     "members displaced per join k", y: "adversarial rejoins until failure", logY: true, points: true, legendBottom: true,
	}
	half := &series{name: "median"}
	first := &series{name: "first of the histories", dash: true}
	c.series = []*series{half, first}
	var rows [][]string
	for _, k := range ks {
		s := reshard.Simulation{
			Policy: reshard.Bounded{K: k}, Shards: 16, Size: 250,
			BadPPM: 333_333, FailNum: 1, FailDenom: 2, Rejoins: 1, Epochs: limit,
		}
		x, outs := l.simulate(s)
		if l.err != nil {
			return
		}
		if m, failed := reshard.MedianFailure(outs); failed {
			half.add(float64(k), float64(m))
		}
		curve := reshard.Curve(outs)
		if len(curve) > 1 && curve[1].Alive < x.of {
			first.add(float64(k), float64(curve[1].Epoch))
		}
		rows = append(rows, []string{strconv.Itoa(k), x.median, fmt.Sprintf("%d/%d", x.alive, x.of)})
	}
	l.table("rejoins", fmt.Sprintf("Bounded cuckoo in RapidChain's setting: rejoins of one bad member each until failure, at most %d", limit),
		[]string{"k", "median", "survived"}, rows)
	l.plot("rejoins", c)
}

// attacks compares what the adversary may do.
func (l *lab) attacks() {
	var rows [][]string
	for _, name := range []string{"bounded:percent=10", "cuckoo:k=4", "pooled:percent=20", "full"} {
		row := []string{name}
		for _, a := range []reshard.Attack{reshard.Greedy, reshard.Target, reshard.Patient, reshard.Churn} {
			s := l.battle(name, 25)
			s.Attack = a
			if !l.full {
				s.Epochs = min(s.Epochs, 150)
			}
			x, _ := l.simulate(s)
			row = append(row, x.median)
		}
		rows = append(rows, row)
		if l.tiny {
			break
		}
	}
	l.table("attacks", "Median epoch of failure by what the adversary does, 25 % bad",
		[]string{"policy", "greedy", "one target", "patient", "churn of all"}, rows)
}

// waits is what a cool-down before rejoining is worth.
func (l *lab) waits() {
	waits := []int{0, 1, 3, 7, 14}
	if l.tiny {
		waits = waits[:2]
	}
	var rows [][]string
	for _, w := range waits {
		row := []string{strconv.Itoa(w)}
		for _, name := range []string{"bounded:k=10", "bounded:percent=10", "cuckoo:k=4"} {
			s := l.battle(name, 20)
			s.Wait = w
			x, _ := l.simulate(s)
			row = append(row, x.median)
		}
		rows = append(rows, row)
	}
	l.table("waits", "Median epoch of failure by the epochs that a slot has to stay away, 20 % bad",
		[]string{"wait", "bounded:k=10", "bounded:percent=10", "cuckoo:k=4"}, rows)
}

// groups compares dealing shares one by one with dealing whole slots of the
// same votes: shares mix better, and make every slot a member of many shards.
func (l *lab) groups() {
	var rows [][]string
	for _, g := range []struct {
		name        string
		size, group int
	}{{"600 shares, 8 to a slot", 600, 8}, {"75 slots", 75, 1}} {
		for _, bad := range []int{15, 20} {
			s := l.battle("full", bad)
			if l.tiny {
				g.size = 40
			}
			s.Size, s.Group = g.size, g.group
			s.Epochs = min(s.Epochs, 300)
			x, _ := l.simulate(s)
			rows = append(rows, []string{g.name, fmt.Sprintf("%d %%", bad), x.median, fmt.Sprintf("%d/%d", x.alive, x.of),
				fmt.Sprintf("%.3f", x.worst), fmt.Sprintf("%.2f", x.synced)})
		}
	}
	l.table("groups", "Dealing shares one by one or whole slots, full permutation, 16 shards, 300 epochs at most",
		[]string{"a shard of", "bad", "median epoch of failure", "survived", "worst shard", "syncs/slot/epoch"}, rows)
}
