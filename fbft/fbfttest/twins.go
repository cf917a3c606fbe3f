package fbfttest

import (
	"errors"
	"fmt"

	"github.com/shardkit/shardkit/fbft"
)

// Twins is a scenario after Bano et al. (Twins: BFT Systems Made Robust, 2021):
// a committee of Nodes of which the last runs on two machines with one key, so
// that it says two things at once without forging anything. In every round the
// actors are split, everything within a part is delivered and everything
// between parts is lost; then all timers run out. Actors are 0…Nodes, of which
// Nodes is the second machine of node Nodes-1.
type Twins struct {
	Nodes  int
	Rounds []Round
	Core   fbft.Config
}

// Round is one view: who leads it, and the part that every actor is in.
type Round struct {
	Leader int
	Part   []uint8
}

// Run runs the scenario, then lets the network behave for a few views more. It
// returns an error if two honest actors decide differently, or if some have
// not decided in the end.
func (w *Twins) Run() error {
	cfg := LabConfig{Nodes: w.Nodes, Twins: []int{w.Nodes - 1}, Core: w.Core}
	for _, r := range w.Rounds {
		cfg.Leaders = append(cfg.Leaders, r.Leader)
	}
	for i := range w.Nodes {
		cfg.Leaders = append(cfg.Leaders, i) // the views after
	}
	l, err := NewLab(cfg)
	if err != nil {
		return err
	}
	all := make([]int, w.Nodes+1)
	for i := range all {
		all[i] = i
	}
	for _, r := range w.Rounds {
		l.Drop(func(p Packet) bool { return r.Part[p.From] != r.Part[p.To] })
		l.Run(func(p Packet) bool { return r.Part[p.From] == r.Part[p.To] })
		if l.Err() != nil {
			return l.Err()
		}
		l.Drop(func(Packet) bool { return true })
		l.Timeout(all...)
	}
	for range 4 * w.Nodes {
		l.Run(nil)
		if l.Err() != nil {
			return l.Err()
		}
		if l.AllDecided(1, all[:w.Nodes-1]...) {
			return nil
		}
		l.Timeout(all...)
	}
	return errors.New("not decided after the network healed: " + l.state())
}

func (l *Lab) state() (text string) {
	for i, a := range l.actors {
		if a.core != nil {
			st := a.core.Status()
			text += fmt.Sprintf("; %d: view %d, reported %d, decided %v", i, st.View, st.Reported, st.Decided)
		}
	}
	return text
}
