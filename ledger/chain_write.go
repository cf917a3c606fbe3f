package ledger

import (
	"errors"
	"fmt"
	"iter"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

var (
	errBlocks = errors.New("ledger: init: chain has blocks")
	errBody   = errors.New("body is not the header's")
)

// Init writes the first block of an empty chain with the state that st, begun
// on State, holds.
func (c *Chain) Init(genesis *Block, st *Stage) error {
	if _, ok := c.Head(); ok {
		return errBlocks
	}
	if err := c.check(genesis); err != nil {
		return err
	}
	return c.write(genesis, &Executed{Stage: st}, nil)
}

// InitAt makes b, with the state that was restored for it in the same store,
// the newest block of an empty chain. Blocks before it are not there. Its own
// body may be missing too: the state is already what came of it.
//
// A crash between the end of the restore and InitAt loses the restored state;
// InitFrom does both at once.
func (c *Chain) InitAt(b *Block, restored *State) error {
	if err := c.checkFirst(b); err != nil {
		return err
	}
	if restored.Root() != b.Header.State || restored.Version() != uint64(b.Header.Height) {
		return fmt.Errorf("ledger: init: state has version %d root %v, block %d wants root %v",
			restored.Version(), restored.Root(), b.Header.Height, b.Header.State)
	}
	first := firstBlock{b.Header.Height, len(b.Body) > 0}
	if err := c.store.Apply(c.pairs(b, first, nil, nil), nil); err != nil {
		return err
	}
	c.moved(b, first, restored)
	return nil
}

// InitFrom is InitAt at the end of a complete restore: the restored state, the
// block, and extra are written in one batch.
func (c *Chain) InitFrom(b *Block, r *Restore, extra iter.Seq2[[]byte, []byte]) error {
	if err := c.checkFirst(b); err != nil {
		return err
	}
	if r.head.root != b.Header.State || r.head.number != uint64(b.Header.Height) {
		return fmt.Errorf("ledger: init: restore is of version %d root %v, block %d wants root %v",
			r.head.number, r.head.root, b.Header.Height, b.Header.State)
	}
	first := firstBlock{b.Header.Height, len(b.Body) > 0}
	state, err := r.Finish(c.pairs(b, first, nil, extra))
	if err != nil {
		return err
	}
	c.moved(b, first, state)
	return nil
}

func (c *Chain) checkFirst(b *Block) error {
	if _, ok := c.Head(); ok {
		return errBlocks
	}
	if err := c.check(b); err != nil && (len(b.Body) > 0 || !errors.Is(err, errBody)) {
		return err
	}
	return nil
}

// Commit appends a block. One that is not the next is ErrNotNext, one that
// cannot be is ErrInvalid; both change nothing. st is the stage on State that the block was executed
// on; its root must be the header's. extra is written with the block, for Get
// to read, and may be nil. When Commit returns nil the block is durable; after
// an error of the store the chain must be opened again to find out.
func (c *Chain) Commit(b *Block, st *Stage, extra iter.Seq2[[]byte, []byte]) error {
	return c.CommitExecuted(b, &Executed{Stage: st}, extra)
}

// CommitExecuted is Commit with all that executing the block has left: the
// indexes then know results and arrivals as well. Of x only Stage must be
// there.
func (c *Chain) CommitExecuted(b *Block, x *Executed, extra iter.Seq2[[]byte, []byte]) error {
	if err := c.follows(b); err != nil {
		return err
	}
	return c.write(b, x, extra)
}

// follows checks that b is well-formed and can be the next block.
func (c *Chain) follows(b *Block) error {
	c.mu.RLock()
	head, hash := c.head, c.hash
	c.mu.RUnlock()
	if head == nil {
		return fmt.Errorf("%w: chain has no first block", ErrNotNext)
	}
	if err := c.check(b); err != nil {
		return err
	}
	h := &b.Header
	switch {
	case h.Height != head.Height+1 || h.Parent != hash:
		return fmt.Errorf("%w: block %d with parent %v, head is %d %v", ErrNotNext, h.Height, h.Parent, head.Height, hash)
	case h.Time <= head.Time:
		return invalid(h, fmt.Errorf("time %d not after its parent's %d", h.Time, head.Time))
	case h.Epoch < head.Epoch:
		return invalid(h, fmt.Errorf("epoch %d before its parent's %d", h.Epoch, head.Epoch))
	}
	return nil
}

// check makes the checks on a block that need no other.
func (c *Chain) check(b *Block) error {
	h := &b.Header
	switch {
	case h.Chain != c.cfg.Chain || h.Shard != c.cfg.Shard:
		return &WrongChainError{Chain: h.Chain, WantChain: c.cfg.Chain, Shard: h.Shard, WantShard: c.cfg.Shard}
	case len(h.Late) > MaxLate || len(b.Body) > MaxBody || len(b.Certificate) > MaxCertificate:
		return invalid(h, errors.New("over a limit"))
	case BodyHash(b.Body) != h.Body:
		return fmt.Errorf("ledger: block %d: %w", h.Height, errBody)
	}
	return nil
}

// write commits stage and block together.
func (c *Chain) write(b *Block, x *Executed, extra iter.Seq2[[]byte, []byte]) error {
	root, err := x.Stage.Root()
	if err != nil {
		return err
	}
	if root != b.Header.State {
		return invalid(&b.Header, fmt.Errorf("state root %v, header has %v", root, b.Header.State))
	}
	index, err := c.index(b, x)
	if err != nil {
		return err
	}
	first := firstBlock{b.Header.Height, true}
	if h, ok := c.First(); ok {
		first = firstBlock{h, !c.bodiless(h)}
	}
	state := c.State()
	if err := state.Commit(x.Stage, uint64(b.Header.Height), c.pairs(b, first, index, extra)); err != nil {
		return err
	}
	c.moved(b, first, state)
	return nil
}

// moved makes b, which is durable, the head.
func (c *Chain) moved(b *Block, first firstBlock, state *State) {
	header := b.Header
	hash := header.Hash()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.first, c.head, c.hash = state, first, &header, hash
}

// pairs are the keys that a block sets beside the state.
func (c *Chain) pairs(b *Block, first firstBlock, index []pair, extra iter.Seq2[[]byte, []byte]) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		h := b.Header.Height
		hash := b.Header.Hash()
		record := wire.AppendBytes(make([]byte, checksumSize), b.Header.append(nil))
		record = wire.AppendBytes(record, b.Certificate)
		copy(record, checksum(record[checksumSize:]))
		meta := append([]byte{chainFormat}, c.cfg.Chain[:]...)
		ok := yield([]byte(keyMeta), wire.AppendU32(meta, uint32(c.cfg.Shard))) &&
			yield([]byte(keyFirst), wire.AppendBool(wire.AppendU64(nil, uint64(first.height)), first.body)) &&
			yield([]byte(keyHead), headRecord(h, hash)) &&
			yield(heightKey(keyHeader, h), record) &&
			(len(b.Body) == 0 || yield(heightKey(keyBody, h), b.Body)) &&
			yield(append([]byte(keyNumber), hash[:]...), wire.AppendU64(nil, uint64(h)))
		for i := 0; ok && i < len(index); i++ {
			ok = yield(index[i].key, index[i].value)
		}
		if ok && extra != nil {
			extraPairs(extra)(yield)
		}
	}
}

func headRecord(h shardkit.Height, hash shardkit.Hash) []byte {
	return append(wire.AppendU64(nil, uint64(h)), hash[:]...)
}

// extraPairs puts the composition's pairs into their own name space.
func extraPairs(extra iter.Seq2[[]byte, []byte]) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		for k, v := range extra {
			if !yield(append([]byte(keyExtra), k...), v) {
				return
			}
		}
	}
}
