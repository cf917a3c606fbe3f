package shardkit_test

import (
	"fmt"

	"github.com/shardkit/shardkit"
)

func Example() {
	fmt.Println(shardkit.Hash{0xab, 1}, shardkit.NodeID{0xcd, 2})
	// Output: ab01000000000000 cd02000000000000
}
