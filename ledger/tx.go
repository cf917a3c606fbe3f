package ledger

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/bits"

	"github.com/shardkit/shardkit"
)

// Limits of a transaction.
const (
	MaxMemo    = 128       // bytes of a memo
	MaxPayload = 64 * 1024 // bytes of a payload
	MaxKeys    = 16        // keys of a multi-signature account
)

// Address names an account. An account lives in the shard that its address
// falls into.
type Address [32]byte

// The tags keep the three uses of SHA-256 here apart. With its tag a key
// still fits one block of the hash.
const (
	addressTag = "shardkit/address:"
	policyTag  = "shardkit/policy:"
	signTag    = "shardkit/ledger/transaction:"
)

// AddressOf returns the address of the account that one Ed25519 public key
// controls.
func AddressOf(public []byte) Address {
	var buf [len(addressTag) + 32]byte
	return sha256.Sum256(append(append(buf[:0], addressTag...), public...))
}

// Shard returns the shard of the address when there are shards of them: the
// first 32 bits scaled to the number of shards, so that doubling the shards
// splits each in two. Zero shards count as one.
func (a Address) Shard(shards uint32) shardkit.ShardID {
	top := uint64(a[0])<<24 | uint64(a[1])<<16 | uint64(a[2])<<8 | uint64(a[3])
	return shardkit.ShardID(top * uint64(shards) >> 32)
}

// String returns the address in hex, in full: it is what a payer copies.
func (a Address) String() string { return hex.EncodeToString(a[:]) }

// KindTransfer is the Kind of a transaction that moves Amount to To. Other
// kinds belong to other executors.
const KindTransfer uint8 = 0

// Transaction moves value and, with an executor for its Kind, does more. The
// account that pays is Sender; it must have signed.
//
// A transaction is not changed once it was decoded: decoding remembers its id
// and its sender. To vary one, build it anew with Unsigned.
type Transaction struct {
	Kind   uint8 // KindTransfer, or what an executor of the composition defines
	Chain  shardkit.Hash
	Shard  shardkit.ShardID // where it is executed: the sender's shard
	From   [32]byte         // the sender's public key; for a multi-signature account its address
	Nonce  uint64           // how many transactions of the sender came before
	To     Address          // gets Amount; may live in another shard
	Amount uint64
	Fee    uint64          // the most the sender pays for inclusion
	Expiry shardkit.Height // last height at which it may be included; 0: no limit
	Memo   []byte          // at most MaxMemo bytes

	// The next two are zero in a transfer.
	Gas     uint64 // the most computation it may use
	Payload []byte // input of the executor, at most MaxPayload bytes

	Signature [64]byte // by From, unless Multi is set
	Multi     *Multi   // set: the account is a multi-signature account

	cached bool // id and sender are those of the fields
	id     shardkit.Hash
	sender Address
}

// Sender returns the account that pays.
func (tx *Transaction) Sender() Address {
	switch {
	case tx.cached:
		return tx.sender
	case tx.Multi != nil:
		return tx.From
	}
	return AddressOf(tx.From[:])
}

// ID names the transaction: the hash of what is signed. Two transactions with
// the same id do the same; signatures are not part of it.
func (tx *Transaction) ID() shardkit.Hash {
	if tx.cached {
		return tx.id
	}
	return sha256.Sum256(tx.SignBytes())
}

// SignBytes returns what the sender signs: a tag, then the encoding up to the
// signatures, which begins with format, kind and chain id.
func (tx *Transaction) SignBytes() []byte {
	b := make([]byte, 0, len(signTag)+tx.signedSize())
	return tx.appendSigned(append(b, signTag...))
}

// Sign sets From and Signature for the account of one key.
func (tx *Transaction) Sign(priv ed25519.PrivateKey) {
	tx.cached = false
	tx.Multi = nil
	copy(tx.From[:], priv.Public().(ed25519.PublicKey))
	copy(tx.Signature[:], ed25519.Sign(priv, tx.SignBytes()))
}

// Unsigned returns a copy without signatures, free to be changed and signed.
func (tx *Transaction) Unsigned() Transaction {
	c := *tx
	c.cached, c.id, c.sender = false, shardkit.Hash{}, Address{}
	c.Signature, c.Multi = [64]byte{}, nil
	return c
}

// Cost returns what the sender needs to have: amount and fee. ok is false if
// the sum overflows.
func (tx *Transaction) Cost() (cost uint64, ok bool) {
	sum, carry := bits.Add64(tx.Amount, tx.Fee, 0)
	return sum, carry == 0
}

// Reason says in a word why a transaction was refused.
type Reason string

// The reasons of package ledger; executors may add their own.
const (
	ReasonMalformed Reason = "malformed"            // breaks a limit or rule of the format
	ReasonSignature Reason = "signature"            // not signed by the sender
	ReasonChain     Reason = "other chain"          // made for another chain
	ReasonShard     Reason = "other shard"          // made for another shard
	ReasonKind      Reason = "unknown kind"         // no executor for it
	ReasonExpired   Reason = "expired"              // past its expiry height
	ReasonNonceLow  Reason = "nonce used"           // below the account's nonce
	ReasonNonceHigh Reason = "nonce too high"       // ahead of the account's nonce
	ReasonBalance   Reason = "insufficient balance" // cannot pay amount and fee
	ReasonOverflow  Reason = "overflow"             // amount and fee, or the receiver's balance, exceed 2^64-1
	ReasonOutbox    Reason = "outbox full"          // no more receipts for that shard in this block
	ReasonFee       Reason = "fee too low"          // below what the market or the pool asks
	ReasonKnown     Reason = "known"                // already in the pool
	ReasonFull      Reason = "pool full"            // and nothing cheaper to drop
	ReasonSender    Reason = "sender's queue full"  // too many pending of one sender
	ReasonSpace     Reason = "no space"             // more bytes or gas than a block may have
)

// TxError is the refusal of a transaction. What was asked for has not
// happened, in whole.
type TxError struct {
	ID     shardkit.Hash
	Reason Reason
	Detail string // figures for a person; may be empty
}

func (e *TxError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("ledger: transaction %v: %s", e.ID, e.Reason)
	}
	return fmt.Sprintf("ledger: transaction %v: %s: %s", e.ID, e.Reason, e.Detail)
}

// refuse returns the refusal of tx. The detail is formatted at once: refusals
// of unsigned bytes are decided before, by the decoder.
func (tx *Transaction) refuse(r Reason, format string, args ...any) *TxError {
	return &TxError{ID: tx.ID(), Reason: r, Detail: fmt.Sprintf(format, args...)}
}
