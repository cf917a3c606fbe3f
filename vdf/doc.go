// Package vdf implements a verifiable delay function: a computation that takes
// T steps one after the other, however many machines one has, and whose result
// anybody checks in milliseconds. It is repeated squaring in the class group
// of an imaginary quadratic order with the proof of Wesolowski [1]: no trusted
// setup, short proofs.
//
// # How to use it
//
//	p, err := vdf.NewParams(seed, 1024)
//	output, err := p.Evaluate(ctx, x, t, vdf.Options{}) // minutes, by somebody
//	err = p.Verify(x, t, output)                        // milliseconds, by everybody
//
// # References
//
// [1] Wesolowski: Efficient verifiable delay functions. EUROCRYPT 2019.
package vdf
