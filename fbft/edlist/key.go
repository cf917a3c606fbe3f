package edlist

import (
	stded "crypto/ed25519"
	"errors"
	"fmt"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// Sizes in bytes of what is exchanged.
const (
	KeySize       = ed25519.PublicKeySize
	SignatureSize = ed25519.SignatureSize
	SeedSize      = ed25519.SeedSize // of a key's seed
)

var errSignature = errors.New("signature does not verify")

// rules are the same for a signature alone and in a batch. Nobody finds an R of
// small order except on purpose, and the cofactored equation holds for it or
// not like for any other: it is let through.
var rules = &ed25519.Options{Verify: &ed25519.VerifyOptions{AllowSmallOrderR: true}}

// SecretKey signs. It is safe for concurrent use.
type SecretKey struct{ key stded.PrivateKey }

// GenerateKey derives a key from seed, SeedSize secret bytes (RFC 8032,
// §5.1.5); the same seed gives the same key.
func GenerateKey(seed []byte) (*SecretKey, error) {
	if len(seed) != SeedSize {
		return nil, fmt.Errorf("edlist: generate key: seed of %d bytes, want %d", len(seed), SeedSize)
	}
	return &SecretKey{stded.NewKeyFromSeed(seed)}, nil
}

// String keeps the secret out of logs.
func (k *SecretKey) String() string { return fmt.Sprintf("edlist.SecretKey(%x…)", k.Public()[:8]) }

// Public returns the public key, KeySize bytes.
func (k *SecretKey) Public() []byte { return append([]byte(nil), k.key[SeedSize:]...) }

// Sign returns the signature of statement, SignatureSize bytes, always the
// same. Statements of different protocols must differ by a domain tag of their
// own. The error is always nil.
func (k *SecretKey) Sign(statement []byte) ([]byte, error) {
	return stded.Sign(k.key, statement), nil
}

// VerifySingle checks one signature of one key over statement.
func VerifySingle(key, statement, signature []byte) error {
	k, err := decodeKey(key)
	if err != nil {
		return fmt.Errorf("edlist: verify: key: %w", err)
	}
	if len(signature) != SignatureSize || !ed25519.VerifyExpandedWithOptions(k, statement, signature, rules) {
		return fmt.Errorf("edlist: verify: %w", errSignature)
	}
	return nil
}

// decodeKey reads a canonical point that is not of small order. The order of
// the curve is eight times a prime, so a point of small order is one that eight
// times is the identity: its signatures are valid for many statements.
func decodeKey(b []byte) (*ed25519.ExpandedPublicKey, error) {
	if len(b) != KeySize {
		return nil, fmt.Errorf("%d bytes, want %d", len(b), KeySize)
	}
	var p curve.EdwardsPoint
	var y curve.CompressedEdwardsY
	copy(y[:], b)
	if _, err := p.SetCompressedY(&y); err != nil {
		return nil, errors.New("not on the curve")
	}
	switch {
	case !y.IsCanonicalVartime():
		return nil, errors.New("not canonical")
	case p.IsSmallOrder():
		return nil, errors.New("of small order")
	}
	return ed25519.NewExpandedPublicKey(b)
}
