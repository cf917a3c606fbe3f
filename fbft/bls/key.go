package bls

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/cloudflare/circl/ecc/bls12381"
)

// Sizes in bytes of what is exchanged.
const (
	KeySize       = bls12381.G2SizeCompressed // of a public key
	SignatureSize = bls12381.G1SizeCompressed // of a signature, aggregate or proof of possession
	MinSeed       = 32                        // of the least seed of a key
)

// Domain tags of the draft, §4.2.3: signatures and proofs of possession can
// never stand for each other.
const (
	tagSignature  = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"
	tagPossession = "BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"
	saltKey       = "BLS-SIG-KEYGEN-SALT-"
)

var errSignature = errors.New("signature does not verify")

// SecretKey signs. It is safe for concurrent use.
type SecretKey struct {
	scalar bls12381.Scalar
	public []byte
}

// GenerateKey derives a key from seed, at least MinSeed secret bytes; the
// same seed gives the same key (draft, §2.3).
func GenerateKey(seed []byte) (*SecretKey, error) {
	if len(seed) < MinSeed {
		return nil, fmt.Errorf("bls: generate key: seed of %d bytes, want %d or more", len(seed), MinSeed)
	}
	const size = 48
	ikm := append(append(make([]byte, 0, len(seed)+1), seed...), 0)
	salt := sha256.Sum256([]byte(saltKey))
	k := new(SecretKey)
	for {
		okm, err := hkdf.Key(sha256.New, ikm, salt[:], string([]byte{0, size}), size)
		if err != nil {
			return nil, fmt.Errorf("bls: generate key: %w", err)
		}
		k.scalar.SetBytes(okm)
		if k.scalar.IsZero() == 0 {
			break
		}
		salt = sha256.Sum256(salt[:])
	}
	var p bls12381.G2
	p.ScalarMult(&k.scalar, bls12381.G2Generator())
	k.public = p.BytesCompressed()
	return k, nil
}

// String keeps the secret out of logs.
func (k *SecretKey) String() string { return fmt.Sprintf("bls.SecretKey(%x…)", k.public[:8]) }

// Public returns the public key, KeySize bytes.
func (k *SecretKey) Public() []byte { return append([]byte(nil), k.public...) }

// Sign returns the signature of statement, SignatureSize bytes. Statements of
// different protocols must differ by a domain tag of their own. The error is
// always nil.
func (k *SecretKey) Sign(statement []byte) ([]byte, error) {
	return k.sign(statement, tagSignature), nil
}

// Prove returns the proof that the holder of the public key knows its secret
// key and wants it used in context, which should name chain and account: a
// proof shown elsewhere is then worth nothing here.
func (k *SecretKey) Prove(context []byte) []byte {
	return k.sign(possession(k.public, context), tagPossession)
}

func (k *SecretKey) sign(msg []byte, tag string) []byte {
	var p bls12381.G1
	p.Hash(msg, []byte(tag))
	p.ScalarMult(&k.scalar, &p)
	return p.BytesCompressed()
}

// VerifyPossession checks the proof that belongs to key in context.
func VerifyPossession(key, context, proof []byte) error {
	if err := verifySingle(key, possession(key, context), proof, tagPossession); err != nil {
		return fmt.Errorf("bls: proof of possession: %w", err)
	}
	return nil
}

// VerifySingle checks one signature of one key over statement: what evidence
// against a member must rest on, never a share out of a sum.
func VerifySingle(key, statement, signature []byte) error {
	if err := verifySingle(key, statement, signature, tagSignature); err != nil {
		return fmt.Errorf("bls: verify: %w", err)
	}
	return nil
}

func verifySingle(key, msg, signature []byte, tag string) error {
	pk, err := decodeKey(key)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	sig, err := decodeSignature(signature)
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	if !residue(hash(msg, tag), pk, sig).IsIdentity() {
		return errSignature
	}
	return nil
}

// possession is the message of a proof of possession.
func possession(key, context []byte) []byte {
	return append(append(make([]byte, 0, len(key)+len(context)), key...), context...)
}

// hash maps msg to G1 under a domain tag (RFC 9380).
func hash(msg []byte, tag string) *bls12381.G1 {
	p := new(bls12381.G1)
	p.Hash(msg, []byte(tag))
	return p
}

// residue returns e(h, key) / e(sig, g2): one if sig is the signature of key
// over what hashes to h. Residues multiply as signatures and keys add.
func residue(h *bls12381.G1, key *bls12381.G2, sig *bls12381.G1) *bls12381.Gt {
	return bls12381.ProdPairFrac(
		[]*bls12381.G1{h, sig},
		[]*bls12381.G2{key, bls12381.G2Generator()},
		[]int{1, -1})
}
