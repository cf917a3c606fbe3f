// Package estake is effective proof of stake as a deterministic state machine:
// who is elected, with how many votes, what they earn, and what they lose.
//
// # Model
//
// A validator bids for seats with slots: voting keys and nodes it would serve.
// Everything it bonds, own stake and delegations, is divided evenly among its
// active slots. The highest bids win the seats, and what a seat votes and
// earns with is its effective stake, which lies within (1±c) of the median of
// the winning bids: large stakes have to run many seats, and small ones are
// lifted.
//
// Everybody may be hostile: those who bid, delegate, sign, do not sign, and
// send transactions. Package estake trusts its caller for what it cannot see:
// that a sender signed its transaction, who signed a block, that evidence is
// evidence and a voting key its owner's (the Check functions of Context).
//
// The bound on Byzantine power that consensus needs, a third, is a bound on
// effective stake, not on stake. Where seats are cheap, lifting low bids sells
// a third of the votes for far less than a third of the stake: CostOfAttack
// says for how much, for a given distribution and policy, and
// Params.MinBidPPM, Params.MinBid and FloorOff are the remedies.
//
// # State
//
// Everything stands in a key-value view, State, which a stage of an
// authenticated state satisfies. There are no scans: what has to be enumerated
// has counters and index entries, and what many own together is a pool with a
// price, so that neither a reward nor a slash touches the records of
// delegators. All numbers are integers; what is divided is divided to the last
// unit. Audit recomputes every sum of a state from its parts.
//
// # An epoch
//
//	estake.Init(s, p, validators)              // once, at the genesis
//
//	// in every block of the beacon:
//	estake.Apply(s, p, ctx, tx)                // transactions
//	estake.RecordSigned(s, p, attendance)      // for every linked block of a shard
//	estake.RecordLate(s, epoch, shard, h, ids) // signatures that came late
//
//	// when an epoch ends:
//	estake.EndEpoch(s, p, epoch, p.Issuance(epoch), fees)
//	e, err := estake.Elect(s, p)               // ErrTooFew: keep the committee
//	price := estake.VotePrice(e.Total, shards, p.Lambda)
//	votes := estake.Shares(e.Elected[i].Effective, price)
//
// Elect may be held at any height; the chain says when, and deals the shares
// to shards (package reshard).
//
// # Transactions
//
//   - Stake bonds own tokens and makes a validator; Edit changes its terms and
//     slots; Rejoin brings back slots that were absent.
//   - Delegate, Undelegate and Redelegate move the stake of others; Withdraw
//     ends the lock; Claim takes rewards out or bonds them.
//   - Evidence punishes a double signature.
//
// A refused transaction is a *Refusal and leaves the state as it was.
//
// Whoever wants to know before it sends one asks: Holding and Locked say what an
// account has, ExplainReward and ExplainElection why, WhatIf what a bid would win.
// They only read, and none reads the records of other delegators.
//
// # Rules
//
// Delegations are of two kinds. Rewards of a plain one accrue to be claimed;
// those of a compounding one raise the price of its pool, which bonds them at
// once. A validator's commission is taken off first; a change of it counts
// from the next epoch, is bounded in size, and happens once an epoch. Arriving
// for the last block of an epoch earns that epoch's reward, and costs a lock
// of several epochs without any.
//
// Rewards go to those who signed, by weight and by the part of the blocks
// signed, late signatures included. What nobody earned, or somebody banned
// would have, waits in the pot for the next epoch.
//
// A double signer loses SlashMinPPM of its stake at once and is banned. When
// the evidence period of the offence's epoch ends, and all its offences are
// known, the loss is raised to SlashSlopePPM times the part of all stake that
// offended in that epoch: two accidents cost little each, an attack by a third
// costs everything. Own stake pays first, then delegators in proportion,
// including what was undelegated or redelegated since the election that gave
// the offender its votes (DutyEpochs). One validator is punished once per
// epoch, however many of its slots offended. Delegations made after the
// offence and before the evidence pay like the others.
//
// A slot that does not sign collects absence, in time between linked blocks
// of its shard, at most GapMillis each: while a shard or the beacon stalls
// nobody is absent. Its effective stake drops as Params.Power says; at zero it
// has to Rejoin.
//
// # What it does not do
//
// It holds no accounts (Bank moves tokens in and out), checks no signatures,
// deals no shards, and has no clock. It does not bound how many of one owner's
// slots come to one shard; reshard.Redraw does. It cannot know that two
// validators are one person: bounds per validator bound nobody who has two
// accounts.
//
// # Deviations
//
// The publications [1], [2] leave open and this package decides: the curve of
// power between 3 and 12 hours of absence (a step, then a line); the slope of
// the slash, and that it is settled at the end of the evidence period, so that
// it does not depend on the order of evidence; that a vote's price counts the
// effective stake of the elected, not all stake, and is rounded up; equal bids
// are ranked by slot id. Shares below one vote have none, as published;
// LargestRemainder is the alternative.
//
// # References
//
//	[1] Harmony Team: Technical Whitepaper, version 2.0, 2018, §3.
//	[2] Harmony: Effective Proof-of-Stake, 2019.
//	[3] Ojha: F1 Fee Distribution, 2019 (accumulators in place of payments).
package estake
