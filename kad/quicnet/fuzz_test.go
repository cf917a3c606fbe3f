package quicnet

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
)

// frames reads a stream of a peer and returns its class and messages.
func frames(data []byte) (class uint8, messages [][]byte, err error) {
	h := &Host{cfg: Config{
		MaxMessage: Limits{100, 1 << 20, 1 << 20},
		Handle:     func(_ shardkit.NodeID, c uint8, msg []byte) { class = c; messages = append(messages, msg) },
	}}
	s := &session{h: h, peer: &peer{h: h}, greeted: make(chan struct{})}
	err = s.readStream(bytes.NewReader(data))
	return class, messages, err
}

func TestFraming(t *testing.T) {
	data, _ := hex.DecodeString("01" + "00000002" + "abcd" + "00000000" + "00000001" + "ef")
	class, messages, err := frames(data)
	require.ErrorContains(t, err, "EOF")
	require.Equal(t, shardkit.ClassBlock, class)
	require.Equal(t, [][]byte{{0xab, 0xcd}, {}, {0xef}}, messages)
}

// FuzzFraming: whatever arrives, no message is over its limit, and the
// messages are what the bytes say.
func FuzzFraming(f *testing.F) {
	for _, s := range []string{"", "00", "0100000002abcd00000000", "02ffffffff", "0000000065", "03", "010000ffff00"} {
		data, _ := hex.DecodeString(s)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		class, messages, err := frames(data)
		require.Error(t, err)
		if len(messages) == 0 {
			return
		}
		again := []byte{class}
		for _, m := range messages {
			require.True(t, class != shardkit.ClassVote || len(m) <= 100)
			again = append(binary.BigEndian.AppendUint32(again, uint32(len(m))), m...)
		}
		require.True(t, bytes.HasPrefix(data, again))
	})
}
