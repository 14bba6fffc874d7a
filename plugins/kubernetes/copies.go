package kubernetes

import (
	"context"
	"encoding/base64"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// copies are the pull secrets that the namespace gets, as they are now where they
// come from.
func (x *Executor) copies(ctx context.Context, step sdk.Step, from []string) ([]*unstructured.Unstructured, error) {
	if len(from) == 0 {
		return nil, nil
	}
	cluster, err := x.clusters.Open(step.Cluster)
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	for _, at := range from {
		namespace, name, _ := strings.Cut(at, "/")
		if namespace == step.Namespace {
			continue
		}
		got, err := cluster.Clientset().CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, sdk.Invalid("The pull secret %q is not there: make it, or correct `pull_secrets`.", kube.Clip(at, 120))
		}
		if err != nil {
			return nil, err
		}
		if got.Type != corev1.SecretTypeDockerConfigJson && got.Type != corev1.SecretTypeDockercfg {
			return nil, sdk.Invalid("The Secret %q is of type %q and no pull secret, so that it is not copied.", kube.Clip(at, 120), kube.Clip(string(got.Type), 80))
		}
		data := map[string]any{}
		for key, value := range got.Data {
			sdk.Hide(ctx, string(value))
			maskOf(ctx).LearnExact([]string{string(value)})
			data[key] = base64.StdEncoding.EncodeToString(value)
		}
		out = append(out, kube.ObjectOf(map[string]any{
			"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": name}, "type": string(got.Type), "data": data,
		}))
	}
	return out, nil
}
