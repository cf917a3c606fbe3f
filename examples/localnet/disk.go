package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/shardkit/shardkit/fbft"
)

// disk is the file system of one life of one node. It writes through to the
// real one and remembers how much of each file was synced, so that pull can do
// what a power cut does: what was written but not synced is gone, and whoever
// still holds a file gets errors.
type disk struct {
	vfs.FS
	mu    sync.Mutex
	gone  bool
	files map[string]*extent // by name
	locks []io.Closer
}

// extent is how much of a file is written and how much of that is safe.
type extent struct{ written, synced int64 }

var errPulled = errors.New("the plug was pulled")

func newDisk() *disk { return &disk{FS: vfs.Default, files: map[string]*extent{}} }

// pull cuts the power.
func (d *disk) pull() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = true
	var errs []error
	for name, e := range d.files {
		if e.synced < e.written {
			if err := os.Truncate(name, e.synced); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	for _, l := range d.locks {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// do runs an operation unless the power is off. The lock makes pull wait for
// it, so that nothing is written after.
func (d *disk) do(f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return errPulled
	}
	return f()
}

func (d *disk) track(name string, size int64) *extent {
	e := &extent{size, size}
	d.files[filepath.Clean(name)] = e
	return e
}

func (d *disk) open(name string, f func() (vfs.File, error), fresh bool) (vfs.File, error) {
	var out vfs.File
	err := d.do(func() error {
		file, err := f()
		if err != nil {
			return err
		}
		var size int64
		if !fresh {
			st, err := file.Stat()
			if err != nil {
				return errors.Join(err, file.Close())
			}
			size = st.Size()
		}
		out = &diskFile{File: file, disk: d, extent: d.track(name, size), at: size}
		return nil
	})
	return out, err
}

// Create implements vfs.FS.
func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.open(name, func() (vfs.File, error) { return d.FS.Create(name, c) }, true)
}

// OpenReadWrite implements vfs.FS.
func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return d.open(name, func() (vfs.File, error) { return d.FS.OpenReadWrite(name, c, o...) }, false)
}

// ReuseForWrite implements vfs.FS. It does not reuse: what an old file holds
// would survive a power cut in place of what was written over it.
func (d *disk) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.Remove(oldname); err != nil {
		return nil, err
	}
	return d.Create(newname, c)
}

// Link implements vfs.FS.
func (d *disk) Link(oldname, newname string) error {
	return d.do(func() error { return d.FS.Link(oldname, newname) })
}

// Remove implements vfs.FS.
func (d *disk) Remove(name string) error {
	return d.do(func() error {
		delete(d.files, filepath.Clean(name))
		return d.FS.Remove(name)
	})
}

// Rename implements vfs.FS.
func (d *disk) Rename(oldname, newname string) error {
	return d.do(func() error {
		if e := d.files[filepath.Clean(oldname)]; e != nil {
			delete(d.files, filepath.Clean(oldname))
			d.files[filepath.Clean(newname)] = e
		}
		return d.FS.Rename(oldname, newname)
	})
}

// Lock implements vfs.FS. The lock ends with the power.
func (d *disk) Lock(name string) (out io.Closer, err error) {
	err = d.do(func() error {
		c, err := d.FS.Lock(name)
		if err != nil {
			return err
		}
		once := &onceCloser{c: c}
		d.locks = append(d.locks, once)
		out = once
		return nil
	})
	return out, err
}

// onceCloser may be closed by its owner and by a power cut.
type onceCloser struct {
	once sync.Once
	c    io.Closer
	err  error
}

func (o *onceCloser) Close() error {
	o.once.Do(func() { o.err = o.c.Close() })
	return o.err
}

// Unwrap implements vfs.FS.
func (d *disk) Unwrap() vfs.FS { return d.FS }

// diskFile is a file that is written.
type diskFile struct {
	vfs.File
	disk   *disk
	extent *extent
	at     int64
}

func (f *diskFile) Write(p []byte) (n int, err error) {
	err = f.disk.do(func() error {
		n, err = f.File.Write(p)
		f.at += int64(n)
		f.extent.written = max(f.extent.written, f.at)
		return err
	})
	return n, err
}

func (f *diskFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.disk.do(func() error {
		n, err = f.File.WriteAt(p, off)
		f.extent.written = max(f.extent.written, off+int64(n))
		return err
	})
	return n, err
}

func (f *diskFile) sync(do func() error) error {
	f.disk.mu.Lock()
	if f.disk.gone {
		f.disk.mu.Unlock()
		return errPulled
	}
	upto := f.extent.written
	f.disk.mu.Unlock()
	if err := do(); err != nil {
		return err
	}
	return f.disk.do(func() error {
		f.extent.synced = max(f.extent.synced, upto)
		return nil
	})
}

func (f *diskFile) Sync() error     { return f.sync(f.File.Sync) }
func (f *diskFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *diskFile) SyncTo(int64) (bool, error) {
	return true, f.sync(f.File.SyncData)
}

// Preallocate does nothing: a file is as long as what was written to it.
func (f *diskFile) Preallocate(int64, int64) error { return nil }

// logDisk is the same for the vote log.
type logDisk struct{ d *disk }

// logFile is a file of the log.
type logFile struct {
	f      *os.File
	disk   *disk
	extent *extent
}

func (l logDisk) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (l logDisk) Read(name string) ([]byte, error) { return os.ReadFile(name) }

func (l logDisk) open(name string, flag int) (fbft.LogFile, error) {
	var out fbft.LogFile
	err := l.d.do(func() error {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		f, err := os.OpenFile(name, flag, 0o644)
		if err != nil {
			return err
		}
		st, err := f.Stat()
		if err != nil {
			return errors.Join(err, f.Close())
		}
		out = &logFile{f, l.d, l.d.track(name, st.Size())}
		return nil
	})
	return out, err
}

func (l logDisk) Create(name string) (fbft.LogFile, error) {
	return l.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (l logDisk) Open(name string) (fbft.LogFile, error) { return l.open(name, os.O_RDWR) }

func (l logDisk) Remove(name string) error { return l.d.Remove(name) }

func (l logDisk) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (f *logFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.disk.do(func() error {
		n, err = f.f.WriteAt(p, off)
		f.extent.written = max(f.extent.written, off+int64(n))
		return err
	})
	return n, err
}

func (f *logFile) Truncate(size int64) error {
	return f.disk.do(func() error {
		f.extent.written, f.extent.synced = min(f.extent.written, size), min(f.extent.synced, size)
		return f.f.Truncate(size)
	})
}

func (f *logFile) Sync() error {
	g := diskFile{disk: f.disk, extent: f.extent}
	return g.sync(f.f.Sync)
}

func (f *logFile) Close() error { return f.f.Close() }
