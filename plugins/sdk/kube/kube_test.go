package kube

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
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
	return sdk.Cluster{Kubeconfig: clustertest.Broken(t, breaks)}
}

// eventually waits for what the cluster does by itself.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
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
