package kubernetes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

// quiet are objects without pods, whose namespace is gone at once.
const quiet = `
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
data: {x: "1"}
---
apiVersion: v1
kind: Secret
metadata: {name: b}
stringData: {x: "c4nary-value"}
---
apiVersion: v1
kind: Service
metadata: {name: c}
spec: {clusterIP: None, ports: [{port: 80}]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: d}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`

// owned is everything in the cluster that bears the marks of an environment, by
// kind and name.
func owned(t testing.TB, namespace string) []string {
	t.Helper()
	d := anyClient(t)
	found := map[string]bool{}
	for _, r := range []schema.GroupVersionResource{
		{Version: "v1", Resource: "configmaps"}, {Version: "v1", Resource: "secrets"}, {Version: "v1", Resource: "services"},
		{Version: "v1", Resource: "persistentvolumeclaims"}, {Group: "apps", Version: "v1", Resource: "deployments"}, {Group: "batch", Version: "v1", Resource: "jobs"},
		{Version: "v1", Resource: "resourcequotas"}, {Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"},
	} {
		list, err := d.Resource(r).Namespace(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: kube.Marked})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list.Items {
			found[o.GetKind()+"/"+o.GetName()] = true
		}
	}
	list, err := d.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).List(t.Context(), metav1.ListOptions{LabelSelector: kube.Marked, FieldSelector: "metadata.name=" + namespace})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list.Items {
		found["Namespace/"+o.GetName()] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// TestInterruptedAtEveryCall cuts a deploy off at each of its requests in turn,
// before the request and after it was carried out, as a crash or a network would.
// A cleanup then leaves nothing, and a deploy what an undisturbed one leaves.
func TestInterruptedAtEveryCall(t *testing.T) {
	t.Parallel()
	with := map[string]any{"manifests": quiet, "namespace": map[string]any{"quota": map[string]any{"pods": 10}}}
	whole := stepOf(t, with)
	b := newBetween(t)
	undisturbed := whole
	undisturbed.Cluster = b.cluster
	run(t, New(Options{}), undisturbed)
	calls, want := len(b.take()), len(owned(t, whole.Namespace))
	if calls < 10 || want < 5 {
		t.Fatalf("a deploy makes %d things with %d requests", want, calls)
	}
	work, _ := errgroup.WithContext(t.Context())
	work.SetLimit(16) // most of the time goes by while namespaces go
	for _, after := range []bool{false, true} {
		for _, then := range []sdk.Verb{sdk.Cleanup, sdk.Deploy} {
			for n := 1; n <= calls; n++ {
				step, b := stepOf(t, with), newBetween(t)
				work.Go(func() error {
					b.dies, b.after = n, after
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					b.killed = cancel // the process is gone, too
					broken := step
					broken.Cluster = b.cluster
					if err := New(Options{}).Run(ctx, broken, sdktest.NewRecorder()); err == nil && n < calls*3/4 { // another time it may look at less while it waits
						t.Errorf("cut at request %d of %d, a deploy succeeds", n, calls)
					}
					step.Verb = then
					out := sdktest.NewRecorder()
					if err := New(Options{}).Run(t.Context(), step, out); err != nil {
						t.Errorf("cut at request %d (after it: %v), a %s fails: %v\n%s", n, after, then, err, out.Text())
						return nil
					}
					got := owned(t, step.Namespace)
					if then == sdk.Cleanup && len(got) > 0 || then == sdk.Deploy && len(got) != want {
						t.Errorf("cut at request %d (after it: %v), a %s leaves %v; a deploy makes %d things", n, after, then, got, want)
					}
					return nil
				})
			}
		}
	}
	_ = work.Wait()
}

// TestUnchangedIsCheap counts the requests of a deploy of twenty objects that are
// there already.
func TestUnchangedIsCheap(t *testing.T) {
	t.Parallel()
	b := newBetween(t)
	var text strings.Builder
	text.WriteString(quiet)
	for i := range 16 {
		fmt.Fprintf(&text, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra-%d}\ndata: {x: \"%d\"}\n", i, i)
	}
	step := stepOf(t, map[string]any{"manifests": text.String()}, func(s *sdk.Step) { s.Cluster = b.cluster })
	x := New(Options{})
	run(t, x, step)
	run(t, x, step)
	b.take()
	run(t, x, step)
	asked := b.take()
	if writes(asked) != 0 || len(asked) > 5 { // the record, and a list for each kind
		t.Errorf("a deploy of what is there asks\n%s", strings.Join(asked, "\n"))
	}
}
