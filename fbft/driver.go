package fbft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/loop"
)

// Application is what a Node orders blocks for. Propose and Validate run on
// goroutines of their own, several at a time; Commit runs alone, in order of
// heights, and the Node goes on to the next height when it returns. ctx ends
// with the Node. A panic counts as an error.
type Application interface {
	// Propose returns a header and a reference to its body: of a new block, or,
	// if p.Header is not nil, of that one again. It may wait until there is
	// something to propose. After an error nothing is proposed in this view.
	Propose(ctx context.Context, p Propose) (header, ref []byte, err error)
	// Validate gets the body and judges the block. nil promises that the body
	// is held, durably.
	Validate(ctx context.Context, v Validate) error
	// Commit applies a decided block and returns the start of the next height;
	// Height, Parent and Previous are filled in. An error stops the Node.
	Commit(ctx context.Context, d Decided) (Start, error)
}

// Archive is an Application that serves past heights to peers that lag. Its
// method is called from any goroutine.
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
	// returned with it. nil: the Node forgets, and must be given another key
	// after a restart.
	Log     *Log
	Records [][]byte
	Send    func(shardkit.Message) error // must not block; what it loses is repeated
	Queue   int                          // messages that may wait. 0: 8192
	Events  Events
	Logger  *slog.Logger // nil: silent
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
// application. Its methods may be called from any goroutine.
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
	ahead      []ahead   // headers that peers sent for heights that are decided elsewhere
	asked      int       // whom to ask next
	failure    error
}

// ahead is a header that came with a certificate for the current height.
type ahead struct {
	from   shardkit.NodeID
	header []byte
}

// What a Node's messages begin with.
const (
	nodeCore = 0 // a message of the core
	nodeAsk  = 1 // height: how did it end?
	nodeTell = 2 // length of the header, header, certificate
)

// askEvery is how often a Node asks for a block that it lacks.
const askEvery = 200 * time.Millisecond

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
	n := &Node{cfg: cfg, core: core}
	n.ctx, n.stop = context.WithCancel(context.Background())
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

// Work tells that there is something to decide; see Core.Work.
func (n *Node) Work() { n.loop.Post(func(now time.Duration) { n.core.Work(now) }) }

// Stats returns the counters. It waits for the node's goroutine.
func (n *Node) Stats() NodeStats {
	l := n.loop.Stats()
	s := NodeStats{Decided: n.decided.Load(), Delivered: l.Delivered, Refused: l.Refused, Dropped: l.Full,
		Sent: l.Sent, Jobs: l.Jobs, Records: l.Records, Syncs: l.Syncs}
	n.loop.Do(func(time.Duration) { s.Status = n.core.Status() })
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
			l.n.serve(from, shardkit.Height(binary.BigEndian.Uint64(body)))
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
	for i := range e.Messages {
		e.Messages[i].Data = append([]byte{nodeCore}, e.Messages[i].Data...)
	}
	out := loop.Effects{Records: e.Records, Seq: e.Seq, Messages: e.Messages, Jobs: e.Jobs}
	if !n.committing && len(n.ended) == 0 {
		out.Prune = e.Prune
	}
	for _, p := range e.Propose {
		n.propose(p)
	}
	for _, v := range e.Validate {
		n.validate(v)
	}
	for _, s := range e.Serve {
		n.serve(s.To, s.Height)
	}
	for _, b := range e.Behind {
		tell(n.cfg.Events.Behind, b)
		n.ask(b.Peer, n.core.Status().Height)
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
	return out
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
	n.call(func() (err error) {
		header, ref, err = n.cfg.App.Propose(n.ctx, p)
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

func (n *Node) validate(v Validate) {
	n.call(func() error { return n.cfg.App.Validate(n.ctx, v) }, func(now time.Duration, err error) {
		if err != nil {
			n.cfg.Logger.Warn("block refused", "height", v.Height, "hash", v.Hash, "err", err)
		}
		n.core.Validated(now, v.Hash, err)
	})
}

// settle has the decided block committed. If the application has not validated
// it, it has to get the body first, and the node the header.
func (n *Node) settle() {
	if n.committing || len(n.ended) == 0 {
		return
	}
	d := n.ended[0]
	if d.Header == nil {
		if d.Known != nil {
			leader := n.core.committee.members[n.core.leader(d.Certificate.View)].Node
			n.fetch(d, ahead{from: leader, header: d.Known})
			return
		}
		k := 0
		for k < len(n.ahead) && BlockHash(n.ahead[k].header) != d.Hash {
			k++
		}
		if k == len(n.ahead) {
			n.askAround(d.Height)
			return
		}
		n.fetch(d, n.ahead[k])
		return
	}
	n.commit(d)
}

// fetch has the application get and judge the body of a block that is decided.
func (n *Node) fetch(d Decided, a ahead) {
	n.committing = true
	v := Validate{Height: d.Height, View: d.Certificate.View, Hash: d.Hash, Header: a.header, From: a.from, Certified: true}
	n.call(func() error { return n.cfg.App.Validate(n.ctx, v) }, func(_ time.Duration, err error) {
		n.committing = false
		if err != nil {
			n.cfg.Logger.Warn("decided block not to be had yet", "height", d.Height, "err", err)
			n.askAround(d.Height)
			return
		}
		n.ended[0].Header = a.header
		n.settle()
	})
}

func (n *Node) commit(d Decided) {
	n.committing = true
	var next Start
	n.call(func() (err error) {
		next, err = n.cfg.App.Commit(n.ctx, d)
		return err
	}, func(now time.Duration, err error) {
		n.committing = false
		n.ended, n.ahead = n.ended[1:], nil
		next.Height, next.Parent, next.Previous = d.Height+1, d.Hash, d.Certificate
		if err == nil {
			n.decided.Add(1)
			err = n.core.Start(now, next)
		}
		if err != nil {
			n.failure = fmt.Errorf("fbft: node: height %d: %w", d.Height, err)
			n.cfg.Logger.Error("stopped", "err", n.failure)
			n.work.Go(n.loop.Close) // which waits for this very goroutine
		}
	})
}

// ask asks a peer how a height ended.
func (n *Node) ask(peer shardkit.NodeID, h shardkit.Height) {
	_ = n.cfg.Send(shardkit.Message{To: peer, Class: shardkit.ClassSync,
		Data: binary.BigEndian.AppendUint64([]byte{nodeAsk}, uint64(h))}) // asked again if lost
}

// askAround asks one member after the other for the header of a decided block,
// until it has come.
func (n *Node) askAround(h shardkit.Height) {
	members := n.core.committee.members
	n.asked++
	n.ask(members[n.asked%len(members)].Node, h)
	time.AfterFunc(askEvery, func() {
		n.loop.Post(func(time.Duration) {
			if len(n.ended) > 0 && n.ended[0].Height == h {
				n.settle()
			}
		})
	})
}

// serve sends a peer what it asked for, if the application has it.
func (n *Node) serve(to shardkit.NodeID, h shardkit.Height) {
	archive, ok := n.cfg.App.(Archive)
	if !ok {
		return
	}
	header, ct, ok := archive.Block(h)
	if !ok {
		return
	}
	data := binary.BigEndian.AppendUint32([]byte{nodeTell}, uint32(len(header)))
	data = ct.appendTo(append(data, header...))
	_ = n.cfg.Send(shardkit.Message{To: to, Class: shardkit.ClassSync, Data: data}) // the peer asks again
}

// told takes an answer to ask. The certificate is for the core to verify; the
// header is kept until the height is decided.
func (n *Node) told(now time.Duration, from shardkit.NodeID, body []byte) error {
	if len(body) < 4 {
		return fmt.Errorf("fbft: node: answer: %w", ErrMalformed)
	}
	size := binary.BigEndian.Uint32(body)
	if body = body[4:]; uint64(size) > uint64(min(len(body), n.core.cfg.MaxHeader)) {
		return fmt.Errorf("fbft: node: answer: %w", ErrMalformed)
	}
	var ct Certificate
	if err := ct.UnmarshalBinary(body[size:]); err != nil {
		return fmt.Errorf("fbft: node: answer: %w: %w", ErrMalformed, err)
	}
	header := clip(body[:size])
	if ct.Height != n.core.height || BlockHash(header) != ct.Block {
		return nil // late, or of no use
	}
	if len(n.ended) > 0 { // the height is decided: only its header is of use
		if ct.Block == n.ended[0].Hash {
			n.ahead = []ahead{{from: from, header: header}}
			n.settle()
		}
		return nil
	}
	if len(n.ahead) == maxBlocks {
		n.ahead = slices.Clone(n.ahead[1:])
	}
	n.ahead = append(n.ahead, ahead{from: from, header: header})
	if ct.Phase != Commit {
		return nil
	}
	return n.core.Accept(now, &ct)
}
