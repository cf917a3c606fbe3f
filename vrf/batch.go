package vrf

import (
	"crypto/sha512"
	"encoding/binary"
	"fmt"
)

// Batch-compatible proofs (Badertscher, Gaži, Querejeta-Azurmendi, Russell,
// ESORICS 2022) carry the points U and V in place of the challenge:
// Gamma || U || V || s. The challenge is the same hash as in RFC 9381, so an
// ordinary proof can be turned into this form by anybody who verifies it.
//
// Verification checks s*B = U + c*Y and s*H = V + c*Gamma, each multiplied by
// the cofactor: then one proof alone and a batch accept the same proofs. The
// output is a function of 8*Gamma, so nothing is lost.

// Item is one statement of a batch.
type Item struct {
	Public, Alpha []byte
	Proof         []byte // batch-compatible
}

// BatchError names the items of a batch that do not hold.
type BatchError struct {
	Bad []int // ascending
}

func (e *BatchError) Error() string {
	return fmt.Sprintf("vrf: invalid proof: %d in the batch, the first is %d", len(e.Bad), e.Bad[0])
}

// Unwrap says what it comes to for every one of them.
func (e *BatchError) Unwrap() error { return ErrProof }

// BatchProofSize returns the length of a batch-compatible proof.
func (s Suite) BatchProofSize() int { return 3*s.PublicSize() + 32 }

// ProveBatch is Prove in batch-compatible form.
func (k *SecretKey) ProveBatch(alpha []byte) (pi []byte, err error) {
	t, s, err := k.secret.prove(alpha)
	if err != nil {
		return nil, err
	}
	return t.batchProof(s), nil
}

func (t *transcript) batchProof(s []byte) []byte {
	pi := make([]byte, 0, t.suite.BatchProofSize())
	pi = append(pi, t.gamma...)
	pi = append(pi, t.u...)
	pi = append(pi, t.v...)
	return append(pi, s...)
}

// Convert verifies an ordinary proof and returns it in batch-compatible form,
// with its output: one who collects proofs spares those who check the
// collection. A P-256 proof with U or V at infinity, which no honest prover
// makes, has no such form.
func Convert(suite Suite, public, alpha, pi []byte) (batch, beta []byte, err error) {
	beta, t, err := open(suite, public, alpha, pi)
	if err != nil {
		return nil, nil, err
	}
	_, _, s, err := split(suite, pi)
	if err != nil {
		return nil, nil, err
	}
	if batch = t.batchProof(s); len(batch) != suite.BatchProofSize() {
		return nil, nil, fmt.Errorf("vrf: %w: a point at infinity", ErrProof)
	}
	return batch, beta, nil
}

// leastBatch is from how many proofs on the sum is cheaper than one by one.
const leastBatch = 8

// VerifyBatch checks batch-compatible proofs of one suite together, and
// returns their outputs. The error is a *BatchError if proofs do not hold, and
// then the outputs of the others are there. A large batch costs about half of
// what its proofs cost one by one, or less. One that has bad proofs costs both:
// the sum says that there are some, and then each is checked by itself.
//
// The equations are added up with 128-bit coefficients that are a hash of the
// whole batch: nobody can choose a proof after its coefficient, and all who
// check the same batch come to the same end.
func VerifyBatch(suite Suite, items []Item) (betas [][]byte, err error) {
	cv, err := suite.curve()
	if err != nil {
		return nil, err
	}
	betas = make([][]byte, len(items))
	if len(items) >= leastBatch && cv.verifyAll(suite, items, coefficients(suite, items), betas) {
		return betas, nil
	}
	var bad []int
	for i := range items {
		if betas[i], err = verifyBatchable(cv, suite, &items[i]); err != nil {
			bad = append(bad, i)
		}
	}
	if bad != nil {
		return betas, &BatchError{bad}
	}
	return betas, nil
}

// verifyBatchable checks one batch-compatible proof.
func verifyBatchable(cv curve, suite Suite, it *Item) (beta []byte, err error) {
	t, s, err := splitBatch(suite, it)
	if err != nil {
		return nil, err
	}
	if err := cv.check(suite, &t, it.Alpha, s); err != nil {
		return nil, err
	}
	return suite.output(t.cleared), nil
}

// splitBatch cuts a batch-compatible proof into its fields. H is still to be
// filled in.
func splitBatch(suite Suite, it *Item) (t transcript, s []byte, err error) {
	if len(it.Proof) != suite.BatchProofSize() {
		return t, nil, fmt.Errorf("vrf: %w: %d bytes, want %d", ErrProof, len(it.Proof), suite.BatchProofSize())
	}
	n := suite.PublicSize()
	t = transcript{suite: suite, y: it.Public, gamma: it.Proof[:n], u: it.Proof[n : 2*n], v: it.Proof[2*n : 3*n]}
	return t, it.Proof[3*n:], nil
}

// coefficients returns the two coefficients of item i, for the two equations.
func coefficients(suite Suite, items []Item) func(i int) [2][16]byte {
	h := sha512.New()
	h.Write([]byte("shardkit/vrf/batch/1"))
	h.Write([]byte{byte(suite)})
	var n [8]byte
	for i := range items {
		for _, p := range [][]byte{items[i].Public, items[i].Alpha, items[i].Proof} {
			binary.BigEndian.PutUint64(n[:], uint64(len(p)))
			h.Write(n[:])
			h.Write(p)
		}
	}
	seed := h.Sum(nil)
	return func(i int) (z [2][16]byte) {
		d := sha512.Sum512(binary.BigEndian.AppendUint64(seed[:len(seed):len(seed)], uint64(i)))
		copy(z[0][:], d[:16])
		copy(z[1][:], d[16:32])
		return z
	}
}
