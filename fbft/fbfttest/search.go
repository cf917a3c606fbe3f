package fbfttest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
)

// Search explores one height of four members of equal weight, one of them
// Byzantine, over all that the network and that member can do up to a view.
//
// The cores are the production ones. The network is the set of all statements
// signed so far: whatever can be made of them may reach anybody at any time,
// any number of times, or never. The Byzantine member leads every view and has
// signed every well-formed statement about two blocks. It is handed every vote
// and report, and shows whom it likes any announcement, any certificate that
// votes of two honest members allow, and any NEWVIEW that reports of two allow.
// A member's timer may run out at any time, it may join others, and it may lose
// power and start again from its log.
//
// What a core does depends on what it knows and is shown, not on who signed:
// so certificates are shown with fixed signers, a core's answers are computed
// once per state, and states that differ in the names of honest members are
// one. Deliveries that an honest leader or collector would make are among
// those the Byzantine one can make.
type Search struct {
	Views     uint64      // views 0 … Views-1
	Restarts  int         // power failures per member
	MaxStates int         // stop after so many; 0: never
	Core      fbft.Config // Mutant of the cores

	lab      *Lab
	forger   *Forger
	blocks   [2][]byte
	locals   []local
	index    map[string]uint32
	said     []statement
	known    map[statement]int
	steps    map[step]stepTo
	visited  map[uint64]struct{}
	frontier []uint64
	tally    []uint8 // how many honest members have signed each of said
}

// SearchResult says how far a search went.
type SearchResult struct {
	States   int  // distinct states of the committee
	Locals   int  // distinct states of one member, with what it has said
	Complete bool // the frontier emptied: there is no other state
}

// statement is something an honest member signed: a vote if phase is set, else
// a report that claims block in claimView (claimed) or nothing.
type statement struct {
	phase     fbft.Phase
	view      uint64
	block     uint8 // 1 or 2; 0: none
	digest    shardkit.Hash
	claimed   bool
	claimView uint64
}

// local is a member: its core, its log, and the numbers of what it has signed.
type local struct {
	core     *fbft.Core
	now      time.Duration
	log      [][]byte
	said     []int // ascending
	restarts int
}

// step is something that happens to a member.
type step struct {
	from  uint32
	act   uint8
	view  uint64
	block uint8
	// of a NEWVIEW: what it rests on; of PREPARED: the digest
	claimed   bool
	claimView uint64
	digest    shardkit.Hash
}

const (
	actAnnounce = iota
	actTimeout
	actPrepared
	actNewView
	actJoin
	actRestart
)

type stepTo struct {
	to uint32
	ok bool
}

// Run searches until there is nothing new, or enough. An error is a broken
// invariant.
func (s *Search) Run() (SearchResult, error) {
	lab, err := NewLab(LabConfig{Silent: []int{3}, Leaders: []int{3}, Core: s.Core})
	if err != nil {
		return SearchResult{}, err
	}
	s.lab, s.forger = lab, lab.Forger(1)
	s.blocks = [2][]byte{[]byte("block one"), []byte("block two")}
	s.index, s.known = make(map[string]uint32), make(map[statement]int)
	s.steps, s.visited = make(map[step]stepTo), make(map[uint64]struct{})
	first, err := s.boot(nil, nil, 0)
	if err != nil {
		return SearchResult{}, err
	}
	id, err := s.intern(first)
	if err != nil {
		return SearchResult{}, err
	}
	s.visit([3]uint32{id, id, id})
	for len(s.frontier) > 0 {
		if s.MaxStates > 0 && len(s.visited) >= s.MaxStates {
			break
		}
		at := unpack(s.frontier[len(s.frontier)-1])
		s.frontier = s.frontier[:len(s.frontier)-1]
		if err := s.expand(at); err != nil {
			return s.result(), err
		}
	}
	return s.result(), nil
}

func (s *Search) result() SearchResult {
	return SearchResult{States: len(s.visited), Locals: len(s.locals), Complete: len(s.frontier) == 0}
}

// visit adds a state of the committee, members in order of their states.
func (s *Search) visit(at [3]uint32) {
	slices.Sort(at[:])
	key := uint64(at[0])<<42 | uint64(at[1])<<21 | uint64(at[2])
	if _, seen := s.visited[key]; !seen {
		s.visited[key] = struct{}{}
		s.frontier = append(s.frontier, key)
	}
}

const maxLocals = 1 << 21

func unpack(key uint64) [3]uint32 {
	return [3]uint32{uint32(key >> 42), uint32(key >> 21 & (maxLocals - 1)), uint32(key & (maxLocals - 1))}
}

// expand takes every step that is possible in a state.
func (s *Search) expand(at [3]uint32) error {
	s.count(at)
	if err := s.check(); err != nil {
		return err
	}
	shown := s.possible(at)
	for i, id := range at {
		if i > 0 && at[i-1] == id {
			continue
		}
		for _, st := range shown {
			st.from = id
			if st.act == actJoin && !s.joinable(at, i, st.view) {
				continue
			}
			to, err := s.step(st)
			if err != nil {
				return err
			}
			if to.ok && to.to != id {
				next := at
				next[i] = to.to
				s.visit(next)
			}
		}
	}
	return nil
}

// count notes how many members have signed every statement.
func (s *Search) count(at [3]uint32) {
	s.tally = append(s.tally[:0], make([]uint8, len(s.said))...)
	for _, id := range at {
		for _, k := range s.locals[id].said {
			s.tally[k]++
		}
	}
}

// check is the invariants: one block decided, one block prepared in a view.
// With the Byzantine member, votes of two honest ones make a certificate.
func (s *Search) check() error {
	var decided uint8
	prepared := make([]uint8, s.Views)
	for k, n := range s.tally {
		st := s.said[k]
		if n < 2 || st.phase == 0 {
			continue
		}
		slot := &decided
		if st.phase == fbft.Prepare {
			slot = &prepared[st.view]
		}
		if *slot != 0 && *slot != st.block {
			return fmt.Errorf("two blocks have a quorum of %v, one in view %d", st.phase, st.view)
		}
		*slot = st.block
	}
	return nil
}

// joinable reports whether another honest member has reported a view.
func (s *Search) joinable(at [3]uint32, i int, view uint64) bool {
	for k, id := range at {
		if k != i && slices.ContainsFunc(s.locals[id].said, func(n int) bool {
			return s.said[n].phase == 0 && s.said[n].view == view
		}) {
			return true
		}
	}
	return false
}

// possible lists what can be shown to a member in a state.
func (s *Search) possible(at [3]uint32) []step {
	list := []step{{act: actAnnounce, block: 1}, {act: actAnnounce, block: 2}, {act: actTimeout}}
	if s.Restarts > 0 {
		list = append(list, step{act: actRestart})
	}
	certs := s.certificates()
	for _, st := range certs {
		list = append(list, step{act: actPrepared, view: st.view, block: st.block, digest: st.digest})
	}
	for view := uint64(1); view < s.Views; view++ {
		list = append(list, step{act: actJoin, view: view})
		list = append(list, s.newViews(at, view, certs)...)
	}
	return list
}

// certificates lists the prepared certificates that can be made.
func (s *Search) certificates() (list []statement) {
	for k, n := range s.tally {
		if st := s.said[k]; st.phase == fbft.Prepare && n >= 2 {
			list = append(list, st)
		}
	}
	return list
}

// newViews lists the proofs for a view that can be made of the reports of two
// honest members and the Byzantine one, or of three honest ones. What matters
// of a proof is its highest claim.
func (s *Search) newViews(at [3]uint32, view uint64, certs []statement) []step {
	var reports []statement
	for _, id := range at {
		for _, k := range s.locals[id].said {
			if st := s.said[k]; st.phase == 0 && st.view == view {
				reports = append(reports, st)
			}
		}
	}
	var tops []statement // highest claims of the honest part
	for i := range reports {
		for k := range reports[:i] {
			top := reports[i]
			if higher(reports[k], top) {
				top = reports[k]
			}
			tops = append(tops, top)
		}
	}
	var list []step
	add := func(top statement) {
		if top.claimed {
			list = append(list, step{act: actNewView, view: view, block: top.block, claimed: true, claimView: top.claimView})
			return
		}
		list = append(list, step{act: actNewView, view: view, block: 1}, step{act: actNewView, view: view, block: 2})
	}
	for _, top := range tops {
		add(top)
		for _, ct := range certs { // the Byzantine member may claim more
			lie := statement{view: view, claimed: true, claimView: ct.view, block: ct.block}
			if ct.view < view && higher(lie, top) {
				add(lie)
			}
		}
	}
	slices.SortFunc(list, func(a, b step) int { return int(a.key()) - int(b.key()) })
	return slices.Compact(list)
}

func (st *step) key() uint64 {
	k := st.claimView<<8 | uint64(st.block)
	if st.claimed {
		k |= 1 << 4
	}
	return k
}

func higher(a, b statement) bool {
	return a.claimed && (!b.claimed || a.claimView > b.claimView)
}

// step returns where a step takes a member; known steps are looked up.
func (s *Search) step(st step) (stepTo, error) {
	if to, ok := s.steps[st]; ok {
		return to, nil
	}
	to, err := s.take(st)
	s.steps[st] = to
	return to, err
}

func (s *Search) take(st step) (stepTo, error) {
	old := &s.locals[st.from]
	if st.act == actRestart {
		if old.restarts >= s.Restarts {
			return stepTo{}, nil
		}
		l, err := s.boot(old.log, old.said, old.restarts+1)
		if err != nil {
			return stepTo{}, err
		}
		return s.arrive(l)
	}
	l := local{core: old.core.Clone(), now: old.now, log: slices.Clip(old.log), said: slices.Clone(old.said), restarts: old.restarts}
	switch st.act {
	case actTimeout:
		if l.core.Status().View+1 >= s.Views {
			return stepTo{}, nil
		}
		l.now += 2 * labTimeout
		l.core.Tick(l.now)
	case actAnnounce:
		s.show(&l, 3, s.forger.Announce(s.blocks[st.block-1], []byte("ref"), nil))
	case actPrepared:
		s.show(&l, 3, s.forger.CertificateMessage(s.prepared(st.view, st.block, st.digest), false))
	case actNewView:
		s.show(&l, 3, s.newView(st))
	case actJoin:
		if l.core.Status().View >= st.view {
			return stepTo{}, nil
		}
		// Another honest member's report and the Byzantine one's.
		for _, i := range []int{1, 3} {
			s.show(&l, i, s.forger.ReportMessage(s.forger.Report(i, st.view, Claim{}), nil, nil, nil))
		}
	}
	s.pump(&l)
	return s.arrive(l)
}

func (s *Search) prepared(view uint64, block uint8, digest shardkit.Hash) *fbft.Certificate {
	return s.forger.Certificate(fbft.Prepare, view, fbft.BlockHash(s.blocks[block-1]), digest, 1, 2, 3)
}

// newView makes the proof with fixed signers: 1, 2 and 3, all of which claim
// the highest.
func (s *Search) newView(st step) []byte {
	var c Claim
	var ct *fbft.Certificate
	header := s.blocks[st.block-1]
	if st.claimed {
		c = Claim{OK: true, View: st.claimView, Block: fbft.BlockHash(header)}
		digest := shardkit.Hash{}
		if st.claimView > 0 {
			digest = shardkit.Hash{byte(st.claimView)} // any: the certificate holds
		}
		ct = s.prepared(st.claimView, st.block, digest)
	}
	msg, _ := s.forger.NewView(st.view, header, []byte("ref"), ct,
		s.forger.Report(1, st.view, c), s.forger.Report(2, st.view, c), s.forger.Report(3, st.view, c))
	return msg
}

// boot builds a member from a log.
func (s *Search) boot(log [][]byte, said []int, restarts int) (local, error) {
	cfg := s.Core
	cfg.Chain, cfg.Self, cfg.Signer, cfg.Log = s.lab.Chain, s.lab.ids[0], FakeSigner(s.lab.keys[0]), log
	cfg.BaseTimeout, cfg.MaxTimeout, cfg.Resend = labTimeout, labTimeout, labResend
	cfg.Leader = func(*fbft.Committee, shardkit.Height, uint64) int { return 3 }
	core, err := fbft.New(cfg)
	if err != nil {
		return local{}, err
	}
	l := local{core: core, log: slices.Clip(log), said: slices.Clone(said), restarts: restarts}
	if err := core.Start(0, fbft.Start{Height: 1, Committee: s.lab.Committee}); err != nil {
		return local{}, err
	}
	core.Work(0)
	s.pump(&l)
	return l, nil
}

// show delivers a message. What the member thinks of it is its own affair.
func (s *Search) show(l *local, from int, msg []byte) {
	_ = l.core.Deliver(l.now, s.lab.ids[from], msg)
	s.pump(l)
}

// pump carries out a member's effects: jobs and disk at once, bodies are good.
func (s *Search) pump(l *local) {
	for {
		e := l.core.Ready()
		l.log = append(l.log, e.Records...)
		l.core.Persisted(l.now, e.Seq)
		for _, j := range e.Jobs {
			l.core.Done(l.now, j.Run())
		}
		for _, v := range e.Validate {
			l.core.Validated(l.now, v.Hash, nil)
		}
		for _, m := range e.Messages {
			s.hear(l, m.Data)
		}
		if len(e.Records)+len(e.Jobs)+len(e.Validate) == 0 {
			return
		}
	}
}

// hear notes a statement that a member has signed.
func (s *Search) hear(l *local, msg []byte) {
	in, ok := Inspect(msg)
	if !ok || in.Kind != KindVote && in.Kind != KindReport {
		return
	}
	st := statement{view: in.View, phase: in.Phase}
	for i, h := range s.blocks {
		if in.Block == fbft.BlockHash(h) {
			st.block = uint8(i + 1)
		}
	}
	if in.Kind == KindReport {
		st.claimed, st.claimView = msg[22] == 1, be64(msg[23:])
	} else {
		st.digest = shardkit.Hash(msg[14+8+1+32:])
	}
	k, ok := s.known[st]
	if !ok {
		k = len(s.said)
		s.said = append(s.said, st)
		s.known[st] = k
	}
	if at, found := slices.BinarySearch(l.said, k); !found {
		l.said = slices.Insert(l.said, at, k)
	}
}

func be64(b []byte) (v uint64) {
	for _, x := range b[:8] {
		v = v<<8 | uint64(x)
	}
	return v
}

func (s *Search) arrive(l local) (stepTo, error) {
	id, err := s.intern(l)
	return stepTo{to: id, ok: err == nil}, err
}

// intern numbers a member's state. No member may have signed two votes of one
// view and phase for different blocks, restarts or not, nor two reports for a
// view.
func (s *Search) intern(l local) (uint32, error) {
	for i, a := range l.said {
		for _, b := range l.said[:i] {
			x, y := s.said[a], s.said[b]
			if x.phase == y.phase && x.view == y.view && (x.block != y.block || x.claimView != y.claimView) {
				return 0, errors.New("a member signed two different statements of one view and kind")
			}
		}
	}
	key := l.core.AppendState(nil)
	if l.restarts < s.Restarts { // the log matters only to who may still lose power
		for _, rec := range l.log {
			key = append(key, rec...)
		}
	}
	for _, k := range l.said {
		key = append(key, byte(k>>8), byte(k))
	}
	key = append(key, byte(l.restarts))
	if id, ok := s.index[string(key)]; ok {
		return id, nil
	}
	id := uint32(len(s.locals))
	if id == maxLocals {
		return 0, errors.New("too many states of one member")
	}
	s.locals = append(s.locals, l)
	s.index[string(key)] = id
	return id, nil
}
