package fbft

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// What OpenLog refuses, beside a *LogDamageError. In each case the replica's
// former votes are not known and it must not vote with the key.
var (
	// ErrLogMissing: there is no log, and the caller said that there is one.
	ErrLogMissing = errors.New("fbft: log is missing")
	// ErrLogForeign: the log belongs to another key.
	ErrLogForeign = errors.New("fbft: log of another key")
)

// LogDamageError reports records that were durable once and cannot be read
// any more.
type LogDamageError struct {
	File   string
	Offset int
	Reason string
}

func (e *LogDamageError) Error() string {
	return fmt.Sprintf("fbft: log damaged: %s at byte %d: %s", e.File, e.Offset, e.Reason)
}

// LogOptions say how a log is kept.
type LogOptions struct {
	Must    bool  // there has to be a log: the key has been used before
	Segment int   // bytes after which a new file is begun. 0: 4 MiB
	FS      LogFS // where the files are. nil: the operating system
}

// Log is a durable list of records, each with a sequence number: the only
// authority on what a replica has voted. It is a directory of files that are
// appended to and, once all their records may go, removed. A Log is not safe
// for concurrent use, and its directory must belong to one process.
//
// A crash can tear only what was being appended, and that nobody was told to
// be durable; OpenLog cuts it off. After each append that became durable the
// log writes a seal, which needs no wait: damage in front of a seal, or of
// anything else that is intact, is therefore known not to be a torn append,
// and OpenLog refuses.
type Log struct {
	dir     string
	fs      LogFS
	limit   int
	print   [32]byte // digest of the fingerprint
	files   []logFile
	current LogFile // the last of files, open
	mark    logMark // of that file
	size    int     // of that file
	next    uint64  // number of the next record
	err     error   // first failure of Append; sticks
	buf     []byte
}

// logFile is one file of a log.
type logFile struct {
	name  string
	first uint64 // number of the first record in it
}

const (
	logSegmentDefault = 4 << 20
	logSuffix         = ".log"
)

// OpenLog opens the log in dir, or begins one, and returns the records in it,
// which are the caller's; the first has the number FirstSeq. fingerprint names
// the key whose votes it holds, say its public bytes.
func OpenLog(dir string, fingerprint []byte, opts LogOptions) (*Log, [][]byte, error) {
	l := &Log{dir: dir, fs: opts.FS, limit: opts.Segment, print: sha256.Sum256(fingerprint), next: 1}
	if l.fs == nil {
		l.fs = osLogFS{}
	}
	if l.limit <= 0 {
		l.limit = logSegmentDefault
	}
	if err := l.list(); err != nil {
		return nil, nil, err
	}
	records, tail, err := l.read()
	if err != nil {
		return nil, nil, err
	}
	switch {
	case len(l.files) > 0:
		err = l.resume(tail)
	case opts.Must:
		return nil, nil, fmt.Errorf("%w: %s", ErrLogMissing, dir)
	default:
		err = l.begin()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("fbft: open log: %w", err)
	}
	return l, records, nil
}

// list finds the files of the log, in order of their first record.
func (l *Log) list() error {
	names, err := l.fs.List(l.dir)
	if err != nil {
		return fmt.Errorf("fbft: open log: %w", err)
	}
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, logSuffix)
		if first, err := strconv.ParseUint(digits, 16, 64); ok && err == nil && name == logName(first) {
			l.files = append(l.files, logFile{name: name, first: first})
		}
	}
	slices.SortFunc(l.files, func(a, b logFile) int { return strings.Compare(a.name, b.name) })
	return nil
}

func logName(first uint64) string { return fmt.Sprintf("%016x%s", first, logSuffix) }

// logTail is the end of the last file: where the next frame goes, and the
// frame before if there is no seal behind it.
type logTail struct {
	size     int
	unsealed []byte
}

// read parses all files. A last file that was torn at its birth leaves
// l.files.
func (l *Log) read() (records [][]byte, tail logTail, err error) {
	for i, f := range l.files {
		data, err := l.fs.Read(filepath.Join(l.dir, f.name))
		if err != nil {
			return nil, tail, fmt.Errorf("fbft: open log: %w", err)
		}
		last := i == len(l.files)-1
		if last && logStillborn(data) {
			// For good: should it come back, the file before would not be the
			// last one, whose tail may be torn.
			if err := l.remove(f); err != nil {
				return nil, tail, fmt.Errorf("fbft: open log: %w", err)
			}
			l.files = l.files[:i]
			return records, tail, nil
		}
		p := logParser{data: data, next: f.first}
		if i > 0 && f.first != l.next {
			return nil, tail, &LogDamageError{f.name, 0, fmt.Sprintf("follows record %d", l.next-1)}
		}
		if err := p.parse(l.print, f.first); err != nil {
			return nil, tail, p.named(f.name, err)
		}
		if !last && p.end() < len(data) {
			return nil, tail, &LogDamageError{f.name, p.end(), "record cannot be read"}
		}
		records = append(records, p.records...)
		l.next, l.mark = p.next, p.mark
		tail = logTail{size: p.offset}
		if !p.sealed {
			tail.unsealed = data[p.latest:p.offset]
		}
	}
	return records, tail, nil
}

// resume opens the last file, for appending behind its first valid bytes.
//
// What is not sealed may never have become durable: the process may have
// ended, or given up after a failed sync, which lets the system forget that
// the bytes still have to be written. They are acted upon from here on, so
// they are written again, over themselves, and synced.
func (l *Log) resume(tail logTail) error {
	f, err := l.fs.Open(filepath.Join(l.dir, l.files[len(l.files)-1].name))
	if err != nil {
		return err
	}
	l.current, l.size = f, tail.size-len(tail.unsealed)
	if err = l.add(tail.unsealed); err == nil {
		err = f.Truncate(int64(tail.size))
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = l.fs.SyncDir(l.dir) // the process may have ended between the file and its name
	}
	if err == nil {
		err = l.seal()
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	return nil
}

// begin starts a new file. It is durable, with its name, before it is used.
func (l *Log) begin() error {
	var mark logMark
	rand.Read(mark[:]) // never fails
	name := logName(l.next)
	f, err := l.fs.Create(filepath.Join(l.dir, name))
	if err != nil {
		return err
	}
	head := (&logHead{l.print, l.next, mark}).appendTo(nil)
	if _, err = f.WriteAt(head, 0); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = l.fs.SyncDir(l.dir)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.files = append(l.files, logFile{name: name, first: l.next})
	l.current, l.mark, l.size = f, mark, len(head)
	return nil
}

// FirstSeq returns the number of the oldest record that is kept, or of the
// next one if none is.
func (l *Log) FirstSeq() uint64 { return l.files[0].first }

// LastSeq returns the number of the newest record, 0 if there never was one.
// A loop that appends to the log takes it as where to count from.
func (l *Log) LastSeq() uint64 { return l.next - 1 }

// Append adds records; they are durable when it returns nil. After an error
// it is not known what is on the disk: the log takes no more, and the replica
// must not vote until it has been opened again.
func (l *Log) Append(records [][]byte) error {
	if l.err != nil {
		return l.err
	}
	if len(records) == 0 {
		return nil
	}
	if err := l.append(records); err != nil {
		l.err = fmt.Errorf("fbft: append to log: %w", err)
	}
	return l.err
}

func (l *Log) append(records [][]byte) error {
	if l.size >= l.limit {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	frame, err := appendLogFrame(l.buf[:0], l.mark, l.next, records)
	if err != nil {
		return err
	}
	l.buf = frame
	if err := l.add(frame); err != nil {
		return err
	}
	if err := l.current.Sync(); err != nil {
		return err
	}
	l.next += uint64(len(records))
	return l.seal()
}

// add writes a frame behind the last one, over its seal.
func (l *Log) add(frame []byte) error {
	n, err := l.current.WriteAt(frame, int64(l.size))
	l.size += n
	return err
}

// seal writes an empty frame, unsynced, where the next one will be: a witness
// that all before it is durable. That the next one overwrites it matters: a
// crash may keep the second of two unsynced frames and lose the first, which
// would look like damage.
func (l *Log) seal() error {
	frame, err := appendLogFrame(nil, l.mark, l.next, nil)
	if err != nil {
		return err
	}
	_, err = l.current.WriteAt(frame, int64(l.size))
	return err
}

// rotate begins a new file. The old one is synced to its last byte first, so
// that nothing in it can be torn.
func (l *Log) rotate() error {
	if err := l.current.Sync(); err != nil {
		return err
	}
	if err := l.current.Close(); err != nil {
		return err
	}
	return l.begin()
}

// Prune removes the files all of whose records have numbers up to seq, except
// the one that is written to, oldest first and each for good before the next,
// so that a crash leaves no gap.
func (l *Log) Prune(seq uint64) error {
	for len(l.files) > 1 && l.files[1].first-1 <= seq {
		if err := l.remove(l.files[0]); err != nil {
			return fmt.Errorf("fbft: prune log: %w", err)
		}
		l.files = l.files[1:]
	}
	return nil
}

// remove removes a file for good.
func (l *Log) remove(f logFile) error {
	if err := l.fs.Remove(filepath.Join(l.dir, f.name)); err != nil {
		return err
	}
	return l.fs.SyncDir(l.dir)
}

// Close closes the file that is written to. Every record appended is durable
// already.
func (l *Log) Close() error {
	if l.err == nil {
		l.err = errors.New("fbft: log is closed")
	}
	return l.current.Close()
}

// logStillborn reports whether a file's creation was cut short: it is no longer
// than a header and has none, so it never held a record.
func logStillborn(data []byte) bool {
	if len(data) > logHeadSize {
		return false
	}
	_, ok := readLogHead(data)
	return !ok
}
