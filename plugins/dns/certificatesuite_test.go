package dns

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/berth-dev/berth/plugins/clustertest"
	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

// TestConformanceWithCertificates runs the suite that every executor passes on a
// part whose certificate is the environment's alone, so that each deploy orders
// one, and cuts the executor off from the cluster, the name server and the
// authority at calls of all three.
func TestConformanceWithCertificates(t *testing.T) {
	t.Parallel()
	const id, mac = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	w := newTLSWorld(t, authorityOptions{eab: map[string]string{id: mac}})
	w.plain(w.home, "eab", map[string]string{"mac": mac})
	w.acme("eab", map[string]any{"key_id": id, "mac_key": map[string]any{"kubernetes": map[string]any{"namespace": w.home, "name": "eab", "key": "mac"}}})
	w.acme("limits", map[string]any{"orders": 0, "domain": 0, "same": 0})
	step := w.tls(sdk.Deploy, "pr-1", own())
	step.ID, step.Verb = "", ""
	w.namespace("shop-pr-1")
	with := func(certificate map[string]any) map[string]any {
		return map[string]any{"zone": w.server.Zone(), "name": "pr-1.shop", "cname": "ingress.example.org", "certificate": certificate}
	}
	acme := func(section any) map[string]any {
		return map[string]any{"zones": w.settings["zones"], "acme": section}
	}
	sdktest.Run(t, sdktest.Suite{
		New:     func() sdk.Executor { return New(Options{}) },
		Step:    step,
		Secrets: []string{w.server.Secret, mac},
		Invalid: map[string]map[string]any{
			"no Secret":         with(map[string]any{}),
			"an unknown key":    with(map[string]any{"secret": "a", "wildcards": "app"}),
			"a name elsewhere":  with(map[string]any{"secret": "a", "names": []any{"x.example.com."}}),
			"two issuers":       with(map[string]any{"secret": "a", "cert_manager": map[string]any{"issuer": "a", "cluster_issuer": "b"}}),
			"a wrong namespace": with(map[string]any{"secret": "a", "namespace": "A/B"}),
		},
		InvalidSettings: map[string]map[string]any{
			"a key that is written out": acme(map[string]any{"eab": map[string]any{"key_id": id, "mac_key": mac}}),
			"a directory without TLS":   acme(map[string]any{"directory": "http://ca.example"}),
			"an unknown key":            acme(map[string]any{"server": "x"}),
		},
		Snapshot: func(*testing.T) string { return w.state(step.Namespace) },
		Owned:    func(*testing.T) []string { return w.owned(step.Namespace) },
		Interrupted: func(t *testing.T, n int) sdk.Executor {
			return w.mortal(t, n)
		},
		InterruptEvery: 5, // of some fifty calls, each of which has been tried
	})
}

// owned is all that bears an environment's marks, wherever it is.
func (w *tlsWorld) owned(namespace string) []string {
	w.t.Helper()
	var out []string
	for _, line := range w.zone() {
		if !strings.Contains(line, "ns1") {
			out = append(out, line)
		}
	}
	for _, space := range []string{namespace, w.home} {
		for _, s := range w.secrets(space) {
			if s.Labels["berth.dev/environment"] != "" {
				out = append(out, "Secret "+s.Name)
			}
		}
		leases, err := w.client.CoordinationV1().Leases(space).List(w.t.Context(), metav1.ListOptions{})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, l := range leases.Items {
			out = append(out, "Lease "+l.Name)
		}
	}
	return out
}

// mortal makes an executor that is cut off at its n-th call of the cluster, the
// name server or the authority, whichever it is.
func (w *tlsWorld) mortal(t *testing.T, n int) sdk.Executor {
	t.Helper()
	cut := sdktest.NewCut(n)
	x := New(Options{})
	x.net = cutNetwork{sockets{}, cut}
	return cut.Executor(&mortalExecutor{Executor: x, w: w, cut: cut, kubeconfig: w.cutCluster(t, cut)})
}

type mortalExecutor struct {
	*Executor
	w          *tlsWorld
	cut        *sdktest.Cut
	kubeconfig string
}

func (m *mortalExecutor) Run(ctx context.Context, step sdk.Step, out sdk.Events) error {
	step.Cluster.Kubeconfig = m.kubeconfig
	m.w.ca.intercept(func(answer http.ResponseWriter, r *http.Request) bool {
		heard := httptest.NewRecorder()
		if m.cut.Call(func() error { m.w.ca.serve(heard, r); return nil }) != nil {
			panic(http.ErrAbortHandler)
		}
		for key, values := range heard.Header() {
			answer.Header()[key] = values
		}
		answer.WriteHeader(heard.Code)
		_, _ = answer.Write(heard.Body.Bytes())
		return true
	})
	defer m.w.ca.intercept(nil)
	return m.Executor.Run(ctx, step, out)
}

// cutNetwork counts messages to name servers as calls.
type cutNetwork struct {
	network
	cut *sdktest.Cut
}

func (c cutNetwork) exchange(ctx context.Context, address string, m *dns.Msg, key *tsigKey) (answer *dns.Msg, err error) {
	err = c.cut.Call(func() error {
		answer, err = c.network.exchange(ctx, address, m, key)
		return err
	})
	return answer, err
}

// cutCluster is a kubeconfig of a way to the API server that is cut.
func (w *tlsWorld) cutCluster(t *testing.T, cut *sdktest.Cut) string {
	t.Helper()
	transport, target := clustertest.API(t)
	proxy := &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:    cut.Transport(transport),
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	made := clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"cut": {Server: server.URL}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"cut": {}},
		Contexts:       map[string]*clientcmdapi.Context{"cut": {Cluster: "cut", AuthInfo: "cut"}},
		CurrentContext: "cut",
	}
	if err := clientcmd.WriteToFile(made, file); err != nil {
		t.Fatal(fmt.Errorf("write a kubeconfig: %w", err))
	}
	return file
}
