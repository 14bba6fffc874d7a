package kubernetes

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk/kube"
)

func TestReadiness(t *testing.T) {
	t.Parallel()
	s, err := readSettings(bare(map[string]any{"ready": map[string]any{"Widget.example.org": "object.status.phase == 'Up' && object.?status.?nodes.orValue(0) > 1"}}))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		object string
		state  kube.State
		says   string
	}{
		"a widget without a status":          {`{"apiVersion":"example.org/v1","kind":"Widget"}`, kube.Waiting, "waits for object.status.phase"},
		"a widget that is up":                {`{"apiVersion":"example.org/v1","kind":"Widget","status":{"phase":"Up","nodes":2}}`, kube.Ready, ""},
		"a certificate nobody has seen":      {`{"apiVersion":"cert-manager.io/v1","kind":"Certificate"}`, kube.Waiting, "not said anything"},
		"a certificate that is ready":        {`{"apiVersion":"cert-manager.io/v1","kind":"Certificate","status":{"conditions":[{"type":"Ready","status":"True"}]}}`, kube.Ready, ""},
		"a certificate that is not":          {`{"apiVersion":"cert-manager.io/v1","kind":"Certificate","status":{"conditions":[{"type":"Ready","status":"False","reason":"DoesNotExist","message":"no secret"}]}}`, kube.Waiting, "DoesNotExist: no secret"},
		"a HelmRelease of the last change":   {`{"apiVersion":"helm.toolkit.fluxcd.io/v2","kind":"HelmRelease","metadata":{"generation":2},"status":{"observedGeneration":2,"conditions":[{"type":"Ready","status":"True"}]}}`, kube.Ready, ""},
		"a HelmRelease of an older one":      {`{"apiVersion":"helm.toolkit.fluxcd.io/v2","kind":"HelmRelease","metadata":{"generation":2},"status":{"observedGeneration":1,"conditions":[{"type":"Ready","status":"True"}]}}`, kube.Waiting, "not seen the last change"},
		"a HelmRelease that is stalled":      {`{"apiVersion":"helm.toolkit.fluxcd.io/v2","kind":"HelmRelease","status":{"conditions":[{"type":"Ready","status":"False"},{"type":"Stalled","status":"True","reason":"RetriesExceeded"}]}}`, kube.Failed, "RetriesExceeded"},
		"a Crossplane claim":                 {`{"apiVersion":"team.example.org/v1","kind":"Database","spec":{"compositionSelector":{}}}`, kube.Waiting, "not said anything"},
		"one that is not synced":             {`{"apiVersion":"team.example.org/v1","kind":"Database","spec":{"resourceRef":{}},"status":{"conditions":[{"type":"Synced","status":"False","reason":"ReconcileError"},{"type":"Ready","status":"False"}]}}`, kube.Waiting, "ReconcileError"},
		"an Application that is degraded":    {`{"apiVersion":"argoproj.io/v1alpha1","kind":"Application","status":{"sync":{"status":"Synced"},"health":{"status":"Degraded","message":"crash"}}}`, kube.Waiting, "Degraded: crash"},
		"an Application whose sync failed":   {`{"apiVersion":"argoproj.io/v1alpha1","kind":"Application","status":{"sync":{"status":"OutOfSync"},"operationState":{"phase":"Failed","message":"denied"}}}`, kube.Waiting, "denied"},
		"a custom resource without a status": {`{"apiVersion":"other.example.org/v1","kind":"Thing"}`, kube.Ready, ""},
	} {
		t.Run(name, func(t *testing.T) {
			u := &unstructured.Unstructured{}
			if err := u.UnmarshalJSON([]byte(strings.Replace(c.object, `"kind"`, `"x":0,"kind"`, 1))); err != nil {
				t.Fatal(err)
			}
			if st := s.rules.of(u); st.State != c.state || !strings.Contains(st.Text, c.says) {
				t.Errorf("it is %v: %s", st.State, st.Text)
			}
		})
	}
}

func TestAnExpressionCannotRunForEver(t *testing.T) {
	t.Parallel()
	e, err := compile("x", "object.l.all(a, object.l.all(b, object.l.all(c, object.l.all(d, a + b + c + d >= 0))))")
	if err != nil {
		t.Fatal(err)
	}
	var long []any
	for i := range 500 {
		long = append(long, int64(i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	done := make(chan string, 1)
	go func() {
		_, why := e.holds(kube.ObjectOf(map[string]any{"l": long}))
		done <- why
	}()
	select {
	case why := <-done:
		if why == "" {
			t.Error("it has come to its end")
		}
	case <-ctx.Done():
		t.Error("it runs on")
	}
}
