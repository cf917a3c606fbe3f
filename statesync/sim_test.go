package statesync_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/kad/simnet"
	"github.com/shardkit/shardkit/statesync"
)

func TestJoin(t *testing.T) {
	s := newScene(t, newWorld(3000, 205), simnet.Config{})
	for range 4 {
		s.host(nil)
	}
	s.join()
	require.True(t, s.net.RunUntil(s.upToDate, time.Minute))
	j := s.node()
	require.Equal(t, 20, j.synced.Epochs)
	require.Equal(t, shardkit.Epoch(20), j.synced.Head.Epoch)
	require.Greater(t, j.synced.Ranges, 10)
	require.Empty(t, j.bad)
	require.NoError(t, j.err)
	stats := j.client.Stats()
	require.Zero(t, stats.Timeouts)
	require.Equal(t, 1000, stats.Progress)
	require.Equal(t, "follow", stats.Phase)

	// It keeps up.
	for range 5 {
		before := j.applied
		s.net.Run(s.net.Now() + 2*time.Second)
		require.GreaterOrEqual(t, j.applied, before+3)
		require.True(t, s.upToDate())
	}
	// All servers had a share of the work.
	for _, id := range s.hosts {
		require.Greater(t, s.net.NodeStats(id).Jobs, uint64(5))
	}
}

// liars are servers that each do one thing wrong.
func liars(w *world) map[string]func(*statesync.ServerConfig) {
	forge := func(b []byte) []byte {
		b = bytes.Clone(b)
		if len(b) > 0 {
			b[len(b)/2] ^= 1
		}
		return b
	}
	hop := func(change func(*statesync.Hop)) func(*statesync.ServerConfig) {
		return func(c *statesync.ServerConfig) {
			honest := c.Hops
			c.Hops = func(from shardkit.Epoch, most int) func() ([]statesync.Hop, error) {
				return func() ([]statesync.Hop, error) {
					list, err := honest(from, most)()
					if len(list) > 0 {
						change(&list[len(list)/2])
					}
					return list, err
				}
			}
		}
	}
	head := func(change func() *statesync.Head) func(*statesync.ServerConfig) {
		return func(c *statesync.ServerConfig) {
			c.Head = func() func() (*statesync.Head, error) {
				return func() (*statesync.Head, error) { return change(), nil }
			}
		}
	}
	chunk := func(change func(chunk []byte) ([]byte, error)) func(*statesync.ServerConfig) {
		return func(c *statesync.ServerConfig) {
			honest := c.Range
			c.Range = func(h shardkit.Height, from shardkit.Hash, maxBytes int) func() ([]byte, error) {
				return func() ([]byte, error) {
					b, err := honest(h, from, maxBytes)()
					if err != nil {
						return nil, err
					}
					return change(b)
				}
			}
		}
	}
	block := func(change func(*statesync.Block)) func(*statesync.ServerConfig) {
		return func(c *statesync.ServerConfig) {
			honest := c.Blocks
			c.Blocks = func(from shardkit.Height, most, maxBytes int) func() ([]statesync.Block, error) {
				return func() ([]statesync.Block, error) {
					list, err := honest(from, most, maxBytes)()
					for i := len(list) / 2; i < len(list); i++ {
						change(&list[i])
					}
					return list, err
				}
			}
		}
	}
	return map[string]func(*statesync.ServerConfig){
		"hop header":    hop(func(h *statesync.Hop) { h.Header = forge(h.Header) }),
		"hop cert":      hop(func(h *statesync.Hop) { h.Cert = nil }),
		"hop committee": hop(func(h *statesync.Hop) { h.Committee = []byte("mine") }),
		"head forged": head(func() *statesync.Head {
			h := w.head(w.height() + 4)
			h.Root[0] ^= 1
			return h
		}),
		"head of a far epoch": head(func() *statesync.Head {
			return &statesync.Head{Epoch: 1 << 60, Height: 1 << 62, Header: []byte("x")}
		}),
		"head of the next epoch": head(func() *statesync.Head {
			h := w.head(w.height() + epochBlocks)
			h.Cert = nil
			return h
		}),
		"chunk forged":     chunk(func(b []byte) ([]byte, error) { return forge(b), nil }),
		"chunk empty":      chunk(func([]byte) ([]byte, error) { return nil, nil }),
		"chunk cut":        chunk(func(b []byte) ([]byte, error) { return b[:max(65, len(b)-64)], nil }),
		"chunk enormous":   chunk(func(b []byte) ([]byte, error) { return make([]byte, 1<<20), nil }),
		"chunk that loops": chunk(func([]byte) ([]byte, error) { return []byte("loop"), nil }),
		"chunk gone":       chunk(func([]byte) ([]byte, error) { return nil, errors.New("gone") }),
		"block body":       block(func(b *statesync.Block) { b.Body = append(bytes.Clone(b.Body), 1) }),
		"block cert":       block(func(b *statesync.Block) { b.Cert = forge(b.Cert) }),
		"nothing at all":   nil, // silent: see below
		"no hops, no head": func(c *statesync.ServerConfig) {
			c.Hops = func(shardkit.Epoch, int) func() ([]statesync.Hop, error) {
				return func() ([]statesync.Hop, error) { return nil, nil }
			}
			c.Head = func() func() (*statesync.Head, error) {
				return func() (*statesync.Head, error) { return nil, nil }
			}
		},
	}
}

// TestJoinAmongLiars: three of five servers do the same thing wrong.
func TestJoinAmongLiars(t *testing.T) {
	blamed := map[string]bool{
		"hop header": true, "hop cert": true, "hop committee": true, "head forged": true,
		"chunk forged": true, "chunk empty": true, "chunk enormous": true, "chunk that loops": true, "block body": true, "block cert": true,
	}
	for name := range liars(newWorld(1, 1)) {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, newWorld(2000, 305), simnet.Config{Seed: 1})
			lie := liars(s.w)[name]
			var bad []shardkit.NodeID
			for i := range 5 {
				if i%2 == 1 {
					s.host(nil)
					continue
				}
				id := s.host(lie)
				bad = append(bad, id)
				if lie == nil {
					s.silent = append(s.silent, id)
				}
			}
			s.join()
			require.True(t, s.net.RunUntil(s.upToDate, time.Minute), "%+v", s.node().client.Stats())
			s.net.Run(s.net.Now() + 10*time.Second)
			require.True(t, s.upToDate())
			for _, b := range s.node().bad {
				require.Contains(t, bad, b.Peer, "an honest peer is blamed")
			}
			if blamed[name] {
				require.NotEmpty(t, s.node().bad)
			}
			// A liar is found out, dropped with all it sent, and left alone.
			require.LessOrEqual(t, s.node().client.Stats().Bad, uint64(3*5))
		})
	}
}

// TestCheckHops: with a check of whole runs, and a liar.
func TestCheckHops(t *testing.T) {
	s := newScene(t, newWorld(100, 905), simnet.Config{})
	liar := s.host(liars(s.w)["hop cert"])
	s.host(nil)
	s.host(nil)
	longest := 0
	s.edit = func(c *statesync.ClientConfig) {
		one := c.CheckHop
		c.CheckHop = nil
		c.CheckHops = func(committee []byte, run []statesync.Hop) func() (int, error) {
			return func() (int, error) {
				longest = max(longest, len(run))
				for i, h := range run {
					if err := one(committee, h)(); err != nil {
						return i, err
					}
					committee = h.Committee
				}
				return len(run), nil
			}
		}
	}
	s.join()
	require.True(t, s.net.RunUntil(s.upToDate, 20*time.Second))
	require.Equal(t, 90, s.node().synced.Epochs)
	require.Greater(t, longest, 10)
	require.Len(t, s.node().bad, 1)
	require.Equal(t, liar, s.node().bad[0].Peer)

	s = newScene(t, newWorld(100, 905), simnet.Config{})
	s.edit = func(c *statesync.ClientConfig) {
		c.CheckHops = func([]byte, []statesync.Hop) func() (int, error) {
			return func() (int, error) { return 0, nil }
		}
	}
	s.host(nil)
	s.join()
	s.net.Run(5 * time.Second)
	require.Len(t, s.node().bad, 1)
	require.Error(t, s.node().bad[0].Err)
}

// TestManyForgedBlocks: one check is enough to drop all that a liar sent.
func TestManyForgedBlocks(t *testing.T) {
	s := newScene(t, newWorld(10, 505), simnet.Config{})
	s.host(func(c *statesync.ServerConfig) {
		liars(s.w)["block cert"](c)
		c.MaxBytes = 1 << 20
	})
	s.host(nil)
	s.edit = func(c *statesync.ClientConfig) { c.MaxBytes = 1 << 20 }
	s.disk.ready, s.disk.head = true, s.w.head(100)
	s.join()
	require.True(t, s.net.RunUntil(s.upToDate, 10*time.Second))
	require.LessOrEqual(t, s.node().client.Stats().Bad, uint64(4), "those under way")
}

// TestJoinAlone: a single peer that lies at first must not be banned for ever.
func TestJoinAlone(t *testing.T) {
	s := newScene(t, newWorld(500, 55), simnet.Config{})
	lies := true
	s.host(func(c *statesync.ServerConfig) {
		honest := c.Head
		c.Head = func() func() (*statesync.Head, error) {
			return func() (*statesync.Head, error) {
				h, err := honest()()
				if lies {
					h.Root = shardkit.Hash{}
				}
				return h, err
			}
		}
	})
	s.join()
	s.net.Run(5 * time.Second)
	require.Len(t, s.node().bad, 1)
	lies = false
	require.True(t, s.net.RunUntil(s.upToDate, time.Minute))
}

// TestSlowDisk: what is checked and waits to be written is bounded.
func TestSlowDisk(t *testing.T) {
	s := newScene(t, newWorld(3000, 105), simnet.Config{JobTime: func(j shardkit.Job) time.Duration {
		if j.Kind == "statesync.write" {
			return 300 * time.Millisecond
		}
		return 0
	}})
	s.w.window = 1000
	for range 4 {
		s.host(nil)
	}
	s.join()
	most := 0
	require.True(t, s.net.RunUntil(func() bool {
		most = max(most, s.node().waiting)
		return s.upToDate()
	}, 2*time.Minute), "%+v", s.node().client.Stats())
	require.LessOrEqual(t, most, 4*3)
	require.Zero(t, s.node().client.Stats().Restarts)
}

// TestResumeOldHead: the head of a download that was cut short epochs ago is
// gone on with if a peer still serves it, and given up if none does.
func TestResumeOldHead(t *testing.T) {
	for _, window := range []uint64{1 << 40, 20} {
		s := newScene(t, newWorld(1000, 405), simnet.Config{})
		s.w.window = window
		s.host(nil)
		s.host(nil)
		s.disk.hops, s.disk.head = 20, s.w.head(205)
		s.disk.chunks = map[shardkit.Hash][]byte{{}: s.w.chunk(205, shardkit.Hash{}, 4096)}
		s.join()
		require.True(t, s.net.RunUntil(func() bool { return s.node().synced != nil }, 20*time.Second))
		require.Equal(t, window > 20, s.node().synced.Head.Height == 205)
		require.Equal(t, 20, s.node().synced.Epochs)
		require.True(t, s.net.RunUntil(s.upToDate, 20*time.Second))
	}
}

// TestCrashAndResume kills the node again and again; what was written stays.
func TestCrashAndResume(t *testing.T) {
	for seed := range uint64(10) {
		s := newScene(t, newWorld(6000, 405), simnet.Config{Seed: seed})
		s.w.window = 1 << 40
		for range 4 {
			s.host(nil)
		}
		s.join()
		life := time.Duration(200+13*seed) * time.Millisecond
		for at := life; at < 40*life; at += life {
			s.net.At(at, func() {
				s.net.Crash(s.joiner)
				require.NoError(t, s.net.Restart(s.joiner))
			})
		}
		require.True(t, s.net.RunUntil(s.upToDate, time.Minute), "seed %d: %+v", seed, s.node().client.Stats())
		require.Greater(t, s.disk.begins, 2)
		// A segment's last chunk overlaps the next one; nothing else is written
		// twice.
		chunks := len(s.w.keys) * 64 / 4096
		require.Less(t, s.disk.ranges, 2*chunks+s.disk.begins, "seed %d: %d lives", seed, s.disk.begins)
	}
}

// TestSeeds joins under loss, duplication, reordering and partitions, with a
// liar, a silent peer and crashes.
func TestSeeds(t *testing.T) {
	for seed := range uint64(300) {
		w := newWorld(800, 95+int(seed))
		s := newScene(t, w, simnet.Config{
			Seed: seed, Loss: 0.1, Duplicate: 0.05, Reorder: 0.1, Jitter: 30 * time.Millisecond,
			JobTime: func(shardkit.Job) time.Duration { return time.Millisecond },
		})
		names := []string{"hop committee", "chunk forged", "block cert", "head of a far epoch", "chunk gone", "head forged"}
		s.host(nil)
		s.host(liars(w)[names[seed%6]])
		s.host(nil)
		s.host(liars(w)[names[(seed/6)%6]])
		s.silent = append(s.silent, s.host(nil))
		s.join()
		s.net.At(time.Duration(seed%60)*37*time.Millisecond, func() { s.net.Crash(s.joiner) })
		s.net.At(3*time.Second, func() { require.NoError(t, s.net.Restart(s.joiner)) })
		s.net.At(4*time.Second, func() { s.net.Partition([]shardkit.NodeID{s.joiner}, s.hosts) })
		s.net.At(6*time.Second, func() { s.net.Heal() })
		require.True(t, s.net.RunUntil(func() bool { return s.net.Now() > 6*time.Second && s.upToDate() }, 3*time.Minute),
			"seed %d: %+v", seed, s.node())
		require.NoError(t, s.node().err)
		for _, b := range s.node().bad {
			require.Contains(t, []shardkit.NodeID{s.hosts[1], s.hosts[3]}, b.Peer, "seed %d", seed)
		}
	}
}

func TestSameSeedSameTrace(t *testing.T) {
	run := func() string {
		s := newScene(t, newWorld(500, 95), simnet.Config{Seed: 3, Loss: 0.1, Jitter: 30 * time.Millisecond})
		for range 3 {
			s.host(nil)
		}
		s.join()
		s.net.Run(10 * time.Second)
		return fmt.Sprint(s.net.Digest(), s.node().client.Stats())
	}
	require.Equal(t, run(), run())
}

// TestWindow: an application that applies nothing is handed no more than the
// window.
func TestWindow(t *testing.T) {
	s := newScene(t, newWorld(10, 505), simnet.Config{})
	s.host(nil)
	s.edit = func(c *statesync.ClientConfig) { c.Window = 20 }
	s.disk.ready, s.disk.head = true, s.w.head(100)
	s.join()
	j := s.node()
	j.stall = true
	s.net.Run(5 * time.Second)
	require.Equal(t, 20, j.given)
	requests := j.client.Stats().Requests
	s.net.Run(8 * time.Second)
	require.Equal(t, requests, j.client.Stats().Requests, "nothing is asked that cannot be held")

	// It applied blocks that came another way.
	j.stall, j.applied = false, 300
	s.net.Do(s.joiner, func(now time.Duration, _ simnet.Node) { j.client.Applied(now, 300) })
	require.True(t, s.net.RunUntil(s.upToDate, 20*time.Second))
}

// TestHint: a hint is followed at once, not at the next poll.
func TestHint(t *testing.T) {
	s := newScene(t, newWorld(10, 505), simnet.Config{})
	s.host(nil)
	s.host(nil)
	s.edit = func(c *statesync.ClientConfig) { c.Poll = time.Hour }
	s.disk.ready, s.disk.head = true, s.w.head(500)
	s.join()
	s.net.Run(30 * time.Second)
	j := s.node()
	require.Less(t, j.height()+10, s.w.height())
	h := shardkit.Height(s.w.height())
	s.net.Do(s.joiner, func(now time.Duration, _ simnet.Node) { j.client.Hint(now, s.hosts[1], h) })
	s.net.Run(s.net.Now() + time.Second)
	require.GreaterOrEqual(t, j.applied, h)

	// A false one costs a request.
	requests := j.client.Stats().Requests
	s.net.Do(s.joiner, func(now time.Duration, _ simnet.Node) { j.client.Hint(now, s.hosts[0], 1<<63) })
	s.net.Run(s.net.Now() + 300*time.Millisecond)
	require.LessOrEqual(t, j.client.Stats().Requests, requests+4)
}

// TestStopAndUseAgain: results of jobs and answers of an earlier use are void.
func TestStopAndUseAgain(t *testing.T) {
	jobs := 0
	s := newScene(t, newWorld(2000, 205), simnet.Config{JobTime: func(j shardkit.Job) time.Duration {
		switch jobs++; j.Kind {
		case "statesync.write", "statesync.begin":
			return 700 * time.Millisecond
		case "statesync.range", "statesync.block":
			return time.Duration(jobs%4) * 600 * time.Millisecond
		}
		return 10 * time.Millisecond
	}})
	s.w.window = 1000
	for range 3 {
		s.host(nil)
	}
	s.join()
	for i := range 60 {
		s.net.Run(s.net.Now() + time.Duration(i*i%13)*150*time.Millisecond)
		s.net.Do(s.joiner, func(now time.Duration, _ simnet.Node) {
			c := s.node().client
			c.Stop(now)
			if i%3 > 0 && !s.disk.ready {
				c.Trust(s.disk.hops, s.w.committee(s.disk.hops))
				c.Sync(now, s.disk.hops, s.w.committee(s.disk.hops+1))
			}
		})
	}
	s.net.Do(s.joiner, func(now time.Duration, _ simnet.Node) {
		if !s.disk.ready {
			s.node().client.Sync(now, s.disk.hops, s.w.committee(s.disk.hops+1))
		} else {
			s.node().client.Follow(now, s.node().applied+1)
		}
	})
	require.True(t, s.net.RunUntil(s.upToDate, s.net.Now()+2*time.Minute), "%+v", s.node().client.Stats())
}

// TestOwnDisk: an error of the own disk ends the sync and says so.
func TestOwnDisk(t *testing.T) {
	full := errors.New("disk full")
	for name, edit := range map[string]func(*statesync.ClientConfig){
		"begin": func(c *statesync.ClientConfig) {
			c.Begin = func(statesync.Head) func() (shardkit.Hash, error) {
				return func() (h shardkit.Hash, err error) { return h, full }
			}
		},
		"write": func(c *statesync.ClientConfig) {
			c.Write = func(shardkit.Hash, []byte) func() error { return func() error { return full } }
		},
		"finish": func(c *statesync.ClientConfig) {
			c.Finish = func(statesync.Head) func() error { return func() error { return full } }
		},
	} {
		s := newScene(t, newWorld(300, 35), simnet.Config{})
		s.host(nil)
		s.edit = edit
		s.join()
		s.net.Run(5 * time.Second)
		require.ErrorIs(t, s.node().err, full, name)
		require.Equal(t, "idle", s.node().client.Stats().Phase)
		require.Empty(t, s.node().bad)
		at, ok := s.node().client.Wake()
		require.False(t, ok, at)
	}
}
