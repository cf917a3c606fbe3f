package ledger

// Overlay is a KV that keeps changes to itself until Flush hands them to the
// one below. An executor that may fail half-way runs on one.
type Overlay struct {
	base  KV
	cells map[string]int
	order []overlayCell // in order of first change
}

type overlayCell struct {
	key   []byte
	value []byte
	ok    bool
}

// NewOverlay returns an overlay of s without changes.
func NewOverlay(s KV) *Overlay { return &Overlay{base: s, cells: make(map[string]int)} }

// Get implements KV.
func (o *Overlay) Get(key []byte) ([]byte, bool, error) {
	if i, ok := o.cells[string(key)]; ok {
		return o.order[i].value, o.order[i].ok, nil
	}
	return o.base.Get(key)
}

// Set implements KV.
func (o *Overlay) Set(key, value []byte) error { o.put(key, value, true); return nil }

// Delete implements KV.
func (o *Overlay) Delete(key []byte) error { o.put(key, nil, false); return nil }

func (o *Overlay) put(key, value []byte, ok bool) {
	if i, known := o.cells[string(key)]; known {
		o.order[i].value, o.order[i].ok = value, ok
		return
	}
	o.cells[string(key)] = len(o.order)
	o.order = append(o.order, overlayCell{key, value, ok})
}

// Reset forgets all changes.
func (o *Overlay) Reset() {
	clear(o.cells)
	o.order = o.order[:0]
}

// Flush makes the changes below, in the order in which keys were first
// changed, and forgets them. An error is that of the KV below, which is then
// left half-way.
func (o *Overlay) Flush() error {
	for _, c := range o.order {
		var err error
		if c.ok {
			err = o.base.Set(c.key, c.value)
		} else {
			err = o.base.Delete(c.key)
		}
		if err != nil {
			return err
		}
	}
	o.Reset()
	return nil
}
