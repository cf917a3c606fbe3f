package quicnet

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

// Codes with which a connection is closed.
const (
	codeBye       quic.ApplicationErrorCode = iota // the host is closing
	codeDuplicate                                  // there is, or will be, another connection
	codeRefused                                    // Accept or a limit on connections
	codeProtocol                                   // the peer broke the protocol
	codeLimit                                      // the peer exceeded a limit
)

// urgency of the streams, RFC 9218: lower goes first.
var urgency = [classes]int8{0, 3, 6}

const headerSize = 4

// session is one connection to an authenticated peer.
type session struct {
	h        *Host
	peer     *peer
	conn     *quic.Conn
	dialed   bool // by us
	stranger bool // dialed by somebody whose address we were not told
	since    time.Time
	ready    bool // both sides are certain of it; guarded by peer.mu

	met     sync.Once
	greeted chan struct{} // closed when the peer's first stream has come
	seen    [classes]atomic.Bool

	// out holds our streams. Each is used by the writer of its class, of which
	// the peer has at most one at a time; mu is for the hand-over between them.
	mu  sync.Mutex
	out [classes]*quic.SendStream
}

func newSession(h *Host, p *peer, conn *quic.Conn, dialed bool) *session {
	return &session{h: h, peer: p, conn: conn, dialed: dialed, since: time.Now(), greeted: make(chan struct{})}
}

// stream returns our stream of a class, opening it at first use.
func (s *session) stream(class uint8) (*quic.SendStream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out[class] == nil {
		st, err := s.conn.OpenUniStream()
		if err != nil {
			return nil, err
		}
		st.SetPriority(urgency[class], true)
		if _, err := st.Write([]byte{class}); err != nil {
			return nil, err
		}
		s.out[class] = st
	}
	return s.out[class], nil
}

// small is the size up to which a message may be sent on the caller's
// goroutine.
const small = 1024

// try sends a small message at once, if nothing is in its way. It spares votes
// the wake-up of a writer.
func (s *session) try(class uint8, msg []byte) bool {
	if len(msg) > small {
		return false
	}
	s.mu.Lock()
	st := s.out[class]
	s.mu.Unlock()
	if st == nil {
		return false
	}
	var buf [headerSize + small]byte
	b := append(binary.BigEndian.AppendUint32(buf[:0], uint32(len(msg))), msg...)
	return st.TryWriteAll(b) == nil
}

// write sends bytes that are already framed.
func (s *session) write(class uint8, parts ...[]byte) error {
	st, err := s.stream(class)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := st.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// serve accepts the peer's streams until the connection ends, and returns why
// it ended.
func (s *session) serve() error {
	for {
		st, err := s.conn.AcceptUniStream(context.Background())
		if err != nil {
			return err
		}
		s.h.spawn(func() { s.read(st) })
	}
}

// read reads one of the peer's streams to its end.
func (s *session) read(st *quic.ReceiveStream) {
	err := s.readStream(st)
	var limit *LimitError
	var protocol *ProtocolError
	switch {
	case errors.As(err, &limit):
		s.conn.CloseWithError(codeLimit, limit.Limit)
	case errors.As(err, &protocol):
		s.conn.CloseWithError(codeProtocol, protocol.What)
	default:
		return // the connection ended, or the peer ended the stream
	}
	s.h.report(s.peer.id, err)
}

// readStream hands every message of a stream to Handle. It returns a
// *LimitError or *ProtocolError if the peer is to blame for its end.
func (s *session) readStream(st io.Reader) error {
	r := bufio.NewReaderSize(st, 2048)
	class, err := r.ReadByte()
	if err != nil {
		return err
	}
	if class >= classes || s.seen[class].Swap(true) {
		return &ProtocolError{s.peer.id, fmt.Sprintf("unknown or second stream of class %d", class)}
	}
	s.met.Do(func() {
		close(s.greeted)
		if !s.dialed {
			s.peer.confirm(s)
		}
	})
	limit := s.h.cfg.MaxMessage[class]
	bucket := bucket{rate: s.h.cfg.MaxRate[class]}
	var header [headerSize]byte
	for {
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return err
		}
		size := binary.BigEndian.Uint32(header[:])
		if uint64(size) > uint64(limit) {
			return &LimitError{Limit: "MaxMessage " + classNames[class], Max: limit, Got: int(size), Peer: s.peer.id}
		}
		msg, err := readMessage(r, int(size))
		if err != nil {
			return err
		}
		s.h.received[class].add(len(msg))
		if bucket.rate > 0 && !bucket.take(len(msg), s.conn.Context()) {
			return context.Cause(s.conn.Context())
		}
		s.h.cfg.Handle(s.peer.id, class, msg)
	}
}

// readMessage allocates as the data arrives, not as the length announces.
func readMessage(r io.Reader, size int) ([]byte, error) {
	const first = 64 << 10
	msg := make([]byte, min(size, first))
	if _, err := io.ReadFull(r, msg); err != nil {
		return nil, err
	}
	for len(msg) < size {
		have := len(msg)
		grown := make([]byte, min(size, 4*have))
		copy(grown, msg)
		if _, err := io.ReadFull(r, grown[have:]); err != nil {
			return nil, err
		}
		msg = grown
	}
	return msg, nil
}

// bucket holds back what exceeds a rate, with a second's worth of slack.
type bucket struct {
	rate int // bytes per second; 0: unlimited, and not asked
	debt float64
	last time.Time
}

// take waits until n bytes are within the rate; false if ctx ended first.
func (b *bucket) take(n int, ctx context.Context) bool {
	now := time.Now()
	b.debt = max(0, b.debt-now.Sub(b.last).Seconds()*float64(b.rate)) + float64(n)
	b.last = now
	over := b.debt - float64(b.rate)
	if over <= 0 {
		return true
	}
	select {
	case <-time.After(time.Duration(over / float64(b.rate) * float64(time.Second))):
		return true
	case <-ctx.Done():
		return false
	}
}
