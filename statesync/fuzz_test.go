package statesync_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/statesync"
)

// events drives a client by a string of bytes: peers that answer, lie, cut and
// repeat, jobs that end in any order, a user who changes their mind. What must
// hold: no panic, bounded requests and jobs, and a wake-up if something is
// under way.
func events(t *testing.T, script []byte) {
	w := newWorld(200, 65)
	peers := []shardkit.NodeID{nodeID(0), nodeID(1), nodeID(2)}
	j := newJoiner(t, w, &disk{}, peers, nil)
	server, err := statesync.NewServer(w.serving())
	require.NoError(t, err)
	var (
		now      time.Duration
		requests []shardkit.Message
		jobs     []shardkit.Job
	)
	drain := func() {
		r := j.client.Ready()
		requests, jobs = append(requests, r.Messages...), append(jobs, r.Jobs...)
		require.LessOrEqual(t, len(requests), 100+len(script))
		require.LessOrEqual(t, len(r.Jobs), 8)
		_, wakes := j.client.Wake()
		require.True(t, wakes || len(r.Messages) == 0 || j.client.Stats().Phase == "idle", "it waits for answers for ever: %+v, %d jobs", j.client.Stats(), len(jobs))
	}
	answer := func(q shardkit.Message) []byte {
		require.NoError(t, server.Deliver(now, q.To, q.Data))
		for _, job := range server.Ready().Jobs {
			server.Done(now, job.Run())
		}
		return server.Ready().Messages[0].Data
	}
	take := func(n byte) (q shardkit.Message, ok bool) {
		if len(requests) == 0 {
			return q, false
		}
		i := int(n) % len(requests)
		q = requests[i]
		requests = append(requests[:i], requests[i+1:]...)
		return q, true
	}
	for len(script) >= 2 {
		op, n := script[0]%16, script[1]
		script = script[2:]
		switch op {
		case 0:
			now += time.Duration(n) * 20 * time.Millisecond
			j.client.Tick(now)
		case 1, 2, 3, 4:
			if q, ok := take(n); ok {
				_ = j.client.Deliver(now, q.To, answer(q))
			}
		case 5, 6:
			if q, ok := take(n); ok {
				msg := bytes.Clone(answer(q))
				msg[int(n)*7%len(msg)] ^= 1 << (n % 8)
				_ = j.client.Deliver(now, q.To, msg)
				_ = j.client.Deliver(now, q.To, msg)
			}
		case 7:
			if q, ok := take(n); ok {
				msg := answer(q)
				_ = j.client.Deliver(now, q.To, msg[:int(n)%len(msg)])
			}
		case 8, 9, 10, 11:
			if len(jobs) > 0 {
				i := int(n) % len(jobs)
				job := jobs[i]
				jobs = append(jobs[:i], jobs[i+1:]...)
				j.client.Done(now, job.Run())
			}
		case 12:
			take(n)
		case 13:
			switch n % 4 {
			case 0:
				j.client.Stop(now)
			case 1:
				j.client.Sync(now, shardkit.Epoch(n%6), w.committee(shardkit.Epoch(n%6)+1))
			case 2:
				j.client.Follow(now, shardkit.Height(n%70))
			case 3:
				j.client.SetPeers(now, peers[:n%3])
			}
		case 14:
			j.client.Hint(now, peers[n%3], shardkit.Height(n)<<(n%60))
		case 15:
			j.client.Applied(now, shardkit.Height(n)<<(n%60))
		}
		drain()
	}

	// From now on all are honest: whatever it was doing, it gets there.
	j.client.SetPeers(now, peers)
	for range 3000 {
		drain()
		switch s := j.client.Stats(); {
		case s.Phase == "idle" || s.Phase == "synced" || s.Phase == "follow" && len(requests)+len(jobs) == 0:
			return
		case len(jobs) > 0:
			job := jobs[0]
			jobs = jobs[1:]
			j.client.Done(now, job.Run())
		case len(requests) > 0:
			q, _ := take(0)
			require.NoError(t, j.client.Deliver(now, q.To, answer(q)))
		default:
			at, ok := j.client.Wake()
			require.True(t, ok, "%+v", s)
			now = max(now, at)
			j.client.Tick(now)
		}
	}
	require.Fail(t, "stuck", "%+v", j.client.Stats())
}

func FuzzClient(f *testing.F) {
	f.Add([]byte{1, 0, 8, 0, 1, 0, 8, 0, 1, 0, 8, 0, 8, 0, 1, 0, 8, 0, 8, 0})
	f.Add(bytes.Repeat([]byte{1, 1, 9, 0, 5, 3, 0, 200, 13, 6, 14, 9}, 10))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) <= 2000 {
			events(t, script)
		}
	})
}

func TestRandomEvents(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		script := make([]byte, 1000)
		for i := range script {
			script[i] = byte(rnd.Uint32())
		}
		events(t, script)
	}
}
