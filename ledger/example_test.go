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

// A node that follows a chain applies blocks by its rules, and answers a wallet:
// what became of a transaction, what happened to an account, and what it holds,
// with a proof.
func ExampleChain_Apply() {
	id := shardkit.Hash{1}
	alice := ed25519.NewKeyFromSeed(make([]byte, 32))
	sender := ledger.AddressOf(alice.Public().(ed25519.PublicKey))
	bob := ledger.Address{0xb0}
	chain, err := ledger.OpenChain(ledger.NewMemStore(), ledger.ChainConfig{Chain: id, Transactions: true, Accounts: true})
	check(err)
	stage := chain.State().Begin()
	check(ledger.SetAccount(stage, sender, ledger.Account{Balance: 1000}))
	check(chain.Init(block(chain, stage, nil), stage))

	rules := &ledger.Rules{Market: ledger.BaseFee{Min: 2}}
	tx := &ledger.Transaction{Chain: id, To: bob, Amount: 250, Fee: 9}
	tx.Sign(alice)
	head, _ := chain.Head()
	header := ledger.Header{Chain: id, Height: 1, Parent: head.Hash(), Time: head.Time + 1}
	built, _, err := rules.Build(header, nil, []*ledger.Transaction{tx}, ledger.Limits{}, chain.State().Begin()) // elsewhere
	check(err)
	_, err = chain.Apply(built, rules, nil)
	check(err)

	found, err := chain.Find(tx.ID())
	check(err)
	moves, err := chain.History(bob, nil, 10)
	check(err)
	head, _ = chain.Head()
	view, err := chain.State().View(uint64(head.Height))
	check(err)
	account, proof, err := ledger.ProveAccount(view, bob)
	check(err)
	check(ledger.VerifyAccount(head.State, bob, account, proof))
	fmt.Println("height", found.Height, "fee", found.Result.Fee, "moves", len(moves), "balance", account.Balance)
	// Output: height 1 fee 2 moves 1 balance 250
}

// pledge is an executor of a composition: it takes Amount off the sender and
// keeps it under a key of its own.
type pledge struct{}

const kindPledge = 1

func (pledge) Execute(ctx *ledger.Context, s ledger.KV, tx *ledger.Transaction, _ *xshard.Outbox) (ledger.Result, error) {
	acc, err := ledger.Charge(ctx, s, tx) // nonce, balance, expiry: what every transaction needs
	if err != nil {
		return ledger.Result{}, err
	}
	sender := tx.Sender()
	if err := s.Set(append([]byte("p/"), sender[:]...), fmt.Append(nil, tx.Amount)); err != nil {
		return ledger.Result{}, err
	}
	return ledger.Result{Fee: ctx.FeeOf(tx)}, ledger.SetAccount(s, sender, acc)
}

// Transactions of several kinds in one block, each with its executor.
func ExampleKinds() {
	executor := ledger.Kinds{ledger.KindTransfer: ledger.Transfer{}, kindPledge: pledge{}}

	id := shardkit.Hash{1}
	alice := ed25519.NewKeyFromSeed(make([]byte, 32))
	sender := ledger.AddressOf(alice.Public().(ed25519.PublicKey))
	state, err := ledger.OpenState(ledger.NewMemStore(), ledger.StateConfig{})
	check(err)
	stage := state.Begin()
	check(ledger.SetAccount(stage, sender, ledger.Account{Balance: 1000}))

	txs := []ledger.Transaction{
		{Chain: id, To: ledger.Address{0xb0}, Amount: 250, Fee: 3},
		{Kind: kindPledge, Chain: id, Nonce: 1, Amount: 600, Fee: 2},
	}
	for i := range txs {
		txs[i].Sign(alice)
	}
	fees, err := ledger.ExecuteBlock(&ledger.Context{Chain: id}, stage, txs, executor, xshard.NewOutbox(0, 1, nil))
	check(err)
	account, err := ledger.GetAccount(stage, sender)
	check(err)
	pledged, _, err := stage.Get(append([]byte("p/"), sender[:]...))
	check(err)
	fmt.Println("fees", fees, "alice has", account.Balance, "pledged", string(pledged))
	// Output: fees 5 alice has 145 pledged 600
}
