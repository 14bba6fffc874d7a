package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/berth-dev/berth/bot/github/githubtest"
)

const (
	repo     = "acme/shop"
	person   = "ana"
	approver = "ben" // of the role sre
)

// demo is what has been started so far.
type demo struct {
	out  *teller
	keep bool

	dir        string // everything of this demo; removed at the end
	kubeconfig string
	cluster    *process // nil when a cluster of the user's is used
	github     *githubtest.Server
	berth      *process
	chats      chats

	programs      string // the folder of berth and its executors
	server, token string // of Berth's API
	page          string // of the pull request
	pull          int
}

// env is the pull request's environment.
func (d *demo) env() string { return fmt.Sprintf("shop/pr-%d", d.pull) }

// stop takes everything away, what needs others first.
func (d *demo) stop() {
	d.berth.stop()
	if d.cluster == nil && d.berth != nil {
		d.leaveCluster()
	}
	if d.github != nil {
		d.github.Close()
	}
	if d.chats.slack != nil {
		d.chats.slack.Close()
	}
	if d.chats.discord != nil {
		d.chats.discord.Close()
	}
	d.cluster.stop()
	if d.dir != "" {
		_ = os.RemoveAll(d.dir) // what is left is in the system's folder for such things
	}
}

// startCluster starts the control plane, or takes the user's cluster if there
// is one that it may use.
func (d *demo) startCluster(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "berth-demo-")
	if err != nil {
		return err
	}
	d.dir = dir
	if d.kubeconfig = askForCluster(d.out); d.kubeconfig != "" {
		return nil
	}
	// Its first build takes minutes, of which it tells on standard error.
	build := exec.CommandContext(ctx, "go", "run", "-C", "cmd/devcluster", "./build")
	build.Stderr = os.Stderr
	built, err := build.Output()
	if err != nil {
		return fmt.Errorf("the control plane cannot be built; start the demo with make demo: %w", err)
	}
	program := strings.TrimSpace(string(built))
	began, ready := time.Now(), make(chan string, 1)
	d.cluster, err = start("devcluster", os.Environ(), func(line string) {
		if path, ok := strings.CutPrefix(line, "KUBECONFIG="); ok {
			ready <- path
		}
	}, program, "up", "--data-dir", filepath.Join(dir, "cluster"))
	if err != nil {
		return err
	}
	select {
	case d.kubeconfig = <-ready:
	case <-d.cluster.ended:
		return fmt.Errorf("the control plane did not start:\n%s", d.cluster.tail())
	case <-time.After(patience):
		return fmt.Errorf("the control plane is not ready after %v:\n%s", patience, d.cluster.tail())
	case <-ctx.Done():
		return ctx.Err()
	}
	d.out.step("a Kubernetes control plane runs (etcd, API server, scheduler, simulated nodes); %.1f s", time.Since(began).Seconds())
	return nil
}

// startGitHub starts the stand-in with a repository, people and a pull request.
func (d *demo) startGitHub(context.Context) error {
	d.github = githubtest.New(githubtest.Options{}) //nolint:contextcheck // the stand-in lives until stop, and has a context of its own
	if err := d.github.Start(); err != nil {
		return err
	}
	chart := os.DirFS(filepath.Join("charts", "preview"))
	files, err := shopFiles(chart)
	if err != nil {
		return err
	}
	if err := errors.Join(
		d.github.AddRepo(githubtest.Repo{Name: repo, Description: "A shop", Private: true, Files: files}),
		d.github.AddUser(githubtest.User{Login: person, Name: "Ana", Roles: map[string]string{repo: "write"}}),
		d.github.AddUser(githubtest.User{Login: approver, Name: "Ben", Roles: map[string]string{repo: "write"}}),
		d.github.AddUser(githubtest.User{Login: "berth-bot", Type: "User", Roles: map[string]string{repo: "write"}}),
		d.github.AddToken(githubtest.Token{Value: githubToken, User: "berth-bot", Scopes: []string{"repo"}}),
	); err != nil {
		return err
	}
	d.pull, err = d.github.OpenPullRequest(githubtest.PullRequest{
		Repo: repo, Head: "coupons", Title: "Let customers use coupons", Author: person,
		Body: "Adds a coupon field to the basket. Worth a look before it is merged.", Files: withCoupons(files),
	})
	if err != nil {
		return err
	}
	if err != nil {
		return err
	}
	if err := d.openPayLater(githubtest.PullRequest{
		Repo: repo, Head: "pay-later", Title: "Let customers pay later", Author: person,
		Body: "Adds a button to the checkout.", Files: withCoupons(files),
	}); err != nil {
		return err
	}
	d.page = fmt.Sprintf("%s/%s/pull/%d", d.github.URL(), repo, d.pull)
	d.out.step("a stand-in for GitHub serves the pull request at %s", d.out.paint("4", d.page))
	return nil
}

// githubToken and webhookSecret are what the stand-in and Berth share.
var githubToken, webhookSecret = "ghp_" + rand.Text(), rand.Text()

// startBerth writes a config and starts `berth serve` with it.
func (d *demo) startBerth(ctx context.Context) error {
	addr, err := freeAddr(ctx)
	if err != nil {
		return err
	}
	d.server, d.token = "http://"+addr, rand.Text()
	config := filepath.Join(d.dir, "berth.yaml")
	if err := os.WriteFile(config, []byte(d.config(addr)), 0o600); err != nil {
		return err
	}
	began := time.Now()
	env := append(os.Environ(), "BERTH_GITHUB_WEBHOOK_SECRET="+webhookSecret, "BERTH_GITHUB_TOKEN="+githubToken)
	d.berth, err = start("berth serve", append(env, d.chatEnv()...), nil, d.berthProgram(), "serve", "--config", config)
	if err != nil {
		return err
	}
	if err := d.awaitReady(ctx); err != nil {
		return err
	}
	if err := d.github.SetWebhook(githubtest.Webhook{URL: d.server + "/webhooks/github", Secret: webhookSecret}); err != nil {
		return err
	}
	if err := d.connectChats(ctx); err != nil {
		return err
	}
	d.out.step("berth serve is ready at %s; %.1f s, with its own Redis and the Helm executor", d.server, time.Since(began).Seconds())
	return nil
}

// config is the demo's berth.yaml. Every value in it is the demo's own.
func (d *demo) config(addr string) string {
	hash := sha256.Sum256([]byte(d.token))
	return fmt.Sprintf(`server: {listen: %q, data_dir: %q}
github:
  webhook_secret: {env: BERTH_GITHUB_WEBHOOK_SECRET}
  token: {env: BERTH_GITHUB_TOKEN}
  api_url: %q
tokens: [{actor: demo, sha256: %q, roles: [deployer]}]
clusters: {demo: {kubeconfig: %q}}
actors:
  - {name: %s, roles: [deployer], identities: ["github:%s", "slack:%s", "discord:%s"]}
  - {name: %s, roles: [sre], identities: ["github:%s", "slack:%s", "discord:%s"]}
%spolicies:
  - name: money-takes-two
    when: request.verb == "deploy" && environment.name == "pr-%d"
    approve: {from: [role:sre], not_requester: true, within: 4h}
  - name: more-pods-cost-money
    when: request.set.exists(key, key == "replicaCount")
    approve: {from: [role:sre], not_requester: true, within: 4h}
apps:
  shop:
    repo: %s
    cluster: demo
    namespace: "shop-{{ .Name }}"
    ttl: 72h
    vars: {LOG_LEVEL: debug}
    allow_set: [replicaCount]
    parts:
      - name: web
        use: helm
        with:
          chart: repo:deploy/chart
          values:
            replicaCount: 2
            podAnnotations: {devcluster/ready-after: 2s}   # the demo's cluster then takes its time
            image: %s
            ingress: {enabled: true, host: "{{ .Name }}.shop.preview.example.org"}
`, addr, filepath.Join(d.dir, "data"), d.github.APIURL(), hex.EncodeToString(hash[:]), d.kubeconfig,
		person, person, slackAna, d.chats.ana, approver, approver, slackBen, d.chats.ben, d.chatConfig(), d.chats.pull, repo, d.image())
}

// image is what the shop runs: an image of the commit on simulated nodes, which
// pull nothing, and a public one that serves a page on a cluster of the user's.
func (d *demo) image() string {
	if d.cluster == nil {
		return "{repository: docker.io/nginxinc/nginx-unprivileged, tag: stable}"
	}
	return `{repository: registry.example.org/acme/shop, tag: "{{ .SHA }}"}`
}

// awaitReady waits for /readyz.
func (d *demo) awaitReady(ctx context.Context) error {
	return d.await(ctx, "berth serve to be ready", func() (bool, error) {
		select {
		case <-d.berth.ended:
			return false, errors.New("berth serve ended")
		default:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.server+"/readyz", nil)
		if err != nil {
			return false, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, nil //nolint:nilerr // it does not listen yet
		}
		_ = resp.Body.Close() // only the status is wanted
		return resp.StatusCode == http.StatusOK, nil
	})
}

// await asks done at short intervals until it says so.
func (d *demo) await(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); err != nil || ok {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s: %w", what, ctx.Err())
		}
	}
}

// clientEnv lets the command line find the demo's server.
func (d *demo) clientEnv() []string {
	return append(os.Environ(), "BERTH_SERVER="+d.server, "BERTH_TOKEN="+d.token, "NO_COLOR=1")
}

// berthProgram stands beside the demo's own.
func (d *demo) berthProgram() string { return filepath.Join(d.programs, "berth") }

// freeAddr is an address on loopback where nobody listens now.
func freeAddr(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
