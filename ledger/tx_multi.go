package ledger

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/shardkit/shardkit/internal/wire"
)

// Policy is a multi-signature account: Threshold of the Keys must sign. The
// address commits to both, and a transaction shows them; nothing is
// registered before.
type Policy struct {
	Threshold uint8
	Keys      [][32]byte // Ed25519 public keys, ascending, none twice, at most MaxKeys
}

// NewPolicy returns the policy over keys in any order.
func NewPolicy(threshold int, keys ...[]byte) (Policy, error) {
	if threshold < 1 || threshold > len(keys) || len(keys) > MaxKeys {
		return Policy{}, fmt.Errorf("ledger: policy: %d of %d keys, at most %d", threshold, len(keys), MaxKeys)
	}
	p := Policy{Threshold: uint8(threshold)}
	for _, k := range keys {
		if len(k) != ed25519.PublicKeySize {
			return Policy{}, fmt.Errorf("ledger: policy: key of %d bytes", len(k))
		}
		p.Keys = append(p.Keys, [32]byte(k))
	}
	slices.SortFunc(p.Keys, func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
	if err := p.valid(); err != nil {
		return Policy{}, fmt.Errorf("ledger: policy: %w", err)
	}
	return p, nil
}

// Address returns the account that the policy controls. It can be nobody's
// single-key address: the tags differ.
func (p *Policy) Address() Address {
	b := make([]byte, 0, len(policyTag)+2+32*len(p.Keys))
	return sha256.Sum256(p.append(append(b, policyTag...)))
}

func (p *Policy) append(b []byte) []byte {
	b = append(b, p.Threshold, uint8(len(p.Keys)))
	for i := range p.Keys {
		b = append(b, p.Keys[i][:]...)
	}
	return b
}

func (p *Policy) valid() error {
	if p.Threshold < 1 || int(p.Threshold) > len(p.Keys) || len(p.Keys) > MaxKeys {
		return fmt.Errorf("%d of %d keys, at most %d", p.Threshold, len(p.Keys), MaxKeys)
	}
	for i := 1; i < len(p.Keys); i++ {
		if bytes.Compare(p.Keys[i-1][:], p.Keys[i][:]) >= 0 {
			return errors.New("keys not ascending")
		}
	}
	return nil
}

// Multi authorises a transaction of a multi-signature account: exactly
// Threshold signatures over SignBytes, by ascending place of the key. More
// are not accepted: nobody should pay for, or check, what is not needed.
type Multi struct {
	Policy     Policy
	Signatures []KeySignature
}

// KeySignature is the signature by Keys[Key] of a policy.
type KeySignature struct {
	Key       uint8
	Signature [64]byte
}

// SignMulti adds priv's signature to a transaction of the policy's account.
// The first call sets From and Multi. Signatures may also be gathered from
// several copies: all sign the same bytes.
func (tx *Transaction) SignMulti(p Policy, priv ed25519.PrivateKey) error {
	public := [32]byte(priv.Public().(ed25519.PublicKey))
	key := slices.Index(p.Keys, public)
	if key < 0 {
		return errors.New("ledger: sign: key not of the policy")
	}
	tx.cached = false
	if addr := p.Address(); tx.Multi == nil || tx.From != addr {
		tx.From, tx.Multi, tx.Signature = addr, &Multi{Policy: p}, [64]byte{}
	}
	m := tx.Multi
	at, found := slices.BinarySearchFunc(m.Signatures, uint8(key), func(s KeySignature, k uint8) int { return int(s.Key) - int(k) })
	if found {
		return nil
	}
	if len(m.Signatures) == int(p.Threshold) {
		return errors.New("ledger: sign: has the signatures it needs")
	}
	s := KeySignature{Key: uint8(key)}
	copy(s.Signature[:], ed25519.Sign(priv, tx.SignBytes()))
	m.Signatures = slices.Insert(m.Signatures, at, s)
	return nil
}

func (m *Multi) size() int { return 2 + 32*len(m.Policy.Keys) + 65*len(m.Signatures) }

// valid checks all but the signatures themselves.
func (m *Multi) valid(from [32]byte) error {
	if err := m.Policy.valid(); err != nil {
		return err
	}
	if len(m.Signatures) != int(m.Policy.Threshold) {
		return fmt.Errorf("%d signatures, want %d", len(m.Signatures), m.Policy.Threshold)
	}
	last := -1
	for i := range m.Signatures {
		k := int(m.Signatures[i].Key)
		if k <= last || k >= len(m.Policy.Keys) {
			return fmt.Errorf("signature of key %d after key %d", k, last)
		}
		last = k
	}
	if m.Policy.Address() != from {
		return errors.New("policy of another account")
	}
	return nil
}

func (m *Multi) append(b []byte) []byte {
	b = m.Policy.append(b)
	for i := range m.Signatures {
		b = append(append(b, m.Signatures[i].Key), m.Signatures[i].Signature[:]...)
	}
	return b
}

// decodeMulti reads what append wrote. The number of signatures is not
// written: it is the threshold.
func decodeMulti(r *wire.Reader, from [32]byte) *Multi {
	m := &Multi{Policy: Policy{Threshold: r.U8()}}
	n := int(r.U8())
	if n > MaxKeys || int(m.Policy.Threshold) > n {
		r.Fail(fmt.Errorf("%w: %d of %d keys", wire.ErrLimit, m.Policy.Threshold, n))
		return nil
	}
	m.Policy.Keys = make([][32]byte, n)
	for i := range m.Policy.Keys {
		m.Policy.Keys[i] = r.Array32()
	}
	m.Signatures = make([]KeySignature, m.Policy.Threshold)
	for i := range m.Signatures {
		m.Signatures[i].Key = r.U8()
		copy(m.Signatures[i].Signature[:], r.Fixed(64))
	}
	if r.Err() == nil {
		if err := m.valid(from); err != nil {
			r.Fail(fmt.Errorf("%w: %v", wire.ErrValue, err))
		}
	}
	return m
}
