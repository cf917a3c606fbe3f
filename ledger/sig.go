package ledger

import (
	"crypto/sha512"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"github.com/shardkit/shardkit"
)

// Signatures are checked under the rules of ZIP 215 [3], one by one and in
// batches alike: the equation is multiplied by the cofactor and encodings of
// points need not be reduced. Other rules let a signature pass alone and fail
// in a batch, or the reverse, and then two honest nodes disagree on a block.
var zip215 = &ed25519.Options{Verify: ed25519.VerifyOptionsZIP_215}

const (
	// maxBatch is the number of signatures checked by one equation. More gain
	// little and one bad signature costs more to find.
	maxBatch = 1024
	// minBatch is the number below which a second goroutine does not pay.
	minBatch = 32
	// pieceBatch is the size of the parts into which a batch with a bad
	// signature is split. Sixteen together still cost little more than half of
	// sixteen single checks, so that one level of splitting does as well as
	// halving again and again.
	pieceBatch = 16
)

// signature is one thing to check: transaction tx is good if all of its
// signatures are.
type signature struct {
	tx      int
	key     []byte
	message []byte
	sig     []byte
}

// VerifyBatch checks the signatures of all transactions and returns a slice
// as long: nil for a good one, a *TxError with ReasonSignature for a bad one.
// It uses all processors. Transactions that the cache has seen with the same
// signatures are not checked again, good ones are put there; cache may be nil.
//
// Whether the account may do what it signed is not looked at. The
// coefficients of the batch equation come from crypto/rand: a false signature
// passes with probability 2^-128, and the answer depends on nothing else.
func VerifyBatch(txs []*Transaction, cache *SignatureCache) []error {
	errs := make([]error, len(txs))
	seals := make([]seal, len(txs))
	for i, tx := range txs {
		seals[i] = sealOf(tx)
	}
	seen := cache.seen(seals)
	todo, room := makeRoom(txs, seen)
	for i, tx := range txs {
		if seen != nil && seen[i] {
			continue
		}
		if err := tx.valid(); err != nil {
			errs[i] = tx.refuse(ReasonMalformed, "%v", err)
			continue
		}
		todo = appendSignatures(todo, i, tx, &room)
	}
	good := verifyAll(todo)
	for i := range todo {
		if tx := todo[i].tx; !good[i] && errs[tx] == nil {
			errs[tx] = txs[tx].refuse(ReasonSignature, "")
		}
	}
	cache.add(seals, errs, seen)
	return errs
}

// makeRoom returns room for the signatures that are to be checked, and for
// what they sign.
func makeRoom(txs []*Transaction, seen []bool) ([]signature, []byte) {
	n, size := 0, 0
	for i, tx := range txs {
		if seen == nil || !seen[i] {
			n++
			size += len(signTag) + tx.signedSize()
		}
	}
	return make([]signature, 0, n), make([]byte, 0, size)
}

func appendSignatures(todo []signature, i int, tx *Transaction, room *[]byte) []signature {
	from := len(*room)
	*room = tx.appendSigned(append(*room, signTag...))
	message := (*room)[from:len(*room):len(*room)]
	if tx.Multi == nil {
		return append(todo, signature{tx: i, key: tx.From[:], message: message, sig: tx.Signature[:]})
	}
	for k := range tx.Multi.Signatures {
		s := &tx.Multi.Signatures[k]
		todo = append(todo, signature{tx: i, key: tx.Multi.Policy.Keys[s.Key][:], message: message, sig: s.Signature[:]})
	}
	return todo
}

// verifyAll checks equal batches on all processors.
func verifyAll(todo []signature) []bool {
	good := make([]bool, len(todo))
	workers := max(1, min(runtime.GOMAXPROCS(0), (len(todo)+minBatch-1)/minBatch))
	batches := workers * ((len(todo) + workers*maxBatch - 1) / (workers * maxBatch))
	spread(len(todo), batches, func(lo, hi int) { verifyChunk(todo[lo:hi], good[lo:hi]) })
	return good
}

// spread divides n things into equal pieces and calls fn for each piece that
// holds something, on all processors. One that has other work takes fewer.
func spread(n, pieces int, fn func(lo, hi int)) {
	bound := func(i int) int { return i * n / pieces }
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < pieces; i = int(next.Add(1)) - 1 {
			if lo, hi := bound(i), bound(i+1); lo < hi {
				fn(lo, hi)
			}
		}
	}
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), pieces) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}

// verifyChunk checks a batch at once and, if that fails, searches it.
func verifyChunk(chunk []signature, good []bool) {
	if len(chunk) > 1 && verifyTogether(chunk) {
		fill(good)
		return
	}
	search(chunk, good)
}

// search finds the good ones of a batch that holds bad ones: it tries pieces
// together and those that fail one by one. While more than half of them have
// failed it does not try: whoever sends bad signatures on purpose makes a batch
// cost hardly more than it and its single checks.
func search(batch []signature, good []bool) {
	tried, failed := 0, 0
	for len(batch) > 0 {
		n := min(pieceBatch, len(batch))
		piece, ok := batch[:n], good[:n]
		batch, good = batch[n:], good[n:]
		last := tried == 0 && len(batch) == 0 // the piece is the batch
		if !last && (tried < 2 || 2*failed <= tried) {
			tried++
			if verifyTogether(piece) {
				fill(ok)
				continue
			}
			failed++
		}
		for i := range piece {
			s := &piece[i]
			ok[i] = ed25519.VerifyWithOptions(s.key, s.message, s.sig, zip215)
		}
	}
}

func fill(b []bool) {
	for i := range b {
		b[i] = true
	}
}

func verifyTogether(batch []signature) bool {
	v := ed25519.NewBatchVerifierWithCapacity(len(batch))
	for i := range batch {
		s := &batch[i]
		v.AddWithOptions(s.key, s.message, s.sig, zip215)
	}
	return v.VerifyBatchOnly(nil)
}

// seal is what a transaction's signatures were checked for: its id, and the
// signatures themselves (their hash, if there are several). The id alone would
// not do: a copy with false signatures has the same.
type seal struct {
	id  shardkit.Hash
	sig [64]byte
}

func sealOf(tx *Transaction) seal {
	s := seal{id: tx.ID(), sig: tx.Signature}
	if tx.Multi != nil {
		s.sig = sha512.Sum512(tx.Multi.append(nil))
	}
	return s
}

// SignatureCache remembers transactions whose signatures were found good, so
// that a block is not charged for those checked on admission. A node has one;
// it is safe for concurrent use. A nil cache remembers nothing.
type SignatureCache struct {
	mu     sync.Mutex
	max    int
	recent map[shardkit.Hash][64]byte
	older  map[shardkit.Hash][64]byte
}

// NewSignatureCache returns a cache of the last transactions, between max/2
// and max of them, about 150 bytes each. The least is 2.
func NewSignatureCache(max int) *SignatureCache {
	return &SignatureCache{max: max, recent: make(map[shardkit.Hash][64]byte)}
}

// Len returns how many transactions are remembered.
func (c *SignatureCache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.recent) + len(c.older)
}

// seen tells for each seal whether it is remembered; nil if the cache is nil.
func (c *SignatureCache) seen(seals []seal) []bool {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := make([]bool, len(seals))
	for i := range seals {
		sig, ok := c.recent[seals[i].id]
		if !ok {
			sig, ok = c.older[seals[i].id]
		}
		seen[i] = ok && sig == seals[i].sig
	}
	return seen
}

// add remembers the seals without error. When the newer half is full it
// becomes the older one, whose entries are forgotten: constant work, and one
// that is still in use is put in again.
func (c *SignatureCache) add(seals []seal, errs []error, seen []bool) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range seals {
		if errs[i] != nil || seen[i] {
			continue
		}
		if len(c.recent) >= max(c.max/2, 1) {
			c.older, c.recent = c.recent, make(map[shardkit.Hash][64]byte, len(c.recent))
		}
		c.recent[seals[i].id] = seals[i].sig
	}
}
