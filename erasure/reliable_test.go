package erasure_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/erasure"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/kad/simnet"
)

func vouchMsg(ref erasure.Ref, ask bool) []byte {
	return wire.AppendBool(append([]byte{1, 3}, encoded(ref)...), ask)
}

// reliable returns a bench with Reliable: of four members of weight 1 a quorum
// is three, and two vouches are one of an honest member.
func reliable(t *testing.T) *bench {
	return newBench(t, func(c *erasure.Config) { c.Reliable = true })
}

func (b *bench) vouches(now time.Duration) (sent []string) {
	jobs, messages := b.drain()
	for len(jobs) > 0 {
		for _, j := range jobs {
			b.Done(now, j.Run())
		}
		var more []shardkit.Message
		jobs, more = b.drain()
		messages = append(messages, more...)
	}
	for _, m := range messages {
		if m.Data[1] == 3 {
			sent = append(sent, map[byte]string{0: "have ", 1: "ask "}[m.Data[44]]+string('0'+rune(m.To[1])))
		}
	}
	return sent
}

func TestReliableWaitsForAQuorum(t *testing.T) {
	b := reliable(t)
	coded := four(t, 1000)
	require.NoError(t, b.Obtain(0, 7, member(0), encoded(coded.Ref)))
	require.NoError(t, b.Deliver(0, member(0), chunksMsg(coded, 0, 1)))
	require.Equal(t, []string{"have 0", "have 2", "have 3"}, b.vouches(0))
	require.Empty(t, b.delivered)
	require.NoError(t, b.Deliver(1, member(2), vouchMsg(coded.Ref, false)))
	require.NoError(t, b.Deliver(1, member(2), vouchMsg(coded.Ref, true)))
	require.Equal(t, []string{"have 2"}, b.vouches(1), "who asks is answered, and counts once")
	require.Empty(t, b.delivered)
	at, ok := b.Wake()
	require.True(t, ok)
	b.Tick(at)
	require.Equal(t, []string{"ask 0", "ask 3"}, b.vouches(at))
	require.NoError(t, b.Deliver(at, member(3), vouchMsg(coded.Ref, false)))
	b.vouches(at)
	require.Len(t, b.delivered, 1)
	require.Equal(t, body(1000), b.delivered[0].Body)

	for _, wait := range []time.Duration{100 * ms, 100 * ms, 200 * ms, 400 * ms} {
		again, ok := b.Wake()
		require.True(t, ok, "one has not been heard")
		require.Equal(t, wait, again-at, "less and less often")
		at = again
		b.Tick(at)
		require.Equal(t, []string{"ask 0"}, b.vouches(at))
	}
	require.NoError(t, b.Deliver(at, member(0), vouchMsg(coded.Ref, false)))
	_, ok = b.Wake()
	require.False(t, ok)
}

// TestRumor: the body was never announced to this node.
func TestRumor(t *testing.T) {
	b := reliable(t)
	coded := four(t, 1000)
	require.NoError(t, b.Deliver(0, member(2), chunksMsg(coded, 2)))
	require.NoError(t, b.Deliver(0, member(2), vouchMsg(coded.Ref, false)))
	require.NoError(t, b.Deliver(0, member(2), vouchMsg(coded.Ref, false)))
	_, ok := b.Wake()
	require.False(t, ok, "one member's word is nothing, however often")
	require.NoError(t, b.Deliver(0, member(3), vouchMsg(coded.Ref, false)))
	require.NoError(t, b.Deliver(0, member(3), chunksMsg(coded, 3)))
	b.vouches(0)
	require.Len(t, b.delivered, 1)
	require.Equal(t, body(1000), b.delivered[0].Body)
}

func TestRumorsAreBounded(t *testing.T) {
	b := reliable(t)
	first := four(t, 1000)
	require.NoError(t, b.Deliver(0, member(2), vouchMsg(first.Ref, false)))
	for i := range 8 {
		require.NoError(t, b.Deliver(0, member(2), vouchMsg(four(t, 1001+i).Ref, false)))
	}
	require.NoError(t, b.Deliver(0, member(3), vouchMsg(first.Ref, false)), "the first has gone")
	_, ok := b.Wake()
	require.False(t, ok)
	require.NoError(t, b.Deliver(0, member(3), vouchMsg(four(t, 1008).Ref, false)))
	_, ok = b.Wake()
	require.True(t, ok)

	_, other := encode(t, 3, 4, body(1000))
	require.ErrorIs(t, b.Deliver(0, member(2), vouchMsg(other.Ref, false)), erasure.ErrPeer, "not how any group cuts")
	require.ErrorIs(t, b.Deliver(0, member(9), vouchMsg(four(t, 900).Ref, false)), erasure.ErrPeer)
	require.Error(t, b.Deliver(0, member(2), append(vouchMsg(first.Ref, false), 0)))
	b.Forget(encoded(first.Ref))
	for i := range 3 {
		require.NoError(t, b.Deliver(0, member([]int{0, 2, 3}[i]), vouchMsg(first.Ref, true)))
	}
	require.Empty(t, b.vouches(0), "forgotten: this node's part is over")
	b.DropGroup(7)
	_, ok = b.Wake()
	require.False(t, ok)
}

func TestVouchesWithoutReliable(t *testing.T) {
	b := newBench(t, nil)
	coded := four(t, 1000)
	for i := range 4 {
		require.NoError(t, b.Deliver(0, member(i), vouchMsg(coded.Ref, true)))
	}
	require.NoError(t, b.Obtain(0, 7, member(0), encoded(coded.Ref)))
	require.NoError(t, b.Deliver(0, member(0), vouchMsg(coded.Ref, true)))
	require.Empty(t, b.vouches(0))
}

// TestAllOrNone: a hostile sender announces to some, gives chunks to some, and
// members as many as can be vouch for anything. If one honest member delivers,
// all do; and nobody delivers what is not an encoding.
func TestAllOrNone(t *testing.T) {
	all, none := 0, 0
	for seed := range uint64(5 * *seeds) {
		rng := rand.New(rand.NewPCG(seed, 4))
		g := group(equal(4 + 3*rng.IntN(4))...)
		d, err := erasure.NewDeal(g)
		require.NoError(t, err)
		m := len(g.Members)
		hostile := func(i int) bool { return i < (m-1)/3 } // the sender, 0, among them
		s := newSimulation(t, g, erasure.Config{Small: 10, Reliable: true}, simnet.Config{
			Seed: seed, Jitter: 50 * ms, Loss: 0.1,
			JobTime: func(shardkit.Job) time.Duration { return 2 * ms },
		})
		garbage := seed%4 == 0
		ref, chunks := forge(t, d.K, d.N, body(3000), func(c [][]byte) {
			if garbage {
				c[rng.IntN(d.N)][0]++
			}
		})
		told, given := rng.Float64(), rng.Float64()
		for i, x := range g.Members {
			if hostile(i) {
				continue
			}
			out := &s.nodes[0].extra
			if rng.Float64() < told {
				*out = append(*out, shardkit.Message{To: x.Node, Data: append([]byte{announce}, encoded(ref)...)})
			}
			if lo, hi := d.Range(i); rng.Float64() < given {
				*out = append(*out, shardkit.Message{To: x.Node, Data: rawChunks(ref, chunks[lo:hi]...)})
			}
			if rng.IntN(m) == 0 { // one gets all of it
				*out = append(*out, shardkit.Message{To: x.Node, Data: rawChunks(ref, chunks...)})
			}
			for h := range m {
				if hostile(h) && rng.IntN(2) == 0 {
					s.nodes[h].extra = append(s.nodes[h].extra, shardkit.Message{To: x.Node, Data: vouchMsg(ref, true)})
				}
			}
		}
		for h := range m {
			if hostile(h) {
				s.do(h, func(time.Duration, *simNode) {})
				s.net.Crash(g.Members[h].Node)
			}
		}
		s.net.Run(60 * time.Second)
		got, honest := 0, 0
		for i, n := range s.nodes {
			if hostile(i) {
				continue
			}
			honest++
			for k, x := range n.delivered { // twice, if the announcement came after the rumor
				if x.Err == nil {
					require.False(t, garbage)
					require.True(t, bytes.Equal(body(3000), x.Body))
					if k == 0 {
						got++
					}
				}
			}
		}
		require.True(t, got == 0 || got == honest, "seed %d: %d of %d delivered", seed, got, honest)
		if got > 0 {
			all++
		} else {
			none++
		}
	}
	require.Positive(t, all)
	require.Positive(t, none)
}
