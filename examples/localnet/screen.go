package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/shardkit/shardkit/examples/chain"
)

// screen shows progress: redrawn in place on a terminal, a line a second
// elsewhere. It writes to standard error if standard output carries JSON.
type screen struct {
	mu    sync.Mutex
	out   io.Writer
	tty   bool
	lines int // drawn last time
	last  time.Time
	count []int
	notes []string
}

func newScreen(o *options) *screen {
	f := os.Stdout
	if o.json == "-" {
		f = os.Stderr
	}
	st, err := f.Stat()
	return &screen{out: f, tty: err == nil && st.Mode()&os.ModeCharDevice != 0, last: time.Now(), count: make([]int, o.shards)}
}

// say adds a line that stays.
func (s *screen) say(format string, a ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, fmt.Sprintf("%6.1fs  %s", time.Since(began).Seconds(), fmt.Sprintf(format, a...)))
	if !s.tty {
		s.flush()
	}
}

func (s *screen) flush() {
	for _, n := range s.notes {
		fmt.Fprintln(s.out, n)
	}
	s.notes = nil
}

// shardLine is where a shard stands, from whichever replica is furthest.
type shardLine struct {
	chain.ReplicaStatus
	rate int
}

// show draws the state of the run, at most once a second off a terminal.
func (s *screen) show(r *runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	every := time.Second
	if s.tty {
		every = 400 * time.Millisecond
	}
	gap := time.Since(s.last)
	if gap < every {
		return
	}
	s.last = time.Now()
	lines, latency := s.shards(r, gap)
	if !s.tty {
		s.flush()
		var b strings.Builder
		total := 0
		for _, l := range lines {
			fmt.Fprintf(&b, " | %d: h%d v%d e%d %d/s", l.Shard, l.Height, l.View, l.Epoch, l.rate)
			total += l.rate
		}
		fmt.Fprintf(s.out, "%6.1fs  %d tx/s, %v%s%s\n", time.Since(began).Seconds(), total, latency.Round(time.Millisecond), b.String(), r.newest())
		return
	}
	for range s.lines {
		fmt.Fprint(s.out, "\x1b[A\x1b[2K")
	}
	s.flush()
	s.lines = len(lines) + 2
	fmt.Fprintf(s.out, "%6.1fs  shard  epoch  height  view   tx/s  pending\n", time.Since(began).Seconds())
	for _, l := range lines {
		fmt.Fprintf(s.out, "         %5d  %5d  %6d  %4d  %5d  %7d\n", l.Shard, l.Epoch, l.Height, l.View, l.rate, l.Pending)
	}
	fmt.Fprintf(s.out, "         mean latency %v%s\n", latency.Round(time.Millisecond), r.newest())
}

// shards asks the nodes where each shard stands, and the wallet how much has
// arrived since the last time.
func (s *screen) shards(r *runner, gap time.Duration) ([]shardLine, time.Duration) {
	lines := make([]shardLine, r.o.shards)
	for _, m := range r.c.up() {
		for _, st := range m.status() {
			if l := &lines[st.Shard]; st.Ready && st.Height >= l.Height {
				l.ReplicaStatus = st
			}
		}
	}
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	for i, n := range r.w.stats.perShard {
		lines[i].rate = int(float64(n-s.count[i]) / gap.Seconds())
		s.count[i] = n
	}
	var sum time.Duration
	for _, d := range r.w.stats.recent {
		sum += d
	}
	if n := len(r.w.stats.recent); n > 0 {
		sum /= time.Duration(n)
	}
	r.w.stats.recent = r.w.stats.recent[:0]
	return lines, sum
}

// newest describes the last election.
func (r *runner) newest() string {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	var best *chain.EpochReport
	for _, e := range r.c.counts.epochs {
		if e.report != nil && (best == nil || e.report.Epoch > best.Epoch) {
			best = e.report
		}
	}
	if best == nil {
		return ""
	}
	return fmt.Sprintf(" | epoch %d drawn: %v, %d moved", best.Epoch, best.Randomness, best.Moved)
}
