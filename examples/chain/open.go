package chain

import (
	"errors"
	"fmt"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/statesync"
	"github.com/shardkit/shardkit/xshard"
)

// openMode says what is expected of a replica's store.
type openMode uint8

const (
	openGenesis openMode = iota // begin with the genesis state
	openHeld                    // go on where a former life stopped
	openJoin                    // sync the state, unless the store has one
	openFresh                   // sync the state into an empty store
)

// open opens the store in a job, once a former replica's store is closed.
func (r *replica) open(now time.Duration, how openMode) {
	if r.core.closing[r.shard] > 0 {
		r.waiting = &how
		return
	}
	open, shard, rules, undo := r.core.cfg.Open, r.shard, r.rules, r.core.cfg.Undo
	r.job("store.open", 0, func() any {
		store, err := open(shard, how == openFresh)
		if err != nil {
			return openedResult{how: how, err: err}
		}
		res, err := rules.openChain(store, undo, how == openGenesis)
		res.store, res.how, res.err = store, how, err
		return res
	})
}

type openedResult struct {
	how   openMode
	store ledger.Store
	chain *ledger.Chain
	at    *tip          // nil: the store has no state
	sets  []*Committees // known at that block
	part  *resumption   // a state sync that was cut short
	err   error
}

// openChain opens the ledger in a store, with the genesis block if asked and
// the store is new.
func (r *rules) openChain(store ledger.Store, undo int, genesis bool) (res openedResult, err error) {
	res.chain, err = ledger.OpenChain(store, r.chainConfig(undo))
	if err != nil {
		return res, err
	}
	head, ok := res.chain.Head()
	if !ok {
		if !genesis {
			res.part, err = r.resume(res.chain)
			return res, err
		}
		if err := r.initGenesis(res.chain); err != nil {
			return res, err
		}
		head, _ = res.chain.Head()
	}
	res.at, res.sets, err = r.inspect(res.chain, head)
	return res, err
}

func (r *rules) chainConfig(undo int) ledger.ChainConfig {
	return ledger.ChainConfig{
		Chain: r.id, Shard: r.shard, State: ledger.StateConfig{Prefix: []byte("s/"), Undo: undo},
		Transactions: true, Accounts: r.history,
	}
}

// inspect reads from a committed state what the core wants to know of it: the
// same things that executing its block would have told.
func (r *rules) inspect(c *ledger.Chain, head ledger.Header) (*tip, []*Committees, error) {
	b, err := c.Block(head.Height)
	if err != nil {
		return nil, nil, err
	}
	t := &tip{height: head.Height, header: &b.Header, hash: b.Header.Hash(), body: b.Body, raw: b.Certificate}
	if t.encoded, err = b.Header.AppendBinary(nil); err != nil {
		return nil, nil, err
	}
	if len(t.raw) > 0 {
		t.cert = new(fbft.Certificate)
		if err := t.cert.UnmarshalBinary(t.raw); err != nil {
			return nil, nil, err
		}
	}
	x := &execution{rules: r, stage: c.State().Begin(), out: new(outcome), ctx: ledger.Context{Height: head.Height, Shard: r.shard}}
	defer x.stage.Discard()
	seats, ok, err := loadSeats(x.stage, head.Epoch, r.shard)
	if err != nil || !ok {
		return nil, nil, fmt.Errorf("chain: committee of epoch %d is missing: %w", head.Epoch, err)
	}
	if t.by, err = r.committee(seats); err != nil {
		return nil, nil, err
	}
	sets, err := x.recall()
	t.out = x.out
	return t, sets, err
}

// recall fills an outcome from the state alone.
func (x *execution) recall() (sets []*Committees, err error) {
	p := &x.genesis.Params
	if err := load(x.stage, keyMeta, &x.out.meta); err != nil {
		return nil, err
	}
	if x.shard == 0 {
		if err := load(x.stage, keyDraw, &x.out.draw); err != nil {
			return nil, err
		}
		if err := x.currentRound(&x.out.draw); err != nil {
			return nil, err
		}
	}
	x.out.links = make([]linkState, p.Shards)
	x.out.packets = make([]packet, p.Shards)
	for d := range shardkit.ShardID(p.Shards) {
		if x.out.links[d], err = loadLink(x.stage, x.rules, d); err != nil {
			return nil, err
		}
	}
	for e := max(x.out.meta.Epoch, 1) - 1; e <= x.out.meta.Epoch+2; e++ {
		c, err := loadSets(x.stage, e, p.Shards)
		if err != nil {
			return nil, err
		}
		if c != nil {
			sets = append(sets, c)
		}
	}
	return sets, x.successor(&x.out.meta)
}

// onOpened goes on from what the store holds.
func (r *replica) onOpened(now time.Duration, res openedResult) {
	if res.store != nil {
		r.store = res.store
	}
	switch {
	case res.err != nil:
		r.core.fail(fmt.Errorf("chain: shard %d: open: %w", r.shard, res.err))
		return
	case res.at != nil && res.how == openJoin && res.store != nil && res.at.out.meta.Epoch+1 < r.core.newest:
		r.core.renew(now, r)
		return
	}
	r.chain = res.chain
	if res.at != nil {
		r.begin(now, res.at, res.sets)
		return
	}
	if len(r.core.sets) == 0 {
		// A former life ended before it had anything: begin again.
		r.core.genesisSets(now)
		if _, ok := r.core.sets[0].Seat(r.shard, r.core.cfg.Self); ok {
			r.open(now, openGenesis)
			return
		}
	}
	r.join(now, res.part)
}

// begin takes part from a block on whose state is here.
func (r *replica) begin(now time.Duration, at *tip, sets []*Committees) {
	for _, s := range sets {
		r.core.learn(now, s)
	}
	if err := r.setup(now, at); err != nil {
		r.core.fail(fmt.Errorf("chain: shard %d: %w", r.shard, err))
		return
	}
	r.membersChanged(now)
	if !r.seated() {
		r.follow(now)
	}
}

// join starts a state sync, or goes on with one. It trusts the newest committee
// of the shard that this node knows, or that it had verified before.
func (r *replica) join(now time.Duration, part *resumption) {
	r.joined = now
	if err := r.newClient(); err != nil {
		r.core.fail(err)
		return
	}
	r.membersChanged(now)
	if part != nil {
		r.client.Resume(part.head)
		if part.trust.committee != nil {
			r.onTrust(now, part.trust)
			return
		}
	}
	first, rules, shard := r.core.sets[0], r.rules, r.shard
	for _, next := range r.core.sets[1:] {
		if next.Epoch != first.Epoch+1 {
			continue
		}
		r.job("bls.keys", len(next.Shards[shard]), func() any {
			res := trustResult{epoch: first.Epoch}
			if res.committee, res.err = rules.encodedCommittee(first.Shards[shard]); res.err == nil {
				res.next, res.err = rules.encodedCommittee(next.Shards[shard])
			}
			return res
		})
		return
	}
}

// trustResult are the committees of an epoch and of the next one, with which a
// state sync begins.
type trustResult struct {
	epoch     shardkit.Epoch
	committee []byte
	next      []byte
	err       error
}

func (r *replica) onTrust(now time.Duration, res trustResult) {
	if res.err != nil {
		r.core.fail(fmt.Errorf("chain: shard %d: %w", r.shard, res.err))
		return
	}
	r.client.Trust(res.epoch, res.committee)
	r.client.Sync(now, res.epoch, res.next)
}

// encodedCommittee is a committee as hops name it.
func (r *rules) encodedCommittee(seats []Seat) ([]byte, error) {
	c, err := r.committee(seats)
	if err != nil {
		return nil, err
	}
	return c.AppendBinary(nil)
}

// onSynced opens the downloaded state.
func (r *replica) onSynced(now time.Duration, s *statesync.Synced) {
	rules, chain := r.rules, r.chain
	r.core.event(Event{Shard: r.shard, Kind: Synced, Took: now - r.joined, Bytes: s.Bytes, Ranges: s.Ranges, Epochs: s.Epochs})
	r.job("store.open", 0, func() any {
		head, ok := chain.Head()
		if !ok {
			return openedResult{err: errors.New("no state after the sync")}
		}
		at, sets, err := rules.inspect(chain, head)
		return openedResult{how: openJoin, chain: chain, at: at, sets: sets, err: err}
	})
}

// seated reports whether the node votes in the next block's committee.
func (r *replica) seated() bool {
	_, ok := r.tip.out.committee.Index(r.core.cfg.Self)
	return ok
}

// committees deals the seats of the epochs 0 and 1, from the genesis seed.
func (g *Genesis) committees(e shardkit.Epoch) (*Committees, error) {
	s := newMapState()
	if err := estake.Init(s, g.Params.Stake, g.Validators); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGenesis, err)
	}
	el, err := estake.Elect(s, g.Params.Stake)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGenesis, err)
	}
	c, _, err := deal(price(el, &g.Params), nil, &g.Params, e, g.Seed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGenesis, err)
	}
	return c, nil
}

// genesisSets makes the genesis committees known.
func (c *Core) genesisSets(now time.Duration) {
	for e := range shardkit.Epoch(2) {
		sets, err := c.cfg.Genesis.committees(e)
		if err != nil {
			c.fail(err)
			return
		}
		c.learn(now, sets)
	}
}

// initGenesis writes a shard's block 0 and its state.
func (r *rules) initGenesis(c *ledger.Chain) error {
	st := c.State().Begin()
	h, err := r.genesisBlock(st)
	if err != nil {
		return err
	}
	body, err := (&ledger.Body{}).AppendBinary(nil)
	if err != nil {
		return err
	}
	return c.Init(&ledger.Block{Header: *h, Body: body}, st)
}

// genesisBlock puts the genesis state of a shard into a stage and makes the
// header of its block 0. Every node can make those of every shard.
func (r *rules) genesisBlock(st *ledger.Stage) (*ledger.Header, error) {
	g := r.genesis
	for _, a := range g.Accounts {
		if a.Address.Shard(g.Params.Shards) != r.shard {
			continue
		}
		if err := ledger.SetAccount(st, a.Address, ledger.Account{Balance: a.Balance}); err != nil {
			return nil, err
		}
	}
	if r.shard == 0 {
		if err := g.stakes(st); err != nil {
			return nil, err
		}
	}
	var sets [2]*Committees
	for e := range sets {
		var err error
		if sets[e], err = g.committees(shardkit.Epoch(e)); err != nil {
			return nil, err
		}
		if err := saveSets(st, sets[e]); err != nil {
			return nil, err
		}
	}
	return r.genesisHeader(st, sets[0], sets[1])
}

// stakes puts the validators and their nodes into the beacon's state.
func (g *Genesis) stakes(st *ledger.Stage) error {
	for i := range g.Validators {
		v := &g.Validators[i]
		for _, s := range v.Slots {
			if err := st.Set(keyNode(s.Node), v.Validator[:]); err != nil {
				return err
			}
		}
	}
	return estake.Init(st, g.Params.Stake, g.Validators)
}

func (r *rules) genesisHeader(st *ledger.Stage, now, next *Committees) (*ledger.Header, error) {
	m := meta{Time: r.genesis.Time}
	if err := st.Set(keyMeta, m.encode()); err != nil {
		return nil, err
	}
	inbox, err := loadInbox(st)
	if err != nil {
		return nil, err
	}
	c, err := r.committee(now.Shards[r.shard])
	if err != nil {
		return nil, err
	}
	n, err := r.committee(next.Shards[r.shard])
	if err != nil {
		return nil, err
	}
	body, err := (&ledger.Body{}).AppendBinary(nil)
	if err != nil {
		return nil, err
	}
	root, err := st.Root()
	if err != nil {
		return nil, err
	}
	box := xshard.NewOutbox(r.shard, r.genesis.Params.Shards, func(shardkit.ShardID) uint64 { return 0 })
	h := &ledger.Header{
		Chain: r.id, Shard: r.shard, Time: r.genesis.Time, Body: ledger.BodyHash(body),
		State: root, Outbox: box.Root(), Inbox: inbox.Root(), Committee: c.Hash(),
		Hop: &ledger.Hop{NextCommittee: n.Hash()},
	}
	if r.shard == 0 {
		h.Hop.Beacon = next.Hash()
	}
	return h, nil
}
