package kubernetes

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/clustertest"
	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

func TestInventory(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := stepOf(t, map[string]any{"manifests": quiet}, func(s *sdk.Step) { s.Installation = "inventory-of-" + namespace(t) })
	run(t, x, step)
	all, err := x.Inventory(t.Context(), sdk.Scope{Cluster: step.Cluster, Installation: step.Installation})
	if err != nil || len(all) != 2 || all[0].Kind == all[1].Kind || all[0].App != "shop" || all[0].Env != "pr-42" {
		t.Fatalf("the inventory is %+v, error %v", all, err)
	}
	// What is found by its marks alone is taken away without settings, whatever
	// part it is of.
	found := sdk.Step{ID: "x", App: "shop", Env: "pr-42", Verb: sdk.Cleanup, Cluster: step.Cluster, Namespace: step.Namespace, Installation: step.Installation}
	run(t, x, found)
	if left := owned(t, step.Namespace); len(left) > 0 {
		t.Errorf("it leaves %v", left)
	}
}

// TestConformance runs the suite that every executor passes on the program
// itself, started as Berth starts it.
func TestConformance(t *testing.T) {
	t.Parallel()
	cluster := sdk.Cluster{Kubeconfig: clustertest.Kubeconfig(t)}
	binary := filepath.Join(t.TempDir(), "berth-kubernetes")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/berth-kubernetes").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const secret, token, rotated = "c0nf0rmance-s3cret", "t0k<en> by & ref", "an0ther t0k&n"
	file := filepath.Join(t.TempDir(), "token")
	rotate := func(value string) {
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rotate(token)
	ns := namespace(t)
	with := map[string]any{
		"manifests": web, "vars": map[string]any{"config_map": "vars", "secret": "tokens"},
		"secrets": []any{map[string]any{"name": "db", "data": map[string]any{"PASSWORD": map[string]any{"env": "DB_PASSWORD"}}}},
		"jobs":    []any{map[string]any{"name": "migrate", "image": "ghcr.io/acme/shop:1"}},
	}
	slow := strings.Replace(web, "metadata: {labels: {app: web}}", `metadata: {labels: {app: web}, annotations: {devcluster/fail: NotReady}}`, 1)
	sdktest.Run(t, sdktest.Suite{
		Command: []string{binary},
		Env:     []string{"DB_PASSWORD=" + secret},
		Secrets: []string{secret, token, rotated},
		Rotate:  func(*testing.T) { rotate(rotated) },
		Step: sdk.Step{
			Secrets: map[string]sdk.SecretRef{"TOKEN": {Name: "token", File: file}}, Vars: map[string]string{"LOG_LEVEL": "debug"},
			Cluster: cluster, Namespace: ns, With: with,
		},
		Slow: &sdk.Step{Cluster: cluster, Namespace: ns, With: map[string]any{"manifests": strings.NewReplacer("name: web}", "name: slow}", "name: settings", "name: slow-settings").Replace(slow)}},
		Invalid: map[string]map[string]any{
			"an unknown key": {"manifest": web}, "no YAML": {"manifests": "a: ["}, "a wrong reference": {"manifests": "repo:k8s"}, "a wrong time": {"manifests": web, "timeout": "soon"},
			"an unknown kind":   {"manifests": "apiVersion: none.example.org/v1\nkind: None\nmetadata: {name: a}\n"},
			"another namespace": {"manifests": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: kube-system}\n"},
		},
		Owned: func(t *testing.T) []string { return owned(t, ns) },
		Snapshot: func(t *testing.T) string {
			return strings.Join(strings.FieldsFunc(versions(t, ns), func(r rune) bool { return r == '\n' }), "\n")
		},
	})
}
