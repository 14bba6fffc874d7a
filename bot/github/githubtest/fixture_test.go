package githubtest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-github/v60/github"
)

// shop is a server with a repository, three people and a pull request.
type shop struct {
	*Server
	t    *testing.T
	pull int
}

var shopFiles = fstest.MapFS{
	"README.md":          {Data: []byte("# Shop\n\nBuy things.\n")},
	"charts/Chart.yaml":  {Data: []byte("apiVersion: v2\nname: shop\nversion: 0.1.0\n")},
	"charts/values.yaml": {Data: []byte("replicas: 1\n")},
	"run.sh":             {Data: []byte("#!/bin/sh\n"), Mode: 0o755},
}

func newShop(t *testing.T, opts Options) *shop {
	t.Helper()
	s := &shop{Server: Run(t, opts), t: t}
	s.must(s.AddRepo(Repo{Name: "acme/shop", Private: true, Files: shopFiles}))
	s.must(s.AddUser(User{Login: "ana", Name: "Ana", Roles: map[string]string{"acme/shop": "write"}}))
	s.must(s.AddUser(User{Login: "rob", Roles: map[string]string{"acme/shop": "read"}}))
	s.must(s.AddUser(User{Login: "eve"}))
	s.must(s.AddUser(User{Login: "berth-bot", Type: "User", Roles: map[string]string{"acme/shop": "admin"}}))
	s.must(s.AddToken(Token{Value: "ghp_bot", User: "berth-bot", Scopes: []string{"repo", "read:org", "admin:repo_hook"}}))
	s.must(s.AddToken(Token{Value: "ghp_rob", User: "rob", Scopes: []string{"repo"}}))
	s.must(s.AddToken(Token{Value: "ghp_eve", User: "eve", Scopes: []string{"repo"}}))
	n, err := s.OpenPullRequest(PullRequest{
		Repo: "acme/shop", Head: "topic", Title: "More replicas", Body: "We need **two**.", Author: "ana",
		Files: with2(shopFiles, "charts/values.yaml", "replicas: 2\n"),
	})
	s.must(err)
	s.pull = n
	return s
}

func with2(files fstest.MapFS, name, content string) fstest.MapFS {
	out := fstest.MapFS{}
	for k, v := range files {
		out[k] = v
	}
	out[name] = &fstest.MapFile{Data: []byte(content)}
	return out
}

func (s *shop) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) client(token string) *github.Client {
	s.t.Helper()
	c := github.NewClient(nil)
	if token != "" {
		c = c.WithAuthToken(token)
	}
	base, err := url.Parse(s.APIURL() + "/")
	s.must(err)
	c.BaseURL = base
	return c
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// sink is a webhook's receiver.
type sink struct {
	*httptest.Server
	mu     sync.Mutex
	got    []received
	status int
}

type received struct {
	event  string
	header http.Header
	body   []byte
}

func newSink(t *testing.T) *sink {
	t.Helper()
	k := &sink{status: http.StatusAccepted}
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.got = append(k.got, received{r.Header.Get("X-GitHub-Event"), r.Header, body})
		w.WriteHeader(k.status)
	}))
	t.Cleanup(k.Close)
	return k
}

func (k *sink) all() []received {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]received(nil), k.got...)
}

func (k *sink) answer(status int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status = status
}

func decode(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
