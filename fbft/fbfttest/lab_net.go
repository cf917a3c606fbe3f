package fbfttest

import (
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
)

// This file is what goes on between the actors of a Lab: messages, timers,
// disks and crashes.

// pump carries out an actor's effects until there are none.
func (l *Lab) pump(i int) {
	a := l.actors[i]
	for a.core != nil {
		e := a.core.Ready()
		for _, rec := range e.Records {
			a.pending = append(a.pending, append([]byte{logCore}, rec...))
		}
		a.seq = e.Seq
		a.held = append(a.held, e.Messages...)
		if !a.hold {
			l.sync(i, len(a.pending))
		}
		l.release(i, a)
		for _, j := range e.Jobs {
			l.Jobs++
			a.core.Done(a.now, j.Run())
		}
		for _, p := range e.Propose {
			l.propose(i, p)
		}
		for _, v := range e.Validate {
			l.validate(i, v)
		}
		l.note(i, &e)
		for _, d := range e.Decided {
			l.onDecided(i, d)
		}
		if len(e.Jobs)+len(e.Propose)+len(e.Validate)+len(e.Decided)+len(e.Records) == 0 {
			return
		}
	}
}

// sync makes the first n pending records durable.
func (l *Lab) sync(i, n int) {
	a := l.actors[i]
	a.durable = append(a.durable, a.pending[:n]...)
	a.pending = a.pending[n:]
	a.core.Persisted(a.now, a.durableSeq())
}

// durableSeq is the number of the core's last durable record in this life.
func (a *actor) durableSeq() uint64 {
	n := a.seq
	for _, rec := range a.pending {
		if rec[0] == logCore {
			n--
		}
	}
	return n
}

// release sends what no longer waits for a record.
func (l *Lab) release(i int, a *actor) {
	durable := a.durableSeq()
	keep := a.held[:0:0]
	for _, m := range a.held {
		if m.After > durable {
			keep = append(keep, m)
			continue
		}
		out := []Mail{mail(slices.Index(l.ids, m.To), m.Data)}
		if a.agent != nil {
			out = l.cfg.Adversaries[i].Sends(a.agent, out[0])
		}
		l.post(i, out)
	}
	a.held = keep
}

// post puts messages in flight, to every machine of their nodes.
func (l *Lab) post(from int, list []Mail) {
	for _, m := range list {
		for to, b := range l.actors {
			if b.node == m.To {
				l.fly(Packet{From: from, To: to, Data: m.Data, Info: m.Info})
			}
		}
	}
}

// fly puts a packet in flight. The same message twice between the same two is
// in flight once.
func (l *Lab) fly(p Packet) {
	l.Sent = append(l.Sent, p)
	same := func(o Packet) bool { return o.From == p.From && o.To == p.To && string(o.Data) == string(p.Data) }
	if !slices.ContainsFunc(l.Flight, same) {
		l.Flight = append(l.Flight, p)
		l.log("%d>%d %s", p.From, p.To, l.Describe(p.Data))
	}
}

// Send delivers a message at once, as from an actor, and returns what Deliver
// said.
func (l *Lab) Send(from, to int, data []byte) error {
	a := l.actors[to]
	if a.core == nil {
		return nil
	}
	if a.agent != nil {
		keep, out := l.cfg.Adversaries[to].Gets(a.agent, l.actors[from].node, mail(to, data))
		if l.post(to, out); !keep {
			return nil
		}
	}
	err := a.core.Deliver(a.now, l.ID(from), data)
	l.pump(to)
	return err
}

// Deliver delivers a packet in flight, by its place.
func (l *Lab) Deliver(k int) {
	p := l.Flight[k]
	l.Flight = slices.Delete(l.Flight, k, k+1)
	if err := l.Send(p.From, p.To, p.Data); err != nil {
		l.Refused = append(l.Refused, fmt.Errorf("%d from %d: %w", p.To, p.From, err))
	}
}

// Harvest is the certificate that the silent nodes can make out of the votes
// that were sent to them and their own signatures; nil if that is no quorum.
func (l *Lab) Harvest(h shardkit.Height, phase fbft.Phase, view uint64, block, newView shardkit.Hash) *fbft.Certificate {
	members := slices.Clone(l.cfg.Silent)
	for _, p := range l.Flight {
		want := l.Forger(h).Vote(l.actors[p.From].node, phase, view, block, newView)
		if slices.Contains(l.cfg.Silent, p.To) && string(p.Data) == string(want) && !slices.Contains(members, p.From) {
			members = append(members, p.From)
		}
	}
	ct := l.Forger(h).Certificate(phase, view, block, newView, members...)
	if l.Committee.Weight(ct.Signers) < l.Committee.Quorum() {
		return nil
	}
	return ct
}

// Run delivers packets in order, as long as there are any that pass. nil: all.
func (l *Lab) Run(pass func(p Packet) bool) {
	for {
		k := slices.IndexFunc(l.Flight, func(p Packet) bool { return pass == nil || pass(p) })
		if k < 0 {
			return
		}
		l.Deliver(k)
	}
}

// Drop loses packets in flight.
func (l *Lab) Drop(which func(p Packet) bool) { l.Flight = slices.DeleteFunc(l.Flight, which) }

// Timeout lets the timers of actors run out.
func (l *Lab) Timeout(actors ...int) { l.tick(2*labTimeout, actors) }

// Resend lets actors repeat themselves.
func (l *Lab) Resend(actors ...int) { l.tick(labResend, actors) }

// tick lets time pass for actors, one after the other.
func (l *Lab) tick(d time.Duration, actors []int) {
	for _, i := range actors {
		if a := l.actors[i]; a.core != nil {
			a.now += d
			a.core.Tick(a.now)
			l.pump(i)
		}
	}
}

// HoldDisk keeps an actor's records from becoming durable, or lets go of them.
func (l *Lab) HoldDisk(i int, on bool) {
	l.actors[i].hold = on
	l.pump(i)
}

// Pending returns how many records of an actor wait for the disk.
func (l *Lab) Pending(i int) int { return len(l.actors[i].pending) }

// Crash stops an actor. Of its records that were not durable the first keep
// survive.
func (l *Lab) Crash(i, keep int) {
	a := l.actors[i]
	a.durable = append(a.durable, a.pending[:min(keep, len(a.pending))]...)
	a.core, a.pending, a.held, a.hold = nil, nil, nil, false
}

// Restart starts a crashed actor from its durable records. Its ledger has what
// it had decided, or nothing if forget is set.
func (l *Lab) Restart(i int, forget bool) {
	if forget {
		l.actors[i].chain = nil
	}
	if err := l.boot(i, l.actors[i]); err != nil {
		l.fail("restart of %d: %v", i, err)
	}
}
