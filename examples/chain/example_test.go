package chain_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/examples/chain"
	"github.com/shardkit/shardkit/kad"
	"github.com/shardkit/shardkit/ledger"
)

// An account of the beacon becomes a validator: it bonds tokens and registers
// the keys of its node as a slot. Everything else is carried out in the same
// way, by another order of package estake.
func ExampleNewStaking() {
	genesis := &chain.Genesis{Name: "example", Params: chain.Params{Shards: 4}}
	identity, err := chain.NewIdentity(sha256.Sum256([]byte("node"))) // use a secret seed
	if err != nil {
		fmt.Println(err)
		return
	}
	key := chain.AccountKey(sha256.Sum256([]byte("account")), 0, genesis.Params.Shards) // here too
	account := ledger.AddressOf(key.Public().(ed25519.PublicKey))

	slot, err := identity.SlotKeys(genesis.ID(), account)
	if err != nil {
		fmt.Println(err)
		return
	}
	order := estake.Stake{Amount: 1_000_000, CommissionPPM: 50_000, MaxCommissionPPM: 100_000, Slots: []estake.SlotKeys{slot}}
	tx, err := chain.NewStaking(genesis.ID(), order, 0, 10)
	if err != nil {
		fmt.Println(err)
		return
	}
	tx.Sign(key)
	if _, err = chain.Submit(0, 1, []ledger.Transaction{tx}); err != nil { // to any member of the beacon
		fmt.Println(err)
		return
	}
	back, err := estake.DecodeTx(tx.Payload)
	fmt.Println(tx.Kind == chain.KindStaking, back.(estake.Stake).Amount, err)
	// Output: true 1000000 <nil>
}

// Four validators of a chain with one shard, in one process.
func Example() {
	genesis := &chain.Genesis{Name: "example", Time: uint64(time.Now().UnixMilli()), Params: chain.Params{
		Shards: 1, EpochBlocks: 100, Policy: "full", Stake: estake.DefaultParams(4),
		MaxTransactions: 1000, MaxBody: 1 << 20, MaxDrift: 500, MaxRun: 16,
		VDFBits: 256, VDFT: 1000, VDFBound: 10_000, ShortDelay: true, DrawAfter: 10, DrawWindow: 50,
	}}
	var identities []*chain.Identity
	for i := range 4 {
		id, err := chain.NewIdentity(sha256.Sum256([]byte{byte(i)})) // use a secret seed
		if err != nil {
			fmt.Println(err)
			return
		}
		account := [32]byte{byte(i + 1)}
		slot, proof := id.Slot(genesis.Name, account, 0)
		genesis.Validators = append(genesis.Validators, estake.Genesis{Validator: account, Stake: 1000, Slots: []estake.Slot{slot}})
		genesis.Proofs = append(genesis.Proofs, proof)
		identities = append(identities, id)
	}

	dir, err := os.MkdirTemp("", "chain-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	final := make(chan shardkit.Height, 1024)
	var contacts []kad.Contact
	for i, id := range identities {
		node, err := chain.StartNode(chain.NodeConfig{
			Genesis: genesis, Identity: id, Dir: filepath.Join(dir, fmt.Sprint(i)), Find: true, Bootstrap: contacts,
			Tune: func(c *chain.Config) { c.Heartbeat = 100 * time.Millisecond },
			Events: func(_ time.Duration, e chain.Event) {
				if e.Kind == chain.Committed {
					final <- e.Header.Height
				}
			},
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer node.Close()
		contacts = append(contacts, kad.Contact{ID: node.ID(), Addr: node.Addr()})
	}

	for count := 0; count < 4; {
		if <-final == 3 {
			count++
		}
	}
	fmt.Println("block 3 is final at four nodes")
	// Output: block 3 is final at four nodes
}
