package helm

import (
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/plugins/sdk"
)

func observe(t *testing.T, x *Executor, step sdk.Step) sdk.Observation {
	t.Helper()
	o, err := x.Observe(t.Context(), step)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestObserve(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := preview(t, with("values", map[string]any{
		"ingress":      map[string]any{"enabled": true, "host": "pr-42.shop.example.org", "tls": map[string]any{"enabled": true}},
		"resources":    map[string]any{"requests": map[string]any{"cpu": "0.5", "memory": "65536Ki"}},
		"service":      map[string]any{"annotations": map[string]any{"berth.dev/url": "https://docs.example.org/pr-42"}},
		"replicaCount": 2,
	}))
	if o := observe(t, x, step); o.Health != sdk.Absent {
		t.Errorf("before the first deploy: %+v", o)
	}
	out := run(t, x, step)
	o := observe(t, x, step)
	want := []sdk.Link{{Name: "shop-pr-42-web", URL: "https://docs.example.org/pr-42"}, {Name: "shop-pr-42-web", URL: "https://pr-42.shop.example.org"}}
	if o.Health != sdk.Healthy || len(o.Drift) > 0 || !reflect.DeepEqual(o.Links, want) {
		t.Errorf("after the deploy: %+v", o)
	}
	if out.Outputs["url"] != want[0].URL {
		t.Errorf("the url is %q", out.Outputs["url"])
	}

	cs := client(t)
	patch := []byte(`{"spec":{"replicas":3,"template":{"spec":{"containers":[{"name":"app","image":"other:1"}]}}}}`)
	if _, err := cs.AppsV1().Deployments(step.Namespace).Patch(t.Context(), "shop-pr-42-web", types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := cs.CoreV1().Services(step.Namespace).Delete(t.Context(), "shop-pr-42-web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	o = observe(t, x, step)
	drift := strings.Join(o.Drift, "\n")
	if o.Health == sdk.Healthy || !strings.Contains(o.Text, "Service shop-pr-42-web: is missing") {
		t.Errorf("without its Service: %+v", o)
	}
	for _, s := range []string{"Service shop-pr-42-web is missing", "spec.replicas", "containers[app].image"} {
		if !strings.Contains(drift, s) {
			t.Errorf("the drift lacks %q:\n%s", s, drift)
		}
	}
}

func TestObserveSaysWhyNot(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := preview(t, with("wait", false), with("values", map[string]any{"image": map[string]any{"repository": "registry.invalid/a", "tag": "b"}}))
	run(t, x, step)
	eventually(t, "the observation names the image", func() bool {
		o := observe(t, x, step)
		return o.Health == sdk.Unhealthy && strings.Contains(o.Text, `the image "registry.invalid/a:b" cannot be pulled`)
	})
}
