package fbft

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// Late votes: COMMIT for a decided block that came after the quorum, and so is
// not in its certificate. Members that are far away would go without reward if
// nobody put them in a later header. The three collectors of a view get them,
// but none of these may have a turn soon. So a member that finds its vote missing
// sends it, once, to leaders to come, near and farther ahead: the first ones may
// have had their turn when it arrives. It goes by the member's own channel, like
// any vote, so that nobody can spoil what another collects.
const maxLate = 16 // heights whose late votes are kept

// lateFor is how many heights ahead the leaders are that get a late vote.
var lateFor = [...]shardkit.Height{2, 4, 8}

// claimCredit sends this replica's COMMIT of the last height, if the last
// height's certificate is one without it.
func (c *Core) claimCredit(ct *Certificate) {
	o := c.last
	if o == nil || ct == nil || ct.View != o.vote.view || ct.Block != o.vote.block {
		return
	}
	members := c.committee
	if c.before != nil {
		members = c.before
	}
	if i, ok := members.Index(c.cfg.Self); !ok || ct.Signers.Has(i) {
		return
	}
	c.last = nil
	data := o.vote.appendTo(appendHeading(nil, kindLate, c.cfg.Shard, ct.Height))
	var to []int
	for _, d := range lateFor {
		if i := c.leaderAt(c.height+d, 0); !slices.Contains(to, i) {
			to = append(to, i)
			c.sendMember(i, o.seq, data)
		}
	}
}

// lateVotes is the late votes of one height.
type lateVotes struct {
	cert      *Certificate
	committee *Committee
	members   []int
	sigs      [][]byte
}

// keepLate begins to collect for the height just decided.
func (c *Core) keepLate(ct *Certificate) {
	if !c.voter {
		return
	}
	l := lateVotes{cert: ct, committee: c.committee}
	for i := range c.peers {
		if p := &c.peers[i]; p.voted[Commit-1] && !p.banned {
			l.add(i, &p.votes[Commit-1])
		}
	}
	if len(c.late) == maxLate {
		c.late = slices.Clone(c.late[1:])
	}
	c.late = append(c.late, l)
}

// add files the vote of a member that the certificate lacks.
func (l *lateVotes) add(i int, v *vote) {
	if v.phase != Commit || len(v.sig) == 0 || v.view != l.cert.View || v.block != l.cert.Block ||
		l.cert.Signers.Has(i) || slices.Contains(l.members, i) {
		return
	}
	l.members = append(slices.Clip(l.members), i)
	l.sigs = append(slices.Clip(l.sigs), clip(v.sig))
}

// onLateVote takes a vote for a decided height.
func (c *Core) onLateVote(from shardkit.NodeID, h shardkit.Height, r *wire.Reader) {
	k := slices.IndexFunc(c.late, func(l lateVotes) bool { return l.cert.Height == h })
	if k < 0 {
		return
	}
	if i, ok := c.late[k].committee.Index(from); ok {
		if v := readVote(r); r.Close() == nil {
			c.late[k].add(i, &v)
		}
	}
}

// CollectLate asks for the late COMMIT votes of earlier heights, as far as
// they have come in here. A job makes one certificate per height out of them;
// Ready.Late hands it out, and the votes are forgotten. Another leader may have
// put the same votes in its header: who rewards them sees to it that each counts
// once.
func (c *Core) CollectLate(now time.Duration) {
	c.advance(now)
	keep := c.late[:0:0]
	for _, l := range c.late {
		if len(l.members) == 0 {
			keep = append(keep, l)
			continue
		}
		main := l.cert
		verifier, statement, n := l.committee.verifier, main.Statement(c.cfg.Chain, c.cfg.Shard), l.committee.Len()
		c.ready.Jobs = append(c.ready.Jobs, shardkit.Job{Kind: "bls.combine", Size: len(l.members), Run: func() any {
			agg, bad := verifier.Combine(statement, l.members, l.sigs)
			ct := *main
			ct.Signers, ct.Aggregate = NewBitmap(n), agg
			for pos, i := range l.members {
				if !slices.Contains(bad, pos) {
					ct.Signers.Set(i)
				}
			}
			return lateResult{cert: &ct}
		}})
	}
	c.late = keep
}

// lateResult is the result of combining late votes.
type lateResult struct{ cert *Certificate }

// CheckLate checks a certificate of late votes against the commit certificate
// of its height: same statement, members that one lacks, and the signature. It
// is slow.
func (ct *Certificate) CheckLate(chain shardkit.Hash, shard shardkit.ShardID, c *Committee, main *Certificate) error {
	if err := ct.fields(); err != nil {
		return fmt.Errorf("fbft: late votes: %w", err)
	}
	if ct.Phase != Commit || ct.Epoch != main.Epoch || ct.Height != main.Height || ct.View != main.View ||
		ct.Block != main.Block || ct.Committee != main.Committee || ct.Committee != c.hash {
		return errors.New("fbft: late votes: of another decision")
	}
	if err := ct.Signers.check(c.Len()); err != nil {
		return fmt.Errorf("fbft: late votes: %w", err)
	}
	if ct.Signers.Count() == 0 || meet(ct.Signers, main.Signers) {
		return errors.New("fbft: late votes: nobody, or somebody twice")
	}
	if err := c.verifier.Verify(ct.Statement(chain, shard), ct.Signers.Indices(), ct.Aggregate); err != nil {
		return fmt.Errorf("fbft: late votes: %w", err)
	}
	return nil
}
