package kube

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestPatchesOfSleep(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		object     string
		sleep      string // the object asleep; "" when it stays as it is
		wanted     string // by a chart that is deployed over the sleep
		wake, over string // the object awake again, by wake and by that deploy
	}{
		"an autoscaler that may scale to zero": {
			object: "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a}, spec: {minReplicas: 0}}",
			sleep:  `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a, annotations: {berth.dev/min-replicas: "0"}}, spec: {minReplicas: 1}}`,
			wake:   "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a, annotations: {}}, spec: {minReplicas: 0}}",
		},
		"an autoscaler that may not": {
			object: "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a}, spec: {minReplicas: 2}}",
		},
		"what KEDA has paused at another count": {
			object: `{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: a, annotations: {autoscaling.keda.sh/paused-replicas: "3"}}}`,
			sleep:  `{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: a, annotations: {autoscaling.keda.sh/paused-replicas: "0", berth.dev/paused: "=3"}}}`,
			wake:   `{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: a, annotations: {autoscaling.keda.sh/paused-replicas: "3"}}}`,
		},
		"jobs that KEDA makes": {
			object: "{apiVersion: keda.sh/v1alpha1, kind: ScaledJob, metadata: {name: a, annotations: {b: c}}}",
			sleep:  `{apiVersion: keda.sh/v1alpha1, kind: ScaledJob, metadata: {name: a, annotations: {b: c, autoscaling.keda.sh/paused: "true", berth.dev/paused: none}}}`,
			wake:   "{apiVersion: keda.sh/v1alpha1, kind: ScaledJob, metadata: {name: a, annotations: {b: c}}}",
		},
		"a workload without replicas": {
			object: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replicas: 0}}",
		},
		"a ReplicaSet, over which a chart with another number is deployed": {
			object: "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: a}, spec: {replicas: 4}}",
			sleep:  `{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: a, annotations: {berth.dev/replicas: "4"}}, spec: {replicas: 0}}`,
			wake:   "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: a, annotations: {}}, spec: {replicas: 4}}",
			wanted: "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: a}, spec: {replicas: 0}}",
			over:   "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: a, annotations: {}}, spec: {replicas: 0}}",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := parse(t, tt.object)
			d := dozers[GroupKind(u)]
			patch := d.sleep(u)
			if tt.sleep == "" {
				if patch != nil {
					t.Errorf("sleep gives %v", patch)
				}
				return
			}
			merge(u.Object, patch)
			if got, want := u.Object, parse(t, tt.sleep).Object; !equalJSON(t, got, want) {
				t.Fatalf("asleep: %v, want %v", got, want)
			}
			if d.sleep(u) != nil {
				t.Error("it sleeps twice")
			}
			asleep := u.DeepCopy()
			merge(u.Object, d.wake(u, nil))
			if got, want := u.Object, parse(t, tt.wake).Object; !equalJSON(t, got, want) {
				t.Errorf("awake: %v, want %v", got, want)
			}
			if tt.wanted != "" {
				merge(asleep.Object, d.wake(asleep, parse(t, tt.wanted)))
				if got, want := asleep.Object, parse(t, tt.over).Object; !equalJSON(t, got, want) {
					t.Errorf("deployed over: %v, want %v", got, want)
				}
			}
		})
	}
}

// merge applies a merge patch (RFC 7396) as the API server does.
func merge(target, patch map[string]any) {
	for k, v := range patch {
		inner, ok := v.(map[string]any)
		switch {
		case v == nil:
			delete(target, k)
		case ok:
			t, _ := target[k].(map[string]any)
			if t == nil {
				t = map[string]any{}
				target[k] = t
			}
			merge(t, inner)
		default:
			if n, ok := v.(int); ok {
				v = int64(n)
			}
			target[k] = v
		}
	}
}

func equalJSON(t *testing.T, a, b map[string]any) bool {
	t.Helper()
	x, errX := (&unstructured.Unstructured{Object: a}).MarshalJSON()
	y, errY := (&unstructured.Unstructured{Object: b}).MarshalJSON()
	if errX != nil || errY != nil {
		t.Fatal(errX, errY)
	}
	return string(x) == string(y)
}
