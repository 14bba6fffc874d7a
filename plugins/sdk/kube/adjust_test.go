package kube

import (
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestFieldsThatComeBack(t *testing.T) {
	for name, tt := range map[string]struct {
		live string
		want map[string]any
	}{
		"replicas":                     {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {replicas: 3}", map[string]any{"/spec/replicas": int64(3)}},
		"replicas that sleep":          {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x, annotations: {berth.dev/replicas: \"4\"}}\nspec: {replicas: 0}", map[string]any{"/spec/replicas": int64(4)}},
		"none, taken by a person":      {"apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: x}\nspec: {replicas: 0}", map[string]any{"/spec/replicas": int64(0)}},
		"the limits of an autoscaler":  {"apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: x}\nspec: {minReplicas: 2, maxReplicas: 9}", map[string]any{"/spec/minReplicas": int64(2), "/spec/maxReplicas": int64(9)}},
		"KEDA's limits, that sleep":    {"apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: x, annotations: {autoscaling.keda.sh/paused-replicas: \"0\", berth.dev/paused: none, autoscaling.keda.sh/x: z}}\nspec: {minReplicaCount: 1, maxReplicaCount: 5}", map[string]any{"/spec/minReplicaCount": int64(1), "/spec/maxReplicaCount": int64(5), "/metadata/annotations/autoscaling.keda.sh~1x": "z"}},
		"a CronJob that a sleep stops": {"apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: x, annotations: {berth.dev/suspend: \"false\"}}\nspec: {suspend: true}", map[string]any{"/spec/suspend": false}},
		"replicas of another's kind":   {"apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: x}\nspec: {replicas: 2}", map[string]any{"/spec/replicas": int64(2)}},
		"nothing":                      {"apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {}", map[string]any{}},
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := parseManifest(tt.live)
			if err != nil || len(objects) != 1 {
				t.Fatal(objects, err)
			}
			got := Adjustments(objects[0])
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			blank := map[string]any{}
			for pointer, value := range got {
				SetPointer(blank, pointer, value)
			}
			o := &unstructured.Unstructured{Object: blank}
			o.SetGroupVersionKind(objects[0].GroupVersionKind())
			if again := Adjustments(o); !reflect.DeepEqual(again, got) {
				t.Errorf("set in another they are %v, want %v", again, got)
			}
		})
	}
}

func FuzzSetPointer(f *testing.F) {
	f.Add("spec", "replicas")
	f.Add("a/b~1", "~0")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, a, b string) {
		content := map[string]any{}
		SetPointer(content, pointerTo(a, b), "x")
		if got, _, _ := unstructured.NestedString(content, a, b); got != "x" {
			t.Errorf("%q and %q: %v", a, b, content)
		}
		SetPointer(content, a+b, "y") // whatever comes, it does no harm
	})
}
