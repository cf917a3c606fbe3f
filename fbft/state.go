package fbft

import (
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Clone returns an independent copy, with the effects that were not drained yet.
// Results of jobs handed out before may be given to both. What is never changed
// once made (committees, certificates, byte strings) is shared.
func (c *Core) Clone() *Core {
	// Slices are copied because they are appended to and changed in place; the
	// latest vote and report because their signatures are filled in later. A lock,
	// a proposal, a report of a peer is replaced, never changed.
	d := *c
	d.ready = c.ready.clone()
	// the boxes themselves went with *c
	for k := range d.early {
		d.early[k].list = slices.Clone(c.early[k].list)
	}
	d.ring = slices.Clone(c.ring)
	d.late = slices.Clone(c.late)
	d.answers.entries = slices.Clone(c.answers.entries)
	d.guests.entries = slices.Clone(c.guests.entries)
	d.hints.entries = slices.Clone(c.hints.entries)
	if c.vote != nil {
		v := *c.vote
		d.vote = &v
	}
	if c.report != nil {
		p := *c.report
		d.report = &p
	}
	d.own = slices.Clone(c.own)
	d.blocks = slices.Clone(c.blocks)
	d.certs = slices.Clone(c.certs)
	d.peers = slices.Clone(c.peers)
	d.checks = slices.Clone(c.checks)
	d.bad = slices.Clone(c.bad)
	return &d
}

func (r *Ready) clone() Ready {
	return Ready{
		Records: slices.Clone(r.Records), Seq: r.Seq, Prune: r.Prune,
		Messages: slices.Clone(r.Messages), Jobs: slices.Clone(r.Jobs),
		Propose: slices.Clone(r.Propose), Validate: slices.Clone(r.Validate),
		Decided: slices.Clone(r.Decided), Serve: slices.Clone(r.Serve), Behind: slices.Clone(r.Behind),
		Late:     slices.Clone(r.Late),
		Evidence: slices.Clone(r.Evidence), Archive: slices.Clone(r.Archive), Blame: slices.Clone(r.Blame),
	}
}

// AppendState appends all that decides what this replica will do at its height
// except when: two cores with equal states, drained of their effects, answer
// equal inputs with equal outputs, timers being either running or not. A
// search uses it to recognise states it has seen.
//
// Left out is what does not change how this height ends: when things are due,
// how often peers are answered, late votes of heights before, numbers of
// records and jobs.
func (c *Core) AppendState(b []byte) []byte {
	b = wire.AppendBool(b, c.started)
	// before that only the configuration counts, which is the searcher's own
	if !c.started {
		return b
	}
	b = c.appendPlace(b)
	b = c.appendWord(b)
	b = c.appendView(b)
	for i := range c.peers {
		b = c.peers[i].appendTo(b)
	}
	b = wire.AppendU32(b, uint32(len(c.checks)))
	// who sent it decides who is banned, and whose next one is let in
	for i := range c.checks {
		b = append(b, c.checks[i].from[:]...)
		b = append(b, c.checks[i].kind)
		b = append(b, c.checks[i].key[:]...)
	}
	b = appendHashes(b, c.bad)
	b = wire.AppendU32(b, uint32(len(c.ring)))
	for i := range c.ring {
		b = c.ring[i].cert.appendTo(b)
	}
	// in order of arrival, in which Start takes them
	for k := range c.early {
		b = wire.AppendU32(b, uint32(len(c.early[k].list)))
		for _, e := range c.early[k].list {
			b = append(b, e.from[:]...)
			b = wire.AppendBytes(b, e.data)
		}
	}
	b = wire.AppendBytes(b, c.holds)
	return wire.AppendU32(b, uint32(c.polls))
}

// appendPlace appends where the replica stands. The parent and the committee
// are in it because statements are signed under them, work and the alarms
// because they say whether silence is a fault.
func (c *Core) appendPlace(b []byte) []byte {
	b = wire.AppendU64(b, uint64(c.epoch))
	b = wire.AppendU64(b, uint64(c.height))
	b = append(b, c.parent[:]...)
	b = append(b, c.committee.hash[:]...)
	b = wire.AppendBool(b, c.voter)
	b = wire.AppendBool(b, c.work)
	b = appendOptional(b, c.decided)
	b = wire.AppendU64(b, c.view)
	b = wire.AppendBool(b, c.timer.on)
	return wire.AppendBool(b, c.resend.on)
}

// appendWord appends what the replica has said and is bound by. Where there is
// no signature, signing tells a job under way from one that failed.
func (c *Core) appendWord(b []byte) []byte {
	b = wire.AppendU64(b, c.reported)
	b = wire.AppendBool(b, c.report != nil)
	if o := c.report; o != nil {
		b = wire.AppendBool(o.report.appendTo(b), o.signing)
	}
	b = wire.AppendBool(b, c.vote != nil)
	if o := c.vote; o != nil {
		b = wire.AppendBool(o.vote.appendTo(b), o.signing)
	}
	b = wire.AppendU32(b, uint32(len(c.own)))
	for i := range c.own {
		o := &c.own[i]
		b = wire.AppendBool(b, o.vote != nil)
		b = wire.AppendBool(b, o.report != nil)
		// its number means nothing to another core; whether it may be acted on
		// does
		b = wire.AppendBool(b, o.seq <= c.durable)
	}
	b = wire.AppendBool(b, c.lock != nil)
	if c.lock != nil {
		b = c.lock.cert.appendTo(b)
	}
	return b
}

// appendView appends what the replica knows of its view and of the candidates.
// Headers are left out, as their hashes are in; so are numbers of jobs, of
// which only matters whether one runs.
func (c *Core) appendView(b []byte) []byte {
	b = appendCurrent(b, c.proposal)
	b = appendCurrent(b, c.stored)
	b = appendOptional(b, c.prepared)
	b = wire.AppendU32(b, uint32(len(c.blocks)))
	for i := range c.blocks {
		b = append(b, c.blocks[i].hash[:]...)
		b = wire.AppendBool(b, c.blocks[i].valid)
		b = wire.AppendU32(b, uint32(c.blocks[i].asks))
		b = wire.AppendU32(b, uint32(c.blocks[i].turn))
	}
	b = wire.AppendU32(b, uint32(len(c.certs)))
	for _, ct := range c.certs {
		b = ct.appendTo(b)
	}
	for _, id := range c.combining {
		b = wire.AppendBool(b, id != 0)
	}
	b = wire.AppendBool(b, c.lead.gathering != 0)
	b = wire.AppendBool(b, c.lead.proposed)
	b = wire.AppendBool(b, c.lead.proof != nil)
	if c.lead.proof != nil {
		b = c.lead.proof.appendTo(b)
	}
	return b
}

// The message determines the rest.
func appendCurrent(b []byte, p *current) []byte {
	b = wire.AppendBool(b, p != nil)
	if p == nil {
		return b
	}
	b = wire.AppendBool(b, p.own)
	return wire.AppendBytes(b, p.raw)
}

func appendHashes(b []byte, list []shardkit.Hash) []byte {
	b = wire.AppendU32(b, uint32(len(list)))
	for _, h := range list {
		b = append(b, h[:]...)
	}
	return b
}

// What stands in a place nobody has voted in is left over and means nothing.
func (p *peer) appendTo(b []byte) []byte {
	for k := range p.votes {
		b = wire.AppendBool(b, p.voted[k])
		if p.voted[k] {
			b = p.votes[k].appendTo(b)
		}
		b = wire.AppendBool(b, p.alone[k])
		b = wire.AppendU64(b, p.tried[k])
	}
	b = wire.AppendBool(b, p.banned)
	b = append(b, p.accused)
	b = wire.AppendBool(b, p.report != nil)
	if p.report != nil {
		b = p.report.appendTo(b)
	}
	return b
}
