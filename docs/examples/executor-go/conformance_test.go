package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

const adminPassword, envPassword, rotated = "adm1n-p4ssword", "sh0p-p4ssword", "an0ther-p4ssword"

func TestConformance(t *testing.T) {
	address := startRedis(t)
	admin := redis.NewClient(&redis.Options{Addr: address, Password: adminPassword})
	t.Cleanup(func() { _ = admin.Close() })
	if err := admin.Do(t.Context(), "DEBUG", "POPULATE", 20, "small").Err(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "password")
	write := func(t *testing.T, password string) {
		if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(t, envPassword)
	t.Setenv("REDIS_ADMIN_PASSWORD", adminPassword)
	settings := map[string]any{"address": address, "password": map[string]any{"env": "REDIS_ADMIN_PASSWORD"}}
	password := map[string]any{"file": file}

	suite := sdktest.Suite{
		Step:    sdk.Step{Settings: settings, With: map[string]any{"password": password, "template": "small:"}},
		Secrets: []string{adminPassword, envPassword, rotated},
		Rotate:  func(t *testing.T) { write(t, rotated) },
		Invalid: map[string]map[string]any{
			"no password":              {},
			"a password written out":   {"password": "hunter2"},
			"a password that is not":   {"password": map[string]any{"env": "NOBODY_SETS_THIS"}},
			"a file that is not there": {"password": map[string]any{"file": "/none/such"}},
		},
		InvalidSettings: map[string]map[string]any{
			"no address":             {},
			"a password written out": {"address": address, "password": "hunter2"},
		},
		Snapshot: func(t *testing.T) string { return strings.Join(owned(t, admin, "*"), "\n") },
		Owned:    func(t *testing.T) []string { return owned(t, admin, "*sdktest:*") },
		Interrupted: func(_ *testing.T, n int) sdk.Executor {
			cut := sdktest.NewCut(n)
			return cut.Executor(executor{dial: cut.Dial(new(net.Dialer).DialContext)})
		},
	}
	t.Run("in this process", func(t *testing.T) {
		s := suite
		s.New = func() sdk.Executor { return executor{} }
		sdktest.Run(t, s)
	})
	write(t, envPassword)
	t.Run("as a program", func(t *testing.T) {
		program := filepath.Join(t.TempDir(), "berth-redis")
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := admin.Do(t.Context(), "DEBUG", "POPULATE", 200_000, "large").Err(); err != nil {
			t.Fatal(err)
		}
		s := suite
		s.Command, s.Env = []string{program}, []string{"REDIS_ADMIN_PASSWORD=" + adminPassword}
		s.Slow = &sdk.Step{With: map[string]any{"password": password, "template": "large:"}}
		s.Interrupted = nil // once is enough, and with so many keys there are many calls
		sdktest.Run(t, s)
	})
}

// TestRefusesWhatIsNotItsOwn has somebody else use the names first.
func TestRefusesWhatIsNotItsOwn(t *testing.T) {
	address := startRedis(t)
	admin := redis.NewClient(&redis.Options{Addr: address, Password: adminPassword})
	t.Cleanup(func() { _ = admin.Close() })
	t.Setenv("REDIS_ADMIN_PASSWORD", adminPassword)
	step := sdk.Step{
		App: "shop", Env: "demo", Part: "cache", Verb: sdk.Deploy, Installation: "ours",
		Settings: map[string]any{"address": address, "password": map[string]any{"env": "REDIS_ADMIN_PASSWORD"}},
		With:     map[string]any{"password": map[string]any{"env": "REDIS_ADMIN_PASSWORD"}},
	}
	refused := func(t *testing.T, want string) {
		t.Helper()
		_, err := executor{}.Plan(t.Context(), step)
		failure, ok := errors.AsType[*sdk.Error](err)
		if !ok || failure.Fault != sdk.FaultInvalid || !strings.Contains(failure.Msg, want) {
			t.Errorf("the error is %v, want an invalid one about %q", err, want)
		}
	}
	if err := admin.ACLSetUser(t.Context(), "shop:demo:cache", "on", "nopass").Err(); err != nil {
		t.Fatal(err)
	}
	refused(t, "that Berth did not make")
	if err := admin.HSet(t.Context(), "_berth:shop:demo:cache", "owner", "theirs shop demo cache").Err(); err != nil {
		t.Fatal(err)
	}
	refused(t, "belongs to another installation")
	// The first message says how to go on.
	if err := admin.HSet(t.Context(), "_berth:shop:demo:cache", "owner", "ours shop demo cache").Err(); err != nil {
		t.Fatal(err)
	}
	if p, err := (executor{}).Plan(t.Context(), step); err != nil || len(p.Resources) == 0 {
		t.Errorf("what was marked by hand is refused, or left as it is: %v, %v", p, err)
	}
}

// owned are the users but the administrator, and the keys that fit a pattern,
// with what they hold.
func owned(t *testing.T, admin *redis.Client, pattern string) []string {
	t.Helper()
	users, err := admin.ACLList(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	all := slices.DeleteFunc(users, func(u string) bool { return strings.HasPrefix(u, "user default ") })
	for keys := admin.Scan(t.Context(), 0, pattern, 10_000).Iterator(); keys.Next(t.Context()); {
		key := keys.Val()
		switch {
		case strings.HasPrefix(key, "large:"): // too many to look at
		case strings.HasPrefix(key, marks):
			mark, err := admin.HGetAll(t.Context(), key).Result()
			if err != nil {
				t.Fatal(err)
			}
			delete(mark, "created") // the only thing that differs from one deploy to the next
			all = append(all, fmt.Sprint(key, " ", mark))
		default:
			all = append(all, key)
		}
	}
	slices.Sort(all)
	return slices.Compact(all) // SCAN may tell a key twice
}

// freeAddress is one that nobody listens on. Its port is none of those that a system
// gives to whoever asks for any, from 32768 on, so that nobody has it before Redis.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", 12_000+rand.N(20_000)))
		if err != nil {
			continue // somebody has it
		}
		defer l.Close()
		return l.Addr().String()
	}
	t.Fatal("there is no port that is free")
	return ""
}

// startRedis starts a Redis server of the test's own and returns its address.
func startRedis(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed: apt-get install redis-server")
	}
	dir := t.TempDir()
	users := filepath.Join(dir, "users.acl")
	if err := os.WriteFile(users, []byte("user default on >"+adminPassword+" ~* &* +@all\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, "--port", port, "--bind", "127.0.0.1",
		"--dir", dir, "--save", "", "--aclfile", users, "--enable-debug-command", "local")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	deadline := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	defer deadline.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "Ready to accept connections") {
			go func() {
				for lines.Scan() { // so that it never waits for somebody who reads
				}
			}()
			return address
		}
	}
	t.Fatal("redis-server did not start")
	return ""
}
