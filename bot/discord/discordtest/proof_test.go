package discordtest

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestWhatTheStandInSendsIsProofed(t *testing.T) {
	tests := map[string]struct {
		name string
		sent any
		odd  string // empty is right
	}{
		"an answer":                          {"GET /gateway", obj{"url": "ws://x/"}, ""},
		"an answer with a property too many": {"GET /gateway", obj{"url": "ws://x/", "shards": 1}, "there is no such property"},
		"an event without what is in all":    {"MESSAGE_DELETE", obj{"id": "1"}, "channel_id: This field is required"},
		"an event with a wrong type":         {"MESSAGE_DELETE", obj{"id": 1, "channel_id": "2"}, "Could not interpret"},
		"an event that there is not":         {"MESSAGE_SHOUT", obj{}, "no type MESSAGE_SHOUT"},
		"an interaction of no kind":          {"interaction", obj{"type": 9}, "Value must be one of"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := New(Options{})
			t.Cleanup(s.Close)
			s.mu.Lock()
			s.proof(test.name, test.sent)
			s.mu.Unlock()
			s.Forgive()
			odd := strings.Join(s.Odd(), "\n")
			if (odd == "") != (test.odd == "") || !strings.Contains(odd, test.odd) {
				t.Errorf("odd %q", odd)
			}
		})
	}
}

func TestRefusalsAndTheGatewaysOtherFramesFitTheirTypes(t *testing.T) {
	var bs breaches
	bs.add([]string{"data", "content"}, "BASE_TYPE_REQUIRED", "This field is required")
	for _, no := range []*refusal{unauthorized, unknownReference, invalidForm(bs), {status: 429, message: "You are being rate limited.", retryAfter: time.Second, scope: "user"}} {
		rec := httptest.NewRecorder()
		no.write(rec)
		kind := "restError"
		if no.status == 429 {
			kind = "rateLimit"
		}
		fit(t, kind, rec.Body.Bytes())
	}
	w := newWorld(t, Options{})
	ask := func() *client {
		c := dial(w, "?v=10&encoding=json")
		c.send(opIdentify, identity(w, talking))
		c.event("READY")
		c.event("GUILD_CREATE")
		return c
	}
	c := ask()
	c.send(opHeartbeat, c.seq)
	fit(t, "gatewayOther", encode(c.next()))
	for _, how := range []Drop{DropReconnect, DropInvalid} {
		w.DropGateway(how)
		fit(t, "gatewayOther", encode(c.next()))
		c = ask()
	}
}

func fit(t *testing.T, kind string, raw []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	if bs, err := checkType(kind, v); err != nil || len(bs) > 0 {
		t.Errorf("no %s: %v %v: %s", kind, bs, err, raw)
	}
}

// TestEveryRouteHasATypeForItsAnswer holds that nothing is sent unproofed: what
// has no type is odd, once it is sent.
func TestEveryRouteHasATypeForItsAnswer(t *testing.T) {
	d, err := described()
	if err != nil {
		t.Fatal(err)
	}
	for _, rt := range routes {
		if (rt.status == 204) != (d.Types[rt.name] == nil) && rt.takes != "callback" {
			t.Errorf("%s: answers with %d, has a type %t", rt.name, rt.status, d.Types[rt.name] != nil)
		}
	}
}
