package ledger_test

import (
	"crypto/ed25519"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/xshard"
)

// A chain of one shard from its genesis to the first transfer: the client
// signs, the proposer picks and executes, everybody commits.
func Example() {
	id := shardkit.Hash{1}
	alice := ed25519.NewKeyFromSeed(make([]byte, 32))
	bob := ledger.Address{0xb0}

	// Genesis: a state with one account, and a block that has its root.
	chain, err := ledger.OpenChain(ledger.NewMemStore(), ledger.ChainConfig{Chain: id})
	check(err)
	stage := chain.State().Begin()
	sender := ledger.AddressOf(alice.Public().(ed25519.PublicKey))
	check(ledger.SetAccount(stage, sender, ledger.Account{Balance: 1000}))
	check(chain.Init(block(chain, stage, nil), stage))

	// A client pays; a validator takes the transaction into its pool.
	tx := &ledger.Transaction{Chain: id, To: bob, Amount: 250, Fee: 3}
	tx.Sign(alice)
	cache := ledger.NewSignatureCache(1000)
	check(ledger.VerifyBatch([]*ledger.Transaction{tx}, cache)[0])
	pool := ledger.NewMempool(ledger.MempoolConfig{})
	account, err := ledger.GetAccount(chain.State().Begin(), sender)
	check(err)
	check(pool.Add(tx, account, 0))

	// A proposer makes the next block on a stage of its own.
	stage = chain.State().Begin()
	ctx := &ledger.Context{Chain: id, Shards: 1, Height: 1}
	out := xshard.NewOutbox(0, 1, func(shardkit.ShardID) uint64 { return 0 })
	picked, err := ledger.Pick(ctx, stage, pool.Select(100, 1<<20, nil), ledger.Transfer{}, out, ledger.Limits{})
	check(err)
	check(chain.Commit(block(chain, stage, picked.Taken), stage, nil))

	head, _ := chain.Head()
	account, err = ledger.GetAccount(chain.State().Begin(), bob)
	check(err)
	fmt.Println("height", head.Height, "fees", picked.Fees, "bob has", account.Balance)
	// Output: height 1 fees 3 bob has 250
}

// block makes the block that follows the head, with the state of the stage.
func block(chain *ledger.Chain, stage *ledger.Stage, txs []ledger.Transaction) *ledger.Block {
	body, err := (&ledger.Body{Transactions: txs}).AppendBinary(nil)
	check(err)
	root, err := stage.Root()
	check(err)
	h := ledger.Header{Chain: shardkit.Hash{1}, Time: 1, Body: ledger.BodyHash(body), State: root}
	if head, ok := chain.Head(); ok {
		h.Height, h.Parent, h.Time = head.Height+1, head.Hash(), head.Time+1
	}
	return &ledger.Block{Header: h, Body: body}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
