package ledger

// heap keeps items so that the first is one that no other is before. place
// tells an item where it is, -1 once it is out: whoever holds an item can move
// or remove it.
type heap[T any] struct {
	items  []T
	before func(a, b T) bool
	place  func(item T, at int)
}

func (h *heap[T]) push(item T) {
	h.items = append(h.items, item)
	h.up(len(h.items) - 1)
}

// fix restores the order after the item at i changed.
func (h *heap[T]) fix(i int) {
	if h.up(i) == i {
		h.down(i)
	}
}

// remove takes the item at i out; the last one fills the gap.
func (h *heap[T]) remove(i int) T {
	item, last := h.items[i], len(h.items)-1
	h.items[i] = h.items[last]
	var none T
	h.items[last] = none
	h.items = h.items[:last]
	if i < last {
		h.fix(i)
	}
	h.place(item, -1)
	return item
}

// up and down move the item at i to where it belongs among those above and
// below. The others shift by one place each; nothing is swapped.
func (h *heap[T]) up(i int) int {
	item := h.items[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !h.before(item, h.items[parent]) {
			break
		}
		h.items[i] = h.items[parent]
		h.place(h.items[i], i)
		i = parent
	}
	h.items[i] = item
	h.place(item, i)
	return i
}

func (h *heap[T]) down(i int) {
	item := h.items[i]
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			break
		}
		if r := child + 1; r < len(h.items) && h.before(h.items[r], h.items[child]) {
			child = r
		}
		if !h.before(h.items[child], item) {
			break
		}
		h.items[i] = h.items[child]
		h.place(h.items[i], i)
		i = child
	}
	h.items[i] = item
	h.place(item, i)
}
