package bot_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/bottest"
)

// guarded is an app with variables and secrets, which only an sre may set.
func guarded() *actions.App {
	app := bottest.Shop()
	app.Vars = map[string]string{"LOG_LEVEL": "info", "REGION": "eu"}
	app.Secrets = map[string]actions.SecretRef{"DATABASE": {Name: "db", File: "/run/secrets/db"}}
	app.Offered = map[string]actions.SecretRef{"stripe": {Name: "stripe", Env: "STRIPE_KEY"}}
	app.SetRoles = []string{"sre"}
	return app
}

func sre(line string) bot.Input {
	return bot.Input{
		Line: line, Private: true, Actor: bot.Actor{Name: "sam", Identity: "token:sam", Roles: []string{"sre"}}, Place: approvals.Place{Surface: "cli"},
	}
}

func TestVariablesAreSetByWhoMayAndToldToNobodyElse(t *testing.T) {
	const value = "hunter2"
	ctx, name := context.Background(), actions.Name{App: "shop", Env: "pr-42"}
	w := bottest.New(t, redistest.Client(t), guarded())
	w.Work()
	w.Do("deploy shop/pr-42")

	public := github("set LOG_LEVEL="+value, 42)
	public.Actor.Roles, public.Key = []string{"sre"}, "github:comment:1"
	golden(t, "set_public", w.SayIn(public).Text)
	golden(t, "set_secret", w.SayIn(sre("set shop/pr-42 STRIPE_KEY --secret stripe")).Text)
	golden(t, "vars_private", w.SayIn(sre("vars shop/pr-42")).Text)
	public.Line, public.Key = "vars", ""
	golden(t, "vars_public", w.SayIn(public).Text)
	if text := w.Say("vars shop/pr-42").Text; strings.Contains(text, value) {
		t.Errorf("who may not set is told values:\n%s", text)
	}
	golden(t, "status_variables", w.Say("status shop/pr-42").Text)

	// What arrives again must not undo what others did since.
	w.SayIn(sre("set shop/pr-42 LOG_LEVEL=warn"))
	public.Line, public.Key = "set LOG_LEVEL="+value, "github:comment:1"
	w.SayIn(public)
	env, err := w.Store.Environment(ctx, name)
	if err != nil || env.Overrides["LOG_LEVEL"].Value != "warn" || env.Overrides["STRIPE_KEY"].Secret != "stripe" {
		t.Errorf("the variables are %+v, %v", env.Overrides, err)
	}

	// Whoever may not is refused, which is recorded without the value.
	reply := w.Say("set shop/pr-42 LOG_LEVEL=" + value)
	if reply.Code != actions.CodeForbidden || !strings.Contains(reply.Text, "`apps.shop.set_roles`") {
		t.Errorf("%s: %s", reply.Code, reply.Text)
	}
	w.Do("deploy shop/pr-42")
	golden(t, "unset", w.SayIn(sre("unset shop/pr-42 LOG_LEVEL")).Text)
	golden(t, "vars_after", w.SayIn(sre("vars shop/pr-42")).Text)
	audit, err := w.Store.Audit(ctx, name, 0, 200)
	if err != nil {
		t.Fatal(err)
	}
	records, err := json.Marshal(audit)
	if err != nil || strings.Contains(string(records), value) {
		t.Errorf("the audit has a value (%v):\n%s", err, records)
	}
}

func TestARollbackBringsBackTheVariablesOfThenAndVarsSaysSo(t *testing.T) {
	w := bottest.New(t, redistest.Client(t), guarded())
	w.Work()
	w.Do("deploy shop/pr-42")
	w.SayIn(sre("set shop/pr-42 LOG_LEVEL=debug"))
	w.Do("deploy shop/pr-42")
	const next, back = "counts from the next deploy on", "has the variables of revision 1"
	told := func(want ...string) {
		t.Helper()
		text := w.SayIn(sre("vars shop/pr-42")).Text
		for _, part := range []string{next, back} {
			if strings.Contains(text, part) != slices.Contains(want, part) {
				t.Errorf("want it to say %q, and it says\n%s", want, text)
			}
		}
	}
	told()
	w.Do("rollback shop/pr-42")
	told(next, back)
	w.Do("archive shop/pr-42")
	w.Do("restore shop/pr-42")
	told(next, back)
	w.Do("rollback shop/pr-42 --to 2")
	w.Do("restart shop/pr-42")
	if text := w.SayIn(sre("vars shop/pr-42")).Text; strings.Contains(text, next) || !strings.Contains(text, "of revision 2") {
		t.Errorf("after going back to where the variable was set:\n%s", text)
	}
	w.Do("deploy shop/pr-42")
	told()
}

func TestVariablesThatCannotBe(t *testing.T) {
	open := bottest.Shop()
	open.Name, open.Repo = "open", "acme/open"
	w := bottest.New(t, redistest.Client(t), guarded(), open)
	w.Work()
	w.Do("deploy shop/pr-42")
	w.Do("deploy open/pr-1")
	w.Do("deploy shop/pr-7")
	w.SayIn(sre(`lock shop/pr-7 --reason "demo at 3"`))
	w.SayIn(sre("set shop/pr-42 A=1"))
	viewer := sre("set open/pr-1 A=1")
	viewer.Actor.Roles = []string{bot.RoleViewer}
	for name, c := range map[string]struct {
		in   bot.Input
		code actions.Code
		says string
	}{
		"a viewer":                          {viewer, actions.CodeForbidden, "may only look"},
		"an environment that is not there":  {sre("set shop/pr-8 A=1"), actions.CodeNotFound, "There is no environment"},
		"a locked one":                      {sre("set shop/pr-7 A=1"), actions.CodeConflict, "(demo at 3)"},
		"a secret that is not offered":      {sre("set shop/pr-42 A --secret strip"), actions.CodeNotFound, "it offers `stripe`"},
		"a secret where none is offered":    {sre("set open/pr-1 A --secret stripe"), actions.CodeNotFound, "`apps.open.offer_secrets`"},
		"taking back what nobody has set":   {sre("unset shop/pr-42 B"), actions.CodeNotFound, "what was set there is `A`"},
		"taking back where nothing was set": {sre("unset open/pr-1 B"), actions.CodeNotFound, "Nobody has set variables"},
	} {
		t.Run(name, func(t *testing.T) {
			reply := w.SayIn(c.in)
			if reply.Tone != bot.ToneRefused || reply.Code != c.code || !strings.Contains(reply.Text, c.says) {
				t.Errorf("want %s and %q, got %s, %s: %s", c.code, c.says, reply.Tone, reply.Code, reply.Text)
			}
		})
	}
	if reply := w.Say("set open/pr-1 A=1"); reply.Tone != bot.ToneInfo {
		t.Errorf("whoever deploys may set where the app says nothing: %s", reply.Text)
	}
}
