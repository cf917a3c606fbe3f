package chain

import (
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/internal/wire"
)

// deliver hands a message to the part it is for. A replica that has no state
// yet listens only to what helps it to one.
func (r *replica) deliver(now time.Duration, from shardkit.NodeID, proto uint8, body []byte) error {
	if proto == protoAnswer && r.client != nil {
		return r.client.Deliver(now, from, body)
	}
	if !r.ready() {
		return fmt.Errorf("%w: %d is not ready", ErrShard, r.shard)
	}
	switch proto {
	case protoConsensus:
		return r.consensus.Deliver(now, from, body)
	case protoSpread:
		return r.spread.Deliver(now, from, body)
	case protoRelay:
		return r.relay.Deliver(now, from, body)
	case protoRequest:
		return r.server.Deliver(now, from, body)
	case protoDraw:
		if r.draw == nil {
			return ErrProtocol
		}
		return r.draw.Deliver(now, from, body)
	case protoGossip:
		return r.gossip(now, from, body)
	case protoEvidence:
		return r.onEvidence(now, from, body)
	case protoHint:
		return r.onHint(now, from, body)
	case protoWallet:
		return r.wallet(now, from, body)
	}
	return fmt.Errorf("%w: %d", ErrProtocol, proto)
}

// done hands a job's result to the part that wanted it.
func (r *replica) done(now time.Duration, p part, result any) {
	switch p {
	case partSelf:
		r.own(now, result)
	case partConsensus:
		r.consensus.Done(now, result)
	case partSpread:
		r.spread.Done(now, result)
	case partRelay:
		r.relay.Done(now, result)
	case partServer:
		r.server.Done(now, result)
	case partClient:
		r.client.Done(now, result)
	case partDraw:
		r.draw.Done(now, result)
	}
}

// own takes the result of one of the replica's own jobs.
func (r *replica) own(now time.Duration, result any) {
	switch res := result.(type) {
	case openedResult:
		r.onOpened(now, res)
	case trustResult:
		r.onTrust(now, res)
	case committedResult:
		r.onCommitted(now, res)
	case builtResult:
		r.onBuilt(now, res)
	case executedResult:
		r.onExecuted(now, res)
	case admittedResult:
		r.onAdmitted(now, res)
	case foundResult:
		r.onFound(res)
	case filedResult:
		r.onFiled(res)
	}
}

// tick lets time pass for every part.
func (r *replica) tick(now time.Duration) {
	if r.client != nil {
		r.client.Tick(now)
	}
	if !r.ready() {
		return
	}
	r.consensus.Tick(now)
	r.spread.Tick(now)
	r.relay.Tick(now)
	r.server.Tick(now)
	if r.draw != nil {
		r.draw.Tick(now)
	}
	for _, p := range slices.Clone(r.blocks) {
		r.obtain(now, p)
	}
	r.work(now)
	r.propose(now)
	r.unstick(now)
}

// wake says when the replica next wants tick.
func (r *replica) wake() (at time.Duration, ok bool) {
	var a alarm
	if r.client != nil {
		a.sooner(r.client.Wake())
	}
	if !r.ready() {
		return a.at, a.ok
	}
	a.sooner(r.consensus.Wake())
	a.sooner(r.spread.Wake())
	a.sooner(r.relay.Wake())
	a.sooner(r.server.Wake())
	if r.draw != nil {
		a.sooner(r.draw.Wake())
	}
	for _, p := range r.blocks {
		if p.early {
			a.sooner(r.notBefore(p), true)
		}
	}
	if r.following {
		a.sooner(r.moved+stuckAfter, true)
	}
	if !r.worked {
		a.sooner(r.due()-r.core.cfg.Interval+r.core.cfg.Heartbeat, true)
	}
	if r.proposal.want != nil && r.proposal.want.Header == nil && !r.proposal.collected {
		a.sooner(r.collectAt(), true)
	}
	if r.proposal.want != nil && !r.proposal.busy && r.worked {
		a.sooner(r.due(), true)
	}
	return a.at, a.ok
}

// pump carries out what the parts want until none wants anything more. What
// one part makes may be another's input.
func (r *replica) pump(now time.Duration) {
	for range 1000 {
		busy := r.pumpClient(now)
		if r.ready() {
			busy = r.pumpConsensus(now) || busy
			busy = r.pumpSpread(now) || busy
			busy = r.pumpRelay(now) || busy
			busy = r.pumpServer() || busy
			busy = r.pumpDraw(now) || busy
		}
		if !busy {
			return
		}
	}
}

func (r *replica) jobs(jobs []shardkit.Job, p part) {
	for _, j := range jobs {
		r.core.job(j, r.shard, p, r.life)
	}
}

func (r *replica) messages(list []shardkit.Message, proto uint8) {
	for _, m := range list {
		r.core.send(m.To, m.Class, m.After, proto, r.shard, m.Data)
	}
}

func (r *replica) pumpConsensus(now time.Duration) bool {
	rd := r.consensus.Ready()
	r.keepArchive(rd.Archive) // ahead of the votes that rest on it
	first := rd.Seq - uint64(len(rd.Records)) + 1
	height := r.tip.height + 1
	for i, rec := range rd.Records {
		seq := r.core.log.add(r.shard, height)
		r.core.out.Records = append(r.core.out.Records, encodeRecord(recordVote, r.shard, height, rec))
		r.marks = append(r.marks, mark{first + uint64(i), seq})
	}
	for _, m := range rd.Messages {
		if m.After > 0 {
			m.After = r.seqOf(m.After)
		}
		r.core.send(m.To, m.Class, m.After, protoConsensus, r.shard, m.Data)
	}
	r.jobs(rd.Jobs, partConsensus)
	for _, v := range rd.Validate {
		r.onValidate(now, v)
	}
	for _, p := range rd.Propose {
		r.onPropose(now, p)
	}
	for _, d := range rd.Decided {
		r.onDecided(now, d)
	}
	for _, ct := range rd.Late {
		r.keepLate(ct)
	}
	for _, ev := range rd.Evidence {
		r.found(now, ev)
	}
	for _, b := range rd.Blame {
		r.core.event(Event{Shard: r.shard, Kind: Refused, Err: fmt.Errorf("chain: peer %v: %s", b.Peer, b.What)})
	}
	for _, s := range rd.Serve {
		r.onServe(s)
	}
	for _, b := range rd.Behind {
		r.onBehind(now, b)
	}
	return len(rd.Records)+len(rd.Messages)+len(rd.Jobs)+len(rd.Validate)+len(rd.Propose)+len(rd.Decided)+len(rd.Serve)+len(rd.Behind) > 0
}

func (r *replica) pumpSpread(now time.Duration) bool {
	rd := r.spread.Ready()
	r.messages(rd.Messages, protoSpread)
	r.jobs(rd.Jobs, partSpread)
	for _, b := range rd.Bad {
		r.core.event(Event{Shard: r.shard, Kind: Refused, Err: b.Err})
	}
	for _, d := range rd.Dispersed {
		r.onDispersed(now, d)
	}
	for _, d := range rd.Delivered {
		r.onDelivered(now, d)
	}
	return len(rd.Messages)+len(rd.Jobs)+len(rd.Dispersed)+len(rd.Delivered) > 0
}

func (r *replica) pumpRelay(now time.Duration) bool {
	rd := r.relay.Ready()
	r.messages(rd.Messages, protoRelay)
	r.jobs(rd.Jobs, partRelay)
	for _, b := range rd.Bad {
		r.core.event(Event{Shard: r.shard, Kind: Refused, Err: b.Err})
	}
	if len(rd.Arrived) > 0 {
		r.work(now)
		r.propose(now)
	}
	return len(rd.Messages)+len(rd.Jobs)+len(rd.Arrived) > 0
}

func (r *replica) pumpServer() bool {
	rd := r.server.Ready()
	r.messages(rd.Messages, protoAnswer)
	r.jobs(rd.Jobs, partServer)
	return len(rd.Messages)+len(rd.Jobs) > 0
}

func (r *replica) pumpDraw(now time.Duration) bool {
	if r.draw == nil {
		return false
	}
	rd := r.draw.Ready()
	r.messages(rd.Messages, protoDraw)
	r.jobs(rd.Jobs, partDraw)
	if rd.VDFTime > 0 {
		r.core.event(Event{Shard: r.shard, Kind: Evaluated, Took: rd.VDFTime, Epoch: r.round.epoch})
	}
	for i := range rd.Evidence {
		r.foundInput(now, &rd.Evidence[i])
	}
	if rd.SetReady || rd.OutReady {
		r.work(now)
		r.propose(now)
	}
	return len(rd.Messages)+len(rd.Jobs) > 0
}

func (r *replica) pumpClient(now time.Duration) bool {
	if r.client == nil {
		return false
	}
	rd := r.client.Ready()
	r.messages(rd.Messages, protoRequest)
	r.jobs(rd.Jobs, partClient)
	for _, b := range rd.Bad {
		r.core.event(Event{Shard: r.shard, Kind: Refused, Err: b.Err})
	}
	if rd.Err != nil {
		r.core.fail(fmt.Errorf("chain: shard %d: state sync: %w", r.shard, rd.Err))
	}
	if rd.Synced != nil {
		r.onSynced(now, rd.Synced)
	}
	if len(rd.Blocks) > 0 {
		r.fetched = append(r.fetched, rd.Blocks...)
		r.applyFetched(now)
	}
	return len(rd.Messages)+len(rd.Jobs)+len(rd.Blocks) > 0 || rd.Synced != nil
}

// onServe tells a peer that works at a height long decided where the shard is;
// it then fetches what it lacks.
func (r *replica) onServe(s fbft.Serve) {
	r.core.send(s.To, shardkit.ClassSync, 0, protoHint, r.shard, wire.AppendU64(nil, uint64(r.committed)))
}

// onHint follows such a hint. It is not trusted: blocks come with certificates.
func (r *replica) onHint(now time.Duration, from shardkit.NodeID, body []byte) error {
	rd := wire.NewReader(body)
	h := shardkit.Height(rd.U64())
	if err := rd.Close(); err != nil {
		return fmt.Errorf("chain: hint: %w", err)
	}
	r.onBehind(now, fbft.Behind{Peer: from, Height: h + 1})
	return nil
}
