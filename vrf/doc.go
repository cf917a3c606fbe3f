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
// # What it does not do
//
// An output is unpredictable only if alpha was not known, or the key was
// bound, before: a party that may choose its key after alpha chooses its
// output. Protocols fix keys first; see package vdf/drg.
//
// # References
//
// [1] Goldberg, Reyzin, Papadopoulos, Vcelak: Verifiable Random Functions.
// RFC 9381, 2023.
package vrf
