package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

// restricted is the way into the cluster of an account that may do in namespace
// what rules say, and nothing elsewhere.
func restricted(t *testing.T, namespace string, rules []rbacv1.PolicyRule) sdk.Cluster {
	t.Helper()
	cs, ctx := client(t), t.Context()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "berth-itself"}}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "berth-itself"}, Rules: rules}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "berth-itself"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "berth-itself"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "berth-itself", Namespace: namespace}},
	}
	if _, err := cs.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := cs.RbacV1().Roles(namespace).Create(ctx, role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := cs.RbacV1().RoleBindings(namespace).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token, err := cs.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, "berth-itself", &authv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := admin(t)
	text, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "x",
		"clusters": []any{map[string]any{"name": "x", "cluster": map[string]any{"server": c.Host, "certificate-authority-data": c.CAData}}},
		"contexts": []any{map[string]any{"name": "x", "context": map[string]any{"cluster": "x", "user": "x"}}},
		"users":    []any{map[string]any{"name": "x", "user": map[string]any{"token": token.Status.Token}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return sdk.Cluster{Kubeconfig: file}
}

// leastRole is that of docs/kubernetes.md.
func leastRole() []rbacv1.PolicyRule {
	all := []string{"get", "list", "watch", "create", "update", "patch", "delete"}
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps", "secrets", "services", "serviceaccounts", "persistentvolumeclaims", "resourcequotas", "limitranges"}, Verbs: all},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments", "statefulsets", "daemonsets"}, Verbs: all},
		{APIGroups: []string{"batch"}, Resources: []string{"jobs", "cronjobs"}, Verbs: all},
		{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"ingresses", "networkpolicies"}, Verbs: all},
		{APIGroups: []string{"autoscaling"}, Resources: []string{"horizontalpodautoscalers"}, Verbs: all},
		{APIGroups: []string{"policy"}, Resources: []string{"poddisruptionbudgets"}, Verbs: all},
		{APIGroups: []string{""}, Resources: []string{"pods", "pods/log", "events"}, Verbs: []string{"get", "list", "watch"}},
	}
}

func TestANamespacedRoleIsEnough(t *testing.T) {
	t.Parallel()
	step := stepOf(t, map[string]any{
		"manifests": web, "namespace": map[string]any{"quota": map[string]any{"pods": "20"}, "network": "isolated"},
		"jobs": []any{map[string]any{"name": "migrate", "image": "ghcr.io/acme/shop:1"}},
	})
	makeNamespace(t, step.Namespace, nil)
	step.Cluster = restricted(t, step.Namespace, leastRole())
	x := New(Options{})
	if _, err := x.Plan(t.Context(), step); err != nil {
		t.Fatal(err)
	}
	run(t, x, step)
	run(t, x, step)
	plan := step
	plan.Verb = sdk.Cleanup
	if _, err := x.Plan(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	run(t, x, step, sdk.Cleanup)
	if left := owned(t, step.Namespace); len(left) > 0 {
		t.Errorf("a cleanup leaves %v", left)
	}
}

func TestAMissingRightIsNamed(t *testing.T) {
	t.Parallel()
	step := stepOf(t, map[string]any{"manifests": web})
	makeNamespace(t, step.Namespace, nil)
	rules := leastRole()
	rules[1].Verbs = []string{"get", "list", "watch"}
	step.Cluster = restricted(t, step.Namespace, rules)
	x := New(Options{})
	fails(t, x, step, sdk.FaultDownstream, "patch", "deployments", step.Namespace)
	// What it could make it can take away again.
	rules[1].Verbs = leastRole()[1].Verbs
	role, err := client(t).RbacV1().Roles(step.Namespace).Get(t.Context(), "berth-itself", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	role.Rules = rules
	if _, err := client(t).RbacV1().Roles(step.Namespace).Update(t.Context(), role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the right is there", func() bool {
		step.Verb = sdk.Cleanup
		return x.Run(context.Background(), step, sdktest.NewRecorder()) == nil
	})
	if left := owned(t, step.Namespace); len(left) > 0 {
		t.Errorf("a cleanup leaves %v", left)
	}
}

func TestManyObjectsAreNotThrottled(t *testing.T) {
	t.Parallel()
	var objects []any
	for i := range 500 {
		objects = append(objects, map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": fmt.Sprintf("many-%03d", i)}, "data": map[string]any{"i": fmt.Sprint(i)},
		})
	}
	step := stepOf(t, map[string]any{"manifests": objects})
	makeNamespace(t, step.Namespace, nil)
	x := New(Options{})
	// client-go's own limiter lets five requests a second through: this would take
	// it 100 s and more.
	took := timed(func() { run(t, x, step) })
	t.Logf("500 objects: %v", took)
	if took.Seconds() > 60 {
		t.Errorf("500 objects take %v", took)
	}
	t.Logf("unchanged: %v", timed(func() { run(t, x, step) }))
	if out := run(t, x, step, sdk.Cleanup); len(out.Receipts) != 501 {
		t.Errorf("%d receipts for 500 objects and a record", len(out.Receipts))
	}
}
