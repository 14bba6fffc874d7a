package dns

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

// authority is Pebble, Let's Encrypt's own ACME server for tests, in strict
// mode, on loopback. It looks names up at one DNS server and refuses one good
// nonce in five.
type authority struct {
	url, caFile string
	roots       *x509.CertPool

	mu     sync.Mutex
	counts map[string]int
	// before sees each request first, and answers it itself when it returns true.
	before  func(w http.ResponseWriter, r *http.Request) bool
	handler http.Handler // Pebble
}

// Profiles of the authority, and how long their certificates last.
const (
	profile90Days  = "ninety"
	profile200Days = "twohundred"
	day            = 24 * 3600 // seconds
)

type authorityOptions struct {
	eab       map[string]string // keys by their ids; nil takes anybody
	blocklist []string          // names that it gives nothing for
	wait      int               // seconds that it asks to wait between looks; 0 does not say
}

// pebbleEnv makes Pebble quick, as strict as it can be, and never forgetful of
// what it wants proved. Pebble reads its environment as it is made.
var pebbleEnv = sync.OnceFunc(func() {
	for name, value := range map[string]string{"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "20", "PEBBLE_AUTHZREUSE": "0"} {
		_ = os.Setenv(name, value)
	}
})

// Where Pebble has what the tests count. Source: its package wfe.
const (
	pathNewOrder  = "/order-plz"
	pathFinalize  = "/finalize-order/"
	pathDirectory = "/dir"
	pathARI       = "/draft-ietf-acme-ari-03/renewalInfo/"
)

func startAuthority(t *testing.T, resolver string, o authorityOptions) *authority {
	t.Helper()
	pebbleEnv()
	quiet := log.New(io.Discard, "", 0)
	memory := db.NewMemoryStore()
	for id, key := range o.eab {
		if err := memory.AddExternalAccountKeyByID(id, key); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range o.blocklist {
		if err := memory.AddBlockedDomain(name); err != nil {
			t.Fatal(err)
		}
	}
	issuer := ca.New(quiet, memory, "", "ecdsa", 0, 2, map[string]ca.Profile{
		profile90Days:  {Description: "ninety days", ValidityPeriod: 90 * day},
		profile200Days: {Description: "two hundred days", ValidityPeriod: 200 * day},
	})
	front := wfe.New(quiet, memory, va.New(quiet, 0, 0, true, resolver, memory), issuer, []string{"pebble.letsencrypt.org"}, true, len(o.eab) > 0, o.wait, o.wait)
	a := &authority{counts: map[string]int{}, roots: x509.NewCertPool()}
	a.handler = front.Handler()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		before := a.before
		a.mu.Unlock()
		if before != nil && before(w, r) {
			return
		}
		a.serve(w, r)
	}))
	t.Cleanup(server.Close)
	server.Config.ErrorLog = quiet
	a.url = server.URL + pathDirectory
	a.caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(a.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	root := httptest.NewRecorder()
	front.ManagementHandler().ServeHTTP(root, httptest.NewRequest(http.MethodGet, wfe.RootCertPath+"0", nil))
	if !a.roots.AppendCertsFromPEM(root.Body.Bytes()) {
		t.Fatal("the authority has no root")
	}
	return a
}

// serve has Pebble answer.
func (a *authority) serve(w http.ResponseWriter, r *http.Request) {
	seen := &statusWriter{ResponseWriter: w}
	a.handler.ServeHTTP(seen, r)
	if seen.status < 300 {
		a.mu.Lock()
		a.counts[pathOf(r)]++
		a.mu.Unlock()
	}
}

// pathOf is a request's path without what follows the last slash of a resource.
func pathOf(r *http.Request) string {
	for _, prefix := range []string{pathFinalize, pathARI} {
		if strings.HasPrefix(r.URL.Path, prefix) {
			return prefix
		}
	}
	return r.URL.Path
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// count is how many requests to a path succeeded.
func (a *authority) count(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts[path]
}

// intercept has f see each request first; nil stops that.
func (a *authority) intercept(f func(w http.ResponseWriter, r *http.Request) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.before = f
}
