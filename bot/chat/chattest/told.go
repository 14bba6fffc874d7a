package chattest

import (
	"fmt"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/chat"
)

// told are progress, news and notices.
func told(add func(string, bot.ChatMessage)) {
	progress(add)
	news := func(what string, change func(*approvals.Request)) {
		r := waiting()
		change(r)
		for _, n := range chat.NewsOf(view(r, running())) {
			m := n.Message
			m.Call = []string{"slack:U2", "slack-group:S0DBA", "discord:987", "discord-role:81/99"}
			add("news "+n.Kind+" "+what, m)
		}
	}
	news("of a request", func(*approvals.Request) {})
	news("of one that was planned again", func(r *approvals.Request) {
		r.Replans, r.Changed = 1, []string{"the commit: 1111111 is now 2222222"}
	})
	news("of one that waits for long", func(r *approvals.Request) {
		oneAgreed(r)
		r.Outcome.Rules[0].Escalated, r.Outcome.Rules[0].Reminders = true, 2
	})
	news("by ana", glassBroken)
	ends := map[string]func(*approvals.Request){
		"done": func(r *approvals.Request) { agreed(r, approvals.StateSucceeded) },
		"failed": func(r *approvals.Request) {
			agreed(r, approvals.StateFailed)
			r.Reason = "Part web: pod web-1 cannot pull image `shop:v9`.\nEvents:\n  Failed to pull image \"shop:v9\": not found"
		},
		"denied": func(r *approvals.Request) {
			r.State, r.Reason = approvals.StateDenied, "Denied by cleo: too late in the day."
		},
		"expired": func(r *approvals.Request) {
			r.State, r.Reason = approvals.StateExpired, "Nobody agreed within 4 hours."
		},
		"refused": func(r *approvals.Request) {
			r.State, r.Reason = approvals.StateRefused, "The rule `freeze` says: no deploys over the weekend."
		},
		"stopped by another": func(r *approvals.Request) {
			agreed(r, approvals.StateCancelled)
			r.Stop, r.Reason = &approvals.Stop{By: approvals.Requester{Actor: "dan", Identity: "slack:U4"}}, "Cancelled by dan: wrong branch."
		},
		"planned as a dry run": func(r *approvals.Request) {
			r.DryRun, r.Command, r.State = true, "deploy shop/pr-7 --dry-run", approvals.StateSucceeded
		},
	}
	for what, change := range ends {
		news(what, change)
	}
	notices(add)
}

// progress is how far a run is.
func progress(add func(string, bot.ChatMessage)) {
	message := func(what string, change func(*chat.View)) {
		r := waiting()
		agreed(r, approvals.StateRunning)
		v := view(r, running())
		v.Run, v.Progress = run(), map[string]string{"web": "1 of 3 pods ready"}
		v.Log, v.LogLines = []string{"db: done", "web: begin deploy", "web: pod web-1 is pulling ghcr.io/acme/shop:2222222"}, 3
		change(&v)
		add("progress "+what, chat.ProgressMessage(v))
	}
	message("of a run", func(*chat.View) {})
	message("of a run that another worker took over", func(v *chat.View) { v.Run.Attempt = 2 })
	message("of a run that takes back what it did", func(v *chat.View) {
		v.Run.Error = "Part web: its pods were not ready in time."
		v.Run.Steps[1].State, v.Run.Steps[1].Error = actions.StepFailed, "its pods were not ready in time"
		v.Run.Steps = append(v.Run.Steps, actions.StepRecord{ID: "4", Part: "web", Use: "helm", Verb: actions.VerbRollback, Undo: true, State: actions.StepRunning})
	})
	ended := func(state actions.RunState, steps actions.StepState) func(*chat.View) {
		return func(v *chat.View) {
			v.Run.State, v.Run.EndedAt = state, then.Add(5*time.Minute)
			for i := range v.Run.Steps[1:] {
				v.Run.Steps[i+1].State, v.Run.Steps[i+1].EndedAt, v.Run.Steps[i+1].StartedAt = steps, then.Add(4*time.Minute), then.Add(2*time.Minute)
			}
		}
	}
	message("of a run that is done", ended(actions.RunSucceeded, actions.StepDone))
	message("of a run that was stopped", ended(actions.RunCancelled, actions.StepCancelled))
	message("of a run that failed", func(v *chat.View) {
		ended(actions.RunFailed, actions.StepSkipped)(v)
		v.Run.Steps[1].State, v.Run.Steps[1].Error, v.Run.Error = actions.StepFailed, "its pods were not ready in time", "Part web: its pods were not ready in time."
		v.Log = nil
		for i := range 60 {
			v.Log = append(v.Log, fmt.Sprintf("web: line %d of what it printed, with `backticks`, <!channel> and <b>", i))
		}
		v.LogLines = 1234
	})
}

// notices are what routes tell.
func notices(add func(string, bot.ChatMessage)) {
	v := view(nil, running())
	add("notice of an expiry", chat.NoticeMessage(v, bot.Notice{
		Event: bot.EventExpiring, Severity: bot.SeverityWarning, Env: name, Key: "k", At: then, Title: "shop/pr-7 expires in 4 hours",
		Text:     "It will be cleaned up then, unless somebody extends it.",
		Commands: []bot.Suggestion{{Label: "Extend by 24 hours", Command: "extend shop/pr-7 --ttl 24h"}, {Label: "Clean up now", Command: "cleanup shop/pr-7"}},
	}))
	add("notice of a failure", chat.NoticeMessage(v, bot.Notice{
		Event: bot.EventFailed, Severity: bot.SeverityError, Env: name, Key: "k", At: then, Title: "shop/pr-7: deploy of 2222222 failed",
		Text:     "`deploy shop/pr-7` by ana (request `" + requestID + "`).\n\nPart web: its pods were not ready in time.",
		Commands: []bot.Suggestion{{Label: "Show the log", Command: "logs " + runID}},
	}))
	add("notice of a success", chat.NoticeMessage(v, bot.Notice{
		Event: bot.EventDeployed, Severity: bot.SeverityInfo, Env: name, Key: "k", At: then, Title: "shop/pr-7 runs 2222222", Text: "`deploy shop/pr-7` by ana.",
	}))
}

// answers are what the one who did something is answered.
func answers(add func(string, bot.ChatMessage)) {
	v := view(nil, running())
	answer := func(what string, c bot.Command, reply bot.Reply) { add("answer "+what, chat.ReplyMessage(v, c, reply)) }
	answer("that it is on its way", bot.Command{Verb: "deploy", App: "shop", Env: "pr-7"}, bot.Reply{
		Tone: bot.ToneAccepted, Request: waiting(), Text: "On it: `deploy shop/pr-7` (request `" + requestID + "`). `/berth status shop/pr-7` says how it goes, `/berth cancel " + requestID + "` stops it.",
	})
	answer("that somebody may not", bot.Command{Verb: bot.VerbApprove, ID: requestID}, bot.Reply{
		Tone: bot.ToneRefused, Code: actions.CodeForbidden, Text: "rob may not approve `deploy shop/pr-7`: rule `demo-needs-sre` asks `role:sre` or `dan`. `/berth explain " + requestID + "` says which rules it waits for.",
	})
	answer("to a verb that is none", bot.Command{}, bot.Reply{Tone: bot.ToneRefused, Code: actions.CodeInvalid, Text: "There is no command `deplyo`; did you mean `deploy`?"})
	answer("of help", bot.Command{Verb: bot.VerbHelp}, bot.Reply{Tone: bot.ToneInfo, Text: "`/berth VERB [TARGET] [--flag value]…`\n\n**Change environments**\n\n- `deploy` makes or updates one\n- `archive` stops it, and keeps its data"})
	answer("of status", bot.Command{Verb: bot.VerbStatus, App: "shop", Env: "pr-7"}, bot.Reply{
		Tone: bot.ToneInfo, Environment: running(),
		Text: "**shop/pr-7** is running `1111111` (Show the price with tax).\n\n| part | by | last step | health |\n|---|---|---|---|\n| db | aws | done | healthy |\n| web | helm | done | healthy: 2 of 2 pods ready |\n| url | dns | done | healthy |\n\n`/berth deploy shop/pr-7` updates it, `/berth cleanup shop/pr-7` removes it.",
	})
	asleep, gone := running(), running()
	asleep.Name.Env, asleep.Sleeping = "pr-8", true
	gone.Name.Env, gone.State, gone.ExpiresAt = "pr-9", actions.StateArchived, time.Time{}
	answer("of list", bot.Command{Verb: bot.VerbList, App: "shop"}, bot.Reply{
		Tone: bot.ToneInfo, Environments: []*actions.Environment{running(), asleep, gone}, Text: "| environment | state |\n|---|---|\n| shop/pr-7 | Running |\n\nThese are the first 3; `/berth list app` shows one app's.",
	})
	long := waiting()
	long.Plan.Parts[1].Diff = "--- Deployment web\n+++ Deployment web\n" + strings.Repeat("-  old: line\n+  new: line with `code`\n", 120)
	answer("of a long diff", bot.Command{Verb: bot.VerbDiff, ID: requestID}, bot.Reply{Tone: bot.ToneInfo, Request: long, Text: "What `deploy shop/pr-7` changes (request `" + requestID + "`):\n\n" + bot.PlanText(long.Plan)})
	answer("of a short diff", bot.Command{Verb: bot.VerbDiff, ID: requestID}, bot.Reply{Tone: bot.ToneInfo, Request: waiting(), Text: "What `deploy shop/pr-7` changes (request `" + requestID + "`):\n\n" + bot.PlanText(plan())})
	answer("of logs", bot.Command{Verb: bot.VerbLogs, App: "shop", Env: "pr-7"}, bot.Reply{
		Tone: bot.ToneInfo, Text: "Run `" + runID + "`: deploy `shop/pr-7` by ana, succeeded.\n\n" + bot.Block(strings.Repeat("web: a line of its log\n", 300), ""),
	})
}
