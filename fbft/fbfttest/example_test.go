package fbfttest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/fbfttest"
	"github.com/shardkit/shardkit/kad/simnet"
)

func ExampleTestScheme() {
	// In a test of the scheme's own package:
	_ = func(t *testing.T) {
		fbfttest.TestScheme(t, fbfttest.Scheme{
			New: func(t testing.TB, n int) (fbft.Verifier, []fbft.Signer) {
				var keys [][]byte
				var signers []fbft.Signer
				for i := range n {
					keys = append(keys, []byte{byte(i)})
					signers = append(signers, fbfttest.FakeSigner(keys[i]))
				}
				return fbfttest.Fake(keys), signers
			},
		})
	}
}

// An equivocating leader among four, in a network that loses a fifth of all
// messages.
func ExampleSim() {
	s, err := fbfttest.NewSim(fbfttest.SimConfig{
		Net:         simnet.Config{Seed: 1, Loss: 0.2},
		Heights:     6,
		Adversaries: map[int]fbfttest.Adversary{2: fbfttest.Equivocator{}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.RunTo(6, 5*time.Minute, 0, 1, 3))
	// Output: <nil>
}

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
