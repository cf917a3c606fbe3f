// Package drg draws randomness that nobody can bias or know early, from the
// VRF outputs of a committee and a verifiable delay function: the distributed
// randomness generation of Harmony's design [1], as a core.
//
// # Model
//
// A committee has members with weights; less than a third of the weight is
// Byzantine, and the adversary knows everything that is sent, at once. It may
// be faster at the delay function than everybody else by a factor that
// Params.Advantage bounds. Consensus orders blocks; its leaders may be faulty
// several times in a row. Keys are fixed before alpha is known.
//
// # Protocol
//
//  1. Alpha is the hash of the block at a fixed offset of the epoch: that block
//     opens the drawing. Its leader can vary the hash, but does not know what
//     honest members' outputs for it will be. [Core.Start]
//  2. Each member computes its VRF output for alpha and sends it, with proof
//     and signed, to the next leaders, again and again while leaders change. An
//     output that is signed and not valid is [Evidence]: it convicts by itself.
//  3. A leader that holds outputs of weight Need, which is more than the
//     adversary's, proposes them in a block as a set ([Core.Set]). Validators
//     check it ([CheckSet]) and do not accept a new set later than Bound after
//     alpha ([Core.Late]); then the drawing is void and the next offset counts.
//     The hash of the outputs in order of slots is pRnd.
//  4. When the block is final everybody starts the delay function on pRnd
//     ([Core.Committed]). Who finishes puts output and proof into a block
//     ([Core.Output], [CheckOutput]); the epoch's randomness is a hash of it.
//
// Why it holds: pRnd contains an honest output, so it is not known before
// alpha. After alpha the adversary knows all outputs, and a Byzantine leader
// can choose a subset; but it learns what comes of its choice only after the
// delay, when no choice is left. [SafeDelay] is the inequality behind that,
// and New refuses parameters that break it.
//
// # How to drive it
//
//	core, err := drg.New(drg.Config{Params: params, Self: id, Prove: key.Prove, Sign: sign})
//	core.Start(now, round)            // the block at the offset is final
//	core.SetLeaders(now, leaders)     // as consensus moves on
//	set := core.Set()                 // as a leader: put it into a block
//	core.Committed(now, pRnd)         // the block with a set is final
//	output := core.Output()           // as a leader: put it into a block
//	core.Stop(now)                    // the block with the output is final
//
// and the methods that all cores have. A Core keeps nothing on disk: after a
// crash the chain says where the drawing stands, and [Core.Resume], in place of
// Start, and Committed are called again.
//
// Readers need none of that: a [History] checks the entries of epoch after
// epoch, hands out values ([History.Get]) and lets one wait for the next
// ([History.Watch]). What a reader has to trust beforehand is the chain's hash,
// from which the chain's headers lead to each round's committee. Two readers
// whose newest values have the same Link have the same history.
//
// # What it does not do
//
// It does not agree on anything: consensus does, and its rules carry a
// prepared set over a view change. It punishes nobody: the chain looks up who
// the member of an Evidence was, and slashes. If the delay's output is late
// the epoch has to wait for it; old randomness must not be used again.
//
// # Deviations from the paper
//
// The set is limited by weight, not by heads. Inputs go to several leaders.
// pRnd is a hash over outputs in order of slots, not an exclusive or, which the
// last to join could steer. The bound on new sets, and its relation to the
// delay, are not in the paper.
//
// # References
//
// [1] Harmony: Technical Whitepaper, section 3 (sharding), 2019.
//
// [2] Boneh, Bonneau, Bünz, Fisch: Verifiable Delay Functions. CRYPTO 2018.
package drg
