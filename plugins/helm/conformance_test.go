package helm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

// TestConformance runs the suite that every executor passes on the program
// itself, started as Berth starts it.
func TestConformance(t *testing.T) {
	t.Parallel()
	cluster := sdk.Cluster{Kubeconfig: kubeconfig(t)}
	binary := filepath.Join(t.TempDir(), "berth-helm")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/berth-helm").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	chart, err := filepath.Abs("../../charts/preview")
	if err != nil {
		t.Fatal(err)
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
	cs := client(t)
	images := newImageRegistry(t)
	images.put(t, "acme/shop", "1", "shop")
	image := map[string]any{"repository": images.host + "/acme/shop", "tag": "1"}
	sdktest.Run(t, sdktest.Suite{
		Command: []string{binary},
		Env:     []string{"REGISTRY_PASSWORD=" + secret},
		Secrets: []string{secret, token, rotated},
		Rotate:  func(*testing.T) { rotate(rotated) },
		Step: sdk.Step{
			Secrets: map[string]sdk.SecretRef{"TOKEN": {Name: "token", File: file}},
			Cluster: cluster, Namespace: ns,
			With: map[string]any{"chart": chart, "values": map[string]any{"image": image, "env": map[string]any{"DB_PASSWORD": secret}}},
		},
		Slow: &sdk.Step{
			Cluster: cluster, Namespace: ns,
			With: map[string]any{"chart": chart, "values": map[string]any{"image": image, "podAnnotations": map[string]any{"devcluster/fail": "NotReady"}}},
		},
		Invalid: map[string]map[string]any{
			"no chart":          {},
			"a missing chart":   {"chart": "/none/such"},
			"an unknown key":    {"chart": chart, "chrat": "x"},
			"a wrong value":     {"chart": chart, "values": map[string]any{"replicaCount": "many"}},
			"a wrong name":      {"chart": chart, "release": "No Good"},
			"a wrong time":      {"chart": chart, "timeout": "soon"},
			"a wrong registry":  {"chart": "oci://"},
			"a wrong place":     {"chart": chart, "repo": "ftp://x"},
			"a wrong reference": {"chart": "repo:charts/web"},
		},
		Snapshot: func(t *testing.T) string {
			list, err := cs.AppsV1().Deployments(ns).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			text := ""
			for _, d := range list.Items {
				text += fmt.Sprintln(d.Name, d.UID, d.Generation)
			}
			secrets, err := cs.CoreV1().Secrets(ns).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range secrets.Items {
				text += fmt.Sprintln(s.Name, s.ResourceVersion)
			}
			return text
		},
	})
}
