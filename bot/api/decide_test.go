package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot/api"
	"github.com/berth-dev/berth/bot/bottest"
)

// govern lets cleanups need a yes of an sre, who is not who asked; ci is one,
// and so is ana.
func (s *server) govern() {
	s.Govern(
		[]bottest.Actor{{Name: "ci", Roles: []string{"sre"}, Identities: []string{"token:ci"}}, {Name: "ana", Roles: []string{"sre"}, Identities: []string{"token:ana"}}},
		bottest.Rule{
			Name: "cleanup-needs-sre", When: `request.verb == "cleanup"`, BreakGlass: []string{"actor:ci"},
			Approve: &bottest.Approve{Needs: []bottest.Need{{Count: 1, From: []string{"role:sre"}}}, NotRequester: true},
		},
	)
}

// pending makes a request by ana that waits.
func (s *server) pending() api.Request {
	s.t.Helper()
	r := s.Say("cleanup shop/pr-42").Request
	s.Await(r.ID, func(r *approvals.Request) bool { return r.State == approvals.StatePending })
	return into[api.Request](s.t, s.call(http.MethodGet, "/api/v1/requests/"+r.ID, nil, nil))
}

func TestDecidingByTheAPI(t *testing.T) {
	s := start(t)
	s.govern()
	s.deploy("shop/pr-42")
	r := s.pending()
	if r.Policy == nil || r.Policy.Effect != "approve" || len(r.Policy.Rules) != 1 || r.Policy.Rules[0].Groups[0].Missing != 1 || r.Policy.Rules[0].ExpiresAt == nil {
		t.Fatalf("what it waits for is %+v", r.Policy)
	}
	path := "/api/v1/requests/" + r.ID
	if a := s.raw(http.MethodPost, path+"/decisions", "eve-token", object{"decision": "approve"}, nil); a.status != http.StatusForbidden {
		t.Errorf("a viewer who approves: %d %s", a.status, a.body)
	}
	for name, body := range map[string]any{
		"nothing":                        object{},
		"neither yes nor no":             object{"decision": "maybe"},
		"a glass without a reason":       object{"decision": "approve", "break_glass": true},
		"a glass for a no":               object{"decision": "deny", "break_glass": true, "reason": "x"},
		"a glass that is no true or not": object{"decision": "approve", "break_glass": "yes", "reason": "x"},
		"what it does not know":          object{"decision": "approve", "force": true},
	} {
		if a := s.call(http.MethodPost, path+"/decisions", body, nil); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := s.call(http.MethodPost, path+"/decisions", object{"decision": "approve", "digest": "sha256:of-another-plan"}, nil); a.status != http.StatusConflict {
		t.Errorf("a yes to another plan: %d %s", a.status, a.body)
	}
	a := s.call(http.MethodPost, path+"/decisions", object{"decision": "approve", "digest": r.Digest, "reason": "looks \"good\""}, nil)
	if got := into[api.Request](t, a); a.status != http.StatusOK || len(got.Approvals) != 1 || got.Approvals[0].Reason != `looks "good"` || got.Approvals[0].Surface != "api" {
		t.Fatalf("approving: %d %s", a.status, a.body)
	}
	s.Await(r.ID, func(r *approvals.Request) bool { return r.State == approvals.StateSucceeded })
	if a := s.call(http.MethodPost, path+"/decisions", object{"decision": "approve"}, nil); a.status != http.StatusOK || len(into[api.Request](t, a).Approvals) != 1 {
		t.Errorf("the same once more: %d %s", a.status, a.body)
	}
	if a := s.call(http.MethodPost, path+"/decisions", object{"decision": "deny"}, nil); a.status != http.StatusConflict {
		t.Errorf("another mind once it has ended: %d %s", a.status, a.body)
	}

	s.deploy("shop/pr-42")
	r = s.pending()
	a = s.call(http.MethodPost, "/api/v1/requests/"+r.ID+"/decisions", object{"decision": "approve", "reason": "fire", "break_glass": true}, nil)
	if got := into[api.Request](t, a); a.status != http.StatusOK || got.Glass == nil || got.Glass.Reason != "fire" || got.Glass.By != "ci" {
		t.Errorf("breaking the glass: %d %s", a.status, a.body)
	}
}

func TestRetryAndFailedRequests(t *testing.T) {
	s := start(t)
	s.Work()
	s.Executor.Fail("web", actions.Errorf("memory.run", actions.CodeDownstream, "No."))
	r := s.deploy("shop/pr-42")
	failed := into[api.Page[api.Request]](t, s.call(http.MethodGet, "/api/v1/requests?state=failed", nil, nil))
	if len(failed.Items) != 1 || failed.Items[0].ID != r.ID {
		t.Errorf("failed are %+v", failed.Items)
	}
	s.Executor.Fail("web", nil)
	var ids []string
	for range 2 {
		a := s.call(http.MethodPost, "/api/v1/requests/"+r.ID+"/retry", nil, nil)
		if a.status != http.StatusAccepted {
			t.Fatalf("%d %s", a.status, a.body)
		}
		ids = append(ids, into[api.Request](t, a).ID)
	}
	if ids[0] == r.ID || ids[0] != ids[1] {
		t.Errorf("retrying %s twice made %q", r.ID, ids)
	}
	s.Await(ids[0], func(r *approvals.Request) bool { return r.State == approvals.StateSucceeded })
	for id, want := range map[string]int{ids[0]: http.StatusConflict, "01jd3m6tq8c5x0v9b7n2k4h1wz": http.StatusNotFound} {
		if a := s.call(http.MethodPost, "/api/v1/requests/"+id+"/retry", nil, nil); a.status != want {
			t.Errorf("retrying %s: %d %s", id, a.status, a.body)
		}
	}
	for query, want := range map[string]int{"": 1, "&open=true": 0} {
		page := into[api.Page[api.Request]](t, s.call(http.MethodGet, "/api/v1/requests?state=failed"+query, nil, nil))
		if len(page.Items) != want || (want == 1 && page.Items[0].RetriedAs != ids[0]) {
			t.Errorf("%q lists %+v", query, page.Items)
		}
	}
	if again := into[api.Request](t, s.call(http.MethodGet, "/api/v1/requests/"+ids[0], nil, nil)); again.RetryOf != r.ID || again.RetriedAs != "" {
		t.Errorf("what asked again is %+v", again)
	}
	if a := s.raw(http.MethodPost, "/api/v1/requests/"+r.ID+"/retry", "eve-token", nil, nil); a.status != http.StatusForbidden {
		t.Errorf("a viewer who retries: %d %s", a.status, a.body)
	}
}

func TestExplainingPolicies(t *testing.T) {
	s := start(t)
	s.govern()
	s.deploy("shop/pr-42")
	for name, c := range map[string]struct {
		body   object
		status int
		effect string
	}{
		"what runs":         {object{"command": "deploy shop/pr-42"}, 200, "release"},
		"what waits":        {object{"command": "cleanup shop/pr-42", "as": "ana"}, 200, "approve"},
		"as nobody":         {object{"command": "cleanup shop/pr-42", "as": "zoe"}, 404, ""},
		"what is no action": {object{"command": "help"}, 422, ""},
		"no command":        {object{}, 422, ""},
		"an unknown app":    {object{"command": "deploy nothing/pr-1"}, 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.call(http.MethodPost, "/api/v1/policies/explain", c.body, nil)
			if a.status != c.status {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if c.status == http.StatusOK {
				if sim := into[api.Simulation](t, a); sim.Policy.Effect != c.effect || sim.Text == "" || sim.Plan == nil {
					t.Errorf("it is %s", a.body)
				}
			}
		})
	}
}

func TestVerifyingTheAudit(t *testing.T) {
	s := start(t)
	s.Work()
	s.deploy("shop/pr-42")
	if v := into[api.Verification](t, s.call(http.MethodGet, "/api/v1/audit/verify", nil, nil)); !v.OK || v.Records == 0 || v.Chains == 0 {
		t.Errorf("a sound audit is %+v", v)
	}
	lines := s.raw(http.MethodGet, "/api/v1/audit", "ci-token", nil, http.Header{"Accept": {"application/x-ndjson"}})
	if sum, err := actions.VerifyRecords(strings.NewReader(string(lines.body)), func(b actions.AuditBreak) { t.Error(b.Error()) }); err != nil || sum.Records == 0 {
		t.Errorf("the export: %+v, %v", sum, err)
	}
	ctx := t.Context()
	key := s.Store.Key(actions.Name{App: "shop", Env: "pr-42"}, "audit")
	text, err := s.Redis.LIndex(ctx, key, 2).Result()
	if err != nil {
		t.Fatal(err)
	}
	var record map[string]any
	if err := json.Unmarshal([]byte(text), &record); err != nil {
		t.Fatal(err)
	}
	if err := s.Redis.LSet(ctx, key, 2, strings.Replace(text, record["actor"].(string), "mallory", 1)).Err(); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"", "?app=shop", "?environment=shop/pr-42"} {
		if v := into[api.Verification](t, s.call(http.MethodGet, "/api/v1/audit/verify"+query, nil, nil)); v.OK || len(v.Found) == 0 || v.Found[0].Seq != 3 {
			t.Errorf("%s: an audit that was changed is %+v", query, v)
		}
	}
	if v := into[api.Verification](t, s.call(http.MethodGet, "/api/v1/audit/verify?environment=berth", nil, nil)); !v.OK {
		t.Errorf("another chain is %+v", v)
	}
	if a := s.call(http.MethodGet, "/api/v1/audit/verify?environment=x", nil, nil); a.status != http.StatusUnprocessableEntity {
		t.Errorf("no environment: %d %s", a.status, a.body)
	}
}
