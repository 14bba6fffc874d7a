package kube

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
)

const someDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  template: {spec: {containers: [{resources: {requests: {cpu: 250m, memory: 256Mi}}}]}}
`

func TestWhatObjectsAskFor(t *testing.T) {
	tests := map[string]struct{ manifest, want string }{
		"nothing":                            {"", ""},
		"objects that run nothing":           {"kind: Service\nmetadata: {name: a}\n", ""},
		"replicas":                           {someDeployment, "500m CPU and 512Mi memory (2 pods)"},
		"one replica unless it is said":      {"kind: StatefulSet\nmetadata: {name: a}\nspec: {template: {spec: {containers: [{resources: {requests: {cpu: 1}}}]}}}\n", "1 CPU (1 pod)"},
		"none while it sleeps":               {"kind: Deployment\nmetadata: {name: a}\nspec: {replicas: 0, template: {spec: {containers: [{resources: {requests: {cpu: 1}}}]}}}\n", ""},
		"limits where there are no requests": {"kind: Pod\nmetadata: {name: a}\nspec: {containers: [{resources: {limits: {memory: 1Gi}}}]}\n", "1Gi memory (1 pod)"},
		"no requests at all":                 {"kind: Pod\nmetadata: {name: a}\nspec: {containers: [{image: a}]}\n", "no CPU or memory (1 pod)"},
		"an init container that needs more": {"kind: Pod\nmetadata: {name: a}\nspec: {initContainers: [{resources: {requests: {cpu: 2}}}], containers: [{resources: {requests: {cpu: 1, memory: 1Mi}}}]}\n",
			"2 CPU and 1Mi memory (1 pod)"},
		"a sidecar": {"kind: Pod\nmetadata: {name: a}\nspec: {initContainers: [{restartPolicy: Always, resources: {requests: {cpu: 2}}}, {resources: {requests: {cpu: 1500m}}}], containers: [{resources: {requests: {cpu: 1}}}]}\n",
			"3500m CPU (1 pod)"},
		"a Job's pods at once": {"kind: Job\nmetadata: {name: a}\nspec: {parallelism: 5, completions: 3, template: {spec: {containers: [{resources: {requests: {cpu: 1}}}]}}}\n", "3 CPU (3 pods)"},
		"a DaemonSet": {someDeployment + "---\nkind: DaemonSet\nmetadata: {name: a}\nspec: {template: {spec: {containers: [{resources: {requests: {cpu: 1}}}]}}}\n",
			"1500m CPU and 512Mi memory (2 pods, and 1 on each node, counted once)"},
		"storage": {"kind: PersistentVolumeClaim\nmetadata: {name: a}\nspec: {resources: {requests: {storage: 5Gi}}}\n---\nkind: StatefulSet\nmetadata: {name: b}\nspec:\n  replicas: 3\n  template: {spec: {containers: [{resources: {requests: {cpu: 1}}}]}}\n  volumeClaimTemplates: [{metadata: {name: d}, spec: {resources: {requests: {storage: 10Gi}}}}]\n",
			"3 CPU and 35Gi storage (3 pods)"},
		"a CronJob, which runs at times":   {"kind: CronJob\nmetadata: {name: a}\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{resources: {requests: {cpu: 1}}}]}}}}}\n", ""},
		"quantities that are none":         {"kind: Pod\nmetadata: {name: a}\nspec: {containers: [{resources: {requests: {cpu: lots, memory: 1e999999999}}}, {resources: {requests: {cpu: -1}}}]}\n", "no CPU or memory (1 pod)"},
		"more replicas than there can be":  {"kind: Deployment\nmetadata: {name: a}\nspec: {replicas: 9000000000000000, template: {spec: {containers: [{resources: {requests: {memory: 8Ei}}}]}}}\n", "81064793292668927991210937500000Ki memory (9000000000000000 pods)"},
		"resources that are a list, wrong": {"kind: Pod\nmetadata: {name: a}\nspec: {containers: [{resources: [1]}]}\n", "no CPU or memory (1 pod)"},
	}
	for name, tc := range tests {
		objects, err := parseManifest(tc.manifest)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := NeedOf(objects).String(); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestCostSaysWhatItWas(t *testing.T) {
	some, err := parseManifest(someDeployment)
	if err != nil {
		t.Fatal(err)
	}
	pod, err := parseManifest("kind: Pod\nmetadata: {name: a}\nspec: {containers: [{resources: {requests: {cpu: 1}}}]}\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		before, after []*unstructured.Unstructured
		want          string
	}{
		{nil, nil, ""},
		{nil, some, "requests 500m CPU and 512Mi memory (2 pods)"},
		{some, some, "requests 500m CPU and 512Mi memory (2 pods)"},
		{some, pod, "requests 1 CPU (1 pod), instead of 500m CPU and 512Mi memory (2 pods)"},
		{pod, nil, "requests nothing, instead of 1 CPU (1 pod)"},
	} {
		if got := Cost(tc.before, tc.after); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}

func TestWhatTakesDataAway(t *testing.T) {
	for name, want := range map[string]bool{
		"apiVersion: v1\nkind: PersistentVolumeClaim":                  true,
		"apiVersion: apps/v1\nkind: StatefulSet":                       true,
		"apiVersion: v1\nkind: Namespace":                              true,
		"apiVersion: apps/v1\nkind: Deployment":                        false,
		"apiVersion: v1\nkind: Secret":                                 false,
		"apiVersion: networking.k8s.io/v1\nkind: Ingress":              false,
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: Role":         false,
		"apiVersion: postgresql.cnpg.io/v1\nkind: Cluster":             true,
		"apiVersion: kafka.strimzi.io/v1beta2\nkind: KafkaTopic":       true,
		"apiVersion: s3.aws.upbound.io/v1\nkind: Bucket":               true,
		"apiVersion: snapshot.storage.k8s.io/v1\nkind: VolumeSnapshot": true,
		"apiVersion: cert-manager.io/v1\nkind: Certificate":            false,
		"apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor":   false,
	} {
		objects, err := parseManifest(name + "\nmetadata: {name: a}\n")
		if err != nil || len(objects) != 1 {
			t.Fatal(err)
		}
		if got := TakesData(objects[0]); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestResourcesOfChanges(t *testing.T) {
	before, err := parseManifest("apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: more}\n---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec: {replicas: 3, persistentVolumeClaimRetentionPolicy: {whenScaled: Delete}}\n")
	if err != nil {
		t.Fatal(err)
	}
	after, err := parseManifest("apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec: {replicas: 1, persistentVolumeClaimRetentionPolicy: {whenScaled: Delete}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: other}\n")
	if err != nil {
		t.Fatal(err)
	}
	mask := NewMasker(RandomKey(), nil)
	c, err := Compare(before, after, mask, mask, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []sdk.Resource{
		{Kind: "Namespace", Name: "more", Change: sdk.ChangeDelete, Destructive: true},
		{Kind: "PersistentVolumeClaim", Name: "data", Namespace: "shop-pr-42", Change: sdk.ChangeDelete, Destructive: true},
		{Kind: "StatefulSet", Name: "db", Namespace: "shop-pr-42", Change: sdk.ChangeUpdate, Destructive: true},
		{Kind: "ConfigMap", Name: "c", Namespace: "other", Change: sdk.ChangeCreate},
	}
	got := c.Resources("shop-pr-42")
	if len(got) != len(want) {
		t.Fatalf("resources %+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("resource %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}
