package fbft_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shardkit/shardkit/fbft"
)

const logDir = "wal"

var logKey = []byte("the key")

// logDisk is a LogFS in memory that knows what has been synced, and stops at a
// chosen operation as if the power had gone.
type logDisk struct {
	files map[string]*logDiskFile
	ops   int // operations so far
	dies  int // operation that fails, and all after it; 0: none
}

type logDiskFile struct {
	disk    *logDisk
	data    []byte
	synced  []byte
	named   bool // its name is durable
	removed bool // gone, but perhaps not for good
}

var errLogPower = errors.New("power is gone")

func newLogDisk() *logDisk { return &logDisk{files: map[string]*logDiskFile{}} }

func (d *logDisk) step() error {
	d.ops++
	if d.dies > 0 && d.ops >= d.dies {
		return errLogPower
	}
	return nil
}

func (d *logDisk) find(name string) (*logDiskFile, error) {
	f := d.files[name]
	if f == nil || f.removed {
		return nil, fs.ErrNotExist
	}
	return f, nil
}

func (d *logDisk) List(dir string) ([]string, error) {
	var names []string
	for name, f := range d.files {
		if filepath.Dir(name) == dir && !f.removed {
			names = append(names, filepath.Base(name))
		}
	}
	return names, d.step()
}

func (d *logDisk) Read(name string) ([]byte, error) {
	f, err := d.find(name)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(f.data), d.step()
}

func (d *logDisk) Create(name string) (fbft.LogFile, error) {
	if _, err := d.find(name); err == nil {
		return nil, fs.ErrExist
	}
	if err := d.step(); err != nil {
		return nil, err
	}
	f := &logDiskFile{disk: d}
	d.files[name] = f
	return f, nil
}

func (d *logDisk) Open(name string) (fbft.LogFile, error) {
	f, err := d.find(name)
	if err != nil {
		return nil, err
	}
	return f, d.step()
}

func (d *logDisk) Remove(name string) error {
	f, err := d.find(name)
	if err == nil {
		err = d.step()
	}
	if err == nil {
		f.removed = true
	}
	return err
}

func (d *logDisk) SyncDir(dir string) error {
	if err := d.step(); err != nil {
		return err
	}
	for name, f := range d.files {
		f.named = true
		if f.removed {
			delete(d.files, name)
		}
	}
	return nil
}

func (f *logDiskFile) WriteAt(b []byte, off int64) (int, error) {
	err := f.disk.step()
	if need := int(off) + len(b); need > len(f.data) {
		f.data = append(f.data, make([]byte, need-len(f.data))...)
	}
	return copy(f.data[off:], b), err
}

func (f *logDiskFile) Truncate(size int64) error {
	f.data = f.data[:size]
	return f.disk.step()
}

func (f *logDiskFile) Sync() error {
	if err := f.disk.step(); err != nil {
		return err
	}
	f.synced = bytes.Clone(f.data)
	return nil
}

func (f *logDiskFile) Close() error { return nil }

// crash returns the disk as it may be found after a loss of power: of what was
// not synced, any sectors may be there and others not.
func (d *logDisk) crash(rnd *rand.Rand) *logDisk {
	const sector = 16 // small, to tear often
	after := newLogDisk()
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		f := d.files[name]
		if !f.named && rnd.IntN(2) == 0 || f.removed && rnd.IntN(2) == 0 {
			continue
		}
		size := len(f.synced)
		if more := len(f.data) - size; more != 0 {
			size = min(size, len(f.data)) + rnd.IntN(max(more, -more)+1)
		}
		data := make([]byte, size)
		for at := 0; at < size; at += sector {
			from := f.synced
			if rnd.IntN(2) == 0 {
				from = f.data
			}
			if at < len(from) {
				copy(data[at:min(at+sector, size)], from[at:])
			}
		}
		after.files[name] = &logDiskFile{disk: after, data: data, synced: bytes.Clone(data), named: true}
	}
	return after
}

// only returns the content of the one file there is.
func (d *logDisk) only(t testing.TB) *logDiskFile {
	require.Len(t, d.files, 1)
	for _, f := range d.files {
		return f
	}
	return nil
}

func logRecord(i int) []byte { return bytes.Repeat([]byte{byte(i)}, i%41) }

func openLog(t testing.TB, d *logDisk, must bool) (*fbft.Log, [][]byte) {
	l, records, err := fbft.OpenLog(logDir, logKey, fbft.LogOptions{FS: d, Must: must, Segment: 300})
	require.NoError(t, err)
	return l, records
}

func TestLogRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	opts := fbft.LogOptions{Segment: 100}
	l, records, err := fbft.OpenLog(dir, logKey, opts)
	require.NoError(t, err)
	require.Empty(t, records)
	require.Equal(t, uint64(1), l.FirstSeq())
	require.Equal(t, uint64(0), l.LastSeq())

	var want [][]byte
	for i := range 30 {
		require.NoError(t, l.Append([][]byte{logRecord(i), {}, logRecord(100 + i)}))
		want = append(want, logRecord(i), nil, logRecord(100+i))
	}
	require.NoError(t, l.Append(nil))
	require.Equal(t, uint64(90), l.LastSeq())
	require.NoError(t, l.Close())
	require.Error(t, l.Append([][]byte{{1}}), "closed")

	opts.Must = true
	for range 2 {
		l, records, err = fbft.OpenLog(dir, logKey, opts)
		require.NoError(t, err)
		require.Len(t, records, len(want))
		for i := range want {
			require.True(t, bytes.Equal(want[i], records[i]), i)
		}
		require.Equal(t, uint64(90), l.LastSeq())
		require.NoError(t, l.Close())
	}

	l, _, err = fbft.OpenLog(dir, logKey, opts)
	require.NoError(t, err)
	require.NoError(t, l.Append([][]byte{[]byte("more")}))
	require.Equal(t, uint64(91), l.LastSeq())
	require.NoError(t, l.Prune(0))
	require.Equal(t, uint64(1), l.FirstSeq())
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	second, err := strconv.ParseUint(strings.TrimSuffix(names[1].Name(), ".log"), 16, 64)
	require.NoError(t, err)
	require.NoError(t, l.Prune(second-2))
	require.Equal(t, uint64(1), l.FirstSeq())
	require.NoError(t, l.Prune(second-1))
	require.Equal(t, second, l.FirstSeq())
	require.NoError(t, l.Prune(50))
	first := l.FirstSeq()
	require.LessOrEqual(t, first, uint64(51))
	require.Greater(t, first, uint64(40))
	require.NoError(t, l.Close())

	l, records, err = fbft.OpenLog(dir, logKey, opts)
	require.NoError(t, err)
	require.Equal(t, first, l.FirstSeq())
	require.Len(t, records, int(91-first+1))
	require.Equal(t, "more", string(records[len(records)-1]))
	require.NoError(t, l.Prune(1<<60))
	names, err = os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, names, 1)
	require.NoError(t, l.Close())
}

func TestLogMissingAndForeign(t *testing.T) {
	dir := t.TempDir()
	_, _, err := fbft.OpenLog(dir, logKey, fbft.LogOptions{Must: true})
	require.ErrorIs(t, err, fbft.ErrLogMissing)
	l, _, err := fbft.OpenLog(dir, logKey, fbft.LogOptions{})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, _, err = fbft.OpenLog(dir, []byte("another key"), fbft.LogOptions{})
	require.ErrorIs(t, err, fbft.ErrLogForeign)
	l, _, err = fbft.OpenLog(dir, logKey, fbft.LogOptions{Must: true})
	require.NoError(t, err)
	require.NoError(t, l.Close())
}

// TestLogCutAnywhere cuts a log at every byte: what is left is a prefix, in
// whole appends, and the log goes on from there.
func TestLogCutAnywhere(t *testing.T) {
	d := newLogDisk()
	l, _, err := fbft.OpenLog(logDir, logKey, fbft.LogOptions{FS: d})
	require.NoError(t, err)
	const batches, per = 6, 2
	for i := range batches {
		require.NoError(t, l.Append([][]byte{logRecord(10 + i), logRecord(30 + i)}))
	}
	whole := d.only(t).data
	most := 0
	for cut := range len(whole) + 1 {
		d.only(t).data = bytes.Clone(whole[:cut])
		l, records, err := fbft.OpenLog(logDir, logKey, fbft.LogOptions{FS: d})
		require.NoError(t, err, cut)
		require.Zero(t, len(records)%per)
		require.GreaterOrEqual(t, len(records), most)
		most = len(records)
		for i := range len(records) / per {
			require.Equal(t, logRecord(10+i), records[per*i])
			require.Equal(t, logRecord(30+i), records[per*i+1])
		}
		require.NoError(t, l.Append([][]byte{[]byte("next")}))
		_, records, err = fbft.OpenLog(logDir, logKey, fbft.LogOptions{FS: d})
		require.NoError(t, err, cut)
		require.Equal(t, "next", string(records[most]))
	}
	require.Equal(t, batches*per, most)
}

// TestLogFlipAnywhere flips every bit of a log whose records are all durable:
// it is noticed, or nothing is lost.
func TestLogFlipAnywhere(t *testing.T) {
	d := newLogDisk()
	l, _, err := fbft.OpenLog(logDir, logKey, fbft.LogOptions{FS: d})
	require.NoError(t, err)
	for i := range 3 {
		require.NoError(t, l.Append([][]byte{logRecord(8 + i), logRecord(4)}))
	}
	whole := d.only(t).data
	noticed := 0
	for bit := range 8 * len(whole) {
		data := bytes.Clone(whole)
		data[bit/8] ^= 1 << (bit % 8)
		d.only(t).data = data
		_, records, err := fbft.OpenLog(logDir, logKey, fbft.LogOptions{FS: d, Must: true})
		if err != nil {
			var damage *fbft.LogDamageError
			require.ErrorAs(t, err, &damage)
			require.Contains(t, err.Error(), damage.File)
			noticed++
			continue
		}
		require.Len(t, records, 6, bit)
	}
	require.Equal(t, 8*(len(whole)-24), noticed, "all but the seal")
}

// TestLogDamageInOlderFile: files before the last have no tail that a crash
// could have torn.
func TestLogDamageInOlderFile(t *testing.T) {
	build := func() (*logDisk, []string) {
		d := newLogDisk()
		l, _ := openLog(t, d, false)
		for i := range 30 {
			require.NoError(t, l.Append([][]byte{logRecord(30 + i)}))
		}
		names := slices.Sorted(maps.Keys(d.files))
		require.Greater(t, len(names), 3)
		return d, names
	}
	for name, harm := range map[string]func(d *logDisk, names []string){
		"cut":       func(d *logDisk, n []string) { f := d.files[n[1]]; f.data = f.data[:len(f.data)-1] },
		"longer":    func(d *logDisk, n []string) { f := d.files[n[1]]; f.data = append(f.data, 0) },
		"headless":  func(d *logDisk, n []string) { d.files[n[1]].data = nil },
		"gone":      func(d *logDisk, n []string) { delete(d.files, n[1]) },
		"exchanged": func(d *logDisk, n []string) { d.files[n[1]].data = d.files[n[2]].data },
	} {
		d, names := build()
		harm(d, names)
		_, _, err := fbft.OpenLog(logDir, logKey, fbft.LogOptions{FS: d})
		var damage *fbft.LogDamageError
		require.ErrorAs(t, err, &damage, name)
	}
}

// TestLogCrash loses power at every operation of a life, many times, and
// checks in the next lives that everything acknowledged is there and nothing
// else but, whole, the append that was under way. Some lives end by the death
// of the process alone.
func TestLogCrash(t *testing.T) {
	for dies := 1; ; dies++ {
		survived := true
		for seed := range uint64(100) {
			rnd := rand.New(rand.NewPCG(uint64(dies), seed))
			survived = logLives(t, rnd, dies) && survived
		}
		if survived {
			require.Greater(t, dies, 50)
			return
		}
	}
}

// logLives reports whether the first life reached its end.
func logLives(t *testing.T, rnd *rand.Rand, dies int) (survived bool) {
	var acked, unsure [][]byte // unsure: the batch that was being appended
	pruned := uint64(0)
	disk := newLogDisk()
	disk.dies = dies
	for life := range 5 {
		what := fmt.Sprintf("dies at %d, life %d", dies, life)
		l, records, err := fbft.OpenLog(logDir, logKey, fbft.LogOptions{FS: disk, Segment: 200})
		if err == nil {
			first := int(l.FirstSeq()) - 1
			require.LessOrEqual(t, uint64(first), pruned, what)
			all := slices.Concat(acked, unsure)
			switch len(records) + first {
			case len(acked):
			case len(all):
				acked = all
			default:
				require.Fail(t, "records", "%s: %d of %d and %d", what, len(records)+first, len(acked), len(unsure))
			}
			for i, r := range records {
				require.True(t, bytes.Equal(acked[first+i], r), what)
			}
			unsure = nil
			for i := range 12 {
				batch := [][]byte{logRecord(rnd.IntN(200)), logRecord(i)}
				if err = l.Append(batch); err != nil {
					unsure = batch
					break
				}
				acked = append(acked, batch...)
				require.Equal(t, uint64(len(acked)), l.LastSeq())
				if i%5 == 4 {
					pruned = max(pruned, uint64(len(acked)/2))
					if err = l.Prune(pruned); err != nil {
						break
					}
				}
			}
		}
		if err == nil {
			survived = survived || life == 0
		} else {
			require.ErrorIs(t, err, errLogPower, what)
		}
		if disk.ops, disk.dies = 0, 0; rnd.IntN(2) == 0 {
			disk = disk.crash(rnd)
		} // else only the process ended
		if life < 3 {
			disk.dies = 1 + rnd.IntN(60)
		}
	}
	return survived
}

// TestLogSyncError: after a failed sync the log takes nothing more, and what
// the system may have forgotten to write is written again at the next open.
func TestLogSyncError(t *testing.T) {
	d := newLogDisk()
	l, _ := openLog(t, d, false)
	require.NoError(t, l.Append([][]byte{[]byte("durable")}))
	d.dies = d.ops + 2 // the sync of the next append
	require.ErrorIs(t, l.Append([][]byte{[]byte("unsure")}), errLogPower)
	d.dies = 0
	require.ErrorIs(t, l.Append([][]byte{[]byte("refused")}), errLogPower)

	// The system shows the bytes and believes that they are on the disk.
	f := d.only(t)
	forgotten := bytes.Clone(f.synced)
	_, records := openLog(t, d, true)
	require.Equal(t, [][]byte{[]byte("durable"), []byte("unsure")}, records)
	require.NotEqual(t, forgotten, f.synced)
	_, records = openLog(t, d.crash(rand.New(rand.NewPCG(1, 1))), true)
	require.Len(t, records, 2)
}

// TestLogWritesUnsealedAgain: the frame without a seal is written at open,
// byte for byte, not merely synced.
func TestLogWritesUnsealedAgain(t *testing.T) {
	d := newLogDisk()
	l, _ := openLog(t, d, false)
	require.NoError(t, l.Append([][]byte{[]byte("one")}))
	f := d.only(t)
	unsealed := bytes.Clone(f.data[:len(f.data)-24])
	f.data = bytes.Clone(unsealed)
	writes := &logWrites{logDisk: d}
	_, _, err := fbft.OpenLog(logDir, logKey, fbft.LogOptions{FS: writes})
	require.NoError(t, err)
	require.Equal(t, unsealed[60:], writes.first, "behind the header")
	require.Equal(t, int64(60), writes.at)
}

// logWrites notes the first write.
type logWrites struct {
	*logDisk
	first []byte
	at    int64
}

type logWritesFile struct {
	fbft.LogFile
	w *logWrites
}

func (w *logWrites) Open(name string) (fbft.LogFile, error) {
	f, err := w.logDisk.Open(name)
	return &logWritesFile{f, w}, err
}

func (f *logWritesFile) WriteAt(b []byte, off int64) (int, error) {
	if f.w.first == nil {
		f.w.first, f.w.at = bytes.Clone(b), off
	}
	return f.LogFile.WriteAt(b, off)
}

// TestLogGolden pins the bytes of a file.
func TestLogGolden(t *testing.T) {
	const head = "666266746c6f6731" + // magic
		"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683" + // SHA-256("key")
		"0000000000000005" + "0102030405060708"
	golden, err := os.ReadFile("testdata/log_golden.hex")
	require.NoError(t, err)
	want, err := hex.DecodeString(string(bytes.Join(bytes.Fields(golden), nil)))
	require.NoError(t, err)
	require.Equal(t, head, hex.EncodeToString(want[:56]))

	d := newLogDisk()
	f := &logDiskFile{disk: d, data: bytes.Clone(want[:60])}
	d.files[filepath.Join(logDir, "0000000000000005.log")] = f
	l, records, err := fbft.OpenLog(logDir, []byte("key"), fbft.LogOptions{FS: d})
	require.NoError(t, err)
	require.Empty(t, records)
	require.NoError(t, l.Append([][]byte{[]byte("vote"), nil}))
	require.NoError(t, l.Append([][]byte{[]byte("lock")}))
	require.Equal(t, hex.EncodeToString(want), hex.EncodeToString(f.data))
}

func FuzzOpenLog(f *testing.F) {
	d := newLogDisk()
	l, _, err := fbft.OpenLog(logDir, logKey, fbft.LogOptions{FS: d})
	require.NoError(f, err)
	f.Add(bytes.Clone(d.only(f).data))
	for i := range 3 {
		require.NoError(f, l.Append([][]byte{logRecord(5 * i), logRecord(3)}))
		f.Add(bytes.Clone(d.only(f).data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := newLogDisk()
		name := filepath.Join(logDir, "0000000000000001.log")
		d.files[name] = &logDiskFile{disk: d, data: data}
		l, records, err := fbft.OpenLog(logDir, logKey, fbft.LogOptions{FS: d})
		if err != nil {
			return
		}
		require.Equal(t, uint64(len(records)), l.LastSeq())
		require.NoError(t, l.Append([][]byte{[]byte("next")}))
		_, again, err := fbft.OpenLog(logDir, logKey, fbft.LogOptions{FS: d, Must: true})
		require.NoError(t, err)
		require.Equal(t, append(records, []byte("next")), again)
	})
}

// BenchmarkWAL appends to a log on the disk of the machine, one sync each.
func BenchmarkWAL(b *testing.B) {
	for _, size := range []int{200, 100_000} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			l, _, err := fbft.OpenLog(b.TempDir(), logKey, fbft.LogOptions{})
			require.NoError(b, err)
			record := [][]byte{make([]byte, size)}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := l.Append(record); err != nil {
					b.Fatal(err)
				}
				if err := l.Prune(l.LastSeq() - 1); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			require.NoError(b, l.Close())
		})
	}
}
