package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// dataDir is the folder where one Berth process keeps its files.
type dataDir struct {
	path string // absolute
	lock *os.File
}

// openDataDir makes the folder if need be and holds it until close: two
// processes would fetch into, and start a Redis on, the same files.
func openDataDir(path string) (*dataDir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("server.data_dir: %w", err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("server.data_dir: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(abs, "lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the path is the operator's
	if err != nil {
		return nil, fmt.Errorf("server.data_dir: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close() // nothing was written
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another berth uses the data directory %s; stop it, or set server.data_dir to another folder", abs)
		}
		return nil, fmt.Errorf("server.data_dir: lock: %w", err)
	}
	return &dataDir{path: abs, lock: lock}, nil
}

// join is a path in the folder.
func (d *dataDir) join(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

// close lets another process have the folder.
func (d *dataDir) close() { _ = d.lock.Close() } // nothing was written
