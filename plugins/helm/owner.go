package helm

import (
	"context"
	"fmt"

	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
)

// owner is whose a namespace or a release is, as its labels say. Names of
// environments may come out the same: app "a" with "b-c" and app "a-b" with "c"
// are both a-b-c. So what is another's is never deployed into, nor taken away.
type owner struct {
	app, env string
	part     string // "" for a namespace, which all parts share
}

// stepOwner is the owner that labels name for what step makes.
func stepOwner(step sdk.Step) owner {
	return owner{labelValue(step.App), labelValue(step.Env), labelValue(step.Part)}
}

// known tells whether Berth's labels are there at all.
func (o owner) known() bool { return o.app != "" || o.env != "" }

func (o owner) String() string {
	if o.part == "" {
		return o.app + "/" + o.env
	}
	return o.app + "/" + o.env + " (part " + o.part + ")"
}

// namespaceOwner is whose ns is, the zero owner when Berth did not mark it.
func namespaceOwner(ns *corev1.Namespace) owner {
	return owner{app: ns.Labels[labelApp], env: ns.Labels[labelEnvironment]}
}

// releaseOwner is whose a release is, as its newest revision with labels says:
// one that Helm's own command made may have none.
func releaseOwner(past []*release.Release) owner {
	for i := len(past) - 1; i >= 0; i-- {
		l := past[i].Labels
		if o := (owner{l[labelApp], l[labelEnvironment], l[labelPart]}); o.known() {
			return o
		}
	}
	return owner{}
}

// environmentOwner is the owner that labels name for what is all of step's
// environment, not of one of its parts.
func environmentOwner(step sdk.Step) owner {
	o := stepOwner(step)
	o.part = ""
	return o
}

// refuseNamespace says why step may not deploy into ns, nil when it may. One
// without Berth's labels is whoever's it is, and used as it is.
func refuseNamespace(ns *corev1.Namespace, step sdk.Step) error {
	if o := namespaceOwner(ns); o.known() && o != environmentOwner(step) {
		return sdk.Invalid("The namespace %q is that of environment %s, and environments do not share one: give this app another `namespace` in Berth's config. Where they are meant to share it, take the labels %s and %s off the namespace.",
			ns.Name, o, labelApp, labelEnvironment)
	}
	return nil
}

// refuseStrays says why objects of a chart may not go where the chart wants
// them, nil when they may: not into another environment's namespace.
func (k *kubeClient) refuseStrays(resources kube.ResourceList) error {
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
		if o := namespaceOwner(ns); o.known() && o != k.mine {
			return sdk.Invalid("The chart puts %s %q into namespace %q, which is that of environment %s. Take the namespace out of the chart's template.",
				r.Mapping.GroupVersionKind.Kind, r.Name, r.Namespace, o)
		}
	}
	return nil
}

// refuseRelease says why step may not deploy over a release, nil when it may.
// One without Berth's labels is taken over.
func (s *session) refuseRelease(past []*release.Release, step sdk.Step) error {
	if o := releaseOwner(past); o.known() && o != stepOwner(step) {
		return sdk.Invalid("The release %q in namespace %q is that of environment %s: give this part another `release`, or the app another `namespace`, in Berth's config.",
			s.settings.Release, s.namespace, o)
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
		if err := refuseNamespace(ns, step); err != nil {
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
	o := releaseOwner(past)
	switch {
	case o == stepOwner(step):
		return holdings{release: true, claims: true}, nil
	case o.known():
		return holdings{stays: fmt.Sprintf("it is that of environment %s", o)}, nil
	}
	ns, err := s.clientset.CoreV1().Namespaces().Get(ctx, s.namespace, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
		return holdings{}, err
	}
	if err == nil && namespaceOwner(ns) == environmentOwner(step) {
		return holdings{release: true, claims: true}, nil
	}
	return holdings{stays: "Berth did not make it"}, nil
}
