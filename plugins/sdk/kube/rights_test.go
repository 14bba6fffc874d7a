package kube

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/berth-dev/berth/plugins/clustertest"
	"github.com/berth-dev/berth/plugins/sdk"
)

// nobody is the way into the cluster of an account without any rights.
func nobody(t *testing.T, namespace string) sdk.Cluster {
	t.Helper()
	cs := client(t)
	if _, err := cs.CoreV1().ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "berth"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token, err := cs.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), "berth", &authv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := clientcmd.BuildConfigFromFlags("", clustertest.Kubeconfig(t))
	if err != nil {
		t.Fatal(err)
	}
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

func TestMissingRightsAreToldWithTheRoleThatGivesThem(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	r := Rights{Role: "berth-test-" + ns, Namespaced: WorkloadRights(), Cluster: NamespaceRights(), Without: WithoutNamespaces}
	admin := open(t, sdk.Cluster{})
	found, err := r.Check(t.Context(), admin, ns)
	if err != nil || len(found) != 3 {
		t.Fatal(found, err)
	}
	for _, f := range found {
		if !f.OK || f.Paste != "" {
			t.Errorf("an administrator has %+v", f)
		}
	}
	c := open(t, nobody(t, ns))
	if found, err = r.Check(t.Context(), c, ns); err != nil || len(found) != 3 {
		t.Fatal(found, err)
	}
	in, whole := found[1], found[2]
	if in.OK || !strings.Contains(in.Detail, "get/list/watch/create/update/patch/delete configmaps") || !whole.OK || !strings.Contains(whole.Detail, "orphans are not found") {
		t.Errorf("without rights: %+v %+v", in, whole)
	}
	// What is to be pasted is pasted.
	apply(t, admin, ns, in.Paste+"---\n"+whole.Paste)
	t.Cleanup(func() {
		_ = client(t).RbacV1().ClusterRoleBindings().Delete(context.Background(), r.Role, metav1.DeleteOptions{})
	})
	eventually(t, "the rights are there", func() bool {
		found, err = r.Check(t.Context(), c, ns)
		return err == nil && found[1].OK && found[1].Paste == "" && found[2].Paste == ""
	})
	lacks, err := c.lacking(t.Context(), "default", r.Namespaced)
	if err != nil || len(lacks) == 0 {
		t.Errorf("in another namespace it may do the same: %v, %v", lacks, err)
	}
}
