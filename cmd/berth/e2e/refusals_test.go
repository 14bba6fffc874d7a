package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/berth-dev/berth/bot/github/githubtest"
)

// TestEveryFailureIsAnsweredOnThePullRequest holds Berth to its promise that
// whoever asked is told what is wrong and what to do.
func TestEveryFailureIsAnsweredOnThePullRequest(t *testing.T) {
	tests := map[string]struct {
		change  func(w *world, app string) string
		command string
		says    []string
	}{
		"a chart that does not exist": {
			change: replace("repo:deploy/chart", "repo:deploy/nothing"), command: "/deploy",
			says: []string{"deploy/nothing", "acme/shop"},
		},
		"values that the chart does not take": {
			change: replace("image: {", "replicaCount: many\n            image: {"), command: "/deploy",
			says: []string{"replicaCount"},
		},
		"an image that cannot be pulled": {
			change: replace("registry.example.org", "registry.invalid"), command: "/deploy",
			says: []string{"ImagePullBackOff", "registry.invalid/acme/shop"},
		},
		"a namespace without permission": {
			change: replace("cluster: e2e", "cluster: poor"), command: "/deploy",
			says: []string{"does not let Berth", "default:poor", "Grant"},
		},
		"a cluster that cannot be reached": {
			change: replace("cluster: e2e", "cluster: gone"), command: "/deploy",
			says: []string{"cannot be reached", "connection was refused"},
		},
		"an app that nobody knows": {command: "/deploy shoq/pr-1", says: []string{"shoq", "no app"}},
		"a ref that is not there":  {command: "/deploy --ref no-such-branch", says: []string{"no-such-branch", "acme/shop"}},
		"a key that may not be set": {
			command: "/deploy --set ingress.host=evil.example.org",
			says:    []string{"ingress.host", "replicaCount"},
		},
		"a verb that was mistyped": {command: "/deplpy", says: []string{"deploy"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			app := w.simpleApp()
			if test.change != nil {
				app = test.change(w, app)
			}
			w.startBerth(app)
			comment := w.comment(ana, test.command)
			w.awaitSays(test.says...)
			w.await("a thumbs-down", func() bool { return strings.Contains(fmt.Sprint(w.reactions(comment)), "-1") })
			t.Logf("the answer:\n%s", strings.Join(w.botComments(), "\n-----\n"))
		})
	}
}

func replace(old, with string) func(*world, string) string {
	return func(w *world, app string) string {
		if !strings.Contains(app, old) {
			w.t.Fatalf("the app has no %q", old)
		}
		return strings.Replace(app, old, with, 1)
	}
}

func TestNothingRunsForThoseWhoMayNotCommand(t *testing.T) {
	w := newWorld(t)
	b := w.startBerth(w.simpleApp())
	must(t, w.github.AddUser(githubtest.User{Login: "robot[bot]", Type: "Bot", Roles: map[string]string{repo: "write"}}))

	w.comment(eve, "/deploy")
	w.awaitSays("write")
	w.comment("robot[bot]", "/deploy")
	w.comment(ana, "> /deploy")
	w.comment(ana, "```\n/deploy\n```")
	edited := w.comment(ana, "nothing yet")
	must(t, w.github.EditComment(repo, edited, ana, "/deploy"))
	must(t, w.github.Flush(t.Context()))

	// A command that does run marks the end: deliveries are handled in order.
	w.comment(ana, "/help")
	w.await("an answer to /help", func() bool { return len(w.botComments()) == 2 })
	if requests := b.requests(); len(requests) != 0 {
		t.Errorf("these requests were made: %v", requests)
	}
}

func TestAForkNeedsAnExplicitYes(t *testing.T) {
	for name, allowed := range map[string]bool{"without allow_forks it is refused": false, "with allow_forks it runs": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			must(t, w.github.AddRepo(githubtest.Repo{Name: "mallory/shop", ForkOf: repo}))
			pull, err := w.github.OpenPullRequest(githubtest.PullRequest{Repo: repo, HeadRepo: "mallory/shop", Head: "evil", Author: "mallory"})
			must(t, err)
			w.pull = pull
			w.startBerth(w.simpleApp() + fmt.Sprintf("    allow_forks: %v\n", allowed))
			w.comment(ana, "/deploy")
			if allowed {
				w.awaitSays("is running")
			} else {
				w.awaitSays("fork", "allow_forks")
			}
		})
	}
}

func TestAForksCommitIsRefusedFromAnotherPullRequest(t *testing.T) {
	w := newWorld(t)
	must(t, w.github.AddRepo(githubtest.Repo{Name: "mallory/shop", ForkOf: repo}))
	evil, err := w.github.OpenPullRequest(githubtest.PullRequest{Repo: repo, HeadRepo: "mallory/shop", Head: "evil", Author: "mallory"})
	must(t, err)
	w.startBerth(w.simpleApp())
	w.comment(ana, fmt.Sprintf("/deploy --ref refs/pull/%d/head", evil))
	w.awaitSays("fork", "allow_forks")
}

func TestEveryRealWorldPayloadIsTaken(t *testing.T) {
	w := newWorld(t)
	b := w.startBerth(w.simpleApp())
	for i, example := range githubtest.Examples() {
		header := http.Header{
			"Content-Type": {"application/json"}, "X-Github-Event": {example.Event},
			"X-Github-Delivery": {fmt.Sprintf("00000000-0000-4000-8000-%012d", i)},
		}
		if code := post(t, b.url, header, example.Payload); code != http.StatusUnauthorized {
			t.Errorf("%s/%s without a signature got %d, want 401", example.Event, example.Action, code)
		}
		header.Set("X-Hub-Signature-256", "sha256="+githubtest.Sign("not the secret", example.Payload))
		if code := post(t, b.url, header, example.Payload); code != http.StatusUnauthorized {
			t.Errorf("%s/%s with a wrong signature got %d, want 401", example.Event, example.Action, code)
		}
		header.Set("X-Hub-Signature-256", "sha256="+githubtest.Sign(secret, example.Payload))
		if code := post(t, b.url, header, example.Payload); code != http.StatusAccepted {
			t.Errorf("%s/%s got %d, want 202", example.Event, example.Action, code)
		}
	}
	if code := b.status("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz is %d afterwards", code)
	}
	w.comment(ana, "/deploy")
	w.awaitSays("is running")
}

// post delivers a webhook by hand.
func post(t testing.TB, server string, header http.Header, body []byte) int {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server+"/webhooks/github", bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0
	}
	req.Header = header.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}
