package main

import (
	"context"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func openTestDir(t *testing.T, path string) *dataDir {
	t.Helper()
	dir, err := openDataDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dir.close)
	return dir
}

func TestOwnRedisKeepsWhatWasWritten(t *testing.T) {
	ctx, dir := t.Context(), openTestDir(t, t.TempDir())
	first, err := startOwnRedis(ctx, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	awaitPing(t, first.client)
	if err := first.client.Set(ctx, "kept", "yes", 0).Err(); err != nil {
		t.Fatal(err)
	}
	first.stop()

	second, err := startOwnRedis(ctx, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer second.stop()
	awaitPing(t, second.client)
	if got := second.client.Get(ctx, "kept").Val(); got != "yes" {
		t.Errorf("after a restart the key is %q", got)
	}
}

func TestOwnRedisComesBackWhenItIsKilled(t *testing.T) {
	ctx, dir := t.Context(), openTestDir(t, t.TempDir())
	own, err := startOwnRedis(ctx, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer own.stop()
	awaitPing(t, own.client)
	if err := own.client.Set(ctx, "kept", "yes", 0).Err(); err != nil {
		t.Fatal(err)
	}
	before := serverPID(t, own.client)
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitPing(t, own.client)
	if after := serverPID(t, own.client); after == before {
		t.Errorf("the server is still process %d", after)
	}
	if got := own.client.Get(ctx, "kept").Val(); got != "yes" {
		t.Errorf("after kill -9 the key is %q", got)
	}
}

func TestTwoProcessesDoNotShareADataDirectory(t *testing.T) {
	path := t.TempDir()
	openTestDir(t, path)
	second, err := openDataDir(path)
	if err == nil {
		second.close()
		t.Fatal("the second one got it too")
	}
	if !strings.Contains(err.Error(), "another berth") {
		t.Errorf("the error does not say why: %v", err)
	}
}

// awaitPing waits until the server answers; the client tries again by itself.
func awaitPing(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for client.Ping(ctx).Err() != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("redis does not answer")
		}
	}
}

func serverPID(t *testing.T, client redis.UniversalClient) int {
	t.Helper()
	info, err := client.InfoMap(t.Context(), "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	for _, digit := range info["Server"]["process_id"] {
		pid = pid*10 + int(digit-'0')
	}
	if pid < 2 {
		t.Fatalf("no process id in %v", info["Server"])
	}
	return pid
}
