package fbft

import (
	"errors"
	"math/bits"
)

// Bitmap is a set of members of a committee of n: member i is bit i%8 of byte
// i/8. It has exactly (n+7)/8 bytes, and the bits past n are zero, so that one
// set has one encoding.
type Bitmap []byte

// NewBitmap returns the empty set of a committee of n.
func NewBitmap(n int) Bitmap { return make(Bitmap, (n+7)/8) }

// Set adds member i. It panics if i is out of range.
func (b Bitmap) Set(i int) { b[i/8] |= 1 << (i % 8) }

// Has reports whether member i is in the set.
func (b Bitmap) Has(i int) bool { return i >= 0 && i/8 < len(b) && b[i/8]>>(i%8)&1 == 1 }

// Count returns the number of members in the set.
func (b Bitmap) Count() int {
	n := 0
	for _, x := range b {
		n += bits.OnesCount8(x)
	}
	return n
}

// Indices returns the members in the set, ascending.
func (b Bitmap) Indices() []int {
	list := make([]int, 0, b.Count())
	for i, x := range b {
		for ; x != 0; x &= x - 1 {
			list = append(list, i*8+bits.TrailingZeros8(x))
		}
	}
	return list
}

// check reports why b is not a set of members of a committee of n.
func (b Bitmap) check(n int) error {
	if len(b) != (n+7)/8 {
		return errors.New("bitmap of another length")
	}
	if n%8 != 0 && b[len(b)-1]>>(n%8) != 0 {
		return errors.New("bitmap with padding bits")
	}
	return nil
}
