package estake

import (
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Kind is the type of a transaction, the second byte of its encoding.
type Kind uint8

// The kinds of transactions.
const (
	KindStake Kind = 1 + iota
	KindDelegate
	KindUndelegate
	KindRedelegate
	KindEdit
	KindRejoin
	KindClaim
	KindWithdraw
	KindEvidence
)

// Tx is one of the transactions of this package, by value. Who sends it is
// not in it but in the Context.
type Tx interface {
	Kind() Kind
	AppendBinary(b []byte) ([]byte, error)
	apply(*run) error
	fields(b []byte) []byte
}

// Bounds of a transaction's fields.
const (
	MaxProof    = 1 << 10  // bytes of a slot's proof
	MaxEvidence = 48 << 10 // bytes of an evidence's proof
	MaxTxSlots  = 256      // slots named in one transaction
)

// SlotKeys asks for a new slot.
type SlotKeys struct {
	VotingKey []byte
	VRFKey    []byte
	Node      shardkit.NodeID
	Proof     []byte // that the validator holds the keys, for Context.CheckSlot
}

// Stake bonds the sender's own tokens. A sender that is no validator yet
// becomes one, with the terms and slots given. For one that is, the other
// fields are zero.
type Stake struct {
	Amount           uint64
	CommissionPPM    uint32
	MaxCommissionPPM uint32
	MaxChangePPM     uint32 // most the commission changes per epoch
	Restake          bool   // rewards are bonded at once
	Slots            []SlotKeys
}

// Delegate bonds the sender's tokens with a validator. Rewards of a
// compounding delegation are bonded with it at once; those of a plain one
// wait for Claim. As points of a pool are whole numbers, slightly less than
// Amount may be taken.
type Delegate struct {
	Validator [32]byte
	Amount    uint64
	Compound  bool
}

// Undelegate takes stake out of a validator, the sender's own stake if the
// validator is the sender. It is locked, and can still be slashed, until
// Withdraw. An amount of all ones means everything.
type Undelegate struct {
	Validator [32]byte
	Amount    uint64
	Compound  bool
}

// Redelegate moves a delegation to another validator at once. For as long as
// the lock of an undelegation it can be slashed for offences of either, earns
// as a compounding delegation, and cannot be moved on; then Withdraw turns it
// into an ordinary compounding delegation.
type Redelegate struct {
	From, To [32]byte
	Amount   uint64
	Compound bool // where it comes from
}

// Edit changes a validator's terms and slots.
type Edit struct {
	SetCommission bool
	CommissionPPM uint32 // counts from the next epoch; one change per epoch
	SetRestake    bool
	Restake       bool
	Add           []SlotKeys
	Retire        []uint32 // indices, ascending
}

// Rejoin makes slots electable again that were absent too long.
type Rejoin struct {
	Slots []uint32 // indices, ascending
}

// Claim pays out the sender's rewards with a validator; the validator's own
// if it is the sender. With Restake they are bonded instead.
type Claim struct {
	Validator [32]byte
	Restake   bool
}

// Withdraw ends what Undelegate or Redelegate began in Epoch, once the lock
// is over.
type Withdraw struct {
	Validator [32]byte
	Epoch     shardkit.Epoch
	Moved     bool     // a redelegation
	To        [32]byte // its target; zero if not Moved
}

// Evidence accuses the owner of a slot of a double signature. The sender gets
// the reporter's part.
type Evidence struct {
	Slot  shardkit.Hash
	Epoch shardkit.Epoch // of the offence
	Proof []byte         // for Context.CheckEvidence
}

// Kind implements Tx.
func (Stake) Kind() Kind { return KindStake }

// Kind implements Tx.
func (Delegate) Kind() Kind { return KindDelegate }

// Kind implements Tx.
func (Undelegate) Kind() Kind { return KindUndelegate }

// Kind implements Tx.
func (Redelegate) Kind() Kind { return KindRedelegate }

// Kind implements Tx.
func (Edit) Kind() Kind { return KindEdit }

// Kind implements Tx.
func (Rejoin) Kind() Kind { return KindRejoin }

// Kind implements Tx.
func (Claim) Kind() Kind { return KindClaim }

// Kind implements Tx.
func (Withdraw) Kind() Kind { return KindWithdraw }

// Kind implements Tx.
func (Evidence) Kind() Kind { return KindEvidence }

const txVersion = 1

// encode refuses what DecodeTx would refuse, so that nothing is signed that
// cannot be read.
func encode(b []byte, tx Tx) ([]byte, error) {
	at := len(b)
	b = tx.fields(append(b, txVersion, byte(tx.Kind())))
	if _, err := DecodeTx(b[at:]); err != nil {
		return nil, err
	}
	return b, nil
}

// AppendBinary appends the canonical encoding.
func (t Stake) AppendBinary(b []byte) ([]byte, error) { return encode(b, t) }

// AppendBinary appends the canonical encoding.
func (t Delegate) AppendBinary(b []byte) ([]byte, error) { return encode(b, t) }

// AppendBinary appends the canonical encoding.
func (t Undelegate) AppendBinary(b []byte) ([]byte, error) { return encode(b, t) }

// AppendBinary appends the canonical encoding.
func (t Redelegate) AppendBinary(b []byte) ([]byte, error) { return encode(b, t) }

// AppendBinary appends the canonical encoding.
func (t Edit) AppendBinary(b []byte) ([]byte, error) { return encode(b, t) }

// AppendBinary appends the canonical encoding.
func (t Rejoin) AppendBinary(b []byte) ([]byte, error) { return encode(b, t) }

// AppendBinary appends the canonical encoding.
func (t Claim) AppendBinary(b []byte) ([]byte, error) { return encode(b, t) }

// AppendBinary appends the canonical encoding.
func (t Withdraw) AppendBinary(b []byte) ([]byte, error) { return encode(b, t) }

// AppendBinary appends the canonical encoding.
func (t Evidence) AppendBinary(b []byte) ([]byte, error) { return encode(b, t) }

// DecodeTx reads a transaction of any kind. The result does not alias data.
func DecodeTx(data []byte) (Tx, error) {
	r := wire.NewReader(append([]byte(nil), data...))
	r.Expect(txVersion, "version")
	kind := Kind(r.U8())
	tx := readTx(r, kind)
	if tx == nil {
		r.Fail(fmt.Errorf("%w: kind %d", wire.ErrValue, kind))
	}
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("estake: transaction: %w", err)
	}
	return tx, nil
}

func readTx(r *wire.Reader, kind Kind) Tx {
	switch kind {
	case KindStake:
		return Stake{r.U64(), r.U32(), r.U32(), r.U32(), r.Bool(), readSlots(r)}
	case KindDelegate:
		return Delegate{r.Array32(), r.U64(), r.Bool()}
	case KindUndelegate:
		return Undelegate{r.Array32(), r.U64(), r.Bool()}
	case KindRedelegate:
		return Redelegate{r.Array32(), r.Array32(), r.U64(), r.Bool()}
	case KindEdit:
		t := Edit{r.Bool(), r.U32(), r.Bool(), r.Bool(), readSlots(r), readIndices(r)}
		if !t.SetCommission && t.CommissionPPM != 0 || !t.SetRestake && t.Restake {
			r.Fail(fmt.Errorf("%w: a field that is not set", wire.ErrValue))
		}
		return t
	case KindRejoin:
		return Rejoin{readIndices(r)}
	case KindClaim:
		return Claim{r.Array32(), r.Bool()}
	case KindWithdraw:
		t := Withdraw{r.Array32(), shardkit.Epoch(r.U64()), r.Bool(), r.Array32()}
		if !t.Moved && t.To != [32]byte{} {
			r.Fail(fmt.Errorf("%w: target of what was not moved", wire.ErrValue))
		}
		return t
	case KindEvidence:
		return Evidence{r.Array32(), shardkit.Epoch(r.U64()), r.Bytes(MaxEvidence)}
	}
	return nil
}

func readSlots(r *wire.Reader) []SlotKeys {
	n := r.Count(MaxTxSlots, 32+3*4)
	if n == 0 {
		return nil
	}
	list := make([]SlotKeys, n)
	for i := range list {
		list[i] = SlotKeys{r.Bytes(MaxKey), r.Bytes(MaxKey), r.Array32(), r.Bytes(MaxProof)}
	}
	return list
}

func readIndices(r *wire.Reader) []uint32 {
	n := r.Count(MaxTxSlots, 4)
	if n == 0 {
		return nil
	}
	list := make([]uint32, n)
	for i := range list {
		list[i] = r.U32()
		if i > 0 && list[i] <= list[i-1] {
			r.Fail(fmt.Errorf("%w: order of indices", wire.ErrValue))
		}
	}
	return list
}

func appendSlots(b []byte, list []SlotKeys) []byte {
	b = wire.AppendU32(b, uint32(len(list)))
	for _, s := range list {
		b = wire.AppendBytes(b, s.VotingKey)
		b = wire.AppendBytes(b, s.VRFKey)
		b = append(b, s.Node[:]...)
		b = wire.AppendBytes(b, s.Proof)
	}
	return b
}

func appendIndices(b []byte, list []uint32) []byte {
	b = wire.AppendU32(b, uint32(len(list)))
	for _, i := range list {
		b = wire.AppendU32(b, i)
	}
	return b
}

func (t Stake) fields(b []byte) []byte {
	b = wire.AppendU64(b, t.Amount)
	b = wire.AppendU32(b, t.CommissionPPM)
	b = wire.AppendU32(b, t.MaxCommissionPPM)
	b = wire.AppendU32(b, t.MaxChangePPM)
	b = wire.AppendBool(b, t.Restake)
	return appendSlots(b, t.Slots)
}

func (t Delegate) fields(b []byte) []byte {
	b = append(b, t.Validator[:]...)
	return wire.AppendBool(wire.AppendU64(b, t.Amount), t.Compound)
}

func (t Undelegate) fields(b []byte) []byte {
	b = append(b, t.Validator[:]...)
	return wire.AppendBool(wire.AppendU64(b, t.Amount), t.Compound)
}

func (t Redelegate) fields(b []byte) []byte {
	b = append(append(b, t.From[:]...), t.To[:]...)
	return wire.AppendBool(wire.AppendU64(b, t.Amount), t.Compound)
}

func (t Edit) fields(b []byte) []byte {
	b = wire.AppendBool(b, t.SetCommission)
	b = wire.AppendU32(b, t.CommissionPPM)
	b = wire.AppendBool(b, t.SetRestake)
	b = wire.AppendBool(b, t.Restake)
	return appendIndices(appendSlots(b, t.Add), t.Retire)
}

func (t Rejoin) fields(b []byte) []byte { return appendIndices(b, t.Slots) }

func (t Claim) fields(b []byte) []byte {
	return wire.AppendBool(append(b, t.Validator[:]...), t.Restake)
}

func (t Withdraw) fields(b []byte) []byte {
	b = wire.AppendU64(append(b, t.Validator[:]...), uint64(t.Epoch))
	return append(wire.AppendBool(b, t.Moved), t.To[:]...)
}

func (t Evidence) fields(b []byte) []byte {
	b = wire.AppendU64(append(b, t.Slot[:]...), uint64(t.Epoch))
	return wire.AppendBytes(b, t.Proof)
}
