package kubernetes

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/berth-dev/berth/plugins/sdk"
)

// between is a proxy before the test cluster that counts what an executor asks,
// and can die in the middle of it.
type between struct {
	cluster sdk.Cluster

	mu     sync.Mutex
	asked  []string
	dies   int  // at the request of that number; 0 lives
	after  bool // it dies with the answer, so that the request was carried out
	killed func()
}

func newBetween(t testing.TB) *between {
	t.Helper()
	c := admin(t)
	to, err := url.Parse(c.Host)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(c)
	if err != nil {
		t.Fatal(err)
	}
	b := &between{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Header.Set("Accept-Encoding", "identity")
		},
		Transport: transport, FlushInterval: -1,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ModifyResponse: func(r *http.Response) error { return b.answer(r.Request) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !b.alive(r) {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "x", "clusters": [{"name": "x", "cluster": {"server": %q}}],
		"contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}], "users": [{"name": "x", "user": {}}]}`, server.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.cluster = sdk.Cluster{Kubeconfig: file}
	return b
}

// alive counts a request and tells whether it is let through.
func (b *between) alive(r *http.Request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, r.Method+" "+r.URL.Path)
	if b.dies == 0 || len(b.asked) < b.dies || b.after && len(b.asked) == b.dies {
		return true
	}
	if b.killed != nil {
		b.killed()
	}
	return false
}

// answer is asked before each answer; an error takes it away.
func (b *between) answer(*http.Request) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dies != 0 && b.after && len(b.asked) >= b.dies {
		if b.killed != nil {
			b.killed()
		}
		return http.ErrAbortHandler
	}
	return nil
}

// take is what has been asked since the last time.
func (b *between) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.asked
	b.asked = nil
	return out
}

func writes(asked []string) int {
	n := 0
	for _, a := range asked {
		if !strings.HasPrefix(a, "GET ") {
			n++
		}
	}
	return n
}
