package chain

import (
	"errors"
	"fmt"
	"time"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/statesync"
	"github.com/shardkit/shardkit/xshard"
)

// loadPackets reads packets for another shard from the store.
func (r *replica) loadPackets(dest shardkit.ShardID, from shardkit.Height, most, maxBytes int) func() []xshard.Packet {
	chain, shard, head := r.chain, r.shard, r.committed
	return func() (out []xshard.Packet) {
		for h := max(from, 1); h <= head && len(out) < most && maxBytes > 0; h++ {
			b, err := chain.Block(h)
			if err != nil {
				return out
			}
			payload, ok, err := chain.Get(keyPacket(dest, h))
			if err != nil || !ok {
				return out
			}
			header, err := b.Header.AppendBinary(nil)
			if err != nil {
				return out
			}
			out = append(out, xshard.Packet{Source: shard, Height: h, Header: header, Cert: b.Certificate, Batch: payload})
			maxBytes -= len(payload) + len(header) + len(b.Certificate)
		}
		return out
	}
}

// checkPackets verifies packets of a source that follow those already here.
func (r *replica) checkPackets(run []xshard.Packet) func() (int, error) {
	source := run[0].Source
	from := r.tip.out.links[source]
	for _, p := range r.relay.Arrived(source) {
		var h ledger.Header
		if h.UnmarshalBinary(p.Header) == nil && h.Height > from.Height {
			from = linkState{Height: h.Height, Hash: fbft.BlockHash(p.Header), Epoch: h.Epoch}
		}
	}
	rules, state := r.rules, r.chain.State()
	seats := func(e shardkit.Epoch) (out []Seat, err error) {
		err = readState(state, func(st *ledger.Stage) (err error) {
			out, _, err = loadSeats(st, e, source)
			return err
		})
		return out, err
	}
	return func() (int, error) { return rules.checkRun(from, run, seats) }
}

// serving is what the serving side of state sync reads.
func (r *replica) serving() statesync.ServerConfig {
	chain := r.chain
	return statesync.ServerConfig{
		Hops: func(from shardkit.Epoch, most int) func() ([]statesync.Hop, error) {
			return func() ([]statesync.Hop, error) { return hops(chain, from, most) }
		},
		Head: func() func() (*statesync.Head, error) {
			return func() (*statesync.Head, error) {
				h, ok := chain.Head()
				if !ok || h.Height == 0 {
					return nil, nil
				}
				b, err := chain.Block(h.Height)
				if err != nil {
					return nil, err
				}
				return headOf(b)
			}
		},
		Range: func(h shardkit.Height, from shardkit.Hash, maxBytes int) func() ([]byte, error) {
			return func() ([]byte, error) {
				v, err := chain.State().View(uint64(h))
				if err != nil {
					return nil, err
				}
				defer v.Close()
				return v.ReadRange(from, maxBytes)
			}
		},
		Blocks: func(from shardkit.Height, most, maxBytes int) func() ([]statesync.Block, error) {
			return func() ([]statesync.Block, error) { return readBlocks(chain, from, most, maxBytes) }
		},
	}
}

func headOf(b *ledger.Block) (*statesync.Head, error) {
	raw, err := b.Header.AppendBinary(nil)
	return &statesync.Head{
		Epoch: b.Header.Epoch, Height: b.Header.Height, Root: b.Header.State, Header: raw, Cert: b.Certificate,
	}, err
}

// errGone refuses a follower who asks for blocks from before this replica's
// time: somebody else may have them.
var errGone = errors.New("chain: blocks are not here")

// readBlocks reads consecutive blocks for a follower.
func readBlocks(c *ledger.Chain, from shardkit.Height, most, maxBytes int) (out []statesync.Block, err error) {
	head, ok := c.Head()
	for h := max(from, 1); ok && h <= head.Height && len(out) < most && maxBytes > 0; h++ {
		b, err := c.Block(h)
		if errors.Is(err, ledger.ErrNotFound) {
			return out, errGone
		}
		if err != nil {
			return nil, err
		}
		if len(b.Body) == 0 {
			return out, errGone // the block a state sync began at: its body was never here
		}
		raw, err := b.Header.AppendBinary(nil)
		if err != nil {
			return nil, err
		}
		out = append(out, statesync.Block{Height: h, Header: raw, Cert: b.Certificate, Body: b.Body})
		maxBytes -= len(raw) + len(b.Body) + len(b.Certificate)
	}
	return out, nil
}

// hops reads consecutive hops: a replica has those of all epochs, the ones it
// took part in and the ones it verified when it joined.
func hops(c *ledger.Chain, from shardkit.Epoch, most int) (out []statesync.Hop, err error) {
	for e := from; len(out) < most; e++ {
		raw, ok, err := c.Get(keyHop(e))
		if err != nil || !ok {
			return out, err
		}
		h, err := decodeHop(raw)
		if err != nil {
			return out, err
		}
		out = append(out, h)
	}
	return out, nil
}

// joining is what the joining side of state sync writes and checks.
func (r *replica) joining() statesync.ClientConfig {
	rules, chain, store, undo := r.rules, r.chain, r.store, r.core.cfg.Undo
	dl := &download{rules: rules, chain: chain, store: store, undo: undo}
	return statesync.ClientConfig{
		Self: r.core.cfg.Self, Shard: r.shard, Poll: 100 * time.Millisecond, MaxBytes: r.core.cfg.SyncBytes,
		CheckHops: func(committee []byte, run []statesync.Hop) func() (int, error) {
			return func() (int, error) { return dl.hops(committee, run) }
		},
		CheckHead: func(committee []byte, h statesync.Head) func() error {
			return func() error { return rules.checkHead(committee, h) }
		},
		Begin: func(h statesync.Head) func() (shardkit.Hash, error) {
			return func() (shardkit.Hash, error) { return dl.begin(h) }
		},
		Gaps: func() func() ([]statesync.Gap, error) { return dl.gaps },
		CheckRange: func(root, from shardkit.Hash, chunk []byte) func() (shardkit.Hash, bool, error) {
			return func() (shardkit.Hash, bool, error) { return ledger.VerifyRange(root, from, chunk) }
		},
		Write: func(from shardkit.Hash, chunk []byte) func() error {
			return func() error { return dl.write(from, chunk) }
		},
		Finish: func(h statesync.Head) func() error {
			return func() error { return dl.finish(h) }
		},
		CheckBlock: func(b statesync.Block) func() error {
			c := r.committeeAt(b.Header)
			return func() error { return rules.checkBlock(c, b) }
		},
	}
}

func (r *rules) checkHead(committee []byte, head statesync.Head) error {
	c, _, err := r.decodeCommittee(committee)
	if err != nil {
		return err
	}
	var h ledger.Header
	if err := h.UnmarshalBinary(head.Header); err != nil {
		return err
	}
	if h.Shard != r.shard || h.Chain != r.id || h.Epoch != head.Epoch || h.Height != head.Height || h.State != head.Root {
		return errors.New("fields are not the header's")
	}
	_, err = r.certify(&h, h.Hash(), head.Cert, c)
	return err
}

// checkBlock verifies a block for a follower. c is nil if the committee is not
// known yet; then the certificate is checked when the block is executed.
func (r *rules) checkBlock(c []Seat, b statesync.Block) error {
	var h ledger.Header
	if err := h.UnmarshalBinary(b.Header); err != nil {
		return err
	}
	if h.Shard != r.shard || h.Chain != r.id || h.Height != b.Height || ledger.BodyHash(b.Body) != h.Body {
		return errors.New("header, height and body do not belong together")
	}
	if c == nil {
		return nil
	}
	committee, err := r.committee(c)
	if err != nil {
		return err
	}
	_, err = r.certify(&h, h.Hash(), b.Cert, committee)
	return err
}

// committeeAt finds the seats of the epoch that an encoded header names.
func (r *replica) committeeAt(header []byte) []Seat {
	var h ledger.Header
	if h.UnmarshalBinary(header) != nil {
		return nil
	}
	if sets := r.core.committeesOf(h.Epoch); sets != nil {
		return sets.Shards[r.shard]
	}
	return nil
}

// follow fetches blocks from the tip on.
func (r *replica) follow(now time.Duration) {
	if !r.following {
		r.following, r.moved = true, now
		r.fetched, r.applying = nil, false
		r.client.Follow(now, r.tip.height+1)
	}
}

// stuckAfter is how long a follower may make no progress while it knows that
// the shard is epochs ahead.
const stuckAfter = 5 * time.Second

// unstick begins again by state sync when nobody serves the blocks that come
// next any more.
func (r *replica) unstick(now time.Duration) {
	if r.following && now >= r.moved+stuckAfter {
		if r.moved = now; r.tip.out.meta.Epoch+1 < r.core.newest {
			r.core.renew(now, r)
		}
	}
}

// followed ends following when there is no more need: a member that has caught
// up gets its blocks from consensus.
func (r *replica) followed(now time.Duration) {
	if r.following && r.seated() && r.pending == nil && r.tip.height+1 >= r.ahead && len(r.fetched) == 0 {
		r.following = false
		r.client.Stop(now)
	}
}

// onBehind starts to fetch when a peer works further on than the next height:
// one ahead is what a peer is that has just decided.
func (r *replica) onBehind(now time.Duration, b fbft.Behind) {
	if b.Height <= r.tip.height+1 {
		return
	}
	r.ahead = min(b.Height, r.tip.height+64)
	r.follow(now)
	r.client.Hint(now, b.Peer, b.Height-1)
}

// applyFetched executes the next fetched block.
func (r *replica) applyFetched(now time.Duration) {
	for len(r.fetched) > 0 && r.fetched[0].Height <= r.tip.height {
		r.fetched = r.fetched[1:]
	}
	if r.applying || len(r.fetched) == 0 || r.fetched[0].Height != r.tip.height+1 {
		return
	}
	b := r.fetched[0]
	p, err := newProposal(b.Header)
	if err != nil {
		r.refetch(now, err)
		return
	}
	p.body = b.Body
	r.applying = true
	r.execute(p, b.Cert)
}

// onFetched makes an executed block the tip, if consensus has not done so.
func (r *replica) onFetched(now time.Duration, e executedResult) {
	if !r.applying {
		e.release()
		return
	}
	r.applying = false
	if e.err != nil {
		r.refetch(now, e.err)
		return
	}
	if h := e.block.header.Height; h != r.tip.height+1 || len(r.fetched) == 0 {
		e.release()
		r.applyFetched(now)
		return
	}
	b := r.fetched[0]
	r.fetched = r.fetched[1:]
	p := &proposal{hash: e.hash, header: &e.block.header, encoded: b.Header, body: b.Body, block: e.block}
	r.pending = nil
	r.advance(now, p.tip(e.quorum, e.cert))
	r.applyFetched(now)
}

// refetch drops what was fetched and asks anew.
func (r *replica) refetch(now time.Duration, err error) {
	r.core.event(Event{Shard: r.shard, Kind: Refused, Err: fmt.Errorf("chain: fetched block: %w", err)})
	r.client.Stop(now)
	r.following = false
	r.follow(now)
}
