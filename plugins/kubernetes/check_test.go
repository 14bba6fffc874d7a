package kubernetes

import (
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/sdk"
)

func TestTheLeastRoleIsFoundEnough(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := stepOf(t, map[string]any{"manifests": web})
	makeNamespace(t, step.Namespace, nil)
	step.Cluster = restricted(t, step.Namespace, leastRole())
	found, err := x.Check(t.Context(), sdk.Scope{Cluster: step.Cluster, Namespace: step.Namespace})
	if err != nil || len(found) != 3 || !found[1].OK || !found[2].OK || !strings.Contains(found[2].Paste, "kind: ClusterRole") {
		t.Errorf("%+v, %v", found, err)
	}
	if found, err = x.Check(t.Context(), sdk.Scope{Cluster: step.Cluster, Namespace: "default"}); err != nil || found[1].OK || !strings.Contains(found[1].Paste, "kind: Role\n") {
		t.Errorf("elsewhere: %+v, %v", found, err)
	}
	run(t, x, step)
	eventually(t, "its log is told", func() bool {
		n := 0
		err := x.Logs(t.Context(), step, sdk.LogQuery{}, func(sdk.LogLine) error { n++; return nil })
		return err == nil && n > 0
	})
	for _, verb := range []sdk.Verb{sdk.Sleep, sdk.Wake, sdk.Restart, sdk.Archive} {
		run(t, x, step, verb)
	}
	step.AsWas = true
	run(t, x, step, sdk.Restore)
	if o, err := x.Observe(t.Context(), step); err != nil || o.Health != sdk.Healthy {
		t.Errorf("%+v, %v", o, err)
	}
	run(t, x, step, sdk.Cleanup)
}
