package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot/api"
	"github.com/berth-dev/berth/bot/bottest"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

func hashed(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// server is an API with a core behind it. Every answer is held against the
// API's own OpenAPI document.
type server struct {
	*bottest.World
	t      *testing.T
	url    string
	router routers.Router
}

func start(t *testing.T, apps ...*actions.App) *server {
	t.Helper()
	s := &server{World: bottest.New(t, redistest.Client(t), apps...), t: t}
	handler, err := api.New(api.Options{Service: s.Service, Version: "1.2.3", Tokens: []api.Token{
		{Actor: "ci", SHA256: hashed("ci-token"), Roles: []string{"deployer"}},
		{Actor: "ada", SHA256: hashed("ada-token"), Roles: []string{"admin"}},
		{Actor: "eve", SHA256: hashed("eve-token"), Roles: []string{"viewer"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(handler)
	t.Cleanup(ts.Close)
	s.url = ts.URL
	data := s.raw(http.MethodGet, "/api/openapi.json", "", nil, nil).body
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatalf("the OpenAPI document is not one: %v", err)
	}
	doc.Servers = nil
	if s.router, err = legacy.NewRouter(doc); err != nil {
		t.Fatal(err)
	}
	return s
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (s *server) raw(method, path, token string, in any, header http.Header) answer {
	s.t.Helper()
	var content io.Reader
	switch v := in.(type) {
	case nil:
	case string:
		content = strings.NewReader(v)
	default:
		data, err := json.Marshal(v)
		if err != nil {
			s.t.Fatal(err)
		}
		content = bytes.NewReader(data)
	}
	req, err := http.NewRequest(method, s.url+path, content)
	if err != nil {
		s.t.Fatal(err)
	}
	if header != nil {
		req.Header = header.Clone()
	}
	if content != nil && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{status: res.StatusCode, header: res.Header, body: data}
}

// call makes a call as ci and holds the answer against the document.
func (s *server) call(method, path string, in any, header http.Header) answer {
	s.t.Helper()
	a := s.raw(method, path, "ci-token", in, header)
	s.conforms(method, path, a)
	return a
}

func (s *server) conforms(method, path string, a answer) {
	s.t.Helper()
	req := httptest.NewRequest(method, path, nil)
	route, params, err := s.router.FindRoute(req)
	if err != nil {
		s.t.Fatalf("%s %s is not in the document: %v", method, path, err)
	}
	err = openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 a.status, Header: a.header, Body: io.NopCloser(bytes.NewReader(a.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
	if err != nil {
		s.t.Errorf("%s %s: %v", method, path, err)
	}
	if a.status >= 400 {
		var p api.Problem
		if err := json.Unmarshal(a.body, &p); err != nil || p.Status != a.status || p.Detail == "" || p.Code == "" || a.header.Get("Content-Type") != api.ProblemType {
			s.t.Errorf("%s %s: not a problem: %s %s", method, path, a.header.Get("Content-Type"), a.body)
		}
	}
}

func into[T any](t *testing.T, a answer) (out T) {
	t.Helper()
	if err := json.Unmarshal(a.body, &out); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	return out
}

type object = map[string]any

func (s *server) deploy(env string) api.Request {
	s.t.Helper()
	a := s.call(http.MethodPost, "/api/v1/requests", object{"command": "deploy " + env}, nil)
	if a.status != http.StatusAccepted {
		s.t.Fatalf("%d: %s", a.status, a.body)
	}
	r := into[api.Request](s.t, a)
	s.Await(r.ID, func(r *approvals.Request) bool { return r.State.Ended() })
	return into[api.Request](s.t, s.call(http.MethodGet, "/api/v1/requests/"+r.ID, nil, nil))
}

func TestALifeInCalls(t *testing.T) {
	s := start(t)
	s.Work()
	r := s.deploy("shop/pr-42")
	if r.State != "succeeded" || r.Requester != "ci" || r.Environment != "shop/pr-42" || r.RunID == "" || r.Digest == "" || r.EndedAt == nil || r.Plan == nil {
		t.Errorf("the request is %+v", r)
	}
	e := s.call(http.MethodGet, "/api/v1/environments/shop/pr-42", nil, nil)
	env := into[map[string]any](t, e)
	for _, field := range []string{"app", "name", "state", "commit", "url", "expires_at", "parts", "last_action", "links", "history"} {
		if _, ok := env[field]; !ok {
			t.Errorf("an environment lacks %s", field)
		}
	}
	if env["app"] != "shop" || env["name"] != "pr-42" || env["state"] != "Running" || env["url"] != "https://pr-42.shop.example.org" {
		t.Errorf("the environment is %s", e.body)
	}
	list := into[api.Page[api.Environment]](t, s.call(http.MethodGet, "/api/v1/environments?app=shop&state=Running", nil, nil))
	if len(list.Items) != 1 || list.Next != "" {
		t.Errorf("the list is %+v", list)
	}
	requests := into[api.Page[map[string]any]](t, s.call(http.MethodGet, "/api/v1/requests?environment=shop/pr-42", nil, nil))
	for _, field := range []string{"id", "state", "verb", "app", "environment", "command", "requester", "digest", "approvals", "run_id", "created_at", "ended_at", "reason"} {
		if _, ok := requests.Items[0][field]; !ok {
			t.Errorf("a request lacks %s", field)
		}
	}
	run := into[api.Run](t, s.call(http.MethodGet, "/api/v1/runs/"+r.RunID, nil, nil))
	if run.State != "succeeded" || len(run.Steps) != 2 || run.EndedAt == nil {
		t.Errorf("the run is %+v", run)
	}
	if a := s.call(http.MethodGet, "/api/v1/apps", nil, nil); !strings.Contains(string(a.body), `"parts":["db","web"]`) {
		t.Errorf("the apps are %s", a.body)
	}
	if who := into[api.Actor](t, s.call(http.MethodGet, "/api/v1/actor", nil, nil)); who.Actor != "ci" {
		t.Errorf("ci is %+v", who)
	}
	told := into[api.Answer](t, s.call(http.MethodPost, "/api/v1/commands", object{"command": "status shop/pr-42"}, nil))
	if told.Environment == nil || !strings.Contains(told.Text, "is running") {
		t.Errorf("status is answered %+v", told)
	}
	s.audit(t)
}

// audit reads the audit in pages and in one go, and wants the same of both.
func (s *server) audit(t *testing.T) {
	var paged []actions.Record
	cursor := ""
	for {
		page := into[api.Page[actions.Record]](t, s.call(http.MethodGet, "/api/v1/audit?limit=2&cursor="+url.QueryEscape(cursor), nil, nil))
		paged = append(paged, page.Items...)
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	lines := s.raw(http.MethodGet, "/api/v1/audit", "ci-token", nil, http.Header{"Accept": {"application/x-ndjson"}})
	if lines.header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("NDJSON comes as %s", lines.header.Get("Content-Type"))
	}
	var streamed []actions.Record
	for line := range strings.Lines(string(lines.body)) {
		var r actions.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		streamed = append(streamed, r)
	}
	same := slices.EqualFunc(paged, streamed, func(a, b actions.Record) bool { return a.Hash == b.Hash })
	if len(paged) < 5 || !same {
		t.Errorf("%d records in pages and %d lines", len(paged), len(streamed))
	}
}

func TestWhoAsks(t *testing.T) {
	s := start(t)
	for name, c := range map[string]struct {
		authorization string
		method, path  string
		want          int
	}{
		"no token":                      {"", "GET", "/api/v1/environments", 401},
		"a wrong token":                 {"Bearer nope", "GET", "/api/v1/environments", 401},
		"an empty token":                {"Bearer ", "GET", "/api/v1/environments", 401},
		"another scheme":                {"Basic Y2k6Y2ktdG9rZW4=", "GET", "/api/v1/environments", 401},
		"the hash instead of the token": {"Bearer " + hashed("ci-token"), "GET", "/api/v1/environments", 401},
		"no token at a wrong path":      {"", "GET", "/api/v1/nothing", 401},
		"a viewer who looks":            {"Bearer eve-token", "GET", "/api/v1/environments", 200},
		"a viewer who acts":             {"Bearer eve-token", "POST", "/api/v1/requests", 403},
		"a lower-case scheme":           {"bearer ci-token", "GET", "/api/v1/environments", 200},
		"the document, without a token": {"", "GET", "/api/openapi.json", 200},
	} {
		t.Run(name, func(t *testing.T) {
			var in any
			if c.method == http.MethodPost {
				in = object{"command": "deploy shop/pr-1"}
			}
			header := http.Header{}
			if c.authorization != "" {
				header.Set("Authorization", c.authorization)
			}
			a := s.raw(c.method, c.path, "", in, header)
			if a.status != c.want {
				t.Errorf("want %d, got %d: %s", c.want, a.status, a.body)
			}
			if a.status == 401 && (a.header.Get("WWW-Authenticate") == "" || a.header.Get("Content-Type") != api.ProblemType) {
				t.Errorf("the 401 has %v", a.header)
			}
		})
	}
	t.Run("two tokens at once", func(t *testing.T) {
		header := http.Header{"Authorization": {"Bearer ci-token", "Bearer eve-token"}}
		if a := s.raw("GET", "/api/v1/environments", "", nil, header); a.status != 401 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("nobody, where no token is configured", func(t *testing.T) {
		closed, err := api.New(api.Options{Service: s.Service})
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodGet, "/api/v1/environments", nil)
		req.RemoteAddr = "127.0.0.1:1234"
		closed.ServeHTTP(w, req)
		if w.Code != 401 || !strings.Contains(w.Body.String(), "tokens") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
	if _, err := api.New(api.Options{Service: s.Service, Tokens: []api.Token{{Actor: "x", SHA256: "abc"}}}); actions.CodeOf(err) != actions.CodeInvalid {
		t.Errorf("a hash that is none: %v", err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	s := start(t)
	const id = "01jd3m6tq8c5x0v9b7n2k4h1wz"
	for name, c := range map[string]struct {
		method, path string
		in           any
		want         int
		says         string
	}{
		"an app that is not there":         {"POST", "/api/v1/requests", object{"command": "deploy nope/pr-1"}, 404, "There is no app `nope`; the apps are `shop`."},
		"a slip":                           {"POST", "/api/v1/requests", object{"command": "deplpy shop/pr-1"}, 422, "Did you mean `deploy`"},
		"a command that is no action":      {"POST", "/api/v1/requests", object{"command": "status shop/pr-1"}, 422, "/api/v1/commands"},
		"no command":                       {"POST", "/api/v1/requests", object{}, 422, "command"},
		"a field that there is not":        {"POST", "/api/v1/requests", object{"command": "deploy shop/pr-1", "x": 1}, 422, "unexpected property"},
		"what is not JSON":                 {"POST", "/api/v1/requests", "{", 400, ""},
		"a body that is too large":         {"POST", "/api/v1/requests", `{"command":"` + strings.Repeat("x", 70<<10) + `"}`, 413, ""},
		"a key that is not allowed":        {"POST", "/api/v1/requests", object{"command": "deploy shop/pr-1 --set a=b"}, 403, "allow_set"},
		"nothing to clean up":              {"POST", "/api/v1/requests", object{"command": "cleanup shop/pr-1"}, 404, "There is no environment shop/pr-1"},
		"an environment that is not there": {"GET", "/api/v1/environments/shop/pr-1", nil, 404, "There is no environment"},
		"an environment that cannot be":    {"GET", "/api/v1/environments/SHOP/x", nil, 404, ""},
		"a state that there is not":        {"GET", "/api/v1/environments?state=Odd", nil, 422, "state"},
		"a parameter that there is not":    {"GET", "/api/v1/environments?sate=Running", nil, 422, "sate"},
		"a cursor that is none":            {"GET", "/api/v1/environments?cursor=x", nil, 422, ""},
		"a cursor of audits that is none":  {"GET", "/api/v1/audit?cursor=x", nil, 422, ""},
		"a request that is not there":      {"GET", "/api/v1/requests/" + id, nil, 404, ""},
		"cancelling what is not there":     {"POST", "/api/v1/requests/" + id + "/cancel", object{}, 404, ""},
		"deciding what is not there":       {"POST", "/api/v1/requests/" + id + "/decisions", object{"decision": "approve"}, 404, ""},
		"a decision that is none":          {"POST", "/api/v1/requests/" + id + "/decisions", object{"decision": "maybe"}, 422, ""},
		"a run that is not there":          {"GET", "/api/v1/runs/" + id, nil, 404, ""},
		"events of a run that is not":      {"GET", "/api/v1/runs/" + id + "/events", nil, 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.call(c.method, c.path, c.in, nil)
			if a.status != c.want || !strings.Contains(string(a.body), c.says) {
				t.Errorf("want %d and %q, got %d: %s", c.want, c.says, a.status, a.body)
			}
		})
	}
	secret := s.raw(http.MethodPost, "/api/v1/requests", "ci-token", "command=s3cret", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
	if secret.status != http.StatusUnsupportedMediaType || strings.Contains(string(secret.body), "s3cret") || !strings.Contains(string(secret.body), "application/json") {
		t.Errorf("a form: %d %s", secret.status, secret.body)
	}
	for path, want := range map[string]int{"/api/v1/nothing": 404, "/api/": 404, "/api/v1/audit": 405} {
		a := s.raw(http.MethodPost, path, "ci-token", object{}, nil)
		if a.status != want || a.header.Get("Content-Type") != api.ProblemType {
			t.Errorf("POST %s: %d %s", path, a.status, a.body)
		}
	}
}

func TestTheSameKeyIsOneRequest(t *testing.T) {
	s := start(t)
	post := func(key, command string) answer {
		return s.call(http.MethodPost, "/api/v1/requests", object{"command": command}, http.Header{"Idempotency-Key": {key}})
	}
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		known = map[string]bool{}
	)
	for range 20 {
		all.Go(func() {
			a := post("k1", "deploy shop/pr-42")
			var r api.Request
			_ = json.Unmarshal(a.body, &r) // an id that is missing is found below
			mu.Lock()
			defer mu.Unlock()
			known[r.ID] = true
		})
	}
	all.Wait()
	if len(known) != 1 || known[""] {
		t.Errorf("one key made %v", known)
	}
	if a := post("k1", "deploy shop/pr-43"); a.status != http.StatusUnprocessableEntity {
		t.Errorf("another command with that key: %d %s", a.status, a.body)
	}
	if a := post("k2", "deploy shop/pr-42"); a.status != http.StatusAccepted || known[into[api.Request](t, a).ID] {
		t.Errorf("another key: %d %s", a.status, a.body)
	}
	page := into[api.Page[api.Request]](t, s.call(http.MethodGet, "/api/v1/requests?limit=1", nil, nil))
	if len(page.Items) != 1 || page.Next == "" {
		t.Errorf("the first page is %+v", page)
	}
}

func TestCancelAndDecide(t *testing.T) {
	s := start(t) // without a worker, so that nothing moves by itself
	r := into[api.Request](t, s.call(http.MethodPost, "/api/v1/requests", object{"command": "deploy shop/pr-42"}, nil))
	path := "/api/v1/requests/" + r.ID
	if a := s.call(http.MethodPost, path+"/decisions", object{"decision": "approve"}, nil); a.status != http.StatusConflict {
		t.Errorf("approving what does not wait: %d %s", a.status, a.body)
	}
	if a := s.raw(http.MethodPost, path+"/cancel", "eve-token", object{}, nil); a.status != http.StatusForbidden {
		t.Errorf("a viewer who cancels: %d %s", a.status, a.body)
	}
	a := s.call(http.MethodPost, path+"/cancel", nil, nil)
	if r := into[api.Request](t, a); a.status != http.StatusOK || r.State != "cancelled" {
		t.Errorf("cancelling: %d %s", a.status, a.body)
	}
}

// TestPagesToTheEnd holds that following `next` shows each environment once,
// whatever the size of a page.
func TestPagesToTheEnd(t *testing.T) {
	s := start(t)
	s.Work()
	const all = 120
	ids := make([]string, all)
	for i := range ids {
		ids[i] = s.Say(fmt.Sprintf("deploy shop/env-%d --ref main", i)).Request.ID
	}
	for _, id := range ids {
		s.Await(id, func(r *approvals.Request) bool { return r.State.Ended() })
	}
	for _, limit := range []int{1, 50, 60, 119, 120, 200} {
		seen, cursor, pages := map[string]int{}, "", 0
		for pages == 0 || cursor != "" {
			page := into[api.Page[api.Environment]](t, s.call(http.MethodGet, fmt.Sprintf("/api/v1/environments?limit=%d&cursor=%s", limit, url.QueryEscape(cursor)), nil, nil))
			for _, e := range page.Items {
				seen[e.Name]++
			}
			if cursor = page.Next; len(page.Items) > limit || len(page.Items) == 0 {
				t.Fatalf("a page of %d has %d", limit, len(page.Items))
			}
			pages++
		}
		if len(seen) != all || pages != (all+limit-1)/limit {
			t.Errorf("pages of %d: %d environments on %d pages", limit, len(seen), pages)
		}
		for name, times := range seen {
			if times != 1 {
				t.Errorf("pages of %d: %s came %d times", limit, name, times)
			}
		}
	}
}
