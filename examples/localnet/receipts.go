package main

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/examples/chain"
)

// receipts is the wallet's own record of the transfers it has seen through. A
// later run on the same data checks that the chain still has every one of them.
type receipts struct {
	name string
	f    *os.File
	err  error
}

const receiptSize = 32 + 4 + 4

func openReceipts(dir string) (*receipts, error) {
	name := filepath.Join(dir, "receipts")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	return &receipts{name: name, f: f}, err
}

// add records a transfer. Each record is one write, so that a process that is
// killed leaves whole ones.
func (r *receipts) add(t chain.Transfer) {
	b := append(make([]byte, 0, receiptSize), t.ID[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(t.Source))
	b = binary.BigEndian.AppendUint32(b, uint32(t.Dest))
	if _, err := r.f.Write(b); err != nil {
		r.err = errors.Join(r.err, err)
	}
}

func (r *receipts) close() { r.err = errors.Join(r.err, r.f.Close()) }

// all reads every record, those of earlier runs too.
func (r *receipts) all() (out []chain.Transfer, err error) {
	if r.err != nil {
		return nil, r.err
	}
	b, err := os.ReadFile(r.name)
	for ; len(b) >= receiptSize; b = b[receiptSize:] {
		t := chain.Transfer{
			Source: shardkit.ShardID(binary.BigEndian.Uint32(b[32:])),
			Dest:   shardkit.ShardID(binary.BigEndian.Uint32(b[36:])),
		}
		copy(t.ID[:], b)
		out = append(out, t)
	}
	return out, err
}
