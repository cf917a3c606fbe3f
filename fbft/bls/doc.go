// Package bls is the default signature scheme of fbft: BLS multi-signatures
// over BLS12-381 with proof of possession.
//
// # What it does
//
// A committee signs one statement. The signatures, 48 bytes each, add up to
// one signature of 48 bytes that verifies under the sum of the signers' keys,
// so a certificate of a thousand members costs little more to check than that
// of one. Signatures are points of G1, keys points of G2 (96 bytes): the
// signer's side is the frequent one and G1 is the cheap group. [Committee]
// implements fbft.Verifier, [SecretKey] implements fbft.Signer.
//
// # The model
//
// Whoever sends signatures is hostile; so is up to the whole committee. A sum
// of keys means what it should only if every signer knows its secret key:
// otherwise a member announces the difference between a key of its own and
// the others' keys, and signs for all of them. Each key therefore comes with a
// proof of possession, [SecretKey.Prove], a signature over the key itself
// under its own domain tag and bound to a context (chain and account). Nobody
// may hand a key to [NewCommittee] that did not pass [VerifyPossession] under
// the right context.
//
// "The sum verifies" is a property of the set that was summed. Two members
// can hand in shares that are wrong one by one and right together. A share
// taken out of a sum proves nothing about its member; [VerifySingle] does.
//
// # How a sum is checked
//
//  1. Every vote is decompressed, which costs a square root and shows that it
//     is on the curve, and is added up with complete formulas [4]. No
//     subgroup check yet: that would cost three times as much as all the rest.
//  2. The sum is checked once: subgroup, then one pairing equation against the
//     sum of the keys (that of the whole committee less the absent, if that
//     is shorter).
//  3. If it fails, bisection finds the wrong ones, each in the end alone; the
//     error of one half and of the whole give that of the other half without
//     a pairing. Who was found out is remembered, so that next time the rest
//     is summed without it: a member can spoil a sum once.
//
// Certificates are verified in batches with random coefficients of 128 bits
// [5], derived from a secret seed and the whole batch; [VerifyClaims] does so
// across committees. There every point has its own subgroup check, by an
// endomorphism [6]: the subgroup's cofactor has small factors, which random
// coefficients would miss. A [Keyring] spares who sees many committees the decoding
// of keys that it knows.
//
// # How to use it
//
//	key, err := bls.GenerateKey(seed)                        // once, seed from crypto/rand
//	proof := key.Prove(context)                              // to be registered with key.Public()
//	err = bls.VerifyPossession(public, context, proof)       // by whoever registers it
//	committee, err := bls.NewCommittee(keys, batchSeed)      // once per epoch
//	sig, err := key.Sign(statement)
//	aggregate, bad := committee.Combine(statement, members, sigs)
//	err = committee.Verify(statement, members, aggregate)
//
// # What it does not do
//
// It keeps no keys, checks no weights and knows no quorum. It does not say
// which certificate of a failed batch was wrong: verify them one by one.
// Verification runs in variable time, on public data.
//
// # Deviations
//
// The ciphersuite is that of the draft [1], minimal-signature-size with proof
// of possession, and [SecretKey.Prove] with an empty context is its PopProve.
// A context is appended to the key that is signed; the key has a fixed length,
// so the pair stays unambiguous.
//
// # References
//
//	[1] draft-irtf-cfrg-bls-signature-05, BLS Signatures.
//	[2] RFC 9380, Hashing to Elliptic Curves.
//	[3] Ristenpart, Yilek: The Power of Proofs-of-Possession, EUROCRYPT 2007.
//	[4] Renes, Costello, Batina: Complete addition formulas for prime order
//	    elliptic curves, EUROCRYPT 2016 (eprint 2015/1060).
//	[5] Bellare, Garay, Rabin: Fast Batch Verification for Modular
//	    Exponentiation and Digital Signatures, EUROCRYPT 1998.
//	[6] Scott: A note on group membership tests for G1, G2 and GT on BLS
//	    pairing-friendly curves, 2021 (eprint 2021/1130).
package bls
