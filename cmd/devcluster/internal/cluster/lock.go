package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// handover is how long to wait for the components of an instance that was
// killed: they end by themselves, etcd as the last.
const handover = 10 * time.Second

// InUseError says that another instance has the data directory.
type InUseError struct {
	Path string // of the lock file
	PID  int    // of the other instance; 0 if it is not known
}

// Error implements error.
func (e *InUseError) Error() string {
	return fmt.Sprintf("the data directory is in use by another devcluster (process %d, lock file %s): stop that one, or choose another --data-dir", e.PID, e.Path)
}

// acquire takes the lock at path and writes this process's id into it. The lock
// belongs to the open file: it ends when the last process that has inherited it
// does, whatever ended it. That is why etcd inherits it: nobody can get at the
// data before etcd has let go.
func acquire(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(handover)
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		pid := readPID(f)
		if alive(pid) || time.Now().After(deadline) {
			f.Close()
			return nil, &InUseError{Path: path, PID: pid}
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func readPID(f *os.File) int {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 0 {
		return 0
	}
	return pid
}

// alive reports whether the process exists, of whichever user.
func alive(pid int) bool {
	if pid == 0 {
		return false
	}
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
