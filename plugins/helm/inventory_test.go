package helm

import (
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/plugins/clustertest"
	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// installation is for a step of a Berth of its own, so that other tests' environments
// are not in what it owns.
func installation(id string) func(*sdk.Step) {
	return func(s *sdk.Step) { s.Installation = id }
}

func inventory(t *testing.T, x *Executor, step sdk.Step) []sdk.Owned {
	t.Helper()
	owned, err := x.Inventory(t.Context(), sdk.Scope{Cluster: step.Cluster, Installation: step.Installation})
	if err != nil {
		t.Fatal(err)
	}
	return owned
}

func TestInventoryListsWhatAnInstallationOwns(t *testing.T) {
	t.Parallel()
	x, cs := New(Options{}), client(t)
	first := preview(t, installation("01inventoryfirst"))
	other := preview(t, installation("01inventoryother"), func(s *sdk.Step) { s.Env = "pr-43" })
	run(t, x, first)
	run(t, x, verb(first, sdk.Deploy)) // a second revision is the same release
	run(t, x, other)
	archive := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: archivePrefix + "kept", Labels: kube.StepOwner(first).Labels()}}
	archive.Labels[kube.LabelManagedBy] = kube.ManagedBy
	if _, err := cs.CoreV1().Secrets(first.Namespace).Create(t.Context(), archive, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	strange := archive.DeepCopy()
	strange.Name, strange.Labels[kube.LabelApp] = archivePrefix+"strange", "NotAName"
	if _, err := cs.CoreV1().Secrets(first.Namespace).Create(t.Context(), strange, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	certificate := archive.DeepCopy() // another executor's, with the same marks
	certificate.Name = "tls-web"
	if _, err := cs.CoreV1().Secrets(first.Namespace).Create(t.Context(), certificate, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	owned := inventory(t, x, first)
	want := []sdk.Owned{
		{App: "shop", Env: "pr-42", Kind: "Namespace", Name: first.Namespace},
		{App: "shop", Env: "pr-42", Part: "web", Kind: "Archive", Name: archivePrefix + "kept", Namespace: first.Namespace},
		{App: "shop", Env: "pr-42", Part: "web", Kind: "Helm release", Name: "shop-pr-42-web", Namespace: first.Namespace},
	}
	if len(owned) != len(want) {
		t.Fatalf("it owns %+v", owned)
	}
	for i, o := range owned {
		if o.CreatedAt.IsZero() {
			t.Errorf("%s has no age", o.Name)
		}
		if o.CreatedAt = want[i].CreatedAt; o != want[i] {
			t.Errorf("got %+v, want %+v", o, want[i])
		}
	}
	if owned := inventory(t, x, other); len(owned) != 2 || owned[0].Env != "pr-43" {
		t.Errorf("the other owns %+v", owned)
	}
	if _, err := x.Inventory(t.Context(), sdk.Scope{Cluster: first.Cluster}); err == nil {
		t.Error("whose it lists was not told, and it lists all the same")
	}
}

func TestAnEnvironmentOfAnotherInstallationIsLeftAlone(t *testing.T) {
	t.Parallel()
	x, cs := New(Options{}), client(t)
	mine := preview(t)
	run(t, x, mine) // before installations were told apart
	mine.Installation = "01mine"
	run(t, x, verb(mine, sdk.Deploy))
	ns, err := cs.CoreV1().Namespaces().Get(t.Context(), mine.Namespace, metav1.GetOptions{})
	if err != nil || ns.Labels[kube.LabelInstallation] != "01mine" {
		t.Errorf("the namespace is not marked by the next deploy: %v %v", ns.Labels, err)
	}
	if owned := inventory(t, x, mine); len(owned) != 2 {
		t.Errorf("it owns %+v", owned)
	}

	theirs := mine
	theirs.ID, theirs.Installation = mine.ID+"-theirs", "01theirs"
	_, err = fails(t, x, theirs)
	fault(t, err, sdk.FaultInvalid, "is that of environment shop/pr-42 of another Berth")
	// Without a mark on the namespace, the release's still holds.
	patch := []byte(`{"metadata":{"labels":{"` + kube.LabelInstallation + `":null}}}`)
	if _, err := cs.CoreV1().Namespaces().Patch(t.Context(), mine.Namespace, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = fails(t, x, theirs)
	fault(t, err, sdk.FaultInvalid, `The release "shop-pr-42-web"`, "of another Berth")
	run(t, x, verb(theirs, sdk.Cleanup))
	if seen := observe(t, x, mine); seen.Health != sdk.Healthy {
		t.Errorf("mine is %+v", seen)
	}
	if seen := observe(t, x, theirs); seen.Health != sdk.Absent {
		t.Errorf("theirs is %+v", seen)
	}
}

// brokenCluster is the tests' cluster behind a proxy that fails some requests.
func brokenCluster(t *testing.T, breaks func(*http.Request) bool) sdk.Cluster {
	t.Helper()
	return sdk.Cluster{Kubeconfig: clustertest.Broken(t, breaks)}
}

func TestHalfAnInventoryIsNone(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := preview(t, installation("01half"))
	run(t, x, step)
	for name, breaks := range map[string]func(*http.Request) bool{
		"secrets cannot be listed":    func(r *http.Request) bool { return r.URL.Path == "/api/v1/secrets" },
		"namespaces cannot be listed": func(r *http.Request) bool { return r.URL.Path == "/api/v1/namespaces" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			owned, err := x.Inventory(t.Context(), sdk.Scope{Cluster: brokenCluster(t, breaks), Installation: step.Installation})
			if err == nil || owned != nil {
				t.Errorf("got %v, %v", owned, err)
			}
		})
	}
}
