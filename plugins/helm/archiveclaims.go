package helm

import (
	"context"
	"fmt"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// dataOf are the claims with the release's data: those that it made, those that
// its StatefulSets made, those that go by its name, and those that its pods use.
func (s *session) dataOf(ctx context.Context, past []*release.Release) ([]corev1.PersistentVolumeClaim, error) {
	list, err := s.clientset.CoreV1().PersistentVolumeClaims(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, rel := range past {
		objects = append(objects, manifestOf(rel)...)
	}
	has := kube.ClaimsOf(objects, s.namespace)
	var out []corev1.PersistentVolumeClaim
	for _, c := range list.Items {
		if has(c.Name) || c.Labels[labelInstance] == s.settings.Release {
			out = append(out, c)
		}
	}
	return out, nil
}

// checkData refuses a restore whose data is not all there, before anything is
// done, and says else what was found.
func (s *session) checkData(ctx context.Context, a *archived) (found string, err error) {
	gone, err := s.cluster.LostClaims(ctx, a.Claims)
	if err != nil {
		return "", err
	}
	n := len(a.Claims)
	if len(gone) > 0 {
		return "", &sdk.Error{Fault: sdk.FaultInvalid, Msg: fmt.Sprintf(
			"The data of release %q cannot be restored: %d of %s found, and gone or changed is %s. Nothing was done. Bring the volume back, or clean the environment up and deploy it again without that data.",
			s.settings.Release, n-len(gone), kube.Count(n, "volume"), kube.Clip(strings.Join(gone, "; "), 600))}
	}
	if n == 0 {
		return "it has no volumes", nil
	}
	return fmt.Sprintf("%d of %s found: %s", n, kube.Count(n, "volume"), kube.NameClaims(a.Claims)), nil
}
