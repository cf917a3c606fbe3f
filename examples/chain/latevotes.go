package chain

import (
	"fmt"
	"slices"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/ledger"
)

// Commit votes that come after the quorum are not in a block's certificate.
// Those who would have cast them in time if they were nearer must not lose
// their reward, nor count as absent: the leaders who got them put them into
// later headers of the epoch, and the beacon credits them when it links those.

const (
	// lateWindow is how far back a header's late votes may reach. The beacon
	// takes votes on the last 32 blocks it has seen of a shard.
	lateWindow = 32
	// maxLateHeights bounds the late votes of one header: each height costs
	// every validator a signature check.
	maxLateHeights = 4
)

// lateVotes are commit votes for an earlier block of the same epoch. Which
// block that is follows from the chain that the header is in.
type lateVotes struct {
	Height    shardkit.Height
	View      uint64 // in which they were cast
	Signers   fbft.Bitmap
	Aggregate []byte
}

// encodeLate is the content of Header.Late.
func encodeLate(list []lateVotes) []byte {
	if len(list) == 0 {
		return nil
	}
	b := wire.AppendU32(nil, uint32(len(list)))
	for _, l := range list {
		b = wire.AppendU64(b, uint64(l.Height))
		b = wire.AppendU64(b, l.View)
		b = wire.AppendBytes(wire.AppendBytes(b, l.Signers), l.Aggregate)
	}
	return b
}

// decodeLate reads the late votes of a header: at most maxLateHeights, of
// different heights within the window, ascending. They alias the header.
func decodeLate(h *ledger.Header) ([]lateVotes, error) {
	if len(h.Late) == 0 {
		return nil, nil
	}
	r := wire.NewReader(h.Late)
	n := r.Count(maxLateHeights, 8+8+4+4)
	list := make([]lateVotes, 0, n)
	for i := range n {
		l := lateVotes{Height: shardkit.Height(r.U64()), View: r.U64(), Signers: r.Bytes(ledger.MaxLate), Aggregate: r.Bytes(ledger.MaxLate)}
		if l.Height >= h.Height || h.Height-l.Height > lateWindow || (i > 0 && l.Height <= list[i-1].Height) {
			r.Fail(fmt.Errorf("%w: late votes for height %d", wire.ErrValue, l.Height))
		}
		list = append(list, l)
	}
	if n == 0 {
		r.Fail(fmt.Errorf("%w: no late votes", wire.ErrValue))
	}
	return list, r.Close()
}

// keyRecent is where the state keeps the hash of one of the last blocks. They
// stand in the state so that a node that has synced it judges late votes as
// everybody else does.
func keyRecent(h shardkit.Height) []byte { return append([]byte("sys/recent/"), byte(h%lateWindow)) }

// recent returns the hash of an earlier block of this epoch.
func (x *execution) recent(h shardkit.Height) (hash shardkit.Hash, ok bool, err error) {
	if h < x.out.meta.Start || h >= x.ctx.Height || x.ctx.Height-h > lateWindow {
		return hash, false, nil
	}
	b, ok, err := x.stage.Get(keyRecent(h))
	if err != nil || !ok || len(b) != len(hash) {
		return hash, false, err
	}
	return shardkit.Hash(b), true, nil
}

// certificate is the statement that late votes sign, with their signers.
func (l *lateVotes) certificate(e shardkit.Epoch, block, committee shardkit.Hash) *fbft.Certificate {
	return &fbft.Certificate{
		Phase: fbft.Commit, Epoch: e, Height: l.Height, View: l.View, Block: block, Committee: committee,
		Signers: l.Signers, Aggregate: l.Aggregate,
	}
}

// checkLate verifies late votes against the committee of this epoch.
func (x *execution) checkLate(list []lateVotes) error {
	if len(list) == 0 {
		return nil
	}
	seats, _, err := loadSeats(x.stage, x.out.meta.Epoch, x.shard)
	if err != nil {
		return err
	}
	c, err := x.rules.committee(seats)
	if err != nil {
		return err
	}
	for i := range list {
		l := &list[i]
		hash, ok, err := x.recent(l.Height)
		if err != nil {
			return err
		}
		if !ok {
			return invalid("late votes for height %d", l.Height)
		}
		ct := l.certificate(x.out.meta.Epoch, hash, c.Hash())
		// Which votes a certificate had already depends on whose it is, so that
		// is nobody's fault, and no vote counts twice.
		none := *ct
		none.Signers = fbft.NewBitmap(c.Len())
		if err := ct.CheckLate(x.id, x.shard, c, &none); err != nil {
			return invalid("height %d: %v", l.Height, err)
		}
	}
	return nil
}

// collectLate asks consensus for the late votes that have come in here,
// shortly before this node makes a block.
func (r *replica) collectLate(now time.Duration) {
	if w := r.proposal.want; w != nil && w.Header == nil && !r.proposal.collected && now >= r.collectAt() {
		r.proposal.collected = true
		r.consensus.CollectLate(now)
	}
}

// collectAt leaves the jobs that add the votes up a quarter of the interval.
func (r *replica) collectAt() time.Duration { return r.due() - r.core.cfg.Interval/4 }

// keepLate takes late votes for a header of this node.
func (r *replica) keepLate(ct *fbft.Certificate) {
	if ct.Epoch != r.tip.out.meta.next() || len(r.late) >= lateWindow || covers(r.credited[ct.Height], ct.Signers) {
		return
	}
	at, _ := slices.BinarySearchFunc(r.late, ct.Height, func(l lateVotes, h shardkit.Height) int {
		switch {
		case l.Height < h:
			return -1
		case l.Height > h:
			return 1
		}
		return 0
	})
	r.late = slices.Insert(r.late, at, lateVotes{ct.Height, ct.View, ct.Signers, ct.Aggregate})
}

// pickLate chooses what the next header carries: the oldest heights first, as
// far as there is room. What is left over waits for another header.
func (r *replica) pickLate() (list []lateVotes) {
	height := r.tip.height + 1
	for _, l := range r.late {
		n := len(list)
		if height-l.Height > lateWindow || (n > 0 && list[n-1].Height == l.Height) {
			continue
		}
		if n == maxLateHeights || len(encodeLate(append(slices.Clip(list), l))) > ledger.MaxLate {
			break
		}
		list = append(list, l)
	}
	return list
}

// settleLate forgets the late votes that blocks had, several leaders have
// most of them, and those that come too late for any block.
func (r *replica) settleLate(t *tip) {
	had, _ := decodeLate(t.header)
	for _, l := range had {
		union := slices.Clone(l.Signers)
		for _, i := range r.credited[l.Height].Indices() {
			union.Set(i)
		}
		r.credited[l.Height] = union
	}
	delete(r.credited, t.height-min(lateWindow, t.height))
	r.late = slices.DeleteFunc(r.late, func(l lateVotes) bool {
		return t.out.meta.Ends || t.height+1-l.Height > lateWindow || covers(r.credited[l.Height], l.Signers)
	})
}

// covers reports whether all members in b are in a.
func covers(a, b fbft.Bitmap) bool {
	return !slices.ContainsFunc(b.Indices(), func(i int) bool { return !a.Has(i) })
}
