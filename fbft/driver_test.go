package fbft_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/bls"
	"github.com/shardkit/shardkit/fbft/fbfttest"
)

// ledger is an application: a block is its height and its parent's hash.
type ledger struct {
	committee *fbft.Committee
	limit     shardkit.Height
	commit    func(d fbft.Decided)

	mu     sync.Mutex
	blocks []fbft.Decided
}

func (l *ledger) Propose(ctx context.Context, p fbft.Propose) (header, ref []byte, err error) {
	if p.Header != nil {
		return p.Header, nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.Height > l.limit {
		return nil, nil, errors.New("nothing to decide")
	}
	var parent shardkit.Hash
	if n := len(l.blocks); n > 0 {
		parent = l.blocks[n-1].Hash
	}
	return append(binary.BigEndian.AppendUint64(nil, uint64(p.Height)), parent[:]...), []byte{1}, nil
}

func (l *ledger) Validate(ctx context.Context, v fbft.Validate) error {
	if len(v.Header) != 40 || binary.BigEndian.Uint64(v.Header) != uint64(v.Height) {
		return errors.New("not a block")
	}
	return nil
}

func (l *ledger) Commit(ctx context.Context, d fbft.Decided) (fbft.Start, error) {
	l.mu.Lock()
	l.blocks = append(l.blocks, d)
	limit := l.limit
	l.mu.Unlock()
	if l.commit != nil {
		l.commit(d)
	}
	return fbft.Start{Committee: l.committee, Work: d.Height < limit}, nil
}

func (l *ledger) Block(h shardkit.Height) (header []byte, ct *fbft.Certificate, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h == 0 || int(h) > len(l.blocks) {
		return nil, nil, false
	}
	d := l.blocks[h-1]
	return d.Header, d.Certificate, true
}

func (l *ledger) height() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.blocks)
}

// cluster is nodes in memory.
type cluster struct {
	nodes []*fbft.Node
	apps  []*ledger
	wait  sync.WaitGroup
	mu    sync.RWMutex // of nodes
}

type scheme struct {
	keys   [][]byte
	signer func(i int) fbft.Signer
	verify fbft.Verifier
}

func counting(n int) scheme {
	var s scheme
	for i := range n {
		s.keys = append(s.keys, []byte{'k', byte(i), byte(i >> 8)})
	}
	s.signer = func(i int) fbft.Signer { return fbfttest.FakeSigner(s.keys[i]) }
	s.verify = fbfttest.Fake(s.keys)
	return s
}

func blsScheme(tb testing.TB, n int) scheme {
	tb.Helper()
	var s scheme
	var secret []*bls.SecretKey
	for i := range n {
		k, err := bls.GenerateKey(bytes.Repeat([]byte{byte(i), byte(i >> 8), 3, 1}, 8))
		if err != nil {
			tb.Fatal(err)
		}
		secret, s.keys = append(secret, k), append(s.keys, k.Public())
	}
	c, err := bls.NewCommittee(s.keys, [32]byte{1})
	if err != nil {
		tb.Fatal(err)
	}
	s.verify, s.signer = c, func(i int) fbft.Signer { return secret[i] }
	return s
}

func newCluster(tb testing.TB, n int, s scheme, limit shardkit.Height, edit func(i int, cfg *fbft.NodeConfig)) *cluster {
	tb.Helper()
	c := idleCluster(tb, n, s, limit, edit)
	c.start()
	return c
}

// idleCluster is a cluster that start starts.
func idleCluster(tb testing.TB, n int, s scheme, limit shardkit.Height, edit func(i int, cfg *fbft.NodeConfig)) *cluster {
	tb.Helper()
	var members []fbft.Member
	index := map[shardkit.NodeID]int{}
	for i := range n {
		id := shardkit.NodeID{byte(i + 1), byte(i >> 8)}
		index[id] = i
		members = append(members, fbft.Member{Node: id, Key: s.keys[i], Weight: 1})
	}
	committee, err := fbft.NewCommittee(members, 0, s.verify)
	if err != nil {
		tb.Fatal(err)
	}
	c := &cluster{nodes: make([]*fbft.Node, n)}
	for i := range n {
		app := &ledger{committee: committee, limit: limit}
		c.apps = append(c.apps, app)
		cfg := fbft.NodeConfig{
			Core:  fbft.Config{Self: members[i].Node, Signer: s.signer(i), BaseTimeout: time.Second},
			App:   app,
			Start: fbft.Start{Height: 1, Committee: committee},
			Send: func(m shardkit.Message) error {
				c.mu.RLock()
				to := c.nodes[index[m.To]]
				c.mu.RUnlock()
				if to == nil {
					return errors.New("down")
				}
				return to.Deliver(members[i].Node, m.Data)
			},
		}
		if edit != nil {
			edit(i, &cfg)
		}
		if c.nodes[i], err = fbft.NewNode(cfg); err != nil {
			tb.Fatal(err)
		}
	}
	return c
}

func (c *cluster) start() {
	for _, node := range c.nodes {
		c.wait.Go(func() { _ = node.Run(context.Background()) })
	}
}

func (c *cluster) close() {
	for _, n := range c.nodes {
		n.Close()
	}
	c.wait.Wait()
}

// reach waits until all applications are at a height.
func (c *cluster) reach(tb testing.TB, h int) {
	tb.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		least := h
		for _, a := range c.apps {
			least = min(least, a.height())
		}
		if least >= h {
			return
		}
		if time.Now().After(end) {
			tb.Fatalf("at height %d after a minute, want %d", least, h)
		}
	}
}

func TestNode(t *testing.T) {
	dir := t.TempDir()
	c := newCluster(t, 4, counting(4), 40, func(i int, cfg *fbft.NodeConfig) {
		log, records, err := fbft.OpenLog(filepath.Join(dir, fmt.Sprint(i)), []byte{byte(i)}, fbft.LogOptions{})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Log, cfg.Records = log, records
	})
	defer c.close()
	c.reach(t, 40)
	for i, n := range c.nodes {
		s := n.Stats()
		for s.Status.Height < 41 { // Commit has run, the node may yet have to go on
			s = n.Stats()
		}
		if s.Decided != 40 || s.Status.Height != 41 || s.Records == 0 || s.Syncs == 0 || s.Syncs > s.Records {
			t.Errorf("node %d: %+v", i, s)
		}
		if c.apps[i].blocks[39].Hash != c.apps[0].blocks[39].Hash {
			t.Errorf("node %d has another block", i)
		}
	}
}

// TestNodeJoinsLate starts a fourth node when the other three are far ahead:
// it catches up through what they serve.
func TestNodeJoinsLate(t *testing.T) {
	deaf := true
	var mu sync.Mutex
	c := newCluster(t, 4, counting(4), 60, func(i int, cfg *fbft.NodeConfig) {
		cfg.Core.BaseTimeout = 50 * time.Millisecond
		send := cfg.Send
		cfg.Send = func(m shardkit.Message) error {
			mu.Lock()
			lost := deaf && (i == 3 || m.To == shardkit.NodeID{4, 0})
			mu.Unlock()
			if lost {
				return nil
			}
			return send(m)
		}
	})
	defer c.close()
	work := time.NewTicker(20 * time.Millisecond)
	defer work.Stop()
	for c.apps[0].height() < 45 {
		<-work.C
		for _, n := range c.nodes {
			n.Work()
		}
	}
	mu.Lock()
	deaf = false
	mu.Unlock()
	for c.apps[3].height() < 60 {
		<-work.C
		for _, n := range c.nodes {
			n.Work()
		}
	}
}

// panicky fails in every way an application can, once each.
type panicky struct {
	*ledger
	once sync.Once
}

func (p *panicky) Validate(ctx context.Context, v fbft.Validate) error {
	p.once.Do(func() { panic("a bug of the application") })
	return p.ledger.Validate(ctx, v)
}

func TestNodeSurvivesItsApplication(t *testing.T) {
	c := newCluster(t, 4, counting(4), 5, func(i int, cfg *fbft.NodeConfig) {
		cfg.Core.BaseTimeout = 100 * time.Millisecond
		if i == 2 {
			cfg.App = &panicky{ledger: cfg.App.(*ledger)}
		}
	})
	defer c.close()
	c.reach(t, 5)
}

func TestNodeStopsWhenCommitFails(t *testing.T) {
	l := &failing{}
	s := counting(1)
	committee, err := fbft.NewCommittee([]fbft.Member{{Key: s.keys[0], Weight: 1}}, 0, s.verify)
	if err != nil {
		t.Fatal(err)
	}
	l.ledger = &ledger{committee: committee, limit: 1}
	n, err := fbft.NewNode(fbft.NodeConfig{Core: fbft.Config{Signer: s.signer(0)}, App: l,
		Start: fbft.Start{Height: 1, Committee: committee}, Send: func(shardkit.Message) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Run(context.Background()); !errors.Is(err, errDisk) {
		t.Errorf("ended with %v", err)
	}
	n.Close()
}

var errDisk = errors.New("disk full")

type failing struct{ *ledger }

func (*failing) Commit(context.Context, fbft.Decided) (fbft.Start, error) {
	return fbft.Start{}, errDisk
}

// BenchmarkBlocks decides empty blocks in memory, one height at a time, all
// replicas on this machine's processors. x-certificate is the time of a height,
// and x-cpu the processor time of all replicas together, over that of one
// verification of a certificate in the same run.
func BenchmarkBlocks(b *testing.B) {
	for _, n := range []int{4, 16, 100} {
		b.Run(fmt.Sprintf("replicas=%d/scheme=counting", n), func(b *testing.B) { benchBlocks(b, n, counting(n), false) })
		b.Run(fmt.Sprintf("replicas=%d/scheme=bls", n), func(b *testing.B) { benchBlocks(b, n, blsScheme(b, n), true) })
	}
}

func benchBlocks(b *testing.B, n int, s scheme, crypto bool) {
	b.ReportAllocs()
	var one time.Duration
	if crypto {
		one = certificateTime(b, n, s)
	}
	done := make(chan struct{}, n)
	c := idleCluster(b, n, s, shardkit.Height(b.N), func(i int, cfg *fbft.NodeConfig) {
		cfg.App.(*ledger).commit = func(d fbft.Decided) {
			if d.Height == shardkit.Height(b.N) {
				done <- struct{}{}
			}
		}
		cfg.Core.BaseTimeout = 20 * time.Second
	})
	cpu := cpuTime()
	b.ResetTimer()
	c.start()
	for range n {
		<-done
	}
	b.StopTimer()
	used := cpuTime() - cpu
	c.close()
	per := b.Elapsed() / time.Duration(b.N)
	b.ReportMetric(float64(time.Second)/float64(per), "blocks/s")
	if crypto {
		one = (one + certificateTime(b, n, s)) / 2 // before and after: the machine may have other things to do
		b.ReportMetric(float64(per)/float64(one), "x-certificate")
		b.ReportMetric(float64(used)/float64(b.N)/float64(one), "x-cpu")
	}
}

// certificateTime is the mean time of one verification of a certificate, each
// over a statement of its own: nothing may come out of a cache.
func certificateTime(b *testing.B, n int, s scheme) time.Duration {
	b.Helper()
	const rounds = 10
	var statements, aggregates [][]byte
	var members []int
	for i := range 2*n/3 + 1 {
		members = append(members, i)
	}
	for k := range rounds {
		statement := fmt.Appendf(nil, "what all of them sign, %d at %v", k, b.Elapsed())
		var sigs [][]byte
		for _, i := range members {
			sig, err := s.signer(i).Sign(statement)
			if err != nil {
				b.Fatal(err)
			}
			sigs = append(sigs, sig)
		}
		agg, _ := s.verify.Combine(statement, members, sigs)
		statements, aggregates = append(statements, statement), append(aggregates, agg)
	}
	begin := time.Now()
	for k := range rounds {
		if err := s.verify.Verify(statements[k], members, aggregates[k]); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(begin) / rounds
}

// cpuTime is the processor time this process has used.
func cpuTime() time.Duration {
	runtime.GC()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
