// Package ledger is what a shard remembers: transactions, the state they act
// on, and the chain of blocks that leads there, kept in a store that survives
// a crash at any moment.
//
// # What it does
//
// The parts can be used alone:
//
//   - [Transaction] and its signatures: one key or k of n, checked in batches
//     with [VerifyBatch] and remembered in a [SignatureCache].
//   - [Executor]: what transactions mean. [Transfer] is built in, [Kinds] puts
//     several together; [ExecuteBlock] runs the transactions of a block, on
//     several processors if an [Accessor] tells what they touch, and [Pick]
//     builds one.
//   - [FeeMarket]: what they pay: [BaseFee], [Monopolist], [RandomHalves].
//   - [Mempool]: transactions that wait.
//   - [State]: an authenticated map of keys to values with a root before the
//     commit, proofs, and undo. [Store] is what lies under it: [MemStore], or
//     package pebblestore, or one that package ledgertest has checked.
//   - [Chain]: headers, bodies, indexes and state in one store, one atomic
//     durable batch per block; [Chain.Apply] validates under [Rules] and
//     commits, [Chain.Rewind] goes back, [Chain.Export] and [Chain.Import] move
//     a state as a file that proves itself. If asked to, a chain answers what
//     wallets and explorers want to know: [Chain.Find] where a transaction is
//     and what it paid, [Chain.Arrivals] what it paid out from another shard,
//     [Chain.History] what happened to an account. [ProveAccount] answers those
//     who trust a header only.
//
// Nothing here decides which block is the next: that is consensus, package
// fbft. How the parts make a node is in examples/chain.
//
// # Model
//
// Transactions, bodies, headers, blocks and proofs come from anybody. Decoding
// them never panics, allocates no more than a small multiple of the input, and
// accepts one encoding of each value only. What is refused changes nothing.
// The store belongs to the node: it may fail, lose what was not acknowledged,
// or be damaged, which is found out and named ([DamageError]), but it is not
// an adversary.
//
// Every function that decides whether a block is valid depends on its
// arguments alone, so that all nodes decide the same.
//
// # A block's way
//
//  1. A transaction arrives, VerifyBatch checks it with others, [Mempool.Add]
//     takes it.
//  2. A proposer takes the best ([Mempool.Select]) and executes them on a
//     [Stage] (Pick). The stage gives the root for the header. [Rules.Build]
//     does it under the rules by which others will execute the block.
//  3. A validator decodes the body ([DecodeBody]), calls VerifyBatch, which
//     checks only what its cache has not seen, executes on a stage of its own
//     and compares the roots: [Rules.Execute] does all of it, the signatures
//     beside the rest.
//  4. Once the block is decided, [Chain.Commit] writes block, state and indexes
//     and [Mempool.Committed] drops what is used. Whoever only follows a chain
//     uses [Chain.Apply] for both steps.
//
// A transfer to an account of another shard takes the amount off here and
// leaves a receipt in the block's outbox (package xshard); the other shard
// pays it out with [Receive], which cannot fail: other kinds of receipts are
// for executors that are a [Receiver].
//
// # How to use it
//
//	chain, err := ledger.OpenChain(store, ledger.ChainConfig{Chain: id, Shard: 1})
//	...
//	stage := chain.State().Begin()
//	out := xshard.NewOutbox(1, shards, next)
//	fees, err := ledger.ExecuteBlock(ctx, stage, body.Transactions, ledger.Transfer{}, out)
//	if err != nil { // the block is not valid, or the store has failed
//		stage.Discard()
//	}
//	root, err := stage.Root()
//	...
//	err = chain.Commit(&block, stage, nil)
//
// # What it does not do
//
// It does not fetch, relay or certify anything. Headers are checked as far as
// they speak of chain, state, body and outbox; committee, inbox and proposer
// are the composition's. There are no contracts: [Executor] is where they fit
// in. Results of transactions are kept for those who ask the chain, but no
// header covers them: what has to be proven is written to the state.
//
// # Deviations
//
// BaseFee has no tip: a bid is the most a sender pays, and what is paid goes to
// a pool. RandomHalves does not show losing bids in the block, so that it is
// truthful for senders but not proof against a proposer that leaves bids out.
//
// # References
//
// [1] R. Dahlberg, T. Pulls, R. Peeters: Efficient Sparse Merkle Trees. NordSec 2016.
//
// [2] S. Josefsson, I. Liusvaara: Edwards-Curve Digital Signature Algorithm. RFC 8032, 2017.
//
// [3] H. de Valence: Explicitly Defining and Modifying Ed25519 Validation Rules. ZIP 215, 2020.
//
// [4] V. Buterin et al.: Fee market change for ETH 1.0 chain. EIP-1559, 2019.
//
// [5] R. Lavi, O. Sattath, A. Zohar: Redesigning Bitcoin's fee market. WWW 2019.
package ledger
