package github

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot/github/githubtest"
)

func TestResolveFindsWhatRefsMean(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	s := w.replicas[0].surface
	head, err := w.PushToPullRequest(bothRepo, w.pull, githubtest.Commit{Message: "Sell more\n\nMuch more", Author: "ana", Files: fstest.MapFS{"a": {Data: []byte("1")}}})
	w.must(err)
	w.must(w.Tag(bothRepo, "v1.0", head))
	w.must(w.Tag(bothRepo, "rc/50%#1+ü", head))
	main, err := s.Resolve(t.Context(), bothRepo, "")
	w.must(err)
	number := itoa(int64(w.pull))
	tests := map[string]struct {
		ref, sha string
		code     actions.Code
		says     []string
	}{
		"a pull request's head":            {"refs/pull/" + number + "/head", head, "", nil},
		"a branch":                         {"topic", head, "", nil},
		"the default branch by name":       {"main", main.SHA, "", nil},
		"a tag":                            {"v1.0", head, "", nil},
		"a tag that a path cannot hold":    {"rc/50%#1+ü", head, "", nil},
		"a commit":                         {head, head, "", nil},
		"a branch that is not there":       {"no-such", "", actions.CodeNotFound, []string{"no-such", bothRepo}},
		"a commit that is not there":       {strings.Repeat("0", 40), "", actions.CodeNotFound, []string{bothRepo}},
		"a pull request that is not there": {"refs/pull/999/head", "", actions.CodeNotFound, []string{"999", bothRepo}},
		"a path out of the API":            {"../../../user", "", actions.CodeInvalid, nil},
		"what git refuses":                 {"a b", "", actions.CodeInvalid, nil},
		"something that looks like a flag": {"--upload-pack", "", actions.CodeInvalid, nil},
		"a question mark":                  {"main?x=y", "", actions.CodeInvalid, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := s.Resolve(t.Context(), bothRepo, tt.ref)
			if actions.CodeOf(err) != tt.code || got.SHA != tt.sha {
				t.Fatalf("Resolve = %+v, %v", got, err)
			}
			for _, want := range tt.says {
				if !strings.Contains(actions.Message(err), want) {
					t.Errorf("%q does not name %s", actions.Message(err), want)
				}
			}
			if tt.sha == head && (got.Message != "Sell more" || got.Time.IsZero()) {
				t.Errorf("commit = %+v", got)
			}
		})
	}
	if _, err := s.Resolve(t.Context(), "acme/none", "main"); actions.CodeOf(err) != actions.CodeNotFound || !strings.Contains(actions.Message(err), "acme/none") {
		t.Errorf("a repository that is not there: %v", err)
	}
}

func TestAFailingGitHubIsNotAMissingCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	s := w.replicas[0].surface
	for status, code := range map[int]actions.Code{500: actions.CodeUnavailable, 502: actions.CodeUnavailable, 401: actions.CodeDownstream, 403: actions.CodeDownstream} {
		w.Fail("GET", "/repos/acme/shop/commits/*", status, 1)
		_, err := s.Resolve(t.Context(), bothRepo, "main")
		if actions.CodeOf(err) != code || actions.Retryable(err) != (code == actions.CodeUnavailable) {
			t.Errorf("%d: %v", status, err)
		}
	}
	w.FailWith("GET", "/repos/acme/shop/commits/*", 429, 1, http.Header{"Retry-After": {"30"}})
	for range 2 { // the second does not even ask
		if _, err := s.Resolve(t.Context(), bothRepo, "main"); actions.CodeOf(err) != actions.CodeUnavailable || !actions.Retryable(err) {
			t.Errorf("429: %v", err)
		}
	}
}

func TestFetchGivesTheFilesOfTheCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true, Replicas: 2})
	c, err := w.replicas[0].surface.Resolve(t.Context(), bothRepo, "refs/pull/"+itoa(int64(w.pull))+"/head")
	w.must(err)
	before := len(w.Requests())
	var group sync.WaitGroup
	for i := range 10 {
		group.Go(func() {
			dir, release, err := w.replicas[i%2].surface.Fetch(t.Context(), bothRepo, c.SHA)
			if err != nil {
				t.Error(err)
				return
			}
			defer release()
			if data, err := os.ReadFile(filepath.Join(dir, "charts", "Chart.yaml")); string(data) != "name: shop2\n" {
				t.Errorf("Chart.yaml = %q, %v", data, err)
			}
		})
	}
	group.Wait()
	if n := len(w.Requests()) - before; n > 2 {
		t.Errorf("%d requests were sent for one archive", n)
	}
	if _, _, err := w.replicas[0].surface.Fetch(t.Context(), bothRepo, strings.Repeat("0", 40)); actions.CodeOf(err) != actions.CodeNotFound {
		t.Errorf("a commit that is not there: %v", err)
	}
	// The test's folder is removed after; what is read-only would stay.
	t.Cleanup(func() {
		_ = filepath.Walk(w.root, func(path string, info os.FileInfo, err error) error {
			if err == nil && info.IsDir() {
				_ = os.Chmod(path, 0o755)
			}
			return nil
		})
	})
}

func TestTheTokenIsSentToTheAPIOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	seen := &watchTransport{}
	o := Options{Token: "ghp_bot", APIURL: w.APIURL(), Redis: w.rdb, Catalog: w.catalog, DataDir: t.TempDir(), HTTP: &http.Client{Transport: seen}}
	s, err := New(o)
	w.must(err)
	c, err := s.Resolve(t.Context(), bothRepo, "main")
	w.must(err)
	archive, err := s.client.tarball(t.Context(), bothRepo, c.SHA)
	w.must(err)
	w.must(archive.Close())
	if len(seen.with) == 0 || len(seen.without) == 0 {
		t.Fatalf("with the token: %v; without: %v", seen.with, seen.without)
	}
	for _, path := range seen.with {
		if !strings.HasPrefix(path, "/repos/") {
			t.Errorf("the token was sent to %s", path)
		}
	}
}

type watchTransport struct {
	mu            sync.Mutex
	with, without []string
}

func (w *watchTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	if r.Header.Get("Authorization") != "" {
		w.with = append(w.with, r.URL.Path)
	} else {
		w.without = append(w.without, r.URL.Path)
	}
	w.mu.Unlock()
	return http.DefaultTransport.RoundTrip(r)
}

func TestValidRef(t *testing.T) {
	for ref, want := range map[string]bool{
		"main": true, "feature/x-1": true, "v1.0": true, "grüße": true, "a@b": true, "refs/heads/main": true,
		"": false, "/main": false, "main/": false, "a//b": false, "a..b": false, "a.lock": false, ".a": false, "a/.b": false, "-x": false,
		"a~1": false, "a^": false, "a:b": false, "a?": false, "a*": false, "a[": false, `a\b`: false, "a b": false, "@": false, "a@{1}": false, "a\x00": false,
	} {
		if got := validRef(ref); got != want {
			t.Errorf("validRef(%q) = %v", ref, got)
		}
	}
}

func TestAnAppSignsInAsTheInstallationOfEachRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true, GitHub: githubtest.Options{Enterprise: true, App: &githubtest.App{ID: 7, Slug: "berth"}}})
	key, err := w.AppKey()
	w.must(err)
	installation, err := w.InstallApp("acme", bothRepo)
	w.must(err)
	for what, id := range map[string]int64{"the installation is looked up": 0, "the installation is configured": installation} {
		t.Run(what, func(t *testing.T) {
			s, err := New(Options{App: &AppCredentials{ID: 7, Key: key, InstallationID: id}, APIURL: w.APIURL(), Redis: w.rdb, Catalog: w.catalog, DataDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Resolve(t.Context(), bothRepo, "main"); err != nil {
				t.Fatal(err)
			}
			comment, err := s.client.createComment(t.Context(), bothRepo, w.pull, "<!-- berth:x -->\nHello")
			if err != nil {
				t.Fatal(err)
			}
			if found, err := s.client.ownComment(t.Context(), bothRepo, w.pull, "<!-- berth:x -->", time.Time{}); err != nil || found == 0 {
				t.Errorf("its own comment %d is not found: %d, %v", comment, found, err)
			}
			for _, check := range s.Checks(t.Context()) {
				if !check.OK {
					t.Errorf("check %+v", check)
				}
			}
			if got := s.client.web(); !strings.HasPrefix(w.APIURL(), got+"/api/v3") {
				t.Errorf("web() = %s", got)
			}
		})
	}
	s, err := New(Options{App: &AppCredentials{ID: 7, Key: key}, APIURL: w.APIURL(), Redis: w.rdb, Catalog: catalog{{Name: "x", Repo: "acme/other"}}, DataDir: t.TempDir()})
	w.must(err)
	if _, err := s.Resolve(t.Context(), "acme/other", "main"); actions.CodeOf(err) != actions.CodeNotFound {
		t.Errorf("where it is not installed: %v", err)
	}
	if checks := s.Checks(t.Context()); len(checks) != 2 || checks[1].OK || !strings.Contains(checks[1].Fix, "install") {
		t.Errorf("checks = %+v", checks)
	}
}

func TestChecksSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	w.must(w.AddToken(githubtest.Token{Value: "ghp_rob", User: "rob", Scopes: []string{"repo"}}))
	w.must(w.AddUser(githubtest.User{Login: "wil", Roles: map[string]string{bothRepo: "write"}}))
	w.must(w.AddToken(githubtest.Token{Value: "ghp_wil", User: "wil", Scopes: []string{"repo"}}))
	tests := map[string]struct {
		token, api string
		ok         []bool
		says       string
	}{
		"all is well":                 {"ghp_bot", w.APIURL(), []bool{true, true}, "berth-bot"},
		"a token that sees no hooks":  {"ghp_wil", w.APIURL(), []bool{true, true}, "Webhooks: read"},
		"a token that is wrong":       {"wrong", w.APIURL(), []bool{false}, "401"},
		"a token that only reads":     {"ghp_rob", w.APIURL(), []bool{true, false}, "written"},
		"without a Redis":             {"ghp_bot", w.APIURL(), []bool{true, true}, "berth-bot"},
		"nobody at the API's address": {"ghp_bot", "http://127.0.0.1:1", []bool{false}, "refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := Options{Token: tt.token, APIURL: tt.api, Redis: w.rdb, Catalog: w.catalog, DataDir: t.TempDir()}
			if name == "without a Redis" { // as `berth doctor` looks
				o.Redis = nil
			}
			s, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			checks := s.Checks(t.Context())
			text := ""
			for i, c := range checks {
				if i >= len(tt.ok) || c.OK != tt.ok[i] || (!c.OK && c.Fix == "") {
					t.Errorf("check %d = %+v", i, c)
				}
				text += c.Detail + c.Fix
			}
			if len(checks) != len(tt.ok) || !strings.Contains(text, tt.says) {
				t.Errorf("checks = %+v", checks)
			}
		})
	}
}
