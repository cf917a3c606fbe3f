package quicnet

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/shardkit/shardkit"
)

// crowd is the number of handshakes under way from which on dialers must first
// show that they receive at their address (RFC 9000, §8.1.2).
const crowd = 64

// Host sends and receives the messages of one node. Its methods are safe for
// concurrent use.
type Host struct {
	cfg       Config
	id        shardkit.NodeID
	cert      tls.Certificate
	quic      *quic.Config
	udp       *net.UDPConn
	transport *quic.Transport
	listener  *quic.Listener

	ctx    context.Context // ends with the host
	cancel context.CancelFunc
	done   <-chan struct{}
	gate   sync.Mutex // of wg: nothing is added once ctx has ended
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	peers  map[shardkit.NodeID]*peer
	addrs  map[shardkit.NodeID]string

	handshakes              atomic.Int64
	dials, dialErrors       atomic.Uint64
	accepted, rejected      atomic.Uint64
	broken                  atomic.Uint64
	sent, received, dropped [classes]counter
}

// counter counts messages and their bytes.
type counter struct{ count, bytes atomic.Uint64 }

func (c *counter) add(size int) {
	c.count.Add(1)
	c.bytes.Add(uint64(size))
}

// Traffic is a number of messages and their bytes.
type Traffic struct{ Messages, Bytes uint64 }

// Stats counts what a host did.
type Stats struct {
	Peers      int // known: connected, or with something to send
	Connected  int
	Dials      uint64 // attempts
	DialErrors uint64
	Accepted   uint64 // connections
	Rejected   uint64 // connections
	Broken     uint64 // connections ended for misbehaviour of the peer
	Sent       [classes]Traffic
	Received   [classes]Traffic
	Dropped    [classes]Traffic // queue full, waited too long, or lost with its connection before it was written
}

// PeerInfo describes a connected peer.
type PeerInfo struct {
	ID       shardkit.NodeID
	Addr     string // where it is connected from or to
	Dialed   bool   // by us
	Since    time.Time
	RTT      time.Duration // smoothed
	Sent     uint64        // bytes on the wire, with what was sent again
	Lost     uint64        // of them, given up as lost
	Received uint64
	Queued   int // bytes that wait to be sent, of all classes
}

// quiet serializes what is done with quic-go's warnings off.
var quiet sync.Mutex

// Listen starts a host.
func Listen(cfg Config) (*Host, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &Host{
		cfg:   cfg,
		id:    shardkit.NodeID(cfg.Key[32:]),
		quic:  quicConfig(&cfg),
		peers: make(map[shardkit.NodeID]*peer),
		addrs: make(map[shardkit.NodeID]string),
	}
	if h.cert, err = certificate(cfg.Key); err != nil {
		return nil, err
	}
	addr, err := net.ResolveUDPAddr("udp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("quicnet: listen: %w", err)
	}
	if h.udp, err = net.ListenUDP("udp", addr); err != nil {
		return nil, fmt.Errorf("quicnet: listen: %w", err)
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.done = h.ctx.Done()
	h.transport = &quic.Transport{
		Conn:                h.udp,
		StatelessResetKey:   resetKey(cfg.Key),
		VerifySourceAddress: func(net.Addr) bool { return h.handshakes.Load() > crowd },
		ConnContext:         h.count,
	}
	if err := h.listen(); err != nil {
		h.cancel()
		h.udp.Close()
		return nil, fmt.Errorf("quicnet: listen: %w", err)
	}
	h.spawn(h.accept)
	return h, nil
}

// listen starts the listener. quic-go would print to standard error if it does
// not get the socket buffers it asks for; the environment is its only switch.
// The host tells its own logger instead.
func (h *Host) listen() (err error) {
	const key = "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING"
	quiet.Lock()
	defer quiet.Unlock()
	if old, set := os.LookupEnv(key); !set {
		os.Setenv(key, "true")
		defer os.Unsetenv(key)
	} else {
		defer os.Setenv(key, old)
	}
	h.listener, err = h.transport.Listen(tlsConfig(h.cert, h.cfg.Network, h.admit), h.quic)
	if err == nil {
		h.checkBuffers()
	}
	return err
}

// ID returns the host's own id.
func (h *Host) ID() shardkit.NodeID { return h.id }

// Addr returns the address it listens on.
func (h *Host) Addr() string { return h.udp.LocalAddr().String() }

// SetAddr tells where a peer can be dialed. "" forgets it. An existing
// connection stays; an attempt to dial another address is given up for this one.
func (h *Host) SetAddr(id shardkit.NodeID, addr string) {
	h.mu.Lock()
	old := h.addrs[id]
	if addr == "" {
		delete(h.addrs, id)
	} else {
		h.addrs[id] = addr
	}
	p := h.peers[id]
	h.mu.Unlock()
	if p != nil && addr != "" && addr != old {
		p.redial()
	}
}

// Send queues a message for a peer and returns at once; it connects if need
// be. The host owns m.Data from then on. m.After is not looked at. Errors:
// ErrClosed, ErrNoAddress, or a *LimitError that names the limit.
func (h *Host) Send(m shardkit.Message) error {
	if m.Class >= classes {
		return fmt.Errorf("quicnet: class %d of a message, want less than %d", m.Class, classes)
	}
	if m.To == h.id {
		return errors.New("quicnet: message to ourselves")
	}
	if limit := h.cfg.MaxMessage[m.Class]; len(m.Data) > limit {
		return &LimitError{Limit: "MaxMessage " + classNames[m.Class], Max: limit, Got: len(m.Data), Peer: m.To}
	}
	for {
		p, err := h.reachable(m.To)
		if err != nil {
			return err
		}
		if err = p.send(m.Class, m.Data); err != errGone {
			return err
		}
	}
}

// reachable returns the entry of a peer to which there is a connection or an
// address.
func (h *Host) reachable(id shardkit.NodeID) (*peer, error) {
	h.mu.Lock()
	p := h.peers[id]
	h.mu.Unlock()
	if p == nil || !p.connected() {
		if _, ok := h.address(id); !ok {
			return nil, ErrNoAddress
		}
	}
	return h.peer(id)
}

// address says where a peer can be dialed.
func (h *Host) address(id shardkit.NodeID) (string, bool) {
	h.mu.Lock()
	addr, ok := h.addrs[id]
	h.mu.Unlock()
	if !ok && h.cfg.Resolve != nil {
		return h.cfg.Resolve(id)
	}
	return addr, ok
}

// table returns the entries of all peers, by id.
func (h *Host) table() []*peer {
	h.mu.Lock()
	peers := make([]*peer, 0, len(h.peers))
	for _, p := range h.peers {
		peers = append(peers, p)
	}
	h.mu.Unlock()
	slices.SortFunc(peers, func(a, b *peer) int { return bytes.Compare(a.id[:], b.id[:]) })
	return peers
}

// Peers describes the connected peers, by id.
func (h *Host) Peers() []PeerInfo {
	var out []PeerInfo
	for _, p := range h.table() {
		p.mu.Lock()
		s, queued := p.cur, 0
		for c := range p.out {
			queued += p.out[c].bytes
		}
		p.mu.Unlock()
		if s == nil {
			continue
		}
		q := s.conn.ConnectionStats()
		out = append(out, PeerInfo{
			ID: p.id, Addr: s.conn.RemoteAddr().String(), Dialed: s.dialed, Since: s.since,
			RTT: q.SmoothedRTT, Sent: q.BytesSent, Lost: q.BytesLost, Received: q.BytesReceived, Queued: queued,
		})
	}
	return out
}

// Stats returns the counters.
func (h *Host) Stats() Stats {
	peers := h.table()
	s := Stats{
		Peers: len(peers),
		Dials: h.dials.Load(), DialErrors: h.dialErrors.Load(),
		Accepted: h.accepted.Load(), Rejected: h.rejected.Load(), Broken: h.broken.Load(),
	}
	for _, p := range peers {
		if p.connected() {
			s.Connected++
		}
	}
	for c := range classes {
		s.Sent[c] = h.sent[c].traffic()
		s.Received[c] = h.received[c].traffic()
		s.Dropped[c] = h.dropped[c].traffic()
	}
	return s
}

func (c *counter) traffic() Traffic { return Traffic{c.count.Load(), c.bytes.Load()} }

// Close says goodbye to every peer and frees everything. Messages that wait or
// were not acknowledged yet may be lost. When it returns, Handle is not called
// any more.
func (h *Host) Close() error { return h.shut(true) }

// Abort is Close without the goodbye: peers find out as they would after a
// crash.
func (h *Host) Abort() { _ = h.shut(false) }

func (h *Host) shut(goodbye bool) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		h.wg.Wait()
		return nil
	}
	h.closed = true
	h.mu.Unlock()
	if goodbye {
		for _, p := range h.table() {
			p.mu.Lock()
			s := p.cur
			p.mu.Unlock()
			if s != nil {
				s.conn.CloseWithError(codeBye, "bye")
			}
		}
	}
	h.gate.Lock()
	h.cancel()
	h.gate.Unlock()
	err := h.transport.Close()
	if cerr := h.udp.Close(); err == nil {
		err = cerr
	}
	h.wg.Wait()
	return err
}

// spawn runs f on a goroutine that Close waits for; false if the host is
// closed, and then f is not run.
func (h *Host) spawn(f func()) bool {
	h.gate.Lock()
	defer h.gate.Unlock()
	if h.ctx.Err() != nil {
		return false
	}
	h.wg.Add(1)
	go func() {
		defer h.wg.Done()
		f()
	}()
	return true
}

func (h *Host) spawnClose(s *session, code quic.ApplicationErrorCode, why string) {
	h.spawn(func() { s.conn.CloseWithError(code, why) })
}

var errGone = errors.New("quicnet: peer entry was replaced")

// peer returns the entry of a peer, making one if there is room.
func (h *Host) peer(id shardkit.NodeID) (*peer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	if p := h.peers[id]; p != nil {
		return p, nil
	}
	if len(h.peers) >= h.cfg.MaxPeers && !h.evict() {
		return nil, &LimitError{Limit: "MaxPeers", Max: h.cfg.MaxPeers, Got: len(h.peers) + 1, Peer: id}
	}
	p := &peer{h: h, id: id}
	h.peers[id] = p
	return p, nil
}

// evict forgets entries that are not in use, and reports whether there were
// any. h.mu is held.
func (h *Host) evict() bool {
	found := false
	for id, p := range h.peers {
		p.mu.Lock()
		if p.idle() {
			p.gone, found = true, true
			delete(h.peers, id)
		}
		p.mu.Unlock()
	}
	return found
}
