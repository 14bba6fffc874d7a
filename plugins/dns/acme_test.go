package dns

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/berth-dev/berth/plugins/sdk"
)

func TestSettingsOfTheAuthority(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		settings string
		is       func(a acmeSettings) bool
		refused  string
	}{
		"nothing is Let's Encrypt, but not agreed to": {`{}`, func(a acmeSettings) bool { return !a.set && a.directory == letsEncrypt }, ""},
		"an empty section agrees to Let's Encrypt": {`{"acme":{}}`, func(a acmeSettings) bool {
			return a.set && a.directory == letsEncrypt && a.namespace == "berth" && a.limits == letsEncryptLimits
		}, ""},
		"all of it": {`{"acme":{"directory":"https://ca.example/dir","email":"ops@example.org","namespace":"tls","ca_file":"/ca.pem","profile":"short","eab":{"key_id":"k","mac_key":{"env":"MAC"}},"limits":{"orders":0,"domain":7,"same":1}}}`, func(a acmeSettings) bool {
			return a.directory == "https://ca.example/dir" && a.namespace == "tls" && a.profile == "short" && a.eab.keyID == "k" && a.eab.key.Env == "MAC" && a.limits.orders.most == 0 && a.limits.domain.most == 7 && a.limits.same.most == 1 && a.limits.failures == letsEncryptLimits.failures
		}, ""},
		"a directory without TLS":          {`{"acme":{"directory":"http://ca.example/dir"}}`, nil, "https://"},
		"a directory with a password":      {`{"acme":{"directory":"https://a:b@ca.example/dir"}}`, nil, "directory"},
		"a namespace that is none":         {`{"acme":{"namespace":"a/b"}}`, nil, "namespace"},
		"an address that is none":          {`{"acme":{"email":"nobody"}}`, nil, "email"},
		"two addresses":                    {`{"acme":{"email":"a@b.c,d@e.f"}}`, nil, "email"},
		"a limit below nothing":            {`{"acme":{"limits":{"same":-1}}}`, nil, "negative"},
		"a key that is written out":        {`{"acme":{"eab":{"key_id":"k","mac_key":"c2VjcmV0LWNhbmFyeQ"}}}`, nil, "binding"},
		"a binding without the key's name": {`{"acme":{"eab":{"mac_key":{"env":"MAC"}}}}`, nil, "key_id"},
		"an unknown key":                   {`{"acme":{"server":"x"}}`, nil, "server"},
		"a text":                           {`{"acme":"letsencrypt"}`, nil, "acme"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var settings map[string]any
			if err := json.Unmarshal([]byte(test.settings), &settings); err != nil {
				t.Fatal(err)
			}
			a, err := readACME(settings)
			if test.refused != "" {
				e, ok := errors.AsType[*sdk.Error](err)
				if !ok || e.Fault != sdk.FaultInvalid || !strings.Contains(e.Msg, test.refused) || strings.Contains(e.Msg, "c2VjcmV0LWNhbmFyeQ") {
					t.Fatalf("got %v; want a refusal that says %q", err, test.refused)
				}
				return
			}
			if err != nil || !test.is(a) {
				t.Errorf("got %+v, %v", a, err)
			}
		})
	}
}

func FuzzSettingsOfTheAuthority(f *testing.F) {
	f.Add(`{"directory":"https://ca.example/dir","email":"a@b.c","eab":{"key_id":"k","mac_key":{"env":"MAC"}},"limits":{"same":1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var section any
		if json.Unmarshal([]byte(text), &section) != nil {
			return
		}
		a, err := readACME(map[string]any{"acme": section})
		if e, ok := errors.AsType[*sdk.Error](err); err != nil && (!ok || e.Fault != sdk.FaultInvalid) {
			t.Errorf("a refusal that is not the user's: %v", err)
		}
		if err == nil && !strings.HasPrefix(strings.ToLower(a.directory), "https:") {
			t.Errorf("keys would go to %q", a.directory)
		}
	})
}

func TestRetryAfterIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "120": 2 * time.Minute, "-5": 0, "soon": 0, "99999999": maxRetryAfter, "999999999999999999999": 0,
		now.Add(time.Hour).Format(http.TimeFormat):       time.Hour,
		now.Add(-time.Hour).Format(http.TimeFormat):      0,
		now.Add(999 * time.Hour).Format(http.TimeFormat): maxRetryAfter,
		now.Add(time.Hour).Format(time.RFC3339):          0,
		strings.Repeat("1", 100000):                      0,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("%.40q is %v, want %v", header, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Sun, 01 Mar 2026 13:00:00 GMT")
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, header string) {
		if got := retryAfter(header, now); got < 0 || got > maxRetryAfter {
			t.Errorf("%q is %v", header, got)
		}
	})
}

func TestRenewalIsDueInTime(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const aDay = 24 * time.Hour
	for name, test := range map[string]struct{ life, due, late time.Duration }{
		"ninety days: thirty before the end":      {90 * aDay, 60 * aDay, 76 * aDay},
		"a year: thirty days before the end":      {360 * aDay, 330 * aDay, 301 * aDay},
		"six days: a third before the end":        {6 * aDay, 4 * aDay, 5*aDay + time.Hour},
		"forty-five days: a third before the end": {45 * aDay, 30 * aDay, 38 * aDay},
	} {
		leaf := &x509.Certificate{NotBefore: begin, NotAfter: begin.Add(test.life)}
		if got := renewAt(leaf).Sub(begin); got != test.due {
			t.Errorf("%s: due after %v, want %v", name, got, test.due)
		}
		if !late(leaf, begin.Add(test.late)) || late(leaf, begin.Add(test.life/2)) {
			t.Errorf("%s: it is late at the wrong time", name)
		}
	}
}

func TestAllChooseOneMomentOfAWindow(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	end := start.Add(48 * time.Hour)
	seen := map[time.Time]bool{}
	for serial := range int64(50) {
		id := big.NewInt(serial).String()
		at := momentIn(start, end, id)
		if at.Before(start) || !at.Before(end) || !at.Equal(momentIn(start, end, id)) {
			t.Errorf("%s is renewed at %v", id, at)
		}
		seen[at] = true
	}
	if len(seen) < 45 {
		t.Errorf("fifty certificates are renewed at %d moments", len(seen))
	}
	if at := momentIn(end, start, "x"); !at.Equal(end) {
		t.Errorf("a window that is none gives %v", at)
	}
}

func TestOnlyTheAuthoritysFailuresAreExplainedAsItsOwn(t *testing.T) {
	t.Parallel()
	a := acmeSettings{directory: "https://ca.example/dir"}
	plain := errors.New("update of the zone failed")
	if got := a.explain(t.Context(), plain, 0); !errors.Is(got, plain) {
		t.Errorf("a name server's failure becomes %v", got)
	}
	told := sdk.Invalid("no")
	if got := a.explain(t.Context(), ofAuthority(told), 0); !errors.Is(got, told) {
		t.Errorf("what is explained becomes %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := a.explain(ctx, ofAuthority(ctx.Err()), 0); !errors.Is(got, context.Canceled) {
		t.Errorf("a step that was cancelled becomes %v", got)
	}
	compound := acme.Problem{Type: acme.ProblemTypeCompound, Status: 403, Subproblems: []acme.Subproblem{{Problem: acme.Problem{Type: acme.ProblemTypeCAA, Detail: "CAA for a"}}}}
	if e, ok := errors.AsType[*sdk.Error](a.explain(t.Context(), ofAuthority(compound), 0)); !ok || !strings.Contains(e.Msg, "CAA for a") || !strings.Contains(e.Msg, "ca.example") {
		t.Errorf("several problems become %v", e)
	}
	if ofAuthority(nil) != nil || ofCluster(nil) != nil {
		t.Error("no failure becomes one")
	}
}
