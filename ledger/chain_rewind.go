package ledger

import (
	"fmt"
	"iter"

	"github.com/shardkit/shardkit"
)

// Rewind makes the block of height h the newest again and forgets those after
// it, with their indexes: for an operator who has to leave a branch, or to
// execute blocks again. The state must still know the height
// (StateConfig.Undo), else the error is ErrPruned. extra is written with it,
// to take back what the composition keeps beside the blocks; nothing of what
// it wrote with the forgotten blocks is removed by itself.
func (c *Chain) Rewind(h shardkit.Height, extra iter.Seq2[[]byte, []byte]) error {
	head, ok := c.Head()
	first, _ := c.First()
	if !ok || h > head.Height || h < first {
		return fmt.Errorf("ledger: rewind to %d: %w", h, ErrNotFound)
	}
	to, _, err := c.record(h)
	if err != nil {
		return err
	}
	view, err := c.viewOf(to)
	if err != nil {
		return err
	}
	view.Close()
	gone, err := c.forgotten(h+1, head.Height)
	if err != nil {
		return err
	}
	hash := to.Hash()
	sets := func(yield func(k, v []byte) bool) {
		if yield([]byte(keyHead), headRecord(h, hash)) && extra != nil {
			extraPairs(extra)(yield)
		}
	}
	if err := c.State().Rewind(uint64(h), sets, forget(h+1, head.Height, gone)); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head, c.hash = to, hash
	return nil
}

// forget deletes the blocks from lo to hi, both included, and the keys: records
// in order of height as a range, which costs the same however many they are.
func forget(lo, hi shardkit.Height, keys [][]byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(lo, hi []byte) bool) {
		if !yield(heightKey(keyHeader, lo), heightKey(keyHeader, hi+1)) ||
			!yield(heightKey(keyBody, lo), heightKey(keyBody, hi+1)) {
			return
		}
		for _, k := range keys {
			if !yield(k, nil) {
				return
			}
		}
	}
}

// viewOf returns the state after a block, which must have the header's root:
// asked before anything is built on it.
func (c *Chain) viewOf(h *Header) (*View, error) {
	view, err := c.State().View(uint64(h.Height))
	if err != nil {
		return nil, err
	}
	if root := view.Root(); root != h.State {
		view.Close()
		return nil, &DamageError{
			What: fmt.Sprintf("state of block %d", h.Height),
			Err:  fmt.Errorf("root %v, header has %v", root, h.State),
		}
	}
	return view, nil
}

// forgotten lists the keys of the blocks from lo to hi, both included, that do
// not lie in order of height.
func (c *Chain) forgotten(lo, hi shardkit.Height) ([][]byte, error) {
	keys, err := c.unindex(lo, hi)
	if err != nil {
		return nil, err
	}
	for h := lo; h <= hi; h++ {
		header, _, err := c.record(h)
		if err != nil {
			return nil, err
		}
		hash := header.Hash()
		keys = append(keys, append([]byte(keyNumber), hash[:]...))
	}
	return keys, nil
}
