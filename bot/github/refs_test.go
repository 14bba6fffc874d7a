package github

import (
	"slices"
	"testing"
	"testing/fstest"

	"github.com/berth-dev/berth/bot/github/githubtest"
)

func TestRefsAreTheBranchesThatPeopleWorkOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	w.must(w.AddRepo(githubtest.Repo{Name: "eve/shop", ForkOf: bothRepo}))
	_, err := w.OpenPullRequest(githubtest.PullRequest{Repo: bothRepo, HeadRepo: "eve/shop", Head: "evil", Author: "eve", Files: fstest.MapFS{"x": {Data: []byte("y")}}})
	w.must(err)
	all, err := w.replicas[0].surface.Refs(t.Context(), bothRepo, "")
	w.must(err)
	if len(all) != 2 || all[0] != "main" || slices.Contains(all, "evil") {
		t.Fatalf("refs = %q", all)
	}
	some, err := w.replicas[0].surface.Refs(t.Context(), bothRepo, "MA")
	w.must(err)
	if !slices.Equal(some, []string{"main"}) {
		t.Errorf("those that begin with MA are %q", some)
	}
}
