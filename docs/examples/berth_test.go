package examples

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const token, adminPassword, shopPassword = "a-token-of-the-test", "adm1n-p4ssword", "sh0p-p4ssword"

// TestPageWithBerth does what the page's last section says, with the program that
// people use: doctor, serve, deploy, status, cleanup.
func TestPageWithBerth(t *testing.T) {
	redis, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed: apt-get install redis-server")
	}
	dir := t.TempDir()
	build(t, dir, "berth", "./cmd/berth")
	build(t, dir, "berth-redis", "./docs/examples/executor-go")
	users := filepath.Join(dir, "users.acl")
	write(t, users, "user default on >"+adminPassword+" ~* &* +@all\n")
	address := free(t)
	_, port, _ := net.SplitHostPort(address)
	start(t, exec.Command(redis, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir, "--aclfile", users), "Ready to accept connections")

	config := strings.Replace(read(t, filepath.Join(goExample, "berth.yaml")), "127.0.0.1:6379", address, 1)
	b := newBerth(t, dir, config, "REDIS_ADMIN_PASSWORD="+adminPassword, "SHOP_REDIS_PASSWORD="+shopPassword)
	b.says(t, []string{"doctor", "--config", "berth.yaml"}, "plugin redis", "users can be made, and are kept over a restart")
	b.serve(t)
	b.says(t, []string{"deploy", "shop/demo", "--dry-run"}, "create the Redis user shop:demo:cache", "+ user shop:demo:cache on ")
	// What the page shows of a deploy.
	_, shown, _ := strings.Cut(read(t, page), "```text\n")
	shown, _, _ = strings.Cut(shown, "```")
	b.says(t, []string{"deploy", "shop/demo", "--wait"}, strings.Split(strings.TrimSpace(shown), "\n")...)
	b.says(t, []string{"status", "shop/demo"}, "healthy; connections 0")
	b.says(t, []string{"cleanup", "shop/demo", "--wait"}, "deleted Redis user shop:demo:cache", "shop/demo is gone")
	b.saysNo(t, adminPassword, shopPassword)
}

// TestNodeWithBerth has Berth start the executor that is written in Node, and
// start it again when it was killed.
func TestNodeWithBerth(t *testing.T) {
	dir := t.TempDir()
	program := nodeProgram(t, dir)
	build(t, dir, "berth", "./cmd/berth")
	sites := t.TempDir()
	b := newBerth(t, dir, `server: {listen: 127.0.0.1:8080, data_dir: ./data}
tokens:
  - {actor: me, sha256: "`+zeros+`", roles: [deployer]}
plugins:
  site: {path: `+program+`, settings: {root: `+sites+`}}
apps:
  shop:
    parts:
      - {name: pages, use: site, with: {page: "hello {{ .Name }}"}}
`)
	b.says(t, []string{"doctor", "--config", "berth.yaml"}, "plugin site")
	b.serve(t)
	b.says(t, []string{"deploy", "shop/demo", "--wait"}, "pages: publishing the site", "shop/demo is running.")
	if got := read(t, filepath.Join(sites, "shop", "demo", "pages", "index.html")); got != "hello demo" {
		t.Errorf("the site is %q", got)
	}
	b.says(t, []string{"status", "shop/demo"}, "healthy; files 1 (10 bytes)")
	b.says(t, []string{"cleanup", "shop/demo", "--wait"}, "deleted Site", "shop/demo is gone")
	if _, err := os.Stat(filepath.Join(sites, "shop")); !os.IsNotExist(err) {
		t.Errorf("cleanup left %s/shop: %v", sites, err)
	}
}

// nodeProgram is the executor in Node, installed as its own test does.
func nodeProgram(t *testing.T, dir string) string {
	t.Helper()
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed: apt-get install nodejs npm", name)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "node", "src"), os.DirFS("executor-node/src")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"package.json", "package-lock.json"} {
		write(t, filepath.Join(dir, "node", name), read(t, filepath.Join("executor-node", name)))
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	cmd.Dir = filepath.Join(dir, "node")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("the packages that the executor needs cannot be installed: npm ci: %v\n%s", err, out)
	}
	return filepath.Join(dir, "node", "src", "main.mjs")
}

// zeros stand in the page's config for the hash of a token.
const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

// berth is the program, with a config of its own.
type berth struct {
	dir  string
	env  []string
	said strings.Builder // by all commands
}

func newBerth(t *testing.T, dir, config string, env ...string) *berth {
	t.Helper()
	listen, sum := free(t), sha256.Sum256([]byte(token))
	config = strings.Replace(config, "127.0.0.1:8080", listen, 1)
	config = strings.Replace(config, zeros, hex.EncodeToString(sum[:]), 1)
	write(t, filepath.Join(dir, "berth.yaml"), config)
	return &berth{dir: dir, env: append(os.Environ(), append(env, "BERTH_SERVER=http://"+listen, "BERTH_TOKEN="+token)...)}
}

func (b *berth) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(b.dir, "berth"), args...)
	cmd.Dir, cmd.Env = b.dir, b.env
	return cmd
}

// says runs a command and looks for texts in what it says.
func (b *berth) says(t *testing.T, args []string, want ...string) {
	t.Helper()
	out, err := b.command(args...).CombinedOutput()
	b.said.Write(out)
	if err != nil {
		t.Fatalf("berth %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	for _, w := range want {
		if !strings.Contains(string(out), w) {
			t.Errorf("berth %s does not say %q, but\n%s", strings.Join(args, " "), w, out)
		}
	}
}

func (b *berth) saysNo(t *testing.T, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(b.said.String(), secret) {
			t.Errorf("a secret is in what the commands said:\n%s", b.said.String())
		}
	}
}

func (b *berth) serve(t *testing.T) {
	t.Helper()
	start(t, b.command("serve", "--config", "berth.yaml"), "executor is up")
}

// start starts a program and waits until it says that it is ready.
func start(t *testing.T, cmd *exec.Cmd, ready string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		late.Stop()
		_ = r.Close()
	})
	slow := time.AfterFunc(3*time.Minute, func() { _ = cmd.Process.Kill() })
	defer slow.Stop()
	said := ""
	for lines := bufio.NewScanner(r); lines.Scan(); {
		said += lines.Text() + "\n"
		if strings.Contains(lines.Text(), ready) {
			go func() {
				for lines.Scan() { // so that it never waits for somebody who reads
				}
			}()
			return
		}
	}
	t.Fatalf("%s did not say %q, but\n%s", cmd.Path, ready, said)
}

func build(t *testing.T, dir, name, pkg string) {
	t.Helper()
	run(t, root, "go", "build", "-o", filepath.Join(dir, name), pkg)
}

// free is an address that nobody listens on. Its port is none of those that a
// system gives to whoever asks for any, from 32768 on, so that nobody has it before
// the program that it is for.
func free(t *testing.T) string {
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
