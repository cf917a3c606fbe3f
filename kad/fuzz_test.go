package kad_test

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad"
)

// samples are one message of every kind.
func samples() []*kad.Message {
	shards := []shardkit.ShardID{1, 3}
	target := [4]uint64{1, 2, 3, 4}
	return []*kad.Message{
		kad.NewMessage(kad.KindPing, 1, "1.2.3.4:5", shards, target, 0, nil),
		kad.NewMessage(kad.KindPong, 2, "[2001:db8::1]:5", shards[:1], target, 0, nil),
		kad.NewMessage(kad.KindFind, 3, "example.org:5", shards, target, 0, nil),
		kad.NewMessage(kad.KindMembers, 4, "1.2.3.4:5", shards, target, 2, nil),
		kad.NewMessage(kad.KindNodes, 5, "1.2.3.4:5", shards, target, 0, []kad.Contact{contact(1, 2), contact(2, 2)}),
	}
}

func TestGolden(t *testing.T) {
	for i, m := range samples() {
		data, err := m.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, golden[i], hex.EncodeToString(data), "sample %d", i)
	}
}

var golden = []string{
	"0101000000000000000100000009312e322e332e343a35000000020000000100000003",
	"010200000000000000020000000f5b323030313a6462383a3a315d3a350000000100000001",
	"010300000000000000030000000d6578616d706c652e6f72673a350000000200000001000000030000000000000001000000000000000200000000000000030000000000000004",
	"0104000000000000000400000009312e322e332e343a35000000020000000100000003000000020000000000000001000000000000000200000000000000030000000000000004",
	"0105000000000000000500000009312e322e332e343a35000000020000000100000003000000029e3779b97f4a7c15000000000000000100000000000000000000000000000000000000010000000c312e302e312e313a393030303c6ef372fe94f82a000000000000000200000000000000000000000000000000000000020000000c312e302e322e313a39303030",
}

func FuzzMessage(f *testing.F) {
	for _, m := range samples() {
		data, _ := m.AppendBinary(nil)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m kad.Message
		if m.UnmarshalBinary(data) != nil {
			return
		}
		again, err := m.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, data, again)
	})
}

func FuzzContacts(f *testing.F) {
	f.Add(kad.AppendContacts(nil, nil))
	f.Add(kad.AppendContacts(nil, []kad.Contact{contact(1, 2), contact(2, 2)}))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := kad.DecodeContacts(data)
		if err != nil {
			return
		}
		require.Equal(t, data, kad.AppendContacts(nil, list))
	})
}

// FuzzDeliver hands a Core arbitrary bytes: it must not panic, and must not
// take anybody into its table who was not asked.
func FuzzDeliver(f *testing.F) {
	for _, m := range samples() {
		data, _ := m.AppendBinary(nil)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		core, err := kad.New(kad.Config{Self: contact(0, 2), ShardBits: 2, Bootstrap: []kad.Contact{contact(1, 2)}})
		require.NoError(t, err)
		core.Start(0)
		_ = core.Deliver(1, nodeID(2), data)
		_ = core.Deliver(2, nodeID(2), data)
		core.Ready()
		require.Empty(t, core.Contacts())
	})
}
