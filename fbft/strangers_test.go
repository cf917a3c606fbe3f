package fbft_test

import (
	"encoding/binary"
	"testing"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
)

// TestStrangersDoNotStarveMembers: any number of nodes that nobody knows ask
// how an old height ended. A member that asks after them is answered all the
// same.
func TestStrangersDoNotStarveMembers(t *testing.T) {
	b := newInbox(t, 100)
	b.forger.Height = 3
	msg := b.forger.Vote(1, fbft.Commit, 0, b.block, shardkit.Hash{})
	for i := range uint32(5000) {
		stranger := shardkit.NodeID{31: 1}
		binary.BigEndian.PutUint32(stranger[8:], i)
		if err := b.core.Deliver(0, stranger, msg); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.core.Ready().Serve); n > 1024 {
		t.Errorf("%d strangers are answered at once", n)
	}
	b.deliver(t, 1, msg)
	if got := b.core.Ready().Serve; len(got) != 1 || got[0].To != b.members[1].Node {
		t.Errorf("to the member: %v", got)
	}
}
