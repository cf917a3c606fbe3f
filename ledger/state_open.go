package ledger

import (
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// OpenState opens the state that store holds under cfg.Prefix, an empty one if
// there is none. It reads every pair, or in bucket mode a checkpoint and what
// changed since, builds the tree and compares its root with the one of the
// last commit: a *DamageError if they differ. ErrRestoring if a restore into
// the prefix was begun and not finished.
func OpenState(store Store, cfg StateConfig) (*State, error) {
	s, err := newState(store, cfg)
	if err != nil {
		return nil, err
	}
	if _, restoring, err := store.Get(s.keys.key(kindRestore, nil), nil); err != nil {
		return nil, fmt.Errorf("ledger: state: open: %w", err)
	} else if restoring {
		return nil, ErrRestoring
	}
	// Without a head nothing was ever committed: the empty state.
	head := &stateVersion{log: &undoLog{}}
	record, ok, err := store.Get(s.keys.key(kindHead, nil), nil)
	if err != nil {
		return nil, fmt.Errorf("ledger: state: open: %w", err)
	}
	if ok {
		r := wire.NewReader(record)
		head.readHeadFrom(r)
		if err := r.Close(); err != nil {
			return nil, &DamageError{"head", err}
		}
	}
	// The window comes first: it says whether a checkpoint is of use.
	s.window = []*stateVersion{head}
	if err := s.loadUndo(); err != nil {
		return nil, err
	}
	// A checkpoint that leads to another root is damage, not a reason to read
	// everything: whoever wants that takes it away first.
	tree, count, ok, err := s.resume(head)
	if err == nil && !ok {
		tree, count, err = s.rebuild()
	}
	if err == nil {
		err = head.compare(&tree)
	}
	if err != nil {
		return nil, err
	}
	s.start(head, tree, count)
	return s, nil
}

// compare checks the root of a tree made from the store.
func (v *stateVersion) compare(tree *subtree) error {
	if tree.hash != v.root {
		return &DamageError{"state", fmt.Errorf("pairs have root %v, head says %v", tree.hash, v.root)}
	}
	return nil
}

// newState makes a State without a version.
func newState(store Store, cfg StateConfig) (*State, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	prefix := cfg.Prefix
	if prefix == nil {
		prefix = []byte("s/")
	}
	s := &State{store: store, undo: cfg.Undo, seed: maphash.MakeSeed(), shape: newTreeShape(cfg.Buckets, cfg.Workers)}
	s.keys.prefix = append([]byte{}, prefix...)
	return s, nil
}

// start makes head, the last version of the window, the committed one.
func (s *State) start(head *stateVersion, tree subtree, count uint64) {
	head.tree, head.count = &tree, count
	tip := &Stage{state: s, done: true, tree: tree, count: count}
	tip.frozen.Store(true)
	s.tip.Store(tip)
}

// rebuild makes the tree of the pairs in the store. The keys are hashes, so the
// parts that begin with each byte are about the same size; they are read and
// built beside each other, and only 85 nodes are left to do.
func (s *State) rebuild() (tree subtree, count uint64, err error) {
	const depth = 8
	var parts [1 << depth]subtree
	var counts [1 << depth]uint64
	var errs [1 << depth]error
	s.shape.each(len(parts), 1, func(i int) {
		var leaves []treeLeaf
		if leaves, errs[i] = s.leaves(s.store.Scan, shardkit.Hash{byte(i)}, depth); errs[i] == nil {
			s.shape.build(&nodeHasher{}, &parts[i], leaves, depth)
			counts[i] = uint64(len(leaves))
		}
	})
	if err := errors.Join(errs[:]...); err != nil {
		return subtree{}, 0, err
	}
	for _, n := range counts {
		count += n
	}
	row, h := parts[:], &nodeHasher{}
	for len(row) > 1 {
		for i := range len(row) / 4 {
			c := row[4*i:]
			q := &treeQuad{half: [2]treePair{{c[0], c[1]}, {c[2], c[3]}}}
			row[i] = subtree{h.quad(q), q}
			s.shape.shrink(h, &row[i])
		}
		row = row[:len(row)/4]
	}
	return row[0], count, nil
}

// loadUndo reads the undo records of the window and hangs their versions
// before the committed one. Records further back, of a larger window, are
// deleted; a window that has grown fills up with the commits to come.
func (s *State) loadUndo() error {
	lo, hi := s.keys.span(kindUndo)
	var links []*undoLog
	err := s.store.Scan(lo, hi, func(k, v []byte) error {
		number := wire.NewReader(k[len(lo):])
		l := &undoLog{number: number.U64(), record: append([]byte{}, v...)}
		links = append(links, l)
		return number.Close()
	})
	if err != nil {
		return &DamageError{"undo record", err}
	}
	// What is deleted here was not deleted by the commits, which know only the
	// records of their own window.
	keep := links[max(0, len(links)-s.undo):]
	if err := s.hang(keep); err != nil || len(keep) == len(links) {
		return err
	}
	return s.apply(nil, func(yield func(lo, hi []byte) bool) {
		yield(lo, s.keys.undo(links[len(links)-len(keep)-1].number+1))
	})
}

// hang makes the versions that the links lead back to; the last link made the
// committed version.
func (s *State) hang(links []*undoLog) error {
	// From the newest on: each record is held against the version that it says
	// it made before it is believed what it says about the one before.
	for i := len(links) - 1; i >= 0; i-- {
		l, next := links[i], s.window[0]
		before, err := l.index()
		if err == nil && l.number != next.number {
			err = fmt.Errorf("of version %d, want %d", l.number, next.number)
		}
		if err != nil {
			return &DamageError{"undo record", err}
		}
		if i == len(links)-1 {
			next.log = l // what comes after the committed version hangs on its record
		}
		before.log = &undoLog{number: before.number}
		if i > 0 {
			before.log = links[i-1]
		}
		before.log.next.Store(l)
		before.next = next
		s.window = append([]*stateVersion{before}, s.window...)
	}
	return nil
}

// The head record.
//
//	format u8 = 1, version u64, root [32]

func (v *stateVersion) appendHead(b []byte) []byte {
	b = wire.AppendU64(append(b, 1), v.number)
	return append(b, v.root[:]...)
}

// readHeadFrom reads the fields, not to the end: they begin other records too.
func (v *stateVersion) readHeadFrom(r *wire.Reader) {
	r.Expect(1, "format")
	v.number, v.any = r.U64(), true
	v.root = r.Array32()
}
