package kubernetes

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
)

func TestTheNamespaceGetsItsLimits(t *testing.T) {
	t.Parallel()
	cs := client(t)
	infra := namespace(t)
	makeNamespace(t, infra, nil)
	const password = "c4nary-pull-password"
	pull := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "regcred"}, Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{
		corev1.DockerConfigJsonKey: []byte(`{"auths":{"r.example.org":{"username":"u","password":"` + password + `"}}}`),
	}}
	if _, err := cs.CoreV1().Secrets(infra).Create(t.Context(), pull, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	step := stepOf(t, map[string]any{"manifests": web, "namespace": map[string]any{
		"labels": map[string]any{"team": "shop"}, "quota": map[string]any{"pods": 10, "requests.cpu": "2", "requests.memory": "2Gi"},
		"limits":       map[string]any{"default_request": map[string]any{"cpu": "50m", "memory": "32Mi"}},
		"pull_secrets": []any{infra + "/regcred"}, "network": map[string]any{"to": []any{"10.0.0.0/8"}},
	}})
	step.Settings = map[string]any{"pull_secret_namespaces": []any{infra}}
	x := New(Options{})
	out := run(t, x, step)
	ns := step.Namespace
	got, err := cs.CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{})
	if err != nil || got.Labels["team"] != "shop" {
		t.Errorf("the namespace is %v, error %v", got, err)
	}
	if q, err := cs.CoreV1().ResourceQuotas(ns).Get(t.Context(), nameQuota, metav1.GetOptions{}); err != nil || q.Spec.Hard.Pods().Value() != 10 {
		t.Errorf("the quota is %v, error %v", q, err)
	}
	if p, err := cs.NetworkingV1().NetworkPolicies(ns).Get(t.Context(), nameNetwork, metav1.GetOptions{}); err != nil || len(p.Spec.PolicyTypes) != 2 || p.Spec.Egress[0].To[1].IPBlock.CIDR != "10.0.0.0/8" {
		t.Errorf("the policy is %v, error %v", p, err)
	}
	if a, err := cs.CoreV1().ServiceAccounts(ns).Get(t.Context(), "default", metav1.GetOptions{}); err != nil || len(a.ImagePullSecrets) != 1 {
		t.Errorf("the account is %v, error %v", a, err)
	}
	if s, err := cs.CoreV1().Secrets(ns).Get(t.Context(), "regcred", metav1.GetOptions{}); err != nil || !strings.Contains(string(s.Data[corev1.DockerConfigJsonKey]), password) {
		t.Errorf("the pull secret is %v, error %v", s, err)
	}
	if strings.Contains(out.Text(), password) {
		t.Error("a secret is in the log")
	}
	if text := run(t, x, step).Text(); !strings.Contains(text, "nothing has changed") {
		t.Errorf("the second time:\n%s", text)
	}
	run(t, x, step, sdk.Cleanup)
	_, err = cs.CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{})
	absent(t, "the namespace", err)
}

func TestAnAutoscalerIsNotFought(t *testing.T) {
	t.Parallel()
	text := web + `---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {minReplicas: 1, maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
`
	x := New(Options{})
	step := stepOf(t, map[string]any{"manifests": text})
	run(t, x, step)
	cs := client(t)
	scale, err := cs.AppsV1().Deployments(step.Namespace).GetScale(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	scale.Spec.Replicas = 3
	if _, err := cs.AppsV1().Deployments(step.Namespace).UpdateScale(t.Context(), "web", scale, metav1.UpdateOptions{FieldManager: "kube-controller-manager"}); err != nil {
		t.Fatal(err)
	}
	step.With["manifests"] = strings.ReplaceAll(text, "blue", "red")
	run(t, x, step)
	d, err := cs.AppsV1().Deployments(step.Namespace).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil || *d.Spec.Replicas != 3 {
		t.Errorf("%d pods instead of the autoscaler's 3, error %v", *d.Spec.Replicas, err)
	}
}
