package main

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/estake"
	"github.com/shardkit/shardkit/examples/chain"
	"github.com/shardkit/shardkit/ledger"
)

// A validator that the genesis does not know joins: its owner bonds tokens and
// registers a slot by a transaction on the beacon, an election gives it a seat,
// and its node, which was started with nothing but its keys, syncs the shard
// and signs blocks.

const (
	joinStake  = 1_300_000 // outbids the validators of the genesis, see stakeOf
	joinSigned = 5         // blocks signed before the run may end
	joinEpochs = 5         // epochs beyond those asked for in which that must happen
)

// newcomer is who joins.
type newcomer struct {
	identity *chain.Identity
	key      ed25519.PrivateKey // of the account that stakes
	addr     ledger.Address
}

// newNewcomer derives the newcomer's keys.
func newNewcomer(o *options) (*newcomer, error) {
	id, err := chain.NewIdentity(secret(o.seed, "joiner", 0))
	if err != nil {
		return nil, err
	}
	key := chain.AccountKey(secret(o.seed, "joiner-account", 0), 0, uint32(o.shards))
	return &newcomer{identity: id, key: key, addr: ledger.AddressOf(key.Public().(ed25519.PublicKey))}, nil
}

// stake is the transaction that makes it a validator: the first of its account,
// and the same bytes whenever it is made.
func (n *newcomer) stake(g *chain.Genesis) (ledger.Transaction, error) {
	slot, err := n.identity.SlotKeys(g.ID(), n.addr)
	if err != nil {
		return ledger.Transaction{}, err
	}
	order := estake.Stake{Amount: joinStake, Restake: true, Slots: []estake.SlotKeys{slot}}
	tx, err := chain.NewStaking(g.ID(), order, 0, 10)
	if err != nil {
		return ledger.Transaction{}, err
	}
	tx.Sign(n.key)
	return tx, nil
}

// joinDir is where the newcomer's node keeps its data.
func joinDir(dir string) string { return filepath.Join(dir, "joiner") }

// newcomerMember is the newcomer as a node of the cluster. It begins as an
// observer of the beacon and learns there where it has a seat.
func (c *cluster) newcomerMember() *member {
	return &member{identity: c.setup.newcomer.identity, dir: joinDir(c.dir), follow: true}
}

// hasJoined reports whether the newcomer was started in an earlier run.
func (c *cluster) hasJoined() bool {
	_, err := os.Stat(joinDir(c.dir))
	return err == nil
}

// join starts the newcomer's node, unless an earlier run has, and stakes.
func (r *runner) join() error {
	c := r.c
	tx, err := c.setup.newcomer.stake(c.setup.genesis)
	if err != nil {
		return err
	}
	c.mu.Lock()
	var m *member
	for _, x := range c.nodes {
		if x.follow {
			m = x
		}
	}
	known := m != nil
	if !known {
		m = c.newcomerMember()
		c.nodes = append(c.nodes, m)
	}
	c.mu.Unlock()
	if !known {
		if err := c.startNode(m); err != nil {
			return err
		}
	}
	r.screen.say("a newcomer stakes %d tokens for node %v", joinStake, m.identity.ID())
	r.w.stake(tx, m.identity.ID(), m.addr)
	return nil
}

// joining is what is known of the newcomer's way into a committee.
type joining struct {
	Staked shardkit.Height  `json:"staked_height"` // of the beacon
	Epoch  shardkit.Epoch   `json:"epoch"`         // in which it first signed
	Shard  shardkit.ShardID `json:"shard"`         // there
	Signed int              `json:"signed"`        // blocks whose certificate has its signature
}

// note takes in a block that the newcomer's node has committed.
func (j *joining) note(e chain.Event) {
	if !e.Signed {
		return
	}
	if j.Signed == 0 {
		j.Epoch, j.Shard = e.Header.Epoch, e.Shard
	}
	j.Signed++
}

// staking is a staking transaction on its way.
type staking struct {
	tx       ledger.Transaction
	find     uint64 // request
	submit   uint64 // request
	refusal  string
	included shardkit.Height
}

// stake makes the wallet see a staking transaction through. The node it is for
// can be reached at addr.
func (w *wallet) stake(tx ledger.Transaction, node shardkit.NodeID, addr string) {
	w.host.SetAddr(node, addr)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.staking = &staking{tx: tx}
}

// pushStake asks for the staking transaction and submits it again.
func (w *wallet) pushStake() {
	s := w.staking
	if s == nil || s.included > 0 || len(w.members[0]) == 0 {
		return
	}
	w.turn++
	to := w.members[0][w.turn%len(w.members[0])]
	w.request += 2
	s.find, s.submit = w.request-1, w.request
	w.send(to, chain.Find(0, s.find, []shardkit.Hash{s.tx.ID()}))
	if msg, err := chain.Submit(0, s.submit, []ledger.Transaction{s.tx}); err == nil {
		w.send(to, msg)
	}
}

// handle takes an answer about the staking transaction.
func (s *staking) handle(n *chain.Notice) {
	switch {
	case s == nil || n.Request == 0:
	case n.Request == s.find && len(n.Found) == 1:
		s.included = max(s.included, n.Found[0].Included)
	case n.Request == s.submit && len(n.Admitted) == 1:
		s.refusal = n.Admitted[0]
	}
}

// joined reports whether the newcomer has signed enough, and fails if that
// takes too long.
func (r *runner) joined(epoch, target shardkit.Epoch) (bool, error) {
	j := r.joining()
	if j.Signed >= joinSigned {
		return true, nil
	}
	if epoch <= target+joinEpochs {
		return false, nil
	}
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return false, fmt.Errorf("the newcomer signed %d blocks up to epoch %d; staked at height %d, %q",
		j.Signed, epoch, j.Staked, r.w.staking.refusal)
}

// joining returns what is known of the newcomer; nil if there is none.
func (r *runner) joining() *joining {
	if !r.o.join {
		return nil
	}
	r.c.mu.Lock()
	j := r.c.counts.join
	r.c.mu.Unlock()
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if r.w.staking != nil {
		j.Staked = r.w.staking.included
	}
	return &j
}
