package quicnet_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad/quicnet"
)

func key(i int) ed25519.PrivateKey {
	var seed [32]byte
	binary.BigEndian.PutUint32(seed[:], uint32(i+1))
	return ed25519.NewKeyFromSeed(seed[:])
}

func idOf(k ed25519.PrivateKey) shardkit.NodeID { return shardkit.NodeID(k[32:]) }

// got is one message that a host received.
type got struct {
	from  shardkit.NodeID
	class uint8
	msg   string
}

// inbox collects what a host receives.
type inbox struct {
	mu  sync.Mutex
	all []got
}

func (b *inbox) handle(from shardkit.NodeID, class uint8, msg []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, got{from, class, string(msg)})
}

func (b *inbox) list() []got {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]got(nil), b.all...)
}

func (b *inbox) len() int { return len(b.list()) }

func listen(t testing.TB, i int, change func(*quicnet.Config)) (*quicnet.Host, *inbox) {
	box := &inbox{}
	cfg := quicnet.Config{Key: key(i), Network: "test", Handle: box.handle}
	if change != nil {
		change(&cfg)
	}
	h, err := quicnet.Listen(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { h.Close() })
	return h, box
}

// know tells every host the addresses of the others.
func know(hosts ...*quicnet.Host) {
	for _, a := range hosts {
		for _, b := range hosts {
			if a != b {
				a.SetAddr(b.ID(), b.Addr())
			}
		}
	}
}

func send(t testing.TB, from, to *quicnet.Host, class uint8, text string) {
	t.Helper()
	require.NoError(t, from.Send(shardkit.Message{To: to.ID(), Class: class, Data: []byte(text)}))
}

func eventually(t testing.TB, f func() bool, why ...any) {
	t.Helper()
	require.Eventually(t, f, 20*time.Second, 2*time.Millisecond, why...)
}

func TestSendBothWays(t *testing.T) {
	a, inA := listen(t, 0, nil)
	b, inB := listen(t, 1, nil)
	require.Equal(t, idOf(key(0)), a.ID())
	a.SetAddr(b.ID(), b.Addr()) // b does not know where a is
	send(t, a, b, shardkit.ClassVote, "vote")
	send(t, a, b, shardkit.ClassBlock, string(make([]byte, 5<<20)))
	send(t, a, b, shardkit.ClassSync, "")
	eventually(t, func() bool { return inB.len() == 3 })
	require.Contains(t, inB.list(), got{a.ID(), shardkit.ClassVote, "vote"})
	require.Contains(t, inB.list(), got{a.ID(), shardkit.ClassBlock, string(make([]byte, 5<<20))})
	require.Contains(t, inB.list(), got{a.ID(), shardkit.ClassSync, ""})
	send(t, b, a, shardkit.ClassVote, "back")
	eventually(t, func() bool { return inA.len() == 1 })
	s := a.Stats()
	require.Equal(t, 1, s.Connected)
	require.Equal(t, uint64(1), s.Dials)
	require.Equal(t, quicnet.Traffic{Messages: 1, Bytes: 5 << 20}, s.Sent[shardkit.ClassBlock])
	require.Equal(t, quicnet.Traffic{Messages: 1, Bytes: 4}, b.Stats().Received[shardkit.ClassVote])
	p := b.Peers()
	require.Len(t, p, 1)
	require.Equal(t, []any{a.ID(), a.Addr(), false}, []any{p[0].ID, p[0].Addr, p[0].Dialed})
	require.Greater(t, p[0].Received, uint64(5<<20))
	require.Positive(t, p[0].RTT)
}

// Messages of a class arrive in order and complete.
func TestOrder(t *testing.T) {
	a, _ := listen(t, 0, nil)
	b, in := listen(t, 1, nil)
	know(a, b)
	for i := range 2000 {
		send(t, a, b, shardkit.ClassBlock, fmt.Sprint(i))
	}
	eventually(t, func() bool { return in.len() == 2000 })
	for i, g := range in.list() {
		require.Equal(t, fmt.Sprint(i), g.msg)
	}
}

// Sixteen nodes dial each other at once: everybody reaches everybody, and one
// connection per pair is left.
func TestMesh(t *testing.T) {
	const n = 16
	hosts, boxes := make([]*quicnet.Host, n), make([]*inbox, n)
	for i := range hosts {
		hosts[i], boxes[i] = listen(t, i, nil)
	}
	know(hosts...)
	var wg sync.WaitGroup
	for _, a := range hosts {
		wg.Go(func() {
			for _, b := range hosts {
				if a != b {
					_ = a.Send(shardkit.Message{To: b.ID(), Data: []byte("hello")})
				}
			}
		})
	}
	wg.Wait()
	for _, box := range boxes {
		eventually(t, func() bool { return box.len() == n-1 })
	}
	for _, h := range hosts {
		s := h.Stats()
		require.Equal(t, n-1, s.Connected)
		require.Zero(t, s.Dropped)
	}
}

func TestErrorsNameTheLimit(t *testing.T) {
	a, _ := listen(t, 0, func(c *quicnet.Config) {
		c.MaxMessage = quicnet.Limits{10, 100, 100}
		c.MaxQueue = quicnet.Limits{200, 1000, 1000}
		c.MaxPeers = 2
	})
	to := func(i, class, size int) error {
		return a.Send(shardkit.Message{To: idOf(key(i)), Class: uint8(class), Data: make([]byte, size)})
	}
	require.ErrorIs(t, to(1, 0, 1), quicnet.ErrNoAddress)
	for i := 1; i < 4; i++ {
		a.SetAddr(idOf(key(i)), "127.0.0.1:1") // nobody is there
	}
	var limit *quicnet.LimitError
	require.ErrorAs(t, to(1, 0, 11), &limit)
	require.Equal(t, quicnet.LimitError{Limit: "MaxMessage vote", Max: 10, Got: 11, Peer: idOf(key(1))}, *limit)

	var err error
	for range 20 {
		if err = to(1, 1, 100); err != nil {
			break
		}
	}
	require.ErrorAs(t, err, &limit)
	require.Equal(t, "MaxQueue block", limit.Limit)
	require.ErrorContains(t, err, "MaxQueue block")
	for range 20 {
		require.NoError(t, to(1, 0, 10), "the oldest votes make room")
	}
	require.Equal(t, uint64(18), a.Stats().Dropped[0].Messages)

	require.NoError(t, to(2, 0, 1))
	require.ErrorAs(t, to(3, 0, 1), &limit)
	require.Equal(t, "MaxPeers", limit.Limit)

	require.Error(t, to(1, 3, 1), "no such class")
	require.Error(t, to(0, 0, 1), "to ourselves")
	a.Close()
	require.ErrorIs(t, to(1, 0, 1), quicnet.ErrClosed)
}

func TestConfigErrors(t *testing.T) {
	handle := func(shardkit.NodeID, uint8, []byte) {}
	for _, cfg := range []quicnet.Config{
		{},
		{Key: key(0)},
		{Handle: handle},
		{Key: key(0), Handle: handle, Addr: "nonsense"},
		{Key: key(0), Handle: handle, Network: string(make([]byte, 201))},
		{Key: key(0), Handle: handle, Window: 1},
		{Key: key(0), Handle: handle, MaxMessage: quicnet.Limits{-1}},
		{Key: key(0), Handle: handle, MaxMessage: quicnet.Limits{1000}, MaxQueue: quicnet.Limits{999}},
		{Key: key(0), Handle: handle, Patience: -1},
	} {
		_, err := quicnet.Listen(cfg)
		require.Error(t, err)
	}
}

// While a receiver is stuck in a block message and megabytes of blocks wait,
// votes pass.
func TestBlocksDoNotHoldUpVotes(t *testing.T) {
	release := make(chan struct{})
	var votes atomic.Int64
	b, _ := listen(t, 1, func(c *quicnet.Config) {
		c.Handle = func(_ shardkit.NodeID, class uint8, _ []byte) {
			if class != shardkit.ClassVote {
				<-release
				return
			}
			votes.Add(1)
		}
	})
	t.Cleanup(func() { close(release) })
	a, _ := listen(t, 0, nil)
	know(a, b)
	for range 20 {
		require.NoError(t, a.Send(shardkit.Message{To: b.ID(), Class: shardkit.ClassBlock, Data: make([]byte, 1<<20)}))
		require.NoError(t, a.Send(shardkit.Message{To: b.ID(), Class: shardkit.ClassSync, Data: make([]byte, 1<<20)}))
	}
	time.Sleep(100 * time.Millisecond) // the windows fill up
	for i := range 100 {
		send(t, a, b, shardkit.ClassVote, "vote")
		eventually(t, func() bool { return votes.Load() == int64(i+1) })
	}
}

// A peer that is not there yet gets what was sent before, if it comes in time.
func TestDialAgain(t *testing.T) {
	b, _ := listen(t, 1, nil)
	addr := b.Addr()
	b.Close()
	a, _ := listen(t, 0, func(c *quicnet.Config) { c.DialTimeout = 200 * time.Millisecond; c.MaxBackoff = 100 * time.Millisecond })
	a.SetAddr(b.ID(), addr)
	send(t, a, b, shardkit.ClassVote, "early")
	eventually(t, func() bool { return a.Stats().DialErrors >= 2 })
	_, in := listen(t, 1, func(c *quicnet.Config) { c.Addr = addr })
	eventually(t, func() bool { return in.len() == 1 })
}

// A better address counts at once, without waiting for the attempt under way.
func TestBetterAddress(t *testing.T) {
	a, _ := listen(t, 0, func(c *quicnet.Config) { c.DialTimeout = time.Minute })
	b, in := listen(t, 1, nil)
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	a.SetAddr(b.ID(), silent.LocalAddr().String())
	send(t, a, b, 0, "x")
	eventually(t, func() bool { return a.Stats().Dials == 1 })
	a.SetAddr(b.ID(), b.Addr())
	eventually(t, func() bool { return in.len() == 1 })
}

// A false address does not cut us off from a peer that we have reached before.
func TestFalseAddress(t *testing.T) {
	a, _ := listen(t, 0, func(c *quicnet.Config) { c.DialTimeout, c.MaxBackoff = 200*time.Millisecond, 50*time.Millisecond })
	b, in := listen(t, 1, nil)
	know(a, b)
	send(t, a, b, 0, "1")
	eventually(t, func() bool { return in.len() == 1 })
	addr := b.Addr()
	b.Close()
	eventually(t, func() bool { return a.Stats().Connected == 0 })
	_, in = listen(t, 1, func(c *quicnet.Config) { c.Addr = addr })
	a.SetAddr(b.ID(), "127.0.0.1:1")
	send(t, a, b, 0, "2")
	eventually(t, func() bool { return in.len() == 1 })
}

func TestPatience(t *testing.T) {
	a, _ := listen(t, 0, func(c *quicnet.Config) {
		c.Patience, c.DialTimeout, c.MaxBackoff = 50*time.Millisecond, 100*time.Millisecond, 20*time.Millisecond
	})
	a.SetAddr(idOf(key(1)), "127.0.0.1:1")
	require.NoError(t, a.Send(shardkit.Message{To: idOf(key(1)), Data: []byte("late")}))
	eventually(t, func() bool { return a.Stats().Dropped[0].Messages == 1 })
	dials := a.Stats().Dials
	time.Sleep(300 * time.Millisecond)
	require.Equal(t, dials, a.Stats().Dials, "nothing to send, nobody dials")
}

// A peer that crashes without a goodbye and comes back is reached again, in
// both directions, whichever side has the smaller id.
func TestAbortAndReturn(t *testing.T) {
	for _, victim := range []int{0, 1} {
		a, inA := listen(t, victim, nil)
		b, inB := listen(t, 1-victim, nil)
		know(a, b)
		send(t, a, b, shardkit.ClassVote, "1")
		eventually(t, func() bool { return inB.len() == 1 })
		addr := a.Addr()
		a.Abort()
		require.ErrorIs(t, a.Send(shardkit.Message{To: b.ID()}), quicnet.ErrClosed)
		a, inA = listen(t, victim, func(c *quicnet.Config) { c.Addr = addr })
		know(a, b)
		send(t, a, b, shardkit.ClassVote, "2") // the new connection replaces the dead one
		eventually(t, func() bool { return inB.len() == 2 })
		send(t, b, a, shardkit.ClassVote, "3")
		eventually(t, func() bool { return inA.len() == 1 })

		a.Abort()
		a, inA = listen(t, victim, func(c *quicnet.Config) { c.Addr = addr })
		know(a, b)
		eventually(t, func() bool { // a stateless reset tells b that its connection is gone
			_ = b.Send(shardkit.Message{To: a.ID(), Data: []byte("4")})
			return inA.len() > 0
		})
		a.Close()
		b.Close()
	}
}

func TestAcceptDecides(t *testing.T) {
	b, inB := listen(t, 1, func(c *quicnet.Config) { c.Accept = func(id shardkit.NodeID) bool { return id == idOf(key(2)) } })
	a, _ := listen(t, 0, nil)
	c, _ := listen(t, 2, nil)
	know(a, b, c)
	send(t, a, b, 0, "no")
	send(t, c, b, 0, "yes")
	eventually(t, func() bool { return b.Stats().Rejected > 0 && inB.len() > 0 })
	require.Equal(t, []got{{c.ID(), 0, "yes"}}, inB.list())
}

// Strangers cannot take all places from those we know.
func TestStrangers(t *testing.T) {
	b, in := listen(t, 9, func(c *quicnet.Config) { c.MaxStrangers = 2 })
	var hosts []*quicnet.Host
	for i := range 4 {
		h, _ := listen(t, i, nil)
		h.SetAddr(b.ID(), b.Addr())
		hosts = append(hosts, h)
	}
	for i := range 2 {
		send(t, hosts[i], b, 0, "stranger")
		eventually(t, func() bool { return in.len() == i+1 })
	}
	send(t, hosts[2], b, 0, "one too many")
	eventually(t, func() bool { return b.Stats().Rejected > 0 })
	b.SetAddr(hosts[3].ID(), hosts[3].Addr())
	send(t, hosts[3], b, 0, "known")
	eventually(t, func() bool { return in.len() == 3 })
	require.Equal(t, "known", in.list()[2].msg)
}

func TestWrongNetworkAndWrongKey(t *testing.T) {
	a, _ := listen(t, 0, nil)
	other, in := listen(t, 1, func(c *quicnet.Config) { c.Network = "other" })
	know(a, other)
	send(t, a, other, 0, "x")
	eventually(t, func() bool { return a.Stats().DialErrors > 0 })
	same, in2 := listen(t, 2, nil)
	a.SetAddr(idOf(key(3)), same.Addr()) // somebody else lives there
	require.NoError(t, a.Send(shardkit.Message{To: idOf(key(3)), Data: []byte("x")}))
	errs := a.Stats().DialErrors
	eventually(t, func() bool { return a.Stats().DialErrors > errs+1 })
	require.Zero(t, in.len()+in2.len())
}

func TestRate(t *testing.T) {
	b, in := listen(t, 1, func(c *quicnet.Config) { c.MaxRate[shardkit.ClassBlock] = 100_000 })
	a, _ := listen(t, 0, nil)
	know(a, b)
	begin := time.Now()
	for range 30 {
		send(t, a, b, shardkit.ClassBlock, string(make([]byte, 5000)))
	}
	eventually(t, func() bool { return in.len() == 30 })
	require.Greater(t, time.Since(begin), 400*time.Millisecond, "150 kB at 100 kB/s with 100 kB of slack")
}

// hostile connects to h as a peer that speaks QUIC and TLS properly but not
// our protocol.
func hostile(t *testing.T, h *quicnet.Host) *quic.Conn {
	k := key(99)
	cert, err := quicnet.Certificate(k)
	require.NoError(t, err)
	conn, err := quic.DialAddr(context.Background(), h.Addr(), &tls.Config{
		Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true, NextProtos: []string{"shardkit/1/test"},
	}, nil)
	require.NoError(t, err)
	return conn
}

func TestMisbehaviour(t *testing.T) {
	frame := func(n uint32, data ...byte) []byte { return append(binary.BigEndian.AppendUint32(nil, n), data...) }
	cases := []struct {
		name string
		send func(t *testing.T, c *quic.Conn)
		want string // part of the reported error; empty: not disconnected
	}{
		{"too long", func(t *testing.T, c *quic.Conn) { stream(t, c, 0).Write(frame(256<<10+1, 1)) }, "MaxMessage vote"},
		{"huge", func(t *testing.T, c *quic.Conn) { stream(t, c, 2).Write(frame(1<<32 - 1)) }, "MaxMessage sync"},
		{"unknown class", func(t *testing.T, c *quic.Conn) { stream(t, c, 3) }, "class 3"},
		{"second stream", func(t *testing.T, c *quic.Conn) { stream(t, c, 1); stream(t, c, 1) }, "class 1"},
		{"cut short", func(t *testing.T, c *quic.Conn) {
			s := stream(t, c, 0)
			s.Write(frame(10, 1, 2))
			s.Close()
		}, ""},
		{"empty stream", func(t *testing.T, c *quic.Conn) {
			s, err := c.OpenUniStream()
			require.NoError(t, err)
			s.Close()
		}, ""},
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			errs := make(chan error, 10)
			h, _ := listen(t, 0, func(c *quicnet.Config) { c.OnError = func(_ shardkit.NodeID, err error) { errs <- err } })
			c := hostile(t, h)
			tt.send(t, c)
			if tt.want == "" {
				stream(t, c, 2).Write(frame(2, 3, 4))
				eventually(t, func() bool { return h.Stats().Received[2].Messages == 1 }, "goes on")
				require.Empty(t, errs)
				return
			}
			require.ErrorContains(t, <-errs, tt.want)
			<-c.Context().Done()
			var app *quic.ApplicationError
			require.ErrorAs(t, context.Cause(c.Context()), &app)
			require.Equal(t, uint64(1), h.Stats().Broken)
		})
	}
}

func stream(t *testing.T, c *quic.Conn, class byte) *quic.SendStream {
	s, err := c.OpenUniStream()
	require.NoError(t, err)
	_, err = s.Write([]byte{class})
	require.NoError(t, err)
	return s
}

// A peer has one connection: a new one takes the place of the old.
func TestNewConnectionReplacesOld(t *testing.T) {
	h, in := listen(t, 0, nil)
	old := hostile(t, h)
	stream(t, old, 1).Write([]byte{0, 0, 0, 1, 'a'})
	eventually(t, func() bool { return in.len() == 1 })
	c := hostile(t, h)
	<-old.Context().Done()
	stream(t, c, 1).Write([]byte{0, 0, 0, 1, 'b'})
	eventually(t, func() bool { return in.len() == 2 })
	require.Equal(t, 1, h.Stats().Connected)
}

func TestStreamsAreBounded(t *testing.T) {
	h, _ := listen(t, 0, nil)
	c := hostile(t, h)
	for i := range 3 {
		stream(t, c, byte(i)).Close()
	}
	time.Sleep(50 * time.Millisecond)
	_, err := c.OpenUniStream()
	require.Error(t, err, "ended streams do not make room")
	_, err = c.OpenStream()
	require.Error(t, err)
}

// A dialer without a certificate, or with a key of another kind, gets nowhere.
func TestNoKeyNoConnection(t *testing.T) {
	h, _ := listen(t, 0, nil)
	conn, err := quic.DialAddr(context.Background(), h.Addr(), &tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{"shardkit/1/test"},
	}, nil)
	if err == nil { // TLS 1.3: the client learns it only afterwards
		<-conn.Context().Done()
		err = context.Cause(conn.Context())
	}
	var terr *quic.TransportError
	require.True(t, errors.As(err, &terr) && terr.ErrorCode.IsCryptoError(), "%v", err)
	require.Zero(t, h.Stats().Peers)
}

// The host prints nothing, whatever buffers the system grants.
func TestNoNoise(t *testing.T) {
	if os.Getenv("QUICNET_NOISE") != "" {
		a, _ := listen(t, 0, nil)
		b, in := listen(t, 1, nil)
		know(a, b)
		send(t, a, b, 0, "x")
		eventually(t, func() bool { return in.len() == 1 })
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestNoNoise$")
	cmd.Env = append(os.Environ(), "QUICNET_NOISE=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Run())
	require.Empty(t, stderr.String())
	_, set := os.LookupEnv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING")
	require.False(t, set)
}

func TestCloseTwiceAndConcurrently(t *testing.T) {
	a, _ := listen(t, 0, nil)
	b, _ := listen(t, 1, nil)
	know(a, b)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				_ = a.Send(shardkit.Message{To: b.ID(), Data: make([]byte, 100)})
			}
		})
	}
	wg.Go(func() { a.Close() })
	wg.Go(func() { a.Abort() })
	wg.Wait()
}
