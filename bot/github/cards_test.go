package github

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot/github/githubtest"
)

// quorum asks for approvals of a team's people, as a policy of the config does;
// change says what else is so by now.
type quorum struct {
	count  int
	from   []string
	mu     sync.Mutex
	change func(*approvals.RuleOutcome)
}

func (q *quorum) set(change func(*approvals.RuleOutcome)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.change = change
}

func (q *quorum) Evaluate(_ context.Context, r *approvals.Request) (approvals.Outcome, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	g := approvals.GroupOutcome{Count: q.count, From: q.from}
	rule := approvals.RuleOutcome{Rule: "two-of-ops", Effect: approvals.EffectApprove, NotRequester: true, ExpiresAt: r.CreatedAt.Add(4 * time.Hour)}
	o := approvals.Outcome{Effect: approvals.EffectApprove, Reason: "It needs approvals."}
	for _, d := range r.Decisions {
		switch {
		case d.By.Identity == r.Requester.Identity:
			rule.Ignored = append(rule.Ignored, approvals.Ignored{By: d.By.Actor, Verdict: d.Verdict, Why: "asked for it themselves", Identity: d.By.Identity})
		case d.Verdict == approvals.Deny:
			g.Against = append(g.Against, d.By.Actor)
			o.Effect, o.Reason = approvals.EffectDeny, d.By.Actor+" said no."
		default:
			g.By = append(g.By, d.By.Actor)
		}
	}
	g.Missing = max(0, g.Count-len(g.By))
	rule.Groups = []approvals.GroupOutcome{g}
	if q.change != nil {
		q.change(&rule)
	}
	if o.Effect == approvals.EffectApprove && (g.Missing == 0 || rule.BrokenBy != "") {
		o.Effect = approvals.EffectRelease
		rule.Effect = o.Effect
	}
	o.Rules = []approvals.RuleOutcome{rule}
	return o, nil
}

// deciders are people who may write, and a team of them.
func (w *world) deciders() {
	for _, login := range []string{"ben", "cleo"} {
		w.must(w.AddUser(githubtest.User{Login: login, Roles: map[string]string{bothRepo: "write"}}))
	}
	w.AddTeam("acme", "ops", "ben", "cleo")
}

// cards are the bot's comments that ask about requests.
func (w *world) cards() []githubtest.Comment { return w.ours("<!-- berth:request=") }

// card waits until there is one card, and it holds all of words.
func (w *world) card(words ...string) string {
	w.t.Helper()
	body := ""
	w.until(fmt.Sprintf("one card says %q", words), func() bool {
		all := w.cards()
		if len(all) != 1 {
			return false
		}
		body = all[0].Body
		return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(body, word) })
	})
	return body
}

func TestACardAsksIsEditedAndSaysTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{Policy: &quorum{count: 2, from: []string{"github-team:acme/ops", "role:sre"}}})
	w.deciders()
	w.say("ana", "/deploy")
	body := w.card("waits for approval", "**2** of the team `acme/ops` or `role:sre`", "not ana, who asked for it", "@acme/ops: you can decide this.")
	id := w.allRequests()[0].ID
	if !strings.Contains(body, "/approve "+id) {
		t.Errorf("it does not say what to type:\n%s", body)
	}
	w.until("the environment's comment points to it", func() bool { return strings.Contains(w.sticky(), "[the question](") })

	first := w.say("ben", "/approve "+id)
	body = w.card("**1 more** of", "(ben agreed)", "✅ **ben** agreed [here](")
	if strings.Contains(body, "@acme/ops") {
		t.Errorf("an edit calls the team again:\n%s", body)
	}
	own := w.say("ana", "/approve "+id)
	w.until("who asked is told that theirs does not count", func() bool { return slices.Contains(w.reactions(own), "-1") })
	second := w.say("cleo", "/approve "+id)
	body = w.card("was approved, and is done", "🟢 2 of", "**cleo** agreed")
	if strings.Contains(body, "/approve ") {
		t.Errorf("it still says what to type:\n%s", body)
	}
	w.settled()
	for _, comment := range []int64{first, second} {
		if !slices.Contains(w.reactions(comment), "rocket") {
			t.Errorf("an approval got no rocket:\n%s", w.thread())
		}
		if answers := w.ours("<!-- berth:reply=c" + itoa(comment)); len(answers) != 0 {
			t.Errorf("an approval that the card shows is answered as well: %v", answers)
		}
	}
	if len(w.cards()) != 1 {
		t.Errorf("there are %d cards:\n%s", len(w.cards()), w.thread())
	}
}

func TestADenyIsShownAndTheRequesterTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{Policy: &quorum{count: 1, from: []string{"role:sre"}}})
	w.deciders()
	asked := w.say("ana", "/deploy")
	w.card("waits for approval")
	w.say("ben", "/deny "+w.allRequests()[0].ID+" too late in the day")
	w.card("was denied", "❌ **ben** said no [here](", "too late in the day")
	w.until("ana is told", func() bool {
		told := w.ours("<!-- berth:reply=r")
		return len(told) == 1 && strings.Contains(told[0].Body, "@ana") && strings.Contains(told[0].Body, "too late in the day") && slices.Contains(w.reactions(asked), "-1")
	})
}

func TestARequestFromElsewhereAsksOnItsPullRequestAndANewerOneIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{Policy: &quorum{count: 1, from: []string{"role:sre"}}})
	w.deciders()
	name := actions.Name{App: "shop", Env: actions.PullRequestName(w.pull)}
	old, _, err := w.requests.Submit(t.Context(), approvals.Request{
		Order:   actions.Order{Env: name, Verb: actions.VerbDeploy, PullRequest: w.pull, By: "dan"},
		Command: "deploy " + name.String(), Requester: approvals.Requester{Actor: "dan", Identity: "token:dan"}, Place: approvals.Place{Surface: "cli"},
	})
	w.must(err)
	w.card("**dan** asked for `/deploy "+name.String()+"` in a terminal", "/approve "+old.ID)
	w.say("ana", "/deploy")
	w.until("the old card says that it was overtaken, and there is a new one", func() bool {
		all := w.cards()
		return len(all) == 2 && strings.Contains(all[0].Body, "was overtaken by a newer request") && strings.Contains(all[0].Body, "ana asked for a newer deploy") &&
			!strings.Contains(all[0].Body, "/approve") && strings.Contains(all[1].Body, "waits for approval")
	})
}

func TestARequestForAnotherEnvironmentAsksWhereItWasMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{Policy: &quorum{count: 1, from: []string{"role:sre"}}})
	w.deciders()
	w.say("ana", "/deploy shop/demo")
	w.card("`shop/demo` – its deploy waits for approval")
	w.say("ben", "/approve "+w.allRequests()[0].ID)
	w.card("was approved, and is done")
}

func TestTheCleanupOfAClosedPullRequestCanBeDecidedThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{Policy: &quorum{count: 1, from: []string{"codeowners"}}})
	w.deciders()
	w.say("ana", "/deploy")
	w.card("waits for approval", "There are no code owners who could agree: the default branch `main` has no CODEOWNERS file.")
	w.say("ben", "/approve "+w.allRequests()[0].ID)
	w.card("was approved, and is done")
	w.must(w.ClosePullRequest(bothRepo, w.pull, "ana"))
	w.until("the cleanup asks", func() bool {
		return len(w.cards()) == 2 && strings.Contains(w.cards()[1].Body, "its cleanup waits for approval")
	})
	refused := w.say("ben", "/deploy")
	w.until("a deploy is refused", func() bool { return slices.Contains(w.reactions(refused), "-1") })
	w.say("ben", "/approve "+w.allRequests()[0].ID)
	w.until("it is cleaned up", func() bool {
		return strings.Contains(w.sticky(), "🧹") && strings.Contains(w.cards()[1].Body, "was approved, and is done")
	})
}

func TestACardIsMadeOnceWhateverIsForgottenOrDoubled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{Replicas: 2, Policy: &quorum{count: 2, from: []string{"role:sre"}}})
	w.deciders()
	w.say("ana", "/deploy")
	w.card("waits for approval")
	r := w.allRequests()[0]
	// The process dies after the comment was made, before its id was kept.
	w.must(w.rdb.Del(t.Context(), keyCard(r.ID), keyCards(r.Order.Env)).Err())
	w.say("ben", "/approve "+r.ID)
	w.card("(ben agreed)")
	w.settled()
	if n := len(w.cards()); n != 1 {
		t.Fatalf("there are %d cards:\n%s", n, w.thread())
	}
	// Somebody deletes it while it is needed: it comes back.
	w.must(w.DeleteComment(bothRepo, w.cards()[0].ID, "ana"))
	w.say("cleo", "/status")
	w.store.Touch(t.Context(), r.Order.Env, r.ID, "")
	w.must(w.rdb.HDel(t.Context(), keyCard(r.ID), "sum").Err())
	w.card("(ben agreed)", "/approve "+r.ID)
}

func TestWhatAnEditWouldTellNobodyIsACommentOfItsOwn(t *testing.T) {
	t.Parallel()
	policy := &quorum{count: 1, from: []string{"github-team:acme/ops"}}
	w := newWorld(t, worldOptions{Policy: policy})
	w.deciders()
	w.say("ana", "/deploy")
	w.card("waits for approval")
	r := w.allRequests()[0]
	told := func(kind string) func() bool {
		return func() bool { return len(w.ours("<!-- berth:reply=n"+r.ID+"-"+kind)) == 1 }
	}
	reconsider := func(change func(*approvals.RuleOutcome)) {
		policy.set(change)
		_, err := w.requests.Reconsider(t.Context())
		w.must(err)
	}
	reconsider(func(rule *approvals.RuleOutcome) { rule.Reminders = 1 })
	w.until("a reminder", told("reminded"))
	if body := w.ours("<!-- berth:reply=n" + r.ID + "-reminded")[0].Body; !strings.Contains(body, "@acme/ops: you can decide this.") || !strings.Contains(body, "/approve "+r.ID) {
		t.Errorf("the reminder calls nobody, or does not say what to type:\n%s", body)
	}
	reconsider(func(rule *approvals.RuleOutcome) { rule.Reminders, rule.Escalated = 1, true })
	w.until("an escalation", told("escalated"))
	policy.set(func(rule *approvals.RuleOutcome) { rule.BrokenBy = "ben" })
	_, err := w.requests.Decide(t.Context(), r.ID, approvals.Decision{
		Verdict: approvals.Approve, By: approvals.Requester{Actor: "ben", Identity: "github:ben"}, Reason: "the shop is down", BreakGlass: true,
		Place: approvals.Place{Surface: "cli"},
	})
	w.must(err)
	w.until("broken glass", told("glass"))
	body := w.ours("<!-- berth:reply=n" + r.ID + "-glass")[0].Body
	for _, want := range []string{"## 🚨 ben broke the glass", "the shop is down", "@acme/ops: you were not asked."} {
		if !strings.Contains(body, want) {
			t.Errorf("it does not say %q:\n%s", want, body)
		}
	}
	w.card("let through by broken glass, and is done")
	w.settled()
	if n := len(w.ours("<!-- berth:reply=n")); n != 3 {
		t.Errorf("%d things were told:\n%s", n, w.thread())
	}
}

func TestACardThatNobodyToldOfIsMadeByTheSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{Policy: &quorum{count: 1, from: []string{"role:sre"}}})
	w.replicas[0].stop()
	name := actions.Name{App: "shop", Env: actions.PullRequestName(w.pull)}
	_, _, err := w.requests.Submit(t.Context(), approvals.Request{
		Order:   actions.Order{Env: name, Verb: actions.VerbDeploy, PullRequest: w.pull, By: "dan"},
		Command: "deploy " + name.String(), Requester: approvals.Requester{Actor: "dan", Identity: "token:dan"}, Place: approvals.Place{Surface: "cli"},
	})
	w.must(err)
	for deadline := time.Now().Add(2 * time.Minute); w.allRequests()[0].State != approvals.StatePending; pause(t.Context(), 20*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not wait: %+v", w.allRequests()[0])
		}
	}
	w.must(w.rdb.Del(t.Context(), keyLease("sweep")).Err())
	w.must(w.replicas[0].surface.sweepOnce(t.Context()))
	if due := w.rdb.ZRange(t.Context(), keyPrefix+"due", 0, -1).Val(); !slices.Contains(due, name.String()) {
		t.Errorf("due is %v", due)
	}
}
