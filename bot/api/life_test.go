package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot/api"
	"github.com/berth-dev/berth/bot/bottest"
)

// do runs a command that must be accepted and succeed.
func (s *server) do(command string) api.Request {
	s.t.Helper()
	a := s.call(http.MethodPost, "/api/v1/requests", object{"command": command}, nil)
	if a.status != http.StatusAccepted {
		s.t.Fatalf("%s: %d: %s", command, a.status, a.body)
	}
	r := s.Await(into[api.Request](s.t, a).ID, func(r *approvals.Request) bool { return r.State.Ended() })
	if r.State != approvals.StateSucceeded {
		s.t.Fatalf("%s is %s: %s", command, r.State, r.Reason)
	}
	return into[api.Request](s.t, s.call(http.MethodGet, "/api/v1/requests/"+r.ID, nil, nil))
}

const shop42 = "/api/v1/environments/shop/pr-42"

func TestRevisionsInCalls(t *testing.T) {
	s := start(t)
	s.Work()
	s.do("deploy shop/pr-42")
	s.do("deploy shop/pr-42 --ref other")
	back := s.do("rollback shop/pr-42 --to 1")
	if back.To != 1 {
		t.Errorf("the request goes back to %d", back.To)
	}
	run := into[api.Run](t, s.call(http.MethodGet, "/api/v1/runs/"+back.RunID, nil, nil))
	if run.Revision != 3 || run.Back != 1 || run.Deadline == nil {
		t.Errorf("the run is %+v", run)
	}
	env := into[api.Environment](t, s.call(http.MethodGet, shop42, nil, nil))
	if env.Deployed != 3 || env.Commit != bottest.PullSHA || env.UsedAt == nil || env.TTL != "72h" || env.OnExpiry != "cleanup" || env.History[0].Revision != 3 {
		t.Errorf("the environment is %+v", env)
	}
	past := into[api.Page[api.Past]](t, s.call(http.MethodGet, shop42+"/history?limit=2", nil, nil)).Items
	if len(past) != 2 || !past[0].Current || past[0].Back != 1 || past[0].Verb != "rollback" || past[1].Revision != 2 || past[1].Commit != bottest.OtherSHA || past[1].Current {
		t.Errorf("the history is %+v", past)
	}

	s.do("sleep shop/pr-42")
	s.Executor.Drift("web", "replicas 0 → 1")
	env = into[api.Environment](t, s.call(http.MethodGet, shop42, nil, nil))
	if !env.Sleeping || env.SleptBy != "ci" || len(env.Parts[1].Drift) != 1 {
		t.Errorf("the environment is %+v", env)
	}
	s.do("extend shop/pr-42 --keep")
	if env = into[api.Environment](t, s.call(http.MethodGet, shop42, nil, nil)); !env.Keep || env.ExpiresAt != nil || env.OnExpiry != "" {
		t.Errorf("the environment is %+v", env)
	}

	gone := s.do("cleanup shop/pr-42")
	run = into[api.Run](t, s.call(http.MethodGet, "/api/v1/runs/"+gone.RunID, nil, nil))
	for _, step := range run.Steps {
		if len(step.Receipts) != 2 || step.Receipts[1].Kind != "Volume" {
			t.Errorf("the receipts of %s are %+v", step.Part, step.Receipts)
		}
	}
	for path, status := range map[string]int{
		"/api/v1/environments/shop/pr-9/history":  404,
		"/api/v1/environments/Shop/../history":    404,
		shop42 + "/history?limit=0":               422,
		shop42 + "/history?limit=501":             422,
		"/api/v1/environments?pull_request=0":     422,
		"/api/v1/environments?pull_request=x":     422,
		"/api/v1/environments/shop/pr-9/vars":     404,
		"/api/v1/environments/shop/pr-42/nothing": 404,
	} {
		if a := s.raw(http.MethodGet, path, "ci-token", nil, nil); a.status != status {
			t.Errorf("%s: %d, want %d: %s", path, a.status, status, a.body)
		}
	}
}

func TestEnvironmentsByPullRequestInCalls(t *testing.T) {
	s := start(t)
	s.Work()
	s.do("deploy shop/pr-42")
	s.do("deploy shop/pr-7")
	s.do("deploy shop/demo")
	for query, want := range map[string]int{
		"": 3, "?pull_request=42": 1, "?pull_request=43": 0, "?repo=Acme/Shop": 3, "?repo=acme/else": 0, "?repo=acme/shop&pull_request=7": 1, "?app=shop&pull_request=7": 1,
	} {
		if got := into[api.Page[api.Environment]](t, s.call(http.MethodGet, "/api/v1/environments"+query, nil, nil)).Items; len(got) != want {
			t.Errorf("%q lists %d, want %d", query, len(got), want)
		}
	}
}

func TestVariablesInCalls(t *testing.T) {
	const value = "-----BEGIN-----\nhunter2 \"quoted\"\n-----END-----\n"
	app := bottest.Shop()
	app.Vars, app.Offered = map[string]string{"LOG_LEVEL": "info"}, map[string]actions.SecretRef{"stripe": {Name: "stripe", Env: "STRIPE"}}
	s := start(t, app)
	s.Work()
	s.do("deploy shop/pr-42")
	set := s.call(http.MethodPut, shop42+"/vars/CERT", object{"value": value}, nil)
	if v := into[api.Variable](t, set); set.status != 200 || v.Value == nil || *v.Value != value || v.By != "ci" || !v.Next {
		t.Errorf("%d: %s", set.status, set.body)
	}
	if v := into[api.Variable](t, s.call(http.MethodPut, shop42+"/vars/STRIPE", object{"secret": "stripe"}, nil)); v.Value != nil || v.Secret != "stripe" {
		t.Errorf("a secret is %+v", v)
	}
	all := into[api.Page[api.Variable]](t, s.call(http.MethodGet, shop42+"/vars", nil, nil)).Items
	if len(all) != 3 || all[0].Name != "CERT" || *all[1].Value != "info" || all[1].By != "" {
		t.Errorf("the variables are %+v", all)
	}
	for path, by := range map[string]string{shop42 + "/vars": "eve-token", shop42: "ci-token"} {
		if a := s.raw(http.MethodGet, path, by, nil, nil); a.status != 200 || strings.Contains(string(a.body), "hunter2") || !strings.Contains(string(a.body), "CERT") {
			t.Errorf("%s as %s: %d: %s", path, by, a.status, a.body)
		}
	}
	for name, c := range map[string]struct {
		method, key string
		in          any
		status      int
	}{
		"nothing":                         {http.MethodPut, "A", object{}, 422},
		"a value and a secret":            {http.MethodPut, "A", object{"value": "hunter2", "secret": "stripe"}, 422},
		"a value that is too long":        {http.MethodPut, "A", object{"value": strings.Repeat("x", 5000)}, 422},
		"a name that cannot be":           {http.MethodPut, "1A", object{"value": "hunter2"}, 422},
		"a secret that is not offered":    {http.MethodPut, "A", object{"secret": "other"}, 404},
		"taking back what nobody has set": {http.MethodDelete, "LOG_LEVEL", nil, 404},
		"taking one back":                 {http.MethodDelete, "CERT", nil, 204},
		"a field that there is not":       {http.MethodPut, "A", object{"valeu": "hunter2"}, 422},
		"a value that is no text":         {http.MethodPut, "A", object{"value": 7}, 422},
	} {
		a := s.call(c.method, shop42+"/vars/"+c.key, c.in, nil)
		if a.status != c.status || strings.Contains(string(a.body), "hunter2") {
			t.Errorf("%s: %d, want %d: %s", name, a.status, c.status, a.body)
		}
	}
	if a := s.raw(http.MethodPut, shop42+"/vars/A", "eve-token", object{"value": "x"}, nil); a.status != 403 {
		t.Errorf("a viewer sets: %d %s", a.status, a.body)
	}
}
