package actions_test

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
)

// assembled is a shop whose part web is built from the component api.
func assembled(t *testing.T) *harness {
	t.Helper()
	h := newHarness(t)
	h.app.Components = map[string]actions.Component{"api": {Repo: "acme/api", Ref: "main"}}
	h.app.Parts[1].Component = "api"
	h.app.Parts[2].With = map[string]any{"name": "{{ .Name }}.{{ .Components.api.Repo }}", "api": "{{ .Components.api.Commit.SHA }}", "own": "{{ .SHA }}"}
	h.repos.refs["refs/pull/12/head"] = shaB
	return h
}

func TestComponentsComeFromOtherRepositories(t *testing.T) {
	t.Parallel()
	h := assembled(t)
	req, p := h.plan(actions.Order{Verb: actions.VerbDeploy, With: map[string]string{"api": "acme/api#12"}})
	if b := p.Order.Components["api"]; b.Commit.SHA != shaB || b.PullRequest != 12 || b.Repo != "acme/api" || p.Order.Commit.SHA != shaA {
		t.Fatalf("order %+v", p.Order)
	}
	h.performReq(h.ctx, req)
	if b := h.env().Components["api"]; b.PullRequest != 12 || b.Commit.SHA != shaB {
		t.Errorf("environment's components %+v", h.env().Components)
	}
	// A deploy that does not name it takes the same pull request's newest commit.
	h.repos.refs["refs/pull/12/head"] = shaA
	if _, p = h.plan(actions.Order{Verb: actions.VerbDeploy}); p.Order.Components["api"].Commit.SHA != shaA || p.Order.Components["api"].PullRequest != 12 {
		t.Errorf("the second deploy takes %+v", p.Order.Components)
	}
	// What is planned stays as it was while the repository cannot be asked.
	h.repos.down = true
	again, err := h.run.Plan(h.ctx, p.Order, true)
	if err != nil || again.Digest != p.Digest {
		t.Errorf("planned again while GitHub is away: %v, the same digest: %v", err, err == nil && again.Digest == p.Digest)
	}
	h.repos.down = false
	_, back := h.plan(actions.Order{Verb: actions.VerbDeploy, With: map[string]string{"api": "main"}})
	if b := back.Order.Components["api"]; b.PullRequest != 0 || b.Ref != "main" {
		t.Errorf("back on the branch: %+v", b)
	}
	if changed := actions.Changed(p, back); len(changed) != 0 && !strings.Contains(strings.Join(changed, " "), "component api") {
		t.Errorf("what changed: %q", changed)
	}
}

// What is renewed is what runs, whatever came since, and whatever it was taken
// from is followed as before.
func TestADeployOfWhatRunsLooksNothingUp(t *testing.T) {
	t.Parallel()
	h := assembled(t)
	h.app.AllowSet = []string{"size"}
	_, err := h.run.Plan(h.ctx, actions.Order{Env: shop42, Verb: actions.VerbDeploy, AsIs: true}, true)
	wantCode(t, err, actions.CodeConflict)
	h.perform(actions.Order{Verb: actions.VerbDeploy, With: map[string]string{"api": "#12"}, Set: map[string]string{"size": "3"}})
	before := h.env()
	h.repos.refs["refs/pull/42/head"], h.repos.refs["refs/pull/12/head"] = shaB, shaA
	h.repos.down = true // it is asked nothing
	req, p := h.plan(actions.Order{Verb: actions.VerbDeploy, AsIs: true, Ref: before.Commit.SHA})
	if p.Order.Commit.SHA != shaA || p.Order.Components["api"].Commit.SHA != shaB {
		t.Fatalf("order %+v", p.Order)
	}
	h.performReq(h.ctx, req)
	after := h.env()
	if after.Commit != before.Commit || after.Ref != before.Ref || !reflect.DeepEqual(after.Components, before.Components) || !maps.Equal(after.Set, before.Set) {
		t.Errorf("it was\n%+v, and is\n%+v", before, after)
	}
	_, err = h.run.Plan(h.ctx, actions.Order{Env: shop42, Verb: actions.VerbDeploy, AsIs: true, Ref: shaB}, true)
	wantCode(t, err, actions.CodeConflict)
}

func TestComponentsThatCannotBe(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		before func(h *harness)
		order  actions.Order
		code   actions.Code
		say    string
	}{
		"an unknown component": {nil, actions.Order{Verb: actions.VerbDeploy, With: map[string]string{"web": "#1"}}, actions.CodeInvalid,
			"shop has no component web; it has api."},
		"another repository's pull request": {nil, actions.Order{Verb: actions.VerbDeploy, With: map[string]string{"api": "evil/api#12"}}, actions.CodeInvalid,
			"The component api of shop is acme/api, not evil/api; write --with api=acme/api#12."},
		"a pull request that is not there": {nil, actions.Order{Verb: actions.VerbDeploy, With: map[string]string{"api": "#99"}}, actions.CodeNotFound,
			`There is no "refs/pull/99/head" in acme/api.`},
		"nothing at all": {nil, actions.Order{Verb: actions.VerbDeploy, With: map[string]string{"api": ""}}, actions.CodeInvalid,
			"Say what api is to be taken from, such as --with api=acme/api#12."},
		"an app without components": {func(h *harness) { h.app.Components, h.app.Parts[1].Component, h.app.Parts[2].With = nil, "", nil },
			actions.Order{Verb: actions.VerbDeploy, With: map[string]string{"api": "#12"}}, actions.CodeInvalid,
			"shop has no components that --with api could mean (components in its configuration)."},
		"a fork's": {func(h *harness) { h.repos.fork = true }, actions.Order{Verb: actions.VerbDeploy, With: map[string]string{"api": "#12"}}, actions.CodeForbidden, ""},
		"a cleanup": {func(h *harness) { h.perform(actions.Order{Verb: actions.VerbDeploy}) },
			actions.Order{Verb: actions.VerbCleanup, With: map[string]string{"api": "#12"}}, actions.CodeInvalid, "--with goes with deploy and restore only."},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := assembled(t)
			if tc.before != nil {
				tc.before(h)
			}
			tc.order.Env = shop42
			_, err := h.run.Plan(h.ctx, tc.order, true)
			wantCode(t, err, tc.code)
			if tc.say != "" && actions.Message(err) != tc.say {
				t.Errorf("message %q, want %q", actions.Message(err), tc.say)
			}
		})
	}
}

func TestAnEnvironmentStaysInItsCluster(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.app.Clusters = []actions.Cluster{h.app.Cluster, {Name: "eu", Context: "e"}}
	_, err := h.run.Plan(h.ctx, actions.Order{Env: shop42, Verb: actions.VerbDeploy, Cluster: "mars"}, true)
	wantCode(t, err, actions.CodeInvalid)
	if m := actions.Message(err); m != "shop does not run on a cluster mars; it runs on staging, eu." {
		t.Error(m)
	}
	h.perform(actions.Order{Verb: actions.VerbDeploy, Cluster: "eu"})
	if c := h.env().Cluster; c != "eu" {
		t.Fatalf("it runs on %q", c)
	}
	_, err = h.run.Plan(h.ctx, actions.Order{Env: shop42, Verb: actions.VerbDeploy, Cluster: "staging"}, true)
	wantCode(t, err, actions.CodeConflict)
	if run := h.perform(actions.Order{Verb: actions.VerbDeploy}); run.State != actions.RunSucceeded || h.env().Cluster != "eu" {
		t.Errorf("a deploy that names no cluster: %s on %s", run.State, h.env().Cluster)
	}
	h.perform(actions.Order{Verb: actions.VerbCleanup})
	h.perform(actions.Order{Verb: actions.VerbDeploy, Cluster: "staging"})
	if c := h.env().Cluster; c != "staging" {
		t.Errorf("in its next life it runs on %q", c)
	}
}

func TestVariablesOfAnEnvironment(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.app.Secrets = map[string]actions.SecretRef{"KEY": {Name: "key", Env: "KEY"}}
	h.app.Offered = map[string]actions.SecretRef{"other": {Name: "other", File: "/run/secrets/other"}}
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	_, before := h.plan(actions.Order{Verb: actions.VerbDeploy})
	rec := actions.Record{Actor: "bo", Identity: "github:bo"}
	env, err := h.store.SetVars(h.ctx, shop42, map[string]actions.Override{"LEVEL": {Value: "hush"}, "EXTRA": {Value: "1"}, "KEY": {Secret: "other"}}, nil, rec)
	if err != nil || env.Overrides["LEVEL"].By != "bo" {
		t.Fatal(env, err)
	}
	_, after := h.plan(actions.Order{Verb: actions.VerbDeploy})
	said := strings.Join(actions.Changed(before, after), "; ")
	if !strings.Contains(said, "the variable LEVEL is another") || !strings.Contains(said, "the variable EXTRA is new") || !strings.Contains(said, "the secret of variable KEY is another") || strings.Contains(said, "hush") {
		t.Errorf("what changed: %s", said)
	}
	steps := len(h.world.steps)
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	if s := h.world.steps[steps]; s.Vars["LEVEL"] != "hush" || s.Vars["EXTRA"] != "1" || s.Secrets["KEY"].File != "/run/secrets/other" || s.Installation == "" {
		t.Errorf("the step has %v, %v, %q", s.Vars, s.Secrets, s.Installation)
	}
	records, err := h.store.Audit(h.ctx, shop42, 0, 0)
	if text := fmt.Sprint(records); err != nil || strings.Contains(text, "hush") || !strings.Contains(text, "EXTRA KEY LEVEL") {
		t.Errorf("the audit: %s %v", text, err)
	}
	if env, err = h.store.SetVars(h.ctx, shop42, nil, []string{"LEVEL", "EXTRA", "KEY"}, rec); err != nil || len(env.Overrides) != 0 {
		t.Fatal(env.Overrides, err)
	}
	if _, p := h.plan(actions.Order{Verb: actions.VerbDeploy}); p.Digest != before.Digest {
		t.Error("with its variables taken back, the plan is not what it was")
	}
}

func TestASecretThatIsNoLongerOfferedKeepsNothingFromGoing(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.app.Offered = map[string]actions.SecretRef{"other": {Name: "other", File: "/run/secrets/other"}}
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	if _, err := h.store.SetVars(h.ctx, shop42, map[string]actions.Override{"KEY": {Secret: "other"}}, nil, actions.Record{Actor: "bo"}); err != nil {
		t.Fatal(err)
	}
	h.app.Offered = nil
	_, err := h.run.Plan(h.ctx, actions.Order{Env: shop42, Verb: actions.VerbDeploy}, true)
	wantCode(t, err, actions.CodeInvalid)
	for _, verb := range []actions.Verb{actions.VerbArchive, actions.VerbCleanup} {
		if run := h.perform(actions.Order{Verb: verb}); run.State != actions.RunSucceeded {
			t.Errorf("%s: %s", verb, run.Error)
		}
	}
}

func TestNothingIsPutAsideWhileTheConfigurationLacksAPart(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	h.app.Parts = h.app.Parts[:len(h.app.Parts)-1]
	for _, verb := range []actions.Verb{actions.VerbSleep, actions.VerbArchive, actions.VerbCleanup} {
		_, err := h.run.Plan(h.ctx, actions.Order{Env: shop42, Verb: verb}, true)
		wantCode(t, err, actions.CodeConflict)
	}
}

func TestVariablesThatCannotBeSet(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	tests := map[string]struct {
		set   map[string]actions.Override
		unset []string
		code  actions.Code
	}{
		"a name with a space":        {map[string]actions.Override{"A B": {Value: "x"}}, nil, actions.CodeInvalid},
		"a name of another script":   {map[string]actions.Override{"Ä": {Value: "x"}}, nil, actions.CodeInvalid},
		"a value that is too long":   {map[string]actions.Override{"A": {Value: strings.Repeat("x", actions.MaxOverrideValue+1)}}, nil, actions.CodeInvalid},
		"a value that is no text":    {map[string]actions.Override{"A": {Value: "a\x00b"}}, nil, actions.CodeInvalid},
		"a value that is not UTF-8":  {map[string]actions.Override{"A": {Value: "a\xff"}}, nil, actions.CodeInvalid},
		"a value and a secret":       {map[string]actions.Override{"A": {Value: "x", Secret: "y"}}, nil, actions.CodeInvalid},
		"set and taken back at once": {map[string]actions.Override{"A": {Value: "x"}}, []string{"A"}, actions.CodeInvalid},
		"taking back what is not":    {nil, []string{"LEVEL"}, actions.CodeNotFound},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := h.store.SetVars(h.ctx, shop42, tc.set, tc.unset, actions.Record{Actor: "bo"})
			wantCode(t, err, tc.code)
		})
	}
	if _, err := h.store.SetVars(h.ctx, shop42, map[string]actions.Override{"A": {Secret: "gone"}}, nil, actions.Record{Actor: "bo"}); err != nil {
		t.Fatal(err)
	}
	_, err := h.run.Plan(h.ctx, actions.Order{Env: shop42, Verb: actions.VerbDeploy}, true)
	wantCode(t, err, actions.CodeInvalid)
}
