package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
)

// rented is an environment that was made four days ago and used two days ago.
func rented() *actions.Environment {
	return &actions.Environment{
		Name: actions.Name{App: "shop", Env: "pr-7"}, State: actions.StateRunning, Cluster: "eu", Namespace: "shop-pr-7",
		Commit: actions.Commit{SHA: "abc"}, CreatedAt: start.Add(-96 * time.Hour), UsedAt: start.Add(-48 * time.Hour),
		LastAction: &actions.LastAction{Verb: actions.VerbSleep, At: start.Add(-time.Hour)},
		Sleeping:   true, SleptBy: "schedule/nightly", ExpiresAt: start.Add(2 * time.Hour),
		Owner: actions.Owner{Actor: "ana", Identity: "github:ana"},
		Components: map[string]actions.Built{
			"api": {Repo: "acme/api", PullRequest: 12, Ref: "refs/pull/12/head", Commit: actions.Commit{SHA: "def"}},
		},
	}
}

func TestWhere(t *testing.T) {
	app := &actions.App{Name: "shop", Repo: "acme/shop", Cluster: actions.Cluster{Name: "staging"}, Parts: []actions.Part{{Name: "web", Use: "helm"}}}
	tests := map[string]struct {
		where string
		edit  func(*actions.Environment)
		none  bool // the app is not configured any more
		want  bool
	}{
		"nothing is true of all":                     {want: true},
		"space is true of all":                       {where: " \n", want: true},
		"idle counts from the last use":              {where: `environment.idle == duration("48h")`, want: true},
		"used is when that was":                      {where: `now - environment.used == duration("48h")`, want: true},
		"an old record has its last action":          {where: `environment.idle == duration("1h")`, edit: func(e *actions.Environment) { e.UsedAt = time.Time{} }, want: true},
		"an old record that only was made":           {where: `environment.idle == environment.age`, edit: func(e *actions.Environment) { e.UsedAt, e.LastAction = time.Time{}, nil }, want: true},
		"who put it to sleep":                        {where: `environment.sleeping && environment.slept_by.startsWith("schedule/")`, want: true},
		"keep":                                       {where: `environment.keep`, edit: func(e *actions.Environment) { e.Keep = true }, want: true},
		"its cluster, not the app's":                 {where: `environment.cluster == "eu" && app.cluster == "staging"`, want: true},
		"a component":                                {where: `environment.components["api"].pull_request == 12 && environment.components["api"].repo == "acme/api"`, want: true},
		"a component by what it is built from":       {where: `environment.components.exists(c, environment.components[c].commit == "def")`, want: true},
		"no component":                               {where: `"api" in environment.components`, edit: func(e *actions.Environment) { e.Components = nil }},
		"when it goes":                               {where: `environment.expires_in <= duration("2h")`, want: true},
		"what never goes":                            {where: `environment.expires_in > duration("8760h")`, edit: func(e *actions.Environment) { e.ExpiresAt = time.Time{} }, want: true},
		"a pull request, by its name":                {where: `environment.pull_request == 7`, want: true},
		"the account that had it made":               {where: `environment.owner == "github:ana"`, want: true},
		"where it runs":                              {where: `app.namespace == "shop-pr-7" && "helm" in app.executors`, want: true},
		"an app that is not configured any more":     {where: `app.name == "shop" && size(app.parts) == 0`, none: true, want: true},
		"the day of the tick":                        {where: `now.getDayOfWeek("Europe/Berlin") == 6`, want: true},
		"what was cleaned up has nothing but a past": {where: `environment.exists || environment.idle > duration("0s")`, edit: func(e *actions.Environment) { e.State = actions.StateCleaned }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w, err := Compile(test.where)
			if err != nil {
				t.Fatal(err)
			}
			env, of := rented(), app
			if test.edit != nil {
				test.edit(env)
			}
			if test.none {
				of = nil
			}
			if got, err := w.Match(env, of, start); err != nil || got != test.want {
				t.Errorf("%s is %t, %v", test.where, got, err)
			}
		})
	}
}

func TestWhereThatCannotBe(t *testing.T) {
	tests := map[string]struct{ where, want string }{
		"a request has no place in it":  {`request.verb == "deploy"`, `column 1: there is no "request"; there are: app, environment, now`},
		"a field without its name":      {`idle > duration("1h")`, `did you mean environment.idle?`},
		"an unknown field":              {`environment.idlee > duration("1h")`, `environment has no field "idlee"; did you mean "idle"?`},
		"an unknown field of a part":    {`environment.components["api"].sha == ""`, `there is no field "sha"`},
		"no condition":                  {`environment.idle`, `this gives duration, where true or false is needed`},
		"a state that there is not":     {`environment.state == "running"`, `did you mean "Running"?`},
		"a length of time that is none": {`environment.idle > duration("3 days")`, `this cannot be worked out`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := Compile(test.where); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want %q", err, test.want)
			}
		})
	}
}

func TestWhereThatFails(t *testing.T) {
	for where, want := range map[string]string{
		`environment.components["web"].repo == ""`: "a key is not there",
		`1 / (environment.pull_request - 7) == 1`:  "divides by zero",
		`int(environment.name) == 7`:               "could not be read",
	} {
		w, err := Compile(where)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := w.Match(rented(), nil, start); ok || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is %t, %v", where, ok, err)
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(`environment.idle > duration("72h") && environment.pull_request > 0`)
	f.Add(`now.getDayOfWeek("Europe/Berlin") in [0, 6]`)
	f.Fuzz(func(t *testing.T, where string) {
		w, err := Compile(where)
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Error("a fault without words")
			}
			return
		}
		if ok, err := w.Match(rented(), nil, start); ok && err != nil {
			t.Errorf("%s holds and fails: %v", where, err)
		}
	})
}
