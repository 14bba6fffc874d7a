package github

import (
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot/github/githubtest"
)

func TestResolveTellsAForksCommits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	s := w.replicas[0].surface
	commit := func(repo, branch, text string) string {
		sha, err := w.AddCommit(repo, githubtest.Commit{Branch: branch, Message: text, Author: "ana", Write: map[string]string{"a": text}})
		w.must(err)
		return sha
	}
	sha := func(ref string) string {
		c, err := s.Resolve(t.Context(), bothRepo, ref)
		w.must(err)
		return c.SHA
	}
	older := commit(bothRepo, "main", "one")
	own, number := sha("topic"), "refs/pull/"+itoa(int64(w.pull))+"/head"
	mine, err := w.PushToPullRequest(bothRepo, w.pull, githubtest.Commit{Message: "More", Author: "ana", Write: map[string]string{"b": "1"}})
	w.must(err)
	w.must(w.Tag(bothRepo, "v1", older))
	w.must(w.AddRepo(githubtest.Repo{Name: "eve/shop", ForkOf: bothRepo}))
	open := func(head string) (int, string) {
		n, err := w.OpenPullRequest(githubtest.PullRequest{Repo: bothRepo, HeadRepo: "eve/shop", Head: head, Author: "eve", Files: fstest.MapFS{"x": {Data: []byte(head)}}})
		w.must(err)
		return n, "refs/pull/" + itoa(int64(n)) + "/head"
	}
	_, evil := open("evil")
	merged, good := open("good")
	landed := sha(good)
	_, err = w.MergePullRequest(bothRepo, merged, "ana")
	w.must(err)
	commit(bothRepo, "main", "two")
	theirs, hidden := sha(evil), commit("eve/shop", "unseen", "three")

	for name, tt := range map[string]struct {
		ref  string
		fork bool
	}{
		"a branch":                                   {"topic", false},
		"the default branch":                         {"", false},
		"a tag":                                      {"v1", false},
		"the repository's own pull request":          {number, false},
		"the head of a branch":                       {mine, false},
		"a commit further down a pull request":       {own, false},
		"an ancestor of the default branch":          {older, false},
		"the short name of an ancestor":              {older[:8], false},
		"a fork's commit that was merged":            {landed, false},
		"a fork's pull request":                      {evil, true},
		"a fork's pull request without refs":         {strings.TrimPrefix(evil, "refs/"), true},
		"the commit of a fork's pull request":        {theirs, true},
		"the short name of a fork's commit":          {theirs[:7], true},
		"a fork's commit that no pull request shows": {hidden, true},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // what is remembered says the same
				if c, err := s.Resolve(t.Context(), bothRepo, tt.ref); err != nil || c.Fork != tt.fork {
					t.Errorf("Resolve(%s) = %+v, %v", tt.ref, c, err)
				}
			}
		})
	}
	w.must(w.Tag(bothRepo, "eves", theirs))
	if c, err := s.Resolve(t.Context(), bothRepo, "eves"); err != nil || c.Fork {
		t.Errorf("a tag that somebody of the repository put on it: %+v, %v", c, err)
	}
}

func TestACommitWhoseOriginIsUnknownIsNotTrusted(t *testing.T) {
	t.Parallel()
	for what, path := range map[string]string{
		"the branches": "/repos/acme/shop/commits/*/branches-where-head", "the pull requests": "/repos/acme/shop/commits/*/pulls", "the comparison": "/repos/acme/shop/compare/*",
	} {
		for status, code := range map[int]actions.Code{http.StatusBadGateway: actions.CodeUnavailable, http.StatusForbidden: actions.CodeDownstream} {
			t.Run(what+" "+itoa(int64(status)), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, worldOptions{NoWorker: true})
				w.must(w.AddRepo(githubtest.Repo{Name: "eve/shop", ForkOf: bothRepo}))
				sha, err := w.AddCommit("eve/shop", githubtest.Commit{Branch: "evil", Author: "eve", Write: map[string]string{"a": "b"}})
				w.must(err)
				w.Fail("GET", path, status, 1)
				if c, err := w.replicas[0].surface.Resolve(t.Context(), bothRepo, sha); actions.CodeOf(err) != code {
					t.Errorf("Resolve = %+v, %v", c, err)
				}
				if c, err := w.replicas[0].surface.Resolve(t.Context(), bothRepo, sha); err != nil || !c.Fork {
					t.Errorf("once GitHub answers: %+v, %v", c, err)
				}
			})
		}
	}
}

func TestAnybodysRefs(t *testing.T) {
	sha := strings.Repeat("0123456789", 4)
	for ref, want := range map[string]bool{
		"": false, "main": false, "v1.0": false, "refs/heads/main": false, "refs/pull/7/head": false, "feature/0123456": false, "deadbeef": false,
		sha: true, sha[:4]: true, strings.ToUpper("0123456789"): true, "pull/7/head": true, "refs/pull/7/merge": true, "refs/pull/07/head": true, "v1-3-g0123456": true,
	} {
		if got := anybodys(ref, sha); got != want {
			t.Errorf("anybodys(%q) = %v", ref, got)
		}
	}
}
