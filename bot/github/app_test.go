package github

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions/redistest"
)

// appOf is the client of a GitHub App at an API that answers with h.
func appOf(t *testing.T, h http.Handler) *client {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(h)
	t.Cleanup(api.Close)
	s, err := New(Options{
		App:    &AppCredentials{ID: 7, Key: pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})},
		APIURL: api.URL, Redis: redistest.Client(t), Catalog: catalog{}, DataDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.client
}

func grant(w http.ResponseWriter, token string) {
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"token": %q, "expires_at": %q}`, token, time.Now().Add(time.Hour).Format(time.RFC3339))
}

func TestAnAppThatIsInstalledAnewIsFoundAgain(t *testing.T) {
	t.Parallel()
	var looked atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /repos/acme/shop/installation", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"id": %d}`, looked.Add(1))
	})
	mux.HandleFunc("POST /app/installations/2/access_tokens", func(w http.ResponseWriter, _ *http.Request) { grant(w, "two") })
	mux.HandleFunc("GET /repos/acme/shop", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"full_name": %q}`, r.Header.Get("Authorization"))
	})
	c := appOf(t, mux)
	if _, err := c.repository(t.Context(), bothRepo); statusOf(err) != http.StatusNotFound {
		t.Errorf("an installation that is no more: %v", err)
	}
	for range 2 {
		if r, err := c.repository(t.Context(), bothRepo); err != nil || r.GetFullName() != "token two" {
			t.Errorf("installed anew: %q, %v", r.GetFullName(), err)
		}
	}
	if looked.Load() != 2 {
		t.Errorf("the installation was looked up %d times", looked.Load())
	}
}

func TestATokenThatIsHeldBackIsAPause(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /repos/acme/shop/installation", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"id": 1}`) })
	mux.HandleFunc("POST /app/installations/1/access_tokens", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "40")
		w.WriteHeader(http.StatusForbidden)
	})
	c := appOf(t, mux)
	_, err := c.repository(t.Context(), bothRepo)
	if limited, ok := errors.AsType[*limitedError](err); !ok || limited.after != 40*time.Second {
		t.Errorf("repository = %v", err)
	}
}

func TestInstallationsWorkSideBySide(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /repos/acme/{repo}/installation", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"id": %s}`, r.PathValue("repo"))
	})
	mux.HandleFunc("POST /app/installations/{id}/access_tokens", func(w http.ResponseWriter, r *http.Request) { grant(w, r.PathValue("id")) })
	mux.HandleFunc("GET /repos/acme/{repo}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"full_name": %q}`, r.Header.Get("Authorization"))
	})
	c := appOf(t, mux)
	var group sync.WaitGroup
	for i := range 16 {
		id := fmt.Sprint(1 + i%4)
		group.Go(func() {
			if r, err := c.repository(t.Context(), "acme/"+id); err != nil || r.GetFullName() != "token "+id {
				t.Errorf("installation %s: %q, %v", id, r.GetFullName(), err)
			}
		})
	}
	group.Wait()
}
