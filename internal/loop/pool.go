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
	// function cannot be split.
	longKind = "vdf.eval"
	// patience is how many times its own expected length a job waits before it
	// goes before any newcomer, however short.
	patience = 8
)

// Pool runs jobs on a fixed number of goroutines. It may be shared by any
// number of loops, and its methods may be called from any goroutine.
//
// A worker takes the job that is due first; a job is due at the time it was
// submitted plus eight times the measured mean of its kind. So checks that
// take a millisecond go before work that takes a hundred, without a table of
// priorities, and nothing starves.
//
// Two more groups of goroutines, each half as many as there are workers, keep
// what is urgent from waiting for what is long: the first takes only jobs of
// kinds that are shorter than the average job, and so also makes use of the
// processor while workers wait for the disk; the second runs the delay
// functions ("vdf.eval"), which never hold a worker.
type Pool struct {
	mu     sync.Mutex
	short  taskHeap // for workers and the fast group
	bulk   taskHeap // for workers
	long   taskHeap // for the long group
	idle   [3]int
	cond   [3]sync.Cond
	kinds  map[string]*KindStats // kinds are constants of the program, so few
	mean   time.Duration         // of all jobs but long ones
	seq    uint64
	closed bool
	wg     sync.WaitGroup
}

// The groups of goroutines.
const (
	workers = iota
	fast
	slow
)

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

// NewPool starts n workers, at least one, and the two groups beside.
func NewPool(n int) *Pool {
	n = max(n, 1)
	p := &Pool{kinds: make(map[string]*KindStats)}
	for g, count := range [...]int{workers: n, fast: max(n/2, 1), slow: max(n/2, 1)} {
		p.cond[g].L = &p.mu
		p.wg.Add(count)
		for range count {
			go p.work(g)
		}
	}
	return p
}

// Submit queues a job and returns. done gets its result on the goroutine that
// ran it and must not block. After Close jobs are dropped. The queue is not
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
	t := &task{job: job, done: done, at: now, due: now.Add(patience * k.Mean), seq: p.seq}
	switch {
	case strings.HasPrefix(job.Kind, longKind):
		heap.Push(&p.long, t)
		p.wake(slow)
	case k.Mean <= p.mean:
		heap.Push(&p.short, t)
		if !p.wake(workers) {
			p.wake(fast)
		}
	default:
		heap.Push(&p.bulk, t)
		p.wake(workers)
	}
}

// wake wakes one of a group, if one is idle.
func (p *Pool) wake(g int) bool {
	if p.idle[g] == 0 {
		return false
	}
	p.idle[g]-- // here and not when it runs, so that the next job wakes another
	p.cond[g].Signal()
	return true
}

// Close drops the jobs not begun and waits for those under way.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.short, p.bulk, p.long = nil, nil, nil
	for g := range p.cond {
		p.cond[g].Broadcast()
	}
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

func (p *Pool) kind(name string) *KindStats {
	k := p.kinds[name]
	if k == nil {
		k = &KindStats{Kind: name}
		p.kinds[name] = k
	}
	return k
}

// next takes the job that a goroutine of a group does next, or nil.
func (p *Pool) next(g int) *task {
	from := &p.short
	switch {
	case g == slow:
		from = &p.long
	case g == workers && len(p.bulk) > 0 && (len(p.short) == 0 || p.bulk[0].before(p.short[0])):
		from = &p.bulk
		if len(p.short) > 0 {
			p.wake(fast)
		}
	}
	if len(*from) == 0 {
		return nil
	}
	return heap.Pop(from).(*task)
}

func (p *Pool) work(g int) {
	defer p.wg.Done()
	p.mu.Lock()
	for !p.closed {
		t := p.next(g)
		if t == nil {
			p.idle[g]++
			p.cond[g].Wait()
			continue
		}
		p.mu.Unlock()
		start := time.Now()
		result := t.job.Run()
		took := time.Since(start)
		t.done(result)
		p.mu.Lock()
		p.count(t, g, start, took)
	}
	p.mu.Unlock()
}

// count enters a finished job into the figures.
func (p *Pool) count(t *task, g int, start time.Time, took time.Duration) {
	k := p.kind(t.job.Kind)
	if k.Jobs == 0 {
		k.Mean = took
	} else {
		k.Mean += (took - k.Mean) / 8
	}
	if g != slow {
		p.mean += (took - p.mean) / 64
	}
	k.Jobs++
	k.Time += took
	k.Wait += start.Sub(t.at)
}

func (t *task) before(o *task) bool {
	if t.due.Equal(o.due) {
		return t.seq < o.seq
	}
	return t.due.Before(o.due)
}

// taskHeap is a container/heap ordered by due time.
type taskHeap []*task

func (h taskHeap) Len() int { return len(h) }

func (h taskHeap) Less(i, j int) bool { return h[i].before(h[j]) }

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
