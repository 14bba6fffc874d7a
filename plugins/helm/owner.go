package helm

import (
	"context"
	"fmt"

	helmkube "helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// releaseOwner is whose a release is, as its newest revision with labels says:
// one that Helm's own command made may have none.
func releaseOwner(past []*release.Release) kube.Owner {
	for i := len(past) - 1; i >= 0; i-- {
		if o := kube.LabelsOwner(past[i].Labels); o.Known() {
			return o
		}
	}
	return kube.Owner{}
}

// refuseStrays says why objects of a chart may not go where the chart wants
// them, nil when they may: not into another environment's namespace.
func (k *kubeClient) refuseStrays(resources helmkube.ResourceList) error {
	asked := map[string]bool{"": true, k.namespace: true}
	for _, r := range resources {
		if asked[r.Namespace] {
			continue
		}
		asked[r.Namespace] = true
		ns, err := k.clientset.CoreV1().Namespaces().Get(k.ctx, r.Namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			continue // what comes next shows whether that matters
		}
		if err != nil {
			return err
		}
		if o := kube.NamespaceOwner(ns); o.Known() && !o.Is(k.mine) {
			return sdk.Invalid("The chart puts %s %q into namespace %q, which is that of environment %s. Take the namespace out of the chart's template.",
				r.Mapping.GroupVersionKind.Kind, r.Name, r.Namespace, o.Toward(k.mine))
		}
	}
	return nil
}

// refuseRelease says why step may not deploy over a release, nil when it may.
// One without Berth's labels is taken over.
func (s *session) refuseRelease(past []*release.Release, step sdk.Step) error {
	if o, mine := releaseOwner(past), kube.StepOwner(step); o.Known() && !o.Is(mine) {
		return sdk.Invalid("The release %q in namespace %q is that of environment %s: give this part another `release`, or the app another `namespace`, in Berth's config.",
			s.settings.Release, s.namespace, o.Toward(mine))
	}
	return nil
}

// refuseOthers is refuseNamespace and refuseRelease, for a plan: what a deploy
// would be refused for is said before anybody agrees to it.
func (s *session) refuseOthers(ctx context.Context, past []*release.Release, step sdk.Step) error {
	ns, err := s.clientset.CoreV1().Namespaces().Get(ctx, s.namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
	case err != nil:
		return err
	case ns.DeletionTimestamp == nil:
		if err := kube.RefuseNamespace(ns, step); err != nil {
			return err
		}
	}
	return s.refuseRelease(past, step)
}

// holdings are what a cleanup may take of what it found.
type holdings struct {
	release bool   // the release, with its records
	claims  bool   // volume claims that go by the release's name
	stays   string // why the release stays, where there is one
}

// holdings tells what is step's own. A release without Berth's labels is when
// its namespace is; claims without a release are, too.
func (s *session) holdings(ctx context.Context, past []*release.Release, step sdk.Step) (holdings, error) {
	o, mine := releaseOwner(past), kube.StepOwner(step)
	switch {
	case o.Is(mine), step.Part == "" && o.Known() && o.SameEnvironment(mine):
		return holdings{release: true, claims: true}, nil
	case o.Known():
		return holdings{stays: fmt.Sprintf("it is that of environment %s", o.Toward(mine))}, nil
	}
	ns, err := s.clientset.CoreV1().Namespaces().Get(ctx, s.namespace, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
		return holdings{}, err
	}
	if err == nil && kube.NamespaceOwner(ns).Is(kube.EnvironmentOwner(step)) {
		return holdings{release: true, claims: true}, nil
	}
	return holdings{stays: "Berth did not make it"}, nil
}
