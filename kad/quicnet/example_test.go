package quicnet_test

import (
	"crypto/ed25519"
	"fmt"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad/quicnet"
)

// Two nodes, one of which knows where the other is.
func Example() {
	_, serverKey, _ := ed25519.GenerateKey(nil)
	_, clientKey, _ := ed25519.GenerateKey(nil)
	answer := make(chan string)

	var server *quicnet.Host
	server, err := quicnet.Listen(quicnet.Config{
		Key:     serverKey,
		Network: "example",
		Handle: func(from shardkit.NodeID, class uint8, msg []byte) {
			_ = server.Send(shardkit.Message{To: from, Class: class, Data: append(msg, " to you"...)})
		},
	})
	if err != nil {
		panic(err)
	}
	defer server.Close()

	client, err := quicnet.Listen(quicnet.Config{
		Key:     clientKey,
		Network: "example",
		Handle:  func(_ shardkit.NodeID, _ uint8, msg []byte) { answer <- string(msg) },
	})
	if err != nil {
		panic(err)
	}
	defer client.Close()

	client.SetAddr(server.ID(), server.Addr())
	if err := client.Send(shardkit.Message{To: server.ID(), Class: shardkit.ClassVote, Data: []byte("hello")}); err != nil {
		panic(err)
	}
	fmt.Println(<-answer)
	// Output: hello to you
}
