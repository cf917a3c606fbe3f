package statesync_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/statesync"
)

// capture returns requests of each kind as a client makes them.
func capture(t *testing.T, n int) [][]byte {
	w := newWorld(1, 1)
	j := newJoiner(t, w, &disk{}, []shardkit.NodeID{nodeID(0)}, nil)
	var out [][]byte
	for range n {
		for _, m := range j.client.Ready().Messages {
			out = append(out, m.Data)
		}
		j.client.Stop(0)
		j.client.Follow(0, 5)
	}
	return out
}

func TestServerBounds(t *testing.T) {
	reads := 0
	s, err := statesync.NewServer(statesync.ServerConfig{
		Hops: func(_ shardkit.Epoch, most int) func() ([]statesync.Hop, error) {
			reads++
			require.LessOrEqual(t, most, 256)
			return func() ([]statesync.Hop, error) { return make([]statesync.Hop, most), nil }
		},
		Head: func() func() (*statesync.Head, error) {
			return func() (*statesync.Head, error) { return nil, nil }
		},
		Range: func(_ shardkit.Height, _ shardkit.Hash, maxBytes int) func() ([]byte, error) {
			return func() ([]byte, error) { return nil, errors.New("pruned") }
		},
		Blocks: func(_ shardkit.Height, most, maxBytes int) func() ([]statesync.Block, error) {
			reads++
			require.LessOrEqual(t, maxBytes, 1000)
			return func() ([]statesync.Block, error) {
				return []statesync.Block{{Body: make([]byte, 5000)}, {Body: make([]byte, 10)}}, nil
			}
		},
		MaxBytes: 1000, PerPeer: 3,
	})
	require.NoError(t, err)
	questions := capture(t, 8)

	// A peer has three requests under way, the rest is refused at once.
	for _, q := range questions {
		require.NoError(t, s.Deliver(0, nodeID(1), q))
	}
	r := s.Ready()
	require.Len(t, r.Jobs, 3)
	require.Equal(t, 3, reads)
	require.Len(t, r.Messages, len(questions)-3)
	for _, m := range r.Messages {
		require.Equal(t, nodeID(1), m.To)
		require.Len(t, m.Data, 11)
	}
	// Another peer is served meanwhile.
	require.NoError(t, s.Deliver(0, nodeID(2), questions[0]))
	require.Len(t, s.Ready().Jobs, 1)
	// One piece is sent even if it is over the limit, two are not.
	for _, job := range r.Jobs {
		s.Done(0, job.Run())
	}
	for _, m := range s.Ready().Messages {
		require.Less(t, len(m.Data), 5100)
		require.Equal(t, shardkit.ClassSync, m.Class)
	}
	require.NoError(t, s.Deliver(0, nodeID(1), questions[0]))
	require.Len(t, s.Ready().Jobs, 1)

	// All peers together have so many, whoever they say they are.
	jobs := 0
	for i := range 400 {
		require.NoError(t, s.Deliver(0, nodeID(1000+i), questions[0]))
		jobs += len(s.Ready().Jobs)
	}
	require.Equal(t, 256-2, jobs)

	// Noise.
	require.Error(t, s.Deliver(0, nodeID(1), nil))
	require.Error(t, s.Deliver(0, nodeID(1), []byte("noise")))
	s.Done(0, "noise")
	s.Tick(0)
	_, wakes := s.Wake()
	require.False(t, wakes)
}

func TestConfigs(t *testing.T) {
	_, err := statesync.NewServer(statesync.ServerConfig{})
	require.Error(t, err)
	_, err = statesync.NewClient(statesync.ClientConfig{})
	require.Error(t, err)
	good := newWorld(1, 1).serving()
	good.PerPeer = -1
	_, err = statesync.NewServer(good)
	require.Error(t, err)
}

// TestServerRate: a peer that takes more than its rate is refused until time
// has made up for it; others are served meanwhile.
func TestServerRate(t *testing.T) {
	cfg := newWorld(1000, 1).serving()
	cfg.Rate, cfg.MaxBytes = 1000, 512
	s, err := statesync.NewServer(cfg)
	require.NoError(t, err)
	question := capture(t, 1)[0]
	serve := func(now time.Duration, peer int) bool {
		require.NoError(t, s.Deliver(now, nodeID(peer), question))
		r := s.Ready()
		for _, j := range r.Jobs {
			s.Done(now, j.Run())
		}
		return len(r.Jobs) == 1
	}
	served := 0
	for range 100 {
		if serve(0, 1) {
			served++
		}
	}
	require.Equal(t, 4, served, "of 1,024 bytes at least each")
	require.True(t, serve(0, 2))
	// In ten seconds, ten more.
	for i := range 100_000 {
		if serve(time.Duration(i)*100*time.Microsecond, 1) {
			served++
		}
	}
	require.InDelta(t, 4+10, served, 1)
	require.True(t, serve(time.Hour, 1))
	require.True(t, serve(0, 1), "a clock that goes back does no harm")
}

// TestServerReadsNoMoreHopsThanItSends: it learns how large they are.
func TestServerReadsNoMoreHopsThanItSends(t *testing.T) {
	var asked int
	s, err := statesync.NewServer(statesync.ServerConfig{
		Hops: func(_ shardkit.Epoch, most int) func() ([]statesync.Hop, error) {
			asked = most
			return func() ([]statesync.Hop, error) {
				return slices.Repeat([]statesync.Hop{{Committee: make([]byte, 250)}}, most), nil
			}
		},
		Head: newWorld(1, 1).serving().Head, Range: newWorld(1, 1).serving().Range, Blocks: newWorld(1, 1).serving().Blocks,
		MaxBytes: 1000,
	})
	require.NoError(t, err)
	question := capture(t, 1)[0]
	binary.BigEndian.PutUint16(question[18:], 256) // as many as it may
	for _, want := range []int{16, 4, 4} {
		require.NoError(t, s.Deliver(0, nodeID(1), question))
		require.Equal(t, want, asked)
		s.Done(0, s.Ready().Jobs[0].Run())
	}
	require.Equal(t, uint64(3), s.Stats().Served)
}

// TestClientRefuses: answers that are not ones.
func TestClientRefuses(t *testing.T) {
	w := newWorld(1, 1)
	peer := nodeID(0)
	fresh := func() (*statesync.Client, []byte) {
		j := newJoiner(t, w, &disk{}, []shardkit.NodeID{peer}, nil)
		m := j.client.Ready().Messages
		require.Len(t, m, 1)
		return j.client, m[0].Data
	}
	answer := func(question []byte, kind byte, rest ...byte) []byte {
		return append(append([]byte{1, kind}, question[2:10]...), rest...)
	}
	for name, c := range map[string]struct {
		msg func(q []byte) []byte
		bad bool // the peer is blamed: the answer names its question
	}{
		"empty":        {func(q []byte) []byte { return nil }, false},
		"noise":        {func(q []byte) []byte { return bytes.Repeat([]byte{7}, 100) }, false},
		"future id":    {func(q []byte) []byte { return append([]byte{1, 17}, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) }, false},
		"id 0":         {func(q []byte) []byte { return append([]byte{1, 17}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) }, false},
		"cut":          {func(q []byte) []byte { return answer(q, 17, 0, 0, 0) }, true},
		"unknown kind": {func(q []byte) []byte { return answer(q, 99) }, true},
		"enormous":     {func(q []byte) []byte { return answer(q, 19, make([]byte, 17<<20)...) }, true},
		"another kind": {func(q []byte) []byte { return answer(q, 18, 0) }, true},
		"too many": {func(q []byte) []byte {
			return answer(q, 17, append([]byte{0, 0, 0, 0, 99}, make([]byte, 99*12)...)...)
		}, true},
	} {
		client, q := fresh()
		require.Error(t, client.Deliver(0, peer, c.msg(q)), name)
		require.Equal(t, c.bad, len(client.Ready().Bad) == 1, name)
	}
	// Late, or from somebody else: nothing happens.
	client, q := fresh()
	require.NoError(t, client.Deliver(0, nodeID(3), answer(q, 17, 0, 0, 0, 0, 0)))
	client.Tick(10 * time.Second)
	require.NoError(t, client.Deliver(10*time.Second, peer, answer(q, 17, 0, 0, 0, 0, 0)))
	require.Empty(t, client.Ready().Bad)
	client.Done(0, "noise")
	client.Persisted(0, 0)
}

// TestFullButForTheFront: what is held ahead of the piece that all wait for is
// bounded, in bytes, whatever part of a piece they are in, and of hops in number.
// However much that is, the piece that it waits for is asked for all the same.
func TestFullButForTheFront(t *testing.T) {
	const hops, blocks = 1, 4 // kinds of requests
	for name, c := range map[string]struct {
		kind                  byte
		header, cert, content int // bytes of a piece
		room                  int // bytes, or pieces if these are empty
	}{
		"headers of hops":      {kind: hops, header: 60_000, room: 8 << 20},
		"certificates of hops": {kind: hops, cert: 200_000, room: 8 << 20},
		"committees":           {kind: hops, content: 1_000_000, room: 8 << 20},
		"empty hops":           {kind: hops, room: 256},
		"headers":              {kind: blocks, header: 60_000, room: 32 << 20},
		"certificates":         {kind: blocks, cert: 200_000, room: 32 << 20},
		"bodies":               {kind: blocks, content: 1_000_000, room: 32 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJoiner(t, newWorld(1, 1), &disk{}, []shardkit.NodeID{nodeID(0), nodeID(1)}, func(c *statesync.ClientConfig) {
				c.CheckHop = func([]byte, statesync.Hop) func() error { return func() error { return nil } }
				c.CheckBlock = func(statesync.Block) func() error { return func() error { return nil } }
				c.Window = 1000
			})
			client, size := j.client, max(1, c.header+c.cert+c.content)
			if c.kind == blocks {
				client.Stop(0)
				client.Follow(0, 10)
			}
			piece := []byte{1, 0, 0, 0, 1} // there are more; one
			for _, n := range []int{c.header, c.cert, c.content} {
				piece = append(binary.BigEndian.AppendUint32(piece, uint32(n)), make([]byte, n)...)
			}
			// The first piece is answered, so that more are believed to be there; the
			// second one never comes.
			var front []byte
			held, answered := 0, 0
			for quiet := false; !quiet; {
				r := client.Ready()
				quiet = len(r.Messages)+len(r.Jobs) == 0
				for _, job := range r.Jobs {
					client.Done(0, job.Run())
				}
				for _, m := range r.Messages {
					if m.Data[1] != c.kind {
						continue
					}
					if answered++; answered == 2 {
						front = m.Data
						continue
					}
					if answered > 1 {
						held += size
					}
					require.Less(t, held, 100<<20)
					answer := append([]byte{1, 16 + c.kind}, m.Data[2:10]...)
					require.NoError(t, client.Deliver(0, m.To, append(answer, piece...)))
				}
			}
			require.NotNil(t, front)
			require.Empty(t, client.Ready().Messages, "no room for more")
			require.GreaterOrEqual(t, held+size, c.room, "the room is used")
			require.LessOrEqual(t, held, c.room+3*size, "three requests were under way")
			client.Tick(3 * time.Second)
			m := client.Ready().Messages
			require.Len(t, m, 1)
			require.Equal(t, front[10:18], m[0].Data[10:18])
		})
	}
}

// TestRefuse: a node that does not serve says so, and is not blamed for it.
func TestRefuse(t *testing.T) {
	j := newJoiner(t, newWorld(1, 1), &disk{}, []shardkit.NodeID{nodeID(0)}, nil)
	answer, err := statesync.Refuse(j.client.Ready().Messages[0].Data)
	require.NoError(t, err)
	require.NoError(t, j.client.Deliver(0, nodeID(0), answer))
	require.Empty(t, j.client.Ready().Bad)
	require.Equal(t, uint64(1), j.client.Stats().Refused)
	_, err = statesync.Refuse([]byte("noise"))
	require.Error(t, err)
}
