package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Restore builds a State from chunks of another node's: state sync. Chunks may
// come in any order, also from several places of the range at a time; what was
// added survives a crash. Its methods are safe for concurrent use.
type Restore struct {
	state *State
	head  stateVersion

	mu   sync.Mutex
	done []restoreSpan // what is there: in order, no two touching
	over bool          // finished
}

// restoreSpan is a range of hashes from lo on, up to and without hi; hi zero
// means to the end.
type restoreSpan struct{ lo, hi shardkit.Hash }

// restoreSpans is the most gaps that a Restore keeps book of.
const restoreSpans = 4096

// OpenRestore begins a restore of the state with this root, which will be
// version number version, into store under cfg.Prefix. A restore of the same
// root and version that was begun before goes on where it was. Anything else
// there, a State included, is deleted first.
func OpenRestore(store Store, cfg StateConfig, root shardkit.Hash, version uint64) (*Restore, error) {
	s, err := newState(store, cfg)
	if err != nil {
		return nil, err
	}
	r := &Restore{state: s, head: stateVersion{number: version, any: true, root: root}}
	record, ok, err := store.Get(s.keys.key(kindRestore, nil), nil)
	if err != nil {
		return nil, fmt.Errorf("ledger: restore: open: %w", err)
	}
	// A record that cannot be read costs a new start, not the node.
	if ok && r.read(record) == nil {
		return r, nil
	}
	r.done = nil
	if err := s.apply(r.sets(nil), s.keys.everything); err != nil {
		return nil, err
	}
	return r, nil
}

// everything yields the range of all keys under the prefix.
func (k stateKeys) everything(yield func(lo, hi []byte) bool) {
	for _, kind := range []byte{kindCheckpoint, kindData, kindHead, kindName, kindRestore, kindUndo} {
		if !yield(k.span(kind)) {
			return
		}
	}
}

// Next returns the first hash whose range is missing: where to ask for the
// next chunk. It is zero at the start and when nothing is missing.
func (r *Restore) Next() shardkit.Hash {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next()
}

func (r *Restore) next() shardkit.Hash {
	if len(r.done) > 0 && r.done[0].lo == (shardkit.Hash{}) {
		return r.done[0].hi
	}
	return shardkit.Hash{}
}

// Complete reports whether nothing is missing.
func (r *Restore) Complete() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.complete()
}

func (r *Restore) complete() bool { return len(r.done) == 1 && r.done[0] == restoreSpan{} }

// Add stores a chunk that starts at from; it is durable when Add returns. The
// chunk must have passed VerifyRange with the same from: Add does not check
// its proof again.
func (r *Restore) Add(from shardkit.Hash, chunk []byte) error {
	pairs, next, _, err := rangeRead(from, chunk)
	if err != nil {
		return fmt.Errorf("%w: range: %w", ErrProof, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return errors.New("ledger: restore: finished")
	}
	// The book is kept in the same Apply as the pairs, so that a crash never
	// leaves a range noted that is not there.
	before := r.done
	r.done = restoreUnion(r.done, restoreSpan{from, next})
	if len(r.done) > restoreSpans {
		r.done = before
		return fmt.Errorf("ledger: restore: more than %d separate ranges", restoreSpans)
	}
	if r.state.failed != nil {
		return r.state.failed
	}
	return r.state.apply(r.sets(pairs), nil)
}

// restoreUnion adds x to a sorted list of ranges that do not touch.
func restoreUnion(list []restoreSpan, x restoreSpan) []restoreSpan {
	list = append(slices.Clone(list), x)
	slices.SortFunc(list, func(a, b restoreSpan) int { return bytes.Compare(a.lo[:], b.lo[:]) })
	out := list[:1]
	for _, s := range list[1:] {
		last := &out[len(out)-1]
		end := last.hi == shardkit.Hash{}
		switch {
		case !end && bytes.Compare(s.lo[:], last.hi[:]) > 0:
			out = append(out, s)
		case !end && (s.hi == shardkit.Hash{} || bytes.Compare(s.hi[:], last.hi[:]) > 0):
			last.hi = s.hi
		}
	}
	return out
}

// sets yields the records of pairs and of the progress that they make.
func (r *Restore) sets(pairs []rangePair) func(func(k, v []byte) bool) {
	return func(yield func(k, v []byte) bool) {
		keys := r.state.keys
		for i := range pairs {
			if !yield(keys.key(kindData, pairs[i].key[:]), pairs[i].value) {
				return
			}
		}
		for i := range pairs {
			if !yield(keys.key(kindName, pairs[i].key[:]), pairs[i].name) {
				return
			}
		}
		yield(keys.key(kindRestore, nil), r.append(nil))
	}
}

// The record of a restore under way.
//
//	format u8 = 1, version u64, root [32]
//	spans  u32 count, each lo [32], hi [32]

func (r *Restore) append(b []byte) []byte {
	b = r.head.appendHead(b)
	b = wire.AppendU32(b, uint32(len(r.done)))
	for i := range r.done {
		b = append(append(b, r.done[i].lo[:]...), r.done[i].hi[:]...)
	}
	return b
}

// read takes the progress of a restore of the same state.
func (r *Restore) read(b []byte) error {
	rd := wire.NewReader(b)
	rd.Expect(1, "format")
	if rd.U64() != r.head.number || rd.Array32() != r.head.root {
		rd.Fail(errors.New("of another state"))
	}
	r.done = make([]restoreSpan, rd.Count(restoreSpans, 64))
	for i := range r.done {
		x := restoreSpan{rd.Array32(), rd.Array32()}
		last := x.hi == shardkit.Hash{}
		switch {
		case rd.Err() != nil:
		case !last && bytes.Compare(x.lo[:], x.hi[:]) >= 0, last && i < len(r.done)-1,
			i > 0 && bytes.Compare(r.done[i-1].hi[:], x.lo[:]) >= 0:
			rd.Fail(errors.New("ranges out of order"))
		}
		r.done[i] = x
	}
	return rd.Close()
}

// Finish builds the tree of what was added, compares the root and makes it the
// committed version, with the pairs of extra in the same Apply as in
// State.Commit. If the root differs, a chunk was added that had not been
// verified: the error is a *DamageError, and the restore starts over.
func (r *Restore) Finish(extra func(yield func(k, v []byte) bool)) (*State, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state
	switch {
	case r.over:
		return nil, errors.New("ledger: restore: finished")
	case s.failed != nil:
		return nil, s.failed
	case !r.complete():
		return nil, fmt.Errorf("ledger: restore: missing from %v on", r.next())
	}
	// The tree is made of what the store has, not of what was verified on the
	// way in: a disk that lies is found out here and not by the first block.
	tree, count, err := s.rebuild()
	if err != nil {
		return nil, err
	}
	if tree.hash != r.head.root {
		r.done = nil
		damage := &DamageError{"restore", fmt.Errorf("pairs have root %v, want %v", tree.hash, r.head.root)}
		return nil, errors.Join(damage, s.apply(r.sets(nil), s.keys.everything))
	}
	r.head.log = &undoLog{number: r.head.number}
	s.window = []*stateVersion{&r.head}
	s.start(&r.head, tree, count)
	sets := s.commitSets(s.tip.Load(), &r.head, nil, extra)
	if err := s.apply(sets, func(yield func(lo, hi []byte) bool) {
		yield(s.keys.key(kindRestore, nil), nil)
	}); err != nil {
		return nil, err
	}
	r.over = true
	return s, nil
}
