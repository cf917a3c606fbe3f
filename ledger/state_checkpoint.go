package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// A checkpoint is the tree of one version as bucket mode has it in memory, cut
// into records of about checkpointPart bytes.
//
//	format  u8 = 1, version u64, root [32]
//	tree    from the root on, left before right: 0xff for a node with four
//	        children's children, else the number of keys of a run u8 and, if
//	        above zero, its hash [32]
const (
	checkpointInner = 0xff
	checkpointPart  = 1 << 20
)

// Checkpoint stores the tree of the committed version, so that the next open
// need not read all pairs: it takes the checkpoint and what the undo records
// say has changed since. If these do not reach back to it, it is of no use:
// make one every Undo versions or more often, and before the store is closed.
// It takes about 4 bytes for each key, and may run beside commits.
// Only bucket mode has checkpoints; in memory mode the leaves would have to be
// read all the same.
func (s *State) Checkpoint() error {
	if !s.shape.far {
		return errors.New("ledger: state: checkpoint: not in bucket mode")
	}
	// The tree never changes, so commits may go on. Whatever they do, the
	// checkpoint is one of a version that was committed.
	head := s.head()
	b := appendCheckpoint(head.appendHead(nil), head.tree)
	sets := func(yield func(k, v []byte) bool) {
		for i := uint32(0); len(b) > 0; i++ {
			n := min(len(b), checkpointPart)
			if !yield(s.keys.key(kindCheckpoint, binary.BigEndian.AppendUint32(nil, i)), b[:n]) {
				return
			}
			b = b[n:]
		}
	}
	deletes := func(yield func(lo, hi []byte) bool) { yield(s.keys.span(kindCheckpoint)) }
	if err := s.store.Apply(sets, deletes); err != nil {
		s.commit.Lock()
		defer s.commit.Unlock()
		s.failed = fmt.Errorf("%w: checkpoint: %w", errStateFailed, err)
		return s.failed
	}
	return nil
}

// appendCheckpoint appends a subtree.
func appendCheckpoint(b []byte, t *subtree) []byte {
	if q, ok := t.node.(*treeQuad); ok {
		b = append(b, checkpointInner)
		for i := range q.half {
			b = appendCheckpoint(appendCheckpoint(b, &q.half[i][0]), &q.half[i][1])
		}
		return b
	}
	n := t.keys()
	if b = append(b, byte(n)); n > 0 {
		b = append(b, t.hash[:]...)
	}
	return b
}

// resume makes the tree of head from the checkpoint, if there is one that
// helps. The versions of the window hang together already.
func (s *State) resume(head *stateVersion) (tree subtree, count uint64, ok bool, err error) {
	if !s.shape.far {
		return tree, 0, false, nil
	}
	var b []byte
	lo, hi := s.keys.span(kindCheckpoint)
	if err := s.store.Scan(lo, hi, func(_, v []byte) error { b = append(b, v...); return nil }); err != nil {
		return tree, 0, false, fmt.Errorf("ledger: state: checkpoint: %w", err)
	}
	if len(b) == 0 {
		return tree, 0, false, nil
	}
	at := &stateVersion{}
	r := wire.NewReader(b)
	at.readHeadFrom(r)
	// Hashes of nodes are computed from those of the runs: what passes is a tree
	// with this root, though its runs are not compared with the pairs before
	// somebody reads them.
	count = s.readCheckpoint(r, &nodeHasher{}, &tree, 0)
	if err := r.Close(); err != nil || tree.hash != at.root {
		return tree, 0, false, &DamageError{"checkpoint", errors.Join(err, errStateRun)}
	}
	// The number alone does not tell: a rewind may have made it again.
	for _, v := range s.window {
		if v.number == at.number && v.root == at.root {
			return s.catchUp(head, v.log, tree, count)
		}
	}
	return tree, 0, false, nil
}

// readCheckpoint reads a subtree and returns the number of its keys.
func (s *State) readCheckpoint(r *wire.Reader, h *nodeHasher, dst *subtree, depth int) (count uint64) {
	n := r.U8()
	switch {
	case r.Err() != nil || n == 0:
	case n == checkpointInner && depth < treeDepthLimit:
		q := &treeQuad{}
		for i := range q.half {
			p := &q.half[i]
			count += s.readCheckpoint(r, h, &p[0], depth+2) + s.readCheckpoint(r, h, &p[1], depth+2)
		}
		*dst = subtree{h.quad(q), q}
		if s.shape.shrink(h, dst); dst.node != q {
			r.Fail(fmt.Errorf("%w: node of few keys", wire.ErrValue))
		}
	case int(n) <= s.shape.most:
		*dst = subtree{r.Array32(), treeFar(n)}
		count = uint64(n)
	default:
		r.Fail(fmt.Errorf("%w: run of %d keys", wire.ErrValue, n))
	}
	return count
}

// catchUp brings the tree of the version at log to that of head: the undo
// records since then name the keys, the store has their values. The runs that
// these touch are read as they were at the checkpoint, since that is what the
// tree knows of them.
func (s *State) catchUp(head *stateVersion, log *undoLog, tree subtree, count uint64) (subtree, uint64, bool, error) {
	since, err := log.since()
	if err != nil {
		return tree, 0, false, err
	}
	var ch []treeChange
	seen := map[shardkit.Hash]bool{}
	for _, l := range since {
		for i := range l.entries {
			if e := l.entry(i); !seen[e.key] {
				seen[e.key] = true
				ch = append(ch, treeChange{key: e.key})
			}
		}
	}
	err = s.shape.eachErr(len(ch), 16, func(i int) error {
		value, ok, err := s.read(ch[i].key, nil)
		if ok {
			ch[i].leaf = leafOf(ch[i].key, value)
		}
		return err
	})
	if err != nil {
		return tree, 0, false, err
	}
	if ch, err = s.shape.apply(&tree, ch, log.source(s)); err != nil {
		return tree, 0, false, err
	}
	return tree, treeCount(count, ch), true, nil
}

// Verify reads every pair of the committed version and compares the root: what
// OpenState does unless it starts from a checkpoint. Commits wait for it.
func (s *State) Verify() error {
	s.commit.Lock()
	defer s.commit.Unlock()
	if s.failed != nil {
		return s.failed
	}
	tree, _, err := s.rebuild()
	if err != nil {
		return err
	}
	return s.head().compare(&tree)
}
