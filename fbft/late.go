package fbft

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// maxLate bounds the heights whose late votes are kept.
const maxLate = 16

// lateVotes is the COMMIT votes for a decided block that came after the
// quorum, and so are not in its certificate. Far members would go without
// reward if nobody collected them.
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
	if v.phase != Commit || v.view != l.cert.View || v.block != l.cert.Block ||
		l.cert.Signers.Has(i) || slices.Contains(l.members, i) {
		return
	}
	l.members = append(slices.Clip(l.members), i)
	l.sigs = append(slices.Clip(l.sigs), clip(v.sig))
}

// onLateVote takes a vote for a decided height.
func (c *Core) onLateVote(from shardkit.NodeID, h shardkit.Height, r *wire.Reader) {
	for k := range c.late {
		l := &c.late[k]
		if l.cert.Height != h {
			continue
		}
		if i, ok := l.committee.Index(from); ok {
			if v := readVote(r); r.Close() == nil {
				l.add(i, &v)
			}
		}
	}
}

// CollectLate asks for the late COMMIT votes of earlier heights, as far as
// they have come in here. A job makes one certificate per height out of them;
// Ready.Late hands it out, and the votes are forgotten.
func (c *Core) CollectLate(now time.Duration) {
	c.advance(now)
	keep := c.late[:0:0]
	for _, l := range c.late {
		if len(l.members) == 0 {
			keep = append(keep, l)
			continue
		}
		ct := *l.cert
		verifier, statement, n := l.committee.verifier, ct.Statement(c.cfg.Chain, c.cfg.Shard), l.committee.Len()
		c.ready.Jobs = append(c.ready.Jobs, shardkit.Job{Kind: "bls.combine", Size: len(l.members), Run: func() any {
			agg, bad := verifier.Combine(statement, l.members, l.sigs)
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
