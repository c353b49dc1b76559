package journal

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// folder is what the journal needs of its state folder, so that tests can take
// the power away between any two steps.
type folder interface {
	// create opens an empty file for writing, in place of one of that name.
	create(name string) (file, error)
	// extend opens a file for writing at its end.
	extend(name string) (file, error)
	read(name string) (io.ReadSeekCloser, error)
	rename(from, to string) error
	// sync makes the names durable.
	sync() error
}

// file is what the journal needs of a file that it writes.
type file interface {
	Write(b []byte) (int, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// directory is a folder of the system.
type directory string

func (d directory) create(name string) (file, error) {
	return os.OpenFile(filepath.Join(string(d), name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}

func (d directory) extend(name string) (file, error) {
	return os.OpenFile(filepath.Join(string(d), name), os.O_WRONLY|os.O_APPEND, 0)
}

func (d directory) read(name string) (io.ReadSeekCloser, error) {
	return os.Open(filepath.Join(string(d), name))
}

func (d directory) rename(from, to string) error {
	return os.Rename(filepath.Join(string(d), from), filepath.Join(string(d), to))
}

func (d directory) sync() error { return syncDir(string(d)) }

// makeDir creates dir, durably, unless it is there.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(filepath.Clean(dir)))
}
