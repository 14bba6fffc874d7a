package archive

import (
	"context"
	"encoding/json"
	"os"
	"time"
)

// fileLock is a lock on a file that ends with the process, however that ends.
type fileLock struct{ f *os.File }

// acquire waits for a lock on the file at path.
func acquire(ctx context.Context, path string, exclusive bool) (*fileLock, error) {
	for {
		l, err := tryLock(path, exclusive)
		if err != nil || l != nil {
			return l, err
		}
		timer := time.NewTimer(pollLock)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
	}
}

// tryLock returns nil when another holds the lock. The file may be removed
// between being opened and being locked; a lock on such a file guards nothing.
func tryLock(path string, exclusive bool) (*fileLock, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		ok, err := flock(f, exclusive)
		if err != nil || !ok {
			_ = f.Close()
			return nil, err
		}
		mine, err := f.Stat()
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		if now, err := os.Stat(path); err == nil && os.SameFile(mine, now) {
			return &fileLock{f}, nil
		}
		_ = f.Close()
	}
}

// share makes an exclusive lock a shared one.
func (l *fileLock) share() error {
	_, err := flock(l.f, false)
	return err
}

// write replaces what the file says.
func (l *fileLock) write(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err = l.f.WriteAt(data, 0)
	return err
}

// close gives the lock back.
func (l *fileLock) close() { _ = l.f.Close() }
