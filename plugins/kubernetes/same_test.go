package kubernetes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/sdk"
)

// TestOfSeveralFaultsTheSameIsToldEachTime holds that a refusal does not depend on
// the order in which Go happens to walk a map: who asks again, or asks another
// replica, is told the same.
func TestOfSeveralFaultsTheSameIsToldEachTime(t *testing.T) {
	t.Parallel()
	many := func(key string, value any) map[string]any {
		out := map[string]any{}
		for i := range 9 {
			out[fmt.Sprintf(key, i)] = value
		}
		return out
	}
	labels := ""
	for i := range 9 {
		labels += fmt.Sprintf("    l%d: %d\n", i, i)
	}
	for name, with := range map[string]map[string]any{
		"labels of the namespace that are Berth's": {"namespace": map[string]any{"labels": many("berth.dev/%d", "x")}},
		"quotas that are none":                     {"namespace": map[string]any{"quota": many("pods%d", "lots")}},
		"limits that are none": {"namespace": map[string]any{"limits": map[string]any{
			"default": many("cpu%d", "x"), "default_request": many("cpu%d", "x"), "min": many("cpu%d", "x"), "max": many("cpu%d", "x"),
		}}},
		"keys that no Secret has":       {"secrets": []any{map[string]any{"name": "a", "data": many("a b %d", "x")}}},
		"secrets that are written out":  {"secrets": []any{map[string]any{"name": "a", "data": many("k%d", 7)}}},
		"names of variables":            {"manifests": quiet, "substitute": many("a-%d", "x")},
		"numbers of replicas":           {"manifests": quiet, "replicas": many("web%d", -1)},
		"labels of objects that are no": {"manifests": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels:\n" + labels},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said := map[string]bool{}
			for range 30 {
				_, err := gathered(t, bare(with))
				if err == nil {
					t.Fatal("it is accepted")
				}
				said[err.Error()] = true
			}
			if len(said) != 1 {
				t.Errorf("%d different refusals: %v", len(said), said)
			}
		})
	}
}

// TestAPlanIsTheSameEachTime holds a plan against chance: the address of a Service
// that gets one, which nobody knows before it does, and which of several objects that
// the API server does not take was answered first.
func TestAPlanIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	const outside = "apiVersion: v1\nkind: Service\nmetadata: {name: api}\nspec: {type: ExternalName, externalName: api.example.org}\n"
	step := stepOf(t, map[string]any{"manifests": outside})
	run(t, x, step)
	step.With = map[string]any{"manifests": "apiVersion: v1\nkind: Service\nmetadata: {name: api}\nspec: {type: ClusterIP, externalName: null, ports: [{port: 80}]}\n"}
	said := map[string]bool{}
	for range 5 {
		plan, err := x.Plan(t.Context(), step)
		if err != nil || !strings.Contains(plan.Diff, "+  type: ClusterIP") || strings.Contains(plan.Diff, "clusterIP") {
			t.Fatalf("%v, %v", plan, err)
		}
		said[fmt.Sprint(plan)] = true
	}
	if len(said) != 1 {
		t.Errorf("%d different plans: %v", len(said), said)
	}

	wrong := ""
	for i := range 9 {
		wrong += fmt.Sprintf("---\napiVersion: v1\nkind: Service\nmetadata: {name: s%d}\nspec: {ports: [{port: 0}]}\n", i)
	}
	step.With = map[string]any{"manifests": wrong}
	for range 5 {
		_, err := x.Plan(t.Context(), step)
		failedWith(t, err, sdk.FaultInvalid, "Service s0")
	}
	run(t, x, step, sdk.Cleanup)
}
