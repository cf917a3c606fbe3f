package fbft

import (
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// How a Node answers those who catch up. The latest blocks it has at hand. Older
// ones are read from the application's Archive, on a goroutine of their own: one
// read at a time, and each peer has one place in the line. So whoever asks, and
// however often, does not hold up consensus, nor for long anybody else who asks.
const (
	maxTold    = 16        // blocks of an answer
	maxAnswer  = 256 << 10 // bytes after which an answer has no further block
	maxWaiting = 1024      // strangers that wait for a height to end, about
	maxLine    = 64        // strangers in the line
	maxRecent  = 32        // blocks remembered to answer with
)

// answering is what a Node knows of those who ask it. Members are few; strangers,
// who are any number, are counted apart, or they would shut out members.
type answering struct {
	recent  []Decided                           // the latest blocks, ascending
	waiting map[shardkit.NodeID]shardkit.Height // peers that want to know how a height ends
	members limiter
	guests  limiter // of answers to nodes that have no part in this height

	line      []question // members first
	strangers int        // in line
	reading   bool
}

// question asks how heights from one on ended, most of them at once.
type question struct {
	from   shardkit.NodeID
	height shardkit.Height
	most   int
	guest  bool // of a stranger; set when it is taken
}

// limiter returns the limiter of the answers to a question.
func (a *answering) limiter(q question) *limiter {
	if q.guest {
		return &a.guests
	}
	return &a.members
}

// answer answers a question in one message: parts would cross the peer's next
// question. If it is one that this node has as well it says where it is, and tells
// when it knows; or the peer is further on, which is news here. No peer gets the
// same block again within a while.
func (n *Node) answer(now time.Duration, q question) {
	a, h := &n.answering, n.core.height
	q.guest = !n.core.knows(q.from)
	if !a.limiter(q).allow(now, n.core.cfg.Resend/2, q.from, q.height) {
		return
	}
	if q.height < h {
		n.serve(q)
		return
	}
	n.tell(q.from)
	if q.height == h {
		n.core.remind(q.from)
	}
	// What is far ahead is not worth a place.
	if _, ok := a.waiting[q.from]; q.height < h+maxTold && (ok || !q.guest || len(a.waiting) < maxWaiting) {
		a.waiting[q.from] = q.height
	}
	if !q.guest {
		n.claimed(q.from, q.height)
		n.seek()
	}
}

// keepRecent remembers a block that is committed, and tells it to those who wait
// for it.
func (n *Node) keepRecent(last Decided) {
	a := &n.answering
	if len(a.recent) == maxRecent {
		a.recent = slices.Delete(a.recent, 0, 1)
	}
	a.recent = append(a.recent, last)
	for to, h := range a.waiting {
		if h == last.Height {
			n.tell(to, last)
			delete(a.waiting, to)
		}
	}
}

// serve answers with blocks that are committed: at once, if they are among the
// latest.
func (n *Node) serve(q question) {
	a, top := &n.answering, n.core.height
	recent := func(h shardkit.Height) (d Decided, ok bool) {
		if k := len(a.recent) - int(top-h); h < top && k >= 0 {
			return a.recent[k], true
		}
		return d, false
	}
	_, archive := n.cfg.App.(Archive)
	if _, ok := recent(q.height); ok || !archive {
		n.reply(q, q.collect(recent))
		return
	}
	at := slices.IndexFunc(a.line, func(o question) bool { return o.from == q.from })
	switch {
	case at >= 0:
		q.guest = a.line[at].guest
		a.line[at] = q
	case !q.guest:
		a.line = slices.Insert(a.line, len(a.line)-a.strangers, q)
	case a.strangers < maxLine:
		a.line = append(a.line, q)
		a.strangers++
	}
	n.read()
}

// read reads the blocks for who is first in line.
func (n *Node) read() {
	a, top := &n.answering, n.core.height
	if a.reading || len(a.line) == 0 {
		return
	}
	q := a.line[0]
	a.line = slices.Delete(a.line, 0, 1)
	if q.guest {
		a.strangers--
	}
	a.reading = true
	archive, list := n.cfg.App.(Archive), []Decided(nil)
	n.call(func() error {
		list = q.collect(func(h shardkit.Height) (d Decided, ok bool) {
			if h >= top {
				return d, false
			}
			header, ct, ok := archive.Block(h)
			if !ok {
				return d, false
			}
			return Decided{Height: h, Hash: ct.Block, Header: header, Certificate: ct}, true
		})
		return nil
	}, func(_ time.Duration, err error) {
		if err != nil {
			n.cfg.Logger.Warn("archive failed", "height", q.height, "err", err)
		}
		a.reading = false
		n.reply(q, list)
		n.read()
	})
}

// collect returns the blocks of an answer.
func (q question) collect(get func(h shardkit.Height) (Decided, bool)) (list []Decided) {
	for size := 0; len(list) < q.most && size < maxAnswer; {
		d, ok := get(q.height + shardkit.Height(len(list)))
		if !ok {
			break
		}
		size += len(d.Header) + len(d.Certificate.Aggregate)
		list = append(list, d)
	}
	return list
}

// reply sends an answer. The peer may ask for what comes after it at once.
func (n *Node) reply(q question, list []Decided) {
	if len(list) > 0 {
		n.answering.limiter(q).raise(q.from, list[len(list)-1].Height)
	}
	n.tell(q.from, list...)
}

// tell sends decided blocks, with how far this node is itself.
func (n *Node) tell(to shardkit.NodeID, list ...Decided) {
	told := make([]told, len(list))
	for i, d := range list {
		told[i].header, told[i].cert = d.Header, d.Certificate
	}
	_ = n.cfg.Send(shardkit.Message{To: to, Class: shardkit.ClassSync,
		Data: appendTold([]byte{nodeTell}, n.core.height, told)}) // the peer asks again
}

func appendTold(b []byte, top shardkit.Height, list []told) []byte {
	b = wire.AppendU32(wire.AppendU64(b, uint64(top)), uint32(len(list)))
	for _, t := range list {
		b = t.cert.appendTo(wire.AppendBytes(b, t.header))
	}
	return b
}
