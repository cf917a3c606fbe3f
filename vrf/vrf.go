package vrf

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
)

// Suite names an ECVRF ciphersuite by its suite_string of RFC 9381.
type Suite uint8

// The four suites of RFC 9381, section 5.5. EdwardsELL2 is the one to choose
// unless something else is prescribed: it is the fastest of those that hash to
// their curve in a time that does not depend on the input.
const (
	P256TAI     Suite = 0x01 // ECVRF-P256-SHA256-TAI
	P256SSWU    Suite = 0x02 // ECVRF-P256-SHA256-SSWU
	EdwardsTAI  Suite = 0x03 // ECVRF-EDWARDS25519-SHA512-TAI
	EdwardsELL2 Suite = 0x04 // ECVRF-EDWARDS25519-SHA512-ELL2
)

// What can be wrong with the bytes of a stranger. Errors of this package wrap
// one of these.
var (
	ErrSuite = errors.New("unknown suite")
	ErrKey   = errors.New("invalid key")
	ErrProof = errors.New("invalid proof")
)

// SeedSize is the length of a secret key's encoding, in every suite.
const SeedSize = 32

// challengeSize is cLen: the challenge is a 128-bit number.
const challengeSize = 16

// Domain separation bytes of RFC 9381, section 5.
const (
	domainEncode    = 0x01
	domainChallenge = 0x02
	domainOutput    = 0x03
	domainEnd       = 0x00
)

// String returns the suite's name in RFC 9381.
func (s Suite) String() string {
	switch s {
	case P256TAI:
		return "ECVRF-P256-SHA256-TAI"
	case P256SSWU:
		return "ECVRF-P256-SHA256-SSWU"
	case EdwardsTAI:
		return "ECVRF-EDWARDS25519-SHA512-TAI"
	case EdwardsELL2:
		return "ECVRF-EDWARDS25519-SHA512-ELL2"
	}
	return fmt.Sprintf("vrf.Suite(%d)", uint8(s))
}

// PublicSize returns the length of a public key.
func (s Suite) PublicSize() int {
	if s == P256TAI || s == P256SSWU {
		return 33
	}
	return 32
}

// ProofSize returns the length of a proof made by Prove.
func (s Suite) ProofSize() int { return s.PublicSize() + challengeSize + 32 }

// OutputSize returns the length of an output, beta.
func (s Suite) OutputSize() int {
	if s == P256TAI || s == P256SSWU {
		return sha256.Size
	}
	return sha512.Size
}

// hash is the suite's hash function over the concatenation of parts.
func (s Suite) hash(parts ...[]byte) []byte {
	if s == P256TAI || s == P256SSWU {
		h := sha256.New()
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	h := sha512.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// curve is what differs between the two groups. Points and scalars cross it
// in their encodings only.
type curve interface {
	// newSecret expands a secret key.
	newSecret(s Suite, seed []byte) (secret, error)
	// checkKey is full key validation of a public key, RFC 9381, section 5.4.5.
	checkKey(public []byte) error
	// open recomputes H, U = sB - cY, V = sH - c*Gamma and cofactor*Gamma for a
	// proof.
	open(s Suite, public, alpha, gamma, c, scalar []byte) (transcript, error)
	// check verifies a batch-compatible proof; it fills in H and
	// cofactor*Gamma.
	check(s Suite, t *transcript, alpha, scalar []byte) error
	// verifyAll checks many such proofs at once. It reports false if any of them
	// does not hold, and fills in their outputs otherwise.
	verifyAll(s Suite, items []Item, coeff func(i int) [2][16]byte, betas [][]byte) bool
	// clear returns the encoding of cofactor*Gamma.
	clear(gamma []byte) ([]byte, error)
}

// secret is an expanded secret key.
type secret interface {
	public() []byte
	// prove returns the five points of a proof for alpha, and s.
	prove(alpha []byte) (t transcript, scalar []byte, err error)
}

// curve returns the suite's group.
func (s Suite) curve() (curve, error) {
	switch s {
	case EdwardsTAI, EdwardsELL2:
		return edwards{}, nil
	case P256TAI, P256SSWU:
		return nist{}, nil
	}
	return nil, fmt.Errorf("vrf: %w: %d", ErrSuite, uint8(s))
}

// transcript holds the encodings of the five points that are hashed into the
// challenge. Y is one of them: drafts up to 10 left it out.
type transcript struct {
	suite             Suite
	y, h, gamma, u, v []byte
	cleared           []byte // cofactor*Gamma, of which the output is made; not for provers
}

// challenge is ECVRF_challenge_generation, RFC 9381, section 5.4.3.
func (t *transcript) challenge() []byte {
	return t.suite.hash([]byte{byte(t.suite), domainChallenge},
		t.y, t.h, t.gamma, t.u, t.v, []byte{domainEnd})[:challengeSize]
}

// SecretKey is a secret key of one suite. It is safe for concurrent use.
type SecretKey struct {
	suite  Suite
	secret secret
}

// GenerateKey returns the key whose encoding (SK in RFC 9381) is seed: for the
// edwards suites any 32 bytes, expanded as in RFC 8032; for the P-256 suites
// the big-endian secret scalar, which must be in [1, q-1]. A nil seed is
// drawn from crypto/rand.
func GenerateKey(suite Suite, seed []byte) (*SecretKey, error) {
	c, err := suite.curve()
	if err != nil {
		return nil, err
	}
	if seed == nil {
		return randomKey(suite, c)
	}
	if len(seed) != SeedSize {
		return nil, fmt.Errorf("vrf: %w: seed of %d bytes, want %d", ErrKey, len(seed), SeedSize)
	}
	sec, err := c.newSecret(suite, seed)
	if err != nil {
		return nil, err
	}
	return &SecretKey{suite, sec}, nil
}

// randomKey tries until a random seed is a key: at once, but for a P-256
// scalar out of range, which has probability 2^-32.
func randomKey(suite Suite, c curve) (*SecretKey, error) {
	for {
		seed := make([]byte, SeedSize)
		rand.Read(seed)
		if sec, err := c.newSecret(suite, seed); err == nil {
			return &SecretKey{suite, sec}, nil
		}
	}
}

// Suite returns the key's suite.
func (k *SecretKey) Suite() Suite { return k.suite }

// Public returns the encoded public key.
func (k *SecretKey) Public() []byte { return append([]byte(nil), k.secret.public()...) }

// Prove returns the proof pi for alpha. It is deterministic. Its time does not
// depend on the secret key; with the TAI suites it depends on alpha, with the
// others on alpha's length only.
func (k *SecretKey) Prove(alpha []byte) (pi []byte, err error) {
	t, s, err := k.secret.prove(alpha)
	if err != nil {
		return nil, err
	}
	pi = make([]byte, 0, k.suite.ProofSize())
	pi = append(pi, t.gamma...)
	pi = append(pi, t.challenge()...)
	return append(pi, s...), nil
}

// Verify checks that pi proves the output of public for alpha, and returns
// that output. The key is fully validated, so that even the owner of a
// malicious key has but one output for each alpha.
func Verify(suite Suite, public, alpha, pi []byte) (beta []byte, err error) {
	beta, _, err = open(suite, public, alpha, pi)
	return beta, err
}

// open is Verify, and returns the five points beside.
func open(suite Suite, public, alpha, pi []byte) (beta []byte, t transcript, err error) {
	cv, err := suite.curve()
	if err != nil {
		return nil, t, err
	}
	gamma, c, s, err := split(suite, pi)
	if err != nil {
		return nil, t, err
	}
	t, err = cv.open(suite, public, alpha, gamma, c, s)
	if err != nil {
		return nil, t, err
	}
	if subtle.ConstantTimeCompare(t.challenge(), c) != 1 {
		return nil, t, fmt.Errorf("vrf: %w: challenge differs", ErrProof)
	}
	return suite.output(t.cleared), t, nil
}

// ProofToHash returns the output of a proof without verifying it: for proofs
// that the caller has made or has verified before.
func ProofToHash(suite Suite, pi []byte) (beta []byte, err error) {
	c, err := suite.curve()
	if err != nil {
		return nil, err
	}
	gamma, _, _, err := split(suite, pi)
	if err != nil {
		return nil, err
	}
	cleared, err := c.clear(gamma)
	if err != nil {
		return nil, err
	}
	return suite.output(cleared), nil
}

// CheckKey reports whether public is the encoding of a valid public key.
// Verify checks it anyway; a registry of keys wants to know earlier.
func CheckKey(suite Suite, public []byte) error {
	c, err := suite.curve()
	if err != nil {
		return err
	}
	return c.checkKey(public)
}

// output is beta = Hash(suite || 3 || cofactor*Gamma || 0).
func (s Suite) output(cleared []byte) []byte {
	return s.hash([]byte{byte(s), domainOutput}, cleared, []byte{domainEnd})
}

// split cuts pi into its three fields, which the curve then decodes strictly.
func split(suite Suite, pi []byte) (gamma, c, s []byte, err error) {
	if len(pi) != suite.ProofSize() {
		return nil, nil, nil, fmt.Errorf("vrf: %w: %d bytes, want %d", ErrProof, len(pi), suite.ProofSize())
	}
	n := suite.PublicSize()
	return pi[:n], pi[n : n+challengeSize], pi[n+challengeSize:], nil
}
