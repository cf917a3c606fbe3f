package fbfttest_test

import (
	"fmt"
	"strings"

	"github.com/shardkit/shardkit/fbft/fbfttest"
)

// A leader that is down costs one view.
func ExampleRunScript() {
	transcript, err := fbfttest.RunScript(`# The leader of view 0 is down.
nodes 4
leaders 0 1 2 3
crash 0
drop
timeout 1 2 3
run
state
expect decided B 1 2 3`)
	if err != nil {
		fmt.Println(err)
	}
	for _, line := range strings.Split(transcript, "\n") {
		if strings.HasPrefix(line, "  1 ") || strings.HasPrefix(line, "  2 ") {
			fmt.Println(strings.TrimSpace(line))
		}
	}
	// Output:
	// 1 decides B
	// 2 decides B
	// 1 height 1 view 1 reported 1 locked in 1 decided
	// 2 height 1 view 1 reported 1 locked in 1 decided
}
