// Package chain is the reference composition: a whole sharded proof-of-stake
// chain made of the packages of this library, as one core and its driver.
//
// # What it does
//
// A Core is one node. It hosts a replica for every shard in which it has a
// seat: consensus (fbft), body broadcast (erasure), ledger, mempool, receipts
// from and to the other shards (xshard), state sync, and on the beacon, shard 0,
// the drawing of randomness (vdf/drg). It is a core made of cores: no goroutine,
// clock, network or disk; Node is the driver that gives it those, over QUIC and
// pebble. The same Core runs in kad/simnet, which is how the tests run it
// through hundreds of histories with crashes and partitions.
//
// # Model
//
// In every shard less than a third of the voting weight is Byzantine. The
// network loses, delays and repeats messages, and partitions heal at some time.
// A node may crash anywhere and loses what it had not synced. Peers without a
// seat, and wallets, are hostile.
//
// # How a block travels
//
//  1. A wallet's transactions (Submit) are checked in a job and enter the
//     mempool; the node passes them on to the other members of the shard.
//  2. The leader builds: links to other shards first, then the beacon's items,
//     then transactions, executed on a stage of the state. The body goes out
//     in chunks, the header with the chunks' root is announced.
//  3. Members rebuild the body, log it, execute it on a stage of their own and
//     compare every field of the header; only then they vote.
//  4. On the commit certificate the next height starts; stage, block and
//     indexes are written in one durable batch meanwhile. Votes that come after
//     the quorum go into a later header, so that far members are paid.
//  5. Every member pushes the certified header with the receipts for each other
//     shard to its share of that shard's members; what gets lost is pulled. The
//     other shard links consecutive headers, verifies the newest one's
//     certificate and credits the receipts. An outbox root has a leaf for every
//     shard, so nobody can pass over receipts by pretending there are none.
//
// # Epochs
//
// The beacon draws the committees of epoch e+1 during epoch e−1: the hash of
// the block at a fixed offset is the VRF input, a block commits the members'
// VRF outputs, another one the delay function's output, and its execution
// elects and deals. The beacon's first block of an epoch names, in Hop.Beacon,
// the committees of all shards for the next one. A shard's epoch ends with the
// block that links that first block. So a member has a whole epoch to sync its
// new shard's state; the old committee stays until it has seen the new one's
// first certificate.
//
// An epoch's rewards are new tokens and the fees of all shards. They are paid
// when every shard has begun the next one: until then its blocks come in.
//
// Links of one source are consecutive in every shard, not only in the beacon,
// and a run of headers never crosses an epoch's first block: its last block has
// its own certificate. Committees are kept in the state until every source has
// been linked past their epoch; on the beacon, as long as evidence counts.
//
// # Stakes
//
// A transaction of KindStaking carries an order of package estake, which the
// beacon executes (Staking). NewStaking makes one:
//
//	slot, err := identity.SlotKeys(genesis.ID(), account)
//	tx, err := chain.NewStaking(genesis.ID(), estake.Stake{Amount: amount, Slots: []estake.SlotKeys{slot}}, nonce, fee)
//	tx.Sign(key)
//	msg, err := chain.Submit(0, request, []ledger.Transaction{tx})
//
// A slot's voting key, VRF key and node each sign the whole slot, the account
// and the chain; a node checks that, and that the rules of package estake allow
// the order, before it admits the transaction. Holdings asks what an account
// has with validators. What an election counts is the stakes of the block that
// holds it, two epochs before the votes are cast.
//
// # Offences
//
// Consensus finds evidence against whoever signs two statements that no honest
// member signs both of, the drawing against whoever signs a VRF output that is
// not valid. The node that finds it keeps it in its log and tells members of the
// beacon, who file an estake.Evidence for each culprit from accounts of their
// own (Config.Reporter); anybody else may do so as well (EvidenceProof,
// InputProof). The state of the beacon has the committees of every epoch whose
// offences can still be punished. The culprit is slashed at once and elected no
// more. What a replica's votes rest on is kept in its store as long (Archived):
// if there should ever be two blocks at a height, fbft.Accuse finds out from it
// who is to blame.
//
// Who reports pays nothing, and needs no tokens. What is filed waits apart from
// transactions that pay, must be true to be admitted, and has its place in every
// block.
//
// # Wallets
//
// A wallet asks any node over the network, and gets a Notice: Submit and Watch
// for what it sends and what blocks bring, Find for the fate of a transaction,
// Accounts, Holdings and Members for the state, and History for what happened to
// an account, from nodes that keep that (Config.History). None of it is proven:
// a wallet that trusts nobody asks several nodes, or checks proofs against
// certified headers (package ledger).
//
// # How to drive it
//
//	node, err := chain.StartNode(chain.NodeConfig{
//		Genesis: genesis, Identity: identity, Dir: dir, Addr: "192.0.2.1:9000",
//		Find: true, Bootstrap: contacts,
//	})
//	…
//	err = node.Close()
//
// Audit recomputes a chain's invariants from the stores of its replicas.
//
// # What it does not do
//
// Who stakes has an account on the beacon; one in another shard sends its tokens
// there first. One node serves one slot, once. Blocks are not pruned, and the
// stores of replicas that are gone stay unless Config.Discard removes them.
// Sync of a shard whose whole committee changed several times while the node
// was away starts from a fresh store. Late votes count for blocks of the same
// epoch only: those for its last blocks find no header any more.
//
// # Deviations
//
// From the published design: a shard's header names its committee of the next
// epoch and the beacon's first block, so that one header is the whole hop; the
// published hop pointer authenticates nothing by itself. Slots can be dealt
// whole, which keeps one replica a slot; dealing single shares is the published
// rule and a parameter.
//
// # References
//
//   - Harmony Team: Harmony Technical Whitepaper, 2018 (sections 2 to 5).
//   - Harmony: Effective Proof of Stake, 2019.
//   - Kokoris-Kogias et al.: OmniLedger, 2018 (epochs, cross-shard commits).
package chain
