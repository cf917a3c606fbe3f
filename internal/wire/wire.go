// Package wire is the canonical binary codec of shardkit: big-endian
// fixed-width integers, byte strings behind a uint32 length, strict booleans.
// One value has one encoding: a decoder built on Reader refuses every other.
//
// Encoding appends to a slice. Decoding goes through a Reader whose first
// error sticks, so that a decoder reads all its fields in a row and checks
// once, in Close.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The ways in which bytes can be malformed.
var (
	ErrShort    = errors.New("too short")
	ErrTrailing = errors.New("trailing bytes")
	ErrLimit    = errors.New("over the limit")
	ErrValue    = errors.New("value not canonical")
)

// AppendU16 appends v, big-endian.
func AppendU16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }

// AppendU32 appends v, big-endian.
func AppendU32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }

// AppendU64 appends v, big-endian.
func AppendU64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

// AppendBool appends 0 or 1.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendBytes appends the length of p as a uint32, then p.
func AppendBytes(b, p []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(p))), p...)
}

// A Reader takes values off the front of a byte slice. After the first error
// every method returns zero values. The zero Reader reads nothing.
type Reader struct {
	buf []byte
	err error
}

// NewReader returns a Reader over b, which must not change while it is read.
func NewReader(b []byte) *Reader { return &Reader{buf: b} }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// Len returns the number of bytes not yet read.
func (r *Reader) Len() int { return len(r.buf) }

// Close returns the first error, or ErrTrailing if bytes are left over.
func (r *Reader) Close() error {
	if r.err == nil && len(r.buf) > 0 {
		r.err = fmt.Errorf("%w: %d", ErrTrailing, len(r.buf))
	}
	return r.err
}

// Fail makes err the Reader's error unless it has one. Decoders use it for
// values that are well-formed but not allowed.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
		r.buf = nil
	}
}

// take returns the next n bytes, or nil and sets ErrShort.
func (r *Reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > len(r.buf) {
		r.Fail(fmt.Errorf("%w: want %d bytes, have %d", ErrShort, n, len(r.buf)))
		return nil
	}
	p := r.buf[:n:n]
	r.buf = r.buf[n:]
	return p
}

// U8 reads one byte.
func (r *Reader) U8() uint8 {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

// U16 reads a big-endian uint16.
func (r *Reader) U16() uint16 {
	if p := r.take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

// U32 reads a big-endian uint32.
func (r *Reader) U32() uint32 {
	if p := r.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

// U64 reads a big-endian uint64.
func (r *Reader) U64() uint64 {
	if p := r.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// Bool reads one byte that must be 0 or 1.
func (r *Reader) Bool() bool {
	switch r.U8() {
	case 0:
		return false
	case 1:
		return r.err == nil
	}
	r.Fail(fmt.Errorf("%w: boolean", ErrValue))
	return false
}

// Array32 reads 32 bytes.
func (r *Reader) Array32() (a [32]byte) {
	copy(a[:], r.take(32))
	return a
}

// Fixed reads n bytes. The result aliases the input.
func (r *Reader) Fixed(n int) []byte { return r.take(n) }

// Bytes reads a byte string of at most max bytes. The result aliases the
// input; nil only after an error.
func (r *Reader) Bytes(max int) []byte {
	n := r.U32()
	if r.err == nil && uint64(n) > uint64(max) {
		r.Fail(fmt.Errorf("%w: %d bytes, at most %d", ErrLimit, n, max))
		return nil
	}
	return r.take(int(n))
}

// Count reads the length of a list of at most max elements that take at least
// minSize bytes each, so that a decoder can allocate for it without trusting
// the sender.
func (r *Reader) Count(max, minSize int) int {
	n := r.U32()
	if r.err != nil {
		return 0
	}
	if uint64(n) > uint64(max) {
		r.Fail(fmt.Errorf("%w: %d elements, at most %d", ErrLimit, n, max))
		return 0
	}
	if uint64(n)*uint64(minSize) > uint64(len(r.buf)) {
		r.Fail(fmt.Errorf("%w: %d elements announced", ErrShort, n))
		return 0
	}
	return int(n)
}

// Expect reads one byte that must be want: a version or a kind.
func (r *Reader) Expect(want uint8, what string) {
	if got := r.U8(); r.err == nil && got != want {
		r.Fail(fmt.Errorf("%w: %s %d, want %d", ErrValue, what, got, want))
	}
}

// Rest reads everything that is left. The result aliases the input.
func (r *Reader) Rest() []byte { return r.take(len(r.buf)) }
