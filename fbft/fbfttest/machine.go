package fbfttest

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
)

// What can happen to a member in a Search.
const (
	actAnnounce = iota
	actTimeout
	actPrepared
	actNewView
	actJoin
	actRestart
)

// event is something that the network or the Byzantine member does to a member.
type event struct {
	act   uint8
	view  uint64 // of what is shown
	block uint8  // 1 or 2
	// basis is what the proof of the view rests on, shown in a NEWVIEW and
	// signed in the PREPARE of a certificate: 0 if nobody claims anything, 1+v
	// if the block was prepared in view v.
	basis uint8
	above uint64 // of actJoin: the view that another honest member has reported
	msgs  []shown
}

// shown is a message and who hands it over.
type shown struct {
	from int
	data []byte
}

// statement is something a member signs: a vote (phase is set), or a report
// that claims block in view basis-1, or nothing (basis 0).
type statement struct {
	phase fbft.Phase
	view  uint64
	block uint8
	basis uint8 // of PREPARE as in event, of a report its claim
}

// clashes reports whether no honest member signs both.
func (a statement) clashes(b statement) bool {
	return a.phase == b.phase && a.view == b.view && (a.block != b.block || a.phase == 0 && a.basis != b.basis)
}

// String returns the statement in a few words.
func (a statement) String() string {
	kind, name := "report", [...]string{"nothing", "A", "B"}[a.block]
	if a.phase != 0 {
		kind = a.phase.String()
	}
	return fmt.Sprintf("%s of %s in view %d on basis %d", kind, name, a.view, a.basis)
}

// machine is all that one member can do: its states, where every event takes
// it from each, and what it has signed there.
type machine struct {
	events     []event
	statements []statement
	next       [][]uint32 // by state and event
	said       []uint64   // by state: a bit for each of statements
}

// maxStatements is as many as there are bits.
const maxStatements = 64

// member is one state of a member, in full.
type member struct {
	core     *fbft.Core
	now      time.Duration
	log      [][]byte
	said     uint64
	restarts int
}

// explorer finds a machine, by doing everything to a production core in every
// state that it gets into. It does not ask whether the other members could
// bring an event about: the machine can do more than any member in a committee.
type explorer struct {
	machine
	search  *Search
	lab     *Lab
	forger  *Forger
	blocks  [2][]byte
	digests map[shardkit.Hash]uint8 // of NEWVIEW: its basis
	index   map[stateName]uint32
	todo    []task
}

// stateName is a digest of all that counts of a state.
type stateName [16]byte

// task is a state from which nothing has been tried yet.
type task struct {
	id uint32
	l  member
}

// batchSize is how many states are tried from at once, on all processors. What
// they lead to is numbered in order, so that the machine is always the same.
const batchSize = 64

// explore finds the machine of a member.
func (s *Search) explore() (*machine, error) {
	lab, err := NewLab(LabConfig{Silent: []int{3}, Leaders: []int{3}, Core: s.Core})
	if err != nil {
		return nil, err
	}
	x := &explorer{search: s, lab: lab, forger: lab.Forger(1), index: make(map[stateName]uint32),
		blocks: [2][]byte{[]byte("block one"), []byte("block two")}, digests: make(map[shardkit.Hash]uint8)}
	x.alphabet()
	if len(x.statements) > maxStatements {
		return nil, fmt.Errorf("%d statements are too many", len(x.statements))
	}
	first, err := x.boot(nil, 0, 0)
	if err != nil {
		return nil, err
	}
	x.intern(first, x.name(&first))
	for len(x.todo) > 0 { // the latest first: few cores are alive at a time
		if err := x.batch(); err != nil {
			return nil, err
		}
	}
	return &x.machine, nil
}

// batch tries everything from the latest states.
func (x *explorer) batch() error {
	cut := max(0, len(x.todo)-batchSize)
	tasks := slices.Clone(x.todo[cut:])
	clear(x.todo[cut:])
	x.todo = x.todo[:cut]
	found := make([][]outcome, len(tasks))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(tasks)); i = next.Add(1) - 1 {
				found[i] = x.try(&tasks[i].l)
			}
		})
	}
	wg.Wait()
	for i, list := range found {
		row := make([]uint32, len(list))
		for k, o := range list {
			if o.err != nil {
				return o.err
			}
			row[k] = x.intern(o.l, o.name)
		}
		x.next[tasks[i].id] = row
	}
	return nil
}

// outcome is what an event makes of a member.
type outcome struct {
	l    member
	name stateName
	err  error
}

// try does everything to a member.
func (x *explorer) try(from *member) []outcome {
	list := make([]outcome, len(x.events))
	for k := range x.events {
		o := &list[k]
		if o.l, o.err = x.after(from, &x.events[k]); o.err == nil {
			o.name = x.name(&o.l)
		}
	}
	return list
}

// alphabet lists the events, with their messages, and what can be signed.
func (x *explorer) alphabet() {
	for view := range x.search.Views {
		x.sayable(view)
	}
	x.add(event{act: actTimeout})
	if x.search.Restarts > 0 {
		x.add(event{act: actRestart})
	}
	for block := uint8(1); block <= 2; block++ {
		header := x.blocks[block-1]
		x.add(event{act: actAnnounce, block: block}, shown{3, x.forger.Announce(header, []byte("ref"), nil)})
		x.add(event{act: actPrepared, block: block}, shown{3, x.forger.CertificateMessage(x.prepared(0, block, shardkit.Hash{}), false)})
		for view := uint64(1); view < x.search.Views; view++ {
			for basis := range uint8(view + 1) {
				msg, digest := x.newView(view, block, basis)
				x.digests[digest] = basis
				e := event{act: actNewView, view: view, block: block, basis: basis}
				x.add(e, shown{3, msg})
				e.act = actPrepared
				x.add(e, shown{3, x.forger.CertificateMessage(x.prepared(view, block, digest), false)})
			}
		}
	}
	for view := uint64(1); view < x.search.Views; view++ {
		for above := view; above < x.search.Views; above++ {
			// One report of another honest member, one of the Byzantine one.
			x.add(event{act: actJoin, view: view, above: above}, shown{1, x.report(1, above)}, shown{3, x.report(3, view)})
		}
	}
}

// sayable lists what an honest member may come to sign in a view.
func (x *explorer) sayable(view uint64) {
	if view > 0 {
		x.statements = append(x.statements, statement{view: view})
	}
	for block := uint8(1); block <= 2; block++ {
		x.statements = append(x.statements, statement{phase: fbft.Commit, view: view, block: block},
			statement{phase: fbft.Prepare, view: view, block: block})
		for basis := uint8(1); uint64(basis) <= view; basis++ {
			x.statements = append(x.statements, statement{view: view, block: block, basis: basis},
				statement{phase: fbft.Prepare, view: view, block: block, basis: basis})
		}
	}
}

func (x *explorer) add(e event, msgs ...shown) {
	e.msgs = msgs
	x.events = append(x.events, e)
}

// report is of a member that claims nothing: for whoever hears of it only the
// sender and the view count.
func (x *explorer) report(i int, view uint64) []byte {
	return x.forger.ReportMessage(x.forger.Report(i, view, Claim{}), nil, nil, nil)
}

// prepared makes a certificate with fixed signers: what a core does with one
// does not depend on who signed it.
func (x *explorer) prepared(view uint64, block uint8, digest shardkit.Hash) *fbft.Certificate {
	return x.forger.Certificate(fbft.Prepare, view, fbft.BlockHash(x.blocks[block-1]), digest, 1, 2, 3)
}

// newView makes a proof with fixed signers, all of whom claim the highest.
func (x *explorer) newView(view uint64, block, basis uint8) (msg []byte, digest shardkit.Hash) {
	var c Claim
	var ct *fbft.Certificate
	header := x.blocks[block-1]
	if basis > 0 {
		c = Claim{OK: true, View: uint64(basis - 1), Block: fbft.BlockHash(header)}
		if c.View > 0 {
			_, digest = x.newView(c.View, block, 0) // any: what counts is that the certificate holds
		}
		ct = x.prepared(c.View, block, digest)
	}
	return x.forger.NewView(view, header, []byte("ref"), ct,
		x.forger.Report(1, view, c), x.forger.Report(2, view, c), x.forger.Report(3, view, c))
}

// boot builds a member from a log.
func (x *explorer) boot(log [][]byte, said uint64, restarts int) (member, error) {
	cfg := x.search.Core
	cfg.Chain, cfg.Self, cfg.Signer, cfg.Log = x.lab.Chain, x.lab.ids[0], FakeSigner(x.lab.keys[0]), log
	cfg.BaseTimeout, cfg.MaxTimeout, cfg.Resend = labTimeout, labTimeout, labResend
	cfg.Leader = func(*fbft.Committee, shardkit.Height, uint64) int { return 3 }
	core, err := fbft.New(cfg)
	if err != nil {
		return member{}, err
	}
	l := member{core: core, log: slices.Clip(log), said: said, restarts: restarts}
	if err := core.Start(0, fbft.Start{Height: 1, Committee: x.lab.Committee}); err != nil {
		return member{}, err
	}
	core.Work(0)
	return l, x.pump(&l)
}

// after returns the member that an event makes of old.
func (x *explorer) after(old *member, e *event) (member, error) {
	if e.act == actRestart {
		if old.restarts == x.search.Restarts {
			return *old, nil
		}
		return x.boot(old.log, old.said, old.restarts+1)
	}
	st := old.core.Status()
	if e.act == actTimeout && st.View+1 >= x.search.Views || e.act == actJoin && e.view <= st.View {
		return *old, nil
	}
	l := *old
	l.core, l.log = old.core.Clone(), slices.Clip(old.log)
	if e.act == actTimeout {
		l.now += 2 * labTimeout
		l.core.Tick(l.now)
	}
	err := x.pump(&l)
	for _, m := range e.msgs {
		_ = l.core.Deliver(l.now, x.lab.ids[m.from], m.data) // what the member thinks of it is its own affair
		err = errors.Join(err, x.pump(&l))
	}
	return l, err
}

// pump carries out a member's effects: jobs and disk at once, bodies are good.
func (x *explorer) pump(l *member) error {
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
			if err := x.hear(l, m.Data); err != nil {
				return err
			}
		}
		if len(e.Records)+len(e.Jobs)+len(e.Validate) == 0 {
			return nil
		}
	}
}

// hear notes what a member has signed. It may not have signed two votes of one
// view and phase for different blocks, nor two reports for a view, restarts or
// not.
func (x *explorer) hear(l *member, msg []byte) error {
	in, ok := Inspect(msg)
	if !ok || in.Kind != KindVote && in.Kind != KindReport {
		return nil
	}
	st := statement{view: in.View, phase: in.Phase}
	for i, h := range x.blocks {
		if in.Block == fbft.BlockHash(h) {
			st.block = uint8(i + 1)
		}
	}
	switch {
	case in.Kind == KindReport && msg[22] == 1:
		st.basis = uint8(1 + binary.BigEndian.Uint64(msg[23:]))
	case in.Kind == KindVote:
		st.basis = x.digests[newViewOf(msg)]
	}
	k := slices.Index(x.statements, st)
	if k < 0 {
		return fmt.Errorf("a member signed %v", st)
	}
	for i, o := range x.statements {
		if l.said>>i&1 == 1 && st.clashes(o) {
			return fmt.Errorf("a member signed %v after %v", st, o)
		}
	}
	l.said |= 1 << k
	return nil
}

// name digests a member's state.
func (x *explorer) name(l *member) stateName {
	b := l.core.AppendState(make([]byte, 0, 4096))
	if l.restarts < x.search.Restarts { // the log matters only to who may still lose power
		for _, rec := range l.log {
			b = append(b, rec...)
		}
	}
	b = binary.BigEndian.AppendUint64(b, l.said)
	h := sha256.Sum256(append(b, byte(l.restarts)))
	return stateName(h[:])
}

// intern numbers a member's state; a new one is to be tried from.
func (x *explorer) intern(l member, name stateName) uint32 {
	if id, ok := x.index[name]; ok {
		return id
	}
	id := uint32(len(x.next))
	x.next, x.said = append(x.next, nil), append(x.said, l.said)
	x.todo = append(x.todo, task{id, l})
	x.index[name] = id
	return id
}
