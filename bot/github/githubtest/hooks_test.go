package githubtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-github/v60/github"
)

// missingPaths lists where want has a key that got lacks. What got has as null
// or as an empty list has nothing below it to compare: the example has a
// milestone, say, and the stand-in's pull requests have none.
func missingPaths(got, want any, at string) []string {
	switch want := want.(type) {
	case map[string]any:
		have, ok := got.(map[string]any)
		if !ok {
			if got == nil {
				return nil
			}
			return []string{at + " is no object"}
		}
		var missing []string
		for key, value := range want {
			// Each repository has custom properties of its own.
			if strings.HasSuffix(at, "custom_properties") {
				continue
			}
			if below, ok := have[key]; ok {
				missing = append(missing, missingPaths(below, value, at+"."+key)...)
			} else {
				missing = append(missing, at+"."+key)
			}
		}
		return missing
	case []any:
		have, ok := got.([]any)
		if !ok || len(have) == 0 || len(want) == 0 {
			return nil
		}
		return missingPaths(have[0], want[0], at+"[]")
	}
	return nil
}

// drive does everything that sends an event.
func (s *shop) drive() {
	s.t.Helper()
	ctx, c := soon(s.t), s.client("ghp_bot")
	s.must(s.Ping("acme/shop"))
	n, err := s.OpenPullRequest(PullRequest{Repo: "acme/shop", Head: "second", Author: "ana"})
	s.must(err)
	id, err := s.Comment("acme/shop", n, "ana", "/deploy")
	s.must(err)
	s.must(s.EditComment("acme/shop", id, "ana", "/deploy now"))
	s.must(s.DeleteComment("acme/shop", id, "ana"))
	_, err = s.PushToPullRequest("acme/shop", n, Commit{Write: map[string]string{"NEWS": "n\n"}})
	s.must(err)
	no := false
	d, _, err := c.Repositories.CreateDeployment(ctx, "acme", "shop", &github.DeploymentRequest{Ref: github.String("second"), AutoMerge: &no})
	s.must(err)
	_, _, err = c.Repositories.CreateDeploymentStatus(ctx, "acme", "shop", d.GetID(), &github.DeploymentStatusRequest{State: github.String("success")})
	s.must(err)
	s.must(s.ClosePullRequest("acme/shop", n, "ana"))
	s.must(s.ReopenPullRequest("acme/shop", n, "ana"))
	_, err = s.MergePullRequest("acme/shop", n, "ana")
	s.must(err)
	_, err = s.OpenIssue("acme/shop", "ana", "A plain issue", "without code")
	s.must(err)
	s.must(s.Flush(ctx))
}

func TestPayloadsHaveEveryKeyOfGitHubsOwn(t *testing.T) {
	for _, asApp := range []bool{false, true} {
		t.Run(fmt.Sprintf("as app %t", asApp), func(t *testing.T) {
			s := newShop(t, Options{App: &App{}})
			_, err := s.InstallApp("acme")
			s.must(err)
			k := newSink(t)
			s.must(s.SetWebhook(Webhook{URL: k.URL, Secret: "s", AsApp: asApp}))
			s.drive()
			examples := map[string][]Example{}
			for _, e := range Examples() {
				examples[e.Event+"/"+e.Action] = append(examples[e.Event+"/"+e.Action], e)
			}
			var kinds []string
			for _, d := range s.Deliveries() {
				kind := d.Event + "/" + d.Action
				kinds = append(kinds, kind)
				if len(examples[kind]) == 0 {
					t.Errorf("there is no example of %s", kind)
				}
				got := decode(t, d.Payload)
				for i, e := range examples[kind] {
					want := decode(t, e.Payload)
					// These are there only in certain circumstances: an App, an
					// organization, a milestone event, a deployment by Actions.
					for _, key := range []string{"installation", "organization", "check_run", "workflow", "workflow_run"} {
						if _, ok := got[key]; !ok || got[key] == nil {
							delete(want, key)
						}
					}
					if hook, ok := want["hook"].(map[string]any); ok {
						if hook["type"] != decode(t, d.Payload)["hook"].(map[string]any)["type"] {
							continue // An organization's hook, or another kind.
						}
						delete(hook, "app_id")
					}
					if kind == "issues/opened" {
						delete(want, "changes") // Of an issue that came from another repository.
					}
					missing := missingPaths(got, want, "")
					slices.Sort(missing)
					for _, path := range missing {
						t.Errorf("%s (example %d): no %s", kind, i, path)
					}
				}
				if _, ok := got["installation"]; ok != asApp {
					t.Errorf("%s names an installation: %t", kind, ok)
				}
			}
			for _, kind := range []string{
				"ping/", "pull_request/opened", "issue_comment/created", "issue_comment/edited", "issue_comment/deleted",
				"push/", "pull_request/synchronize", "deployment/created", "deployment_status/created",
				"pull_request/closed", "pull_request/reopened", "issues/opened",
			} {
				if !slices.Contains(kinds, kind) {
					t.Errorf("nothing sent %s", kind)
				}
			}
		})
	}
}

func TestPayloadsParseAsGitHubsClientExpectsThem(t *testing.T) {
	s := newShop(t, Options{})
	k := newSink(t)
	s.must(s.SetWebhook(Webhook{URL: k.URL, Secret: "It's a Secret to Everybody"}))
	s.drive()
	seen := map[string]bool{}
	for _, r := range k.all() {
		if err := github.ValidateSignature(r.header.Get("X-Hub-Signature-256"), r.body, []byte("It's a Secret to Everybody")); err != nil {
			t.Errorf("%s: %v", r.event, err)
		}
		if err := github.ValidateSignature(r.header.Get("X-Hub-Signature"), r.body, []byte("It's a Secret to Everybody")); err != nil {
			t.Errorf("%s: %v", r.event, err)
		}
		for _, name := range []string{"X-GitHub-Delivery", "X-GitHub-Hook-ID", "X-GitHub-Hook-Installation-Target-ID"} {
			if r.header.Get(name) == "" {
				t.Errorf("%s has no %s", r.event, name)
			}
		}
		if !strings.HasPrefix(r.header.Get("User-Agent"), "GitHub-Hookshot/") || r.header.Get("X-GitHub-Hook-Installation-Target-Type") != "repository" {
			t.Errorf("headers %v", r.header)
		}
		parsed, err := github.ParseWebHook(r.event, r.body)
		s.must(err)
		switch e := parsed.(type) {
		case *github.IssueCommentEvent:
			seen["comment "+e.GetAction()] = e.GetIssue().IsPullRequest() && e.GetComment().GetUser().GetLogin() == "ana" && e.GetRepo().GetFullName() == "acme/shop"
			if e.GetAction() == "edited" && *e.GetChanges().Body.From != "/deploy" {
				t.Errorf("changes %+v", e.GetChanges())
			}
		case *github.PullRequestEvent:
			seen["pull "+e.GetAction()] = e.GetPullRequest().GetHead().GetRef() == "second"
			if e.GetAction() == "synchronize" && (e.GetBefore() == e.GetAfter() || e.GetAfter() != e.GetPullRequest().GetHead().GetSHA()) {
				t.Errorf("synchronize from %s to %s", e.GetBefore(), e.GetAfter())
			}
		case *github.PushEvent:
			seen["push"] = e.GetHeadCommit().GetID() == e.GetAfter() && len(e.Commits) > 0
		}
	}
	for _, name := range []string{"comment created", "comment edited", "comment deleted", "pull opened", "pull synchronize", "pull closed", "pull reopened", "push"} {
		if !seen[name] {
			t.Errorf("%s is missing or wrong", name)
		}
	}
}

func TestGitHubsPublishedSignature(t *testing.T) {
	const want = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	if got := Sign("It's a Secret to Everybody", []byte("Hello, World!")); got != want {
		t.Errorf("got %s", got)
	}
}

func TestDeliveriesAreRecordedAndNotRepeated(t *testing.T) {
	now := time.Now()
	s := newShop(t, Options{Now: func() time.Time { return now }})
	k := newSink(t)
	s.must(s.SetWebhook(Webhook{URL: k.URL, Secret: "s", Events: []string{"issue_comment"}}))
	ctx, c := soon(t), s.client("ghp_bot")
	k.answer(http.StatusServiceUnavailable)
	_, err := s.Comment("acme/shop", s.pull, "ana", "/deploy")
	s.must(err)
	s.must(s.Flush(ctx))
	if n := len(k.all()); n != 1 {
		t.Fatalf("%d deliveries", n)
	}
	hooks, _, err := c.Repositories.ListHooks(ctx, "acme", "shop", nil)
	s.must(err)
	failed, _, err := c.Repositories.ListHookDeliveries(ctx, "acme", "shop", hooks[0].GetID(), &github.ListCursorOptions{PerPage: 10})
	s.must(err)
	if len(failed) != 1 || failed[0].GetStatusCode() != 503 || failed[0].GetEvent() != "issue_comment" || failed[0].GetAction() != "created" {
		t.Fatalf("deliveries %v", failed)
	}
	full, _, err := c.Repositories.GetHookDelivery(ctx, "acme", "shop", hooks[0].GetID(), failed[0].GetID())
	s.must(err)
	if payload, err := full.ParseRequestPayload(); err != nil || payload.(*github.IssueCommentEvent).GetComment().GetBody() != "/deploy" {
		t.Errorf("payload %v %v", payload, err)
	}
	k.answer(http.StatusAccepted)
	_, res, err := c.Repositories.RedeliverHookDelivery(ctx, "acme", "shop", hooks[0].GetID(), failed[0].GetID())
	var accepted *github.AcceptedError
	if !errors.As(err, &accepted) || res.StatusCode != 202 {
		t.Fatalf("redelivery: %v", err)
	}
	s.must(s.Flush(ctx))
	got := k.all()
	if len(got) != 2 || got[0].header.Get("X-GitHub-Delivery") != got[1].header.Get("X-GitHub-Delivery") || string(got[0].body) != string(got[1].body) {
		t.Errorf("the redelivery is another event")
	}
	all := s.Deliveries()
	if len(all) != 2 || !all[1].Redelivery || all[1].Status != "OK" || all[0].GUID != all[1].GUID {
		t.Errorf("deliveries %+v", all)
	}
	now = now.Add(73 * time.Hour)
	if err := s.Redeliver(all[0].ID); err == nil {
		t.Error("a delivery of three days ago was sent again")
	}
}

func TestDeliveryThatTakesTooLongIsGivenUp(t *testing.T) {
	s := newShop(t, Options{WebhookTimeout: 20 * time.Millisecond})
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer slow.Close()
	defer close(release)
	s.must(s.SetWebhook(Webhook{URL: slow.URL}))
	s.must(s.Ping("acme/shop"))
	s.must(s.Flush(soon(t)))
	if d := s.Deliveries()[0]; d.StatusCode != 504 || d.Status != "timed out" {
		t.Errorf("delivery %+v", d)
	}
}

func TestFormDeliveriesAreSignedOverTheForm(t *testing.T) {
	s := newShop(t, Options{})
	k := newSink(t)
	s.must(s.SetWebhook(Webhook{URL: k.URL, Secret: "s", ContentType: "form"}))
	s.must(s.Ping("acme/shop"))
	s.must(s.Flush(soon(t)))
	r := k.all()[0]
	form, err := url.ParseQuery(string(r.body))
	s.must(err)
	if r.header.Get("X-Hub-Signature-256") != "sha256="+Sign("s", r.body) || !json.Valid([]byte(form.Get("payload"))) {
		t.Errorf("form delivery %v %.60s", r.header, r.body)
	}
}

func TestForksAreForks(t *testing.T) {
	s := newShop(t, Options{})
	k := newSink(t)
	s.must(s.SetWebhook(Webhook{URL: k.URL}))
	s.must(s.AddRepo(Repo{Name: "eve/shop", ForkOf: "acme/shop"}))
	n, err := s.OpenPullRequest(PullRequest{Repo: "acme/shop", HeadRepo: "eve/shop", Head: "evil", Author: "eve"})
	s.must(err)
	_, err = s.PushToPullRequest("acme/shop", n, Commit{Write: map[string]string{"x": "y"}})
	s.must(err)
	s.must(s.Flush(soon(t)))
	var got []string
	for _, r := range k.all() {
		parsed, err := github.ParseWebHook(r.event, r.body)
		s.must(err)
		if e, ok := parsed.(*github.PullRequestEvent); ok {
			got = append(got, e.GetAction()+" "+e.GetPullRequest().GetHead().GetRepo().GetFullName())
			if !e.GetPullRequest().GetHead().GetRepo().GetFork() || e.GetPullRequest().GetAuthorAssociation() != "NONE" {
				t.Errorf("fork %+v", e.GetPullRequest().GetHead())
			}
		}
	}
	if !slices.Equal(got, []string{"opened eve/shop", "synchronize eve/shop"}) {
		t.Errorf("events %v", got)
	}
}

func TestExamplesAreAllThere(t *testing.T) {
	all := Examples()
	events := map[string]bool{}
	for _, e := range all {
		events[e.Event] = true
		if !json.Valid(e.Payload) {
			t.Errorf("%s/%s is no JSON", e.Event, e.Action)
		}
	}
	if len(all) != 329 || len(events) != 58 {
		t.Errorf("%d examples of %d events", len(all), len(events))
	}
}
