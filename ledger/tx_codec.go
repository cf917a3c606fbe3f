package ledger

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/shardkit/shardkit/internal/wire"
)

// A transaction on the wire:
//
//	format 1 | kind | authorisation: 0 one key, 1 multi-signature
//	chain 32 | shard u32 | from 32 | nonce u64 | to 32 | amount u64
//	fee u64 | expiry u64 | memo bytes
//	gas u64 | payload bytes            only if kind is not KindTransfer
//	--- up to here it is signed ---
//	signature 64                       one key
//	threshold, n, n keys, signatures   multi-signature, see Multi
const (
	txFormat   = 1
	authSingle = 0
	authMulti  = 1

	txFixed = 3 + 32 + 4 + 32 + 8 + 32 + 8 + 8 + 8 + 4 // signed bytes of a transfer without memo

	// minTransaction is the size of the smallest transaction.
	minTransaction = txFixed + 64
)

// MaxTransaction is the size of the largest transaction.
const MaxTransaction = txFixed + MaxMemo + 8 + 4 + MaxPayload + 2 + MaxKeys*32 + MaxKeys*65

func (tx *Transaction) signedSize() int {
	n := txFixed + len(tx.Memo)
	if tx.Kind != KindTransfer {
		n += 8 + 4 + len(tx.Payload)
	}
	return n
}

// Size returns the length of the encoding.
func (tx *Transaction) Size() int {
	if tx.Multi != nil {
		return tx.signedSize() + tx.Multi.size()
	}
	return tx.signedSize() + len(tx.Signature)
}

// appendSigned appends the part that is signed. It begins the encoding, so
// that decoding takes the id from the input as it is.
func (tx *Transaction) appendSigned(b []byte) []byte {
	auth := byte(authSingle)
	if tx.Multi != nil {
		auth = authMulti
	}
	b = append(b, txFormat, tx.Kind, auth)
	b = append(b, tx.Chain[:]...)
	b = wire.AppendU32(b, uint32(tx.Shard))
	b = append(b, tx.From[:]...)
	b = wire.AppendU64(b, tx.Nonce)
	b = append(b, tx.To[:]...)
	b = wire.AppendU64(b, tx.Amount)
	b = wire.AppendU64(b, tx.Fee)
	b = wire.AppendU64(b, uint64(tx.Expiry))
	b = wire.AppendBytes(b, tx.Memo)
	if tx.Kind != KindTransfer {
		b = wire.AppendU64(b, tx.Gas)
		b = wire.AppendBytes(b, tx.Payload)
	}
	return b
}

// valid reports whether the transaction has an encoding.
func (tx *Transaction) valid() error {
	switch {
	case len(tx.Memo) > MaxMemo:
		return fmt.Errorf("memo of %d bytes, at most %d", len(tx.Memo), MaxMemo)
	case len(tx.Payload) > MaxPayload:
		return fmt.Errorf("payload of %d bytes, at most %d", len(tx.Payload), MaxPayload)
	case tx.Kind == KindTransfer && (tx.Gas != 0 || len(tx.Payload) != 0):
		return fmt.Errorf("transfer with gas or payload")
	case tx.Multi != nil:
		return tx.Multi.valid(tx.From)
	}
	return nil
}

// AppendBinary appends the encoding. It fails for a transaction that breaks a
// limit: that one has none.
func (tx *Transaction) AppendBinary(b []byte) ([]byte, error) {
	if err := tx.valid(); err != nil {
		return b, tx.refuse(ReasonMalformed, "%v", err)
	}
	b = tx.appendSigned(b)
	if tx.Multi != nil {
		return tx.Multi.append(b), nil
	}
	return append(b, tx.Signature[:]...), nil
}

// UnmarshalBinary decodes what AppendBinary made and refuses everything else.
// It keeps nothing of data.
func (tx *Transaction) UnmarshalBinary(data []byte) error {
	var t Transaction
	r := wire.NewReader(data)
	t.decode(r)
	if err := r.Close(); err != nil {
		return fmt.Errorf("ledger: transaction: %w", err)
	}
	t.remember(data, nil)
	t.Memo, t.Payload = bytes.Clone(t.Memo), bytes.Clone(t.Payload)
	*tx = t
	return nil
}

// decode reads one transaction off r. Memo and Payload alias the input. What
// is decoded is to be remembered.
func (tx *Transaction) decode(r *wire.Reader) {
	r.Expect(txFormat, "transaction format")
	tx.Kind = r.U8()
	auth := r.U8()
	if auth > authMulti {
		r.Fail(fmt.Errorf("%w: authorisation %d", wire.ErrValue, auth))
	}
	tx.Chain = r.Array32()
	tx.Shard = shardID(r)
	tx.From = r.Array32()
	tx.Nonce = r.U64()
	tx.To = r.Array32()
	tx.Amount = r.U64()
	tx.Fee = r.U64()
	tx.Expiry = height(r)
	tx.Memo = some(r.Bytes(MaxMemo))
	if tx.Kind != KindTransfer {
		tx.Gas = r.U64()
		tx.Payload = some(r.Bytes(MaxPayload))
	}
	if auth == authMulti {
		tx.Multi = decodeMulti(r, tx.From)
	} else {
		copy(tx.Signature[:], r.Fixed(len(tx.Signature)))
	}
}

// remember keeps id and sender. enc is the input from the transaction on;
// scratch is returned to be used again.
func (tx *Transaction) remember(enc, scratch []byte) []byte {
	scratch = append(append(scratch[:0], signTag...), enc[:tx.signedSize()]...)
	tx.id, tx.sender = sha256.Sum256(scratch), tx.Sender()
	tx.cached = true
	return scratch
}

// some turns an empty byte string into nil, so that decoding gives one value
// for it.
func some(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}
