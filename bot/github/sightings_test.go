package github

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/github/githubtest"
)

func TestOnlyAnAnswerAboutThatPullRequestSaysThatItIsClosed(t *testing.T) {
	t.Parallel()
	const head, base = `"head": {"sha": "1"}`, `"base": {"repo": {"full_name": "acme/shop"}}`
	const at = `"closed_at": "2026-01-02T03:04:05Z"`
	for what, tt := range map[string]struct {
		status int
		body   string
		closed bool
		code   actions.Code
	}{
		"a closed one":              {200, `{"number": 7, "state": "closed", ` + at + `, ` + head + `, ` + base + `}`, true, ""},
		"an open one":               {200, `{"number": 7, "state": "open", "closed_at": null, ` + head + `, ` + base + `}`, false, ""},
		"another number":            {200, `{"number": 8, "state": "closed", ` + at + `, ` + head + `, ` + base + `}`, false, actions.CodeUnavailable},
		"another repository":        {200, `{"number": 7, "state": "closed", ` + at + `, ` + head + `, "base": {"repo": {"full_name": "acme/store"}}}`, false, actions.CodeUnavailable},
		"no repository":             {200, `{"number": 7, "state": "closed", ` + at + `, ` + head + `}`, false, actions.CodeUnavailable},
		"a state that nobody knows": {200, `{"number": 7, "state": "merged", ` + at + `, ` + head + `, ` + base + `}`, false, actions.CodeUnavailable},
		"closed at no time":         {200, `{"number": 7, "state": "closed", ` + head + `, ` + base + `}`, false, actions.CodeUnavailable},
		"open and closed":           {200, `{"number": 7, "state": "open", ` + at + `, ` + head + `, ` + base + `}`, false, actions.CodeUnavailable},
		"nothing":                   {200, ``, false, actions.CodeUnavailable},
		"null":                      {200, `null`, false, actions.CodeUnavailable},
		"an empty object":           {200, `{}`, false, actions.CodeUnavailable},
		"a list":                    {200, `[]`, false, actions.CodeUnavailable},
		"half an object":            {200, `{"number": 7, "state": "closed", `, false, actions.CodeUnavailable},
		"a page of a proxy":         {200, `<html>`, false, actions.CodeUnavailable},
		"none of that number":       {404, `{"message": "Not Found"}`, false, actions.CodeNotFound},
		"one that is gone":          {410, `{"message": "Gone"}`, false, actions.CodeNotFound},
		"an error":                  {500, `{"message": "Server Error"}`, false, actions.CodeUnavailable},
		"a refusal":                 {403, `{"message": "Forbidden"}`, false, actions.CodeUnavailable},
		"a credential that ran out": {401, `{"message": "Bad credentials"}`, false, actions.CodeUnavailable},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			})
			closed, when, err := (&Surface{client: c}).Closed(t.Context(), bothRepo, 7)
			if closed != tt.closed || actions.CodeOf(err) != tt.code || closed == when.IsZero() {
				t.Errorf("Closed = %v, %v, %v", closed, when, err)
			}
		})
	}
}

func TestOneCleanupWhoeverSeesTheEndFirst(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"the sweep", "the webhook"} {
		t.Run(first, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{})
			s := w.replicas[0].surface
			w.say("ana", "/deploy")
			w.until("it is deployed", func() bool { return strings.Contains(w.sticky(), "🟢") })
			w.settled()
			name := actions.Name{App: "shop", Env: actions.PullRequestName(w.pull)}
			gate := make(chan struct{})
			w.executor.set(nil, gate) // the cleanup stays under way, or ends in between
			if first == "the sweep" {
				w.must(w.SetWebhook(githubtest.Webhook{})) // lost
			}
			w.must(w.ClosePullRequest(bothRepo, w.pull, "ana"))
			w.must(w.Flush(t.Context()))
			if first == "the webhook" {
				w.until("the webhook's cleanup is asked for", func() bool { return strings.Contains(w.sticky(), "cleaned up") })
			}
			closed, at, err := s.Closed(t.Context(), bothRepo, w.pull)
			if !closed || err != nil {
				t.Fatalf("Closed = %v, %v", closed, err)
			}
			r, err := s.CleanUp(t.Context(), name, bothRepo, w.pull, at, "")
			w.must(err)
			close(gate)
			if first == "the sweep" {
				if r == nil || r.Key != fmt.Sprintf("github:pr-closed:acme/shop#%d:%s", w.pull, at.Format(time.RFC3339)) {
					t.Fatalf("request = %+v", r)
				}
				// The delivery comes late, with the key that it always has.
				body := fmt.Sprintf(`{"action": "closed", "number": %d, "pull_request": {"head": {"sha": %q}, "closed_at": %q}, "repository": {"full_name": "acme/shop"}, "sender": {"login": "ana", "id": 1, "type": "User"}}`,
					w.pull, strings.Repeat("a", 40), at.Format(time.RFC3339))
				if rec := send(s.Webhook(), delivery("pull_request", "late", body, nil)); rec.Code != http.StatusAccepted {
					t.Fatal(rec.Code)
				}
			}
			w.until("it is gone", func() bool { return strings.Contains(w.sticky(), "🧹") })
			w.settled()
			n := 0
			for _, r := range w.allRequests() {
				if r.Order.Verb == actions.VerbCleanup {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%d cleanups were asked for", n)
			}
			if r, err := s.CleanUp(t.Context(), name, bothRepo, w.pull, at, "2026-01-01"); r != nil || err != nil {
				t.Errorf("CleanUp of what is gone = %+v, %v", r, err)
			}
		})
	}
}

func TestOpenPullRequestsAreListedToTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	want := []int{w.pull}
	for i := range 120 {
		n, err := w.OpenPullRequest(githubtest.PullRequest{Repo: bothRepo, Head: fmt.Sprintf("b%d", i), Author: "ana"})
		w.must(err)
		want = append(want, n)
	}
	w.must(w.ClosePullRequest(bothRepo, want[5], "ana"))
	want = slices.Delete(want, 5, 6)
	got, err := w.replicas[0].surface.Open(t.Context(), bothRepo)
	slices.Sort(got)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Open = %v, %v", got, err)
	}
}

func TestWhatNeverArrivedIsFetched(t *testing.T) {
	t.Parallel()
	for what, asApp := range map[string]bool{"from a repository's webhook": false, "from the App's": true} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			o := worldOptions{NoWorker: true, Surface: func(o *Options) { o.PublicURL = "" }}
			if asApp {
				o.GitHub.App = &githubtest.App{}
			}
			w := newWorld(t, o)
			s := w.replicas[0].surface
			if asApp {
				s = w.asApp()
			}
			hook := githubtest.Webhook{URL: w.replicas[0].web.URL + webhookPath, Secret: testSecret, AsApp: asApp}
			w.must(w.SetWebhook(hook))
			first := w.say("ana", "/status")
			w.until("it is answered", func() bool { return len(w.reactions(first)) > 0 })
			replay := func(want int) {
				t.Helper()
				if n, err := s.Replay(t.Context()); n != want || err != nil {
					t.Fatalf("Replay = %d, %v; want %d", n, err, want)
				}
			}
			w.settled()
			replay(0)
			// Berth cannot be reached for a while.
			lost := hook
			lost.URL = "http://127.0.0.1:1" + webhookPath
			w.must(w.SetWebhook(lost))
			for range 3 {
				w.say("ana", "just talk")
			}
			id := w.say("ana", "/help")
			w.must(w.Flush(t.Context()))
			w.must(w.SetWebhook(hook))
			if n := len(w.ours("<!-- berth:reply=c" + itoa(id))); n != 0 {
				t.Fatal("it arrived after all")
			}
			replay(4)
			w.until("the lost command is answered", func() bool { return len(w.ours("<!-- berth:reply=c"+itoa(id))) == 1 })
			replay(0)
			w.settled()
			if n := len(w.ours("<!-- berth:reply=c" + itoa(id))); n != 1 {
				t.Errorf("it is answered %d times", n)
			}
		})
	}
}

// asApp is a surface that signs in as the App, beside the one that does not.
func (w *world) asApp() *Surface {
	w.t.Helper()
	_, err := w.InstallApp("acme")
	w.must(err)
	key, err := w.AppKey()
	w.must(err)
	s, err := New(Options{
		WebhookSecret: []byte(testSecret), App: &AppCredentials{ID: 1, Key: key}, APIURL: w.APIURL(),
		Redis: w.rdb, Store: w.store, Requests: w.requests, Catalog: w.catalog, Lines: testLines, DataDir: w.root,
	})
	w.must(err)
	return s
}

func TestAWebhookThatBerthMayNotSeeIsSaidOnceAndIsNoError(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	w.Fail("GET", "/repos/*/*/hooks", http.StatusNotFound, -1)
	for range 3 {
		if n, err := w.replicas[0].surface.Replay(t.Context()); n != 0 || err != nil {
			t.Errorf("Replay = %d, %v", n, err)
		}
	}
	w.Heal()
	w.Fail("GET", "/repos/*/*/hooks", http.StatusBadGateway, -1)
	if _, err := w.replicas[0].surface.Replay(t.Context()); err == nil {
		t.Error("an outage is no error")
	}
}

// componentWorld is an environment of acme/shop that is built from a pull request
// of acme/api as well.
func componentWorld(t *testing.T, o worldOptions) (w *world, part int) {
	t.Helper()
	change := o.App
	o.App = func(a *actions.App) {
		a.Components = map[string]actions.Component{"api": {Repo: "acme/api"}}
		if change != nil {
			change(a)
		}
	}
	w = newWorld(t, o)
	w.must(w.AddRepo(githubtest.Repo{Name: "acme/api", Files: fstest.MapFS{"main.go": {Data: []byte("package main\n")}}}))
	w.must(w.SetRole("acme/api", "ana", "write"))
	w.must(w.SetRole("acme/api", "berth-bot", "admin"))
	w.must(w.SetWebhook(githubtest.Webhook{URL: w.replicas[0].web.URL + webhookPath, Secret: testSecret}))
	part, err := w.OpenPullRequest(githubtest.PullRequest{Repo: "acme/api", Head: "faster", Title: "Faster", Author: "ana", Files: fstest.MapFS{"x": {Data: []byte("y")}}})
	w.must(err)
	name := actions.Name{App: "shop", Env: actions.PullRequestName(w.pull)}
	_, _, err = w.requests.Submit(t.Context(), approvals.Request{
		Order:   actions.Order{Env: name, Verb: actions.VerbDeploy, PullRequest: w.pull, With: map[string]string{"api": placeID("acme/api", part)}, By: "ana"},
		Command: "deploy", Requester: approvals.Requester{Actor: "ana"}, Place: approvals.Place{Surface: "cli"},
	})
	w.must(err)
	w.until("both pull requests show it", func() bool {
		return strings.Contains(w.sticky(), "🟢") && strings.Contains(w.partSticky(part), "🟢")
	})
	return w, part
}

// partSticky is the environment's comment on the component's pull request.
func (w *world) partSticky(number int) string {
	found := ""
	for _, c := range w.Thread("acme/api", number).Comments {
		if strings.HasPrefix(c.Body, "<!-- berth:env=") {
			if found != "" {
				return "two of them"
			}
			found = c.Body
		}
	}
	return found
}

// partAnswers are the bot's other comments there.
func (w *world) partAnswers(number int) (found []string) {
	for _, c := range w.Thread("acme/api", number).Comments {
		if strings.HasPrefix(c.Body, "<!-- berth:reply=") {
			found = append(found, c.Body)
		}
	}
	return found
}

func TestAComponentsPullRequestShowsTheEnvironmentToo(t *testing.T) {
	t.Parallel()
	w, part := componentWorld(t, worldOptions{})
	for _, want := range []string{fmt.Sprintf("/acme/shop/pull/%d", w.pull), "https://pr.shop.example.org", "**api**"} {
		if !strings.Contains(w.partSticky(part), want) {
			t.Errorf("it does not say %q:\n%s", want, w.partSticky(part))
		}
	}
	if !strings.Contains(w.sticky(), fmt.Sprintf("/acme/api/pull/%d", part)) {
		t.Errorf("the environment's own does not show its component:\n%s", w.sticky())
	}
	w.say("ana", "/cleanup")
	w.until("both say that it is gone", func() bool {
		return strings.Contains(w.sticky(), "🧹") && strings.Contains(w.partSticky(part), "not built from this")
	})
}

func TestAComponentsPullRequestIsToldWhatBecomesOfTheEnvironment(t *testing.T) {
	t.Parallel()
	w, part := componentWorld(t, worldOptions{})
	n := bot.Notice{
		Event: bot.EventExpiring, Env: actions.Name{App: "shop", Env: actions.PullRequestName(w.pull)}, Key: "expiring:1", Title: "it expires",
		Commands: []bot.Suggestion{{Label: "Keep", Command: "extend shop/pr-1 --keep"}},
	}
	for range 2 {
		w.must(w.replicas[0].surface.Tell(t.Context(), n))
	}
	w.until("both are told", func() bool { return len(w.partAnswers(part)) > 0 && len(w.ours("<!-- berth:reply=t")) > 0 })
	w.settled()
	there, here := w.partAnswers(part), w.ours("<!-- berth:reply=t")
	if len(there) != 1 || len(here) != 1 {
		t.Fatalf("told %d and %d times", len(there), len(here))
	}
	if !strings.Contains(here[0].Body, "To type here") || !strings.Contains(there[0], "To type on") || !strings.Contains(there[0], fmt.Sprintf("/acme/shop/pull/%d", w.pull)) {
		t.Errorf("here:\n%s\nthere:\n%s", here[0].Body, there[0])
	}
}

func TestCommandsOnAComponentsPullRequestOnlyLook(t *testing.T) {
	t.Parallel()
	w, part := componentWorld(t, worldOptions{})
	before := len(w.allRequests())
	_, err := w.Comment("acme/api", part, "ana", "/cleanup")
	w.must(err)
	w.until("it is refused, and told where it is typed", func() bool {
		return slices.ContainsFunc(w.partAnswers(part), func(a string) bool {
			return strings.Contains(a, "nothing ran") && strings.Contains(a, fmt.Sprintf("/acme/shop/pull/%d", w.pull))
		})
	})
	_, err = w.Comment("acme/api", part, "ana", "/status")
	w.must(err)
	w.until("status answers", func() bool {
		return slices.ContainsFunc(w.partAnswers(part), func(a string) bool { return strings.Contains(a, "shop/pr-1") && !strings.Contains(a, "nothing ran") })
	})
	_, err = w.Comment("acme/api", part, "ana", "/status shop/pr-99")
	w.must(err)
	w.until("nothing else of the app is shown", func() bool {
		return slices.ContainsFunc(w.partAnswers(part), func(a string) bool { return strings.Contains(a, "a part of, `shop/pr-1`") })
	})
	if n := len(w.allRequests()); n != before {
		t.Errorf("%d requests were made", n-before)
	}
}

func TestAPushToAComponentDeploysItWhereTheAppSaysSo(t *testing.T) {
	t.Parallel()
	w, part := componentWorld(t, worldOptions{App: func(a *actions.App) { a.AutoUpdate = true }})
	sha, err := w.PushToPullRequest("acme/api", part, githubtest.Commit{Message: "Faster still", Author: "ana", Files: fstest.MapFS{"x": {Data: []byte("z")}}})
	w.must(err)
	w.until("the new commit runs", func() bool {
		return strings.Contains(w.partSticky(part), sha) && strings.Contains(w.partSticky(part), "🟢")
	})
	w.settled()
	if n := len(w.partAnswers(part)); n != 0 {
		t.Errorf("a push is answered: %v", w.partAnswers(part))
	}
}

func TestTheEndOfAComponentsPullRequestChangesNothingAndIsSaid(t *testing.T) {
	t.Parallel()
	w, part := componentWorld(t, worldOptions{})
	before := len(w.allRequests())
	w.must(w.ClosePullRequest("acme/api", part, "ana"))
	w.until("both are told", func() bool {
		told := func(bodies []string) bool {
			return slices.ContainsFunc(bodies, func(b string) bool { return strings.Contains(b, "stays as it is") })
		}
		var own []string
		for _, c := range w.ours("<!-- berth:reply=") {
			own = append(own, c.Body)
		}
		return told(own) && told(w.partAnswers(part))
	})
	w.settled()
	if n := len(w.allRequests()); n != before {
		t.Errorf("%d requests were made", n-before)
	}
}
