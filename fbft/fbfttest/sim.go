package fbfttest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/kad/simnet"
)

// SimConfig describes a simulated committee.
type SimConfig struct {
	Net     simnet.Config
	Nodes   int             // 0: 4
	Weights []uint64        // nil: 1 each
	Quorum  uint64          // 0: the default
	Heights shardkit.Height // to decide
	Core    fbft.Config     // timeouts and policy of every core
	Prune   bool            // logs are pruned
	// Epochs returns the members (numbers of nodes) of a height's committee and
	// its epoch. nil: all nodes, epoch 0.
	Epochs func(h shardkit.Height) (epoch shardkit.Epoch, members []int)
	// Edit changes the configuration of a node's core, at every boot.
	Edit func(node int, cfg *fbft.Config)
	// Judge is the application's opinion of a block. nil: all blocks are good.
	Judge func(id shardkit.NodeID, v fbft.Validate) bool
	// Adversaries are Byzantine nodes. Members are the nodes then, at all heights.
	Adversaries map[int]Adversary
	// New replaces the scheme of Fake, as in Scheme. Members are the nodes then,
	// at all heights.
	New func(n int) (fbft.Verifier, []fbft.Signer)
}

// Sim is a committee of production cores in a simulated network, with the
// invariants checked at every step.
type Sim struct {
	Net    *simnet.Net
	Guilty int // members convicted by evidence so far

	cfg   SimConfig
	chain shardkit.Hash
	ids   []shardkit.NodeID
	keys  [][]byte
	disks []*disk
	salt  uint64

	verifier fbft.Verifier // of all nodes; nil: the scheme of Fake
	signers  []fbft.Signer

	committees []epochCommittee
	decided    map[shardkit.Height]shardkit.Hash
	running    bool // a replica that boots begins at once
	fault      error
}

type epochCommittee struct {
	epoch shardkit.Epoch
	c     *fbft.Committee
}

// NewSim builds the committee and starts all of it at time 0.
func NewSim(cfg SimConfig) (*Sim, error) {
	if cfg.Nodes == 0 {
		cfg.Nodes = 4
	}
	s := &Sim{cfg: cfg, chain: shardkit.Hash{0xc4}, decided: make(map[shardkit.Height]shardkit.Hash)}
	for i := range cfg.Nodes {
		s.ids = append(s.ids, shardkit.NodeID{byte(i + 1), byte(i >> 8)})
		s.keys = append(s.keys, binary.BigEndian.AppendUint32([]byte("key"), uint32(i)))
		s.signers = append(s.signers, FakeSigner(s.keys[i]))
		s.disks = append(s.disks, new(disk))
	}
	if cfg.New != nil {
		s.verifier, s.signers = cfg.New(cfg.Nodes)
	}
	net, err := simnet.New(cfg.Net)
	if err != nil {
		return nil, err
	}
	s.Net = net
	for i, id := range s.ids {
		err := net.Add(id, func(log [][]byte) (simnet.Node, error) { return s.boot(i, s.disks[i], log) })
		if err != nil {
			return nil, err
		}
	}
	// Only now, when all can be reached: what the first leader announced before
	// would be lost to those who come after it.
	s.running = true
	for _, id := range s.ids {
		s.Net.Do(id, func(now time.Duration, n simnet.Node) { n.(*replica).begin(now) })
	}
	return s, nil
}

// ID returns the node with a number.
func (s *Sim) ID(i int) shardkit.NodeID { return s.ids[i] }

// Committee returns the committee of a height.
func (s *Sim) Committee(h shardkit.Height) *fbft.Committee { return s.epochCommittee(h).c }

// committeeAt returns the committee of a height, and that of the height before
// if it is another.
func (s *Sim) committeeAt(h shardkit.Height) (c, before *fbft.Committee, epoch shardkit.Epoch) {
	now := s.epochCommittee(h)
	if h > 1 {
		if last := s.epochCommittee(h - 1); last.c != now.c {
			before = last.c
		}
	}
	return now.c, before, now.epoch
}

// epochCommittee makes the committee of a height's epoch, once.
func (s *Sim) epochCommittee(h shardkit.Height) epochCommittee {
	epoch, nodes := shardkit.Epoch(0), []int(nil)
	if s.cfg.Epochs != nil {
		epoch, nodes = s.cfg.Epochs(h)
	} else {
		for i := range s.ids {
			nodes = append(nodes, i)
		}
	}
	for _, e := range s.committees {
		if e.epoch == epoch {
			return e
		}
	}
	var members []fbft.Member
	var keys [][]byte
	for _, i := range nodes {
		w := uint64(1)
		if s.cfg.Weights != nil {
			w = s.cfg.Weights[i]
		}
		members = append(members, fbft.Member{Node: s.ids[i], Key: s.keys[i], Weight: w})
		keys = append(keys, s.keys[i])
	}
	v := s.verifier
	if v == nil {
		v = Fake(keys)
	}
	c, err := fbft.NewCommittee(members, s.cfg.Quorum, v)
	if err != nil {
		panic(err) // the scenario is wrong
	}
	e := epochCommittee{epoch, c}
	s.committees = append(s.committees, e)
	return e
}

// observe checks what a replica hands out against the invariants.
func (s *Sim) observe(r *replica, e *fbft.Ready) {
	for _, d := range e.Decided {
		if was, ok := s.decided[d.Height]; ok && was != d.Hash {
			s.fail("fork at height %d: %v and %v", d.Height, was, d.Hash)
		}
		s.decided[d.Height] = d.Hash
		if s.cfg.Core.Mutant != 0 {
			continue // the false certificates of a broken core are not the point
		}
		if err := d.Certificate.Check(s.chain, s.cfg.Core.Shard, s.epochCommittee(d.Height).c); err != nil {
			s.fail("decided height %d on a false certificate: %v", d.Height, err)
		}
	}
	for _, b := range e.Blame {
		if i := slices.Index(s.ids, b.Peer); s.cfg.Adversaries[i] == nil {
			s.fail("node %d blamed for %s", i, b.What)
		}
	}
	for _, data := range e.Evidence {
		s.judge(data)
	}
}

// judge checks that evidence holds, and against adversaries only.
func (s *Sim) judge(data []byte) {
	if s.cfg.Core.Mutant != 0 {
		return
	}
	var e fbft.Evidence
	if err := e.UnmarshalBinary(data); err != nil {
		s.fail("%v", err)
		return
	}
	c := s.epochCommittee(e.Height).c
	guilty, err := e.Check(s.chain, s.cfg.Core.Shard, c)
	if err != nil {
		s.fail("%v", err)
	}
	for _, i := range guilty {
		node := slices.Index(s.ids, c.Members()[i].Node)
		if s.Guilty++; s.cfg.Adversaries[node] == nil {
			s.fail("evidence against node %d", node)
		}
	}
}

// forger returns a forger for a height, with all keys.
func (s *Sim) forger(h shardkit.Height) *Forger {
	return &Forger{Chain: s.chain, Shard: s.cfg.Core.Shard, Height: h, Committee: s.Committee(h), Scheme: s.verifier}
}

// fail keeps the first broken invariant.
func (s *Sim) fail(format string, args ...any) {
	if s.fault == nil {
		s.fault = fmt.Errorf(format, args...)
	}
}

// Err returns the first invariant that was broken.
func (s *Sim) Err() error { return s.fault }

// Height returns the height of a node's ledger.
func (s *Sim) Height(i int) shardkit.Height { return shardkit.Height(len(s.disks[i].blocks)) }

// Status returns where a node stands; the zero Status if it is down.
func (s *Sim) Status(i int) fbft.Status {
	if r, ok := s.Net.Node(s.ids[i]).(*replica); ok && r != nil {
		return r.core.Status()
	}
	return fbft.Status{}
}

// RunTo lets time pass until the given nodes (none: all) have decided height h
// in their ledgers. It returns an error when they have not by limit or when an
// invariant is broken.
func (s *Sim) RunTo(h shardkit.Height, limit time.Duration, nodes ...int) error {
	if len(nodes) == 0 {
		for i := range s.ids {
			nodes = append(nodes, i)
		}
	}
	done := func() bool {
		for _, i := range nodes {
			if s.Height(i) < h {
				return s.fault != nil
			}
		}
		return true
	}
	ok := s.Net.RunUntil(done, limit)
	if s.fault != nil {
		return s.fault
	}
	if !ok {
		return fmt.Errorf("not at height %d after %v: %s", h, limit, s.describe())
	}
	return nil
}

// describe says where everybody stands.
func (s *Sim) describe() string {
	text := ""
	for i := range s.ids {
		st := s.Status(i)
		text += fmt.Sprintf("\n node %d: ledger %d, at %d, view %d, reported %d, decided %v", i, s.Height(i), st.Height, st.View, st.Reported, st.Decided)
	}
	return text
}
