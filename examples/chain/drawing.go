package chain

import (
	"errors"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/reshard"
	"github.com/shardkit/shardkit/vdf/drg"
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
		begin := r.draw.Start
		if !r.tip.live || d.Opened != r.tip.height {
			begin = r.draw.Resume // alpha has been known to others for who knows how long
		}
		if err := begin(now, *round); err != nil {
			r.core.event(Event{Shard: r.shard, Kind: Refused, Err: err})
			return
		}
	}
	r.draw.SetLeaders(now, round.Leaders)
	if d.Phase == drawDelay && !r.evaluating && r.core.cfg.Prove != nil {
		r.evaluating = true
		r.draw.Committed(now, d.PRnd)
	}
}

// drawAhead is for how many epochs later the beacon's committee of an epoch
// draws.
const drawAhead = 2

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

// openDraw starts the epoch's drawing, or the next attempt at it, with the
// parent's hash as alpha: that block was final before anybody could know what
// it would lead to.
func (x *execution) openDraw(d *draw) {
	m, p := &x.out.meta, &x.genesis.Params
	if d.Epoch != m.Epoch+drawAhead {
		*d = draw{Epoch: m.Epoch + drawAhead, Rnd: d.Rnd}
	}
	switch {
	case d.Phase == drawIdle && uint64(x.ctx.Height) > uint64(m.Start)+uint64(p.DrawAfter):
		d.Phase, d.Opened, d.Alpha = drawInputs, x.ctx.Height, x.parent
	case d.Phase == drawInputs && x.ctx.Height > d.Opened+shardkit.Height(p.DrawWindow):
		d.Attempt++
		d.Opened, d.Alpha = x.ctx.Height, x.parent
	}
}

// inputSet takes the drawing's inputs.
func (x *execution) inputSet(d *draw, set []byte) error {
	if d.Phase != drawInputs || d.Opened == x.ctx.Height {
		return invalid("an input set in phase %d", d.Phase)
	}
	round, err := x.round(d)
	if err != nil {
		return err
	}
	pRnd, err := drg.CheckSet(x.genesis.Params.drg(x.id, &x.groups), *round, set)
	if err != nil {
		return invalid("%v", err)
	}
	d.Phase, d.PRnd = drawDelay, pRnd
	return nil
}

// output takes the delay function's output and, with the randomness it gives,
// elects and deals the committees of the epoch after the next.
func (x *execution) output(d *draw, output []byte) error {
	if d.Phase != drawDelay {
		return invalid("a delay output in phase %d", d.Phase)
	}
	rnd, err := drg.CheckOutput(x.genesis.Params.drg(x.id, &x.groups), d.Epoch, d.PRnd, output)
	if err != nil {
		return invalid("%v", err)
	}
	before, err := loadSets(x.stage, x.out.meta.Epoch+1, x.genesis.Params.Shards)
	if err != nil {
		return err
	}
	sets, rep, err := x.elect(d.Epoch, before, rnd)
	if err != nil {
		return err
	}
	d.Phase, d.Rnd = drawDone, rnd
	x.out.sets, x.out.election = sets, rep
	return saveSets(x.stage, sets)
}

// elect holds an election and deals its seats. If too few seats are filled, or
// too few for every shard, the chain keeps the committees it has: a chain that
// stops is worse.
func (x *execution) elect(epoch shardkit.Epoch, before *Committees, rnd shardkit.Hash) (*Committees, *EpochReport, error) {
	kept := &Committees{Epoch: epoch, Shards: before.Shards}
	e, err := estake.Elect(x.stage, x.genesis.Params.Stake)
	if errors.Is(err, estake.ErrTooFew) {
		return kept, report(kept, &Election{}, nil, rnd), nil
	}
	if err != nil {
		return nil, nil, err
	}
	priced := price(e, &x.genesis.Params)
	sets, moves, err := deal(priced, before, &x.genesis.Params, epoch, rnd)
	if errors.Is(err, reshard.ErrTooFew) {
		return kept, report(kept, priced, nil, rnd), nil
	}
	if err != nil {
		return nil, nil, err
	}
	return sets, report(sets, priced, moves, rnd), nil
}

func report(c *Committees, e *Election, moves []reshard.Move, rnd shardkit.Hash) *EpochReport {
	rep := &EpochReport{Epoch: c.Epoch, Randomness: rnd, VotePrice: e.Price, Moved: len(moves), Elected: len(e.Elected)}
	for _, seats := range c.Shards {
		var sum uint64
		for _, s := range seats {
			sum += s.Weight
		}
		rep.Shares = append(rep.Shares, sum)
	}
	return rep
}

// round describes the drawing to package drg: the beacon's committee with the
// VRF keys that were fixed when it was named.
func (x *execution) round(d *draw) (*drg.Round, error) {
	seats, _, err := loadSeats(x.stage, x.out.meta.Epoch, 0)
	if err != nil {
		return nil, err
	}
	c, err := x.rules.committee(seats)
	if err != nil {
		return nil, err
	}
	r := &drg.Round{Epoch: d.Epoch, Attempt: d.Attempt, Alpha: d.Alpha, Need: c.Amplify()}
	for _, s := range seats {
		r.Members = append(r.Members, drg.Member{Node: s.Node, Slot: s.Slot, Key: s.VRFKey, Weight: s.Weight})
	}
	return r, nil
}

// currentRound tells the core which drawing it should take part in.
func (x *execution) currentRound(d *draw) (err error) {
	if d.Phase == drawInputs || d.Phase == drawDelay {
		x.out.round, err = x.round(d)
	}
	return err
}
