package kube

import (
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestInventoryReadsEveryPage(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	cs := client(t)
	for _, name := range []string{"a", "b", "c"} {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"paged": ns}}}
		if _, err := cs.CoreV1().Secrets(ns).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		breaks func(*http.Request) bool
		want   int
	}{
		"all pages":               {func(*http.Request) bool { return false }, 3},
		"a later one is not told": {func(r *http.Request) bool { return r.URL.Query().Get("continue") != "" }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := open(t, brokenCluster(t, tt.breaks))
			found, err := c.listMeta(t.Context(), schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, "", "paged="+ns, 2)
			if len(found) != tt.want || (err == nil) != (tt.want > 0) {
				t.Errorf("got %d, %v", len(found), err)
			}
		})
	}
}
