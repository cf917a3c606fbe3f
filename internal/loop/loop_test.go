package loop_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/loop"
)

// core is a scripted core. Only the loop's goroutine touches it, which -race
// confirms.
type core struct {
	deliver func(from shardkit.NodeID, msg []byte) error
	done    func(result any)
	saved   []uint64
	ticks   []time.Duration
	tick    func(now time.Duration)
	wake    time.Duration
	eff     loop.Effects
	drains  int
	inputs  int
}

func (c *core) Deliver(_ time.Duration, from shardkit.NodeID, msg []byte) error {
	c.inputs++
	if c.deliver == nil {
		return nil
	}
	return c.deliver(from, msg)
}

func (c *core) Done(_ time.Duration, result any) {
	c.inputs++
	if c.done != nil {
		c.done(result)
	}
}

func (c *core) Persisted(_ time.Duration, seq uint64) { c.saved = append(c.saved, seq) }

func (c *core) Tick(now time.Duration) {
	c.ticks = append(c.ticks, now)
	c.wake = 0
	if c.tick != nil {
		c.tick(now)
	}
}

func (c *core) Wake() (time.Duration, bool) { return c.wake, c.wake != 0 }

func (c *core) effects() loop.Effects {
	c.drains++
	eff := c.eff
	c.eff = loop.Effects{}
	return eff
}

// disk is a Log whose Append takes as long as the test wants.
type disk struct {
	mu      sync.Mutex
	appends [][]string
	pruned  []uint64
	gate    chan struct{} // nil: does not wait
	delay   time.Duration
	err     error
}

func (d *disk) Append(records [][]byte) error {
	if d.gate != nil {
		<-d.gate
	}
	time.Sleep(d.delay)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	var batch []string
	for _, r := range records {
		batch = append(batch, string(r))
	}
	d.appends = append(d.appends, batch)
	return nil
}

func (d *disk) Prune(seq uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pruned = append(d.pruned, seq)
	return nil
}

// start runs a loop over c and returns it with the list of what it sends.
func start(t *testing.T, c *core, cfg loop.Config) (*loop.Loop, func() []string) {
	var mu sync.Mutex
	var sent []string
	cfg.Core, cfg.Effects = c, c.effects
	if cfg.Send == nil {
		cfg.Send = func(m shardkit.Message) error {
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, string(m.Data))
			return nil
		}
	}
	l, err := loop.New(cfg)
	require.NoError(t, err)
	go l.Run(context.Background())
	t.Cleanup(l.Close)
	return l, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), sent...)
	}
}

func message(text string, after uint64) shardkit.Message {
	return shardkit.Message{Data: []byte(text), After: after}
}

// A message that names a record leaves when it is durable, the others at
// once; what comes while a write is under way shares the next one.
func TestMessagesWaitForTheirRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{gate: make(chan struct{})}
		c := &core{}
		l, sent := start(t, c, loop.Config{Log: d, LogSeq: 100})
		add := func(seq, prune uint64) {
			require.True(t, l.Do(func(time.Duration) {
				c.eff.Records, c.eff.Seq, c.eff.Prune = [][]byte{fmt.Append(nil, seq)}, seq, prune
				c.eff.Messages = []shardkit.Message{message(fmt.Sprint("after", seq), seq), message(fmt.Sprint("at once", seq), 0)}
			}))
		}
		add(1, 0)
		synctest.Wait() // its write is under way
		add(2, 0)
		add(3, 2)
		synctest.Wait()
		require.Equal(t, []string{"at once1", "at once2", "at once3"}, sent())
		require.Equal(t, 3, l.Stats().Held)
		d.gate <- struct{}{}
		synctest.Wait()
		require.Equal(t, []string{"at once1", "at once2", "at once3", "after1"}, sent())
		d.gate <- struct{}{}
		synctest.Wait()
		require.Equal(t, []string{"after1", "after2", "after3"}, sent()[3:])
		require.Equal(t, [][]string{{"1"}, {"2", "3"}}, d.appends)
		require.Equal(t, []uint64{102}, d.pruned)
		l.Do(func(time.Duration) { require.Equal(t, []uint64{1, 3}, c.saved) })
		s := l.Stats()
		require.Equal(t, []uint64{3, 2, 6}, []uint64{s.Records, s.Syncs, s.Sent})
	})
}

func TestWithoutLogRecordsAreDurableAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &core{}
		l, sent := start(t, c, loop.Config{})
		l.Do(func(time.Duration) {
			c.eff = loop.Effects{Records: [][]byte{nil}, Seq: 1, Messages: []shardkit.Message{message("m", 1)}}
		})
		synctest.Wait()
		require.Equal(t, []string{"m"}, sent())
		l.Do(func(time.Duration) { require.Equal(t, []uint64{1}, c.saved) })
	})
}

func TestInputsAreBatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &core{}
		l, _ := start(t, c, loop.Config{})
		l.Do(func(time.Duration) {
			for range 640 {
				require.NoError(t, l.Deliver(shardkit.NodeID{}, nil))
			}
			c.drains = 0
		})
		synctest.Wait()
		l.Do(func(time.Duration) {
			require.Equal(t, 640, c.inputs)
			require.LessOrEqual(t, c.drains, 12)
		})
	})
}

func TestTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &core{}
		l, _ := start(t, c, loop.Config{})
		l.Do(func(time.Duration) { c.wake = time.Hour })
		l.Do(func(time.Duration) { c.wake = time.Second })
		time.Sleep(time.Minute)
		l.Do(func(now time.Duration) {
			require.Equal(t, []time.Duration{time.Second}, c.ticks)
			require.Equal(t, time.Minute, now)
		})
	})
}

// Effects that a core has before Run are carried out too.
func TestEffectsBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &core{eff: loop.Effects{Messages: []shardkit.Message{message("hello", 0)}}}
		_, sent := start(t, c, loop.Config{})
		synctest.Wait()
		require.Equal(t, []string{"hello"}, sent())
	})
}

// A flood is refused and delays neither the node's own inputs nor other peers.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		c := &core{deliver: func(from shardkit.NodeID, msg []byte) error {
			got = append(got, fmt.Sprintf("%d:%s", from[0], msg))
			return errors.New("no")
		}}
		var refused atomic.Int64
		l, _ := start(t, c, loop.Config{Queue: 8, Bytes: 100, OnRefuse: func(from shardkit.NodeID, err error) { refused.Add(1) }})
		full := 0
		l.Do(func(time.Duration) { // the loop is busy
			for range 100 {
				if err := l.Deliver(shardkit.NodeID{1}, []byte("flood")); err != nil {
					require.ErrorIs(t, err, loop.ErrFull)
					full++
				}
			}
			require.NoError(t, l.Deliver(shardkit.NodeID{2}, []byte("a")))
			require.ErrorIs(t, l.Deliver(shardkit.NodeID{2}, make([]byte, 90)), loop.ErrFull)
			require.NoError(t, l.Deliver(shardkit.NodeID{3}, make([]byte, 50)), "one message may exceed the share")
			require.ErrorIs(t, l.Deliver(shardkit.NodeID{4}, make([]byte, 50)), loop.ErrFull)
			l.Post(func(time.Duration) { got = append(got, "own") })
		})
		l.Do(func(time.Duration) {})
		synctest.Wait()
		require.Equal(t, []string{"own", "1:flood", "1:flood", "2:a", "3:" + string(make([]byte, 50))}, got)
		require.Equal(t, 98, full)
		s := l.Stats()
		require.Equal(t, []uint64{4, 4, 100}, []uint64{s.Delivered, s.Refused, s.Full})
		require.Equal(t, int64(4), refused.Load())
		require.NoError(t, l.Deliver(shardkit.NodeID{1}, []byte("again")), "the share is free again")
	})
}

func TestJobsComeBack(t *testing.T) {
	var results []any
	c := &core{done: func(r any) { results = append(results, r) }}
	pool := loop.NewPool(2)
	defer pool.Close()
	l, _ := start(t, c, loop.Config{Pool: pool})
	l.Do(func(time.Duration) {
		for i := range 10 {
			c.eff.Jobs = append(c.eff.Jobs, shardkit.Job{Kind: "test", Run: func() any { return i }})
		}
	})
	require.Eventually(t, func() bool {
		n := 0
		l.Do(func(time.Duration) { n = len(results) })
		return n == 10
	}, 10*time.Second, time.Millisecond)
	require.ElementsMatch(t, []any{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, results)
	require.Equal(t, uint64(10), pool.Stats()[0].Jobs)
}

func TestLogErrorEndsTheLoop(t *testing.T) {
	broken := errors.New("disk broke")
	c := &core{}
	var told error
	d := &disk{err: broken}
	l, err := loop.New(loop.Config{
		Core: c, Effects: c.effects, Log: d,
		Send:    func(shardkit.Message) error { t.Error("sent before it was durable"); return nil },
		OnError: func(err error) { told = err },
	})
	require.NoError(t, err)
	ended := make(chan error)
	go func() { ended <- l.Run(context.Background()) }()
	l.Do(func(time.Duration) {
		c.eff = loop.Effects{Records: [][]byte{nil}, Seq: 1, Messages: []shardkit.Message{message("m", 1)}}
	})
	require.ErrorIs(t, <-ended, broken)
	require.ErrorIs(t, told, broken)
	require.Empty(t, c.saved)
	require.False(t, l.Do(func(time.Duration) { t.Error("ran") }))
	require.ErrorIs(t, l.Deliver(shardkit.NodeID{}, nil), loop.ErrClosed)
	require.Error(t, l.Run(context.Background()))
	l.Close()
}

// Close makes durable what the core handed out, Abort loses it; both wait for
// the Append and the jobs under way.
func TestCloseAndAbort(t *testing.T) {
	for _, abort := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := &disk{delay: time.Second}
			c := &core{}
			l, _ := start(t, c, loop.Config{Log: d})
			var ran atomic.Int64
			job := shardkit.Job{Kind: "slow", Run: func() any { time.Sleep(3 * time.Second); ran.Add(1); return nil }}
			add := func(seq uint64) {
				l.Do(func(time.Duration) {
					c.eff.Records, c.eff.Seq = [][]byte{fmt.Append(nil, seq)}, seq
					c.eff.Jobs = []shardkit.Job{job}
				})
				synctest.Wait()
			}
			add(1)
			add(2)
			begin := time.Now()
			if abort {
				l.Abort()
				require.Equal(t, [][]string{{"1"}}, d.appends)
			} else {
				l.Close()
				require.Equal(t, [][]string{{"1"}, {"2"}}, d.appends)
			}
			require.Equal(t, 3*time.Second, time.Since(begin))
			require.Equal(t, int64(2), ran.Load())
		})
	}
}

func TestCloseBeforeRun(t *testing.T) {
	c := &core{}
	l, err := loop.New(loop.Config{Core: c, Effects: c.effects, Send: func(shardkit.Message) error { return nil }})
	require.NoError(t, err)
	l.Close()
	l.Abort()
	require.Error(t, l.Run(context.Background()))
	require.False(t, l.Do(func(time.Duration) {}))
}

func TestContextEndsTheLoop(t *testing.T) {
	c := &core{}
	l, err := loop.New(loop.Config{Core: c, Effects: c.effects, Send: func(shardkit.Message) error { return nil }})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.NoError(t, l.Run(ctx))
}

func TestConfigErrors(t *testing.T) {
	_, err := loop.New(loop.Config{})
	require.Error(t, err)
	c := &core{}
	_, err = loop.New(loop.Config{Core: c, Effects: c.effects, Send: func(shardkit.Message) error { return nil }, Queue: -1})
	require.Error(t, err)
}

// bench is a Pool with one worker whose jobs take the time the test wants.
type bench struct {
	pool  *loop.Pool
	mu    sync.Mutex
	order []string
}

func newBench(t *testing.T) *bench {
	b := &bench{pool: loop.NewPool(1)}
	t.Cleanup(b.pool.Close)
	return b
}

func (b *bench) submit(kind string, took time.Duration) {
	b.pool.Submit(shardkit.Job{Kind: kind, Run: func() any { time.Sleep(took); return kind }}, func(r any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.order = append(b.order, r.(string))
	})
}

// after returns what was finished since the last call and a while from now.
func (b *bench) after(d time.Duration) []string {
	time.Sleep(d)
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.order
	b.order = nil
	return got
}

// learn lets the pool measure kinds: votes take a millisecond, work 20, bulk
// 100.
func (b *bench) learn() {
	for range 3 {
		b.submit("vote", time.Millisecond)
		b.submit("work", 20*time.Millisecond)
		b.submit("bulk", 100*time.Millisecond)
		b.after(time.Second)
	}
}

// Delay functions hold no worker, and all of them run in the end.
func TestDelayFunctionsStandAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for range 3 {
			b.submit("vdf.eval", time.Minute)
		}
		b.submit("bulk", 100*time.Millisecond)
		b.submit("vote", time.Millisecond)
		require.ElementsMatch(t, []string{"bulk", "vote"}, b.after(time.Second))
		require.Equal(t, []string{"vdf.eval", "vdf.eval", "vdf.eval"}, b.after(time.Hour))
	})
}

// What is known to be shorter than the average waits for nothing longer, not
// even if all workers are at it.
func TestShortJobsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.learn()
		b.submit("bulk", 100*time.Millisecond)
		b.submit("bulk", 100*time.Millisecond)
		b.submit("work", 20*time.Millisecond)
		b.submit("vote", time.Millisecond)
		b.submit("vote", time.Millisecond)
		require.Equal(t, []string{"vote", "vote"}, b.after(3*time.Millisecond))
		require.Equal(t, []string{"work", "bulk", "bulk"}, b.after(time.Second))
	})
}

// Even under more urgent work than can be done, the rest has its turn.
func TestNothingStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.learn()
		for i := range 6000 { // twice what worker and fast group can do
			time.AfterFunc(time.Duration(i)*250*time.Microsecond, func() { b.submit("vote", time.Millisecond) })
		}
		time.AfterFunc(50*time.Millisecond, func() { b.submit("bulk", 100*time.Millisecond) })
		require.False(t, slices.Contains(b.after(500*time.Millisecond), "bulk"))
		require.True(t, slices.Contains(b.after(1500*time.Millisecond), "bulk"), "due after eight times its length")
		require.NotEmpty(t, b.after(time.Minute), "before all the votes")
	})
}

func TestPoolStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.learn()
		s := b.pool.Stats()
		require.Equal(t, []string{"bulk", "vote", "work"}, []string{s[0].Kind, s[1].Kind, s[2].Kind})
		require.Equal(t, loop.KindStats{Kind: "vote", Jobs: 3, Time: 3 * time.Millisecond, Mean: time.Millisecond}, s[1])
	})
}

func TestPoolClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := loop.NewPool(1)
		var ran atomic.Int64
		job := shardkit.Job{Kind: "a", Run: func() any { time.Sleep(time.Second); ran.Add(1); return nil }}
		for range 5 { // one for the worker, one for the fast group
			p.Submit(job, func(any) {})
		}
		synctest.Wait()
		p.Close()
		require.Equal(t, int64(2), ran.Load())
		p.Submit(job, func(any) {})
		p.Close()
		require.Equal(t, int64(2), ran.Load())
	})
}

func BenchmarkDeliver(b *testing.B) {
	c := &core{}
	l, err := loop.New(loop.Config{Core: c, Effects: c.effects, Send: func(shardkit.Message) error { return nil }})
	require.NoError(b, err)
	go l.Run(context.Background())
	defer l.Close()
	msg := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		for l.Deliver(shardkit.NodeID{}, msg) != nil {
			l.Do(func(time.Duration) {})
		}
	}
}
