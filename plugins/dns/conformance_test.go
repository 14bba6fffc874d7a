package dns

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/berth-dev/berth/plugins/dns/dnstest"
	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

// suite is what every executor passes, at a real name server. Slow waits for a
// secondary that never follows.
func (w *world) suite(second *dnstest.Server) sdktest.Suite {
	with := func(change func(map[string]any)) map[string]any {
		m := w.three()
		change(m)
		return m
	}
	slow := map[string]any{}
	for name, z := range w.settings["zones"].(map[string]any) {
		zone := map[string]any{}
		for k, v := range z.(map[string]any) {
			zone[k] = v
		}
		zone["servers"], zone["wait"] = []any{second.Address}, "5m"
		slow[name] = zone
	}
	noKey := map[string]any{"zones": map[string]any{w.server.Zone(): map[string]any{"apps": []any{"*"}, "provider": map[string]any{
		"rfc2136": map[string]any{"server": w.server.Address, "key": map[string]any{"name": "berth", "secret": "literally"}},
	}}}}
	return sdktest.Suite{
		Step:    sdk.Step{App: "shop", With: w.three(), Settings: w.settings},
		Slow:    &sdk.Step{App: "shop", With: map[string]any{"zone": w.server.Zone(), "name": "slow", "a": "192.0.2.1"}, Settings: map[string]any{"zones": slow}},
		Secrets: []string{w.server.Secret},
		Invalid: map[string]map[string]any{
			"no zone":              {"name": "a", "a": "192.0.2.1"},
			"an unknown zone":      with(func(m map[string]any) { m["zone"] = "example.com" }),
			"an unknown key":       with(func(m map[string]any) { m["mx"] = "x" }),
			"no record":            {"zone": w.server.Zone()},
			"a bad name":           with(func(m map[string]any) { m["name"] = "a..b" }),
			"a name elsewhere":     with(func(m map[string]any) { m["name"] = "x.example.com." }),
			"a bad address":        with(func(m map[string]any) { delete(m, "cname"); m["a"] = "300.1.1.1" }),
			"a CNAME with company": with(func(m map[string]any) { m["a"] = "192.0.2.1" }),
		},
		InvalidSettings: map[string]map[string]any{
			"a secret that is written out": noKey,
			"a zone without a provider":    {"zones": map[string]any{w.server.Zone(): map[string]any{"apps": []any{"*"}, "provider": map[string]any{}}}},
			"a zone for nobody":            {"zones": map[string]any{w.server.Zone(): map[string]any{"apps": []any{}, "provider": map[string]any{"rfc2136": map[string]any{"server": "192.0.2.1"}}}}},
		},
		Snapshot: func(t *testing.T) string {
			return strings.Join(w.server.Transfer(t, w.server.Zone()), "\n")
		},
		Owned: func(t *testing.T) []string {
			var out []string
			for _, l := range w.server.Transfer(t, w.server.Zone()) {
				if !strings.Contains(l, "ns1") && !strings.Contains(l, "slow.") && !strings.Contains(l, "part=slow") && !strings.Contains(l, "0 slow ") {
					out = append(out, l)
				}
			}
			return out
		},
	}
}

func TestConformanceOfTheProgram(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "berth-dns")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/berth-dns").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	primary := startBIND(t)
	second := dnstest.BIND(t, dnstest.Options{Primary: primary})
	w := worldAt(t, primary)
	s := w.suite(second)
	s.Command = []string{binary}
	sdktest.Run(t, s)
}

func TestConformanceAndInterruptions(t *testing.T) {
	t.Parallel()
	primary := startBIND(t)
	second := dnstest.BIND(t, dnstest.Options{Primary: primary})
	w := worldAt(t, primary)
	s := w.suite(second)
	var mu sync.Mutex
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return said.Write(p)
	}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.Said = func(*testing.T) string {
		mu.Lock()
		defer mu.Unlock()
		return said.String()
	}
	s.New = func() sdk.Executor { return New(Options{Log: log}) }
	s.Interrupted = func(_ *testing.T, n int) sdk.Executor {
		return mortal{Executor: New(Options{Log: log}), n: n}
	}
	// A tool that turns a key around: what was agreed on stays.
	s.Rotate = func(t *testing.T) {
		if err := os.WriteFile(w.file, []byte(w.server.Secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sdktest.Run(t, s)
}

// mortal dies at its n-th message. Of every second one the answer is lost.
type mortal struct {
	*Executor
	n int
}

func (m mortal) Run(ctx context.Context, step sdk.Step, out sdk.Events) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.net = &dying{network: sockets{}, left: m.n, lost: m.n%2 == 0, end: cancel}
	return m.Executor.Run(ctx, step, out)
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestAKeyIsNeverSaid(t *testing.T) {
	t.Parallel()
	s := startBIND(t)
	const canary = "Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5LWNhbmFyeQ=="
	for name, secret := range map[string]string{"a wrong one": canary, "one that is no base64": "canary canary canary", "an empty one": ""} {
		t.Run(name, func(t *testing.T) {
			w := worldAt(t, s)
			if err := os.WriteFile(w.file, []byte(secret), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			w.x = New(Options{Log: slog.New(slog.NewJSONHandler(&log, nil))})
			out := &events{}
			_, planErr := w.x.Plan(t.Context(), w.step(sdk.Deploy, w.cname()))
			runErr := w.x.Run(t.Context(), w.step(sdk.Deploy, w.cname()), out)
			_, observeErr := w.x.Observe(t.Context(), w.step(sdk.Deploy, w.cname()))
			_, listErr := w.x.Inventory(t.Context(), sdk.Scope{Installation: "i", Settings: w.settings})
			for _, err := range []error{planErr, runErr, observeErr, listErr} {
				if err == nil {
					t.Error("it works with a wrong key")
					continue
				}
				for _, form := range sdk.SecretForms(secret) {
					if form != "" && strings.Contains(err.Error()+log.String()+out.text(), form) {
						t.Errorf("the secret is in %v", err)
					}
				}
			}
			t.Log(runErr)
		})
	}
}

func TestRefusalsOfServersSayWhatToDo(t *testing.T) {
	t.Parallel()
	strict := dnstest.BIND(t, dnstest.Options{Policy: "grant berth name only.preview.example.org ANY;"})
	for name, test := range map[string]struct {
		change func(rfc2136 map[string]any)
		say    string
	}{
		"a key that it does not know":             {func(r map[string]any) { r["key"].(map[string]any)["name"] = "other" }, "does not know the TSIG key"},
		"a wrong algorithm":                       {func(r map[string]any) { r["key"].(map[string]any)["algorithm"] = "hmac-sha512" }, "TSIG key"},
		"a key that may not change the zone":      {func(map[string]any) {}, "update-policy"},
		"no key at all":                           {func(r map[string]any) { delete(r, "key") }, "let the TSIG key of Berth's settings change it"},
		"a server that is not there":              {func(r map[string]any) { r["server"] = "127.0.0.1:1" }, "cannot be reached: the connection was refused"},
		"a server whose name is not known at all": {func(r map[string]any) { r["server"] = "no-such-host.invalid" }, "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := worldAt(t, strict)
			test.change(w.settings["zones"].(map[string]any)[strict.Zone()].(map[string]any)["provider"].(map[string]any)["rfc2136"].(map[string]any))
			err := w.x.Run(t.Context(), w.step(sdk.Deploy, w.cname()), &events{})
			if err == nil || !strings.Contains(err.Error(), test.say) {
				t.Errorf("it says %v; want %q", err, test.say)
			}
		})
	}
}

// TestForgedAnswersAreNotBelieved holds that an answer without the key's
// signature is none.
func TestForgedAnswersAreNotBelieved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.x.net = forging{sockets{}}
	if err := w.x.Run(t.Context(), w.step(sdk.Deploy, w.cname()), &events{}); err == nil || !strings.Contains(err.Error(), "not believed") {
		t.Errorf("it says %v", err)
	}
}

// forging sends everything without a signature and passes the answer off as one
// to a signed question.
type forging struct{ sockets }

func (f forging) exchange(ctx context.Context, address string, m *dns.Msg, key *tsigKey) (*dns.Msg, error) {
	answer, err := f.sockets.exchange(ctx, address, m, nil)
	if err == nil && key != nil {
		err = signed(answer, nil)
	}
	return answer, err
}

func TestSHA512AndPowerDNS(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]func(*testing.T) *dnstest.Server{
		"BIND with hmac-sha512": func(t *testing.T) *dnstest.Server {
			return dnstest.BIND(t, dnstest.Options{Algorithm: "hmac-sha512"})
		},
		"PowerDNS": func(t *testing.T) *dnstest.Server { return dnstest.PowerDNS(t, dnstest.Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := worldAt(t, server(t))
			before := w.zone()
			w.run(w.step(sdk.Deploy, w.cname()))
			w.has("pr-1.shop.preview.example.org. 60 IN CNAME ingress.example.org.", pr1Mark)
			serial := w.server.Serial(t, w.server.Zone())
			w.run(w.step(sdk.Deploy, w.cname()))
			if now := w.server.Serial(t, w.server.Zone()); now != serial {
				t.Errorf("a deploy of what is there moved the serial from %d to %d", serial, now)
			}
			big := map[string]any{"zone": w.server.Zone(), "name": "pr-1.shop", "txt": []any{strings.Repeat("a", 1500), strings.Repeat("b", 1500), `quote " and \ and ü`}, "a": "192.0.2.1"}
			w.run(w.step(sdk.Deploy, big))
			w.has("pr-1.shop.preview.example.org. 60 IN A 192.0.2.1")
			w.run(w.step(sdk.Deploy, w.three()))
			w.has("*.pr-1.preview.example.org. 5 IN TXT \"hello\"")
			other := w.step(sdk.Deploy, w.three())
			other.Env = "pr-2"
			w.refused(other)
			if list, err := w.x.Inventory(t.Context(), sdk.Scope{Installation: "inst-1", Settings: w.settings}); err != nil || len(list) != 4 {
				t.Errorf("the inventory is %v, %v", list, err)
			}
			w.run(w.step(sdk.Archive, w.three()))
			restore := w.step(sdk.Restore, w.three())
			restore.AsWas = true
			w.run(restore)
			w.has("pr-1.preview.example.org. 60 IN CNAME")
			w.run(w.step(sdk.Cleanup, w.three()))
			if after := w.zone(); strings.Join(before, "\n") != strings.Join(after, "\n") {
				t.Errorf("the cleanup leaves\n%s", strings.Join(after, "\n"))
			}
		})
	}
}
