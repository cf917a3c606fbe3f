package quicnet_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad/quicnet"
)

// pair returns two connected hosts; handle is the second's.
func pair(b *testing.B, handle func(from shardkit.NodeID, class uint8, msg []byte)) (x, y *quicnet.Host, back chan []byte) {
	back = make(chan []byte, 1)
	x, _ = listen(b, 0, func(c *quicnet.Config) {
		c.Handle = func(_ shardkit.NodeID, _ uint8, msg []byte) { back <- msg }
	})
	y, _ = listen(b, 1, func(c *quicnet.Config) { c.Handle = handle })
	know(x, y)
	return x, y, back
}

// BenchmarkRoundTrip sends a message of the class of votes and waits for the
// answer.
func BenchmarkRoundTrip(b *testing.B) {
	for _, size := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			var y *quicnet.Host
			x, y, back := pair(b, func(from shardkit.NodeID, class uint8, msg []byte) {
				_ = y.Send(shardkit.Message{To: from, Class: class, Data: msg})
			})
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, x.Send(shardkit.Message{To: y.ID(), Data: make([]byte, size)}))
				<-back
			}
		})
	}
}

// BenchmarkThroughput sends as fast as the queue takes it: large messages for
// the bytes, small ones for their number.
func BenchmarkThroughput(b *testing.B) {
	for _, size := range []int{100, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			var got atomic.Int64
			x, y, _ := pair(b, func(shardkit.NodeID, uint8, []byte) { got.Add(1) })
			msg := make([]byte, size)
			sent := int64(0)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				for x.Send(shardkit.Message{To: y.ID(), Class: shardkit.ClassBlock, Data: msg}) != nil {
					time.Sleep(50 * time.Microsecond)
				}
				sent++
			}
			for got.Load() < sent {
				time.Sleep(50 * time.Microsecond)
			}
			b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

// BenchmarkVoteBesideBlocks is the round trip of a vote while blocks saturate
// the connection in the same direction.
func BenchmarkVoteBesideBlocks(b *testing.B) {
	var y *quicnet.Host
	x, y, back := pair(b, func(from shardkit.NodeID, class uint8, msg []byte) {
		if class == shardkit.ClassVote {
			_ = y.Send(shardkit.Message{To: from, Data: msg})
		}
	})
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		block := make([]byte, 1<<20)
		for {
			select {
			case <-stop:
				return
			default:
				if x.Send(shardkit.Message{To: y.ID(), Class: shardkit.ClassBlock, Data: block}) != nil {
					time.Sleep(100 * time.Microsecond)
				}
			}
		}
	}()
	for b.Loop() {
		require.NoError(b, x.Send(shardkit.Message{To: y.ID(), Data: make([]byte, 100)}))
		<-back
	}
	close(stop)
	<-ended
}

// BenchmarkMesh connects 16 hosts with each other and reports what an end of a
// connection costs.
func BenchmarkMesh(b *testing.B) {
	const n = 16
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		routines := runtime.NumGoroutine()
		hosts, boxes := make([]*quicnet.Host, n), make([]*inbox, n)
		for i := range hosts {
			hosts[i], boxes[i] = listen(b, i, nil)
		}
		know(hosts...)
		for _, x := range hosts {
			for _, y := range hosts {
				if x != y {
					send(b, x, y, shardkit.ClassVote, "hello")
				}
			}
		}
		for _, box := range boxes {
			eventually(b, func() bool { return box.len() == n-1 })
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		ends := float64(n * (n - 1))
		b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/ends, "B/end")
		b.ReportMetric(float64(runtime.NumGoroutine()-routines)/ends, "goroutines/end")
		for _, h := range hosts {
			h.Close()
		}
	}
}
