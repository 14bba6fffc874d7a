package clustertest

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Broken is the tests' cluster behind a proxy that fails the requests that breaks
// picks, with 500. It returns the path of a kubeconfig for it.
func Broken(t testing.TB, breaks func(*http.Request) bool) string {
	t.Helper()
	return Proxied(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if breaks(r) {
				http.Error(w, "broken on purpose", http.StatusInternalServerError)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
}

// Proxied is the tests' cluster behind a server that around makes of the one that
// passes everything on. It returns the path of a kubeconfig for it.
func Proxied(t testing.TB, around func(next http.Handler) http.Handler) string {
	t.Helper()
	transport, host := API(t)
	server := httptest.NewServer(around(&httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(host) }}))
	t.Cleanup(server.Close)
	return KubeconfigFor(t, server.URL)
}

// API is the way to the API server of the tests' cluster, with an administrator's
// credentials, and its address.
func API(t testing.TB) (http.RoundTripper, *url.URL) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", Kubeconfig(t))
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	host, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	return transport, host
}

// KubeconfigFor writes a kubeconfig for a server that asks for no credentials, and
// returns its path.
func KubeconfigFor(t testing.TB, server string) string {
	t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: server}
	c.AuthInfos["c"] = clientcmdapi.NewAuthInfo()
	c.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "c"}
	c.CurrentContext = "c"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		t.Fatal(err)
	}
	return path
}
