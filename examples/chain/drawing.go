package chain

import (
	"time"

	"github.com/shardkit/shardkit"
)

// drawing keeps the randomness core in step with the beacon's state: it takes
// part in the round that the state names, and in no other.
func (r *replica) drawing(now time.Duration) {
	if r.draw == nil {
		return
	}
	d, round := &r.tip.out.draw, r.tip.out.round
	if round == nil {
		r.draw.Stop(now)
		return
	}
	round.Leaders = r.leaders()
	if r.round != (roundID{round.Epoch, round.Attempt, round.Alpha}) {
		r.round = roundID{round.Epoch, round.Attempt, round.Alpha}
		r.evaluating = false
		if err := r.draw.Start(now, *round); err != nil {
			r.core.event(Event{Shard: r.shard, Kind: Refused, Err: err})
			return
		}
	}
	r.draw.SetLeaders(now, round.Leaders)
	if d.Phase == drawDelay && !r.evaluating {
		r.evaluating = true
		r.draw.Committed(now, d.PRnd)
	}
}

// roundID tells rounds apart.
type roundID struct {
	epoch   shardkit.Epoch
	attempt uint32
	alpha   shardkit.Hash
}

// drawSet and drawOutput are what the drawing has ready for a block, if the
// state waits for it.
func (r *replica) drawSet() []byte {
	if r.draw == nil || r.tip.out.draw.Phase != drawInputs {
		return nil
	}
	return r.draw.Set()
}

func (r *replica) drawOutput() []byte {
	if r.draw == nil || r.tip.out.draw.Phase != drawDelay {
		return nil
	}
	return r.draw.Output()
}

// leaders names the nodes that lead view 0 of the next heights: who can put an
// input set into a block soonest.
func (r *replica) leaders() []shardkit.NodeID {
	const spread = 3
	c := r.tip.out.committee
	out := make([]shardkit.NodeID, 0, spread)
	for i := range shardkit.Height(spread) {
		out = append(out, c.Members()[c.Rotate(r.tip.height+1+i, 0)].Node)
	}
	return out
}
