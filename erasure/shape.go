package erasure

import (
	"errors"
	"fmt"
	"math/bits"
	"sort"

	"github.com/shardkit/shardkit"
)

// Codec says how chunks follow from a body. It follows from K and N, so that
// there is one way to encode a body for given K and N.
type Codec uint8

const (
	Whole     Codec = 1 // one chunk: the body
	GF8       Codec = 2 // Reed-Solomon over GF(2^8), by matrix
	Leopard8  Codec = 3 // Reed-Solomon over GF(2^8), by fast Fourier transform
	Leopard16 Codec = 4 // the same over GF(2^16)
)

// MaxChunks is the largest N, and MaxLength the longest body, of any shape.
const (
	MaxChunks = 1 << 15
	MaxLength = 1 << 28
)

// matrixMost is up to how many data chunks the matrix codec is used: on one
// core the Fourier transform is faster from about here on.
const matrixMost = 8

// lane is the unit in which the Fourier codecs work: a chunk is a multiple.
const lane = 64

// codec returns the codec for k of n chunks.
func codec(k, n int) Codec {
	switch {
	case n == 1:
		return Whole
	case k == n || k <= matrixMost && n <= 256:
		return GF8
	case leopardFits(k, n-k, 256):
		return Leopard8
	}
	return Leopard16
}

// leopardFits says whether a Fourier codec over a field of the given order has
// room for k data and p parity chunks: it counts in blocks of p rounded up to a
// power of two, and one block is the parity.
func leopardFits(k, p, order int) bool {
	block := 1 << bits.Len(uint(p-1))
	return (k+block-1)/block*block+block <= order
}

// Shape is how a body is cut: into K data chunks, completed to N chunks of
// which any K give back the body.
type Shape struct {
	K, N   int
	Length int // bytes of the body
}

// Codec returns the codec of the shape.
func (s Shape) Codec() Codec { return codec(s.K, s.N) }

// ChunkSize returns the bytes of one chunk. The last data chunks are padded
// with zeros.
func (s Shape) ChunkSize() int {
	size := (s.Length + s.K - 1) / s.K
	if c := s.Codec(); c == Leopard8 || c == Leopard16 {
		size = (size + lane - 1) / lane * lane
	}
	return size
}

// check returns an error unless the shape is one that Encode can make.
func (s Shape) check() error {
	switch {
	case s.K < 1 || s.N < s.K || s.N > MaxChunks:
		return fmt.Errorf("%d of %d chunks", s.K, s.N)
	case s.Length < 0 || s.Length > MaxLength || s.Length == 0 && s.N != 1:
		return fmt.Errorf("%d bytes in %d of %d chunks", s.Length, s.K, s.N)
	case s.K == s.N && s.N > 256:
		return fmt.Errorf("%d chunks without parity", s.N)
	case s.Codec() == Leopard16 && !leopardFits(s.K, s.N-s.K, 1<<16):
		return fmt.Errorf("%d of %d chunks fit no code", s.K, s.N)
	}
	return nil
}

// Member is a receiver and relay of chunks, dealt chunks in proportion to its
// weight.
type Member struct {
	Node   shardkit.NodeID
	Weight uint64
}

// Group is a committee as the broadcast sees it. Every member must name the
// same members in the same order. Sure is the weight of members that is sure
// to hold its chunks (2q - W of the consensus): any members of that weight
// together can rebuild a body.
type Group struct {
	Members []Member
	Sure    uint64
}

// maxWeight bounds the total weight of a group, so that sums and products with
// counts of chunks do not overflow.
const maxWeight = 1 << 60

// Deal says which chunks each member of a group holds: member i those from
// First(i) to First(i+1).
type Deal struct {
	K, N  int
	first []int // one more than members
}

// NewDeal deals chunks to the members of a group. With u the weight that one
// chunk stands for, a member of weight w holds ⌈w/u⌉ chunks and K is ⌈Sure/u⌉:
// members of weight Sure together then hold at least K, whoever they are. Of
// all u the one is taken that makes N/K, what the coding adds to the body, the
// least; a larger N must be worth it.
func NewDeal(g Group) (*Deal, error) {
	total := uint64(0)
	for _, m := range g.Members {
		if m.Weight > maxWeight-total {
			return nil, errors.New("erasure: deal: total weight over 2^60")
		}
		total += m.Weight
	}
	if g.Sure == 0 || g.Sure > total {
		return nil, fmt.Errorf("erasure: deal: %d of weight %d is not sure to hold chunks", g.Sure, total)
	}
	var best Shape
	var bestUnit uint64
	for _, count := range counts(len(g.Members)) {
		unit := max(1, (total+uint64(count)-1)/uint64(count))
		s := Shape{K: int(ceil(g.Sure, unit)), N: dealt(g.Members, unit), Length: 1}
		if s.check() != nil {
			continue
		}
		// N/K must fall by a tenth for a finer deal to be taken.
		if best.N == 0 || 10*s.N*best.K < 9*best.N*s.K {
			best, bestUnit = s, unit
		}
		if unit == 1 {
			break
		}
	}
	if best.N == 0 {
		return nil, fmt.Errorf("erasure: deal: no code for %d members", len(g.Members))
	}
	d := &Deal{K: best.K, N: best.N, first: make([]int, len(g.Members)+1)}
	for i, m := range g.Members {
		d.first[i+1] = d.first[i] + int(ceil(m.Weight, bestUnit))
	}
	return d, nil
}

// counts returns the numbers of chunks to try for m members, ascending: the
// actual number comes out up to m larger.
func counts(m int) []int {
	var cs []int
	step := max(1, m/8)
	for c := step; c <= max(2*m, 64); c += step {
		cs = append(cs, c)
	}
	return cs
}

func ceil(w, unit uint64) uint64 { return (w + unit - 1) / unit }

// dealt returns how many chunks the members hold if each stands for unit.
func dealt(members []Member, unit uint64) int {
	n := uint64(0)
	for _, m := range members {
		if n += ceil(m.Weight, unit); n > MaxChunks {
			return MaxChunks + 1
		}
	}
	return int(n)
}

// Range returns the chunks that member i holds: from lo up to hi.
func (d *Deal) Range(i int) (lo, hi int) { return d.first[i], d.first[i+1] }

// Owner returns the member that holds chunk index.
func (d *Deal) Owner(index int) int {
	return sort.SearchInts(d.first, index+1) - 1
}

// Shape returns the shape of a body of the given length that is dealt so.
func (d *Deal) Shape(length int) Shape { return Shape{K: d.K, N: d.N, Length: length} }
