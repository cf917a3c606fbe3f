package simnet

import (
	"time"

	"github.com/shardkit/shardkit"
)

// The kinds of events.
const (
	evArrive uint8 = iota // a message reaches its receiver's downlink
	evUp                  // an uplink has sent a message
	evDown                // a downlink has received a message
	evTick                // a node's timer
	evJob                 // a node's job is done
	evSync                // a node's records are durable
	evFunc                // scenario code
)

// event is something that will happen. Which fields count depends on kind.
type event struct {
	kind  uint8
	class uint8
	node  int32  // where it happens
	from  int32  // sender of a message
	life  uint32 // of the node, or generation of a pipe: void if it has changed
	data  []byte
	job   *pricedJob
	fn    func()
}

// key orders events: by time, then by the order in which they were made.
type key struct {
	at   time.Duration
	seq  uint64
	slot uint32
}

func (k key) before(o key) bool {
	return k.at < o.at || k.at == o.at && k.seq < o.seq
}

// queue is a 4-ary heap of small keys without pointers; the events stand
// aside in slots that are used again, so that pushing allocates nothing once
// the queue has reached its size.
type queue struct {
	heap  []key
	slots []event
	free  []uint32
	seq   uint64
}

func (q *queue) len() int { return len(q.heap) }

func (q *queue) push(at time.Duration, ev event) {
	var slot uint32
	if n := len(q.free); n > 0 {
		slot = q.free[n-1]
		q.free = q.free[:n-1]
		q.slots[slot] = ev
	} else {
		slot = uint32(len(q.slots))
		q.slots = append(q.slots, ev)
	}
	q.seq++
	k := key{at, q.seq, slot}
	q.heap = append(q.heap, k)
	i := len(q.heap) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !k.before(q.heap[up]) {
			break
		}
		q.heap[i] = q.heap[up]
		i = up
	}
	q.heap[i] = k
}

// pop takes the next event; the queue must not be empty.
func (q *queue) pop() (time.Duration, event) {
	top := q.heap[0]
	n := len(q.heap) - 1
	last := q.heap[n]
	q.heap = q.heap[:n]
	if n > 0 {
		q.down(last)
	}
	ev := q.slots[top.slot]
	q.slots[top.slot] = event{} // let go of what it points to
	q.free = append(q.free, top.slot)
	return top.at, ev
}

// down puts k, taken from the end, where the top was.
func (q *queue) down(k key) {
	h := q.heap
	i := 0
	for {
		least := 4*i + 1
		if least >= len(h) {
			break
		}
		for c := least + 1; c < min(4*i+5, len(h)); c++ {
			if h[c].before(h[least]) {
				least = c
			}
		}
		if !h[least].before(k) {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = k
}

// pricedJob is a job with what it costs here.
type pricedJob struct {
	shardkit.Job
	cost time.Duration
	long bool
}

// fifo is a queue that reuses its memory.
type fifo[T any] struct {
	items []T
	head  int
}

func (f *fifo[T]) len() int { return len(f.items) - f.head }

func (f *fifo[T]) push(v T) {
	if f.head > len(f.items)/2 && len(f.items) == cap(f.items) {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	f.items = append(f.items, v)
}

// unpop puts v back in front.
func (f *fifo[T]) unpop(v T) {
	if f.head == 0 {
		var zero T
		f.items = append(f.items, zero)
		copy(f.items[1:], f.items)
		f.items[0] = v
		return
	}
	f.head--
	f.items[f.head] = v
}

func (f *fifo[T]) pop() T {
	var zero T
	v := f.items[f.head]
	f.items[f.head] = zero
	f.head++
	if f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	}
	return v
}
