package statesync

import "math"

// spool holds numbered pieces (hops by epoch, blocks by height) that arrive
// from several peers in any order and are taken from the front in order.
type spool[T any] struct {
	base  uint64     // number of items[0]
	items []entry[T] // base, base+1, …; some not there yet
	bytes int        // of what is there
	end   uint64     // first number that the peers say they do not have; max: not known
	known uint64     // numbers below are believed to be there
	slice int        // how many to ask for at once
}

// entry is a piece, or the place of one.
type entry[T any] struct {
	state entryState
	peer  *peer
	size  int
	v     T
}

type entryState uint8

const (
	entryMissing  entryState = iota
	entryThere               // arrived, not checked
	entryChecking            // in a job
	entryGood                // checked
	entryGiven               // handed to the application; v is gone
)

const (
	maxSlice    = 64 // pieces asked for at once
	aheadSlices = 4  // slices that are taken to be there when a peer says that there is more
)

func newSpool[T any](base uint64) spool[T] {
	return spool[T]{base: base, end: math.MaxUint64, slice: 16}
}

// at returns the entry of a number, nil if there is none.
func (s *spool[T]) at(n uint64) *entry[T] {
	if n < s.base || n-s.base >= uint64(len(s.items)) {
		return nil
	}
	return &s.items[n-s.base]
}

// put stores an arrived piece unless one is there already.
func (s *spool[T]) put(n uint64, p *peer, v T, size int) {
	if n < s.base {
		return
	}
	for uint64(len(s.items)) <= n-s.base {
		s.items = append(s.items, entry[T]{})
	}
	e := s.at(n)
	if e.state != entryMissing {
		return
	}
	*e = entry[T]{state: entryThere, peer: p, size: size, v: v}
	s.bytes += size
}

// drop makes a piece missing again.
func (s *spool[T]) drop(e *entry[T]) {
	s.bytes -= e.size
	*e = entry[T]{}
}

// dropFrom drops all unchecked pieces of a peer.
func (s *spool[T]) dropFrom(p *peer) {
	for i := range s.items {
		if e := &s.items[i]; e.state == entryThere && e.peer == p {
			s.drop(e)
		}
	}
}

// release forgets what a piece holds, not that it was there.
func (s *spool[T]) release(e *entry[T]) {
	s.bytes -= e.size
	*e = entry[T]{state: entryGiven}
}

// advance drops all pieces below n.
func (s *spool[T]) advance(n uint64) {
	for s.base < n && len(s.items) > 0 {
		s.bytes -= s.items[0].size
		s.items[0] = entry[T]{}
		s.items = s.items[1:]
		s.base++
	}
	s.base = max(s.base, n)
}

// missing returns the first run of at most slice pieces below limit that are
// neither there nor asked for.
func (s *spool[T]) missing(limit uint64, asked func(n uint64) bool) (from uint64, count int) {
	want := func(n uint64) bool {
		e := s.at(n)
		return n < limit && (e == nil || e.state == entryMissing) && !asked(n)
	}
	for from = s.base; from < limit && !want(from); from++ {
	}
	for count < s.slice && want(from+uint64(count)) {
		count++
	}
	return from, count
}

// front returns the number of the piece that all others wait for: the first
// that has not been handed out.
func (s *spool[T]) front() uint64 {
	n := s.base
	for s.at(n) != nil && s.at(n).state == entryGiven {
		n++
	}
	return n
}

// limit returns below which number pieces may be asked for: all of a window of
// what the peers are believed to have, or, if nothing is under way, a try at
// the first that is missing.
func (s *spool[T]) limit(window int, underway bool) uint64 {
	limit := min(s.end, s.base+uint64(window))
	if underway {
		limit = min(limit, s.known)
	}
	return limit
}

// answered takes note of what an answer to a request for asked pieces from
// number from on says about what there is: n of them came, and more says that
// there are more. It is a peer's word, and decides only what is asked next.
func (s *spool[T]) answered(from uint64, asked, n int, more bool) {
	next := from + uint64(n)
	switch {
	case n == 0:
		s.end, s.known = min(s.end, next), min(s.known, next)
		return
	case !more:
		s.end, s.known = next, min(s.known, next)
		return
	}
	if n == asked {
		n *= 2
	}
	s.slice = max(1, min(maxSlice, n))
	s.known = max(s.known, next+aheadSlices*uint64(s.slice))
	if next >= s.end {
		s.end = math.MaxUint64
	}
}
