package fbfttest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/kad/simnet"
)

// What the application's messages begin with. Everything else is the core's.
const (
	tagCore  = 0 // a message of the core
	tagWant  = 1 // hash: send me that block
	tagBlock = 2 // header, which here is the whole block
	tagLag   = 3 // height: send me how it ended
	tagEnd   = 4 // certificate, then header
)

// What records begin with.
const (
	logCore = 'c'
	logBody = 'b'
)

const (
	fetchEvery = 100 * time.Millisecond
	pollEvery  = 500 * time.Millisecond
)

// replica is a core with a small application: blocks are headers with a
// payload, the ledger is a list that a job appends to, and what is missing is
// asked for until it comes. It implements simnet.Node.
type replica struct {
	sim  *Sim
	id   shardkit.NodeID
	core *fbft.Core
	disk *disk
	now  time.Duration

	out    simnet.Effects
	seq    uint64     // records made in this life, the application's included
	marks  []seqMark  // where the core's records went
	bodies []body     // blocks whose body is held, sorted
	wants  []want     // blocks asked for
	ended  []decision // decided, not yet in the ledger
	saved  bool       // a commit job is running
	poll   time.Duration
	polls  int

	adversary Adversary // nil: an honest replica
	agent     *Agent
}

// disk is what survives a crash beside the log.
type disk struct {
	blocks []decision // the ledger, from height 1
}

type decision struct {
	height shardkit.Height
	hash   shardkit.Hash
	header []byte
	cert   *fbft.Certificate
}

type seqMark struct{ core, host uint64 }

type body struct {
	hash   shardkit.Hash
	header []byte
}

type want struct {
	hash  shardkit.Hash
	check bool // the core waits for Validated
	next  time.Duration
	from  []shardkit.NodeID // whom to ask, in turn
	turn  int
}

type committed struct{ height shardkit.Height }

// header returns a block on parent. salt tells blocks apart.
func header(height shardkit.Height, parent shardkit.Hash, salt uint64) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(height))
	b = append(b, parent[:]...)
	return binary.BigEndian.AppendUint64(b, salt)
}

// head is the last block of the ledger.
func (d *disk) head() (shardkit.Height, shardkit.Hash, *fbft.Certificate) {
	if len(d.blocks) == 0 {
		return 0, shardkit.Hash{}, nil
	}
	b := &d.blocks[len(d.blocks)-1]
	return b.height, b.hash, b.cert
}

// boot builds the replica from its log and ledger.
func (s *Sim) boot(i int, d *disk, log [][]byte) (simnet.Node, error) {
	r := &replica{sim: s, id: s.ids[i], disk: d}
	if r.adversary = s.cfg.Adversaries[i]; r.adversary != nil {
		r.agent = newAgent(i, len(s.ids), s.cfg.Net.Seed, s.signers[i], s.forger)
	}
	var mine [][]byte
	for _, rec := range log {
		switch rec[0] {
		case logCore:
			mine = append(mine, rec[1:])
		case logBody:
			r.hold(rec[1:])
		}
	}
	cfg := s.cfg.Core
	cfg.Chain, cfg.Self, cfg.Log = s.chain, r.id, mine
	cfg.Signer = s.signers[i]
	if s.cfg.Edit != nil {
		s.cfg.Edit(i, &cfg)
	}
	core, err := fbft.New(cfg)
	if err != nil {
		return nil, err
	}
	r.core = core
	if s.running {
		r.begin(0)
	}
	return r, nil
}

// begin starts the height after the ledger's last.
func (r *replica) begin(now time.Duration) {
	r.now = now
	r.start(r.disk.head())
}

// start begins the height after a decided one.
func (r *replica) start(height shardkit.Height, hash shardkit.Hash, cert *fbft.Certificate) {
	c, before, epoch := r.sim.committeeAt(height + 1)
	err := r.core.Start(r.now, fbft.Start{Epoch: epoch, Height: height + 1, Parent: hash,
		Committee: c, Previous: cert, Before: before})
	if err != nil {
		panic(err) // the harness drives the core wrongly
	}
	if height < r.sim.cfg.Heights {
		r.core.Work(r.now)
	}
	r.pump()
}

// Deliver implements simnet.Node.
func (r *replica) Deliver(now time.Duration, from shardkit.NodeID, msg []byte) error {
	r.now = now
	defer r.pump()
	if r.adversary != nil && !r.gets(from, msg) {
		return nil
	}
	switch msg[0] {
	case tagCore:
		return r.core.Deliver(now, from, msg[1:])
	case tagWant:
		if b := r.find(shardkit.Hash(msg[1:])); b != nil {
			r.send(from, append([]byte{tagBlock}, b...))
		}
	case tagBlock:
		r.got(msg[1:])
	case tagLag:
		r.serve(from, shardkit.Height(binary.BigEndian.Uint64(msg[1:])))
	case tagEnd:
		r.caughtUp(msg[1:])
	}
	return nil
}

// Done implements simnet.Node.
func (r *replica) Done(now time.Duration, result any) {
	r.now = now
	if c, ok := result.(committed); ok {
		r.saved = false
		r.ended = slices.DeleteFunc(r.ended, func(d decision) bool { return d.height <= c.height })
		r.save()
	} else {
		r.core.Done(now, result)
	}
	r.pump()
}

// Persisted implements simnet.Node: the core hears of its own records only.
func (r *replica) Persisted(now time.Duration, seq uint64) {
	r.now = now
	k := sort.Search(len(r.marks), func(k int) bool { return r.marks[k].host > seq })
	if k > 0 {
		r.core.Persisted(now, r.marks[k-1].core)
	}
	r.pump()
}

// Tick implements simnet.Node: the core's time, asking how heights ended where the
// replica has no vote, and asking for blocks, of one peer after the other.
func (r *replica) Tick(now time.Duration) {
	r.now = now
	r.core.Tick(now)
	if r.follows() && r.poll <= now {
		r.poll = now + pollEvery
		r.polls++
		r.lag(fbft.Behind{Peer: r.sim.ids[r.polls%len(r.sim.ids)]})
	}
	for i := range r.wants {
		if w := &r.wants[i]; w.next <= now {
			w.next = now + fetchEvery
			r.send(w.from[w.turn%len(w.from)], append([]byte{tagWant}, w.hash[:]...))
			w.turn++
		}
	}
	r.pump()
}

// Wake implements simnet.Node.
func (r *replica) Wake() (time.Duration, bool) {
	at, ok := r.core.Wake()
	if r.follows() && (!ok || r.poll < at) {
		at, ok = r.poll, true
	}
	for i := range r.wants {
		if !ok || r.wants[i].next < at {
			at, ok = r.wants[i].next, true
		}
	}
	return at, ok
}

// follows reports whether the replica has no vote at its height. Its core says
// nothing then: it is for the application to ask how the height ended.
func (r *replica) follows() bool {
	st := r.core.Status()
	return !st.Voter && st.Height <= r.sim.cfg.Heights
}

// Effects implements simnet.Node.
func (r *replica) Effects() simnet.Effects {
	e := r.out
	e.Seq = r.seq
	r.out = simnet.Effects{}
	return e
}

// record appends to the log, which the core shares with the bodies: what a record
// of the core rests on comes before it.
func (r *replica) record(tag byte, data []byte) {
	r.out.Records = append(r.out.Records, append([]byte{tag}, data...))
	r.seq++
}

// send sends a message of the application.
func (r *replica) send(to shardkit.NodeID, data []byte) {
	if to != r.id {
		r.post(shardkit.Message{To: to, Class: shardkit.ClassBlock, Data: data})
	}
}

// post sends a message, or what the adversary sends in its place.
func (r *replica) post(m shardkit.Message) {
	list := []shardkit.Message{m}
	if r.adversary != nil {
		list = nil
		for _, out := range r.adversary.Sends(r.agent, r.mail(m.To, m.Data)) {
			list = append(list, shardkit.Message{To: r.sim.ids[out.To], Class: m.Class, After: m.After, Data: tagged(out)})
		}
	}
	r.out.Messages = append(r.out.Messages, list...)
}

// gets tells the adversary what has come, and reports whether the replica is
// to get it too.
func (r *replica) gets(from shardkit.NodeID, msg []byte) bool {
	keep, list := r.adversary.Gets(r.agent, slices.Index(r.sim.ids, from), r.mail(r.id, msg))
	for _, out := range list {
		r.out.Messages = append(r.out.Messages, shardkit.Message{To: r.sim.ids[out.To], Class: shardkit.ClassVote, Data: tagged(out)})
	}
	return keep
}

// mail is a message as an adversary sees it, without the tag of the core.
func (r *replica) mail(to shardkit.NodeID, data []byte) Mail {
	i := slices.Index(r.sim.ids, to)
	if data[0] != tagCore {
		return Mail{To: i, Data: data}
	}
	return mail(i, data[1:])
}

// tagged undoes mail.
func tagged(m Mail) []byte {
	if m.Info.Kind == 0 {
		return m.Data
	}
	return append([]byte{tagCore}, m.Data...)
}

// pump carries out the core's effects until there are none.
func (r *replica) pump() {
	for {
		e := r.core.Ready()
		for i, rec := range e.Records {
			r.record(logCore, rec)
			r.marks = append(r.marks, seqMark{e.Seq - uint64(len(e.Records)-1-i), r.seq})
		}
		if e.Prune > 0 {
			r.prune(e.Prune)
		}
		for _, m := range e.Messages {
			m.After = r.after(m.After)
			m.Data = append([]byte{tagCore}, m.Data...)
			r.post(m)
		}
		r.out.Jobs = append(r.out.Jobs, e.Jobs...)
		r.sim.observe(r, &e)
		for _, p := range e.Propose {
			r.propose(p)
		}
		for _, v := range e.Validate {
			r.validate(v)
		}
		for _, b := range e.Behind {
			r.lag(b)
		}
		for _, s := range e.Serve {
			r.serve(s.To, s.Height)
		}
		for _, d := range e.Decided {
			r.decided(d)
		}
		if len(e.Propose)+len(e.Validate)+len(e.Decided) == 0 {
			return
		}
	}
}

// after translates the number of a core's record.
func (r *replica) after(seq uint64) uint64 {
	if seq == 0 {
		return 0
	}
	return r.marks[seq-1].host // the core's numbers are consecutive from 1
}

// prune lets the log go as far as the core allows, if the ledger has all that
// was decided.
func (r *replica) prune(seq uint64) {
	if len(r.ended) > 0 || !r.sim.cfg.Prune {
		return
	}
	if at := r.after(seq); at > 0 {
		r.out.Prune = max(r.out.Prune, at)
	}
}

// propose answers a Propose: every new block differs from all others.
func (r *replica) propose(p fbft.Propose) {
	h := p.Header
	if h == nil {
		if p.Height > r.sim.cfg.Heights {
			return
		}
		_, parent, _ := r.top()
		r.sim.salt++
		h = header(p.Height, parent, r.sim.salt)
	}
	if err := r.core.Proposed(r.now, p.Height, p.View, h, h); err != nil {
		panic(err)
	}
}

// top is the last decided block, in the ledger or not.
func (r *replica) top() (shardkit.Height, shardkit.Hash, *fbft.Certificate) {
	if n := len(r.ended); n > 0 {
		d := &r.ended[n-1]
		return d.height, d.hash, d.cert
	}
	return r.disk.head()
}

// validate answers a Validate once the block is held. What is not on the parent is
// refused; what came without a reference has to be fetched first, from nobody but
// those the core has named.
func (r *replica) validate(v fbft.Validate) {
	_, parent, _ := r.top()
	if len(v.Header) < 40 || shardkit.Hash(v.Header[8:40]) != parent ||
		r.sim.cfg.Judge != nil && !r.sim.cfg.Judge(r.id, v) {
		r.core.Validated(r.now, v.Hash, fmt.Errorf("not on the parent"))
		return
	}
	if v.Ref == nil && r.find(v.Hash) == nil {
		r.fetch(v.Hash, true, v.From)
		return
	}
	r.hold(v.Header)
	r.record(logBody, v.Header)
	r.core.Validated(r.now, v.Hash, nil)
}

// fetch asks for a block until it comes, one after the other of those that are
// named, in this call or another.
func (r *replica) fetch(hash shardkit.Hash, check bool, from ...shardkit.NodeID) {
	k := slices.IndexFunc(r.wants, func(w want) bool { return w.hash == hash })
	if k < 0 {
		k = len(r.wants)
		r.wants = append(r.wants, want{hash: hash, check: check, next: r.now})
	}
	w := &r.wants[k]
	w.check = w.check && check // a decided block is wanted for good
	for _, id := range from {
		if !slices.Contains(w.from, id) {
			w.from = append(w.from, id)
		}
	}
}

// got takes a block that was asked for.
func (r *replica) got(h []byte) {
	hash := fbft.BlockHash(h)
	k := slices.IndexFunc(r.wants, func(w want) bool { return w.hash == hash })
	if k < 0 {
		return
	}
	check := r.wants[k].check
	r.wants = slices.Delete(r.wants, k, k+1)
	r.hold(h)
	if check {
		r.record(logBody, h)
		r.core.Validated(r.now, hash, nil)
	}
	r.save()
}

// hold keeps a block in memory.
func (r *replica) hold(h []byte) {
	if hash := fbft.BlockHash(h); r.find(hash) == nil {
		r.bodies = append(r.bodies, body{hash, slices.Clone(h)})
	}
}

// find returns a block that is held, in memory or in the ledger.
func (r *replica) find(hash shardkit.Hash) []byte {
	for i := len(r.bodies) - 1; i >= 0; i-- {
		if r.bodies[i].hash == hash {
			return r.bodies[i].header
		}
	}
	for i := len(r.disk.blocks) - 1; i >= 0; i-- {
		if r.disk.blocks[i].hash == hash {
			return r.disk.blocks[i].header
		}
	}
	return nil
}

// decided goes on to the next height at once and leaves the ledger to a job.
func (r *replica) decided(d fbft.Decided) {
	if d.Header == nil {
		signer := r.sim.ids[d.Certificate.Signers.Indices()[0]]
		r.fetch(d.Hash, false, append([]shardkit.NodeID{signer}, r.sim.ids...)...)
	}
	r.ended = append(r.ended, decision{height: d.Height, hash: d.Hash, header: d.Header, cert: d.Certificate})
	r.wants = slices.DeleteFunc(r.wants, func(w want) bool { return w.check && w.hash != d.Hash })
	r.save()
	r.start(d.Height, d.Hash, d.Certificate)
}

// save has the oldest decided block put in the ledger, once its body is here.
func (r *replica) save() {
	if r.saved || len(r.ended) == 0 {
		return
	}
	d := r.ended[0]
	if d.header = r.find(d.hash); d.header == nil {
		return
	}
	r.saved = true
	disk := r.disk
	r.out.Jobs = append(r.out.Jobs, shardkit.Job{Kind: "ledger.commit", Run: func() any {
		if int(d.height) == len(disk.blocks)+1 {
			disk.blocks = append(disk.blocks, d)
		}
		return committed{d.height}
	}})
}

// lag asks a peer that is ahead how the height ended.
func (r *replica) lag(b fbft.Behind) {
	r.send(b.Peer, binary.BigEndian.AppendUint64([]byte{tagLag}, uint64(r.core.Status().Height)))
}

// serve sends the certificate and block of a height, if they are in the ledger.
func (r *replica) serve(to shardkit.NodeID, h shardkit.Height) {
	if h == 0 || int(h) > len(r.disk.blocks) {
		return
	}
	d := &r.disk.blocks[h-1]
	data, _ := d.cert.AppendBinary([]byte{tagEnd, byte(len(d.header))})
	r.send(to, slices.Concat(data[:2], d.header, data[2:]))
}

// caughtUp takes the end of this height from a peer. The core verifies it.
func (r *replica) caughtUp(msg []byte) {
	var ct fbft.Certificate
	n := int(msg[0])
	if len(msg) < 1+n || ct.UnmarshalBinary(msg[1+n:]) != nil || ct.Height != r.core.Status().Height {
		return
	}
	if h := msg[1 : 1+n]; fbft.BlockHash(h) == ct.Block {
		r.hold(h)
	}
	_ = r.core.Accept(r.now, &ct)
}
