package dns

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	pacing "golang.org/x/time/rate"

	"github.com/berth-dev/berth/plugins/sdk"
)

// cloud is a Cloudflare to test against: it keeps records and is as strict as
// the real one about what can be side by side.
// Source: https://developers.cloudflare.com/api/resources/dns/subresources/records/
type cloud struct {
	*httptest.Server
	mu      sync.Mutex
	serial  int
	records []cloudRecord
	writes  int
	// left counts down to the call after which nothing is answered any more; the
	// last one is done, and struck is called. 0 never comes.
	left   int
	struck func()
}

type cloudRecord struct {
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	Name      string    `json:"name"`
	Content   string    `json:"content"`
	TTL       int       `json:"ttl"`
	CreatedOn time.Time `json:"created_on"`
}

const cloudToken = "cl0udflare-canary-t0ken"

func newCloud(t *testing.T) *cloud {
	c := &cloud{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /zones", func(w http.ResponseWriter, r *http.Request) {
		var zones []any
		if name := r.URL.Query().Get("name"); name == "preview.example.org" {
			zones = append(zones, map[string]any{"id": "z1", "name": name})
		}
		reply(w, http.StatusOK, zones)
	})
	mux.HandleFunc("GET /zones/z1", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"id": "z1", "name": "preview.example.org", "name_servers": []any{"ada.ns.cloudflare.com"}})
	})
	mux.HandleFunc("GET /zones/z1/dns_records", c.list)
	mux.HandleFunc("POST /zones/z1/dns_records", c.create)
	mux.HandleFunc("PATCH /zones/z1/dns_records/{id}", c.patch)
	mux.HandleFunc("DELETE /zones/z1/dns_records/{id}", c.remove)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+cloudToken {
			refuse(w, http.StatusForbidden, 10000, "Authentication error")
			return
		}
		c.mu.Lock()
		c.left--
		left, struck := c.left, c.struck
		c.mu.Unlock()
		if struck != nil && left < 0 {
			panic(http.ErrAbortHandler)
		}
		if struck != nil && left == 0 {
			mux.ServeHTTP(httptest.NewRecorder(), r)
			struck()
			panic(http.ErrAbortHandler)
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(c.Close)
	return c
}

func reply(w http.ResponseWriter, status int, result any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"success": true, "errors": []any{}, "messages": []any{}, "result": result, "result_info": map[string]any{"page": 1, "per_page": 100, "total_pages": 1, "count": 1, "total_count": 1}})
}

func refuse(w http.ResponseWriter, status, code int, msg string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"success": false, "errors": []any{map[string]any{"code": code, "message": msg}}, "messages": []any{}, "result": nil})
}

func (c *cloud) list(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := []cloudRecord{}
	for _, rec := range c.records {
		if name := r.URL.Query().Get("name"); name == "" || name == rec.Name {
			out = append(out, rec)
		}
	}
	reply(w, http.StatusOK, out)
}

func (c *cloud) create(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	var rec cloudRecord
	if json.NewDecoder(r.Body).Decode(&rec) != nil || rec.TTL != 1 && (rec.TTL < 60 || rec.TTL > 86400) {
		refuse(w, http.StatusBadRequest, 9021, "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic.")
		return
	}
	for _, have := range c.records {
		if have.Name != rec.Name {
			continue
		}
		switch {
		case have.Type == rec.Type && have.Content == rec.Content:
			refuse(w, http.StatusBadRequest, 81058, "An identical record already exists.")
			return
		case have.Type == "CNAME" || rec.Type == "CNAME":
			refuse(w, http.StatusBadRequest, 81053, "An A, AAAA, or CNAME record with that host already exists.")
			return
		}
	}
	c.serial++
	rec.ID, rec.CreatedOn = "r"+strconv.Itoa(c.serial), time.Unix(int64(c.serial), 0)
	c.records = append(c.records, rec)
	reply(w, http.StatusOK, rec)
}

func (c *cloud) patch(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	for i := range c.records {
		if c.records[i].ID == r.PathValue("id") {
			_ = json.NewDecoder(r.Body).Decode(&c.records[i])
			reply(w, http.StatusOK, c.records[i])
			return
		}
	}
	refuse(w, http.StatusNotFound, 81044, "Record does not exist.")
}

func (c *cloud) remove(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	before := len(c.records)
	c.records = slices.DeleteFunc(c.records, func(rec cloudRecord) bool { return rec.ID == r.PathValue("id") })
	if len(c.records) == before {
		refuse(w, http.StatusNotFound, 81044, "Record does not exist.")
		return
	}
	reply(w, http.StatusOK, map[string]any{"id": r.PathValue("id")})
}

func (c *cloud) zone() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, r := range c.records {
		out = append(out, fmt.Sprintf("%s %d %s %s", r.Name, r.TTL, r.Type, r.Content))
	}
	slices.Sort(out)
	return out
}

// settings name the zone at c.
func (c *cloud) settings() map[string]any {
	return map[string]any{"zones": map[string]any{"preview.example.org": map[string]any{
		"apps": []any{"shop"}, "provider": map[string]any{"cloudflare": map[string]any{"url": c.URL, "token": map[string]any{"env": "CLOUDFLARE_TOKEN"}}},
	}}}
}

func (c *cloud) executor(t *testing.T, token string) *Executor {
	t.Helper()
	x := New(Options{Getenv: func(string) string { return token }})
	x.pace = pacing.NewLimiter(pacing.Inf, 1)
	s, err := readSettings(c.settings())
	if err != nil {
		t.Fatal(err)
	}
	p, err := newCloudflare(x, s.zones["preview.example.org"], cloudToken)
	if err != nil {
		t.Fatal(err)
	}
	x.net = mirror{p: p}
	return x
}

func (c *cloud) step(verb sdk.Verb, with map[string]any) sdk.Step {
	with["zone"] = "preview.example.org"
	return sdk.Step{ID: "s", App: "shop", Env: "pr-1", Part: "url", Verb: verb, With: with, Settings: c.settings(), Installation: "inst-1", AsWas: verb == sdk.Restore}
}

// cloudThree is three with TTLs that Cloudflare takes.
func cloudThree() map[string]any {
	with := three()
	with["records"].([]any)[1].(map[string]any)["ttl"] = 120
	return with
}

func TestCloudflare(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.records = []cloudRecord{{ID: "r0", Type: "MX", Name: "mail.preview.example.org", Content: "mx", TTL: 1}}
	before := c.zone()
	x := c.executor(t, cloudToken)
	run := func(step sdk.Step) {
		t.Helper()
		if err := x.Run(t.Context(), step, &events{}); err != nil {
			t.Fatalf("%s: %v", step.Verb, err)
		}
	}
	run(c.step(sdk.Deploy, cloudThree()))
	full, writes := c.zone(), c.writes
	for _, want := range []string{"pr-1.preview.example.org 60 CNAME ingress.example.org", "api.pr-1.preview.example.org 60 A 192.0.2.2",
		`*.pr-1.preview.example.org 120 TXT "a \"quoted\" \\ text, \195\188"`, `_berth.pr-1.preview.example.org 300 TXT "heritage=berth,app=shop,environment=pr-1,part=url,installation=inst-1"`} {
		if !slices.Contains(full, want) {
			t.Errorf("there is no %q in\n%s", want, strings.Join(full, "\n"))
		}
	}
	run(c.step(sdk.Deploy, cloudThree()))
	if _, err := x.Plan(t.Context(), c.step(sdk.Cleanup, cloudThree())); err != nil {
		t.Error(err)
	}
	if o, err := x.Observe(t.Context(), c.step(sdk.Deploy, cloudThree())); err != nil || o.Health != sdk.Healthy {
		t.Errorf("it is seen as %+v, %v", o, err)
	}
	if c.writes != writes {
		t.Errorf("a deploy of what is there, a plan or a look made %d changes", c.writes-writes)
	}
	run(c.step(sdk.Archive, cloudThree()))
	run(c.step(sdk.Restore, map[string]any{"name": "changed", "a": "192.0.2.9"}))
	if got := c.zone(); !slices.Equal(got, full) {
		t.Errorf("an archive and a restore leave\n%s", strings.Join(got, "\n"))
	}
	run(c.step(sdk.Deploy, map[string]any{"name": "pr-1", "a": "192.0.2.3"}))
	if list, err := x.Inventory(t.Context(), sdk.Scope{Installation: "inst-1", Settings: c.settings()}); err != nil || len(list) != 2 {
		t.Errorf("the inventory is %v, %v", list, err)
	}
	err := x.Run(t.Context(), c.step(sdk.Deploy, map[string]any{"name": "mail", "cname": "x.example"}), &events{})
	if err == nil || !strings.Contains(err.Error(), "MX") {
		t.Errorf("of a CNAME beside a mail exchanger it says %v", err)
	}
	run(c.step(sdk.Cleanup, map[string]any{"name": "pr-1", "a": "192.0.2.3"}))
	if got := c.zone(); !slices.Equal(got, before) {
		t.Errorf("the cleanup leaves\n%s", strings.Join(got, "\n"))
	}
	err = c.executor(t, "wrong-t0ken-canary").Run(t.Context(), c.step(sdk.Deploy, cloudThree()), &events{})
	if err == nil || !strings.Contains(err.Error(), "token of the settings is wrong") || strings.Contains(err.Error(), "canary") {
		t.Errorf("of a wrong token it says %v", err)
	}
}

func TestCloudflareKilledAtAnyCallLeavesNothingUnmarked(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	heal := func() { c.mu.Lock(); c.struck = nil; c.mu.Unlock() }
	run := func(verb sdk.Verb, with map[string]any) {
		t.Helper()
		if err := c.executor(t, cloudToken).Run(t.Context(), c.step(verb, with), &events{}); err != nil {
			t.Fatalf("%s: %v", verb, err)
		}
	}
	run(sdk.Deploy, cloudThree())
	full := c.zone()
	for n := 1; ; n++ {
		run(sdk.Deploy, map[string]any{"name": "pr-1", "a": "192.0.2.1"})
		ctx, cancel := context.WithCancel(t.Context())
		c.mu.Lock()
		c.left, c.struck = n, cancel
		c.mu.Unlock()
		err := c.executor(t, cloudToken).Run(ctx, c.step(sdk.Deploy, cloudThree()), &events{})
		cancel()
		heal()
		run(sdk.Deploy, cloudThree())
		if got := c.zone(); !slices.Equal(got, full) {
			t.Fatalf("killed after call %d, then a deploy, leave\n%s", n, strings.Join(got, "\n"))
		}
		ctx, cancel = context.WithCancel(t.Context())
		c.mu.Lock()
		c.left, c.struck = n, cancel
		c.mu.Unlock()
		err2 := c.executor(t, cloudToken).Run(ctx, c.step(sdk.Cleanup, cloudThree()), &events{})
		cancel()
		heal()
		run(sdk.Cleanup, cloudThree())
		if got := c.zone(); len(got) > 0 {
			t.Fatalf("a cleanup killed after call %d, then another, leave\n%s", n, strings.Join(got, "\n"))
		}
		if err == nil && err2 == nil {
			t.Logf("killed after %d calls", n-1)
			return
		}
	}
}

func TestCloudflareGivesANameToOneOfMany(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	var group sync.WaitGroup
	var mu sync.Mutex
	got := 0
	for i := range 8 {
		x := c.executor(t, cloudToken)
		group.Go(func() {
			step := c.step(sdk.Deploy, map[string]any{"name": "wanted", "a": fmt.Sprintf("192.0.2.%d", i)})
			step.Env = fmt.Sprintf("pr-%d", i)
			if x.Run(t.Context(), step, &events{}) == nil {
				mu.Lock()
				got++
				mu.Unlock()
			}
		})
	}
	group.Wait()
	names := 0
	for _, l := range c.zone() {
		if strings.HasPrefix(l, "wanted.preview.example.org ") {
			names++
		}
	}
	if got > 1 || names != got {
		t.Errorf("%d environments got the name, which has %d records:\n%s", got, names, strings.Join(c.zone(), "\n"))
	}
}
