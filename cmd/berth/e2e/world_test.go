// Package e2e tests Berth as its users meet it: the real programs, a real
// Redis, a real Kubernetes API, and a stand-in for GitHub that keeps state and
// holds every request to GitHub's own API description.
package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot/github/githubtest"
	"github.com/berth-dev/berth/plugins/clustertest"
)

const (
	repo     = "acme/shop"
	ana      = "ana" // may write to the repository
	eve      = "eve" // may read it
	secret   = "It's a Secret to Everybody"
	ghToken  = "ghp_e2e"
	apiToken = "e2e-token"
	// patience bounds each thing that a test waits for.
	patience = 3 * time.Minute
)

// programs is the folder of berth and its executors, built once per run.
var programs string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "berth-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	programs = dir
	build := exec.Command("go", "build", "-o", dir+"/", "../", "../../berth-helm", "../../berth-kubernetes", "../../berth-aws", "../../berth-dns", "../../berth-script")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building berth: %v\n%s", err, out)
		os.Exit(1)
	}
	code := clustertest.Main(m)
	os.RemoveAll(dir)
	os.Exit(code)
}

// world is everything around one or more Berths: GitHub with a repository and
// an open pull request, Redis, a cluster.
type world struct {
	t          testing.TB
	github     *githubtest.Server
	redis      *redistest.Server
	kubeconfig string
	client     *kubernetes.Clientset
	pull       int
	app        string // the app's name, which no other test has: the cluster is shared
	rules      string // more sections of the config: people, policies
}

// newWorld makes a world with one pull request of ana's.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, redis: redistest.Start(t), kubeconfig: clustertest.Kubeconfig(t), app: appName(t.Name())}
	w.github = githubtest.Run(t, githubtest.Options{})
	must(t, w.github.AddRepo(githubtest.Repo{Name: repo, Private: true, Files: shopFiles(t)}))
	must(t, w.github.AddUser(githubtest.User{Login: ana, Roles: map[string]string{repo: "write"}}))
	must(t, w.github.AddUser(githubtest.User{Login: eve, Roles: map[string]string{repo: "read"}}))
	must(t, w.github.AddUser(githubtest.User{Login: "berth-bot", Roles: map[string]string{repo: "write"}}))
	must(t, w.github.AddToken(githubtest.Token{Value: ghToken, User: "berth-bot", Scopes: []string{"repo"}}))
	var err error
	w.pull, err = w.github.OpenPullRequest(githubtest.PullRequest{Repo: repo, Head: "coupons", Title: "Coupons", Author: ana})
	must(t, err)
	config, err := clientcmd.BuildConfigFromFlags("", w.kubeconfig)
	must(t, err)
	w.client, err = kubernetes.NewForConfig(config)
	must(t, err)
	t.Cleanup(func() {
		for _, v := range w.github.Violations() {
			t.Errorf("GitHub would have objected: %+v", v)
		}
	})
	return w
}

// appName is a name of the test's own that an app can have.
func appName(test string) string {
	sum := sha256.Sum256([]byte(test))
	return "shop-" + hex.EncodeToString(sum[:4])
}

func (w *world) env() string       { return fmt.Sprintf("%s/pr-%d", w.app, w.pull) }
func (w *world) namespace() string { return fmt.Sprintf("%s-pr-%d", w.app, w.pull) }

// shopFiles are a small repository with the preview chart in it.
func shopFiles(t testing.TB) fs.FS {
	t.Helper()
	files := fstest.MapFS{
		"README.md":              {Data: []byte("# Shop\n")},
		"deploy/k8s/banner.yaml": {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: banner}\ndata: {text: from the repository}\n"), Mode: 0o644},
	}
	chart := os.DirFS("../../../charts/preview")
	must(t, fs.WalkDir(chart, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(chart, name)
		files[path.Join("deploy/chart", name)] = &fstest.MapFile{Data: data, Mode: 0o644}
		return err
	}))
	return files
}

// defaults is the app that most tests deploy. %s are values to add.
const defaults = `  %s:
    repo: acme/shop
    cluster: e2e
    namespace: "{{ .App }}-{{ .Name }}"
    ttl: 72h
    vars: {LOG_LEVEL: debug}
    allow_set: [replicaCount, image.tag]
    parts:
      - name: web
        use: helm
        with:
          chart: repo:deploy/chart
          timeout: 60s
          values:
            image: {repository: registry.example.org/acme/shop, tag: "{{ .SHA }}"}
            ingress: {enabled: true, host: "{{ .Name }}.shop.example.org"}
%s`

// simpleApp is the default app with more lines of values.
func (w *world) simpleApp(values ...string) string {
	more := ""
	for _, line := range values {
		more += "            " + line + "\n"
	}
	return fmt.Sprintf(defaults, w.app, more)
}

// berth is one running `berth serve`.
type berth struct {
	w    *world
	url  string
	dir  string
	addr string
	file string
	cmd  *exec.Cmd
	log  *lockedBuffer
	done chan struct{}
}

// lockedBuffer is a buffer that one goroutine fills while another reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startBerth starts a replica with these apps, waits until it is ready and has
// GitHub deliver to it.
func (w *world) startBerth(apps string) *berth {
	w.t.Helper()
	b := w.prepareBerth(apps)
	b.start()
	b.awaitReady()
	must(w.t, w.github.SetWebhook(githubtest.Webhook{URL: b.url + "/webhooks/github", Secret: secret}))
	return b
}

// prepareBerth writes the config of a replica.
func (w *world) prepareBerth(apps string) *berth {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.t, err)
	addr := l.Addr().String()
	must(w.t, l.Close())
	b := &berth{w: w, dir: w.t.TempDir(), addr: addr, url: "http://" + addr}
	b.file = filepath.Join(b.dir, "berth.yaml")
	b.config(apps)
	w.t.Cleanup(b.stop)
	return b
}

// config writes the replica's config, as the world's rules are now.
func (b *berth) config(apps string) {
	w, hash := b.w, sha256.Sum256([]byte(apiToken))
	w.t.Helper()
	must(w.t, os.WriteFile(b.file, fmt.Appendf(nil, `server: {listen: %q, data_dir: %q}
redis: {addrs: [%q]}
github:
  webhook_secret: {env: E2E_WEBHOOK_SECRET}
  token: {env: E2E_GITHUB_TOKEN}
  api_url: %q
tokens: [{actor: tester, sha256: %q, roles: [deployer]}]
clusters: {e2e: {kubeconfig: %q}, gone: {kubeconfig: %q}, poor: {kubeconfig: %q}}
%s
apps:
%s`, b.addr, filepath.Join(b.dir, "data"), w.redis.Addr, w.github.APIURL(), hex.EncodeToString(hash[:]),
		w.kubeconfig, goneKubeconfig(w.t), poorKubeconfig(w.t, w), w.rules, apps), 0o600))
}

// start starts the process.
func (b *berth) start() {
	b.w.t.Helper()
	b.log, b.done = &lockedBuffer{}, make(chan struct{})
	b.cmd = exec.Command(filepath.Join(programs, "berth"), "serve", "--config", b.file, "--log-level", "debug")
	b.cmd.Env = append(os.Environ(), "E2E_WEBHOOK_SECRET="+secret, "E2E_GITHUB_TOKEN="+ghToken)
	b.cmd.Stdout, b.cmd.Stderr = b.log, b.log
	b.cmd.WaitDelay = time.Second
	must(b.w.t, b.cmd.Start())
	go func() {
		_ = b.cmd.Wait() // how it ended is what the test asks about otherwise
		close(b.done)
	}()
}

// stop ends the process in order, and shows its log if the test failed.
func (b *berth) stop() {
	if b.cmd == nil {
		return
	}
	if b.cmd.Process.Signal(syscall.SIGTERM) == nil {
		select {
		case <-b.done:
		case <-time.After(patience):
			b.w.t.Errorf("berth serve did not stop within %v of SIGTERM", patience)
			b.kill()
		}
	}
	if b.w.t.Failed() {
		b.w.t.Logf("berth serve said:\n%s", b.log)
	}
	b.cmd = nil
}

// kill is kill -9.
func (b *berth) kill() {
	if err := b.cmd.Process.Kill(); err == nil {
		<-b.done
	}
}

func (b *berth) awaitReady() {
	b.w.t.Helper()
	b.w.await("berth serve to be ready", func() bool { return b.status("/readyz") == http.StatusOK })
}

// status is the HTTP status of a path, 0 when nobody answers.
func (b *berth) status(path string) int {
	code, _ := b.get(path)
	return code
}

func (b *berth) get(path string) (int, string) {
	req, err := http.NewRequestWithContext(b.w.t.Context(), http.MethodGet, b.url+path, nil)
	if err != nil {
		return 0, ""
	}
	req.Header.Set("Authorization", "Bearer "+apiToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body) // a short body fails the test that reads it
	return resp.StatusCode, string(body)
}

// environment is the API's view of the world's environment.
func (b *berth) environment() map[string]any {
	code, body := b.get("/api/v1/environments/" + b.w.env())
	if code != http.StatusOK {
		return nil
	}
	var out map[string]any
	if json.Unmarshal([]byte(body), &out) != nil {
		return nil
	}
	return out
}

// requests are the requests for the world's app, as the API lists them.
func (b *berth) requests() []map[string]any {
	_, body := b.get("/api/v1/requests?app=" + b.w.app)
	var out struct {
		Items []map[string]any `json:"items"`
	}
	must(b.w.t, json.Unmarshal([]byte(body), &out))
	return out.Items
}

// plugins are the process ids of the replica's plugins.
func (b *berth) plugins() []int {
	out, _ := exec.Command("pgrep", "-f", filepath.Join(programs, "berth-helm")).Output() // no match is an error of pgrep's
	var pids []int
	for _, field := range strings.Fields(string(out)) {
		var pid int
		fmt.Sscan(field, &pid)
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil && b.owns(string(status)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// owns tells whether a process is a child of the replica.
func (b *berth) owns(status string) bool {
	return b.cmd != nil && strings.Contains(status, fmt.Sprintf("PPid:\t%d\n", b.cmd.Process.Pid))
}

// comment has a person comment on the pull request.
func (w *world) comment(login, text string) int64 {
	w.t.Helper()
	id, err := w.github.Comment(repo, w.pull, login, text)
	must(w.t, err)
	return id
}

// thread is the pull request's thread.
func (w *world) thread() githubtest.Thread { return w.github.Thread(repo, w.pull) }

// botComments are the bodies of the bot's comments, oldest first.
func (w *world) botComments() []string {
	var out []string
	for _, c := range w.thread().Comments {
		if c.Author.Login == "berth-bot" {
			out = append(out, c.Body)
		}
	}
	return out
}

// says tells whether one of the bot's comments has all these words.
func (w *world) says(words ...string) bool {
	return slices.ContainsFunc(w.botComments(), func(body string) bool {
		return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(body, word) })
	})
}

// awaitSays waits until one of the bot's comments has all these words.
func (w *world) awaitSays(words ...string) {
	w.t.Helper()
	if !w.poll(func() bool { return w.says(words...) }) {
		w.t.Fatalf("no comment says %q; the thread is:\n%s", words, strings.Join(w.botComments(), "\n-----\n"))
	}
}

// reactions are what the bot put on a comment.
func (w *world) reactions(comment int64) []string {
	var out []string
	for _, c := range w.thread().Comments {
		for _, r := range c.Reactions {
			if c.ID == comment {
				out = append(out, r.Content)
			}
		}
	}
	return out
}

func (w *world) await(what string, done func() bool) {
	w.t.Helper()
	if !w.poll(done) {
		w.t.Fatalf("waited in vain for %s; the thread is:\n%s", what, strings.Join(w.botComments(), "\n-----\n"))
	}
}

// poll asks done until it is so, and tells whether it came to that.
func (w *world) poll(done func() bool) bool {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
