package kube

import (
	"context"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

func TestANamespaceThatIsHeldIsNamedWithWhatHoldsIt(t *testing.T) {
	t.Parallel()
	c := open(t, sdk.Cluster{})
	cs := c.Clientset()
	step := sdk.Step{App: "shop", Env: "pr-1", Part: "web", Namespace: "held-" + strings.ToLower(t.Name()[:8])}
	out := sdktest.NewRecorder()
	n := Namespace{Cluster: c, Step: step, Out: out, Labels: map[string]string{"team": "shop", LabelApp: "nobody"}, Annotations: map[string]string{"a": "b"}}
	if err := n.Ensure(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	ns, err := cs.CoreV1().Namespaces().Get(t.Context(), step.Namespace, metav1.GetOptions{})
	if err != nil || ns.Labels["team"] != "shop" || ns.Labels[LabelApp] != "shop" || ns.Annotations["a"] != "b" {
		t.Fatalf("made %v %v %v", ns.Labels, ns.Annotations, err)
	}
	held := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.org/hold"}}}
	if _, err := cs.CoreV1().ConfigMaps(step.Namespace).Create(t.Context(), held, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := n.Remove(t.Context(), nil); err != nil || !strings.Contains(out.Text(), "stays: there are still configmaps/held") {
		t.Errorf("with something in it: %v, %s", err, out.Text())
	}
	if err := cs.CoreV1().ConfigMaps(step.Namespace).Delete(t.Context(), "held", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	limited, cancel := context.WithCancel(t.Context())
	heldUp := make(chan struct{})
	told := sync.OnceFunc(func() { close(heldUp) })
	out.On = func(text string) {
		if strings.Contains(text, "example.org/hold") {
			told()
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- n.Remove(deadline{limited, heldUp}, nil) }()
	<-heldUp
	cancel()
	err = <-ended
	e := Explain(err, sdk.Cluster{})
	if !e.Retry || !strings.Contains(e.Msg, "configmaps/held waits for example.org/hold") || !strings.Contains(e.Msg, "finalizers: example.org/hold in 1 resource instances") {
		t.Errorf("got %v", e)
	}
	free := []byte(`{"metadata":{"finalizers":null}}`)
	if _, err := cs.CoreV1().ConfigMaps(step.Namespace).Patch(t.Context(), "held", types.MergePatchType, free, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	receipts := NewReceipts()
	if err := n.Remove(t.Context(), receipts); err != nil || len(out.Receipts) != 1 || out.Receipts[0].Name != step.Namespace {
		t.Errorf("set free: %v %v", err, out.Receipts)
	}
}

// deadline is a context that a test ends as if its time were over.
type deadline struct {
	context.Context
	over <-chan struct{}
}

func (d deadline) Err() error {
	if d.Context.Err() != nil {
		return context.DeadlineExceeded
	}
	return nil
}

func TestWhatIsTheNamespacesOwnIsNoLeftover(t *testing.T) {
	t.Parallel()
	c := open(t, sdk.Cluster{})
	step := sdk.Step{App: "shop", Env: "pr-2", Part: "web", Namespace: namespace(t)}
	labels := EnvironmentOwner(step).Labels()
	labels[LabelManagedBy] = ManagedBy
	other := EnvironmentOwner(sdk.Step{App: "shop", Env: "pr-3"}).Labels()
	other[LabelManagedBy] = ManagedBy
	part := StepOwner(step).Labels()
	part[LabelManagedBy] = ManagedBy
	for name, l := range map[string]map[string]string{"own": labels, "others": other, "parts": part, "plain": nil} {
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: l}}
		if _, err := c.Clientset().CoreV1().ConfigMaps(step.Namespace).Create(t.Context(), m, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var left []string
	eventually(t, "the namespace's leftovers", func() bool {
		var err error
		left, err = Namespace{Cluster: c, Step: step}.Leftovers(t.Context())
		return err == nil && len(left) == 3
	})
	if text := strings.Join(left, " "); text != "configmaps/others configmaps/parts configmaps/plain" {
		t.Errorf("left is %s", text)
	}
}
