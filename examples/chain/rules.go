package chain

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/fbft"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/vdf"
	"github.com/shardkit/shardkit/xshard"
)

// ErrInvalid is wrapped by every refusal of a block's content.
var ErrInvalid = errors.New("chain: invalid block")

func invalid(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, a...))
}

// rules hold what every job of one replica needs: the chain's parameters and
// the replica's own caches. Safe for concurrent use; shared with no other
// node.
type rules struct {
	id      shardkit.Hash
	shard   shardkit.ShardID
	genesis *Genesis
	scheme  Scheme
	batch   Batch // nil: certificates are verified one by one
	sigs    *ledger.SignatureCache
	mutant  mutant
	groups  vdf.Memo // of the delay function

	possession Possession
	executor   ledger.Executor
	history    bool // accounts' histories are kept

	mu         sync.Mutex
	committees map[shardkit.Hash]*fbft.Committee // by hash of the encoded seats
	verified   map[shardkit.Hash]struct{}        // digests of certificates and proofs that hold
}

// The caches are emptied when they are full: entries are cheap to make again
// and few are live at a time.
const (
	maxCommittees = 64
	maxVerified   = 4096
)

func newRules(id shardkit.Hash, shard shardkit.ShardID, g *Genesis, scheme Scheme, p Possession, m mutant) *rules {
	r := &rules{
		id: id, shard: shard, genesis: g, scheme: scheme, possession: p, mutant: m,
		sigs:       ledger.NewSignatureCache(1 << 16),
		committees: map[shardkit.Hash]*fbft.Committee{},
		verified:   map[shardkit.Hash]struct{}{},
	}
	kinds := ledger.Kinds{ledger.KindTransfer: ledger.Transfer{}}
	if shard == 0 {
		kinds[receiptFees] = feePool{}
		kinds[KindStaking] = &Staking{Params: g.Params.Stake, CheckSlot: r.checkSlot, CheckEvidence: r.checkEvidence, mutant: m}
	}
	r.executor = kinds
	return r
}

// committee returns the consensus committee of seats.
func (r *rules) committee(seats []Seat) (*fbft.Committee, error) {
	key := shardkit.Hash(sha256.Sum256(appendSeats(nil, seats)))
	r.mu.Lock()
	c := r.committees[key]
	r.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := committee(seats, r.scheme)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.committees) >= maxCommittees {
		clear(r.committees)
	}
	r.committees[key] = c
	return c, nil
}

// certify checks that cert is the commit certificate of a header. Each
// certificate is verified once by a replica, however often it is met.
func (r *rules) certify(h *ledger.Header, hash shardkit.Hash, cert []byte, c *fbft.Committee) (*fbft.Certificate, error) {
	q, err := readCertificate(h, hash, cert, c)
	if err != nil {
		return nil, err
	}
	key := sha256.New()
	ch := c.Hash()
	key.Write(ch[:])
	key.Write([]byte{byte(h.Shard >> 24), byte(h.Shard >> 16), byte(h.Shard >> 8), byte(h.Shard)})
	key.Write(cert)
	digest := shardkit.Hash(key.Sum(nil))
	if r.holds(digest) {
		return q, nil
	}
	if err := q.Check(r.id, h.Shard, c); err != nil {
		return nil, err
	}
	r.remember(digest)
	return q, nil
}

// readCertificate decodes what claims to be a header's commit certificate.
func readCertificate(h *ledger.Header, hash shardkit.Hash, cert []byte, c *fbft.Committee) (*fbft.Certificate, error) {
	q := new(fbft.Certificate)
	if err := q.UnmarshalBinary(cert); err != nil {
		return nil, err
	}
	switch {
	case q.Phase != fbft.Commit:
		return nil, errors.New("not a commit certificate")
	case q.Block != hash || q.Height != h.Height || q.Epoch != h.Epoch:
		return nil, errors.New("certificate of another block")
	case h.Committee != c.Hash():
		return nil, errors.New("header names another committee")
	}
	return q, nil
}

// holds reports whether what has this digest was verified before.
func (r *rules) holds(digest shardkit.Hash) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.verified[digest]
	return known
}

// remember notes that what has this digest was verified.
func (r *rules) remember(digest shardkit.Hash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.verified) >= maxVerified {
		clear(r.verified)
	}
	r.verified[digest] = struct{}{}
}

// link applies a Link to a stage: checks headers, certificate and receipts,
// credits the receipts, and moves the source's linkState. It returns the ids
// of the receipts and, if the run begins an epoch of the beacon, its header.
func (r *rules) link(ctx *ledger.Context, s ledger.KV, in *xshard.Inbox, l *Link) (*linked, error) {
	if l.Source == r.shard || uint32(l.Source) >= r.genesis.Params.Shards {
		return nil, invalid("link to shard %d", l.Source)
	}
	st, err := loadLink(s, r, l.Source)
	if err != nil {
		return nil, err
	}
	out := &linked{source: l.Source}
	var last *ledger.Header
	for i, raw := range l.Headers {
		h := new(ledger.Header)
		if err := h.UnmarshalBinary(raw); err != nil {
			return nil, invalid("link to shard %d: %v", l.Source, err)
		}
		if err := r.step(&st, h, i == 0); err != nil {
			return nil, invalid("link to shard %d height %d: %v", l.Source, h.Height, err)
		}
		if h.Hop != nil {
			out.hop = h
		}
		late, err := decodeLate(h)
		if err != nil {
			return nil, invalid("link to shard %d height %d: %v", l.Source, h.Height, err)
		}
		out.late = append(out.late, late...)
		if err := r.credit(ctx, s, in, h, l.Batches[i], out); err != nil {
			return nil, err
		}
		last = h
	}
	seats, ok, err := loadSeats(s, last.Epoch, l.Source)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, invalid("link to shard %d: committee of epoch %d is not known", l.Source, last.Epoch)
	}
	c, err := r.committee(seats)
	if err != nil {
		return nil, err
	}
	if out.cert, err = r.certify(last, st.Hash, l.Cert, c); err != nil {
		return nil, invalid("link to shard %d height %d: %v", l.Source, last.Height, err)
	}
	return out, s.Set(keyLink(l.Source), st.encode())
}

// linked is what a Link did.
type linked struct {
	source   shardkit.ShardID
	cert     *fbft.Certificate
	hop      *ledger.Header // the first block of an epoch, if the run begins with one
	late     []lateVotes    // of the run's headers
	receipts []xshard.Receipt
}

// step checks that h follows st and advances it. Only the first header of a
// run may begin an epoch: the last block of an epoch is linked with its own
// certificate, so that the next committee cannot replace it. What block 1 names
// as its parent is its certificate's word.
func (r *rules) step(st *linkState, h *ledger.Header, first bool) error {
	switch {
	case h.Chain != r.id:
		return errors.New("another chain")
	case h.Height != st.Height+1:
		return fmt.Errorf("follows height %d", st.Height)
	case st.Height > 0 && h.Parent != st.Hash:
		return errors.New("does not follow the block linked before")
	case h.Hop == nil && h.Epoch != st.Epoch:
		return fmt.Errorf("epoch %d inside epoch %d", h.Epoch, st.Epoch)
	case h.Hop != nil && (!first || h.Epoch != st.Epoch+1):
		return fmt.Errorf("epoch %d begins inside a run", h.Epoch)
	}
	st.Height, st.Hash, st.Epoch = h.Height, h.Hash(), h.Epoch
	if h.Hop != nil {
		st.First = st.Hash
	}
	return nil
}

// credit takes a header's receipts for this shard.
func (r *rules) credit(ctx *ledger.Context, s ledger.KV, in *xshard.Inbox, h *ledger.Header, raw []byte, out *linked) error {
	var b xshard.Batch
	if err := b.UnmarshalBinary(raw); err != nil {
		return invalid("receipts of shard %d: %v", h.Shard, err)
	}
	if b.Source != h.Shard || b.Dest != r.shard || b.Leaves != uint64(r.genesis.Params.Shards) {
		return invalid("receipts of shard %d are not for this shard", h.Shard)
	}
	if err := xshard.VerifyBatch(h.Outbox, &b); err != nil {
		return invalid("receipts of shard %d: %v", h.Shard, err)
	}
	if err := in.Accept(&b); err != nil {
		return invalid("receipts of shard %d: %v", h.Shard, err)
	}
	for i := range b.Receipts {
		rc := &b.Receipts[i]
		if err := r.take(ctx, s, rc); err != nil {
			return err
		}
	}
	out.receipts = append(out.receipts, b.Receipts...)
	return nil
}

// receiptFees is the kind of receipt that carries a shard's fees of an epoch to
// the beacon's pool. It stands beside ledger's own kinds.
const receiptFees = uint8(128)

// feePool is where they go: it executes nothing and receives those receipts.
type feePool struct{}

// Execute implements ledger.Executor.
func (feePool) Execute(_ *ledger.Context, _ ledger.KV, tx *ledger.Transaction, _ *xshard.Outbox) (ledger.Result, error) {
	return ledger.Result{}, &ledger.TxError{ID: tx.ID(), Reason: ledger.ReasonKind}
}

// Receive implements ledger.Receiver.
func (feePool) Receive(_ *ledger.Context, s ledger.KV, rc *xshard.Receipt, _ *xshard.Outbox) (ledger.Result, error) {
	return ledger.Result{}, addU64(s, keyPool, rc.Amount)
}

// take applies one receipt. It fails only if the store does. How many were
// applied is counted beside the inbox, which counts what was taken in: an audit
// compares the two.
func (r *rules) take(ctx *ledger.Context, s ledger.KV, rc *xshard.Receipt) error {
	for range r.times(rc) {
		if err := ledger.Receive(ctx, s, rc, r.executor, nil); err != nil {
			return err
		}
		if err := addU64(s, keyCredited(rc.Source), 1); err != nil {
			return err
		}
	}
	return nil
}

// loadLink reads how far a source has been linked; before the first link that
// is its genesis block.
func loadLink(s ledger.KV, r *rules, source shardkit.ShardID) (linkState, error) {
	var st linkState
	return st, load(s, keyLink(source), &st)
}
