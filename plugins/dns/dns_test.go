package dns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/berth-dev/berth/plugins/dns/dnstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

// world is a zone at a real server and an executor that may change it.
type world struct {
	t      testing.TB
	server *dnstest.Server
	x      *Executor
	file   string // holds the secret of the TSIG key
	// settings can be changed before a step; they are each step's Settings.
	settings map[string]any
}

// newWorld starts a BIND for the test.
func newWorld(t testing.TB, records string) *world {
	t.Helper()
	return worldAt(t, dnstest.BIND(t, dnstest.Options{Records: records}))
}

// worldAt is a world at servers that run; the first takes changes, and all are
// waited for.
func worldAt(t testing.TB, servers ...*dnstest.Server) *world {
	t.Helper()
	w := &world{t: t, server: servers[0], x: New(Options{}), file: filepath.Join(t.TempDir(), "tsig")}
	if err := os.WriteFile(w.file, []byte(w.server.Secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var addresses []any
	for _, s := range servers {
		addresses = append(addresses, s.Address)
	}
	zones := map[string]any{}
	for _, zone := range w.server.Zones {
		zones[zone] = map[string]any{
			"apps": []any{"shop"}, "servers": addresses, "wait": "30s",
			"provider": map[string]any{"rfc2136": map[string]any{
				"server": w.server.Address,
				"key":    map[string]any{"name": w.server.KeyName, "algorithm": w.server.Algorithm, "secret": map[string]any{"file": w.file}},
			}},
		}
	}
	w.settings = map[string]any{"zones": zones}
	return w
}

// step is one of shop/pr-1's part url.
func (w *world) step(verb sdk.Verb, with map[string]any) sdk.Step {
	return sdk.Step{ID: "s1", App: "shop", Env: "pr-1", Part: "url", Verb: verb, With: with, Settings: w.settings, Installation: "inst-1", Namespace: "shop-pr-1"}
}

// cname is the example of the documentation.
func (w *world) cname() map[string]any {
	return map[string]any{"zone": w.server.Zone(), "name": "pr-1.shop", "cname": "ingress.example.org"}
}

// run does a step that has to work.
func (w *world) run(step sdk.Step) *events {
	w.t.Helper()
	out := &events{}
	if err := w.x.Run(w.t.Context(), step, out); err != nil {
		w.t.Fatalf("%s: %v\n%s", step.Verb, err, strings.Join(out.lines, "\n"))
	}
	return out
}

// refused does a step that has to be refused as the user's fault, and is what
// was said.
func (w *world) refused(step sdk.Step) string {
	w.t.Helper()
	before := w.zone()
	err := w.x.Run(w.t.Context(), step, &events{})
	e, ok := errors.AsType[*sdk.Error](err)
	if !ok || e.Fault != sdk.FaultInvalid || e.Retry {
		w.t.Fatalf("%s of %v: %v; want a refusal", step.Verb, step.With, err)
	}
	if _, err := w.x.Plan(w.t.Context(), step); err == nil {
		w.t.Errorf("a plan of what is refused is fine: %v", step.With)
	}
	if after := w.zone(); !slices.Equal(before, after) {
		w.t.Errorf("a refusal changed the zone from\n%s\nto\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	return e.Msg
}

// zone is the first zone by a transfer.
func (w *world) zone() []string { w.t.Helper(); return w.server.Transfer(w.t, w.server.Zone()) }

// has checks that exactly one line of the zone begins with each of the prefixes.
func (w *world) has(prefixes ...string) {
	w.t.Helper()
	lines := w.zone()
	for _, p := range prefixes {
		n := 0
		for _, l := range lines {
			if strings.HasPrefix(l, p) {
				n++
			}
		}
		if n != 1 {
			w.t.Errorf("%d records begin with %q in\n%s", n, p, strings.Join(lines, "\n"))
		}
	}
}

// events notes what a step tells.
type events struct {
	mu       sync.Mutex
	lines    []string
	outputs  map[string]string
	receipts []string
	progress chan string // nil when nobody listens
}

func (e *events) Log(line string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lines = append(e.lines, line)
}

func (e *events) Progress(text string, done, total int) {
	e.Log(fmt.Sprintf("%s (%d/%d)", text, done, total))
	if e.progress != nil {
		e.progress <- text
	}
}

func (e *events) Output(key, value string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.outputs == nil {
		e.outputs = map[string]string{}
	}
	e.outputs[key] = value
}

func (e *events) Receipt(r sdk.Resource) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.receipts = append(e.receipts, r.Kind+" "+r.Name)
}

func (e *events) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.lines, "\n")
}

const pr1Mark = `_berth.pr-1.shop.preview.example.org. 300 IN TXT "heritage=berth,app=shop,environment=pr-1,part=url,installation=inst-1"`

func TestDeployMakesARecordAndSaysWhoseItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	before := w.zone()
	out := w.run(w.step(sdk.Deploy, w.cname()))
	w.has("pr-1.shop.preview.example.org. 60 IN CNAME ingress.example.org.", pr1Mark)
	want := map[string]string{"fqdn": "pr-1.shop.preview.example.org", "name": "pr-1.shop", "zone": "preview.example.org"}
	if fmt.Sprint(out.outputs) != fmt.Sprint(want) {
		t.Errorf("the outputs are %v, want %v", out.outputs, want)
	}
	if !strings.Contains(out.text(), "2m0s") {
		t.Errorf("nothing says how long caches may remember that there was no such name:\n%s", out.text())
	}
	serial := w.server.Serial(t, w.server.Zone())
	if again := w.run(w.step(sdk.Deploy, w.cname())); fmt.Sprint(again.outputs) != fmt.Sprint(want) {
		t.Errorf("the second deploy has other outputs: %v", again.outputs)
	}
	if now := w.server.Serial(t, w.server.Zone()); now != serial {
		t.Errorf("a deploy of what is there moved the serial from %d to %d", serial, now)
	}
	gone := w.run(w.step(sdk.Cleanup, w.cname()))
	if len(gone.receipts) != 1 || gone.receipts[0] != "DNS record pr-1.shop.preview.example.org CNAME" {
		t.Errorf("the receipts are %q", gone.receipts)
	}
	if after := w.zone(); !slices.Equal(before, after) {
		t.Errorf("after the cleanup the zone is\n%s\nand before the deploy it was\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
	w.run(w.step(sdk.Cleanup, w.cname()))
}

func TestAnUnchangedDeployAsksOnceAndChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.run(w.step(sdk.Deploy, w.cname()))
	counted := &counting{network: sockets{}}
	w.x.net = counted
	w.run(w.step(sdk.Deploy, w.cname()))
	// The record, its mark and the list of the part's records, side by side, and
	// then the one authoritative server.
	if counted.updates != 0 || counted.queries != 4 {
		t.Errorf("there were %d updates and %d queries", counted.updates, counted.queries)
	}
}

func TestAChangeReplacesWhatWasThereAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.run(w.step(sdk.Deploy, w.cname()))
	serial := w.server.Serial(t, w.server.Zone())
	with := map[string]any{"zone": "Preview.Example.ORG.", "name": "PR-1.shop", "a": []any{"192.0.2.1", "192.0.2.2"}, "aaaa": "2001:DB8::0001", "txt": strings.Repeat("x", 300) + ` "\ ü`, "ttl": 30,
		"records": []any{map[string]any{"name": "*.pr-1.shop", "type": "CNAME", "values": []any{"ingress.example.org."}}}}
	out := w.run(w.step(sdk.Deploy, with))
	w.has("pr-1.shop.preview.example.org. 30 IN A 192.0.2.1", "pr-1.shop.preview.example.org. 30 IN A 192.0.2.2", "pr-1.shop.preview.example.org. 30 IN AAAA 2001:db8::1",
		`pr-1.shop.preview.example.org. 30 IN TXT "xxx`, "*.pr-1.shop.preview.example.org. 30 IN CNAME ingress.example.org.", "_berth.wildcard.pr-1.shop.preview.example.org. 300 IN TXT", pr1Mark)
	if now := w.server.Serial(t, w.server.Zone()); now != serial+1 {
		t.Errorf("it took %d changes of the zone, want 1", now-serial)
	}
	if !strings.Contains(out.text(), "up to 1m0s (its TTL)") {
		t.Errorf("nothing says how long caches may keep the old record:\n%s", out.text())
	}
	counted := &counting{network: sockets{}}
	w.x.net = counted
	w.run(w.step(sdk.Deploy, with))
	if counted.updates != 0 {
		t.Error("what is there already is written again")
	}
	// A name that is no longer wanted goes with the change.
	w.run(w.step(sdk.Deploy, map[string]any{"zone": w.server.Zone(), "name": "other", "txt": "hello"}))
	for _, l := range w.zone() {
		if strings.Contains(l, "pr-1.shop.preview") && !strings.Contains(l, "heritage") {
			t.Errorf("there is still %s", l)
		}
	}
	w.run(w.step(sdk.Cleanup, nil))
	if lines := w.zone(); len(lines) != 2 {
		t.Errorf("a cleanup without settings leaves %q", lines)
	}
}

// counting counts messages and can break any of them.
type counting struct {
	network
	mu               sync.Mutex
	queries, updates int
}

func (c *counting) count(update bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if update {
		c.updates++
	} else {
		c.queries++
	}
}

func (c *counting) exchange(ctx context.Context, address string, m *dns.Msg, key *tsigKey) (*dns.Msg, error) {
	c.count(m.Opcode == dns.OpcodeUpdate)
	return c.network.exchange(ctx, address, m, key)
}
