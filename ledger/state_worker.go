package ledger

import "github.com/shardkit/shardkit"

// treeWorker makes the changes of one task after the other. It goes level by
// level, down to read and copy and up to hash: what is on one level does not
// depend on each other, so the processor waits for many reads of memory at a
// time and hashes nodes together.
type treeWorker struct {
	visits []treeVisit // level by level
	level  []int       // where each starts
	batch  nodeBatch
	one    nodeHasher
	sum    byte // see touch
}

// treeVisit is a subtree with changes.
type treeVisit struct {
	at     *subtree  // where it hangs: in a node that nobody else has yet
	quad   *treeQuad // the copy of its node; nil: it was a run or empty
	lo, hi int32     // its changes
	halves [2]bool   // which children of the quad have some
}

// update makes the changes of a task; gone says whether there may be deletions
// among them.
func (w *treeWorker) update(t *treeShape, k *treeTask, gone bool, load treeLoad) error {
	defer w.forget()
	w.open(k)
	for i := range w.level {
		level := w.at(i)
		for j := range level {
			v := &level[j]
			if v.quad != nil {
				continue
			}
			if err := t.updateRun(&w.one, v.at, k.depth+2*i, k.ch[v.lo:v.hi], load); err != nil {
				return err
			}
		}
	}
	for i := len(w.level) - 1; i >= 0; i-- {
		w.seal(w.at(i))
		if gone { // to count keys costs much, and blocks seldom delete
			w.shrink(t, w.at(i))
		}
	}
	return nil
}

// forget lets go of the trees.
func (w *treeWorker) forget() {
	clear(w.visits)
	clear(w.batch.to[:])
	w.visits, w.level = w.visits[:0], w.level[:0]
}

// at returns the visits of a level.
func (w *treeWorker) at(level int) []treeVisit {
	if level+1 < len(w.level) {
		return w.visits[w.level[level]:w.level[level+1]]
	}
	return w.visits[w.level[level]:]
}

// open copies the nodes on the ways to the changes.
func (w *treeWorker) open(k *treeTask) {
	w.visits = append(w.visits, treeVisit{at: k.at, hi: int32(len(k.ch))})
	for lo, depth := 0, k.depth; lo < len(w.visits); depth += 2 {
		hi := len(w.visits)
		w.level = append(w.level, lo)
		for i := lo; i < hi; i++ {
			w.touch(w.visits[i].at)
		}
		for i := lo; i < hi; i++ {
			v := &w.visits[i]
			old, ok := v.at.node.(*treeQuad)
			if !ok {
				continue
			}
			q := new(*old)
			v.quad, v.at.node = q, q
			at := v.lo
			for j, ch := range treeParts(k.ch[v.lo:v.hi], depth) {
				if len(ch) > 0 {
					v.halves[j>>1] = true
					w.visits = append(w.visits, treeVisit{at: q.child(j), lo: at, hi: at + int32(len(ch))})
					v = &w.visits[i] // they may have moved
					at += int32(len(ch))
				}
			}
		}
		lo = hi
	}
}

// touch reads a byte of every line of memory that a visit will need. It does so
// for a level at a time, so the processor waits for many of them at once; to
// copy one node after the other would wait for each. The sum means nothing, but
// a read that nobody uses is left out.
func (w *treeWorker) touch(s *subtree) {
	if q, ok := s.node.(*treeQuad); ok {
		w.sum += q.hash[0][0] + q.half[0][0].hash[0] + q.half[0][1].hash[31] + q.half[1][1].hash[0]
		return
	}
	for l := s.near(); len(l) > 0; l = l[1:] {
		w.sum += l[0].hash[0]
	}
}

// seal hashes the nodes of a level, whose children are done: first all
// children of nodes, then all nodes.
func (w *treeWorker) seal(level []treeVisit) {
	for i := range level {
		q := level[i].quad
		if q == nil {
			continue
		}
		for j, stale := range level[i].halves {
			if !stale {
				continue
			}
			p := &q.half[j]
			if leaf, ok := p.lone(); ok {
				q.hash[j] = leaf.hash
			} else {
				w.batch.add(&p[0].hash, &p[1].hash, &q.hash[j])
			}
		}
	}
	w.batch.flush()
	for i := range level {
		if q := level[i].quad; q != nil {
			w.batch.add(&q.hash[0], &q.hash[1], &level[i].at.hash)
		}
	}
	w.batch.flush()
}

// shrink makes those nodes of a level runs that have become small.
func (w *treeWorker) shrink(t *treeShape, level []treeVisit) {
	for i := range level {
		if level[i].quad != nil {
			t.shrink(&w.one, level[i].at)
		}
	}
}

// updateRun merges changes into a run or an empty subtree.
func (t *treeShape) updateRun(h *nodeHasher, s *subtree, depth int, ch []treeChange, load treeLoad) error {
	// Runs are short: it is cheaper to build one anew than to keep the hashes
	// below it.
	old, err := t.leaves(s, treeFirst(ch[0].key, depth), depth, load)
	if err != nil {
		return err
	}
	var room [treeRunKeys + 2]treeLeaf
	t.build(h, s, treeMerge(room[:0], old, ch), depth)
	return nil
}

// nodeBatch collects nodes to be hashed together.
type nodeBatch struct {
	n   int
	in  [2 * 64][32]byte
	out [64][32]byte
	to  [64]*shardkit.Hash
}

// add makes to the hash of the two sides by the next flush.
func (b *nodeBatch) add(left, right, to *shardkit.Hash) {
	if b.n == len(b.out) {
		b.flush()
	}
	b.in[2*b.n], b.in[2*b.n+1], b.to[b.n] = *left, *right, to
	b.n++
}

// flush hashes what was added.
func (b *nodeBatch) flush() {
	if b.n == 0 {
		return
	}
	nodeSums(b.out[:b.n], b.in[:2*b.n])
	for i, to := range b.to[:b.n] {
		*to = b.out[i]
	}
	b.n = 0
}
