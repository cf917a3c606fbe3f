package quicnet_test

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad/quicnet"
)

// narrow is a link to an address, with a rate and a queue that loses what it has
// no room for. It returns where to send to; the way back is free.
func narrow(t *testing.T, to string) (addr string) {
	t.Helper()
	dst, err := net.ResolveUDPAddr("udp", to)
	require.NoError(t, err)
	near, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	far, err := net.DialUDP("udp", nil, dst)
	require.NoError(t, err)
	var source atomic.Pointer[net.UDPAddr]
	queue, done := make(chan []byte, 64), make(chan struct{})
	t.Cleanup(func() {
		close(done)
		near.Close()
		far.Close()
	})
	go func() {
		for buf := make([]byte, 1<<16); ; {
			n, from, err := near.ReadFromUDP(buf)
			if err != nil {
				return
			}
			source.Store(from)
			select {
			case queue <- append([]byte(nil), buf[:n]...):
			default: // lost
			}
		}
	}()
	go func() {
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-done:
				tick.Stop()
				return
			case <-tick.C:
			}
			for range min(8, len(queue)) {
				_, _ = far.Write(<-queue)
			}
		}
	}()
	go func() {
		for buf := make([]byte, 1<<16); ; {
			n, err := far.Read(buf)
			if err != nil {
				return
			}
			_, _ = near.WriteToUDP(buf[:n], source.Load())
		}
	}()
	return near.LocalAddr().String()
}

// TestUrgentGoesFirst: what is urgent overtakes what saturates the link. While
// half a megabyte of it comes through, hardly more comes of the rest than was
// under way; in turn with it, as much would.
func TestUrgentGoesFirst(t *testing.T) {
	const messages, size = 512, 1000
	for name, class := range map[string]struct{ urgent, bulk uint8 }{
		"votes before blocks": {shardkit.ClassVote, shardkit.ClassBlock},
		"votes before sync":   {shardkit.ClassVote, shardkit.ClassSync},
		"blocks before sync":  {shardkit.ClassBlock, shardkit.ClassSync},
	} {
		t.Run(name, func(t *testing.T) {
			var bulk, urgent, overtaken atomic.Int64
			b, _ := listen(t, 1, func(c *quicnet.Config) {
				c.Handle = func(_ shardkit.NodeID, got uint8, msg []byte) {
					if got == class.bulk {
						bulk.Add(int64(len(msg)))
					} else if urgent.Add(1) == messages {
						overtaken.Store(bulk.Load())
					}
				}
			})
			a, _ := listen(t, 0, nil)
			a.SetAddr(b.ID(), narrow(t, b.Addr()))
			stop, ended := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(ended)
				for {
					select {
					case <-stop:
						return
					default:
					}
					if a.Send(shardkit.Message{To: b.ID(), Class: class.bulk, Data: make([]byte, 8<<10)}) != nil {
						time.Sleep(time.Millisecond) // the queue is full
					}
				}
			}()
			defer func() {
				close(stop)
				<-ended
			}()
			eventually(t, func() bool { return bulk.Load() > 1<<20 }, "the link is saturated")
			before := bulk.Load()
			for range messages {
				require.NoError(t, a.Send(shardkit.Message{To: b.ID(), Class: class.urgent, Data: make([]byte, size)}))
			}
			eventually(t, func() bool { return urgent.Load() == messages })
			require.Less(t, overtaken.Load()-before, int64(messages*size/2))
			t.Logf("%d bytes meanwhile", overtaken.Load()-before)
		})
	}
}
