package quicnet

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/shardkit/shardkit"
)

const classes = 3

var classNames = [classes]string{"vote", "block", "sync"}

// Limits by class: of votes, blocks, sync.
type Limits [classes]int

// Config is what a Host is made from. Key and Handle are needed.
type Config struct {
	Key     ed25519.PrivateKey
	Addr    string // to listen on, "host:port". "": "127.0.0.1:0"
	Network string // nodes of another network are refused; at most 200 bytes

	// Handle gets every message of a peer and owns msg. It is called from one
	// goroutine per peer and class, so it must be safe for concurrent use.
	// While it blocks, that peer's messages of that class wait, at the peer
	// too; nothing else does.
	Handle func(from shardkit.NodeID, class uint8, msg []byte)
	// Resolve names the address of a peer that SetAddr was not told of. nil:
	// there is none.
	Resolve func(id shardkit.NodeID) (addr string, ok bool)
	// Accept decides about a peer that dials us. nil: everybody.
	Accept func(id shardkit.NodeID) bool
	// OnError is told why a connection to an authenticated peer failed: a
	// *LimitError or *ProtocolError is the peer's misbehaviour. It must not
	// block.
	OnError func(peer shardkit.NodeID, err error)

	MaxMessage Limits // bytes of a message. 0: 256 KiB, 16 MiB, 16 MiB
	MaxQueue   Limits // bytes that wait for one peer. 0: 1 MiB, 32 MiB, 32 MiB
	MaxRate    Limits // bytes per second taken from one peer; the rest waits there. 0: unlimited
	Window     int    // bytes of one class and peer that may be under way unread. 0: 2 MiB
	MaxPeers   int    // connections. 0: 1024
	// MaxStrangers bounds the connections accepted from peers of whom neither
	// SetAddr nor Resolve knows. 0: half of MaxPeers
	MaxStrangers int
	MaxPerIP     int // connections accepted from one IP address; loopback is exempt. 0: 32

	Patience    time.Duration // how long a message waits for a connection. 0: 10 s
	DialTimeout time.Duration // of one attempt. 0: 4 s
	MaxBackoff  time.Duration // between attempts. 0: 3 s
	IdleTimeout time.Duration // without any sign of life. 0: 10 s

	Logger *slog.Logger // nil: silent
}

// A LimitError names the limit that something would have exceeded.
type LimitError struct {
	Limit string // field of Config and class: "MaxQueue block"
	Max   int
	Got   int
	Peer  shardkit.NodeID
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("quicnet: peer %v: %s: %d over the limit of %d", e.Peer, e.Limit, e.Got, e.Max)
}

// A ProtocolError says how a peer broke the protocol.
type ProtocolError struct {
	Peer shardkit.NodeID
	What string
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("quicnet: peer %v: %s", e.Peer, e.What)
}

// Errors that callers branch on.
var (
	ErrClosed    = errors.New("quicnet: host is closed")
	ErrNoAddress = errors.New("quicnet: no address and no connection")
)

// withDefaults validates c and fills in its zero values.
func (c Config) withDefaults() (Config, error) {
	if len(c.Key) != ed25519.PrivateKeySize {
		return c, fmt.Errorf("quicnet: Config.Key has %d bytes, want %d", len(c.Key), ed25519.PrivateKeySize)
	}
	if c.Handle == nil {
		return c, errors.New("quicnet: Config needs Handle")
	}
	if len(c.Network) > 200 {
		return c, fmt.Errorf("quicnet: Config.Network has %d bytes, at most 200", len(c.Network))
	}
	set := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	for i, def := range []int{256 << 10, 16 << 20, 16 << 20} {
		set(&c.MaxMessage[i], def)
	}
	for i, def := range []int{1 << 20, 32 << 20, 32 << 20} {
		set(&c.MaxQueue[i], max(def, c.MaxMessage[i]))
	}
	set(&c.Window, 2<<20)
	set(&c.MaxPeers, 1024)
	set(&c.MaxStrangers, max(c.MaxPeers/2, 1))
	set(&c.MaxPerIP, 32)
	setTime := func(v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
	}
	setTime(&c.Patience, 10*time.Second)
	setTime(&c.DialTimeout, 4*time.Second)
	setTime(&c.MaxBackoff, 3*time.Second)
	setTime(&c.IdleTimeout, 10*time.Second)
	for i := range classes {
		if c.MaxMessage[i] < 0 || int64(c.MaxMessage[i]) > 1<<31 || c.MaxRate[i] < 0 || c.MaxQueue[i] < c.MaxMessage[i] {
			return c, fmt.Errorf("quicnet: Config: limits of class %s: negative, over 2 GiB, or a queue too small for one message", classNames[i])
		}
	}
	if c.Window < 1<<10 || c.MaxPeers < 0 || c.MaxPerIP < 0 || c.MaxStrangers < 0 || min(c.Patience, c.DialTimeout, c.MaxBackoff, c.IdleTimeout) < 0 {
		return c, errors.New("quicnet: Config: negative value, or Window below 1 KiB")
	}
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
