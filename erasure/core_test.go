package erasure_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/erasure"
	"github.com/shardkit/shardkit/internal/merkle"
	"github.com/shardkit/shardkit/internal/wire"
)

const ms = time.Millisecond

// bench drives the core of member 1 by hand, in group 7 of four equal members:
// two of four chunks rebuild, member i holds chunk i.
type bench struct {
	*testing.T
	*erasure.Core
	delivered []erasure.Delivered
	dispersed []erasure.Dispersed
	bad       []erasure.BadPeer
	kinds     []string // of jobs run
}

func newBench(t *testing.T, change func(*erasure.Config)) *bench {
	cfg := erasure.Config{Self: member(1), Small: 100, Resend: 100 * ms}
	if change != nil {
		change(&cfg)
	}
	core, err := erasure.New(cfg)
	require.NoError(t, err)
	require.NoError(t, core.SetGroup(0, 7, group(1, 1, 1, 1)))
	return &bench{T: t, Core: core}
}

// finish runs all jobs and returns the messages sent, readable.
func (b *bench) finish(now time.Duration) (sent []string) {
	for {
		jobs, messages := b.drain()
		for _, m := range messages {
			sent = append(sent, describe(m))
		}
		if len(jobs) == 0 {
			return sent
		}
		for _, j := range jobs {
			b.kinds = append(b.kinds, j.Kind)
			b.Done(now, j.Run())
		}
	}
}

func (b *bench) drain() ([]shardkit.Job, []shardkit.Message) {
	ready := b.Ready()
	b.delivered = append(b.delivered, ready.Delivered...)
	b.dispersed = append(b.dispersed, ready.Dispersed...)
	b.bad = append(b.bad, ready.Bad...)
	return ready.Jobs, ready.Messages
}

// describe names a message: kind, receiver, chunks.
func describe(m shardkit.Message) string {
	var ref erasure.Ref
	if err := ref.UnmarshalBinary(m.Data[2:44]); err != nil {
		return err.Error()
	}
	rest := m.Data[44:]
	if m.Data[1] == 3 {
		return fmt.Sprintf("vouch %d", m.To[1])
	}
	if m.Data[1] == 2 {
		return fmt.Sprintf("want %d: %d beside %x", m.To[1], int(rest[0])<<8|int(rest[1]), rest[2:])
	}
	var index []int
	for rest = rest[2:]; len(rest) > 0; {
		index = append(index, int(rest[0])<<8|int(rest[1]))
		proof := merkle.ProofLen(uint64(index[len(index)-1]), uint64(ref.N))
		rest = rest[2+ref.ChunkSize()+32*proof:]
	}
	return fmt.Sprintf("chunks %d: %v", m.To[1], index)
}

// The messages, written out once more.

func chunksMsg(coded *erasure.Coded, index ...int) []byte {
	var chunks []erasure.Chunk
	for _, i := range index {
		chunks = append(chunks, coded.Chunk(i))
	}
	return rawChunks(coded.Ref, chunks...)
}

func rawChunks(ref erasure.Ref, chunks ...erasure.Chunk) []byte {
	b := append([]byte{1, 1}, encoded(ref)...)
	b = wire.AppendU16(b, uint16(len(chunks)))
	for _, c := range chunks {
		b = append(wire.AppendU16(b, uint16(c.Index)), c.Data...)
		for _, h := range c.Proof {
			b = append(b, h[:]...)
		}
	}
	return b
}

func wantMsg(ref erasure.Ref, n uint16, have ...byte) []byte {
	return append(wire.AppendU16(append([]byte{1, 2}, encoded(ref)...), n), have...)
}

func encoded(ref erasure.Ref) []byte {
	enc, err := ref.AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	return enc
}

func four(t *testing.T, n int) *erasure.Coded {
	_, coded := encode(t, 2, 4, body(n))
	return coded
}

func TestDisperse(t *testing.T) {
	b := newBench(t, nil)
	b.Disperse(0, 7, body(100_000))
	sent := b.finish(0)
	require.Equal(t, []string{
		"chunks 2: [2]", "chunks 3: [3]", "chunks 0: [0]", // to each its own
		"chunks 0: [1]", "chunks 3: [1]", "chunks 2: [1]", // then mine to all
	}, sent)
	ref := encoded(four(t, 100_000).Ref)
	require.Equal(t, []erasure.Dispersed{{Group: 7, Ref: ref, Body: body(100_000)}}, b.dispersed)

	require.NoError(t, b.Obtain(1, 7, member(1), ref))
	b.finish(1)
	require.Equal(t, []erasure.Delivered{{Group: 7, Ref: ref, Body: body(100_000)}}, b.delivered)

	b.Disperse(2, 7, body(1000)) // a short one: fewer messages
	require.Equal(t, []string{"chunks 2: [1 2]", "chunks 3: [1 3]", "chunks 0: [0 1]"}, b.finish(2))
}

func TestDisperseWhole(t *testing.T) {
	b := newBench(t, nil)
	b.Disperse(0, 7, body(100))
	require.Equal(t, []string{"chunks 0: [0]", "chunks 3: [0]", "chunks 2: [0]"}, b.finish(0))
	var ref erasure.Ref
	require.NoError(t, ref.UnmarshalBinary(b.dispersed[0].Ref))
	require.Equal(t, erasure.Whole, ref.Codec())
}

func TestDisperseRefuses(t *testing.T) {
	b := newBench(t, func(c *erasure.Config) { c.MaxBody = 2000 })
	require.NoError(t, b.SetGroup(0, 8, erasure.Group{Members: group(1, 1, 1, 1, 1).Members[2:], Sure: 1}))
	b.Disperse(0, 9, body(1000))
	b.Disperse(0, 8, body(1000))
	b.Disperse(0, 7, body(2001))
	require.Empty(t, b.finish(0))
	require.Len(t, b.dispersed, 3)
	for _, d := range b.dispersed {
		require.Error(t, d.Err)
	}
	b.Disperse(0, 7, body(2000))
	jobs, _ := b.drain()
	b.DropGroup(7)
	b.Done(1, jobs[0].Run())
	require.Empty(t, b.finish(1))
	require.Error(t, b.dispersed[3].Err)
}

// TestRebuild: this node's own chunk of a long body is passed on before the body
// is rebuilt; a short one is verified and rebuilt in one job.
func TestRebuild(t *testing.T) {
	b := newBench(t, nil)
	passed := []string{"chunks 0: [1]", "chunks 3: [1]", "chunks 2: [1]"}
	long := four(t, 100_000)
	require.NoError(t, b.Obtain(0, 7, member(0), encoded(long.Ref)))
	require.NoError(t, b.Deliver(1, member(0), chunksMsg(long, 0, 1)))
	jobs, _ := b.drain()
	require.Equal(t, "erasure.verify", jobs[0].Kind)
	b.Done(1, jobs[0].Run())
	jobs, messages := b.drain()
	require.Len(t, messages, 3)
	require.Equal(t, "erasure.rebuild", jobs[0].Kind)
	b.Done(2, jobs[0].Run())
	require.Empty(t, b.finish(2))
	require.Len(t, b.delivered, 1)
	b.delivered = nil

	coded := four(t, 1000)
	ref := encoded(coded.Ref)
	require.NoError(t, b.Obtain(0, 7, member(0), ref))
	require.NoError(t, b.Deliver(1, member(0), chunksMsg(coded, 0, 1)))
	require.Equal(t, passed, b.finish(1))
	require.Equal(t, []string{"erasure.rebuild"}, b.kinds)
	require.Equal(t, []erasure.Delivered{{Group: 7, Ref: ref, Body: body(1000), ByChunks: true}}, b.delivered)

	require.NoError(t, b.Deliver(2, member(3), chunksMsg(coded, 3)), "late ones are no offence")
	require.Empty(t, b.finish(2))
	require.NoError(t, b.Obtain(3, 7, member(2), ref), "announced in a later view")
	b.finish(3)
	require.Len(t, b.delivered, 2)
	_, ok := b.Wake()
	require.False(t, ok)
}

func TestChunksBeforeTheAnnouncement(t *testing.T) {
	b := newBench(t, nil)
	coded := four(t, 1000)
	for i, index := range []int{1, 0, 2} {
		require.NoError(t, b.Deliver(0, member([]int{0, 0, 2}[i]), chunksMsg(coded, index)))
	}
	require.Empty(t, b.finish(0), "nothing is passed on before somebody stands for it")
	require.NoError(t, b.Obtain(1, 7, member(0), encoded(coded.Ref)))
	b.finish(1)
	require.Len(t, b.delivered, 1)
	require.Equal(t, body(1000), b.delivered[0].Body)
}

// TestEarlyIsBounded: a peer sends chunks of bodies that nobody announces.
func TestEarlyIsBounded(t *testing.T) {
	b := newBench(t, func(c *erasure.Config) { c.PerPeer = 3; c.MaxBody = 1 << 20 })
	var all []*erasure.Coded
	for i := range 6 {
		coded := four(t, 1000+i)
		all = append(all, coded)
		require.NoError(t, b.Deliver(0, member(0), chunksMsg(coded, 0, 1)))
	}
	require.EqualValues(t, 3, b.Stats().EarlyDropped)
	for i, coded := range all {
		require.NoError(t, b.Obtain(1, 7, member(0), encoded(coded.Ref)))
		b.finish(1)
		require.Len(t, b.delivered, max(0, i-2), "the latest count")
	}
	// In bytes: twice what an honest member sends of the longest body.
	big := four(t, 1<<20)
	for range 10 {
		require.NoError(t, b.Deliver(2, member(2), chunksMsg(big, 2)))
	}
	require.Greater(t, b.Stats().EarlyDropped, uint64(6))
	b.Forget(encoded(big.Ref))
	n := b.Stats().EarlyDropped
	require.NoError(t, b.Deliver(3, member(2), chunksMsg(big, 2)), "forgotten: not kept again")
	require.NoError(t, b.Obtain(3, 7, member(0), encoded(big.Ref)))
	b.finish(3)
	require.Equal(t, n, b.Stats().EarlyDropped)
	require.Len(t, b.delivered, 3)
}

func TestBadChunks(t *testing.T) {
	b := newBench(t, nil)
	coded := four(t, 1000)
	require.NoError(t, b.Obtain(0, 7, member(0), encoded(coded.Ref)))
	forged := coded.Chunk(2)
	forged.Data = append([]byte{^forged.Data[0]}, forged.Data[1:]...)
	require.NoError(t, b.Deliver(1, member(2), rawChunks(coded.Ref, forged)))
	require.NoError(t, b.Deliver(1, member(3), chunksMsg(coded, 3)))
	require.NoError(t, b.Deliver(1, member(0), chunksMsg(coded, 0)))
	b.finish(1)
	require.Len(t, b.delivered, 1)
	require.NoError(t, b.delivered[0].Err)
	require.Len(t, b.bad, 1)
	require.Equal(t, member(2), b.bad[0].Peer)
	require.ErrorIs(t, b.bad[0].Err, erasure.ErrChunk)
}

// TestMuted: after a bad chunk, a member's others are not looked at.
func TestMuted(t *testing.T) {
	b := newBench(t, nil)
	coded := four(t, 1000)
	require.NoError(t, b.Obtain(0, 7, member(0), encoded(coded.Ref)))
	forged := coded.Chunk(2)
	forged.Proof[0][0]++
	require.NoError(t, b.Deliver(1, member(2), rawChunks(coded.Ref, forged)))
	jobs, _ := b.drain()
	require.NoError(t, b.Deliver(1, member(2), chunksMsg(coded, 2)))
	b.Done(2, jobs[0].Run())
	b.finish(2)
	require.Error(t, b.Deliver(3, member(2), chunksMsg(coded, 2)))
	for round := range 6 {
		b.Tick(time.Duration(round+1) * 100 * ms)
		require.NotContains(t, strings.Join(b.finish(0), "\n"), "want 2:", "it is not asked, either")
	}
}

// TestForgedOwnChunks: others send false chunks in the place of this node's
// own; the announcer's true one gets through.
func TestForgedOwnChunks(t *testing.T) {
	b := newBench(t, nil)
	coded := four(t, 1000)
	require.NoError(t, b.Obtain(0, 7, member(0), encoded(coded.Ref)))
	forged := coded.Chunk(1)
	forged.Data = make([]byte, len(forged.Data))
	for _, i := range []int{2, 3} {
		require.NoError(t, b.Deliver(1, member(i), rawChunks(coded.Ref, forged)))
	}
	require.NoError(t, b.Deliver(1, member(0), chunksMsg(coded, 1)))
	require.Contains(t, b.finish(1), "chunks 2: [1]")
	require.Len(t, b.bad, 2)
}

func TestWhoMaySendWhat(t *testing.T) {
	b := newBench(t, nil)
	coded := four(t, 1000)
	require.ErrorIs(t, b.Deliver(0, member(9), chunksMsg(coded, 1)), erasure.ErrPeer, "a stranger")
	require.NoError(t, b.Obtain(0, 7, member(0), encoded(coded.Ref)))
	require.ErrorIs(t, b.Deliver(0, member(9), chunksMsg(coded, 1)), erasure.ErrPeer)
	require.ErrorIs(t, b.Deliver(0, member(2), chunksMsg(coded, 3)), erasure.ErrPeer, "not its own, not ours, not asked for")
	require.ErrorIs(t, b.Deliver(0, member(2), chunksMsg(coded, 2, 3)), erasure.ErrPeer)
	require.NoError(t, b.Deliver(0, member(0), chunksMsg(coded, 3)), "the announcer may send all")
	b.finish(0)
	b.Tick(100 * ms)
	sent := b.finish(100 * ms)
	require.Contains(t, strings.Join(sent, "\n"), "want 2: 1 beside 08")
	require.NoError(t, b.Deliver(101*ms, member(2), chunksMsg(coded, 0)))
	require.ErrorIs(t, b.Deliver(101*ms, member(2), chunksMsg(coded, 0)), erasure.ErrPeer, "asked for one only")
}

// TestGarbage: the announced root is of chunks that no body encodes to.
func TestGarbage(t *testing.T) {
	ref, chunks := forge(t, 2, 4, body(1000), func(c [][]byte) { c[2][5]++ })
	for _, pair := range [][2]int{{0, 1}, {1, 3}, {1, 2}} {
		b := newBench(t, nil)
		require.NoError(t, b.Obtain(0, 7, member(0), encoded(ref)))
		require.NoError(t, b.Deliver(0, member(0), rawChunks(ref, chunks[pair[0]], chunks[pair[1]])))
		require.Len(t, b.finish(0), 3, "the own chunk is passed on, that all can judge")
		require.Len(t, b.delivered, 1)
		require.ErrorIs(t, b.delivered[0].Err, erasure.ErrBad)
		require.Nil(t, b.delivered[0].Body)
		require.Empty(t, b.bad, "who passed on the chunks did nothing wrong")
		require.NoError(t, b.Obtain(1, 7, member(0), encoded(ref)))
		b.finish(1)
		require.ErrorIs(t, b.delivered[1].Err, erasure.ErrBad)
		require.NoError(t, b.Deliver(2, member(2), wantMsg(ref, 2, 0)))
		require.Equal(t, []string{fmt.Sprintf("chunks 2: %v", pair)}, b.finish(2))
	}
	b := newBench(t, nil)
	require.NoError(t, b.Supply(0, 7, encoded(ref), body(1000)))
	b.finish(0)
	require.ErrorIs(t, b.delivered[0].Err, erasure.ErrBad, "the same judgement, however the body came")
}

func TestObtainRefuses(t *testing.T) {
	b := newBench(t, func(c *erasure.Config) { c.MaxBody = 2000; c.Bodies = 2 })
	from := member(0)
	_, other := encode(t, 3, 4, body(1000))
	require.ErrorIs(t, b.Obtain(0, 7, from, encoded(other.Ref)), erasure.ErrBad, "not how this group cuts")
	require.ErrorIs(t, b.Obtain(0, 7, from, encoded(four(t, 2001).Ref)), erasure.ErrBad)
	require.Error(t, b.Obtain(0, 8, from, encoded(four(t, 1000).Ref)))
	require.Error(t, b.Obtain(0, 7, from, nil))
	require.NoError(t, b.Obtain(0, 7, from, encoded(four(t, 1000).Ref)))
	require.NoError(t, b.SetGroup(0, 8, group(2, 2, 2, 2)))
	require.Error(t, b.Obtain(0, 8, from, encoded(four(t, 1000).Ref)), "open in another group")
	require.NoError(t, b.Obtain(0, 8, from, encoded(four(t, 1001).Ref)))
}

// TestTooManyBodies: the one that was not asked for for the longest time goes.
func TestTooManyBodies(t *testing.T) {
	b := newBench(t, func(c *erasure.Config) { c.Bodies = 3 })
	obtain := func(n int) *erasure.Coded {
		coded := four(t, n)
		require.NoError(t, b.Obtain(0, 7, member(0), encoded(coded.Ref)))
		return coded
	}
	for _, n := range []int{1000, 1001, 1002, 1000, 1003} {
		obtain(n)
	}
	require.EqualValues(t, 1, b.Stats().Evicted)
	for _, n := range []int{1000, 1001} {
		require.NoError(t, b.Deliver(1, member(0), chunksMsg(four(t, n), 0, 1)))
	}
	b.finish(1)
	require.Len(t, b.delivered, 1)
	require.Len(t, b.delivered[0].Body, 1000)
	b.Disperse(2, 7, body(500))
	b.finish(2)
	require.EqualValues(t, 2, b.Stats().Evicted)
}

func TestSupply(t *testing.T) {
	b := newBench(t, nil)
	coded := four(t, 1000)
	require.NoError(t, b.Supply(0, 7, encoded(coded.Ref), body(1000)))
	require.Empty(t, b.finish(0))
	require.Equal(t, []erasure.Delivered{{Group: 7, Ref: encoded(coded.Ref), Body: body(1000)}}, b.delivered)
	require.NoError(t, b.Supply(0, 7, encoded(coded.Ref), body(1000)))
	b.finish(0)
	require.Len(t, b.delivered, 2)
	require.NoError(t, b.Deliver(1, member(2), wantMsg(coded.Ref, 1, 0)))
	require.Equal(t, []string{"chunks 2: [1]"}, b.finish(1))

	// An empty body is one, too.
	_, empty := encode(t, 1, 1, nil)
	require.NoError(t, b.Supply(2, 7, encoded(empty.Ref), nil))
	b.finish(2)
	require.NoError(t, b.delivered[2].Err)
	require.Empty(t, b.delivered[2].Body)
}

func TestSupplyWhileRebuilding(t *testing.T) {
	b := newBench(t, nil)
	coded := four(t, 1000)
	require.NoError(t, b.Obtain(0, 7, member(0), encoded(coded.Ref)))
	require.NoError(t, b.Deliver(0, member(2), chunksMsg(coded, 2)))
	jobs, _ := b.drain()
	require.NoError(t, b.Supply(0, 7, encoded(coded.Ref), body(1000)))
	b.Done(1, jobs[0].Run())
	b.finish(1)
	require.Len(t, b.delivered, 1)
	b.Done(2, jobs[0].Run()) // a result that comes twice changes nothing
	b.Done(2, "what is this?")
	require.Empty(t, b.finish(2))
}

func TestForgottenDuringJob(t *testing.T) {
	b := newBench(t, nil)
	coded := four(t, 1000)
	require.NoError(t, b.Obtain(0, 7, member(0), encoded(coded.Ref)))
	require.NoError(t, b.Deliver(0, member(0), chunksMsg(coded, 0, 2)))
	jobs, _ := b.drain()
	b.Forget(encoded(coded.Ref))
	b.Done(1, jobs[0].Run())
	require.Empty(t, b.finish(1))
	require.Empty(t, b.delivered)
}

func TestServe(t *testing.T) {
	b := newBench(t, nil)
	coded := four(t, 1000)
	require.NoError(t, b.Deliver(0, member(2), wantMsg(coded.Ref, 2, 0)), "unknown: no answer")
	require.NoError(t, b.Obtain(0, 7, member(0), encoded(coded.Ref)))
	require.NoError(t, b.Deliver(0, member(2), wantMsg(coded.Ref, 2, 0)), "nothing there: no answer")
	require.Empty(t, b.finish(0))
	require.NoError(t, b.Deliver(1, member(3), chunksMsg(coded, 3)))
	b.finish(1)
	require.NoError(t, b.Deliver(2, member(2), wantMsg(coded.Ref, 2, 0b0101)))
	require.Equal(t, []string{"chunks 2: [3]"}, b.finish(2), "what there is")
	require.NoError(t, b.Deliver(3, member(0), chunksMsg(coded, 0)))
	b.finish(3)
	require.ErrorIs(t, b.Deliver(4, member(2), wantMsg(coded.Ref, 2, 0)), erasure.ErrBusy)
	require.NoError(t, b.Deliver(60*ms, member(2), wantMsg(coded.Ref, 2, 0)))
	require.NoError(t, b.Deliver(60*ms, member(3), wantMsg(coded.Ref, 2, 0b0010)))
	require.Equal(t, []string{"chunks 2: [1 2]", "chunks 3: [2 3]"}, b.finish(60*ms), "the own first, then those that follow")
	require.NoError(t, b.Deliver(61*ms, member(0), wantMsg(coded.Ref, 2, 0b1111)))
	require.Empty(t, b.finish(61*ms))
	for what, msg := range map[string][]byte{
		"none":         wantMsg(coded.Ref, 0, 0),
		"too many":     wantMsg(coded.Ref, 3, 0),
		"padding":      wantMsg(coded.Ref, 1, 0x10),
		"short":        wantMsg(coded.Ref, 1),
		"long":         wantMsg(coded.Ref, 1, 0, 0),
		"another kind": append([]byte{1, 3}, encoded(coded.Ref)...),
	} {
		require.Error(t, b.Deliver(1, member(2), msg), what)
	}
}

// TestAsking: first everybody for its own, then one for all that is missing.
func TestAsking(t *testing.T) {
	b := newBench(t, nil)
	coded := four(t, 1000)
	require.NoError(t, b.Obtain(0, 7, member(0), encoded(coded.Ref)))
	at, ok := b.Wake()
	require.True(t, ok)
	require.Equal(t, 100*ms, at)
	b.Tick(at)
	require.Equal(t, []string{"want 2: 1 beside 00", "want 3: 1 beside 00", "want 0: 1 beside 00"}, b.finish(at))
	require.NoError(t, b.Deliver(at, member(3), chunksMsg(coded, 3)))
	b.finish(at)
	at, _ = b.Wake()
	require.Equal(t, 200*ms, at)
	b.Tick(at)
	require.Equal(t, []string{"want 2: 1 beside 08", "want 0: 1 beside 08"}, b.finish(at))

	_, whole := encode(t, 1, 1, body(50))
	require.NoError(t, b.Obtain(at, 7, member(3), encoded(whole.Ref)))
	b.Forget(encoded(coded.Ref))
	at, _ = b.Wake()
	b.Tick(at)
	require.Equal(t, []string{"want 3: 1 beside 00"}, b.finish(at), "who announced it has it")
	at, _ = b.Wake()
	b.Tick(at)
	require.Len(t, b.finish(at), 2)
	require.NoError(t, b.Deliver(at, member(2), chunksMsg(whole, 0)))
	b.finish(at)
	require.Equal(t, body(50), b.delivered[0].Body)
	require.False(t, b.delivered[0].ByChunks)
}

func TestUnequalWeights(t *testing.T) {
	core, err := erasure.New(erasure.Config{Self: member(0)})
	require.NoError(t, err)
	g := group(3, 1, 1, 1)
	require.NoError(t, core.SetGroup(0, 1, g))
	d, err := erasure.NewDeal(g)
	require.NoError(t, err)
	b := &bench{T: t, Core: core}
	b.Disperse(0, 1, body(100_000))
	sent := b.finish(0)
	require.Len(t, sent, 6)
	_, hi := d.Range(0)
	require.Greater(t, hi, 1)
	own := make([]int, hi)
	for i := range own {
		own[i] = i
	}
	require.Equal(t, fmt.Sprintf("chunks 3: %v", own), sent[3], "the heaviest passes on its several chunks")
}

func TestSetGroup(t *testing.T) {
	b := newBench(t, nil)
	require.NoError(t, b.SetGroup(0, 7, group(1, 1, 1, 1)), "the same again")
	require.Error(t, b.SetGroup(0, 7, group(1, 1, 1, 2)), "another under the same number")
	g := group(1, 1, 1)
	g.Members[2] = g.Members[0]
	require.Error(t, b.SetGroup(0, 8, g))
	require.Error(t, b.SetGroup(0, 8, erasure.Group{}))
	for i := range uint64(15) {
		require.NoError(t, b.SetGroup(0, 10+i, group(1, 1)))
	}
	require.Error(t, b.SetGroup(0, 30, group(1, 1)))
	b.DropGroup(10)
	require.NoError(t, b.SetGroup(0, 30, group(1, 1)))
}

func TestConfigRefuses(t *testing.T) {
	for _, cfg := range []erasure.Config{
		{MaxBody: -1}, {Small: -1}, {Resend: -1}, {PerPeer: -1}, {Bodies: -1}, {MaxBody: erasure.MaxLength + 1},
	} {
		_, err := erasure.New(cfg)
		require.Error(t, err)
	}
}

func TestMalformed(t *testing.T) {
	b := newBench(t, func(c *erasure.Config) { c.MaxBody = 5000 })
	coded := four(t, 1000)
	require.NoError(t, b.Obtain(0, 7, member(0), encoded(coded.Ref)))
	good := chunksMsg(coded, 0, 1)
	for n := range good {
		require.Error(t, b.Deliver(0, member(0), good[:n]))
	}
	require.Error(t, b.Deliver(0, member(0), append(bytes.Clone(good), 0)))
	require.Error(t, b.Deliver(0, member(0), make([]byte, 1<<20)))
	require.Error(t, b.Deliver(0, member(0), chunksMsg(coded, 1, 0)), "order")
	require.Error(t, b.Deliver(0, member(0), chunksMsg(coded, 1, 1)), "twice")
	require.Error(t, b.Deliver(0, member(0), chunksMsg(coded)), "none")
	require.Error(t, b.Deliver(0, member(0), chunksMsg(four(t, 5001), 0)), "too long")
	outside := coded.Chunk(1)
	outside.Index = 4
	require.Error(t, b.Deliver(0, member(0), rawChunks(coded.Ref, outside)))
	require.Empty(t, b.finish(0))
	require.Empty(t, b.bad)
}

func TestMessageGolden(t *testing.T) {
	b := newBench(t, func(c *erasure.Config) { c.Small = 1 })
	b.Disperse(0, 7, []byte("abc"))
	jobs, _ := b.drain()
	b.Done(0, jobs[0].Run())
	_, messages := b.drain()
	coder, err := erasure.NewCoder(2, 4)
	require.NoError(t, err)
	coded, err := coder.Encode([]byte("abc"))
	require.NoError(t, err)
	root := hex.EncodeToString(coded.Ref.Root[:])
	proof := coded.Chunk(0).Proof
	want := "0101" + "01 02 0002 0004 00000003" + root + "0002 0000 6162" + hex.EncodeToString(proof[0][:]) + hex.EncodeToString(proof[1][:])
	proof = coded.Chunk(1).Proof
	want += "0001 6300" + hex.EncodeToString(proof[0][:]) + hex.EncodeToString(proof[1][:])
	require.Equal(t, strings.ReplaceAll(want, " ", ""), hex.EncodeToString(messages[2].Data))
	require.Equal(t, shardkit.ClassBlock, messages[0].Class)
	require.Equal(t, "140fa6358f07ce1f", root[:16])
}

// FuzzDeliver: no bytes make the core panic, or report what does not encode to
// its reference.
func FuzzDeliver(f *testing.F) {
	_, coded := encode(f, 2, 4, body(40))
	_, whole := encode(f, 1, 1, body(3))
	f.Add(chunksMsg(coded, 0, 1), uint8(0), encoded(coded.Ref))
	f.Add(chunksMsg(whole, 0), uint8(2), encoded(whole.Ref))
	f.Add(wantMsg(coded.Ref, 2, 1), uint8(3), encoded(coded.Ref))
	f.Add(vouchMsg(coded.Ref, true), uint8(2), encoded(coded.Ref))
	f.Fuzz(func(t *testing.T, msg []byte, from uint8, ref []byte) {
		core, err := erasure.New(erasure.Config{Self: member(1), MaxBody: 1 << 12, Small: 10, Reliable: from >= 128})
		require.NoError(t, err)
		require.NoError(t, core.SetGroup(0, 7, group(1, 1, 1, 1)))
		b := &bench{Core: core}
		_ = b.Deliver(0, member(int(from%5)), msg)
		obtained := b.Obtain(1, 7, member(0), ref)
		_ = b.Deliver(2, member(int(from%5)), msg)
		b.finish(3)
		b.Tick(time.Second)
		b.finish(time.Second)
		for _, d := range b.delivered {
			require.NoError(t, obtained)
			var r erasure.Ref
			require.NoError(t, r.UnmarshalBinary(d.Ref))
			coder, err := erasure.NewCoder(r.K, r.N)
			require.NoError(t, err)
			if d.Err == nil {
				_, err = coder.Check(r, d.Body)
				require.NoError(t, err)
			}
		}
	})
}
