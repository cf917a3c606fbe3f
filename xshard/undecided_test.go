package xshard_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/xshard"
)

// TestNotYetDecidable: packets of a committee that is not known are kept, and
// looked at again when something may have changed.
func TestNotYetDecidable(t *testing.T) {
	for what, change := range map[string]func(b *bench){
		"Included":   func(b *bench) { b.Included(50*ms, 2, 7) },
		"SetMembers": func(b *bench) { b.SetMembers(50*ms, 3, nodes(3, 5)) },
		"Poll":       func(b *bench) { b.Tick(100 * ms) },
	} {
		b := newBench(t, nil)
		b.committee = 2
		for h := shardkit.Height(1); h <= 4; h++ {
			b.deliver(0, node(1, 0), pushMsg(0, packet(1, h, 9)))
		}
		b.finish(0)
		require.Equal(t, []int{1, 2}, b.heights(1))
		n := len(b.runs)
		b.deliver(1*ms, node(1, 0), pushMsg(0, packet(1, 5, 9)))
		b.finish(1 * ms)
		require.Len(t, b.runs, n, "no use before something changes")
		b.committee = 0
		change(b)
		_, bad := b.finish(51 * ms)
		require.Empty(t, bad)
		require.Equal(t, []int{1, 2, 3, 4, 5}, b.heights(1), what)
	}
}

// TestUndecidableJunkDoesNotBlock: somebody sends what claims to be certified
// by a committee of the far future.
func TestUndecidableJunkDoesNotBlock(t *testing.T) {
	b := newBench(t, nil)
	for i := range 3 {
		p := packet(1, 1, 9+i)
		p.Cert = []byte("later")
		b.deliver(0, node(1, i), pushMsg(0, p))
		b.finish(0)
	}
	require.Empty(t, b.heights(1))
	b.deliver(1, node(1, 3), pushMsg(0, packet(1, 1, 9)))
	b.finish(1)
	require.Equal(t, []int{1}, b.heights(1))
}

// TestNewsDuringCheck: the committee becomes known while the check that did not
// know it is under way.
func TestNewsDuringCheck(t *testing.T) {
	b := newBench(t, nil)
	b.committee = -1
	later := packet(1, 1, 9)
	later.Cert = []byte("later")
	b.deliver(0, node(1, 0), pushMsg(0, later))
	job := b.Ready().Jobs[0]
	b.Included(1, 2, 5)
	b.Done(2, job.Run())
	require.Len(t, b.Ready().Jobs, 1, "checked again at once")
}

// TestStuckSourceIsAskedLessAndLess: others are asked for what stands in the
// way, even when the queue is full, but not at every period.
func TestStuckSourceIsAskedLessAndLess(t *testing.T) {
	b := newBench(t, func(cfg *xshard.RelayConfig) { cfg.MaxQueue = 1 })
	p := packet(1, 1, 9)
	p.Cert = []byte("later")
	b.deliver(0, node(1, 0), pushMsg(0, p))
	b.finish(0)
	polls := 0
	for i := 1; i <= 64; i++ {
		b.Tick(time.Duration(i) * 100 * ms)
		sent, _ := b.finish(time.Duration(i) * 100 * ms)
		for _, s := range sent {
			if strings.HasPrefix(s, "poll 1.") {
				require.True(t, strings.HasSuffix(s, " 1+1"), s)
				polls++
			}
		}
	}
	require.Equal(t, 7, polls)
}
