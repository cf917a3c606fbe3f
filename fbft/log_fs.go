package fbft

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// LogFS is the little of a file system that a Log needs. The default is the
// operating system's; a test may hand in one that loses what was not synced.
type LogFS interface {
	// List returns the names of the files in dir, none if there is no dir.
	List(dir string) ([]string, error)
	// Read returns the content of a file.
	Read(name string) ([]byte, error)
	// Create makes a new file, and the directories above it if they lack, and
	// opens it for writing. It fails if there is such a file.
	Create(name string) (LogFile, error)
	// Open opens a file for writing.
	Open(name string) (LogFile, error)
	// Remove removes a file.
	Remove(name string) error
	// SyncDir makes durable which files there are in dir.
	SyncDir(dir string) error
}

// LogFile is an open file.
type LogFile interface {
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error // makes content and length durable
}

// osLogFS is the operating system's LogFS.
type osLogFS struct{}

func (osLogFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (osLogFS) Read(name string) ([]byte, error) { return os.ReadFile(name) }

func (f osLogFS) Create(name string) (LogFile, error) {
	if err := f.makeDir(filepath.Dir(name)); err != nil {
		return nil, err
	}
	return f.open(name, os.O_CREATE|os.O_EXCL)
}

// makeDir makes dir and those above it, each with a durable name. A process
// before may have ended between making a directory and its name being durable,
// so that is seen to also if there is one.
func (f osLogFS) makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err = f.makeDir(filepath.Dir(dir)); err == nil {
			err = os.Mkdir(dir, 0o700)
		}
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		err = f.SyncDir(filepath.Dir(dir))
	}
	return err
}

func (f osLogFS) Open(name string) (LogFile, error) { return f.open(name, 0) }

func (osLogFS) open(name string, flag int) (LogFile, error) {
	file, err := os.OpenFile(name, os.O_WRONLY|flag, 0o600)
	if err != nil {
		return nil, err
	}
	return file, nil
}

func (osLogFS) Remove(name string) error { return os.Remove(name) }

func (osLogFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
