package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// source counts how often its archive is opened.
type source struct {
	data   []byte
	opened atomic.Int32
	err    error
}

func (s *source) open(context.Context) (io.ReadCloser, error) {
	s.opened.Add(1)
	return io.NopCloser(bytes.NewReader(s.data)), s.err
}

func read(t *testing.T, dir string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "a"))
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

// testDir is a folder whose read-only contents can be removed after.
func testDir(t *testing.T) string {
	dir := t.TempDir()
	t.Cleanup(func() { NewCache(dir, Options{}).remove(dir) })
	return dir
}

func TestManyAskersOfTwoProcessesShareOneDownload(t *testing.T) {
	dir := testDir(t)
	caches := []*Cache{NewCache(dir, Options{}), NewCache(dir, Options{})}
	s := &source{data: targz(t, file("top/a", "1"))}
	var group sync.WaitGroup
	for i := range 40 {
		group.Go(func() {
			got, release, err := caches[i%2].Folder(t.Context(), "acme/shop/abc", s.open)
			if err != nil {
				t.Error(err)
				return
			}
			defer release()
			if read(t, got) != "1" {
				t.Error("wrong content")
			}
		})
	}
	group.Wait()
	if n := s.opened.Load(); n != 1 {
		t.Errorf("the archive was opened %d times", n)
	}
}

func TestAFailedDownloadLeavesNothingAndIsTriedAgain(t *testing.T) {
	dir := testDir(t)
	c := NewCache(dir, Options{})
	broken := &source{err: errors.New("gone")}
	if _, _, err := c.Folder(t.Context(), "acme/shop/abc", broken.open); !errors.Is(err, broken.err) {
		t.Fatalf("err = %v", err)
	}
	half := targz(t, file("top/a", strings.Repeat("x", 5000)))
	cut := &source{data: half[:len(half)-20]}
	if _, _, err := c.Folder(t.Context(), "acme/shop/abc", cut.open); err == nil {
		t.Fatal("half an archive is taken for a whole one")
	}
	if left, _ := os.ReadDir(filepath.Join(dir, tempDir)); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	s := &source{data: targz(t, file("top/a", "1"))}
	got, release, err := c.Folder(t.Context(), "acme/shop/abc", s.open)
	if err != nil || read(t, got) != "1" {
		t.Fatal(err)
	}
	release()
	release() // twice is once
}

func TestAnArchiveOfAnotherCommitIsRefused(t *testing.T) {
	c := NewCache(testDir(t), Options{})
	s := &source{data: targz(t, tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "def"}}, file("top/a", "1"))}
	if _, _, err := c.Folder(t.Context(), "acme/shop/abc", s.open); err == nil || !strings.Contains(err.Error(), "def") {
		t.Errorf("err = %v", err)
	}
}

func TestTheLongestUnusedFolderGoesUnlessItIsRead(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := NewCache(testDir(t), Options{MaxBytes: 2500, Now: func() time.Time { return now }})
	s := &source{data: targz(t, file("top/a", strings.Repeat("x", 500)))} // 1,012 bytes with its overhead
	dirs, releases := map[string]string{}, map[string]func(){}
	for _, sha := range []string{"one", "two", "three"} {
		now = now.Add(time.Minute)
		dir, release, err := c.Folder(t.Context(), "acme/shop/"+sha, s.open)
		if err != nil {
			t.Fatal(err)
		}
		dirs[sha], releases[sha] = dir, release
		if sha == "two" {
			release()
		}
	}
	there := func(sha string) bool { _, err := os.Stat(dirs[sha]); return err == nil }
	if !there("one") || there("two") || !there("three") {
		t.Errorf("one (read) %v, two (unread) %v, three (new) %v", there("one"), there("two"), there("three"))
	}
	releases["one"]()
	now = now.Add(time.Minute)
	if _, release, err := c.Folder(t.Context(), "acme/shop/four", s.open); err != nil {
		t.Fatal(err)
	} else {
		release()
	}
	if there("one") {
		t.Error("one is still there after its release")
	}
	_, release, err := c.Folder(t.Context(), "acme/shop/two", s.open)
	if err != nil {
		t.Fatal(err)
	}
	release()
	if n := s.opened.Load(); n != 5 {
		t.Errorf("opened %d times, want 5: two was made again", n)
	}
	releases["three"]()
}

func TestWaitingForAFolderEndsWithItsContext(t *testing.T) {
	c := NewCache(testDir(t), Options{})
	entered, leave := make(chan struct{}), make(chan struct{})
	go func() {
		_, _, _ = c.Folder(context.Background(), "acme/shop/abc", func(context.Context) (io.ReadCloser, error) {
			close(entered)
			<-leave
			return nil, errors.New("no")
		})
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, other := range []*Cache{c, NewCache(c.dir, Options{})} {
		if _, _, err := other.Folder(ctx, "acme/shop/abc", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v", err)
		}
	}
	close(leave)
}
