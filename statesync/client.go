package statesync

import (
	"errors"
	"time"

	"github.com/shardkit/shardkit"
)

// phase is what a client is doing.
type phase uint8

const (
	idle   phase = iota
	hops         // fetching and checking the hops of all epochs
	heads        // finding the newest head
	begun        // making room for the state of a head
	ranges       // fetching, checking and writing the state
	ending       // checking the whole
	synced       // state is there; waiting for the application to open it
	follow       // fetching blocks
)

func (p phase) String() string {
	return [...]string{"idle", "hops", "heads", "begin", "state", "finish", "synced", "follow"}[p]
}

// Client joins a shard and keeps up with it. It is a core: one goroutine owns
// it. See the package's documentation for the protocol.
type Client struct {
	cfg   ClientConfig
	now   time.Duration
	wake  time.Duration
	peers []*peer
	asks  []*ask // under way, oldest first
	turn  uint64 // id of the last request

	phase phase
	life  uint64 // of the present Sync or Follow: results of jobs of earlier ones are void
	disk  bool   // a job that touches the application's disk is running
	retry time.Duration

	hops    hopState
	heads   headState
	state   rangeState
	blocks  blockState
	resume  *Head
	trusted []committee
	round   int // of looking for a head
	epochs  int // hops verified in this sync

	ready Ready
	stats Stats
}

// Stats is how far a Client is and what it has done.
type Stats struct {
	Phase    string
	Progress int // of the state download, per mille, by the share of the key space
	Epoch    shardkit.Epoch
	Height   shardkit.Height // of the head, then of the last block handed out

	Hops     uint64 // verified
	Ranges   uint64 // verified and written
	Blocks   uint64 // verified
	Bytes    uint64 // in answers
	Requests uint64
	Timeouts uint64
	Refused  uint64 // by peers
	Bad      uint64 // answers that failed their check
	Restarts uint64 // state downloads given up for a newer head
}

// NewClient returns a Client that does nothing yet.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.CheckHop == nil && cfg.CheckHops == nil {
		return nil, errors.New("statesync: client needs CheckHop or CheckHops")
	}
	if cfg.CheckHead == nil || cfg.Begin == nil || cfg.CheckRange == nil || cfg.Write == nil ||
		cfg.Finish == nil || cfg.CheckBlock == nil {
		return nil, errors.New("statesync: client needs CheckHead, Begin, CheckRange, Write, Finish and CheckBlock")
	}
	if cfg.Parallel < 0 || cfg.MaxBytes < 0 || cfg.Timeout < 0 || cfg.Poll < 0 || cfg.Window < 0 {
		return nil, errors.New("statesync: client: negative setting")
	}
	if cfg.Parallel == 0 {
		cfg.Parallel = 4
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 512 << 10
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 2 * time.Second
	}
	if cfg.Poll == 0 {
		cfg.Poll = 250 * time.Millisecond
	}
	if cfg.Window == 0 {
		cfg.Window = 64
	}
	return &Client{cfg: cfg, wake: noTime}, nil
}

// Sync joins the shard. committee is that of epoch+1, encoded, and trusted:
// the hop of epoch+1 is checked under it. Ready.Synced tells when the state
// of a head is in place; blocks after it are fetched once the application
// calls Applied or Follow.
func (c *Client) Sync(now time.Duration, epoch shardkit.Epoch, committee []byte) {
	c.advance(now)
	c.begin(hops)
	c.round++
	c.epochs = 0
	c.trust(epoch+1, committee)
	c.hops.start(uint64(epoch) + 1)
	c.pump()
}

// Trust adds a committee that the application knows by itself, to be called
// before Sync. With that of the epoch that Sync names, a head of that very
// epoch will do; without, the sync waits until the next one has begun.
func (c *Client) Trust(epoch shardkit.Epoch, committee []byte) { c.trust(epoch, committee) }

// Resume names the head of a state download that a crash cut short, to be
// called before Sync. The client goes on with it, if it is certified and some
// peer still serves it.
func (c *Client) Resume(h Head) { c.resume = &h }

// Follow fetches blocks from height next on, for ever: the state is there.
func (c *Client) Follow(now time.Duration, next shardkit.Height) {
	c.advance(now)
	c.begin(follow)
	c.blocks.start(next)
	c.pump()
}

// Applied says that the application has applied blocks up to h, those it was
// handed or others.
func (c *Client) Applied(now time.Duration, h shardkit.Height) {
	c.advance(now)
	if c.phase == synced {
		c.begin(follow)
		c.blocks.start(h + 1)
	}
	if c.phase == follow {
		c.blocks.applied(h)
	}
	c.pump()
}

// Hint says that a peer claims to have height h: it is asked at once. The
// claim need not be true.
func (c *Client) Hint(now time.Duration, node shardkit.NodeID, h shardkit.Height) {
	c.advance(now)
	if c.phase == follow {
		c.blocks.hint(c, findPeer(c.peers, node), h)
	}
	c.pump()
}

// Stop ends what the client is doing. It may be used again.
func (c *Client) Stop(now time.Duration) {
	c.advance(now)
	c.begin(idle)
	c.trusted, c.resume = nil, nil
	c.pump()
}

// begin drops everything about what was done before.
func (c *Client) begin(p phase) {
	c.forget()
	c.life++
	c.phase = p
	c.retry = 0
	c.hops, c.heads, c.state, c.blocks = hopState{}, headState{}, rangeState{}, blockState{}
}

// Tick lets time pass.
func (c *Client) Tick(now time.Duration) {
	c.advance(now)
	c.pump()
}

// Persisted is part of every core; a Client writes through its Config.
func (c *Client) Persisted(time.Duration, uint64) {}

// Wake returns when the client next wants Tick.
func (c *Client) Wake() (at time.Duration, ok bool) { return c.wake, c.wake != noTime }

func (c *Client) advance(now time.Duration) { c.now = max(c.now, now) }

func (c *Client) wakeAt(t time.Duration) { c.wake = min(c.wake, t) }

// Ready drains the effects.
func (c *Client) Ready() Ready {
	ready := c.ready
	c.ready = Ready{}
	return ready
}

// Stats returns progress and counters.
func (c *Client) Stats() Stats {
	s := c.stats
	s.Phase = c.phase.String()
	s.Progress = c.progress()
	return s
}

// pump does what can be done now. It is called after every input.
func (c *Client) pump() {
	c.wake = noTime
	c.expire()
	switch {
	case c.retry > c.now:
		c.wakeAt(c.retry)
	case c.phase == hops:
		c.pumpHops()
	case c.phase == heads:
		c.pumpHeads()
	case c.phase == begun:
		c.pumpBegin()
	case c.phase == ranges:
		c.pumpRanges()
	case c.phase == follow:
		c.pumpBlocks()
	}
	for _, a := range c.asks {
		c.wakeAt(a.deadline)
	}
}

// result is what a job of the client hands back.
type result struct {
	client *Client
	life   uint64
	disk   bool // it was the one job that may touch the disk
	v      any  // what a phase makes of it
}

// job hands out a job whose outcome is then given to Done. The function makes
// the outcome; it owns what it captured.
func (c *Client) job(kind string, size int, run func() any) {
	res := result{client: c, life: c.life}
	c.ready.Jobs = append(c.ready.Jobs, shardkit.Job{Kind: kind, Size: size, Run: func() any {
		res.v = run()
		return res
	}})
}

// diskJob is job for what touches the application's disk: one at a time.
func (c *Client) diskJob(kind string, size int, run func() any) {
	c.disk = true
	res := result{client: c, life: c.life, disk: true}
	c.ready.Jobs = append(c.ready.Jobs, shardkit.Job{Kind: kind, Size: size, Run: func() any {
		res.v = run()
		return res
	}})
}

// Done takes the result of a job.
func (c *Client) Done(now time.Duration, r any) {
	c.advance(now)
	res, ok := r.(result)
	if !ok || res.client != c {
		return
	}
	if res.disk {
		c.disk = false
	}
	if res.life == c.life {
		c.done(res.v)
	}
	c.pump()
}

func (c *Client) done(v any) {
	switch v := v.(type) {
	case hopsChecked:
		c.onHopsChecked(v)
	case headChecked:
		c.onHeadChecked(v)
	case stateBegun:
		c.onBegun(v)
	case chunkChecked:
		c.onChunkChecked(v)
	case chunkWritten:
		c.onWritten(v)
	case stateFinished:
		c.onFinished(v)
	case blockChecked:
		c.onBlockChecked(v)
	}
}

// fail ends the sync for good: the own disk does not do what it should.
func (c *Client) fail(err error) {
	c.begin(idle)
	c.ready.Err = err
}
