package ledger

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// ErrNotFound is returned for a block that the chain does not have.
var ErrNotFound = errors.New("ledger: not found")

// WrongChainError reports a store that belongs to another chain or shard.
type WrongChainError struct {
	Chain, WantChain shardkit.Hash
	Shard, WantShard shardkit.ShardID
}

func (e *WrongChainError) Error() string {
	return fmt.Sprintf("ledger: store is of chain %v shard %d, want chain %v shard %d", e.Chain, e.Shard, e.WantChain, e.WantShard)
}

// Keys of the chain in its store. Heights are big-endian, so that blocks lie
// in order.
const (
	chainFormat = 1

	keyMeta   = "c/meta" // format, chain, shard
	keyHead   = "c/head" // height and hash of the newest block
	keyHeader = "c/h/"   // height: checksum, header, certificate
	keyBody   = "c/b/"   // height: body
	keyNumber = "c/n/"   // hash of a header: its height
	keyExtra  = "x/"     // the composition's own

	defaultStatePrefix = "s/"
)

// ChainConfig says what a Chain is of.
type ChainConfig struct {
	Chain shardkit.Hash // id of the chain
	Shard shardkit.ShardID
	State StateConfig // Prefix empty: "s/". It must not begin with "c/" or "x/"
}

// Chain is the blocks of one shard and the state after the newest of them, in
// one Store. A block, its state, its indexes and what the composition wants
// kept with it are written in one atomic durable batch: after a crash at any
// moment the chain stands at a block that was committed, and at the last one
// whose Commit returned.
//
// Reading is safe for concurrent use, also beside a Commit. Init, Commit and
// the like have one caller at a time.
type Chain struct {
	cfg   ChainConfig
	store Store

	mu    sync.RWMutex // guards what follows
	state *State
	head  *Header
	hash  shardkit.Hash
}

// OpenChain opens the chain in the store, or an empty one if the store has
// none. It checks that head, header and state belong together; a
// *WrongChainError says that the store is another chain's, a *DamageError
// what in it is broken.
func OpenChain(store Store, cfg ChainConfig) (*Chain, error) {
	if len(cfg.State.Prefix) == 0 {
		cfg.State.Prefix = []byte(defaultStatePrefix)
	}
	if p := cfg.State.Prefix; bytes.HasPrefix(p, []byte("c/")) || bytes.HasPrefix(p, []byte(keyExtra)) || string(p) == "c" || string(p) == "x" {
		return nil, fmt.Errorf("ledger: chain: state prefix %q is the chain's own", p)
	}
	c := &Chain{cfg: cfg, store: store}
	if err := c.checkMeta(); err != nil {
		return nil, err
	}
	state, err := OpenState(store, cfg.State)
	if err != nil {
		return nil, err
	}
	c.state = state
	if err := c.loadHead(); err != nil {
		return nil, err
	}
	return c, nil
}

// checkMeta compares whose chain the store holds.
func (c *Chain) checkMeta() error {
	v, ok, err := c.store.Get([]byte(keyMeta), nil)
	if err != nil || !ok {
		return err
	}
	r := wire.NewReader(v)
	r.Expect(chainFormat, "chain format")
	id, shard := shardkit.Hash(r.Array32()), shardID(r)
	if err := r.Close(); err != nil {
		return &DamageError{What: "chain description", Err: err}
	}
	if id != c.cfg.Chain || shard != c.cfg.Shard {
		return &WrongChainError{Chain: id, WantChain: c.cfg.Chain, Shard: shard, WantShard: c.cfg.Shard}
	}
	return nil
}

// loadHead reads the newest header and compares it with the state.
func (c *Chain) loadHead() error {
	v, ok, err := c.store.Get([]byte(keyHead), nil)
	if err != nil || !ok {
		return err
	}
	r := wire.NewReader(v)
	h, hash := height(r), shardkit.Hash(r.Array32())
	if err := r.Close(); err != nil {
		return &DamageError{What: "head", Err: err}
	}
	header, _, err := c.record(h)
	switch {
	case errors.Is(err, ErrNotFound):
		return &DamageError{What: "head", Err: fmt.Errorf("block %d is missing", h)}
	case err != nil:
		return err
	case header.Hash() != hash:
		return &DamageError{What: fmt.Sprintf("header of block %d", h), Err: fmt.Errorf("hash %v, want %v", header.Hash(), hash)}
	case c.state.Version() != uint64(h) || c.state.Root() != header.State:
		return &DamageError{What: "state", Err: fmt.Errorf("version %d root %v, head is block %d with root %v",
			c.state.Version(), c.state.Root(), h, header.State)}
	}
	c.head, c.hash = header, hash
	return nil
}

// Head returns the newest header; ok is false before Init.
func (c *Chain) Head() (h Header, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.head == nil {
		return Header{}, false
	}
	return *c.head, true
}

// State returns the state after the newest block.
func (c *Chain) State() *State {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state
}

// Init writes the first block of an empty chain with the state that st, begun
// on State, holds.
func (c *Chain) Init(genesis *Block, st *Stage) error {
	if _, ok := c.Head(); ok {
		return errors.New("ledger: init: chain has blocks")
	}
	if err := c.check(genesis); err != nil {
		return err
	}
	return c.write(genesis, st, nil)
}

// InitAt makes b, with the state that was restored for it in the same store,
// the newest block of an empty chain. Blocks before it are not there. Its own
// body may be missing too: the state is already what came of it.
func (c *Chain) InitAt(b *Block, restored *State) error {
	if _, ok := c.Head(); ok {
		return errors.New("ledger: init: chain has blocks")
	}
	if err := c.check(b); err != nil && (len(b.Body) > 0 || !errors.Is(err, errBody)) {
		return err
	}
	if restored.Root() != b.Header.State || restored.Version() != uint64(b.Header.Height) {
		return fmt.Errorf("ledger: init: state has version %d root %v, block %d wants root %v",
			restored.Version(), restored.Root(), b.Header.Height, b.Header.State)
	}
	header := b.Header
	if err := c.store.Apply(c.pairs(b, header.Hash(), nil), nil); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.head, c.hash = restored, &header, header.Hash()
	return nil
}

// Commit appends a block. st is the stage on State that the block was executed
// on; its root must be the header's. extra is written with the block, for Get
// to read, and may be nil. When Commit returns nil the block is durable; after
// an error of the store the chain must be opened again to find out.
func (c *Chain) Commit(b *Block, st *Stage, extra iter.Seq2[[]byte, []byte]) error {
	head, ok := c.Head()
	if !ok {
		return errors.New("ledger: commit: chain has no first block")
	}
	if err := c.check(b); err != nil {
		return err
	}
	h := &b.Header
	switch {
	case h.Height != head.Height+1 || h.Parent != c.hash:
		return fmt.Errorf("ledger: commit: block %d with parent %v does not follow block %d %v", h.Height, h.Parent, head.Height, c.hash)
	case h.Time <= head.Time:
		return fmt.Errorf("ledger: commit: block %d: time %d not after its parent's %d", h.Height, h.Time, head.Time)
	case h.Epoch < head.Epoch:
		return fmt.Errorf("ledger: commit: block %d: epoch %d before its parent's %d", h.Height, h.Epoch, head.Epoch)
	}
	return c.write(b, st, extra)
}

// check makes the checks on a block that need no other.
func (c *Chain) check(b *Block) error {
	h := &b.Header
	switch {
	case h.Chain != c.cfg.Chain || h.Shard != c.cfg.Shard:
		return &WrongChainError{Chain: h.Chain, WantChain: c.cfg.Chain, Shard: h.Shard, WantShard: c.cfg.Shard}
	case len(h.Late) > MaxLate || len(b.Body) > MaxBody || len(b.Certificate) > MaxCertificate:
		return fmt.Errorf("ledger: block %d: over a limit", h.Height)
	case BodyHash(b.Body) != h.Body:
		return fmt.Errorf("ledger: block %d: %w", h.Height, errBody)
	}
	return nil
}

var errBody = errors.New("body is not the header's")

// write commits stage and block together.
func (c *Chain) write(b *Block, st *Stage, extra iter.Seq2[[]byte, []byte]) error {
	root, err := st.Root()
	if err != nil {
		return err
	}
	if root != b.Header.State {
		return fmt.Errorf("ledger: block %d: state root %v, header has %v", b.Header.Height, root, b.Header.State)
	}
	header := b.Header
	hash := header.Hash()
	if err := c.state.Commit(st, uint64(header.Height), c.pairs(b, hash, extra)); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head, c.hash = &header, hash
	return nil
}

// pairs are the keys that a block sets beside the state.
func (c *Chain) pairs(b *Block, hash shardkit.Hash, extra iter.Seq2[[]byte, []byte]) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		h := b.Header.Height
		number := wire.AppendU64(nil, uint64(h))
		record := wire.AppendBytes(make([]byte, checksumSize), b.Header.append(nil))
		record = wire.AppendBytes(record, b.Certificate)
		copy(record, checksum(record[checksumSize:]))
		meta := append([]byte{chainFormat}, c.cfg.Chain[:]...)
		ok := yield([]byte(keyMeta), wire.AppendU32(meta, uint32(c.cfg.Shard))) &&
			yield([]byte(keyHead), append(bytes.Clone(number), hash[:]...)) &&
			yield(heightKey(keyHeader, h), record) &&
			yield(heightKey(keyBody, h), b.Body) &&
			yield(append([]byte(keyNumber), hash[:]...), number)
		if !ok || extra == nil {
			return
		}
		for k, v := range extra {
			if !yield(append([]byte(keyExtra), k...), v) {
				return
			}
		}
	}
}

// A record of header and certificate begins with a checksum: no hash elsewhere
// covers the certificate.
const checksumSize = 8

func checksum(b []byte) []byte {
	h := sha256.Sum256(b)
	return h[:checksumSize]
}

func heightKey(prefix string, h shardkit.Height) []byte {
	return wire.AppendU64([]byte(prefix), uint64(h))
}

// record reads header and certificate of a height.
func (c *Chain) record(h shardkit.Height) (*Header, []byte, error) {
	v, ok, err := c.store.Get(heightKey(keyHeader, h), nil)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		return nil, nil, ErrNotFound
	}
	header := new(Header)
	r := wire.NewReader(v)
	sum := r.Fixed(checksumSize)
	if !bytes.Equal(sum, checksum(v[len(v)-r.Len():])) {
		r.Fail(errors.New("checksum differs"))
	}
	enc := r.Bytes(MaxHeader)
	cert := r.Bytes(MaxCertificate)
	if err = r.Close(); err == nil {
		err = header.UnmarshalBinary(enc)
	}
	if err == nil && (header.Height != h || header.Chain != c.cfg.Chain || header.Shard != c.cfg.Shard) {
		err = fmt.Errorf("is block %d of shard %d", header.Height, header.Shard)
	}
	if err != nil {
		return nil, nil, &DamageError{What: fmt.Sprintf("header of block %d", h), Err: err}
	}
	return header, some(cert), nil
}

// HeaderAt returns the header of a height, or ErrNotFound.
func (c *Chain) HeaderAt(h shardkit.Height) (Header, error) {
	header, _, err := c.record(h)
	if err != nil {
		return Header{}, err
	}
	return *header, nil
}

// Block returns the block of a height with its certificate, or ErrNotFound. The
// body is empty, as no encoded body is, where the chain began without it.
func (c *Chain) Block(h shardkit.Height) (*Block, error) {
	header, cert, err := c.record(h)
	if err != nil {
		return nil, err
	}
	body, ok, err := c.store.Get(heightKey(keyBody, h), nil)
	if err != nil {
		return nil, err
	}
	if !ok || (len(body) > 0 && BodyHash(body) != header.Body) {
		return nil, &DamageError{What: fmt.Sprintf("body of block %d", h), Err: errors.New("missing or not the header's")}
	}
	return &Block{Header: *header, Body: body, Certificate: cert}, nil
}

// HeightOf returns the height of the block with the hash, or ErrNotFound.
func (c *Chain) HeightOf(hash shardkit.Hash) (shardkit.Height, error) {
	v, ok, err := c.store.Get(append([]byte(keyNumber), hash[:]...), nil)
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, ErrNotFound
	}
	r := wire.NewReader(v)
	h := height(r)
	if err := r.Close(); err != nil {
		return 0, &DamageError{What: fmt.Sprintf("index of block %v", hash), Err: err}
	}
	header, _, err := c.record(h)
	switch {
	case err == nil && header.Hash() == hash:
		return h, nil
	case err == nil || errors.Is(err, ErrNotFound):
		return 0, &DamageError{What: fmt.Sprintf("index of block %v", hash), Err: fmt.Errorf("points to block %d, which is another", h)}
	}
	return 0, err
}

// Get returns what a Commit wrote as extra under key.
func (c *Chain) Get(key []byte) (value []byte, ok bool, err error) {
	return c.store.Get(append([]byte(keyExtra), key...), nil)
}
