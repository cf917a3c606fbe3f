package loop

import (
	"sync"
	"time"
)

// writer makes records durable on a goroutine of its own: while one Append is
// under way everything new collects, and goes together in the next.
type writer struct {
	log    Log
	base   uint64 // the log's number of the record before this life's first
	report func(seq uint64)

	mu      sync.Mutex
	cond    sync.Cond
	records [][]byte
	seq     uint64
	prune   uint64
	closed  bool
	drop    bool // closed as in a crash
	count   uint64
	syncs   uint64
	spent   time.Duration

	failed chan struct{} // closed when err is set
	err    error
	ended  chan struct{}
}

func newWriter(log Log, base uint64, report func(uint64)) *writer {
	w := &writer{log: log, base: base, report: report, failed: make(chan struct{}), ended: make(chan struct{})}
	w.cond.L = &w.mu
	return w
}

func (w *writer) start() { go w.run() }

// add queues records; prune takes effect when they are durable.
func (w *writer) add(records [][]byte, seq, prune uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records = append(w.records, records...)
	w.seq = max(w.seq, seq)
	w.prune = max(w.prune, prune)
	w.cond.Signal()
}

// close ends the goroutine, after a last Append if flush is set, and returns
// the log's error.
func (w *writer) close(flush bool) error {
	w.mu.Lock()
	w.closed, w.drop = true, !flush
	w.cond.Signal()
	w.mu.Unlock()
	<-w.ended
	return w.err
}

func (w *writer) counters() (records, syncs uint64, spent time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count, w.syncs, w.spent
}

func (w *writer) run() {
	defer close(w.ended)
	for {
		w.mu.Lock()
		for len(w.records) == 0 && w.prune == 0 && !w.closed {
			w.cond.Wait()
		}
		if w.drop || w.closed && len(w.records) == 0 {
			w.mu.Unlock()
			return
		}
		records, seq, prune := w.records, w.seq, w.prune
		w.records, w.prune = nil, 0
		w.mu.Unlock()
		if err := w.write(records, seq, prune); err != nil {
			w.err = err
			close(w.failed)
			return
		}
	}
}

func (w *writer) write(records [][]byte, seq, prune uint64) error {
	if len(records) > 0 {
		start := time.Now()
		if err := w.log.Append(records); err != nil {
			return err
		}
		w.mu.Lock()
		w.count += uint64(len(records))
		w.syncs++
		w.spent += time.Since(start)
		w.mu.Unlock()
		w.report(seq)
	}
	if prune > 0 {
		return w.log.Prune(w.base + prune)
	}
	return nil
}
