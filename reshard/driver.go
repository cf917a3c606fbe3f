package reshard

import (
	"runtime"
	"slices"
	"sync"
)

// Survival runs a simulation with the seeds from to from+n−1, on as many
// goroutines as there are processors, and returns the outcomes in order of
// seed. It returns when all have ended.
func Survival(s Simulation, from uint64, n int) ([]Outcome, error) {
	outs := make([]Outcome, n)
	errs := make([]error, n)
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := range next {
				outs[i], errs[i] = s.Run(from + uint64(i))
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return outs, nil
}

// Point is a point of a survival curve: after Epoch, Alive of the histories
// have had no failure.
type Point struct{ Epoch, Alive int }

// Curve turns outcomes into a survival curve, from epoch 0 with all of them
// to the last epoch simulated.
func Curve(outs []Outcome) []Point {
	ends := make([]int, 0, len(outs))
	last := 0
	for _, o := range outs {
		last = max(last, o.Epoch)
		if o.Failed {
			ends = append(ends, o.Epoch)
		}
	}
	slices.Sort(ends)
	alive := len(outs)
	curve := []Point{{0, alive}}
	for _, e := range ends {
		alive--
		if n := len(curve); curve[n-1].Epoch == e {
			curve[n-1].Alive = alive
		} else {
			curve = append(curve, Point{e, alive})
		}
	}
	if n := len(curve); curve[n-1].Epoch < last {
		curve = append(curve, Point{last, alive})
	}
	return curve
}

// MedianFailure returns the epoch by which half of the histories have failed,
// or false if more than half survived.
func MedianFailure(outs []Outcome) (int, bool) {
	sorted := slices.Clone(outs)
	slices.SortFunc(sorted, func(a, b Outcome) int {
		if a.Failed != b.Failed {
			if a.Failed {
				return -1
			}
			return 1
		}
		return a.Epoch - b.Epoch
	})
	if len(sorted) == 0 {
		return 0, false
	}
	o := sorted[(len(sorted)-1)/2]
	return o.Epoch, o.Failed
}
