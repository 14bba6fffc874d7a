package chattest

import (
	"fmt"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/chat"
)

// Hostile is a text as somebody would write it who wants to call everybody, to
// forge what Berth says, or to break how it looks.
const Hostile = "<!channel> <!here> <@U0ADMIN> <!subteam^S0ADMIN> @everyone @here <@&81> <@987> <#82> &lt;!channel&gt; " +
	"[approve](https://evil.example/a) <https://evil.example|approved> https://evil.example *bold* _it_ ~no~ ||spoiler|| `code` ```block``` " +
	"<script>alert(1)</script> **Approved by ana** ✅ \u202eevil\u202c :tada: <:emoji:1> <t:1700000000:R> </deploy:1> # heading > quote | cell\n- item\n```\n\x1b[31mred\x00"

// hostile are cards whose every text comes from somebody hostile, and such as
// are longer than any platform takes.
func hostile(add func(string, bot.ChatMessage)) {
	r, env := waiting(), running()
	poison(r, env)
	add("hostile request", chat.RequestCard(view(r, env)))
	done := *r
	agreedState := approvals.StateSucceeded
	done.State, done.RunID, done.EndedAt = agreedState, runID, then
	add("hostile request done", chat.RequestCard(view(&done, env)))
	failed := *r
	failed.State, failed.RunID, failed.Reason, failed.Left = approvals.StateFailed, runID, Hostile, Hostile
	add("hostile request failed", chat.RequestCard(view(&failed, env)))
	for _, n := range chat.NewsOf(view(&failed, env)) {
		add("hostile news "+n.Kind, n.Message)
	}
	add("hostile environment", chat.EnvironmentCard(view(nil, env)))
	v := view(r, env)
	v.Run, v.Log, v.LogLines, v.Progress = run(), []string{bot.EventLine(actions.Event{Kind: actions.EventLog, Part: "web", Text: Hostile})}, 1, map[string]string{"web": Hostile}
	v.Run.Error, v.Run.Steps[0].Error = Hostile, Hostile
	add("hostile progress", chat.ProgressMessage(v))
	v.Run.State = actions.RunFailed
	add("hostile progress of a run that failed", chat.ProgressMessage(v))
	add("hostile notice", chat.NoticeMessage(view(nil, env), bot.Notice{
		Event: bot.EventFailed, Severity: bot.SeverityError, Env: name, Key: "k", Title: Hostile, Text: bot.Escape(Hostile, 1000), At: then,
		Commands: []bot.Suggestion{{Label: Hostile, Command: "logs " + runID}},
	}))
	add("answer that quotes something hostile", chat.ReplyMessage(view(nil, env), bot.Command{}, bot.Reply{
		Tone: bot.ToneRefused, Code: actions.CodeInvalid, Text: "There is no command " + bot.Code(Hostile, 300) + ", said " + bot.Escape(Hostile, 300) + ".",
	}))
	overlong(add)
}

// poison puts Hostile into all that others write.
func poison(r *approvals.Request, env *actions.Environment) {
	r.Command, r.Requester.Actor, r.Order.Reason = "deploy shop/pr-7 --ref "+Hostile, Hostile, Hostile
	r.Order.Commit.Message, r.Order.Commit.Author = Hostile, Hostile
	r.Decisions = []approvals.Decision{decision(Hostile, approvals.Deny, fromDiscord, Hostile), decision("ben", approvals.Approve, approvals.Place{Surface: Hostile}, Hostile)}
	r.Changed, r.Reason = []string{Hostile}, Hostile
	r.Glass = &approvals.Glass{By: approvals.Requester{Actor: Hostile}, Reason: Hostile, At: then}
	r.Plan.Summary, r.Plan.Destructive, r.Plan.Namespace, r.Order.Placed = Hostile, true, Hostile, Hostile
	for i := range r.Plan.Parts {
		p := &r.Plan.Parts[i]
		p.Summary, p.Diff, p.Cost, p.Destructive = Hostile, Hostile, Hostile, true
	}
	rule := &r.Outcome.Rules[0]
	rule.Rule, rule.Groups[0].From, rule.Groups[0].By, rule.BreakGlass = Hostile, []string{"role:" + Hostile, "slack-group:" + Hostile}, []string{Hostile}, []string{Hostile}
	env.Commit.Message, env.Commit.Author, env.SleptBy = Hostile, Hostile, Hostile
	env.Links, env.URL = []actions.Link{{Name: Hostile, URL: "javascript:alert(1)"}, {Name: "x", URL: "https://x.example/<!channel>|approve"}}, "javascript:alert(1)"
	env.LastAction.State, env.LastAction.Error, env.LastAction.Left = actions.RunFailed, Hostile, Hostile
	env.Lock = &actions.Lock{By: Hostile, Reason: Hostile, At: then}
	for part, p := range env.Parts {
		p.Text, p.Drift, p.Health = Hostile, []string{Hostile}, actions.Degraded
		env.Parts[part] = p
	}
}

// overlong are cards with more in them than fits anywhere.
func overlong(add func(string, bot.ChatMessage)) {
	r := waiting()
	for i := range 200 {
		r.Decisions = append(r.Decisions, decision(fmt.Sprintf("person-%d", i), approvals.Approve, fromPull, strings.Repeat("I have looked at it. ", 20)))
	}
	for i := range 60 {
		r.Outcome.Rules = append(r.Outcome.Rules, approvals.RuleOutcome{Rule: fmt.Sprintf("rule-%d", i), Effect: approvals.EffectApprove, Groups: []approvals.GroupOutcome{{Count: 1, Missing: 1, From: []string{fmt.Sprintf("role:r%d", i), "github-team:acme/ops"}}}})
		r.Plan.Parts = append(r.Plan.Parts, actions.PartPlan{Part: fmt.Sprintf("part-%d", i), Use: "helm", Summary: strings.Repeat("many objects changed ", 30), Destructive: true, Diff: strings.Repeat("+ line\n", 700)})
		r.Changed = append(r.Changed, fmt.Sprintf("part-%d: something moved", i))
	}
	r.Plan.Destructive, r.Order.Reason = true, strings.Repeat("because ", 400)
	add("overlong request", chat.RequestCard(view(r, running())))
	env := running()
	for i := range 80 {
		env.Parts[fmt.Sprintf("part-%d", i)] = actions.PartStatus{Use: "helm", State: "done", Health: actions.Degraded, Text: strings.Repeat("not ready ", 60), Drift: []string{strings.Repeat("drift ", 60)}}
		env.Links = append(env.Links, actions.Link{Name: fmt.Sprintf("link-%d", i), URL: fmt.Sprintf("https://l%d.example.org/%s", i, strings.Repeat("a", 300))})
	}
	add("overlong environment", chat.EnvironmentCard(view(nil, env)))
	v := view(waiting(), running())
	v.Run, v.LogLines = run(), 100000
	v.Run.State, v.Run.Error = actions.RunFailed, strings.Repeat("it failed ", 500)
	for i := range 100 {
		v.Run.Steps = append(v.Run.Steps, actions.StepRecord{Part: fmt.Sprintf("part-%d", i), Use: "helm", Verb: actions.VerbDeploy, State: actions.StepFailed, Error: strings.Repeat("no ", 300)})
		v.Log = append(v.Log, strings.Repeat("x", 480))
	}
	add("overlong progress", chat.ProgressMessage(v))
	var envs []*actions.Environment
	for i := range 100 {
		one := running()
		one.Name.Env = fmt.Sprintf("pr-%d", i)
		envs = append(envs, one)
	}
	add("answer of an overlong list", chat.ReplyMessage(view(nil, nil), bot.Command{Verb: bot.VerbList}, bot.Reply{Tone: bot.ToneInfo, Environments: envs, Text: "| a |\n|---|"}))
	add("answer of overlong text", chat.ReplyMessage(view(nil, nil), bot.Command{Verb: bot.VerbHistory, App: "shop", Env: "pr-7"}, bot.Reply{
		Tone: bot.ToneInfo, Text: strings.Repeat("A paragraph with **bold** and `code`.\n\n", 300) + bot.Block(strings.Repeat("a line of code\n", 2000), "text"),
	}))
	diff := waiting()
	diff.Plan.Parts[1].Diff = strings.Repeat("+ 5,000 characters of ```fences``` and <!channel>\n", 100)
	add("answer of a diff of 5,000 characters", chat.ReplyMessage(view(nil, nil), bot.Command{Verb: bot.VerbDiff, ID: requestID}, bot.Reply{Tone: bot.ToneInfo, Request: diff, Text: "What it changes:\n\n" + bot.PlanText(diff.Plan)}))
}
