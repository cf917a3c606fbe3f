package fbft

import (
	"time"

	"github.com/shardkit/shardkit"
)

// How a Node finds out that it is behind when nobody says anything, as in a
// network that has nothing to decide. When it begins it asks one member after
// the other where it is, each as soon as the last has answered or Resend is over,
// until members have answered of whom one at least is honest. From then on it
// asks one member whenever nothing was decided for MaxTimeout: it may have been
// cut off since. That is all the noise an idle committee makes.
//
// Each answer is worth no more than who gives it: it makes a node ask for blocks,
// which come with their certificates.
type greetings struct {
	heard map[shardkit.NodeID]bool // members that have said where they are; nil once they are enough
	seen  shardkit.Height          // this node's height when it last looked
}

// greet asks a member where it is, if that is called for, and looks again later.
func (n *Node) greet() {
	g, pause := &n.catchUp.greetings, n.core.cfg.Resend
	if n.met() {
		pause = n.core.cfg.MaxTimeout
	}
	if g.heard != nil || g.seen == n.core.height {
		n.greetNext()
	}
	g.seen = n.core.height
	time.AfterFunc(pause, func() { n.loop.Post(func(time.Duration) { n.greet() }) })
}

// greetNext asks the next member that has not said where it is.
func (n *Node) greetNext() {
	u, members := &n.catchUp, n.core.committee.members
	for range members {
		u.turn = (u.turn + 1) % len(members)
		if peer := members[u.turn].Node; peer != n.cfg.Core.Self && !u.greetings.heard[peer] {
			n.question(peer, n.core.height)
			return
		}
	}
}

// heardFrom notes that a member has said where it is.
func (n *Node) heardFrom(peer shardkit.NodeID) {
	g := &n.catchUp.greetings
	if g.heard == nil || g.heard[peer] {
		return
	}
	g.heard[peer] = true
	if !n.met() {
		n.greetNext()
	}
}

// met reports whether enough members have said where they are.
func (n *Node) met() bool {
	g := &n.catchUp.greetings
	weight, all := uint64(0), true
	for _, m := range n.core.committee.members {
		if g.heard[m.Node] {
			weight += m.Weight
		} else if m.Node != n.cfg.Core.Self {
			all = false
		}
	}
	if all || weight >= n.core.committee.Amplify() {
		g.heard = nil
	}
	return g.heard == nil
}
