package simnet

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/shardkit/shardkit"
)

// The kinds of trace entries.
const (
	trBoot uint8 = iota
	trCrash
	trSend
	trLost
	trDeliver
	trRefuse
	trTick
	trDone
	trDurable
	trDo
)

var traceNames = [...]string{"boot", "crash", "send", "lost", "deliver", "refuse", "tick", "done", "durable", "do"}

// tracer digests every event and, if asked to, writes it as a line of JSON.
type tracer struct {
	sum hash.Hash
	buf []byte // not yet in sum
	out *bufio.Writer
	err error // first error of out
}

func newTracer(w io.Writer) *tracer {
	t := &tracer{sum: sha256.New(), buf: make([]byte, 0, 4096)}
	if w != nil {
		t.out = bufio.NewWriterSize(w, 1<<16)
	}
	return t
}

// add digests one entry: its kind, time, node, peer, a number whose meaning
// depends on the kind, and data.
func (t *tracer) add(kind uint8, at time.Duration, node, peer int32, num uint64, data []byte) {
	if len(t.buf)+29 > cap(t.buf) {
		t.flush()
	}
	b := append(t.buf, kind)
	b = binary.LittleEndian.AppendUint64(b, uint64(at))
	b = binary.LittleEndian.AppendUint32(b, uint32(node))
	b = binary.LittleEndian.AppendUint32(b, uint32(peer))
	b = binary.LittleEndian.AppendUint64(b, num)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	t.buf = b
	if len(data) > cap(t.buf)-len(t.buf) {
		t.flush()
		t.sum.Write(data)
		return
	}
	t.buf = append(t.buf, data...)
}

func (t *tracer) flush() {
	t.sum.Write(t.buf)
	t.buf = t.buf[:0]
}

func (t *tracer) digest() (h shardkit.Hash) {
	t.flush()
	t.sum.Sum(h[:0])
	return h
}

// line writes an entry as JSON. Only known names and hex go into strings,
// except what, which is quoted.
func (t *tracer) line(kind uint8, at time.Duration, node, peer string, class uint8, size int, what string) {
	if t.out == nil || t.err != nil {
		return
	}
	w := t.out
	fmt.Fprintf(w, `{"t":%d,"e":%q,"node":%q`, int64(at), traceNames[kind], node)
	if peer != "" {
		fmt.Fprintf(w, `,"peer":%q`, peer)
	}
	if kind == trSend || kind == trLost || kind == trDeliver {
		fmt.Fprintf(w, `,"class":%d`, class)
	}
	if size > 0 {
		fmt.Fprintf(w, `,"n":%d`, size)
	}
	if what != "" {
		fmt.Fprintf(w, `,"what":%s`, jsonString(what))
	}
	if _, err := w.WriteString("}\n"); err != nil {
		t.err = err
	}
}
