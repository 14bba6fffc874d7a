package policy

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

func TestEvaluate(t *testing.T) {
	sre := need(1, "role:sre")
	not := func(r Rule) Rule { r.Approve.NotRequester = true; return r }
	edit := func(r Rule, fn func(*Approve)) Rule { fn(r.Approve); return r }
	refuse := Rule{Name: "stop", Refuse: "Not today"}
	const (
		release = approvals.EffectRelease
		approve = approvals.EffectApprove
		expire  = approvals.EffectExpire
		deny    = approvals.EffectDeny
		refused = approvals.EffectRefuse
	)
	tests := map[string]struct {
		rules []Rule
		given func(w *world, r *approvals.Request)
		said  []approvals.Decision
		want  approvals.Effect
		says  string        // within the reason
		not   string        // not within it
		again time.Duration // after start
	}{
		"no rule at all releases":                   {want: release},
		"a rule about something else releases":      {rules: []Rule{{Name: "r", When: `request.verb == "deploy"`, Refuse: "No."}}, want: release},
		"a refusal names the rule and what it says": {rules: []Rule{refuse}, want: refused, says: "The rule stop refuses this: Not today."},
		"the strictest of several rules decides":    {rules: []Rule{{Name: "ok", Release: true}, asking(sre), refuse}, want: refused, says: "stop", not: "ask"},
		"all rules that ask must be met":            {rules: []Rule{asking(sre), {Name: "two", Approve: &Approve{Needs: []Need{need(1, "role:db")}}}}, said: yesBy("ana"), want: approve, says: "The rule two needs 1 more approval from the role db", again: DefaultWithin},
		"one person may meet two rules":             {rules: []Rule{asking(sre), {Name: "two", Approve: &Approve{Needs: []Need{need(1, "role:db")}}}}, said: yesBy("eve"), want: release},
		"nobody has agreed yet":                     {rules: []Rule{asking(sre)}, want: approve, says: "needs 1 more approval from the role sre, by Tue 24 Nov 12:00 UTC", again: DefaultWithin},
		"one of the right people agreed":            {rules: []Rule{asking(sre)}, said: yesBy("ana"), want: release},
		"somebody else agreed":                      {rules: []Rule{asking(sre)}, said: yesBy("dan"), want: approve, again: DefaultWithin},
		"a person of the config by name":            {rules: []Rule{asking(need(1, "actor:dan"))}, said: yesBy("dan"), want: release},
		"one of two that are needed":                {rules: []Rule{asking(need(2, "role:sre"))}, said: yesBy("ana"), want: approve, says: "1 more", again: DefaultWithin},
		"two that are needed":                       {rules: []Rule{asking(need(2, "role:sre"))}, said: yesBy("ana", "bo"), want: release},
		"the same person twice is one":              {rules: []Rule{asking(need(2, "role:sre"))}, said: yesBy("ana", "ana"), want: approve, again: DefaultWithin},
		"two accounts of one person are one":        {rules: []Rule{asking(need(2, "role:sre"))}, said: []approvals.Decision{said(approvals.Approve, "ana", 1), {Verdict: approvals.Approve, By: approvals.Requester{Actor: "other", Identity: "token:ana"}, At: start.Add(2), Digest: "d"}}, want: approve, again: DefaultWithin},
		"one of each of two groups":                 {rules: []Rule{asking(sre, need(1, "role:db"))}, said: yesBy("ana", "dan"), want: release},
		"one who is of both groups fills one place": {rules: []Rule{asking(sre, need(1, "role:db"))}, said: yesBy("eve"), want: approve, again: DefaultWithin},
		"who is of both makes room for who is not":  {rules: []Rule{asking(sre, need(1, "role:db"))}, said: yesBy("eve", "ana"), want: release},
		"whichever of both came first":              {rules: []Rule{asking(need(1, "role:db"), sre)}, said: yesBy("eve", "dan"), want: release},
		"the requester's own word does not count":   {rules: []Rule{not(asking(sre))}, given: func(_ *world, r *approvals.Request) { r.Requester = from("ana") }, said: yesBy("ana"), want: approve, says: "not from ana, who asked", again: DefaultWithin},
		"nor by another account":                    {rules: []Rule{not(asking(sre))}, given: func(_ *world, r *approvals.Request) { r.Requester = from("ana") }, said: []approvals.Decision{{Verdict: approvals.Approve, By: approvals.Requester{Actor: "bot", Identity: "token:ana"}, At: start.Add(1)}}, want: approve, again: DefaultWithin},
		"the requester's own word where it may":     {rules: []Rule{asking(sre)}, given: func(_ *world, r *approvals.Request) { r.Requester = from("ana") }, said: yesBy("ana"), want: release},
		"who lost the role counts no more":          {rules: []Rule{asking(sre)}, given: func(w *world, _ *approvals.Request) { delete(w.people, "github:ana") }, said: yesBy("ana"), want: approve, again: DefaultWithin},
		"one denial is a veto":                      {rules: []Rule{asking(need(2, "role:sre"))}, said: append(yesBy("ana"), approvals.Decision{Verdict: approvals.Deny, By: from("bo"), Reason: "too late", At: start.Add(time.Hour)}), want: deny, says: "bo (too late) said no"},
		"a denial by somebody else is none":         {rules: []Rule{asking(sre)}, said: []approvals.Decision{said(approvals.Deny, "dan", 1)}, want: approve, again: DefaultWithin},
		"who changes their mind says the last":      {rules: []Rule{edit(asking(need(2, "role:sre")), func(a *Approve) { a.Majority = true })}, said: []approvals.Decision{said(approvals.Deny, "ana", 1), said(approvals.Approve, "ana", 2), said(approvals.Approve, "bo", 3)}, want: release},
		"a minority denies in vain":                 {rules: []Rule{edit(asking(need(2, "role:sre")), func(a *Approve) { a.Majority = true })}, said: append(yesBy("ana", "bo"), said(approvals.Deny, "cy", time.Hour)), want: release},
		"a majority denies":                         {rules: []Rule{edit(asking(need(2, "role:sre")), func(a *Approve) { a.Majority = true })}, said: append(yesBy("ana"), said(approvals.Deny, "bo", 2), said(approvals.Deny, "cy", 3)), want: deny},
		"a tie waits":                               {rules: []Rule{edit(asking(need(1, "role:sre")), func(a *Approve) { a.Majority = true })}, said: append(yesBy("ana"), said(approvals.Deny, "bo", 2)), want: approve, says: "more approvals than denials", again: DefaultWithin},
		"time runs out":                             {rules: []Rule{edit(asking(sre), func(a *Approve) { a.Within = time.Hour })}, given: func(w *world, _ *approvals.Request) { w.now = start.Add(time.Hour) }, want: expire, says: "needed 1 more approval from the role sre by Sat 21 Nov 13:00 UTC"},
		"what was agreed in time stays agreed":      {rules: []Rule{edit(asking(sre), func(a *Approve) { a.Within = time.Hour })}, given: func(w *world, _ *approvals.Request) { w.now = start.Add(100 * time.Hour) }, said: yesBy("ana"), want: release},
		"what comes with the end is in time":        {rules: []Rule{edit(asking(sre), func(a *Approve) { a.Within = time.Hour })}, given: func(w *world, _ *approvals.Request) { w.now = start.Add(time.Hour) }, said: []approvals.Decision{said(approvals.Approve, "ana", time.Hour)}, want: release},
		"what comes after the end is too late":      {rules: []Rule{edit(asking(sre), func(a *Approve) { a.Within = time.Hour })}, given: func(w *world, _ *approvals.Request) { w.now = start.Add(time.Hour + 1) }, said: []approvals.Decision{said(approvals.Approve, "ana", time.Hour+1)}, want: expire},
		"a new plan begins anew": {rules: []Rule{edit(asking(sre), func(a *Approve) { a.Within = time.Hour })}, given: func(w *world, r *approvals.Request) {
			w.now, r.Plan.MadeAt = start.Add(90*time.Minute), start.Add(time.Hour)
		}, want: approve, again: 2 * time.Hour},
		"what was said of an earlier plan is void": {rules: []Rule{asking(sre)}, given: func(_ *world, r *approvals.Request) { r.Digest = "e" }, said: yesBy("ana"), want: approve, again: DefaultWithin},
		"a lead before the escalation":             {rules: []Rule{edit(asking(sre), func(a *Approve) { a.Escalate = &Escalate{After: time.Hour, To: []string{"role:lead"}} })}, said: yesBy("lee"), want: approve, again: time.Hour},
		"a lead after the escalation":              {rules: []Rule{edit(asking(sre, sre), func(a *Approve) { a.Escalate = &Escalate{After: time.Hour, To: []string{"role:lead"}} })}, given: func(w *world, _ *approvals.Request) { w.now = start.Add(time.Hour) }, said: yesBy("lee", "ana"), want: release},
		"the next reminder":                        {rules: []Rule{edit(asking(sre), func(a *Approve) { a.Remind = 20 * time.Minute })}, given: func(w *world, _ *approvals.Request) { w.now = start.Add(50 * time.Minute) }, want: approve, again: time.Hour},
		"a team that is somewhere else":            {rules: []Rule{asking(need(1, "github-team:acme/ops"))}, given: func(w *world, _ *approvals.Request) { w.teams["github-team:acme/ops"] = []string{"zed"} }, said: yesBy("zed"), want: release},
		"the owners of the code":                   {rules: []Rule{asking(need(1, "codeowners"))}, given: func(w *world, _ *approvals.Request) { w.teams["codeowners"] = []string{"zed"} }, said: yesBy("zed"), want: release},
		"a team that cannot be seen releases not":  {rules: []Rule{asking(need(1, "github-team:acme/ops"))}, given: func(w *world, _ *approvals.Request) { w.blind["github-team:acme/ops"] = true }, said: yesBy("zed"), want: approve, says: "the team acme/ops could not be asked", again: unseenFirst},
		"nor does it expire": {rules: []Rule{asking(need(1, "github-team:acme/ops"))}, given: func(w *world, _ *approvals.Request) {
			w.blind["github-team:acme/ops"], w.now = true, start.Add(1000*time.Hour)
		}, said: yesBy("zed"), want: approve, again: 1000*time.Hour + unseenLast},
		"a veto that cannot be seen holds it back":   {rules: []Rule{asking(need(1, "role:sre", "github-team:acme/ops"))}, given: func(w *world, _ *approvals.Request) { w.blind["github-team:acme/ops"] = true }, said: append(yesBy("ana"), said(approvals.Deny, "zed", 1)), want: approve, again: unseenFirst},
		"who is known otherwise needs no look":       {rules: []Rule{asking(need(1, "github-team:acme/ops", "role:sre"))}, given: func(w *world, _ *approvals.Request) { w.blind["github-team:acme/ops"] = true }, said: yesBy("ana"), want: release},
		"glass that somebody may break":              {rules: []Rule{{Name: "stop", Refuse: "No.", BreakGlass: []string{"role:sre"}}}, given: glass("ana"), want: release},
		"glass that they may not":                    {rules: []Rule{{Name: "stop", Refuse: "No.", BreakGlass: []string{"role:sre"}}}, given: glass("dan"), want: refused, says: "dan may not set this rule aside; the role sre may."},
		"glass of one rule leaves the others":        {rules: []Rule{{Name: "stop", Refuse: "No.", BreakGlass: []string{"role:sre"}}, asking(sre)}, given: glass("ana"), want: approve, again: DefaultWithin},
		"glass before people who were to agree":      {rules: []Rule{{Name: "ask", Approve: &Approve{Needs: []Need{sre}}, BreakGlass: []string{"role:sre"}}}, given: glass("ana"), want: release},
		"glass without a reason":                     {rules: []Rule{{Name: "stop", Refuse: "No.", BreakGlass: []string{"role:sre"}}}, given: func(w *world, r *approvals.Request) { glass("ana")(w, r); r.Glass.Reason = " " }, want: refused},
		"glass whose breaker cannot be seen":         {rules: []Rule{{Name: "stop", Refuse: "No.", BreakGlass: []string{"codeowners"}}}, given: func(w *world, r *approvals.Request) { glass("ana")(w, r); w.blind["codeowners"] = true }, want: approve, says: "could not be seen", again: unseenFirst},
		"a freeze refuses, and says until when":      {rules: []Rule{{Name: "freeze", During: []Window{{Cron: "0 16 * * FRI", For: 64 * time.Hour, TimeZone: "Europe/Berlin"}}, Refuse: "No deploys."}}, want: refused, says: "It holds until Mon 23 Nov 07:00 UTC."},
		"a freeze that is over":                      {rules: []Rule{{Name: "freeze", During: []Window{{Until: start}}, Refuse: "No deploys."}}, want: release},
		"a freeze to come is looked at when it does": {rules: []Rule{asking(sre), {Name: "freeze", During: []Window{{From: start.Add(time.Hour)}}, Refuse: "No deploys."}}, want: approve, again: time.Hour},
		"a condition of the time is looked at again": {rules: []Rule{asking(sre), {Name: "night", When: `now.getHours("Europe/Berlin") < 6`, Refuse: "It is night."}}, want: approve, again: timedEvery},
		"an app that is configured no more":          {rules: []Rule{{Name: "r", When: `app.repo == ""`, Refuse: "Gone."}}, given: func(_ *world, r *approvals.Request) { r.Order.Env.App = "old" }, want: refused},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w, r := newWorld(), request()
			r.Decisions = test.said
			if test.given != nil {
				test.given(w, r)
			}
			got, err := w.engine(t, test.rules...).Evaluate(context.Background(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got.Effect != test.want || !strings.Contains(got.Reason, test.says) || test.not != "" && strings.Contains(got.Reason, test.not) {
				t.Errorf("%s: %q\nwant %s that says %q\nrules %+v", got.Effect, got.Reason, test.want, test.says, got.Rules)
			}
			if (got.Reason == "") != (got.Effect == release) {
				t.Errorf("%s with the reason %q", got.Effect, got.Reason)
			}
			want := time.Time{}
			if test.again != 0 {
				want = start.Add(test.again)
			}
			if !got.Again.Equal(want) {
				t.Errorf("again at %v, want %v", got.Again, want)
			}
		})
	}
}

func glass(name string) func(*world, *approvals.Request) {
	return func(_ *world, r *approvals.Request) {
		r.Glass = &approvals.Glass{By: from(name), Reason: "the shop is down", At: start}
	}
}

// TestWhoDoesNotCount holds that everybody who decided is either counted or told
// why not.
func TestWhoDoesNotCount(t *testing.T) {
	tests := map[string]struct {
		rule Rule
		who  string
		why  string
	}{
		"who asked":            {rule: asking(need(1, "role:sre")), who: "ana", why: "asked for it themselves"},
		"who is in no group":   {rule: asking(need(1, "role:sre"), need(1, "actor:bo")), who: "dan", why: "belongs to none of role:sre, actor:bo"},
		"who may not decide":   {rule: Rule{Name: "ask", Approve: &Approve{Needs: []Need{need(1, "role:sre")}, Escalate: &Escalate{After: time.Hour, To: []string{"role:lead"}}}}, who: "lee", why: "may decide from Sat 21 Nov 13:00 UTC on"},
		"who cannot be seen":   {rule: asking(need(1, "codeowners")), who: "zed", why: "could not be seen"},
		"who came after hours": {rule: Rule{Name: "ask", Approve: &Approve{Needs: []Need{need(1, "role:sre")}, Within: time.Second}}, who: "bo", why: "came after Sat 21 Nov 12:00 UTC"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w, r := newWorld(), request()
			w.blind["codeowners"] = true
			r.Requester = from("ana")
			test.rule.Approve.NotRequester = true
			r.Decisions = yesBy(test.who)
			got, err := w.engine(t, test.rule).Evaluate(context.Background(), r)
			if err != nil {
				t.Fatal(err)
			}
			if counts, why := got.Counts("github:" + test.who); counts || !strings.Contains(why, test.why) {
				t.Errorf("counts %v because %q, want %q", counts, why, test.why)
			}
		})
	}
}

func TestQuota(t *testing.T) {
	env := func(app, name, owner string, state actions.State) *actions.Environment {
		return &actions.Environment{Name: actions.Name{App: app, Env: name}, State: state, Owner: actions.Owner{Actor: owner, Identity: "github:" + owner}, CreatedAt: start.Add(-time.Hour)}
	}
	waiting := func(id, name, by string, verb actions.Verb) *approvals.Request {
		return &approvals.Request{ID: id, State: approvals.StatePending, Order: actions.Order{Env: actions.Name{App: "shop", Env: name}, Verb: verb}, Requester: from(by)}
	}
	const before, after = "01k0000000000000000000000a", "01k0000000000000000000000z"
	tests := map[string]struct {
		per      Per
		most     int
		envs     []*actions.Environment
		requests []*approvals.Request
		verb     actions.Verb
		want     approvals.Effect
		says     string
	}{
		"there is a place left":                          {most: 2, envs: []*actions.Environment{env("shop", "pr-1", "bo", actions.StateRunning)}},
		"there is none":                                  {most: 1, envs: []*actions.Environment{env("shop", "pr-1", "bo", actions.StateRunning)}, want: approvals.EffectRefuse, says: "allows 1 environment of shop at once, and there is 1, those on their way included: shop/pr-1. Clean one up first: `cleanup shop/pr-1`"},
		"one that is gone does not count":                {most: 1, envs: []*actions.Environment{env("shop", "pr-1", "bo", actions.StateCleaned)}},
		"nor one of another app":                         {most: 1, envs: []*actions.Environment{env("blog", "pr-1", "bo", actions.StateRunning)}},
		"what is there already may be deployed":          {most: 1, envs: []*actions.Environment{env("shop", "demo", "bo", actions.StateRunning)}},
		"what is there may be cleaned up":                {most: 0, verb: actions.VerbCleanup, envs: []*actions.Environment{env("shop", "pr-1", "bo", actions.StateRunning)}},
		"what came before counts":                        {most: 1, requests: []*approvals.Request{waiting(before, "pr-1", "bo", actions.VerbDeploy)}, want: approvals.EffectRefuse, says: "shop/pr-1"},
		"what came after does not":                       {most: 1, requests: []*approvals.Request{waiting(after, "pr-1", "bo", actions.VerbDeploy)}},
		"what only looks does not":                       {most: 1, requests: []*approvals.Request{waiting(before, "pr-1", "bo", actions.VerbCleanup)}},
		"what makes the same one does not":               {most: 1, requests: []*approvals.Request{waiting(before, "demo", "bo", actions.VerbDeploy)}},
		"what is there is not counted twice":             {most: 2, envs: []*actions.Environment{env("shop", "pr-1", "bo", actions.StateCreatePending)}, requests: []*approvals.Request{waiting(before, "pr-1", "bo", actions.VerbDeploy)}},
		"somebody's own in any app":                      {per: PerActor, most: 1, envs: []*actions.Environment{env("blog", "pr-1", "ana", actions.StateRunning)}, want: approvals.EffectRefuse, says: "for ana"},
		"somebody else's":                                {per: PerActor, most: 1, envs: []*actions.Environment{env("shop", "pr-1", "bo", actions.StateRunning)}},
		"one that runs though its id is a later one":     {most: 1, requests: []*approvals.Request{{ID: after, State: approvals.StateRunning, Order: actions.Order{Env: actions.Name{App: "shop", Env: "pr-1"}, Verb: actions.VerbDeploy}, Requester: from("bo")}}, want: approvals.EffectRefuse},
		"one of theirs, however their login was written": {per: PerActor, most: 1, envs: []*actions.Environment{env("shop", "pr-1", "Ana", actions.StateRunning)}, want: approvals.EffectRefuse},
		"one of an account that they took away again":    {per: PerActor, most: 1, envs: []*actions.Environment{env("shop", "pr-1", "ana-before", actions.StateRunning)}, want: approvals.EffectRefuse},
		"one that a second account of theirs has":        {per: PerActor, most: 1, envs: []*actions.Environment{{Name: actions.Name{App: "shop", Env: "pr-1"}, State: actions.StateRunning, Owner: actions.Owner{Identity: "token:ana"}}}, want: approvals.EffectRefuse},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w, r := newWorld(), request()
			w.envs, w.requests = test.envs, test.requests
			w.people["github:Ana"] = w.people["github:ana"] // as People compares logins
			w.people["github:ana-before"] = approvals.Person{ID: "actor:ana", Name: "ana", Identities: []string{"github:ana-before"}}
			r.Order.Verb, r.Requester = actions.VerbDeploy, from("ana")
			if test.verb != "" {
				r.Order.Verb = test.verb
			}
			if test.per == "" {
				test.per = PerApp
			}
			if test.want == "" {
				test.want = approvals.EffectRelease
			}
			got, err := w.engine(t, Rule{Name: "few", Quota: &Quota{Per: test.per, Most: test.most}}).Evaluate(context.Background(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got.Effect != test.want || !strings.Contains(got.Reason, test.says) {
				t.Errorf("%s: %q, want %s that says %q", got.Effect, got.Reason, test.want, test.says)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	w := newWorld()
	one := w.engine(t, asking(need(1, "role:sre")))
	if again := w.engine(t, asking(need(1, "role:sre"))); one.Version() != again.Version() {
		t.Error("the same rules have two versions")
	}
	if other := w.engine(t, asking(need(2, "role:sre"))); one.Version() == other.Version() {
		t.Error("two rules have one version")
	}
}
