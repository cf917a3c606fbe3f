package fbft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/loop"
)

// Application is what a Node orders blocks for. Propose and Validate run on
// goroutines of their own, several at a time; Commit runs alone, in order of
// heights, and the Node goes on to the next height when it returns. The ctx of
// Propose and Validate ends with the height, that of Commit with the Node. A
// panic counts as an error.
type Application interface {
	// Propose returns a header and a reference to its body: of a new block, or,
	// if p.Header is not nil, of that one again. It may wait until there is
	// something to propose. After an error nothing is proposed in this view.
	Propose(ctx context.Context, p Propose) (header, ref []byte, err error)
	// Validate gets the body and judges the block. nil promises that the body
	// is held, durably. One call per block runs at a time. ctx also ends when
	// it is the turn of another member to be asked for the body: in a later view,
	// or after a while if this replica needs the body to lead or to commit. Who
	// holds the body by then may go on. Of a block that is decided it is asked
	// until it succeeds.
	Validate(ctx context.Context, v Validate) error
	// Commit applies a decided block, for which Validate has returned nil since
	// the Node began, and returns the start of the next height; Height, Parent and
	// Previous are filled in. The block should be durable then, with its
	// certificate: if it is not, the Node begins at this height again after a
	// crash and decides the same. An error stops the Node.
	Commit(ctx context.Context, d Decided) (Start, error)
}

// Archive is an Application that serves past heights to peers that lag by more
// than the few that a Node remembers. Its method is called from one goroutine at a
// time, beside those of the other methods.
type Archive interface {
	// Block returns the header and the commit certificate of a height.
	Block(h shardkit.Height) (header []byte, ct *Certificate, ok bool)
}

// Events are told what a Node does, from its goroutine: they must not block.
// Every field may be nil.
type Events struct {
	Decided  func(d Decided)
	Behind   func(b Behind)
	Blame    func(b Blame)
	Evidence func(encoded []byte)
	Archive  func(message []byte) // see Ready.Archive
	Refused  func(from shardkit.NodeID, err error)
}

// NodeConfig is what a Node is made from.
type NodeConfig struct {
	Core  Config // Log is not set here
	App   Application
	Start Start // the height after the application's last block
	// Log keeps the replica's word over restarts, and Records is what OpenLog
	// returned with it. The caller closes it, after Run. nil: the Node forgets,
	// and must be given another key after a restart.
	Log     *Log
	Records [][]byte
	// Send is called from the Node's goroutine and must not block; what it loses
	// is repeated. Data may be shared with other messages: it is only read.
	Send   func(shardkit.Message) error
	Late   bool // Propose is handed late votes; see Core.CollectLate
	Queue  int  // messages that may wait. 0: 8192
	Events Events
	Logger *slog.Logger // nil: silent
}

// NodeStats counts what a Node did.
type NodeStats struct {
	Status    Status
	Decided   uint64 // heights, in this life
	Delivered uint64 // messages
	Refused   uint64 // of them, those that no honest peer sends
	Dropped   uint64 // messages, because the queue was full
	Sent      uint64
	Jobs      uint64
	Records   uint64 // made durable
	Syncs     uint64 // of the disk
}

// Node runs a Core: it gives it a goroutine, a clock, workers, a log and an
// application, and catches up by asking other Nodes. Its methods may be called
// from any goroutine, Stats but not from functions that the Node itself calls on
// its own (Send, Events).
type Node struct {
	cfg  NodeConfig
	core *Core
	loop *loop.Loop
	ctx  context.Context
	stop context.CancelFunc
	work sync.WaitGroup // goroutines that run the application

	decided atomic.Uint64

	// Owned by the loop's goroutine.
	committing bool
	ended      []Decided // decided and not yet committed: at most one
	judging    map[shardkit.Hash]*judgement
	catchUp    catchUp
	answering  answering
	late       []*Certificate  // for the next proposal
	height     context.Context // ends with the height
	endHeight  context.CancelFunc
	failure    error
}

// judgement is a call of Validate for a block of this height, under way or
// with success.
type judgement struct {
	cancel context.CancelFunc
	from   shardkit.NodeID // whom the application gets the body from
	again  *Validate       // the latest request for the same block meanwhile
	header []byte          // of a good block
}

// What a Node's messages begin with.
const (
	nodeCore = 0 // a message of the core
	nodeAsk  = 1 // height: how did it end, and those after it?
	nodeTell = 2 // the teller's height, then header and certificate of each block
)

// NewNode makes a node. It does nothing before Run.
func NewNode(cfg NodeConfig) (*Node, error) {
	if cfg.App == nil || cfg.Send == nil {
		return nil, errors.New("fbft: node: config needs App and Send")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Core.Log = cfg.Records
	core, err := New(cfg.Core)
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, core: core, judging: make(map[shardkit.Hash]*judgement)}
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.height, n.endHeight = context.WithCancel(n.ctx)
	n.catchUp.init()
	n.answering.waiting = make(map[shardkit.NodeID]shardkit.Height)
	lc := loop.Config{Core: nodeLoop{n}, Effects: n.effects, Queue: cfg.Queue, Logger: cfg.Logger,
		Send:     cfg.Send,
		OnRefuse: n.refused,
	}
	if cfg.Log != nil {
		lc.Log, lc.LogSeq = cfg.Log, cfg.Log.LastSeq()
	}
	if n.loop, err = loop.New(lc); err != nil {
		return nil, fmt.Errorf("fbft: node: %w", err)
	}
	if err := core.Start(0, cfg.Start); err != nil {
		n.loop.Close()
		return nil, err
	}
	return n, nil
}

// Run runs the node until ctx is done or Close is called, which is no error,
// or until the log or Commit fails. It may be called once.
func (n *Node) Run(ctx context.Context) error {
	n.loop.Post(func(time.Duration) {
		n.catchUp.turn = max(n.core.self, 0) // not everybody begins with the same one
		n.seek()
		n.greet()
	})
	err := n.loop.Run(ctx)
	n.stop()
	n.work.Wait()
	if err == nil {
		err = n.failure
	}
	return err
}

// Close stops the node and waits for what it started.
func (n *Node) Close() {
	n.stop()
	n.loop.Close()
	n.work.Wait()
}

// Deliver takes a message from a peer that the transport has authenticated. It
// never blocks and takes over msg; an error means that it was dropped.
func (n *Node) Deliver(from shardkit.NodeID, msg []byte) error { return n.loop.Deliver(from, msg) }

// Work tells that there is something to decide at the height the Node is at; see
// Core.Work. For the heights after it Start.Work does.
func (n *Node) Work() { n.loop.Post(func(now time.Duration) { n.core.Work(now) }) }

// Stats returns the counters. It waits for the node's goroutine.
func (n *Node) Stats() NodeStats {
	l := n.loop.Stats()
	s := NodeStats{Delivered: l.Delivered, Refused: l.Refused, Dropped: l.Full,
		Sent: l.Sent, Jobs: l.Jobs, Records: l.Records, Syncs: l.Syncs}
	n.loop.Do(func(time.Duration) { s.Status = n.core.Status() })
	s.Decided = n.decided.Load()
	return s
}

// nodeLoop is the node as its loop sees it.
type nodeLoop struct{ n *Node }

// Deliver implements loop.Core.
func (l nodeLoop) Deliver(now time.Duration, from shardkit.NodeID, msg []byte) error {
	if len(msg) == 0 {
		return fmt.Errorf("fbft: node: empty message: %w", ErrMalformed)
	}
	switch body := msg[1:]; msg[0] {
	case nodeCore:
		return l.n.core.Deliver(now, from, body)
	case nodeAsk:
		if len(body) == 8 {
			l.n.answer(now, question{from: from, height: shardkit.Height(binary.BigEndian.Uint64(body)), most: maxTold})
			return nil
		}
	case nodeTell:
		return l.n.told(now, from, body)
	}
	return fmt.Errorf("fbft: node: %w", ErrMalformed)
}

// Done implements loop.Core.
func (l nodeLoop) Done(now time.Duration, result any) { l.n.core.Done(now, result) }

// Persisted implements loop.Core.
func (l nodeLoop) Persisted(now time.Duration, seq uint64) { l.n.core.Persisted(now, seq) }

// Tick implements loop.Core.
func (l nodeLoop) Tick(now time.Duration) { l.n.core.Tick(now) }

// Wake implements loop.Core.
func (l nodeLoop) Wake() (time.Duration, bool) { return l.n.core.Wake() }

func (n *Node) refused(from shardkit.NodeID, err error) {
	n.cfg.Logger.Debug("message refused", "from", from, "err", err)
	if n.cfg.Events.Refused != nil {
		n.cfg.Events.Refused(from, err)
	}
}

// effects drains the core: what the loop carries out it returns, the rest goes
// to the application.
func (n *Node) effects() loop.Effects {
	e := n.core.Ready()
	frame(e.Messages)
	out := loop.Effects{Records: e.Records, Seq: e.Seq, Messages: e.Messages, Jobs: e.Jobs}
	// Not before the application has the block: if it falls now it begins at
	// this height again, and the records must be there.
	if !n.committing && len(n.ended) == 0 {
		out.Prune = e.Prune
	}
	n.late = append(n.late, e.Late...)
	for _, p := range e.Propose {
		if p.Header == nil {
			p.Late, n.late = n.late, nil
		}
		n.propose(p)
	}
	for _, v := range e.Validate {
		n.validate(v)
	}
	for _, s := range e.Serve {
		n.answer(n.core.now, question{from: s.To, height: s.Height, most: 1})
	}
	for _, b := range e.Behind {
		tell(n.cfg.Events.Behind, b)
		n.claimed(b.Peer, b.Height)
	}
	for _, b := range e.Blame {
		tell(n.cfg.Events.Blame, b)
	}
	for _, b := range e.Evidence {
		tell(n.cfg.Events.Evidence, b)
	}
	for _, m := range e.Archive {
		tell(n.cfg.Events.Archive, m)
	}
	for _, d := range e.Decided {
		tell(n.cfg.Events.Decided, d)
		n.ended = append(n.ended, d)
		n.settle()
	}
	if len(e.Behind) > 0 {
		n.seek()
	}
	return out
}

// frame puts the node's mark before what the core sends. Messages that share
// their bytes, as those to all members do, go on sharing them.
func frame(list []shardkit.Message) {
	var last, framed []byte
	for i := range list {
		m := &list[i]
		if len(last) == 0 || &m.Data[0] != &last[0] || len(m.Data) != len(last) {
			last, framed = m.Data, append([]byte{nodeCore}, m.Data...)
		}
		m.Data = framed
	}
}

func tell[T any](f func(T), v T) {
	if f != nil {
		f(v)
	}
}

// call runs f of the application on its own goroutine and then back on the
// node's. A panic becomes an error.
func (n *Node) call(f func() error, then func(now time.Duration, err error)) {
	n.work.Go(func() {
		err := guarded(f)
		n.loop.Post(func(now time.Duration) { then(now, err) })
	})
}

// A block made to crash the application must cost the view it was proposed in,
// not the replica.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("fbft: application panicked: %v", p)
		}
	}()
	return f()
}

func (n *Node) propose(p Propose) {
	var header, ref []byte
	// the one of now: a height may end before the goroutine begins
	ctx := n.height
	n.call(func() (err error) {
		header, ref, err = n.cfg.App.Propose(ctx, p)
		return err
	}, func(now time.Duration, err error) {
		if err == nil && len(header) > 0 {
			err = n.core.Proposed(now, p.Height, p.View, header, ref)
		}
		if err != nil {
			n.cfg.Logger.Warn("nothing proposed", "height", p.Height, "view", p.View, "err", err)
		}
	})
}

// validate has the application get and judge a block, once at a time.
func (n *Node) validate(v Validate) {
	switch j := n.judging[v.Hash]; {
	// One call a block: whoever announces it often must not have it executed
	// often. The latest request waits, for it may have a better reference. If it
	// names another member, the one before had its time, and may never answer.
	case j == nil:
		ctx, cancel := context.WithCancel(n.height)
		n.judge(ctx, cancel, v)
	case j.header == nil:
		j.again = &v
		if v.From != j.from {
			j.cancel()
		}
	// Posted, not called: this runs while the core's effects are drained.
	default:
		n.loop.Post(func(now time.Duration) { n.core.Validated(now, v.Hash, nil) })
	}
}

func (n *Node) judge(ctx context.Context, cancel context.CancelFunc, v Validate) {
	j := &judgement{cancel: cancel, from: v.From}
	n.judging[v.Hash] = j
	n.call(func() error { return n.cfg.App.Validate(ctx, v) },
		func(now time.Duration, err error) { n.judged(now, v, j, err) })
}

func (n *Node) judged(now time.Duration, v Validate, j *judgement, err error) {
	j.cancel()
	if n.judging[v.Hash] != j {
		return // of a height that is over
	}
	decided := len(n.ended) > 0 && n.ended[0].Hash == v.Hash
	if err == nil {
		j.header = v.Header
		n.core.Validated(now, v.Hash, nil)
		if decided {
			n.settle()
		}
		return
	}
	delete(n.judging, v.Hash)
	n.cfg.Logger.Warn("block not validated", "height", v.Height, "hash", v.Hash, "from", v.From, "decided", decided, "err", err)
	switch {
	// A quorum found it good, so it was the member asked, or the network.
	case decided:
		n.catchUp.tries++
		n.later(n.settle)
	case j.again != nil:
		n.validate(*j.again) // it may be certified by now
	}
}

// settle has the decided block committed. If the application has not validated
// it, it has to get the body first, and the node the header.
func (n *Node) settle() {
	if n.committing || len(n.ended) == 0 {
		return
	}
	d := n.ended[0]
	j := n.judging[d.Hash]
	if d.Header == nil && j != nil {
		d.Header = j.header // judged while the certificate was on its way
	}
	if d.Header != nil {
		n.commit(d)
		return
	}
	// Who is asked for the block may never answer: each has its time.
	patience := n.core.timeout(n.catchUp.tries)
	// It is being fetched from whoever announced it, with no time limit but the
	// height, which does not end before: so it gets one.
	if j != nil {
		time.AfterFunc(patience, j.cancel)
		return
	}
	header, from := n.source(d)
	if header == nil {
		n.seek()
		return
	}
	ctx, cancel := context.WithTimeout(n.height, patience)
	n.judge(ctx, cancel, Validate{Height: d.Height, View: d.Certificate.View, Hash: d.Hash, Header: header,
		From: from, Certified: true})
}

func (n *Node) commit(d Decided) {
	n.committing = true
	var next Start
	n.call(func() (err error) {
		next, err = n.cfg.App.Commit(n.ctx, d)
		return err
	}, func(now time.Duration, err error) {
		n.committing = false
		n.ended = n.ended[1:]
		// What the application still does for this height is of no use: end it,
		// and forget what was judged, whose answers would be taken for the next
		// height's.
		n.endHeight()
		n.height, n.endHeight = context.WithCancel(n.ctx)
		clear(n.judging)
		next.Height, next.Parent, next.Previous = d.Height+1, d.Hash, d.Certificate
		if err == nil {
			n.decided.Add(1)
			err = n.core.Start(now, next)
		}
		if err != nil {
			n.failure = fmt.Errorf("fbft: node: height %d: %w", d.Height, err)
			n.cfg.Logger.Error("stopped", "err", n.failure)
			n.work.Go(n.loop.Close) // which waits for this very goroutine
			return
		}
		if n.cfg.Late && n.core.leaderAt(n.core.height+1, 0) == n.core.self {
			n.late = nil
			n.core.CollectLate(now) // done by the time it is this replica's turn
		}
		n.moved(now, d)
	})
}
