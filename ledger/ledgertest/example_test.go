package ledgertest_test

import (
	"fmt"
	"testing"

	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/ledger/ledgertest"
)

// A store's own tests call TestStore with a way to make stores, and, if they
// outlive their process, to open them again.
func ExampleTestStore() {
	testMyStore := func(t *testing.T) {
		ledgertest.TestStore(t, ledgertest.Store{
			Open: func(testing.TB) ledger.Store { return ledger.NewMemStore() },
		})
	}
	fmt.Println(testing.RunTests(func(string, string) (bool, error) { return true, nil },
		[]testing.InternalTest{{Name: "TestMyStore", F: testMyStore}}))
	// Output: true
}
