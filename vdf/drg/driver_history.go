package drg

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/shardkit/shardkit"
)

// ErrUnknown says that a history has no value for an epoch, yet or any more.
var ErrUnknown = errors.New("no value for this epoch")

// History is randomness for those who read it: the values of consecutive
// epochs, each checked as it is added, from the first on. It keeps them all,
// some hundred bytes each. It is safe for concurrent use.
type History struct {
	params  Params
	certify func(r *Round, pRnd shardkit.Hash) error

	mu      sync.Mutex
	first   shardkit.Epoch
	values  []Value
	changed chan struct{} // closed when values grow
}

// NewHistory returns an empty history.
//
// What Add verifies by itself is that the members of the entry's round made
// this value. That the round is one of the chain, certify has to say: its
// alpha, members, their keys and need, and that the chain settled on pRnd. A
// light client takes these from headers that it has verified; see the example.
// certify may be nil if whoever adds entries took them from a chain that it
// follows itself, and for nobody else: a stranger can make up members.
func NewHistory(p Params, certify func(r *Round, pRnd shardkit.Hash) error) (*History, error) {
	p = p.withDefaults()
	if err := p.check(); err != nil {
		return nil, err
	}
	return &History{params: p, certify: certify, changed: make(chan struct{})}, nil
}

// Hash names the history before its first value: the chain, and the parameters
// of the delay. Two readers who have the same, and of whom the one has the Link
// of the other's newest value, have had the same values up to there.
func (h *History) Hash() shardkit.Hash { return h.params.Hash() }

// Add checks the entry of the next epoch and adds its value; the first may be
// of any epoch. It takes as long as a verification of the set and the delay,
// and adds nothing if something is wrong.
func (h *History) Add(e *Entry) (Value, error) {
	h.mu.Lock()
	n, link := len(h.values), h.params.Hash()
	if n > 0 {
		link = h.values[n-1].Link
		if prev := h.values[n-1].Epoch; prev == last || e.Round.Epoch != prev+1 {
			h.mu.Unlock()
			return Value{}, fmt.Errorf("drg: history: epoch %d after %d", e.Round.Epoch, prev)
		}
	}
	h.mu.Unlock()

	v, err := h.params.Value(link, e)
	if err != nil {
		return Value{}, err
	}
	if h.certify != nil {
		if err := h.certify(&e.Round, v.PRnd); err != nil {
			return Value{}, fmt.Errorf("drg: history: epoch %d is not certified: %w", v.Epoch, err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.values) != n {
		return Value{}, fmt.Errorf("drg: history: epoch %d was added meanwhile", v.Epoch)
	}
	if n == 0 {
		h.first = v.Epoch
	}
	h.values = append(h.values, v)
	close(h.changed)
	h.changed = make(chan struct{})
	return v, nil
}

// Get returns the value of an epoch, or ErrUnknown.
func (h *History) Get(epoch shardkit.Epoch) (Value, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if epoch < h.first || uint64(epoch-h.first) >= uint64(len(h.values)) {
		return Value{}, fmt.Errorf("drg: epoch %d: %w", epoch, ErrUnknown)
	}
	return h.values[epoch-h.first], nil
}

// Latest returns the newest value; false if there is none.
func (h *History) Latest() (Value, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.values) == 0 {
		return Value{}, false
	}
	return h.values[len(h.values)-1], true
}

// Watch yields the values from an epoch on, in order and without a gap: those
// that are there, then each new one when it is added, until ctx ends. An epoch
// before the first counts as the first.
func (h *History) Watch(ctx context.Context, from shardkit.Epoch) iter.Seq[Value] {
	return func(yield func(Value) bool) {
		for {
			h.mu.Lock()
			if len(h.values) > 0 {
				from = max(from, h.first)
			}
			changed, ready := h.changed, len(h.values) > 0 && uint64(from-h.first) < uint64(len(h.values))
			var v Value
			if ready {
				v = h.values[from-h.first]
			}
			h.mu.Unlock()
			switch {
			case ctx.Err() != nil:
				return
			case ready:
				if !yield(v) || from == last {
					return
				}
				from++
			default:
				select {
				case <-ctx.Done():
					return
				case <-changed:
				}
			}
		}
	}
}
