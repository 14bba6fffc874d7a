package kube

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestReplicasThatAnAutoscalerDecides(t *testing.T) {
	t.Parallel()
	scaler := func(kind string, spec map[string]any) map[string]any {
		spec["scaleTargetRef"] = map[string]any{"kind": "Deployment", "name": "web"}
		return map[string]any{"apiVersion": "x/v1", "kind": kind, "metadata": map[string]any{"name": "web"}, "spec": spec}
	}
	web := func(replicas int64) map[string]any {
		return map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "web"}, "spec": map[string]any{"replicas": replicas}}
	}
	for name, c := range map[string]struct {
		by   map[string]any
		live int64
		want int
	}{
		"its own number is no drift":                  {scaler("HorizontalPodAutoscaler", map[string]any{"minReplicas": int64(2)}), 5, 0},
		"none of them is somebody's doing":            {scaler("HorizontalPodAutoscaler", map[string]any{"minReplicas": int64(2)}), 0, 1},
		"so it is where it says no least number":      {scaler("HorizontalPodAutoscaler", map[string]any{}), 0, 1},
		"one that may scale to none decides that too": {scaler("HorizontalPodAutoscaler", map[string]any{"minReplicas": int64(0)}), 0, 0},
		"KEDA scales to none by itself":               {scaler("ScaledObject", map[string]any{}), 0, 0},
		"and to many":                                 {scaler("ScaledObject", map[string]any{}), 7, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &Sight{Objects: []Seen{
				{Want: ObjectOf(c.by), Live: &unstructured.Unstructured{Object: c.by}},
				{Want: ObjectOf(web(3)), Live: &unstructured.Unstructured{Object: web(c.live)}},
			}}
			if got := f.Drift(NewMasker(nil, nil, nil)); len(got) != c.want {
				t.Errorf("drift %q", got)
			}
		})
	}
}
