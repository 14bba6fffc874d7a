package apiclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot/api"
	"github.com/berth-dev/berth/bot/apiclient"
)

// serve is a client of a server that answers as the test says.
func serve(t *testing.T, answer http.HandlerFunc) *apiclient.Client {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	c, err := apiclient.New(apiclient.Options{Server: s.URL, Token: "t0ken", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func problem(w http.ResponseWriter, status int, code actions.Code, detail string) {
	w.Header().Set("Content-Type", api.ProblemType)
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"status":%d,"code":%q,"detail":%q}`, status, code, detail)
}

func TestErrorsKeepTheirCode(t *testing.T) {
	for name, c := range map[string]struct {
		answer      http.HandlerFunc
		code        actions.Code
		unreachable bool
	}{
		"a refusal": {func(w http.ResponseWriter, _ *http.Request) {
			problem(w, 403, actions.CodeForbidden, "No.")
		}, actions.CodeForbidden, false},
		"Redis away": {func(w http.ResponseWriter, _ *http.Request) {
			problem(w, 503, actions.CodeUnavailable, "Later.")
		}, actions.CodeUnavailable, false},
		"a proxy without a server": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<html>Bad Gateway</html>", http.StatusBadGateway)
		}, actions.CodeUnavailable, true},
		"some other server": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "<html>Welcome to nginx!</html>")
		}, actions.CodeUnavailable, true},
		"some other server's 404": {http.NotFound, actions.CodeUnavailable, true},
		"a connection that is cut": {func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}, actions.CodeUnavailable, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := serve(t, c.answer).Apps(context.Background())
			_, unreachable := errors.AsType[*apiclient.Unreachable](err)
			if actions.CodeOf(err) != c.code || unreachable != c.unreachable {
				t.Errorf("want %s (unreachable: %v), got %v", c.code, c.unreachable, err)
			}
		})
	}
}

func TestWhatMayBeRepeatedIs(t *testing.T) {
	var keys []string
	var mu sync.Mutex
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		switch len(keys) {
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			w.Header().Set("Retry-After", "0")
			problem(w, 503, actions.CodeUnavailable, "Later.")
		default:
			w.WriteHeader(202)
			_, _ = io.WriteString(w, `{"id":"x"}`) // the test fails below if it does not arrive
		}
	})
	r, err := c.Submit(context.Background(), "deploy shop/pr-1", "key-1")
	seen := func() []string {
		mu.Lock()
		defer mu.Unlock()
		was := keys
		keys = nil
		return was
	}
	if keys := seen(); err != nil || r.ID != "x" || !slices.Equal(keys, []string{"key-1", "key-1", "key-1"}) {
		t.Errorf("%v, %v, keys %v", r, err, keys)
	}
	_, err = c.Cancel(context.Background(), "x", "")
	if keys := seen(); err == nil || len(keys) != 1 {
		t.Errorf("what has no key was sent %d times: %v", len(keys), err)
	}
}

// TestWatchGoesOnWhereItBroke cuts the stream after every event.
func TestWatchGoesOnWhereItBroke(t *testing.T) {
	const events = 5
	var calls atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.Header.Get("Authorization") != "Bearer t0ken" {
			problem(w, 401, actions.CodeUnauthenticated, "Who?")
			return
		}
		var after int
		_, _ = fmt.Sscanf(r.Header.Get("Last-Event-ID"), "%d-0", &after) // none is 0
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, ": hello\r\n\r\nretry: 10\n\n")
		if after == events {
			fmt.Fprint(w, "event: end\ndata: {\"state\":\"succeeded\"}\n\n")
			return
		}
		fmt.Fprintf(w, "id: %[1]d-0\nevent: log\ndata: {\"id\":\"%[1]d-0\",\"kind\":\"log\",\ndata: \"text\":\"line %[1]d\"}\n\n", after+1)
		fmt.Fprintf(w, "id: %d-0\nevent: log\ndata: {\"text\":\"half an ev", after+2)
		w.(http.Flusher).Flush()
		if after%2 == 0 {
			panic(http.ErrAbortHandler)
		}
	})
	var got []string
	run, err := c.Watch(context.Background(), "x", func(e actions.Event) error {
		got = append(got, e.Text)
		return nil
	})
	if err != nil || run.State != "succeeded" {
		t.Fatalf("%v, %v", run, err)
	}
	if want := []string{"line 1", "line 2", "line 3", "line 4", "line 5"}; !slices.Equal(got, want) {
		t.Errorf("got %q in %d calls", got, calls.Load())
	}
}

func TestWatchEnds(t *testing.T) {
	t.Run("when there is no such run", func(t *testing.T) {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) { problem(w, 404, actions.CodeNotFound, "No run.") })
		if _, err := c.Watch(context.Background(), "x", nil); actions.CodeOf(err) != actions.CodeNotFound {
			t.Error(err)
		}
	})
	t.Run("when the watcher has enough", func(t *testing.T) {
		enough := errors.New("enough")
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "event: log\ndata: {}\n\n") })
		if _, err := c.Watch(context.Background(), "x", func(actions.Event) error { return enough }); !errors.Is(err, enough) {
			t.Error(err)
		}
	})
	t.Run("when its context does", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "event: log\ndata: {}\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
		_, err := c.Watch(ctx, "x", func(actions.Event) error { cancel(); return nil })
		if actions.CodeOf(err) != actions.CodeCancelled {
			t.Error(err)
		}
	})
}

func TestAuditThatBreaksOffIsAnError(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"seq":1}`+"\n"+`{"seq":`)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	count := 0
	err := c.AuditAll(context.Background(), apiclient.AuditFilter{}, func(actions.Record) error { count++; return nil })
	if actions.CodeOf(err) != actions.CodeUnavailable || count != 1 {
		t.Errorf("%d records, %v", count, err)
	}
}

func TestAnAuditOfWhichOneRecordCannotBeReadEndsWithItsName(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"seq":1}`+"\n"+`{"seq":3}`+"\n"+`{"type":"about:blank","status":500,"code":"internal","detail":"Record 2 cannot be read."}`+"\n")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	var out strings.Builder
	err := c.AuditLines(context.Background(), apiclient.AuditFilter{}, &out)
	if actions.CodeOf(err) != actions.CodeInternal || actions.Message(err) != "Record 2 cannot be read." || out.String() != "{\"seq\":1}\n{\"seq\":3}\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestAddressesThatAreNone(t *testing.T) {
	for _, server := range []string{"", "berth.example.org", "ftp://x", "http://", "https://user:pw@x", "http://x?y", "http://x#y"} {
		if _, err := apiclient.New(apiclient.Options{Server: server}); actions.CodeOf(err) != actions.CodeInvalid {
			t.Errorf("%q: %v", server, err)
		}
	}
	if _, err := apiclient.New(apiclient.Options{Server: "http://x", Token: "a\r\nb"}); actions.CodeOf(err) != actions.CodeInvalid || strings.Contains(err.Error(), "b\"") {
		t.Errorf("a token with a line break: %v", err)
	}
}
