package helm

import (
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

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
	if out.outputs["url"] != want[0].URL {
		t.Errorf("the url is %q", out.outputs["url"])
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

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	var content map[string]any
	if err := yaml.Unmarshal([]byte(text), &content); err != nil {
		t.Fatal(err)
	}
	content, _ = copyValue(content).(map[string]any)
	return &unstructured.Unstructured{Object: content}
}

func TestIngressURLs(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		object string
		want   []string
	}{
		"a host":                         {"spec: {rules: [{host: a.org}]}", []string{"http://a.org"}},
		"a host with TLS":                {"spec: {tls: [{hosts: [a.org]}], rules: [{host: a.org}, {host: b.org}]}", []string{"https://a.org", "http://b.org"}},
		"TLS by wildcard":                {`spec: {tls: [{hosts: ["*.x.org"]}], rules: [{host: a.x.org}, {host: a.b.x.org}]}`, []string{"https://a.x.org", "http://a.b.x.org"}},
		"TLS for all":                    {"spec: {tls: [{secretName: s}], rules: [{host: a.org}]}", []string{"https://a.org"}},
		"a path":                         {"spec: {rules: [{host: a.org, http: {paths: [{path: /shop}]}}]}", []string{"http://a.org/shop"}},
		"a pattern is no path":           {`spec: {rules: [{host: a.org, http: {paths: [{path: "/(.*)"}]}}]}`, []string{"http://a.org"}},
		"no host, with an address":       {"{spec: {rules: [{}]}, status: {loadBalancer: {ingress: [{ip: 10.0.0.1}]}}}", []string{"http://10.0.0.1"}},
		"no host, with an IPv6 address":  {`{spec: {rules: [{}]}, status: {loadBalancer: {ingress: [{ip: "fd00::1"}]}}}`, []string{"http://[fd00::1]"}},
		"no host and no address":         {"spec: {rules: [{}]}", nil},
		"a wildcard is no address":       {`spec: {rules: [{host: "*.a.org"}]}`, nil},
		"things that are not as thought": {"spec: {rules: [1, x, {host: 5}], tls: nope}", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := ingressURLs(parse(t, tt.object)); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestServiceURLs(t *testing.T) {
	t.Parallel()
	u := parse(t, "{spec: {ports: [{port: 80}, {port: 443}, {port: 3000}, {port: 8443}, {port: 53, protocol: UDP}]}, status: {loadBalancer: {ingress: [{hostname: lb.org}]}}}")
	want := []string{"http://lb.org", "https://lb.org", "http://lb.org:3000", "https://lb.org:8443"}
	if got := serviceURLs(u); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestGatewayListeners(t *testing.T) {
	t.Parallel()
	g := parse(t, `{spec: {listeners: [{name: a, protocol: HTTP, port: 80, hostname: "*.x.org"}, {name: b, protocol: HTTPS, port: 443}, {name: c, protocol: TCP, port: 1}, {name: d, protocol: HTTPS, port: 8443}]}, status: {addresses: [{value: 10.0.0.1}]}}`)
	want := []listener{{scheme: "http", host: "*.x.org"}, {scheme: "https", host: "10.0.0.1", address: true}, {scheme: "https", host: "10.0.0.1", port: ":8443", address: true}}
	if got := gatewayListeners(g, ""); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if got := gatewayListeners(g, "b"); len(got) != 1 || got[0].scheme != "https" {
		t.Errorf("by name: %+v", got)
	}
	if got := gatewayListeners(nil, ""); got != nil {
		t.Errorf("of none: %+v", got)
	}
}

func TestLook(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		object string
		want   state
		text   string
	}{
		"a Deployment whose controller has not seen it": {"{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 2}, spec: {replicas: 1}, status: {observedGeneration: 1, replicas: 1, updatedReplicas: 1, availableReplicas: 1}}", waiting, "0 of 1 pod ready"},
		"a Deployment in order":                         {"{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 2}, spec: {replicas: 1}, status: {observedGeneration: 2, replicas: 1, updatedReplicas: 1, availableReplicas: 1}}", ready, ""},
		"a Deployment with an old pod":                  {"{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 2}, spec: {replicas: 1}, status: {observedGeneration: 2, replicas: 2, updatedReplicas: 1, availableReplicas: 2}}", waiting, "1 pod of the version before"},
		"a Deployment without pods":                     {"{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {replicas: 0}, status: {observedGeneration: 1}}", ready, ""},
		"a Deployment that gave up":                     {"{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {replicas: 1}, status: {observedGeneration: 1, conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}]}}", failed, "no progress"},
		"a Deployment whose pods are refused":           {"{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {replicas: 1}, status: {observedGeneration: 1, conditions: [{type: ReplicaFailure, status: 'True', message: exceeded quota}]}}", waiting, "exceeded quota"},
		"a paused Deployment":                           {"{apiVersion: apps/v1, kind: Deployment, spec: {paused: true}}", ready, ""},
		"a StatefulSet in mid-update":                   {"{apiVersion: apps/v1, kind: StatefulSet, metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, readyReplicas: 2, updatedReplicas: 2, currentRevision: a, updateRevision: b}}", waiting, "2 of 2"},
		"a StatefulSet in order":                        {"{apiVersion: apps/v1, kind: StatefulSet, metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, readyReplicas: 2, updatedReplicas: 2, currentRevision: b, updateRevision: b}}", ready, ""},
		"a DaemonSet with one node down":                {"{apiVersion: apps/v1, kind: DaemonSet, metadata: {generation: 1}, status: {observedGeneration: 1, desiredNumberScheduled: 3, updatedNumberScheduled: 3, numberAvailable: 2}}", ready, ""},
		"a DaemonSet that has begun":                    {"{apiVersion: apps/v1, kind: DaemonSet, metadata: {generation: 1}, status: {observedGeneration: 1, desiredNumberScheduled: 3, updatedNumberScheduled: 3, numberAvailable: 1}}", waiting, "1 of 3"},
		"a Job that runs":                               {"{apiVersion: batch/v1, kind: Job, status: {active: 1}}", waiting, "0 of 1 done"},
		"a Job that ended":                              {"{apiVersion: batch/v1, kind: Job, status: {succeeded: 1, conditions: [{type: Complete, status: 'True'}]}}", ready, ""},
		"a Job that failed":                             {"{apiVersion: batch/v1, kind: Job, status: {conditions: [{type: Failed, status: 'True', reason: BackoffLimitExceeded}]}}", failed, "BackoffLimitExceeded"},
		"a Service without an address":                  {"{apiVersion: v1, kind: Service, spec: {type: LoadBalancer}}", waiting, "no address"},
		"a Service inside":                              {"{apiVersion: v1, kind: Service, spec: {type: ClusterIP}}", ready, ""},
		"a claim that lost its volume":                  {"{apiVersion: v1, kind: PersistentVolumeClaim, status: {phase: Lost}}", failed, "lost"},
		"something on its way out":                      {"{apiVersion: v1, kind: ConfigMap, metadata: {deletionTimestamp: '2026-01-01T00:00:00Z'}}", waiting, "being deleted"},
		"a kind of one's own":                           {"{apiVersion: example.org/v1, kind: Gizmo}", ready, ""},
		"a status of wrong types":                       {"{apiVersion: apps/v1, kind: Deployment, spec: {replicas: x}, status: nope}", waiting, "0 of 1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := look(parse(t, tt.object)); got.state != tt.want || tt.want != ready && !strings.Contains(got.text, tt.text) {
				t.Errorf("got %+v", got)
			}
		})
	}
}
