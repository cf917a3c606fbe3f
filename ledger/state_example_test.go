package ledger_test

import (
	"fmt"
	"log"

	"github.com/shardkit/shardkit/ledger"
)

// A block is executed on a stage; its root is known before it is committed. A
// light client checks a value against the root alone.
func ExampleState() {
	state, err := ledger.OpenState(ledger.NewMemStore(), ledger.StateConfig{Undo: 2})
	if err != nil {
		log.Fatal(err)
	}
	stage := state.Begin()
	_ = stage.Set([]byte("alice"), []byte("10")) // refused only for its size, or on a stale stage
	_ = stage.Set([]byte("bob"), []byte("7"))
	root, err := stage.Root()
	if err != nil {
		log.Fatal(err)
	}
	if err := state.Commit(stage, 1, nil); err != nil {
		log.Fatal(err)
	}

	view, err := state.View(1)
	if err != nil {
		log.Fatal(err)
	}
	defer view.Close()
	proof, err := view.Prove([]byte("alice"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ten: ", ledger.VerifyProof(root, []byte("alice"), []byte("10"), proof))
	fmt.Println("more:", ledger.VerifyProof(root, []byte("alice"), []byte("11"), proof))
	// Output:
	// ten:  <nil>
	// more: ledger: proof refused: root differs
}
