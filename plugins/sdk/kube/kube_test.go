package kube

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/plugins/clustertest"
	"github.com/berth-dev/berth/plugins/sdk"
)

func TestMain(m *testing.M) { os.Exit(clustertest.Main(m)) }

// open is a way into a cluster; without a kubeconfig of its own the tests'.
func open(t testing.TB, at sdk.Cluster) *Cluster {
	t.Helper()
	if at.Kubeconfig == "" && at.EKS == nil {
		at.Kubeconfig = clustertest.Kubeconfig(t)
	}
	c, err := NewClusters("berth-kube-test").Open(at)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// client is a client of the test cluster.
func client(t testing.TB) kubernetes.Interface { return open(t, sdk.Cluster{}).Clientset() }

// namespace makes a namespace of the test's own, which is deleted with it.
func namespace(t testing.TB) string {
	t.Helper()
	made, err := client(t).CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "kube-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client(t).CoreV1().Namespaces().Delete(context.Background(), made.Name, metav1.DeleteOptions{})
	})
	return made.Name
}

// parse reads one object.
func parse(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	var content map[string]any
	if err := yaml.Unmarshal([]byte(text), &content); err != nil {
		t.Fatal(err)
	}
	content, _ = CopyValue(content).(map[string]any)
	return ObjectOf(content)
}

// parseManifest reads several.
func parseManifest(manifest string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for _, doc := range strings.Split(manifest, "---\n") {
		var content map[string]any
		if err := yaml.Unmarshal([]byte(doc), &content); err != nil {
			return nil, err
		}
		content, _ = CopyValue(content).(map[string]any)
		out = append(out, Flatten(content)...)
	}
	return out, nil
}

// brokenCluster is the tests' cluster behind a proxy that fails some requests.
func brokenCluster(t *testing.T, breaks func(*http.Request) bool) sdk.Cluster {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", clustertest.Kubeconfig(t))
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
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(host) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if breaks(r) {
			http.Error(w, "broken on purpose", http.StatusInternalServerError)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: server.URL}
	c.AuthInfos["c"] = clientcmdapi.NewAuthInfo()
	c.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "c"}
	c.CurrentContext = "c"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		t.Fatal(err)
	}
	return sdk.Cluster{Kubeconfig: path}
}

// recorder keeps what a run tells.
type recorder struct {
	mu       sync.Mutex
	logs     []string
	progress []string
	outputs  map[string]string
	receipts []sdk.Resource
	on       func(text string) // told of each progress
}

func newRecorder() *recorder { return &recorder{outputs: map[string]string{}} }

func (r *recorder) Log(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs = append(r.logs, line)
}

func (r *recorder) Progress(text string, _, _ int) {
	r.mu.Lock()
	r.progress = append(r.progress, text)
	on := r.on
	r.mu.Unlock()
	if on != nil {
		on(text)
	}
}

func (r *recorder) Output(key, value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outputs[key] = value
}

func (r *recorder) Receipt(of sdk.Resource) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.receipts = append(r.receipts, of)
}

func (r *recorder) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(append(append([]string{}, r.logs...), r.progress...), "\n")
}

// eventually waits for what the cluster does by itself.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}
