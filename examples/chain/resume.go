package chain

import (
	"bytes"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/ledger"
	"github.com/shardkit/shardkit/statesync"
)

// A state sync that a crash cuts short goes on where it was: the store has its
// head, the hops that led to it, and which ranges are there.

// keyDownload is the head whose state is being downloaded. Beside it, below
// keyPart, stands each range that is there: its start, and where it ends.
var keyDownload = []byte("sync")

func keyPart(from []byte) []byte { return append([]byte(extraPrefix+"sync/"), from...) }

// keyNoPart is right after all of keyPart.
var keyNoPart = []byte(extraPrefix + "sync0")

func encodeHead(h *statesync.Head) []byte {
	b := wire.AppendU64(wire.AppendU64(nil, uint64(h.Epoch)), uint64(h.Height))
	b = append(b, h.Root[:]...)
	return wire.AppendBytes(wire.AppendBytes(b, h.Header), h.Cert)
}

func decodeHead(b []byte) (h statesync.Head, err error) {
	r := wire.NewReader(b)
	h = statesync.Head{
		Epoch: shardkit.Epoch(r.U64()), Height: shardkit.Height(r.U64()), Root: r.Array32(),
		Header: r.Bytes(maxHeader), Cert: r.Bytes(maxCert),
	}
	return h, r.Close()
}

// download is a state download under way. The client runs one at a time.
type download struct {
	rules   *rules
	chain   *ledger.Chain
	store   ledger.Store
	undo    int
	root    shardkit.Hash
	restore *ledger.Restore
}

// begin makes room for the state of a head, unless some of it is there.
func (d *download) begin(h statesync.Head) (resume shardkit.Hash, err error) {
	raw := encodeHead(&h)
	old, ok, err := d.chain.Get(keyDownload)
	if err != nil {
		return resume, err
	}
	if !ok || !bytes.Equal(old, raw) {
		if err := d.forget(raw); err != nil {
			return resume, err
		}
	}
	d.root = h.Root
	d.restore, err = ledger.OpenRestore(d.store, d.rules.chainConfig(d.undo).State, h.Root, uint64(h.Height))
	if err != nil {
		return resume, err
	}
	return d.restore.Next(), nil
}

// forget drops what is known of a download, and begins another one if head is
// not nil.
func (d *download) forget(head []byte) error {
	key := append([]byte(extraPrefix), keyDownload...)
	return d.store.Apply(func(yield func(k, v []byte) bool) {
		if head != nil {
			yield(key, head)
		}
	}, func(yield func(lo, hi []byte) bool) {
		_ = yield(keyPart(nil), keyNoPart) && yield(key, nil)
	})
}

// write stores a verified chunk, and then that it is there.
func (d *download) write(from shardkit.Hash, chunk []byte) error {
	if err := d.restore.Add(from, chunk); err != nil {
		return err
	}
	next, _, err := ledger.VerifyRange(d.root, from, chunk)
	if err != nil {
		return err
	}
	return d.store.Apply(func(yield func(k, v []byte) bool) { yield(keyPart(from[:]), next[:]) }, nil)
}

// gaps finds what is missing.
func (d *download) gaps() (out []statesync.Gap, err error) {
	var at shardkit.Hash
	whole := false // up to the end of the key space
	err = d.store.Scan(keyPart(nil), keyNoPart, func(k, v []byte) error {
		var from, next shardkit.Hash
		if copy(from[:], k[len(keyPart(nil)):]) != len(from) || copy(next[:], v) != len(next) {
			return wire.ErrValue
		}
		if !whole && bytes.Compare(at[:], from[:]) < 0 {
			out = append(out, statesync.Gap{From: at, To: from})
		}
		if whole = whole || next == (shardkit.Hash{}); bytes.Compare(at[:], next[:]) < 0 {
			at = next
		}
		return nil
	})
	if err == nil && !whole {
		out = append(out, statesync.Gap{From: at})
	}
	return out, err
}

// finish opens the state that is there now. If it is not the head's, all of it
// has to be fetched again.
func (d *download) finish(h statesync.Head) error {
	b := ledger.Block{Certificate: h.Cert}
	if err := b.Header.UnmarshalBinary(h.Header); err != nil {
		return err
	}
	if err := d.chain.InitFrom(&b, d.restore, nil); err != nil {
		_ = d.forget(nil) // the first error counts
		return err
	}
	return d.forget(nil)
}

// resumption is where a state sync goes on that a crash cut short: the head
// whose state is there in part, and the committees of its epoch and the next
// one, verified on the way to it; without those (trust.committee nil) the way
// has to be gone again.
type resumption struct {
	head  statesync.Head
	trust trustResult
}

// resume reads from a store without a state how far a former life had got;
// nil if it had not begun.
func (r *rules) resume(c *ledger.Chain) (*resumption, error) {
	raw, ok, err := c.Get(keyDownload)
	if err != nil || !ok {
		return nil, err
	}
	head, err := decodeHead(raw)
	if err != nil {
		return nil, err
	}
	res := &resumption{head: head}
	if run, err := hops(c, head.Epoch-min(head.Epoch, 1), 2); err != nil {
		return nil, err
	} else if len(run) == 2 {
		res.trust = trustResult{epoch: head.Epoch, committee: run[0].Committee, next: run[1].Committee}
	}
	return res, nil
}
