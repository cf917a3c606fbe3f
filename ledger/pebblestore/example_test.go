package pebblestore_test

import (
	"fmt"
	"os"

	"github.com/shardkit/shardkit/ledger/pebblestore"
)

// What Apply has returned from is durable: it is there after a crash.
func Example() {
	dir, err := os.MkdirTemp("", "pebblestore-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	store, err := pebblestore.Open(dir, pebblestore.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	if err := store.Apply(func(yield func(k, v []byte) bool) {
		_ = yield([]byte("a"), []byte("1")) && yield([]byte("b"), []byte("2"))
	}, nil); err != nil {
		fmt.Println(err)
		return
	}
	value, ok, err := store.Get([]byte("b"), nil)
	fmt.Println(string(value), ok, err)
	// Output: 2 true <nil>
}
