package pebblestore

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fuse stands between pebble and the file system. The first operation that
// should change the database's directory and fails blows it: the error
// sticks, pebble is told that the operation succeeded, and so it is with all
// changes after it, of which none reaches the disk any more.
//
// That lies to pebble, because the truth makes it panic in places where no
// recover is possible (a directory that cannot be synced, a log that cannot be
// started). It is safe because nothing is said to the caller: Apply looks at
// the sticky error before it acknowledges anything. And because the disk is
// left alone, what it holds is a state in which a crash could have left it; in
// particular no log is removed on account of a table that was never written.
type fuse struct {
	vfs.FS
	dir    string // of the database; what lies elsewhere (a backup) is passed through
	sticky *sticky
}

// errBlown is what a file that is only pretended says to a reader.
var errBlown = errors.New("pebblestore: writing stopped, this file was not written")

// ours reports whether name lies in the directory of the database.
func (f *fuse) ours(name string) bool {
	for name != f.dir {
		up := f.PathDir(name)
		if len(up) >= len(name) {
			return false
		}
		name = up
	}
	return true
}

// change runs op, unless the fuse is blown, and blows it if op fails.
func (f *fuse) change(name string, op func() error) error {
	if !f.ours(name) {
		return op()
	}
	if f.sticky.load() == nil {
		if err := op(); err != nil {
			f.sticky.set(err)
		}
	}
	return nil
}

// file is change for operations that open a file for writing.
func (f *fuse) file(name string, op func() (vfs.File, error)) (vfs.File, error) {
	if !f.ours(name) {
		return op()
	}
	var file vfs.File
	_ = f.change(name, func() (err error) { // says nil for a file that is ours
		file, err = op()
		return err
	})
	if f.sticky.load() != nil && file == nil {
		return blankFile{}, nil
	}
	return &fuseFile{file, f, name}, nil
}

// Create implements vfs.FS, as do those that follow.
func (f *fuse) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file(name, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

func (f *fuse) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.file(name, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, opts...) })
}

func (f *fuse) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file(to, func() (vfs.File, error) { return f.FS.ReuseForWrite(from, to, c) })
}

// Open opens for reading. Once the fuse is blown, files may be missing that
// pebble believes were written; it would try to compact them again and again
// as fast as it can, so the answer takes a while.
func (f *fuse) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.Open(name, opts...)
	if err != nil && f.ours(name) && f.sticky.load() != nil {
		time.Sleep(10 * time.Millisecond)
	}
	return file, err
}

// OpenDir opens a directory, which pebble does to sync it: that is a change.
func (f *fuse) OpenDir(name string) (vfs.File, error) {
	dir, err := f.FS.OpenDir(name)
	if err != nil || !f.ours(name) {
		return dir, err
	}
	return &fuseFile{dir, f, name}, nil
}

func (f *fuse) Link(from, to string) error {
	return f.change(to, func() error { return f.FS.Link(from, to) })
}

func (f *fuse) Rename(from, to string) error {
	return f.change(to, func() error { return f.FS.Rename(from, to) })
}

func (f *fuse) MkdirAll(name string, perm os.FileMode) error {
	return f.change(name, func() error { return f.FS.MkdirAll(name, perm) })
}

// Remove does not blow the fuse: a file too many is no danger, and pebble
// tries again.
func (f *fuse) Remove(name string) error {
	if f.ours(name) && f.sticky.load() != nil {
		return nil
	}
	return f.FS.Remove(name)
}

// RemoveAll is like Remove.
func (f *fuse) RemoveAll(name string) error {
	if f.ours(name) && f.sticky.load() != nil {
		return nil
	}
	return f.FS.RemoveAll(name)
}

// Unwrap implements vfs.FS.
func (f *fuse) Unwrap() vfs.FS { return f.FS }

// fuseFile is a file behind the fuse. Reading goes to the disk.
type fuseFile struct {
	vfs.File
	fuse *fuse
	name string
}

// Write claims that everything was written, as pebble expects; a short write
// is a failure.
func (f *fuseFile) Write(p []byte) (int, error) {
	return len(p), f.fuse.change(f.name, func() error {
		n, err := f.File.Write(p)
		if err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
		return err
	})
}

func (f *fuseFile) WriteAt(p []byte, off int64) (int, error) {
	return len(p), f.fuse.change(f.name, func() error {
		n, err := f.File.WriteAt(p, off)
		if err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
		return err
	})
}

func (f *fuseFile) Preallocate(off, n int64) error {
	return f.fuse.change(f.name, func() error { return f.File.Preallocate(off, n) })
}

func (f *fuseFile) Sync() error { return f.fuse.change(f.name, f.File.Sync) }

func (f *fuseFile) SyncData() error { return f.fuse.change(f.name, f.File.SyncData) }

// SyncTo says how far it got only if it did: after the fuse has blown pebble
// may believe more, and nobody is told.
func (f *fuseFile) SyncTo(n int64) (full bool, err error) {
	err = f.fuse.change(f.name, func() (err error) {
		full, err = f.File.SyncTo(n)
		return err
	})
	return full, err
}

// Stat is asked while a log is started, where an error would be a panic.
func (f *fuseFile) Stat() (vfs.FileInfo, error) {
	info, err := f.File.Stat()
	if err != nil {
		f.fuse.sticky.set(err)
		return blankInfo{}, nil
	}
	return info, nil
}

// Close closes the file even when the fuse is blown: it gives back the
// descriptor.
func (f *fuseFile) Close() error {
	if err := f.File.Close(); err != nil {
		f.fuse.sticky.set(err)
	}
	return nil
}

// blankFile pretends to be a file that is written.
type blankFile struct{}

func (blankFile) Close() error                             { return nil }
func (blankFile) Read([]byte) (int, error)                 { return 0, errBlown }
func (blankFile) ReadAt([]byte, int64) (int, error)        { return 0, errBlown }
func (blankFile) Write(p []byte) (int, error)              { return len(p), nil }
func (blankFile) WriteAt(p []byte, off int64) (int, error) { return len(p), nil }
func (blankFile) Preallocate(off, n int64) error           { return nil }
func (blankFile) Stat() (vfs.FileInfo, error)              { return blankInfo{}, nil }
func (blankFile) Sync() error                              { return nil }
func (blankFile) SyncTo(int64) (bool, error)               { return true, nil }
func (blankFile) SyncData() error                          { return nil }
func (blankFile) Prefetch(off, n int64) error              { return nil }
func (blankFile) Fd() uintptr                              { return vfs.InvalidFd }

// blankInfo describes a blankFile.
type blankInfo struct{}

func (blankInfo) Name() string           { return "" }
func (blankInfo) Size() int64            { return 0 }
func (blankInfo) Mode() os.FileMode      { return 0 }
func (blankInfo) ModTime() time.Time     { return time.Time{} }
func (blankInfo) IsDir() bool            { return false }
func (blankInfo) Sys() any               { return nil }
func (blankInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
