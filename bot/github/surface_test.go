package github

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/github/githubtest"
)

func TestDeployIsShownFromTheFirstReactionToTheCleanup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	hold := make(chan struct{})
	w.executor.set(nil, hold)
	id := w.say("ana", "Let's see it.\n\n/deploy\n")
	w.until("the deploy runs", func() bool {
		return slices.Contains(w.reactions(id), "eyes") && strings.Contains(w.sticky(), "is being deployed") &&
			strings.Contains(w.sticky(), "1 of 2 pods ready")
	})
	w.until("a deployment is in progress", func() bool {
		d := w.Deployments(bothRepo)
		return len(d) == 1 && d[0].State() == "in_progress"
	})
	close(hold)
	w.executor.set(nil, nil)
	w.until("it is deployed", func() bool {
		d := w.Deployments(bothRepo)
		return strings.Contains(w.sticky(), "🟢") && len(d) == 1 && d[0].State() == "success" && slices.Contains(w.reactions(id), "rocket")
	})
	w.settled()
	d := w.Deployments(bothRepo)[0]
	if d.Environment != "shop/pr-"+itoa(int64(w.pull)) || !d.Transient || d.Production || d.URL() != "https://pr.shop.example.org" || !strings.HasPrefix(d.LogURL(), "https://berth.example.org/api/v1/runs/") {
		t.Errorf("deployment = %+v", d)
	}
	if len(w.ours("")) != 1 {
		t.Errorf("there is more than one comment:\n%s", w.thread())
	}

	w.must(w.ClosePullRequest(bothRepo, w.pull, "ana"))
	w.until("it is cleaned up", func() bool {
		return strings.Contains(w.sticky(), "🧹") && w.Deployments(bothRepo)[0].State() == "inactive"
	})
	w.settled()
	if n := len(w.allRequests()); n != 2 {
		t.Errorf("%d requests were made, want a deploy and a cleanup", n)
	}
}

func TestAFailureIsToldInACommentThatCallsTheRequester(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.executor.set(actions.Errorf("fake.run", actions.CodeDownstream, "Pod web-1 cannot pull image `shop:v9`: not found. Push the image, says @eve, or choose another tag."), nil)
	id := w.say("ana", "/deploy")
	w.until("the failure is told", func() bool {
		return len(w.ours("<!-- berth:reply=r")) == 1 && slices.Contains(w.reactions(id), "-1") && strings.Contains(w.sticky(), "🔴")
	})
	w.settled()
	told := w.ours("<!-- berth:reply=r")[0].Body
	for _, want := range []string{"@ana: `/deploy", "failed", "cannot pull image", "`shop:v9`"} {
		if !strings.Contains(told, want) {
			t.Errorf("it does not say %q:\n%s", want, told)
		}
	}
	prose, _, _ := strings.Cut(w.sticky(), "```") // in code nobody is called
	if strings.Contains(told, "@eve") || strings.Contains(prose, "@eve") {
		t.Errorf("somebody is called who only stands in an error:\n%s", w.thread())
	}
	if d := w.Deployments(bothRepo); len(d) != 1 || d[0].State() != "failure" {
		t.Errorf("deployments = %+v", d)
	}
}

func TestWhoAndWhatIsNotFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	issue, err := w.OpenIssue(bothRepo, "ana", "A bug", "/deploy")
	w.must(err)
	_, err = w.Comment(bothRepo, issue, "ana", "/deploy")
	w.must(err)
	w.say("renovate[bot]", "/deploy")
	w.say("berth-bot", "<!-- berth:env=shop/pr-1 -->\n/deploy")
	plain := w.say("ana", "Nothing to see here")
	w.must(w.EditComment(bothRepo, plain, "ana", "/deploy"))
	w.settled()
	if n := len(w.allRequests()); n != 0 {
		t.Fatalf("%d requests were made", n)
	}
	if found := w.ours("<!-- berth:reply"); len(found) != 0 {
		t.Fatalf("somebody was answered who asked nothing: %v", found)
	}
}

func TestWhoMayNotIsToldWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	for login, has := range map[string]string{"rob": "`read`", "eve": ""} {
		id := w.say(login, "/deploy\n/status\n")
		w.until(login+" is answered", func() bool { return slices.Contains(w.reactions(id), "-1") })
		w.settled()
		answers := w.ours("<!-- berth:reply=c" + itoa(id))
		if len(answers) != 1 || !strings.Contains(answers[0].Body, "@"+login) || !strings.Contains(answers[0].Body, "`write`") || !strings.Contains(answers[0].Body, has) || !strings.Contains(answers[0].Body, "administers") {
			t.Errorf("%s is answered %v", login, answers)
		}
	}
	if n := len(w.allRequests()); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestAClosedPullRequestTakesNoCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	w.must(w.ClosePullRequest(bothRepo, w.pull, "ana"))
	w.say("ana", "/deploy")
	w.until("it is answered", func() bool { return len(w.ours("<!-- berth:reply")) == 1 })
	if body := w.ours("<!-- berth:reply")[0].Body; !strings.Contains(body, "closed") || !strings.Contains(body, "Reopen") {
		t.Errorf("the answer is %q", body)
	}
	if n := len(w.allRequests()); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestAForksPullRequestNeedsTheAppsLeave(t *testing.T) {
	t.Parallel()
	for allow, what := range map[bool]string{false: "is refused", true: "runs when allowed"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{NoWorker: true, App: func(a *actions.App) { a.AllowForks = allow }})
			w.must(w.AddRepo(githubtest.Repo{Name: "eve/shop", ForkOf: bothRepo}))
			n, err := w.OpenPullRequest(githubtest.PullRequest{Repo: bothRepo, HeadRepo: "eve/shop", Head: "evil", Author: "eve", Files: fstest.MapFS{"x": {Data: []byte("y")}}})
			w.must(err)
			w.pull = n
			w.say("ana", "/deploy")
			if allow {
				w.settled()
				if n := len(w.allRequests()); n != 1 {
					t.Errorf("%d requests were made, want 1\n%s", n, w.thread())
				}
				return
			}
			w.until("it is answered", func() bool { return len(w.ours("<!-- berth:reply")) == 1 })
			if body := w.ours("<!-- berth:reply")[0].Body; !strings.Contains(body, "fork") || !strings.Contains(body, "allow_forks") || len(w.allRequests()) != 0 {
				t.Errorf("answered %q, %d requests", body, len(w.allRequests()))
			}
		})
	}
}

func TestQuestionsAreAnsweredInOneComment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	id := w.say("ana", "/help\n/status\n")
	w.until("they are answered", func() bool { return len(w.reactions(id)) == 2 })
	w.settled()
	answers := w.ours("<!-- berth:reply=c" + itoa(id))
	if len(answers) != 1 || !strings.Contains(answers[0].Body, "This is the help.") || !strings.Contains(answers[0].Body, "`/status`:") {
		t.Errorf("answered %v", answers)
	}
}

func TestCommandsBeyondTheFirstFiveAreSaidToBeLeftOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	id := w.say("ana", strings.Repeat("/help\n\n", bot.MaxCommands+2))
	w.until("they are answered", func() bool { return len(w.reactions(id)) == 2 })
	w.settled()
	answers := w.ours("<!-- berth:reply=c" + itoa(id))
	if len(answers) != 1 || strings.Count(answers[0].Body, "This is the help.") != bot.MaxCommands || !strings.Contains(answers[0].Body, "Only the first 5 commands") {
		t.Errorf("answered %v", answers)
	}
}

func TestARefThatIsNotThereIsAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	id := w.say("ana", "/deploy --ref no-such-branch")
	w.until("it is answered", func() bool {
		return len(w.ours("<!-- berth:reply=r")) == 1 && slices.Contains(w.reactions(id), "-1")
	})
	w.settled()
	body := w.ours("<!-- berth:reply=r")[0].Body
	if !strings.Contains(body, "no-such-branch") || !strings.Contains(body, bothRepo) {
		t.Errorf("answered %q", body)
	}
	if len(w.ours("")) != 1 {
		t.Errorf("a refusal needs one comment:\n%s", w.thread())
	}
}

func TestADryRunIsAnsweredWithItsPlan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.say("ana", "/deploy --dry-run")
	w.until("the plan is shown", func() bool { return len(w.ours("<!-- berth:reply=r")) == 1 })
	w.settled()
	if body := w.ours("<!-- berth:reply=r")[0].Body; !strings.Contains(body, "+ a new thing") || len(w.ours("")) != 1 || len(w.Deployments(bothRepo)) != 0 {
		t.Errorf("shown is\n%s", w.thread())
	}
}

func TestOneDeliveryAtTwoReplicasFiftyTimesIsOneRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{Replicas: 2})
	id := w.say("ana", "/deploy")
	payload := fmt.Sprintf(`{"action":"created","issue":{"number":%d,"state":"open","pull_request":{}},"comment":{"id":%d,"body":"/deploy","user":{"login":"ana","type":"User"}},`+
		`"repository":{"full_name":"acme/shop"},"sender":{"login":"ana","type":"User"}}`, w.pull, id)
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			// Half of them as GitHub's own redelivery, half as another hook's.
			r := delivery("issue_comment", []string{"same-id", "other-id"}[i/2%2], payload, nil)
			if rec := send(w.replicas[i%2].surface.Webhook(), r); rec.Code != 202 {
				t.Errorf("status = %d", rec.Code)
			}
		})
	}
	group.Wait()
	w.until("it is deployed", func() bool { return strings.Contains(w.sticky(), "🟢") })
	w.settled()
	if n := len(w.allRequests()); n != 1 {
		t.Errorf("%d requests were made", n)
	}
	if len(w.ours("")) != 1 || len(w.Deployments(bothRepo)) != 1 {
		t.Errorf("shown is\n%s", w.thread())
	}
}

func TestAPushUpdatesWhatIsDeployedWhenTheAppSaysSo(t *testing.T) {
	t.Parallel()
	for auto, what := range map[bool]string{true: "with auto_update", false: "without"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{App: func(a *actions.App) { a.AutoUpdate = auto }})
			_, err := w.PushToPullRequest(bothRepo, w.pull, githubtest.Commit{Message: "Not deployed yet", Author: "ana", Files: fstest.MapFS{"a": {Data: []byte("0")}}})
			w.must(err)
			w.settled()
			if n := len(w.allRequests()); n != 0 {
				t.Fatalf("%d requests for what is not deployed", n)
			}
			w.say("ana", "/deploy")
			w.until("it is deployed", func() bool { return strings.Contains(w.sticky(), "🟢") })
			sha, err := w.PushToPullRequest(bothRepo, w.pull, githubtest.Commit{Message: "Three replicas", Author: "ana", Files: fstest.MapFS{"a": {Data: []byte("1")}}})
			w.must(err)
			if !auto {
				w.settled()
				if n := len(w.allRequests()); n != 1 {
					t.Errorf("%d requests", n)
				}
				return
			}
			w.until("the push is deployed", func() bool {
				return strings.Contains(w.sticky(), "🟢") && strings.Contains(w.sticky(), sha)
			})
			w.until("the older deployment is inactive", func() bool {
				d := w.Deployments(bothRepo)
				return len(d) == 2 && slices.ContainsFunc(d, func(d githubtest.Deployment) bool { return d.State() == "inactive" && d.SHA != sha })
			})
		})
	}
}

func TestADeletedCommentIsMadeAnewAndAForeignOneIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	foreign := w.say("eve", "<!-- berth:env=shop/pr-"+itoa(int64(w.pull))+" -->\nMine now")
	w.say("ana", "/deploy")
	w.until("it is deployed", func() bool { return strings.Contains(w.sticky(), "🟢") })
	w.settled()
	w.must(w.DeleteComment(bothRepo, w.ours("<!-- berth:env")[0].ID, "ana"))
	w.say("ana", "/cleanup")
	w.until("it is made anew", func() bool { return strings.Contains(w.sticky(), "🧹") })
	for _, c := range w.Thread(bothRepo, w.pull).Comments {
		if c.ID == foreign && c.Edits != 0 {
			t.Error("somebody else's comment was edited")
		}
	}
}

func TestClosingWhileADeployWaitsLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	w.say("ana", "/deploy")
	w.settled()
	w.must(w.ClosePullRequest(bothRepo, w.pull, "ana"))
	w.settled()
	all := w.allRequests()
	if len(all) != 1 || all[0].State != approvals.StateCancelled {
		t.Errorf("requests = %+v", all)
	}
}

// TestClosingWhatCannotBeSeenTakesNothingAway holds that GitHub's 404, which it
// also gives for what it hides, is not taken for the pull request being gone.
func TestClosingWhatCannotBeSeenTakesNothingAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	w.say("ana", "/deploy")
	w.settled()
	w.Fail("GET", "/repos/*/*/pulls/*", 404, -1)
	w.must(w.ClosePullRequest(bothRepo, w.pull, "ana"))
	w.settled()
	all := w.allRequests()
	if len(all) != 1 || all[0].State.Ended() {
		t.Errorf("requests = %+v", all)
	}
}

func TestAnEnvironmentThatIsNoPullRequestsIsAnsweredWhereItWasAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	id := w.say("ana", "/deploy shop/demo --ref main")
	w.until("its end is told", func() bool {
		return len(w.ours("<!-- berth:reply=r")) == 1 && slices.Contains(w.reactions(id), "rocket")
	})
	w.settled()
	if first := w.ours("<!-- berth:reply=c" + itoa(id)); len(first) != 1 || !strings.Contains(first[0].Body, "On it") || len(w.ours("<!-- berth:env")) != 0 {
		t.Errorf("shown is\n%s", w.thread())
	}
	if body := w.ours("<!-- berth:reply=r")[0].Body; !strings.Contains(body, "succeeded") {
		t.Errorf("the end is told as %q", body)
	}
}

func TestClosingWhileADeployRunsCleansUpAfterIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	hold := make(chan struct{})
	w.executor.set(nil, hold)
	w.say("ana", "/deploy")
	w.until("it runs", func() bool { return strings.Contains(w.sticky(), "is being deployed") })
	w.must(w.ClosePullRequest(bothRepo, w.pull, "ana"))
	w.must(w.Flush(t.Context()))
	for len(w.allRequests()) < 2 {
		pause(t.Context(), 20*time.Millisecond)
	}
	close(hold)
	w.executor.set(nil, nil)
	w.until("it is cleaned up", func() bool { return strings.Contains(w.sticky(), "🧹") })
}
