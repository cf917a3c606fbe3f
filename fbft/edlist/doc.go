// Package edlist is a signature scheme of fbft without aggregation: the
// signatures of a certificate are Ed25519 signatures, one after the other.
//
// # What it does
//
// A committee signs one statement, and a certificate is the list of the
// signatures, 64 bytes each, in the order of the members. [Committee]
// implements fbft.Verifier, [SecretKey] implements fbft.Signer. Compared with
// package fbft/bls votes are quicker to sign and to check, and a key takes no
// proof of possession; certificates grow with the committee, and so does what
// it costs everybody to check one. With the signatures of a bare quorum:
//
//	members     4    16    100     400    1000
//	bytes     192   704  4,288  17,088  42,688   (48 with fbft/bls)
//
// It is for small committees, and for machines with nothing but Ed25519.
//
// # The model
//
// Whoever sends signatures is hostile; so is up to the whole committee. Every
// signature stands for itself: members cannot cancel each other's errors, a
// part of a list proves as much as the whole, and [VerifySingle] finds no other
// answer than a list or a batch does.
//
// # How signatures are checked
//
// A batch of any number is checked in one equation with random coefficients of
// 128 bits [3], derived from a secret seed and the whole batch. If it does not
// hold, each is checked alone, which names the wrong ones and costs about twice
// the batch.
//
// The equation is multiplied by the cofactor, alone and in a batch: otherwise a
// signer could make a signature that passes in a batch and fails alone, and two
// honest members would disagree about a certificate. Encodings have to be
// canonical, and keys of small order, whose signatures bind nothing, are
// refused. That is [1] with the cofactored equation that it allows. The laxer
// encodings of ZIP 215 [2] are there for signatures that exist already; here
// there are none.
//
// # How to use it
//
//	key, err := edlist.GenerateKey(seed)                        // once, seed from crypto/rand
//	committee, err := edlist.NewCommittee(keys, batchSeed)      // once per epoch
//	sig, err := key.Sign(statement)
//	aggregate, bad := committee.Combine(statement, members, sigs)
//	err = committee.Verify(statement, members, aggregate)
//
// # What it does not do
//
// It keeps no keys, checks no weights and knows no quorum. It does not say
// which certificate of a failed batch was wrong: verify them one by one. A
// signature is not unique: who has the key can make others for the same
// statement, though [SecretKey] always makes the same.
//
// # References
//
//	[1] RFC 8032, Edwards-Curve Digital Signature Algorithm; FIPS 186-5, §7.
//	[2] de Valence: ZIP 215, Explicitly Defining and Modifying Ed25519
//	    Validation Rules.
//	[3] Bellare, Garay, Rabin: Fast Batch Verification for Modular
//	    Exponentiation and Digital Signatures, EUROCRYPT 1998.
package edlist
