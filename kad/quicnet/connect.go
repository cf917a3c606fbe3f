package quicnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/quic-go/quic-go"

	"github.com/shardkit/shardkit"
)

// countKey is the context key of the function that ends a handshake's count.
type countKey struct{}

// count counts a handshake from its first packet until it is through or has
// failed.
func (h *Host) count(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
	h.handshakes.Add(1)
	end := sync.OnceFunc(func() { h.handshakes.Add(-1) })
	context.AfterFunc(ctx, end)
	return context.WithValue(ctx, countKey{}, end), nil
}

// admit decides about a dialer as soon as its key is known.
func (h *Host) admit(id shardkit.NodeID) error {
	if id == h.id {
		return errors.New("quicnet: a connection from ourselves")
	}
	if h.cfg.Accept != nil && !h.cfg.Accept(id) {
		h.rejected.Add(1)
		return fmt.Errorf("quicnet: peer %v is not accepted", id)
	}
	return nil
}

// accept takes connections whose handshake is through.
func (h *Host) accept() {
	for {
		conn, err := h.listener.Accept(h.ctx)
		if err != nil {
			return
		}
		if end, ok := conn.Context().Value(countKey{}).(func()); ok {
			end()
		}
		h.spawn(func() { h.welcome(conn) })
	}
}

// welcome serves an accepted connection to its end.
func (h *Host) welcome(conn *quic.Conn) {
	state := conn.ConnectionState().TLS
	id, err := peerID(&state)
	if err != nil {
		conn.CloseWithError(codeRefused, "no id")
		return
	}
	p, err := h.peer(id)
	if err != nil {
		h.refuse(conn, id, codeRefused, err)
		return
	}
	s := newSession(h, p, conn, false)
	_, known := h.address(id)
	s.stranger = !known
	if err := h.checkRoom(s); err != nil {
		h.refuse(conn, id, codeRefused, err)
		return
	}
	if !p.join(s) {
		h.refuse(conn, id, codeDuplicate, errors.New("duplicate"))
		return
	}
	h.accepted.Add(1)
	_, _ = s.stream(shardkit.ClassVote) // the greeting; if it fails, so does follow
	h.follow(s)
}

func (h *Host) refuse(conn *quic.Conn, id shardkit.NodeID, code quic.ApplicationErrorCode, err error) {
	h.rejected.Add(1)
	h.cfg.Logger.Debug("connection refused", "peer", id, "err", err)
	conn.CloseWithError(code, err.Error())
}

// checkRoom bounds the connections of one address and of strangers, so that
// somebody with many keys, or many addresses too, cannot take all places.
func (h *Host) checkRoom(s *session) error {
	ip, ok := ipOf(s.conn.RemoteAddr())
	exempt := !ok || ip.IsLoopback()
	same, strangers := 0, 0
	for _, p := range h.table() {
		p.mu.Lock()
		if o := p.cur; p != s.peer && o != nil && !o.dialed {
			if other, ok := ipOf(o.conn.RemoteAddr()); ok && other == ip {
				same++
			}
			if o.stranger {
				strangers++
			}
		}
		p.mu.Unlock()
	}
	if !exempt && same >= h.cfg.MaxPerIP {
		return &LimitError{Limit: "MaxPerIP", Max: h.cfg.MaxPerIP, Got: same + 1, Peer: s.peer.id}
	}
	if s.stranger && strangers >= h.cfg.MaxStrangers {
		return &LimitError{Limit: "MaxStrangers", Max: h.cfg.MaxStrangers, Got: strangers + 1, Peer: s.peer.id}
	}
	return nil
}

func ipOf(addr net.Addr) (netip.Addr, bool) {
	u, ok := addr.(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	return u.AddrPort().Addr().Unmap(), true
}

// follow serves a connection until it ends.
func (h *Host) follow(s *session) {
	err := s.serve()
	h.cfg.Logger.Debug("connection ended", "peer", s.peer.id, "err", err)
	s.peer.lost(s)
}

// connect dials a peer, waits for its greeting and confirms it.
func (h *Host) connect(ctx context.Context, p *peer) (*session, error) {
	h.dials.Add(1)
	addr, ok := p.nextAddr()
	if !ok {
		return nil, ErrNoAddress
	}
	udp, err := resolve(ctx, addr)
	if err != nil {
		return nil, err
	}
	conf := tlsConfig(h.cert, h.cfg.Network, func(id shardkit.NodeID) error {
		if id != p.id {
			return fmt.Errorf("quicnet: %v answers at the address of %v", id, p.id)
		}
		return nil
	})
	conn, err := h.transport.Dial(ctx, udp, conf, h.quic)
	if err != nil {
		return nil, err
	}
	s := newSession(h, p, conn, true)
	if !h.spawn(func() { h.follow(s) }) {
		conn.CloseWithError(codeBye, "bye")
		return nil, ErrClosed
	}
	select {
	case <-s.greeted:
		p.mu.Lock()
		p.good = addr
		p.mu.Unlock()
		_, err := s.stream(shardkit.ClassVote) // the confirmation
		return s, err
	case <-conn.Context().Done():
		return nil, context.Cause(conn.Context())
	case <-ctx.Done():
		conn.CloseWithError(codeBye, "no greeting")
		return nil, ctx.Err()
	}
}

// resolve turns "host:port" into an address, without a look-up if host is one.
func resolve(ctx context.Context, addr string) (*net.UDPAddr, error) {
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return net.UDPAddrFromAddrPort(ap), nil
	}
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port of %q: %w", addr, err)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(ips[0].Unmap(), uint16(port))), nil
}

func (h *Host) dialFailed(id shardkit.NodeID, err error) {
	if h.ctx.Err() != nil {
		return
	}
	h.dialErrors.Add(1)
	h.cfg.Logger.Debug("dial failed", "peer", id, "err", err)
}

// report tells about a peer that was disconnected for what it did.
func (h *Host) report(id shardkit.NodeID, err error) {
	h.broken.Add(1)
	h.cfg.Logger.Info("peer disconnected", "peer", id, "err", err)
	if h.cfg.OnError != nil {
		h.cfg.OnError(id, err)
	}
}

const wantBuffer = 7 << 20 // what quic-go asks the system for

var warnOnce sync.Once

// checkBuffers warns, once per process, if the system grants less: the host
// works all the same, with more losses at high rates.
func (h *Host) checkBuffers() {
	b, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	if err != nil {
		return // not Linux
	}
	if limit, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && limit < wantBuffer {
		warnOnce.Do(func() {
			h.cfg.Logger.Info("small UDP buffers", "rmem_max", limit,
				"fix", fmt.Sprintf("sysctl -w net.core.rmem_max=%d net.core.wmem_max=%[1]d", wantBuffer))
		})
	}
}
