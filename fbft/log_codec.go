package fbft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/shardkit/shardkit/internal/wire"
)

// The layout of a file of a log, integers big-endian:
//
//	header: magic (8) | digest of the fingerprint (32) | first sequence number (8) | mark (8) | CRC (4)
//	frame:  mark (8) | length of the payload (4) | first sequence number (8) | CRC (4) | payload
//
// A frame is what one Append wrote: its payload is the records, each behind
// its length; the payload of a seal is empty. The CRC (Castagnoli) covers the
// rest of the header, or of the frame. The mark is drawn at random for each
// file and begins each frame, so that no record, whoever chose its bytes, can
// pass for a frame.
const (
	logMagic     = "fbftlog1"
	logHeadSize  = len(logMagic) + 32 + 8 + 8 + 4
	logFrameSize = 8 + 4 + 8 + 4 // without the payload
)

// logMark begins the frames of one file.
type logMark [8]byte

var logCRC = crc32.MakeTable(crc32.Castagnoli)

// logHead is the header of a file.
type logHead struct {
	print [32]byte
	first uint64
	mark  logMark
}

func (h *logHead) appendTo(b []byte) []byte {
	start := len(b)
	b = append(b, logMagic...)
	b = append(b, h.print[:]...)
	b = wire.AppendU64(b, h.first)
	b = append(b, h.mark[:]...)
	return wire.AppendU32(b, crc32.Checksum(b[start:], logCRC))
}

// readLogHead reads the header that data begins with.
func readLogHead(data []byte) (h logHead, ok bool) {
	if len(data) < logHeadSize {
		return h, false
	}
	r := wire.NewReader(data[len(logMagic):logHeadSize])
	h.print, h.first = r.Array32(), r.U64()
	copy(h.mark[:], r.Fixed(len(h.mark)))
	return h, bytes.Equal(data[:logHeadSize], h.appendTo(nil))
}

// appendLogFrame appends a frame whose first record has number seq.
func appendLogFrame(b []byte, mark logMark, seq uint64, records [][]byte) ([]byte, error) {
	size := 0
	for _, r := range records {
		size += 4 + len(r)
	}
	if size > math.MaxInt32 {
		return nil, fmt.Errorf("%d bytes of records at once", size)
	}
	start := len(b)
	b = append(b, mark[:]...)
	b = wire.AppendU32(b, uint32(size))
	b = wire.AppendU64(b, seq)
	b = wire.AppendU32(b, 0) // the CRC's place
	for _, r := range records {
		b = wire.AppendBytes(b, r)
	}
	frame := b[start:]
	binary.BigEndian.PutUint32(frame[logFrameSize-4:], logFrameCRC(frame))
	return b, nil
}

// logFrameCRC is the CRC of a frame without the CRC's own place.
func logFrameCRC(frame []byte) uint32 {
	crc := crc32.Checksum(frame[:logFrameSize-4], logCRC)
	return crc32.Update(crc, logCRC, frame[logFrameSize:])
}

// logParser reads one file.
type logParser struct {
	data    []byte
	mark    logMark
	offset  int      // behind the frames read
	latest  int      // where the last of them begins
	sealed  bool     // a seal follows them
	next    uint64   // number of the next record
	records [][]byte // alias data
}

// end returns where the file should end.
func (p *logParser) end() int {
	if p.sealed {
		return p.offset + logFrameSize
	}
	return p.offset
}

// parse reads the header and all frames up to the first that cannot be read.
// It fails if an intact frame follows: the one that cannot be read was
// durable, it is not a torn append.
func (p *logParser) parse(print [32]byte, first uint64) error {
	if err := p.head(print, first); err != nil {
		return err
	}
	for p.frame() {
	}
	seq, payload, ok := p.intact(p.offset)
	p.sealed = ok && seq == p.next && len(payload) == 0
	// A torn append has nothing behind it. Every byte is a candidate, since the
	// damaged length in front cannot be trusted; the mark, unknown to who chose
	// the records, makes the search safe.
	for at := p.end(); at < len(p.data); at++ {
		n := bytes.Index(p.data[at:], p.mark[:])
		if n < 0 {
			break
		}
		at += n
		if _, _, ok := p.intact(at); ok {
			return fmt.Errorf("record cannot be read, but byte %d is intact", at)
		}
	}
	return nil
}

func (p *logParser) head(print [32]byte, first uint64) error {
	h, ok := readLogHead(p.data)
	switch {
	case !ok || h.first != first:
		return errors.New("header cannot be read")
	case h.print != print:
		return ErrLogForeign
	}
	p.mark = h.mark
	p.offset, p.latest = logHeadSize, logHeadSize
	return nil
}

// intact returns number and payload of the frame at byte at, if there is one.
func (p *logParser) intact(at int) (seq uint64, payload []byte, ok bool) {
	b := p.data[at:]
	if len(b) < logFrameSize || logMark(b) != p.mark {
		return 0, nil, false
	}
	size := uint64(binary.BigEndian.Uint32(b[8:]))
	// compared without a sum, which a damaged length could make wrap
	if size > uint64(len(b)-logFrameSize) {
		return 0, nil, false
	}
	b = b[:logFrameSize+int(size)]
	if binary.BigEndian.Uint32(b[logFrameSize-4:]) != logFrameCRC(b) {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(b[12:]), b[logFrameSize:], true
}

// frame reads the next frame; false if it is not intact or out of order, and
// then nothing has changed.
func (p *logParser) frame() bool {
	seq, payload, ok := p.intact(p.offset)
	if !ok || seq != p.next {
		return false
	}
	var records [][]byte
	r := wire.NewReader(payload)
	for r.Len() > 0 {
		if rec := r.Bytes(math.MaxInt32); r.Err() == nil {
			records = append(records, rec)
		}
	}
	// A frame of no records is a seal, which parse looks at by itself.
	if r.Close() != nil || len(records) == 0 {
		return false
	}
	p.records = append(p.records, records...)
	p.next += uint64(len(records))
	p.latest = p.offset
	p.offset += logFrameSize + len(payload)
	return true
}

// named turns the parser's error into the caller's.
func (p *logParser) named(file string, err error) error {
	if err == ErrLogForeign {
		return fmt.Errorf("%w: %s", err, file)
	}
	return &LogDamageError{File: file, Offset: p.offset, Reason: err.Error()}
}
