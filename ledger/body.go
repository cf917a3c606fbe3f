package ledger

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Limits of a body.
const (
	MaxBody         = 32 << 20 // bytes of the encoding
	MaxItems        = 1 << 16
	MaxTransactions = 1 << 17
)

// hashPiece is the number of transactions whose hashes are worth a goroutine.
const hashPiece = 256

// MaxCertificate bounds the certificate kept with a block.
const MaxCertificate = 1 << 20

// Size returns the length of the encoding.
func (b *Body) Size() int {
	n := 2 + 4 + 4
	for i := range b.Items {
		n += 4 + len(b.Items[i])
	}
	for i := range b.Transactions {
		n += b.Transactions[i].Size()
	}
	return n
}

// AppendBinary appends the encoding:
//
//	format 1 | 'B' | items: count u32, each as bytes | transactions: count u32, each as it is
func (b *Body) AppendBinary(dst []byte) ([]byte, error) {
	size := b.Size()
	if len(b.Items) > MaxItems || len(b.Transactions) > MaxTransactions || size > MaxBody {
		return dst, fmt.Errorf("ledger: body: %d items, %d transactions, %d bytes: over the limit", len(b.Items), len(b.Transactions), size)
	}
	out := append(slices.Grow(dst, size), bodyFormat, kindBody)
	out = wire.AppendU32(out, uint32(len(b.Items)))
	for _, item := range b.Items {
		out = wire.AppendBytes(out, item)
	}
	out = wire.AppendU32(out, uint32(len(b.Transactions)))
	var err error
	for i := range b.Transactions {
		if out, err = b.Transactions[i].AppendBinary(out); err != nil {
			return dst, err
		}
	}
	return out, nil
}

// DecodeBody decodes a body without copying it: items, memos and payloads are
// slices of data, which must not change as long as the body is used.
func DecodeBody(data []byte) (*Body, error) {
	if len(data) > MaxBody {
		return nil, fmt.Errorf("ledger: body: %w: %d bytes, at most %d", wire.ErrLimit, len(data), MaxBody)
	}
	b := new(Body)
	r := wire.NewReader(data)
	r.Expect(bodyFormat, "body format")
	r.Expect(kindBody, "kind")
	if n := r.Count(MaxItems, 4); n > 0 {
		b.Items = make([][]byte, n)
		for i := range b.Items {
			b.Items[i] = r.Bytes(MaxBody)
		}
	}
	if n := r.Count(MaxTransactions, minTransaction); n > 0 {
		if err := b.decodeTransactions(r, data, n); err != nil {
			return nil, err
		}
	}
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("ledger: body: %w", err)
	}
	return b, nil
}

// decodeTransactions reads n transactions off r, which are at the end of data.
// Most of the time goes into their hashes, which do not wait for each other.
func (b *Body) decodeTransactions(r *wire.Reader, data []byte, n int) error {
	b.Transactions = make([]Transaction, n)
	at := make([]int, n) // where each begins
	for i := range b.Transactions {
		at[i] = len(data) - r.Len()
		if b.Transactions[i].decode(r); r.Err() != nil {
			return fmt.Errorf("ledger: body: transaction %d: %w", i, r.Err())
		}
	}
	spread(n, (n+hashPiece-1)/hashPiece, func(lo, hi int) {
		var scratch []byte
		for i := lo; i < hi; i++ {
			scratch = b.Transactions[i].remember(data[at[i]:], scratch)
		}
	})
	return nil
}

// UnmarshalBinary decodes what AppendBinary made and refuses everything else.
// It keeps nothing of data; DecodeBody saves the copy.
func (b *Body) UnmarshalBinary(data []byte) error {
	if len(data) > MaxBody {
		return fmt.Errorf("ledger: body: %w: %d bytes, at most %d", wire.ErrLimit, len(data), MaxBody)
	}
	v, err := DecodeBody(bytes.Clone(data))
	if err != nil {
		return err
	}
	*b = *v
	return nil
}

// BodyHash returns the hash of an encoded body, as Header.Body holds it.
func BodyHash(encoded []byte) shardkit.Hash { return sha256.Sum256(encoded) }

// Hash returns the hash of the encoding; the zero hash for a body that has
// none because it is over a limit.
func (b *Body) Hash() shardkit.Hash {
	enc, err := b.AppendBinary(nil)
	if err != nil {
		return shardkit.Hash{}
	}
	return BodyHash(enc)
}

// Hash returns the hash of the block's header.
func (b *Block) Hash() shardkit.Hash { return b.Header.Hash() }

// AppendBinary appends the encoding: header, body and certificate as bytes.
func (b *Block) AppendBinary(dst []byte) ([]byte, error) {
	if len(b.Body) > MaxBody || len(b.Certificate) > MaxCertificate || len(b.Header.Late) > MaxLate {
		return dst, fmt.Errorf("ledger: block %d: over a limit: body %d bytes, certificate %d, late signatures %d",
			b.Header.Height, len(b.Body), len(b.Certificate), len(b.Header.Late))
	}
	header := b.Header.append(nil)
	dst = slices.Grow(dst, 2+12+len(header)+len(b.Body)+len(b.Certificate))
	dst = append(dst, blockFormat, kindBlock)
	dst = wire.AppendBytes(dst, header)
	dst = wire.AppendBytes(dst, b.Body)
	return wire.AppendBytes(dst, b.Certificate), nil
}

// UnmarshalBinary decodes what AppendBinary made and refuses everything else,
// also a body that is not the header's; an empty body, which no encoded body
// is, stands for one that is not there. It keeps nothing of data.
func (b *Block) UnmarshalBinary(data []byte) error {
	r := wire.NewReader(data)
	r.Expect(blockFormat, "block format")
	r.Expect(kindBlock, "kind")
	header := r.Bytes(MaxHeader)
	body := r.Bytes(MaxBody)
	certificate := r.Bytes(MaxCertificate)
	if err := r.Close(); err != nil {
		return fmt.Errorf("ledger: block: %w", err)
	}
	var v Block
	if err := v.Header.UnmarshalBinary(header); err != nil {
		return err
	}
	if len(body) > 0 && BodyHash(body) != v.Header.Body {
		return fmt.Errorf("ledger: block %d: %w: body is not the header's", v.Header.Height, wire.ErrValue)
	}
	v.Body, v.Certificate = bytes.Clone(some(body)), bytes.Clone(some(certificate))
	*b = v
	return nil
}
