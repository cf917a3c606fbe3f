package fbfttest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
)

// Adversary is a Byzantine member. Its machine runs an honest core, so that it
// is always in the game, and the adversary stands between that and the network.
// An Adversary holds no state: one value may serve many members; what it
// remembers is in the Agent.
//
// The ones in this package do what they do without end and at every chance.
// Weight below 2q−W of them must not bring about a fork, and below W−q+1 must
// not keep the others from deciding once the network behaves.
type Adversary interface {
	// Sends returns what the member sends in place of m.
	Sends(a *Agent, m Mail) []Mail
	// Gets is told of a message before the core gets it, which it does if keep
	// is true, and returns what the member sends at once.
	Gets(a *Agent, from int, m Mail) (keep bool, send []Mail)
}

// Mail is a message to a node. Kind 0 in Info is a message of the application.
type Mail struct {
	To   int
	Info Info
	Data []byte
}

// Agent is what an Adversary has in hand: its place, its key and its memory.
type Agent struct {
	Self  int
	Nodes int
	Rand  *rand.Rand
	// Forge returns a forger for a height. It has the key of this member only:
	// what it signs in the name of others is signed by this one.
	Forge func(h shardkit.Height) *Forger

	memory [][]byte
	blocks []Info // blocks heard of, with height and view
	boxes  []*box // votes
	echoed map[string]bool
}

// newAgent makes the agent of a member with a signer.
func newAgent(self, nodes int, seed uint64, signer fbft.Signer, forge func(h shardkit.Height) *Forger) *Agent {
	return &Agent{Self: self, Nodes: nodes, Rand: rand.New(rand.NewPCG(seed, uint64(self))), echoed: make(map[string]bool),
		Forge: func(h shardkit.Height) *Forger {
			f := forge(h)
			f.Sign = func(_ int, statement []byte) []byte {
				sig, _ := signer.Sign(statement)
				return sig
			}
			return f
		}}
}

// mail addresses a message.
func mail(to int, data []byte) Mail {
	in, _ := Inspect(data)
	return Mail{To: to, Info: in, Data: data}
}

// all addresses a message to every other node.
func (a *Agent) all(data []byte) (list []Mail) {
	for i := range a.Nodes {
		if i != a.Self {
			list = append(list, mail(i, data))
		}
	}
	return list
}

// Silent says nothing.
type Silent struct{}

// Sends implements Adversary.
func (Silent) Sends(*Agent, Mail) []Mail { return nil }

// Gets implements Adversary.
func (Silent) Gets(*Agent, int, Mail) (bool, []Mail) { return true, nil }

// Withholder keeps to itself what others wait for, and goes on otherwise.
type Withholder struct {
	Prepared  bool  // as leader, PREPARED
	Committed bool  // COMMITTED
	Votes     bool  // its own votes
	From      []int // as collector, the votes of these nodes: they do not count
}

// Sends implements Adversary.
func (w Withholder) Sends(_ *Agent, m Mail) []Mail {
	vote, cert := m.Info.Kind == KindVote, m.Info.Kind == KindCertificate
	if vote && w.Votes || cert && w.Prepared && m.Info.Phase == fbft.Prepare || cert && w.Committed && m.Info.Phase == fbft.Commit {
		return nil
	}
	return []Mail{m}
}

// Gets implements Adversary.
func (w Withholder) Gets(_ *Agent, from int, m Mail) (bool, []Mail) {
	return m.Info.Kind != KindVote || !slices.Contains(w.From, from), nil
}

// Censor has nothing to do with some nodes: it sends them nothing and what
// comes from them it does not take.
type Censor struct{ Nodes []int }

// Sends implements Adversary.
func (c Censor) Sends(_ *Agent, m Mail) []Mail {
	if slices.Contains(c.Nodes, m.To) {
		return nil
	}
	return []Mail{m}
}

// Gets implements Adversary.
func (c Censor) Gets(_ *Agent, from int, _ Mail) (bool, []Mail) {
	return !slices.Contains(c.Nodes, from), nil
}

// Equivocator tells half of the nodes something else: as leader another block
// on the same proof; a vote for every block it has heard of in a view; a report
// that nothing is prepared. It counts the votes for all blocks and shows the
// half that has been told of a block the certificate.
type Equivocator struct {
	With []int // accomplices: they are told of both blocks
}

// second reports whether a node is in the half that hears of the second block.
func second(node int) bool { return node%2 == 1 }

// Sends implements Adversary.
func (e Equivocator) Sends(a *Agent, m Mail) []Mail {
	f := a.Forge(m.Info.Height)
	switch m.Info.Kind {
	case KindProposal:
		a.hear(m.Info)
		other := mail(m.To, secondProposal(m.Data))
		a.hear(other.Info)
		if slices.Contains(e.With, m.To) {
			return []Mail{m, other}
		} else if second(m.To) {
			return []Mail{other}
		}
	case KindVote:
		list := []Mail{m}
		for _, b := range a.others(m.Info) {
			list = append(list, mail(m.To, f.Vote(a.Self, m.Info.Phase, m.Info.View, b, newViewOf(m.Data))))
		}
		if second(m.To) {
			slices.Reverse(list)
		}
		return list
	case KindCertificate:
		if second(m.To) {
			return nil
		}
	case KindReport:
		if second(m.To) {
			nothing := f.Report(a.Self, m.Info.View, Claim{})
			return []Mail{mail(m.To, f.ReportMessage(nothing, nil, nil, nil)), m}
		}
	}
	return []Mail{m}
}

// Gets implements Adversary.
func (Equivocator) Gets(a *Agent, from int, m Mail) (keep bool, send []Mail) {
	switch m.Info.Kind {
	case KindProposal:
		a.hear(m.Info)
	case KindVote:
		a.hear(m.Info)
		if data := a.count(from, m); data != nil {
			for _, out := range a.all(data) {
				if second(out.To) {
					send = append(send, out)
				}
			}
		}
	}
	return true, send
}

// box is the votes for a block in a view and phase.
type box struct {
	vote    Info
	newView shardkit.Hash
	members []int
	sigs    [][]byte
	made    bool
}

// count puts a vote in its box, and one of this member, and returns the
// message with the certificate as soon as there is a quorum.
func (a *Agent) count(from int, m Mail) []byte {
	f := a.Forge(m.Info.Height)
	newView := newViewOf(m.Data)
	k := slices.IndexFunc(a.boxes, func(b *box) bool { return b.vote == m.Info && b.newView == newView })
	if k < 0 {
		k = len(a.boxes)
		own := f.sign(a.Self, f.statement(m.Info.Phase, m.Info.View, m.Info.Block, newView))
		a.boxes = append(a.boxes, &box{vote: m.Info, newView: newView, members: []int{a.Self}, sigs: [][]byte{own}})
	}
	b := a.boxes[k]
	if b.made || slices.Contains(b.members, from) {
		return nil
	}
	b.members, b.sigs = append(b.members, from), append(b.sigs, slices.Clone(m.Data[signatureInVote:]))
	ct := f.certificate(m.Info.Phase, m.Info.View, m.Info.Block, newView, b.members, b.sigs)
	if b.made = f.Committee.Weight(ct.Signers) >= f.Committee.Quorum(); !b.made {
		return nil
	}
	return f.CertificateMessage(ct, false)
}

// hear notes that a block is in play in a view.
func (a *Agent) hear(in Info) {
	if !slices.Contains(a.others(Info{Height: in.Height, View: in.View}), in.Block) {
		a.blocks = append(a.blocks, Info{Height: in.Height, View: in.View, Block: in.Block})
	}
}

// others returns the blocks in play in the same view.
func (a *Agent) others(in Info) (list []shardkit.Hash) {
	for _, b := range a.blocks {
		if b.Height == in.Height && b.View == in.View && b.Block != in.Block {
			list = append(list, b.Block)
		}
	}
	return list
}

// Outdated lives in the past: in place of every other message, and beside the
// rest, it sends one that it has sent or got before, of whatever view and
// height.
type Outdated struct{}

// maxMemory bounds what an Outdated remembers.
const maxMemory = 256

// Sends implements Adversary.
func (Outdated) Sends(a *Agent, m Mail) []Mail {
	if m.Info.Kind == 0 {
		return []Mail{m}
	}
	a.remember(m.Data)
	old := mail(m.To, a.memory[a.Rand.IntN(len(a.memory))])
	if a.Rand.IntN(2) == 0 {
		return []Mail{old}
	}
	return []Mail{old, m}
}

// Gets implements Adversary.
func (Outdated) Gets(a *Agent, _ int, m Mail) (bool, []Mail) {
	if m.Info.Kind != 0 {
		a.remember(m.Data)
	}
	return true, nil
}

// remember keeps a message, if need be in place of another.
func (a *Agent) remember(data []byte) {
	if data = slices.Clone(data); len(a.memory) < maxMemory {
		a.memory = append(a.memory, data)
		return
	}
	a.memory[a.Rand.IntN(len(a.memory))] = data
}

// Impersonator speaks for others: it sends on every vote and report as its own,
// also to who made it, and beside every vote of its own it sends a certificate
// in the name of all that nobody but itself has signed.
type Impersonator struct{}

// Sends implements Adversary.
func (Impersonator) Sends(a *Agent, m Mail) []Mail {
	if m.Info.Kind != KindVote {
		return []Mail{m}
	}
	f, everybody := a.Forge(m.Info.Height), make([]int, a.Nodes)
	for i := range everybody {
		everybody[i] = i
	}
	ct := f.Certificate(m.Info.Phase, m.Info.View, m.Info.Block, newViewOf(m.Data), everybody...)
	return []Mail{mail(m.To, f.CertificateMessage(ct, false)), m}
}

// Gets implements Adversary.
func (Impersonator) Gets(a *Agent, _ int, m Mail) (bool, []Mail) {
	if m.Info.Kind != KindVote && m.Info.Kind != KindReport || a.echoed[string(m.Data)] {
		return true, nil
	}
	a.echoed[string(m.Data)] = true // two of a kind would never come to an end
	return true, a.all(slices.Clone(m.Data))
}

// BadSignatures spoils the signature in every other message, so that it is
// caught and then right again.
type BadSignatures struct{}

// Sends implements Adversary.
func (BadSignatures) Sends(a *Agent, m Mail) []Mail {
	at := len(m.Data) - 1
	if m.Info.Kind == KindReport {
		at = signatureInReport
	}
	if m.Info.Kind == 0 || at >= len(m.Data) || a.Rand.IntN(2) == 0 {
		return []Mail{m}
	}
	m.Data = slices.Clone(m.Data)
	m.Data[at] ^= 1 << a.Rand.IntN(8)
	return []Mail{m}
}

// Gets implements Adversary.
func (BadSignatures) Gets(*Agent, int, Mail) (bool, []Mail) { return true, nil }

// ParseAdversary returns an adversary by its name in scripts: silent,
// equivocator, equivocator:I,… (with these accomplices), outdated,
// impersonator, badsignatures, withholder:prepared, withholder:committed,
// withholder:votes, withholder:I,… (the votes of these nodes), censor:I,….
func ParseAdversary(text string) (Adversary, error) {
	name, detail, _ := strings.Cut(text, ":")
	var nodes []int
	for _, w := range strings.Split(detail, ",") {
		if i, err := strconv.Atoi(w); err == nil && i >= 0 {
			nodes = append(nodes, i)
		}
	}
	switch {
	case text == "silent":
		return Silent{}, nil
	case text == "equivocator":
		return Equivocator{}, nil
	case text == "outdated":
		return Outdated{}, nil
	case text == "impersonator":
		return Impersonator{}, nil
	case text == "badsignatures":
		return BadSignatures{}, nil
	case text == "withholder:prepared":
		return Withholder{Prepared: true}, nil
	case text == "withholder:committed":
		return Withholder{Committed: true}, nil
	case text == "withholder:votes":
		return Withholder{Votes: true}, nil
	case name == "equivocator" && nodes != nil:
		return Equivocator{With: nodes}, nil
	case name == "withholder" && nodes != nil:
		return Withholder{From: nodes}, nil
	case name == "censor" && nodes != nil:
		return Censor{Nodes: nodes}, nil
	}
	return nil, fmt.Errorf("no adversary is called %q", text)
}
