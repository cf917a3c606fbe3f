// Package fbfttest is for testing what package fbft drives and what drives it.
// Everything in it runs the production cores.
//
// # What there is
//
//   - Fake, FakeSigner: a signature scheme without cryptography, for committees
//     of any size.
//   - Lab: cores driven one input at a time. A test delivers, loses and delays
//     what it likes, lets timers run out, holds disks and crashes machines.
//   - RunScript: a Lab driven by text, with a transcript.
//   - Forger: what a Byzantine member can say, honest or not, encoded by an
//     implementation of its own; Lab.Harvest, Silent: the votes it gets and the
//     certificates it can make of them.
//   - Twins: a member on two machines with one key, under partitions.
//   - Sim: committees in kad/simnet, with a small application and ledger, under
//     loss, delay, repetition, reordering, partitions, power failures and
//     changes of committee.
//   - Search: all states of a height, up to a view.
//
// # Invariants
//
// One block per height among honest members; one prepared block per view; no
// two statements of one member that contradict each other, crashes or not;
// certificates that verify; no honest member blamed; a decision everywhere once
// the network behaves. Err, or the error of the run, names the first that broke.
//
// # What it does not do
//
// It finds no fault of real networks, disks or clocks, and no timing.
//
// # References
//
//	[1] Bano et al.: Twins: BFT systems made robust, OPODIS 2021.
package fbfttest
