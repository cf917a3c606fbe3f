package statesync_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad/simnet"
	"github.com/shardkit/shardkit/statesync"
)

// TestSlowLinks: answers that take longer than the timeout are asked for in
// smaller pieces.
func TestSlowLinks(t *testing.T) {
	s := newScene(t, newWorld(1500, 55), simnet.Config{Bandwidth: 20_000})
	s.edit = func(c *statesync.ClientConfig) { c.MaxBytes = 128 << 10 }
	s.w.blockDue, s.w.window = 2*time.Second, 100
	s.w.padding = 50_000 // a hop alone takes longer than the timeout
	for range 2 {
		s.host(func(c *statesync.ServerConfig) { c.MaxBytes = 128 << 10 })
	}
	s.join()
	require.True(t, s.net.RunUntil(s.upToDate, 4*time.Minute), "%+v", s.node().client.Stats())
	require.NotZero(t, s.node().client.Stats().Timeouts)
}

// TestHeadLeavesTheWindow: the state takes longer than its head is served.
func TestHeadLeavesTheWindow(t *testing.T) {
	s := newScene(t, newWorld(4000, 105), simnet.Config{
		JobTime: func(shardkit.Job) time.Duration { return 15 * time.Millisecond },
	})
	s.w.window, s.w.blockDue = 2, 100*time.Millisecond
	for range 3 {
		s.host(nil)
	}
	// Too slow at first, faster later.
	s.edit = func(c *statesync.ClientConfig) { c.Parallel = 1 }
	s.join()
	s.net.Run(10 * time.Second)
	require.NotZero(t, s.node().client.Stats().Restarts)
	require.False(t, s.disk.ready)
	s.w.window = 1000
	require.True(t, s.net.RunUntil(s.upToDate, time.Minute), "%+v", s.node().client.Stats())
}

// TestPeersApart: one of four peers is a block ahead. A head is taken that all
// of them serve.
func TestPeersApart(t *testing.T) {
	s := newScene(t, newWorld(2000, 105), simnet.Config{})
	s.w.window, s.w.blockDue = 1000, time.Hour
	for i := range 4 {
		s.host(func(c *statesync.ServerConfig) {
			if i == 2 {
				return
			}
			c.Head = func() func() (*statesync.Head, error) {
				return func() (*statesync.Head, error) { return s.w.head(104), nil }
			}
			honest := c.Range
			c.Range = func(h shardkit.Height, from shardkit.Hash, maxBytes int) func() ([]byte, error) {
				if h > 104 {
					return func() ([]byte, error) { return nil, errors.New("not there yet") }
				}
				return honest(h, from, maxBytes)
			}
		})
	}
	s.join()
	require.True(t, s.net.RunUntil(s.upToDate, 20*time.Second))
	require.Zero(t, s.node().client.Stats().Refused)
}

// TestPeerThatWasBehind: a peer that does not serve the head when it is first
// asked is asked again later.
func TestPeerThatWasBehind(t *testing.T) {
	s := newScene(t, newWorld(4000, 105), simnet.Config{
		Latency: func(_, _ shardkit.NodeID) time.Duration { return 300 * time.Millisecond },
	})
	s.w.window = 1000
	first := s.host(nil)
	s.host(func(c *statesync.ServerConfig) {
		honest := c.Range
		c.Range = func(h shardkit.Height, from shardkit.Hash, maxBytes int) func() ([]byte, error) {
			if s.net.Now() < 4*time.Second {
				return func() ([]byte, error) { return nil, errors.New("not there yet") }
			}
			return honest(h, from, maxBytes)
		}
	})
	s.join()
	s.net.At(5*time.Second, func() { s.net.Crash(first) })
	require.True(t, s.net.RunUntil(s.upToDate, time.Minute), "%+v", s.node().client.Stats())
	require.Zero(t, s.node().client.Stats().Restarts)
	require.NotZero(t, s.node().client.Stats().Refused)
}

// TestHeadThatIsGone: no peer serves the head any more, and all have a newer one.
// That they do not serve the old one says nothing about the new one, and is no
// fault of theirs: they are asked for it at once.
func TestHeadThatIsGone(t *testing.T) {
	s := newScene(t, newWorld(1000, 105), simnet.Config{})
	s.w.window, s.w.blockDue = 1000, time.Hour
	old, gone, again := uint64(104), time.Duration(0), time.Duration(0)
	for range 3 {
		s.host(func(c *statesync.ServerConfig) {
			c.Head = func() func() (*statesync.Head, error) {
				if gone > 0 {
					return func() (*statesync.Head, error) { return s.w.head(105), nil }
				}
				return func() (*statesync.Head, error) { return s.w.head(old), nil }
			}
			honest := c.Range
			c.Range = func(h shardkit.Height, from shardkit.Hash, maxBytes int) func() ([]byte, error) {
				if uint64(h) > old {
					again = max(again, s.net.Now())
					return honest(h, from, maxBytes)
				}
				gone = s.net.Now()
				return func() ([]byte, error) { return nil, errors.New("gone") }
			}
		})
	}
	s.join()
	require.True(t, s.net.RunUntil(func() bool { return s.node().synced != nil }, time.Minute))
	require.Equal(t, shardkit.Height(105), s.node().synced.Head.Height)
	stats := s.node().client.Stats()
	require.Equal(t, uint64(1), stats.Restarts)
	require.Equal(t, uint64(3), stats.Refused, "each was asked once")
	require.Less(t, again-gone, 500*time.Millisecond, "a quarter of the timeout is the least pause for a fault")
}

// TestChunksOfAHeadThatIsGone: while chunks of a head are being checked all peers
// give that head up. What comes of the checks then is not written under the next
// one; see joiner.
func TestChunksOfAHeadThatIsGone(t *testing.T) {
	s := newScene(t, newWorld(4000, 105), simnet.Config{JobTime: func(j shardkit.Job) time.Duration {
		if j.Kind == "statesync.range" {
			return 2 * time.Second
		}
		return 0
	}})
	s.w.window, s.w.blockDue = 1000, time.Hour
	gone := false
	for range 2 {
		calls := 0
		s.host(func(c *statesync.ServerConfig) {
			c.Head = func() func() (*statesync.Head, error) {
				return func() (*statesync.Head, error) {
					if gone {
						return s.w.head(105), nil
					}
					return s.w.head(104), nil
				}
			}
			honest := c.Range
			c.Range = func(h shardkit.Height, from shardkit.Hash, maxBytes int) func() ([]byte, error) {
				if calls++; h == 104 && calls > 2 {
					gone = true
					return func() ([]byte, error) { return nil, errors.New("gone") }
				}
				return honest(h, from, maxBytes)
			}
		})
	}
	s.join()
	require.True(t, s.net.RunUntil(func() bool { return s.node().synced != nil }, 5*time.Minute))
	require.Equal(t, uint64(1), s.node().client.Stats().Restarts)
	require.Equal(t, shardkit.Height(105), s.node().synced.Head.Height)
}

// TestBusyPeer: a peer that has too much to do, or no peers at all for a while, are
// no reason to give a head up.
func TestBusyPeer(t *testing.T) {
	s := newScene(t, newWorld(4000, 105), simnet.Config{})
	s.w.window = 1000
	s.host(func(c *statesync.ServerConfig) { c.PerPeer = 1 })
	s.join()
	client := s.node().client
	require.True(t, s.net.RunUntil(func() bool { return client.Stats().Ranges > 3 }, time.Minute))
	s.net.Do(s.joiner, func(now time.Duration, _ simnet.Node) { client.SetPeers(now, nil) })
	s.net.Run(s.net.Now() + time.Second)
	s.net.Do(s.joiner, func(now time.Duration, _ simnet.Node) { client.SetPeers(now, s.hosts) })
	require.True(t, s.net.RunUntil(s.upToDate, 2*time.Minute))
	require.NotZero(t, client.Stats().Refused)
	require.Zero(t, client.Stats().Restarts)
}

// TestPeerThatCannotRead: a peer whose disk fails is asked less and less.
func TestPeerThatCannotRead(t *testing.T) {
	s := newScene(t, newWorld(100, 105), simnet.Config{})
	s.host(func(c *statesync.ServerConfig) {
		c.Hops = func(shardkit.Epoch, int) func() ([]statesync.Hop, error) {
			return func() ([]statesync.Hop, error) { return nil, errors.New("disk") }
		}
	})
	s.join()
	s.net.Run(time.Minute)
	require.LessOrEqual(t, s.node().client.Stats().Requests, uint64(20))
}

// TestPeerThatWasBehindIsAskedInTime: it is asked again after a timeout, although
// nothing else happens then: the other one takes long to answer.
func TestPeerThatWasBehindIsAskedInTime(t *testing.T) {
	const timeout = 10 * time.Second
	slow := nodeID(1)
	s := newScene(t, newWorld(4000, 105), simnet.Config{Latency: func(from, to shardkit.NodeID) time.Duration {
		if from == slow || to == slow {
			return 4500 * time.Millisecond
		}
		return 20 * time.Millisecond
	}})
	s.edit = func(c *statesync.ClientConfig) { c.Timeout = timeout }
	s.w.window, s.w.blockDue = 1000, time.Hour
	var asked []time.Duration
	s.host(func(c *statesync.ServerConfig) {
		c.Range = func(shardkit.Height, shardkit.Hash, int) func() ([]byte, error) {
			if now := s.net.Now(); len(asked) == 0 || now > asked[len(asked)-1] { // two at a time
				asked = append(asked, now)
			}
			return func() ([]byte, error) { return nil, errors.New("not there yet") }
		}
	})
	require.Equal(t, slow, s.host(nil))
	s.join()
	s.net.Run(time.Minute)
	require.Greater(t, len(asked), 2)
	for i := range asked[1:] {
		require.InDelta(t, timeout, asked[i+1]-asked[i], float64(100*time.Millisecond))
	}
}

// TestSilentPeer: who does not answer is asked less and less.
func TestSilentPeer(t *testing.T) {
	s := newScene(t, newWorld(100, 105), simnet.Config{})
	s.host(nil)
	silent := s.host(nil)
	s.silent = append(s.silent, silent)
	s.join()
	found := func() bool { return s.node().client.Stats().Height > 0 }
	require.True(t, s.net.RunUntil(found, 1900*time.Millisecond), "a head, before a timeout")
	require.True(t, s.net.RunUntil(s.upToDate, 20*time.Second))
	before := s.net.NodeStats(silent).Received
	s.net.Run(s.net.Now() + time.Minute)
	require.True(t, s.upToDate())
	require.LessOrEqual(t, s.net.NodeStats(silent).Received, before+8)

	// Also if there is nobody else.
	s = newScene(t, newWorld(100, 105), simnet.Config{})
	s.silent = append(s.silent, s.host(nil))
	s.join()
	s.net.Run(2 * time.Minute)
	require.LessOrEqual(t, s.node().client.Stats().Requests, uint64(15))
	s.net.Heal()
	s.net.Block(s.hosts[0], s.joiner, false)
	require.True(t, s.net.RunUntil(s.upToDate, 3*time.Minute))
}
