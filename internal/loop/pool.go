package loop

import (
	"container/heap"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shardkit/shardkit"
)

const (
	// longKind begins the kind of jobs that are long by nature: a delay
	// function cannot be split, and the first one must not block a pool that
	// has not measured any yet.
	longKind = "vdf.eval"
	// longTime is the mean running time from which a kind counts as long.
	longTime = 250 * time.Millisecond
	// patience is how many times its own expected length a job waits before it
	// goes before any newcomer, however short.
	patience = 8
)

// Pool runs jobs on a fixed number of workers. It may be shared by any number
// of loops, and its methods may be called from any goroutine.
//
// A worker takes the job that is due first; a job is due at the time it was
// submitted plus eight times the measured mean of its kind. So checks that
// take a millisecond go before work that takes a hundred, without a table of
// priorities, and nothing starves.
//
// Long jobs (delay functions, and kinds that measure 250 ms or more) have
// goroutines of their own, half as many as there are workers: they never hold
// a worker.
type Pool struct {
	mu     sync.Mutex
	short  lane
	slow   lane
	kinds  map[string]*KindStats // kinds are constants of the program, so few
	seq    uint64
	closed bool
	wg     sync.WaitGroup
}

// KindStats counts the jobs of one kind.
type KindStats struct {
	Kind string
	Jobs uint64
	Time time.Duration // spent in Run, in total
	Mean time.Duration // of a job, recent ones counting more
	Wait time.Duration // between Submit and Run, in total
}

type task struct {
	job  shardkit.Job
	done func(any)
	at   time.Time // submitted
	due  time.Time
	seq  uint64
}

// lane is a queue with its workers.
type lane struct {
	tasks taskHeap
	cond  sync.Cond
}

// NewPool starts workers goroutines, at least one, and half as many, at least
// one, for long jobs.
func NewPool(workers int) *Pool {
	workers = max(workers, 1)
	p := &Pool{kinds: make(map[string]*KindStats)}
	p.short.cond.L, p.slow.cond.L = &p.mu, &p.mu
	p.wg.Add(workers)
	for range workers {
		go p.work(&p.short)
	}
	long := max(workers/2, 1)
	p.wg.Add(long)
	for range long {
		go p.work(&p.slow)
	}
	return p
}

// Submit queues a job and returns. done gets its result on the worker's
// goroutine and must not block. After Close jobs are dropped. The queue is not
// bounded: cores bound the jobs they have under way.
func (p *Pool) Submit(job shardkit.Job, done func(result any)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	k := p.kind(job.Kind)
	now := time.Now()
	p.seq++
	l := &p.short
	if isLong(job.Kind, k.Mean) {
		l = &p.slow
	}
	heap.Push(&l.tasks, &task{job: job, done: done, at: now, due: now.Add(patience * k.Mean), seq: p.seq})
	l.cond.Signal()
}

// Close drops the jobs not begun and waits for those under way.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.short.tasks, p.slow.tasks = nil, nil
	p.short.cond.Broadcast()
	p.slow.cond.Broadcast()
	p.mu.Unlock()
	p.wg.Wait()
}

// Stats returns the counters of every kind, by name.
func (p *Pool) Stats() []KindStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]KindStats, 0, len(p.kinds))
	for _, name := range slices.Sorted(maps.Keys(p.kinds)) {
		out = append(out, *p.kinds[name])
	}
	return out
}

func isLong(kind string, mean time.Duration) bool {
	return mean >= longTime || strings.HasPrefix(kind, longKind)
}

func (p *Pool) kind(name string) *KindStats {
	k := p.kinds[name]
	if k == nil {
		k = &KindStats{Kind: name}
		p.kinds[name] = k
	}
	return k
}

func (p *Pool) work(l *lane) {
	defer p.wg.Done()
	for {
		p.mu.Lock()
		for len(l.tasks) == 0 && !p.closed {
			l.cond.Wait()
		}
		if p.closed {
			p.mu.Unlock()
			return
		}
		t := heap.Pop(&l.tasks).(*task)
		p.mu.Unlock()
		start := time.Now()
		result := t.job.Run()
		p.count(t, start, time.Now())
		t.done(result)
	}
}

// count enters a finished job into its kind's figures.
func (p *Pool) count(t *task, start, end time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k, took := p.kind(t.job.Kind), end.Sub(start)
	if k.Jobs == 0 {
		k.Mean = took
	} else {
		k.Mean += (took - k.Mean) / 8
	}
	k.Jobs++
	k.Time += took
	k.Wait += start.Sub(t.at)
}

// taskHeap is a container/heap ordered by due time.
type taskHeap []*task

func (h taskHeap) Len() int { return len(h) }

func (h taskHeap) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].seq < h[j].seq
	}
	return h[i].due.Before(h[j].due)
}

func (h taskHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *taskHeap) Push(x any) { *h = append(*h, x.(*task)) }

func (h *taskHeap) Pop() any {
	old := *h
	n := len(old) - 1
	t := old[n]
	old[n] = nil
	*h = old[:n]
	return t
}
