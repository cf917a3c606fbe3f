package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/examples/chain"
	"github.com/shardkit/shardkit/internal/wire"
	"github.com/shardkit/shardkit/ledger"
)

// journal is what a wallet has to remember over its own death: every transfer
// that it has signed, before it sends it anywhere, and every receipt. What it
// signed and has no receipt for it sends again, the same bytes: a new transfer
// with the same nonce could replace one that is on its way.
type journal struct {
	f   *os.File
	err error

	signed []*ledger.Transaction // of earlier runs, in order
	done   map[shardkit.Hash]bool
}

const (
	journalSigned uint8 = iota + 1
	journalDone
)

// openJournal reads what earlier runs wrote. A record that was being written
// when the process died is cut off.
func openJournal(dir string) (*journal, error) {
	name := filepath.Join(dir, "wallet")
	b, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	j := &journal{done: map[shardkit.Hash]bool{}}
	whole := 0
	for r := wire.NewReader(b); r.Len() > 0; whole = len(b) - r.Len() {
		rec := r.Bytes(ledger.MaxTransaction + 1)
		if r.Err() != nil {
			break
		}
		if err := j.take(rec); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if j.f, err = os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644); err != nil {
		return nil, err
	}
	if err := j.f.Truncate(int64(whole)); err != nil {
		return nil, err
	}
	_, err = j.f.Seek(int64(whole), 0)
	return j, err
}

func (j *journal) take(rec []byte) error {
	r := wire.NewReader(rec)
	switch r.U8() {
	case journalSigned:
		tx := new(ledger.Transaction)
		if err := tx.UnmarshalBinary(r.Rest()); err != nil {
			return err
		}
		j.signed = append(j.signed, tx)
		return nil
	case journalDone:
		j.done[r.Array32()] = true
		return r.Close()
	}
	return fmt.Errorf("%w: journal record", wire.ErrValue)
}

// sign records transfers that are about to be sent for the first time.
func (j *journal) sign(list []*transfer) {
	var b []byte
	for _, t := range list {
		rec, err := t.tx.AppendBinary([]byte{journalSigned})
		j.err = errors.Join(j.err, err)
		b = wire.AppendBytes(b, rec)
	}
	j.write(b)
}

// receive records a receipt.
func (j *journal) receive(id shardkit.Hash) {
	j.write(wire.AppendBytes(nil, append([]byte{journalDone}, id[:]...)))
}

func (j *journal) write(b []byte) {
	if len(b) > 0 {
		_, err := j.f.Write(b)
		j.err = errors.Join(j.err, err)
	}
}

func (j *journal) close() error { return errors.Join(j.err, j.f.Close()) }

// settled lists the transfers of earlier runs that there are receipts for: the
// chain must still have every one of them.
func (j *journal) settled(shards uint32) (out []chain.Transfer) {
	for _, tx := range j.signed {
		if j.done[tx.ID()] {
			out = append(out, chain.Transfer{ID: tx.ID(), Source: tx.Shard, Dest: tx.To.Shard(shards)})
		}
	}
	return out
}
