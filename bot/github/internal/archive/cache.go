package archive

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Cache keeps unpacked archives as folders dir/OWNER/REPO/SHA. Several
// processes may share dir: each folder has a lock file beside it, held
// exclusively by whoever makes or removes the folder and shared by whoever
// reads it. A folder appears by renaming, so that it is whole or not there.
type Cache struct {
	dir    string
	most   int64
	limits Limits
	now    func() time.Time
	log    *slog.Logger
	mu     sync.Mutex
	making map[string]chan struct{} // by key: closed when this process has made it
}

// Options of a Cache. Zero values mean the defaults.
type Options struct {
	MaxBytes int64 // of all folders that nobody reads; default 2 GiB
	Limits   Limits
	Now      func() time.Time
	Log      *slog.Logger
}

const (
	lockSuffix = ".lock"
	tempDir    = ".tmp"
	// abandoned is how old an unfinished folder is when its maker must be dead.
	abandoned = time.Hour
	// pollLock is how often a lock that another process holds is tried again.
	pollLock = 50 * time.Millisecond
)

// NewCache makes a Cache in dir, which it creates when it needs it.
func NewCache(dir string, o Options) *Cache {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	c := &Cache{dir: dir, most: cmp.Or(o.MaxBytes, 2<<30), limits: o.Limits, now: o.Now, log: o.Log, making: map[string]chan struct{}{}}
	if c.now == nil {
		c.now = time.Now
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	return c
}

// entry is what the lock file says about its folder.
type entry struct {
	Bytes int64 `json:"bytes"`
}

// Folder returns the folder of key, "owner/repo/sha", for which open opens the
// archive when there is none. However many ask at once, in however many
// processes, one opens it. The folder stays as it is until release is called.
func (c *Cache) Folder(ctx context.Context, key string, open func(context.Context) (io.ReadCloser, error)) (dir string, release func(), err error) {
	if !filepath.IsLocal(key) {
		return "", nil, fmt.Errorf("archive: %q is no key", key)
	}
	dir = filepath.Join(c.dir, filepath.FromSlash(key))
	done, err := c.enter(ctx, key)
	if err != nil {
		return "", nil, err
	}
	defer done()
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", nil, err
	}
	if l, err := c.reuse(ctx, dir); err != nil || l != nil {
		return dir, releaser(l), err
	}
	l, err := acquire(ctx, dir+lockSuffix, true)
	if err != nil {
		return "", nil, err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		err = c.make(ctx, dir, l, open)
		if err != nil {
			l.close()
			return "", nil, err
		}
	} else if err != nil {
		l.close()
		return "", nil, err
	}
	if err := l.share(); err != nil {
		l.close()
		return "", nil, err
	}
	c.touch(dir)
	c.evict(dir)
	return dir, releaser(l), nil
}

// enter lets one goroutine of this process at a time handle a key, which saves
// the others from polling the lock.
func (c *Cache) enter(ctx context.Context, key string) (done func(), err error) {
	for {
		c.mu.Lock()
		busy, ok := c.making[key]
		if !ok {
			mine := make(chan struct{})
			c.making[key] = mine
			c.mu.Unlock()
			return func() {
				c.mu.Lock()
				delete(c.making, key)
				c.mu.Unlock()
				close(mine)
			}, nil
		}
		c.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// reuse returns a shared lock on the folder when it is there.
func (c *Cache) reuse(ctx context.Context, dir string) (*fileLock, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, nil //nolint:nilerr // whatever is wrong shows when it is made
	}
	l, err := acquire(ctx, dir+lockSuffix, false)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(dir); err != nil {
		l.close() // it was evicted in between
		return nil, nil
	}
	c.touch(dir)
	return l, nil
}

func releaser(l *fileLock) func() {
	if l == nil {
		return nil
	}
	var once sync.Once
	return func() { once.Do(l.close) }
}

// make downloads and unpacks into a folder of its own and then gives it its
// name. l is held exclusively.
func (c *Cache) make(ctx context.Context, dir string, l *fileLock, open func(context.Context) (io.ReadCloser, error)) error {
	temp := filepath.Join(c.dir, tempDir)
	if err := os.MkdirAll(temp, 0o755); err != nil {
		return err
	}
	c.sweep(temp)
	body, err := open(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	part, err := os.MkdirTemp(temp, "part-")
	if err != nil {
		return err
	}
	defer c.remove(part) // renamed away when all went well
	tree := filepath.Join(part, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	result, err := Unpack(body, tree, c.limits)
	if err != nil {
		return err
	}
	if want := filepath.Base(dir); result.Commit != "" && result.Commit != want {
		return bad("it is of commit %s", clip(result.Commit))
	}
	if len(result.Left) > 0 {
		c.log.WarnContext(ctx, "links that lead out of an archive were left out", "dir", dir, "count", len(result.Left), "first", clip(result.Left[0]))
	}
	if err := l.write(entry{Bytes: result.Bytes + int64(result.Files)*512}); err != nil {
		return err
	}
	// A folder that may not be written to may not be moved either.
	if err := os.Chmod(tree, 0o755); err != nil {
		return err
	}
	if err := os.Rename(tree, dir); err != nil {
		return err
	}
	return os.Chmod(dir, 0o555)
}

// touch marks a folder as used now.
func (c *Cache) touch(dir string) {
	now := c.now()
	if err := os.Chtimes(dir+lockSuffix, now, now); err != nil {
		c.log.Warn("a source folder could not be marked as used", "dir", dir, "error", err)
	}
}

// sweep removes what makers that died have left.
func (c *Cache) sweep(temp string) {
	parts, err := os.ReadDir(temp)
	if err != nil {
		return
	}
	for _, p := range parts {
		if info, err := p.Info(); err == nil && time.Since(info.ModTime()) > abandoned {
			c.remove(filepath.Join(temp, p.Name()))
		}
	}
}

type candidate struct {
	dir   string
	bytes int64
	used  time.Time
}

// evict removes the folders that nobody reads and that were used longest ago,
// until the rest fits. keep is never removed.
func (c *Cache) evict(keep string) {
	locks, err := filepath.Glob(filepath.Join(c.dir, "*", "*", "*"+lockSuffix))
	if err != nil {
		return
	}
	var all []candidate
	var total int64
	for _, path := range locks {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		var e entry
		if data, err := os.ReadFile(path); err != nil || json.Unmarshal(data, &e) != nil {
			continue // being made
		}
		all = append(all, candidate{strings.TrimSuffix(path, lockSuffix), e.Bytes, info.ModTime()})
		total += e.Bytes
	}
	slices.SortFunc(all, func(a, b candidate) int { return a.used.Compare(b.used) })
	for _, old := range all {
		if total <= c.most {
			return
		}
		if old.dir != keep && c.evictOne(old.dir) {
			total -= old.bytes
		}
	}
}

// evictOne removes a folder unless somebody reads it.
func (c *Cache) evictOne(dir string) bool {
	l, err := tryLock(dir+lockSuffix, true)
	if err != nil || l == nil {
		return false
	}
	defer l.close()
	trash := filepath.Join(c.dir, tempDir, fmt.Sprintf("gone-%s-%d", filepath.Base(dir), c.now().UnixNano()))
	if err := os.Chmod(dir, 0o755); err != nil {
		return false
	}
	if err := os.Rename(dir, trash); err != nil {
		return false
	}
	_ = os.Remove(dir + lockSuffix) // whoever waits for it notices and makes a new one
	c.remove(trash)
	return true
}

// remove deletes a tree whose folders are read-only.
func (c *Cache) remove(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o755) //nolint:gosec // The cache made this tree, nobody else writes to it, and RemoveAll says what could not be done.
		}
		return nil
	})
	if err := os.RemoveAll(dir); err != nil {
		c.log.Warn("a source folder could not be removed", "dir", dir, "error", err)
	}
}
