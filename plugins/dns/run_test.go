package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/berth-dev/berth/plugins/dns/dnstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

func startBIND(t testing.TB, zones ...string) *dnstest.Server {
	t.Helper()
	return dnstest.BIND(t, dnstest.Options{Zones: zones})
}

// three is a part with three names.
func (w *world) three() map[string]any {
	return map[string]any{"zone": w.server.Zone(), "name": "pr-1", "cname": "ingress.example.org", "records": []any{
		map[string]any{"name": "api.pr-1", "type": "A", "values": []any{"192.0.2.1", "192.0.2.2"}},
		map[string]any{"name": "*.pr-1", "type": "TXT", "values": "hello", "ttl": 5},
	}}
}

func TestADeployWaitsForEveryServer(t *testing.T) {
	t.Parallel()
	primary := startBIND(t)
	second := dnstest.BIND(t, dnstest.Options{Primary: primary})
	w := worldAt(t, primary, second)
	for _, step := range []sdk.Step{w.step(sdk.Deploy, w.cname()), w.step(sdk.Deploy, map[string]any{"zone": w.server.Zone(), "name": "pr-1.shop", "a": "192.0.2.1"}), w.step(sdk.Cleanup, w.cname())} {
		out := &events{progress: make(chan string, 100)}
		done := make(chan error, 1)
		go func() { done <- w.x.Run(t.Context(), step, out) }()
		select {
		case text := <-out.progress:
			if !strings.Contains(text, second.Address+" still answers") {
				t.Errorf("it waits for %q", text)
			}
		case err := <-done:
			t.Fatalf("the %s did not wait for the secondary: %v", step.Verb, err)
		}
		second.Notify(t, w.server.Zone())
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if a, b := primary.Serial(t, w.server.Zone()), second.Serial(t, w.server.Zone()); a != b {
			t.Errorf("after the %s the secondary has serial %d, and the primary %d", step.Verb, b, a)
		}
	}
}

func TestAServerThatStaysBehindIsNamed(t *testing.T) {
	t.Parallel()
	primary := startBIND(t)
	second := dnstest.BIND(t, dnstest.Options{Primary: primary})
	w := worldAt(t, primary, second)
	w.settings["zones"].(map[string]any)[w.server.Zone()].(map[string]any)["wait"] = "300ms"
	err := w.x.Run(t.Context(), w.step(sdk.Deploy, w.cname()), &events{})
	e, ok := errors.AsType[*sdk.Error](err)
	if !ok || e.Fault != sdk.FaultDownstream || !e.Retry || !strings.Contains(e.Msg, second.Address+" still answers that there is nothing for pr-1.shop.preview.example.org CNAME") || strings.Contains(e.Msg, primary.Address) {
		t.Fatalf("it says %v", err)
	}
	o, err := w.x.Observe(t.Context(), w.step(sdk.Deploy, w.cname()))
	if err != nil || o.Health != sdk.Degraded || !strings.Contains(o.Text, second.Address) {
		t.Errorf("it is seen as %+v, %v", o, err)
	}
	second.Stop()
	err = w.x.Run(t.Context(), w.step(sdk.Deploy, w.cname()), &events{})
	if e, ok := errors.AsType[*sdk.Error](err); !ok || !strings.Contains(e.Msg, second.Address+" does not answer") {
		t.Errorf("of a server that is gone it says %v", err)
	}
}

func TestArchiveAndRestoreBringBackWhatWas(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	with := w.three()
	w.run(w.step(sdk.Deploy, with))
	before := w.zone()
	w.run(w.step(sdk.Archive, with))
	for _, l := range w.zone() {
		if !strings.HasPrefix(l, "_berth.") && !strings.Contains(l, "._berth.") && !strings.Contains(l, "ns1") {
			t.Errorf("the archive leaves %s", l)
		}
	}
	w.run(w.step(sdk.Archive, with))
	if o, err := w.x.Observe(t.Context(), w.step(sdk.Deploy, with)); err != nil || o.Health != sdk.Absent {
		t.Errorf("an archive is seen as %+v, %v", o, err)
	}
	// The name is kept: nobody else gets it.
	other := w.step(sdk.Deploy, with)
	other.Env = "pr-2"
	if msg := w.refused(other); !strings.Contains(msg, "shop/pr-1") {
		t.Errorf("it says %q", msg)
	}
	restore := w.step(sdk.Restore, map[string]any{"zone": w.server.Zone(), "name": "changed", "a": "192.0.2.77"})
	restore.AsWas = true
	out := w.run(restore)
	if out.outputs["fqdn"] != "pr-1.preview.example.org" {
		t.Errorf("the outputs are %v", out.outputs)
	}
	if after := w.zone(); !slices.Equal(before, after) {
		t.Errorf("the zone was\n%s\nand is\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	w.run(restore)
	w.run(w.step(sdk.Archive, with))
	plain := w.step(sdk.Restore, with)
	w.run(plain)
	if after := w.zone(); !slices.Equal(before, after) {
		t.Errorf("without AsWas the zone is\n%s", strings.Join(after, "\n"))
	}
	w.run(w.step(sdk.Cleanup, with))
	if msg := w.refused(restore); !strings.Contains(msg, "Nothing is archived") {
		t.Errorf("of what is not there it says %q", msg)
	}
}

func TestAPlanSaysWhatARunDoesAndChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	counted := &counting{network: sockets{}}
	w.x.net = counted
	check := func(verb sdk.Verb, with map[string]any, diff ...string) {
		t.Helper()
		serial, updates := w.server.Serial(t, w.server.Zone()), counted.updates
		step := w.step(verb, with)
		step.AsWas = verb == sdk.Restore
		p, err := w.x.Plan(t.Context(), step)
		if err != nil {
			t.Fatal(err)
		}
		if now := w.server.Serial(t, w.server.Zone()); now != serial || counted.updates != updates {
			t.Errorf("the plan of %s changed the zone", verb)
		}
		if got := strings.TrimSuffix(p.Diff, "\n"); got != strings.Join(diff, "\n") {
			t.Errorf("the diff of %s is\n%s\nwant\n%s", verb, got, strings.Join(diff, "\n"))
		}
		before := w.zone()
		w.run(step)
		after := w.zone()
		var changed []string
		for _, l := range before {
			if !slices.Contains(after, l) && !strings.Contains(l, "_berth") {
				changed = append(changed, "-"+l)
			}
		}
		for _, l := range after {
			if !slices.Contains(before, l) && !strings.Contains(l, "_berth") {
				changed = append(changed, "+"+l)
			}
		}
		said := strings.Split(strings.ReplaceAll(p.Diff, " CNAME ", " IN CNAME "), "\n")
		said = strings.Split(strings.ReplaceAll(strings.Join(said, "\n"), " A ", " IN A "), "\n")
		for _, l := range changed {
			if !slices.Contains(said, l) {
				t.Errorf("the %s did %s, which its plan did not say:\n%s", verb, l, p.Diff)
			}
		}
		if len(changed) != len(diff) {
			t.Errorf("the %s made %d changes, its plan said %d", verb, len(changed), len(diff))
		}
	}
	check(sdk.Deploy, w.cname(), "+pr-1.shop.preview.example.org. 60 CNAME ingress.example.org.")
	check(sdk.Deploy, w.cname())
	addressed := map[string]any{"zone": w.server.Zone(), "name": "pr-1.shop", "a": "192.0.2.1"}
	check(sdk.Deploy, addressed, "-pr-1.shop.preview.example.org. 60 CNAME ingress.example.org.", "+pr-1.shop.preview.example.org. 60 A 192.0.2.1")
	check(sdk.Archive, addressed, "-pr-1.shop.preview.example.org. 60 A 192.0.2.1")
	check(sdk.Restore, addressed, "+pr-1.shop.preview.example.org. 60 A 192.0.2.1")
	check(sdk.Cleanup, addressed, "-pr-1.shop.preview.example.org. 60 A 192.0.2.1")
	check(sdk.Cleanup, addressed)
}

func TestWhatSomebodyChangedIsDriftAndIsMended(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	with := w.three()
	w.run(w.step(sdk.Deploy, with))
	o, err := w.x.Observe(t.Context(), w.step(sdk.Deploy, with))
	if err != nil || o.Health != sdk.Healthy || len(o.Drift) > 0 {
		t.Fatalf("it is seen as %+v, %v", o, err)
	}
	if want := []sdk.Link{{Name: "pr-1.preview.example.org", URL: "https://pr-1.preview.example.org"}, {Name: "api.pr-1.preview.example.org", URL: "https://api.pr-1.preview.example.org"}}; !slices.Equal(o.Links, want) {
		t.Errorf("the links are %v", o.Links)
	}
	w.server.Change(t, w.server.Zone(), []string{"api.pr-1.preview.example.org. 60 IN A 192.0.2.66"}, "api.pr-1.preview.example.org", "pr-1.preview.example.org")
	o, err = w.x.Observe(t.Context(), w.step(sdk.Deploy, with))
	if err != nil || o.Health != sdk.Unhealthy {
		t.Errorf("it is seen as %+v, %v", o, err)
	}
	want := []string{"The record pr-1.preview.example.org CNAME is gone.", `The record api.pr-1.preview.example.org A is "192.0.2.66"; deployed was "192.0.2.1, 192.0.2.2".`}
	if !slices.Equal(o.Drift, want) {
		t.Errorf("the drift is %q", o.Drift)
	}
	w.run(w.step(sdk.Deploy, with))
	w.has("api.pr-1.preview.example.org. 60 IN A 192.0.2.1", "pr-1.preview.example.org. 60 IN CNAME")
	w.run(w.step(sdk.Cleanup, with))
	if o, err := w.x.Observe(t.Context(), w.step(sdk.Deploy, with)); err != nil || o.Health != sdk.Absent {
		t.Errorf("after the cleanup it is seen as %+v, %v", o, err)
	}
}

func TestInventoryIsWhatBearsThisInstallationsMarks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "foreign IN A 192.0.2.9\n_berth.other IN TXT \"heritage=berth,app=shop,environment=pr-9,part=url,installation=inst-2\"\n_berth.hurt IN TXT \"heritage=berth,app=%zz\"")
	w.run(w.step(sdk.Deploy, w.three()))
	second := w.step(sdk.Deploy, w.cname())
	second.Env = "pr-2"
	w.run(second)
	second.Verb = sdk.Archive
	w.run(second)
	owned := func() []string {
		list, err := w.x.Inventory(t.Context(), sdk.Scope{Installation: "inst-1", Settings: w.settings})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, o := range list {
			if !o.Elsewhere {
				t.Errorf("%s %s is said to be in a cluster", o.Kind, o.Name)
			}
			if o.Kind != kindManifest {
				out = append(out, fmt.Sprintf("%s %s of %s/%s %s", o.Kind, o.Name, o.App, o.Env, o.Part))
			}
		}
		slices.Sort(out)
		return out
	}
	want := []string{
		"DNS name kept for an archive pr-1.shop.preview.example.org of shop/pr-2 url",
		"DNS record *.pr-1.preview.example.org of shop/pr-1 url",
		"DNS record api.pr-1.preview.example.org of shop/pr-1 url",
		"DNS record pr-1.preview.example.org of shop/pr-1 url",
	}
	if got := owned(); !slices.Equal(got, want) {
		t.Errorf("it is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// What was found without a record is cleaned up without settings.
	orphan := w.step(sdk.Cleanup, nil)
	w.run(orphan)
	orphan.Env = "pr-2"
	w.run(orphan)
	if got := owned(); len(got) > 0 {
		t.Errorf("after cleanups it is %q", got)
	}
	w.has("foreign.preview.example.org.", "_berth.other.preview.example.org.")
	w.server.Stop()
	if list, err := w.x.Inventory(t.Context(), sdk.Scope{Installation: "inst-1", Settings: w.settings}); err == nil {
		t.Errorf("of a server that is gone it is %v", list)
	}
}

func TestManyEnvironmentsChangeOneZoneAtTheSameTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	before := w.zone()
	const many = 50
	all := func(verb sdk.Verb) {
		var group sync.WaitGroup
		for i := range many {
			group.Go(func() {
				step := w.step(verb, map[string]any{"zone": w.server.Zone(), "name": fmt.Sprintf("pr-%d", i), "a": "192.0.2.1", "txt": "hello"})
				step.Env = fmt.Sprintf("pr-%d", i)
				if err := w.x.Run(t.Context(), step, &events{}); err != nil {
					t.Errorf("%s of %s: %v", verb, step.Env, err)
				}
			})
		}
		group.Wait()
	}
	all(sdk.Deploy)
	if n := len(w.zone()) - len(before); n != many*(2+1+3) {
		t.Errorf("there are %d records more, want %d", n, many*6)
	}
	all(sdk.Cleanup)
	if after := w.zone(); !slices.Equal(before, after) {
		t.Errorf("the cleanups leave\n%s", strings.Join(after, "\n"))
	}
	// Of many that want one name, one gets it.
	var mu sync.Mutex
	got := 0
	var group sync.WaitGroup
	for i := range many {
		group.Go(func() {
			step := w.step(sdk.Deploy, map[string]any{"zone": w.server.Zone(), "name": "wanted", "a": fmt.Sprintf("192.0.2.%d", i)})
			step.Env = fmt.Sprintf("pr-%d", i)
			err := w.x.Run(t.Context(), step, &events{})
			e, refused := errors.AsType[*sdk.Error](err)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				got++
			} else if !refused || e.Fault != sdk.FaultInvalid || !strings.Contains(e.Msg, "is that of environment shop/pr-") {
				t.Errorf("%s failed with %v", step.Env, err)
			}
		})
	}
	group.Wait()
	if got != 1 {
		t.Errorf("%d environments got the name", got)
	}
	w.has("wanted.preview.example.org. 60 IN A", "_berth.wanted.preview.example.org.")
}

// dying is a network that ends at its n-th message: that one is sent, and its
// answer lost, when lost is set; all after it fail.
type dying struct {
	network
	mu   sync.Mutex
	left int
	lost bool
	end  context.CancelFunc
}

var errDied = errors.New("the program was killed")

func (d *dying) exchange(ctx context.Context, address string, m *dns.Msg, key *tsigKey) (*dns.Msg, error) {
	d.mu.Lock()
	d.left--
	left := d.left
	d.mu.Unlock()
	if left > 0 {
		return d.network.exchange(ctx, address, m, key)
	}
	if left == 0 && d.lost {
		_, _ = d.network.exchange(context.WithoutCancel(ctx), address, m, key)
	}
	d.end()
	return nil, errDied
}

func TestAKillAtAnyMessageIsMadeGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	empty := w.zone()
	other := map[string]any{"zone": w.server.Zone(), "name": "pr-1", "a": "192.0.2.5", "records": []any{map[string]any{"name": "new.pr-1", "type": "TXT", "values": "x"}}}
	w.run(w.step(sdk.Deploy, w.three()))
	w.run(w.step(sdk.Deploy, other))
	full := w.zone()
	w.run(w.step(sdk.Cleanup, nil))
	for _, lost := range []bool{false, true} {
		for n := 1; ; n++ {
			killed := false
			kill := func(step sdk.Step) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				x := New(Options{})
				x.net = &dying{network: sockets{}, left: n, lost: lost, end: cancel}
				if err := x.Run(ctx, step, &events{}); err != nil {
					killed = true
				}
			}
			for _, verb := range []sdk.Verb{sdk.Deploy, sdk.Archive, sdk.Cleanup} {
				// From three names to two others, archived, or cleaned up, and killed on the way.
				w.run(w.step(sdk.Deploy, w.three()))
				kill(w.step(verb, other))
				w.run(w.step(sdk.Deploy, other))
				if got := w.zone(); !slices.Equal(got, full) {
					t.Fatalf("a %s killed at message %d (answer lost: %v), then a deploy, leave\n%s\nwant\n%s", verb, n, lost, strings.Join(got, "\n"), strings.Join(full, "\n"))
				}
				w.run(w.step(sdk.Deploy, w.three()))
				kill(w.step(verb, other))
				w.run(w.step(sdk.Cleanup, other))
				if got := w.zone(); !slices.Equal(got, empty) {
					t.Fatalf("a %s killed at message %d (answer lost: %v), then a cleanup, leave\n%s", verb, n, lost, strings.Join(got, "\n"))
				}
			}
			if !killed {
				t.Logf("killed at %d messages", n-1)
				break
			}
		}
	}
}
