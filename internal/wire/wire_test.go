package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/internal/wire"
)

// item uses every kind of field once.
type item struct {
	a    uint8
	b    uint16
	c    uint32
	d    uint64
	e, f bool
	g    [32]byte
	h    []byte
	i    [3]byte
	list []uint16
	rest []byte
}

const (
	maxBytes = 10
	maxList  = 4
)

func (v *item) append(b []byte) []byte {
	b = append(b, v.a)
	b = wire.AppendU16(b, v.b)
	b = wire.AppendU32(b, v.c)
	b = wire.AppendU64(b, v.d)
	b = wire.AppendBool(b, v.e)
	b = wire.AppendBool(b, v.f)
	b = append(b, v.g[:]...)
	b = wire.AppendBytes(b, v.h)
	b = append(b, v.i[:]...)
	b = wire.AppendU32(b, uint32(len(v.list)))
	for _, x := range v.list {
		b = wire.AppendU16(b, x)
	}
	return append(b, v.rest...)
}

func (v *item) decode(data []byte) error {
	r := wire.NewReader(data)
	v.a, v.b, v.c, v.d = r.U8(), r.U16(), r.U32(), r.U64()
	v.e, v.f = r.Bool(), r.Bool()
	v.g = r.Array32()
	v.h = r.Bytes(maxBytes)
	copy(v.i[:], r.Fixed(3))
	v.list = make([]uint16, r.Count(maxList, 2))
	for i := range v.list {
		v.list[i] = r.U16()
	}
	v.rest = r.Rest()
	return r.Close()
}

func sample() *item {
	v := &item{
		a: 1, b: 0x0203, c: 0x04050607, d: 0x08090a0b0c0d0e0f, e: true,
		h: []byte("hello"), i: [3]byte{7, 8, 9}, list: []uint16{1, 0xffff}, rest: []byte("rest"),
	}
	v.g[0], v.g[31] = 0xaa, 0xbb
	return v
}

const golden = "01 0203 04050607 08090a0b0c0d0e0f 01 00 aa" + zeros30 + "bb 00000005 68656c6c6f 070809 00000002 0001 ffff 72657374"

const zeros30 = "000000000000000000000000000000000000000000000000000000000000"

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func TestGolden(t *testing.T) {
	require.Equal(t, unhex(golden), sample().append(nil))
	var v item
	require.NoError(t, v.decode(unhex(golden)))
	require.Equal(t, sample(), &v)
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	b := []byte("before")
	require.Equal(t, append([]byte("before"), unhex(golden)...), sample().append(b))
}

// TestEveryPrefixIsShort: nothing is read beyond the end, and no field is made
// up.
func TestEveryPrefixIsShort(t *testing.T) {
	data := unhex(golden)
	for n := range len(data) - len("rest") {
		var v item
		require.ErrorIs(t, v.decode(data[:n]), wire.ErrShort, "%d bytes", n)
		require.Empty(t, v.rest)
	}
}

func TestTrailing(t *testing.T) {
	r := wire.NewReader([]byte{1, 2, 3})
	r.U8()
	require.ErrorIs(t, r.Close(), wire.ErrTrailing)
	require.ErrorIs(t, r.Close(), wire.ErrTrailing, "it stays")
	require.NoError(t, wire.NewReader(nil).Close())
	require.NoError(t, new(wire.Reader).Close())
}

func TestBoolIsStrict(t *testing.T) {
	for b := range 256 {
		r := wire.NewReader([]byte{byte(b)})
		got, err := r.Bool(), r.Close()
		if b > 1 {
			require.ErrorIs(t, err, wire.ErrValue)
		} else {
			require.NoError(t, err)
		}
		require.Equal(t, b == 1, got)
	}
}

func TestFirstErrorSticks(t *testing.T) {
	r := wire.NewReader([]byte{2, 1, 1, 1, 1, 1, 1, 1, 1})
	require.False(t, r.Bool())
	first := r.Err()
	require.ErrorIs(t, first, wire.ErrValue)
	require.Zero(t, r.U8())
	require.Zero(t, r.U16())
	require.Zero(t, r.U32())
	require.Zero(t, r.U64())
	require.False(t, r.Bool())
	require.Zero(t, r.Array32())
	require.Nil(t, r.Fixed(1))
	require.Nil(t, r.Bytes(9))
	require.Zero(t, r.Count(9, 1))
	require.Nil(t, r.Rest())
	require.Zero(t, r.Len())
	r.Expect(1, "version")
	r.Fail(errors.New("another"))
	require.Equal(t, first, r.Err())
	require.Equal(t, first, r.Close())
}

func TestFail(t *testing.T) {
	mine := errors.New("mine")
	r := wire.NewReader([]byte{1, 2})
	r.U8()
	r.Fail(mine)
	require.Zero(t, r.U8())
	require.Equal(t, mine, r.Close())
}

func TestExpect(t *testing.T) {
	r := wire.NewReader([]byte{3, 4})
	r.Expect(3, "version")
	require.NoError(t, r.Err())
	r.Expect(3, "kind")
	require.ErrorIs(t, r.Err(), wire.ErrValue)
	require.ErrorContains(t, r.Err(), "kind 4, want 3")
	r = wire.NewReader(nil)
	r.Expect(0, "version")
	require.ErrorIs(t, r.Err(), wire.ErrShort, "nothing is not zero")
}

// TestLimits: a length is compared with its cap, and with what is there, before
// anything is made of it.
func TestLimits(t *testing.T) {
	bytes := func(n uint32, have, limit int) error {
		r := wire.NewReader(append(wire.AppendU32(nil, n), make([]byte, have)...))
		got := r.Bytes(limit)
		if r.Err() == nil {
			require.Len(t, got, int(n))
		} else {
			require.Nil(t, got)
		}
		return r.Err()
	}
	require.NoError(t, bytes(10, 10, 10))
	require.NoError(t, bytes(0, 0, 0))
	require.ErrorIs(t, bytes(11, 11, 10), wire.ErrLimit)
	require.ErrorIs(t, bytes(10, 9, 10), wire.ErrShort)
	require.ErrorIs(t, bytes(math.MaxUint32, 9, math.MaxInt32), wire.ErrLimit)
	require.ErrorIs(t, bytes(math.MaxInt32, 9, math.MaxInt32), wire.ErrShort)

	count := func(n uint32, have, limit, size int) error {
		r := wire.NewReader(append(wire.AppendU32(nil, n), make([]byte, have)...))
		if got := r.Count(limit, size); r.Err() == nil {
			require.Equal(t, int(n), got)
		} else {
			require.Zero(t, got)
		}
		return r.Err()
	}
	require.NoError(t, count(4, 8, 4, 2))
	require.NoError(t, count(0, 0, 0, 100))
	require.NoError(t, count(4, 0, 4, 0), "elements that may be empty")
	require.ErrorIs(t, count(5, 100, 4, 2), wire.ErrLimit)
	require.ErrorIs(t, count(4, 7, 4, 2), wire.ErrShort)
	require.ErrorIs(t, count(math.MaxUint32, 7, math.MaxInt32, 8), wire.ErrLimit)
	require.ErrorIs(t, count(math.MaxInt32, 7, math.MaxInt32, math.MaxInt32), wire.ErrShort, "the product does not wrap")

	r := wire.NewReader(make([]byte, 4))
	require.Nil(t, r.Fixed(-1))
	require.ErrorIs(t, r.Err(), wire.ErrShort)
	require.Nil(t, wire.NewReader(nil).Fixed(1))
}

// TestAliasing: what is read shares memory with the input, but appending to it
// does not reach what follows.
func TestAliasing(t *testing.T) {
	data := wire.AppendBytes(nil, []byte("ab"))
	data = append(data, "next"...)
	r := wire.NewReader(data)
	got := r.Bytes(2)
	_ = append(got, '!')
	require.Equal(t, "next", string(r.Rest()))
	got[0] = 'x'
	require.Equal(t, byte('x'), data[4])
}

// FuzzReader: no bytes make a decoder panic, and what it accepts has that one
// encoding.
func FuzzReader(f *testing.F) {
	f.Add(unhex(golden))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		var v item
		err := v.decode(data)
		require.Equal(t, before, data, "reading changes nothing")
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(v.h), maxBytes)
		require.LessOrEqual(t, len(v.list), maxList)
		require.Equal(t, data, v.append(nil))
	})
}

// FuzzCalls calls the methods in any order with any arguments.
func FuzzCalls(f *testing.F) {
	f.Add([]byte("0123456789abcdefghijklmnop"), []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 3)
	f.Fuzz(func(t *testing.T, data, calls []byte, n int) {
		r := wire.NewReader(data)
		for _, c := range calls {
			left, failed := r.Len(), r.Err() != nil
			switch c % 11 {
			case 0:
				r.U8()
			case 1:
				r.U16()
			case 2:
				r.U32()
			case 3:
				r.U64()
			case 4:
				r.Bool()
			case 5:
				r.Array32()
			case 6:
				require.LessOrEqual(t, len(r.Fixed(n)), left)
			case 7:
				require.LessOrEqual(t, len(r.Bytes(max(n, 0))), left)
			case 8:
				r.Count(max(n, 0), int(c))
			case 9:
				r.Expect(c, "byte")
			case 10:
				r.Rest()
			}
			require.LessOrEqual(t, r.Len(), left)
			require.False(t, failed && r.Err() == nil, "an error never goes away")
		}
	})
}

func Example() {
	b := wire.AppendU16(nil, 7)
	b = wire.AppendBytes(b, []byte("payload"))

	r := wire.NewReader(b)
	kind, payload := r.U16(), r.Bytes(100)
	fmt.Println(kind, string(payload), r.Close())

	r = wire.NewReader(append(b, 0))
	r.U16()
	r.Bytes(100)
	fmt.Println(r.Close())
	// Output:
	// 7 payload <nil>
	// trailing bytes: 1
}

func BenchmarkDecode(b *testing.B) {
	data := unhex(golden)
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		var v item
		if err := v.decode(data); err != nil {
			b.Fatal(err)
		}
	}
}
