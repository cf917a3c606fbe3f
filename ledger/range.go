package ledger

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// A chunk: all pairs whose key hashes lie in a range, with the proof that
// there are no others. The range begins at the hash the chunk was asked for,
// which is not in it, and ends with the last pair, or with the greatest hash
// if done is set.
//
//	format  u8 = 1
//	done    bool
//	count   u32; at least 1 unless done is set
//	pairs   u8 length and raw key, u32 length and value; in order of the
//	        hashes of the keys
//	proof   the tree from the root on, left before right: of a subtree that
//	        lies in the range nothing, of one outside its hash [32], of one that
//	        lies across a tag u8 and what the tag asks for
const (
	rangeEmpty = 0 // nothing
	rangeOther = 1 // one leaf, out of the range: key [32], value hash [32]
	rangeInner = 2 // both sides
	rangeOwn   = 3 // one leaf, a pair of the chunk
)

// rangeSpan is a range of hashes, both ends included.
type rangeSpan struct{ from, last shardkit.Hash }

// sees reports whether the subtree under p lies in the span, and whether it
// lies out of it.
func (s *rangeSpan) sees(p *shardkit.Hash, depth int) (in, out bool) {
	last := treeLast(*p, depth)
	out = bytes.Compare(last[:], s.from[:]) < 0 || bytes.Compare(p[:], s.last[:]) > 0
	in = bytes.Compare(p[:], s.from[:]) >= 0 && bytes.Compare(last[:], s.last[:]) <= 0
	return in, out
}

func (s *rangeSpan) has(k *shardkit.Hash) bool {
	return bytes.Compare(k[:], s.from[:]) >= 0 && bytes.Compare(k[:], s.last[:]) <= 0
}

// ReadRange returns a chunk: the pairs of the version from a hash on, about
// maxBytes of them but at least one, with their proof. VerifyRange tells where
// the next one starts.
func (v *View) ReadRange(from shardkit.Hash, maxBytes int) (chunk []byte, err error) {
	pairs, more, err := v.page(from, maxBytes)
	if err != nil {
		return nil, err
	}
	span := rangeSpan{from, treeLast(shardkit.Hash{}, 0)}
	if more {
		span.last = pairs[len(pairs)-1].key
	}
	// The pairs come first: the verifier hashes them on the way and needs no
	// second pass.
	b := wire.AppendBool([]byte{1}, !more)
	b = wire.AppendU32(b, uint32(len(pairs)))
	for _, p := range pairs {
		b = append(append(b, byte(len(p.name))), p.name...)
		b = wire.AppendBytes(b, p.value)
	}
	return v.appendRange(b, &nodeHasher{}, &span, v.tree, shardkit.Hash{}, 0)
}

// appendRange appends the proof of the subtree at.
func (v *View) appendRange(b []byte, h *nodeHasher, span *rangeSpan, at subtree, p shardkit.Hash, depth int) ([]byte, error) {
	in, out := span.sees(&p, depth)
	switch {
	case out:
		return append(b, at.hash[:]...), nil
	case in:
		return b, nil
	case at.keys() == 0:
		return append(b, rangeEmpty), nil
	case at.keys() == 1:
		leaf, err := v.only(at, p, depth)
		if err != nil {
			return nil, err
		}
		if span.has(&leaf.key) {
			return append(b, rangeOwn), nil
		}
		return v.appendLeaf(append(b, rangeOther), leaf)
	}
	l, r, err := v.state.shape.sides(h, &at, p, depth, v.load)
	if err != nil {
		return nil, err
	}
	if b, err = v.appendRange(append(b, rangeInner), h, span, l, p, depth+1); err != nil {
		return nil, err
	}
	return v.appendRange(b, h, span, r, treeSide(p, depth), depth+1)
}

// rangePair is a pair of a chunk; name and value are parts of it.
type rangePair struct {
	key         shardkit.Hash
	name, value []byte
}

// rangeRead decodes the pairs of a chunk that starts at from. What is left in
// the Reader is the proof. next is zero if the chunk is the last.
func rangeRead(from shardkit.Hash, chunk []byte) (pairs []rangePair, next shardkit.Hash, proof *wire.Reader, err error) {
	r := wire.NewReader(chunk)
	r.Expect(1, "format")
	done := r.Bool()
	n := r.Count(1<<24, 6) // a pair has at least 6 bytes
	if n == 0 && !done {
		r.Fail(errors.New("no pairs"))
	}
	pairs = make([]rangePair, 0, n)
	for range n {
		p := rangePair{name: r.Fixed(int(r.U8())), value: r.Bytes(MaxValue)}
		if r.Err() != nil {
			break
		}
		p.key = sha256.Sum256(p.name)
		if len(p.name) == 0 || bytes.Compare(p.key[:], from[:]) < 0 {
			r.Fail(errors.New("pairs out of order or range"))
			break
		}
		from = hashAfter(p.key)
		pairs = append(pairs, p)
	}
	if err := r.Err(); err != nil {
		return nil, next, nil, err
	}
	if !done {
		next = from
	}
	return pairs, next, r, nil
}

// VerifyRange checks that chunk holds all pairs of the state with this root in
// a range of hashes that starts at from, and returns where the range after it
// starts; done if there is nothing after it. The error wraps ErrProof.
func VerifyRange(root, from shardkit.Hash, chunk []byte) (next shardkit.Hash, done bool, err error) {
	pairs, next, r, err := rangeRead(from, chunk)
	if err != nil {
		return shardkit.Hash{}, false, fmt.Errorf("%w: range: %w", ErrProof, err)
	}
	v := rangeVerifier{r: r, h: &nodeHasher{}, span: rangeSpan{from, treeLast(shardkit.Hash{}, 0)}}
	done = next == (shardkit.Hash{})
	if !done {
		v.span.last = pairs[len(pairs)-1].key
	}
	v.leaves = make([]treeLeaf, len(pairs))
	for i, p := range pairs {
		v.leaves[i] = treeLeaf{p.key, leafOf(p.key, p.value)}
	}
	// What is in the range must come out of the pairs, what is outside is taken
	// from the proof: a pair left out changes the root, a pair made up is left
	// over.
	got := v.subtree(shardkit.Hash{}, 0)
	if len(v.leaves) > 0 {
		r.Fail(errors.New("pairs left over"))
	}
	// Else the same pairs could be sent in two ways, and a peer could make a
	// client ask once more for nothing.
	if !done && !v.beyond {
		r.Fail(errors.New("the last chunk does not say so"))
	}
	if err := r.Close(); err != nil {
		return shardkit.Hash{}, false, fmt.Errorf("%w: range: %w", ErrProof, err)
	}
	if got != root {
		return shardkit.Hash{}, false, fmt.Errorf("%w: range: root differs", ErrProof)
	}
	return next, done, nil
}

// rangeVerifier computes the root from pairs and proof, in one pass over
// both.
type rangeVerifier struct {
	r      *wire.Reader
	h      *nodeHasher
	span   rangeSpan
	leaves []treeLeaf // not yet used
	beyond bool       // there is a key after the range
}

// outside notes the hash of what lies out of the range, from p on.
func (v *rangeVerifier) outside(p *shardkit.Hash, h shardkit.Hash) shardkit.Hash {
	if h != (shardkit.Hash{}) && bytes.Compare(p[:], v.span.last[:]) > 0 {
		v.beyond = true
	}
	return h
}

// take returns the leaves under a prefix: they are the next ones, as the walk
// goes in order. One that comes before the prefix was in a part that the proof
// calls empty.
func (v *rangeVerifier) take(p *shardkit.Hash, depth int) []treeLeaf {
	if len(v.leaves) > 0 && bytes.Compare(v.leaves[0].key[:], p[:]) < 0 {
		v.r.Fail(errors.New("a pair where the proof has none"))
		v.leaves = nil
	}
	last := treeLast(*p, depth)
	n := 0
	for n < len(v.leaves) && bytes.Compare(v.leaves[n].key[:], last[:]) <= 0 {
		n++
	}
	out := v.leaves[:n]
	v.leaves = v.leaves[n:]
	return out
}

// subtree computes the hash of the subtree under p. A subtree across an end of
// the range is at most 255 deep, so the recursion ends.
func (v *rangeVerifier) subtree(p shardkit.Hash, depth int) shardkit.Hash {
	in, out := v.span.sees(&p, depth)
	if out {
		return v.outside(&p, v.r.Array32())
	}
	if in {
		return v.h.fold(v.take(&p, depth), depth)
	}
	switch tag := v.r.U8(); {
	case v.r.Err() != nil || tag == rangeEmpty:
		return shardkit.Hash{}
	case tag == rangeInner:
		l := v.subtree(p, depth+1)
		r := v.subtree(treeSide(p, depth), depth+1)
		return v.h.one(&l, &r)
	case tag == rangeOwn:
		own := v.take(&p, depth)
		if len(own) != 1 {
			v.r.Fail(errors.New("not one pair where one is claimed"))
			return shardkit.Hash{}
		}
		return own[0].hash
	case tag == rangeOther:
		key, value := shardkit.Hash(v.r.Array32()), shardkit.Hash(v.r.Array32())
		if treeFirst(key, depth) != p || v.span.has(&key) {
			v.r.Fail(errors.New("a leaf out of place"))
		}
		return v.outside(&key, leafHash(key, value))
	default:
		v.r.Fail(fmt.Errorf("%w: tag %d", wire.ErrValue, tag))
		return shardkit.Hash{}
	}
}
