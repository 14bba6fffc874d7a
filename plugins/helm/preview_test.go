package helm

import (
	"os"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const previewChart = "../../charts/preview"

// everything turns every feature of the preview chart on.
func everything() map[string]any {
	return map[string]any{
		"replicaCount":     2,
		"image":            map[string]any{"repository": "ghcr.io/acme/shop", "digest": "sha256:" + strings.Repeat("ab", 32)},
		"imagePullSecrets": []any{"registry"},
		"env":              map[string]any{"A": "1", "B": true, "C": 3},
		"extraEnv":         []any{map[string]any{"name": "D", "valueFrom": map[string]any{"fieldRef": map[string]any{"fieldPath": "metadata.name"}}}},
		"envFrom":          []any{map[string]any{"configMapRef": map[string]any{"name": "x", "optional": true}}},
		"command":          []any{"/app"}, "args": []any{"serve"},
		"ingress":        map[string]any{"enabled": true, "host": "a.example.org", "className": "nginx", "annotations": map[string]any{"a": "b"}, "tls": map[string]any{"enabled": true, "secretName": "t"}},
		"readinessProbe": map[string]any{"httpGet": map[string]any{"path": "/", "port": "http"}},
		"livenessProbe":  map[string]any{"tcpSocket": map[string]any{"port": "http"}},
		"startupProbe":   map[string]any{"tcpSocket": map[string]any{"port": "http"}},
		"serviceAccount": map[string]any{"create": true, "name": "shop", "annotations": map[string]any{"a": "b"}},
		"persistence":    map[string]any{"enabled": true, "size": "2Gi", "storageClass": "standard"},
		"podAnnotations": map[string]any{"a": "b"}, "podLabels": map[string]any{"c": "d"},
		"tolerations": []any{map[string]any{"operator": "Exists"}},
		"affinity":    map[string]any{"nodeAffinity": map[string]any{}},
	}
}

func TestThePreviewChartLints(t *testing.T) {
	t.Parallel()
	for name, values := range map[string]map[string]any{"with its defaults": {}, "with everything": everything()} {
		result := lint.All(previewChart, values, "test", true)
		for _, m := range result.Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %v", name, m)
			}
		}
	}
}

func TestThePreviewChartPassesTheRestrictedStandard(t *testing.T) {
	t.Parallel()
	step := preview(t)
	makeNamespace(t, step.Namespace, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	run(t, New(Options{}), step)
}

func TestThePreviewChartWithEverything(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := preview(t, with("values", everything()))
	run(t, x, step)
	if o := observe(t, x, step); o.Health != "healthy" || len(o.Drift) > 0 {
		t.Errorf("it is %+v", o)
	}
	d, err := client(t).AppsV1().Deployments(step.Namespace).Get(t.Context(), "shop-pr-42-web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if image := d.Spec.Template.Spec.Containers[0].Image; !strings.HasPrefix(image, "ghcr.io/acme/shop@sha256:abab") {
		t.Errorf("the image is %s", image)
	}
}

func TestThePreviewChartsReadmeNamesItsValues(t *testing.T) {
	t.Parallel()
	src, err := fromFolder(previewChart)
	if err != nil {
		t.Fatal(err)
	}
	ch, err := src.chart()
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(previewChart + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range ch.Values {
		if !strings.Contains(string(readme), "`"+name) {
			t.Errorf("the README does not name %s", name)
		}
	}
}
