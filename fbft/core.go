package fbft

import (
	"errors"
	"fmt"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft/internal/mutant"
)

// Core is one replica of one shard over all its heights. It is not safe for
// concurrent use.
//
// Every byte slice that a Core holds is written once and then only read, so
// that Clone shares them.
type Core struct {
	cfg Config
	now time.Duration // the latest time heard of: time never goes back

	seq     uint64 // of the last record made in this life
	jobs    uint64 // number of the last job whose result must find its way back
	durable uint64 // records up to here are durable
	ready   Ready

	log     []*logged // of the former life, of heights not yet passed
	prune   uint64    // records up to here are of no use any more
	started bool
	heightState

	late    []lateVotes        // of the latest heights, ascending
	ring    []settled          // certificates of the latest heights, ascending
	answers limiter            // of answers to peers that lag
	guests  limiter            // of answers to nodes that may have had a part in heights long gone
	hints   limiter            // of Behind
	early   [maxAhead]earlyBox // what came for the next heights, by height modulo
}

// heightState is what a replica knows and owes at one height.
type heightState struct {
	epoch     shardkit.Epoch
	height    shardkit.Height
	parent    shardkit.Hash
	committee *Committee
	before    *Committee
	previous  *Certificate
	self      int    // own place in the committee, or -1
	voter     bool   // this replica may vote at this height
	work      bool   // there is something to decide
	begun     uint64 // number of the last record before this height's
	inherited bool   // the log of the former life has records of this height

	decided *Certificate

	view   uint64 // entered
	timer  alarm  // of the view
	resend alarm

	// What this replica has signed, or is about to. reported is the highest
	// view it has reported; it never votes below that, nor below view.
	reported uint64
	report   *ownReport
	vote     *ownVote
	last     *ownVote     // COMMIT of the last height, until it is known to be credited
	own      []ownMessage // own messages that wait for their record to be durable

	lock     *lock          // the highest prepared block whose header and body are held
	proposal *current       // accepted in this view
	prepared *Certificate   // of this view, verified
	blocks   []block        // candidates, oldest first
	certs    []*Certificate // prepared certificates out of reports, verified
	peers    []peer
	checks   []check
	bad      []shardkit.Hash // keys of checks that failed, oldest first

	combining [2]uint64 // by phase: the number of the job that makes the certificate
	lead      lead
	stored    *current // the last proposal made or prepared on in the former life

	holds Bitmap // hand-over: members known to hold previous
	polls int    // hand-over: whom to ask next
}

// alarm is a point in time at which something is due.
type alarm struct {
	on bool
	at time.Duration
}

// lock is a prepared certificate with the header of its block.
type lock struct {
	cert   *Certificate
	header []byte
}

// block is a header that may come to be decided. valid: the application holds
// the body and found it good. asks: how often it has been asked in this view for
// the body of a claim, again when due; turn: who is to be named then.
type block struct {
	hash   shardkit.Hash
	header []byte
	valid  bool
	asks   int
	turn   int
	due    time.Duration
}

// current is the proposal of a view. It is never changed once accepted: raw is
// what the leader repeats and what PREPARE puts into the log, byte for byte.
type current struct {
	view   uint64
	hash   shardkit.Hash
	header []byte
	ref    []byte
	digest shardkit.Hash // of the new-view proof; zero in view 0
	certed bool          // the proof names this very block
	own    bool
	raw    []byte // the message

	previous *Certificate // that the leader goes by; not verified
	after    uint64       // the record without which it must not leave
}

// ownVote is this replica's latest vote. seq is the number of its record in
// this life, 0 if it is from a former one. The message waits for that record;
// one of a former life is durable.
type ownVote struct {
	vote    vote
	seq     uint64
	signing bool
}

// ownReport is this replica's latest report, with what it claims.
type ownReport struct {
	report  report
	seq     uint64
	signing bool
}

// ownMessage waits for record seq before this replica itself acts on it: what
// it would do with it (count it in a certificate) reveals it to others.
type ownMessage struct {
	seq      uint64
	vote     *vote
	report   *report
	proposal *current
}

// peer is what is known of a member at this height: its latest vote of each
// phase and its latest report. Nothing else of it is kept. So a member takes
// the same room whatever it sends, and what it says of a higher view replaces
// the rest: an honest one never goes back.
type peer struct {
	votes   [2]vote // by phase; meaningless unless voted
	voted   [2]bool
	report  *report
	accused uint8     // how often evidence against it has been asked for
	banned  bool      // it sent a false signature: checked alone, never in a batch
	alone   [2]bool   // by phase: the vote has been checked alone and is good
	tried   [2]uint64 // by phase: one more than the view in which a vote was last checked alone
}

// settled is a height that is decided. It is kept to answer who is still at
// work there, of either committee.
type settled struct {
	cert      *Certificate
	committee *Committee
	before    *Committee    // the committee it relieved, if any
	since     time.Duration // when it was decided here
}

// Bounds of what is kept.
const (
	maxRing   = 32 // certificates of past heights
	maxBlocks = 8  // candidate headers of a height
	maxCerts  = 16 // prepared certificates out of reports
	maxBad    = 64 // keys of failed checks
	maxGuests = 4  // running checks for peers outside the committee
)

// New returns a core that waits for its first Start.
func New(cfg Config) (*Core, error) {
	if cfg.BaseTimeout < 0 || cfg.MaxTimeout < 0 || cfg.Resend < 0 || cfg.MaxHeader < 0 || cfg.MaxRef < 0 {
		return nil, errors.New("fbft: config: negative value")
	}
	if cfg.BaseTimeout == 0 {
		cfg.BaseTimeout = 2 * time.Second
	}
	if cfg.MaxTimeout == 0 {
		cfg.MaxTimeout = max(30*time.Second, cfg.BaseTimeout)
	}
	if cfg.MaxTimeout < cfg.BaseTimeout {
		return nil, errors.New("fbft: config: MaxTimeout below BaseTimeout")
	}
	if cfg.Resend == 0 {
		cfg.Resend = max(cfg.BaseTimeout/4, 1)
	}
	if cfg.MaxHeader == 0 {
		cfg.MaxHeader = 16 << 10
	}
	if cfg.MaxRef == 0 {
		cfg.MaxRef = 1 << 10
	}
	if cfg.Leader == nil {
		cfg.Leader = (*Committee).Rotate
	}
	c := &Core{cfg: cfg}
	for i, b := range cfg.Log {
		l, err := decodeRecord(b, cfg.Shard)
		if err != nil {
			return nil, fmt.Errorf("fbft: log record %d: %w", i, err)
		}
		c.log = append(c.log, l)
	}
	c.cfg.Log = nil
	return c, nil
}

// Start begins a height, which must be above every height started before. The
// heights between are skipped: the application has their blocks from others.
func (c *Core) Start(now time.Duration, s Start) error {
	c.advance(now)
	if err := c.checkStart(&s); err != nil {
		return err
	}
	last := c.heightState
	c.heightState = heightState{
		epoch: s.Epoch, height: s.Height, parent: s.Parent,
		committee: s.Committee, before: s.Before, previous: s.Previous,
		self: -1, peers: make([]peer, s.Committee.Len()),
	}
	// Whether it was counted, the certificate shows that the next leader goes
	// by.
	if o := last.vote; o != nil && o.vote.phase == Commit && o.vote.sig != nil && last.height+1 == s.Height {
		c.last = o
	}
	if i, ok := s.Committee.Index(c.cfg.Self); ok {
		c.self = i
	}
	if last.committee != nil && last.committee.hash == s.Committee.hash {
		// Who was caught at the last height starts this one alone: else each
		// height would pay for one spoilt batch a member.
		for i := range last.peers {
			c.peers[i].banned = last.peers[i].banned
		}
	}
	c.begun = c.seq
	c.prunable(&last)
	c.started = true
	if s.Previous != nil {
		owner := s.Committee
		if s.Before != nil {
			owner = s.Before
		}
		c.settle(settled{cert: s.Previous, committee: owner, since: c.now})
	}
	// Set before replay, which may take it away again.
	c.voter = c.self >= 0 && c.cfg.Signer != nil && s.Height >= c.cfg.VoteFrom
	if err := c.replay(); err != nil {
		return err
	}
	c.beginHandOver()
	c.claimCredit(c.previous)
	c.askProposal()
	if s.Work {
		c.Work(now)
	}
	// Last, once the replica is bound by its log: what comes now it may act on.
	for _, e := range c.early[s.Height%maxAhead].take(s.Height) {
		_ = c.Deliver(now, e.from, e.data) // who sent it cannot be told any more
	}
	return nil
}

// prunable lets go of the records before the last height in which this replica
// voted: those of that height stay, so that a ledger that loses its head does
// not make the replica vote there again.
func (c *Core) prunable(last *heightState) {
	// Not of a height that goes on from a former life: numbers of this life do
	// not say where its records begin. And not while there are
	// records of the former life for heights to come: they are older and would go
	// as well.
	if (last.vote != nil || last.report != nil) && !last.inherited && len(c.log) == 0 {
		c.prune = last.begun
	}
}

func (c *Core) checkStart(s *Start) error {
	if s.Committee == nil {
		return errors.New("fbft: start: no committee")
	}
	if c.started && s.Height <= c.height {
		return fmt.Errorf("fbft: start: height %d is not above %d", s.Height, c.height)
	}
	// The application vouches for its signature; this only catches a mistake.
	if p := s.Previous; p != nil {
		owner := s.Committee
		if s.Before != nil {
			owner = s.Before
		}
		if p.Phase != Commit || p.Height+1 != s.Height || p.Block != s.Parent {
			return errors.New("fbft: start: the previous certificate is not of the parent")
		}
		if err := p.Shape(owner); err != nil && !c.mutant(mutant.CountHeads|mutant.QuorumLess) {
			return fmt.Errorf("fbft: start: previous: %w", err)
		}
	}
	return nil
}

// Work tells that there is something to decide at the current height, so that
// silence of the leader is a fault: the timer of view 0 runs.
func (c *Core) Work(now time.Duration) {
	c.advance(now)
	if !c.started || c.decided != nil || !c.voter {
		return
	}
	c.work = true
	c.armTimer()
}

// Status is a view of a Core for people and tests.
type Status struct {
	Epoch    shardkit.Epoch
	Height   shardkit.Height
	View     uint64 // entered
	Reported uint64 // highest view reported; 0: none
	Voter    bool   // it may vote at this height
	Decided  bool
	Locked   bool // on a block prepared in LockView
	LockView uint64
	Leader   shardkit.NodeID // of the view
}

// Status returns where the replica stands.
func (c *Core) Status() Status {
	if !c.started {
		return Status{}
	}
	s := Status{Epoch: c.epoch, Height: c.height, View: c.view, Reported: c.reported,
		Voter: c.voter, Decided: c.decided != nil, Locked: c.lock != nil}
	if c.lock != nil {
		s.LockView = c.lock.cert.View
	}
	s.Leader = c.committee.members[c.leader(c.view)].Node
	return s
}

// mutant reports whether a rule is broken on purpose.
func (c *Core) mutant(m mutant.Set) bool { return c.cfg.Mutant.Has(m) }

// quorum is the weight that decides.
func (c *Core) quorum() uint64 {
	switch {
	case c.mutant(mutant.CountHeads):
		return uint64(2*c.committee.Len()/3 + 1)
	case c.mutant(mutant.QuorumLess):
		return c.committee.quorum - 1
	}
	return c.committee.quorum
}

// weight is what member i counts.
func (c *Core) weight(i int) uint64 {
	if c.mutant(mutant.CountHeads) {
		return 1
	}
	return c.committee.members[i].Weight
}

// shape is Certificate.Shape against the committee of this height.
func (c *Core) shape(ct *Certificate) error {
	if c.mutant(mutant.CountHeads | mutant.QuorumLess) {
		return nil
	}
	return ct.Shape(c.committee)
}

// advance moves time. A clock that goes back stands still instead.
func (c *Core) advance(now time.Duration) { c.now = max(c.now, now) }

// Wake returns when the core next wants Tick.
func (c *Core) Wake() (at time.Duration, ok bool) {
	switch {
	case c.timer.on && c.resend.on:
		return min(c.timer.at, c.resend.at), true
	case c.timer.on:
		return c.timer.at, true
	}
	return c.resend.at, c.resend.on
}

// Tick acts on the passing of time.
func (c *Core) Tick(now time.Duration) {
	c.advance(now)
	if c.timer.on && c.timer.at <= c.now {
		c.timer.on = false
		c.expire()
	}
	if c.resend.on && c.resend.at <= c.now {
		c.resend.at = c.now + c.cfg.Resend
		c.repeat()
	}
}

// Persisted tells that records up to seq are durable.
func (c *Core) Persisted(now time.Duration, seq uint64) {
	c.advance(now)
	// never beyond what was handed out, nor back
	c.durable = max(c.durable, min(seq, c.seq))
	c.release()
}

// Done takes the result of a job. Results of another height or another kind of
// core are dropped. Each result says what it is of, for jobs end in any order
// and some after the view or the height they were for.
func (c *Core) Done(now time.Duration, result any) {
	c.advance(now)
	if !c.started {
		return
	}
	switch res := result.(type) {
	case signed:
		c.onSigned(res)
	case combined:
		c.onCombined(res)
	case gathered:
		c.onGathered(res)
	case checked:
		c.onChecked(res)
	case accused:
		if res.evidence != nil {
			c.ready.Evidence = append(c.ready.Evidence, res.evidence)
		}
	case lateResult:
		if len(res.cert.Aggregate) > 0 {
			c.ready.Late = append(c.ready.Late, res.cert)
		}
	}
}

// Ready drains the effects.
func (c *Core) Ready() Ready {
	r := c.ready
	r.Seq, r.Prune = c.seq, c.prune
	c.ready = Ready{}
	return r
}

// record appends a record and returns its number.
func (c *Core) record(l *logged) uint64 {
	l.epoch, l.height = c.epoch, c.height
	c.ready.Records = append(c.ready.Records, l.encode(c.cfg.Shard))
	c.seq++
	return c.seq
}

// leader returns the place of the leader of a view of this height.
func (c *Core) leader(view uint64) int { return c.leaderAt(c.height, view) }

// leaderAt is leader for any height under this height's committee.
func (c *Core) leaderAt(h shardkit.Height, view uint64) int { return c.leaderOf(c.committee, h, view) }

// leaderOf returns the place of a leader. A policy that answers out of range
// gets the first member: all replicas alike. A view with a leader that did not
// mean to lead is lost; a panic, or leaders that differ, would cost more.
func (c *Core) leaderOf(members *Committee, h shardkit.Height, view uint64) int {
	i := c.cfg.Leader(members, h, view)
	if i < 0 || i >= members.Len() {
		return 0
	}
	return i
}

// send sends to one node, never to itself. after is the record which must be
// durable before it leaves, 0 if it promises nothing.
func (c *Core) send(to shardkit.NodeID, after uint64, data []byte) {
	if to == c.cfg.Self {
		return
	}
	if c.mutant(mutant.SendFirst) {
		after = 0
	}
	c.ready.Messages = append(c.ready.Messages,
		shardkit.Message{To: to, Class: shardkit.ClassVote, After: after, Data: data})
}

// broadcast sends to every member that skip does not name. skip may be nil.
func (c *Core) broadcast(after uint64, data []byte, skip func(i int) bool) {
	for i := range c.committee.members {
		if skip == nil || !skip(i) {
			c.send(c.committee.members[i].Node, after, data)
		}
	}
}

// message returns a message of this height.
func (c *Core) message(kind uint8, body interface{ appendTo([]byte) []byte }) []byte {
	return body.appendTo(appendHeading(nil, kind, c.cfg.Shard, c.height))
}

// armTimer starts the view's timer unless it runs. Not if it has reported a
// later view: it has said that it goes, and waits there for the others.
func (c *Core) armTimer() {
	if !c.timer.on && c.voter && c.decided == nil && c.reported <= c.view {
		c.timer = alarm{on: true, at: c.now + c.timeout(c.view)}
	}
	c.armResend()
}

func (c *Core) armResend() {
	if !c.resend.on && c.decided == nil {
		c.resend = alarm{on: true, at: c.now + c.cfg.Resend}
	}
}

// timeout is a function of the view alone, so that replicas that entered a view
// at about the same time leave it at about the same time. It does not grow
// without end, or a shard that was cut in two for a day would take a day to
// come back.
func (c *Core) timeout(view uint64) time.Duration {
	d := c.cfg.BaseTimeout
	for ; view > 0; view-- {
		if d > c.cfg.MaxTimeout/2 {
			return c.cfg.MaxTimeout
		}
		d *= 2
	}
	return d
}

// beginHandOver starts telling the old committee and the new one how the last
// height ended, if this height has another committee than the last.
func (c *Core) beginHandOver() {
	if c.before == nil || c.previous == nil || c.decided != nil {
		return
	}
	c.holds = NewBitmap(c.committee.Len() + c.before.Len())
	c.armResend()
	c.handOver()
}
