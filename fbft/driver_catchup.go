package fbft

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// How a Node catches up. A core keeps messages of a few heights ahead and no
// more, so a replica that was slow has missed some although nothing was lost,
// and nobody repeats them: the others have gone on, or wait for this very
// replica to lead. So it asks. Whoever is asked answers with all it has from
// that height on; if it is at work on it, it says so and again what it has said
// there, and tells as soon as it knows. A timer, of Config.Resend, runs only for
// the case that the one that was asked does not answer.
const maxKept = 4 * maxTold // blocks that wait for their height

// catchUp is what a Node knows of its own lag and that of others.
type catchUp struct {
	ahead   map[shardkit.NodeID]position // peers that say they work further on
	told    []told                       // answers, of this height and the next ones
	turn    int                          // the member asked last
	debtors map[shardkit.NodeID]bool     // members asked since this node was last up to date
	asked   shardkit.NodeID              // the last one of them, if expect is this height
	expect  shardkit.Height
	waiting bool   // for a timer
	tries   uint64 // to get the body of the decided block

	greetings greetings
}

// position is what a peer has said of where it works. Messages of heights up to
// missed have come from it when they could not be kept; 0: none.
type position struct{ height, missed shardkit.Height }

// told is a block that a peer says was decided.
type told struct {
	from   shardkit.NodeID
	header []byte
	cert   *Certificate
}

func (u *catchUp) init() {
	u.ahead = make(map[shardkit.NodeID]position)
	u.debtors = make(map[shardkit.NodeID]bool)
	u.greetings.heard = make(map[shardkit.NodeID]bool)
}

// later runs f on the node's goroutine, after Resend.
func (n *Node) later(f func()) {
	time.AfterFunc(n.core.cfg.Resend, func() { n.loop.Post(func(time.Duration) { f() }) })
}

// claimed notes that a peer says it works at a height. The core names only
// members, so there are few. It may lie: that makes this node ask, in turn with
// others, and no more.
func (n *Node) claimed(peer shardkit.NodeID, h shardkit.Height) {
	if h <= n.core.height {
		return
	}
	p := n.catchUp.ahead[peer]
	p.height = max(p.height, h)
	if h > n.core.height+maxAhead {
		p.missed = max(p.missed, h)
	}
	n.catchUp.ahead[peer] = p
}

// moved begins a height with what is known of it, and tells those who wait how
// the last one ended.
func (n *Node) moved(now time.Duration, last Decided) {
	n.keepRecent(last)
	u := &n.catchUp
	u.tries = 0
	maps.DeleteFunc(u.ahead, func(_ shardkit.NodeID, p position) bool { return max(p.height, p.missed+1) <= n.core.height })
	if len(u.ahead) == 0 {
		clear(u.debtors)
	}
	u.told = slices.DeleteFunc(u.told, func(t told) bool { return t.cert.Height < n.core.height })
	for _, t := range u.told {
		if t.cert.Height == n.core.height {
			_ = n.core.acceptFrom(now, t.from, t.cert) // what is wrong with it, the core blames
		}
	}
	n.seek()
}

// seek asks a peer for this height: if somebody is past it and messages have
// been missed; if it is decided and the block unknown; or if this replica has no
// vote there, so that nobody sends it anything. Whatever else others
// have said, it only looks again later: their messages are here. Once nobody is
// known to be further on, but messages of this height were missed, it asks
// everybody, who then repeat what they have said.
func (n *Node) seek() {
	u, h := &n.catchUp, n.core.height
	if n.committing {
		return
	}
	lost, ahead, missed := n.unknown() || !n.core.voter, false, false
	for _, p := range u.ahead {
		ahead = ahead || p.height > h
		lost = lost || p.height > h && p.missed >= h
		missed = missed || p.missed >= h
	}
	pending := u.expect == h || slices.ContainsFunc(u.told, func(t told) bool { return t.cert.Height == h })
	switch {
	case pending:
	case lost:
		n.ask(h, !n.core.voter)
	case missed && !ahead:
		clear(u.ahead)
		for _, m := range n.core.committee.members {
			n.question(m.Node, h)
		}
	}
	if (lost || ahead) && !u.waiting {
		u.waiting = true
		n.later(func() { n.overdue(h) })
	}
}

// unknown reports whether this height is decided and its block not known.
func (n *Node) unknown() bool {
	return len(n.ended) > 0 && n.ended[0].Header == nil && n.ended[0].Known == nil && n.judging[n.ended[0].Hash] == nil
}

// overdue asks the next one if nothing has come of height h, or what came does
// not hold. What a peer has said of its height is not forgotten: its answer may
// have been lost, and in a quiet network nobody says it again. But it may be
// lying, and others have gone on without saying so: from here all have a turn.
func (n *Node) overdue(h shardkit.Height) {
	u := &n.catchUp
	u.waiting = false
	if n.core.height != h || n.committing {
		n.seek()
		return
	}
	if u.expect == h {
		u.expect = 0
	}
	u.told = slices.DeleteFunc(u.told, func(t told) bool { return t.cert.Height == h && n.core.decided == nil })
	n.ask(h, true)
	n.seek()
}

// ask asks the next member that should know how height h ended: one that says
// it is past it, or that signed its certificate; or just the next one, if this
// replica only follows, or those who should know did not say. In turn, whoever
// it was last time: one that does not answer is not asked twice while others
// have not been.
func (n *Node) ask(h shardkit.Height, anyone bool) {
	u, members := &n.catchUp, n.core.committee.members
	for range members {
		u.turn = (u.turn + 1) % len(members)
		peer := members[u.turn].Node
		signed := n.core.decided != nil && n.core.decided.Signers.Has(u.turn)
		if peer != n.cfg.Core.Self && (u.ahead[peer].height > h || signed || anyone) {
			u.asked, u.expect = peer, h
			n.question(peer, h)
			return
		}
	}
}

// question asks one peer how a height ended. If it does not come, another is
// asked.
func (n *Node) question(to shardkit.NodeID, h shardkit.Height) {
	if to != n.cfg.Core.Self {
		n.catchUp.debtors[to] = true
		_ = n.cfg.Send(shardkit.Message{To: to, Class: shardkit.ClassSync,
			Data: binary.BigEndian.AppendUint64([]byte{nodeAsk}, uint64(h))})
	}
}

// source returns the header of a decided block, and a member that holds the
// block: one after the other of those that signed.
func (n *Node) source(d Decided) (header []byte, from shardkit.NodeID) {
	signers := d.Certificate.Signers.Indices()
	from = n.core.committee.members[signers[int(n.catchUp.tries)%len(signers)]].Node
	for _, t := range n.catchUp.told {
		if BlockHash(t.header) != d.Hash {
			continue
		}
		if n.catchUp.tries == 0 {
			from = t.from
		}
		return t.header, from
	}
	return d.Known, from
}

// told takes an answer. The certificates are for the core to verify, each when
// its height comes; the headers are kept until then. Of this height every member
// may tell, of later ones only who has been asked, be it about an earlier one: it
// does not say the same again soon.
func (n *Node) told(now time.Duration, from shardkit.NodeID, body []byte) error {
	list, top, err := readTold(body, n.core.cfg.MaxHeader)
	if err != nil {
		return fmt.Errorf("fbft: node: answer: %w", err)
	}
	if !n.core.knows(from) {
		return nil
	}
	n.heardFrom(from)
	n.claimed(from, top)
	u, h, current := &n.catchUp, n.core.height, (*told)(nil)
	for i := range list {
		t := &list[i]
		t.from = from
		at := t.cert.Height
		if at < h || at >= h+maxTold || at > h && !u.debtors[from] {
			continue
		}
		if at == h {
			current = t
		}
		// One block a height and peer: who tells wrong ones takes no room of
		// others.
		same := func(o told) bool { return o.cert.Height == at && o.from == from }
		if slices.ContainsFunc(u.told, same) {
			continue
		}
		if len(u.told) == maxKept {
			// This height comes first: without it none of the later ones is of
			// use.
			if at > h {
				continue
			}
			u.told = slices.Delete(u.told, 0, 1)
		}
		u.told = append(u.told, *t)
	}
	if current == nil {
		n.seek()
		return nil
	}
	if from == u.asked && u.expect == h {
		u.expect = 0
	}
	if len(n.ended) > 0 {
		n.settle()
		return nil
	}
	return n.core.acceptFrom(now, from, current.cert)
}

func readTold(b []byte, maxHeader int) (list []told, top shardkit.Height, err error) {
	r := wire.NewReader(b)
	top = shardkit.Height(r.U64())
	for range r.Count(maxTold, 4) {
		t := told{header: clip(r.Bytes(maxHeader)), cert: readCertificate(r)}
		if r.Err() != nil {
			break
		}
		// The header is tied to its certificate here, the certificate to its
		// committee by the core, when the height comes.
		if t.cert.Phase != Commit || BlockHash(t.header) != t.cert.Block {
			return nil, 0, ErrInvalid
		}
		list = append(list, t)
	}
	if err := r.Close(); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return list, top, nil
}
