package fbfttest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/fbft/internal/mutant"
)

// LabConfig describes a Lab.
type LabConfig struct {
	Nodes   int      // 0: 4
	Weights []uint64 // nil: 1 each
	Quorum  uint64   // 0: the default
	Leaders []int    // leader of view v of every height is Leaders[v % len]; nil: height-1+view in turn
	Twins   []int    // nodes that run on two machines with one key; the second is actor Nodes, Nodes+1, …
	Silent  []int    // nodes without a core: the test speaks for them
	// Byzantine nodes, which are not among Twins and Silent.
	Adversaries map[int]Adversary
	Heights     shardkit.Height
	Core        fbft.Config
	// Header names the block an actor proposes if it may choose. nil: every
	// actor another one in every view.
	Header func(actor int, h shardkit.Height, view uint64, parent shardkit.Hash) []byte
	// Judge is an actor's opinion of a block. nil: all are good.
	Judge func(actor int, v fbft.Validate) error
	// Scheme and Signer replace the scheme of Fake.
	Scheme func(keys [][]byte) fbft.Verifier
	Signer func(node int) fbft.Signer
	Keys   [][]byte
}

// Packet is a message in flight between two actors.
type Packet struct {
	From, To int
	Data     []byte
	Info     Info
}

// Lab runs production cores one input at a time, under the control of a test:
// it delivers what it likes, when it likes. Jobs finish at once, and records
// are durable at once unless HoldDisk says otherwise. A body without a reference
// comes at once if the node that the core names has it, or else never. Time stands
// still except in Timeout and Resend.
type Lab struct {
	Committee *fbft.Committee
	Chain     shardkit.Hash
	Flight    []Packet // in the order in which they were sent
	Sent      []Packet // everything sent so far, repetitions included
	Refused   []error  // by Deliver, of honest senders' messages too
	Blamed    []string
	Evidence  [][]byte
	Archive   [][]byte
	Late      []*fbft.Certificate
	Behind    []fbft.Behind
	Serve     []fbft.Serve
	Jobs      int // run so far

	cfg     LabConfig
	scheme  fbft.Verifier
	ids     []shardkit.NodeID
	keys    [][]byte
	actors  []*actor
	decided map[shardkit.Height]shardkit.Hash
	names   []shardkit.Hash
	err     error
	log     func(format string, args ...any)
}

// actor is one machine: a core, its disk, its blocks.
type actor struct {
	node    int
	core    *fbft.Core
	now     time.Duration
	durable [][]byte
	pending [][]byte
	held    []shardkit.Message
	seq     uint64 // of the last record of this life
	hold    bool
	bodies  []body
	chain   []decision
	agent   *Agent // of an adversary
}

// The clock of a Lab: a tick of resend repeats without ending a view, one of
// labTimeout ends every view.
const (
	labResend  = time.Second
	labTimeout = time.Hour
)

// NewLab starts all actors at height 1.
func NewLab(cfg LabConfig) (*Lab, error) { return newLab(cfg, func(string, ...any) {}) }

// newLab starts a Lab that tells log what happens.
func newLab(cfg LabConfig, log func(format string, args ...any)) (*Lab, error) {
	if cfg.Nodes == 0 {
		cfg.Nodes = 4
	}
	cfg.Heights = max(cfg.Heights, 1)
	l := &Lab{cfg: cfg, Chain: shardkit.Hash{0x1a}, decided: make(map[shardkit.Height]shardkit.Hash),
		log: log}
	if err := l.elect(); err != nil {
		return nil, err
	}
	for i := range cfg.Nodes {
		l.actors = append(l.actors, &actor{node: i})
	}
	for _, i := range cfg.Twins {
		l.actors = append(l.actors, &actor{node: i})
	}
	for i, a := range l.actors {
		if slices.Contains(cfg.Silent, i) {
			continue
		}
		if cfg.Adversaries[i] != nil {
			a.agent = newAgent(i, cfg.Nodes, 1, l.signer(i), l.Forger)
		}
		if err := l.boot(i, a); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// elect makes the committee, of all nodes.
func (l *Lab) elect() (err error) {
	cfg := &l.cfg
	var members []fbft.Member
	for i := range cfg.Nodes {
		w := uint64(1)
		if cfg.Weights != nil {
			w = cfg.Weights[i]
		}
		key := []byte{'k', byte(i), byte(i >> 8)}
		if cfg.Keys != nil {
			key = cfg.Keys[i]
		}
		l.ids = append(l.ids, shardkit.NodeID{byte(i + 1), byte(i >> 8)})
		l.keys = append(l.keys, key)
		members = append(members, fbft.Member{Node: l.ids[i], Key: key, Weight: w})
	}
	scheme := Fake
	if cfg.Scheme != nil {
		scheme = cfg.Scheme
	}
	l.scheme = scheme(l.keys)
	l.Committee, err = fbft.NewCommittee(members, cfg.Quorum, l.scheme)
	return err
}

// boot starts an actor from what is on its disk: records of the core, and bodies,
// which went there before the records that rest on them.
func (l *Lab) boot(i int, a *actor) error {
	cfg := l.cfg.Core
	cfg.Chain, cfg.Self = l.Chain, l.ids[a.node]
	cfg.Signer = l.signer(a.node)
	cfg.BaseTimeout, cfg.MaxTimeout, cfg.Resend = labTimeout, labTimeout, labResend
	if cfg.Leader == nil {
		cfg.Leader = l.leader
	}
	a.bodies = nil
	for _, rec := range a.durable {
		if rec[0] == logBody {
			a.keep(rec[1:])
		} else {
			cfg.Log = append(cfg.Log, rec[1:])
		}
	}
	core, err := fbft.New(cfg)
	if err != nil {
		return err
	}
	a.core, a.now, a.seq, a.pending, a.held = core, 0, 0, nil, nil
	return l.start(i)
}

// signer returns a node's signer. Machines of one node have the same.
func (l *Lab) signer(node int) fbft.Signer {
	if l.cfg.Signer != nil {
		return l.cfg.Signer(node)
	}
	return FakeSigner(l.keys[node])
}

// leader is the leader policy of all cores.
func (l *Lab) leader(c *fbft.Committee, h shardkit.Height, view uint64) int {
	if n := len(l.cfg.Leaders); n > 0 {
		return l.cfg.Leaders[view%uint64(n)]
	}
	return int((uint64(h) - 1 + view) % uint64(c.Len()))
}

// start starts the height after the actor's last.
func (l *Lab) start(i int) error {
	a := l.actors[i]
	s := fbft.Start{Height: shardkit.Height(len(a.chain) + 1), Committee: l.Committee}
	if n := len(a.chain); n > 0 {
		s.Parent, s.Previous = a.chain[n-1].hash, a.chain[n-1].cert
	}
	if err := a.core.Start(a.now, s); err != nil {
		return err
	}
	a.core.Work(a.now)
	l.pump(i)
	return nil
}

// keep holds a body.
func (a *actor) keep(h []byte) {
	hash := fbft.BlockHash(h)
	if !a.has(hash) {
		a.bodies = append(a.bodies, body{hash, slices.Clone(h)})
	}
}

func (a *actor) has(hash shardkit.Hash) bool {
	return slices.ContainsFunc(a.bodies, func(b body) bool { return b.hash == hash })
}

// Forger returns a forger for a height.
func (l *Lab) Forger(h shardkit.Height) *Forger {
	f := &Forger{Chain: l.Chain, Height: h, Committee: l.Committee, blind: l.cfg.Core.Mutant.Has(mutant.NoView)}
	if l.cfg.Scheme != nil {
		f.Scheme = l.scheme
	}
	if l.cfg.Signer != nil {
		f.Sign = func(member int, statement []byte) []byte {
			sig, _ := l.cfg.Signer(member).Sign(statement)
			return sig
		}
	}
	return f
}

// ID returns the node id of an actor.
func (l *Lab) ID(i int) shardkit.NodeID { return l.ids[l.actors[i].node] }

// Core returns an actor's core; nil if it is down or silent.
func (l *Lab) Core(i int) *fbft.Core { return l.actors[i].core }

// Err returns the first broken invariant.
func (l *Lab) Err() error { return l.err }

// Decided returns what an actor decided at a height.
func (l *Lab) Decided(i int, h shardkit.Height) (hash shardkit.Hash, ok bool) {
	for _, d := range l.actors[i].chain {
		if d.height == h {
			return d.hash, true
		}
	}
	return hash, false
}

// Certificate returns the certificate an actor decided a height on, or nil.
func (l *Lab) Certificate(i int, h shardkit.Height) *fbft.Certificate {
	for _, d := range l.actors[i].chain {
		if d.height == h {
			return d.cert
		}
	}
	return nil
}

// AllDecided reports whether the actors (none: all with a core) have decided a
// height.
func (l *Lab) AllDecided(h shardkit.Height, actors ...int) bool {
	for i, a := range l.actors {
		if len(actors) > 0 && !slices.Contains(actors, i) || len(actors) == 0 && a.core == nil {
			continue
		}
		if _, ok := l.Decided(i, h); !ok {
			return false
		}
	}
	return true
}

// propose answers a Propose: with the block that has to be proposed again, or
// with one of the actor's own.
func (l *Lab) propose(i int, p fbft.Propose) {
	a := l.actors[i]
	h := p.Header
	if h == nil {
		if p.Height > l.cfg.Heights {
			return
		}
		var parent shardkit.Hash
		if n := len(a.chain); n > 0 {
			parent = a.chain[n-1].hash
		}
		if l.cfg.Header != nil {
			h = l.cfg.Header(i, p.Height, p.View, parent)
		} else {
			h = header(p.Height, parent, uint64(i)<<32|p.View)
		}
		if h == nil {
			return
		}
	}
	l.Name(fbft.BlockHash(h))
	if err := a.core.Proposed(a.now, p.Height, p.View, h, h); err != nil {
		l.fail("actor %d: %v", i, err)
	}
}

// validate: the reference is the body; without one the body comes from the node
// that is named, if it is up and has it. Otherwise nothing happens, and so it is
// for the core to name another.
func (l *Lab) validate(i int, v fbft.Validate) {
	a := l.actors[i]
	if l.cfg.Judge != nil {
		if err := l.cfg.Judge(i, v); err != nil {
			if !errors.Is(err, ErrNever) {
				a.core.Validated(a.now, v.Hash, err)
			}
			return
		}
	}
	if v.Ref == nil && !a.has(v.Hash) {
		l.log("%d asks %d for %s", i, slices.Index(l.ids, v.From), l.Name(v.Hash))
		if !slices.ContainsFunc(l.actors, func(b *actor) bool { return b.core != nil && l.ids[b.node] == v.From && b.has(v.Hash) }) {
			return
		}
	}
	a.keep(v.Header)
	a.pending = append(a.pending, append([]byte{logBody}, v.Header...))
	a.core.Validated(a.now, v.Hash, nil)
}

// Validated gives an actor's core an answer that its application owes it.
func (l *Lab) Validated(i int, hash shardkit.Hash, err error) {
	l.actors[i].core.Validated(l.actors[i].now, hash, err)
	l.pump(i)
}

// CollectLate asks an actor's core for late votes.
func (l *Lab) CollectLate(i int) {
	l.actors[i].core.CollectLate(l.actors[i].now)
	l.pump(i)
}

// ErrNever is a Judge's answer for an application that does not answer.
var ErrNever = errors.New("never")

// note files the effects that only tests look at.
func (l *Lab) note(i int, e *fbft.Ready) {
	for _, b := range e.Blame {
		l.Blamed = append(l.Blamed, fmt.Sprintf("%d blames %d: %s", i, slices.Index(l.ids, b.Peer), b.What))
	}
	l.Evidence = append(l.Evidence, e.Evidence...)
	l.Archive = append(l.Archive, e.Archive...)
	l.Late = append(l.Late, e.Late...)
	l.Behind = append(l.Behind, e.Behind...)
	l.Serve = append(l.Serve, e.Serve...)
}

// onDecided checks that all honest actors decide one block, and goes on to the
// next height. A twin or an adversary may decide what it likes.
func (l *Lab) onDecided(i int, d fbft.Decided) {
	a := l.actors[i]
	l.log("%d decides %s", i, l.Name(d.Hash))
	odd := a.node != i || slices.Contains(l.cfg.Twins, i) || a.agent != nil
	if was, ok := l.decided[d.Height]; ok && was != d.Hash && !odd {
		l.fail("fork at height %d: %s and %s", d.Height, l.Name(was), l.Name(d.Hash))
	} else if !odd {
		l.decided[d.Height] = d.Hash
	}
	a.chain = append(a.chain, decision{height: d.Height, hash: d.Hash, header: d.Header, cert: d.Certificate})
	if d.Height < l.cfg.Heights {
		if err := l.start(i); err != nil {
			l.fail("actor %d: %v", i, err)
		}
	}
}

// fail keeps the first broken invariant.
func (l *Lab) fail(format string, args ...any) {
	if l.err == nil {
		l.err = fmt.Errorf(format, args...)
	}
}

// Name returns a letter for a block: the first one seen is A.
func (l *Lab) Name(hash shardkit.Hash) string {
	if hash == (shardkit.Hash{}) {
		return "-"
	}
	k := slices.Index(l.names, hash)
	if k < 0 {
		k = len(l.names)
		l.names = append(l.names, hash)
	}
	if k < 26 {
		return string(rune('A' + k))
	}
	return fmt.Sprintf("B%d", k)
}

// Block returns the header of a named block as some actor holds it.
func (l *Lab) Block(name string) (h []byte) {
	for _, a := range l.actors {
		for _, b := range a.bodies {
			if l.Name(b.hash) == name {
				return b.header
			}
		}
	}
	return nil
}

// Describe returns a message in a few words.
func (l *Lab) Describe(msg []byte) string {
	in, ok := Inspect(msg)
	if !ok {
		return "garbage"
	}
	name := ""
	switch in.Kind {
	case KindProposal:
		if name = "announce"; in.View > 0 {
			name = "newview"
		}
	case KindVote:
		name = in.Phase.String()
	case KindCertificate:
		if name = "prepared"; in.Phase == fbft.Commit {
			name = "committed"
		}
	case KindReport:
		name = "report"
	}
	text := fmt.Sprintf("%s h%d v%d %s", name, in.Height, in.View, l.Name(in.Block))
	return strings.TrimSpace(text)
}
