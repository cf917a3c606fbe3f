package erasure

import (
	"runtime"
	"sync"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/merkle"
)

// What runs in a job is not core code: a job may use several cores. It does so
// for long bodies only, for which the time to the first byte decides how fast a
// committee is; for short ones the other jobs make better use of them.
const (
	splitFrom = 1 << 20 // length of a body from which on its work is split
	splitMost = 4       // into how many parts at most
	splitLane = 4 << 10 // bytes of a chunk that a part has at least
)

// columns applies code to the chunks, for a long body in parallel: byte i of
// every chunk depends only on bytes i of the others (in the Fourier codes on
// the 64 bytes around), so ranges of columns are independent and the result is
// the same, bit for bit, as in one go.
func columns(s Shape, chunks [][]byte, code func([][]byte) error) error {
	size := s.ChunkSize()
	parts := min(splitMost, runtime.GOMAXPROCS(0), size/splitLane)
	if s.Length < splitFrom || parts < 2 {
		return code(chunks)
	}
	width := ((size+parts-1)/parts + lane - 1) / lane * lane
	return parallel((size+width-1)/width, func(p int) error {
		lo, hi := p*width, min((p+1)*width, size)
		column := make([][]byte, len(chunks))
		for i, c := range chunks {
			if len(c) == 0 { // missing: to be written into its room
				column[i] = c[lo:lo:hi]
			} else {
				column[i] = c[lo:hi:hi]
			}
		}
		return code(column)
	})
}

// hashAll sets leaves[i] to the leaf hash of chunks[i], unless it is there.
func hashAll(leaves []shardkit.Hash, chunks [][]byte) {
	parts := min(splitMost, runtime.GOMAXPROCS(0))
	if len(chunks)*len(chunks[0]) < splitFrom || parts < 2 {
		parts = 1
	}
	_ = parallel(parts, func(p int) error {
		for i := p; i < len(chunks); i += parts {
			if leaves[i] == (shardkit.Hash{}) {
				leaves[i] = merkle.LeafHash(chunks[i])
			}
		}
		return nil
	})
}

// parallel runs part for 0 to n-1 at once and returns the first error.
func parallel(n int, part func(p int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for p := 1; p < n; p++ {
		wg.Go(func() { errs[p] = part(p) })
	}
	errs[0] = part(0)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
