package ledger

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/shardkit/shardkit"
)

// Window returns the oldest and the newest version that can be viewed; those
// between them that were committed can be too.
func (s *State) Window() (oldest, newest uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.window[0].number, s.window[len(s.window)-1].number
}

// Rewind makes a version of the window the committed one again, and forgets
// those after it. Pairs that the caller keeps beside the state change in the
// same Apply, as in Commit: deletes are ranges as in Store. Stages become
// stale; views stay what they are, those of forgotten versions too.
func (s *State) Rewind(version uint64, sets, deletes iter.Seq2[[]byte, []byte]) error {
	s.commit.Lock()
	defer s.commit.Unlock()
	if s.failed != nil {
		return s.failed
	}
	v, err := s.versionAt(version)
	if err != nil {
		return err
	}
	head := s.head()
	// The way back is a stage like a block's, so that whatever holds for a
	// commit holds for a rewind: one batch, a root compared before it.
	st := s.tip.Load().child()
	tree, record, err := s.reversed(st, head, v)
	if err != nil {
		return err
	}
	// To the views, going back is one more change.
	log := newUndoLog(version, record)
	back := &stateVersion{number: version, any: v.any, root: tree.hash, log: log, tree: &tree, count: st.count}
	st.frozen.Store(true)
	s.publish(st, head, log)
	if err := s.apply(s.commitSets(st, back, nil, sets), s.rewindDeletes(st, version, deletes)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// The version is a new one to the log, but in the window it takes the old
	// one's place.
	i := slices.Index(s.window, v)
	s.window = append(s.window[:i:i], back)
	return nil
}

// reversed changes st, on top of head, back to version v, and returns its tree
// and the record that leads from v to head.
func (s *State) reversed(st *Stage, head, v *stateVersion) (tree subtree, record []byte, err error) {
	if err := s.reverse(st, v); err != nil {
		return tree, nil, err
	}
	if tree, err = st.compute(); err != nil {
		return tree, nil, err
	}
	if tree.hash != v.root {
		return tree, nil, &DamageError{fmt.Sprintf("undo records since version %d", v.number), errors.New("root differs")}
	}
	record, err = s.undoRecord(st, head)
	return tree, record, err
}

// rewindDeletes yields what a rewind removes: the undo records of the
// forgotten versions, the keys that came since, and what the caller names.
func (s *State) rewindDeletes(st *Stage, version uint64, deletes iter.Seq2[[]byte, []byte]) iter.Seq2[[]byte, []byte] {
	return func(yield func(lo, hi []byte) bool) {
		_, end := s.keys.span(kindUndo)
		if !yield(s.keys.undo(version+1), end) {
			return
		}
		for lo, hi := range s.commitDeletes(st, nil) {
			if !yield(lo, hi) {
				return
			}
		}
		if deletes != nil {
			deletes(yield)
		}
	}
}

// reverse makes the changes that lead back to version v. They go through a
// stage like any others, so that root, views and the batch come out of the same
// code as those of a block; the price is a read of the raw key for each.
func (s *State) reverse(st *Stage, v *stateVersion) error {
	since, err := v.log.since()
	if err != nil {
		return err
	}
	seen := map[shardkit.Hash]bool{} // the oldest change has the value
	for _, l := range since {
		for i := range l.entries {
			e := l.entry(i)
			if seen[e.key] {
				continue
			}
			seen[e.key] = true
			name, err := s.nameOf(&e, l)
			if err != nil {
				return err
			}
			switch {
			case name == nil: // came and went since
			case e.kind == undoAbsent:
				err = st.Delete(name)
			default:
				err = st.Set(name, e.value)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// nameOf returns the raw key of an entry of l: from the store, if the key is
// there now, else from the commit that removed it. nil: it is not there now
// and was not before l.
func (s *State) nameOf(e *undoEntry, l *undoLog) ([]byte, error) {
	name, ok, err := s.store.Get(s.keys.key(kindName, e.key[:]), nil)
	if err != nil {
		return nil, fmt.Errorf("ledger: state: rewind: %w", err)
	}
	if ok {
		return name, nil
	}
	if e.kind == undoAbsent {
		return nil, nil
	}
	for ; l != nil; l = l.next.Load() {
		if later, found := l.lookup(&e.key); found && later.kind == undoRemoved {
			return later.name, nil
		}
	}
	return nil, errStateRun
}
