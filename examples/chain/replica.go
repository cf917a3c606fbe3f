package chain

import (
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/erasure"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/statesync"
	"github.com/shardkit/shardkit/vdf/drg"
	"github.com/shardkit/shardkit/xshard"
)

// part says whose job a result belongs to.
type part uint8

const (
	partSelf part = iota + 1
	partConsensus
	partSpread
	partRelay
	partServer
	partClient
	partDraw
	partKad
	partClose
)

// replica is one shard as this node keeps it: the cores of the packages, and
// the chain of blocks that ties them together. It has a tip, the newest block
// that is decided and executed here; until it has one, it is opening its store
// or syncing.
type replica struct {
	core  *Core
	shard shardkit.ShardID
	life  uint64
	rules *rules

	store ledger.Store
	chain *ledger.Chain
	tip   *tip
	// queue holds decided blocks on their way to the disk, oldest first; the
	// first is being committed.
	queue     []*tip
	committed shardkit.Height

	consensus  *fbft.Core
	marks      []mark // numbers of the consensus core's records
	spread     *erasure.Core
	relay      *xshard.Relay
	server     *statesync.Server
	client     *statesync.Client
	following  bool
	joined     time.Duration   // when the state sync began
	moved      time.Duration   // when following began or last got on
	ahead      shardkit.Height // a peer claims to work at this height
	draw       *drg.Core
	round      roundID
	evaluating bool
	pool       *ledger.Mempool
	docket     *ledger.Mempool // evidence
	recent     recentAccounts
	asked      int // jobs for wallets under way

	blocks   []*proposal // of heights above the tip, in order of arrival
	proposal proposing
	archive  [][]byte                        // what votes at this height rest on
	late     []lateVotes                     // for a header of this node, by height
	credited map[shardkit.Height]fbft.Bitmap // late votes that headers of the window had
	worked   bool                            // consensus knows that there is work at this height
	pending  *fbft.Decided
	fetched  []statesync.Block // verified, to be executed in order
	applying bool
	closed   bool
	waiting  *openMode // the store of a former replica of the shard is being closed
}

// tip is a block with its place in the chain.
type tip struct {
	height  shardkit.Height
	hash    shardkit.Hash
	header  *ledger.Header
	encoded []byte
	body    []byte
	cert    *fbft.Certificate // nil at genesis
	raw     []byte            // cert, encoded
	by      *fbft.Committee   // that certified it; nil at genesis
	out     *outcome
	archive [][]byte // what this node's votes for the height rest on
	live    bool     // consensus decided it here; else it was there at the start, or fetched
}

// mark pairs a record of the consensus core with the node's record.
type mark struct{ local, seq uint64 }

func newReplica(c *Core, s shardkit.ShardID) *replica {
	c.lives++
	r := &replica{
		core: c, shard: s, life: c.lives, credited: map[shardkit.Height]fbft.Bitmap{},
		rules: newRules(c.id, s, c.cfg.Genesis, c.cfg.Scheme, c.cfg.Possession, c.cfg.mutant),
	}
	r.rules.batch, r.rules.history = c.cfg.Batch, c.cfg.History
	return r
}

// job hands out a job of the replica itself.
func (r *replica) job(kind string, size int, run func() any) {
	r.core.job(shardkit.Job{Kind: kind, Size: size, Run: run}, r.shard, partSelf, r.life)
}

// ready reports whether the replica has its state and takes part.
func (r *replica) ready() bool { return r.tip != nil }

// setup makes the parts of a replica that has a state.
func (r *replica) setup(now time.Duration, at *tip) error {
	c := r.core
	var err error
	r.tip, r.committed = at, at.height
	r.recent.begin(at.height)
	r.consensus, err = fbft.New(fbft.Config{
		Chain: c.id, Shard: r.shard, Self: c.cfg.Self, Signer: c.cfg.Signer,
		BaseTimeout: c.cfg.Timeout, Log: c.log.votes[r.shard],
		MaxHeader: maxHeader,
	})
	if err != nil {
		return err
	}
	delete(c.log.votes, r.shard)
	if r.spread, err = erasure.New(erasure.Config{Self: c.cfg.Self, MaxBody: int(c.cfg.Genesis.Params.MaxBody), Small: c.cfg.Small}); err != nil {
		return err
	}
	r.relay, err = xshard.NewRelay(xshard.RelayConfig{
		Self: c.cfg.Self, Shard: r.shard, Load: r.loadPackets, Check: r.checkPackets, Poll: c.cfg.Poll,
	})
	if err != nil {
		return err
	}
	if r.server, err = statesync.NewServer(r.serving()); err != nil {
		return err
	}
	if err := r.newClient(); err != nil {
		return err
	}
	if r.shard == 0 {
		r.draw, err = drg.New(drg.Config{
			Params: c.cfg.Genesis.Params.drg(c.id, &r.rules.groups), Self: c.cfg.Self, Prove: c.cfg.Prove, Sign: c.cfg.Sign,
		})
		if err != nil {
			return err
		}
	}
	r.pool, r.docket = ledger.NewMempool(c.cfg.Pool), ledger.NewMempool(ledger.MempoolConfig{MaxCount: maxDocket})
	for d := range at.out.links {
		r.relay.Included(now, shardkit.ShardID(d), at.out.links[d].Height)
	}
	r.restoreArchive()
	r.restoreBodies()
	r.learnFrom(now, at.out)
	r.nextHeight(now)
	return nil
}

// restoreBodies takes back the bodies that the log kept for consensus.
func (r *replica) restoreBodies() {
	for _, b := range r.core.log.bodies[r.shard] {
		if b.height <= r.tip.height {
			continue
		}
		p, err := newProposal(b.header)
		if err != nil {
			continue
		}
		p.body, p.logged = b.body, true
		r.blocks = append(r.blocks, p)
	}
	delete(r.core.log.bodies, r.shard)
	r.core.log.drop(r.shard, r.tip.height)
}

// newClient makes the joining side, which follows blocks as well.
func (r *replica) newClient() (err error) {
	if r.client == nil {
		r.client, err = statesync.NewClient(r.joining())
	}
	return err
}

// learnFrom passes on what a block made known about committees.
func (r *replica) learnFrom(now time.Duration, out *outcome) {
	if out.sets != nil {
		r.core.learn(now, out.sets)
	}
}

// advance makes a decided and executed block the tip, sends it on its way to
// the disk and to the other shards, and starts the next height.
func (r *replica) advance(now time.Duration, t *tip) {
	before := r.tip
	r.tip, t.by = t, before.out.committee
	t.archive, r.archive = r.archive, nil
	r.queue = append(r.queue, t)
	if len(r.queue) == 1 {
		r.commit()
	}
	r.settleBlocks(t)
	r.settlePool(t)
	r.settleLate(t)
	r.publish(now, before, t)
	r.learnFrom(now, t.out)
	if before.out.meta.Epoch != t.out.meta.Epoch || before.out.meta.Ends != t.out.meta.Ends {
		r.membersChanged(now)
	}
	if r.following {
		r.moved = now
		r.client.Applied(now, t.height)
	}
	r.nextHeight(now)
	r.followed(now)
}

// settleBlocks forgets the proposals that can no longer be decided.
func (r *replica) settleBlocks(t *tip) {
	keep := r.blocks[:0]
	for _, p := range r.blocks {
		switch {
		case p.header.Height > t.height:
			keep = append(keep, p)
		case p.hash != t.hash && p.block != nil:
			p.block.outcome.stage.Discard()
		}
		if p.header.Height <= t.height && len(p.ref) > 0 {
			r.spread.Forget(p.ref)
		}
	}
	clear(r.blocks[len(keep):])
	r.blocks = keep
}

// settlePool takes the block's transactions out of the queues.
func (r *replica) settlePool(t *tip) {
	r.recent.add(t.out.accounts)
	for _, q := range r.queues() {
		q.Committed(t.height, func(yield func(ledger.Address, ledger.Account) bool) {
			for _, a := range t.out.accounts {
				if !yield(a.addr, a.account) {
					return
				}
			}
		})
	}
}

// publish hands the block's packets to the relay and notes what it linked.
func (r *replica) publish(now time.Duration, before, t *tip) {
	for s := range t.out.links {
		if st := t.out.links[s]; st.Height > before.out.links[s].Height {
			r.relay.Included(now, shardkit.ShardID(s), st.Height)
		}
	}
	if _, member := t.out.member(r.core, r.shard); !member && !r.wasMember(t) {
		return
	}
	var list []xshard.Addressed
	for d := range t.out.packets {
		if shardkit.ShardID(d) != r.shard {
			list = append(list, xshard.Addressed{Dest: shardkit.ShardID(d), Packet: xshard.Packet{
				Source: r.shard, Height: t.height, Header: t.encoded, Cert: t.raw, Batch: t.out.packets[d].encode(),
			}})
		}
	}
	r.relay.Committed(now, list)
}

// member reports whether the node sits in the committee of the next block.
func (o *outcome) member(c *Core, shard shardkit.ShardID) (int, bool) {
	return o.committee.Index(c.cfg.Self)
}

// wasMember reports whether the node sat in the committee of the block.
func (r *replica) wasMember(t *tip) bool {
	_, ok := r.core.committeesOf(t.header.Epoch).Seat(r.shard, r.core.cfg.Self)
	return ok
}

// commit writes the oldest decided block: block, state, indexes in one batch.
func (r *replica) commit() {
	t := r.queue[0]
	chain, rules, store, extra := r.chain, r.rules, r.store, t.extras(r.shard)
	done := &ledger.Executed{Stage: t.out.stage, Body: t.out.content, Results: t.out.results, Arrived: t.out.arrived}
	r.job("ledger.commit", len(t.body), func() any {
		b := &ledger.Block{Header: *t.header, Body: t.body, Certificate: t.raw}
		if err := rules.spoil(b, store); err != nil {
			return committedResult{t, err}
		}
		if err := rules.dropArchive(chain, store, t.header); err != nil {
			return committedResult{t, err}
		}
		return committedResult{t, chain.CommitExecuted(b, done, func(yield func(k, v []byte) bool) {
			for _, p := range extra {
				if !yield(p.key, p.value) {
					return
				}
			}
		})}
	})
}

type committedResult struct {
	t   *tip
	err error
}

// onCommitted goes on with the next block in the queue.
func (r *replica) onCommitted(now time.Duration, res committedResult) {
	if res.err != nil {
		r.core.fail(fmt.Errorf("chain: shard %d height %d: commit: %w", r.shard, res.t.height, res.err))
		return
	}
	t := res.t
	r.committed = t.height
	t.out.content, t.out.results, t.out.arrived = nil, nil, nil // the indexes have it
	r.core.log.drop(r.shard, t.height)
	r.queue = r.queue[1:]
	if len(r.queue) > 0 {
		r.commit()
	}
	place, member := t.by.Index(r.core.cfg.Self)
	r.core.event(Event{
		Shard: r.shard, Kind: Committed, Header: t.header, Hash: t.hash,
		Included: len(t.out.included), Delivered: len(t.out.delivered), View: t.cert.View,
		Signed: member && t.cert.Signers.Has(place),
	})
	if t.out.election != nil {
		r.core.event(Event{Shard: r.shard, Kind: Elected, Report: t.out.election})
	}
	r.core.wallets.notify(r, t)
}

// nextHeight tells the parts about the height after the tip.
func (r *replica) nextHeight(now time.Duration) {
	t := r.tip
	epoch := t.out.meta.next()
	s := fbft.Start{
		Epoch: epoch, Height: t.height + 1, Parent: t.hash,
		Committee: t.out.committee, Previous: t.cert,
	}
	if t.out.meta.Ends {
		s.Before = t.by
	}
	r.worked, r.proposal = false, proposing{}
	r.setGroups(now, epoch)
	if err := r.consensus.Start(now, s); err != nil {
		r.core.fail(fmt.Errorf("chain: shard %d: %w", r.shard, err))
		return
	}
	r.drawing(now)
	r.work(now)
}

// setGroups tells the broadcast who the members of an epoch are, and of the
// next one if they are known: their first chunks may be here before the epoch.
func (r *replica) setGroups(now time.Duration, epoch shardkit.Epoch) {
	for e := epoch; e <= epoch+1; e++ {
		sets := r.core.committeesOf(e)
		if sets == nil {
			continue
		}
		var g erasure.Group
		var total uint64
		for _, s := range sets.Shards[r.shard] {
			g.Members = append(g.Members, erasure.Member{Node: s.Node, Weight: s.Weight})
			total += s.Weight
		}
		g.Sure = 2*(2*total/3+1) - total // 2q - W
		if err := r.spread.SetGroup(now, uint64(e), g); err != nil && e == epoch {
			r.core.fail(fmt.Errorf("chain: shard %d: %w", r.shard, err))
		}
	}
	if epoch > 1 {
		r.spread.DropGroup(uint64(epoch) - 2)
	}
}

// membersChanged tells the parts who sits where now.
func (r *replica) membersChanged(now time.Duration) {
	if r.closed {
		return
	}
	peers := r.servers()
	for s := range shardkit.ShardID(r.core.cfg.Genesis.Params.Shards) {
		var nodes []shardkit.NodeID
		for _, sets := range r.core.sets {
			if r.tip != nil && sets.Epoch+1 < r.tip.out.meta.Epoch {
				continue
			}
			for _, n := range sets.Nodes(s) {
				if !slices.Contains(nodes, n) {
					nodes = append(nodes, n)
				}
			}
		}
		if r.relay != nil {
			r.relay.SetMembers(now, s, nodes)
		}
	}
	if r.client != nil {
		r.client.SetPeers(now, peers)
	}
}

// servers are the nodes that most likely have the shard's newest state: the
// members of the newest epoch that this node has seen anywhere, and of the one
// before.
func (r *replica) servers() (out []shardkit.NodeID) {
	for _, sets := range r.core.sets {
		if sets.Epoch > r.core.newest || sets.Epoch+1 < r.core.newest {
			continue
		}
		for _, n := range sets.Nodes(r.shard) {
			if n != r.core.cfg.Self && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	return out
}

// finished reports whether the replica's duty is over: no seat in this epoch
// or a later known one, and the hand-over is done.
func (r *replica) finished() bool {
	if r.tip == nil || len(r.queue) > 0 {
		return false
	}
	m := &r.tip.out.meta
	if m.Ends {
		return false
	}
	for _, sets := range r.core.sets {
		if sets.Epoch >= m.Epoch {
			if _, ok := sets.Seat(r.shard, r.core.cfg.Self); ok {
				return false
			}
		}
	}
	return true
}

// close frees what the replica holds.
func (r *replica) close(now time.Duration) {
	r.closed = true
	if r.client != nil {
		r.client.Stop(now)
	}
	if s, ok := r.store.(interface{ Close() error }); ok {
		r.core.closing[r.shard]++
		r.core.job(shardkit.Job{Kind: "store.close", Run: func() any { return s.Close() }}, r.shard, partClose, r.life)
	}
}

// persisted passes on what is durable.
func (r *replica) persisted(now time.Duration, seq uint64) {
	n := 0
	var local uint64
	for n < len(r.marks) && r.marks[n].seq <= seq {
		local = r.marks[n].local
		n++
	}
	if n > 0 {
		r.marks = r.marks[n:]
		r.consensus.Persisted(now, local)
	}
}

// seqOf returns the node's number of a consensus record; 0 if it is durable.
func (r *replica) seqOf(local uint64) uint64 {
	for i := range r.marks {
		if r.marks[i].local >= local {
			return r.marks[i].seq
		}
	}
	return 0
}
