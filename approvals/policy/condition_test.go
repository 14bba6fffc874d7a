package policy

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

func TestMistakes(t *testing.T) {
	tests := map[string]struct{ when, want string }{
		"an unknown field":                {`request.verbb == "deploy"`, `column 8: request has no field "verbb"; did you mean "verb"?`},
		"an unknown field far from any":   {`request.colour == "red"`, `request has no field "colour"; there are: verb, ref`},
		"an unknown field within":         {`plan.commit.forked`, `plan.commit has no field "forked"; did you mean "fork"?`},
		"an unknown field of an item":     {`plan.parts.exists(p, p.nam == "db")`, `there is no field "nam"; did you mean "name"?`},
		"an unknown name":                 {`requst.verb == "deploy"`, `column 1: there is no "requst"; did you mean "request"?`},
		"a field without its name":        {`verb == "deploy"`, `there is no "verb"; did you mean request.verb?`},
		"an unknown function":             {`request.ref.startWith("release")`, `there is no "startWith"; did you mean "startsWith"?`},
		"two types that do not compare":   {`environment.pull_request == "42"`, `column 26: == does not work with (int, string)`},
		"a length of time and a number":   {`environment.age > 72`, `> does not work with (duration, int)`},
		"a list that is none":             {`request.verb in "deploy"`, `in does not work with (string, string)`},
		"an expression that gives text":   {`request.verb`, `this gives string, where true or false is needed`},
		"an expression that gives a map":  {`plan`, `this gives plan, where true or false is needed`},
		"a single equals sign":            {`request.verb = "deploy"`, `write == to compare`},
		"and in letters":                  {`plan.destructive and plan.commit.fork`, `write && for and`},
		"a bracket too few":               {`(plan.destructive`, `the expression ends too early`},
		"nothing but an operator":         {`&&`, `"&&" is not expected here`},
		"the line of several":             {"plan.destructive &&\n  request.verbb == \"deploy\"", `line 2, column 10 of the expression: `},
		"a verb that is none":             {`request.verb == "deplyo"`, `request.verb is never "deplyo"; did you mean "deploy"?`},
		"a verb that is none in a list":   {`request.verb in ["deploy", "destroy"]`, `request.verb is never "destroy"`},
		"a state that is none":            {`"running" == environment.state`, `did you mean "Running"?`},
		"a regular expression that fails": {`request.ref.matches("(")`, `this cannot be worked out`},
		"a length of time that is none":   {`environment.age > duration("3 days")`, `this cannot be worked out`},
		"another program's environment":   {`os.getenv("HOME") == ""`, `there is no "os"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			faults := Check([]Rule{{Name: "r", Refuse: "No."}, {Name: "s", When: test.when, Refuse: "No."}})
			if len(faults) == 0 {
				t.Fatal("no fault was found")
			}
			if f := faults[0]; f.Rule != 1 || f.Path != "when" || !strings.Contains(f.Msg, test.want) {
				t.Errorf("fault %+v\nwant %q", f, test.want)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	tests := map[string]string{
		"the verb and the target":      `request.verb == "deploy" && environment.app == "shop" && environment.name == "pr-7"`,
		"a pull request":               `environment.pull_request == 7`,
		"what was asked for":           `request.ref == "main" && request.ttl == duration("24h") && request.set["image.tag"] == "1"`,
		"a key that may be absent":     `!("replicas" in request.set)`,
		"who asked":                    `actor.id == "actor:ana" && actor.name == "ana" && "sre" in actor.roles && actor.identity == "github:ana"`,
		"whose it is":                  `environment.owner == actor.id`,
		"what the surface says":        `"github:write" in actor.roles`,
		"how old it is":                `environment.age == duration("48h") && environment.idle > duration("1h")`,
		"when it goes":                 `environment.expires_in < duration("3h") && environment.expires_in > duration("1h")`,
		"where the app is":             `app.repo == "acme/shop" && app.cluster == "staging" && "db" in app.parts && "helm" in app.executors`,
		"what takes data away":         `plan.destructive && plan.parts.exists(p, p.destructive && p.use == "aws")`,
		"a resource":                   `plan.resources.exists(r, r.kind == "RDS instance" && r.change == "delete")`,
		"how large the change is":      `plan.added + plan.removed > 10`,
		"what it costs":                `plan.cost.contains("1 CPU")`,
		"whose commit":                 `plan.commit.author == "mallory" && plan.commit.fork`,
		"the day of the week":          `now.getDayOfWeek("Europe/Berlin") == 6`,
		"sets":                         `sets.intersects(actor.roles, ["sre", "lead"])`,
		"text":                         `request.reason.lowerAscii().matches("^hot ?fix")`,
		"made by nobody in particular": `!request.automatic`,
	}
	w, r := newWorld(), request()
	r.Order = actions.Order{
		Env: actions.Name{App: "shop", Env: "pr-7"}, Verb: actions.VerbDeploy, Ref: "main", TTL: 24 * time.Hour, Set: map[string]string{"image.tag": "1"},
		Reason: "Hotfix", Commit: actions.Commit{Author: "mallory", Fork: true},
	}
	r.Requester = approvals.Requester{Actor: "ana", Identity: "github:ana", Roles: []string{"github:write", "lost-role"}}
	r.Plan = &actions.Plan{Order: r.Order, Destructive: true, Added: 10, Removed: 1, MadeAt: start, Parts: []actions.PartPlan{
		{Part: "db", Use: "aws", Destructive: true, Cost: "1 CPU", Resources: []actions.Resource{{Kind: "RDS instance", Name: "shop", Change: actions.ResourceDelete, Destructive: true}}},
	}}
	w.envs = []*actions.Environment{{
		Name: r.Order.Env, State: actions.StateRunning, CreatedAt: start.Add(-48 * time.Hour), ExpiresAt: start.Add(2 * time.Hour),
		Owner: actions.Owner{Actor: "ana", Identity: "token:ana"},
	}}
	for name, when := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := w.engine(t, Rule{Name: "r", When: when, Refuse: "Yes."}).Evaluate(context.Background(), r)
			if err != nil || got.Effect != approvals.EffectRefuse {
				t.Errorf("%s says %s, %v", when, got.Effect, err)
			}
		})
	}
	w.envs[0].ExpiresAt = time.Time{}
	for _, when := range []string{`environment.expires_in > duration("24h")`, `environment.expires_in + environment.age > duration("24h")`, `now + environment.expires_in > now`} {
		got, err := w.engine(t, Rule{Name: "r", When: when, Refuse: "Yes."}).Evaluate(context.Background(), r)
		if err != nil || got.Effect != approvals.EffectRefuse {
			t.Errorf("of what never expires, %s says %s, %v", when, got.Effect, err)
		}
	}
	got, err := w.engine(t, Rule{Name: "r", When: `"lost-role" in actor.roles`, Refuse: "No."}).Evaluate(context.Background(), r)
	if err != nil || got.Effect != approvals.EffectRelease {
		t.Errorf("a role that the config gives no more counts: %s, %v", got.Effect, err)
	}
}

// TestConditionsThatFail holds that a condition that cannot be evaluated
// releases nothing, names the rule, and does not repeat values of --set.
func TestConditionsThatFail(t *testing.T) {
	list := "[" + strings.TrimSuffix(strings.Repeat("1,", 200), ",") + "]"
	tests := map[string]struct{ when, want string }{
		"a key that is not there":      {`request.set["replicas"] == "1"`, "a key is not there"},
		"a value that is no number":    {`int(request.set["password"]) > 1`, "could not be read"},
		"an end that there is not":     {`plan.parts[3].destructive`, "shorter than it expects"},
		"a division by nothing":        {`1 / plan.added > 1`, "divides by zero"},
		"a time that is out of reach":  {`now + duration(request.set["password"]) > now`, "could not be read"},
		"more work than there is time": {list + ".all(a, " + list + ".all(b, " + list + ".all(c, a + b + c + int(environment.pull_request) != 7)))", "takes too long"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w, r := newWorld(), request()
			r.Order.Set = map[string]string{"password": "hunter2"}
			_, err := w.engine(t, Rule{Name: "odd", When: test.when, Release: true}).Evaluate(context.Background(), r)
			if actions.CodeOf(err) != actions.CodeInvalid || actions.Retryable(err) {
				t.Fatalf("error is %v", err)
			}
			if msg := actions.Message(err); !strings.Contains(msg, "The rule odd") || !strings.Contains(msg, test.want) {
				t.Errorf("the message is %q", msg)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats a value: %v", err)
			}
		})
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(`request.verb == "deploy"`)
	f.Add("plan.parts.exists(p, p.name == \"db\") ||\n now > timestamp(\"2026-01-01T00:00:00Z\")")
	f.Add(`((((`)
	f.Fuzz(func(t *testing.T, when string) {
		for _, fault := range Check([]Rule{{Name: "r", When: when, Release: true}}) {
			if fault.Path != "when" || strings.TrimSpace(fault.Msg) == "" {
				t.Errorf("fault %+v", fault)
			}
		}
	})
}

func BenchmarkEvaluate(b *testing.B) {
	w, r := newWorld(), request()
	r.Decisions = yesBy("ana", "dan")
	rules := map[string][]Rule{
		"no rules": nil,
		"one rule": {asking(need(1, "role:sre"))},
		"twenty rules with conditions": func() (all []Rule) {
			for range 20 {
				all = append(all, Rule{Name: "r", When: `request.verb == "deploy" && plan.parts.exists(p, p.destructive)`, Refuse: "No."})
			}
			return all
		}(),
		"a freeze": {{Name: "f", During: []Window{{Cron: "0 16 * * FRI", For: 64 * time.Hour, TimeZone: "Europe/Berlin"}}, Refuse: "No."}},
	}
	for name, rules := range rules {
		b.Run(name, func(b *testing.B) {
			e := w.engine(b, rules...)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Evaluate(context.Background(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	w := newWorld()
	for b.Loop() {
		w.engine(b, Rule{Name: "r", When: `request.verb == "deploy" && plan.parts.exists(p, p.destructive)`, Refuse: "No."})
	}
}
