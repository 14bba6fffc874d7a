package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot/api"
	"github.com/berth-dev/berth/bot/bottest"
)

func TestACallThatTheEndOfTheServerCutsShortIsToBeSentAgain(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	a, err := api.New(api.Options{Service: w.Service, Tokens: []api.Token{{Actor: "ci", SHA256: hashed("ci-token"), Roles: []string{"deployer"}}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	for _, key := range []string{"", "key"} {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/api/v1/requests", strings.NewReader(`{"command":"deploy shop/pr-42"}`))
		r.Header.Set("Authorization", "Bearer ci-token")
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", key)
		rec := httptest.NewRecorder()
		a.ServeHTTP(rec, r)
		if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" || rec.Header().Get("Content-Type") != api.ProblemType {
			t.Errorf("with the key %q: %d, %v, %s", key, rec.Code, rec.Header(), rec.Body)
		}
	}
}
