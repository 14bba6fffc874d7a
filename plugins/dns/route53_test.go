package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

// mirror is a network whose name servers answer from what a provider's API has.
type mirror struct {
	sockets
	p provider
}

func (m mirror) exchange(ctx context.Context, _ string, q *dns.Msg, _ *tsigKey) (*dns.Msg, error) {
	k := key{plainName(q.Question[0].Name), recordType(dns.TypeToString[q.Question[0].Qtype])}
	found, err := m.p.read(ctx, []key{k})
	if err != nil {
		return nil, err
	}
	answer := new(dns.Msg).SetReply(q)
	answer.Authoritative = true
	if s := found[k]; s != nil {
		answer.Answer = toRecords(s)
	}
	return answer, nil
}

// hosted is a zone at an AWS to test against.
type hosted struct {
	t        *testing.T
	aws      *awstest.Server
	id       string
	x        *Executor
	settings map[string]any
}

func newHosted(t *testing.T, o awstest.Options) *hosted {
	t.Helper()
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": awstest.Key, "AWS_SECRET_ACCESS_KEY": awstest.Secret, "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"} {
		t.Setenv(name, value)
	}
	h := &hosted{t: t, aws: awstest.New(t, o)}
	h.id = h.aws.AddZone(awstest.Account, "preview.example.org")
	h.settings = map[string]any{"zones": map[string]any{"preview.example.org": map[string]any{
		"apps": []any{"shop"}, "provider": map[string]any{"route53": map[string]any{"zone_id": h.id, "endpoint": h.aws.URL}},
	}}}
	h.x = h.executor()
	t.Cleanup(func() {
		if v := h.aws.Violations(); len(v) > 0 {
			t.Errorf("AWS' own models do not allow: %q", v)
		}
	})
	return h
}

func (h *hosted) executor() *Executor {
	h.t.Helper()
	x := New(Options{})
	s, err := readSettings(h.settings)
	if err != nil {
		h.t.Fatal(err)
	}
	p, err := newRoute53(h.t.Context(), New(Options{}), s.zones["preview.example.org"])
	if err != nil {
		h.t.Fatal(err)
	}
	x.net, x.insyncPoll = mirror{p: p}, time.Millisecond
	return x
}

func (h *hosted) step(verb sdk.Verb, with map[string]any) sdk.Step {
	with["zone"] = "preview.example.org"
	return sdk.Step{ID: "s", App: "shop", Env: "pr-1", Part: "url", Verb: verb, With: with, Settings: h.settings, Installation: "inst-1", AsWas: verb == sdk.Restore}
}

func (h *hosted) run(step sdk.Step) {
	h.t.Helper()
	if err := h.x.Run(h.t.Context(), step, &events{}); err != nil {
		h.t.Fatalf("%s: %v", step.Verb, err)
	}
}

// records are the zone's, a line each.
func (h *hosted) records() []string {
	var out []string
	for _, r := range h.aws.Records(h.id) {
		slices.Sort(r.Values)
		out = append(out, fmt.Sprintf("%s %d %s %s", r.Name, r.TTL, r.Type, strings.Join(r.Values, " | ")))
	}
	return out
}

func (h *hosted) has(lines ...string) {
	h.t.Helper()
	for _, l := range lines {
		if !slices.Contains(h.records(), l) {
			h.t.Errorf("there is no %q in\n%s", l, strings.Join(h.records(), "\n"))
		}
	}
}

func three() map[string]any {
	return map[string]any{"name": "pr-1", "cname": "ingress.example.org", "records": []any{
		map[string]any{"name": "api.pr-1", "type": "A", "values": []any{"192.0.2.1", "192.0.2.2"}},
		map[string]any{"name": "*.pr-1", "type": "TXT", "values": `a "quoted" \ text, ü`, "ttl": 5},
	}}
}

func TestRoute53(t *testing.T) {
	h := newHosted(t, awstest.Options{Polls: 1, Page: 5})
	before := h.records()
	h.run(h.step(sdk.Deploy, three()))
	h.has("pr-1.preview.example.org. 60 CNAME ingress.example.org.", "api.pr-1.preview.example.org. 60 A 192.0.2.1 | 192.0.2.2",
		`*.pr-1.preview.example.org. 5 TXT "a \"quoted\" \\ text, \303\274"`, `_berth.wildcard.pr-1.preview.example.org. 300 TXT "heritage=berth,app=shop,environment=pr-1,part=url,installation=inst-1"`)
	full, changes := h.records(), h.aws.Changes()
	h.run(h.step(sdk.Deploy, three()))
	if p, err := h.x.Plan(t.Context(), h.step(sdk.Deploy, map[string]any{"name": "other", "a": "192.0.2.3"})); err != nil || !strings.Contains(p.Diff, "-pr-1.preview.example.org. 60 CNAME ingress.example.org.") {
		t.Errorf("the plan is %q, %v", p.Diff, err)
	}
	if o, err := h.x.Observe(t.Context(), h.step(sdk.Deploy, three())); err != nil || o.Health != sdk.Healthy || len(o.Drift) > 0 {
		t.Errorf("it is seen as %+v, %v", o, err)
	}
	if now := h.aws.Changes(); now != changes {
		t.Errorf("a deploy of what is there, a plan or a look made %d changes", now-changes)
	}
	other := h.step(sdk.Deploy, three())
	other.Env = "pr-2"
	if err := h.x.Run(t.Context(), other, &events{}); err == nil || !strings.Contains(err.Error(), "shop/pr-1 (part url)") {
		t.Errorf("of another's name it says %v", err)
	}
	h.run(h.step(sdk.Archive, three()))
	h.run(h.step(sdk.Restore, map[string]any{"name": "changed", "a": "192.0.2.9"}))
	if got := h.records(); !slices.Equal(got, full) {
		t.Errorf("an archive and a restore leave\n%s", strings.Join(got, "\n"))
	}
	h.run(h.step(sdk.Deploy, map[string]any{"name": "pr-1", "a": "192.0.2.3", "txt": strings.Repeat("x", 600)}))
	h.has("pr-1.preview.example.org. 60 A 192.0.2.3")
	list, err := h.x.Inventory(t.Context(), sdk.Scope{Installation: "inst-1", Settings: h.settings})
	if err != nil || len(list) != 2 {
		t.Errorf("the inventory is %v, %v", list, err)
	}
	h.run(h.step(sdk.Cleanup, map[string]any{"name": "pr-1", "a": "192.0.2.3"}))
	if got := h.records(); !slices.Equal(got, before) {
		t.Errorf("the cleanup leaves\n%s", strings.Join(got, "\n"))
	}
}

func TestRoute53IsThrottledAndBusy(t *testing.T) {
	h := newHosted(t, awstest.Options{})
	before := h.records()
	h.aws.SetFaults(awstest.Faults{ThrottleEvery: 6})
	for _, verb := range []sdk.Verb{sdk.Deploy, sdk.Cleanup} {
		var group sync.WaitGroup
		for i := range 2 {
			group.Go(func() {
				step := h.step(verb, map[string]any{"name": fmt.Sprintf("pr-%d", i), "a": "192.0.2.1"})
				step.Env = fmt.Sprintf("pr-%d", i)
				if err := h.x.Run(t.Context(), step, &events{}); err != nil {
					t.Errorf("%s of %s: %v", verb, step.Env, err)
				}
			})
		}
		group.Wait()
	}
	if got := h.records(); !slices.Equal(got, before) {
		t.Errorf("the cleanups leave\n%s", strings.Join(got, "\n"))
	}
}

func TestRoute53KilledAtAnyCallIsMadeGood(t *testing.T) {
	h := newHosted(t, awstest.Options{Polls: 1})
	empty := h.records()
	h.run(h.step(sdk.Deploy, three()))
	full := h.records()
	for n := 1; ; n++ {
		h.run(h.step(sdk.Deploy, map[string]any{"name": "old", "a": "192.0.2.1"}))
		ctx, cancel := context.WithCancel(t.Context())
		h.aws.SetFaults(awstest.Faults{KillAfter: n, Struck: cancel})
		err := h.executor().Run(ctx, h.step(sdk.Deploy, three()), &events{})
		cancel()
		h.aws.Heal()
		h.run(h.step(sdk.Deploy, three()))
		if got := h.records(); !slices.Equal(got, full) {
			t.Fatalf("killed after call %d, then a deploy, leave\n%s", n, strings.Join(got, "\n"))
		}
		h.run(h.step(sdk.Cleanup, three()))
		if got := h.records(); !slices.Equal(got, empty) {
			t.Fatalf("killed after call %d, then a cleanup, leave\n%s", n, strings.Join(got, "\n"))
		}
		if err == nil {
			t.Logf("killed after %d calls", n-1)
			return
		}
	}
}

func TestRoute53RefusesWithAReason(t *testing.T) {
	h := newHosted(t, awstest.Options{})
	h.aws.SetFaults(awstest.Faults{Deny: func(call string) bool { return call == "route53:ChangeResourceRecordSets" }})
	err := h.x.Run(t.Context(), h.step(sdk.Deploy, three()), &events{})
	if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Retry || !strings.Contains(e.Msg, "does not let Berth change the zone") {
		t.Errorf("without the right it says %v", err)
	}
	h.aws.Heal()
	h.settings["zones"].(map[string]any)["preview.example.org"].(map[string]any)["provider"].(map[string]any)["route53"].(map[string]any)["zone_id"] = "Z000NONE"
	err = h.x.Run(t.Context(), h.step(sdk.Deploy, three()), &events{})
	if err == nil || !strings.Contains(err.Error(), "no such hosted zone") {
		t.Errorf("of a zone that is not there it says %v", err)
	}
}
