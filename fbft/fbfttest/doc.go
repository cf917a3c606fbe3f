// Package fbfttest is for testing what package fbft drives and what drives it.
// Everything in it runs the production cores.
//
// # What there is
//
//   - TestScheme: what any signature scheme has to pass; SchemeBench measures
//     them alike. Fake, FakeSigner: one without cryptography, for committees of
//     any size.
//   - Lab: cores driven one input at a time. A test delivers, loses and delays
//     what it likes, lets timers run out, holds disks and crashes machines.
//   - RunScript: a Lab driven by text, with a transcript.
//   - Sim: committees in kad/simnet, with a small application and ledger, under
//     loss, delay, repetition, reordering, partitions, power failures and
//     changes of committee, with any scheme.
//   - Adversary: Byzantine members by name, for scripts, Lab and Sim alike:
//     Silent, Withholder, Censor, Equivocator, Outdated, Impersonator,
//     BadSignatures, or one of your own.
//   - Forger: what a Byzantine member can say, honest or not, encoded by an
//     implementation of its own; Lab.Harvest, LabConfig.Silent: the votes it
//     gets and the certificates it can make of them.
//   - Twins: a member on two machines with one key, under partitions [1].
//   - Search: all states of a height, up to a view.
//
// # Invariants
//
// One block per height among honest members; one prepared block per view; no
// two statements of one member that contradict each other, crashes or not;
// certificates that verify; no honest member blamed, and evidence that holds
// and names adversaries only; a decision everywhere once the network behaves.
// Err, or the error of the run, names the first that broke.
//
// # How far the search goes
//
// Four members, one of them Byzantine, views 0 to 2: 168,680 states of one
// member, of which 12,277 differ, and 1,612,183 of the committee; there are no
// more. If every honest member may lose power once at any time: 847,972 and
// 17,828, and 15,576,301 of the committee. Search says what is merged and why
// nothing is lost by it; a search of two views that merges nothing (74,111
// states) is compared with the other.
//
// # How to use it
//
//	s, err := fbfttest.NewSim(fbfttest.SimConfig{
//		Net:         simnet.Config{Seed: seed, Loss: 0.2},
//		Heights:     6,
//		Adversaries: map[int]fbfttest.Adversary{2: fbfttest.Equivocator{}},
//	})
//	err = s.RunTo(6, time.Minute, 0, 1, 3)
//
// # What it does not do
//
// It finds no fault of real networks, disks or clocks, and no timing. The
// search takes the honest members as equal in weight, and bodies as good and at
// hand.
//
// # References
//
//	[1] Bano et al.: Twins: BFT systems made robust, OPODIS 2021.
package fbfttest
