package reshard

import (
	"crypto/sha3"
	"encoding/binary"
	"io"
	"math/bits"

	"github.com/shardkit/shardkit"
)

// A stream is the randomness of one deal. In a chain it is cSHAKE256 with this
// package's own customization string over the epoch's seed and the policy's
// name, so that nothing else derived from the same seed ever sees the same
// bytes. Simulations put a faster generator in its place.
type stream struct {
	src io.Reader
	buf [1088]byte // eight blocks of the sponge
	pos int
}

const streamTag = "shardkit/reshard/v1"

func newStream(seed shardkit.Hash, name string) stream {
	x := sha3.NewCSHAKE256(nil, []byte(streamTag))
	x.Write(seed[:])
	x.Write([]byte(name))
	s := stream{src: x}
	s.pos = len(s.buf)
	return s
}

func (s *stream) uint64() uint64 {
	if s.pos == len(s.buf) {
		s.src.Read(s.buf[:]) // neither source ever fails
		s.pos = 0
	}
	v := binary.BigEndian.Uint64(s.buf[s.pos:])
	s.pos += 8
	return v
}

// uint64n returns a uniform number below n, which is not 0 (Lemire 2019: the
// high word of a product, without the values that would make some more likely).
func (s *stream) uint64n(n uint64) uint64 {
	hi, lo := bits.Mul64(s.uint64(), n)
	if lo < n {
		for floor := -n % n; lo < floor; {
			hi, lo = bits.Mul64(s.uint64(), n)
		}
	}
	return hi
}

func (s *stream) intn(n int) int { return int(s.uint64n(uint64(n))) }

// shuffle is Fisher and Yates'.
func (s *stream) shuffle(list []int32) {
	for i := len(list) - 1; i > 0; i-- {
		j := s.intn(i + 1)
		list[i], list[j] = list[j], list[i]
	}
}

// take removes a random element of a list that is not empty. It changes the
// order of the rest.
func (s *stream) take(list *[]int32) int32 {
	l := *list
	i, last := s.intn(len(l)), len(l)-1
	v := l[i]
	l[i] = l[last]
	*list = l[:last]
	return v
}
