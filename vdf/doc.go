// Package vdf implements a verifiable delay function: a computation that takes
// T steps one after the other, however many machines one has, and whose result
// anybody checks in milliseconds. It is repeated squaring in the class group
// of an imaginary quadratic order with the proof of Wesolowski [1]: no trusted
// setup, and short proofs.
//
// # Model
//
// The group is that of a negative prime discriminant D, made from a public
// seed; nobody knows its order, so there is no short cut to x^(2^T). An
// adversary has as many cores as it likes and some that are faster than all
// others, by a factor that one has to assume: [Delay] turns that assumption
// into T. Inputs, outputs and proofs come from anybody and are decoded
// strictly: one group element has one encoding.
//
// # Protocol
//
//  1. All know D ([NewParams]), T, and an input x, which is hashed to a group
//     element.
//  2. Somebody computes y = x^(2^T), squaring by squaring.
//  3. The prime B of 256 bits is a hash of D, T, x and y. With
//     pi = x^floor(2^T/B) the output is complete: y and pi.
//  4. Everybody checks pi^B * x^(2^T mod B) = y. The result is unique, so it
//     does not matter who computed it.
//
// # How to use it
//
//	p, err := vdf.NewParams(seed, 1024)
//	output, err := p.Evaluate(ctx, x, t, vdf.Options{}) // minutes, by somebody
//	err = p.Verify(x, t, output)                        // milliseconds, by everybody
//
// An evaluation of days writes a journal and goes on after a crash; see
// [Options]. [Calibrate] says how fast this machine is. Verify is a pure
// function of its arguments.
//
// [Chia] and [Harmony] are the same function in the formats of two networks.
// Their challenges bind less than they should, which is no fault in a protocol
// that fixes D and T elsewhere, but no example either.
//
// # How it is fast
//
// A squaring is NUDUPL on limbs of fixed number without allocation: an inverse
// and a half reduction by one Euclidean algorithm in the manner of Lehmer, with
// quotients rounded to the nearest and two stages of some 30 bits for each pass
// over the numbers (euclid.go, with the proof that the quotients are good), and
// products of a quarter of the size of D (square.go). More than half of the time
// is the latency of single divisions, one after the other; the cofactors are
// computed while they run. Products are computed four rows at once, and
// quotients exactly, from the lowest word up (limbs.go). On amd64 with BMI2 the
// rounds of Euclid and the products are in assembly; elsewhere, and with the
// build tag purego, the Go code of the same names does it. What does not fit the
// buffers, once in millions of squarings and at the start from small forms,
// takes a slow path over math/big. The proof is made from powers kept on the
// way, by buckets over signed digits, on all cores (prove.go). Verification is
// one ladder for both exponents (power.go).
//
// # What it does not do
//
// Time depends on the values: nothing here is secret. Discriminants below 1024
// bits are for tests and demonstrations. There is no use of several cores for
// the squarings themselves.
//
// # Deviations from the paper
//
// The input is hashed to the form of a prime of 256 bits; B and that prime are
// the first in an interval that starts at a hash, not uniform among all.
//
// # References
//
// [1] Wesolowski: Efficient verifiable delay functions. EUROCRYPT 2019.
//
// [2] Long: Binary quadratic forms. 2018.
//
// [3] Jacobson, van der Poorten: Computational aspects of NUCOMP. ANTS 2002.
//
// [4] Cohen: A Course in Computational Algebraic Number Theory, chapter 5.
//
// [5] Boneh, Bünz, Fisch: A survey of two verifiable delay functions. 2018.
package vdf
