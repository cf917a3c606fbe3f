// Package quicnet is an authenticated QUIC host: it carries the messages of
// every protocol of a node over one UDP socket, to peers named by their keys.
//
// # Model
//
// A node's id is its Ed25519 public key. Every connection is mutually
// authenticated TLS 1.3 with self-signed certificates: whoever speaks as an id
// holds its key, and nobody else vouches for anything. The ALPN names the
// network, so that nodes of different networks do not understand each other.
// The key exchange is the hybrid post-quantum one that crypto/tls prefers.
//
// Peers and the network are hostile. A host bounds, per peer: the size of a
// message by class, what waits to be sent, what arrives unread, the rate of
// what arrives (if asked to), streams; in total: peers, and connections of one
// address. A peer that breaks the framing is disconnected.
//
// Delivery is best effort, as the cores expect: in order within a class while
// a connection lasts, and without notice of what got lost with it.
//
// # Protocol
//
// Two nodes share one connection, whoever dials it. Each side opens at most one
// unidirectional stream per class, which lives as long as the connection:
//
//	stream  = class (1 byte) *message
//	message = length (4 bytes, big-endian) data
//
// The streams have different priorities and flow control windows of their own,
// and the connection's window is their sum: neither the sender's nor the
// receiver's work on a block can hold up a vote. Messages are flushed at once.
//
//  1. The dialer connects and waits.
//  2. The acceptor looks at the id (Accept, limits). It refuses by closing the
//     connection with a code, or greets by opening its vote stream.
//  3. The dialer opens its own vote stream, and both sides send. Nothing is
//     sent on a connection of which the other side might not be certain.
//
// If two nodes dial each other at the same time, the connection dialed by the
// smaller id stays: while the smaller id is dialing, and for as long after as
// an attempt of the other can last, it refuses the other's.
// Otherwise a new connection replaces the old one, which is how a peer that
// crashed and came back is reached at once. A lost connection is dialed again,
// with back-off, when there is something to send.
//
// # How to drive it
//
//	host, err := quicnet.Listen(quicnet.Config{
//		Key:     key,
//		Addr:    "0.0.0.0:9000",
//		Network: "mainnet",
//		Handle:  func(from shardkit.NodeID, class uint8, msg []byte) { loop.Deliver(from, msg) },
//	})
//	host.SetAddr(peer, "192.0.2.1:9000")
//	err = host.Send(shardkit.Message{To: peer, Class: shardkit.ClassVote, Data: vote})
//	host.Close()
//
// # What it does not do
//
// It finds no peers (package kad does), forwards nothing, crosses no NAT by
// itself and does not resume TLS sessions. It does not use QUIC datagrams:
// their queues are short and drop silently, and a stream that is flushed at
// once costs the same round trip.
//
// # References
//
// RFC 9000 (QUIC), RFC 9001 (QUIC-TLS), RFC 9218 (priorities), RFC 8410
// (Ed25519 certificates).
package quicnet
