// Package reshard deals voting units to shards when an epoch turns, and says
// exactly how safe that is.
//
// # Model
//
// A unit is a slot, with all its voting shares, or one share of a slot. Each
// epoch units join, units leave, and a Policy deals: from the previous
// assignment, the new set of units and the epoch's randomness to the new
// assignment and the moves. The adversary owns a part of the units, knows
// everything but randomness that is not out yet, and lets units leave and join
// again as it likes. It wins when it has a third (or what the chain's quorum
// makes of it) of one shard.
//
// # Policies
//
// A policy is pure: its result depends on the values of its arguments, not on
// their order, and is the same on every node. Its randomness is cSHAKE256 over
// the epoch's seed with this package's tag and the policy's name. All policies
// of this package deal the first epoch, and the first with another number of
// shards, by a full permutation; as their last step all give units from the
// largest shards to any that would be below Min units.
//
//   - Full: a fresh permutation. Every epoch is the draw that the calculators
//     assume.
//   - Gradual: towards a fresh permutation, a third of a shard at most.
//   - Pooled: a part of every shard and the joiners, to the smallest shards.
//   - Cuckoo, Commensal, Bounded: joiners displace a few.
//
// Redraw deals again while one owner holds a third of a shard; Fragile lists
// such holdings. Cooldown makes who left wait before joining. Steps cuts the
// moves of one epoch into steps that a shard survives working. Shares numbers
// the shares of slots so that nobody chooses which ones leave.
//
//	policy, err := reshard.ParsePolicy("full:min=4")
//	next, moves, err := policy.Assign(prev, units, shards, seed)
//
// # Calculators
//
// BinomialTail and HypergeometricTail are one shard's failure, WeightedTail
// the same for units of unequal weight, NetworkFailure that of any of all
// shards, jointly. They are sums of integers: no float is in a result, and no
// bound is called exact. SolveLambda and SmallestCommittee invert them;
// Quorum trades safety against liveness, with a watchdog that draws a stalled
// committee again.
//
// The published claim for 600 shares per shard, a quarter of all bad, holds
// for one shard: a failure in 921 years at one draw a day. A network of 4
// shards fails in 10,899, one of 16 in 123, one of 100 in 10 years: λ has to
// follow from the number of shards (502, 709 and 850 for a thousand years).
// With the least q for 3q > 2·600 a shard stalls at 200 bad shares and can
// fork at 202.
//
// # Simulation
//
// Simulation plays a policy against an adversary, Survival over many seeds.
// The guarantee of the calculators holds only for a policy that deals
// everything anew: one that moves a constant number of units per join gives
// an adversary time. In 16 shards of 600, with 20 % bad of which 5 % rejoin
// each epoch, medians over 12 histories of at most 300 epochs are
//
//	policy              failure   moved per epoch
//	bounded:k=10              7         0.8 %
//	bounded:percent=10       29         5.2 %
//	cuckoo:k=4               31         4.0 %
//	commensal:k=4            35         3.7 %
//	pooled:percent=20      none        18.6 %
//	gradual                none        32.6 %
//	full                   none        92.8 %
//
// and with 25 % bad the pooled policy fails too (median 126, and 31 against
// the Patient attack). Figures of others are reproduced to a factor of two,
// which is also the difference between readings of a rule.
//
// Recommendation: Full where shards can be synced within an epoch; Gradual
// where that is too much (its worst shard was no worse than Full's, 0.318 and
// 0.320 bad at a quarter). Use a
// cuckoo rule only with a cool-down (a wait of 7 epochs takes cuckoo:k=4 from
// 31 to 82) and after a look at the curve for your own numbers (go run
// ./examples/lab reshard). Dealing shares mixes better than dealing slots and
// makes each slot a member of many shards: the same votes in 75 slots instead
// of 600 shares fail within 5 epochs at 20 % even under Full. What counts is
// the number of units in a shard.
//
// # What it does not do
//
// It elects nobody and knows no stake (package estake), draws no randomness
// (package vdf/drg), and moves no state. A policy sees owners only through
// Redraw and Cooldown; owners with many names are many owners.
//
// # Deviations
//
// Cuckoo draws the points of those who stay afresh each epoch, so none needs
// to be stored [1]. Commensal counts displaced units from the start of an
// epoch, where the paper counts from a group's last join [2]. Bounded takes
// the larger half by units and displaces once per shard that received anybody,
// where RapidChain handles one join at a time [3]; with a constant k and many
// joins its sizes drift apart. Gradual has one step per epoch, Steps several;
// OmniLedger leaves the order open [4].
//
// # References
//
//	[1] Awerbuch, Scheideler: Towards a Scalable and Robust DHT, 2006.
//	[2] Sen, Freedman: Commensal Cuckoo: Secure Group Partitioning for
//	    Large-Scale Services, 2012.
//	[3] Zamani, Movahedi, Raykova: RapidChain, 2018.
//	[4] Kokoris-Kogias et al.: OmniLedger, 2018.
//	[5] Luu et al.: A Secure Sharding Protocol for Open Blockchains, 2016.
//	[6] David et al.: GearBox: Optimal-size Shard Committees, 2022.
//	[7] Harmony Team: Technical Whitepaper, version 2.0, 2018, §3, §4.
package reshard
