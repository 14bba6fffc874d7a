package aws

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	prodRole  = "arn:aws:iam::444455556666:role/berth"
	otherRole = "arn:aws:iam::777788889999:role/berth"
)

// accounts are settings with an account of its own beside the executor's.
func (w *world) accounts() map[string]any {
	s := w.settings()
	s["regions"] = []any{"us-east-1"}
	s["accounts"] = map[string]any{"prod": map[string]any{"role": prodRole, "region": "eu-west-1"}, "closed": map[string]any{"role": otherRole}}
	return s
}

func TestAPartIsMadeInItsAccountAndRegion(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		with map[string]any
		arn  string
	}{
		"the executor's own":   {map[string]any{}, "eu-central-1:" + awstest.Account},
		"another region":       {map[string]any{"region": "us-east-1"}, "us-east-1:" + awstest.Account},
		"an account by name":   {map[string]any{"account": "prod"}, "eu-west-1:444455556666"},
		"an account by a role": {map[string]any{"role": prodRole}, "eu-west-1:444455556666"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, awstest.Options{Roles: []string{prodRole}})
			with := maps.Clone(test.with)
			with["secret"] = map[string]any{}
			step := w.step(sdk.Deploy, with)
			step.Settings = w.accounts()
			if out := w.must(t, step); !strings.Contains(out.outputs["arn"], test.arn) {
				t.Errorf("it is %s; want it in %s", out.outputs["arn"], test.arn)
			}
		})
	}
}

func TestWhatSettingsDoNotNameIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{Roles: []string{prodRole}})
	for name, test := range map[string]struct {
		with map[string]any
		says string
	}{
		"another role":      {map[string]any{"role": "arn:aws:iam::000000000000:role/admin"}, "not one that the aws executor's settings name"},
		"another region":    {map[string]any{"region": "ap-south-1"}, "not among those"},
		"another's region":  {map[string]any{"account": "prod", "region": "us-east-1"}, "not among those"},
		"another account":   {map[string]any{"account": "moon"}, "not one of"},
		"an account's role": {map[string]any{"account": "prod", "role": otherRole}, "not one that"},
	} {
		t.Run(name, func(t *testing.T) {
			with := maps.Clone(test.with)
			with["secret"] = map[string]any{}
			step := w.step(sdk.Deploy, with)
			step.Settings = w.accounts()
			_, err := w.executor().Plan(t.Context(), step)
			refused(t, err, test.says)
		})
	}
	if n := len(w.Calls()); n > 0 {
		t.Errorf("it made %d calls", n)
	}
}

func TestTheInventoryGoesOverAllAccountsAndRegions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{Roles: []string{prodRole, otherRole}, Page: 2})
	for i, with := range []map[string]any{{}, {"region": "us-east-1"}, {"account": "prod"}} {
		for _, kind := range []string{"secret", "rds"} {
			step := w.step(sdk.Deploy, maps.Clone(with))
			step.With[kind] = map[string]any{}
			if kind == "rds" {
				step.With[kind] = map[string]any{"engine": "mysql"}
			}
			step.Settings, step.Part = w.accounts(), "part-"+string(rune('a'+i))
			w.must(t, step)
			step.Installation = "berth-2" // another Berth's, that is not told
			step.Part += "-other"
			w.must(t, step)
		}
	}
	owned, err := w.executor().Inventory(t.Context(), sdk.Scope{Installation: "berth-1", Settings: w.accounts()})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range owned {
		names = append(names, o.App+"/"+o.Env+" "+o.Part+" "+o.Kind)
		if o.CreatedAt.IsZero() || o.Name == "" || !o.Elsewhere {
			t.Errorf("it says too little of %+v", o)
		}
	}
	slices.Sort(names)
	want := []string{
		"shop/pr-42 part-a RDS instance", "shop/pr-42 part-a secret", "shop/pr-42 part-b RDS instance", "shop/pr-42 part-b secret",
		"shop/pr-42 part-c RDS instance", "shop/pr-42 part-c secret",
	}
	if !slices.Equal(names, want) {
		t.Errorf("it tells of %v; want %v", names, want)
	}
	// A cleanup that knows nothing but the names finds what is in another account.
	step := w.step(sdk.Cleanup, nil)
	step.Settings, step.Part = w.accounts(), "part-c"
	out := w.must(t, step)
	if len(out.receipts) != 2 {
		t.Errorf("its receipts are %v; want two", out.receipts)
	}
}

func TestAnInventoryThatCannotSeeAllFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		roles []string
		f     awstest.Faults
	}{
		"an account that does not let Berth in": {roles: []string{prodRole}},
		"a list that is not allowed": {roles: []string{prodRole, otherRole}, f: awstest.Faults{Deny: func(call string) bool {
			return call == "rds:DescribeDBSnapshots"
		}}},
		"AWS is away": {roles: []string{prodRole, otherRole}, f: awstest.Faults{KillBefore: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, awstest.Options{Roles: test.roles})
			w.SetFaults(test.f)
			if owned, err := w.executor().Inventory(t.Context(), sdk.Scope{Installation: "berth-1", Settings: w.accounts()}); err == nil {
				t.Errorf("it tells of %v, as if that were all", owned)
			}
			if _, err := w.run(t, sdk.Step{ID: "1", App: "shop", Env: "pr-42", Part: "db", Verb: sdk.Cleanup, Settings: w.accounts(), Installation: "berth-1"}); err == nil {
				t.Error("a cleanup that knows no settings succeeds, and has not seen all")
			}
		})
	}
}

func TestKindsThatSettingsLeaveOutAreNotLookedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{})
	settings := w.settings()
	settings["kinds"] = []any{"secret"}
	step := w.step(sdk.Deploy, map[string]any{"secret": map[string]any{}})
	step.Settings = settings
	w.must(t, step)
	step.Verb = sdk.Cleanup
	w.must(t, step)
	for _, c := range w.Calls() {
		if c.Service != "secretsmanager" {
			t.Errorf("it called %s", c.Name())
		}
	}
	step.Verb, step.With = sdk.Deploy, map[string]any{"rds": map[string]any{"engine": "postgres"}}
	_, err := w.run(t, step)
	refused(t, err, "`kinds`")
}
