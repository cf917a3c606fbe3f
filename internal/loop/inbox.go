package loop

import (
	"sync"
	"time"

	"github.com/shardkit/shardkit"
)

// The kinds of inputs.
const (
	inMessage uint8 = iota
	inDone
	inPersisted
	inDo
)

type input struct {
	kind   uint8
	from   shardkit.NodeID
	msg    []byte
	result any
	seq    uint64
	do     func(now time.Duration)
}

// inbox is where inputs wait: those of the node itself, whose number its own
// work bounds, and those of peers, which are bounded here.
type inbox struct {
	mu       sync.Mutex
	closed   bool
	own      []input
	peers    []input
	head     int // of peers: what is before was taken
	bytes    int
	maxCount int
	maxBytes int
	share    map[shardkit.NodeID]load
	signal   chan struct{} // holds a token if there may be something to take
}

// load is what one peer has waiting.
type load struct{ count, bytes int }

func (b *inbox) init(count, bytes int) {
	b.maxCount, b.maxBytes = count, bytes
	b.share = make(map[shardkit.NodeID]load)
	b.signal = make(chan struct{}, 1)
}

func (b *inbox) wake() {
	select {
	case b.signal <- struct{}{}:
	default:
	}
}

// put queues an input of the node itself.
func (b *inbox) put(in input) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.own = append(b.own, in)
	b.wake()
	return true
}

// deliver queues a message. A single message may be larger than a peer's share
// of the bytes; two may not.
func (b *inbox) deliver(from shardkit.NodeID, msg []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	l := b.share[from]
	if len(b.peers)-b.head >= b.maxCount || b.bytes+len(msg) > b.maxBytes ||
		l.count > 0 && (l.count >= max(1, b.maxCount/peerShare) || l.bytes+len(msg) > b.maxBytes/peerShare) {
		return ErrFull
	}
	b.share[from] = load{l.count + 1, l.bytes + len(msg)}
	b.bytes += len(msg)
	b.peers = append(b.peers, input{kind: inMessage, from: from, msg: msg})
	b.wake()
	return nil
}

// take moves up to cap(batch) inputs to batch, the node's own first, and
// leaves a token if there is more.
func (b *inbox) take(batch []input) []input {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.own), cap(batch))
	batch = append(batch, b.own[:n]...)
	rest := copy(b.own, b.own[n:])
	clear(b.own[rest:])
	b.own = b.own[:rest]
	for len(batch) < cap(batch) && b.head < len(b.peers) {
		in := b.peers[b.head]
		b.peers[b.head] = input{}
		b.head++
		b.release(in.from, len(in.msg))
		batch = append(batch, in)
	}
	if b.head == len(b.peers) {
		b.peers, b.head = b.peers[:0], 0
	} else if b.head > len(b.peers)/2 {
		left := copy(b.peers, b.peers[b.head:])
		clear(b.peers[left:])
		b.peers, b.head = b.peers[:left], 0
	}
	if len(b.own) > 0 || len(b.peers) > 0 {
		b.wake()
	}
	return batch
}

func (b *inbox) release(from shardkit.NodeID, size int) {
	b.bytes -= size
	l := b.share[from]
	if l.count == 1 {
		delete(b.share, from)
		return
	}
	b.share[from] = load{l.count - 1, l.bytes - size}
}

func (b *inbox) queued() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.peers) - b.head
}

func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.own, b.peers, b.head, b.bytes = nil, nil, 0, 0
	clear(b.share)
}
