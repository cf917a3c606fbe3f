// Package vrf implements verifiable random functions on elliptic curves:
// ECVRF of RFC 9381 [1].
//
// # Model
//
// The owner of a secret key turns an input alpha into an output beta, which
// nobody else can predict, and a proof pi, with which anybody who has the
// public key checks that beta is the one output of that key for alpha.
// Everything that comes from outside is hostile: the proof, the input and the
// public key. Keys are fully validated, so that even a key chosen with malice
// has one output for each input.
//
// # How to use it
//
//	key, err := vrf.GenerateKey(vrf.EdwardsELL2, nil)
//	pi, err := key.Prove(alpha)                                       // the owner
//	beta, err := vrf.Verify(vrf.EdwardsELL2, key.Public(), alpha, pi) // anybody
//
// Who collects proofs from many and shows them to others turns each into
// batch-compatible form as it verifies it ([Convert]; the prover can do so
// itself, [SecretKey.ProveBatch]): 128 bytes in place of 80, and [VerifyBatch]
// checks them together, naming those that do not hold.
//
// [Derive] makes several outputs of one; [Select] is sortition by stake.
//
// # What it does not do
//
// An output is unpredictable only if alpha was not known, or the key was
// bound, before: a party that may choose its key after alpha chooses its
// output. Protocols fix keys first; see package vdf/drg.
//
// Verification is not constant time; nothing in it is secret. Proving is, in
// the secret key and the nonce; the input is hidden from a clock, but for its
// length, by the suites ELL2 and SSWU only.
//
// # Deviations
//
// Proofs, outputs and keys are those of the RFC to the byte. Batch-compatible
// proofs follow [2], with the challenge of the RFC and cofactored equations.
//
// # Arithmetic
//
// What multiplies by a secret is code that others keep well: curve25519-voi,
// and the standard library's P-256. The sums of batches, which see public
// values alone, and the two maps to the curves stand here, because they need
// the coordinates of points, which those libraries hide: a batch of any suite
// costs one multi-scalar multiplication.
//
// # References
//
// [1] Goldberg, Reyzin, Papadopoulos, Vcelak: Verifiable Random Functions.
// RFC 9381, 2023.
//
// [2] Badertscher, Gaži, Querejeta-Azurmendi, Russell: A Composable Security
// Treatment of ECVRF and Batch Verifications. ESORICS 2022.
//
// [3] Faz-Hernandez, Scott, Sullivan, Wahby, Wood: Hashing to Elliptic Curves.
// RFC 9380, 2023.
//
// [4] Gilad, Hemo, Micali, Vlachos, Zeldovich: Algorand. SOSP 2017.
package vrf
