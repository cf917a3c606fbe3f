package ledger

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/shardkit/shardkit"
	"github.com/shardkit/shardkit/internal/wire"
)

// ErrSnapshot is what Import says to a file that is not a snapshot, is cut
// short, or does not prove what it holds.
var ErrSnapshot = errors.New("ledger: snapshot refused")

// A snapshot file: the magic, the block as bytes, then the state as chunks of
// View.ReadRange, each as bytes, in order and without gaps. Every chunk proves
// itself against the header's state root, so that a reader needs to trust the
// header only, and can stop at the first chunk that is wrong.
const (
	snapshotMagic = "shardkit snapshot 1\n"
	snapshotChunk = 1 << 20 // bytes asked for per chunk
	maxChunk      = 8 << 20 // largest chunk that is read
)

// Export writes a snapshot of the chain at a height that the state still
// knows. Blocks may be committed meanwhile.
func (c *Chain) Export(w io.Writer, h shardkit.Height) error {
	b, err := c.Block(h)
	if err != nil {
		return err
	}
	view, err := c.viewOf(&b.Header)
	if err != nil {
		return err
	}
	defer view.Close()
	out := bufio.NewWriter(w)
	enc, err := b.AppendBinary(nil)
	if err != nil {
		return err
	}
	if _, err := out.WriteString(snapshotMagic); err != nil {
		return err
	}
	if err := writeBytes(out, enc); err != nil {
		return err
	}
	var from shardkit.Hash
	for done := false; !done; {
		chunk, err := view.ReadRange(from, snapshotChunk)
		if err != nil {
			return err
		}
		if from, done, err = VerifyRange(b.Header.State, from, chunk); err != nil {
			return err
		}
		if err := writeBytes(out, chunk); err != nil {
			return err
		}
	}
	return out.Flush()
}

// Import fills an empty chain from a snapshot. check is asked whether the
// block is one of the chain: it verifies the certificate, or compares the hash
// with a known one; all else is proved by the block. What was read before a
// failure or a crash is not read in vain: importing the same snapshot again
// goes on from there.
func (c *Chain) Import(r io.Reader, check func(*Block) error) error {
	in := bufio.NewReaderSize(r, 1<<16)
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(in, magic); err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if string(magic) != snapshotMagic {
		return fmt.Errorf("%w: no snapshot", ErrSnapshot)
	}
	enc, err := readBytes(in, MaxHeader+MaxBody+MaxCertificate+64)
	if err != nil {
		return err
	}
	b := new(Block)
	if err := b.UnmarshalBinary(enc); err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if err := c.checkFirst(b); err != nil {
		return err
	}
	if err := check(b); err != nil {
		return fmt.Errorf("%w: block %d: %w", ErrSnapshot, b.Header.Height, err)
	}
	c.mu.Lock()
	c.state = nil // from here on the store may hold a part of another
	c.mu.Unlock()
	restore, err := OpenRestore(c.store, c.cfg.State, b.Header.State, uint64(b.Header.Height))
	if err != nil {
		return err
	}
	if err := importChunks(in, b.Header.State, restore); err != nil {
		return err
	}
	return c.InitFrom(b, restore, nil)
}

// importChunks reads all chunks, and adds those that are missing.
func importChunks(in *bufio.Reader, root shardkit.Hash, restore *Restore) error {
	var from shardkit.Hash
	for {
		chunk, err := readBytes(in, maxChunk)
		if err != nil {
			return err
		}
		next, done, err := VerifyRange(root, from, chunk)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrSnapshot, err)
		}
		// Chunks are proven also where an earlier import has been: the file must
		// be whole, not only what is still needed of it.
		if missing := restore.Next(); !restore.Complete() &&
			bytes.Compare(from[:], missing[:]) <= 0 && (done || bytes.Compare(missing[:], next[:]) < 0) {
			if err := restore.Add(from, chunk); err != nil {
				return err
			}
		}
		if done {
			break
		}
		from = next
	}
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", ErrSnapshot, wire.ErrTrailing)
	}
	return nil
}

func writeBytes(w io.Writer, b []byte) error {
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b)))); err != nil {
		return err
	}
	_, err := w.Write(b)
	return err
}

// readBytes reads what writeBytes wrote. It allocates as the bytes arrive, not
// as they are announced.
func readBytes(r io.Reader, max int) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if uint64(n) > uint64(max) {
		return nil, fmt.Errorf("%w: %w: %d bytes, at most %d", ErrSnapshot, wire.ErrLimit, n, max)
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err == nil && len(b) < int(n) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return b, nil
}
