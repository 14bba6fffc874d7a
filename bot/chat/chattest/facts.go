package chattest

import (
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/chat"
)

// then is when all of it happens.
var then = time.Date(2026, 11, 21, 14, 30, 0, 0, time.UTC)

const (
	requestID = "01jd0000000000000000000007"
	olderID   = "01jd0000000000000000000001"
	runID     = "01jd0000000000000000000009"
	oldSHA    = "1111111111111111111111111111111111111111"
	newSHA    = "2222222222222222222222222222222222222222"
	digest    = "3f5a9c01d2e4b6a8c0d1e2f3a4b5c6d7e8f90112233445566778899aabbccdde"
)

var (
	name    = actions.Name{App: "shop", Env: "pr-7"}
	inSlack = bot.ChatPlace{Platform: bot.PlatformSlack, Workspace: "T1", Channel: "C1"}

	fromSlack   = approvals.Place{Surface: bot.PlatformSlack, ID: "T1/C1", Message: "1700000000.000100"}
	fromDiscord = approvals.Place{Surface: bot.PlatformDiscord, ID: "81/82", Message: "83"}
	fromPull    = approvals.Place{Surface: "github", ID: "acme/shop#7", Message: "1234"}
	fromCLI     = approvals.Place{Surface: "cli"}
)

func commit(sha, message string) actions.Commit {
	return actions.Commit{SHA: sha, Message: message, Author: "cleo", Time: then.Add(-26 * time.Hour)}
}

// app is a shop of three parts.
func app() *actions.App {
	return &actions.App{
		Name: "shop", Repo: "acme/shop", TTL: 72 * time.Hour,
		Parts: []actions.Part{{Name: "db", Use: "aws"}, {Name: "web", Use: "helm", Needs: []string{"db"}}, {Name: "url", Use: "dns", Needs: []string{"web"}}},
	}
}

// running is an environment with which all is well.
func running() *actions.Environment {
	part := func(use string) actions.PartStatus {
		return actions.PartStatus{Use: use, State: string(actions.StepDone), Health: actions.Healthy, At: then.Add(-time.Hour)}
	}
	return &actions.Environment{
		Name: name, State: actions.StateRunning, Repo: "acme/shop", PullRequest: 7, Namespace: "shop-pr-7", Cluster: "staging",
		Commit: commit(oldSHA, "Show the price with tax"), Deployed: 3, FirstRevision: 1,
		Links: []actions.Link{{Name: "url", URL: "https://pr-7.shop.preview.example.org"}}, URL: "https://pr-7.shop.preview.example.org",
		Parts:      map[string]actions.PartStatus{"db": part("aws"), "web": part("helm"), "url": part("dns")},
		LastAction: &actions.LastAction{Verb: actions.VerbDeploy, RequestID: olderID, RunID: runID, Commit: commit(oldSHA, "Show the price with tax"), State: actions.RunSucceeded, By: "ana", At: then.Add(-time.Hour)},
		CreatedAt:  then.Add(-75 * time.Hour), UpdatedAt: then.Add(-time.Hour), UsedAt: then.Add(-time.Hour), TTL: 72 * time.Hour, ExpiresAt: then.Add(71 * time.Hour),
	}
}

func plan() *actions.Plan {
	return &actions.Plan{
		Digest: digest, Namespace: "shop-pr-7", Summary: "deploy shop/pr-7 at 2222222; web: 2 objects changed",
		Order: actions.Order{Env: name, Verb: actions.VerbDeploy, Commit: commit(newSHA, "Add a coupon")}, MadeAt: then,
		Parts: []actions.PartPlan{
			{Part: "db", Use: "aws", Summary: "nothing to change"},
			{
				Part: "web", Use: "helm", Summary: "upgrade chart preview 0.1.0: 2 objects changed", Added: 3, Removed: 1, Cost: "requests 500m CPU and 512Mi memory (2 pods)",
				Diff: "--- Deployment web\n+++ Deployment web\n@@ -4,3 +4,5 @@\n-  image: ghcr.io/acme/shop:1111111\n+  image: ghcr.io/acme/shop:2222222\n+  env:\n+    COUPONS: \"on\"\n",
			},
			{Part: "url", Use: "dns", Summary: "pr-7.shop.preview.example.org → ingress.example.org", Provisional: true},
		},
	}
}

// waiting is a request that waits for two of the role sre and one of a group.
func waiting() *approvals.Request {
	return &approvals.Request{
		ID: requestID, State: approvals.StatePending, Command: "deploy shop/pr-7", Digest: digest, Plan: plan(),
		Order:     actions.Order{Env: name, Verb: actions.VerbDeploy, Commit: commit(newSHA, "Add a coupon"), PullRequest: 7, By: "ana", Identity: "slack:U1", Placed: "staging"},
		Requester: approvals.Requester{Actor: "ana", Identity: "slack:U1", Roles: []string{"deployer"}}, Place: fromSlack,
		Outcome: &approvals.Outcome{Effect: approvals.EffectApprove, Reason: "It waits for approvals.", Rules: []approvals.RuleOutcome{
			{
				Rule: "demo-needs-sre", Effect: approvals.EffectApprove, NotRequester: true, ExpiresAt: then.Add(4 * time.Hour), BreakGlass: []string{"role:sre"},
				Groups: []approvals.GroupOutcome{{Count: 2, From: []string{"role:sre", "actor:dan"}, Missing: 2}},
			},
			{
				Rule: "db-by-dba", Effect: approvals.EffectApprove, ExpiresAt: then.Add(72 * time.Hour),
				Groups: []approvals.GroupOutcome{{Count: 1, From: []string{"slack-group:S0DBA", "discord-role:81/99"}, Missing: 1}},
			},
		}},
		CreatedAt: then.Add(-2 * time.Minute), UpdatedAt: then, Revision: 3,
	}
}

func decision(who string, verdict approvals.Verdict, place approvals.Place, reason string) approvals.Decision {
	return approvals.Decision{
		Verdict: verdict, By: approvals.Requester{Actor: who, Identity: place.Surface + ":" + who}, Place: place, Reason: reason, At: then.Add(10 * time.Minute), Digest: digest,
	}
}

// oneAgreed makes r one to which ben agreed, and ana, who does not count.
func oneAgreed(r *approvals.Request) {
	r.Decisions = []approvals.Decision{decision("ben", approvals.Approve, fromPull, "fine"), decision("ana", approvals.Approve, fromSlack, "")}
	r.Outcome.Rules[0].Groups[0].By, r.Outcome.Rules[0].Groups[0].Missing = []string{"ben"}, 1
	for i := range r.Outcome.Rules {
		r.Outcome.Rules[i].Ignored = []approvals.Ignored{{By: "ana", Verdict: approvals.Approve, Why: "asked for it themselves", Identity: "slack:ana"}}
	}
}

// agreed makes r one to which all agreed, in that state.
func agreed(r *approvals.Request, state approvals.State) {
	r.State = state
	r.Decisions = []approvals.Decision{
		decision("ben", approvals.Approve, fromDiscord, ""), decision("cleo", approvals.Approve, fromPull, "looked at it with dan"), decision("dora", approvals.Approve, fromCLI, ""),
	}
	rules := r.Outcome.Rules
	rules[0].Groups[0].By, rules[0].Groups[0].Missing = []string{"ben", "cleo"}, 0
	rules[1].Groups[0].By, rules[1].Groups[0].Missing = []string{"dora"}, 0
	r.Outcome.Effect, rules[0].Effect, rules[1].Effect = approvals.EffectRelease, approvals.EffectRelease, approvals.EffectRelease
	if state != approvals.StateReleased {
		r.RunID = runID
	}
	if state.Ended() {
		r.EndedAt = then.Add(20 * time.Minute)
	}
}

// glassBroken makes r one that runs though somebody should have agreed.
func glassBroken(r *approvals.Request) {
	r.State, r.RunID = approvals.StateRunning, runID
	r.Glass = &approvals.Glass{By: approvals.Requester{Actor: "ana", Identity: "slack:U1"}, Reason: "the shop is down, and nobody of sre answers", At: then.Add(5 * time.Minute), Digest: digest}
	r.Decisions = []approvals.Decision{decision("ana", approvals.Approve, fromSlack, r.Glass.Reason)}
	r.Decisions[0].BreakGlass = true
	r.Outcome.Effect = approvals.EffectRelease
	for i := range r.Outcome.Rules {
		r.Outcome.Rules[i].Effect, r.Outcome.Rules[i].BrokenBy = approvals.EffectRelease, "ana"
	}
}

// run is how far a request's run is: its first part is done, its second is
// under way.
func run() *actions.Run {
	return &actions.Run{
		ID: runID, RequestID: requestID, Order: actions.Order{Env: name, Verb: actions.VerbDeploy, By: "ana"}, State: actions.RunRunning, Attempt: 1, StartedAt: then,
		Steps: []actions.StepRecord{
			{ID: "1", Part: "db", Use: "aws", Verb: actions.VerbDeploy, State: actions.StepDone, StartedAt: then, EndedAt: then.Add(95 * time.Second)},
			{ID: "2", Part: "web", Use: "helm", Verb: actions.VerbDeploy, State: actions.StepRunning, Tries: 2, StartedAt: then.Add(96 * time.Second)},
			{ID: "3", Part: "url", Use: "dns", Verb: actions.VerbDeploy, State: actions.StepWaiting},
		},
	}
}

// View is what the card of a request is made of that chattest made.
func View(r *approvals.Request) chat.View { return view(r, running()) }

// view is what a card of that request is made of; nil makes it the environment's.
func view(r *approvals.Request, env *actions.Environment) chat.View {
	return chat.View{
		Name: name, App: app(), Environment: env, Request: r, Place: inSlack,
		PublicURL: "https://berth.example.org", RepoURL: "https://github.com", Now: then,
	}
}
