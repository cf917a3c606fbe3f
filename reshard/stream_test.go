package reshard

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/shardkit/shardkit"
)

// words is a source that says given numbers, then nothing but ones.
type words []uint64

func (w *words) Read(b []byte) (int, error) {
	for i := 0; i < len(b); i += 8 {
		v := ^uint64(0)
		if len(*w) > 0 {
			v, *w = (*w)[0], (*w)[1:]
		}
		binary.BigEndian.PutUint64(b[i:], v)
	}
	return len(b), nil
}

// 2^64 is one more than a multiple of three: of the numbers that would make 0
// one too many has to be passed over.
func TestUniformNumbers(t *testing.T) {
	s := stream{src: &words{0, 1 << 63}}
	s.pos = len(s.buf)
	if got := s.uint64n(3); got != 1 {
		t.Fatalf("got %d", got)
	}
	s = newStream(shardkit.Hash{1}, "test")
	counts := make([]int, 7)
	for range 70_000 {
		counts[s.intn(7)]++
	}
	if lo, hi := slices.Min(counts), slices.Max(counts); lo < 9_600 || hi > 10_400 {
		t.Fatalf("%v", counts)
	}
}

// Streams of other seeds and names are other streams.
func TestStreamsAreApart(t *testing.T) {
	first := func(seed byte, name string) uint64 {
		s := newStream(shardkit.Hash{seed}, name)
		return s.uint64()
	}
	again := first(1, "a")
	if first(1, "a") != again || first(1, "a") == first(2, "a") || first(1, "a") == first(1, "b") {
		t.Fatal("not a function of seed and name alone")
	}
}
