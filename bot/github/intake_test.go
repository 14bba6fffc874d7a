package github

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions/redistest"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }

const testSecret = "s3cret"

func sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func testIntake(rdb redis.UniversalClient) *intake {
	return newIntake([]byte(testSecret), &mailbox{rdb: rdb}, slog.New(slog.DiscardHandler))
}

// delivery is a genuine request; change may make it less so.
func delivery(event, id, body string, change func(*http.Request)) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/webhooks/github", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", event)
	r.Header.Set("X-GitHub-Delivery", id)
	r.Header.Set("X-Hub-Signature-256", sign(testSecret, []byte(body)))
	if change != nil {
		change(r)
	}
	return r
}

func send(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestGitHubsPublishedVectorIsGenuine(t *testing.T) {
	const published = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	v := newVerifier([]byte("It's a Secret to Everybody"))
	if !v.genuine(published, []byte("Hello, World!")) {
		t.Error("GitHub's own example is refused")
	}
	for range 2 { // a kept HMAC starts anew
		if v.genuine(published, []byte("Hello, World?")) {
			t.Error("another body has the same signature")
		}
	}
	if newVerifier(nil).genuine(sign("", []byte("x")), []byte("x")) {
		t.Error("with no secret, everybody can sign")
	}
}

func TestIntakeAnswers(t *testing.T) {
	const body = `{"action":"created"}`
	header := func(k, v string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(k, v) } }
	without := func(k string) func(*http.Request) { return func(r *http.Request) { r.Header.Del(k) } }
	form := "payload=" + url.QueryEscape(body)
	tests := map[string]struct {
		event, body string
		change      func(*http.Request)
		status      int
		stored      int64
	}{
		"a comment is stored":                 {"issue_comment", body, nil, 202, 1},
		"a pull request's event is stored":    {"pull_request", body, nil, 202, 1},
		"a ping is answered and not kept":     {"ping", `{"zen":"x"}`, nil, 202, 0},
		"an event nobody acts on is not kept": {"watch", body, nil, 202, 0},
		"no signature":                        {"issue_comment", body, without("X-Hub-Signature-256"), 401, 0},
		"a signature with another secret":     {"issue_comment", body, header("X-Hub-Signature-256", sign("other", []byte(body))), 401, 0},
		"a signature in capitals is the same": {"issue_comment", body, func(r *http.Request) {
			r.Header.Set("X-Hub-Signature-256", "sha256="+strings.ToUpper(sign(testSecret, []byte(body))[7:]))
		}, 202, 1},
		"half a signature":                          {"issue_comment", body, header("X-Hub-Signature-256", sign(testSecret, []byte(body))[:39]), 401, 0},
		"a signature that is no hex":                {"issue_comment", body, header("X-Hub-Signature-256", "sha256="+strings.Repeat("zz", 32)), 401, 0},
		"the SHA-1 signature alone":                 {"issue_comment", body, func(r *http.Request) { r.Header.Del("X-Hub-Signature-256"); r.Header.Set("X-Hub-Signature", "sha1=0") }, 401, 0},
		"a wrong signature outweighs a bad payload": {"issue_comment", "nonsense", header("X-Hub-Signature-256", "sha256=00"), 401, 0},
		"no event":                           {"issue_comment", body, without("X-GitHub-Event"), 400, 0},
		"no delivery id":                     {"issue_comment", body, without("X-GitHub-Delivery"), 400, 0},
		"a delivery id with a line break":    {"issue_comment", body, header("X-GitHub-Delivery", "a\nb"), 400, 0},
		"a delivery id without end":          {"issue_comment", body, header("X-GitHub-Delivery", strings.Repeat("a", 101)), 400, 0},
		"no JSON":                            {"issue_comment", "{", nil, 400, 0},
		"no JSON in an event nobody acts on": {"watch", "{", nil, 400, 0},
		"no object":                          {"issue_comment", "[]", nil, 400, 0},
		"an empty body":                      {"issue_comment", "", nil, 400, 0},
		"no content type":                    {"issue_comment", body, without("Content-Type"), 400, 0},
		"another content type":               {"issue_comment", body, header("Content-Type", "text/plain"), 400, 0},
		"JSON with a charset":                {"issue_comment", body, header("Content-Type", "application/json; charset=utf-8"), 202, 1},
		"a form with a payload":              {"issue_comment", form, header("Content-Type", "application/x-www-form-urlencoded"), 202, 1},
		"a form without":                     {"issue_comment", "pay=1", header("Content-Type", "application/x-www-form-urlencoded"), 400, 0},
		"another method":                     {"issue_comment", body, func(r *http.Request) { r.Method = http.MethodGet }, 405, 0},
		"a claim of more than 25 MiB":        {"issue_comment", body, func(r *http.Request) { r.ContentLength = MaxPayload + 1 }, 413, 0},
		"more than 25 MiB without a claim": {"issue_comment", body, func(r *http.Request) {
			r.ContentLength, r.Body = -1, io.NopCloser(io.LimitReader(spaces{}, MaxPayload+1))
		}, 413, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rdb := redistest.Client(t)
			w := send(testIntake(rdb), delivery(tt.event, "d-1", tt.body, tt.change))
			if w.Code != tt.status {
				t.Errorf("status = %d (%s), want %d", w.Code, strings.TrimSpace(w.Body.String()), tt.status)
			}
			if n := rdb.XLen(t.Context(), keyIntake).Val(); n != tt.stored {
				t.Errorf("%d entries are stored, want %d", n, tt.stored)
			}
		})
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte(" "), len(p))), nil }

func TestAFormsPayloadIsStoredAsItsJSON(t *testing.T) {
	rdb := redistest.Client(t)
	body := `{"comment":{"body":"a b+c&d=é"}}`
	w := send(testIntake(rdb), delivery("issue_comment", "d-1", "payload="+url.QueryEscape(body), func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}))
	if stored := rdb.Get(t.Context(), keyDelivery("d-1")).Val(); w.Code != 202 || stored != body {
		t.Errorf("%d, stored %q", w.Code, stored)
	}
}

func TestADeliveryPostedFiftyTimesToTwoReplicasIsStoredOnce(t *testing.T) {
	rdb := redistest.Client(t)
	replicas := []*intake{testIntake(rdb), testIntake(rdb)}
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			if w := send(replicas[i%2], delivery("issue_comment", "d-1", `{}`, nil)); w.Code != 202 {
				t.Errorf("status = %d", w.Code)
			}
		})
	}
	group.Wait()
	if n := rdb.XLen(t.Context(), keyIntake).Val(); n != 1 {
		t.Errorf("%d entries are stored", n)
	}
}

func TestManyDeliveriesAtOnceAreAllStoredWhole(t *testing.T) {
	rdb := redistest.Client(t)
	in := testIntake(rdb)
	var group sync.WaitGroup
	const workers, each = 32, 20
	for w := range workers {
		group.Go(func() {
			for i := range each {
				id := fmt.Sprintf("d-%d-%d", w, i)
				body := fmt.Sprintf(`{"id":%q,"pad":%q}`, id, strings.Repeat("x", 100*w))
				if r := send(in, delivery("issue_comment", id, body, nil)); r.Code != 202 {
					t.Errorf("status = %d", r.Code)
				}
			}
		})
	}
	group.Wait()
	entries := rdb.XRange(t.Context(), keyIntake, "-", "+").Val()
	if len(entries) != workers*each {
		t.Fatalf("%d entries are stored, want %d", len(entries), workers*each)
	}
	for _, e := range entries {
		id := e.Values[fieldDelivery].(string)
		if body := rdb.Get(t.Context(), keyDelivery(id)).Val(); !strings.HasPrefix(body, fmt.Sprintf(`{"id":%q,`, id)) || !validObject([]byte(body)) {
			t.Fatalf("delivery %s holds another's body", id)
		}
	}
}

func TestWithRedisStoppedDeliveriesFailAndLaterSucceed(t *testing.T) {
	server := redistest.Start(t)
	in := testIntake(server.Client(t))
	if w := send(in, delivery("issue_comment", "d-1", `{}`, nil)); w.Code != 202 {
		t.Fatalf("status = %d", w.Code)
	}
	server.Stop(t)
	for _, event := range []string{"issue_comment", "watch"} { // the first finds out, the second is told
		w := send(in, delivery(event, "d-2", `{}`, nil))
		if w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: status = %d, Retry-After %q", event, w.Code, w.Header().Get("Retry-After"))
		}
	}
	server.Restart(t)
	if w := send(in, delivery("issue_comment", "d-2", `{}`, nil)); w.Code != 202 {
		t.Errorf("status = %d after Redis came back", w.Code)
	}
	if w := send(in, delivery("watch", "d-3", `{}`, nil)); w.Code != 202 {
		t.Errorf("status = %d after Redis came back", w.Code)
	}
	if n := in.mailbox.rdb.XLen(t.Context(), keyIntake).Val(); n != 2 {
		t.Errorf("%d entries are stored, want 2", n)
	}
}

func TestAHungRedisIsGivenUpInTime(t *testing.T) {
	server := redistest.Start(t)
	// The client itself gives up after ages; it ends with a call's context, as
	// Berth's own does.
	const never = 10 * time.Minute
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr, ReadTimeout: never, ContextTimeoutEnabled: true, MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	in := testIntake(rdb)
	if w := send(in, delivery("issue_comment", "d-1", `{}`, nil)); w.Code != 202 {
		t.Fatalf("status = %d", w.Code)
	}
	server.Pause(t)
	start := time.Now()
	w := send(in, delivery("issue_comment", "d-2", `{}`, nil))
	server.Resume(t)
	if took := time.Since(start); w.Code != 503 || storeTimeout > 5*time.Second || took > never/2 {
		t.Errorf("status = %d after %v", w.Code, took)
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
