package chain

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/ledger"
)

// A fork over two views is nobody's fault on the face of it: who prepared the
// second block did so on a NEWVIEW, and only that shows who lied about the
// past. So a replica keeps the messages that its votes rest on, until the
// offences of the epoch can no longer be punished. They are in the log no later
// than the vote, and in the store with the block.

const (
	maxArchive      = 64      // messages of a height
	maxArchiveBytes = 1 << 20 // of them
)

// keyArchive finds what was archived of a height.
func keyArchive(h shardkit.Height) []byte {
	return binary.BigEndian.AppendUint64([]byte("a/"), uint64(h))
}

// keepArchive notes messages that votes at the height after the tip rest on.
func (r *replica) keepArchive(list [][]byte) {
	for _, m := range list {
		if r.archiveMessage(m) {
			h := r.tip.height + 1
			r.core.log.add(r.shard, h)
			r.core.out.Records = append(r.core.out.Records, encodeRecord(recordArchive, r.shard, h, m))
		}
	}
}

// archiveMessage adds a message unless it is there or there is no room.
func (r *replica) archiveMessage(m []byte) bool {
	size := len(m)
	for _, o := range r.archive {
		if bytes.Equal(o, m) {
			return false
		}
		size += len(o)
	}
	if len(r.archive) >= maxArchive || size > maxArchiveBytes {
		return false
	}
	r.archive = append(r.archive, slices.Clone(m))
	return true
}

// restoreArchive takes back what the log has of the height after the tip.
func (r *replica) restoreArchive() {
	for _, a := range r.core.log.archives[r.shard] {
		if a.height == r.tip.height+1 {
			r.archiveMessage(a.message)
		}
	}
	delete(r.core.log.archives, r.shard)
}

func encodeArchive(list [][]byte) []byte {
	b := wire.AppendU32(nil, uint32(len(list)))
	for _, m := range list {
		b = wire.AppendBytes(b, m)
	}
	return b
}

func decodeArchive(b []byte) (list [][]byte, err error) {
	r := wire.NewReader(b)
	for range r.Count(maxArchive, 4) {
		list = append(list, r.Bytes(maxArchiveBytes))
	}
	return list, r.Close()
}

// Archived returns the messages on which a replica's votes for a height rest,
// from its chain: what fbft.Accuse wants of the honest if there should be two
// certified blocks. They are kept for as long as evidence counts.
func Archived(c *ledger.Chain, h shardkit.Height) ([][]byte, error) {
	b, ok, err := c.Get(keyArchive(h))
	if err != nil || !ok {
		return nil, err
	}
	list, err := decodeArchive(b)
	if err != nil {
		return nil, fmt.Errorf("chain: archive of height %d: %w", h, err)
	}
	return list, nil
}

// dropArchive removes, as an epoch begins, what is older than the evidence
// period. Where an epoch began a replica knows from its hops; of what was before
// its oldest one it has nothing.
func (r *rules) dropArchive(c *ledger.Chain, store ledger.Store, h *ledger.Header) error {
	kept := r.genesis.Params.keptEpoch(h.Epoch)
	if h.Hop == nil || kept == 0 {
		return nil
	}
	raw, ok, err := c.Get(keyHop(kept))
	if err != nil || !ok {
		return err
	}
	hop, err := decodeHop(raw)
	if err != nil {
		return err
	}
	var first ledger.Header
	if err := first.UnmarshalBinary(hop.Header); err != nil {
		return err
	}
	lo := append([]byte(extraPrefix), keyArchive(0)...)
	hi := append([]byte(extraPrefix), keyArchive(first.Height)...)
	return store.Apply(nil, func(yield func(lo, hi []byte) bool) { yield(lo, hi) })
}
