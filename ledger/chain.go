package ledger

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// ErrNotFound is returned for a block that the chain does not have.
var ErrNotFound = errors.New("ledger: not found")

// ErrNotNext is returned, wrapped, for a block that does not follow the head:
// one that is there already, one that comes too early, or one of another branch.
var ErrNotNext = errors.New("ledger: block is not the next")

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

	keyMeta   = "c/meta"  // format, chain, shard
	keyFirst  = "c/first" // height of the first block, whether its body is there
	keyHead   = "c/head"  // height and hash of the newest block
	keyHeader = "c/h/"    // height: checksum, header, certificate
	keyBody   = "c/b/"    // height: body
	keyNumber = "c/n/"    // hash of a header: its height
	keyTx     = "c/t/"    // id of a transaction: checksum, height, place in the block, result
	keyMoves  = "c/a/"    // address and Move, inverted so that the newest comes first: nothing
	keyOrigin = "c/o/"    // id of a receipt's transaction, height, place among the arrivals: nothing
	keyExtra  = "x/"      // the composition's own

	keyArrival = "c/i/" // height, place: checksum, receipt, result

	defaultStatePrefix = "s/"
)

// ChainConfig says what a Chain is of.
type ChainConfig struct {
	Chain shardkit.Hash // id of the chain
	Shard shardkit.ShardID
	State StateConfig // Prefix empty: "s/". It must not begin with "c/" or "x/"

	// Transactions keeps an index by id, for Find and Arrivals, and Accounts one
	// by address, for History. They cover blocks committed while they are set;
	// results and arrivals are those that CommitExecuted and Apply are given.
	Transactions bool
	Accounts     bool
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
	state *State       // nil while a restore is under way
	first firstBlock
	head  *Header // nil: no blocks
	hash  shardkit.Hash
}

// firstBlock is where a chain begins: at its genesis, or at the block whose
// state was restored.
type firstBlock struct {
	height shardkit.Height
	body   bool // its body is there
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
	switch {
	case err == nil:
		c.state = state
	case !errors.Is(err, ErrRestoring):
		return nil, err
	}
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
	if err := c.loadFirst(h); err != nil {
		return err
	}
	header, _, err := c.record(h)
	switch {
	case c.state == nil:
		return &DamageError{What: "state", Err: ErrRestoring}
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

func (c *Chain) loadFirst(head shardkit.Height) error {
	v, ok, err := c.store.Get([]byte(keyFirst), nil)
	if err != nil {
		return err
	}
	r := wire.NewReader(v)
	c.first = firstBlock{height(r), r.Bool()}
	err = r.Close()
	switch {
	case !ok:
		err = errors.New("missing")
	case err == nil && c.first.height > head:
		err = fmt.Errorf("block %d is above the head, %d", c.first.height, head)
	}
	if err != nil {
		return &DamageError{What: "record of the first block", Err: err}
	}
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

// First returns the height of the oldest block: 0, or where InitAt or Import
// began. ok is false before Init.
func (c *Chain) First() (h shardkit.Height, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.first.height, c.head != nil
}

// State returns the state after the newest block. It is nil if the store holds
// a restore that has not finished: OpenRestore and InitFrom go on with it.
func (c *Chain) State() *State {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state
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
	switch {
	case ok && BodyHash(body) == header.Body:
	case !ok && c.bodiless(h):
		body = nil
	default:
		return nil, &DamageError{What: fmt.Sprintf("body of block %d", h), Err: errors.New("missing or not the header's")}
	}
	return &Block{Header: *header, Body: body, Certificate: cert}, nil
}

func (c *Chain) bodiless(h shardkit.Height) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return h == c.first.height && !c.first.body
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
