package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/xshard"
)

// Reader is a state to read from: a *Stage, or a *View of a committed height. A
// value that Get returns is not changed by the caller; ok is false if there is
// none.
type Reader interface {
	Get(key []byte) (value []byte, ok bool, err error)
}

// KV is what execution needs of a state. A *Stage is one. Slices given to Set
// are not changed afterwards.
type KV interface {
	Reader
	Set(key, value []byte) error
	Delete(key []byte) error
}

// AccountPrefix begins the keys of accounts in the state; an executor's other
// keys begin with something else.
const AccountPrefix = 'a'

// Account is what the state holds of an address. An address that never
// received anything has the zero Account, and so has one that the state does
// not hold: the first credit makes it.
type Account struct {
	Nonce   uint64 // of its next transaction
	Balance uint64
}

const accountSize = 16

// AccountKey returns the key of an account in the state: what an Accessor
// declares.
func AccountKey(a Address) []byte {
	k := make([]byte, 1+len(a))
	k[0] = AccountPrefix
	copy(k[1:], a[:])
	return k
}

func decodeAccount(v []byte) (Account, error) {
	if len(v) != accountSize {
		return Account{}, fmt.Errorf("%d bytes, want %d", len(v), accountSize)
	}
	acc := Account{Nonce: binary.BigEndian.Uint64(v), Balance: binary.BigEndian.Uint64(v[8:])}
	if acc == (Account{}) {
		return acc, errors.New("a zero account is not stored")
	}
	return acc, nil
}

// GetAccount reads an account.
func GetAccount(s Reader, a Address) (Account, error) { return getAccount(s, AccountKey(a)) }

func getAccount(s Reader, key []byte) (Account, error) {
	v, ok, err := s.Get(key)
	if err != nil || !ok {
		return Account{}, err
	}
	acc, err := decodeAccount(v)
	if err != nil {
		return Account{}, &DamageError{What: "account " + Address(key[1:]).String(), Err: err}
	}
	return acc, nil
}

// SetAccount writes an account. The zero account is deleted: one account, one
// state.
func SetAccount(s KV, a Address, acc Account) error { return setAccount(s, AccountKey(a), acc) }

func setAccount(s KV, key []byte, acc Account) error {
	if v := acc.encode(); v != nil {
		return s.Set(key, v)
	}
	return s.Delete(key)
}

// encode returns the value of an account in the state; nil for the zero one.
func (acc Account) encode() []byte {
	if acc == (Account{}) {
		return nil
	}
	v := make([]byte, accountSize)
	binary.BigEndian.PutUint64(v, acc.Nonce)
	binary.BigEndian.PutUint64(v[8:], acc.Balance)
	return v
}

// ProveAccount returns an account as it was after a block, and the proof of it:
// what a wallet asks a node that it does not trust. The zero Account is proven
// like any other.
func ProveAccount(v *View, a Address) (acc Account, proof []byte, err error) {
	if acc, err = GetAccount(v, a); err == nil {
		proof, err = v.Prove(AccountKey(a))
	}
	return acc, proof, err
}

// VerifyAccount checks what ProveAccount returned against the state root of a
// header, which somebody has certified. It needs nothing else. The error wraps
// ErrProof.
func VerifyAccount(root shardkit.Hash, a Address, acc Account, proof []byte) error {
	return VerifyProof(root, AccountKey(a), acc.encode(), proof)
}

// EachAccount calls fn for every account of a state, in no order that means
// anything, until fn fails. A *State is a state to scan; audits of the supply
// use it.
func EachAccount(s interface {
	Scan(fn func(key, value []byte) error) error
}, fn func(Address, Account) error) error {
	return s.Scan(func(key, value []byte) error {
		if len(key) != 33 || key[0] != AccountPrefix {
			return nil
		}
		a := Address(key[1:])
		acc, err := decodeAccount(value)
		if err != nil {
			return &DamageError{What: "account " + a.String(), Err: err}
		}
		return fn(a, acc)
	})
}

// Sink returns the address that gets what cannot be credited to where it was
// sent: no key is known for it. Its balance is lost and stays visible.
func Sink() Address {
	var a Address
	for i := range a {
		a[i] = 0xff
	}
	return a
}

// Receiver is an Executor that takes receipts of kinds of its own: messages
// that carry a call to another shard, and answers to them.
type Receiver interface {
	Executor
	// Receive does what a receipt asks for, and may answer through out. What
	// holds for Execute holds here, but nobody pays a fee, and a refusal is
	// final: Amount goes to the Sink. A receiver that wants it to go back sends
	// a receipt instead.
	Receive(ctx *Context, s KV, r *xshard.Receipt, out *xshard.Outbox) (Result, error)
}

// Receive takes a receipt at its destination: if ex is a Receiver, all but
// transfers are its matter; everything else is credited. The error is the
// state's.
func Receive(ctx *Context, s KV, r *xshard.Receipt, ex Executor, out *xshard.Outbox) error {
	var refused *TxError
	to, ok := ex.(Receiver)
	if ok && r.Kind != ReceiptTransfer {
		res, err := to.Receive(ctx, s, r, out)
		if !errors.As(err, &refused) {
			ctx.arrived(r, res, err)
			return err
		}
	}
	why, err := credit(s, r)
	if refused != nil {
		why = refused.Reason
	}
	ctx.arrived(r, Result{Failed: why}, err)
	return err
}

func (ctx *Context) arrived(r *xshard.Receipt, res Result, err error) {
	if ctx.Arrived != nil && err == nil {
		ctx.Arrived(r, res)
	}
}

// Credit pays out a receipt at its destination. It never refuses: receipts of
// a source are taken in order, and one that could be refused would block all
// after it. A receipt of a Kind other than ReceiptTransfer, or one whose receiver
// cannot hold more, goes to the Sink. The error is the state's.
func Credit(s KV, r *xshard.Receipt) error {
	_, err := credit(s, r)
	return err
}

// credit is Credit and says why, if it was the Sink that got it.
func credit(s KV, r *xshard.Receipt) (lost Reason, err error) {
	to := Address(r.To)
	if r.Kind != ReceiptTransfer {
		to, lost = Sink(), ReasonKind
	}
	acc, err := GetAccount(s, to)
	if err != nil {
		return "", err
	}
	if acc.Balance > math.MaxUint64-r.Amount && to != Sink() {
		to, lost = Sink(), ReasonOverflow
		if acc, err = GetAccount(s, to); err != nil {
			return "", err
		}
	}
	if acc.Balance > math.MaxUint64-r.Amount {
		// More than all the value there can be: saturate, what is here is lost anyway.
		acc.Balance = math.MaxUint64 - r.Amount
	}
	if r.Amount == 0 {
		return lost, nil
	}
	acc.Balance += r.Amount
	return lost, SetAccount(s, to, acc)
}
