package loop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardkit/shardkit"
)

const (
	maxBatch        = 64 // inputs between two drains of the effects
	defaultMessages = 8192
	defaultBytes    = 64 << 20
	peerShare       = 4 // one peer may hold this fraction of the queue
)

// ErrFull says that the queue, or the sender's share of it, is full: the
// message was dropped.
var ErrFull = errors.New("loop: queue is full")

// ErrClosed says that the loop has ended.
var ErrClosed = errors.New("loop: closed")

// Effects are what a core wants done; see package documentation for the order
// in which that happens.
type Effects struct {
	Records  [][]byte // to append to the log, in order
	Seq      uint64   // number of the last of Records; numbers are consecutive from 1 in this life
	Prune    uint64   // records up to this one, and all of earlier lives, may be dropped; 0: none
	Messages []shardkit.Message
	Jobs     []shardkit.Job
}

// Core is the five inputs that every core has. The loop calls them, and
// Config.Effects, from one goroutine.
type Core interface {
	Deliver(now time.Duration, from shardkit.NodeID, msg []byte) error
	Done(now time.Duration, result any)
	Persisted(now time.Duration, seq uint64)
	Tick(now time.Duration)
	Wake() (at time.Duration, ok bool)
}

// Log keeps records. Its methods are called from one goroutine.
type Log interface {
	// Append adds records at the end; they are durable when it returns nil.
	// After an error the log is not used again. The slices must not be kept.
	Append(records [][]byte) error
	// Prune allows records up to number seq to be dropped.
	Prune(seq uint64) error
}

// Config is what a Loop is made from.
type Config struct {
	Core    Core
	Effects func() Effects               // drains the core's effects; called after every batch of inputs
	Send    func(shardkit.Message) error // must not block; errors are counted, the message is lost
	Log     Log                          // nil: records count as durable at once
	LogSeq  uint64                       // number of the last record the log already held: this life's record 1 is the log's LogSeq+1
	Pool    *Pool                        // may be shared; nil: an own one
	Queue   int                          // messages that may wait for the core. 0: 8192
	Bytes   int                          // bytes that may wait for the core. 0: 64 MiB

	Logger   *slog.Logger                              // nil: silent
	OnError  func(error)                               // told of the error that ended the loop; may call Close
	OnRefuse func(from shardkit.NodeID, refusal error) // told of every error of Deliver, from the loop's goroutine
}

// Stats counts what a loop did.
type Stats struct {
	Delivered  uint64 // messages handed to the core
	Refused    uint64 // of them, those it returned an error for
	Full       uint64 // messages dropped with ErrFull
	Sent       uint64
	SendErrors uint64
	Jobs       uint64 // handed to the pool
	Batches    uint64
	Records    uint64        // made durable
	Syncs      uint64        // Appends it took
	SyncTime   time.Duration // spent in them
	Held       int           // messages that wait for a record
	Queued     int           // messages that wait for the core
}

// Loop runs one core. Its methods may be called from any goroutine.
type Loop struct {
	cfg   Config
	born  time.Time
	own   bool // the pool is ours
	inbox inbox
	jobs  jobGate
	log   *writer

	started atomic.Bool
	cut     atomic.Bool   // Abort: stop between two effects
	stop    chan struct{} // closed by the first Close or Abort
	halt    sync.Once
	ended   chan struct{} // closed when Run has returned, or never ran

	// Owned by the loop's goroutine.
	saved uint64             // number of the last durable record
	held  []shardkit.Message // for records that are not durable

	mu    sync.Mutex
	stats Stats
}

// New checks cfg. The core's clock starts here.
func New(cfg Config) (*Loop, error) {
	if cfg.Core == nil || cfg.Effects == nil || cfg.Send == nil {
		return nil, errors.New("loop: Config needs Core, Effects and Send")
	}
	if cfg.Queue < 0 || cfg.Bytes < 0 {
		return nil, errors.New("loop: negative limit in Config")
	}
	if cfg.Queue == 0 {
		cfg.Queue = defaultMessages
	}
	if cfg.Bytes == 0 {
		cfg.Bytes = defaultBytes
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Loop{cfg: cfg, born: time.Now(), stop: make(chan struct{}), ended: make(chan struct{})}
	if cfg.Pool == nil {
		l.cfg.Pool, l.own = NewPool(runtime.GOMAXPROCS(0)), true
	}
	l.inbox.init(cfg.Queue, cfg.Bytes)
	if cfg.Log != nil {
		l.log = newWriter(cfg.Log, cfg.LogSeq, l.persisted)
	}
	return l, nil
}

// Now is the core's time.
func (l *Loop) Now() time.Duration { return time.Since(l.born) }

// Deliver queues a peer's message for the core. It never blocks and takes over
// msg; it returns ErrFull or ErrClosed if it dropped it.
func (l *Loop) Deliver(from shardkit.NodeID, msg []byte) error {
	err := l.inbox.deliver(from, msg)
	if err == ErrFull {
		l.mu.Lock()
		l.stats.Full++
		l.mu.Unlock()
	}
	return err
}

// Do runs f on the loop's goroutine, carries out the effects, and returns when
// f has run; false if the loop ended before. It must not be called from that
// goroutine (by the core, Send, or another f): use Post there.
func (l *Loop) Do(f func(now time.Duration)) bool {
	ran := make(chan struct{})
	if !l.Post(func(now time.Duration) { f(now); close(ran) }) {
		return false
	}
	select {
	case <-ran:
		return true
	case <-l.ended:
	}
	select { // both may have been ready
	case <-ran:
		return true
	default:
		return false
	}
}

// Post is Do without waiting; false if the loop has ended.
func (l *Loop) Post(f func(now time.Duration)) bool {
	return l.inbox.put(input{kind: inDo, do: f})
}

// Stats returns the counters.
func (l *Loop) Stats() Stats {
	l.mu.Lock()
	s := l.stats
	l.mu.Unlock()
	s.Queued = l.inbox.queued()
	if l.log != nil {
		s.Records, s.Syncs, s.SyncTime = l.log.counters()
	}
	return s
}

// Run runs the core until ctx is done, Close or Abort is called (it then
// returns nil), or the log fails (it then returns that error). It may be
// called once.
func (l *Loop) Run(ctx context.Context) error {
	if !l.started.CompareAndSwap(false, true) {
		return errors.New("loop: Run called twice, or after Close")
	}
	err := l.live(ctx)
	close(l.ended)
	if err != nil {
		err = fmt.Errorf("loop: log: %w", err)
		l.cfg.Logger.Error("loop ended", "err", err)
		if l.cfg.OnError != nil {
			l.cfg.OnError(err)
		}
	}
	return err
}

// live runs the core and cleans up after it. Its error is the log's.
func (l *Loop) live(ctx context.Context) error {
	if l.log != nil {
		l.log.start()
	}
	err := l.serve(ctx)
	l.inbox.close()
	if l.log != nil {
		if lerr := l.log.close(!l.cut.Load() && err == nil); err == nil {
			err = lerr
		}
	}
	l.jobs.close()
	if l.own {
		l.cfg.Pool.Close()
	}
	return err
}

// Close ends the loop: what was handed to the log is made durable, jobs under
// way are waited for, jobs not begun are dropped. When it returns, nothing of
// the loop runs any more but the evaluation of a delay function ("vdf.eval"),
// which has nobody to report to and which the Pool's Close waits for.
func (l *Loop) Close() {
	l.halt.Do(func() { close(l.stop) })
	if l.started.CompareAndSwap(false, true) { // never ran, and now never will
		l.inbox.close()
		if l.own {
			l.cfg.Pool.Close()
		}
		close(l.ended)
	}
	<-l.ended
}

// Abort is Close as a crash would do it: the loop stops between two effects,
// and records not yet handed to the disk are lost.
func (l *Loop) Abort() {
	l.cut.Store(true)
	l.Close()
}

// serve is the loop itself.
func (l *Loop) serve(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	batch := make([]input, 0, maxBatch)
	l.drain() // effects of what was done to the core before Run
	var failed <-chan struct{}
	if l.log != nil {
		failed = l.log.failed
	}
	for {
		if at, ok := l.cfg.Core.Wake(); ok {
			timer.Reset(max(at-l.Now(), 0))
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.stop:
			return nil
		case <-failed:
			return l.log.err
		case <-timer.C:
			l.cfg.Core.Tick(l.Now())
		case <-l.inbox.signal:
		}
		batch = l.inbox.take(batch[:0])
		for i := range batch {
			l.input(&batch[i])
		}
		clear(batch)
		l.tickIfDue()
		l.drain()
	}
}

// tickIfDue keeps time going when inputs never pause.
func (l *Loop) tickIfDue() {
	now := l.Now()
	if at, ok := l.cfg.Core.Wake(); ok && at <= now {
		l.cfg.Core.Tick(now)
	}
}

func (l *Loop) input(in *input) {
	now := l.Now()
	switch in.kind {
	case inMessage:
		err := l.cfg.Core.Deliver(now, in.from, in.msg)
		l.mu.Lock()
		l.stats.Delivered++
		if err != nil {
			l.stats.Refused++
		}
		l.mu.Unlock()
		if err != nil {
			l.cfg.Logger.Debug("message refused", "from", in.from, "err", err)
			if l.cfg.OnRefuse != nil {
				l.cfg.OnRefuse(in.from, err)
			}
		}
	case inDone:
		l.cfg.Core.Done(now, in.result)
	case inPersisted:
		l.saved = max(l.saved, in.seq)
		l.cfg.Core.Persisted(now, in.seq)
	case inDo:
		in.do(now)
	}
}

// drain carries out the effects of a batch: records first, then the messages
// that waited for what is durable now, then the new ones, then jobs.
func (l *Loop) drain() {
	eff := l.cfg.Effects()
	if l.cut.Load() {
		return
	}
	l.store(&eff)
	var sent, failed uint64
	waiting := l.held
	l.held = nil
	for _, list := range [][]shardkit.Message{waiting, eff.Messages} {
		for _, m := range list {
			if m.After > l.saved {
				l.held = append(l.held, m)
				continue
			}
			l.send(m, &sent, &failed)
		}
	}
	for _, j := range eff.Jobs {
		l.submit(j)
	}
	l.mu.Lock()
	l.stats.Batches++
	l.stats.Sent += sent
	l.stats.SendErrors += failed
	l.stats.Jobs += uint64(len(eff.Jobs))
	l.stats.Held = len(l.held)
	l.mu.Unlock()
}

// store hands records to the writer. Without a log they count as durable at
// once.
func (l *Loop) store(eff *Effects) {
	switch {
	case l.log != nil && (len(eff.Records) > 0 || eff.Prune > 0):
		l.log.add(eff.Records, eff.Seq, eff.Prune)
	case l.log == nil && len(eff.Records) > 0:
		l.saved = eff.Seq
		l.persisted(eff.Seq)
	}
}

func (l *Loop) send(m shardkit.Message, sent, failed *uint64) {
	if l.cut.Load() {
		return
	}
	if err := l.cfg.Send(m); err != nil {
		*failed++
		l.cfg.Logger.Debug("message not sent", "to", m.To, "err", err)
		return
	}
	*sent++
}

// submit gives a job to the pool. The job is not begun once the loop has
// ended, and the loop does not end while it runs: what it works on may then be
// closed. A delay function works on nothing but numbers and is left alone.
func (l *Loop) submit(j shardkit.Job) {
	run, long := j.Run, strings.HasPrefix(j.Kind, longKind)
	ran := false
	j.Run = func() any {
		if !l.jobs.enter(long) {
			return nil
		}
		ran = true
		defer l.jobs.leave(long)
		return run()
	}
	l.cfg.Pool.Submit(j, func(result any) {
		if ran {
			l.inbox.put(input{kind: inDone, result: result})
		}
	})
}

func (l *Loop) persisted(seq uint64) { l.inbox.put(input{kind: inPersisted, seq: seq}) }

// jobGate counts jobs under way, so that the end of the loop can wait for them.
type jobGate struct {
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

func (g *jobGate) enter(long bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	if !long {
		g.running.Add(1)
	}
	return true
}

func (g *jobGate) leave(long bool) {
	if !long {
		g.running.Done()
	}
}

func (g *jobGate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.running.Wait()
}
