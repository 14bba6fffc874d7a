package dns

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/dns/dnstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

// own is a certificate of the environment alone.
func own() map[string]any { return map[string]any{"secret": "tls-web", "wildcard": "none"} }

// refusing has the authority answer requests to a path with a problem.
func refusing(path, kind, detail string, status int, header map[string]string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, path) || r.Method != http.MethodPost {
			return false
		}
		for key, value := range header {
			w.Header().Set(key, value)
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"type": "urn:ietf:params:acme:error:" + kind, "detail": detail, "status": status})
		return true
	}
}

func TestARefusalOfTheAuthorityIsToldWithWhatToDo(t *testing.T) {
	t.Parallel()
	w := newTLSWorld(t, authorityOptions{})
	w.namespace("shop-pr-1")
	step := w.tls(sdk.Deploy, "pr-1", own())
	const order, account = pathNewOrder, "/sign-me-up"
	tests := map[string]struct {
		refuse func(http.ResponseWriter, *http.Request) bool
		says   []string
		retry  bool
	}{
		"the terms have changed":             {refusing(account, "userActionRequired", "agree to https://ca.example/terms", 403, nil), []string{"wants something of a person", "https://ca.example/terms"}, false},
		"the address is not taken":           {refusing(account, "invalidContact", "no such domain", 400, nil), []string{"`email`", "no such domain"}, false},
		"an account is wanted that is known": {refusing(account, "externalAccountRequired", "bring a key", 401, nil), []string{"`eab`"}, false},
		"a CAA record forbids it":            {refusing(order, "caa", "CAA record for example.org prevents issuance", 403, nil), []string{"CAA", "prevents issuance"}, false},
		"the name is not taken":              {refusing(order, "rejectedIdentifier", "policy forbids", 400, nil), []string{"no certificates for such a name"}, false},
		"the profile is not known":           {refusing(order, "malformed", "unknown profile", 400, nil), []string{"`profile`"}, false},
		"it is at fault itself":              {refusing(order, "serverInternal", "oops", 500, nil), []string{"oops"}, true},
		"what it says is hostile":            {refusing(order, "caa", "a\x1b[31m\nb "+strings.Repeat("x", 5000), 403, nil), []string{"CAA"}, false},
		"it gives a page instead": {func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = w.Write([]byte("<html>" + strings.Repeat("y", 3<<20)))
			return true
		}, []string{"too long"}, false},
		"it breaks off": {func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, nil, true},
	}
	n := 0
	for name, test := range tests {
		n++
		w.home = w.namespace(fmt.Sprintf("home-%d", n)) // a Berth of its own, as far as it matters
		w.acme("namespace", w.home)
		w.ca.intercept(test.refuse)
		e, out := w.fails(step)
		for _, words := range test.says {
			if !strings.Contains(e.Msg, words) {
				t.Errorf("%s: it says %q", name, e.Msg)
			}
		}
		if e.Fault != sdk.FaultDownstream || e.Retry != test.retry || len(e.Msg) > 1000 || strings.ContainsAny(e.Msg, "\n\x1b") {
			t.Errorf("%s: %+v", name, e)
		}
		for _, s := range w.secrets(w.home) {
			if key := string(s.Data[keyAccount]); key != "" && strings.Contains(e.Error()+out.text(), strings.Split(key, "\n")[1]) {
				t.Errorf("%s: the account's key is told", name)
			}
		}
		w.noChallenges()
	}
	w.ca.intercept(nil)
	w.run(step)
	w.leaf(w.secret(step.Namespace, "tls-web"), "pr-1.shop.preview.example.org")
}

func TestANameWithoutProofIsToldAndCounted(t *testing.T) {
	t.Parallel()
	// The authority looks names up at a server that has nothing of what Berth writes.
	elsewhere := dnstest.BIND(t, dnstest.Options{})
	w := tlsWorldAt(t, dnstest.BIND(t, dnstest.Options{}), startAuthority(t, elsewhere.Address, authorityOptions{}))
	w.namespace("shop-pr-1")
	step := w.tls(sdk.Deploy, "pr-1", own())
	for n := range 5 {
		e, _ := w.fails(step)
		if e.Retry || !strings.Contains(e.Msg, "did not find the proof") || !strings.Contains(e.Msg, "delegated") {
			t.Fatalf("failure %d: %v", n, e)
		}
		w.noChallenges()
	}
	orders := w.ca.count(pathNewOrder)
	e, _ := w.fails(step)
	if w.ca.count(pathNewOrder) != orders || !strings.Contains(e.Msg, "failed validations of pr-1.shop.preview.example.org") || e.After <= 0 || e.After > 12*time.Minute {
		t.Errorf("a sixth order is made: %v", e)
	}
	if _, err := w.x.Plan(t.Context(), step); err == nil || !strings.Contains(err.Error(), "failed validations") {
		t.Errorf("the plan says %v", err)
	}
	w.keptAtHome(keepsAccount)
	// Nothing was given, so nothing counts as given.
	l, err := readLedger(w.account().Data[keyLedger])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range letsEncryptLimits.certificateCharges([]string{"pr-1.shop.preview.example.org"}) {
		if l.Full[c.key].After(w.clock.Now().Add(time.Minute)) {
			t.Errorf("%s is full at %v", c.key, l.Full[c.key])
		}
	}
}

func TestLimitsAreKeptToBeforeTheyAreMet(t *testing.T) {
	t.Parallel()
	w := newTLSWorld(t, authorityOptions{})
	w.acme("limits", map[string]any{"domain": 2})
	var e *sdk.Error
	for n := 1; n <= 3; n++ {
		env := fmt.Sprintf("pr-%d", n)
		w.namespace("shop-" + env)
		if step := w.tls(sdk.Deploy, env, own()); n < 3 {
			w.run(step)
		} else {
			e, _ = w.fails(step)
		}
	}
	at := w.clock.Now().Add(7 * 24 * time.Hour / 2).UTC().Format("2006-01-02")
	if w.ca.count(pathNewOrder) != 2 || e.Retry || !strings.Contains(e.Msg, "no more than 2 certificates for names in example.org in a week") || !strings.Contains(e.Msg, at) {
		t.Errorf("%d were ordered; it says %v, want a time on %s", w.ca.count(pathNewOrder), e, at)
	}
	// What is there is copied and renewed all the same: the authority counts no
	// renewals that it suggested.
	w.clock.add(66 * 24 * time.Hour)
	w.acme("profile", profile200Days)
	w.acme("limits", map[string]any{"domain": 1, "orders": 1, "same": 1})
	if err := w.spendAll(); err != nil {
		t.Fatal(err)
	}
	w.run(w.tls(sdk.Deploy, "pr-1", own()))
	if w.ca.count(pathNewOrder) != 3 {
		t.Error("the renewal was not ordered")
	}
}

// spendAll has the account at all its limits.
func (w *tlsWorld) spendAll() error {
	secret := w.account()
	l, err := readLedger(secret.Data[keyLedger])
	if err != nil {
		return err
	}
	for key := range l.Full {
		l.Full[key] = w.clock.Now().Add(14 * 24 * time.Hour)
	}
	if secret.Data[keyLedger], err = l.write(w.clock.Now()); err != nil {
		return err
	}
	_, err = w.client.CoreV1().Secrets(w.home).Update(w.t.Context(), secret, metav1.UpdateOptions{})
	return err
}

func TestTheAuthoritysRetryAfterIsRespected(t *testing.T) {
	t.Parallel()
	w := newTLSWorld(t, authorityOptions{})
	w.namespace("shop-pr-1")
	step := w.tls(sdk.Deploy, "pr-1", own())
	w.ca.intercept(refusing(pathNewOrder, "rateLimited", "too many certificates already issued", 429, map[string]string{"Retry-After": "7200"}))
	e, _ := w.fails(step)
	if e.Retry || !strings.Contains(e.Msg, "too many certificates already issued") || !strings.Contains(e.Msg, "2h") {
		t.Errorf("it says %v", e)
	}
	w.ca.intercept(nil)
	e, _ = w.fails(step)
	if w.ca.count(pathNewOrder) != 0 || !strings.Contains(e.Msg, timeText(w.clock.Now().Add(2*time.Hour))) {
		t.Errorf("it was asked again at once: %v", e)
	}
	w.clock.add(2 * time.Hour)
	w.run(step)
}

func TestADeployDoesNotFailForARenewalThatCanWait(t *testing.T) {
	t.Parallel()
	w := newTLSWorld(t, authorityOptions{})
	w.namespace("shop-pr-1")
	step := w.tls(sdk.Deploy, "pr-1", own())
	w.run(step)
	w.clock.add(66 * 24 * time.Hour)
	w.ca.intercept(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
	out := w.run(step)
	if !strings.Contains(out.text(), "could not be renewed, and goes on until") {
		t.Errorf("nothing says so:\n%s", out.text())
	}
	if o := w.observe(step); o.Renew == "" || o.Health != sdk.Healthy {
		t.Errorf("seen is %+v", o)
	}
	w.clock.add(10 * 24 * time.Hour)
	if o := w.observe(step); o.Health != sdk.Degraded || !strings.Contains(o.Text, "has not been renewed") {
		t.Errorf("two weeks before its end it is seen as %+v", o)
	}
	w.clock.add(15 * 24 * time.Hour)
	if o := w.observe(step); o.Health != sdk.Unhealthy || !strings.Contains(o.Text, "ended on") {
		t.Errorf("after its end it is seen as %+v", o)
	}
	e, _ := w.fails(step)
	if !e.Retry {
		t.Errorf("after its end the deploy says %v", e)
	}
}

func TestTheAuthorityCanBringARenewalForward(t *testing.T) {
	t.Parallel()
	w := newTLSWorld(t, authorityOptions{})
	w.namespace("shop-pr-1")
	step := w.tls(sdk.Deploy, "pr-1", own())
	w.run(step)
	old := w.leaf(w.secret(step.Namespace, "tls-web"), "pr-1.shop.preview.example.org")
	if o := w.observe(step); o.Renew != "" {
		t.Errorf("to renew is %q", o.Renew)
	}
	start, end := w.clock.Now().Add(-48*time.Hour), w.clock.Now().Add(-24*time.Hour)
	w.ca.intercept(func(answer http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, pathARI) {
			return false
		}
		answer.Header().Set("Content-Type", "application/json")
		answer.Header().Set("Retry-After", "3600")
		_ = json.NewEncoder(answer).Encode(map[string]any{"suggestedWindow": map[string]any{"start": start, "end": end}})
		return true
	})
	if o := w.observe(step); o.Renew != "" {
		t.Errorf("it was asked again at once: %q", o.Renew)
	}
	w.clock.add(25 * time.Hour)
	if o := w.observe(step); !strings.Contains(o.Renew, "pr-1.shop.preview.example.org ends on") {
		t.Errorf("to renew is %q", o.Renew)
	}
	w.ca.intercept(nil)
	w.run(step)
	if w.leaf(w.secret(step.Namespace, "tls-web"), "pr-1.shop.preview.example.org").is(old) {
		t.Error("it was not renewed")
	}
}

func TestAnAccountIsBoundAndMadeAnew(t *testing.T) {
	t.Parallel()
	const id, key = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	w := newTLSWorld(t, authorityOptions{eab: map[string]string{id: key}})
	w.namespace("shop-pr-1")
	step := w.tls(sdk.Deploy, "pr-1", own())
	if e, _ := w.fails(step); !strings.Contains(e.Msg, "`eab`") {
		t.Errorf("without a binding it says %v", e)
	}
	bound := map[string]any{"kubernetes": map[string]any{"namespace": w.home, "name": "eab", "key": "mac"}}
	w.acme("eab", map[string]any{"key_id": id, "mac_key": bound})
	w.plain(w.home, "eab", map[string]string{"mac": key})
	out := w.run(step)
	if strings.Contains(out.text(), key) {
		t.Error("the key is told")
	}
	// The authority forgets all accounts: the same key gets another one.
	other := startAuthority(t, w.server.Address, authorityOptions{})
	w.ca.intercept(func(answer http.ResponseWriter, r *http.Request) bool {
		other.serve(answer, r)
		return true
	})
	delete(w.settings["acme"].(map[string]any), "eab")
	w.namespace("shop-pr-2")
	w.ca.roots = other.roots
	next := w.tls(sdk.Deploy, "pr-2", own())
	w.run(next)
	w.leaf(w.secret(next.Namespace, "tls-web"), "pr-2.shop.preview.example.org")
}

// TestChallengesOfOneNameDoNotMeet has several parts prove one name at the same
// time, while somebody else has a text there, too.
func TestChallengesOfOneNameDoNotMeet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `_acme-challenge.pr-1.shop 30 IN TXT "somebody else's"`)
	before := strings.Join(w.zone(), "\n")
	j, err := w.x.job(w.step(sdk.Deploy, w.cname()))
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.x.open(t.Context(), j.step, j.zone)
	if err != nil {
		t.Fatal(err)
	}
	of := func(part string, now time.Time) *challenges {
		me := j.me
		me.part = part
		return &challenges{zone: p, at: j.zone, net: w.x.net, owner: me.text(), now: func() time.Time { return now }}
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	name := challengeName("*.pr-1.shop.preview.example.org")
	var all sync.WaitGroup
	errs := make([]error, 6)
	for n := range errs {
		all.Go(func() {
			c := of(fmt.Sprintf("part-%d", n), now)
			mine := []challengeText{{name, fmt.Sprintf("text-%d-a", n)}, {name, fmt.Sprintf("text-%d-b", n)}}
			if errs[n] = c.put(t.Context(), mine); errs[n] != nil {
				return
			}
			if errs[n] = c.await(t.Context(), mine, &events{}); errs[n] == nil && n != 0 {
				errs[n] = c.remove(t.Context(), mine)
			}
		})
	}
	all.Wait()
	for n, err := range errs {
		if err != nil {
			t.Fatalf("part %d: %v", n, err)
		}
	}
	w.has(name+`. 30 IN TXT "somebody else's"`, name+`. 30 IN TXT "text-0-a"`, name+`. 30 IN TXT "text-0-b"`)
	if n := strings.Count(strings.Join(w.zone(), "\n"), "challenge=text-"); n != 2 {
		t.Errorf("there are %d lines of ownership, want 2", n)
	}
	// What part 0 left goes with the next one that comes there, but not at once.
	later := of("part-9", now.Add(challengeLife-time.Hour))
	if err := later.put(t.Context(), []challengeText{{name, "text-9"}}); err != nil {
		t.Fatal(err)
	}
	w.has(name+`. 30 IN TXT "text-0-a"`, name+`. 30 IN TXT "text-9"`)
	later = of("part-9", now.Add(challengeLife+time.Hour))
	if err := later.put(t.Context(), []challengeText{{name, "text-10"}}); err != nil {
		t.Fatal(err)
	}
	w.has(name+`. 30 IN TXT "text-10"`, name+`. 30 IN TXT "somebody else's"`)
	if text := strings.Join(w.zone(), "\n"); strings.Contains(text, "text-0") || strings.Contains(text, "text-9") {
		t.Errorf("there is still something old in\n%s", text)
	}
	if err := later.removeOwn(t.Context(), []string{name}); err != nil {
		t.Fatal(err)
	}
	if after := strings.Join(w.zone(), "\n"); after != before {
		t.Errorf("the zone was\n%s\nand is\n%s", before, after)
	}
}

func TestAChallengeIsWaitedForAtEveryServer(t *testing.T) {
	t.Parallel()
	primary := dnstest.BIND(t, dnstest.Options{})
	secondary := dnstest.BIND(t, dnstest.Options{Primary: primary})
	w := worldAt(t, primary, secondary)
	j, err := w.x.job(w.step(sdk.Deploy, w.cname()))
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.x.open(t.Context(), j.step, j.zone)
	if err != nil {
		t.Fatal(err)
	}
	c := &challenges{zone: p, at: j.zone, net: w.x.net, owner: j.me.text(), now: time.Now}
	text := []challengeText{{challengeName("a.preview.example.org"), "text"}}
	if err := c.put(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	short := *c
	short.at.wait = time.Second
	err = short.await(t.Context(), text, &events{})
	if e, ok := errors.AsType[*sdk.Error](err); !ok || !e.Retry || !strings.Contains(e.Msg, secondary.Address) || !strings.Contains(e.Msg, "does not have what was written") {
		t.Errorf("a server that lags is told as %v", err)
	}
	secondary.Notify(t, primary.Zone())
	if err := c.await(t.Context(), text, &events{}); err != nil {
		t.Error(err)
	}
}

func TestChallengeLinesAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	c := &challenges{owner: owner{app: "a,b=c", env: "pr-1", part: "url"}.text(), now: time.Now}
	line := c.line("x_Y-1")
	who, value, since, ok := challengeLine(line)
	if !ok || who != c.owner || value != "x_Y-1" || time.Since(since) > time.Minute {
		t.Errorf("%q is read as %q, %q, %v, %t", line, who, value, since, ok)
	}
	if o, ok := parseOwner(line); !ok || o.app != "a,b=c" || o.part != "url" {
		t.Errorf("as a mark it is read as %+v, %t", o, ok)
	}
	for _, wrong := range []string{"", "heritage=berth,app=a", "challenge=x,since=y", "heritage=berth,challenge=x", "heritage=berth,challenge=x,since=then", "v=spf1,challenge=x,since=2026-01-01T00:00:00Z"} {
		if _, _, _, ok := challengeLine(wrong); ok {
			t.Errorf("%q is read as a challenge's", wrong)
		}
	}
	if dns.Fqdn(challengeName("*.a.example")) != "_acme-challenge.a.example." {
		t.Error("a wildcard is proved at another name")
	}
}
