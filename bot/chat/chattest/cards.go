package chattest

import (
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/chat"
)

// requests are the cards of a request in every state.
func requests(add func(string, bot.ChatMessage)) {
	card := func(what string, change func(*approvals.Request)) {
		r := waiting()
		change(r)
		add("request "+what, chat.RequestCard(view(r, running())))
	}
	card("being planned", func(r *approvals.Request) {
		r.State, r.Digest, r.Plan, r.Outcome = approvals.StatePlanning, "", nil, nil
	})
	card("waiting for two groups", func(*approvals.Request) {})
	card("to which one agreed", oneAgreed)
	card("that takes data away", func(r *approvals.Request) {
		r.Command, r.Order.Verb, r.Order.Reason, r.Place = "cleanup shop/pr-7", actions.VerbCleanup, "the demo is over", fromCLI
		r.Plan.Destructive, r.Plan.Parts[0].Destructive = true, true
		r.Plan.Parts[0].Summary = "delete the instance shop-pr-7 and its data"
		web := &r.Plan.Parts[1]
		web.Summary, web.Diff, web.Added, web.Removed, web.Cost, web.Destructive = "uninstall release web: 9 objects, and 2 volume claims with data", "", 0, 0, "", true
		for _, claim := range []string{"uploads", "search-index"} {
			web.Resources = append(web.Resources, actions.Resource{Kind: "PersistentVolumeClaim", Name: claim, Namespace: "shop-pr-7", Change: actions.ResourceDelete, Destructive: true})
		}
		web.Resources = append(web.Resources, actions.Resource{Kind: "Deployment", Name: "web", Namespace: "shop-pr-7", Change: actions.ResourceDelete})
		r.Plan.Parts[2].Summary, r.Plan.Parts[2].Provisional = "delete the record pr-7.shop.preview.example.org", false
	})
	card("for a push to a fork", func(r *approvals.Request) {
		r.Place, r.Order.Reason, r.Order.Commit.Fork = fromPull, "a push to the pull request", true
		r.Place.Message = ""
	})
	card("of a schedule", func(r *approvals.Request) {
		r.Command, r.Order.Verb, r.Order.Reason = "cleanup shop/pr-7", actions.VerbCleanup, "idle for more than 3 days"
		r.Place, r.Requester = approvals.Place{Surface: "schedule", ID: "nightly"}, approvals.Requester{Actor: "schedule/nightly", Identity: "schedule:nightly"}
	})
	card("planned again", func(r *approvals.Request) {
		r.Replans, r.Changed = 1, []string{"the commit: 1111111 is now 2222222", "web: the image `ghcr.io/acme/shop:1` moved"}
	})
	card("being planned again", func(r *approvals.Request) {
		r.State, r.Replans, r.Digest, r.Plan, r.Outcome = approvals.StatePlanning, 1, "", nil, nil
	})
	card("escalated", func(r *approvals.Request) {
		oneAgreed(r)
		r.Outcome.Rules[0].Escalated, r.Outcome.Rules[0].Reminders = true, 2
		r.Outcome.Rules[0].Groups[0].From = []string{"role:sre", "role:lead"}
	})
	card("waiting for a team that cannot be seen", func(r *approvals.Request) {
		r.Outcome, r.Reason = nil, "GitHub did not say who is in `acme/ops`; it is asked again."
	})
	card("waiting for its turn", func(r *approvals.Request) { agreed(r, approvals.StateReleased) })
	card("running", func(r *approvals.Request) { agreed(r, approvals.StateRunning) })
	card("being stopped", func(r *approvals.Request) {
		agreed(r, approvals.StateRunning)
		r.Stop = &approvals.Stop{By: approvals.Requester{Actor: "dan", Identity: "slack:U4"}, Reason: "wrong branch", At: then}
	})
	card("running with broken glass", glassBroken)
	card("that nobody had to agree to, running", func(r *approvals.Request) { r.State, r.Outcome, r.RunID = approvals.StateRunning, nil, runID })
	card("done", func(r *approvals.Request) { agreed(r, approvals.StateSucceeded) })
	card("done with broken glass", func(r *approvals.Request) {
		glassBroken(r)
		r.State, r.EndedAt = approvals.StateSucceeded, then.Add(20*time.Minute)
	})
	card("failed", func(r *approvals.Request) {
		agreed(r, approvals.StateFailed)
		r.Reason = "Part web: pod web-1 cannot pull image `shop:v9`.\nEvents:\n  more"
		r.Left = "db runs 2222222; web is back at revision 3"
	})
	card("failed and retried", func(r *approvals.Request) {
		agreed(r, approvals.StateFailed)
		r.Reason, r.RetriedAs = "Part web: its pods were not ready in time.", "01jd0000000000000000000008"
	})
	card("that retries another", func(r *approvals.Request) { r.RetryOf = olderID })
	card("denied", func(r *approvals.Request) {
		r.State, r.Outcome.Effect, r.Reason, r.EndedAt = approvals.StateDenied, approvals.EffectDeny, "Denied by cleo: too late in the day.", then
		r.Decisions = []approvals.Decision{decision("cleo", approvals.Deny, fromDiscord, "too late in the day")}
		r.Outcome.Rules[0].Groups[0].Against = []string{"cleo"}
	})
	card("expired", func(r *approvals.Request) {
		oneAgreed(r)
		r.State, r.Outcome.Effect, r.Reason, r.EndedAt = approvals.StateExpired, approvals.EffectExpire, "Nobody else agreed within 4 hours.", then
	})
	card("superseded", func(r *approvals.Request) {
		r.State, r.Reason, r.EndedAt = approvals.StateSuperseded, "rob asked for a newer deploy of shop/pr-7, request 01jd0000000000000000000008.", then
	})
	card("withdrawn", func(r *approvals.Request) {
		r.State, r.Reason, r.EndedAt = approvals.StateCancelled, "Cancelled by ana: a typo.", then
	})
	card("stopped while it ran", func(r *approvals.Request) {
		agreed(r, approvals.StateCancelled)
		r.Reason = "Cancelled by dan: wrong branch."
	})
	card("refused", func(r *approvals.Request) {
		r.State, r.Reason, r.EndedAt = approvals.StateRefused, "The rule `freeze` says: no deploys over the weekend. role:sre can lift it.", then
		r.Outcome = &approvals.Outcome{Effect: approvals.EffectRefuse, Reason: r.Reason, Rules: []approvals.RuleOutcome{{Rule: "freeze", Effect: approvals.EffectRefuse, Reason: "no deploys over the weekend"}}}
	})
	card("refused after somebody agreed", func(r *approvals.Request) {
		oneAgreed(r)
		r.State, r.Reason, r.EndedAt = approvals.StateRefused, "The rule `freeze` says: no deploys over the weekend.", then
	})
	card("dry run being planned", func(r *approvals.Request) {
		r.DryRun, r.Command, r.State, r.Digest, r.Plan, r.Outcome = true, "deploy shop/pr-7 --dry-run", approvals.StatePlanning, "", nil, nil
	})
	card("dry run done", func(r *approvals.Request) {
		r.DryRun, r.Command, r.State, r.Outcome, r.EndedAt = true, "deploy shop/pr-7 --dry-run", approvals.StateSucceeded, nil, then
	})
	card("dry run that failed", func(r *approvals.Request) {
		r.DryRun, r.Command, r.State, r.Plan, r.Outcome, r.EndedAt = true, "deploy shop/pr-7 --dry-run", approvals.StateFailed, nil, nil, then
		r.Reason = "There is no commit `nosuch` in acme/shop."
	})
	settled(add)
}

// settled are cards of requests that have become their environment's.
func settled(add func(string, bot.ChatMessage)) {
	card := func(what string, verb actions.Verb, change func(*approvals.Request, *actions.Environment)) {
		r, env := waiting(), running()
		agreed(r, approvals.StateSucceeded)
		r.Command, r.Order.Verb, env.LastAction.Verb = string(verb)+" shop/pr-7", verb, verb
		change(r, env)
		add("request done, "+what, chat.RequestCard(view(r, env)))
	}
	card("archived", actions.VerbArchive, func(_ *approvals.Request, env *actions.Environment) {
		env.State, env.HasArchive, env.ExpiresAt, env.Links, env.URL = actions.StateArchived, true, time.Time{}, nil, ""
	})
	card("cleaned up", actions.VerbCleanup, func(_ *approvals.Request, env *actions.Environment) { env.State = actions.StateCleaned })
	card("sleeping", actions.VerbSleep, func(_ *approvals.Request, env *actions.Environment) { env.Sleeping, env.SleptBy = true, "ana" })
	r := waiting()
	agreed(r, approvals.StateSucceeded)
	v := view(r, running())
	v.Old = true
	add("request done, with a newer card below it", chat.RequestCard(v))
	v.Old, v.UnderWay = false, waiting()
	v.UnderWay.ID, v.UnderWay.Command, v.UnderWay.Order.Verb = "01jd0000000000000000000008", "archive shop/pr-7", actions.VerbArchive
	add("request done, and another waits", chat.RequestCard(v))
	v.UnderWay.State = approvals.StateRunning
	add("request done, and another runs", chat.RequestCard(v))
}

// environments are the cards of an environment in every state.
func environments(add func(string, bot.ChatMessage)) {
	card := func(what string, change func(*actions.Environment)) {
		env := running()
		change(env)
		add("environment "+what, chat.EnvironmentCard(view(nil, env)))
	}
	failedUpdate := func(env *actions.Environment) {
		env.LastAction = &actions.LastAction{
			Verb: actions.VerbDeploy, RequestID: requestID, RunID: runID, Commit: commit(newSHA, "Add a coupon"), State: actions.RunFailed,
			Error: "Part web: its pods were not ready in time.", Left: "db runs 2222222; web is back at revision 3", By: "ana", At: then,
		}
	}
	card("running", func(*actions.Environment) {})
	card("running, its update failed", failedUpdate)
	card("running, its update was cancelled", func(env *actions.Environment) {
		failedUpdate(env)
		env.LastAction.State = actions.RunCancelled
	})
	card("running, but a part is not well", func(env *actions.Environment) {
		web := env.Parts["web"]
		web.Health, web.Text = actions.Unhealthy, "pod web-1 crashes: exit code 1\nsecond line"
		url := env.Parts["url"]
		url.Health = actions.Unknown
		env.Parts["web"], env.Parts["url"] = web, url
	})
	card("drifted", func(env *actions.Environment) {
		web := env.Parts["web"]
		web.Drift = []string{"Deployment web: spec.replicas is 3, deployed was 1", "ConfigMap web: is gone"}
		env.Parts["web"] = web
	})
	card("sleeping", func(env *actions.Environment) { env.Sleeping, env.SleptBy = true, "schedule/nightly" })
	card("locked", func(env *actions.Environment) {
		env.Lock = &actions.Lock{By: "dan", Reason: "a demo at five", At: then.Add(-time.Hour)}
	})
	card("that stays", func(env *actions.Environment) { env.Keep, env.ExpiresAt = true, time.Time{} })
	card("about to expire", func(env *actions.Environment) { env.ExpiresAt = then.Add(40 * time.Minute) })
	card("whose time is over", func(env *actions.Environment) { env.ExpiresAt = then.Add(-time.Minute) })
	card("broken", func(env *actions.Environment) { failedUpdate(env); env.State, env.Mixed = actions.StateFailure, true })
	card("that could not be deployed", func(env *actions.Environment) {
		failedUpdate(env)
		env.State, env.Commit, env.Deployed, env.Links, env.URL = actions.StateFailure, actions.Commit{}, 0, nil, ""
	})
	card("being created", func(env *actions.Environment) {
		env.State, env.Commit, env.Deployed, env.Links, env.URL, env.Parts = actions.StateCreatePending, actions.Commit{}, 0, nil, "", nil
	})
	card("archived", func(env *actions.Environment) {
		env.State, env.HasArchive, env.ExpiresAt = actions.StateArchived, true, time.Time{}
	})
	card("cleaned up", func(env *actions.Environment) { env.State = actions.StateCleaned })
	card("of a branch", func(env *actions.Environment) {
		env.Name.Env, env.PullRequest, env.Ref = "demo", 0, "release/2.1"
	})
	v := view(nil, running())
	v.Rules.Verbs = []string{bot.VerbStatus, bot.VerbLogs, string(actions.VerbExtend)}
	add("environment in a channel that may do little", chat.EnvironmentCard(v))
	v = view(nil, running())
	v.App = nil
	add("environment of an app that is configured no more", chat.EnvironmentCard(v))
}
