package drg

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/vrf"
)

// Core takes part in the drawings of one chain, one at a time. It is not safe
// for concurrent use.
type Core struct {
	cfg   Config
	round *drawing // nil: none is going on
	// life counts the drawings, so that the result of a job of an earlier one
	// is recognized.
	life  uint64
	ready Ready
}

// drawing is all that a Core knows of the round it is in.
type drawing struct {
	Round
	members []Member // in order of slot
	started time.Duration
	resumed bool // alpha is older than started
	resend  time.Duration

	own    []input
	got    []arrival // by place in members
	queue  []int     // places of arrivals that wait for verification
	busy   bool      // a verification job is out
	weight uint64    // of the good arrivals
	set    []byte    // the encoding of the good arrivals; nil: to be made again

	final  bool          // the set is final and has the hash pRnd
	pRnd   shardkit.Hash // input of the delay
	tries  uint32        // evaluations begun
	cancel context.CancelFunc
	output []byte
}

// arrival is the input of one member: as it came while it waits, in the form
// for sets once it is good.
type arrival struct {
	pi        []byte
	signature []byte // nil: none
	state     uint8
}

// The states of an arrival. A member gets one verification a round: what is
// good or bad stays so.
const (
	absent uint8 = iota
	waiting
	good
	bad
)

// Results of the jobs.
type (
	proved struct {
		life   uint64
		inputs []input
		places []int
		proofs [][]byte // in the form for sets
	}
	verified struct {
		life   uint64
		places []int
		proofs [][]byte // in the form for sets; nil: not valid
		guilty []Evidence
	}
	evaluated struct {
		pRnd   shardkit.Hash
		epoch  shardkit.Epoch
		output []byte
		took   time.Duration
		err    error
	}
)

// New validates cfg. It refuses parameters that are not safe by SafeDelay,
// unless AllowShortDelay is set.
func New(cfg Config) (*Core, error) {
	cfg.Params = cfg.Params.withDefaults()
	if cfg.Resend == 0 {
		cfg.Resend = 500 * time.Millisecond
	}
	if cfg.Resend < 0 {
		return nil, fmt.Errorf("drg: Resend %v", cfg.Resend)
	}
	if err := cfg.Params.check(); err != nil {
		return nil, err
	}
	if !cfg.Params.AllowShortDelay {
		if _, err := SafeDelay(cfg.Params); err != nil {
			return nil, err
		}
	}
	return &Core{cfg: cfg}, nil
}

// Start begins a drawing: its alpha is final, from now on. It replaces the
// drawing before, whatever that came to.
func (c *Core) Start(now time.Duration, r Round) error {
	members := r.sorted()
	if err := r.check(members); err != nil {
		return err
	}
	c.Stop(now)
	r.Leaders = slices.Clone(r.Leaders)
	c.round = &drawing{Round: r, members: members, started: now, got: make([]arrival, len(members))}
	c.round.resend = now + c.cfg.Resend
	c.prove()
	return nil
}

// Resume is Start for a node that has seen alpha before it crashed, or may have
// become aware of it long after others: it takes part, but as it does not know
// how late it is, it is Late from the beginning.
func (c *Core) Resume(now time.Duration, r Round) error {
	if err := c.Start(now, r); err != nil {
		return err
	}
	c.round.resumed = true
	return nil
}

// Stop ends the drawing and a running evaluation.
func (c *Core) Stop(time.Duration) {
	if c.round != nil && c.round.cancel != nil {
		c.round.cancel()
	}
	c.round = nil
	c.life++
}

// SetLeaders names the next leaders, soonest first. The own outputs go to
// those who are new among the first Spread at once.
func (c *Core) SetLeaders(_ time.Duration, leaders []shardkit.NodeID) {
	d := c.round
	if d == nil {
		return
	}
	before := c.targets()
	d.Leaders = slices.Clone(leaders)
	for _, to := range c.targets() {
		if !slices.Contains(before, to) {
			c.send(to)
		}
	}
}

// Set returns an input set that is worth proposing: all outputs that have
// arrived and are good. nil while their weight is below Need, and once a set
// is final. The caller must not change it.
func (c *Core) Set() []byte {
	d := c.round
	if d == nil || d.final || d.weight < d.Need {
		return nil
	}
	if d.set == nil {
		var entries []entry
		for i, a := range d.got {
			if a.state == good {
				entries = append(entries, entry{uint16(i), a.pi})
			}
		}
		d.set = appendSet(nil, &d.Round, entries)
	}
	return d.set
}

// Late reports whether it is too late to accept an input set that is new: who
// proposes now may know what comes out. False if no drawing is going on.
func (c *Core) Late(now time.Duration) bool {
	d := c.round
	return d != nil && (d.resumed || now > d.started+c.cfg.Params.Bound)
}

// Committed tells that the set with hash pRnd is final: the evaluation starts.
func (c *Core) Committed(_ time.Duration, pRnd shardkit.Hash) {
	d := c.round
	if d == nil || d.final {
		return
	}
	d.final, d.pRnd = true, pRnd
	d.queue, d.set = nil, nil
	c.evaluate()
}

// Output returns the output of the delay, nil until it is there. The caller
// must not change it.
func (c *Core) Output() []byte {
	if c.round == nil {
		return nil
	}
	return c.round.output
}

// Deliver takes a member's VRF output. All that is cheap is checked here;
// the proof itself is checked in a job.
func (c *Core) Deliver(_ time.Duration, from shardkit.NodeID, msg []byte) error {
	var in input
	if err := in.unmarshalBinary(msg); err != nil {
		return err
	}
	if c.cfg.Sign != nil && in.signature == nil {
		return fmt.Errorf("drg: %w", ErrUnsigned)
	}
	d := c.round
	if d == nil || in.epoch != d.Epoch || in.attempt != d.Attempt {
		return fmt.Errorf("drg: %w: epoch %d, attempt %d", ErrStale, in.epoch, in.attempt)
	}
	place, ok := d.find(in.slot)
	if !ok || d.members[place].Node != from {
		return fmt.Errorf("drg: %w %v", ErrForeign, in.slot)
	}
	if d.final || d.got[place].state != absent {
		return nil
	}
	d.got[place] = arrival{bytes.Clone(in.pi), bytes.Clone(in.signature), waiting}
	d.queue = append(d.queue, place)
	c.verify()
	return nil
}

// Done takes the result of a job.
func (c *Core) Done(_ time.Duration, result any) {
	if c.round == nil {
		return
	}
	switch r := result.(type) {
	case proved:
		if r.life == c.life {
			c.proved(r)
		}
	case verified:
		if r.life == c.life {
			c.verified(r)
		}
	case evaluated:
		if c.round.final && r.pRnd == c.round.pRnd && r.epoch == c.round.Epoch {
			c.evaluated(r)
		}
	}
}

// Persisted does nothing: a drawing has no state that must survive a crash.
// The chain has all of it, and Resume begins anew.
func (c *Core) Persisted(time.Duration, uint64) {}

// Tick sends the own outputs again when it is time.
func (c *Core) Tick(now time.Duration) {
	at, ok := c.Wake()
	if !ok || now < at {
		return
	}
	c.round.resend = now + c.cfg.Resend
	for _, to := range c.targets() {
		c.send(to)
	}
}

// Wake returns when Tick is next wanted.
func (c *Core) Wake() (at time.Duration, ok bool) {
	d := c.round
	if d == nil || d.final || len(d.own) == 0 {
		return 0, false
	}
	return d.resend, true
}

// Ready returns the effects since the last call, and forgets them.
func (c *Core) Ready() Ready {
	r := c.ready
	c.ready = Ready{}
	return r
}

// find returns the place of a slot in members.
func (d *drawing) find(slot shardkit.Hash) (int, bool) {
	return slices.BinarySearchFunc(d.members, slot, func(m Member, s shardkit.Hash) int {
		return bytes.Compare(m.Slot[:], s[:])
	})
}

// targets returns the leaders that get the own outputs.
func (c *Core) targets() []shardkit.NodeID {
	leaders := c.round.Leaders
	return leaders[:min(len(leaders), c.cfg.Params.Spread)]
}

func (c *Core) send(to shardkit.NodeID) {
	if to == c.cfg.Self || c.round.final {
		return
	}
	for i := range c.round.own {
		c.ready.Messages = append(c.ready.Messages, shardkit.Message{
			To: to, Class: shardkit.ClassVote, Data: c.round.own[i].appendBinary(nil),
		})
	}
}

// prove makes the job that computes the outputs of the own slots.
func (c *Core) prove() {
	d := c.round
	prove := c.cfg.ProveSlot
	if prove == nil && c.cfg.Prove != nil {
		prove = func(_ shardkit.Hash, alpha []byte) ([]byte, error) { return c.cfg.Prove(alpha) }
	}
	var places []int
	for i := range d.members {
		if d.members[i].Node == c.cfg.Self {
			places = append(places, i)
		}
	}
	if prove == nil || len(places) == 0 {
		return
	}
	chain, r, members, life, sign := c.cfg.Params.Chain, d.Round, d.members, c.life, c.cfg.Sign
	run := func() any {
		res := proved{life: life}
		for _, i := range places {
			m := &members[i]
			alpha := alphaOf(chain, &r, m.Slot)
			pi, err := prove(m.Slot, alpha)
			if err != nil {
				continue
			}
			// A key that is not the slot's makes proofs that nobody takes, and that
			// convict who signs them.
			batch, _, err := vrf.Convert(suite, m.Key, alpha, pi)
			if err != nil {
				continue
			}
			in := input{r.Epoch, r.Attempt, m.Slot, pi, nil}
			if sign != nil {
				if in.signature = sign(signingBytes(alpha, pi)); len(in.signature) != ed25519.SignatureSize {
					continue
				}
			}
			res.inputs = append(res.inputs, in)
			res.places = append(res.places, i)
			res.proofs = append(res.proofs, batch)
		}
		return res
	}
	c.ready.Jobs = append(c.ready.Jobs, shardkit.Job{Kind: "vrf.prove", Size: len(places), Run: run})
}

func (c *Core) proved(r proved) {
	d := c.round
	if d.final {
		return
	}
	d.own = r.inputs
	for i, place := range r.places {
		c.accept(place, r.proofs[i])
	}
	for _, to := range c.targets() {
		c.send(to)
	}
}

// verify makes a job of all arrivals that wait, unless one is out already:
// then those that come meanwhile make up the next.
func (c *Core) verify() {
	d := c.round
	if d.busy || len(d.queue) == 0 {
		return
	}
	d.busy = true
	places := d.queue
	d.queue = nil
	arrivals := make([]arrival, len(places))
	for i, p := range places {
		arrivals[i] = d.got[p]
	}
	chain, r, members, life := c.cfg.Params.Chain, d.Round, d.members, c.life
	run := func() any {
		res := verified{life: life, places: places, proofs: make([][]byte, len(places))}
		for i, p := range places {
			m, a := &members[p], &arrivals[i]
			var err error
			if res.proofs[i], _, err = vrf.Convert(suite, m.Key, alphaOf(chain, &r, m.Slot), a.pi); err == nil {
				continue // a proof speaks for itself, whatever the signature
			}
			if e := a.evidence(&r, m.Slot); e != nil && e.Verify(chain, *m) == nil {
				res.guilty = append(res.guilty, *e)
			}
		}
		return res
	}
	c.ready.Jobs = append(c.ready.Jobs, shardkit.Job{Kind: "vrf.verify", Size: len(places), Run: run})
}

func (c *Core) verified(r verified) {
	d := c.round
	d.busy = false
	for i, place := range r.places {
		if r.proofs[i] != nil {
			c.accept(place, r.proofs[i])
			continue
		}
		d.got[place] = arrival{state: bad}
		c.ready.Invalid = append(c.ready.Invalid, d.members[place])
	}
	c.ready.Evidence = append(c.ready.Evidence, r.guilty...)
	if !d.final {
		c.verify()
	}
}

// accept counts a good output.
func (c *Core) accept(place int, pi []byte) {
	d := c.round
	if d.got[place].state == good {
		return
	}
	before := d.weight
	d.got[place] = arrival{pi: pi, state: good}
	d.weight += d.members[place].Weight
	d.set = nil
	if !d.final && before < d.Need && d.weight >= d.Need {
		c.ready.SetReady = true
	}
}

// evaluate makes the job of the delay. Its key is the same at every node, as
// its result is; but a try that was given up does not stand for the next.
func (c *Core) evaluate() {
	d := c.round
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	p, epoch, pRnd := c.cfg.Params, d.Epoch, d.pRnd
	key := []byte("shardkit/drg/job/1")
	key = append(wire.AppendU32(key, d.tries), p.vdfInput(epoch, pRnd)...)
	key = wire.AppendU64(wire.AppendU64(key, p.T), uint64(p.Bits))
	d.tries++
	c.ready.Jobs = append(c.ready.Jobs, shardkit.Job{
		Kind: "vdf.eval", Size: int(p.T), Key: sha256.Sum256(key),
		Run: func() any { return p.evaluate(ctx, epoch, pRnd) },
	})
}

func (c *Core) evaluated(r evaluated) {
	d := c.round
	if d.output != nil {
		return
	}
	if errors.Is(r.err, context.Canceled) {
		c.evaluate() // given up by an earlier drawing of the same pRnd
		return
	}
	if r.err != nil {
		return // the parameters are checked, so it is this machine that computes wrongly
	}
	d.cancel()
	d.output = r.output
	c.ready.OutReady, c.ready.VDFTime = true, r.took
}
